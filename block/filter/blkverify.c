/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkverify: submits each request to two disks, the one under test and a raw
 * one, and ends the process where their results or their data differ.
 *
 *         blkverify
 *        /         \
 *      test        raw    whose data is shown
 *
 * It is for tests of drivers: under a random load it finds the first read that
 * is wrong.  Discards end here, as each disk may show anything where it was
 * discarded.
 */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/graph.h"
#include "block/io.h"

/* Most bytes that are compared at once. */
#define PIECE_BYTES (1 * MiB)

typedef struct BlkverifyState {
    BdrvChild *test; /* the raw disk is bs->file */
} BlkverifyState;

/* --- file names --- */

static BlockdevRef *protocol_ref(const char *filename, Error **errp)
{
    bool probed;
    BlockdevOptions *options = bdrv_options_from_filename(
        filename, NULL, BDRV_O_PROTOCOL, &probed, errp);
    BlockdevRef *ref;

    if (!options) {
        return NULL;
    }
    ref = g_new0(BlockdevRef, 1);
    ref->type = BLOCKDEV_REF_KIND_DEFINITION;
    ref->u.definition = options;
    return ref;
}

/* "blkverify:RAW:TEST"; the format of TEST is probed. */
static bool blkverify_parse_filename(const char *filename,
                                     BlockdevOptions *options, Error **errp)
{
    BlockdevOptionsBlkverify *o = &options->u.blkverify;
    g_autofree char *raw = NULL;
    const char *colon;

    if (!g_str_has_prefix(filename, "blkverify:")) {
        error_setg(errp, "File name string must start with 'blkverify:'");
        return false;
    }
    filename += strlen("blkverify:");
    colon = strchr(filename, ':');
    if (!colon) {
        error_setg(errp, "blkverify requires raw copy and original image "
                   "path");
        return false;
    }
    raw = g_strndup(filename, colon - filename);
    o->raw = protocol_ref(raw, errp);
    o->test = o->raw ? protocol_ref(colon + 1, errp) : NULL;
    return o->test != NULL;
}

static char *blkverify_short_filename(const BlockDriverState *bs,
                                      struct json_object *strong)
{
    const BlkverifyState *s = bs->opaque;
    const char *test = s->test->bs->filename;

    return !g_str_has_prefix(test, "json:")
        ? g_strdup_printf("blkverify:%s:%s", bs->file->bs->filename, test)
        : NULL;
}

/* --- opening --- */

static bool check_sizes(BlockDriverState *test, BlockDriverState *raw,
                        Error **errp)
{
    int64_t test_bytes = bdrv_getlength(test), raw_bytes = bdrv_getlength(raw);

    if (test_bytes < 0 || raw_bytes < 0) {
        error_setg_errno(errp, -MIN(test_bytes, raw_bytes), "Could not get "
                         "the size of node '%s'", test_bytes < 0
                         ? test->node_name : raw->node_name);
        return false;
    }
    if (test_bytes != raw_bytes) {
        error_setg(errp, "blkverify compares disks of the same size, but "
                   "'test' has %" PRId64 " bytes and 'raw' has %" PRId64,
                   test_bytes, raw_bytes);
        return false;
    }
    return true;
}

