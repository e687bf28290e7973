/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BlockBackend: names, drain and queueing, error policy, counters. */
#include "qemu/osdep.h"

#include "qapi/qapi-types-block-stats.h"
#include "qemu/guest-clock.h"
#include "qemu/iothread.h"
#include "test-disk.h"

#define DISK_BYTES (64 * KiB)

typedef struct Fixture {
    TestDisk *disk;
    BlockDriverState *bs;
    BlockBackend *blk;
} Fixture;

static void fixture_init(Fixture *f)
{
    f->disk = test_disk_new(DISK_BYTES);
    f->bs = test_open(f->disk, "{'driver': 'null-co', 'node-name': 'disk'}");
    f->blk = blk_new_with_bs(f->bs, BLK_PERM_CONSISTENT_READ |
                             BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort);
}

static void fixture_free(Fixture *f)
{
    blk_unref(f->blk);
    bdrv_unref(f->bs);
    test_disk_free(f->disk);
}

static void test_names(void)
{
    BlockBackend *other = blk_new(aio_main_context(), 0, BLK_PERM_ALL);
    Error *err = NULL;
    Fixture f;

    fixture_init(&f);
    g_assert_cmpstr(blk_name(f.blk), ==, "");
    g_assert_true(blk_set_name(f.blk, "drive0", &error_abort));
    g_assert_true(blk_by_name("drive0") == f.blk);
    g_assert_true(bdrv_lookup_bs("drive0", NULL, &error_abort) == f.bs);
    g_assert_false(blk_set_name(other, "drive0", &err));
    g_clear_pointer(&err, error_free);
    g_assert_false(blk_set_name(other, "disk", &err)); /* a node's */
    g_clear_pointer(&err, error_free);
    g_assert_false(blk_set_name(other, "1 x", &err));
    g_clear_pointer(&err, error_free);
    g_assert_true(blk_next(NULL) == other);
    g_assert_true(blk_next(other) == f.blk);
    g_assert_null(blk_next(f.blk));
    blk_unref(other);
    fixture_free(&f);
    g_assert_null(blk_next(NULL));
}

static void test_no_medium(void)
{
    BlockBackend *blk = blk_new(aio_main_context(), 0, BLK_PERM_ALL);
    uint8_t buf[512];

    g_assert_cmpint(blk_pread(blk, 0, 512, buf, 0), ==, -ENOMEDIUM);
    g_assert_cmpint(blk_flush(blk), ==, -ENOMEDIUM);
    g_assert_cmpint(blk_getlength(blk), ==, -ENOMEDIUM);
    g_assert_false(blk_is_available(blk));
    g_assert_false(blk_is_writable(blk));
    blk_drain(blk);
    blk_unref(blk);
}

static void test_permissions(void)
{
    BlockBackend *other;
    Error *err = NULL;
    Fixture f;

    fixture_init(&f);
    g_assert_true(blk_set_perm(f.blk, BLK_PERM_WRITE,
                               BLK_PERM_CONSISTENT_READ, &error_abort));
    other = blk_new_with_bs(f.bs, BLK_PERM_WRITE, BLK_PERM_ALL, &err);
    g_assert_null(other);
    g_assert_nonnull(err);
    error_free(err);
    /* without a node it is only remembered */
    other = blk_new(aio_main_context(), 0, BLK_PERM_ALL);
    g_assert_true(blk_set_perm(other, BLK_PERM_CONSISTENT_READ,
                               BLK_PERM_ALL, &error_abort));
    g_assert_true(blk_insert_bs(other, f.bs, &error_abort));
    g_assert_cmpint(blk_root(other)->perm, ==, BLK_PERM_CONSISTENT_READ);
    blk_remove_bs(other);
    g_assert_null(blk_bs(other));
    blk_unref(other);
    fixture_free(&f);
}

/* --- drain --- */

static int begins, polls, ends;

static void on_drained_begin(void *opaque)
{
    begins++;
}

static bool on_drained_poll(void *opaque)
{
    return polls++ < 2;
}

