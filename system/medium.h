/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookup of the backends that commands name, and their media.  Main thread. */
#ifndef SYSTEM_MEDIUM_H
#define SYSTEM_MEDIUM_H

#include "block/block-backend.h"

/* By drive name or by device (exactly one); DeviceNotFound. */
BlockBackend *system_find_backend(const char *device, const char *id,
                                  Error **errp);
/* A device by id or path, or a drive by name; DeviceNotFound. */
BlockBackend *system_backend_by_id(const char *id, Error **errp);

#endif
