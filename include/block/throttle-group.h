/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rate limits shared by several users.
 *
 * A leaky bucket counts recent bytes or operations and leaks at the allowed
 * rate; while it is fuller than its size, requests wait.  A group has six
 * buckets (bytes and operations; of all requests, of reads, of writes) and
 * serves its members in turn.
 */
#ifndef BLOCK_THROTTLE_GROUP_H
#define BLOCK_THROTTLE_GROUP_H

#include "block/types.h"

typedef struct ThrottleGroupProperties ThrottleGroupProperties;

/* --- the pure algorithm (throttle-bucket.c) --- */

typedef enum ThrottleBucketKind {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_OPS_TOTAL,
    THROTTLE_OPS_READ,
    THROTTLE_OPS_WRITE,
    THROTTLE_BUCKETS,
} ThrottleBucketKind;

/* The largest rate that can be set, per second. */
#define THROTTLE_VALUE_MAX UINT64_C(1000000000000000)

typedef struct ThrottleLimit {
    uint64_t avg;          /* per second; 0: no limit */
    uint64_t max;          /* rate of bursts, per second; 0: no bursts */
    uint64_t burst_length; /* seconds that a burst may last; >= 1 */
} ThrottleLimit;

typedef struct ThrottleConfig {
    ThrottleLimit limit[THROTTLE_BUCKETS];
    uint64_t op_size; /* bytes that count as one operation; 0: any */
} ThrottleConfig;

typedef struct ThrottleState {
    ThrottleConfig config;
    double level[THROTTLE_BUCKETS];       /* leaks at avg */
    double burst_level[THROTTLE_BUCKETS]; /* leaks at max */
    int64_t last_leak_ns;
} ThrottleState;

/* No limits, bursts of one second. */
void throttle_config_init(ThrottleConfig *config);
/* Is the configuration valid?  If not, @errp says why. */
bool throttle_config_check(const ThrottleConfig *config, Error **errp);
/* Empties the buckets. */
void throttle_init(ThrottleState *ts, const ThrottleConfig *config,
                   int64_t now_ns);
/* Accounts for a request of @bytes (0: only an operation). */
void throttle_account(ThrottleState *ts, bool is_write, uint64_t bytes);
/* Nanoseconds that a request has to wait at @now_ns; 0: none. */
int64_t throttle_wait_ns(ThrottleState *ts, bool is_write, int64_t now_ns);

/* --- groups (throttle-group.c); main thread, except for waiting --- */

typedef struct ThrottleGroup ThrottleGroup;

struct ThrottleWaiter;

/* A user of a group; embedded in its struct, zeroed. */
typedef struct ThrottleMember {
    ThrottleGroup *group; /* set by join and leave */

    /* --- the thread of its user --- */
    int unlimited; /* > 0: no request is delayed (while draining) */

    /* --- under the group's lock --- */
    TAILQ_HEAD(, ThrottleWaiter) queue[2]; /* delayed: reads, writes */
    int pending[2]; /* in @queue, or woken and not running yet */
    TAILQ_ENTRY(ThrottleMember) turn[2];
} ThrottleMember;

/* NULL with @errp: the name is taken, or the configuration is wrong. */
ThrottleGroup *throttle_group_new(const char *name,
                                  const ThrottleConfig *config, Error **errp);
/* NULL if there is none of that name. */
ThrottleGroup *throttle_group_find(const char *name);
/* Refused while it has members. */
bool throttle_group_del(const char *name, Error **errp);
const char *throttle_group_name(const ThrottleGroup *group);
void throttle_group_get_config(const ThrottleGroup *group,
                               ThrottleConfig *config);
/* Changes limits; delayed requests are checked again. */
bool throttle_group_set_config(ThrottleGroup *group,
                               const ThrottleConfig *config, Error **errp);
/*
 * From now on no group delays requests, for the end of the program.  May be
 * called from a nested poll.
 */
void throttle_groups_release(void);
/* Is there a resumed request that does not run yet? */
bool throttle_groups_waking(void);

/* Joins the group called @name; false if there is none. */
bool throttle_member_join(ThrottleMember *member, const char *name,
                          Error **errp);
/* No request of the member may be delayed. */
void throttle_member_leave(ThrottleMember *member);
/* Waits until the limits allow a request of @bytes; @pass: does not wait.  In
 * the thread of the member's user. */
void coroutine_fn throttle_member_wait(ThrottleMember *member, bool is_write,
                                       int64_t bytes, bool pass);
/* Resumes all delayed requests; later ones may be delayed again. */
void throttle_member_let_go(ThrottleMember *member);
/* Between these, delayed requests are resumed and none is delayed.  Nests. */
void throttle_member_unlimited_begin(ThrottleMember *member);
void throttle_member_unlimited_end(ThrottleMember *member);

/* The configuration from the schema's struct (object-add). */
bool throttle_config_from_qapi(ThrottleConfig *config,
                               const ThrottleGroupProperties *props,
                               Error **errp);

#endif
