/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server with a client written byte by byte: handshake, requests, and
 * clients that violate the protocol.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "nbd/proto.h"
#include "nbd/server.h"
#include "qemu/aio.h"
#include "qemu/sockets.h"

#define DISK (4 * MiB)

/* --- an export in memory --- */

typedef struct Disk {
    uint8_t *data;
    unsigned last_flags;
    unsigned flushes, trims, zeroes;
    unsigned now, most; /* operations at one time */
    int64_t delay_ns;
    int fail; /* -errno for every operation */
    unsigned clients;
} Disk;

static void coroutine_fn disk_begin(Disk *d)
{
    d->now++;
    d->most = MAX(d->most, d->now);
    if (d->delay_ns) {
        co_sleep_ns(d->delay_ns);
    }
    d->now--;
}

static int coroutine_fn disk_pread(void *opaque, uint64_t offset,
                                   uint32_t bytes, void *buf)
{
    Disk *d = opaque;

    disk_begin(d);
    g_assert(offset + bytes <= DISK);
    memcpy(buf, d->data + offset, bytes);
    return d->fail;
}

static int coroutine_fn disk_pwrite(void *opaque, uint64_t offset,
                                    uint32_t bytes, const void *buf,
                                    unsigned flags)
{
    Disk *d = opaque;

    disk_begin(d);
    g_assert(offset + bytes <= DISK);
    memcpy(d->data + offset, buf, bytes);
    d->last_flags = flags;
    return d->fail;
}

static int coroutine_fn disk_zero(void *opaque, uint64_t offset,
                                  uint32_t bytes, unsigned flags)
{
    Disk *d = opaque;

    g_assert(offset + bytes <= DISK);
    memset(d->data + offset, 0, bytes);
    d->last_flags = flags;
    d->zeroes++;
    return d->fail;
}

static int coroutine_fn disk_trim(void *opaque, uint64_t offset,
                                  uint32_t bytes, unsigned flags)
{
    Disk *d = opaque;

    g_assert(offset + bytes <= DISK);
    d->last_flags = flags;
    d->trims++;
    return d->fail;
}

static int coroutine_fn disk_flush(void *opaque)
{
    Disk *d = opaque;

    d->flushes++;
    return d->fail;
}

static void disk_client_added(void *opaque)
{
    ((Disk *)opaque)->clients++;
}

static void disk_client_removed(void *opaque)
{
    ((Disk *)opaque)->clients--;
}

static const NBDExportOps disk_ops = {
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .zero = disk_zero,
    .trim = disk_trim,
    .flush = disk_flush,
    .client_added = disk_client_added,
    .client_removed = disk_client_removed,
};

/* --- fixture --- */

typedef struct Fixture {
    Disk disk;
    NBDServer *server;
    NBDExport *rw, *ro;
    int fd; /* the client's end */
} Fixture;

typedef void coroutine_fn TestBody(Fixture *f);

static void test_run(gconstpointer data)
{
    TestBody *body = (TestBody *)data;
    Fixture f = { .disk.data = g_malloc0(DISK) };
    int fds[2];

    f.server = nbd_server_new();
    f.rw = nbd_export_new(f.server,
                          &(NBDExportInfo){ .name = "rw", .size = DISK,
                                            .description = "a disk",
                                            .writable = true },
                          &disk_ops, &f.disk, &error_abort);
    f.ro = nbd_export_new(f.server,
                          &(NBDExportInfo){ .name = "", .size = DISK },
                          &disk_ops, &f.disk, &error_abort);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                    ==, 0);
    f.fd = fds[0];
    nbd_server_add_client(f.server, fds[1]);
    aio_run_co(aio_main_context(), (CoroutineEntry *)body, &f);
    if (f.fd >= 0) {
        aio_set_fd_handler(aio_main_context(), f.fd, AIO_SCOPE_IO, NULL, NULL,
                           NULL);
        close(f.fd);
    }
    AIO_WAIT_WHILE(nbd_server_clients(f.server) > 0);
    g_assert_cmpuint(f.disk.clients, ==, 0);
    nbd_export_free(f.rw);
    nbd_export_free(f.ro);
    nbd_server_free(f.server);
    g_free(f.disk.data);
}