static int blkverify_open(BlockDriverState *bs, const BlockdevOptions *options,
                          int flags, Error **errp)
{
    const BlockdevOptionsBlkverify *o = &options->u.blkverify;
    BlkverifyState *s = bs->opaque;

    if (!bdrv_open_child(bs, o->raw, "raw",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    s->test = bdrv_open_child(bs, o->test, "test", BDRV_CHILD_DATA, errp);
    return s->test && check_sizes(s->test->bs, bs->file->bs, errp) ? 0
                                                                   : -EINVAL;
}

/*
 * Nothing else writes to either of them while they are compared, nor changes
 * their sizes, which would differ from then on.
 */
static void blkverify_child_perm(BlockDriverState *bs, BdrvChild *child,
                                 BdrvChildRole role, uint64_t perm,
                                 uint64_t shared, uint64_t *nperm,
                                 uint64_t *nshared)
{
    *nperm = perm & (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                     BLK_PERM_WRITE_UNCHANGED);
    *nshared = shared & ~(uint64_t)BLK_PERM_RESIZE;
    if (bdrv_next_parent(bs, NULL)) {
        *nshared &= BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED;
    }
}

/* A child shows the same data as before, or they would differ. */
static BdrvConsent blkverify_child_change(BlockDriverState *bs,
                                          const BdrvChildChange *change,
                                          Transaction *tran, Error **errp)
{
    return change->old_bs && change->new_bs &&
           change->content != BDRV_CONTENT_OTHER
        ? BDRV_ACCEPT : bdrv_child_change_refuse(bs, change, errp);
}

/* --- comparing --- */

/* A request of both disks; part 0 is that of the disk under test. */
typedef struct Verify Verify;

typedef struct VerifyPart {
    const Verify *v;
    BdrvChild *child;
    uint8_t *buf; /* of a read */
    int ret;
} VerifyPart;

struct Verify {
    const char *verb; /* for messages */
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    BdrvRequestFlags flags;
    VerifyPart parts[2];
};

static void G_GNUC_NORETURN G_GNUC_PRINTF(2, 3)
verify_failed(const Verify *v, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "blkverify: %s offset=%" PRId64 " bytes=%" PRId64 " ",
            v->verb, v->offset, v->bytes);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

static int coroutine_fn verify(BlockDriverState *bs, Verify *v,
                               CoroutineEntry *entry)
{
    const BlkverifyState *s = bs->opaque;

    v->parts[0].v = v->parts[1].v = v;
    v->parts[0].child = s->test;
    v->parts[1].child = bs->file;
    co_run_all(entry, v->parts, 2, sizeof(v->parts[0]));
    if (v->parts[0].ret != v->parts[1].ret) {
        verify_failed(v, "return value mismatch %d != %d", v->parts[0].ret,
                      v->parts[1].ret);
    }
    return v->parts[0].ret;
}

static void compare_data(const Verify *v)
{
    const uint8_t *test = v->parts[0].buf, *raw = v->parts[1].buf;
    int64_t i = 0;

    if (!memcmp(test, raw, v->bytes)) {
        return;
    }
    while (test[i] == raw[i]) {
        i++;
    }
    verify_failed(v, "contents mismatch at offset %" PRId64, v->offset + i);
}

/* --- requests --- */

static void coroutine_fn part_read(void *opaque)
{
    VerifyPart *part = opaque;
    const Verify *v = part->v;

    part->ret = bdrv_co_pread(part->child, v->offset, v->bytes, part->buf, 0);
}

/* Private buffers: a guest may change its memory while it is compared. */
static int coroutine_fn read_piece(BlockDriverState *bs, Verify *v)
{
    const BlkverifyState *s = bs->opaque;
    int ret = -ENOMEM;

    v->parts[0].buf = bdrv_try_blockalign(s->test->bs, v->bytes);
    v->parts[1].buf = bdrv_try_blockalign(bs->file->bs, v->bytes);
    if (v->parts[0].buf && v->parts[1].buf) {
        ret = verify(bs, v, part_read);
    }
    if (ret == 0) {
        compare_data(v);
        qemu_iovec_from_buf(v->qiov, v->qiov_offset, v->parts[0].buf,
                            v->bytes);
    }
    qemu_vfree(v->parts[0].buf);
    qemu_vfree(v->parts[1].buf);
    return ret;
}

static int coroutine_fn blkverify_co_preadv(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov,
                                            size_t qiov_offset,
                                            BdrvRequestFlags flags)
{
    int ret = 0;

    for (int64_t done = 0; ret == 0 && done < bytes; done += PIECE_BYTES) {
        Verify v = {
            .verb = "read",
            .offset = offset + done,
            .bytes = MIN(PIECE_BYTES, bytes - done),
            .qiov = qiov,
            .qiov_offset = qiov_offset + done,
        };

        ret = read_piece(bs, &v);
    }
    return ret;
}

static void coroutine_fn part_write(void *opaque)
{
    VerifyPart *part = opaque;
    const Verify *v = part->v;

    part->ret = bdrv_co_pwritev(part->child, v->offset, v->bytes, v->qiov,
                                v->qiov_offset, v->flags);
}

static int coroutine_fn blkverify_co_pwritev(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov,
                                             size_t qiov_offset,
                                             BdrvRequestFlags flags)
{
    Verify v = {
        .verb = "write",
        .offset = offset,
        .bytes = bytes,
        .qiov = qiov,
        .qiov_offset = qiov_offset,
        .flags = flags,
    };

    return verify(bs, &v, part_write);
}

static int coroutine_fn blkverify_co_pwritev_compressed(BlockDriverState *bs,
                                                        int64_t offset,
                                                        int64_t bytes,
                                                        QEMUIOVector *qiov,
                                                        size_t qiov_offset)
{
    return -ENOTSUP;
}

static void coroutine_fn part_zeroes(void *opaque)
{
    VerifyPart *part = opaque;
    const Verify *v = part->v;

    part->ret = bdrv_co_pwrite_zeroes(part->child, v->offset, v->bytes,
                                      v->flags);
}

static int coroutine_fn blkverify_co_pwrite_zeroes(BlockDriverState *bs,
                                                   int64_t offset,
                                                   int64_t bytes,
                                                   BdrvRequestFlags flags)
{
    Verify v = {
        .verb = "write",
        .offset = offset,
        .bytes = bytes,
        .flags = flags,
    };

    /* Only one of them might do it fast, and that is no fault. */
    return flags & BDRV_REQ_NO_FALLBACK ? -ENOTSUP
                                        : verify(bs, &v, part_zeroes);
}

static int coroutine_fn blkverify_co_pdiscard(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes)
{
    return -ENOTSUP;
}

static void coroutine_fn part_flush(void *opaque)
{
    VerifyPart *part = opaque;

    part->ret = bdrv_co_flush(part->child->bs);
}

static int coroutine_fn blkverify_co_flush(BlockDriverState *bs)
{
    Verify v = { .verb = "flush" };

    return verify(bs, &v, part_flush);
}

static int coroutine_fn blkverify_co_truncate(BlockDriverState *bs,
                                              int64_t offset, bool exact,
                                              PreallocMode prealloc,
                                              BdrvRequestFlags flags,
                                              Error **errp)
{
    error_setg(errp, "blkverify does not support resize");
    return -ENOTSUP;
}

/* Writes come in the same order to both, and no read is between them. */
static bool blkverify_serialises(const BlockDriverState *bs,
                                 BdrvRequestType type)
{
    return type == BDRV_REQUEST_WRITE;
}

extern const BlockDriver bdrv_blkverify;

const BlockDriver bdrv_blkverify = {
    .format_name = "blkverify",
    .protocol_name = "blkverify",
    .instance_size = sizeof(BlkverifyState),
    .is_filter = true,
    .flushes_children = true,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .parse_filename = blkverify_parse_filename,
    .probed_child = "test",
    .short_filename = blkverify_short_filename,
    .open = blkverify_open,
    .child_perm = blkverify_child_perm,
    .child_change = blkverify_child_change,
    .serialises = blkverify_serialises,
    .co_preadv = blkverify_co_preadv,
    .co_pwritev = blkverify_co_pwritev,
    .co_pwritev_compressed = blkverify_co_pwritev_compressed,
    .co_pwrite_zeroes = blkverify_co_pwrite_zeroes,
    .co_pdiscard = blkverify_co_pdiscard,
    .co_flush = blkverify_co_flush,
    .co_truncate = blkverify_co_truncate,
};
