/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listing the exports of a server, with their properties. */
#include "qemu/osdep.h"

#include "client-int.h"
#include "qemu/sockets.h"

#define MAX_EXPORTS 10000

static void listed_free(void *opaque)
{
    NBDListedExport *exp = opaque;

    g_free(exp->name);
    g_free(exp->description);
    g_ptr_array_unref(exp->contexts);
    g_free(exp);
}

static NBDListedExport *listed_new(char *name, char *description)
{
    NBDListedExport *exp = g_new0(NBDListedExport, 1);

    exp->name = name;
    exp->description = description;
    exp->contexts = g_ptr_array_new_with_free_func(g_free);
    return exp;
}

/* One reply of NBD_OPT_LIST. */
static bool coroutine_fn read_listed(int fd, const NBDOptReply *reply,
                                     GPtrArray *list, Error **errp)
{
    g_autofree char *data = NULL;
    uint32_t nlen;
    char *description = NULL;

    if (reply->type != NBD_REP_SERVER) {
        error_setg(errp, "Unexpected reply type %" PRIx32 " (%s), expected "
                   "%x (%s)", reply->type, nbd_reply_name(reply->type),
                   NBD_REP_SERVER, nbd_reply_name(NBD_REP_SERVER));
        return false;
    }
    if (reply->len < 4 || reply->len > 4 + 2 * NBD_MAX_STRING) {
        error_setg(errp, "incorrect option length %" PRIu32, reply->len);
        return false;
    }
    data = g_malloc0(reply->len + 1);
    if (!nbd_read(fd, data, reply->len, "export name", errp)) {
        return false;
    }
    nlen = ld32_be(data);
    if (nlen > reply->len - 4 || nlen > NBD_MAX_STRING) {
        error_setg(errp, "incorrect name length in server's list response");
        return false;
    }
    if (reply->len - 4 > nlen) {
        description = g_strdup(data + 4 + nlen);
    }
    g_ptr_array_add(list, listed_new(g_strndup(data + 4, nlen), description));
    return true;
}

static bool coroutine_fn read_list(int fd, GPtrArray *list, Error **errp)
{
    NBDOptReply reply;
    int ret;

    if (!nbd_send_option(fd, NBD_OPT_LIST, NULL, 0, errp)) {
        return false;
    }
    for (;;) {
        if (!nbd_read_reply(fd, NBD_OPT_LIST, &reply, errp)) {
            return false;
        }
        ret = nbd_check_reply(fd, &reply, errp);
        if (ret <= 0) {
            if (ret == 0) {
                error_setg(errp, "Server does not support export list");
            }
            return false;
        }
        if (reply.type == NBD_REP_ACK) {
            return nbd_check_ack(&reply, errp);
        }
        if (list->len >= MAX_EXPORTS) {
            error_setg(errp, "Server lists more than %d exports",
                       MAX_EXPORTS);
            return false;
        }
        if (!read_listed(fd, &reply, list, errp)) {
            return false;
        }
    }
}

static bool coroutine_fn read_contexts(int fd, NBDListedExport *exp,
                                       Error **errp)
{
    NBDOptReply reply;

    if (!nbd_send_meta(fd, NBD_OPT_LIST_META_CONTEXT, exp->name, NULL,
                       errp)) {
        return false;
    }
    for (;;) {
        uint8_t id[4];
        char *name;
        int ret;

        if (!nbd_read_reply(fd, NBD_OPT_LIST_META_CONTEXT, &reply, errp)) {
            return false;
        }
        ret = nbd_check_reply(fd, &reply, errp);
        if (ret <= 0 || reply.type != NBD_REP_META_CONTEXT) {
            return ret == 0 || (ret > 0 && nbd_check_ack(&reply, errp));
        }
        if (reply.len <= 4 || reply.len > 4 + NBD_MAX_STRING ||
            exp->contexts->len >= MAX_EXPORTS) {
            error_setg(errp, "Failed to list meta contexts, server answered "
                       "with unexpected length %" PRIu32, reply.len);
            return false;
        }
        name = g_malloc0(reply.len - 3);
        g_ptr_array_add(exp->contexts, name);
        if (!nbd_read(fd, id, sizeof(id), "context id", errp) ||
            !nbd_read(fd, name, reply.len - 4, "context name", errp)) {
            return false;
        }
    }
}

/* Reads the properties of each export. */
static bool coroutine_fn read_details(int fd, GPtrArray *list, Error **errp)
{
    int structured = nbd_ask_structured(fd, errp);

    for (guint i = 0; structured >= 0 && i < list->len; i++) {
        NBDListedExport *exp = g_ptr_array_index(list, i);
        int ret = nbd_ask_info(fd, NBD_OPT_INFO, exp->name, &exp->info, errp);

        if (ret < 0) {
            return false;
        }
        if (ret == 0) {
            break; /* it fails for the others, too */
        }
        exp->has_info = true;
        exp->info.structured = structured > 0;
        if (structured > 0 && !read_contexts(fd, exp, errp)) {
            return false;
        }
    }
    return structured >= 0;
}

static bool coroutine_fn list_on(int fd, GPtrArray *list, Error **errp)
{
    NBDGreeting greeting;
    NBDInfo info = { 0 };

    if (!nbd_greet(fd, &greeting, &info, errp)) {
        return false;
    }
    if (greeting.oldstyle) {
        NBDListedExport *exp = listed_new(g_strdup(""), NULL);

        exp->has_info = true;
        exp->info = info;
        g_ptr_array_add(list, exp);
        return true;
    }
    if (!greeting.fixed) {
        error_setg(errp, "Server does not support export list");
        return false;
    }
    if (!read_list(fd, list, errp) || !read_details(fd, list, errp)) {
        return false;
    }
    nbd_send_option(fd, NBD_OPT_ABORT, NULL, 0, NULL);
    return true;
}

GPtrArray *coroutine_fn nbd_list_exports(int fd, Error **errp)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(listed_free);
    bool ok = list_on(fd, list, errp);

    aio_set_fd_handler(aio_main_context(), fd, AIO_SCOPE_IO, NULL, NULL,
                       NULL);
    close(fd);
    if (!ok) {
        g_ptr_array_unref(list);
        return NULL;
    }
    return list;
}
