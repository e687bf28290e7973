/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client's handshake:
 *
 *     greeting -- old style: that was all
 *              -- newstyle: EXPORT_NAME
 *              -- fixed newstyle: STRUCTURED_REPLY, SET_META_CONTEXT, GO;
 *                 where GO is not known, EXPORT_NAME
 */
#include "qemu/osdep.h"

#include "client-int.h"
#include "qemu/sockets.h"

#define OLDSTYLE_MAGIC UINT64_C(0x00420281861253)
#define MAX_MIN_BLOCK (64 * KiB)

/* --- the greeting --- */

static bool set_size(NBDInfo *info, uint64_t size, Error **errp)
{
    if (size > INT64_MAX) {
        error_setg(errp, "export length %" PRIu64 " is too large", size);
        return false;
    }
    info->size = size;
    return true;
}

static bool coroutine_fn read_oldstyle(int fd, NBDInfo *info, Error **errp)
{
    uint8_t buf[8 + 4 + 124];
    uint32_t flags;

    if (!nbd_read(fd, buf, sizeof(buf), "export length", errp) ||
        !set_size(info, ld64_be(buf), errp)) {
        return false;
    }
    flags = ld32_be(buf + 8);
    if (flags & ~0xffffu) {
        error_setg(errp, "Unexpected export flags %#" PRIx32, flags);
        return false;
    }
    info->flags = flags;
    return true;
}

static bool coroutine_fn exchange_flags(int fd, NBDGreeting *greeting,
                                        Error **errp)
{
    uint8_t server[2], client[4];
    uint32_t answer = 0;
    int ret;

    if (!nbd_read(fd, server, sizeof(server), "server flags", errp)) {
        return false;
    }
    greeting->fixed = ld16_be(server) & NBD_FLAG_FIXED_NEWSTYLE;
    greeting->no_zeroes = ld16_be(server) & NBD_FLAG_NO_ZEROES;
    answer |= greeting->fixed ? NBD_FLAG_FIXED_NEWSTYLE : 0;
    answer |= greeting->no_zeroes ? NBD_FLAG_NO_ZEROES : 0;
    st32_be(client, answer);
    ret = sock_co_send(fd, client, sizeof(client));
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to send clientflags field");
    }
    return ret == 0;
}

bool coroutine_fn nbd_greet(int fd, NBDGreeting *greeting, NBDInfo *info,
                            Error **errp)
{
    uint8_t magic[8];

    *greeting = (NBDGreeting){ 0 };
    if (!nbd_read(fd, magic, sizeof(magic), "initial magic", errp)) {
        return false;
    }
    if (ld64_be(magic) != NBD_INIT_MAGIC) {
        error_setg(errp, "Bad initial magic received: 0x%016" PRIx64,
                   ld64_be(magic));
        return false;
    }
    if (!nbd_read(fd, magic, sizeof(magic), "server magic", errp)) {
        return false;
    }
    if (ld64_be(magic) == NBD_OPTS_MAGIC) {
        return exchange_flags(fd, greeting, errp);
    }
    if (ld64_be(magic) == OLDSTYLE_MAGIC) {
        greeting->oldstyle = true;
        return read_oldstyle(fd, info, errp);
    }
    error_setg(errp, "Bad server magic received: 0x%016" PRIx64,
               ld64_be(magic));
    return false;
}

/* --- options --- */

int coroutine_fn nbd_ask_structured(int fd, Error **errp)
{
    NBDOptReply reply;
    int ret;

    if (!nbd_send_option(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0, errp) ||
        !nbd_read_reply(fd, NBD_OPT_STRUCTURED_REPLY, &reply, errp)) {
        return -1;
    }
    ret = nbd_check_reply(fd, &reply, errp);
    if (ret > 0 && !nbd_check_ack(&reply, errp)) {
        return -1;
    }
    return ret;
}

bool coroutine_fn nbd_send_meta(int fd, uint32_t option, const char *name,
                                const char *query, Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint8_t num[4];

    st32_be(num, strlen(name));
    g_byte_array_append(data, num, 4);
    g_byte_array_append(data, (const uint8_t *)name, strlen(name));
    st32_be(num, query ? 1 : 0);
    g_byte_array_append(data, num, 4);
    if (query) {
        st32_be(num, strlen(query));
        g_byte_array_append(data, num, 4);
        g_byte_array_append(data, (const uint8_t *)query, strlen(query));
    }
    return nbd_send_option(fd, option, data->data, data->len, errp);
}

