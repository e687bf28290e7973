/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An io_uring, as the loop and the file I/O use it. */
#ifndef UTIL_AIO_RING_H
#define UTIL_AIO_RING_H

#include "aio-int.h"

#include <liburing.h>

typedef struct FileRing {
    struct io_uring ring;
    bool own;     /* a separate one: submitted by file_ring_flush() */
    int queued;   /* separate ring: since the last flush */
    int event_fd; /* separate ring: signalled on completion */
} FileRing;

/* Sets up @ring with the best flags that the kernel supports. */
bool ring_init(struct io_uring *ring, Error **errp);
/* An entry to fill, for @op (NULL: no callback).  Never NULL. */
struct io_uring_sqe *ring_get_sqe(struct io_uring *ring);
static inline void ring_set_op(struct io_uring_sqe *sqe, RingOp *op)
{
    io_uring_sqe_set_data(sqe, op);
}
/* Runs the callbacks of all completed operations. */
void ring_reap(struct io_uring *ring);

#endif
