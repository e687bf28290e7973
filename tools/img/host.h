/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges of images that worker threads read and write by themselves, many at
 * once: the main thread only finds out where they lie.
 */
#ifndef TOOLS_IMG_HOST_H
#define TOOLS_IMG_HOST_H

#include "block/io.h"

#define HOST_RANGES 64

/* Ranges that are transferred together.  Zeroed to begin with. */
typedef struct HostBatch {
    int n;
    struct {
        BdrvRequest *r;
        uint8_t *buf; /* r->bytes of it */
        int64_t offset; /* in the image */
        int ret;
    } r[HOST_RANGES];
} HostBatch;

/*
 * Keeps [@offset, +@bytes) of @child in place until host_read_end(), to be read
 * to @buf.  False: that part of the image must be read in the general way;
 * nothing is kept.
 */
bool coroutine_fn host_read_begin(HostBatch *b, BdrvChild *child,
                                  int64_t offset, int64_t bytes,
                                  uint8_t *buf);
void coroutine_fn host_read_end(HostBatch *b);
/* In a worker thread: reads all ranges.  0 or -errno. */
int host_read_run(HostBatch *b);

/*
 * Makes room for the start of [@offset, +@bytes), to be written from @buf.
 * Returns how many bytes that are; 0: they are to be written in the general
 * way.
 */
int64_t coroutine_fn host_write_begin(HostBatch *b, BdrvChild *child,
                                      int64_t offset, int64_t bytes,
                                      uint8_t *buf);
/* Writes all of it, in a worker thread.  0, or -errno with *@at, the offset. */
int coroutine_fn host_write(HostBatch *b, int64_t *at);

#endif
