/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups of throttled users.
 *
 * Per direction a group lists the members that have delayed requests, the next
 * to be served first.  One request at a time is resumed: it accounts for
 * itself, its member moves to the end of the list, and the next one is resumed
 * at once or when the group's timer fires.
 *
 * Members may be in several contexts.  Their shared data is under the group's
 * lock; the timer belongs to the main thread, which sets it for the others.
 */
#include "qemu/osdep.h"
#include "block/throttle-group.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/guest-clock.h"
#include "qemu/thread.h"

/* A waiting request. */
typedef struct ThrottleWaiter {
    Coroutine *co;
    AioContext *ctx; /* its context */
    TAILQ_ENTRY(ThrottleWaiter) entry;
} ThrottleWaiter;

struct ThrottleGroup {
    /* --- set once --- */
    char *name;
    AioBH *look_bh; /* of the main thread: sets the timers anew */

    /* --- main thread --- */
    int members;
    struct {
        GuestTimer *timer;
    } own[2];
    LIST_ENTRY(ThrottleGroup) next;

    /* --- under lock, and so is what members have of it --- */
    QemuMutex lock;
    ThrottleState ts;
    struct {
        TAILQ_HEAD(, ThrottleMember) turns; /* members with requests waiting */
        bool granted;  /* one was woken and has not accounted yet */
        bool timed;    /* the timer is set, or requested */
    } dir[2];
};

static LIST_HEAD(, ThrottleGroup) groups = LIST_HEAD_INITIALIZER(groups);

/* Atomic.  The program ends: all requests pass. */
static bool released;

/* --- life --- */

static void timer_read(void *opaque);
static void timer_write(void *opaque);
static void look(void *opaque);

ThrottleGroup *throttle_group_new(const char *name,
                                  const ThrottleConfig *config, Error **errp)
{
    ThrottleGroup *group;

    if (throttle_group_find(name)) {
        error_setg(errp, "Throttle group '%s' exists already", name);
        return NULL;
    }
    if (!throttle_config_check(config, errp)) {
        return NULL;
    }
    group = g_new0(ThrottleGroup, 1);
    group->name = g_strdup(name);
    qemu_mutex_init(&group->lock);
    group->look_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_IO, look, group);
    throttle_init(&group->ts, config, guest_clock_timer_ns());
    for (int i = 0; i < 2; i++) {
        TAILQ_INIT(&group->dir[i].turns);
        group->own[i].timer = guest_timer_new(aio_main_context(), AIO_SCOPE_IO,
                                              i ? timer_write : timer_read,
                                              group);
    }
    LIST_INSERT_HEAD(&groups, group, next);
    return group;
}

ThrottleGroup *throttle_group_find(const char *name)
{
    ThrottleGroup *group;

    LIST_FOREACH(group, &groups, next) {
        if (!strcmp(group->name, name)) {
            return group;
        }
    }
    return NULL;
}

bool throttle_group_del(const char *name, Error **errp)
{
    ThrottleGroup *group = throttle_group_find(name);

    if (!group) {
        error_setg(errp, "Throttle group '%s' does not exist", name);
        return false;
    }
    if (group->members) {
        error_setg(errp, "Throttle group '%s' is in use, can not be deleted",
                   name);
        return false;
    }
    LIST_REMOVE(group, next);
    guest_timer_free(group->own[0].timer);
    guest_timer_free(group->own[1].timer);
    aio_bh_free(group->look_bh);
    qemu_mutex_destroy(&group->lock);
    g_free(group->name);
    g_free(group);
    return true;
}

const char *throttle_group_name(const ThrottleGroup *group)
{
    return group->name;
}

/* --- serving requests; all under lock --- */

/* The request is not entered here, as it would take the lock. */
static void wake(ThrottleMember *member, bool is_write)
{
    ThrottleWaiter *w = TAILQ_FIRST(&member->queue[is_write]);

    TAILQ_REMOVE(&member->queue[is_write], w, entry);
    co_schedule(w->ctx, w->co);
}

static void wake_all(ThrottleMember *member)
{
    for (int i = 0; i < 2; i++) {
        while (!TAILQ_EMPTY(&member->queue[i])) {
            wake(member, i);
        }
    }
}

