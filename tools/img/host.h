/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges of images that worker threads read and write, many at once: the main
 * thread only determines their locations.
 */
#ifndef TOOLS_IMG_HOST_H
#define TOOLS_IMG_HOST_H

#include "block/io.h"

#define HOST_RANGES 64

/* Ranges that are transferred together.  Initially zeroed. */
typedef struct HostBatch {
    int n;
    struct {
        BdrvRequest *r;
        uint8_t *buf; /* r->bytes bytes */
        int64_t offset; /* in the image */
        const uint8_t *zero; /* by @unit: need not be written where the file
                                has a hole; NULL: all is */
        int64_t unit;
        int ret;
    } r[HOST_RANGES];
} HostBatch;

/*
 * Keeps [@offset, +@bytes) of @child in place until host_read_end(), to be read
 * to @buf.  False: use the general path; nothing is kept.
 */
bool coroutine_fn host_read_begin(HostBatch *b, BdrvChild *child,
                                  int64_t offset, int64_t bytes,
                                  uint8_t *buf);
void coroutine_fn host_read_end(HostBatch *b);
/* Runs in a worker thread: reads all ranges.  0 or -errno. */
int host_read_run(HostBatch *b);

/*
 * Allocates the start of [@offset, +@bytes), to be written from @buf.  Returns
 * its length; 0: use the general path.
 */
int64_t coroutine_fn host_write_begin(HostBatch *b, BdrvChild *child,
                                      int64_t offset, int64_t bytes,
                                      uint8_t *buf);
/*
 * The same for all of the range or nothing (false), of which not all must be
 * written: where @zero, a byte for each @unit bytes and kept until it is
 * written, says that @buf is zero, and the file has a hole.
 */
bool coroutine_fn host_write_begin_mixed(HostBatch *b, BdrvChild *child,
                                         int64_t offset, int64_t bytes,
                                         uint8_t *buf, const uint8_t *zero,
                                         int64_t unit);
/* Writes all in a worker thread.  0, or -errno with *@at, the offset. */
int coroutine_fn host_write(HostBatch *b, int64_t *at);

#endif
