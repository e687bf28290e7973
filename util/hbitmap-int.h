/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HBitmap internals: the levels, and declarations shared by its sources. */
#ifndef UTIL_HBITMAP_INT_H
#define UTIL_HBITMAP_INT_H

#include "qemu/hbitmap.h"

/*
 * level[0]  |word|word|...|word|   64 words are a block: 4096 granules
 *             \____64 words___/
 * level[1]         |word| ...      a bit: "this word below is not 0"
 * level[top]       |word|          one word only
 *
 * Between public calls this holds:
 *  1. a bit of level n + 1 is set exactly if its word in level n is not 0;
 *  2. bits past the last granule are 0, and so is the padding of every level
 *     to whole blocks, so that loops need no special last round;
 *  3. count is the number of set bits in level 0.
 * There are always at least two levels, so that blocks can be skipped by
 * level[1] without asking.
 */
#define HB_MAX_LEVELS 11
#define HB_BLOCK 64

struct HBitmap {
    /* The range */
    int64_t size;               /* bytes */
    int shift;                  /* log2 of the granularity */
    uint64_t bits;              /* granules in size, rounded up */

    /* The bits: one allocation, level 0 first; nwords is without padding */
    int nlevels;
    uint64_t nwords[HB_MAX_LEVELS];
    uint64_t *level[HB_MAX_LEVELS];
    size_t alloc_bytes;
    uint64_t count;

    HBitmap *meta;              /* owned, may be NULL */
};

static inline uint64_t hb_nblocks(const HBitmap *hb)
{
    return DIV_ROUND_UP(hb->nwords[0], HB_BLOCK);
}

/* Those bits of the last word that stand for a granule. */
static inline uint64_t hb_tail_mask(const HBitmap *hb)
{
    if (hb->bits == 0) {
        return 0;
    }
    return UINT64_MAX >> (-hb->bits & 63);
}

/* Bit n: word n of the block is not 0. */
static inline uint64_t hb_block_nonzero(const uint64_t *block)
{
    uint64_t mask = 0;

    for (int i = 0; i < HB_BLOCK; i++) {
        mask |= (uint64_t)(block[i] != 0) << i;
    }
    return mask;
}

/*
 * About @bits bits will be set in @hb: if it is clean and they are many, its
 * memory is allocated in large pages, which is several times faster.
 */
void hb_expect(HBitmap *hb, uint64_t bits);
/* Computes levels @lv and above from the one below @lv. */
void hb_rebuild_upper(HBitmap *hb, int lv);
/* Tells the meta bitmap that some of words [@first, @last] changed. */
void hb_mark_meta(HBitmap *hb, uint64_t first, uint64_t last);
/* Sets @mask in word @i, which is the case of most guest writes. */
static inline void hb_set_word(HBitmap *hb, uint64_t i, uint64_t mask)
{
    uint64_t old = hb->level[0][i], fresh = mask & ~old;

    if (!fresh) {
        return;
    }
    hb->level[0][i] = old | mask;
    hb->count += fresh & (fresh - 1) ? ctpop64(fresh) : 1;
    hb_mark_meta(hb, i, i);
    for (int lv = 1; !old && lv < hb->nlevels; lv++) {
        old = hb->level[lv][i >> 6];
        hb->level[lv][i >> 6] = old | UINT64_C(1) << (i & 63);
        i >>= 6;
    }
}

/* Set bits in @block, of HB_BLOCK words. */
uint64_t hb_block_count(const uint64_t *block);

#endif
