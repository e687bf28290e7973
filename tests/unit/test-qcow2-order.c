/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order in which qcow2's writes become durable, request by request.
 *
 * A filter below the format records each write and flush with its begin and
 * end, and can hold a write.  Power is then lost at every step: all flushed
 * writes are there and, of the others, none, any single one, or all but any
 * single one.  Each result must be consistent and contain, sector by sector,
 * the data that the guest's last completed flush covers or data written since.
 */
#include "qemu/osdep.h"

#include <glib/gstdio.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "block/qcow2/snapshot-int.h"
#include "block/request.h"
#include "block/snapshot.h"
#include "qemu/aio.h"
#include "test-qcow2.h"

extern const BlockDriver bdrv_file, bdrv_raw;

#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)
#define DISK (256 * KiB)
#define CLUSTER (64 * KiB)
#define SECTORS (DISK / 512)
#define BACKING 0xbb /* the byte that the backing file is full of */

/* --- the recorder --- */

typedef struct Event {
    int64_t offset, bytes; /* bytes -1: flush */
    uint8_t *data;
    int begin, end; /* steps; end INT_MAX: not done yet */
} Event;

static GPtrArray *events; /* of Event */
static int step;

/* Whose write waits: a byte that its data has, or one of these. */
enum { HOLD_NONE = -1, HOLD_PACKED = -2, HOLD_HOST = -3 };
static int hold = HOLD_NONE;
static bool holding;
static Event *held; /* the write that is held, or was */
static int hold_flush; /* how many flushes from now on one waits; 0: none */
static bool flush_held;

static Event *event_begin(int64_t offset, int64_t bytes, uint8_t *data)
{
    Event *e = g_new(Event, 1);

    *e = (Event){ offset, bytes, data, ++step, INT_MAX };
    g_ptr_array_add(events, e);
    return e;
}

static void event_free(void *opaque)
{
    Event *e = opaque;

    g_free(e->data);
    g_free(e);
}

static int rec_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    return bdrv_open_child(bs, options->u.compress.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
        ? 0 : -EINVAL;
}

static bool is_held(const uint8_t *data, int64_t bytes)
{
    if (hold == HOLD_PACKED) {
        return bytes > 32 && bytes < 4096; /* no table is like that */
    }
    return hold >= 0 && memchr(data, hold, bytes);
}

static int coroutine_fn rec_pwritev(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes, QEMUIOVector *qiov,
                                    size_t qiov_offset,
                                    BdrvRequestFlags flags)
{
    uint8_t *data = g_malloc(bytes);
    Event *e = event_begin(offset, bytes, data);
    int ret;

    qemu_iovec_to_buf(qiov, qiov_offset, data, bytes);
    if (!holding && is_held(data, bytes)) {
        holding = true;
        held = e;
        while (hold != HOLD_NONE) {
            co_yield_to_loop();
        }
    }
    ret = bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset, flags);
    e->end = ++step;
    return ret;
}

static int coroutine_fn rec_pwrite_zeroes(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes,
                                          BdrvRequestFlags flags)
{
    Event *e = event_begin(offset, bytes, g_malloc0(bytes));
    int ret = bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);

    e->end = ++step;
    return ret;
}

static int coroutine_fn rec_flush(BlockDriverState *bs)
{
    Event *e = event_begin(0, -1, NULL);

    if (hold_flush && --hold_flush == 0) {
        flush_held = true;
    }
    do {
        co_yield_to_loop();
    } while (flush_held);
    e->end = ++step;
    return 0;
}

/* A worker's write is in the file at its end. */
static int coroutine_fn rec_host_write_begin(BlockDriverState *bs,
                                             BdrvRequest *r)
{
    int ret = bdrv_co_host_child(r, bs->file, r->offset, r->bytes);

    if (ret == 0) {
        r->priv = event_begin(r->offset, r->host.bytes,
                              g_malloc0(r->host.bytes));
    }
    return ret;
}

static int coroutine_fn rec_host_write_end(BlockDriverState *bs,
                                           BdrvRequest *r, int result)
{
    Event *e = r->priv;

    if (result == BDRV_HOST_WRITTEN) {
        g_assert_cmpint(pread(r->host.fd, e->data, e->bytes, r->host.offset),
                        ==, e->bytes);
    }
    e->end = ++step;
    return MIN(result, 0);
}

