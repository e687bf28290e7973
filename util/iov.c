/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter lists and aligned buffers. */
#include "qemu/osdep.h"
#include "qemu/iov.h"

/* One contiguous piece of a vector's byte range. */
typedef struct IovPiece {
    int index;     /* of the next element */
    size_t skip;   /* bytes of that element before the range */
    size_t left;   /* bytes of the range not yet visited */
    uint8_t *base; /* the piece */
    size_t len;
} IovPiece;

/* Starts at byte @offset; that and @bytes must lie inside the vector. */
static IovPiece iov_range(const QEMUIOVector *qiov, size_t offset,
                          size_t bytes)
{
    IovPiece p = { .left = bytes };

    assert(offset <= qiov->size && bytes <= qiov->size - offset);
    while (bytes && offset >= qiov->iov[p.index].iov_len) {
        offset -= qiov->iov[p.index].iov_len;
        p.index++;
    }
    p.skip = offset;
    return p;
}

static bool iov_next(const QEMUIOVector *qiov, IovPiece *p)
{
    const struct iovec *v;

    if (!p->left) {
        return false;
    }
    v = &qiov->iov[p->index++];
    p->base = (uint8_t *)v->iov_base + p->skip;
    p->len = MIN(v->iov_len - p->skip, p->left);
    p->left -= p->len;
    p->skip = 0;
    return true;
}

void qemu_iovec_init(QEMUIOVector *qiov, int hint)
{
    *qiov = (QEMUIOVector) {
        .iov = g_new(struct iovec, MAX(hint, 1)),
        .nalloc = MAX(hint, 1),
    };
}

void qemu_iovec_init_buf(QEMUIOVector *qiov, void *buf, size_t len)
{
    *qiov = (QEMUIOVector) {
        .iov = &qiov->local_iov,
        .niov = 1,
        .nalloc = -1,
        .local_iov = { .iov_base = buf, .iov_len = len },
        .size = len,
    };
}

void qemu_iovec_init_slice(QEMUIOVector *qiov, const QEMUIOVector *src,
                           size_t offset, size_t bytes)
{
    IovPiece p = iov_range(src, offset, bytes);
    int niov = 0;

    /* The common case needs no allocation: the part is in one element. */
    if (iov_next(src, &p) && !p.left) {
        qemu_iovec_init_buf(qiov, p.base, p.len);
        return;
    }
    p = iov_range(src, offset, bytes);
    while (iov_next(src, &p)) {
        niov++;
    }
    qemu_iovec_init(qiov, niov);
    qemu_iovec_concat(qiov, src, offset, bytes);
}

void qemu_iovec_add(QEMUIOVector *qiov, void *base, size_t len)
{
    assert(qiov->nalloc != -1);
    if (qiov->niov == qiov->nalloc) {
        qiov->nalloc = qiov->nalloc * 2 + 1;
        qiov->iov = g_renew(struct iovec, qiov->iov, qiov->nalloc);
    }
    qiov->iov[qiov->niov++] = (struct iovec) {
        .iov_base = base,
        .iov_len = len,
    };
    qiov->size += len;
}

void qemu_iovec_concat(QEMUIOVector *qiov, const QEMUIOVector *src,
                       size_t offset, size_t bytes)
{
    IovPiece p = iov_range(src, offset, bytes);

    while (iov_next(src, &p)) {
        qemu_iovec_add(qiov, p.base, p.len);
    }
}

void qemu_iovec_destroy(QEMUIOVector *qiov)
{
    if (qiov->nalloc != -1) {
        g_free(qiov->iov);
    }
    *qiov = (QEMUIOVector) { .nalloc = -1 };
}

void qemu_iovec_to_buf(const QEMUIOVector *qiov, size_t offset, void *buf,
                       size_t bytes)
{
    IovPiece p = iov_range(qiov, offset, bytes);
    uint8_t *dst = buf;

    while (iov_next(qiov, &p)) {
        memcpy(dst, p.base, p.len);
        dst += p.len;
    }
}

void qemu_iovec_from_buf(QEMUIOVector *qiov, size_t offset, const void *buf,
                         size_t bytes)
{
    IovPiece p = iov_range(qiov, offset, bytes);
    const uint8_t *src = buf;

    while (iov_next(qiov, &p)) {
        memcpy(p.base, src, p.len);
        src += p.len;
    }
}

void qemu_iovec_memset(QEMUIOVector *qiov, size_t offset, int fill,
                       size_t bytes)
{
    IovPiece p = iov_range(qiov, offset, bytes);

    while (iov_next(qiov, &p)) {
        memset(p.base, fill, p.len);
    }
}

bool qemu_iovec_is_zero(const QEMUIOVector *qiov, size_t offset, size_t bytes)
{
    IovPiece p = iov_range(qiov, offset, bytes);

    while (iov_next(qiov, &p)) {
        if (!buffer_is_zero(p.base, p.len)) {
            return false;
        }
    }
    return true;
}

bool qemu_iovec_is_aligned(const QEMUIOVector *qiov, size_t align)
{
    for (int i = 0; i < qiov->niov; i++) {
        if ((uintptr_t)qiov->iov[i].iov_base % align ||
            qiov->iov[i].iov_len % align) {
            return false;
        }
    }
    return true;
}

void *qemu_try_memalign(size_t align, size_t size)
{
    void *buf;

    assert(is_power_of_2(align));
    align = MAX(align, sizeof(void *));
    return posix_memalign(&buf, align, MAX(size, 1)) ? NULL : buf;
}

void *qemu_memalign(size_t align, size_t size)
{
    void *buf = qemu_try_memalign(align, size);

    if (!buf) {
        g_error("failed to allocate %zu bytes", size);
    }
    return buf;
}

void qemu_vfree(void *buf)
{
    free(buf);
}
