/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How copying functions report a failure. */
#ifndef BLOCK_COPY_ERROR_H
#define BLOCK_COPY_ERROR_H

#include "qemu/osdep.h"

/* The first failure; zeroed: none. */
typedef struct BlockCopyError {
    int ret;      /* -errno */
    bool is_read; /* the source failed, not the target */
    /*
     * The unit that failed; the area if no unit failed again when it was
     * retried, or none was retried.
     */
    int64_t offset, bytes;
} BlockCopyError;

#endif