static const BlockDriver recorder = {
    .format_name = "compress", /* a name that the schema has */
    .is_filter = true,
    .open = rec_open,
    .child_perm = bdrv_default_perms,
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK,
    .co_pwritev = rec_pwritev,
    .co_pwrite_zeroes = rec_pwrite_zeroes,
    .co_flush = rec_flush,
    .co_host_write_begin = rec_host_write_begin,
    .co_host_write_end = rec_host_write_end,
};

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_file, &bdrv_raw, &recorder, &bdrv_qcow2, NULL,
};

/* --- what the disk may show --- */

typedef struct Change {
    int sector;
    uint8_t value;
    int begin, end; /* steps */
} Change;

static GArray *changes; /* of Change, in the order of their begin */
static GArray *acks;    /* of Change: begin and end of the guest's flushes */

static Change *change_add(GArray *list, int sector, uint8_t value)
{
    Change c = { sector, value, step, INT_MAX };

    g_array_append_val(list, c);
    return &g_array_index(list, Change, list->len - 1);
}

/* What @sector shows after a loss at step @cut: is that all right? */
static bool allowed(int sector, uint8_t value, int cut)
{
    int covered = 0; /* begin of the last flush that is complete */

    for (guint i = 0; i < acks->len; i++) {
        const Change *ack = &g_array_index(acks, Change, i);

        covered = ack->end <= cut ? MAX(covered, ack->begin) : covered;
    }
    /* From the last on: until one that is covered, and so hides the older. */
    for (int i = (int)changes->len - 1; i >= 0; i--) {
        const Change *c = &g_array_index(changes, Change, i);

        if (c->sector != sector || c->begin > cut) {
            continue;
        }
        if (c->value == value) {
            return true;
        }
        if (c->end < covered) {
            return false;
        }
    }
    return false;
}

/* --- losing power --- */

static char *dir, *path, *crash_path, *base_path;
static char *start; /* the file when recording began */
static gsize start_len;

static bool is_durable(const Event *e, int cut)
{
    for (guint i = 0; i < events->len; i++) {
        const Event *f = events->pdata[i];

        if (f->bytes < 0 && f->end <= cut && f->begin > e->end) {
            return true;
        }
    }
    return false;
}

/* All that is durable at @cut; of the rest @one, or (@but) all but that. */
static void make_crashed(int cut, const Event *one, bool but)
{
    int fd;

    fd = open(crash_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    g_assert_cmpint(pwrite(fd, start, start_len, 0), ==, start_len);
    for (guint i = 0; i < events->len; i++) {
        const Event *e = events->pdata[i];

        if (e->bytes >= 0 && e->begin <= cut &&
            (is_durable(e, cut) || (e == one) != but)) {
            g_assert_cmpint(pwrite(fd, e->data, e->bytes, e->offset), ==,
                            e->bytes);
        }
    }
    close(fd);
}

static BlockDriverState *open_crashed(int flags)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'cache': {'no-flush': true}, 'file': {'driver': "
        "'file', 'filename': '%s', 'cache': {'no-flush': true}}}",
        crash_path);

    return open_text(text, BDRV_O_RDWR | flags, &error_abort);
}

static void check_crashed(int cut, bool lazy)
{
    BdrvCheckResult result = { 0 };
    BlockDriverState *bs = open_crashed(lazy ? 0 : BDRV_O_CHECK);
    g_autofree uint8_t *buf = g_malloc(DISK);
    BlockBackend *blk;

    g_assert_cmpint(bdrv_check(bs, &result, 0), ==, 0);
    g_assert_cmpint(result.corruptions, ==, 0);
    g_assert_cmpint(result.check_errors, ==, 0);
    bdrv_unref(bs);
    bs = open_crashed(0);
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
    g_assert_cmpint(blk_pread(blk, 0, DISK, buf, 0), ==, 0);
    blk_unref(blk);
    for (int i = 0; i < SECTORS; i++) {
        const uint8_t *p = buf + i * 512;

        g_assert_true(!memcmp(p, p + 1, 511)); /* one value in a sector */
        if (!allowed(i, *p, cut)) {
            quiet_stderr(false);
            g_error("lost at step %d: sector %d shows %#x", cut, i, *p);
        }
    }
}

