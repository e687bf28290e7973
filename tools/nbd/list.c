/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-nbd -L: the exports of another server. */
#include "qemu/osdep.h"

#include "nbd.h"
#include "nbd/client.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/aio.h"
#include "qemu/sockets.h"

static void print_flags(uint16_t flags)
{
    static const struct {
        uint16_t bit;
        const char *name;
    } names[] = {
        { NBD_FLAG_READ_ONLY, "readonly" },
        { NBD_FLAG_SEND_FLUSH, "flush" },
        { NBD_FLAG_SEND_FUA, "fua" },
        { 1 << 4, "rotational" },
        { NBD_FLAG_SEND_TRIM, "trim" },
        { NBD_FLAG_SEND_WRITE_ZEROES, "zeroes" },
        { NBD_FLAG_SEND_DF, "df" },
        { NBD_FLAG_CAN_MULTI_CONN, "multi" },
        { 1 << 9, "resize" },
        { NBD_FLAG_SEND_CACHE, "cache" },
        { NBD_FLAG_SEND_FAST_ZERO, "fast-zero" },
    };

    if (!(flags & NBD_FLAG_HAS_FLAGS)) {
        return;
    }
    printf("  flags: 0x%" PRIx16 " (", flags);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (flags & names[i].bit) {
            printf(" %s", names[i].name);
        }
    }
    printf(" )\n");
}

static void print_export(const NBDListedExport *exp)
{
    const NBDInfo *info = &exp->info;

    printf(" export: '%s'\n", exp->name);
    if (exp->description && *exp->description) {
        printf("  description: %s\n", exp->description);
    }
    if (!exp->has_info) {
        return;
    }
    printf("  size:  %" PRIu64 "\n", info->size);
    print_flags(info->flags);
    if (info->min_block) {
        printf("  min block: %" PRIu32 "\n", info->min_block);
        printf("  opt block: %" PRIu32 "\n", info->opt_block);
        printf("  max block: %" PRIu32 "\n", info->max_block);
    }
    if (exp->contexts->len) {
        printf("  available meta contexts: %u\n", exp->contexts->len);
    }
    for (guint i = 0; i < exp->contexts->len; i++) {
        printf("   %s\n", (char *)g_ptr_array_index(exp->contexts, i));
    }
}

typedef struct Listing {
    int fd;
    GPtrArray *exports;
    Error *err;
} Listing;

static void coroutine_fn list_entry(void *opaque)
{
    Listing *l = opaque;

    l->exports = nbd_list_exports(l->fd, &l->err);
}

static int connect_to(const SocketAddress *addr, Error **errp)
{
    if (addr->type == SOCKET_ADDRESS_TYPE_UNIX) {
        return sock_connect_unix(addr->u.q_unix.path, errp);
    }
    return sock_connect_inet(&(SockInetAddress){
                                 .host = addr->u.inet.host,
                                 .port = addr->u.inet.port,
                                 .ipv4 = -1,
                                 .ipv6 = -1,
                             }, errp);
}

int nbd_list(const SocketAddress *addr)
{
    Listing l = { 0 };

    l.fd = connect_to(addr, &l.err);
    if (l.fd >= 0) {
        aio_run_co(aio_main_context(), list_entry, &l);
    }
    if (!l.exports) {
        error_report_err(l.err);
        return EXIT_FAILURE;
    }
    printf("exports available: %u\n", l.exports->len);
    for (guint i = 0; i < l.exports->len; i++) {
        print_export(g_ptr_array_index(l.exports, i));
    }
    g_ptr_array_unref(l.exports);
    return EXIT_SUCCESS;
}
