/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HBitmap: the form on disk and on the wire, and its checksum. */
#include "qemu/osdep.h"
#include "hbitmap-int.h"
#include "qemu/iov.h"

uint64_t hbitmap_serialization_align(const HBitmap *hb)
{
    /* From 2^57 on one word covers every size there is. */
    return UINT64_C(1) << MIN(hb->shift + 6, 63);
}

/* The words in which [@offset, @offset + @bytes) is stored. */
static uint64_t hb_part(const HBitmap *hb, int64_t offset, int64_t bytes,
                        uint64_t *first)
{
    uint64_t inside = hbitmap_serialization_align(hb) - 1;
    int shift = MIN(hb->shift + 6, 63);

    assert(offset >= 0 && bytes >= 0 && offset <= hb->size &&
           bytes <= hb->size - offset);
    assert(!(offset & inside) || bytes == 0);
    assert(!((offset + bytes) & inside) || offset + bytes == hb->size);
    *first = (uint64_t)offset >> shift;
    return ((uint64_t)bytes >> shift) + ((bytes & inside) != 0);
}

size_t hbitmap_serialization_size(const HBitmap *hb, int64_t offset,
                                  int64_t bytes)
{
    uint64_t first;

    return hb_part(hb, offset, bytes, &first) * sizeof(uint64_t);
}

static void copy_le(void *dst, const void *src, uint64_t words)
{
#if G_BYTE_ORDER == G_LITTLE_ENDIAN
    memcpy(dst, src, words * 8);
#else
    for (uint64_t i = 0; i < words; i++) {
        st64_le((uint8_t *)dst + i * 8, *((const uint64_t *)src + i));
    }
#endif
}

void hbitmap_serialize_part(const HBitmap *hb, uint8_t *buf, int64_t offset,
                            int64_t bytes)
{
    uint64_t first, n = hb_part(hb, offset, bytes, &first);

    /* Clean blocks are not read, as that would map memory for them. */
    for (uint64_t i = first, step; i < first + n; i += step) {
        step = MIN(HB_BLOCK - i % HB_BLOCK, first + n - i);
        if (hb->level[1][i / HB_BLOCK]) {
            copy_le(buf, hb->level[0] + i, step);
        } else {
            memset(buf, 0, step * 8);
        }
        buf += step * 8;
    }
}

/* Fills block @b, which is clean, with a serialised one that is not. */
static void fill_block(HBitmap *hb, uint64_t b, const uint8_t *buf)
{
    uint64_t *block = hb->level[0] + b * HB_BLOCK, old = 0;

    copy_le(block, buf, HB_BLOCK);
    hb->count += hb_block_count(block);
    hb->level[1][b] = hb_block_nonzero(block);
    for (int lv = 2; !old && lv < hb->nlevels; lv++) {
        old = hb->level[lv][b >> 6];
        hb->level[lv][b >> 6] = old | UINT64_C(1) << (b & 63);
        b >>= 6;
    }
}

void hbitmap_replace_part(HBitmap *hb, const uint8_t *buf, int64_t offset,
                          int64_t bytes)
{
    uint64_t first, n = hb_part(hb, offset, bytes, &first);
    uint64_t last = hb->nwords[0] - 1; /* whose tail may be garbage in @buf */

    hbitmap_reset(hb, offset, bytes);
    for (uint64_t i = first, step; i < first + n; i += step) {
        const uint8_t *from = buf + (i - first) * 8;
        uint64_t word;

        if (i % HB_BLOCK == 0 && MIN(first + n, last) - i >= HB_BLOCK) {
            step = HB_BLOCK;
            if (!buffer_is_zero(from, HB_BLOCK * 8)) {
                fill_block(hb, i / HB_BLOCK, from);
                hb_mark_meta(hb, i, i + HB_BLOCK - 1);
            }
            continue;
        }
        step = 1;
        word = ld64_le(from) & (i == last ? hb_tail_mask(hb) : UINT64_MAX);
        if (word) {
            hb_set_word(hb, i, word);
        }
    }
}

char *hbitmap_sha256(const HBitmap *hb)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    const uint8_t *p = (const uint8_t *)hb->level[0];
    uint64_t left = hb->nwords[0] * sizeof(uint64_t);

    while (left) {
        uint64_t n = MIN(left, (uint64_t)GiB);

        g_checksum_update(sum, p, n);
        p += n;
        left -= n;
    }
    return g_strdup(g_checksum_get_string(sum));
}