/* --- client: handshake --- */

static void coroutine_fn hello(Fixture *f, uint32_t flags)
{
    uint8_t buf[18];

    g_assert_cmpint(sock_co_recv(f->fd, buf, 18), ==, 0);
    g_assert_cmphex(ld64_be(buf), ==, NBD_INIT_MAGIC);
    g_assert_cmphex(ld64_be(buf + 8), ==, NBD_OPTS_MAGIC);
    g_assert_cmpuint(ld16_be(buf + 16), ==, 3);
    st32_be(buf, flags);
    g_assert_cmpint(sock_co_send(f->fd, buf, 4), ==, 0);
}

static void coroutine_fn send_option(Fixture *f, uint32_t opt,
                                     const void *data, uint32_t len)
{
    uint8_t head[16];

    st64_be(head, NBD_OPTS_MAGIC);
    st32_be(head + 8, opt);
    st32_be(head + 12, len);
    g_assert_cmpint(sock_co_send(f->fd, head, 16), ==, 0);
    if (data && len) {
        g_assert_cmpint(sock_co_send(f->fd, data, len), ==, 0);
    }
}

/* Type of the reply; its data (caller frees) and length. */
static uint32_t coroutine_fn get_reply(Fixture *f, uint32_t opt,
                                       uint8_t **data, uint32_t *len)
{
    uint8_t head[20];
    uint8_t *buf;

    g_assert_cmpint(sock_co_recv(f->fd, head, 20), ==, 0);
    g_assert_cmphex(ld64_be(head), ==, NBD_REP_MAGIC);
    g_assert_cmpuint(ld32_be(head + 8), ==, opt);
    *len = ld32_be(head + 16);
    g_assert_cmpuint(*len, <, 65536);
    buf = g_malloc0(*len + 1);
    if (*len) {
        g_assert_cmpint(sock_co_recv(f->fd, buf, *len), ==, 0);
    }
    *data = buf;
    return ld32_be(head + 12);
}

/* A reply of which only the type matters. */
static void coroutine_fn expect(Fixture *f, uint32_t opt, uint32_t type)
{
    g_autofree uint8_t *data = NULL;
    uint32_t len;

    g_assert_cmphex(get_reply(f, opt, &data, &len), ==, type);
}

static void coroutine_fn expect_end(Fixture *f)
{
    uint8_t c;
    int ret = sock_co_recv(f->fd, &c, 1);

    g_assert(ret == 1 || ret == -ECONNRESET || ret == -EPIPE);
}

static void coroutine_fn send_go(Fixture *f, uint32_t opt, const char *name)
{
    uint32_t nlen = strlen(name);
    g_autofree uint8_t *buf = g_malloc0(nlen + 12);

    st32_be(buf, nlen);
    memcpy(buf + 4, name, nlen);
    st16_be(buf + 4 + nlen, 3);
    st16_be(buf + 6 + nlen, NBD_INFO_NAME);
    st16_be(buf + 8 + nlen, NBD_INFO_DESCRIPTION);
    st16_be(buf + 10 + nlen, NBD_INFO_BLOCK_SIZE);
    send_option(f, opt, buf, nlen + 12);
}

/* Reads the infos up to the ACK; returns the transmission flags. */
static uint16_t coroutine_fn read_infos(Fixture *f, uint32_t opt,
                                        unsigned *kinds)
{
    uint16_t flags = 0;

    *kinds = 0;
    for (;;) {
        g_autofree uint8_t *data = NULL;
        uint32_t len, type = get_reply(f, opt, &data, &len);

        if (type == NBD_REP_ACK) {
            return flags;
        }
        g_assert_cmphex(type, ==, NBD_REP_INFO);
        *kinds |= 1 << ld16_be(data);
        if (ld16_be(data) == NBD_INFO_EXPORT) {
            g_assert_cmpuint(len, ==, 12);
            g_assert_cmpuint(ld64_be(data + 2), ==, DISK);
            flags = ld16_be(data + 10);
        } else if (ld16_be(data) == NBD_INFO_BLOCK_SIZE) {
            g_assert_cmpuint(ld32_be(data + 2), ==, 1);
            g_assert_cmpuint(ld32_be(data + 6), ==, 4096);
            g_assert_cmpuint(ld32_be(data + 10), ==, 32 * MiB);
        }
    }
}