/* The one context that was requested. */
static bool coroutine_fn read_context(int fd, const NBDOptReply *reply,
                                      const char *wish, NBDInfo *info,
                                      Error **errp)
{
    g_autofree char *name = NULL;
    uint8_t id[4];

    if (reply->len <= sizeof(id) || reply->len > 4 + NBD_MAX_PAYLOAD) {
        error_setg(errp, "Failed to negotiate meta context, server answered "
                   "with unexpected length %" PRIu32, reply->len);
        return false;
    }
    name = g_malloc0(reply->len - 3);
    if (!nbd_read(fd, id, sizeof(id), "context id", errp) ||
        !nbd_read(fd, name, reply->len - 4, "context name", errp)) {
        return false;
    }
    if (reply->len - 4 != strlen(wish) || strcmp(name, wish) != 0) {
        error_setg(errp, "Failed to negotiate meta context '%s', server "
                   "answered with different context '%.*s'", wish,
                   NBD_MAX_STRING, name);
        return false;
    }
    if (info->has_context) {
        error_setg(errp, "Server answered with more than one context");
        return false;
    }
    info->has_context = true;
    info->context_id = ld32_be(id);
    return true;
}

static bool coroutine_fn set_context(int fd, const NBDWish *wish,
                                     NBDInfo *info, Error **errp)
{
    NBDOptReply reply;
    int ret;

    if (!nbd_send_meta(fd, NBD_OPT_SET_META_CONTEXT, wish->export,
                       wish->context, errp)) {
        return false;
    }
    for (;;) {
        if (!nbd_read_reply(fd, NBD_OPT_SET_META_CONTEXT, &reply, errp)) {
            return false;
        }
        ret = nbd_check_reply(fd, &reply, errp);
        if (ret <= 0) {
            info->has_context = false;
            return ret == 0;
        }
        if (reply.type != NBD_REP_META_CONTEXT) {
            return nbd_check_ack(&reply, errp);
        }
        if (!read_context(fd, &reply, wish->context, info, errp)) {
            return false;
        }
    }
}

/* --- infos --- */

static bool check_block_sizes(const NBDInfo *info, Error **errp)
{
    if (!is_power_of_2(info->min_block)) {
        error_setg(errp, "server minimum block size %" PRIu32 " is not a "
                   "power of two", info->min_block);
        return false;
    }
    if (info->min_block > MAX_MIN_BLOCK) {
        error_setg(errp, "server minimum block size %" PRIu32 " is too "
                   "large", info->min_block);
        return false;
    }
    if (!is_power_of_2(info->opt_block) ||
        info->opt_block < info->min_block) {
        error_setg(errp, "server preferred block size %" PRIu32 " is not "
                   "valid", info->opt_block);
        return false;
    }
    if (info->max_block < info->min_block) {
        error_setg(errp, "server maximum block size %" PRIu32 " is not valid",
                   info->max_block);
        return false;
    }
    return true;
}

static bool parse_info(uint16_t kind, const uint8_t *p, uint32_t len,
                       NBDInfo *info, Error **errp)
{
    if (kind == NBD_INFO_EXPORT || kind == NBD_INFO_BLOCK_SIZE) {
        if (len != (kind == NBD_INFO_EXPORT ? 10 : 12)) {
            error_setg(errp, "remaining export info len %" PRIu32 " is "
                       "unexpected size", len);
            return false;
        }
    }
    if (kind == NBD_INFO_EXPORT) {
        info->flags = ld16_be(p + 8);
        return set_size(info, ld64_be(p), errp);
    }
    if (kind == NBD_INFO_BLOCK_SIZE) {
        info->min_block = ld32_be(p);
        info->opt_block = ld32_be(p + 4);
        info->max_block = ld32_be(p + 8);
        return check_block_sizes(info, errp);
    }
    return true; /* servers may send infos that were not requested */
}

