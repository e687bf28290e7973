/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups of throttled users.
 *
 * Per direction a group lists the members that have requests waiting, the
 * next to be served first.  One request at a time is let go: it accounts for
 * itself, its member goes to the end of the list, and the next one goes at
 * once or when the group's timer fires.
 */
#include "qemu/osdep.h"
#include "block/throttle-group.h"
#include "qemu/guest-clock.h"

struct ThrottleGroup {
    char *name;
    int members;
    ThrottleState ts;
    struct {
        TAILQ_HEAD(, ThrottleMember) turns; /* members with requests waiting */
        GuestTimer *timer;
        bool granted; /* one was woken and has not accounted yet */
    } dir[2];
    LIST_ENTRY(ThrottleGroup) next;
};

static LIST_HEAD(, ThrottleGroup) groups = LIST_HEAD_INITIALIZER(groups);

/* The program ends: nothing is held back any more. */
static bool released;

/* --- life --- */

static void timer_read(void *opaque);
static void timer_write(void *opaque);

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
    throttle_init(&group->ts, config, guest_clock_timer_ns());
    for (int i = 0; i < 2; i++) {
        TAILQ_INIT(&group->dir[i].turns);
        group->dir[i].timer = guest_timer_new(aio_main_context(), AIO_SCOPE_IO,
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
    guest_timer_free(group->dir[0].timer);
    guest_timer_free(group->dir[1].timer);
    g_free(group->name);
    g_free(group);
    return true;
}

const char *throttle_group_name(const ThrottleGroup *group)
{
    return group->name;
}

/* --- serving --- */

static void wake_one(ThrottleGroup *group, bool is_write)
{
    ThrottleMember *member = TAILQ_FIRST(&group->dir[is_write].turns);

    /* Who is woken takes himself off; see throttle_member_wait(). */
    group->dir[is_write].granted = true;
    co_queue_wake_one(&member->queue[is_write]);
}

/* Lets the next request of a direction go, now or later. */
static void serve(ThrottleGroup *group, bool is_write)
{
    int64_t now = guest_clock_timer_ns(), wait;

    if (group->dir[is_write].granted ||
        TAILQ_EMPTY(&group->dir[is_write].turns) ||
        guest_timer_pending(group->dir[is_write].timer)) {
        return;
    }
    wait = throttle_wait_ns(&group->ts, is_write, now);
    if (wait) {
        guest_timer_mod(group->dir[is_write].timer, now + wait);
    } else {
        wake_one(group, is_write);
    }
}

bool throttle_groups_waking(void)
{
    ThrottleGroup *group;

    LIST_FOREACH(group, &groups, next) {
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

    released = true;
    LIST_FOREACH(group, &groups, next) {
        for (int i = 0; i < 2; i++) {
            TAILQ_FOREACH(member, &group->dir[i].turns, turn[i]) {
                co_queue_wake_all(&member->queue[i]);
            }
        }
    }
}

static void timer_read(void *opaque)
{
    serve(opaque, false);
}

static void timer_write(void *opaque)
{
    serve(opaque, true);
}

static void reserve_anew(ThrottleGroup *group)
{
    for (int i = 0; i < 2; i++) {
        guest_timer_del(group->dir[i].timer);
        serve(group, i);
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
    throttle_init(&group->ts, config, guest_clock_timer_ns());
    reserve_anew(group);
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
        co_queue_init(&member->queue[i]);
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

/* Waits for our turn. */
static void coroutine_fn queue_up(ThrottleMember *member, bool is_write)
{
    ThrottleGroup *group = member->group;

    if (member->pending[is_write]++ == 0) {
        TAILQ_INSERT_TAIL(&group->dir[is_write].turns, member,
                          turn[is_write]);
    }
    serve(group, is_write);
    co_queue_wait(&member->queue[is_write], NULL);
    TAILQ_REMOVE(&group->dir[is_write].turns, member, turn[is_write]);
    if (--member->pending[is_write] > 0) {
        TAILQ_INSERT_TAIL(&group->dir[is_write].turns, member,
                          turn[is_write]);
    }
    if (TAILQ_EMPTY(&group->dir[is_write].turns)) {
        /* A drain may have let them go before their time. */
        guest_timer_del(group->dir[is_write].timer);
    }
}

/* Requests that pass count, too: the limits hold again when all is over. */
void coroutine_fn throttle_member_wait(ThrottleMember *member, bool is_write,
                                       int64_t bytes, bool pass)
{
    ThrottleGroup *group = member->group;

    pass |= member->unlimited || released;
    if (!pass && (group->dir[is_write].granted ||
                  !TAILQ_EMPTY(&group->dir[is_write].turns) ||
                  throttle_wait_ns(&group->ts, is_write,
                                   guest_clock_timer_ns()))) {
        queue_up(member, is_write);
        group->dir[is_write].granted = false;
    }
    throttle_account(&group->ts, is_write, bytes);
    serve(group, is_write);
}

void throttle_member_let_go(ThrottleMember *member)
{
    for (int i = 0; i < 2; i++) {
        co_queue_wake_all(&member->queue[i]);
    }
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

/* One value and the older name of it: @has_old, @old. */
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
