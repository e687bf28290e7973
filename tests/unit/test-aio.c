/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop: descriptors, bottom halves, nesting, wake-ups. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>

static AioContext *ctx;

static void drain(void)
{
    while (aio_poll(ctx, false)) {
    }
}

static void count(void *opaque)
{
    ++*(int *)opaque;
}

/* --- bottom halves --- */

static void test_bh(void)
{
    int n = 0;
    AioBH *bh = aio_bh_new(ctx, AIO_SCOPE_IO, count, &n);

    g_assert(!aio_poll(ctx, false));
    aio_bh_schedule(bh);
    aio_bh_schedule(bh);
    g_assert_cmpint(n, ==, 0);
    g_assert(aio_poll(ctx, true));
    g_assert_cmpint(n, ==, 1);
    aio_bh_schedule(bh);
    aio_bh_cancel(bh);
    drain();
    g_assert_cmpint(n, ==, 1);
    aio_bh_schedule(bh);
    aio_bh_free(bh);
    drain();
    g_assert_cmpint(n, ==, 1);
    aio_bh_oneshot(ctx, AIO_SCOPE_MAIN, count, &n);
    drain();
    g_assert_cmpint(n, ==, 2);
    aio_bh_free(NULL);
}

typedef struct Again {
    AioBH *bh;
    int n;
} Again;

static void bh_again(void *opaque)
{
    Again *a = opaque;

    if (++a->n < 5) {
        aio_bh_schedule(a->bh);
    } else {
        aio_bh_free(a->bh);
    }
}

/* One that schedules itself runs once per turn, and may free itself. */
static void test_bh_again(void)
{
    Again a = { .n = 0 };

    a.bh = aio_bh_new(ctx, AIO_SCOPE_IO, bh_again, &a);
    aio_bh_schedule(a.bh);
    for (int i = 1; i <= 5; i++) {
        aio_poll(ctx, true);
        g_assert_cmpint(a.n, ==, i);
    }
    g_assert(!aio_poll(ctx, false));
}

static gpointer bh_thread(gpointer opaque)
{
    for (int i = 0; i < 1000; i++) {
        aio_bh_oneshot(ctx, AIO_SCOPE_IO, count, opaque);
    }
    return NULL;
}

static void test_bh_threads(void)
{
    GThread *thread[4];
    int n = 0;

    for (int i = 0; i < 4; i++) {
        thread[i] = g_thread_new("bh", bh_thread, &n);
    }
    AIO_WAIT_WHILE(n < 4000);
    for (int i = 0; i < 4; i++) {
        g_thread_join(thread[i]);
    }
    g_assert_cmpint(n, ==, 4000);
}

/* --- descriptors --- */

typedef struct Pipe {
    int fd[2];
    int reads, writes;
    bool remove_self;
    struct Pipe *remove_other;
    bool keep_data;
} Pipe;

static void pipe_open(Pipe *p)
{
    *p = (Pipe) { .reads = 0 };
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd),
                    ==, 0);
}

static void pipe_close(Pipe *p)
{
    aio_set_fd_handler(ctx, p->fd[0], AIO_SCOPE_IO, NULL, NULL, NULL);
    close(p->fd[0]);
    close(p->fd[1]);
}

static void pipe_feed(Pipe *p)
{
    g_assert_cmpint(write(p->fd[1], "x", 1), ==, 1);
}

static void pipe_read(void *opaque)
{
    Pipe *p = opaque;
    char c;

    p->reads++;
    if (!p->keep_data) {
        g_assert_cmpint(read(p->fd[0], &c, 1), >=, 0);
    }
    if (p->remove_self) {
        aio_set_fd_handler(ctx, p->fd[0], AIO_SCOPE_IO, NULL, NULL, NULL);
    }
    if (p->remove_other) {
        aio_set_fd_handler(ctx, p->remove_other->fd[0], AIO_SCOPE_IO, NULL,
                           NULL, NULL);
    }
}

static void pipe_write(void *opaque)
{
    ((Pipe *)opaque)->writes++;
}