static uint16_t coroutine_fn go(Fixture *f, const char *name)
{
    unsigned kinds;

    hello(f, 3);
    send_go(f, NBD_OPT_GO, name);
    return read_infos(f, NBD_OPT_GO, &kinds);
}

/* --- client: transmission --- */

static void put_request(GByteArray *out, const NBDRequest *req)
{
    uint8_t buf[NBD_REQUEST_SIZE];

    st32_be(buf, NBD_REQUEST_MAGIC);
    st16_be(buf + 4, req->flags);
    st16_be(buf + 6, req->type);
    st64_be(buf + 8, req->cookie);
    st64_be(buf + 16, req->from);
    st32_be(buf + 24, req->len);
    g_byte_array_append(out, buf, sizeof(buf));
}

static void coroutine_fn send_request(Fixture *f, NBDRequest req,
                                      const void *payload)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    put_request(out, &req);
    if (payload) {
        g_byte_array_append(out, payload, req.len);
    }
    g_assert_cmpint(sock_co_send(f->fd, out->data, out->len), ==, 0);
}

/* The error number; the cookie to *@cookie. */
static uint32_t coroutine_fn get_simple(Fixture *f, uint64_t *cookie)
{
    uint8_t buf[16];

    g_assert_cmpint(sock_co_recv(f->fd, buf, 16), ==, 0);
    g_assert_cmphex(ld32_be(buf), ==, NBD_SIMPLE_REPLY_MAGIC);
    *cookie = ld64_be(buf + 8);
    return ld32_be(buf + 4);
}

static uint32_t coroutine_fn transact(Fixture *f, NBDRequest req,
                                      const void *payload, void *answer)
{
    uint64_t cookie;
    uint32_t error;

    req.cookie = 0x0102030405060708 ^ req.from;
    send_request(f, req, payload);
    error = get_simple(f, &cookie);
    g_assert_cmphex(cookie, ==, req.cookie);
    if (!error && req.type == NBD_CMD_READ && req.len) {
        g_assert_cmpint(sock_co_recv(f->fd, answer, req.len), ==, 0);
    }
    return error;
}

#define REQ(t, ...) ((NBDRequest){ .type = NBD_CMD_##t, __VA_ARGS__ })

/* --- tests: handshake --- */

static void coroutine_fn t_go(Fixture *f)
{
    unsigned kinds;
    uint16_t flags;

    hello(f, 3);
    send_go(f, NBD_OPT_INFO, "rw");
    flags = read_infos(f, NBD_OPT_INFO, &kinds);
    g_assert_cmpuint(kinds, ==, 0xf);
    g_assert_cmphex(flags, ==, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
                    NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
                    NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_CAN_MULTI_CONN |
                    NBD_FLAG_SEND_FAST_ZERO);
    send_go(f, NBD_OPT_GO, "nothing");
    expect(f, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN);
    send_go(f, NBD_OPT_GO, "");
    flags = read_infos(f, NBD_OPT_GO, &kinds);
    g_assert_cmphex(flags, ==, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
                    NBD_FLAG_SEND_FUA | NBD_FLAG_READ_ONLY |
                    NBD_FLAG_CAN_MULTI_CONN);
    send_request(f, REQ(DISC), NULL);
    expect_end(f);
}

static void coroutine_fn t_list(Fixture *f)
{
    unsigned seen = 0;

    hello(f, 3);
    send_option(f, NBD_OPT_LIST, "x", 1);
    expect(f, NBD_OPT_LIST, NBD_REP_ERR_INVALID);
    send_option(f, NBD_OPT_LIST, NULL, 0);
    for (;;) {
        g_autofree uint8_t *data = NULL;
        uint32_t len, type = get_reply(f, NBD_OPT_LIST, &data, &len);

        if (type == NBD_REP_ACK) {
            break;
        }
        g_assert_cmphex(type, ==, NBD_REP_SERVER);
        if (ld32_be(data) == 2) {
            g_assert_cmpstr((char *)data + 4, ==, "rwa disk");
        } else {
            g_assert_cmpuint(len, ==, 4);
        }
        seen++;
    }
    g_assert_cmpuint(seen, ==, 2);
    send_option(f, NBD_OPT_ABORT, NULL, 0);
    expect(f, NBD_OPT_ABORT, NBD_REP_ACK);
    expect_end(f);
}