/* Every loss from now on back to the beginning. */
static void lose_power(bool lazy)
{
    quiet_stderr(true); /* leaks are told of */
    for (int cut = 0; cut <= step; cut++) {
        make_crashed(cut, NULL, false);
        check_crashed(cut, lazy);
        for (guint i = 0; i < events->len; i++) {
            const Event *e = events->pdata[i];

            if (e->bytes >= 0 && e->begin <= cut && !is_durable(e, cut)) {
                make_crashed(cut, e, false);
                check_crashed(cut, lazy);
                make_crashed(cut, e, true);
                check_crashed(cut, lazy);
            }
        }
    }
    quiet_stderr(false);
}

/* --- the guest --- */

static BlockBackend *blk;

typedef struct Case {
    bool backing, lazy;
} Case;

static void begin_case(const Case *c)
{
    BlockdevCreateOptionsQcow2 create = {
        .size = DISK, .has_cluster_size = true, .cluster_size = CLUSTER,
        .has_lazy_refcounts = true, .lazy_refcounts = c->lazy,
        .backing_file = c->backing ? base_path : NULL,
        .has_backing_fmt = c->backing, .backing_fmt = BLOCKDEV_DRIVER_RAW,
    };
    g_autofree char *data = g_malloc(DISK);
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'file': {'driver': 'compress', 'file': "
        "{'driver': 'file', 'filename': '%s', 'cache': {'no-flush': true}}}}",
        path);
    BlockDriverState *bs;

    memset(data, BACKING, DISK);
    g_assert_true(g_file_set_contents(base_path, data, DISK, NULL));
    create_image(path, &create);
    g_assert_true(g_file_get_contents(path, &start, &start_len, NULL));
    events = g_ptr_array_new_with_free_func(event_free);
    changes = g_array_new(FALSE, FALSE, sizeof(Change));
    acks = g_array_new(FALSE, FALSE, sizeof(Change));
    step = 0;
    for (int i = 0; i < SECTORS; i++) {
        change_add(changes, i, c->backing ? BACKING : 0)->end = 0;
    }
    bs = open_text(text, BDRV_O_RDWR, &error_abort);
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
}

static void end_case(const Case *c)
{
    int last = step;

    blk_unref(blk);
    step = last; /* closing writes what was left: not a part of this */
    lose_power(c->lazy);
    g_ptr_array_free(events, TRUE);
    g_array_free(changes, TRUE);
    g_array_free(acks, TRUE);
    g_clear_pointer(&start, g_free);
}

enum { WRITE, ZERO, READ_UP, COMPRESSED, HOST, FLUSH };

typedef struct Request {
    int kind;
    int64_t offset, bytes;
    uint8_t value;
    bool done;
} Request;

static int coroutine_fn host_write(const Request *r)
{
    g_autofree uint8_t *buf = g_malloc(r->bytes);
    int ret;
    BdrvRequest *host = bdrv_co_host_write_begin(blk_root(blk), r->offset,
                                                 r->bytes, &ret);

    if (!host) {
        return ret;
    }
    while (hold == HOLD_HOST) {
        holding = true;
        co_yield_to_loop();
    }
    memset(buf, r->value, r->bytes);
    g_assert_cmpint(host->bytes, ==, r->bytes);
    g_assert_cmpint(pwrite(host->host.fd, buf, r->bytes, host->host.offset),
                    ==, r->bytes);
    return bdrv_co_host_write_end(host, BDRV_HOST_WRITTEN);
}

static int coroutine_fn issue(const Request *r, uint8_t *buf)
{
    switch (r->kind) {
    case WRITE:
        return blk_co_pwrite(blk, r->offset, r->bytes, buf, 0);
    case ZERO:
        return blk_co_pwrite_zeroes(blk, r->offset, r->bytes, 0);
    case READ_UP:
        return blk_co_pread(blk, r->offset, r->bytes, buf,
                            BDRV_REQ_COPY_ON_READ);
    case COMPRESSED:
        return blk_co_pwrite(blk, r->offset, r->bytes, buf,
                             BDRV_REQ_WRITE_COMPRESSED);
    case HOST:
        return host_write(r);
    default:
        return blk_co_flush(blk);
    }
}

