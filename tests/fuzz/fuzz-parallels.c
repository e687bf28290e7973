/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An untrusted Parallels image.  The checksum of its format extension, if it
 * has one, is made valid first, unless the last byte of the input is odd.
 */
#include "qemu/osdep.h"
#include "fuzz-format.h"

#define AT_BLOCK 28     /* sectors */
#define AT_EXTENSION 56 /* sector */
#define SUMMED 24       /* bytes of the extension that have no part in it */

static void make_image(const uint8_t *data, size_t size)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_MD5);
    uint64_t at, bytes;
    gsize n = 16;

    fuzz_image_set(data, size);
    if (size < AT_EXTENSION + 8 || data[size - 1] & 1) {
        return;
    }
    at = ld64_le(data + AT_EXTENSION);
    bytes = ld32_le(data + AT_BLOCK) * (uint64_t)BDRV_SECTOR_SIZE;
    if (at == 0 || at > size / BDRV_SECTOR_SIZE || bytes < SUMMED ||
        bytes > size - at * BDRV_SECTOR_SIZE) {
        return;
    }
    at *= BDRV_SECTOR_SIZE;
    g_checksum_update(sum, fuzz_image->data + at + SUMMED, bytes - SUMMED);
    g_checksum_get_digest(sum, fuzz_image->data + at + 8, &n);
}

const char fuzz_format[] = "parallels";
void (*const fuzz_format_make)(const uint8_t *data, size_t size) = make_image;
