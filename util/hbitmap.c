/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HBitmap: life cycle, setting and clearing, searching. */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "hbitmap-int.h"

/* From this size on the kernel's zero pages are cheaper than memset(). */
#define HB_MMAP_MIN (256 * KiB)

static uint64_t hb_granules(int64_t size, int shift)
{
    uint64_t rest = (uint64_t)size & ((UINT64_C(1) << shift) - 1);

    return ((uint64_t)size >> shift) + (rest != 0);
}

/* Fills in the geometry; returns the bytes that all levels take. */
static size_t hb_layout(HBitmap *hb, int64_t size, int shift)
{
    uint64_t n, words = 0;

    hb->size = size;
    hb->shift = shift;
    hb->bits = hb_granules(size, shift);
    hb->nlevels = 0;
    n = MAX(DIV_ROUND_UP(hb->bits, 64), 1);
    do {
        assert(hb->nlevels < HB_MAX_LEVELS);
        hb->nwords[hb->nlevels++] = n;
        words += ROUND_UP(n, HB_BLOCK);
        if (n == 1 && hb->nlevels > 1) {
            break;
        }
        n = DIV_ROUND_UP(n, 64);
    } while (true);
    return words * sizeof(uint64_t);
}

static void *hb_alloc(size_t bytes)
{
    void *p;

    if (bytes < HB_MMAP_MIN) {
        return g_try_malloc0(bytes);
    }
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void hb_free_levels(HBitmap *hb)
{
    if (hb->alloc_bytes >= HB_MMAP_MIN) {
        munmap(hb->level[0], hb->alloc_bytes);
    } else {
        g_free(hb->level[0]);
    }
}

static bool hb_init(HBitmap *hb, int64_t size, int shift)
{
    uint64_t *p;

    hb->alloc_bytes = hb_layout(hb, size, shift);
    p = hb_alloc(hb->alloc_bytes);
    if (!p) {
        return false;
    }
    for (int lv = 0; lv < hb->nlevels; lv++) {
        hb->level[lv] = p;
        p += ROUND_UP(hb->nwords[lv], HB_BLOCK);
    }
    return true;
}

HBitmap *hbitmap_try_new(int64_t size, uint64_t granularity)
{
    g_autofree HBitmap *hb = g_new0(HBitmap, 1);

    assert(size >= 0 && is_power_of_2(granularity));
    if (!hb_init(hb, size, ctz64(granularity))) {
        return NULL;
    }
    return g_steal_pointer(&hb);
}

HBitmap *hbitmap_new(int64_t size, uint64_t granularity)
{
    HBitmap *hb = hbitmap_try_new(size, granularity);

    if (!hb) {
        g_error("no memory for a bitmap of %" PRId64 " bytes with granularity "
                "%" PRIu64, size, granularity);
    }
    return hb;
}

void hbitmap_free(HBitmap *hb)
{
    if (hb) {
        hbitmap_free(hb->meta);
        hb_free_levels(hb);
        g_free(hb);
    }
}

void hb_expect(HBitmap *hb, uint64_t bits)
{
    /* One bit in each page allocates all pages. */
    if (hb->count == 0 && hb->alloc_bytes >= HB_MMAP_MIN &&
        bits >= hb_nblocks(hb) / 8) {
        madvise(hb->level[0], hb->alloc_bytes, MADV_HUGEPAGE);
    }
}

/* Copies the common part; @dst is clean, and so is the rest of @src. */
static void hb_copy_bits(HBitmap *dst, const HBitmap *src)
{
    uint64_t n = MIN(hb_nblocks(dst), hb_nblocks(src));

    hb_expect(dst, src->count);
    /* Clean blocks are not touched: their memory is not allocated yet. */
    for (uint64_t b = 0; b < n; b++) {
        if (src->level[1][b]) {
            memcpy(dst->level[0] + b * HB_BLOCK, src->level[0] + b * HB_BLOCK,
                   HB_BLOCK * sizeof(uint64_t));
            dst->level[1][b] = src->level[1][b];
        }
    }
    dst->count = src->count;
    hb_rebuild_upper(dst, 2);
}

HBitmap *hbitmap_copy(const HBitmap *hb)
{
    HBitmap *copy = hbitmap_try_new(hb->size, hbitmap_granularity(hb));

    if (copy) {
        hb_copy_bits(copy, hb);
    }
    return copy;
}

int64_t hbitmap_size(const HBitmap *hb)
{
    return hb->size;
}

uint64_t hbitmap_granularity(const HBitmap *hb)
{
    return UINT64_C(1) << hb->shift;
}

size_t hbitmap_memory(const HBitmap *hb)
{
    return sizeof(*hb) + hb->alloc_bytes +
           (hb->meta ? hbitmap_memory(hb->meta) : 0);
}

void hb_rebuild_upper(HBitmap *hb, int lv)
{
    for (; lv < hb->nlevels; lv++) {
        for (uint64_t i = 0; i < hb->nwords[lv]; i++) {
            hb->level[lv][i] = hb_block_nonzero(hb->level[lv - 1] +
                                                i * HB_BLOCK);
        }
    }
}

void hb_mark_meta(HBitmap *hb, uint64_t first, uint64_t last)
{
    if (hb->meta) {
        hbitmap_set(hb->meta, first * 8, (last - first + 1) * 8);
    }
}

/* Setting and clearing */

/* The bits of word @i that lie in [@first, @last]. */
static inline uint64_t hb_word_mask(uint64_t i, uint64_t first, uint64_t last)
{
    uint64_t mask = UINT64_MAX;

    if (i == first >> 6) {
        mask &= UINT64_MAX << (first & 63);
    }
    if (i == last >> 6) {
        mask &= UINT64_MAX >> (63 - (last & 63));
    }
    return mask;
}

/*
 * Sets [@first, @last] of one level and adds to @added how many were clear.
 * True if a word was 0 before: only then the level above can change.
 */
static bool hb_set_level(uint64_t *level, uint64_t first, uint64_t last,
                         uint64_t *added)
{
    bool woke = false;

    for (uint64_t i = first >> 6; i <= last >> 6; i++) {
        uint64_t fresh = hb_word_mask(i, first, last) & ~level[i];

        if (fresh) {
            woke |= level[i] == 0;
            *added += fresh == UINT64_MAX ? 64 : ctpop64(fresh);
            level[i] |= fresh;
        }
    }
    return woke;
}

static void hb_set_bits(HBitmap *hb, uint64_t first, uint64_t last)
{
    uint64_t added = 0, ignored = 0;
    bool woke = hb_set_level(hb->level[0], first, last, &added);

    hb->count += added;
    if (added) {
        hb_mark_meta(hb, first >> 6, last >> 6);
    }
    for (int lv = 1; woke && lv < hb->nlevels; lv++) {
        first >>= 6;
        last >>= 6;
        woke = hb_set_level(hb->level[lv], first, last, &ignored);
    }
}

/* Clears [@first, @last] of level 0, skipping clean blocks. */
static uint64_t hb_clear_bottom(HBitmap *hb, uint64_t first, uint64_t last)
{
    uint64_t *level = hb->level[0], removed = 0;

    for (uint64_t i = first >> 6; i <= last >> 6; i++) {
        uint64_t gone;

        if (!hb->level[1][i >> 6]) {
            i |= HB_BLOCK - 1;
            continue;
        }
        gone = level[i] & hb_word_mask(i, first, last);
        if (gone) {
            removed += gone == UINT64_MAX ? 64 : ctpop64(gone);
            level[i] &= ~gone;
        }
    }
    return removed;
}

static void hb_clear_bits(HBitmap *hb, uint64_t first, uint64_t last)
{
    uint64_t removed = hb_clear_bottom(hb, first, last);

    if (!removed) {
        return;
    }
    hb->count -= removed;
    hb_mark_meta(hb, first >> 6, last >> 6);
    for (int lv = 1; lv < hb->nlevels; lv++) {
        const uint64_t *below = hb->level[lv - 1];
        uint64_t *level = hb->level[lv];

        /* Words inside the range are 0 now; those at its ends may not be. */
        first >>= 6;
        last >>= 6;
        first += below[first] != 0;
        if (first > last) {
            return;
        }
        if (below[last]) {
            if (last == first) {
                return;
            }
            last--;
        }
        for (uint64_t i = first >> 6; i <= last >> 6; i++) {
            level[i] &= ~hb_word_mask(i, first, last);
        }
    }
}

static inline void hb_assert_range(const HBitmap *hb, int64_t offset,
                                   int64_t bytes)
{
    assert(offset >= 0 && bytes >= 0 && offset <= hb->size &&
           bytes <= hb->size - offset);
}

void hbitmap_set(HBitmap *hb, int64_t offset, int64_t bytes)
{
    uint64_t first, last;

    hb_assert_range(hb, offset, bytes);
    if (bytes == 0) {
        return;
    }
    first = (uint64_t)offset >> hb->shift;
    last = (uint64_t)(offset + bytes - 1) >> hb->shift;
    if (first >> 6 == last >> 6) {
        hb_set_word(hb, first >> 6, hb_word_mask(first >> 6, first, last));
    } else {
        hb_set_bits(hb, first, last);
    }
}

void hbitmap_reset(HBitmap *hb, int64_t offset, int64_t bytes)
{
    uint64_t inside = hbitmap_granularity(hb) - 1;

    hb_assert_range(hb, offset, bytes);
    assert(!(offset & inside));
    assert(!((offset + bytes) & inside) || offset + bytes == hb->size);
    if (bytes) {
        hb_clear_bits(hb, (uint64_t)offset >> hb->shift,
                      (uint64_t)(offset + bytes - 1) >> hb->shift);
    }
}

void hbitmap_reset_all(HBitmap *hb)
{
    if (hb->count == 0) {
        return;
    }
    /* Mapped memory is unmapped rather than written. */
    if (hb->alloc_bytes < HB_MMAP_MIN ||
        madvise(hb->level[0], hb->alloc_bytes, MADV_DONTNEED) < 0) {
        memset(hb->level[0], 0, hb->alloc_bytes);
    }
    hb->count = 0;
    hb_mark_meta(hb, 0, hb->nwords[0] - 1);
}

void hbitmap_set_all(HBitmap *hb)
{
    if (hb->bits) {
        hb_expect(hb, hb->bits);
        hb_set_bits(hb, 0, hb->bits - 1);
    }
}

bool hbitmap_get(const HBitmap *hb, int64_t offset)
{
    uint64_t bit = (uint64_t)offset >> hb->shift;

    assert(offset >= 0 && offset < hb->size);
    return hb->level[0][bit >> 6] >> (bit & 63) & 1;
}

int64_t hbitmap_count(const HBitmap *hb)
{
    uint64_t bytes = hb->count << hb->shift;

    if (hb->bits && hbitmap_get(hb, hb->size - 1)) {
        bytes -= (hb->bits << hb->shift) - (uint64_t)hb->size;
    }
    return bytes;
}

bool hbitmap_empty(const HBitmap *hb)
{
    return hb->count == 0;
}

/* Searching */

/* First set bit from @bit on, or -1: up until a word has one, then down. */
static int64_t hb_find_set(const HBitmap *hb, uint64_t bit)
{
    for (int lv = 0; lv < hb->nlevels; lv++) {
        uint64_t i = bit >> 6, w;

        if (i >= hb->nwords[lv]) {
            return -1;
        }
        w = hb->level[lv][i] & (UINT64_MAX << (bit & 63));
        if (w) {
            bit = (i << 6) + ctz64(w);
            while (lv-- > 0) {
                bit = (bit << 6) + ctz64(hb->level[lv][bit]);
            }
            return bit;
        }
        bit = i + 1;
    }
    return -1;
}

/* First clear bit in [@bit, @end), or -1. */
static int64_t hb_find_clear(const HBitmap *hb, uint64_t bit, uint64_t end)
{
    uint64_t i = bit >> 6, last = (end - 1) >> 6;
    uint64_t w = ~hb->level[0][i] & (UINT64_MAX << (bit & 63));

    while (!w && i < last) {
        w = ~hb->level[0][++i];
    }
    if (!w || (i << 6) + ctz64(w) >= end) {
        return -1;
    }
    return (i << 6) + ctz64(w);
}

/* End of [@offset, @offset + @bytes), cut at the size of @hb. */
static int64_t hb_end(const HBitmap *hb, int64_t offset, int64_t bytes)
{
    assert(offset >= 0 && bytes >= 0);
    if (offset >= hb->size) {
        return offset;
    }
    return bytes > hb->size - offset ? hb->size : offset + bytes;
}

/* Like the public function, with @end in the bitmap. */
static int64_t hb_next_dirty(const HBitmap *hb, int64_t offset, int64_t end)
{
    int64_t bit;

    if (offset >= end) {
        return -1;
    }
    bit = hb_find_set(hb, (uint64_t)offset >> hb->shift);
    if (bit < 0 || bit > (end - 1) >> hb->shift) {
        return -1;
    }
    return MAX(offset, bit << hb->shift);
}

static int64_t hb_next_zero(const HBitmap *hb, int64_t offset, int64_t end)
{
    int64_t bit;

    if (offset >= end) {
        return -1;
    }
    bit = hb_find_clear(hb, (uint64_t)offset >> hb->shift,
                        ((uint64_t)(end - 1) >> hb->shift) + 1);
    return bit < 0 ? -1 : MAX(offset, bit << hb->shift);
}

int64_t hbitmap_next_dirty(const HBitmap *hb, int64_t offset, int64_t bytes)
{
    return hb_next_dirty(hb, offset, hb_end(hb, offset, bytes));
}

int64_t hbitmap_next_zero(const HBitmap *hb, int64_t offset, int64_t bytes)
{
    return hb_next_zero(hb, offset, hb_end(hb, offset, bytes));
}

bool hbitmap_next_dirty_area(const HBitmap *hb, int64_t start, int64_t end,
                             int64_t max, int64_t *area, int64_t *area_bytes)
{
    int64_t zero;

    assert(start >= 0 && max > 0);
    end = MIN(end, hb->size);
    start = hb_next_dirty(hb, start, end);
    if (start < 0) {
        return false;
    }
    if (max < end - start) {
        end = start + max;
    }
    zero = hb_next_zero(hb, start, end);
    *area = start;
    *area_bytes = (zero < 0 ? end : zero) - start;
    return true;
}

bool hbitmap_status(const HBitmap *hb, int64_t offset, int64_t bytes,
                    int64_t *pnum)
{
    int64_t end = hb_end(hb, offset, bytes);
    bool dirty = hbitmap_get(hb, offset);
    int64_t change = dirty ? hb_next_zero(hb, offset, end)
                           : hb_next_dirty(hb, offset, end);

    *pnum = (change < 0 ? end : change) - offset;
    return dirty;
}

/* Size, and the record of changes */

void hbitmap_keep_common(HBitmap *hb, const HBitmap *other)
{
    int64_t size = hbitmap_size(other), granularity = hbitmap_granularity(hb);
    int64_t start, end, n;

    g_assert(size == hbitmap_size(hb));
    for (int64_t at = 0; at < size; at += n) {
        if (hbitmap_status(other, at, size - at, &n)) {
            continue;
        }
        start = ROUND_UP(at, granularity);
        end = at + n == size ? size : ROUND_DOWN(at + n, granularity);
        if (start < end) {
            hbitmap_reset(hb, start, end - start);
        }
    }
}

void hbitmap_truncate(HBitmap *hb, int64_t size)
{
    HBitmap old = *hb;
    uint64_t bits = hb_granules(size, hb->shift);

    assert(size >= 0);
    if (bits < hb->bits) {
        hb_clear_bits(hb, bits, hb->bits - 1);
    }
    if (MAX(DIV_ROUND_UP(bits, 64), 1) == hb->nwords[0]) {
        hb->size = size;
        hb->bits = bits;
        return;
    }
    old.count = hb->count;
    if (!hb_init(hb, size, hb->shift)) {
        g_error("no memory for a bitmap of %" PRId64 " bytes", size);
    }
    hb_copy_bits(hb, &old);
    hb_free_levels(&old);
    if (hb->meta) {
        hbitmap_truncate(hb->meta, hb->nwords[0] * 8);
    }
}

HBitmap *hbitmap_create_meta(HBitmap *hb, size_t chunk)
{
    assert(!hb->meta);
    hb->meta = hbitmap_new(hb->nwords[0] * 8, chunk);
    return hb->meta;
}

void hbitmap_free_meta(HBitmap *hb)
{
    hbitmap_free(hb->meta);
    hb->meta = NULL;
}
