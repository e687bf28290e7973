/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's side of options: sending them and reading their replies. */
#include "qemu/osdep.h"

#include "client-int.h"
#include "qemu/sockets.h"

/* --- names, for messages --- */

const char *nbd_option_name(uint32_t option)
{
    static const char *const names[] = {
        [NBD_OPT_EXPORT_NAME] = "export name",
        [NBD_OPT_ABORT] = "abort",
        [NBD_OPT_LIST] = "list",
        [NBD_OPT_STARTTLS] = "starttls",
        [NBD_OPT_INFO] = "info",
        [NBD_OPT_GO] = "go",
        [NBD_OPT_STRUCTURED_REPLY] = "structured reply",
        [NBD_OPT_LIST_META_CONTEXT] = "list meta context",
        [NBD_OPT_SET_META_CONTEXT] = "set meta context",
    };

    return option < ARRAY_SIZE(names) && names[option] ? names[option]
                                                       : "<unknown>";
}

const char *nbd_reply_name(uint32_t type)
{
    switch (type) {
    case NBD_REP_ACK:
        return "ack";
    case NBD_REP_SERVER:
        return "server";
    case NBD_REP_INFO:
        return "info";
    case NBD_REP_META_CONTEXT:
        return "meta context";
    default:
        return "<unknown>";
    }
}

/* --- transfers --- */

bool coroutine_fn nbd_read(int fd, void *buf, size_t len, const char *what,
                           Error **errp)
{
    int ret = len ? sock_co_recv(fd, buf, len) : 0;

    if (ret > 0 || ret == -ECONNRESET || ret == -EPIPE) {
        error_setg(errp, "Failed to read %s: Unexpected end-of-file before "
                   "all data were read", what);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read %s", what);
    }
    return ret == 0;
}

bool coroutine_fn nbd_drop(int fd, size_t len, Error **errp)
{
    uint8_t buf[1024];

    while (len > 0) {
        size_t n = MIN(len, sizeof(buf));

        if (!nbd_read(fd, buf, n, "data", errp)) {
            return false;
        }
        len -= n;
    }
    return true;
}

bool coroutine_fn nbd_send_option(int fd, uint32_t option, const void *data,
                                  uint32_t len, Error **errp)
{
    uint8_t head[16];
    struct iovec iov[2] = {
        { .iov_base = head, .iov_len = sizeof(head) },
        { .iov_base = (void *)data, .iov_len = len },
    };
    int ret;

    st64_be(head, NBD_OPTS_MAGIC);
    st32_be(head + 8, option);
    st32_be(head + 12, len);
    ret = sock_co_sendv(fd, iov, len ? 2 : 1);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to send option request");
    }
    return ret == 0;
}

bool coroutine_fn nbd_read_reply(int fd, uint32_t option, NBDOptReply *reply,
                                 Error **errp)
{
    uint8_t head[20];

    if (!nbd_read(fd, head, sizeof(head), "option reply", errp)) {
        return false;
    }
    if (ld64_be(head) != NBD_REP_MAGIC) {
        error_setg(errp, "Unexpected option reply magic");
        return false;
    }
    reply->option = ld32_be(head + 8);
    reply->type = ld32_be(head + 12);
    reply->len = ld32_be(head + 16);
    if (reply->option != option) {
        error_setg(errp, "Unexpected option type %u (%s), expected %u (%s)",
                   reply->option, nbd_option_name(reply->option), option,
                   nbd_option_name(option));
        return false;
    }
    return true;
}

bool nbd_check_ack(const NBDOptReply *reply, Error **errp)
{
    if (reply->type != NBD_REP_ACK) {
        error_setg(errp, "Server answered option %u (%s) with unexpected "
                   "reply %" PRIu32 " (%s)", reply->option,
                   nbd_option_name(reply->option), reply->type,
                   nbd_reply_name(reply->type));
        return false;
    }
    if (reply->len) {
        error_setg(errp, "Option %u ('%s') response length is %u (it should "
                   "be zero)", reply->option, nbd_option_name(reply->option),
                   reply->len);
        return false;
    }
    return true;
}

/* --- refusals --- */

static void set_refusal(const NBDOptReply *reply, Error **errp)
{
    const char *name = nbd_option_name(reply->option);
    uint32_t option = reply->option;

    switch (reply->type) {
    case NBD_REP_ERR_POLICY:
        error_setg(errp, "Denied by server for option %u (%s)", option, name);
        break;
    case NBD_REP_ERR_INVALID:
        error_setg(errp, "Invalid parameters for option %u (%s)", option,
                   name);
        break;
    case NBD_REP_ERR_PLATFORM:
        error_setg(errp, "Server lacks support for option %u (%s)", option,
                   name);
        break;
    case NBD_REP_ERR_TLS_REQD:
        error_setg(errp, "Server requires TLS for option %u (%s)", option,
                   name);
        error_append_hint(errp, "Did you forget a valid tls-creds?\n");
        break;
    case NBD_REP_ERR_UNKNOWN:
        error_setg(errp, "Requested export not available");
        break;
    case NBD_REP_ERR_SHUTDOWN:
        error_setg(errp, "Server shutting down before option %u (%s)",
                   option, name);
        break;
    case NBD_REP_ERR_BLOCK_SIZE_REQD:
        error_setg(errp, "Server requires INFO_BLOCK_SIZE for option %u (%s)",
                   option, name);
        break;
    default:
        error_setg(errp, "Unknown error code when asking for option %u (%s)",
                   option, name);
    }
}

/* Text from a server, for a terminal: unprintable bytes become '?'. */
static void sanitise(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

int coroutine_fn nbd_check_reply(int fd, const NBDOptReply *reply,
                                 Error **errp)
{
    g_autofree char *text = NULL;
    uint32_t len = MIN(reply->len, NBD_MAX_STRING);

    if (!(reply->type & NBD_REP_ERR(0))) {
        return 1;
    }
    if (reply->len > NBD_MAX_PAYLOAD) {
        error_setg(errp, "server error %" PRIu32 " (%s) message is too long",
                   reply->type, nbd_reply_name(reply->type));
        return -1;
    }
    text = g_malloc0(len + 1);
    if (!nbd_read(fd, text, len, "option error message", errp) ||
        !nbd_drop(fd, reply->len - len, errp)) {
        return -1;
    }
    if (reply->type == NBD_REP_ERR_UNSUP) {
        return 0;
    }
    set_refusal(reply, errp);
    sanitise(text);
    if (*text) {
        error_append_hint(errp, "server reported: %s\n", text);
    }
    return -1;
}
