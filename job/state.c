/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The states of a job as tables: transitions, and verbs allowed in each. */
#include "qemu/osdep.h"
#include "job-int.h"

#define S(name) (1u << JOB_STATUS_##name)

/* Row: the current state; set: the states that may follow. */
static const unsigned transitions[JOB_STATUS__MAX] = {
    [JOB_STATUS_UNDEFINED] = S(CREATED),
    [JOB_STATUS_CREATED] = S(RUNNING) | S(ABORTING) | S(NULL),
    [JOB_STATUS_RUNNING] = S(PAUSED) | S(READY) | S(WAITING) | S(ABORTING),
    [JOB_STATUS_PAUSED] = S(RUNNING),
    [JOB_STATUS_READY] = S(STANDBY) | S(WAITING) | S(ABORTING),
    [JOB_STATUS_STANDBY] = S(READY),
    [JOB_STATUS_WAITING] = S(PENDING) | S(ABORTING),
    [JOB_STATUS_PENDING] = S(ABORTING) | S(CONCLUDED),
    [JOB_STATUS_ABORTING] = S(CONCLUDED),
    [JOB_STATUS_CONCLUDED] = S(NULL),
    [JOB_STATUS_NULL] = 0,
};

#define ALIVE (S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) | S(STANDBY))

/* Row: the verb; set: the states in which it may be used. */
static const unsigned verbs[JOB_VERB__MAX] = {
    [JOB_VERB_CANCEL] = ALIVE | S(WAITING) | S(PENDING),
    [JOB_VERB_PAUSE] = ALIVE,
    [JOB_VERB_RESUME] = ALIVE,
    [JOB_VERB_SET_SPEED] = ALIVE,
    /* A paused job remembers it, and completes when it is resumed. */
    [JOB_VERB_COMPLETE] = S(READY) | S(STANDBY),
    [JOB_VERB_DISMISS] = S(CONCLUDED),
    [JOB_VERB_FINALIZE] = S(PENDING),
    [JOB_VERB_CHANGE] = ALIVE,
};

JobEventHooks job_event_hooks;

bool job_transition_allowed(JobStatus from, JobStatus to)
{
    return transitions[from] & (1u << to);
}

bool job_verb_allowed(JobStatus status, JobVerb verb)
{
    return verbs[verb] & (1u << status);
}

bool job_apply_verb(Job *job, JobVerb verb, Error **errp)
{
    if (job_verb_allowed(job->status, verb)) {
        return true;
    }
    error_setg(errp,
               "Job '%s' in state '%s' cannot accept command verb '%s'",
               job->id ? job->id : "", JobStatus_str(job->status),
               JobVerb_str(verb));
    return false;
}

void job_set_status(Job *job, JobStatus status)
{
    g_assert(job_transition_allowed(job->status, status));
    job->status = status;
    if (job->id && job_event_hooks.status_change) {
        job_event_hooks.status_change(job, status);
    }
}

bool job_is_completed(const Job *job)
{
    const unsigned over = S(WAITING) | S(PENDING) | S(ABORTING) |
                          S(CONCLUDED) | S(NULL);

    return (1u << job->status) & over;
}

bool job_is_ready(const Job *job)
{
    return job->status == JOB_STATUS_READY || job->status == JOB_STATUS_STANDBY;
}
