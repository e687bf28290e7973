/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copier: takes areas from a walker, as a pacer allows, and moves them. */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "qemu/interval.h"

/* Areas without data to copy are taken in large pieces. */
#define MAX_IDLE_AREA (1 * GiB)

/* An area in flight. */
typedef struct CopyTask {
    BlockReq req;
    Copier *c;
    CopyArea area;
    Coroutine *co; /* runs the transfer */
    bool spoiled;  /* the source was overwritten: the data read may be new */
    LIST_ENTRY(CopyTask) list;
} CopyTask;

/* Completes and frees @task.  False with *@error: its area is left again. */
static bool coroutine_fn move_task(CopyTask *task, BlockCopyError *error)
{
    Copier *c = task->c;
    CopyArea area = task->area;
    bool is_read = false;
    int ret = 0;

    task->co = coroutine_self();
    if (area.kind == COPY_DATA || area.kind == COPY_ZERO) {
        ret = c->ops->move(c->opaque, &area, &is_read);
    }
    if (ret < 0 || task->spoiled) {
        copy_walker_put_back(c->walker, &area);
    } else {
        c->moved++;
    }
    if (c->ops->ended) {
        c->ops->ended(c->opaque, &area, ret == 0 && task->spoiled
                                            ? -ECANCELED : ret);
    }
    if (c->reqs) {
        block_reqs_remove(&task->req);
    }
    LIST_REMOVE(task, list);
    g_free(task);
    if (ret < 0) {
        *error = (BlockCopyError) {ret, is_read, area.offset, area.bytes};
    }
    return ret >= 0;
}

static CopyTask *new_task(Copier *c, const CopyArea *area)
{
    CopyTask *task = g_new0(CopyTask, 1);

    task->c = c;
    task->area = *area;
    LIST_INSERT_HEAD(&c->tasks, task, list);
    if (c->reqs) {
        block_reqs_add(c->reqs, &task->req, area->offset, area->bytes);
    }
    if (c->ops->begun) {
        c->ops->begun(c->opaque, area);
    }
    return task;
}

/* --- failed areas, unit by unit --- */

typedef struct Retry {
    Copier *c;
    const CopyArea *area;
    BlockCopyError error; /* of the first unit that failed */
} Retry;

/* Retries one unit.  True if it is not left. */
static bool coroutine_fn retry_unit(Retry *r, int64_t offset)
{
    int64_t end = r->area->offset + r->area->bytes;
    CopyArea area = *r->area;
    BlockCopyError error;

    area.offset = offset;
    area.bytes = MIN(r->c->unit, end - offset);
    if (!copy_walker_take(r->c->walker, offset, area.bytes)) {
        return true; /* copied, or in flight elsewhere */
    }
    if (move_task(new_task(r->c, &area), &error)) {
        return true;
    }
    if (r->error.ret == 0) {
        r->error = error;
    }
    return false;
}

/* The first unit of an area failed: do distant units fail, too? */
static bool coroutine_fn others_fail(Retry *r)
{
    const CopyArea *area = r->area;
    int64_t unit = r->c->unit;
    int64_t last = area->offset + ROUND_DOWN(area->bytes - 1, unit);
    int64_t middle = area->offset + ROUND_DOWN(area->bytes / 2, unit);

    return !retry_unit(r, last) &&
           (middle == last || middle == area->offset ||
            !retry_unit(r, middle));
}

/* True: every unit that is left has been tried and failed. */
static bool coroutine_fn retry_units(Retry *r, uint64_t moved)
{
    const CopyArea *area = r->area;
    Copier *c = r->c;
    int64_t end = area->offset + area->bytes;

    if (c->dead && c->dead_moved == c->moved) {
        return false;
    }
    for (int64_t at = area->offset; at < end; at += c->unit) {
        if (c->pacer->cancelled) {
            return false;
        }
        if (!retry_unit(r, at) && at == area->offset &&
            others_fail(r)) {
            c->dead = true;
            c->dead_moved = moved;
            return false;
        }
    }
    return true;
}

/* Retries @area, which failed with *@error; *@error: what failed again. */
static void coroutine_fn retry_area(Copier *c, const CopyArea *area,
                                    BlockCopyError *error)
{
    Retry r = {.c = c, .area = area};
    uint64_t moved = c->moved;
    bool tried;

    if (area->bytes <= c->unit || c->no_retry) {
        return;
    }
    co_mutex_lock(&c->retry_lock);
    tried = retry_units(&r, moved);
    co_mutex_unlock(&c->retry_lock);
    if (r.error.ret < 0) {
        /* Report the original cause; later errors may be consequences of it. */
        if (r.error.is_read == error->is_read) {
            r.error.ret = error->ret;
        }
        *error = r.error;
    } else if (tried && c->quiet) {
        error->ret = 0; /* the run waits for areas in flight elsewhere */
    }
}

/* --- a run --- */

/* Runs in a coroutine of its own, or in the caller's. */
static void coroutine_fn copy_area(void *opaque)
{
    CopyTask *task = opaque;
    Copier *c = task->c;
    CopyArea area = task->area;
    BlockCopyError error = {0};

    if (!move_task(task, &error)) {
        bool first = c->error.ret == 0;

        if (first && !c->quiet) {
            c->error = error;
            copy_pacer_fail(c->pacer); /* no new areas begin */
        }
        retry_area(c, &area, &error);
        if (first) {
            c->error = error;
        }
        if (error.ret < 0) {
            copy_pacer_fail(c->pacer);
        }
    }
    copy_pacer_end(c->pacer, area.bytes);
}

