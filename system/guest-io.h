/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests as a guest makes them.  Main thread. */
#ifndef SYSTEM_GUEST_IO_H
#define SYSTEM_GUEST_IO_H

#include "device.h"

typedef void GuestDone(void *opaque, int ret);
/*
 * A read (@buf is filled) or write of the guest: failures go by the device's
 * rerror/werror; one that stops the machine is tried again on `cont`.
 */
void guest_rw(Device *dev, bool is_write, int64_t offset, int64_t bytes,
              void *buf, GuestDone *done, void *opaque);
/* Ends all that wait for the machine to run with -EIO; the device goes. */
void guest_detach(Device *dev);

#endif
