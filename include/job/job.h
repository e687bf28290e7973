/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Long operations that management can control.  Independent of the block layer.
 *
 *   undefined -> created -> running <-> paused
 *                   |          |  \
 *                   |          |   ready <-> standby
 *                   v          v     v
 *                aborting <- waiting -> pending -> concluded -> null
 *
 * Which status may follow which, and which verb is allowed in which, are the
 * two tables of job/state.c.  Main thread unless marked.
 */
#ifndef JOB_JOB_H
#define JOB_JOB_H

#include "qapi/qapi-types-job.h"
#include "qemu/aio.h"
#include "qemu/error.h"
#include "qemu/progress.h"

typedef struct Job Job;
typedef struct JobTxn JobTxn;

/* What the instance of a job begins with. */
typedef enum JobKind {
    JOB_KIND_PLAIN, /* a Job */
    JOB_KIND_BLOCK, /* a BlockJob, which begins with a Job and holds nodes */
} JobKind;

typedef struct JobDriver {
    size_t instance_size; /* of the struct that begins with Job */
    JobKind kind;
    JobType type;
    /* The work; 0 or -errno, with @errp in case of failure. */
    int coroutine_fn (*run)(Job *job, Error **errp);
    /* Around a pause point; may be NULL. */
    void coroutine_fn (*pause)(Job *job);
    void coroutine_fn (*resume)(Job *job);
    /* A user resumes the job: resets the error state. */
    void (*user_resume)(Job *job);
    /* job-complete, of a job that is ready; a paused one completes when it is
     * resumed.  NULL: this type has nothing to complete. */
    bool (*complete)(Job *job, Error **errp);
    /*
     * A job that is finalized first waits, in a coroutine, for what prepare
     * would have to wait for in the main thread; without pause points.  0, or
     * -errno with @errp: it fails.  NULL: there is nothing.
     */
    int coroutine_fn (*settle)(Job *job, Error **errp);
    /*
     * The end.  prepare may still fail and runs before anything is final; then
     * commit or abort; then clean: each for all jobs of a transaction.
     */
    int (*prepare)(Job *job);
    void (*commit)(Job *job);
    void (*abort)(Job *job);
    void (*clean)(Job *job);
    /* Stops the job; returns true if it counts as forced (no more work). */
    bool (*cancel)(Job *job, bool force);
    void (*set_speed)(Job *job, int64_t speed);
    /* Releases what the instance holds. */
    void (*free)(Job *job);
} JobDriver;

/* Flags of job_create(). */
enum {
    JOB_INTERNAL = 1 << 0,        /* not seen by users, may have no id */
    JOB_MANUAL_FINALIZE = 1 << 1,
    JOB_MANUAL_DISMISS = 1 << 2,
};
/* Those of a command's arguments auto-finalize and auto-dismiss. */
static inline int job_flags(bool auto_finalize, bool auto_dismiss)
{
    return (auto_finalize ? 0 : JOB_MANUAL_FINALIZE) |
           (auto_dismiss ? 0 : JOB_MANUAL_DISMISS);
}

struct Job {
    /* --- set once --- */
    const JobDriver *driver;
    char *id; /* NULL: internal */
    bool auto_finalize, auto_dismiss;

    /* --- the context's thread, and the exclusive main thread --- */
    AioContext *ctx; /* changed by job_set_aio_context() only */
    Coroutine *co;
    int refcnt;
    JobStatus status;
    int pause_count;
    bool user_paused;
    bool busy;   /* the coroutine runs or waits for its own I/O */
    bool paused; /* waits in a pause point */
    bool cancelled, force_cancel;
    bool deferred_to_main_loop;
    int ret;     /* 0 or -errno */
    bool started; /* job_start() was called */
    bool listed;  /* seen by job_get() and job_next() */
    bool exited; /* run(), or then settle(), has returned and the main loop has
                    handled it */
    bool settling; /* settle() runs */
    bool finalized; /* commit or abort was called */
    Error *err;
    JobTxn *txn;
    LIST_ENTRY(Job) list, txn_list;
    AioTimer *sleep_timer;
    /* Called when the result, 0 or -errno, is final and the driver has let go
     * of all; by the main loop.  NULL: nobody waits for it. */
    void (*ended)(void *opaque, int ret);
    void *ended_opaque;

