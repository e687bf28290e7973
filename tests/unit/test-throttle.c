/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Throttling, with a clock that the test advances. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/throttle-group.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/guest-clock.h"
#include <json-c/json.h>

#define SECOND INT64_C(1000000000)

extern const BlockDriver bdrv_null_co, bdrv_throttle;

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_null_co, &bdrv_throttle, NULL,
};

/* --- buckets --- */

/* Requests of @bytes one after the other for @seconds: how many went. */
static int64_t simulate(const ThrottleConfig *config, int64_t bytes,
                        double seconds)
{
    ThrottleState ts;
    int64_t now = 0, n = 0;

    throttle_init(&ts, config, now);
    while (true) {
        now += throttle_wait_ns(&ts, true, now);
        if (now > seconds * SECOND) {
            return n;
        }
        throttle_account(&ts, true, bytes);
        n++;
    }
}

static void test_bucket_rate(void)
{
    ThrottleConfig c;

    throttle_config_init(&c);
    c.limit[THROTTLE_OPS_TOTAL].avg = 100;
    g_assert_cmpint(simulate(&c, 4096, 10), >=, 1000);
    g_assert_cmpint(simulate(&c, 4096, 10), <=, 1012);
    throttle_config_init(&c);
    c.limit[THROTTLE_BPS_WRITE].avg = 1 * MiB;
    g_assert_cmpint(simulate(&c, 65536, 10), >=, 160);
    g_assert_cmpint(simulate(&c, 65536, 10), <=, 163);
    /* reads do not count */
    throttle_config_init(&c);
    c.limit[THROTTLE_BPS_READ].avg = 1;
    c.limit[THROTTLE_OPS_TOTAL].avg = 1000;
    g_assert_cmpint(simulate(&c, 65536, 1), >=, 1000);
}

static void test_bucket_burst(void)
{
    ThrottleConfig c;
    int64_t n;

    throttle_config_init(&c);
    c.limit[THROTTLE_OPS_TOTAL] = (ThrottleLimit) { 100, 2000, 1 };
    n = simulate(&c, 1, 0.01);
    g_assert_cmpint(n, >=, 2000); /* at once */
    n = simulate(&c, 1, 20);
    g_assert_cmpint(n, >=, 2000 + 1900);
    g_assert_cmpint(n, <=, 2000 + 2020);
    /* a burst of 5 seconds goes at its own rate */
    c.limit[THROTTLE_OPS_TOTAL].burst_length = 5;
    n = simulate(&c, 1, 1);
    g_assert_cmpint(n, >=, 2000);
    g_assert_cmpint(n, <=, 2300);
    n = simulate(&c, 1, 4);
    g_assert_cmpint(n, >=, 8000);
    g_assert_cmpint(n, <=, 8300);
}

static void test_bucket_op_size(void)
{
    ThrottleConfig c;

    throttle_config_init(&c);
    c.limit[THROTTLE_OPS_TOTAL].avg = 100;
    c.op_size = 4096;
    g_assert_cmpint(simulate(&c, 40960, 10), <=, 102);
    g_assert_cmpint(simulate(&c, 40960, 10), >=, 100);
}

static void test_config_check(void)
{
    static const struct {
        ThrottleLimit total, read;
        uint64_t op_size;
    } bad[] = {
        { { 10, 0, 1 }, { 10, 0, 1 }, 0 },     /* both kinds */
        { { 0, 10, 1 }, { 0, 0, 1 }, 0 },      /* burst without rate */
        { { 10, 5, 1 }, { 0, 0, 1 }, 0 },      /* burst below the rate */
        { { 10, 0, 2 }, { 0, 0, 1 }, 0 },      /* length without burst */
        { { 10, 20, 0 }, { 0, 0, 1 }, 0 },     /* length 0 */
        { { 0, 0, 1 }, { 0, 0, 1 }, 512 },     /* size without iops */
        { { THROTTLE_VALUE_MAX + 1, 0, 1 }, { 0, 0, 1 }, 0 },
        { { 10, 1000, THROTTLE_VALUE_MAX }, { 0, 0, 1 }, 0 },
    };
    ThrottleConfig c;

    throttle_config_init(&c);
    g_assert_true(throttle_config_check(&c, &error_abort));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        Error *err = NULL;

        throttle_config_init(&c);
        c.limit[THROTTLE_OPS_TOTAL] = bad[i].total;
        c.limit[THROTTLE_OPS_READ] = bad[i].read;
        if (bad[i].op_size) {
            c.op_size = bad[i].op_size;
        }
        g_assert_false(throttle_config_check(&c, &err));
        g_assert_nonnull(err);
        error_free(err);
    }
}

