/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drivers without storage, for tests of the graph: the leaves "file" and
 * "null-co", the formats "raw" and "qcow2" (with backing files), the filters
 * "compress" and "copy-on-read", which lets no child change.  `dummy` controls
 * them and counts calls.
 */
#ifndef DUMMY_DRIVERS_H
#define DUMMY_DRIVERS_H

#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/node-int.h"
#include <json-c/json.h>

#define DUMMY_BYTES (1 * MiB)

typedef struct DummyControl {
    const char *fail_open;     /* node name whose open fails */
    const char *fail_perm;     /* node name whose check_perm fails */
    const char *fail_reopen;   /* node name whose reopen_prepare fails */
    const char *refuse, *stay; /* node name whose child may not change */
    const char *small;         /* node name of a leaf of half the size */
    const char *backing[8][2]; /* end of file name -> backing file */
    const char *backing_format;
    bool probe_qcow2;
    int opened, closed;
    int checks, sets, aborts;
    int reopened, reopen_aborted;
    int drain_begins, drain_ends;
    int asked, asked_aborts; /* of filters and raw */
    BdrvChildChange change;  /* what was asked last */
} DummyControl;
static DummyControl dummy;

static bool dummy_is(const char *name, const BlockDriverState *bs)
{
    return name && !strcmp(name, bs->node_name);
}

static int dummy_open_common(BlockDriverState *bs, Error **errp)
{
    if (dummy_is(dummy.fail_open, bs)) {
        error_setg(errp, "'%s' does not open", bs->node_name);
        return -EIO;
    }
    dummy.opened++;
    return 0;
}

static int dummy_open_leaf(BlockDriverState *bs,
                           const BlockdevOptions *options, int flags,
                           Error **errp)
{
    return dummy_open_common(bs, errp);
}

static void dummy_close(BlockDriverState *bs)
{
    dummy.closed++;
    /* A drain during which a node closes has no end. */
    dummy.drain_ends += bdrv_node(bs)->quiesce_counter > 0;
}

static int64_t dummy_getlength(BlockDriverState *bs)
{
    return dummy_is(dummy.small, bs) ? DUMMY_BYTES / 2 : DUMMY_BYTES;
}

static int coroutine_fn dummy_co_preadv(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset,
                                        BdrvRequestFlags flags)
{
    return 0;
}

static int coroutine_fn dummy_co_pwritev(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, QEMUIOVector *qiov,
                                         size_t qiov_offset,
                                         BdrvRequestFlags flags)
{
    return 0;
}

static int dummy_check_perm(BlockDriverState *bs, uint64_t perm,
                            uint64_t shared, Error **errp)
{
    if (dummy_is(dummy.fail_perm, bs)) {
        error_setg(errp, "'%s' gets no lock", bs->node_name);
        return -EAGAIN;
    }
    dummy.checks++;
    return 0;
}

static void dummy_set_perm(BlockDriverState *bs, uint64_t perm,
                           uint64_t shared)
{
    dummy.sets++;
}

static void dummy_abort_perm(BlockDriverState *bs)
{
    dummy.aborts++;
}

static int dummy_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    if (dummy_is(dummy.fail_reopen, state->bs)) {
        error_setg(errp, "'%s' does not reopen", state->bs->node_name);
        return -EIO;
    }
    return 0;
}

static void dummy_reopen_commit(BdrvReopenState *state)
{
    dummy.reopened++;
}

static void dummy_reopen_abort(BdrvReopenState *state)
{
    dummy.reopen_aborted++;
}

static void dummy_asked_abort(void *opaque)
{
    dummy.asked_aborts++;
}

static const TransactionActionDrv dummy_asked_step = {
    .abort = dummy_asked_abort,
};

static BdrvConsent dummy_child_change(BlockDriverState *bs,
                                      const BdrvChildChange *change,
                                      Transaction *tran, Error **errp)
{
    if (dummy_is(dummy.refuse, bs)) {
        return bdrv_child_change_refuse(bs, change, errp);
    }
    if (dummy_is(dummy.stay, bs)) {
        return BDRV_STAY;
    }
    dummy.asked++;
    dummy.change = *change;
    tran_add(tran, &dummy_asked_step, NULL);
    return bdrv_child_change_filter(bs, change, tran, errp);
}

static void dummy_drain_begin(BlockDriverState *bs)
{
    dummy.drain_begins++;
}

static void dummy_drain_end(BlockDriverState *bs)
{
    dummy.drain_ends++;
}

#define DUMMY_COMMON \
    .close = dummy_close, .co_preadv = dummy_co_preadv, \
    .co_pwritev = dummy_co_pwritev, .reopen_prepare = dummy_reopen_prepare, \
    .reopen_commit = dummy_reopen_commit, \
    .reopen_abort = dummy_reopen_abort, .drain_begin = dummy_drain_begin, \
    .drain_end = dummy_drain_end

