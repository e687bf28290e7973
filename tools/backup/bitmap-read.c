/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which parts of a disk are dirty in a bitmap of a QMP server. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "bitmap-read.h"
#include "block/graph.h"
#include "block/io.h"
#include "extents.h"

typedef struct Reader {
    QmpClient *c;
    const SourceDisk *disk;
    const SourceBitmap *bitmap;
    const char *address;   /* of the NBD server; NULL: of our own */
    char *name;            /* of the copy, and of its export */
    char *dir, *path;      /* of the socket of our own */
    bool copied, serving, exported;
} Reader;

/* --- in the server --- */

/* A disabled copy: an export of a bitmap that records is refused. */
static bool copy_bitmap(Reader *r, Error **errp)
{
    r->copied = qmp_client_do(
        r->c, "transaction", errp,
        "{'actions': [{'type': 'block-dirty-bitmap-add', 'data':"
        " {'node': %s, 'name': %s, 'granularity': %i, 'disabled': true}},"
        " {'type': 'block-dirty-bitmap-merge', 'data':"
        " {'node': %s, 'target': %s, 'bitmaps': [%s]}}]}",
        r->disk->node, r->name, r->bitmap->granularity, r->disk->node,
        r->name, r->bitmap->name);
    return r->copied;
}

static bool start_server(Reader *r, Error **errp)
{
    if (r->address) {
        return true;
    }
    r->dir = g_dir_make_tmp("tidemark-XXXXXX", NULL);
    if (!r->dir) {
        error_setg(errp, "Could not make a temporary folder");
        return false;
    }
    r->path = g_build_filename(r->dir, "nbd", NULL);
    r->serving = qmp_client_do(
        r->c, "nbd-server-start", errp,
        "{'addr': {'type': 'unix', 'data': {'path': %s}}}", r->path);
    if (!r->serving) {
        error_append_hint(errp, "If it has an NBD server, name its address "
                          "by --nbd.\n");
    }
    return r->serving;
}

static bool export_copy(Reader *r, Error **errp)
{
    r->exported = qmp_client_do(
        r->c, "block-export-add", errp,
        "{'type': 'nbd', 'id': %s, 'node-name': %s, 'name': %s,"
        " 'bitmaps': [%s]}", r->name, r->disk->node, r->name, r->name);
    return r->exported;
}

/* Waits until the export is gone, since its bitmap is busy until then. */
static void wait_deleted(Reader *r)
{
    int64_t deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (g_get_monotonic_time() < deadline &&
           qmp_client_is_open(r->c)) {
        g_autoptr(json_object) event =
            qmp_client_next_event(r->c, 100, NULL);
        const char *name = json_get_str(event, "event");

        if (name && !strcmp(name, "BLOCK_EXPORT_DELETED")) {
            return;
        }
    }
}

static void clean(Reader *r)
{
    if (r->exported && qmp_client_do(r->c, "block-export-del", NULL,
                                     "{'id': %s, 'mode': 'hard'}", r->name)) {
        wait_deleted(r);
    }
    if (r->serving) {
        qmp_client_do(r->c, "nbd-server-stop", NULL, NULL);
    }
    if (r->copied) {
        qmp_client_do(r->c, "block-dirty-bitmap-remove", NULL,
                      "{'node': %s, 'name': %s}", r->disk->node, r->name);
    }
    if (r->dir) {
        unlink(r->path);
        rmdir(r->dir);
    }
    g_free(r->dir);
    g_free(r->path);
    g_free(r->name);
}

/* --- here --- */

/* Options of a node that shows the bits as its block status. */
static json_object *node_options(const Reader *r)
{
    const char *address = r->address ? r->address : r->path;
    const char *colon = strrchr(address, ':');
    g_autoptr(json_object) server = NULL;
    g_autofree char *host = NULL;
    g_autofree char *context =
        g_strdup_printf("qemu:dirty-bitmap:%s", r->name);

    if (colon && !strchr(address, '/')) {
        host = g_strndup(address, colon - address);
        server = json_fill("{'type': 'inet', 'host': %s, 'port': %s}", host,
                           colon + 1);
    } else {
        server = json_fill("{'type': 'unix', 'path': %s}", address);
    }
    return json_fill("{'driver': 'nbd', 'server': %o, 'export': %s,"
                     " 'read-only': true, 'x-dirty-bitmap': %s}", server,
                     r->name, context);
}

/* What is dirty is no data to this node. */
static int collect(BlockDriverState *bs, BackupExtentList **list)
{
    int64_t size = bdrv_getlength(bs), n;
    BackupExtentList **tail = list;
    BackupExtent *last = NULL;

    for (int64_t pos = 0; pos < size; pos += n) {
        int status = bdrv_block_status(bs, pos, size - pos, &n, NULL, NULL);

        if (status < 0) {
            return status;
        }
        if (status & BDRV_BLOCK_DATA) {
            continue;
        }
        if (last && last->offset + last->length == pos) {
            last->length += n;
            continue;
        }
        last = g_new(BackupExtent, 1);
        *last = (BackupExtent) { .offset = pos, .length = n };
        QAPI_LIST_APPEND(tail, last);
    }
    return size < 0 ? size : 0;
}

static bool read_bits(Reader *r, BackupExtentList **list, Error **errp)
{
    g_autoptr(json_object) obj = node_options(r);
    g_autoptr(BlockDriverState) bs = bdrv_open_json(obj, false, 0, errp);
    int ret;

    if (!bs) {
        return false;
    }
    ret = collect(bs, list);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Reading bitmap '%s' failed",
                         r->bitmap->name);
    }
    return ret >= 0;
}

BackupExtentList *bitmap_read(QmpClient *c, const SourceDisk *disk,
                              const SourceBitmap *bitmap, const char *address,
                              bool *ok, Error **errp)
{
    Reader r = {
        .c = c,
        .disk = disk,
        .bitmap = bitmap,
        .address = address,
        .name = g_strdup_printf("tidemark-map-%08x", g_random_int()),
    };
    BackupExtentList *list = NULL;

    *ok = start_server(&r, errp) && copy_bitmap(&r, errp) &&
          export_copy(&r, errp) && read_bits(&r, &list, errp);
    clean(&r);
    if (!*ok) {
        qapi_free_BackupExtentList(list);
        return NULL;
    }
    return list;
}
