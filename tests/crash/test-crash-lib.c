/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of the library itself: possible states of disks, and valid content. */
#include "crash.h"

const BlockDriver *const bdrv_drivers[] = { &crash_recorder, NULL };

/* --- a log written by hand --- */

static CrashLog *new_log(int64_t bytes)
{
    CrashLog *log = crash_log_new();
    g_autofree uint8_t *data = g_malloc0(bytes);

    crash_log_set_base(log, 0, data, bytes);
    return log;
}

static CrashOp *begin_write(CrashLog *log, int64_t offset, int64_t bytes,
                            int value)
{
    g_autofree uint8_t *data = g_malloc(bytes);

    memset(data, value, bytes);
    return crash_log_begin(log, CRASH_OP_WRITE, 0, offset, bytes, data);
}

static void end(CrashLog *log, CrashOp *op)
{
    crash_log_end(log, op, 1 * MiB); /* grows nothing */
}

static void write_now(CrashLog *log, int64_t offset, int64_t bytes, int value)
{
    end(log, begin_write(log, offset, bytes, value));
}

static CrashOp *begin_flush(CrashLog *log)
{
    return crash_log_begin(log, CRASH_OP_FLUSH, 0, 0, 0, NULL);
}

/* The disk now, with @picks of what is pending. */
static GByteArray *disk_now(CrashLog *log, guint pending,
                            const CrashPick *picks, uint32_t seed)
{
    CrashReplay *r = crash_replay_new(log);
    GByteArray *disks[CRASH_DISKS], *result;
    uint8_t bytes[16] = { 0 };

    crash_replay_seek(r, log->now);
    g_assert_cmpuint(r->pending->len, ==, pending);
    for (guint i = 0; i < pending; i++) {
        bytes[i] = picks[i];
    }
    for (int i = 0; i < CRASH_DISKS; i++) {
        disks[i] = g_byte_array_new();
    }
    crash_replay_build(r, bytes, seed, disks);
    result = g_byte_array_ref(disks[0]);
    for (int i = 0; i < CRASH_DISKS; i++) {
        g_byte_array_unref(disks[i]);
    }
    crash_replay_free(r);
    return result;
}

static void expect(CrashLog *log, guint pending, const CrashPick *picks,
                   int64_t offset, int value)
{
    GByteArray *disk = disk_now(log, pending, picks, 1);

    g_assert_cmpint(disk->len, >, offset);
    g_assert_cmpint(disk->data[offset], ==, value);
    g_byte_array_unref(disk);
}

#define PICKS(...) ((const CrashPick[]) { __VA_ARGS__ })

/* Only what was complete when a flush began is durable when it is over. */
static void test_flush(void)
{
    CrashLog *log = new_log(4096);
    CrashOp *flush, *later;

    write_now(log, 0, 512, 1);
    later = begin_write(log, 512, 512, 2);
    flush = begin_flush(log);
    expect(log, 2, PICKS(CRASH_LOST, CRASH_LOST), 0, 0);
    end(log, later);
    end(log, flush);
    expect(log, 1, PICKS(CRASH_LOST), 0, 1);
    expect(log, 1, PICKS(CRASH_LOST), 512, 0);
    expect(log, 1, PICKS(CRASH_WHOLE), 512, 2);
    end(log, begin_flush(log));
    expect(log, 0, NULL, 512, 2);
    crash_log_free(log);
}

/* A flush of another disk does nothing for this one. */
static void test_two_disks(void)
{
    CrashLog *log = new_log(4096);

    write_now(log, 0, 512, 1);
    end(log, crash_log_begin(log, CRASH_OP_FLUSH, 1, 0, 0, NULL));
    expect(log, 1, PICKS(CRASH_LOST), 0, 0);
    crash_log_free(log);
}