static void coroutine_fn request_entry(void *opaque)
{
    Request *r = opaque;
    g_autofree uint8_t *buf = g_malloc(MAX(r->bytes, 1));
    guint first = changes->len, ack = acks->len;

    memset(buf, r->value, r->bytes);
    step++;
    if (r->kind == FLUSH) {
        change_add(acks, 0, 0);
    }
    for (int64_t i = 0; i < r->bytes / 512 && r->kind != READ_UP; i++) {
        change_add(changes, r->offset / 512 + i, r->value);
    }
    g_assert_cmpint(issue(r, buf), ==, 0);
    for (int64_t i = 0; i < r->bytes / 512 && r->kind != READ_UP; i++) {
        g_array_index(changes, Change, first + i).end = step;
    }
    if (r->kind == FLUSH) {
        g_array_index(acks, Change, ack).end = ++step;
    }
    r->done = true;
}

static void request_start(Request *r)
{
    r->done = false;
    coroutine_enter(coroutine_create(request_entry, r));
}

static void request_wait(Request *r)
{
    AIO_WAIT_WHILE(!r->done);
}

static void request(int kind, int64_t offset, int64_t bytes, uint8_t value)
{
    Request r = { kind, offset, bytes, value };

    request_start(&r);
    request_wait(&r);
}

/* --- the cases --- */

/* Starts @r and leaves it at the write that @what names. */
static void request_hold(Request *r, int what)
{
    hold = what;
    holding = false;
    request_start(r);
    AIO_WAIT_WHILE(!holding);
}

static const Case kinds[] = {
    { .backing = false, .lazy = false },
    { .backing = true, .lazy = false },
    { .backing = false, .lazy = true },
    { .backing = true, .lazy = true },
};

/* Data goes into a cluster that was zeroed and kept its place. */
static void test_zero_with_place(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        begin_case(&kinds[i]);
        request(WRITE, 0, CLUSTER, 1);
        request(FLUSH, 0, 0, 0);
        request(ZERO, 0, CLUSTER, 0);
        request(FLUSH, 0, 0, 0);
        request(WRITE, 4096, 4096, 2);
        request(FLUSH, 0, 0, 0);
        end_case(&kinds[i]);
    }
}

/* Others write and flush while the data of a request is on its way. */
static void held_case(const Case *c, Request *r, int what)
{
    begin_case(c);
    request(WRITE, 3 * CLUSTER, 4096, 1);
    request(FLUSH, 0, 0, 0);
    request_hold(r, what);
    request(WRITE, CLUSTER, 4096, 2);
    request(FLUSH, 0, 0, 0);
    hold = HOLD_NONE;
    request_wait(r);
    request(FLUSH, 0, 0, 0);
    end_case(c);
}

static void test_flush_between(void)
{
    Request part = { WRITE, 4096, 4096, 3 }, whole = { WRITE, 0, CLUSTER, 3 };
    Request host = { HOST, 0, CLUSTER, 3 };
    Request packed = { COMPRESSED, 0, CLUSTER, 3 };
    Request read = { READ_UP, 0, 4096, 0 };

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        held_case(&kinds[i], &part, 3);
        held_case(&kinds[i], &whole, 3);
        held_case(&kinds[i], &host, HOLD_HOST);
        held_case(&kinds[i], &packed, HOLD_PACKED);
        if (kinds[i].backing) {
            held_case(&kinds[i], &read, BACKING);
        }
    }
}

/*
 * The data is written while a flush is under way that began before: the one
 * before the tables are written, or the one after.
 */
static void begun_case(const Case *c, int which)
{
    Request r = { WRITE, 4096, 4096, 3 }, flush = { FLUSH, 0, 0, 0 };

    begin_case(c);
    request(WRITE, 3 * CLUSTER, 4096, 1);
    request(FLUSH, 0, 0, 0);
    request_hold(&r, 3);
    request(WRITE, CLUSTER, 4096, 2);
    hold_flush = which;
    request_start(&flush);
    AIO_WAIT_WHILE(!flush_held);
    hold = HOLD_NONE;
    AIO_WAIT_WHILE(held->end == INT_MAX);
    flush_held = false;
    request_wait(&r);
    request_wait(&flush);
    request(FLUSH, 0, 0, 0);
    end_case(c);
}

static void test_flush_begun(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        begun_case(&kinds[i], 1);
        begun_case(&kinds[i], 2);
    }
}