static void coroutine_fn t_refused_options(Fixture *f)
{
    g_autofree uint8_t *big = g_malloc0(100000);

    hello(f, 3);
    send_option(f, NBD_OPT_STARTTLS, NULL, 0);
    expect(f, NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY);
    send_option(f, NBD_OPT_STARTTLS, "x", 1);
    expect(f, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID);
    send_option(f, NBD_OPT_STRUCTURED_REPLY, "x", 1);
    expect(f, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID);
    send_option(f, NBD_OPT_SET_META_CONTEXT, "abcdefgh", 8);
    expect(f, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID);
    send_option(f, 12345, NULL, 0);
    expect(f, 12345, NBD_REP_ERR_UNSUP);
    send_option(f, NBD_OPT_GO, "abc", 3);
    expect(f, NBD_OPT_GO, NBD_REP_ERR_INVALID);
    send_option(f, NBD_OPT_GO, "\0\0\0\7abcd\0\0", 10);
    expect(f, NBD_OPT_GO, NBD_REP_ERR_INVALID);
    send_option(f, NBD_OPT_GO, "\0\0\0\2rw\0\3", 8);
    expect(f, NBD_OPT_GO, NBD_REP_ERR_INVALID);
    send_option(f, NBD_OPT_GO, "\0\0\0\2r\0\0\0", 8);
    expect(f, NBD_OPT_GO, NBD_REP_ERR_INVALID);
    send_option(f, NBD_OPT_INFO, big, 100000);
    expect(f, NBD_OPT_INFO, NBD_REP_ERR_TOO_BIG);
    send_go(f, NBD_OPT_GO, "rw");
    read_infos(f, NBD_OPT_GO, &(unsigned){ 0 });
    g_assert_cmpuint(transact(f, REQ(FLUSH), NULL, NULL), ==, 0);
}

static void coroutine_fn export_name(Fixture *f, uint32_t flags, size_t bytes)
{
    uint8_t buf[134];

    hello(f, flags);
    send_option(f, NBD_OPT_EXPORT_NAME, "rw", 2);
    g_assert_cmpint(sock_co_recv(f->fd, buf, bytes), ==, 0);
    g_assert_cmpuint(ld64_be(buf), ==, DISK);
    g_assert_cmpuint(transact(f, REQ(FLUSH), NULL, NULL), ==, 0);
}

static void coroutine_fn t_export_name(Fixture *f)
{
    export_name(f, 1, 134);
}

static void coroutine_fn t_export_name_no_zeroes(Fixture *f)
{
    export_name(f, 3, 10);
}

static void coroutine_fn t_export_name_old_client(Fixture *f)
{
    export_name(f, 0, 134);
}

static void coroutine_fn t_export_name_unknown(Fixture *f)
{
    hello(f, 3);
    send_option(f, NBD_OPT_EXPORT_NAME, "xx", 2);
    expect_end(f);
}

static void coroutine_fn t_bad_client_flags(Fixture *f)
{
    hello(f, 0xff);
    expect_end(f);
}

static void coroutine_fn t_bad_option_magic(Fixture *f)
{
    hello(f, 3);
    g_assert_cmpint(sock_co_send(f->fd, "GET / HTTP/1.0\r\n", 16), ==, 0);
    expect_end(f);
}

static void coroutine_fn t_huge_option(Fixture *f)
{
    hello(f, 3);
    send_option(f, NBD_OPT_GO, NULL, UINT32_MAX);
    expect_end(f);
}

static void coroutine_fn t_gone_in_handshake(Fixture *f)
{
    hello(f, 3);
    g_assert_cmpint(sock_co_send(f->fd, "IHAVE", 5), ==, 0);
}

/* --- tests: requests --- */