static void on_drained_end(void *opaque)
{
    ends++;
}

static char *on_desc(void *opaque)
{
    return g_strdup("the tester");
}

static void wake_up(void *opaque)
{
}

static void test_drain_ops(void)
{
    static const BlockDevOps ops = {
        .drained_begin = on_drained_begin,
        .drained_poll = on_drained_poll,
        .drained_end = on_drained_end,
        .desc = on_desc,
    };
    g_autofree char *desc = NULL;
    Fixture f;

    fixture_init(&f);
    blk_set_dev_ops(f.blk, &ops, NULL);
    /* the drain asks again whenever the loop has done something */
    for (int i = 0; i < 3; i++) {
        aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, wake_up, NULL);
    }
    g_assert_cmpint(begins, ==, 0);
    polls = 2;
    bdrv_drained_begin(f.bs);
    bdrv_drained_begin(f.bs);
    g_assert_cmpint(begins, ==, 1);
    g_assert_cmpint(polls, >=, 3);
    bdrv_drained_end(f.bs);
    g_assert_cmpint(ends, ==, 0);
    bdrv_drained_end(f.bs);
    g_assert_cmpint(ends, ==, 1);
    desc = blk_root(f.blk)->klass->parent_desc(blk_root(f.blk));
    g_assert_cmpstr(desc, ==, "the tester");
    blk_set_dev_ops(f.blk, NULL, NULL);
    fixture_free(&f);
}

typedef struct Write {
    Fixture *f;
    bool done;
} Write;

static void coroutine_fn write_entry(void *opaque)
{
    Write *w = opaque;
    uint8_t buf[512] = { 1 };

    g_assert_cmpint(blk_co_pwrite(w->f->blk, 0, 512, buf, 0), ==, 0);
    w->done = true;
}

/* What comes during a drain waits, and the drain does not wait for it. */
static void test_queueing(void)
{
    Fixture f;
    Write w = { .f = &f };

    fixture_init(&f);
    bdrv_drained_begin(f.bs);
    coroutine_enter(coroutine_create(write_entry, &w));
    g_assert_false(w.done);
    bdrv_drained_begin(f.bs);
    bdrv_drained_end(f.bs);
    g_assert_false(w.done);
    g_assert_cmpint(f.disk->writes, ==, 0);
    bdrv_drained_end(f.bs);
    AIO_WAIT_WHILE(!w.done);
    g_assert_cmpint(f.disk->writes, ==, 1);
    /* unless it says otherwise */
    w.done = false;
    blk_set_disable_request_queuing(f.blk, true);
    bdrv_drained_begin(f.bs);
    coroutine_enter(coroutine_create(write_entry, &w));
    g_assert_true(w.done);
    bdrv_drained_end(f.bs);
    fixture_free(&f);
}

static void test_drain_waits(void)
{
    Fixture f;
    Write w = { .f = &f };

    fixture_init(&f);
    f.disk->latency_ns = 1000000;
    coroutine_enter(coroutine_create(write_entry, &w));
    g_assert_false(w.done);
    blk_drain(f.blk);
    g_assert_true(w.done);
    fixture_free(&f);
}

/* --- error policy --- */