/* The next member of a direction with a request that was not woken yet. */
static ThrottleMember *next_member(ThrottleGroup *group, bool is_write)
{
    ThrottleMember *member;

    TAILQ_FOREACH(member, &group->dir[is_write].turns, turn[is_write]) {
        if (!TAILQ_EMPTY(&member->queue[is_write])) {
            return member;
        }
    }
    return NULL;
}

static void set_timer(ThrottleGroup *group, bool is_write, int64_t when_ns)
{
    group->dir[is_write].timed = true;
    if (aio_current_context() == aio_main_context()) {
        guest_timer_mod(group->own[is_write].timer, when_ns);
    } else {
        aio_bh_schedule(group->look_bh);
    }
}

/* Resumes the next request of a direction, now or later. */
static void serve(ThrottleGroup *group, bool is_write)
{
    ThrottleMember *member = next_member(group, is_write);
    int64_t now = guest_clock_timer_ns(), wait;

    if (group->dir[is_write].granted || group->dir[is_write].timed ||
        !member) {
        return;
    }
    wait = throttle_wait_ns(&group->ts, is_write, now);
    if (wait) {
        set_timer(group, is_write, now + wait);
    } else {
        /* A woken request dequeues itself; see throttle_member_wait(). */
        group->dir[is_write].granted = true;
        wake(member, is_write);
    }
}

/* Runs in the main thread. */
static void serve_anew(ThrottleGroup *group)
{
    for (int i = 0; i < 2; i++) {
        guest_timer_del(group->own[i].timer);
        group->dir[i].timed = false;
        serve(group, i);
    }
}

static void look(void *opaque)
{
    ThrottleGroup *group = opaque;

    QEMU_LOCK_GUARD(&group->lock);
    serve_anew(group);
}

static void timer_fired(ThrottleGroup *group, bool is_write)
{
    QEMU_LOCK_GUARD(&group->lock);
    group->dir[is_write].timed = false;
    serve(group, is_write);
}

static void timer_read(void *opaque)
{
    timer_fired(opaque, false);
}

static void timer_write(void *opaque)
{
    timer_fired(opaque, true);
}

/* --- all groups; main thread --- */

bool throttle_groups_waking(void)
{
    ThrottleGroup *group;

    LIST_FOREACH(group, &groups, next) {
        QEMU_LOCK_GUARD(&group->lock);
        if (group->dir[0].granted || group->dir[1].granted) {
            return true;
        }
    }
    return false;
}

void throttle_groups_release(void)
{
    ThrottleMember *member;
    ThrottleGroup *group;

    __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
    LIST_FOREACH(group, &groups, next) {
        QEMU_LOCK_GUARD(&group->lock);
        for (int i = 0; i < 2; i++) {
            TAILQ_FOREACH(member, &group->dir[i].turns, turn[i]) {
                wake_all(member);
            }
        }
    }
}

void throttle_group_get_config(const ThrottleGroup *group,
                               ThrottleConfig *config)
{
    *config = group->ts.config;
}

bool throttle_group_set_config(ThrottleGroup *group,
                               const ThrottleConfig *config, Error **errp)
{
    if (!throttle_config_check(config, errp)) {
        return false;
    }
    QEMU_LOCK_GUARD(&group->lock);
    throttle_init(&group->ts, config, guest_clock_timer_ns());
    serve_anew(group);
    return true;
}

/* --- members --- */

bool throttle_member_join(ThrottleMember *member, const char *name,
                          Error **errp)
{
    ThrottleGroup *group = throttle_group_find(name);

    if (!group) {
        error_setg(errp, "Throttle group '%s' does not exist", name);
        return false;
    }
    member->group = group;
    for (int i = 0; i < 2; i++) {
        TAILQ_INIT(&member->queue[i]);
        member->pending[i] = 0;
    }
    group->members++;
    return true;
}

void throttle_member_leave(ThrottleMember *member)
{
    g_assert(!member->pending[0] && !member->pending[1]);
    g_assert(member->group->members > 0);
    member->group->members--;
    member->group = NULL;
}

/* Under lock. */
static void queue_up(ThrottleMember *member, bool is_write, ThrottleWaiter *w)
{
    ThrottleGroup *group = member->group;

    if (member->pending[is_write]++ == 0) {
        TAILQ_INSERT_TAIL(&group->dir[is_write].turns, member,
                          turn[is_write]);
    }
    TAILQ_INSERT_TAIL(&member->queue[is_write], w, entry);
    serve(group, is_write);
}

