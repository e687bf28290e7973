/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of the handshake and their replies. */
#include "qemu/osdep.h"

#include "nbd-int.h"
#include "qemu/sockets.h"

/* --- replies --- */

int coroutine_fn nbd_reply(NBDClient *client, uint32_t option, uint32_t type,
                           const void *data, uint32_t len)
{
    uint8_t head[20];
    struct iovec iov[2] = {
        { .iov_base = head, .iov_len = sizeof(head) },
        { .iov_base = (void *)data, .iov_len = len },
    };

    st64_be(head, NBD_REP_MAGIC);
    st32_be(head + 8, option);
    st32_be(head + 12, type);
    st32_be(head + 16, len);
    return sock_co_sendv(client->fd, iov, len ? 2 : 1);
}

int coroutine_fn nbd_reply_error(NBDClient *client, uint32_t option,
                                 uint32_t type, const char *text)
{
    return nbd_reply(client, option, type, text, strlen(text));
}

int coroutine_fn nbd_refuse(NBDClient *client, const NBDOption *opt,
                            uint32_t type, const char *text)
{
    int ret = nbd_reply_error(client, opt->number, type, text);

    return ret ? ret : NBD_GO_ON;
}

int coroutine_fn nbd_ack(NBDClient *client, const NBDOption *opt)
{
    return nbd_reply(client, opt->number, NBD_REP_ACK, NULL, 0);
}

/* A NBD_REP_INFO of kind @info with @len bytes at @data. */
static int coroutine_fn reply_info(NBDClient *client, uint32_t option,
                                   uint16_t info, const void *data,
                                   uint32_t len)
{
    g_autofree uint8_t *buf = g_malloc(2 + len);

    st16_be(buf, info);
    memcpy(buf + 2, data, len);
    return nbd_reply(client, option, NBD_REP_INFO, buf, 2 + len);
}

/* --- options --- */

static int coroutine_fn opt_export_name(NBDClient *client,
                                        const NBDOption *opt)
{
    const char *name = (const char *)opt->data;
    uint8_t answer[10 + 124] = { 0 };
    NBDExport *exp;
    int ret;

    /* EXPORT_NAME has no error reply: disconnect. */
    if (opt->len > NBD_MAX_NAME || strlen(name) != opt->len) {
        return -EINVAL;
    }
    exp = nbd_export_find(client->server, name);
    if (!exp) {
        return -ENOENT;
    }
    nbd_client_choose(client, exp);
    st64_be(answer, nbd_export_size(exp));
    st16_be(answer + 8, nbd_client_flags(client, exp));
    ret = sock_co_send(client->fd, answer,
                       client->no_zeroes ? 10 : sizeof(answer));
    return ret;
}

/* One export for NBD_OPT_LIST, appended to @out as a complete reply. */
static void list_one(GByteArray *out, const NBDExport *exp)
{
    uint32_t nlen = strlen(exp->name);
    uint32_t dlen = exp->description ? strlen(exp->description) : 0;
    uint8_t head[24];

    st64_be(head, NBD_REP_MAGIC);
    st32_be(head + 8, NBD_OPT_LIST);
    st32_be(head + 12, NBD_REP_SERVER);
    st32_be(head + 16, 4 + nlen + dlen);
    st32_be(head + 20, nlen);
    g_byte_array_append(out, head, sizeof(head));
    g_byte_array_append(out, (const uint8_t *)exp->name, nlen);
    if (dlen) {
        g_byte_array_append(out, (const uint8_t *)exp->description, dlen);
    }
}

static int coroutine_fn opt_list(NBDClient *client, const NBDOption *opt)
{
    g_autoptr(GByteArray) out = NULL;
    NBDExport *exp;
    int ret;

    if (opt->len) {
        return nbd_refuse(client, opt, NBD_REP_ERR_INVALID,
                      "the option takes no data");
    }
    /* The replies are collected first: the list may change while sending. */
    out = g_byte_array_new();
    LIST_FOREACH(exp, &client->server->exports, next) {
        list_one(out, exp);
    }
    ret = sock_co_send(client->fd, out->data, out->len);
    if (ret == 0) {
        ret = nbd_ack(client, opt);
    }
    return ret ? ret : NBD_GO_ON;
}

/* The parsed data of INFO and GO. */
typedef struct InfoQuery {
    char *name;
    bool want_name, want_description, want_block_size;
} InfoQuery;