static void test_error_policy(void)
{
    BlockBackend *blk = blk_new(aio_main_context(), 0, BLK_PERM_ALL);

    g_assert_cmpint(blk_get_error_action(blk, true, EIO), ==,
                    BLOCK_ERROR_ACTION_REPORT);
    g_assert_cmpint(blk_get_error_action(blk, false, ENOSPC), ==,
                    BLOCK_ERROR_ACTION_STOP);
    g_assert_cmpint(blk_get_error_action(blk, false, EIO), ==,
                    BLOCK_ERROR_ACTION_REPORT);
    blk_set_on_error(blk, BLOCKDEV_ON_ERROR_STOP, BLOCKDEV_ON_ERROR_IGNORE);
    g_assert_cmpint(blk_get_error_action(blk, true, EIO), ==,
                    BLOCK_ERROR_ACTION_STOP);
    g_assert_cmpint(blk_get_error_action(blk, false, ENOSPC), ==,
                    BLOCK_ERROR_ACTION_IGNORE);
    g_assert_cmpint(blk_get_on_error(blk, false), ==,
                    BLOCKDEV_ON_ERROR_IGNORE);
    blk_iostatus_set_err(blk, EIO); /* not enabled yet */
    g_assert_cmpint(blk_iostatus(blk), ==, BLOCK_DEVICE_IO_STATUS_OK);
    blk_iostatus_enable(blk);
    blk_iostatus_set_err(blk, ENOSPC);
    blk_iostatus_set_err(blk, EIO); /* the first one stays */
    g_assert_cmpint(blk_iostatus(blk), ==, BLOCK_DEVICE_IO_STATUS_NOSPACE);
    blk_iostatus_reset(blk);
    g_assert_cmpint(blk_iostatus(blk), ==, BLOCK_DEVICE_IO_STATUS_OK);
    blk_unref(blk);
}

static void count(BlockBackend *blk, BlockAcctType type, int64_t bytes,
                  int64_t ns, int ret)
{
    BlockAcctCookie cookie;

    block_acct_start(&cookie, type, bytes);
    guest_clock_move(guest_clock_ns() + ns);
    block_acct_done(blk_get_stats(blk), &cookie, ret);
}

static void test_accounting(void)
{
    uint8_t buf[512];
    BlockAcctStats *s;
    Fixture f;

    fixture_init(&f);
    guest_clock_hold(1000);
    s = blk_get_stats(f.blk);
    /* Requests of the handle do not count as the guest's by default. */
    blk_pread(f.blk, 0, 512, buf, 0);
    g_assert_cmpuint(s->ops[BLOCK_ACCT_READ], ==, 0);
    count(f.blk, BLOCK_ACCT_READ, 512, 10, 0);
    count(f.blk, BLOCK_ACCT_READ, 512, 20, 512);
    count(f.blk, BLOCK_ACCT_READ, 512, 5, -EIO);
    g_assert_cmpuint(s->ops[BLOCK_ACCT_READ], ==, 2);
    g_assert_cmpuint(s->bytes[BLOCK_ACCT_READ], ==, 1024);
    g_assert_cmpuint(s->failed[BLOCK_ACCT_READ], ==, 1);
    g_assert_cmpuint(s->time_ns[BLOCK_ACCT_READ], ==, 35);
    g_assert_cmpint(s->last_access_ns, ==, 1035);
    s->account_failed = s->account_invalid = false;
    count(f.blk, BLOCK_ACCT_UNMAP, 4096, 100, -EIO);
    block_acct_invalid(s, BLOCK_ACCT_WRITE);
    g_assert_cmpuint(s->failed[BLOCK_ACCT_UNMAP], ==, 1);
    g_assert_cmpuint(s->invalid[BLOCK_ACCT_WRITE], ==, 1);
    g_assert_cmpuint(s->time_ns[BLOCK_ACCT_UNMAP], ==, 0);
    g_assert_cmpint(s->last_access_ns, ==, 1035);
    /* With a fixed latency each request counts with that. */
    block_acct_fix_latency(7);
    count(f.blk, BLOCK_ACCT_FLUSH, 0, 0, 0);
    g_assert_cmpuint(s->time_ns[BLOCK_ACCT_FLUSH], ==, 7);
    block_acct_fix_latency(0);
    guest_clock_hold(-1);
    fixture_free(&f);
}

