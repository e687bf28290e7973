/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rate limits shared by several users.
 *
 * A leaky bucket holds what was done lately (bytes or operations) and leaks at
 * the rate allowed; while it is fuller than its size, requests wait.  A group
 * has six buckets (bytes and operations; of all requests, of reads, of
 * writes) and serves its members in turn.
 */
#ifndef BLOCK_THROTTLE_GROUP_H
#define BLOCK_THROTTLE_GROUP_H

#include "block/types.h"
#include "qapi/qapi-types.h"

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

/* The largest rate that can be asked for, per second. */
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
/* Does the configuration make sense?  @errp says what does not. */
bool throttle_config_check(const ThrottleConfig *config, Error **errp);
/* Empties the buckets. */
void throttle_init(ThrottleState *ts, const ThrottleConfig *config,
                   int64_t now_ns);
/* Accounts for a request of @bytes (0: only an operation). */
void throttle_account(ThrottleState *ts, bool is_write, uint64_t bytes);
/* Nanoseconds a request has to wait at @now_ns; 0: it may go. */
int64_t throttle_wait_ns(ThrottleState *ts, bool is_write, int64_t now_ns);

/* --- groups (throttle-group.c); main thread, but for waiting --- */

typedef struct ThrottleGroup ThrottleGroup;

struct ThrottleWaiter;

/* A user of a group; embedded by him, zeroed. */
typedef struct ThrottleMember {
    ThrottleGroup *group; /* set by join and leave */

    /* --- the thread of its user --- */
    int unlimited; /* > 0: requests pass (while draining) */

    /* --- under the group's lock --- */
    TAILQ_HEAD(, ThrottleWaiter) queue[2]; /* that wait: reads, writes */
    int pending[2]; /* in @queue, or woken and not running yet */
    TAILQ_ENTRY(ThrottleMember) turn[2];
} ThrottleMember;

/* NULL with @errp: the name is taken, or the configuration is wrong. */
ThrottleGroup *throttle_group_new(const char *name,
                                  const ThrottleConfig *config, Error **errp);
/* NULL where there is none of that name. */
ThrottleGroup *throttle_group_find(const char *name);
/* Refused while it has members. */
bool throttle_group_del(const char *name, Error **errp);
const char *throttle_group_name(const ThrottleGroup *group);
void throttle_group_get_config(const ThrottleGroup *group,
                               ThrottleConfig *config);
/* Changes limits; requests that wait are looked at anew. */
bool throttle_group_set_config(ThrottleGroup *group,
                               const ThrottleConfig *config, Error **errp);
/*
 * From now on no group holds anything back, for the end of the program.  May be
 * called while somebody polls the loop.
 */
void throttle_groups_release(void);
/* Has a request been let go that does not run yet? */
bool throttle_groups_waking(void);

/* Joins the group called @name; false where there is none. */
bool throttle_member_join(ThrottleMember *member, const char *name,
                          Error **errp);
/* Nothing of the member may wait. */
void throttle_member_leave(ThrottleMember *member);
/* Waits until a request of @bytes may go; at once where it is to @pass.  In the
 * thread of the member's user. */
void coroutine_fn throttle_member_wait(ThrottleMember *member, bool is_write,
                                       int64_t bytes, bool pass);
/* Lets all requests go that wait; those that come later may have to. */
void throttle_member_let_go(ThrottleMember *member);
/* Between these, requests that wait and new ones pass.  Nests. */
void throttle_member_unlimited_begin(ThrottleMember *member);
void throttle_member_unlimited_end(ThrottleMember *member);

/* The configuration from the schema's struct (object-add). */
bool throttle_config_from_qapi(ThrottleConfig *config,
                               const ThrottleGroupProperties *props,
                               Error **errp);

#endif