/* Returns NULL, or the error in the data. */
static const char *parse_info(const NBDOption *opt, InfoQuery *query)
{
    const uint8_t *p = opt->data;
    uint32_t nlen, n;

    if (opt->len < 6 || ld32_be(p) > opt->len - 6) {
        return "the length of the name does not fit";
    }
    nlen = ld32_be(p);
    if (nlen > NBD_MAX_NAME || memchr(p + 4, 0, nlen)) {
        return "the name is not valid";
    }
    n = ld16_be(p + 4 + nlen);
    if (opt->len != 6 + nlen + 2 * n) {
        return "the number of queries does not fit";
    }
    query->name = g_strndup((const char *)p + 4, nlen);
    p += 6 + nlen;
    for (uint32_t i = 0; i < n; i++) {
        uint16_t kind = ld16_be(p + 2 * i);

        query->want_name |= kind == NBD_INFO_NAME;
        query->want_description |= kind == NBD_INFO_DESCRIPTION;
        query->want_block_size |= kind == NBD_INFO_BLOCK_SIZE;
    }
    return NULL;
}

static int coroutine_fn send_infos(NBDClient *client, uint32_t option,
                                   const NBDExport *exp,
                                   const InfoQuery *query)
{
    uint8_t sizes[12], geometry[10];
    int ret = 0;

    if (query->want_name) {
        ret = reply_info(client, option, NBD_INFO_NAME, exp->name,
                         strlen(exp->name));
    }
    if (ret == 0 && query->want_description && exp->description) {
        ret = reply_info(client, option, NBD_INFO_DESCRIPTION,
                         exp->description, strlen(exp->description));
    }
    if (ret == 0) {
        st32_be(sizes, 1);
        st32_be(sizes + 4, exp->preferred_block);
        st32_be(sizes + 8, NBD_MAX_PAYLOAD);
        ret = reply_info(client, option, NBD_INFO_BLOCK_SIZE, sizes,
                         sizeof(sizes));
    }
    if (ret == 0) {
        st64_be(geometry, nbd_export_size(exp));
        st16_be(geometry + 8, nbd_client_flags(client, exp));
        ret = reply_info(client, option, NBD_INFO_EXPORT, geometry,
                         sizeof(geometry));
    }
    return ret;
}

static int coroutine_fn opt_info_or_go(NBDClient *client,
                                       const NBDOption *opt)
{
    g_autofree char *name = NULL;
    InfoQuery query = { 0 };
    const char *wrong = parse_info(opt, &query);
    NBDExport *exp;
    int ret;

    if (wrong) {
        return nbd_refuse(client, opt, NBD_REP_ERR_INVALID, wrong);
    }
    name = query.name;
    exp = nbd_export_find(client->server, name);
    if (!exp) {
        return nbd_refuse(client, opt, NBD_REP_ERR_UNKNOWN,
                      "no export of that name is present");
    }
    /* A reference is held while sending, also for INFO. */
    nbd_client_choose(client, exp);
    ret = send_infos(client, opt->number, exp, &query);
    if (ret == 0) {
        ret = nbd_ack(client, opt);
    }
    if (opt->number == NBD_OPT_GO || ret != 0) {
        return ret;
    }
    nbd_client_leave(client);
    return client->closing ? 1 : NBD_GO_ON;
}

static int coroutine_fn opt_abort(NBDClient *client, const NBDOption *opt)
{
    nbd_ack(client, opt); /* the client may have disconnected */
    return 1;
}

static int coroutine_fn opt_starttls(NBDClient *client, const NBDOption *opt)
{
    return opt->len ? nbd_refuse(client, opt, NBD_REP_ERR_INVALID,
                             "the option takes no data")
                    : nbd_refuse(client, opt, NBD_REP_ERR_POLICY,
                             "TLS is not configured");
}

static int coroutine_fn opt_structured_reply(NBDClient *client,
                                             const NBDOption *opt)
{
    int ret;

    if (opt->len || client->structured) {
        return nbd_refuse(client, opt, NBD_REP_ERR_INVALID,
                          opt->len ? "the option takes no data"
                                   : "structured replies are in use already");
    }
    client->structured = true;
    ret = nbd_ack(client, opt);
    return ret ? ret : NBD_GO_ON;
}

int coroutine_fn nbd_handle_option(NBDClient *client, const NBDOption *opt)
{
    switch (opt->number) {
    case NBD_OPT_EXPORT_NAME:
        return opt_export_name(client, opt);
    case NBD_OPT_ABORT:
        return opt_abort(client, opt);
    case NBD_OPT_LIST:
        return opt_list(client, opt);
    case NBD_OPT_STARTTLS:
        return opt_starttls(client, opt);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return opt_info_or_go(client, opt);
    case NBD_OPT_STRUCTURED_REPLY:
        return opt_structured_reply(client, opt);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        return nbd_opt_meta_context(client, opt);
    default:
        return nbd_refuse(client, opt, NBD_REP_ERR_UNSUP,
                      "the option is not supported");
    }
}