/* --- groups and the filter --- */

static BlockDriverState *open_filter(const char *name, Error **errp)
{
    g_autofree char *json = g_strdup_printf(
        "{\"driver\": \"throttle\", \"node-name\": \"%s\","
        " \"throttle-group\": \"g\", \"file\": {\"driver\": \"null-co\"}}",
        name);
    struct json_object *obj = json_tokener_parse(json);
    BlockDriverState *bs = bdrv_open_json(obj, false, BDRV_O_RDWR, errp);

    json_object_put(obj);
    return bs;
}

static BlockBackend *user(BlockDriverState *bs)
{
    return blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                           BLK_PERM_ALL, &error_abort);
}

typedef struct Flow {
    BlockBackend *blk;
    int *running;
    int done, limit;
    const bool *stop;
} Flow;

static void coroutine_fn flow_entry(void *opaque)
{
    Flow *f = opaque;
    uint8_t buf[512] = { 1 };

    while (f->done < f->limit && !(f->stop && *f->stop)) {
        g_assert_cmpint(blk_co_pwrite(f->blk, 0, 512, buf, 0), ==, 0);
        f->done++;
    }
    --*f->running;
}

static void start(Flow *f)
{
    ++*f->running;
    coroutine_enter(coroutine_create(flow_entry, f));
}

static void new_group(uint64_t ops)
{
    ThrottleConfig c;

    throttle_config_init(&c);
    c.limit[THROTTLE_OPS_TOTAL].avg = ops;
    g_assert_nonnull(throttle_group_new("g", &c, &error_abort));
}

/* Advances the guest's clock to @until_ns, running all due timers. */
static void walk_to(int64_t until_ns)
{
    while (throttle_groups_waking() ||
           (guest_clock_next_ns() >= 0 && guest_clock_next_ns() <= until_ns)) {
        if (!throttle_groups_waking()) {
            guest_clock_move(guest_clock_next_ns());
        }
        aio_poll(aio_main_context(), false);
    }
    guest_clock_move(until_ns);
}

/* Two users of one group, one of them with many requests: equal shares. */
static void test_fair(void)
{
    BlockDriverState *bs[2];
    BlockBackend *blk[2];
    int running = 0, done[2];
    bool stop = false;
    Flow f[5];

    guest_clock_hold(0);
    new_group(1000);
    for (int i = 0; i < 2; i++) {
        bs[i] = open_filter(i ? "t1" : "t0", &error_abort);
        blk[i] = user(bs[i]);
    }
    for (int i = 0; i < 5; i++) {
        f[i] = (Flow) { blk[i ? 1 : 0], &running, 0, INT_MAX, &stop };
        start(&f[i]);
    }
    walk_to(SECOND / 2);
    done[0] = f[0].done;
    done[1] = f[1].done + f[2].done + f[3].done + f[4].done;
    /* 500, and what the bucket holds */
    g_assert_cmpint(done[0] + done[1], >=, 500);
    g_assert_cmpint(done[0] + done[1], <=, 620);
    g_assert_cmpint(ABS(done[0] - done[1]), <=, 110);
    stop = true;
    walk_to(SECOND);
    AIO_WAIT_WHILE(running > 0);
    for (int i = 0; i < 2; i++) {
        blk_unref(blk[i]);
        bdrv_unref(bs[i]);
    }
    g_assert_true(throttle_group_del("g", &error_abort));
    guest_clock_hold(-1);
}

/* A drain does not wait for the limits: the clock is held here. */
static void test_drain(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    int running = 0;
    Flow f[4];

    guest_clock_hold(0);
    new_group(1);
    bs = open_filter("t0", &error_abort);
    blk = user(bs);
    for (int i = 0; i < 4; i++) {
        f[i] = (Flow) { blk, &running, 0, 1, NULL };
        start(&f[i]);
    }
    g_assert_cmpint(running, >, 0);
    bdrv_drained_begin(bs);
    g_assert_cmpint(running, ==, 0);
    bdrv_drained_end(bs);
    /* and the group works on */
    f[0].done = 0;
    f[0].limit = 1;
    blk_drain(blk);
    start(&f[0]);
    bdrv_drained_begin(bs);
    g_assert_cmpint(running, ==, 0);
    bdrv_drained_end(bs);
    blk_unref(blk);
    bdrv_unref(bs);
    g_assert_true(throttle_group_del("g", &error_abort));
    guest_clock_hold(-1);
}

