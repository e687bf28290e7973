/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qcow2 driver's entry in the table of drivers. */
#include "qemu/osdep.h"

#include "block/qcow2/crypt-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/snapshot-int.h"

static int qcow2_probe(const uint8_t *buf, size_t bytes, const char *filename)
{
    if (bytes >= 8 && ld32_be(buf) == QCOW2_MAGIC && ld32_be(buf + 4) >= 2) {
        return 100;
    }
    return 0;
}

static int64_t qcow2_getlength(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return s->size;
}

static const char *qcow2_encryption_format(const uint8_t *sector)
{
    switch (ld32_be(sector + 32)) {
    case QCOW2_CRYPT_AES:
        return "aes";
    case QCOW2_CRYPT_LUKS:
        return "luks";
    default:
        return NULL;
    }
}

static void qcow2_refresh_limits(BlockDriverState *bs, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    if (s->crypt) {
        bs->bl.request_alignment = MAX(bs->bl.request_alignment,
                                       CRYPTO_SECTOR);
    }
    bs->bl.pwrite_zeroes_alignment = 1U << s->sub_bits;
    bs->bl.pdiscard_alignment = 1U << s->sub_bits;
}

static const char *const mutable_options[] = {
    "lazy-refcounts", "pass-discard-request", "pass-discard-snapshot",
    "pass-discard-other", "discard-no-unref", "overlap-check", "cache-size",
    "l2-cache-size", "l2-cache-entry-size", "refcount-cache-size",
    "cache-clean-interval", NULL,
};

const BlockDriver bdrv_qcow2 = {
    .format_name = "qcow2",
    .instance_size = sizeof(Qcow2State),
    .is_format = true,
    .supports_backing = true,
    .finds_children = true, /* the external data file */
    .mutable_options = mutable_options,

    .probe = qcow2_probe,
    .encryption_format = qcow2_encryption_format,
    .open = qcow2_open,
    .close = qcow2_close,
    .reopen_prepare = qcow2_reopen_prepare,
    .reopen_commit = qcow2_reopen_commit,
    .reopen_abort = qcow2_reopen_abort,
    .reopen_commit_post = qcow2_reopen_commit_post,
    .co_create = qcow2_co_create,
    .child_perm = qcow2_child_perm,
    .child_change = bdrv_child_change_format,
    .cancel_in_flight = qcow2_crypt_cancel,
    .refresh_limits = qcow2_refresh_limits,
    .detach_aio_context = qcow2_detach_aio_context,
    .attach_aio_context = qcow2_attach_aio_context,

    .co_preadv = qcow2_co_preadv,
    .co_pwritev = qcow2_co_pwritev,
    .co_pwritev_compressed = qcow2_co_pwritev_compressed,
    .co_pwrite_zeroes = qcow2_co_pwrite_zeroes,
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP,
    .co_pdiscard = qcow2_co_pdiscard,
    .co_block_status = qcow2_co_block_status,
    .co_flush = qcow2_co_flush,
    .co_truncate = qcow2_co_truncate,
    .co_make_empty = qcow2_co_make_empty,
    .co_host_read_begin = qcow2_co_host_read_begin,
    .co_host_read_end = qcow2_co_host_read_end,
    .co_host_write_begin = qcow2_co_host_write_begin,
    .co_host_write_end = qcow2_co_host_write_end,

    .getlength = qcow2_getlength,
    .get_allocated_file_size = qcow2_get_allocated_file_size,
    .get_info = qcow2_get_info,
    .get_specific_info = qcow2_get_specific_info,
    .measure = qcow2_measure,
    .co_check = qcow2_co_check,
    .co_amend = qcow2_co_amend,
    .change_backing_file = qcow2_change_backing_file,
    .has_zero_init = qcow2_has_zero_init,
    .grows_by_zeroes = qcow2_grows_by_zeroes,
    .holds_bitmaps = true,
    .snapshot = &qcow2_snapshot_ops,
};