/* The header drops the backing file when all data copied from it is durable. */
static void test_backing_file_gone(void)
{
    const Case c = { .backing = true };

    begin_case(&c);
    request(READ_UP, 0, DISK, 0);
    g_assert_cmpint(blk_bs(blk)->drv->change_backing_file(blk_bs(blk), NULL,
                                                          NULL), ==, 0);
    end_case(&c);
}

/* --- what the rules in qcow2-int.h forbid --- */

/* An image with an L2 table at cluster 4 and data in cluster 5. */
static BlockDriverState *open_small(void)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'discard': 'unmap', 'file': {'driver': "
        "'compress', 'file': {'driver': 'file', 'filename': '%s'}}}", path);

    return open_text(text, BDRV_O_RDWR, &error_abort);
}

static void make_small(void)
{
    g_autoptr(BlockDriverState) bs = NULL;
    BlockBackend *b;
    uint8_t buf[512] = { 1 };

    events = g_ptr_array_new_with_free_func(event_free);
    create_image(path, &(BlockdevCreateOptionsQcow2) { .size = DISK });
    bs = open_small();
    b = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(blk_pwrite(b, 3 * CLUSTER, 512, buf, 0), ==, 0);
    blk_unref(b);
}

/*
 * Rule 4: an entry refers to a cluster that is said to be free, and so is
 * given to a write; then it goes, and its reference with it.
 */
