/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An untrusted image: opened as qcow2, queried without permissions, read,
 * checked; a second time written, a third time repaired.
 *
 * Invariants: it is refused, or used without damage; an image that opens still
 * opens after it was only read.
 */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/dirty-bitmap.h"
#include "fuzz.h"
#include "fuzz-image.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-block-image.h"

#define PIECE (64 * KiB)

static void try_info(BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);
    ImageInfoSpecific *specific = bdrv_get_specific_info(bs, NULL);
    BlockDirtyInfoList *bitmaps = bdrv_dirty_bitmap_query(bs);
    BdrvCheckResult result = {0};
    BlockDriverInfo info;

    qapi_free_ImageInfoSpecific(specific);
    qapi_free_BlockDirtyInfoList(bitmaps);
    bdrv_get_info(bs, &info);
    bdrv_check(bs, &result, 0);
}

static void try_write(BlockBackend *blk)
{
    g_autofree uint8_t *buf = g_malloc(PIECE);
    int64_t size = blk_getlength(blk);
    int64_t piece = MIN(PIECE, size);
    int64_t last = size - piece;

    memset(buf, 0x5a, PIECE);
    blk_pwrite(blk, 0, piece, buf, 0);
    blk_pwrite(blk, last / 2, MIN(700, piece), buf, 0);
    blk_pwrite_zeroes(blk, last / 3, piece, BDRV_REQ_MAY_UNMAP);
    blk_pdiscard(blk, last, piece);
    blk_pwrite(blk, last, piece, buf, 0);
    blk_flush(blk);
    blk_truncate(blk, size + 3 * BDRV_SECTOR_SIZE, true, PREALLOC_MODE_OFF, 0,
                 NULL);
    fuzz_image_read(blk);
}

/* A repair reports what the next check finds, which is no more than before. */
static void try_repair(BlockBackend *blk)
{
    int all = BDRV_FIX_LEAKS | BDRV_FIX_ERRORS;
    BdrvCheckResult before = {0}, fixed = {0}, after = {0};

    if (bdrv_check(blk_bs(blk), &before, 0) < 0 || before.check_errors ||
        bdrv_check(blk_bs(blk), &fixed, all) < 0 || fixed.check_errors) {
        return;
    }
    g_assert_cmpint(bdrv_check(blk_bs(blk), &after, 0), ==, 0);
    g_assert_cmpint(after.corruptions, ==, fixed.corruptions);
    g_assert_cmpint(after.corruptions, <=, before.corruptions);
    if (bdrv_check(blk_bs(blk), &after, all) == 0) {
        g_assert_cmpint(after.corruptions, <=, fixed.corruptions);
    }
}

/* Has the image the bit which says that it is corrupt? */
static bool marked_corrupt(void)
{
    return fuzz_image->len >= 80 && ld32_be(fuzz_image->data + 4) >= 3 &&
           (fuzz_image->data[79] & 2);
}

/* A completely repaired image can be written without damage or corruption. */
static void try_write_repaired(void)
{
    BdrvCheckResult result = {0};
    BlockBackend *blk = fuzz_image_open(true, BDRV_O_CHECK);
    bool clean, corrupt;

    if (!blk) {
        return;
    }
    clean = bdrv_check(blk_bs(blk), &result, 0) == 0 && !result.check_errors &&
            !result.corruptions;
    fuzz_image_close(blk);
    corrupt = marked_corrupt();
    blk = clean ? fuzz_image_open(true, 0) : NULL;
    if (blk) {
        try_write(blk);
        fuzz_image_close(blk);
        g_assert_true(marked_corrupt() <= corrupt);
        blk = fuzz_image_open(false, BDRV_O_CHECK);
        g_assert_nonnull(blk);
        if (bdrv_check(blk_bs(blk), &result, 0) == 0 && !result.check_errors) {
            g_assert_cmpint(result.corruptions, ==, 0);
        }
        fuzz_image_close(blk);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_image_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) before = g_byte_array_new();
    BlockBackend *blk;

    if (size > FUZZ_IMAGE_MAX) {
        return 0;
    }
    fuzz_image_set(data, size);
    fuzz_image_limit_keys();
    g_byte_array_append(before, fuzz_image->data, fuzz_image->len);
    blk = fuzz_image_open(false, 0);
    if (blk) {
        fuzz_image_status(blk);
        fuzz_image_read(blk);
        try_info(blk);
        fuzz_image_close(blk);
        g_assert_cmpmem(fuzz_image->data, fuzz_image->len, before->data,
                        before->len);
    }
    blk = fuzz_image_open(true, 0);
    if (blk) {
        try_write(blk);
        try_info(blk);
        fuzz_image_close(blk);
    }
    fuzz_image_set(data, size);
    fuzz_image_limit_keys();
    blk = fuzz_image_open(true, BDRV_O_CHECK);
    if (blk) {
        try_repair(blk);
        fuzz_image_close(blk);
        try_write_repaired();
    }
    return 0;
}