static void coroutine_fn t_read_write(Fixture *f)
{
    g_autofree uint8_t *out = g_malloc(MiB), *in = g_malloc(MiB);
    static const uint32_t sizes[] = { 1, 512, 4096, 65536, 70000, MiB };

    for (size_t i = 0; i < MiB; i++) {
        out[i] = g_test_rand_int();
    }
    go(f, "rw");
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint64_t from = 4097 * i;
        uint32_t n = sizes[i];

        g_assert_cmpuint(transact(f, REQ(WRITE, .from = from, .len = n,
                                         .flags = NBD_CMD_FLAG_FUA),
                                  out, NULL), ==, 0);
        g_assert_cmpuint(f->disk.last_flags, ==, NBD_OP_FUA);
        g_assert_cmpmem(f->disk.data + from, n, out, n);
        g_assert_cmpuint(transact(f, REQ(READ, .from = from, .len = n), NULL,
                                  in), ==, 0);
        g_assert_cmpmem(in, n, out, n);
    }
    g_assert_cmpuint(transact(f, REQ(READ), NULL, in), ==, 0);
    g_assert_cmpuint(transact(f, REQ(WRITE), NULL, NULL), ==, 0);
}

static void coroutine_fn t_other_commands(Fixture *f)
{
    go(f, "rw");
    g_assert_cmpuint(transact(f, REQ(TRIM, .len = 4096), NULL, NULL), ==, 0);
    g_assert_cmpuint(f->disk.trims, ==, 1);
    g_assert_cmpuint(transact(f, REQ(WRITE_ZEROES, .len = DISK,
                                     .flags = NBD_CMD_FLAG_NO_HOLE |
                                              NBD_CMD_FLAG_FAST_ZERO),
                              NULL, NULL), ==, 0);
    g_assert_cmpuint(f->disk.last_flags, ==,
                     NBD_OP_NO_HOLE | NBD_OP_FAST_ZERO);
    f->disk.fail = -ENOSPC;
    g_assert_cmpuint(transact(f, REQ(FLUSH), NULL, NULL), ==, 28);
    f->disk.fail = -EIO;
    g_assert_cmpuint(transact(f, REQ(READ, .len = 512), NULL, NULL), ==, 5);
    f->disk.fail = -ENOTSUP;
    g_assert_cmpuint(transact(f, REQ(WRITE_ZEROES, .len = 1), NULL, NULL), ==,
                     95);
}

static void coroutine_fn t_invalid_requests(Fixture *f)
{
    g_autofree uint8_t *buf = g_malloc0(4096);

    go(f, "rw");
    g_assert_cmpuint(transact(f, REQ(READ, .from = DISK, .len = 1), NULL,
                              NULL), ==, 22);
    g_assert_cmpuint(transact(f, REQ(READ, .from = UINT64_MAX, .len = 2),
                              NULL, NULL), ==, 22);
    g_assert_cmpuint(transact(f, REQ(READ, .len = 32 * MiB + 1), NULL, NULL),
                     ==, 22);
    g_assert_cmpuint(transact(f, REQ(WRITE, .from = DISK - 1, .len = 4096),
                              buf, NULL), ==, 28);
    g_assert_cmpuint(transact(f, REQ(TRIM, .from = 1, .len = DISK), NULL,
                              NULL), ==, 28);
    g_assert_cmpuint(transact(f, REQ(READ, .len = 1, .flags = 0x80), NULL,
                              NULL), ==, 22);
    g_assert_cmpuint(transact(f, REQ(BLOCK_STATUS, .len = 1), NULL, NULL), ==,
                     22);
    g_assert_cmpuint(transact(f, REQ(CACHE, .len = 1), NULL, NULL), ==, 22);
    g_assert_cmpuint(transact(f, (NBDRequest){ .type = 999 }, NULL, NULL), ==,
                     22);
    g_assert_cmpuint(transact(f, REQ(WRITE, .len = 4096), buf, NULL), ==, 0);
}

static void coroutine_fn t_read_only(Fixture *f)
{
    uint8_t buf[512] = { 1 };

    go(f, "");
    g_assert_cmpuint(transact(f, REQ(WRITE, .len = 512), buf, NULL), ==, 1);
    g_assert_cmpuint(transact(f, REQ(TRIM, .len = 512), NULL, NULL), ==, 1);
    g_assert_cmpuint(transact(f, REQ(WRITE_ZEROES, .len = 512), NULL, NULL),
                     ==, 1);
    g_assert_cmpuint(transact(f, REQ(READ, .len = 512), NULL, buf), ==, 0);
    g_assert_cmpuint(buf[0], ==, 0);
}

