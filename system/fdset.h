/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's sets of file descriptors (interface: qemu/fdset.h). */
#ifndef SYSTEM_FDSET_H
#define SYSTEM_FDSET_H

#include "qemu/osdep.h"

/* Descriptors that clients have sent are closed with them (fdset.c). */
void fdset_follow_monitors(void);

#endif
