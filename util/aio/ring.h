/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An io_uring, as the loop and the file I/O use it. */
#ifndef UTIL_AIO_RING_H
#define UTIL_AIO_RING_H

#include "aio-int.h"

#include <liburing.h>

typedef struct FileRing {
    struct io_uring ring;
    bool own;     /* not the loop's: submitted by file_ring_flush() */
    int queued;   /* own: since the last flush */
    int event_fd; /* own: signalled on completion */
} FileRing;

/* Sets up @ring with the best flags this kernel knows. */
bool ring_init(struct io_uring *ring, Error **errp);
/* An entry to fill, for @op (NULL: nobody waits).  Never NULL. */
struct io_uring_sqe *ring_get_sqe(struct io_uring *ring);
static inline void ring_set_op(struct io_uring_sqe *sqe, RingOp *op)
{
    io_uring_sqe_set_data(sqe, op);
}
/* Completes all operations that are done. */
void ring_reap(struct io_uring *ring);

#endif
