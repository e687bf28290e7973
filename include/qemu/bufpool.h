/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded pool of page-aligned buffers of one size; thread safe. */
#ifndef QEMU_BUFPOOL_H
#define QEMU_BUFPOOL_H

#include "qemu/osdep.h"

typedef struct BufPool BufPool;

/* Buffers of @size bytes; at most @keep unused ones are kept for reuse. */
BufPool *bufpool_new(size_t size, int keep);
void bufpool_free(BufPool *pool);
/* NULL if there is no memory. */
void *bufpool_get(BufPool *pool);
void bufpool_put(BufPool *pool, void *buf);

#endif
