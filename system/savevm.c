/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of the whole machine: of all its disks, and of its own state,
 * which one of the disks keeps.
 *
 * The state has no processors and no memory.  Its form (all numbers big
 * endian), in the machine's state of an internal snapshot:
 *
 *     bytes 0-7    "TMVMSTAT"
 *     bytes 8-11   version: 1
 *     bytes 12-15  number of bytes that follow, at most 64 KiB
 *     then         a JSON object: name and UUID of the machine, its run state
 *                  and how long it ran ("vm-clock-ns"); members that are not
 *                  known are ignored
 *
 * All disks get it or none: new snapshots are deleted if one fails, and a
 * former snapshot of that name is deleted only when all is done.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/snapshot.h"
#include "device.h"
#include "qapi/qapi-commands-system.h"
#include "runstate.h"
#include "savevm.h"

#define STATE_MAGIC "TMVMSTAT"
#define STATE_HEAD 16
#define STATE_VERSION 1
#define STATE_MAX (64 * KiB)
#define UNDO_NAME "loadvm-undo"

/* --- the machine's state --- */

static GByteArray *state_encode(RunState status)
{
    g_autoptr(NameInfo) name = qmp_query_name(NULL);
    g_autoptr(UuidInfo) uuid = qmp_query_uuid(NULL);
    struct json_object *obj = json_object_new_object();
    GByteArray *out = g_byte_array_new();
    uint8_t head[STATE_HEAD] = STATE_MAGIC;
    const char *text;

    if (name && name->name) {
        json_object_object_add(obj, "name",
                               json_object_new_string(name->name));
    }
    json_object_object_add(obj, "uuid", json_object_new_string(uuid->UUID));
    json_object_object_add(obj, "status",
                           json_object_new_string(RunState_str(status)));
    json_object_object_add(obj, "vm-clock-ns",
                           json_object_new_int64(runstate_clock_ns()));
    text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN);
    st32_be(head + 8, STATE_VERSION);
    st32_be(head + 12, strlen(text));
    g_byte_array_append(out, head, sizeof(head));
    g_byte_array_append(out, (const uint8_t *)text, strlen(text));
    json_object_put(obj);
    return out;
}

/* Length of the JSON text after @head, or -1 with @errp. */
static int64_t state_check_head(const uint8_t *head, uint64_t size,
                                const char *name, Error **errp)
{
    uint32_t len = ld32_be(head + 12);

    if (memcmp(head, STATE_MAGIC, 8)) {
        error_setg(errp, "Snapshot '%s' has the state of a machine with "
                   "processors and memory, which this one lacks", name);
        error_append_hint(errp, "Revert to it offline using qemu-img\n");
    } else if (ld32_be(head + 8) != STATE_VERSION) {
        error_setg(errp, "The machine's state in snapshot '%s' has version %"
                   PRIu32 ", which is not known", name, ld32_be(head + 8));
    } else if (len > STATE_MAX || len > size - STATE_HEAD) {
        error_setg(errp, "The machine's state in snapshot '%s' is damaged",
                   name);
    } else {
        return len;
    }
    return -1;
}

/* NULL: another format, or damaged. */
static struct json_object *state_read(BlockDriverState *bs,
                                      const BdrvSnapshot *sn, Error **errp)
{
    g_autofree char *buf = NULL;
    uint8_t head[STATE_HEAD] = { 0 };
    struct json_object *obj = NULL;
    int64_t len;

    if (bdrv_snapshot_read_vm_state(bs, sn->name, head,
                                    MIN(sn->vm_state_size, STATE_HEAD),
                                    errp) < 0) {
        return NULL;
    }
    len = state_check_head(head, MAX(sn->vm_state_size, STATE_HEAD), sn->name,
                           errp);
    if (len < 0) {
        return NULL;
    }
    buf = g_malloc0(STATE_HEAD + len + 1);
    if (bdrv_snapshot_read_vm_state(bs, sn->name, buf, STATE_HEAD + len,
                                    errp) < 0) {
        return NULL;
    }
    obj = json_tokener_parse(buf + STATE_HEAD);
    if (!obj || !json_object_is_type(obj, json_type_object)) {
        error_setg(errp, "The machine's state in snapshot '%s' is damaged",
                   sn->name);
        json_object_put(obj);
        return NULL;
    }
    return obj;
}

static void state_restore(struct json_object *obj)
{
    struct json_object *clock;

    if (json_object_object_get_ex(obj, "vm-clock-ns", &clock)) {
        runstate_set_clock_ns(MAX(json_object_get_int64(clock), 0));
    }
}

/* --- disks --- */

/* Can a guest write @bs, and is it no part of another disk? */
static bool is_disk(const BlockDriverState *bs)
{
    const BdrvChild *c = NULL;

    if (!bs->drv || bs->read_only) {
        return false;
    }
    while ((c = bdrv_next_parent(bs, c))) {
        if (!c->klass->parent_is_bs) {
            return true;
        }
    }
    return !bdrv_next_parent(bs, NULL);
}

