/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An untrusted image of the format `fuzz_format`: opened, queried, read,
 * checked; a second time written.
 *
 * Invariants: it is refused, or used without damage; reading changes nothing;
 * what was written is read, also after closing.
 */
#include "qemu/osdep.h"
#include "block/dirty-bitmap.h"
#include "fuzz-format.h"
#include "fuzz.h"
#include "fuzz-image.h"
#include "qapi/qapi-types-block-image.h"

#define PIECE (64 * KiB)

const char *fuzz_format_options = "";

static BlockBackend *open_image(bool writable, int flags)
{
    g_autofree char *json = g_strdup_printf(
        "{\"driver\": \"%s\", \"node-name\": \"disk\","
        " \"file\": {\"driver\": \"file\", \"filename\": \"image\"}%s}",
        fuzz_format, fuzz_format_options);

    return fuzz_image_open_as(json, writable, flags);
}

static void try_info(BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);
    ImageInfoSpecific *specific = bdrv_get_specific_info(bs, NULL);
    BdrvCheckResult result = {0};
    BlockDriverInfo info;

    qapi_free_ImageInfoSpecific(specific);
    bdrv_get_info(bs, &info);
    bdrv_check(bs, &result, 0);
}

/* Returns whether the last two writes have succeeded. */
static bool try_write(BlockBackend *blk, int64_t at, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(PIECE);
    bool ok;

    memset(buf, 0x5a, PIECE);
    blk_pwrite(blk, 0, bytes, buf, 0);
    blk_pwrite_zeroes(blk, at / 3, bytes, BDRV_REQ_MAY_UNMAP);
    blk_pdiscard(blk, at, bytes);
    ok = blk_pwrite(blk, at / 2, MIN(700, bytes), buf, 0) == 0 &&
         blk_pwrite(blk, at, bytes, buf, 0) == 0;
    return blk_flush(blk) == 0 && ok;
}

/* @at, @bytes: that is full of the pattern. */
static void check_written(BlockBackend *blk, int64_t at, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(PIECE);

    if (at + bytes > blk_getlength(blk) ||
        blk_pread(blk, at, bytes, buf, 0) < 0) {
        return; /* the image's pieces overlap, which only a check finds */
    }
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmpuint(buf[i], ==, 0x5a);
    }
}

static void write_image(void)
{
    BlockBackend *blk = open_image(true, 0);
    int64_t size, bytes;
    bool ok;

    if (!blk) {
        return;
    }
    size = blk_getlength(blk);
    bytes = MIN(PIECE, size);
    ok = try_write(blk, size - bytes, bytes);
    if (ok) {
        check_written(blk, size - bytes, bytes);
    }
    fuzz_image_read(blk);
    blk_truncate(blk, size + 3 * BDRV_SECTOR_SIZE, true, PREALLOC_MODE_OFF, 0,
                 NULL);
    try_info(blk);
    fuzz_image_close(blk);
    blk = open_image(false, 0);
    if (blk) {
        fuzz_image_status(blk);
        fuzz_image_read(blk);
        fuzz_image_close(blk);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_image_init();
    g_assert_nonnull(bdrv_find_format(fuzz_format));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) before = g_byte_array_new();
    BlockBackend *blk;

    if (size > FUZZ_IMAGE_MAX) {
        return 0;
    }
    fuzz_format_make(data, size);
    g_byte_array_append(before, fuzz_image->data, fuzz_image->len);
    blk = open_image(false, 0);
    if (blk) {
        fuzz_image_status(blk);
        fuzz_image_read(blk);
        try_info(blk);
        fuzz_image_close(blk);
        g_assert_cmpmem(fuzz_image->data, fuzz_image->len, before->data,
                        before->len);
    }
    write_image();
    fuzz_format_make(data, size);
    blk = open_image(false, BDRV_O_CHECK);
    if (blk) {
        try_info(blk);
        fuzz_image_read(blk);
        fuzz_image_close(blk);
    }
    blk = open_image(false, BDRV_O_NO_IO);
    if (blk) {
        try_info(blk);
        fuzz_image_close(blk);
    }
    return 0;
}