static void test_fd(void)
{
    Pipe p;

    pipe_open(&p);
    aio_set_fd_handler(ctx, p.fd[0], AIO_SCOPE_IO, pipe_read, NULL, &p);
    g_assert(!aio_poll(ctx, false));
    pipe_feed(&p);
    pipe_feed(&p);
    /* Level-triggered: once per turn, as long as there is data. */
    g_assert(aio_poll(ctx, true));
    g_assert_cmpint(p.reads, ==, 1);
    g_assert(aio_poll(ctx, true));
    g_assert_cmpint(p.reads, ==, 2);
    g_assert(!aio_poll(ctx, false));

    aio_set_fd_handler(ctx, p.fd[0], AIO_SCOPE_IO, pipe_read, pipe_write, &p);
    aio_poll(ctx, true);
    aio_poll(ctx, true);
    g_assert_cmpint(p.writes, ==, 2);
    aio_set_fd_handler(ctx, p.fd[0], AIO_SCOPE_IO, pipe_read, NULL, &p);
    drain();
    g_assert_cmpint(p.writes, ==, 2);
    pipe_feed(&p);
    drain();
    g_assert_cmpint(p.reads, ==, 3);

    p.remove_self = true;
    pipe_feed(&p);
    pipe_feed(&p);
    drain();
    g_assert_cmpint(p.reads, ==, 4);
    pipe_close(&p);
    drain();
}

static void test_fd_hangup(void)
{
    Pipe p;

    pipe_open(&p);
    p.remove_self = true;
    aio_set_fd_handler(ctx, p.fd[0], AIO_SCOPE_IO, pipe_read, NULL, &p);
    close(p.fd[1]);
    p.fd[1] = dup(p.fd[0]);
    aio_poll(ctx, true);
    g_assert_cmpint(p.reads, ==, 1);
    pipe_close(&p);
}

/* Of two that are ready, the first removes the second. */
static void test_fd_remove_other(void)
{
    Pipe p[2];

    for (int i = 0; i < 2; i++) {
        pipe_open(&p[i]);
    }
    for (int i = 0; i < 2; i++) {
        p[i].remove_other = &p[!i];
        aio_set_fd_handler(ctx, p[i].fd[0], AIO_SCOPE_IO, pipe_read, NULL,
                           &p[i]);
        pipe_feed(&p[i]);
    }
    drain();
    g_assert_cmpint(p[0].reads + p[1].reads, ==, 1);
    pipe_close(&p[0]);
    pipe_close(&p[1]);
}

/* The number of a closed descriptor is used anew, many times. */
static void test_fd_reuse(void)
{
    for (int i = 0; i < 200; i++) {
        Pipe p;

        pipe_open(&p);
        aio_set_fd_handler(ctx, p.fd[0], AIO_SCOPE_IO, pipe_read, NULL, &p);
        if (i % 3) {
            pipe_feed(&p);
            aio_poll(ctx, true);
            g_assert_cmpint(p.reads, ==, 1);
        } else if (i % 2) {
            g_assert(!aio_poll(ctx, false));
        }
        pipe_close(&p);
    }
    drain();
}

/* A closed socket is really closed, though its poll was under way. */
static void test_fd_close_is_seen(void)
{
    Pipe p;
    char c;
    fd_set set;

    pipe_open(&p);
    aio_set_fd_handler(ctx, p.fd[0], AIO_SCOPE_IO, pipe_read, NULL, &p);
    drain();
    aio_set_fd_handler(ctx, p.fd[0], AIO_SCOPE_IO, NULL, NULL, NULL);
    close(p.fd[0]);
    aio_poll(ctx, false);
    FD_ZERO(&set);
    FD_SET(p.fd[1], &set);
    g_assert_cmpint(select(p.fd[1] + 1, &set, NULL, NULL,
                           &(struct timeval){ .tv_sec = 10 }), ==, 1);
    g_assert_cmpint(read(p.fd[1], &c, 1), ==, 0);
    close(p.fd[1]);
}

/* --- nesting --- */

typedef struct Nest {
    Pipe main, io;
    int main_bh, io_bh, main_timer;
    AioTimer *timer;
    bool seen;
    double cpu;
} Nest;