/* On one sector the later one is not there without the earlier one. */
static void test_order(void)
{
    CrashLog *log = new_log(4096);
    CrashOp *a, *b;

    write_now(log, 0, 1024, 1);
    write_now(log, 100, 8, 2);
    expect(log, 2, PICKS(CRASH_LOST, CRASH_WHOLE), 0, 1);
    expect(log, 2, PICKS(CRASH_LOST, CRASH_WHOLE), 100, 2);
    expect(log, 2, PICKS(CRASH_LOST, CRASH_WHOLE), 512, 0);
    expect(log, 2, PICKS(CRASH_WHOLE, CRASH_LOST), 100, 1);
    crash_log_free(log);

    /* Two at once: either may come first. */
    log = new_log(4096);
    a = begin_write(log, 0, 8, 1);
    b = begin_write(log, 8, 8, 2);
    end(log, a);
    end(log, b);
    expect(log, 2, PICKS(CRASH_LOST, CRASH_WHOLE), 0, 0);
    expect(log, 2, PICKS(CRASH_LOST, CRASH_WHOLE), 8, 2);
    crash_log_free(log);
}

/* Sectors are there as a whole, in all combinations. */
static void test_torn(void)
{
    CrashLog *log = new_log(4096);
    unsigned seen = 0;

    write_now(log, 0, 2048, 1);
    for (uint32_t seed = 0; seed < 300; seed++) {
        GByteArray *disk = disk_now(log, 1, PICKS(CRASH_TORN), seed);
        unsigned sectors = 0;

        for (int i = 0; i < 4; i++) {
            const uint8_t *p = disk->data + i * 512;

            g_assert_true(!memcmp(p, p + 1, 511));
            sectors |= p[0] << i;
        }
        seen |= 1 << sectors;
        g_byte_array_unref(disk);
    }
    g_assert_cmphex(seen, ==, 0xffff);
    crash_log_free(log);
}

/* What is lost is no part of the file; shrinking comes before growing. */
static void test_size(void)
{
    CrashLog *log = new_log(1024);
    GByteArray *disk;
    CrashOp *op;

    op = begin_write(log, 1024, 512, 1);
    crash_log_end(log, op, 1024);
    disk = disk_now(log, 1, PICKS(CRASH_LOST), 1);
    g_assert_cmpint(disk->len, ==, 1024);
    g_byte_array_unref(disk);
    end(log, crash_log_begin(log, CRASH_OP_TRUNCATE, 0, 512, 0, NULL));
    op = begin_write(log, 2048, 512, 2);
    crash_log_end(log, op, 512);
    disk = disk_now(log, 3, PICKS(CRASH_WHOLE, CRASH_LOST, CRASH_WHOLE), 1);
    g_assert_cmpint(disk->len, ==, 2560);
    g_assert_cmpint(disk->data[1024], ==, 0);
    g_assert_cmpint(disk->data[2048], ==, 2);
    g_byte_array_unref(disk);
    disk = disk_now(log, 3, PICKS(CRASH_WHOLE, CRASH_LOST, CRASH_LOST), 1);
    g_assert_cmpint(disk->len, ==, 1536);
    g_byte_array_unref(disk);
    crash_log_free(log);
}

/* --- searching --- */

/* The second sector is only good when the first one is. */
static bool check_pair(void *opaque, CrashTime cut, GByteArray **disks,
                       GString *why)
{
    bool ok = !disks[0]->data[512] || disks[0]->data[0];

    g_string_append(why, ok ? "" : "alone");
    return ok;
}

static bool search_pair(bool with_flush, GString *why)
{
    CrashLog *log = new_log(4096);
    CrashSearch search = {
        .log = log, .rand = g_rand_new_with_seed(1), .budget = 400,
        .check = check_pair,
    };
    bool ok;

    write_now(log, 2048, 512, 3);
    write_now(log, 0, 512, 1);
    if (with_flush) {
        end(log, begin_flush(log));
    }
    write_now(log, 1024, 512, 3);
    write_now(log, 512, 512, 2);
    ok = crash_search(&search, why);
    g_assert_cmpuint(search.states, >, with_flush ? 20 : 2);
    g_assert_true(ok == !search.failed_at);
    g_rand_free(search.rand);
    crash_log_free(log);
    return ok;
}

