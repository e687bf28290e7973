/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Servers that stay connected and do not answer.
 *
 * While requests are in flight, a watch looks from time to time whether the
 * server has answered any, and whether the wait for it is limited: by requests
 * that were cancelled, or by bdrv_max_silence().  If it is silent for that long
 * the connection is stopped, and the requests fail.  The limit may begin to
 * apply before a request begins, or while it waits: a look finds both, so
 * nobody has to tell.
 */
#include "qemu/osdep.h"

#include "block/silence.h"
#include "nbd-int.h"

/* Between two looks. */
#define LOOK_NS INT64_C(1000000000)

/*
 * Stopping the connection would fail the requests of others, too, so it needs
 * an urgent request or that all were cancelled.
 */
static bool may_leave(const NBDState *s)
{
    const NBDUse *use;
    bool all = !LIST_EMPTY(&s->uses);

    LIST_FOREACH(use, &s->uses, list) {
        if (use->urgent) {
            return true;
        }
        all &= use->cancelled;
    }
    return all;
}

/* In ns; INT64_MAX: the server has all time. */
static int64_t max_silence(const NBDState *s)
{
    int64_t limit = bdrv_max_silence(s->bs);

    return may_leave(s) ? MIN(limit, BDRV_SILENCE_ABANDONED) : limit;
}

static void silence_begins(NBDState *s)
{
    s->answers_seen = s->answers;
    s->silent_ns = aio_now_ns();
}

/* Requests do not wait for another connection, either. */
static void fail_later_ones(NBDState *s)
{
    s->impatient = true;
    aio_timer_del(s->delay_timer);
    nbd_delay_over(s);
}

/* All requests in flight fail. */
static void leave(NBDState *s)
{
    NBDUse *use;

    if (bdrv_max_silence(s->bs) < INT64_MAX) {
        fail_later_ones(s);
    }
    LIST_FOREACH(use, &s->uses, list) {
        use->cancelled = true;
        nbd_wake_use(s, use);
    }
    if (nbd_conn_ok(s->conn)) {
        nbd_conn_stop(s->conn);
    }
    s->silent_ns = 0;
}

static void look(NBDState *s)
{
    int64_t limit = max_silence(s);

    if (limit == INT64_MAX) {
        s->silent_ns = 0;
    } else if (!s->silent_ns || s->answers != s->answers_seen) {
        silence_begins(s);
    } else if (aio_now_ns() - s->silent_ns >= limit) {
        leave(s);
    }
}

void nbd_watch_look(void *opaque)
{
    NBDState *s = opaque;

    aio_exclusive_begin();
    if (LIST_EMPTY(&s->uses)) {
        s->watched = false;
        s->silent_ns = 0;
    } else {
        look(s);
        aio_timer_mod(s->watch_timer, aio_now_ns() + LOOK_NS);
    }
    aio_exclusive_end();
}

void nbd_watch(NBDState *s)
{
    if (!s->watched) {
        s->watched = true;
        aio_bh_schedule(s->watch_bh);
    }
}

void nbd_connect_cancel(NBDState *s, Coroutine *co)
{
    NBDUse *use;

    if (!s->conn) {
        nbd_connect_cut(s); /* the node is being opened */
        return;
    }
    aio_exclusive_begin();
    LIST_FOREACH(use, &s->uses, list) {
        if (!co || co_is_part_of(use->co, co)) {
            /* Includes requests that the server has yet to answer. */
            use->cancelled = true;
            use->urgent |= !co;
            nbd_wake_use(s, use);
        }
    }
    if (!co) {
        fail_later_ones(s);
    }
    if (!s->silent_ns && may_leave(s)) {
        silence_begins(s);
    }
    aio_exclusive_end();
}
