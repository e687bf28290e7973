/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's sets of file descriptors (interface: qemu/fdset.h). */
#ifndef SYSTEM_FDSET_H
#define SYSTEM_FDSET_H

#include "qemu/error.h"

/* Descriptors that clients have sent are closed with them (fdset.c). */
void fdset_follow_monitors(void);
/*
 * Takes the descriptor that getfd has named, or one that the process has
 * inherited, by its number; -1 with an error.
 */
int fdset_take(const char *name, Error **errp);

#endif
