/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the files of the storage daemon. */
#ifndef STORAGE_DAEMON_H
#define STORAGE_DAEMON_H

#include "qemu/osdep.h"

/* One option of the command line with its value, to be executed. */
typedef struct DaemonStep {
    int option; /* index into the table of options.c */
    char *value;
} DaemonStep;

typedef struct DaemonOptions {
    bool daemonize;
    char *pidfile;   /* NULL: none */
    GArray *steps;   /* of DaemonStep, in order */
} DaemonOptions;

/* Parses the command line; --help, --version and errors end the process. */
void daemon_options_parse(DaemonOptions *options, int argc, char **argv);
/* Executes the steps; false at the first that fails, which was reported. */
bool daemon_options_run(const DaemonOptions *options);
void daemon_options_free(DaemonOptions *options);

#endif