/* Does it count towards the speed limit? */
static bool costs(const Copier *c, const CopyArea *area)
{
    return area->kind == COPY_DATA ||
           (area->kind == COPY_ZERO && !c->free_zeroes);
}

static void coroutine_fn start_area(Copier *c, const CopyArea *area)
{
    bool moves = area->kind == COPY_DATA || area->kind == COPY_ZERO;
    CopyTask *task = new_task(c, area);

    copy_pacer_begin(c->pacer, area->bytes, costs(c, area));
    if (c->pacer->max_workers == 1 || !moves) {
        copy_area(task);
    } else {
        coroutine_enter(coroutine_create(copy_area, task));
    }
}

/*
 * Areas without cost do not wait for the speed limit, so that a run with only
 * those left ends at once.  Others, zeroes too, count in full.
 */
static bool coroutine_fn must_sleep(Copier *c, const CopyArea *area)
{
    if (!costs(c, area) || !copy_pacer_is_limited(c->pacer)) {
        return false;
    }
    copy_walker_unget(c->walker, area);
    if (copy_pacer_keep_speed(c->pacer)) {
        return true;
    }
    return !copy_walker_take(c->walker, area->offset, area->bytes);
}

/* Takes areas from the walker's position until nothing is left. */
static void coroutine_fn hand_out(Copier *c)
{
    int64_t max[COPY_KINDS] = {
        [COPY_DATA] = c->chunk,
        [COPY_SKIP] = MAX_IDLE_AREA,
        [COPY_UNALLOCATED] = MAX_IDLE_AREA,
    };

    while (copy_pacer_wait_room(c->pacer)) {
        CopyArea area;
        int ret;

        max[COPY_ZERO] = copy_pacer_is_limited(c->pacer) && !c->free_zeroes
            ? c->chunk : MAX_IDLE_AREA;
        ret = copy_walker_next(c->walker, max, &area);
        if (ret == 0) {
            break;
        }
        if (ret < 0) {
            c->error = (BlockCopyError) {ret, true, area.offset, area.bytes};
            copy_pacer_fail(c->pacer);
        } else if (copy_pacer_must_stop(c->pacer)) {
            copy_walker_unget(c->walker, &area); /* stopped during the look */
        } else if (!must_sleep(c, &area)) {
            start_area(c, &area);
        }
    }
}

/* One pass; true: repeat it, as other calls had parts of it in flight. */
static bool coroutine_fn pass(Copier *c)
{
    CopyWalker *w = c->walker;

    copy_walker_rewind(w);
    hand_out(c);
    copy_pacer_wait_all(c->pacer);
    if (copy_pacer_must_stop(c->pacer)) {
        return false;
    }
    return (c->reqs && block_reqs_wait_one(c->reqs, w->start,
                                           w->end - w->start)) ||
           copy_walker_more(w);
}

static void begin_run(Copier *c)
{
    g_assert(!c->running);
    c->running = true;
    c->error = (BlockCopyError) {0};
    c->moved = 0;
    c->dead = false;
    co_mutex_init(&c->retry_lock);
}

static void coroutine_fn run(Copier *c)
{
    while (pass(c)) {
        /* until nothing is left */
    }
    c->cancelled = c->pacer->cancelled && c->error.ret == 0;
    c->running = false;
}

int coroutine_fn copier_run(Copier *c)
{
    begin_run(c);
    run(c);
    return c->error.ret;
}

static void coroutine_fn copier_entry(void *opaque)
{
    Copier *c = opaque;

    c->co = coroutine_self();
    run(c);
    c->co = NULL;
    if (c->waiter) {
        co_wake(g_steal_pointer(&c->waiter));
    }
    if (c->done) {
        c->done(c->done_opaque);
    }
}

void copier_start(Copier *c, void (*done)(void *opaque), void *opaque)
{
    begin_run(c);
    c->done = done;
    c->done_opaque = opaque;
    coroutine_enter(coroutine_create(copier_entry, c));
}

void coroutine_fn copier_wait(Copier *c)
{
    if (c->running) {
        g_assert(!c->waiter);
        c->waiter = coroutine_self();
        coroutine_yield();
    }
}

void copier_spoil(BlockReqList *reqs, int64_t offset, int64_t bytes)
{
    BlockReq *req;

    LIST_FOREACH(req, &reqs->reqs, list) {
        if (ranges_overlap(req->offset, req->bytes, offset, bytes)) {
            container_of(req, CopyTask, req)->spoiled = true;
        }
    }
}

void copier_for_each_co(Copier *c, void (*fn)(Coroutine *co, void *opaque),
                        void *opaque)
{
    CopyTask *task;

    if (c->co) {
        fn(c->co, opaque);
    }
    LIST_FOREACH(task, &c->tasks, list) {
        if (task->co && task->co != c->co) {
            fn(task->co, opaque);
        }
    }
}

bool copier_was_cancelled(const Copier *c)
{
    g_assert(!c->running);
    return c->cancelled;
}
