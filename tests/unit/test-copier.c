/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pacer alone, and the copier with a mover that only records areas. */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "qemu/aio.h"

#define UNIT (64 * KiB)
#define SIZE (4 * MiB)
#define UNITS (SIZE / UNIT)

/* --- the pacer --- */

typedef struct Waiter {
    CopyPacer *p;
    bool done, result;
} Waiter;

static void coroutine_fn wait_room(void *opaque)
{
    Waiter *w = opaque;

    w->result = copy_pacer_wait_room(w->p);
    w->done = true;
}

static void coroutine_fn keep_speed(void *opaque)
{
    Waiter *w = opaque;

    w->result = copy_pacer_keep_speed(w->p);
    w->done = true;
}

/* By areas and by bytes; one always may begin. */
static void test_room(void)
{
    CopyPacer p;
    Waiter w = {.p = &p};

    copy_pacer_init(&p, 2, 3 * UNIT, NULL);
    copy_pacer_begin(&p, 9 * UNIT, true);
    coroutine_enter(coroutine_create(wait_room, &w));
    g_assert(!w.done);
    copy_pacer_end(&p, 9 * UNIT);
    AIO_WAIT_WHILE(!w.done);
    g_assert(w.result);
    copy_pacer_begin(&p, UNIT, true);
    copy_pacer_begin(&p, UNIT, true);
    w.done = false;
    coroutine_enter(coroutine_create(wait_room, &w));
    g_assert(!w.done);
    copy_pacer_cancel(&p);
    AIO_WAIT_WHILE(!w.done);
    g_assert(!w.result && p.in_flight == 2);
    copy_pacer_end(&p, UNIT);
    copy_pacer_end(&p, UNIT);
    copy_pacer_reset(&p);
    g_assert(!copy_pacer_must_stop(&p));
    copy_pacer_fail(&p);
    g_assert(copy_pacer_must_stop(&p) && !p.cancelled);
}

/* It sleeps until the speed changes. */
static void test_speed(void)
{
    RateLimit limit = {0};
    CopyPacer p;
    Waiter w = {.p = &p};

    copy_pacer_init(&p, 1, 0, &limit);
    g_assert(!copy_pacer_is_limited(&p));
    ratelimit_set_speed(&limit, 1);
    coroutine_enter(coroutine_create(keep_speed, &w));
    g_assert(w.done && !w.result);
    copy_pacer_begin(&p, UNIT, false); /* costs nothing */
    copy_pacer_end(&p, UNIT);
    w.done = false;
    coroutine_enter(coroutine_create(keep_speed, &w));
    g_assert(w.done && !w.result);
    copy_pacer_begin(&p, UNIT, true);
    copy_pacer_end(&p, UNIT);
    w.done = false;
    coroutine_enter(coroutine_create(keep_speed, &w));
    g_assert(!w.done);
    ratelimit_set_speed(&limit, 0);
    copy_pacer_kick(&p);
    AIO_WAIT_WHILE(!w.done);
    g_assert(w.result);
}

/* --- the copier --- */

typedef struct Fixture {
    HBitmap *bits;
    CopyWalker walker;
    CopyPacer pacer;
    RateLimit limit;
    Copier c;
    bool bad[UNITS];
    int moved[UNITS]; /* how often it was moved */
    int moves, running, max_running;
    int64_t ended; /* bytes, without errors */
    int cancel_at; /* the n-th move cancels; 0: none */
} Fixture;

static int coroutine_fn move(void *opaque, const CopyArea *area,
                             bool *is_read)
{
    Fixture *f = opaque;
    int ret = 0;

    f->moves++;
    f->running++;
    f->max_running = MAX(f->max_running, f->running);
    co_yield_to_loop();
    f->running--;
    if (f->moves == f->cancel_at) {
        copy_pacer_cancel(&f->pacer);
    }
    for (int i = area->offset / UNIT;
         i < DIV_ROUND_UP(area->offset + area->bytes, UNIT); i++) {
        ret = f->bad[i] ? -EIO : ret;
        f->moved[i] += !f->bad[i];
    }
    *is_read = true;
    return ret;
}

static void ended(void *opaque, const CopyArea *area, int ret)
{
    Fixture *f = opaque;

    f->ended += ret < 0 ? 0 : area->bytes;
}

static const CopierOps ops = {.move = move, .ended = ended};

static void set_up(Fixture *f, bool span, int workers)
{
    *f = (Fixture){0};
    if (span) {
        copy_walker_init_span(&f->walker, SIZE, 1);
    } else {
        f->bits = hbitmap_new(SIZE, UNIT);
        hbitmap_set_all(f->bits);
        copy_walker_init_bits(&f->walker, f->bits, 0, SIZE);
    }
    copy_pacer_init(&f->pacer, workers, 0, &f->limit);
    f->c = (Copier) {
        .walker = &f->walker,
        .pacer = &f->pacer,
        .ops = &ops,
        .opaque = f,
        .chunk = MiB,
        .unit = UNIT,
    };
}

