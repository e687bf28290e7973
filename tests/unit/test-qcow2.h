/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes and new images, for tests of the qcow2 driver. */
#ifndef TEST_QCOW2_H
#define TEST_QCOW2_H

#include "block/graph.h"
#include "qapi/qapi-types-block-image.h"
#include <json-c/json.h>

/* Opens what @text, JSON with ' for ", describes. */
static inline BlockDriverState *open_text(const char *text, int flags,
                                          Error **errp)
{
    g_autofree char *json = g_strdup(text);
    json_object *obj;
    BlockDriverState *bs;

    g_strdelimit(json, "'", '"');
    obj = json_tokener_parse(json);
    g_assert_nonnull(obj);
    bs = bdrv_open_json(obj, false, flags, errp);
    json_object_put(obj);
    return bs;
}

/* Until it is called with false, nothing is shown on stderr. */
static inline void quiet_stderr(bool quiet)
{
    static int saved = -1;

    fflush(stderr);
    if (quiet) {
        int null = open("/dev/null", O_WRONLY);

        saved = dup(2);
        dup2(null, 2);
        close(null);
    } else {
        dup2(saved, 2);
        close(saved);
    }
}

/* A new image in the file @path; create->file is not used. */
static inline void create_image(const char *path,
                                const BlockdevCreateOptionsQcow2 *create)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'file', 'filename': '%s', 'node-name': 'target'}", path);
    g_autoptr(BlockDriverState) bs = NULL;
    BlockdevRef ref = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = (char *)"target",
    };
    BlockdevCreateOptions options = {
        .driver = BLOCKDEV_DRIVER_QCOW2,
        .u.qcow2 = *create,
    };

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    bs = open_text(text, BDRV_O_RDWR, &error_abort);
    options.u.qcow2.file = &ref;
    bdrv_create(&options, &error_abort);
}

#endif