static void test_free_while_written(void)
{
    Request r = { WRITE, CLUSTER, 512, 3 };
    uint64_t count;
    uint8_t entry[8], buf[512] = { 0 };
    int fd;

    make_small();
    st64_be(entry, QCOW2_COPIED | 6 * CLUSTER);
    fd = open(path, O_RDWR);
    g_assert_cmpint(pwrite(fd, entry, 8, 4 * CLUSTER), ==, 8);
    close(fd);
    changes = g_array_new(FALSE, FALSE, sizeof(Change));
    acks = g_array_new(FALSE, FALSE, sizeof(Change));
    blk = blk_new_with_bs(open_small(), PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(blk_bs(blk));
    request_hold(&r, 3);
    g_assert_cmpint(blk_pdiscard(blk, 0, CLUSTER), ==, 0);
    quiet_stderr(true);
    g_assert_cmpint(blk_flush(blk), ==, 0);
    quiet_stderr(false);
    hold = HOLD_NONE;
    request_wait(&r);
    g_assert_cmpint(qcow2_get_refcount(blk_bs(blk), 6, &count), ==, 0);
    g_assert_cmpuint(count, ==, 1);
    /* The image is marked corrupt. */
    g_assert_cmpint(blk_pwrite(blk, 2 * CLUSTER, 512, buf, 0), ==, -EIO);
    blk_unref(blk);
    g_array_free(changes, TRUE);
    g_array_free(acks, TRUE);
    g_ptr_array_free(events, TRUE);
}

static uint64_t read_entry(uint64_t offset)
{
    int fd = open(path, O_RDONLY);
    uint8_t buf[8];

    g_assert_cmpint(pread(fd, buf, 8, offset), ==, 8);
    close(fd);
    return ld64_be(buf);
}

/*
 * Rule 6: a zeroed cluster that keeps its place is written, and its table is
 * one of which the L1 entry does not say that it is ours.
 */
static void test_table_not_ours(void)
{
    const uint64_t entry = 4 * CLUSTER + 3 * 8;
    uint8_t buf[512], l1[8];
    uint64_t before;
    int fd;

    make_small();
    blk = blk_new_with_bs(open_small(), PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(blk_bs(blk));
    g_assert_cmpint(blk_pwrite_zeroes(blk, 3 * CLUSTER, CLUSTER, 0), ==, 0);
    blk_unref(blk);
    before = read_entry(entry);
    g_assert_true(before & QCOW2_ZERO);
    st64_be(l1, 4 * CLUSTER); /* without COPIED */
    fd = open(path, O_RDWR);
    g_assert_cmpint(pwrite(fd, l1, 8, 3 * CLUSTER), ==, 8);
    close(fd);
    blk = blk_new_with_bs(open_small(), PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(blk_bs(blk));
    memset(buf, 7, sizeof(buf));
    g_assert_cmpint(blk_pwrite(blk, 3 * CLUSTER, 512, buf, 0), ==, 0);
    memset(buf, 0, sizeof(buf));
    g_assert_cmpint(blk_pread(blk, 3 * CLUSTER, 512, buf, 0), ==, 0);
    g_assert_cmpint(buf[0], ==, 7);
    blk_unref(blk);
    g_assert_cmpuint(read_entry(3 * CLUSTER), !=, 4 * CLUSTER);
    g_assert_cmpuint(read_entry(entry), ==, before);
    g_ptr_array_free(events, TRUE);
}

static void coroutine_fn no_lock_entry(void *opaque)
{
    BlockDriverState *bs = opaque;
    uint64_t count;

    (void)qcow2_get_refcount(bs, 1, &count);
}

/* What a bug would do, each in a process of its own. */
static void break_lock(BlockDriverState *bs)
{
    aio_run_co(aio_main_context(), no_lock_entry, bs); /* rule 7 */
}

static void break_pointer(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    uint8_t other = 0;
    void *data;

    g_assert_cmpint(qcow2_cache_get(bs, s->l2_cache, 4 * CLUSTER, &data), ==,
                    0);
    qcow2_cache_mark_dirty(s->l2_cache, 4 * CLUSTER, &other); /* rule 8 */
}

static void break_op(BlockDriverState *bs)
{
    qcow2_set_entry(bs, 0, (Qcow2Entry){ QCOW2_ZERO, 0 }, false,
                    false); /* rule 10 */
}

static void coroutine_fn overlap_entry(void *opaque)
{
    BlockDriverState *bs = opaque;
    Qcow2Write a = { .whole = true }, b = { .whole = true };

    g_assert_cmpint(qcow2_write_begin(bs, 0, 512, &a), ==, 0);
    a.op.exclusive = false; /* ... as if it did not look */
    a.op.start = a.op.end;
    g_assert_cmpint(qcow2_write_begin(bs, 0, 512, &b), ==, 0);
    a.op.start = 0;
    g_assert_cmpint(qcow2_snapshot_ops.co_create(bs, &(BdrvSnapshot) {
                        .name = (char *)"s" }, NULL, NULL), ==, 0);
}

static void break_snapshot(BlockDriverState *bs)
{
    aio_run_co(aio_main_context(), overlap_entry, bs); /* rule 11 */
}

typedef struct Bug {
    const char *name;
    void (*run)(BlockDriverState *bs);
    const char *says; /* of the assertion */
} Bug;

static const Bug bugs[] = {
    { "lock", break_lock, "*qcow2_assert_locked*" },
    { "pointer", break_pointer, "*entry->data == data*" },
    { "op", break_op, "*qcow2_op_covers*" },
    { "snapshot", break_snapshot, "*LIST_EMPTY*" },
};

static void test_bug(const void *opaque)
{
    const Bug *bug = opaque;

    if (g_test_subprocess()) {
        make_small();
        bug->run(open_small());
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr(bug->says);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    dir = g_dir_make_tmp("test-qcow2-order-XXXXXX", NULL);
    path = g_build_filename(dir, "t.qcow2", NULL);
    crash_path = g_build_filename(dir, "crash.qcow2", NULL);
    base_path = g_build_filename(dir, "base.raw", NULL);
    g_test_add_func("/qcow2/order/zero-with-place", test_zero_with_place);
    g_test_add_func("/qcow2/order/flush-between", test_flush_between);
    g_test_add_func("/qcow2/order/flush-begun", test_flush_begun);
    g_test_add_func("/qcow2/order/backing-file", test_backing_file_gone);
    g_test_add_func("/qcow2/rules/free-while-written",
                    test_free_while_written);
    g_test_add_func("/qcow2/rules/table-not-ours", test_table_not_ours);
    for (size_t i = 0; i < ARRAY_SIZE(bugs); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2/rules/%s",
                                                bugs[i].name);

        g_test_add_data_func(name, &bugs[i], test_bug);
    }
    ret = g_test_run();
    g_unlink(path);
    g_unlink(crash_path);
    g_unlink(base_path);
    g_rmdir(dir);
    g_free(path);
    g_free(crash_path);
    g_free(base_path);
    g_free(dir);
    aio_main_cleanup();
    return ret;
}