static const BlockDriver dummy_file = {
    .format_name = "file",
    .protocol_name = "file",
    .open = dummy_open_leaf,
    .getlength = dummy_getlength,
    .check_perm = dummy_check_perm,
    .set_perm = dummy_set_perm,
    .abort_perm = dummy_abort_perm,
    DUMMY_COMMON,
};

static const char *const dummy_null_strong[] = {"size", NULL};
static const BlockDriver dummy_null = {
    .format_name = "null-co",
    .protocol_name = "null-co",
    .strong_options = dummy_null_strong,
    .open = dummy_open_leaf,
    .getlength = dummy_getlength,
    DUMMY_COMMON,
};

static int dummy_raw_probe(const uint8_t *buf, size_t bytes,
                           const char *filename)
{
    return 1;
}

static int dummy_open_raw(BlockDriverState *bs,
                          const BlockdevOptions *options, int flags,
                          Error **errp)
{
    return bdrv_open_child(bs, options->u.raw.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
        ? dummy_open_common(bs, errp) : -EINVAL;
}

static const char *const dummy_raw_strong[] = {"offset", "size", NULL};
static const BlockDriver dummy_raw = {
    .format_name = "raw",
    .is_format = true,
    .strong_options = dummy_raw_strong,
    .child_change = dummy_child_change,
    .probe = dummy_raw_probe,
    .open = dummy_open_raw,
    .getlength = dummy_getlength,
    DUMMY_COMMON,
};

static int dummy_open_filter(BlockDriverState *bs,
                             const BlockdevOptions *options, int flags,
                             Error **errp)
{
    return bdrv_open_child(bs, options->u.compress.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
        ? dummy_open_common(bs, errp) : -EINVAL;
}

static const BlockDriver dummy_filter = {
    .format_name = "compress",
    .is_filter = true,
    .child_change = dummy_child_change,
    .open = dummy_open_filter,
    DUMMY_COMMON,
};

static int dummy_open_mute(BlockDriverState *bs,
                           const BlockdevOptions *options, int flags,
                           Error **errp)
{
    return bdrv_open_child(bs, options->u.copy_on_read.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
        ? dummy_open_common(bs, errp) : -EINVAL;
}

static const BlockDriver dummy_mute = {
    .format_name = "copy-on-read",
    .is_filter = true,
    .open = dummy_open_mute,
    DUMMY_COMMON,
};

static int dummy_qcow2_probe(const uint8_t *buf, size_t bytes,
                             const char *filename)
{
    return dummy.probe_qcow2 ? 100 : 0;
}

static int dummy_open_qcow2(BlockDriverState *bs,
                            const BlockdevOptions *options, int flags,
                            Error **errp)
{
    if (!bdrv_open_child(bs, options->u.qcow2.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(dummy.backing); i++) {
        if (dummy.backing[i][0] &&
            g_str_has_suffix(bs->file->bs->filename, dummy.backing[i][0])) {
            bs->backing_file = g_strdup(dummy.backing[i][1]);
            bs->backing_format = g_strdup(dummy.backing_format);
        }
    }
    return dummy_open_common(bs, errp);
}

static const char *const dummy_qcow2_mutable[] = {"cache-size", NULL};
static const BlockDriver dummy_qcow2 = {
    .format_name = "qcow2",
    .is_format = true,
    .supports_backing = true,
    .mutable_options = dummy_qcow2_mutable,
    .child_change = bdrv_child_change_format,
    .probe = dummy_qcow2_probe,
    .open = dummy_open_qcow2,
    .getlength = dummy_getlength,
    DUMMY_COMMON,
};

const BlockDriver *const bdrv_drivers[] = {
    &dummy_file, &dummy_null, &dummy_raw, &dummy_filter, &dummy_mute,
    &dummy_qcow2, NULL,
};

/* --- helpers --- */

/* Opens the options that @json, with ' for ", describes. */
static BlockDriverState *dummy_try_open(const char *json, Error **errp)
{
    g_autofree char *text = g_strdelimit(g_strdup(json), "'", '"');
    struct json_object *obj = json_tokener_parse(text);
    g_autoptr(BlockdevOptions) options = NULL;

    g_assert_nonnull(obj);
    options = bdrv_options_from_json(obj, false, errp);
    json_object_put(obj);
    return options ? bdrv_open(options, 0, errp) : NULL;
}

G_GNUC_UNUSED
static BlockDriverState *dummy_open(const char *json)
{
    return dummy_try_open(json, &error_abort);
}

/* @err's message is @text; frees it. */
G_GNUC_UNUSED
static void assert_error(Error **err, const char *text)
{
    g_assert_nonnull(*err);
    g_assert_cmpstr(error_get_pretty(*err), ==, text);
    error_free(*err);
    *err = NULL;
}

/* No node or user of the test remains. */
G_GNUC_UNUSED
static void dummy_reset(void)
{
    g_assert_null(bdrv_next_node(NULL));
    g_assert_cmpint(dummy.opened, ==, dummy.closed);
    g_assert_cmpint(dummy.drain_begins, ==, dummy.drain_ends);
    memset(&dummy, 0, sizeof(dummy));
}

#endif
