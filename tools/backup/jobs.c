/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs of a QMP server, from their start to their end. */
#include "qemu/osdep.h"

#include "jobs.h"
#include "tools/common/image.h"

/* Between two looks at the jobs. */
#define POLL_MS 250
/* Data that was copied is made durable before a job is cancelled. */
#define CANCEL_TIMEOUT_S 300

typedef struct Waiter {
    QmpClient *c;
    Job *const *jobs;
    int n;
    bool cancelled;
} Waiter;

static Job *find_job(const Waiter *w, const char *id)
{
    for (int i = 0; id && i < w->n; i++) {
        if (!strcmp(w->jobs[i]->id, id)) {
            return w->jobs[i];
        }
    }
    return NULL;
}

static int running(const Waiter *w)
{
    int n = 0;

    for (int i = 0; i < w->n; i++) {
        n += !w->jobs[i]->ended;
    }
    return n;
}

static void on_event(const Waiter *w, json_object *event)
{
    const char *name = json_get_str(event, "event");
    json_object *data = json_member(event, "data");
    Job *job = find_job(w, json_get_str(data, "device"));
    const char *error = json_get_str(data, "error");

    if (!job || job->ended || (strcmp(name, "BLOCK_JOB_COMPLETED") &&
                               strcmp(name, "BLOCK_JOB_CANCELLED"))) {
        return;
    }
    job->ended = true;
    job->done = json_get_int(data, "offset");
    job->total = json_get_int(data, "len");
    if (error) {
        job->error = g_strdup(error);
    } else if (!strcmp(name, "BLOCK_JOB_CANCELLED")) {
        job->error = g_strdup("it was cancelled");
    }
}

static bool look_at_progress(const Waiter *w, Error **errp)
{
    g_autoptr(json_object) list =
        qmp_client_call(w->c, "query-jobs", errp, NULL);

    for (size_t i = 0; i < json_length(list); i++) {
        json_object *info = json_at(list, i);
        Job *job = find_job(w, json_get_str(info, "id"));

        if (job && !job->ended) {
            job->done = json_get_int(info, "current-progress");
            job->total = json_get_int(info, "total-progress");
        }
    }
    return list != NULL;
}

static void cancel(QmpClient *c, const char *id)
{
    /* It may have ended by now. */
    qmp_client_do(c, "job-cancel", NULL, "{'id': %s}", id);
}

static void cancel_after_signal(Waiter *w)
{
    if (!tool_interrupted() || w->cancelled) {
        return;
    }
    w->cancelled = true;
    for (int i = 0; i < w->n; i++) {
        if (!w->jobs[i]->ended) {
            cancel(w->c, w->jobs[i]->id);
        }
    }
}

bool jobs_wait(QmpClient *c, Job *const *jobs, int n, JobsProgress *progress,
               void *opaque, Error **errp)
{
    Waiter w = { .c = c, .jobs = jobs, .n = n };

    while (running(&w)) {
        Error *err = NULL;
        json_object *event;

        cancel_after_signal(&w);
        event = qmp_client_next_event(c, POLL_MS, &err);
        if (event) {
            on_event(&w, event);
            json_object_put(event);
        } else if (err || !look_at_progress(&w, &err)) {
            error_propagate(errp, err);
            return false;
        } else if (progress) {
            progress(opaque);
        }
        if (w.cancelled) {
            g_usleep(10000); /* a signal ends each wait at once */
        }
    }
    return true;
}

/* How many jobs there are with such ids; -1 with @errp. */
static int count(QmpClient *c, const char *prefix, bool do_cancel,
                 Error **errp)
{
    g_autoptr(json_object) list =
        qmp_client_call(c, "query-jobs", errp, NULL);
    int n = 0;

    for (size_t i = 0; i < json_length(list); i++) {
        const char *id = json_get_str(json_at(list, i), "id");

        if (id && g_str_has_prefix(id, prefix)) {
            n++;
            if (do_cancel) {
                cancel(c, id);
            }
        }
    }
    return list ? n : -1;
}

bool jobs_cancel_all(QmpClient *c, const char *prefix, Error **errp)
{
    int n = count(c, prefix, true, errp);
    int64_t deadline = g_get_monotonic_time() +
                       CANCEL_TIMEOUT_S * G_USEC_PER_SEC;

    while (n > 0) {
        Error *err = NULL;

        json_object_put(qmp_client_next_event(c, POLL_MS, &err));
        if (err) {
            error_propagate(errp, err);
            return false;
        }
        if (tool_interrupted() || g_get_monotonic_time() > deadline) {
            error_setg(errp, "An earlier job has not ended yet");
            return false;
        }
        n = count(c, prefix, false, errp);
    }
    return n >= 0;
}
