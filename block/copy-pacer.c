/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pacer: how much is copied at a time, how fast, and when it stops. */
#include "qemu/osdep.h"
#include "block/copy-pacer.h"
#include "qemu/aio.h"

void copy_pacer_init(CopyPacer *p, int max_workers, int64_t max_bytes,
                     RateLimit *limit)
{
    *p = (CopyPacer) {
        .max_workers = max_workers,
        .max_bytes = max_bytes,
        .limit = limit,
    };
    co_queue_init(&p->room);
}

void copy_pacer_reset(CopyPacer *p)
{
    g_assert(p->in_flight == 0);
    p->cancelled = p->failed = false;
}

static bool has_room(const CopyPacer *p)
{
    return p->in_flight == 0 ||
           (p->in_flight < p->max_workers &&
            (!p->max_bytes || p->in_flight_bytes < p->max_bytes));
}

bool coroutine_fn copy_pacer_wait_room(CopyPacer *p)
{
    while (!copy_pacer_must_stop(p) && !has_room(p)) {
        co_queue_wait(&p->room, NULL);
    }
    return !copy_pacer_must_stop(p);
}

bool coroutine_fn copy_pacer_keep_speed(CopyPacer *p)
{
    int64_t ns;

    if (!copy_pacer_is_limited(p)) {
        return false;
    }
    ns = ratelimit_delay(p->limit, 0, aio_now_ns());
    if (ns <= 0) {
        return false;
    }
    if (!copy_pacer_must_stop(p)) { /* stopped during the look */
        co_sleep_wakeable(&p->sleep, ns);
    }
    return true;
}

void copy_pacer_begin(CopyPacer *p, int64_t bytes, bool costs)
{
    if (costs && copy_pacer_is_limited(p)) {
        ratelimit_delay(p->limit, bytes, aio_now_ns());
    }
    p->in_flight++;
    p->in_flight_bytes += bytes;
}

void copy_pacer_end(CopyPacer *p, int64_t bytes)
{
    g_assert(p->in_flight > 0);
    p->in_flight--;
    p->in_flight_bytes -= bytes;
    co_queue_wake_all(&p->room);
}

void coroutine_fn copy_pacer_wait_all(CopyPacer *p)
{
    while (p->in_flight > 0) {
        co_queue_wait(&p->room, NULL);
    }
}

void copy_pacer_cancel(CopyPacer *p)
{
    p->cancelled = true;
    co_queue_wake_all(&p->room);
    co_sleep_wake(&p->sleep);
}

void copy_pacer_fail(CopyPacer *p)
{
    p->failed = true;
    co_queue_wake_all(&p->room);
    co_sleep_wake(&p->sleep);
}

void copy_pacer_kick(CopyPacer *p)
{
    co_sleep_wake(&p->sleep);
}
