/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots of the machine with all its disks.  Main thread, no coroutine. */
#ifndef SYSTEM_SAVEVM_H
#define SYSTEM_SAVEVM_H

#include "block/snapshot.h"

/*
 * @devices (NULL: all that can be written) are names of nodes; @vmstate (NULL:
 * the first) is the one that stores the machine's state.
 */

/* Stops the machine meanwhile.  @name NULL: derived from the time. */
bool savevm_save(const char *name, bool overwrite, const char *vmstate,
                 char **devices, Error **errp);
/* The machine must be stopped. */
bool savevm_load(const char *name, const char *vmstate, char **devices,
                 Error **errp);
/* Disks without a snapshot of that name are ignored. */
bool savevm_delete(const char *name, char **devices, Error **errp);

/* The disks of the machine that can be written, a reference to each. */
GPtrArray *savevm_disks(void);
/* The disk that stores the machine's state. */
BlockDriverState *savevm_state_disk(const GPtrArray *disks, const char *name,
                                    Error **errp);
/* Has @bs a snapshot of that name?  @sn (may be NULL) gets a copy, or NULL. */
bool savevm_has(BlockDriverState *bs, const char *name, BdrvSnapshot **sn);

#endif
