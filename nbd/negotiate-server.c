/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handshake, fixed newstyle:
 *
 *     server: magic numbers, flags          client: flags
 *     client: option, data                  server: replies    (repeated)
 *
 * until the client has chosen an export, aborts or violates the protocol.
 */
#include "qemu/osdep.h"

#include "nbd-int.h"
#include "qemu/sockets.h"

/* Maximum length of an option: a name, a description, queries. */
#define MAX_OPTION_LEN (2 * NBD_MAX_NAME + 4096)
/* Maximum number of options from one client. */
#define MAX_OPTIONS 1024

static int coroutine_fn greet(NBDClient *client)
{
    const uint16_t known = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;
    uint8_t hello[18], answer[4];
    uint32_t flags;
    int ret;

    st64_be(hello, NBD_INIT_MAGIC);
    st64_be(hello + 8, NBD_OPTS_MAGIC);
    st16_be(hello + 16, known);
    ret = sock_co_send(client->fd, hello, sizeof(hello));
    if (ret == 0) {
        ret = sock_co_recv(client->fd, answer, sizeof(answer));
    }
    if (ret != 0) {
        return ret;
    }
    flags = ld32_be(answer);
    client->fixed_newstyle = flags & NBD_FLAG_FIXED_NEWSTYLE;
    client->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
    return flags & ~(uint32_t)known ? -EINVAL : 0;
}

/* Discards data of an option that is too long. */
static int coroutine_fn skip(NBDClient *client, uint32_t len)
{
    uint8_t buf[1024];

    while (len > 0) {
        uint32_t n = MIN(len, sizeof(buf));
        int ret = sock_co_recv(client->fd, buf, n);

        if (ret != 0) {
            return ret;
        }
        len -= n;
    }
    return 0;
}

static int coroutine_fn read_option(NBDClient *client, NBDOption *opt)
{
    uint8_t head[16];
    int ret = sock_co_recv(client->fd, head, sizeof(head));

    if (ret != 0) {
        return ret;
    }
    if (ld64_be(head) != NBD_OPTS_MAGIC) {
        return -EINVAL;
    }
    opt->number = ld32_be(head + 8);
    opt->len = ld32_be(head + 12);
    if (opt->len > NBD_MAX_PAYLOAD ||
        (!client->fixed_newstyle && opt->number != NBD_OPT_EXPORT_NAME)) {
        return -EINVAL;
    }
    if (opt->len > MAX_OPTION_LEN) {
        return opt->number == NBD_OPT_EXPORT_NAME ? -EINVAL : 0;
    }
    g_free(opt->data);
    opt->data = g_malloc(opt->len + 1);
    opt->data[opt->len] = 0;
    ret = opt->len ? sock_co_recv(client->fd, opt->data, opt->len) : 0;
    return ret > 0 ? -ECONNRESET : ret;
}

static int coroutine_fn one_option(NBDClient *client)
{
    g_autofree uint8_t *data = NULL;
    NBDOption opt = { 0 };
    int ret = read_option(client, &opt);

    data = opt.data;
    if (ret != 0) {
        return ret;
    }
    if (opt.len > MAX_OPTION_LEN) {
        ret = skip(client, opt.len);
        if (ret == 0) {
            ret = nbd_reply_error(client, opt.number, NBD_REP_ERR_TOO_BIG,
                                  "the option is too long");
        }
        return ret ? ret : 2;
    }
    return nbd_handle_option(client, &opt);
}

int coroutine_fn nbd_negotiate(NBDClient *client)
{
    int ret = greet(client);

    for (int i = 0; ret == 0 && i < MAX_OPTIONS; i++) {
        ret = one_option(client);
        if (ret != 2) {
            return client->closing ? 1 : ret;
        }
        ret = 0;
    }
    return ret ? ret : -EINVAL;
}