static void add_disk(GPtrArray *disks, BlockDriverState *bs)
{
    if (bs && !g_ptr_array_find(disks, bs, NULL)) {
        g_ptr_array_add(disks, bdrv_ref(bs));
    }
}

static GPtrArray *new_disks(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)bdrv_unref);
}

GPtrArray *savevm_disks(void)
{
    GPtrArray *disks = new_disks();
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDriverState *bs = NULL;
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        if (blk_bs(blk) && is_disk(blk_bs(blk))) {
            add_disk(disks, blk_bs(blk));
        }
    }
    while ((bs = bdrv_next_node(bs))) {
        if (bdrv_is_monitor_owned(bs) && is_disk(bs)) {
            g_ptr_array_insert(nodes, 0, bs); /* oldest first */
        }
    }
    for (guint i = 0; i < nodes->len; i++) {
        add_disk(disks, nodes->pdata[i]);
    }
    return disks;
}

/* The disks named, or all. */
static GPtrArray *find_disks(char **devices, Error **errp)
{
    g_autoptr(GPtrArray) disks = NULL;

    if (!devices) {
        return savevm_disks();
    }
    disks = new_disks();
    for (; *devices; devices++) {
        BlockDriverState *bs = bdrv_find_node(*devices);

        if (!bs) {
            error_setg(errp, "No block device node '%s'", *devices);
            return NULL;
        }
        add_disk(disks, bs);
    }
    if (!disks->len) {
        error_setg(errp, "At least one device is required for snapshot");
        return NULL;
    }
    return g_steal_pointer(&disks);
}

static bool check_disks(const GPtrArray *disks, Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        BlockDriverState *bs = disks->pdata[i];

        if (!bdrv_can_snapshot(bs)) {
            error_setg(errp, "Device '%s' is writable but does not support "
                       "snapshots", bdrv_get_device_or_node_name(bs));
            return false;
        }
    }
    return true;
}

BlockDriverState *savevm_state_disk(const GPtrArray *disks, const char *name,
                                    Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        BlockDriverState *bs = disks->pdata[i];

        if (name ? !strcmp(bs->node_name, name) : bdrv_can_snapshot(bs)) {
            return bs;
        }
    }
    if (name) {
        error_setg(errp, "vmstate block device '%s' does not exist", name);
    } else {
        error_setg(errp, "no block device can store vmstate for snapshot");
    }
    return NULL;
}

bool savevm_has(BlockDriverState *bs, const char *name, BdrvSnapshot **sn)
{
    g_autoptr(GPtrArray) list = NULL;
    int ret, index;

    list = bdrv_snapshot_list(bs, &ret);
    index = list ? bdrv_snapshot_find(list, NULL, name) : -1;
    if (sn) {
        *sn = index >= 0 ? bdrv_snapshot_copy(list->pdata[index]) : NULL;
    }
    return index >= 0;
}

/* --- saving --- */

/* An existing snapshot of one of the disks. */
typedef struct Made {
    BlockDriverState *bs;
    char *id, *name;
} Made;

static void made_clear(void *opaque)
{
    Made *m = opaque;

    g_free(m->id);
    g_free(m->name);
}

static GArray *new_made(void)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(Made));

    g_array_set_clear_func(list, made_clear);
    return list;
}

static void add_made(GArray *list, BlockDriverState *bs,
                     const BdrvSnapshot *sn)
{
    Made m = { bs, g_strdup(sn->id), g_strdup(sn->name) };

    g_array_append_val(list, m);
}

static bool delete_all(const GArray *list, Error **errp)
{
    bool ok = true;

    for (guint i = 0; i < list->len; i++) {
        const Made *m = &g_array_index(list, Made, i);
        Error *err = NULL;

        if (bdrv_snapshot_delete(m->bs, m->id, m->name, &err) < 0) {
            error_prepend(&err, "Could not delete snapshot '%s' on '%s': ",
                          m->name, bdrv_get_device_or_node_name(m->bs));
            if (ok) {
                error_propagate(errp, err);
            } else {
                error_free(err);
            }
            ok = false;
        }
    }
    return ok;
}

/* Snapshots that have the name already; false: one must not be deleted. */
static bool find_old(const GPtrArray *disks, const char *name, bool overwrite,
                     GArray *old, Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        g_autoptr(BdrvSnapshot) sn = NULL;

        if (savevm_has(disks->pdata[i], name, &sn)) {
            add_made(old, disks->pdata[i], sn);
        }
    }
    if (old->len && !overwrite) {
        error_setg(errp, "Snapshot '%s' already exists in one or more devices",
                   name);
        return false;
    }
    return true;
}