static void test_search(void)
{
    g_autoptr(GString) why = g_string_new("");

    g_assert_true(search_pair(true, why));
    g_assert_false(search_pair(false, why));
    g_assert_true(g_str_has_prefix(why->str, "alone\n"));
    g_assert_nonnull(strstr(why->str, "there write disk0 0x200+0x200"));
    g_assert_nonnull(strstr(why->str, "lost write disk0 0+0x200"));
    g_assert_nonnull(strstr(why->str, "lost write disk0 0x800+0x200"));
}

/* --- the model --- */

static CrashModel *new_model(CrashLog *log)
{
    const uint8_t initial[4] = { 9, 9, 9, 9 };

    return crash_model_new(log, 4 * CRASH_UNIT, 2 * CRASH_UNIT, initial);
}

static guint begin(CrashModel *m, CrashGuestOp op)
{
    op.bytes = op.bytes ? op.bytes : CRASH_UNIT;
    op.size = op.size ? op.size : -1;
    return crash_model_begin(m, &op);
}

static void flush(CrashModel *m, int ret)
{
    crash_model_end_flush(m, crash_model_begin_flush(m), ret);
}

/* May the first unit of a disk of @units be @value now? */
static bool may_be(const CrashModel *m, int64_t units, int value)
{
    g_autoptr(GString) why = g_string_new("");
    g_autofree uint8_t *data = g_malloc(units * CRASH_UNIT);

    memset(data, 9, units * CRASH_UNIT);
    memset(data, value, CRASH_UNIT);
    return crash_model_allows(m, m->log->now, data, units * CRASH_UNIT, why);
}

static void test_model(void)
{
    CrashLog *log = crash_log_new();
    CrashModel *m = new_model(log);
    guint a, b;

    g_assert_true(may_be(m, 2, 9) && !may_be(m, 2, 0) && !may_be(m, 1, 9));
    a = begin(m, (CrashGuestOp) { .value = 1 });
    g_assert_true(may_be(m, 2, 9) && may_be(m, 2, 1));
    flush(m, 0); /* it is not complete yet */
    crash_model_end(m, a, 0);
    g_assert_true(may_be(m, 2, 9) && may_be(m, 2, 1));
    flush(m, -EIO);
    g_assert_true(may_be(m, 2, 9));
    flush(m, 0);
    g_assert_true(!may_be(m, 2, 9) && may_be(m, 2, 1));

    /* Two at once: either may have been the last. */
    a = begin(m, (CrashGuestOp) { .value = 2 });
    b = begin(m, (CrashGuestOp) { .value = 3 });
    crash_model_end(m, a, 0);
    crash_model_end(m, b, 0);
    flush(m, 0);
    g_assert_true(!may_be(m, 2, 1) && may_be(m, 2, 2) && may_be(m, 2, 3));

    /* One that failed may have been done, and does not hide others. */
    a = begin(m, (CrashGuestOp) { .value = 4 });
    crash_model_end(m, a, -EIO);
    flush(m, 0);
    g_assert_true(may_be(m, 2, 2) && may_be(m, 2, 4));

    /* Neither does a discard. */
    a = begin(m, (CrashGuestOp) { .value = 0, .weak = true });
    crash_model_end(m, a, 0);
    flush(m, 0);
    g_assert_true(may_be(m, 2, 0) && may_be(m, 2, 3) && !may_be(m, 2, 9));
    crash_model_free(m);
    crash_log_free(log);
}

