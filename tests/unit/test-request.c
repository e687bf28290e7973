/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The architecture of the request path: every verb, by every way in, arrives
 * on each level in the order that block/request.h draws, and bitmaps are
 * marked before a driver sees a change and again after it.
 *
 *     top    "copy-on-read": a filter with callbacks that pass on
 *     mid    "compress": a filter without callbacks
 *     disk   "null-co": a disk in memory, of an anonymous file
 *
 * Each callback records its name and, for top, mid and disk, whether a request
 * is in flight there: "-" none, "r" one, "m" one and its range is marked.
 * "Rule N" is in block/request.h.
 */
#include "qemu/osdep.h"
#include "block/bitmap-store.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/node-int.h"
#include "block/request.h"
#include <json-c/json.h>
#include <sys/mman.h>

#define DISK_BYTES (64 * KiB)
#define AT (8 * KiB)
#define LEN (4 * KiB)
#define LEVELS 3

static struct {
    BlockDriverState *bs[LEVELS];
    BdrvDirtyBitmap *bitmap[LEVELS];
    BlockBackend *blk;
    GString *trace;
    int fd;
    int64_t size;
    bool allocated;   /* what the disk says of all of it */
    bool slow;        /* the disk lets others run in each call */
    int intent_ret;   /* what the storage of bitmaps says */
    int running;
} t;

static bool dirty(int level)
{
    return hbitmap_next_dirty(bdrv_dirty_bitmap_hbitmap(t.bitmap[level]), 0,
                              DISK_BYTES) >= 0;
}

static void coroutine_fn note(const char *who, const char *what)
{
    if (!t.blk) {
        return; /* the tree goes, and flushes */
    }
    g_string_append_printf(t.trace, "%s%s.%s:", t.trace->len ? " " : "", who,
                           what);
    for (int i = 0; i < LEVELS; i++) {
        g_string_append_c(t.trace, !bdrv_node(t.bs[i])->in_flight ? '-'
                                   : dirty(i) ? 'm' : 'r');
    }
}

static void clear(void)
{
    for (int i = 0; i < LEVELS; i++) {
        bdrv_dirty_bitmap_clear(t.bitmap[i]);
    }
}

/* --- top --- */

static int top_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    return bdrv_open_child(bs, options->u.copy_on_read.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
           ? 0 : -EINVAL;
}