static bool coroutine_fn read_info(int fd, const NBDOptReply *reply,
                                   NBDInfo *info, Error **errp)
{
    uint8_t buf[2 + 12] = { 0 };
    uint32_t n = MIN(reply->len, sizeof(buf));

    if (reply->type != NBD_REP_INFO) {
        error_setg(errp, "unexpected reply type %" PRIu32 " (%s), expected "
                   "%u", reply->type, nbd_reply_name(reply->type),
                   NBD_REP_INFO);
        return false;
    }
    if (reply->len < 2 || reply->len > NBD_MAX_PAYLOAD) {
        error_setg(errp, "NBD_REP_INFO length %" PRIu32 " is too %s",
                   reply->len, reply->len < 2 ? "short" : "long");
        return false;
    }
    return nbd_read(fd, buf, n, "info", errp) &&
           nbd_drop(fd, reply->len - n, errp) &&
           parse_info(ld16_be(buf), buf + 2, reply->len - 2, info, errp);
}

static bool coroutine_fn send_info_request(int fd, uint32_t option,
                                           const char *name, Error **errp)
{
    uint32_t len = strlen(name);
    g_autofree uint8_t *data = g_malloc(4 + len + 4);

    st32_be(data, len);
    memcpy(data + 4, name, len);
    st16_be(data + 4 + len, 1);
    st16_be(data + 6 + len, NBD_INFO_BLOCK_SIZE);
    return nbd_send_option(fd, option, data, 4 + len + 4, errp);
}

int coroutine_fn nbd_ask_info(int fd, uint32_t option, const char *name,
                              NBDInfo *info, Error **errp)
{
    NBDOptReply reply;
    int ret;

    info->flags = 0;
    if (!send_info_request(fd, option, name, errp)) {
        return -1;
    }
    for (int i = 0; i < NBD_MAX_REPLIES; i++) {
        if (!nbd_read_reply(fd, option, &reply, errp)) {
            return -1;
        }
        ret = nbd_check_reply(fd, &reply, errp);
        if (ret <= 0) {
            return ret;
        }
        if (reply.type == NBD_REP_ACK) {
            if (!nbd_check_ack(&reply, errp)) {
                return -1;
            }
            if (!(info->flags & NBD_FLAG_HAS_FLAGS)) {
                error_setg(errp, "broken server omitted NBD_INFO_EXPORT");
                return -1;
            }
            return 1;
        }
        if (!read_info(fd, &reply, info, errp)) {
            return -1;
        }
    }
    error_setg(errp, "Server answers option %u (%s) without end", option,
               nbd_option_name(option));
    return -1;
}

/* --- the whole handshake --- */

static bool coroutine_fn enter_by_name(int fd, const NBDGreeting *greeting,
                                       const char *name, NBDInfo *info,
                                       Error **errp)
{
    uint8_t answer[10 + 124];

    if (!nbd_send_option(fd, NBD_OPT_EXPORT_NAME, name, strlen(name), errp) ||
        !nbd_read(fd, answer, 10 + (greeting->no_zeroes ? 0 : 124),
                  "export length", errp)) {
        return false;
    }
    info->flags = ld16_be(answer + 8);
    return set_size(info, ld64_be(answer), errp);
}

static bool coroutine_fn negotiate_fixed(int fd, const NBDGreeting *greeting,
                                         const NBDWish *wish, NBDInfo *info,
                                         Error **errp)
{
    int ret = nbd_ask_structured(fd, errp);

    if (ret < 0) {
        return false;
    }
    info->structured = ret > 0;
    if (info->structured && wish->context &&
        !set_context(fd, wish, info, errp)) {
        return false;
    }
    ret = nbd_ask_info(fd, NBD_OPT_GO, wish->export, info, errp);
    if (ret != 0) {
        return ret > 0;
    }
    return enter_by_name(fd, greeting, wish->export, info, errp);
}

bool coroutine_fn nbd_negotiate_client(int fd, const NBDWish *wish,
                                       NBDInfo *info, Error **errp)
{
    NBDGreeting greeting;

    if (strlen(wish->export) > NBD_MAX_NAME) {
        error_setg(errp, "export name too long to send to server");
        return false;
    }
    if (wish->context && strlen(wish->context) > NBD_MAX_NAME) {
        error_setg(errp, "x-dirty-bitmap query too long to send to server");
        return false;
    }
    if (!nbd_greet(fd, &greeting, info, errp)) {
        return false;
    }
    if (greeting.oldstyle) {
        if (*wish->export) {
            error_setg(errp, "Server does not support non-empty export "
                       "names");
            return false;
        }
        return true;
    }
    if (greeting.fixed) {
        return negotiate_fixed(fd, &greeting, wish, info, errp);
    }
    return enter_by_name(fd, &greeting, wish->export, info, errp);
}
