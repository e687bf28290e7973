/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of jobs: all succeed, or all roll back, in any order of ends. */
#include "qemu/osdep.h"
#include "job/job.h"

typedef struct TestJob {
    Job job;
    int turns;  /* of the loop before it ends */
    int result; /* of run() */
    int prepare_result;
    char *log;  /* of the letters p c a x: prepare commit abort clean */
} TestJob;

static GString *events;

static int coroutine_fn test_run(Job *job, Error **errp)
{
    TestJob *s = container_of(job, TestJob, job);

    while (s->turns-- > 0 && !job_is_cancelled(job)) {
        job_sleep_ns(job, 0);
    }
    return s->result;
}

static void add_log(Job *job, char c)
{
    TestJob *s = container_of(job, TestJob, job);
    char *old = s->log;

    s->log = g_strdup_printf("%s%c", old, c);
    g_free(old);
}

static int test_prepare(Job *job)
{
    add_log(job, 'p');
    return container_of(job, TestJob, job)->prepare_result;
}

static void test_commit(Job *job)
{
    add_log(job, 'c');
}

static void test_abort(Job *job)
{
    add_log(job, 'a');
}

static void test_clean(Job *job)
{
    add_log(job, 'x');
}

static void test_free(Job *job)
{
    g_free(container_of(job, TestJob, job)->log);
}

static const JobDriver test_driver = {
    .instance_size = sizeof(TestJob),
    .type = JOB_TYPE_BACKUP,
    .run = test_run,
    .prepare = test_prepare,
    .commit = test_commit,
    .abort = test_abort,
    .clean = test_clean,
    .free = test_free,
};

static void on_completed(Job *job)
{
    g_string_append_printf(events, "%s:%d ", job->id, job->ret);
}

static void on_cancelled(Job *job)
{
    g_string_append_printf(events, "%s:cancelled ", job->id);
}

static TestJob *new_job(const char *id, JobTxn *txn, int flags)
{
    Job *job = job_create(id, &test_driver, txn, aio_main_context(), flags,
                          &error_abort);
    TestJob *s = container_of(job, TestJob, job);

    job_ref(job); /* to look at afterwards */
    s->log = g_strdup("");
    return s;
}

static void run_all(void)
{
    while (job_next(NULL)) {
        aio_poll(aio_main_context(), true);
    }
}

/* @n jobs with turns that differ; @bad fails as @how says. */
static void run_group(int n, int bad, int result, int prepare_result)
{
    JobTxn *txn = job_txn_new();
    TestJob *jobs[4];
    bool ok = bad < 0;

    g_string_truncate(events, 0);
    for (int i = 0; i < n; i++) {
        g_autofree char *id = g_strdup_printf("j%d", i);

        jobs[i] = new_job(id, txn, 0);
        jobs[i]->turns = (i * 7 + 3) % 5;
        jobs[i]->result = i == bad ? result : 0;
        jobs[i]->prepare_result = i == bad ? prepare_result : 0;
    }
    job_txn_unref(txn);
    for (int i = 0; i < n; i++) {
        job_start(&jobs[i]->job);
    }
    run_all();
    for (int i = 0; i < n; i++) {
        const char *end = jobs[i]->log + strlen(jobs[i]->log) - 2;
        int want = ok ? 0 : i == bad ? result + prepare_result : -ECANCELED;

        g_assert_cmpstr(end, ==, ok ? "cx" : "ax");
        g_assert_cmpint(jobs[i]->job.ret, ==, want);
        g_assert_cmpint(jobs[i]->job.status, ==, JOB_STATUS_NULL);
        job_unref(&jobs[i]->job);
    }
}

static void test_grouped(void)
{
    for (int n = 1; n <= 4; n++) {
        for (int bad = -1; bad < n; bad++) {
            run_group(n, bad, bad < 0 ? 0 : -EIO, 0);
            run_group(n, bad, 0, bad < 0 ? 0 : -ENOSPC);
        }
    }
}

/* The failed job is reported first. */
static void test_order(void)
{
    run_group(3, 1, -EIO, 0);
    g_assert(g_str_has_prefix(events->str, "j1:-5 "));
    run_group(2, -1, 0, 0);
    g_assert_cmpstr(events->str, ==, "j1:0 j0:0 ");
}

/* Waiting for one that is paused; one that is pending is cancelled. */
static void test_pending(void)
{
    JobTxn *txn = job_txn_new();
    TestJob *a = new_job("a", txn, JOB_MANUAL_FINALIZE);
    TestJob *b = new_job("b", txn, 0);

    job_txn_unref(txn);
    g_string_truncate(events, 0);
    b->turns = 1000000;
    job_start(&a->job);
    job_start(&b->job);
    while (a->job.status != JOB_STATUS_WAITING) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_cmpstr(a->log, ==, "");
    b->turns = 0;
    while (a->job.status != JOB_STATUS_PENDING) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_cmpint(b->job.status, ==, JOB_STATUS_PENDING);
    g_assert(job_user_cancel(&b->job, true, &error_abort));
    run_all();
    g_assert_cmpstr(a->log, ==, "ax");
    g_assert_cmpstr(b->log, ==, "ax");
    g_assert_cmpstr(events->str, ==, "b:cancelled a:cancelled ");
    job_unref(&a->job);
    job_unref(&b->job);
}

/* Never started: as a transaction that is undone leaves it. */
static void test_unstarted(void)
{
    JobTxn *txn = job_txn_new();
    TestJob *a = new_job("a", txn, 0), *b = new_job("b", txn, 0);

    job_txn_unref(txn);
    g_string_truncate(events, 0);
    g_assert(job_user_cancel(&a->job, true, &error_abort));
    g_assert(!job_next(NULL));
    g_assert_cmpstr(a->log, ==, "ax");
    g_assert_cmpstr(b->log, ==, "ax");
    g_assert_cmpstr(events->str, ==, "");
    job_unref(&a->job);
    job_unref(&b->job);
}

static void test_individual(void)
{
    TestJob *a = new_job("a", NULL, 0), *b = new_job("b", NULL, 0);

    a->result = -EIO;
    b->turns = 10;
    job_start(&a->job);
    job_start(&b->job);
    run_all();
    g_assert_cmpstr(a->log, ==, "ax");
    g_assert_cmpstr(b->log, ==, "pcx");
    job_unref(&a->job);
    job_unref(&b->job);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    events = g_string_new("");
    job_event_hooks.completed = on_completed;
    job_event_hooks.cancelled = on_cancelled;
    g_test_add_func("/job/txn/grouped", test_grouped);
    g_test_add_func("/job/txn/order", test_order);
    g_test_add_func("/job/txn/pending", test_pending);
    g_test_add_func("/job/txn/unstarted", test_unstarted);
    g_test_add_func("/job/txn/individual", test_individual);
    ret = g_test_run();
    g_string_free(events, true);
    aio_main_cleanup();
    return ret;
}