static void coroutine_fn t_bad_request_magic(Fixture *f)
{
    uint8_t junk[NBD_REQUEST_SIZE] = "this is no request at all...";

    go(f, "rw");
    g_assert_cmpint(sock_co_send(f->fd, junk, sizeof(junk)), ==, 0);
    expect_end(f);
}

static void coroutine_fn t_oversize_write(Fixture *f)
{
    go(f, "rw");
    send_request(f, REQ(WRITE, .len = 32 * MiB + 1), NULL);
    expect_end(f);
}

static void coroutine_fn t_gone_in_payload(Fixture *f)
{
    go(f, "rw");
    send_request(f, REQ(WRITE, .len = 100000), NULL);
    g_assert_cmpint(sock_co_send(f->fd, "some", 4), ==, 0);
}

static void coroutine_fn t_gone_with_requests(Fixture *f)
{
    go(f, "rw");
    f->disk.delay_ns = 5 * 1000 * 1000;
    for (int i = 0; i < 100; i++) {
        send_request(f, REQ(READ, .cookie = i, .len = 4096), NULL);
    }
    co_sleep_ns(1000 * 1000);
}

/* Many requests in one go: all answered, never too many at one time. */
static void coroutine_fn pipeline(Fixture *f, int n)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autofree bool *seen = g_new0(bool, n);
    uint8_t buf[4096];

    go(f, "rw");
    for (int i = 0; i < n; i++) {
        NBDRequest req = REQ(WRITE, .cookie = i, .len = sizeof(buf),
                             .from = (uint64_t)i * sizeof(buf));

        put_request(out, &req);
        memset(buf, i + 1, sizeof(buf));
        g_byte_array_append(out, buf, sizeof(buf));
    }
    g_assert_cmpint(sock_co_send(f->fd, out->data, out->len), ==, 0);
    for (int i = 0; i < n; i++) {
        uint64_t cookie;

        g_assert_cmpuint(get_simple(f, &cookie), ==, 0);
        g_assert(cookie < n && !seen[cookie]);
        seen[cookie] = true;
    }
    for (int i = 0; i < n; i++) {
        g_assert_cmpuint(f->disk.data[i * 4096], ==, (i + 1) & 0xff);
    }
    g_assert_cmpuint(f->disk.most, <=, 64);
}

static void coroutine_fn t_pipeline(Fixture *f)
{
    pipeline(f, 1000);
}

static void coroutine_fn t_pipeline_slow_disk(Fixture *f)
{
    f->disk.delay_ns = 100 * 1000;
    pipeline(f, 500);
    g_assert_cmpuint(f->disk.most, >, 8);
}

/* A client with many requests that reads late gets all of its replies. */
static void coroutine_fn t_late_reader(Fixture *f)
{
    g_autofree uint8_t *buf = g_malloc(MiB);
    uint64_t cookie;

    go(f, "rw");
    memset(f->disk.data, 7, DISK);
    for (int i = 0; i < 50; i++) {
        send_request(f, REQ(READ, .cookie = i, .len = MiB), NULL);
    }
    co_sleep_ns(5 * 1000 * 1000);
    for (int i = 0; i < 50; i++) {
        g_assert_cmpuint(get_simple(f, &cookie), ==, 0);
        g_assert_cmpint(sock_co_recv(f->fd, buf, MiB), ==, 0);
        g_assert(buf[0] == 7 && buf[MiB - 1] == 7);
    }
}

static void coroutine_fn t_half_closed(Fixture *f)
{
    uint64_t cookie;

    go(f, "rw");
    f->disk.delay_ns = 1000 * 1000;
    send_request(f, REQ(WRITE, .len = 4), "data");
    shutdown(f->fd, SHUT_WR);
    g_assert_cmpuint(get_simple(f, &cookie), ==, 0);
    expect_end(f);
}

static void coroutine_fn t_never_reads(Fixture *f)
{
    go(f, "rw");
    for (int i = 0; i < 64; i++) {
        send_request(f, REQ(READ, .len = MiB), NULL);
    }
    co_sleep_ns(5 * 1000 * 1000);
    /* The server can only disconnect such a client. */
    nbd_export_shutdown(f->rw);
}

