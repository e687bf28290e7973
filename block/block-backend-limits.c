/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of a handle's requests: its membership in a throttle group. */
#include "qemu/osdep.h"
#include "block-backend-int.h"

/* Groups that exist only while they have members. */
static GHashTable *implicit_groups;

static bool group_get(const char *name, Error **errp)
{
    ThrottleConfig none;

    if (throttle_group_find(name)) {
        return true;
    }
    throttle_config_init(&none);
    if (!throttle_group_new(name, &none, errp)) {
        return false;
    }
    if (!implicit_groups) {
        implicit_groups = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                g_free, NULL);
    }
    g_hash_table_add(implicit_groups, g_strdup(name));
    return true;
}

static void group_put(const char *name)
{
    if (!implicit_groups || !g_hash_table_contains(implicit_groups, name) ||
        !throttle_group_del(name, NULL)) {
        return;
    }
    g_hash_table_remove(implicit_groups, name);
    if (!g_hash_table_size(implicit_groups)) {
        g_hash_table_unref(g_steal_pointer(&implicit_groups));
    }
}

bool blk_io_limits_enable(BlockBackend *blk, const char *group, Error **errp)
{
    if (blk->throttle.group &&
        !strcmp(throttle_group_name(blk->throttle.group), group)) {
        return true;
    }
    blk_io_limits_disable(blk);
    if (!group_get(group, errp) ||
        !throttle_member_join(&blk->throttle, group, errp)) {
        return false;
    }
    /* During a drain requests pass without limits. */
    for (int i = 0; i < blk->quiesce_counter; i++) {
        throttle_member_unlimited_begin(&blk->throttle);
    }
    return true;
}

void blk_io_limits_disable(BlockBackend *blk)
{
    g_autofree char *name = NULL;
    BlockDriverState *bs = blk_bs(blk);

    if (!blk->throttle.group) {
        return;
    }
    name = g_strdup(throttle_group_name(blk->throttle.group));
    /* Requests in the group's queue complete first. */
    if (bs) {
        bdrv_ref(bs);
        bdrv_drained_begin(bs);
    }
    throttle_member_leave(&blk->throttle);
    blk->throttle = (ThrottleMember) {0};
    if (bs) {
        bdrv_drained_end(bs);
        bdrv_unref(bs);
    }
    group_put(name);
}

void blk_io_limits_let_pass(BlockBackend *blk)
{
    if (blk->throttle.group) {
        throttle_member_unlimited_begin(&blk->throttle);
    }
}

const char *blk_io_limits_group(const BlockBackend *blk)
{
    return blk->throttle.group ? throttle_group_name(blk->throttle.group)
                               : NULL;
}
