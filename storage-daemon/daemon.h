/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The storage daemon's parts among themselves. */
#ifndef STORAGE_DAEMON_H
#define STORAGE_DAEMON_H

#include "qemu/osdep.h"

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
/* Carries them out; false at the first that fails, which has been reported. */
bool daemon_options_run(const DaemonOptions *options);
void daemon_options_free(DaemonOptions *options);

#endif
