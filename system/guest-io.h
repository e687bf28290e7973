/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of a guest.  Main thread. */
#ifndef SYSTEM_GUEST_IO_H
#define SYSTEM_GUEST_IO_H

#include "device.h"

typedef void GuestDone(void *opaque, int ret);
/*
 * A read (@buf is filled) or write of the guest.  Failures follow the device's
 * rerror/werror; a request that stops the machine is retried on `cont`.
 */
void guest_rw(Device *dev, bool is_write, int64_t offset, int64_t bytes,
              void *buf, GuestDone *done, void *opaque);
/* Fails waiting requests with -EIO, as the device is removed. */
void guest_detach(Device *dev);

#endif