static int coroutine_fn top_read(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags)
{
    note("top", "read");
    return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn top_write(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags)
{
    note("top", "write");
    return bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn top_compressed(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset)
{
    note("top", "compressed");
    return bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset,
                           BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn top_zeroes(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, BdrvRequestFlags flags)
{
    note("top", "zeroes");
    return bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

static int coroutine_fn top_discard(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes)
{
    note("top", "discard");
    return bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn top_status(BlockDriverState *bs, bool want_zero,
                                   int64_t offset, int64_t bytes,
                                   int64_t *pnum, int64_t *map,
                                   BlockDriverState **file)
{
    note("top", "status");
    *pnum = bytes;
    *map = offset;
    *file = bs->file->bs;
    return BDRV_BLOCK_RAW;
}

static int coroutine_fn top_flush(BlockDriverState *bs)
{
    note("top", "flush");
    return 0;
}

static int coroutine_fn top_truncate(BlockDriverState *bs, int64_t offset,
                                     bool exact, PreallocMode prealloc,
                                     BdrvRequestFlags flags, Error **errp)
{
    note("top", "truncate");
    return bdrv_co_truncate(bs->file, offset, exact, prealloc, flags, errp);
}

static int coroutine_fn top_host_read(BlockDriverState *bs, BdrvRequest *r)
{
    note("top", "host-read");
    return bdrv_co_host_child(r, bs->file, r->offset, r->bytes);
}

static void coroutine_fn top_host_read_end(BlockDriverState *bs,
                                           BdrvRequest *r)
{
    note("top", "host-read-end");
}

static int coroutine_fn top_host_write(BlockDriverState *bs, BdrvRequest *r)
{
    note("top", "host-write");
    return bdrv_co_host_child(r, bs->file, r->offset, r->bytes);
}

static int coroutine_fn top_host_write_end(BlockDriverState *bs,
                                           BdrvRequest *r, int result)
{
    note("top", "host-write-end");
    return MIN(result, 0);
}

static const BlockDriver top_driver = {
    .format_name = "copy-on-read",
    .is_filter = true,
    .supported_write_flags = BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED,
    .open = top_open,
    .co_preadv = top_read,
    .co_pwritev = top_write,
    .co_pwritev_compressed = top_compressed,
    .co_pwrite_zeroes = top_zeroes,
    .co_pdiscard = top_discard,
    .co_block_status = top_status,
    .co_flush = top_flush,
    .co_truncate = top_truncate,
    .co_host_read_begin = top_host_read,
    .co_host_read_end = top_host_read_end,
    .co_host_write_begin = top_host_write,
    .co_host_write_end = top_host_write_end,
};

/* --- mid --- */

static int mid_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    return bdrv_open_child(bs, options->u.compress.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
           ? 0 : -EINVAL;
}

static const BlockDriver mid_driver = {
    .format_name = "compress",
    .is_filter = true,
    .open = mid_open,
};

/* --- disk --- */

static void coroutine_fn disk_call(const char *what)
{
    note("disk", what);
    if (t.slow) {
        co_sleep_ns(1000000);
    }
}

/* A copier clears the bits while the change is under way. */
static int coroutine_fn disk_change(const char *what)
{
    disk_call(what);
    clear();
    return 0;
}

static int disk_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    return 0;
}

static int64_t disk_getlength(BlockDriverState *bs)
{
    return t.size;
}

static void disk_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = 512;
}

static int coroutine_fn disk_read(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags)
{
    disk_call("read");
    qemu_iovec_memset(qiov, qiov_offset, 0x11, bytes);
    return 0;
}

static int coroutine_fn disk_write(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags)
{
    return disk_change("write");
}

static int coroutine_fn disk_compressed(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset)
{
    return disk_change("compressed");
}

static int coroutine_fn disk_zeroes(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes, BdrvRequestFlags flags)
{
    return disk_change("zeroes");
}

static int coroutine_fn disk_discard(BlockDriverState *bs, int64_t offset,
                                     int64_t bytes)
{
    return disk_change("discard");
}

static int coroutine_fn disk_status(BlockDriverState *bs, bool want_zero,
                                    int64_t offset, int64_t bytes,
                                    int64_t *pnum, int64_t *map,
                                    BlockDriverState **file)
{
    disk_call("status");
    *pnum = bytes;
    return t.allocated ? BDRV_BLOCK_DATA : 0;
}

static int coroutine_fn disk_flush(BlockDriverState *bs)
{
    disk_call("flush");
    return 0;
}

static int coroutine_fn disk_truncate(BlockDriverState *bs, int64_t offset,
                                      bool exact, PreallocMode prealloc,
                                      BdrvRequestFlags flags, Error **errp)
{
    disk_call("truncate");
    t.size = offset;
    return 0;
}

static int coroutine_fn disk_host(BdrvRequest *r, const char *what)
{
    disk_call(what);
    r->host = (BdrvHostRange) {
        .kind = BDRV_HOST_FILE, .fd = t.fd, .offset = r->offset,
        .bytes = MIN(r->bytes, LEN), .align = 1,
    };
    return 0;
}

static int coroutine_fn disk_host_read(BlockDriverState *bs, BdrvRequest *r)
{
    return disk_host(r, "host-read");
}

static void coroutine_fn disk_host_read_end(BlockDriverState *bs,
                                            BdrvRequest *r)
{
    disk_call("host-read-end");
}

static int coroutine_fn disk_host_write(BlockDriverState *bs, BdrvRequest *r)
{
    return disk_host(r, "host-write");
}

static int coroutine_fn disk_host_write_end(BlockDriverState *bs,
                                            BdrvRequest *r, int result)
{
    disk_change("host-write-end");
    return MIN(result, 0);
}

static int coroutine_fn disk_intent(BdrvBitmapStore *store, int64_t offset,
                                    int64_t bytes)
{
    int ret = t.intent_ret;

    if (ret) {
        note("disk", "intent");
        if (ret == -EAGAIN) {
            co_yield_to_loop();
        }
    }
    return ret;
}

/* No store exists here. */
static bool store_can_store(BdrvBitmapStore *store, const char *name,
                            uint64_t granularity, Error **errp)
{
    g_assert_not_reached();
}

static bool coroutine_mixed_fn store_load(BdrvBitmapStore *store, Error **errp)
{
    g_assert_not_reached();
}

static bool coroutine_mixed_fn store_bitmap(BdrvBitmapStore *store,
                                            BdrvDirtyBitmap *bitmap,
                                            Error **errp)
{
    g_assert_not_reached();
}

static bool coroutine_fn store_remove(BdrvBitmapStore *store, const char *name,
                                      Error **errp)
{
    g_assert_not_reached();
}

static const BdrvBitmapStoreOps disk_store_ops = {
    .can_store = store_can_store,
    .load = store_load,
    .begin = store_bitmap,
    .save = store_bitmap,
    .co_remove = store_remove,
    .co_write_intent = disk_intent,
};

static BdrvBitmapStore disk_store;

static const BlockDriver disk_driver = {
    .format_name = "null-co",
    .protocol_name = "null-co",
    .may_be_unallocated = true,
    .supported_write_flags = BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED,
    .open = disk_open,
    .refresh_limits = disk_limits,
    .getlength = disk_getlength,
    .co_preadv = disk_read,
    .co_pwritev = disk_write,
    .co_pwritev_compressed = disk_compressed,
    .co_pwrite_zeroes = disk_zeroes,
    .co_pdiscard = disk_discard,
    .co_block_status = disk_status,
    .co_flush = disk_flush,
    .co_truncate = disk_truncate,
    .co_host_read_begin = disk_host_read,
    .co_host_read_end = disk_host_read_end,
    .co_host_write_begin = disk_host_write,
    .co_host_write_end = disk_host_write_end,
};

const BlockDriver *const bdrv_drivers[] = {
    &top_driver, &mid_driver, &disk_driver, NULL,
};

/* --- the tree --- */

static BlockDriverState *node(const char *json)
{
    struct json_object *obj = json_tokener_parse(json);
    BlockDriverState *bs;

    g_assert_nonnull(obj);
    bs = bdrv_open_json(obj, false, BDRV_O_RDWR, &error_abort);
    json_object_put(obj);
    return bs;
}

static void tree_init(void)
{
    memset(&t, 0, sizeof(t));
    t.size = DISK_BYTES;
    t.allocated = true;
    t.trace = g_string_new(NULL);
    t.fd = memfd_create("disk", 0);
    g_assert_cmpint(ftruncate(t.fd, DISK_BYTES), ==, 0);
    t.bs[2] = node("{'driver': 'null-co', 'node-name': 'disk',"
                   " 'discard': 'unmap'}");
    disk_store = (BdrvBitmapStore) { .ops = &disk_store_ops };
    g_assert_null(bdrv_bitmap_store_attach(t.bs[2], &disk_store));
    t.bs[1] = node("{'driver': 'compress', 'node-name': 'mid',"
                   " 'discard': 'unmap', 'file': 'disk'}");
    t.bs[0] = node("{'driver': 'copy-on-read', 'node-name': 'top',"
                   " 'discard': 'unmap', 'file': 'mid'}");
    for (int i = 0; i < LEVELS; i++) {
        t.bitmap[i] = bdrv_dirty_bitmap_new(t.bs[i], 512, "b", &error_abort);
    }
    t.blk = blk_new_with_bs(t.bs[0], BLK_PERM_CONSISTENT_READ |
                            BLK_PERM_WRITE | BLK_PERM_RESIZE, BLK_PERM_ALL,
                            &error_abort);
}

static void tree_free(void)
{
    for (int i = 0; i < LEVELS; i++) {
        g_assert_true(LIST_EMPTY(&bdrv_node(t.bs[i])->requests));
        g_assert_cmpint(bdrv_node(t.bs[i])->in_flight, ==, 0);
        g_assert_cmpint(bdrv_node(t.bs[i])->serialising_in_flight, ==, 0);
    }
    blk_unref(g_steal_pointer(&t.blk));
    for (int i = 0; i < LEVELS; i++) {
        bdrv_unref(t.bs[i]);
    }
    g_string_free(t.trace, true);
    close(t.fd);
}

static void expect(const char *trace, bool marked)
{
    g_assert_cmpstr(t.trace->str, ==, trace);
    for (int i = 0; i < LEVELS; i++) {
        g_assert_cmpint(dirty(i), ==, marked); /* rule 6, the second time */
        g_assert_cmpint(bdrv_node(t.bs[i])->in_flight, ==, 0);
    }
    g_string_truncate(t.trace, 0);
    clear();
}

/* --- every verb and every way --- */

static uint8_t buffer[LEN];

static void coroutine_fn verbs_of_data(BdrvChild *root)
{
    const char *read = "top.read:r-- disk.read:rrr";
    const char *write = "top.write:m-- disk.write:mmm";

    g_assert_cmpint(blk_co_pread(t.blk, AT, LEN, buffer, 0), ==, 0);
    expect(read, false);
    g_assert_cmpint(bdrv_co_pread(root, AT, LEN, buffer, 0), ==, 0);
    expect(read, false);
    g_assert_cmpint(blk_co_pwrite(t.blk, AT, LEN, buffer, 0), ==, 0);
    expect(write, true);
    g_assert_cmpint(bdrv_co_pwrite(root, AT, LEN, buffer, 0), ==, 0);
    expect(write, true);
    g_assert_cmpint(bdrv_co_pwrite(root, AT, LEN, buffer,
                                   BDRV_REQ_WRITE_UNCHANGED), ==, 0);
    expect("top.write:r-- disk.write:rrr", false);
    g_assert_cmpint(bdrv_co_pwrite(root, AT, LEN, buffer,
                                   BDRV_REQ_WRITE_COMPRESSED), ==, 0);
    expect("top.compressed:m-- disk.compressed:mmm", true);
    /* a part of a block: read, modified, written back, marked throughout */
    g_assert_cmpint(bdrv_co_pwrite(root, AT, 10, buffer, 0), ==, 0);
    expect("top.write:m-- disk.read:mmm disk.write:mmm", true);
}

static void coroutine_fn verbs_of_space(BdrvChild *root)
{
    g_assert_cmpint(blk_co_pwrite_zeroes(t.blk, AT, LEN, 0), ==, 0);
    expect("top.zeroes:m-- disk.zeroes:mmm", true);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(root, AT, LEN,
                                          BDRV_REQ_WRITE_UNCHANGED), ==, 0);
    expect("top.zeroes:r-- disk.zeroes:rrr", false);
    g_assert_cmpint(blk_co_pdiscard(t.blk, AT, LEN), ==, 0);
    expect("top.discard:m-- disk.discard:mmm", true);
    g_assert_cmpint(bdrv_co_pdiscard(root, AT, LEN), ==, 0);
    expect("top.discard:m-- disk.discard:mmm", true);
    g_assert_cmpint(blk_co_flush(t.blk), ==, 0);
    expect("top.flush:r-- disk.flush:rrr", false);
    g_assert_cmpint(bdrv_co_truncate(root, DISK_BYTES, true,
                                     PREALLOC_MODE_OFF, 0, &error_abort), ==,
                    0);
    expect("top.truncate:r-- disk.truncate:rrr", false);
}

static void coroutine_fn verbs_of_status(BdrvChild *root)
{
    int64_t n;

    g_assert_cmpint(bdrv_is_allocated(t.bs[0], AT, LEN, &n), ==, 1);
    expect("top.status:r-- disk.status:rrr", false);
    g_assert_cmpint(bdrv_block_status_above(t.bs[0], NULL, AT, LEN, &n, NULL,
                                            NULL, NULL), ==,
                    BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED);
    expect("top.status:r-- disk.status:rrr", false);
    /* What it copies up shows what was there: nothing is marked. */
    t.allocated = false;
    g_assert_cmpint(bdrv_co_pread(root, AT, LEN, buffer,
                                  BDRV_REQ_COPY_ON_READ), ==, 0);
    expect("top.status:r-- disk.status:rrr top.read:r-- disk.read:rrr"
           " top.write:r-- disk.write:rrr top.read:r-- disk.read:rrr", false);
    t.allocated = true;
}

static void coroutine_fn verbs_of_hosts(BdrvChild *root)
{
    BdrvRequest *r;
    int ret;

    r = bdrv_co_host_read_begin(root, AT, 2 * LEN, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(r->bytes, ==, LEN);
    g_assert_cmpint(r->host.fd, ==, t.fd);
    note("user", "reads");
    bdrv_co_host_read_end(r);
    expect("top.host-read:r-- disk.host-read:rrr user.reads:rrr"
           " disk.host-read-end:rrr top.host-read-end:r--", false);

    r = bdrv_co_host_write_begin(root, AT, LEN, &ret);
    g_assert_nonnull(r);
    note("user", "writes");
    g_assert_cmpint(bdrv_co_host_write_end(r, BDRV_HOST_WRITTEN), ==, 0);
    /* The bits are cleared in the disk's end, and are back. */
    expect("top.host-write:m-- disk.host-write:mmm user.writes:mmm"
           " disk.host-write-end:mmm top.host-write-end:m--", true);

    g_assert_cmpint(bdrv_co_copy_range(root, 0, root, AT, LEN), ==, 0);
    expect("top.host-read:r-- disk.host-read:rrr"
           " top.host-write:mrr disk.host-write:mmm"
           " disk.host-write-end:mmm top.host-write-end:mmm"
           " disk.host-read-end:mmm top.host-read-end:m--", true);
}

static void coroutine_fn verbs_entry(void *opaque)
{
    BdrvChild *root = blk_root(t.blk);

    verbs_of_data(root);
    verbs_of_space(root);
    verbs_of_status(root);
    verbs_of_hosts(root);
}

static void test_verbs(void)
{
    BdrvChild *root;
    int64_t n;

    tree_init();
    aio_run_co(aio_main_context(), verbs_entry, NULL);
    /* the same from outside of coroutines */
    root = blk_root(t.blk);
    g_assert_cmpint(blk_pread(t.blk, AT, LEN, buffer, 0), ==, 0);
    g_assert_cmpint(bdrv_pread(root, AT, LEN, buffer), ==, 0);
    expect("top.read:r-- disk.read:rrr top.read:r-- disk.read:rrr", false);
    g_assert_cmpint(blk_pwrite(t.blk, AT, LEN, buffer, 0), ==, 0);
    expect("top.write:m-- disk.write:mmm", true);
    g_assert_cmpint(bdrv_pwrite_sync(root, AT, LEN, buffer), ==, 0);
    expect("top.write:m-- disk.write:mmm top.flush:m-- disk.flush:mmm", true);
    g_assert_cmpint(blk_pwrite_zeroes(t.blk, AT, LEN, 0), ==, 0);
    expect("top.zeroes:m-- disk.zeroes:mmm", true);
    g_assert_cmpint(bdrv_is_allocated(t.bs[0], AT, LEN, &n), ==, 1);
    expect("top.status:r-- disk.status:rrr", false);
    tree_free();
}

/* --- begin fails --- */

static void coroutine_fn refused_entry(void *opaque)
{
    BlockBackend *blk = opaque;
    BdrvChild *root = blk_root(blk);
    int ret;

    g_assert_cmpint(blk_co_pwrite(blk, AT, LEN, buffer, 0), ==, t.intent_ret);
    g_assert_cmpint(blk_co_pwrite(blk, AT, 10, buffer, 0), ==, t.intent_ret);
    g_assert_cmpint(blk_co_pwrite_zeroes(blk, AT, LEN, 0), ==, t.intent_ret);
    g_assert_cmpint(blk_co_pdiscard(blk, AT, LEN), ==, t.intent_ret);
    g_assert_null(bdrv_co_host_write_begin(root, AT, LEN, &ret));
    g_assert_cmpint(ret, ==, t.intent_ret);
}

/* Rules 2 and 5. */
static void test_refused(void)
{
    const int errors[] = { -EIO, -EAGAIN /* after waiting */ };
    BlockBackend *blk;

    for (int i = 0; i < G_N_ELEMENTS(errors); i++) {
        tree_init();
        blk = blk_new_with_bs(t.bs[2], BLK_PERM_CONSISTENT_READ |
                              BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort);
        t.intent_ret = errors[i];
        aio_run_co(aio_main_context(), refused_entry, blk);
        /* asked with the request in flight, before it is marked */
        expect("disk.intent:--r disk.intent:--r disk.intent:--r"
               " disk.intent:--r disk.intent:--r", false);
        /* what marks nothing, and what changes nothing, asks for nothing */
        g_assert_cmpint(blk_pread(blk, AT, LEN, buffer, 0), ==, 0);
        g_assert_cmpint(blk_pwrite(blk, AT, LEN, buffer,
                                   BDRV_REQ_WRITE_UNCHANGED), ==, 0);
        expect("disk.read:--r disk.write:--r", false);
        /* the levels above began, and say so */
        g_assert_cmpint(blk_pwrite(t.blk, AT, LEN, buffer, 0), ==, errors[i]);
        g_assert_cmpstr(t.trace->str, ==,
                        "top.write:m-- disk.intent:mmr");
        g_assert_true(dirty(0) && dirty(1) && !dirty(2));
        blk_unref(blk);
        tree_free();
    }
}

/* --- what may change while a request waits --- */

typedef struct Waiter {
    BlockBackend *blk;
    int64_t offset, bytes;
    BdrvRequestFlags flags;
    enum { WRITE, TRUNCATE, STATUS } verb;
    bool inexact; /* a larger size will do */
    int ret, order;
    int64_t pnum;
} Waiter;

static int finished;

static void coroutine_fn waiter_entry(void *opaque)
{
    Waiter *w = opaque;
    g_autofree uint8_t *buf = g_malloc0(w->bytes);
    QEMUIOVector qiov;

    switch (w->verb) {
    case WRITE:
        qemu_iovec_init_buf(&qiov, buf, w->bytes);
        w->ret = bdrv_co_pwritev(blk_root(w->blk), w->offset, w->bytes, &qiov,
                                 0, w->flags);
        break;
    case TRUNCATE:
        w->ret = bdrv_co_truncate(blk_root(w->blk), w->offset, !w->inexact,
                                  PREALLOC_MODE_OFF, 0, NULL);
        break;
    case STATUS:
        w->ret = bdrv_is_allocated(t.bs[2], w->offset, w->bytes, &w->pnum);
        break;
    }
    w->order = ++finished;
    t.running--;
}

static void start(Waiter *w)
{
    t.running++;
    coroutine_enter(coroutine_create(waiter_entry, w));
}

static void wait_all(void)
{
    AIO_WAIT_WHILE(t.running > 0);
    g_string_truncate(t.trace, 0);
    clear();
    finished = 0;
}

static BlockBackend *slow_disk(uint64_t perm)
{
    tree_init();
    t.slow = true;
    return blk_new_with_bs(t.bs[2], BLK_PERM_CONSISTENT_READ | perm,
                           BLK_PERM_ALL, &error_abort);
}

static void test_truncate_first(void)
{
    BlockBackend *blk = slow_disk(BLK_PERM_WRITE);
    BlockBackend *sizer = blk_new_with_bs(t.bs[2], BLK_PERM_RESIZE,
                                          BLK_PERM_ALL, &error_abort);
    Waiter shrink = { .blk = sizer, .verb = TRUNCATE, .offset = AT };
    Waiter in = { .blk = blk, .offset = 0, .bytes = AT };
    Waiter out = { .blk = blk, .offset = AT, .bytes = LEN };
    Waiter grow = { .blk = sizer, .verb = TRUNCATE, .offset = AT + LEN };

    start(&shrink);
    start(&out);
    start(&in);
    AIO_WAIT_WHILE(t.running > 0);
    g_assert_cmpint(shrink.ret, ==, 0);
    g_assert_cmpint(in.ret, ==, 0);
    g_assert_cmpint(out.ret, ==, -EIO); /* past the end by now */
    g_assert_cmpstr(t.trace->str, ==, "disk.truncate:--r disk.write:--m");
    wait_all();

    /* A size is changed from what the one before made it. */
    start(&grow);
    start(&shrink);
    start(&out);
    AIO_WAIT_WHILE(t.running > 0);
    g_assert_cmpint(grow.ret, ==, 0);
    g_assert_cmpint(shrink.ret, ==, 0);
    g_assert_cmpint(grow.order, <, shrink.order);
    g_assert_cmpint(t.bs[2]->total_bytes, ==, AT);
    g_assert_cmpint(out.ret, ==, -EIO);
    wait_all();
    blk_unref(sizer);
    blk_unref(blk);
    tree_free();
}

/* A request for more space does not cut off space added meanwhile. */
static void test_grown_meanwhile(void)
{
    BlockBackend *blk = slow_disk(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    Waiter write = { .blk = blk, .offset = DISK_BYTES + LEN, .bytes = LEN };
    Waiter grow = { .blk = blk, .verb = TRUNCATE,
                    .offset = DISK_BYTES + LEN, .inexact = true };

    start(&write);
    start(&grow);
    AIO_WAIT_WHILE(t.running > 0);
    g_assert_cmpint(write.ret, ==, 0);
    g_assert_cmpint(grow.ret, ==, 0);
    g_assert_cmpint(t.bs[2]->total_bytes, ==, DISK_BYTES + 2 * LEN);
    g_assert_cmpstr(t.trace->str, ==, "disk.write:--r");
    wait_all();
    blk_unref(blk);
    tree_free();
}

/* No write is in flight on a range that is cut off. */
static void test_write_first(void)
{
    BlockBackend *blk = slow_disk(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    Waiter write = { .blk = blk, .offset = AT, .bytes = LEN };
    Waiter shrink = { .blk = blk, .verb = TRUNCATE, .offset = AT };

    start(&write);
    start(&shrink);
    g_assert_cmpstr(t.trace->str, ==, "disk.write:--m");
    AIO_WAIT_WHILE(t.running > 0);
    g_assert_cmpint(write.ret, ==, 0);
    g_assert_cmpint(shrink.ret, ==, 0);
    g_assert_cmpint(write.order, <, shrink.order);
    wait_all();
    blk_unref(blk);
    tree_free();
}

/* Rule 3. */
static void test_lost_right(void)
{
    for (int i = 0; i < 2; i++) {
        BlockBackend *blk = slow_disk(BLK_PERM_WRITE);
        Waiter first = { .blk = blk, .offset = AT, .bytes = LEN,
                         .flags = BDRV_REQ_SERIALISING };
        Waiter second = { .blk = blk, .offset = AT, .bytes = LEN };

        start(&first);
        start(&second);
        if (i == 0) {
            t.bs[2]->read_only = true;
        } else {
            blk_set_perm(blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                         &error_abort);
        }
        AIO_WAIT_WHILE(t.running > 0);
        g_assert_cmpint(first.ret, ==, 0);
        g_assert_cmpint(second.ret, ==, -EPERM);
        g_assert_cmpstr(t.trace->str, ==, "disk.write:--m");
        t.bs[2]->read_only = false;
        wait_all();
        blk_unref(blk);
        tree_free();
    }
}

/* --- status --- */

static void test_status_waits(void)
{
    BlockBackend *blk = slow_disk(BLK_PERM_WRITE);
    Waiter write = { .blk = blk, .offset = AT, .bytes = LEN,
                     .flags = BDRV_REQ_SERIALISING };
    Waiter inside = { .verb = STATUS, .offset = AT + 512, .bytes = 512 };
    Waiter before = { .verb = STATUS, .offset = 0, .bytes = DISK_BYTES };

    start(&write);
    start(&inside);
    g_assert_cmpstr(t.trace->str, ==, "disk.write:--m");
    AIO_WAIT_WHILE(t.running > 0);
    g_assert_cmpint(write.order, <, inside.order);
    g_assert_cmpint(inside.ret, ==, 1);
    wait_all();

    /* It does not wait for ranges further on (rule 8). */
    start(&write);
    start(&before);
    g_assert_cmpstr(t.trace->str, ==, "disk.write:--m disk.status:--m");
    AIO_WAIT_WHILE(t.running > 0);
    wait_all();

    /* And serialising requests wait for queries. */
    start(&inside);
    start(&write);
    g_assert_cmpstr(t.trace->str, ==, "disk.status:--r");
    AIO_WAIT_WHILE(t.running > 0);
    g_assert_cmpint(inside.order, <, write.order);
    wait_all();
    blk_unref(blk);
    tree_free();
}

/* --- host ranges --- */

static BdrvRequest *held;

static void coroutine_fn hold_entry(void *opaque)
{
    int ret;

    held = bdrv_co_host_read_begin(blk_root(t.blk), AT, LEN, &ret);
    g_assert_nonnull(held);
    t.running--;
}

static void coroutine_fn release_entry(void *opaque)
{
    bdrv_co_host_read_end(held);
}

/* Serialising requests on the lowest level wait for reads on the highest. */
static void test_host_held(void)
{
    BlockBackend *blk = slow_disk(BLK_PERM_WRITE);
    Waiter write = { .blk = blk, .offset = AT + 100, .bytes = 10 };

    t.running = 1;
    coroutine_enter(coroutine_create(hold_entry, NULL));
    AIO_WAIT_WHILE(t.running > 0);
    g_string_truncate(t.trace, 0);
    start(&write);
    for (int i = 0; i < 5; i++) {
        aio_poll(aio_main_context(), false);
    }
    g_assert_cmpstr(t.trace->str, ==, "");
    coroutine_enter(coroutine_create(release_entry, NULL));
    AIO_WAIT_WHILE(t.running > 0);
    g_assert_cmpint(write.ret, ==, 0);
    g_assert_nonnull(strstr(t.trace->str, "disk.write"));
    wait_all();
    bdrv_drained_begin(t.bs[0]);
    bdrv_drained_end(t.bs[0]);
    blk_unref(blk);
    tree_free();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/request/verbs", test_verbs);
    g_test_add_func("/request/refused", test_refused);
    g_test_add_func("/request/truncate-first", test_truncate_first);
    g_test_add_func("/request/grown-meanwhile", test_grown_meanwhile);
    g_test_add_func("/request/write-first", test_write_first);
    g_test_add_func("/request/lost-right", test_lost_right);
    g_test_add_func("/request/status-waits", test_status_waits);
    g_test_add_func("/request/host-held", test_host_held);
    return g_test_run();
}
