/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The storage daemon's parts among themselves. */
#ifndef STORAGE_DAEMON_H
#define STORAGE_DAEMON_H

#include "qemu/error.h"

/* One option of the command line with its value, to be carried out. */
typedef struct DaemonStep {
    int option; /* index into the table of options.c */
    char *value;
} DaemonStep;

typedef struct DaemonOptions {
    bool daemonize;
    char *pidfile;   /* NULL: none */
    GArray *steps;   /* of DaemonStep, in order */
} DaemonOptions;

/* Reads the command line; --help, --version and mistakes end the process. */
void daemon_options_parse(DaemonOptions *options, int argc, char **argv);
/* Carries them out; false at the first that fails. */
bool daemon_options_run(const DaemonOptions *options, Error **errp);
void daemon_options_free(DaemonOptions *options);

/*
 * Goes into the background: the parent waits until daemon_detached_ready() in
 * the child and exits with 0, or with 1 where the child ends before.
 */
bool daemon_detach(Error **errp);
void daemon_detached_ready(void);
/* Writes and locks the file; NULL: nothing to do. */
bool daemon_write_pidfile(const char *path, Error **errp);
/* Sends the QMP events of jobs, nodes and exports (blockdev-events.c). */
void blockdev_init_events(void);

#endif
