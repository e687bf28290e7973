/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs of a QMP server, from their start to their end. */
#ifndef TOOLS_BACKUP_JOBS_H
#define TOOLS_BACKUP_JOBS_H

#include "qmp-client.h"

typedef struct Job {
    const char *id;
    bool ended;
    char *error;         /* why it failed; NULL: it did not.  g_free() */
    int64_t done, total; /* bytes */
} Job;

/* Called now and then while it waits. */
typedef void JobsProgress(void *opaque);

/*
 * Waits until all of the @n @jobs have ended, however they did.  A signal
 * cancels them.  False with @errp: the connection was lost.
 */
bool jobs_wait(QmpClient *c, Job *const *jobs, int n, JobsProgress *progress,
               void *opaque, Error **errp);
/* Cancels all jobs whose ids begin with @prefix, and waits for their ends. */
bool jobs_cancel_all(QmpClient *c, const char *prefix, Error **errp);

#endif
