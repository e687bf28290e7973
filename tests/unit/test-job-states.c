/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All entries of the tables of job states, and a reference interpreter compared
 * with a real job under random verbs.
 */
#include "qemu/osdep.h"
#include "job/job.h"

/* What may be asked where; written out once more, the other way round. */
static const char *const allowed[JOB_STATUS__MAX] = {
    [JOB_STATUS_CREATED] = "cancel pause resume set-speed change",
    [JOB_STATUS_RUNNING] = "cancel pause resume set-speed change",
    [JOB_STATUS_PAUSED] = "cancel pause resume set-speed change",
    [JOB_STATUS_READY] = "cancel pause resume set-speed complete change",
    [JOB_STATUS_STANDBY] = "cancel pause resume set-speed complete change",
    [JOB_STATUS_WAITING] = "cancel",
    [JOB_STATUS_PENDING] = "cancel finalize",
    [JOB_STATUS_CONCLUDED] = "dismiss",
};

static const char *const following[JOB_STATUS__MAX] = {
    [JOB_STATUS_UNDEFINED] = "created",
    [JOB_STATUS_CREATED] = "running aborting null",
    [JOB_STATUS_RUNNING] = "paused ready waiting aborting",
    [JOB_STATUS_PAUSED] = "running",
    [JOB_STATUS_READY] = "standby waiting aborting",
    [JOB_STATUS_STANDBY] = "ready",
    [JOB_STATUS_WAITING] = "pending aborting",
    [JOB_STATUS_PENDING] = "aborting concluded",
    [JOB_STATUS_ABORTING] = "concluded",
    [JOB_STATUS_CONCLUDED] = "null",
};

static bool has_word(const char *words, const char *word)
{
    g_auto(GStrv) list = g_strsplit(words ? words : "", " ", -1);

    return g_strv_contains((const char *const *)list, word);
}

static void test_transitions(void)
{
    for (int from = 0; from < JOB_STATUS__MAX; from++) {
        for (int to = 0; to < JOB_STATUS__MAX; to++) {
            g_assert_cmpint(job_transition_allowed(from, to), ==,
                            has_word(following[from], JobStatus_str(to)));
        }
    }
}

static void test_verbs(void)
{
    for (int status = 0; status < JOB_STATUS__MAX; status++) {
        for (int verb = 0; verb < JOB_VERB__MAX; verb++) {
            g_assert_cmpint(job_verb_allowed(status, verb), ==,
                            has_word(allowed[status], JobVerb_str(verb)));
        }
    }
}

/* --- a job that waits for instructions --- */

typedef struct TestJob {
    Job job;
    bool stop;       /* run() is to end */
    bool with_ready; /* it becomes ready first */
    int result;
} TestJob;

static JobStatus last_status;
static int commits, aborts, cleans, cancelled_events, completed_events;

static int coroutine_fn test_run(Job *job, Error **errp)
{
    TestJob *s = container_of(job, TestJob, job);

    if (s->with_ready) {
        job_transition_to_ready(job);
    }
    while (!s->stop && !job_is_cancelled(job)) {
        job_yield(job);
    }
    return s->result;
}

static bool test_complete(Job *job, Error **errp)
{
    container_of(job, TestJob, job)->stop = true;
    job_wake(job);
    return true;
}

static void test_commit(Job *job)
{
    commits++;
}

static void test_abort(Job *job)
{
    aborts++;
}

static void test_clean(Job *job)
{
    cleans++;
}

static void test_set_speed(Job *job, int64_t speed)
{
}

static const JobDriver test_driver = {
    .instance_size = sizeof(TestJob),
    .type = JOB_TYPE_BACKUP,
    .run = test_run,
    .complete = test_complete,
    .commit = test_commit,
    .abort = test_abort,
    .clean = test_clean,
    .set_speed = test_set_speed,
};

static void on_status(Job *job, JobStatus status)
{
    g_assert(last_status == JOB_STATUS_NULL ||
             job_transition_allowed(last_status, status));
    last_status = status;
}

static void on_cancelled(Job *job)
{
    cancelled_events++;
}

static void on_completed(Job *job)
{
    completed_events++;
}

static void settle(void)
{
    while (aio_poll(aio_main_context(), false)) {
        /* go on */
    }
}

static void reset_counts(void)
{
    commits = aborts = cleans = cancelled_events = completed_events = 0;
    last_status = JOB_STATUS_NULL;
}

static TestJob *new_job(int flags)
{
    Job *job = job_create("job", &test_driver, NULL, aio_main_context(),
                          flags, &error_abort);

    return container_of(job, TestJob, job);
}

/* --- the reference --- */

typedef struct Model {
    JobStatus status;
    bool user_paused, manual_finalize, manual_dismiss, ready;
    bool completing; /* when it is resumed */
    bool error; /* ended by cancelling */
} Model;

