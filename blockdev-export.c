/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd-server-* and block-export-*: QMP commands that call the export layer. */
#include "qemu/osdep.h"

#include "block/export.h"
#include "block/graph.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-sockets.h"

static void export_deleted(const char *id)
{
    BlockExportDeletedEvent event = { .id = (char *)id };

    qapi_event_send_block_export_deleted(&event);
}

static void set_hooks(void)
{
    block_export_event_hooks.deleted = export_deleted;
}

/* --- the server --- */

/* The older form of an address without its wrapper; nothing is copied. */
static SocketAddress flatten(const SocketAddressLegacy *addr)
{
    SocketAddress flat = { .type = addr->type };

    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        flat.u.inet = *addr->u.inet.data;
        break;
    case SOCKET_ADDRESS_TYPE_UNIX:
        flat.u.q_unix = *addr->u.q_unix.data;
        break;
    case SOCKET_ADDRESS_TYPE_VSOCK:
        flat.u.vsock = *addr->u.vsock.data;
        break;
    case SOCKET_ADDRESS_TYPE_FD:
        flat.u.fd = *addr->u.fd.data;
        break;
    default:
        g_assert_not_reached();
    }
    return flat;
}

bool qmp_nbd_server_start(NbdServerOptionsLegacy *arg, Error **errp)
{
    SocketAddress addr = flatten(arg->addr);

    return nbd_server_start(&addr, arg->tls_creds, arg->tls_authz,
                            arg->max_connections, errp);
}

bool qmp_nbd_server_stop(Error **errp)
{
    return nbd_server_stop(errp);
}

/* --- exports --- */

bool qmp_block_export_add(BlockExportOptions *arg, Error **errp)
{
    set_hooks();
    return blk_exp_add(arg, errp) != NULL;
}

static bool export_del(BlockExport *exp, const char *name,
                       BlockExportRemoveMode mode, Error **errp)
{
    if (!exp) {
        error_setg(errp, "Export '%s' is not found", name);
        return false;
    }
    return blk_exp_del(exp, mode, errp);
}

bool qmp_block_export_del(BlockExportDelArg *arg, Error **errp)
{
    return export_del(blk_exp_find(arg->id), arg->id, arg->mode, errp);
}

BlockExportInfoList *qmp_query_block_exports(Error **errp)
{
    return blk_exp_query();
}

/* --- the older forms --- */

bool qmp_nbd_server_add(NbdServerAddOptions *arg, Error **errp)
{
    const char *name = arg->name ? arg->name : arg->device;
    BlockDriverState *bs = bdrv_lookup_bs(arg->device, arg->device, errp);
    BlockBackend *drive = blk_by_name(arg->device);
    BlockExport *exp;
    BlockDirtyBitmapOrStr bitmap = {
        .type = BLOCK_DIRTY_BITMAP_OR_STR_KIND_LOCAL,
        .u.local = arg->bitmap,
    };
    BlockDirtyBitmapOrStrList bitmaps = { .value = &bitmap };
    BlockExportOptions options = {
        .type = BLOCK_EXPORT_TYPE_NBD,
        .id = (char *)name,
        .u.nbd = { .name = (char *)name, .description = arg->description },
    };

    if (!bs) {
        return false;
    }
    if (arg->bitmap) {
        options.u.nbd.bitmaps = &bitmaps;
    }
    options.node_name = bs->node_name;
    /* This command does not require that the node is writable. */
    options.writable = arg->writable && !bdrv_is_read_only(bs);
    set_hooks();
    exp = blk_exp_add(&options, errp);
    if (exp && drive) {
        /* The export belongs to the drive's medium, and ends with it. */
        blk_exp_end_with_medium(exp, drive);
    }
    return exp != NULL;
}

bool qmp_nbd_server_remove(NbdServerRemoveArg *arg, Error **errp)
{
    /* nbd-server-add made its name the id, too. */
    return export_del(blk_exp_find(arg->name), arg->name, arg->mode, errp);
}
