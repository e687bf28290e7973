/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes from an NBD client: handshake, options, requests; against a server
 * with a writable and a read-only export in memory.
 *
 * Invariants: no operation reaches an export outside its range, and no change
 * the read-only one; the connection ends when the client has disconnected, and
 * leaks nothing.
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include "fuzz.h"
#include "nbd/server.h"
#include "qemu/aio.h"
#include "qemu/sockets.h"

#define DISK (64 * KiB)

typedef struct Disk {
    uint8_t data[DISK];
    bool writable;
    unsigned clients;
} Disk;

static Disk disk_rw = {.writable = true}, disk_ro;
static NBDServer *server;

/* --- the exports --- */

static int coroutine_fn disk_pread(void *opaque, uint64_t offset,
                                   uint32_t bytes, void *buf)
{
    Disk *d = opaque;

    g_assert_true(range_fits(offset, bytes, DISK));
    memcpy(buf, d->data + offset, bytes);
    return 0;
}

static int coroutine_fn disk_pwrite(void *opaque, uint64_t offset,
                                    uint32_t bytes, const void *buf,
                                    unsigned flags)
{
    Disk *d = opaque;

    g_assert_true(d->writable && range_fits(offset, bytes, DISK));
    memcpy(d->data + offset, buf, bytes);
    return 0;
}

/* Later than the requests that follow it, as a real disk may be. */
static int coroutine_fn disk_zero(void *opaque, uint64_t offset,
                                  uint32_t bytes, unsigned flags)
{
    Disk *d = opaque;

    g_assert_true(d->writable && range_fits(offset, bytes, DISK));
    co_yield_to_loop();
    memset(d->data + offset, 0, bytes);
    return flags & NBD_OP_FAST_ZERO ? -ENOTSUP : 0;
}

static int coroutine_fn disk_trim(void *opaque, uint64_t offset,
                                  uint32_t bytes, unsigned flags)
{
    Disk *d = opaque;

    g_assert_true(d->writable && range_fits(offset, bytes, DISK));
    return -EIO;
}

static int coroutine_fn disk_flush(void *opaque)
{
    co_yield_to_loop();
    return 0;
}

static int coroutine_fn disk_cache(void *opaque, uint64_t offset,
                                   uint32_t bytes)
{
    g_assert_true(range_fits(offset, bytes, DISK));
    return 0;
}

/* Runs of 4 KiB, each third of them unlike the others. */
static int coroutine_fn disk_status(void *opaque, unsigned context,
                                    uint64_t offset, uint32_t bytes,
                                    uint32_t *flags, uint32_t *run)
{
    g_assert_true(context < 2 && range_fits(offset, bytes, DISK));
    *flags = offset / 4096 % 3 == context ? 3 : 0;
    *run = MIN(bytes, 4096 - offset % 4096);
    return 0;
}

static void disk_client_added(void *opaque)
{
    Disk *d = opaque;

    d->clients++;
}

static void disk_client_removed(void *opaque)
{
    Disk *d = opaque;

    d->clients--;
}

static const NBDExportOps disk_ops = {
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .zero = disk_zero,
    .trim = disk_trim,
    .flush = disk_flush,
    .cache = disk_cache,
    .status = disk_status,
    .client_added = disk_client_added,
    .client_removed = disk_client_removed,
};

/* --- the client --- */

typedef struct Client {
    int fd;
    const uint8_t *data;
    size_t size;
    unsigned running;
} Client;

static void coroutine_fn client_send(void *opaque)
{
    Client *c = opaque;

    /* Fails where the server has had enough. */
    if (sock_co_send(c->fd, c->data, c->size) == 0) {
        shutdown(c->fd, SHUT_WR);
    }
    c->running--;
}

static void coroutine_fn client_receive(void *opaque)
{
    Client *c = opaque;
    g_autofree uint8_t *buf = g_malloc(64 * KiB);

    while (sock_co_read_some(c->fd, buf, 64 * KiB) > 0) {
        /* The answers are ignored. */
    }
    c->running--;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const contexts[] = {
        "base:allocation", "qemu:dirty-bitmap:b", NULL,
    };

    signal(SIGPIPE, SIG_IGN);
    setenv("TIDEMARK_AIO", "epoll", 1); /* the quicker one to fuzz with */
    aio_main_init(&error_abort);
    server = nbd_server_new();
    nbd_export_new(server,
                   &(NBDExportInfo){.name = "rw", .size = DISK,
                                    .description = "a disk",
                                    .contexts = contexts,
                                    .writable = true},
                   &disk_ops, &disk_rw, &error_abort);
    nbd_export_new(server, &(NBDExportInfo){.name = "", .size = DISK},
                   &disk_ops, &disk_ro, &error_abort);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Client c = {.data = data, .size = size, .running = 2};
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                    ==, 0);
    c.fd = fds[0];
    nbd_server_add_client(server, fds[1]);
    coroutine_enter(coroutine_create(client_send, &c));
    coroutine_enter(coroutine_create(client_receive, &c));
    AIO_WAIT_WHILE(c.running || nbd_server_clients(server));
    close(c.fd);
    g_assert_cmpuint(disk_rw.clients + disk_ro.clients, ==, 0);
    return 0;
}
