/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code shared by the storage daemon and the machine: options of the same name,
 * detaching, the pid file, signals, the end.
 */
#ifndef STORAGE_DAEMON_PROGRAM_H
#define STORAGE_DAEMON_PROGRAM_H

#include "qemu/error.h"

/* A program between its command line and its end. */
typedef struct Program {
    bool daemonize;
    const char *pidfile;          /* NULL: none */
    bool (*setup)(void *opaque);  /* the command line; reports what fails */
    void (*ready)(void *opaque);  /* NULL: nothing to do before the loop */
    /* @signum has ended the loop; NULL: no message. */
    void (*signalled)(int signum, pid_t sender);
    void (*close_devices)(void);  /* NULL: no devices */
    void *opaque;
} Program;

/*
 * Sets up, serves until "quit" or a signal, and shuts down.  Returns the exit
 * status.  With daemonize the caller's process ends in here, with the status of
 * the detached process after its setup.
 */
int program_run(const Program *program);

/* --- common options; their value, and the error --- */

bool program_add_blockdev(const char *value, Error **errp);
bool program_add_chardev(const char *value, Error **errp);
/* --trace: help, or events by name, of which none exist: a warning for each. */
extern const struct OptGroup trace_opt_group;
bool program_trace(const char *value, Error **errp);

/* --- detach.c --- */

/*
 * Detaches: the parent waits until daemon_detached_ready() in the child and
 * exits with 0, or with 1 if the child ends before.
 */
bool daemon_detach(Error **errp);
void daemon_detached_ready(void);
/* Writes and locks the file; NULL: nothing to do. */
bool daemon_write_pidfile(const char *path, Error **errp);
/* Sends the QMP events of jobs, nodes and exports (blockdev-events.c). */
void blockdev_init_events(void);

#endif