static double cpu_seconds(void)
{
    struct rusage ru;

    getrusage(RUSAGE_SELF, &ru);
    return ru.ru_utime.tv_sec + ru.ru_utime.tv_usec / 1e6 +
           ru.ru_stime.tv_sec + ru.ru_stime.tv_usec / 1e6;
}

static gpointer nest_feeder(gpointer opaque)
{
    g_usleep(200000);
    pipe_feed(opaque);
    return NULL;
}

/* Polls from inside a bottom half until the I/O descriptor was ready. */
static void nest_wait(void *opaque)
{
    Nest *n = opaque;
    GThread *thread = g_thread_new("feeder", nest_feeder, &n->io);

    aio_bh_oneshot(ctx, AIO_SCOPE_MAIN, count, &n->main_bh);
    aio_bh_oneshot(ctx, AIO_SCOPE_IO, count, &n->io_bh);
    pipe_feed(&n->main);
    n->cpu = cpu_seconds();
    AIO_WAIT_WHILE(!n->io.reads);
    n->cpu = cpu_seconds() - n->cpu;
    g_thread_join(thread);
    g_assert_cmpint(n->io_bh, ==, 1);
    g_assert_cmpint(n->main_bh, ==, 0);
    g_assert_cmpint(n->main_timer, ==, 0);
    g_assert_cmpint(n->main.reads, ==, 0);
    n->seen = true;
}

static void test_nested(void)
{
    Nest n = { .seen = false };

    pipe_open(&n.main);
    pipe_open(&n.io);
    aio_set_fd_handler(ctx, n.main.fd[0], AIO_SCOPE_MAIN, pipe_read, NULL,
                       &n.main);
    aio_set_fd_handler(ctx, n.io.fd[0], AIO_SCOPE_IO, pipe_read, NULL, &n.io);
    n.timer = aio_timer_new(ctx, AIO_SCOPE_MAIN, count, &n.main_timer);
    aio_timer_mod(n.timer, aio_now_ns() + 1000000);
    aio_bh_oneshot(ctx, AIO_SCOPE_IO, nest_wait, &n);
    AIO_WAIT_WHILE(!n.seen);
    drain();
    g_assert_cmpint(n.main_bh, ==, 1);
    g_assert_cmpint(n.main_timer, ==, 1);
    g_assert_cmpint(n.main.reads, ==, 1);
    /* Waited, not spun, though much of scope MAIN was ready. */
    g_assert_cmpfloat(n.cpu, <, 0.1);
    aio_timer_free(n.timer);
    pipe_close(&n.main);
    pipe_close(&n.io);
}

typedef struct Taken {
    Pipe a, b;
    bool first;
} Taken;

static void taken_read(void *opaque)
{
    Taken *t = opaque;

    if (!t->first) {
        t->first = true;
        /* The other one was found ready in the same turn as we. */
        AIO_WAIT_WHILE(t->a.reads + t->b.reads < 2);
    }
}

static void taken_a(void *opaque)
{
    Taken *t = opaque;

    pipe_read(&t->a);
    taken_read(t);
}

static void taken_b(void *opaque)
{
    Taken *t = opaque;

    pipe_read(&t->b);
    taken_read(t);
}

/* What was found ready together with the handler that polls is not lost. */
static void test_nested_sees_ready(void)
{
    Taken t = { .first = false };

    pipe_open(&t.a);
    pipe_open(&t.b);
    aio_set_fd_handler(ctx, t.a.fd[0], AIO_SCOPE_IO, taken_a, NULL, &t);
    aio_set_fd_handler(ctx, t.b.fd[0], AIO_SCOPE_IO, taken_b, NULL, &t);
    pipe_feed(&t.a);
    pipe_feed(&t.b);
    AIO_WAIT_WHILE(t.a.reads + t.b.reads < 2);
    drain();
    pipe_close(&t.a);
    pipe_close(&t.b);
}

/* --- wake-ups --- */

typedef struct Flag {
    int set; /* atomic */
} Flag;

