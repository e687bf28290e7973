/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP monitors.  Main thread. */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "qemu/error.h"

typedef struct MonitorOptions MonitorOptions;

/* The version whose interface we match, and our own name. */
#define TIDEMARK_QEMU_MAJOR 7
#define TIDEMARK_QEMU_MINOR 2
#define TIDEMARK_QEMU_MICRO 0
#define TIDEMARK_PACKAGE "Tidemark 0.1.0"

/*
 * A monitor on a chardev, as --monitor describes it: QMP, or with mode readline
 * the human monitor.
 */
bool monitor_add(const MonitorOptions *options, Error **errp);
/*
 * The file descriptor that came with the command that is being executed, or
 * before it; the caller's now.  -1: there was none.
 */
int monitor_take_fd(void);
/* @fn is called whenever the last QMP client has gone. */
void monitor_set_deserted(void (*fn)(void));
/* Sends what is still to be sent (for at most a second), closes all. */
void monitor_cleanup(void);

#endif
