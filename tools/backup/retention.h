/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which backups are kept: "14d,8w,12m".
 *
 * A rule keeps the last backup of each of the last N hours, days, weeks,
 * months or years that have one ("24h", "14d", "8w", "12m", "5y"), or the last
 * N of all ("3"), or all ("all").  What any rule keeps is kept.  Periods
 * without a backup do not count, so that nothing is lost while none are made.
 */
#ifndef TOOLS_BACKUP_RETENTION_H
#define TOOLS_BACKUP_RETENTION_H

#include "qemu/error.h"

typedef struct RetentionRule {
    int count;
    char unit; /* h, d, w, m, y, or 0: of all */
} RetentionRule;

/* An array of RetentionRule; NULL with @errp. */
GArray *retention_parse(const char *text, Error **errp);
/*
 * Sets keep[i] where a rule keeps the backup of time times[i] (seconds since
 * the epoch); the newest is last.  Others are left as they are.
 */
void retention_apply(const GArray *rules, const int64_t *times, int n,
                     bool *keep);

#endif
