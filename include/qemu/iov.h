/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter lists, aligned buffers, zero detection. All sizes are bytes. */
#ifndef QEMU_IOV_H
#define QEMU_IOV_H

#include "qemu/osdep.h"

typedef struct QEMUIOVector {
    struct iovec *iov;
    int niov;
    int nalloc;         /* -1: @iov is not ours (local_iov) */
    struct iovec local_iov;
    size_t size;        /* sum of all lengths */
} QEMUIOVector;

/* An empty vector with room for @hint elements; qemu_iovec_destroy() it. */
void qemu_iovec_init(QEMUIOVector *qiov, int hint);
/* Wraps one buffer; needs no destroy. */
void qemu_iovec_init_buf(QEMUIOVector *qiov, void *buf, size_t len);
/* @qiov becomes the part [@offset, @offset + @bytes) of @src; destroy it. */
void qemu_iovec_init_slice(QEMUIOVector *qiov, const QEMUIOVector *src,
                           size_t offset, size_t bytes);
void qemu_iovec_add(QEMUIOVector *qiov, void *base, size_t len);
/* Adds the part [@offset, @offset + @bytes) of @src (by reference). */
void qemu_iovec_concat(QEMUIOVector *qiov, const QEMUIOVector *src,
                       size_t offset, size_t bytes);
void qemu_iovec_destroy(QEMUIOVector *qiov);
/* Copy between a buffer and [@offset, @offset + @bytes) of the vector. */
void qemu_iovec_to_buf(const QEMUIOVector *qiov, size_t offset, void *buf,
                       size_t bytes);
void qemu_iovec_from_buf(QEMUIOVector *qiov, size_t offset, const void *buf,
                         size_t bytes);
void qemu_iovec_memset(QEMUIOVector *qiov, size_t offset, int fill,
                       size_t bytes);
/* True if that part of the vector is all zero bytes. */
bool qemu_iovec_is_zero(const QEMUIOVector *qiov, size_t offset, size_t bytes);
/* True if every base and length is a multiple of @align. */
bool qemu_iovec_is_aligned(const QEMUIOVector *qiov, size_t align);

/* True if @len bytes at @buf are all zero; vectorised; @len 0: true. */
bool buffer_is_zero(const void *buf, size_t len);

/*
 * A buffer aligned to @align (a power of two), uninitialised; aborts or, for
 * qemu_try_memalign(), returns NULL where there is no memory.  Free with
 * qemu_vfree().
 */
void *qemu_memalign(size_t align, size_t size);
void *qemu_try_memalign(size_t align, size_t size);
void qemu_vfree(void *buf);

#endif