static void tear_down(Fixture *f)
{
    copy_walker_destroy(&f->walker);
    hbitmap_free(f->bits);
}

static int run(Fixture *f)
{
    copy_pacer_reset(&f->pacer);
    copier_start(&f->c, NULL, NULL);
    AIO_WAIT_WHILE(f->c.running);
    g_assert_cmpint(f->pacer.in_flight, ==, 0);
    g_assert(LIST_EMPTY(&f->c.tasks));
    return f->c.error.ret;
}

static void test_all(void)
{
    for (int i = 0; i < 4; i++) {
        int workers = i / 2 ? 3 : 1;
        Fixture f;

        set_up(&f, i % 2, workers);
        g_assert_cmpint(run(&f), ==, 0);
        g_assert(!copier_was_cancelled(&f.c));
        g_assert_cmpint(f.max_running, ==, workers);
        g_assert_cmpint(f.ended, ==, SIZE);
        g_assert_cmpint(f.moves, ==, 4);
        tear_down(&f);
    }
}

/* Data around bad units is copied, and bad units are left. */
static void test_bad(void)
{
    for (int span = 0; span < 2; span++) {
        Fixture f;

        set_up(&f, span, 1);
        f.bad[20] = f.bad[25] = true;
        g_assert_cmpint(run(&f), ==, -EIO);
        g_assert(f.c.error.is_read);
        g_assert_cmpint(f.c.error.offset, ==, 20 * UNIT);
        g_assert_cmpint(f.c.error.bytes, ==, UNIT);
        g_assert_cmpint(f.ended, ==, 30 * UNIT);
        g_assert(copy_walker_more(&f.walker));
        g_assert_cmpint(run(&f), ==, -EIO); /* still */
        f.bad[20] = f.bad[25] = false;
        g_assert_cmpint(run(&f), ==, 0);
        g_assert_cmpint(f.ended, ==, SIZE);
        for (int i = 0; i < UNITS; i++) {
            g_assert_cmpint(f.moved[i], >=, 1);
        }
        tear_down(&f);
    }
}

/* After a cancel it waits for areas in flight, and can continue later. */
static void test_cancel(void)
{
    for (int span = 0; span < 2; span++) {
        Fixture f;

        set_up(&f, span, 2);
        f.cancel_at = 2;
        g_assert_cmpint(run(&f), ==, 0);
        g_assert(copier_was_cancelled(&f.c));
        g_assert_cmpint(f.ended, ==, 2 * MiB);
        f.cancel_at = 0;
        g_assert_cmpint(run(&f), ==, 0);
        g_assert(!copier_was_cancelled(&f.c));
        g_assert_cmpint(f.ended, ==, SIZE);
        g_assert_cmpint(f.moves, ==, 4);
        tear_down(&f);
    }
}

/* A run with a very low speed ends when cancelled. */
static void test_cancel_asleep(void)
{
    Fixture f;

    set_up(&f, true, 2);
    ratelimit_set_speed(&f.limit, 1);
    copier_start(&f.c, NULL, NULL);
    AIO_WAIT_WHILE(f.ended == 0);
    g_assert(f.c.running);
    copy_pacer_cancel(&f.pacer);
    AIO_WAIT_WHILE(f.c.running);
    g_assert_cmpint(f.ended, ==, MiB);
    tear_down(&f);
}

/* What failed once is copied in the same run, and told of; or not. */
static void test_quiet(void)
{
    for (int quiet = 0; quiet < 2; quiet++) {
        Fixture f;

        set_up(&f, false, 1);
        f.c.quiet = quiet;
        f.bad[0] = true;
        copier_start(&f.c, NULL, NULL);
        AIO_WAIT_WHILE(f.moves < 2); /* by units now */
        f.bad[0] = false;
        AIO_WAIT_WHILE(f.c.running);
        g_assert_cmpint(f.c.error.ret, ==, quiet ? 0 : -EIO);
        g_assert_cmpint(f.ended, ==, quiet ? SIZE : MiB);
        tear_down(&f);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/copy-pacer/room", test_room);
    g_test_add_func("/copy-pacer/speed", test_speed);
    g_test_add_func("/copier/all", test_all);
    g_test_add_func("/copier/bad", test_bad);
    g_test_add_func("/copier/cancel", test_cancel);
    g_test_add_func("/copier/cancel-asleep", test_cancel_asleep);
    g_test_add_func("/copier/quiet", test_quiet);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