static void model_end(Model *m, bool cancelled)
{
    m->error = cancelled;
    m->user_paused = false;
    if (!cancelled && m->manual_finalize) {
        m->status = JOB_STATUS_PENDING;
    } else {
        m->status = m->manual_dismiss ? JOB_STATUS_CONCLUDED
                                      : JOB_STATUS_NULL;
    }
}

static JobStatus model_awake(const Model *m)
{
    return m->ready ? JOB_STATUS_READY : JOB_STATUS_RUNNING;
}

/* Does what a user asked for; false: refused. */
static bool model_verb(Model *m, JobVerb verb)
{
    bool ok = has_word(allowed[m->status], JobVerb_str(verb));

    if (verb == JOB_VERB_RESUME && !m->user_paused) {
        return false;
    }
    if (!ok || (verb == JOB_VERB_PAUSE && m->user_paused)) {
        return false;
    }
    switch (verb) {
    case JOB_VERB_PAUSE:
        m->user_paused = true;
        m->status = m->ready ? JOB_STATUS_STANDBY : JOB_STATUS_PAUSED;
        break;
    case JOB_VERB_RESUME:
        m->user_paused = false;
        m->status = model_awake(m);
        if (m->completing) {
            model_end(m, false);
        }
        break;
    case JOB_VERB_CANCEL:
        model_end(m, true);
        break;
    case JOB_VERB_COMPLETE:
        m->completing = true;
        if (!m->user_paused) {
            model_end(m, false);
        }
        break;
    case JOB_VERB_FINALIZE:
        m->manual_finalize = false;
        model_end(m, false);
        break;
    case JOB_VERB_DISMISS:
        m->status = JOB_STATUS_NULL;
        break;
    default:
        break;
    }
    return true;
}

static bool real_verb(Job *job, JobVerb verb, Error **errp)
{
    switch (verb) {
    case JOB_VERB_PAUSE:
        return job_user_pause(job, errp);
    case JOB_VERB_RESUME:
        return job_user_resume(job, errp);
    case JOB_VERB_CANCEL:
        return job_user_cancel(job, true, errp);
    case JOB_VERB_COMPLETE:
        return job_complete(job, errp);
    case JOB_VERB_FINALIZE:
        return job_finalize(job, errp);
    case JOB_VERB_DISMISS:
        return job_dismiss(&job, errp);
    case JOB_VERB_SET_SPEED:
        return job_set_speed(job, 1, errp);
    default:
        return job_apply_verb(job, verb, errp);
    }
}

static void random_life(GRand *rand)
{
    Model m = {
        .status = JOB_STATUS_RUNNING,
        .manual_finalize = g_rand_boolean(rand),
        .manual_dismiss = g_rand_boolean(rand),
        .ready = g_rand_boolean(rand),
    };
    TestJob *s;

    reset_counts();
    s = new_job((m.manual_finalize ? JOB_MANUAL_FINALIZE : 0) |
                (m.manual_dismiss ? JOB_MANUAL_DISMISS : 0));
    s->with_ready = m.ready;
    m.status = model_awake(&m);
    job_start(&s->job);
    settle();
    while (m.status != JOB_STATUS_NULL) {
        JobVerb verb = g_rand_int_range(rand, 0, JOB_VERB__MAX);
        bool end = !m.ready && g_rand_int_range(rand, 0, 8) == 0;
        Error *err = NULL;
        bool ok;

        g_assert(job_get("job") == &s->job);
        g_assert_cmpint(s->job.status, ==, m.status);
        if (end && m.status == JOB_STATUS_RUNNING) {
            s->stop = true;
            job_wake(&s->job);
            model_end(&m, false);
        } else {
            ok = real_verb(&s->job, verb, &err);
            g_assert(ok == !err);
            g_assert_cmpint(ok, ==, model_verb(&m, verb));
            error_free(err);
        }
        settle();
    }
    g_assert(!job_get("job"));
    g_assert_cmpint(last_status, ==, JOB_STATUS_NULL);
    g_assert_cmpint(commits, ==, !m.error);
    g_assert_cmpint(aborts, ==, m.error);
    g_assert_cmpint(cleans, ==, 1);
    g_assert_cmpint(cancelled_events, ==, m.error);
    g_assert_cmpint(completed_events, ==, !m.error);
}

static void test_random(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(257);

    for (int i = 0; i < 2000; i++) {
        random_life(rand);
    }
}

static void check_message(Error *err, const char *text)
{
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static void test_ids(void)
{
    static const char *const bad[] = {"", "0", "a b", "-x", "a/b"};
    TestJob *s = new_job(0);

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *text = g_strdup_printf("Invalid job ID '%s'",
                                                bad[i]);
        Error *err = NULL;

        g_assert(!job_create(bad[i], &test_driver, NULL, aio_main_context(),
                             0, &err));
        check_message(err, text);
    }
    {
        Error *err = NULL;

        g_assert(!job_create("job", &test_driver, NULL, aio_main_context(), 0,
                             &err));
        check_message(err, "Job ID 'job' already in use");
    }
    job_early_fail(&s->job);
}

