/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD client with scripted servers: replies of every form. */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/socket.h>

#include "nbd/client.h"
#include "qemu/aio.h"
#include "qemu/sockets.h"

#define LEN 4096

typedef struct Fixture {
    int fds[2]; /* client, server */
    NBDConn *conn;
    GByteArray *script;
    const char *rule;  /* that the server broke */
    int ret;
    bool done, entered;
    uint8_t buf[LEN];
} Fixture;

/* --- the server's bytes --- */

static void put(Fixture *f, uint64_t value, int bytes)
{
    uint8_t be[8];

    st64_be(be, value);
    g_byte_array_append(f->script, be + 8 - bytes, bytes);
}

static void put_reply(Fixture *f, uint32_t option, uint32_t type, uint32_t len)
{
    put(f, NBD_REP_MAGIC, 8);
    put(f, option, 4);
    put(f, type, 4);
    put(f, len, 4);
}

static void put_handshake(Fixture *f, uint64_t size)
{
    put(f, NBD_INIT_MAGIC, 8);
    put(f, NBD_OPTS_MAGIC, 8);
    put(f, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 2);
    put_reply(f, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, 0);
    put_reply(f, NBD_OPT_GO, NBD_REP_INFO, 12);
    put(f, NBD_INFO_EXPORT, 2);
    put(f, size, 8);
    put(f, NBD_FLAG_HAS_FLAGS, 2);
    put_reply(f, NBD_OPT_GO, NBD_REP_ACK, 0);
}

static void put_chunk(Fixture *f, uint16_t flags, uint16_t type, uint32_t len)
{
    put(f, NBD_STRUCTURED_REPLY_MAGIC, 4);
    put(f, flags, 2);
    put(f, type, 2);
    put(f, 0x100, 8); /* the first request's cookie */
    put(f, len, 4);
}

static void put_data(Fixture *f, bool last, uint64_t at, uint32_t len, int byte)
{
    put_chunk(f, last, NBD_REPLY_TYPE_OFFSET_DATA, 8 + len);
    put(f, at, 8);
    for (uint32_t i = 0; i < len; i++) {
        put(f, byte, 1);
    }
}

static void put_hole(Fixture *f, bool last, uint64_t at, uint32_t len)
{
    put_chunk(f, last, NBD_REPLY_TYPE_OFFSET_HOLE, 12);
    put(f, at, 8);
    put(f, len, 4);
}

/* --- the client --- */

static void broken(void *opaque, const char *rule)
{
    Fixture *f = opaque;

    f->rule = rule;
}

static void coroutine_fn client(void *opaque)
{
    Fixture *f = opaque;
    NBDWish wish = { .export = "" };
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, f->buf, LEN);
    f->conn = nbd_conn_new(f->fds[0], &wish, NULL);
    if (f->conn) {
        f->entered = true;
        nbd_conn_on_break(f->conn, broken, f);
        f->ret = nbd_conn_read(f->conn, LEN, LEN, &qiov, 0);
    }
    f->done = true;
}

static void run(Fixture *f)
{
    g_assert_cmpint(write(f->fds[1], f->script->data, f->script->len), ==,
                    f->script->len);
    shutdown(f->fds[1], SHUT_WR);
    coroutine_enter(coroutine_create(client, f));
    AIO_WAIT_WHILE(!f->done);
    if (f->conn) {
        nbd_conn_stop(f->conn);
        AIO_WAIT_WHILE(!nbd_conn_ended(f->conn));
        nbd_conn_unref(f->conn);
    }
}

static void set_up(Fixture *f, gconstpointer data)
{
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
                               f->fds), ==, 0);
    f->script = g_byte_array_new();
    memset(f->buf, 0xee, LEN);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    close(f->fds[1]);
    g_byte_array_unref(f->script);
}

/* --- tests --- */

static void test_pieces(Fixture *f, gconstpointer data)
{
    put_handshake(f, MiB);
    put_data(f, false, LEN + 3000, 1096, 3);
    put_data(f, false, LEN, 1000, 1);
    put_hole(f, false, LEN + 2000, 1000);
    put_data(f, true, LEN + 1000, 1000, 2);
    run(f);
    g_assert_cmpint(f->ret, ==, 0);
    g_assert_null(f->rule);
    g_assert_cmpint(f->buf[999], ==, 1);
    g_assert_cmpint(f->buf[1999], ==, 2);
    g_assert_cmpint(f->buf[2999], ==, 0);
    g_assert_cmpint(f->buf[4095], ==, 3);
}

static void expect_broken(Fixture *f)
{
    run(f);
    g_assert_true(f->entered);
    g_assert_cmpint(f->ret, ==, -EINVAL);
    g_assert_nonnull(f->rule);
}

static void test_gap(Fixture *f, gconstpointer data)
{
    put_handshake(f, MiB);
    put_data(f, false, LEN, 1000, 1);
    put_data(f, true, LEN + 1001, 3095, 1);
    expect_broken(f);
}

static void test_overlap(Fixture *f, gconstpointer data)
{
    put_handshake(f, MiB);
    put_data(f, false, LEN + 100, 1000, 1);
    put_hole(f, true, LEN, 101);
    expect_broken(f);
}

static void test_outside(Fixture *f, gconstpointer data)
{
    put_handshake(f, MiB);
    put_hole(f, true, LEN + 1, LEN);
    expect_broken(f);
}

static void test_error(Fixture *f, gconstpointer data)
{
    put_handshake(f, MiB);
    put_data(f, false, LEN, 1000, 1);
    put_chunk(f, 1, NBD_REPLY_TYPE_ERROR, 6);
    put(f, 28, 4);
    put(f, 0, 2);
    run(f);
    g_assert_cmpint(f->ret, ==, -ENOSPC);
    g_assert_null(f->rule);
}

static void test_gone(Fixture *f, gconstpointer data)
{
    put_handshake(f, MiB);
    put_chunk(f, 1, NBD_REPLY_TYPE_OFFSET_DATA, 8 + LEN);
    run(f);
    g_assert_cmpint(f->ret, ==, -ENOTCONN);
    g_assert_null(f->rule);
}

static void test_huge(Fixture *f, gconstpointer data)
{
    put_handshake(f, UINT64_C(1) << 63);
    run(f);
    g_assert_false(f->entered);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*func)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nbd-client/read/pieces", test_pieces },
        { "/nbd-client/read/gap", test_gap },
        { "/nbd-client/read/overlap", test_overlap },
        { "/nbd-client/read/outside", test_outside },
        { "/nbd-client/read/error", test_error },
        { "/nbd-client/read/gone", test_gone },
        { "/nbd-client/handshake/huge", test_huge },
    };

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].func,
                   tear_down);
    }
    return g_test_run();
}
