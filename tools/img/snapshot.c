/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img snapshot: lists, makes, applies and deletes internal snapshots. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/snapshot.h"
#include "img.h"
#include "qapi/qapi-types-block-image.h"
#include "tools/common/show.h"

typedef struct SnapshotArgs {
    ToolImage image;
    bool quiet, force_share;
    char action;      /* 'l', 'c', 'a', 'd'; 0: none */
    const char *name; /* of the snapshot */
} SnapshotArgs;

static bool choose(SnapshotArgs *args, char action, const char *name)
{
    if (args->action) {
        cli_usage_error("Cannot mix '-l', '-a', '-c', '-d'");
    }
    args->action = action;
    args->name = name;
    return true;
}

static bool choose_list(void *dest, const char *arg)
{
    return choose(dest, 'l', NULL);
}

static bool choose_create(void *dest, const char *arg)
{
    return choose(dest, 'c', arg);
}

static bool choose_apply(void *dest, const char *arg)
{
    return choose(dest, 'a', arg);
}

static bool choose_delete(void *dest, const char *arg)
{
    return choose(dest, 'd', arg);
}

static const CliOption snapshot_options[] = {
    IMG_IMAGE_OPTIONS(SnapshotArgs, image),
    { 'l', "list", CLI_NOTE, 0, choose_list },
    IMG_FLAG(SnapshotArgs, 'q', "quiet", quiet),
    IMG_FLAG(SnapshotArgs, 'U', "force-share", force_share),
    IMG_CALL('c', "create", choose_create),
    IMG_CALL('a', "apply", choose_apply),
    IMG_CALL('d', "delete", choose_delete),
    { 0 },
};

static int do_list(BlockDriverState *bs)
{
    SnapshotInfoList *list = bdrv_snapshot_infos(bs);

    show_snapshots(list);
    qapi_free_SnapshotInfoList(list);
    return EXIT_SUCCESS;
}

static int do_create(BlockDriverState *bs, const char *name)
{
    g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new(name);
    Error *err = NULL;
    int ret;

    sn->icount = 0; /* there is no machine: its clock is at 0 */
    ret = bdrv_snapshot_create(bs, sn, NULL, &err);
    if (ret < 0) {
        error_report("Could not create snapshot '%s': %d (%s)", name, ret,
                     strerror(-ret));
        error_free(err);
    }
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int do_apply(BlockDriverState *bs, const char *name)
{
    Error *err = NULL;

    if (bdrv_snapshot_goto(bs, name, &err) < 0) {
        error_prepend(&err, "Could not apply snapshot '%s': ", name);
        error_report_err(err);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int do_delete(BlockDriverState *bs, const char *name)
{
    g_autoptr(GPtrArray) list = NULL;
    Error *err = NULL;
    int ret;

    list = bdrv_snapshot_list(bs, &ret);
    if (!list || bdrv_snapshot_find(list, NULL, name) < 0) {
        error_report("Could not delete snapshot '%s': snapshot not found",
                     name);
        return EXIT_FAILURE;
    }
    if (bdrv_snapshot_delete(bs, NULL, name, &err) < 0) {
        error_prepend(&err, "Could not delete snapshot '%s': ", name);
        error_report_err(err);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

int img_snapshot(int argc, char **argv)
{
    SnapshotArgs args = { 0 };
    int first = cli_parse(argc, argv, snapshot_options, &args, img_help);
    g_autoptr(BlockBackend) blk = NULL;

    if (argc - first != 1) {
        cli_usage_error("Expecting one image file name");
    }
    args.image.filename = argv[first];
    args.image.flags = (args.action == 'l' ? 0 : BDRV_O_RDWR | BDRV_O_UNMAP) |
                       (args.force_share ? BDRV_O_FORCE_SHARE : 0);
    blk = img_open(&args.image);
    if (!blk) {
        return EXIT_FAILURE;
    }
    switch (args.action) {
    case 'l':
        return do_list(blk_bs(blk));
    case 'c':
        return do_create(blk_bs(blk), args.name);
    case 'a':
        return do_apply(blk_bs(blk), args.name);
    case 'd':
        return do_delete(blk_bs(blk), args.name);
    default:
        return EXIT_SUCCESS;
    }
}

/* --- -l of other commands --- */

/* Parses "snapshot.id=..,snapshot.name=.."; NULL: not given. */
static bool parse_param(const char *text, char **id, char **name)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    for (char **part = parts; *part; part++) {
        size_t len = strcspn(*part, "=");
        bool is_id = len == 11 && !strncmp(*part, "snapshot.id", len);
        char **value = is_id ? id : name;

        if (!is_id && !(len == 13 && !strncmp(*part, "snapshot.name", len))) {
            error_report("Invalid parameter '%.*s'", (int)len, *part);
            error_report("Failed in parsing snapshot param '%s'", text);
            return false;
        }
        g_free(*value);
        *value = g_strdup((*part)[len] ? *part + len + 1 : "");
    }
    return true;
}

bool img_load_snapshot(BlockBackend *blk, const char *param)
{
    BlockDriverState *bs = blk_bs(blk);
    g_autofree char *id = NULL, *name = NULL;
    g_autoptr(GPtrArray) list = NULL;
    Error *err = NULL;
    int ret;

    if (!strncmp(param, "snapshot.", 9)) {
        if (!parse_param(param, &id, &name)) {
            return false;
        }
    } else {
        list = bdrv_snapshot_list(bs, &ret);
        if (list && bdrv_snapshot_find(list, param, NULL) >= 0) {
            id = g_strdup(param);
        } else {
            name = g_strdup(param);
        }
    }
    if (bdrv_snapshot_load_tmp(bs, id, name, &err) < 0) {
        error_prepend(&err, "Failed to load snapshot: ");
        error_report_err(err);
        return false;
    }
    return true;
}
