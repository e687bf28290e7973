/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backup of some disks at one moment.
 *
 * A disk has up to three bitmaps of ours while it is backed up:
 *
 *     base   began with the parent; not changed until the backup is whole
 *     work   a copy of base (or, for a full backup, everything); the job takes
 *            out of it what it has copied (bitmap-mode=always)
 *     new    begins with this backup; the base of the next one
 *
 * What is in the target or dirty in `work` is all that differs from the parent.
 * That holds whatever ends, and whenever: this program, the job, the daemon. So
 * an interrupted backup is resumed by copying `work` once more to the same
 * target, which then has the disk as of that moment; and if its target is gone,
 * `base` is still there.
 *
 * The name of a bitmap belongs to one backup and is in the manifest of that:
 * the parent of an increment is found by it, also if the image of the disk was
 * set back to an older state, and two folders do not disturb each other.
 *
 *     level.c    which level each disk gets; its target
 *     run.c      the transaction, the jobs, and what they leave
 *     finish.c   the whole backup: digests, extents, its manifest
 */
#ifndef TOOLS_BACKUP_RUN_H
#define TOOLS_BACKUP_RUN_H

#include "folder.h"
#include "jobs.h"
#include "source.h"

#define BACKUP_GRANULARITY (64 * KiB)

/* What the user wants. */
typedef struct BackupWish {
    bool has_level;      /* else: automatic */
    BackupLevel level;
    bool has_format;     /* else: that of the parent, or qcow2 */
    BackupFormat format; /* of the files */
    const char *data;    /* URI of the exports for the data; NULL: files */
    bool compress;
    bool ignore_space;   /* does not look at free space */
    bool no_digest;      /* does not read all of the files again */
    int64_t speed;       /* bytes per second and disk; 0: no limit */
} BackupWish;

/* One disk, while it is backed up. */
typedef struct DiskTask {
    SourceDisk *source;
    BackupDisk *entry;   /* in the manifest */
    bool resumed;
    char *base;          /* name of a bitmap; NULL: none */
    char *target;        /* node of the target in the server */
    char *job_id;
    bool opened;         /* the target is a node of the server */
    Job job;
} DiskTask;

typedef struct BackupRun {
    const BackupWish *wish;
    BackupFolder *folder;
    QmpClient *qmp;
    GPtrArray *sources;  /* of SourceDisk * */
    GPtrArray *tasks;    /* of DiskTask * */
    Backup *backup;      /* being made */
    int64_t moment;      /* of its content, seconds since the epoch */
    bool started;        /* the transaction was sent: there may be bitmaps */
    bool resumable;      /* after a failure: can be continued */
    int64_t free_space;  /* bytes, in the folder; -1: not known */
    const char *phase;   /* what it does: "copying"; for the user */
    /* Called now and then while it copies; NULL: nobody looks. */
    void (*progress)(const struct BackupRun *run);
} BackupRun;

/* --- level.c --- */

/*
 * Makes run->backup and run->tasks for run->sources, or takes those of a backup
 * that was interrupted.  Says on stderr what is given up.
 */
bool backup_plan(BackupRun *run, Error **errp);
/* Is there room for it?  @errp says how much is needed. */
bool backup_check_space(const BackupRun *run, Error **errp);
/*
 * Is disk @d written to an image first?  An increment in a raw file is, since
 * what a job writes to a raw file does not tell which parts it is.
 */
bool backup_is_staged(const BackupDisk *d);
/* Does the job write to the export of @d itself? */
bool backup_is_export(const BackupDisk *d);
/* Path of the file, or the URI, that the job writes; caller frees. */
char *backup_target_file(const Backup *b, const BackupDisk *d);
/* Makes the files of new targets, and writes the manifest. */
bool backup_make_targets(BackupRun *run, Error **errp);
void disk_task_free(DiskTask *task);

/* --- run.c --- */

/* Removes jobs and nodes of runs that were killed. */
bool backup_clean_server(BackupRun *run, Error **errp);
/* Does bitmap @name belong to the folder? */
bool backup_owns_bitmap(const BackupRun *run, const char *name);
/* Removes the bitmaps of ours that are not needed any more. */
bool backup_clean_bitmaps(BackupRun *run, Error **errp);
/*
 * Copies.  False: the backup is not whole; run->resumable tells whether another
 * run can continue.  Nothing is left in the server but bitmaps for that.
 */
bool backup_copy(BackupRun *run, Error **errp);
/* After a failure: removes what is not resumable, here and in the server. */
void backup_give_up(BackupRun *run);

/* --- finish.c --- */

/* Reads what the targets have, and publishes the backup. */
bool backup_finish(BackupRun *run, Error **errp);

#endif