    /* --- any thread --- */
    ProgressMeter progress;
};

/* Called to send events; set once by the program. */
typedef struct JobEventHooks {
    void (*status_change)(Job *job, JobStatus status);
    void (*completed)(Job *job);
    void (*cancelled)(Job *job);
    void (*ready)(Job *job);
    void (*pending)(Job *job);
} JobEventHooks;
extern JobEventHooks job_event_hooks;

/* --- the two tables (job/state.c) --- */

/* May a job change from @from to @to? */
bool job_transition_allowed(JobStatus from, JobStatus to);
/* May a user apply @verb in @status? */
bool job_verb_allowed(JobStatus status, JobVerb verb);

/* --- life --- */

/* Can a job get this @id?  An @internal one has none. */
bool job_check_id(const char *id, bool internal, Error **errp);
/*
 * A created job, one reference (the job's own, dropped at its end).  @txn NULL:
 * one of its own.  Fails if @id is taken or ill-formed.
 */
Job *job_create(const char *id, const JobDriver *driver, JobTxn *txn,
                AioContext *ctx, int flags, Error **errp);
void job_start(Job *job);
/*
 * Makes the job, which is not running, continue in @ctx.  Exclusive main
 * thread; for users that have paused it (see bdrv_try_set_aio_context()).
 */
void job_set_aio_context(Job *job, AioContext *ctx);
void job_ref(Job *job);
void job_unref(Job *job);
/* Undo of job_create() before job_start(). */
void job_early_fail(Job *job);
/* NULL: no such job. */
Job *job_get(const char *id);
Job *job_next(Job *job); /* NULL starts */

/* --- for the job's coroutine --- */

/* Waits while the job is paused; returns at once if it is cancelled. */
void coroutine_fn job_pause_point(Job *job);
/* Sleeps, woken early by pause, cancel or job_wake(); is a pause point. */
void coroutine_fn job_sleep_ns(Job *job, int64_t ns);
/* Yields until job_wake() (is a pause point). */
void coroutine_fn job_yield(Job *job);
/* Wakes the job if it sleeps or has yielded by one of these. */
void job_wake(Job *job);
bool job_is_cancelled(const Job *job);        /* forced, must stop */
bool job_cancel_requested(const Job *job);
/* The job can be completed from now on. */
void job_transition_to_ready(Job *job);

/* --- control (each checks the verb table) --- */
bool job_apply_verb(Job *job, JobVerb verb, Error **errp);
void job_pause(Job *job);  /* internal: counts */
void job_resume(Job *job);
bool job_user_pause(Job *job, Error **errp);
bool job_user_resume(Job *job, Error **errp);
bool job_user_cancel(Job *job, bool force, Error **errp);
bool job_complete(Job *job, Error **errp);
bool job_finalize(Job *job, Error **errp);
bool job_dismiss(Job **job, Error **errp);
bool job_set_speed(Job *job, int64_t speed, Error **errp);
/* Cancels all jobs and runs the loop until they are gone; program end. */
void job_cancel_sync_all(void);
/* The work has ended, successfully or not; the result is not final yet. */
bool job_is_completed(const Job *job);
/* Ready or standby: can be completed. */
bool job_is_ready(const Job *job);
bool job_is_internal(const Job *job);
/* For query-jobs: all that users may see, newest first; caller frees. */
JobInfoList *job_query_all(void);

/* --- transactions: all or none --- */

/* An empty group, one reference; each job in it holds one more. */
JobTxn *job_txn_new(void);
/* NULL is allowed. */
void job_txn_unref(JobTxn *txn);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobTxn, job_txn_unref)

#endif
