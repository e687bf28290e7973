/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A buffer for the latest bytes, written by commands and by a pipe. */
#include "qemu/osdep.h"

#include "monitor/chardev.h"
#include "qemu/aio.h"

/*
 * The bytes [tail, head) of an endless stream, each at its number modulo the
 * size, a power of two.
 */
struct ChardevRing {
    uint8_t *bytes;
    uint64_t size, head, tail;
    int fd; /* a user of the device writes to this */
};

static void drain_pipe(void *opaque)
{
    ChardevRing *ring = opaque;
    uint8_t buf[4096];
    ssize_t n;

    while ((n = read(ring->fd, buf, sizeof(buf))) > 0) {
        chardev_ring_write(ring, buf, n);
    }
}

ChardevRing *chardev_ring_new(uint64_t size, int *fd, Error **errp)
{
    ChardevRing *ring;
    int fds[2];

    if (!size || size & (size - 1)) {
        error_setg(errp, "size of ringbuf chardev must be power of two");
        return NULL;
    }
    if (size > GiB) {
        error_setg(errp, "size of ringbuf chardev must be at most 1 GiB");
        return NULL;
    }
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        error_setg_errno(errp, errno, "Could not create a pipe");
        return NULL;
    }
    ring = g_new0(ChardevRing, 1);
    ring->size = size;
    ring->bytes = g_malloc(size);
    ring->fd = fds[0];
    *fd = fds[1];
    aio_set_fd_handler(aio_main_context(), ring->fd, AIO_SCOPE_MAIN,
                       drain_pipe, NULL, ring);
    return ring;
}

void chardev_ring_free(ChardevRing *ring)
{
    if (ring) {
        aio_set_fd_handler(aio_main_context(), ring->fd, AIO_SCOPE_MAIN, NULL,
                           NULL, NULL);
        close(ring->fd);
        g_free(ring->bytes);
        g_free(ring);
    }
}

void chardev_ring_write(ChardevRing *ring, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ring->bytes[ring->head++ & (ring->size - 1)] = bytes[i];
    }
    if (ring->head - ring->tail > ring->size) {
        ring->tail = ring->head - ring->size;
    }
}

uint8_t *chardev_ring_read(ChardevRing *ring, uint64_t max, size_t *len)
{
    uint8_t *bytes;

    drain_pipe(ring);
    *len = MIN(max, ring->head - ring->tail);
    bytes = g_malloc(*len + 1);
    for (size_t i = 0; i < *len; i++) {
        bytes[i] = ring->bytes[ring->tail++ & (ring->size - 1)];
    }
    return bytes;
}
