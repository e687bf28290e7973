/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for internal snapshots, of one disk and of the machine. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/graph.h"
#include "hmp.h"
#include "qapi/qapi-types-block-image.h"
#include "runstate.h"
#include "savevm.h"
#include "tools/common/show.h"

bool hmp_savevm(HmpCall *call, Error **errp)
{
    const char *name = hmp_str(call, "name");

    return savevm_save(name && *name ? name : NULL, true, NULL, NULL, errp);
}

/* After a failure the machine stays stopped. */
bool hmp_loadvm(HmpCall *call, Error **errp)
{
    bool running = runstate_is_running();

    vm_stop(RUN_STATE_RESTORE_VM);
    if (!savevm_load(hmp_str(call, "name"), NULL, NULL, errp)) {
        return false;
    }
    if (running) {
        vm_start();
    }
    return true;
}

bool hmp_delvm(HmpCall *call, Error **errp)
{
    return savevm_delete(hmp_str(call, "name"), NULL, errp);
}

static struct json_object *device_and_name(HmpCall *call)
{
    struct json_object *args = json_object_new_object();

    json_object_object_add(args, "device", json_object_new_string(
                                               hmp_str(call, "device")));
    json_object_object_add(args, "name", json_object_new_string(
                                             hmp_str(call, "name")));
    return args;
}

bool hmp_snapshot_blkdev_internal(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("blockdev-snapshot-internal-sync", device_and_name(call),
                      errp);
}

bool hmp_snapshot_delete_blkdev_internal(HmpCall *call, Error **errp)
{
    struct json_object *args = device_and_name(call);

    if (hmp_has(call, "id")) {
        json_object_object_add(args, "id", json_object_new_string(
                                               hmp_str(call, "id")));
    }
    return hmp_qmp_do("blockdev-snapshot-delete-internal-sync", args, errp);
}

/* --- info snapshots --- */

static void print_line(HmpCall *call, const BdrvSnapshot *sn, bool global)
{
    SnapshotInfo *info = sn ? bdrv_snapshot_info(sn) : NULL;
    g_autofree char *line = NULL;

    if (global && info) {
        /* The IDs on other disks may differ. */
        g_free(info->id);
        info->id = g_strdup("--");
    }
    line = show_snapshot_line(info);
    hmp_print(call, "%s\n", line);
    qapi_free_SnapshotInfo(info);
}

static bool is_on_all(const GPtrArray *disks, const char *name)
{
    for (guint i = 0; i < disks->len; i++) {
        if (!savevm_has(disks->pdata[i], name, NULL)) {
            return false;
        }
    }
    return true;
}

/* Snapshots of @list that are on all disks, or those that are not. */
static GPtrArray *filter(const GPtrArray *disks, const GPtrArray *list,
                         bool global)
{
    GPtrArray *some = g_ptr_array_new();

    for (guint i = 0; list && i < list->len; i++) {
        BdrvSnapshot *sn = list->pdata[i];

        if (is_on_all(disks, sn->name) == global) {
            g_ptr_array_add(some, sn);
        }
    }
    return some;
}

static void print_lines(HmpCall *call, const GPtrArray *list, bool global)
{
    print_line(call, NULL, global);
    for (guint i = 0; i < list->len; i++) {
        print_line(call, list->pdata[i], global);
    }
}

static void print_global(HmpCall *call, const GPtrArray *disks,
                         BlockDriverState *state_bs)
{
    g_autoptr(GPtrArray) list = NULL, some = NULL;
    int ret;

    list = bdrv_snapshot_list(state_bs, &ret);
    some = filter(disks, list, true);
    hmp_print(call, "List of snapshots present on all disks:\n");
    if (some->len) {
        print_lines(call, some, true);
    } else {
        hmp_print(call, "None\n");
    }
}

static void print_partial(HmpCall *call, const GPtrArray *disks,
                          BlockDriverState *bs)
{
    g_autoptr(GPtrArray) list = NULL, some = NULL;
    int ret;

    list = bdrv_snapshot_list(bs, &ret);
    some = filter(disks, list, false);
    if (some->len) {
        hmp_print(call, "\nList of partial (non-loadable) snapshots on "
                  "'%s':\n", bdrv_get_device_name(bs));
        print_lines(call, some, false);
    }
}

bool hmp_info_snapshots(HmpCall *call, Error **errp)
{
    g_autoptr(GPtrArray) disks = savevm_disks();
    g_autoptr(Error) err = NULL;
    BlockDriverState *state_bs = savevm_state_disk(disks, NULL, &err);
    bool any = false;

    if (!state_bs) {
        hmp_print(call, "%s\n", error_get_pretty(err));
        return true;
    }
    for (guint i = 0; i < disks->len; i++) {
        g_autoptr(GPtrArray) list = NULL;
        int ret;

        list = bdrv_snapshot_list(disks->pdata[i], &ret);
        any |= list && list->len;
    }
    if (!any) {
        hmp_print(call, "There is no snapshot available.\n");
        return true;
    }
    print_global(call, disks, state_bs);
    for (guint i = 0; i < disks->len; i++) {
        print_partial(call, disks, disks->pdata[i]);
    }
    return true;
}
