/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An untrusted log of writes, which blklogwrites is to continue.
 *
 * What must hold: it is refused, or continued; and what was continued is a log
 * that can be continued again.
 */
#include "qemu/osdep.h"
#include "fuzz.h"
#include "fuzz-image.h"

#define OPTIONS \
    "{\"driver\": \"blklogwrites\", \"node-name\": \"disk\"," \
    " \"discard\": \"unmap\", \"log-append\": true," \
    " \"file\": {\"driver\": \"null-co\", \"size\": 1048576," \
    "            \"read-zeroes\": true}," \
    " \"log\": {\"driver\": \"file\", \"filename\": \"image\"}}"

/* Where the log has reached the largest size, writes fail. */
static void try_write(BlockBackend *blk)
{
    uint8_t buf[700];

    memset(buf, 0x5a, sizeof(buf));
    blk_pwrite(blk, 4096, 512, buf, 0);
    blk_pwrite(blk, 100, sizeof(buf), buf, BDRV_REQ_FUA);
    blk_pwrite_zeroes(blk, 65536, 8192, BDRV_REQ_MAY_UNMAP);
    blk_pdiscard(blk, 0, 65536);
    blk_flush(blk);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_image_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BlockBackend *blk;

    if (size > FUZZ_IMAGE_MAX) {
        return 0;
    }
    fuzz_image_set(data, size);
    for (int i = 0; i < 2; i++) {
        blk = fuzz_image_open_as(OPTIONS, true, 0);
        if (i == 0 && !blk) {
            return 0;
        }
        g_assert_nonnull(blk);
        try_write(blk);
        fuzz_image_close(blk);
    }
    return 0;
}
