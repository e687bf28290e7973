/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How those who copy tell of what went wrong. */
#ifndef BLOCK_COPY_ERROR_H
#define BLOCK_COPY_ERROR_H

#include "qemu/osdep.h"

/* What failed first; zeroed: nothing did. */
typedef struct BlockCopyError {
    int ret;      /* -errno */
    bool is_read; /* the source failed, not the target */
    /*
     * The unit that failed; where it did not fail again when it was tried by
     * itself, or was not tried, the area.
     */
    int64_t offset, bytes;
} BlockCopyError;

#endif