static gpointer notify_thread(gpointer opaque)
{
    Flag *f = opaque;

    for (int i = 0; i < 2000; i++) {
        while (__atomic_load_n(&f->set, __ATOMIC_ACQUIRE)) {
        }
        __atomic_store_n(&f->set, 1, __ATOMIC_RELEASE);
        aio_notify(ctx);
    }
    return NULL;
}

/* No wake-up may be lost between looking at a condition and waiting. */
static void test_notify(void)
{
    Flag f = { .set = 0 };
    GThread *thread = g_thread_new("notify", notify_thread, &f);

    for (int i = 0; i < 2000; i++) {
        AIO_WAIT_WHILE(!__atomic_load_n(&f.set, __ATOMIC_ACQUIRE));
        __atomic_store_n(&f.set, 0, __ATOMIC_RELEASE);
    }
    g_thread_join(thread);
}

static void on_signal(int sig)
{
    aio_main_quit();
}

static void test_quit_by_signal(void)
{
    struct sigaction sa = { .sa_handler = on_signal }, old;
    struct itimerval when = { .it_value.tv_usec = 20000 };

    sigaction(SIGALRM, &sa, &old);
    for (int i = 0; i < 3; i++) {
        setitimer(ITIMER_REAL, &when, NULL);
        aio_main_loop();
    }
    aio_main_quit(); /* before the loop: it ends at once */
    aio_main_loop();
    sigaction(SIGALRM, &old, NULL);
}

static void quit_cb(void *opaque)
{
    aio_main_quit();
}

static void test_quit(void)
{
    aio_bh_oneshot(ctx, AIO_SCOPE_MAIN, quit_cb, NULL);
    aio_main_loop();
}

static void test_engine(void)
{
    const char *forced = getenv("TIDEMARK_AIO");

    g_assert(ctx == aio_current_context());
    if (forced) {
        g_assert_cmpstr(aio_context_engine(ctx), ==, forced);
    }
}

/* --- coroutines that wait for descriptors --- */

static void coroutine_fn echo_entry(void *opaque)
{
    Pipe *p = opaque;
    char c;

    for (int i = 0; i < 50; i++) {
        while (read(p->fd[0], &c, 1) < 0) {
            co_wait_readable(p->fd[0]);
        }
        p->reads++;
        co_wait_writable(p->fd[0]);
        g_assert_cmpint(write(p->fd[0], &c, 1), ==, 1);
    }
}

static void coroutine_fn ask_entry(void *opaque)
{
    Pipe *p = opaque;
    char c;

    for (int i = 0; i < 50; i++) {
        pipe_feed(p);
        while (read(p->fd[1], &c, 1) < 0) {
            co_wait_readable(p->fd[1]);
        }
        p->writes++;
    }
}

static void test_co_wait(void)
{
    Pipe p;

    for (int round = 0; round < 3; round++) {
        pipe_open(&p);
        coroutine_enter(coroutine_create(echo_entry, &p));
        aio_run_co(aio_main_context(), ask_entry, &p);
        g_assert_cmpint(p.reads, ==, 50);
        g_assert_cmpint(p.writes, ==, 50);
        /* Closed with no further word to the loop. */
        close(p.fd[0]);
        close(p.fd[1]);
    }
    drain();
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    ctx = aio_main_context();
    g_test_add_func("/aio/engine", test_engine);
    g_test_add_func("/aio/bh", test_bh);
    g_test_add_func("/aio/bh-again", test_bh_again);
    g_test_add_func("/aio/bh-threads", test_bh_threads);
    g_test_add_func("/aio/fd", test_fd);
    g_test_add_func("/aio/fd-hangup", test_fd_hangup);
    g_test_add_func("/aio/fd-remove-other", test_fd_remove_other);
    g_test_add_func("/aio/fd-reuse", test_fd_reuse);
    g_test_add_func("/aio/fd-close-is-seen", test_fd_close_is_seen);
    g_test_add_func("/aio/nested", test_nested);
    g_test_add_func("/aio/nested-sees-ready", test_nested_sees_ready);
    g_test_add_func("/aio/notify", test_notify);
    g_test_add_func("/aio/quit-by-signal", test_quit_by_signal);
    g_test_add_func("/aio/quit", test_quit);
    g_test_add_func("/aio/co-wait", test_co_wait);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