static void test_messages(void)
{
    TestJob *s = new_job(0);
    Error *err = NULL;

    job_start(&s->job);
    g_assert(!job_finalize(&s->job, &err));
    check_message(err, "Job 'job' in state 'running' cannot accept command "
                       "verb 'finalize'");
    err = NULL;
    g_assert(!job_user_resume(&s->job, &err));
    check_message(err, "Can't resume a job that was not paused");
    err = NULL;
    g_assert(job_user_pause(&s->job, &error_abort));
    g_assert(!job_user_pause(&s->job, &err));
    check_message(err, "Job is already paused");
    job_cancel_sync_all();
    g_assert(!job_next(NULL));
}

/* Pausing counts; only the last resume lets it go on. */
static void test_pause_count(void)
{
    TestJob *s = new_job(0);

    job_pause(&s->job);
    job_start(&s->job);
    settle();
    g_assert_cmpint(s->job.status, ==, JOB_STATUS_PAUSED);
    g_assert(job_user_pause(&s->job, &error_abort));
    job_resume(&s->job);
    settle();
    g_assert_cmpint(s->job.status, ==, JOB_STATUS_PAUSED);
    g_assert(job_user_resume(&s->job, &error_abort));
    settle();
    g_assert_cmpint(s->job.status, ==, JOB_STATUS_RUNNING);
    s->stop = true;
    job_wake(&s->job);
    settle();
    g_assert(!job_get("job"));
}

/* --- settling --- */

static Coroutine *settler; /* waits in settle() */
static int prepares;

static int coroutine_fn test_settle(Job *job, Error **errp)
{
    g_assert_cmpint(prepares, ==, 0);
    settler = coroutine_self();
    coroutine_yield();
    settler = NULL;
    return container_of(job, TestJob, job)->result;
}

static int test_prepare(Job *job)
{
    g_assert(!settler);
    prepares++;
    return 0;
}

static bool test_cancel(Job *job, bool force)
{
    if (settler) {
        co_wake(settler);
    }
    return true;
}

/* Both of one transaction, until they are pending; the first settles. */
static void start_two(TestJob *s[2], JobDriver drivers[2])
{
    JobTxn *txn = job_txn_new();

    drivers[0].settle = test_settle;
    drivers[0].cancel = test_cancel;
    for (int i = 0; i < 2; i++) {
        drivers[i].prepare = test_prepare;
        s[i] = container_of(job_create(i ? "other" : "job", &drivers[i], txn,
                                       aio_main_context(), JOB_MANUAL_FINALIZE,
                                       &error_abort), TestJob, job);
        s[i]->stop = true;
    }
    job_start(&s[0]->job);
    job_start(&s[1]->job);
    job_txn_unref(txn);
    settle();
}

/* It ends with @result, or, if that is > 0, is cancelled. */
static void try_settle(int result)
{
    JobDriver drivers[2] = {test_driver, test_driver};
    Error *err = NULL;
    TestJob *s[2];

    reset_counts();
    prepares = 0;
    job_event_hooks.status_change = NULL; /* it knows one job */
    start_two(s, drivers);
    s[0]->result = MIN(result, 0);
    g_assert(job_finalize(&s[1]->job, &error_abort));
    g_assert(!job_finalize(&s[0]->job, &err));
    check_message(err, "Job 'job' is being finalized already");
    settle();
    g_assert(settler && prepares == 0);
    g_assert_cmpint(s[0]->job.status, ==, JOB_STATUS_PENDING);
    if (result > 0) {
        g_assert(job_user_cancel(&s[0]->job, true, &error_abort));
    } else {
        co_wake(settler);
    }
    settle();
    g_assert(!settler && !job_next(NULL));
    g_assert_cmpint(prepares, ==, result ? 0 : 2);
    g_assert_cmpint(commits, ==, result ? 0 : 2);
    g_assert_cmpint(aborts, ==, result ? 2 : 0);
    g_assert_cmpint(cleans, ==, 2);
    job_event_hooks.status_change = on_status;
}

static void test_settling(void)
{
    try_settle(0);
    try_settle(-EIO);
    try_settle(1);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    job_event_hooks.status_change = on_status;
    job_event_hooks.cancelled = on_cancelled;
    job_event_hooks.completed = on_completed;
    last_status = JOB_STATUS_NULL;
    g_test_add_func("/job/states/transitions", test_transitions);
    g_test_add_func("/job/states/verbs", test_verbs);
    g_test_add_func("/job/states/ids", test_ids);
    g_test_add_func("/job/states/messages", test_messages);
    g_test_add_func("/job/states/pause-count", test_pause_count);
    g_test_add_func("/job/states/random", test_random);
    g_test_add_func("/job/states/settling", test_settling);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
