/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HBitmap: the form on disk and on the wire, and its checksum. */
#include "qemu/osdep.h"
#include "hbitmap-int.h"

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

    copy_le(buf, hb->level[0] + first, n);
}

void hbitmap_deserialize_part(HBitmap *hb, const uint8_t *buf, int64_t offset,
                              int64_t bytes)
{
    uint64_t first, n = hb_part(hb, offset, bytes, &first);

#if G_BYTE_ORDER == G_LITTLE_ENDIAN
    memcpy(hb->level[0] + first, buf, n * 8);
#else
    for (uint64_t i = 0; i < n; i++) {
        hb->level[0][first + i] = ld64_le(buf + i * 8);
    }
#endif
    if (n) {
        hb_mark_meta(hb, first, first + n - 1);
    }
}

void hbitmap_deserialize_zeroes(HBitmap *hb, int64_t offset, int64_t bytes)
{
    uint64_t first, n = hb_part(hb, offset, bytes, &first);

    /* Writing allocates memory, and most of it is zero already. */
    for (uint64_t i = first; i < first + n; i++) {
        if (hb->level[0][i]) {
            hb->level[0][i] = 0;
        }
    }
    if (n) {
        hb_mark_meta(hb, first, first + n - 1);
    }
}

void hbitmap_deserialize_ones(HBitmap *hb, int64_t offset, int64_t bytes)
{
    uint64_t first, n = hb_part(hb, offset, bytes, &first);

    memset(hb->level[0] + first, 0xff, n * 8);
    if (n) {
        hb_mark_meta(hb, first, first + n - 1);
    }
}

void hbitmap_replace_part(HBitmap *hb, const uint8_t *buf, int64_t offset,
                          int64_t bytes)
{
    uint64_t first, n = hb_part(hb, offset, bytes, &first);

    hbitmap_reset(hb, offset, bytes);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t word = ld64_le(buf + i * 8);

        if (first + i == hb->nwords[0] - 1) {
            word &= hb_tail_mask(hb);
        }
        if (word) {
            hb_set_word(hb, first + i, word);
        }
    }
}

void hbitmap_deserialize_finish(HBitmap *hb)
{
    hb->level[0][hb->nwords[0] - 1] &= hb_tail_mask(hb);
    hb->count = 0;
    for (uint64_t b = 0; b < hb_nblocks(hb); b++) {
        const uint64_t *block = hb->level[0] + b * HB_BLOCK;
        uint64_t nonzero = hb_block_nonzero(block);

        if (nonzero) {
            hb->count += hb_block_count(block);
        }
        hb->level[1][b] = nonzero;
    }
    hb_rebuild_upper(hb, 2);
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