static void coroutine_fn t_quiesce(Fixture *f)
{
    uint64_t cookie;

    go(f, "rw");
    nbd_export_quiesce(f->rw, true);
    send_request(f, REQ(WRITE, .len = 4), "data");
    co_sleep_ns(2 * 1000 * 1000);
    g_assert_cmpuint(f->disk.most, ==, 0);
    g_assert_false(nbd_export_busy(f->rw));
    nbd_export_quiesce(f->rw, false);
    g_assert_cmpuint(get_simple(f, &cookie), ==, 0);
    nbd_export_quiesce(f->rw, true);
    send_request(f, REQ(WRITE, .len = 4), "more");
    co_sleep_ns(1000 * 1000);
    nbd_export_shutdown(f->rw);
    expect_end(f);
    g_assert_cmpmem(f->disk.data, 4, "data", 4);
}

/* --- without a connection --- */

static void test_errors(void)
{
    g_assert_cmpuint(nbd_error_from_errno(0), ==, 0);
    g_assert_cmpuint(nbd_error_from_errno(-EROFS), ==, 1);
    g_assert_cmpuint(nbd_error_from_errno(-EDQUOT), ==, 28);
    g_assert_cmpuint(nbd_error_from_errno(-EBADF), ==, 5);
    g_assert_cmpuint(nbd_error_from_errno(-EOVERFLOW), ==, 75);
    g_assert_cmpuint(nbd_error_from_errno(-ESHUTDOWN), ==, 108);
}

static void test_export_names(void)
{
    NBDServer *server = nbd_server_new();
    NBDExportInfo info = { .name = "a", .size = 1 };
    NBDExport *exp = nbd_export_new(server, &info, &disk_ops, NULL, NULL);
    g_autofree char *longer = g_strnfill(NBD_MAX_NAME + 1, 'x');
    g_autoptr(Error) err = NULL, err2 = NULL;

    g_assert_null(nbd_export_new(server, &info, &disk_ops, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "NBD server already has export named 'a'");
    info.name = longer;
    g_assert_null(nbd_export_new(server, &info, &disk_ops, NULL, &err2));
    g_assert_nonnull(strstr(error_get_pretty(err2), "too long"));
    g_assert_true(nbd_export_find(server, "a") == exp);
    nbd_export_free(exp);
    g_assert_null(nbd_export_find(server, "a"));
    nbd_server_free(server);
}

static const struct {
    const char *name;
    TestBody *body;
} tests[] = {
    { "handshake/go", t_go },
    { "handshake/list", t_list },
    { "handshake/refused", t_refused_options },
    { "handshake/export-name", t_export_name },
    { "handshake/export-name-no-zeroes", t_export_name_no_zeroes },
    { "handshake/export-name-old-client", t_export_name_old_client },
    { "handshake/export-name-unknown", t_export_name_unknown },
    { "handshake/bad-flags", t_bad_client_flags },
    { "handshake/bad-magic", t_bad_option_magic },
    { "handshake/huge-option", t_huge_option },
    { "handshake/gone", t_gone_in_handshake },
    { "request/read-write", t_read_write },
    { "request/others", t_other_commands },
    { "request/invalid", t_invalid_requests },
    { "request/read-only", t_read_only },
    { "request/bad-magic", t_bad_request_magic },
    { "request/oversize-write", t_oversize_write },
    { "request/gone-in-payload", t_gone_in_payload },
    { "request/gone-with-requests", t_gone_with_requests },
    { "request/pipeline", t_pipeline },
    { "request/pipeline-slow-disk", t_pipeline_slow_disk },
    { "request/late-reader", t_late_reader },
    { "request/half-closed", t_half_closed },
    { "request/never-reads", t_never_reads },
    { "request/quiesce", t_quiesce },
};

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    g_test_add_func("/nbd/errors", test_errors);
    g_test_add_func("/nbd/export-names", test_export_names);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("/nbd/%s", tests[i].name);

        g_test_add_data_func(path, (gconstpointer)tests[i].body, test_run);
    }
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