/* Under lock, after the request was woken. */
static void leave_queue(ThrottleMember *member, bool is_write)
{
    ThrottleGroup *group = member->group;

    TAILQ_REMOVE(&group->dir[is_write].turns, member, turn[is_write]);
    if (--member->pending[is_write] > 0) {
        TAILQ_INSERT_TAIL(&group->dir[is_write].turns, member,
                          turn[is_write]);
    }
    group->dir[is_write].granted = false;
    if (TAILQ_EMPTY(&group->dir[is_write].turns) &&
        group->dir[is_write].timed) {
        /* A drain may have resumed requests early. */
        if (aio_current_context() == aio_main_context()) {
            serve_anew(group);
        } else {
            aio_bh_schedule(group->look_bh);
        }
    }
}

static bool must_wait(ThrottleGroup *group, bool is_write)
{
    return group->dir[is_write].granted ||
           !TAILQ_EMPTY(&group->dir[is_write].turns) ||
           throttle_wait_ns(&group->ts, is_write, guest_clock_timer_ns());
}

/* Requests that pass are counted, too, so that the limits hold afterwards. */
void coroutine_fn throttle_member_wait(ThrottleMember *member, bool is_write,
                                       int64_t bytes, bool pass)
{
    ThrottleGroup *group = member->group;
    ThrottleWaiter w = {
        .co = coroutine_self(),
        .ctx = aio_current_context(),
    };

    pass |= member->unlimited ||
            __atomic_load_n(&released, __ATOMIC_SEQ_CST);
    qemu_mutex_lock(&group->lock);
    if (!pass && must_wait(group, is_write)) {
        queue_up(member, is_write, &w);
        qemu_mutex_unlock(&group->lock);
        coroutine_yield();
        qemu_mutex_lock(&group->lock);
        leave_queue(member, is_write);
    }
    throttle_account(&group->ts, is_write, bytes);
    serve(group, is_write);
    qemu_mutex_unlock(&group->lock);
}

void throttle_member_let_go(ThrottleMember *member)
{
    QEMU_LOCK_GUARD(&member->group->lock);
    wake_all(member);
}

void throttle_member_unlimited_begin(ThrottleMember *member)
{
    if (member->unlimited++ == 0) {
        throttle_member_let_go(member);
    }
}

void throttle_member_unlimited_end(ThrottleMember *member)
{
    g_assert(member->unlimited > 0);
    member->unlimited--;
}

/* --- from the schema --- */

/* One value and its older name: @has_old, @old. */
static bool take(uint64_t *value, bool has, int64_t v, bool has_old,
                 int64_t old, Error **errp)
{
    if (has_old) {
        v = old;
    }
    if ((has || has_old) && v < 0) {
        error_setg(errp, "bps/iops/max values must be within [0, %" PRIu64
                   "]", THROTTLE_VALUE_MAX);
        return false;
    }
    if (has || has_old) {
        *value = v;
    }
    return true;
}

#define TAKE(value, member) \
    take(value, l->has_##member, l->member, props->has_x_##member, \
         props->x_##member, errp)
#define TAKE_LIMIT(kind, member) \
    (TAKE(&config->limit[kind].avg, member) && \
     TAKE(&config->limit[kind].max, member##_max) && \
     TAKE(&config->limit[kind].burst_length, member##_max_length))

bool throttle_config_from_qapi(ThrottleConfig *config,
                               const ThrottleGroupProperties *props,
                               Error **errp)
{
    static const ThrottleLimits none;
    const ThrottleLimits *l = props->limits ? props->limits : &none;

    throttle_config_init(config);
    return TAKE_LIMIT(THROTTLE_BPS_TOTAL, bps_total) &&
           TAKE_LIMIT(THROTTLE_BPS_READ, bps_read) &&
           TAKE_LIMIT(THROTTLE_BPS_WRITE, bps_write) &&
           TAKE_LIMIT(THROTTLE_OPS_TOTAL, iops_total) &&
           TAKE_LIMIT(THROTTLE_OPS_READ, iops_read) &&
           TAKE_LIMIT(THROTTLE_OPS_WRITE, iops_write) &&
           TAKE(&config->op_size, iops_size) &&
           throttle_config_check(config, errp);
}