static void test_model_size(void)
{
    CrashLog *log = crash_log_new();
    CrashModel *m = new_model(log);
    const uint8_t values[2] = { 5, 9 };
    guint a;

    a = begin(m, (CrashGuestOp) { .offset = 64, .wild = true, .size = 64 });
    g_assert_true(may_be(m, 2, 9) && may_be(m, 1, 9));
    crash_model_end(m, a, 0);
    flush(m, 0);
    g_assert_true(!may_be(m, 2, 9) && may_be(m, 1, 9));

    /* All or nothing. */
    a = begin(m, (CrashGuestOp) {
        .bytes = 128, .size = 128, .atomic = true,
        .values = g_memdup2(values, 2) });
    g_assert_true(may_be(m, 1, 9) && may_be(m, 2, 5));
    g_assert_true(!may_be(m, 1, 5) && !may_be(m, 2, 9));
    crash_model_end(m, a, 0);
    flush(m, 0);
    g_assert_true(!may_be(m, 1, 9) && may_be(m, 2, 5));
    crash_model_free(m);
    crash_log_free(log);
}

/* --- the recorder --- */

typedef struct Client {
    BlockBackend *blk;
    int number;
    unsigned *running;
} Client;

static void coroutine_fn client_entry(void *opaque)
{
    const Client *c = opaque;
    uint8_t buf[512];

    memset(buf, c->number, sizeof(buf));
    g_assert_cmpint(blk_co_pwrite(c->blk, c->number * 512, 512, buf, 0), ==,
                    0);
    g_assert_cmpint(blk_co_pread(c->blk, c->number * 512, 512, buf, 0), ==, 0);
    g_assert_cmpint(buf[511], ==, c->number);
    --*c->running;
}

/* Eight writes at once; what was done, as a text. */
static char *record(uint32_t seed)
{
    CrashMachine *m = crash_machine = crash_machine_new();
    CrashLog *log = crash_log_new();
    GString *text = g_string_new("");
    unsigned running = 0;
    Client clients[8];
    BlockDriverState *bs;
    BlockBackend *blk;

    crash_machine_go_live(m, log, seed);
    bs = crash_open(BDRV_O_RDWR, &error_abort, "{'driver': 'file', "
                    "'filename': 'disk0'}");
    blk = blk_new_with_bs(bs, BLK_PERM_ALL, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
    g_assert_cmpint(blk_truncate(blk, 4096, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    for (int i = 0; i < 8; i++) {
        running++;
        clients[i] = (Client) { blk, i, &running };
        coroutine_enter(coroutine_create(client_entry, &clients[i]));
    }
    AIO_WAIT_WHILE(running);
    g_assert_cmpint(blk_flush(blk), ==, 0);
    blk_unref(blk);
    for (guint i = 0; i < log->ops->len; i++) {
        g_autofree char *line = crash_op_describe(log->ops->pdata[i],
                                                  CRASH_WHOLE);

        g_string_append_printf(text, "%s\n", line);
    }
    g_assert_cmpuint(log->done->len, ==, 9);
    crash_machine_free(m);
    crash_log_free(log);
    return g_string_free(text, FALSE);
}

static void test_recorder(void)
{
    g_autofree char *one = record(1), *again = record(1), *other = record(2);

    g_assert_cmpstr(one, ==, again);
    g_assert_cmpstr(one, !=, other);
    /* All of them were in flight at once. */
    g_assert_nonnull(strstr(one, "write disk0 0xe00+0x200 (10.."));
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/crash-lib/flush", test_flush);
    g_test_add_func("/crash-lib/two-disks", test_two_disks);
    g_test_add_func("/crash-lib/order", test_order);
    g_test_add_func("/crash-lib/torn", test_torn);
    g_test_add_func("/crash-lib/size", test_size);
    g_test_add_func("/crash-lib/search", test_search);
    g_test_add_func("/crash-lib/model", test_model);
    g_test_add_func("/crash-lib/model-size", test_model_size);
    g_test_add_func("/crash-lib/recorder", test_recorder);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