/* What intervals of 10 s tell, against all requests that there were. */
static void test_intervals(void)
{
    const int64_t second = 1000000000;
    BlockDeviceTimedStatsList *list;
    BlockDeviceTimedStats *t;
    Fixture f;

    fixture_init(&f);
    guest_clock_hold(0);
    block_acct_add_interval(blk_get_stats(f.blk), 10);
    block_acct_add_interval(blk_get_stats(f.blk), 100);
    for (int i = 1; i <= 100; i++) {
        guest_clock_move(i * second);
        count(f.blk, BLOCK_ACCT_WRITE, 1, i, 0);
        list = block_acct_intervals(blk_get_stats(f.blk));
        t = list->value;
        g_assert_cmpint(t->interval_length, ==, 10);
        g_assert_cmpint(t->max_wr_latency_ns, ==, i);
        /* At least the last five are in, none older than ten. */
        g_assert_cmpint(t->min_wr_latency_ns, >=, MAX(i - 10, 1));
        g_assert_cmpint(t->min_wr_latency_ns, <=, MAX(i - 4, 1));
        g_assert_cmpint(t->avg_wr_latency_ns, ==,
                        (t->min_wr_latency_ns + i) / 2);
        g_assert_cmpint(t->max_rd_latency_ns, ==, 0);
        g_assert_cmpint(list->next->value->interval_length, ==, 100);
        qapi_free_BlockDeviceTimedStatsList(list);
    }
    /* Long afterwards nothing is known. */
    guest_clock_move(1000 * second);
    list = block_acct_intervals(blk_get_stats(f.blk));
    g_assert_cmpint(list->value->max_wr_latency_ns, ==, 0);
    qapi_free_BlockDeviceTimedStatsList(list);
    guest_clock_hold(-1);
    fixture_free(&f);
}

/* --- from the main thread into another one --- */

typedef struct ThreadWrite {
    BlockBackend *blk;
    bool done; /* atomic */
} ThreadWrite;

static void coroutine_fn thread_write_entry(void *opaque)
{
    ThreadWrite *w = opaque;
    uint8_t buf[512] = { 1 };

    g_assert_cmpint(blk_co_pwrite(w->blk, 0, sizeof(buf), buf, 0), ==, 0);
    __atomic_store_n(&w->done, true, __ATOMIC_SEQ_CST);
}

/* The request is counted at every moment: before it begins, and when woken. */
static void test_enter_co(void)
{
    g_autoptr(IOThread) thread = iothread_new("t", &error_abort);
    Fixture f;

    fixture_init(&f);
    g_assert_true(blk_set_aio_context(f.blk, iothread_context(thread),
                                      &error_abort));
    for (int i = 0; i < 100; i++) {
        ThreadWrite w = { .blk = f.blk };

        blk_enter_co(f.blk, thread_write_entry, &w);
        g_assert_true(blk_is_busy(f.blk));
        bdrv_drained_begin(f.bs);
        g_assert_true(__atomic_load_n(&w.done, __ATOMIC_SEQ_CST) !=
                      blk_is_busy(f.blk));
        bdrv_drained_end(f.bs);
        AIO_WAIT_WHILE(!__atomic_load_n(&w.done, __ATOMIC_SEQ_CST));
    }
    for (int i = 0; i < 100; i++) {
        ThreadWrite w = { .blk = f.blk };

        bdrv_drained_begin(f.bs);
        blk_enter_co(f.blk, thread_write_entry, &w);
        bdrv_drained_begin(f.bs); /* waits until it waits */
        bdrv_drained_end(f.bs);
        g_assert_true(blk_is_busy(f.blk));
        bdrv_drained_end(f.bs);
        g_assert_true(blk_is_busy(f.blk));
        AIO_WAIT_WHILE(blk_is_busy(f.blk));
        g_assert_true(__atomic_load_n(&w.done, __ATOMIC_SEQ_CST));
    }
    fixture_free(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/block-backend/names", test_names);
    g_test_add_func("/block-backend/no-medium", test_no_medium);
    g_test_add_func("/block-backend/permissions", test_permissions);
    g_test_add_func("/block-backend/drain-ops", test_drain_ops);
    g_test_add_func("/block-backend/queueing", test_queueing);
    g_test_add_func("/block-backend/drain-waits", test_drain_waits);
    g_test_add_func("/block-backend/enter-co", test_enter_co);
    g_test_add_func("/block-backend/error-policy", test_error_policy);
    g_test_add_func("/block-backend/accounting", test_accounting);
    g_test_add_func("/block-backend/intervals", test_intervals);
    return g_test_run();
}
