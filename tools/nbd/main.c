/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-nbd: serves one image over NBD.
 *
 * It ends when the last client has disconnected, unless --persistent is given,
 * or by a signal.
 */
#include "qemu/osdep.h"

#include "block/export.h"
#include "block/graph.h"
#include "block/snapshot.h"
#include "nbd.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/cutils.h"

#define DEFAULT_PORT "10809"
#define FIRST_SOCKET_FD "3" /* of socket activation */

/* Was it started with a listening socket? */
static bool socket_activated(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t n;

    if (!pid || !fds || !parse_uint64(pid, &n, NULL) ||
        n != (uint64_t)getpid() || !parse_uint64(fds, &n, NULL) || n == 0) {
        return false;
    }
    if (n > 1) {
        error_report("qemu-nbd does not support socket activation with "
                     "LISTEN_FDS > 1");
        exit(EXIT_FAILURE);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    return true;
}

/* The address to listen on, or to list.  Nothing is copied. */
static SocketAddress address(const NbdArgs *args)
{
    SocketAddress addr = { .type = SOCKET_ADDRESS_TYPE_INET };

    if (!args->list && socket_activated()) {
        if (args->port || args->bind || args->socket) {
            error_report("TCP port, bind address and socket path can't be set "
                         "when using socket activation");
            exit(EXIT_FAILURE);
        }
        addr.type = SOCKET_ADDRESS_TYPE_FD;
        addr.u.fd.str = (char *)FIRST_SOCKET_FD;
    } else if (args->socket) {
        addr.type = SOCKET_ADDRESS_TYPE_UNIX;
        addr.u.q_unix.path = (char *)args->socket;
    } else {
        addr.u.inet.host = (char *)(args->bind ? args->bind : "0.0.0.0");
        addr.u.inet.port = (char *)(args->port ? args->port : DEFAULT_PORT);
    }
    return addr;
}

/* --- the image --- */

static bool load_snapshot(BlockDriverState *bs, const char *text, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", 2);
    const char *id = NULL, *name = NULL;

    for (int i = 0; parts[i]; i++) {
        if (g_str_has_prefix(parts[i], "snapshot.id=")) {
            id = parts[i] + strlen("snapshot.id=");
        } else if (g_str_has_prefix(parts[i], "snapshot.name=")) {
            name = parts[i] + strlen("snapshot.name=");
        }
    }
    if (id || name) {
        return bdrv_snapshot_load_tmp(bs, id, name, errp) == 0;
    }
    /* Try it as an id, then as a name. */
    return bdrv_snapshot_load_tmp(bs, text, NULL, NULL) == 0 ||
           bdrv_snapshot_load_tmp(bs, NULL, text, errp) == 0;
}

/* A node that shows @bs from args->offset on; consumes nothing. */
static BlockDriverState *add_offset(BlockDriverState *bs, const NbdArgs *args,
                                    Error **errp)
{
    BlockdevRef file = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = bs->node_name,
    };
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_RAW,
        .has_read_only = true,
        .read_only = bs->read_only,
        .has_discard = true,
        .discard = args->image.flags & BDRV_O_UNMAP
                       ? BLOCKDEV_DISCARD_OPTIONS_UNMAP
                       : BLOCKDEV_DISCARD_OPTIONS_IGNORE,
        .u.raw = { .file = &file, .has_offset = true,
                   .offset = args->offset },
    };

    return bdrv_open(&options, 0, errp);
}

static BlockDriverState *open_image(const NbdArgs *args)
{
    g_autoptr(BlockBackend) blk = NULL;
    BlockDriverState *bs;
    Error *err = NULL;

    blk = tool_open(&args->image, &err);
    if (!blk) {
        error_prepend(&err, "Failed to blk_new_open '%s': ",
                      args->image.filename);
        error_report_err(err);
        return NULL;
    }
    bs = bdrv_ref(blk_bs(blk));
    bs->detect_zeroes = args->detect_zeroes;
    if (args->snapshot && !load_snapshot(bs, args->snapshot, &err)) {
        error_prepend(&err, "Failed to load snapshot: ");
    } else if (args->offset) {
        BlockDriverState *part = add_offset(bs, args, &err);

        bdrv_unref(bs);
        bs = part;
    }
    if (err) {
        error_report_err(err);
        bdrv_unref(bs);
        return NULL;
    }
    return bs;
}

/* --- serving --- */

static bool add_export(const NbdArgs *args, BlockDriverState *bs, Error **errp)
{
    BlockExportOptions options = {
        .type = BLOCK_EXPORT_TYPE_NBD,
        .id = (char *)"qemu-nbd-export",
        .node_name = bs->node_name,
        .writethrough = args->image.writethrough,
        .writable = !args->read_only && !bs->read_only,
        .u.nbd = {
            .name = (char *)(args->export ? args->export : ""),
            .description = (char *)args->description,
            .bitmaps = args->bitmaps,
            .allocation_depth = args->depth,
        },
    };

    return blk_exp_add(&options, errp) != NULL;
}

static bool start(const NbdArgs *args, const SocketAddress *addr,
                  BlockDriverState *bs)
{
    Error *err = NULL;

    if (!nbd_server_start(addr, NULL, NULL, args->shared, &err) ||
        !add_export(args, bs, &err)) {
        error_report_err(err);
        return false;
    }
    return nbd_write_pid_file(args->pid_file);
}

static int serve(const NbdArgs *args, const SocketAddress *addr)
{
    g_autoptr(BlockDriverState) bs = open_image(args);
    bool ok = bs && start(args, addr, bs);

    if (ok) {
        if (!args->persistent) {
            nbd_server_on_idle(aio_main_quit);
        }
        nbd_background_ready(args->verbose);
        aio_main_loop();
    }
    if (nbd_server_get()) {
        nbd_server_stop(NULL);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Threads and rings do not survive a fork: it comes first. */
static bool wants_fork(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        if (!strcmp(argv[i], "--fork")) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    NbdArgs args = { 0 };
    SocketAddress addr;
    int status;

    if (wants_fork(argc, argv)) {
        nbd_background();
    }
    tool_init("qemu-nbd", argv[0]);
    nbd_args_parse(&args, argc, argv);
    addr = address(&args);
    if (args.list) {
        tool_default_signals();
    } else {
        tool_end_normally();
    }
    status = args.list ? nbd_list(&addr) : serve(&args, &addr);
    nbd_args_free(&args);
    return tool_finish(status);
}
