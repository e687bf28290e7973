/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of a long operation, as a bar on a terminal. */
#ifndef TOOLS_BACKUP_PROGRESS_H
#define TOOLS_BACKUP_PROGRESS_H

#include "qemu/osdep.h"

/*
 * Shows, if stderr is a terminal, what was done of @total bytes, the rate and
 * the time that remains.  @what: "copying"; when it changes a new bar begins.
 */
void progress_show(const char *what, int64_t done, int64_t total);
/* Removes the bar. */
void progress_clear(void);
/* "1:23:45" or "23:45"; caller frees. */
char *progress_time(int64_t seconds);

#endif