/* Creates @sn on all @disks, or on none. */
static bool create_all(const GPtrArray *disks, BlockDriverState *state_bs,
                       const BdrvSnapshot *sn, const GByteArray *state,
                       GArray *made, Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        BlockDriverState *bs = disks->pdata[i];
        g_autoptr(BdrvSnapshot) one = bdrv_snapshot_copy(sn);

        one->vm_state_size = bs == state_bs ? state->len : 0;
        if (bdrv_snapshot_create(bs, one, one->vm_state_size ? state->data
                                                             : NULL,
                                 errp) < 0) {
            error_prepend(errp, "Could not create snapshot '%s' on '%s': ",
                          sn->name, bdrv_get_device_or_node_name(bs));
            (void)delete_all(made, NULL);
            g_array_set_size(made, 0);
            return false;
        }
        add_made(made, bs, one);
    }
    return true;
}

static char *default_name(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();

    return g_date_time_format(now, "vm-%Y%m%d%H%M%S");
}

bool savevm_save(const char *name, bool overwrite, const char *vmstate,
                 char **devices, Error **errp)
{
    g_autoptr(GPtrArray) disks = find_disks(devices, errp);
    g_autoptr(GArray) old = new_made(), made = new_made();
    g_autoptr(BdrvSnapshot) sn = NULL;
    g_autoptr(GByteArray) state = NULL;
    g_autofree char *chosen = name ? g_strdup(name) : default_name();
    bool running = runstate_is_running(), ok;
    BlockDriverState *state_bs;

    if (!disks || !check_disks(disks, errp) ||
        (name && !find_old(disks, name, overwrite, old, errp))) {
        return false;
    }
    state_bs = savevm_state_disk(disks, vmstate, errp);
    if (!state_bs) {
        return false;
    }
    state = state_encode(runstate_get());
    vm_stop(RUN_STATE_SAVE_VM);
    bdrv_drain_all_begin();
    sn = bdrv_snapshot_new(chosen);
    sn->vm_clock_nsec = runstate_clock_ns();
    ok = create_all(disks, state_bs, sn, state, made, errp) &&
         delete_all(old, errp);
    bdrv_drain_all_end();
    if (running) {
        vm_start();
    }
    return ok;
}

/* --- loading --- */

/*
 * Reverts all disks to the snapshot, or none: with more than one, each gets a
 * temporary snapshot of its present state.
 */
static bool goto_all(const GPtrArray *disks, const char *name, Error **errp)
{
    g_autoptr(BdrvSnapshot) undo = bdrv_snapshot_new(UNDO_NAME);
    g_autoptr(GArray) made = new_made();
    bool ok = true;
    guint done = 0;

    if (disks->len > 1 && !create_all(disks, NULL, undo, NULL, made, errp)) {
        return false;
    }
    while (ok && done < disks->len) {
        BlockDriverState *bs = disks->pdata[done];

        ok = bdrv_snapshot_goto(bs, name, errp) == 0;
        if (!ok) {
            error_prepend(errp, "Could not load snapshot '%s' on '%s': ", name,
                          bdrv_get_device_or_node_name(bs));
        }
        done += ok;
    }
    for (guint i = 0; !ok && i < done; i++) {
        const Made *m = &g_array_index(made, Made, i);
        Error *err = NULL;

        if (bdrv_snapshot_goto(m->bs, m->id, &err) < 0) {
            error_prepend(&err, "Could not undo it on '%s': ",
                          bdrv_get_device_or_node_name(m->bs));
            error_report_err(err);
        }
    }
    (void)delete_all(made, NULL); /* a remaining one is harmless */
    return ok;
}

bool savevm_load(const char *name, const char *vmstate, char **devices,
                 Error **errp)
{
    g_autoptr(GPtrArray) disks = find_disks(devices, errp);
    g_autoptr(BdrvSnapshot) sn = NULL;
    struct json_object *state;
    BlockDriverState *state_bs;
    bool ok;

    if (!disks || !check_disks(disks, errp)) {
        return false;
    }
    for (guint i = 0; i < disks->len; i++) {
        if (!savevm_has(disks->pdata[i], name, NULL)) {
            error_setg(errp, "Snapshot '%s' does not exist in one or more "
                       "devices", name);
            return false;
        }
    }
    state_bs = savevm_state_disk(disks, vmstate, errp);
    if (!state_bs) {
        return false;
    }
    savevm_has(state_bs, name, &sn);
    if (!sn->vm_state_size) {
        error_setg(errp, "This is a disk-only snapshot. Revert to it  offline "
                   "using qemu-img");
        return false;
    }
    state = state_read(state_bs, sn, errp);
    if (!state) {
        return false;
    }
    bdrv_drain_all_begin();
    ok = goto_all(disks, name, errp);
    bdrv_drain_all_end();
    if (ok) {
        state_restore(state);
    }
    json_object_put(state);
    return ok;
}

bool savevm_delete(const char *name, char **devices, Error **errp)
{
    g_autoptr(GPtrArray) disks = find_disks(devices, errp);
    g_autoptr(GArray) old = new_made();

    return disks && check_disks(disks, errp) &&
           find_old(disks, name, true, old, errp) && delete_all(old, errp);
}
