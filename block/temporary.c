/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Temporary overlays: what is written to them is gone in the end. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/graph.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

BlockDriverState *bdrv_add_temporary_overlay(BlockDriverState *bs,
                                             Error **errp)
{
    /* It may grow to the size of the disk: avoid a file system in memory. */
    g_autofree char *path = g_build_filename(g_getenv("TMPDIR") ?: "/var/tmp",
                                             "vl.XXXXXX", NULL);
    g_autoptr(json_object) options = json_object_new_object();
    BdrvImgCreate create = { .format = "qcow2", .quiet = true };
    BlockDriverState *top;
    int fd = g_mkstemp(path);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open temporary file '%s'",
                         path);
        bdrv_unref(bs);
        return NULL;
    }
    close(fd);
    create.filename = path;
    create.size = bdrv_getlength(bs);
    json_object_object_add(options, "driver", json_object_new_string("qcow2"));
    json_object_object_add(options, "file.driver",
                           json_object_new_string("file"));
    json_object_object_add(options, "file.filename",
                           json_object_new_string(path));
    json_object_object_add(options, "backing",
                           json_object_new_string(bs->node_name));
    /* The file is never opened again. */
    json_object_object_add(options, "cache.no-flush",
                           json_object_new_string("on"));
    top = bdrv_img_create(&create, errp)
        ? bdrv_open_json(options, true, BDRV_O_RDWR, errp) : NULL;
    unlink(path);
    bdrv_unref(bs);
    return top;
}