/* New limits apply to waiting requests, too. */
static void test_set_config(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    int running = 0;
    ThrottleConfig c;
    Flow f;

    guest_clock_hold(0);
    new_group(1);
    bs = open_filter("t0", &error_abort);
    blk = user(bs);
    f = (Flow) { blk, &running, 0, 10, NULL };
    start(&f);
    g_assert_cmpint(running, ==, 1);
    throttle_config_init(&c);
    throttle_group_set_config(throttle_group_find("g"), &c, &error_abort);
    AIO_WAIT_WHILE(running > 0);
    blk_unref(blk);
    bdrv_unref(bs);
    g_assert_true(throttle_group_del("g", &error_abort));
    guest_clock_hold(-1);
}

/* Without a held clock the time is real time. */
static void test_real_time(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    int running = 0;
    Flow f;

    new_group(1000);
    bs = open_filter("t0", &error_abort);
    blk = user(bs);
    f = (Flow) { blk, &running, 0, 300, NULL };
    start(&f);
    AIO_WAIT_WHILE(running > 0);
    g_assert_cmpint(f.done, ==, 300);
    blk_unref(blk);
    bdrv_unref(bs);
    g_assert_true(throttle_group_del("g", &error_abort));
}

static void test_names(void)
{
    BlockDriverState *bs;
    ThrottleConfig c;
    Error *err = NULL;

    g_assert_null(open_filter("t0", &err));
    g_clear_pointer(&err, error_free);
    new_group(10);
    throttle_config_init(&c);
    g_assert_null(throttle_group_new("g", &c, &err));
    g_clear_pointer(&err, error_free);
    bs = open_filter("t0", &error_abort);
    g_assert_false(throttle_group_del("g", &err));
    g_clear_pointer(&err, error_free);
    bdrv_unref(bs);
    g_assert_true(throttle_group_del("g", &error_abort));
    g_assert_false(throttle_group_del("g", &err));
    g_clear_pointer(&err, error_free);
}

static void test_qapi(void)
{
    struct json_object *obj = json_tokener_parse(
        "{\"limits\": {\"iops-total\": 5, \"bps-read\": 7},"
        " \"x-iops-total-max\": 50, \"x-iops-total-max-length\": 3}");
    g_autoptr(ThrottleGroupProperties) p =
        qapi_ThrottleGroupProperties_from_json(obj, QAPI_INPUT_STRICT,
                                               &error_abort);
    ThrottleConfig c;
    Error *err = NULL;

    json_object_put(obj);
    g_assert_true(throttle_config_from_qapi(&c, p, &error_abort));
    g_assert_cmpuint(c.limit[THROTTLE_OPS_TOTAL].avg, ==, 5);
    g_assert_cmpuint(c.limit[THROTTLE_OPS_TOTAL].max, ==, 50);
    g_assert_cmpuint(c.limit[THROTTLE_OPS_TOTAL].burst_length, ==, 3);
    g_assert_cmpuint(c.limit[THROTTLE_BPS_READ].avg, ==, 7);
    p->limits->bps_read = -1;
    g_assert_false(throttle_config_from_qapi(&c, p, &err));
    error_free(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/throttle/bucket/rate", test_bucket_rate);
    g_test_add_func("/throttle/bucket/burst", test_bucket_burst);
    g_test_add_func("/throttle/bucket/op-size", test_bucket_op_size);
    g_test_add_func("/throttle/config", test_config_check);
    g_test_add_func("/throttle/qapi", test_qapi);
    g_test_add_func("/throttle/names", test_names);
    g_test_add_func("/throttle/fair", test_fair);
    g_test_add_func("/throttle/drain", test_drain);
    g_test_add_func("/throttle/set-config", test_set_config);
    g_test_add_func("/throttle/real-time", test_real_time);
    return g_test_run();
}
