/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Half-open ranges of bytes. */
#ifndef QEMU_INTERVAL_H
#define QEMU_INTERVAL_H

#include "qemu/osdep.h"

/* Do [@a, @a + @an) and [@b, @b + @bn) share a byte? Empty ranges never do. */
static inline bool ranges_overlap(int64_t a, int64_t an, int64_t b, int64_t bn)
{
    return an > 0 && bn > 0 && a < b + bn && b < a + an;
}

#endif
