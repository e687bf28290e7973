/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iothread objects, and nodes that are moved to them. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/block-backend.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/iothread.h"

/* --- objects --- */

#define DEFAULT_POLL_MAX_NS 32768
#define DEFAULT_THREAD_POOL_MAX 64

typedef struct Prop {
    const char *name;
    int64_t value_if_absent;
    size_t has, value; /* offsets in IothreadProperties */
} Prop;

#define PROP(name, member, value) \
    { name, value, offsetof(IothreadProperties, has_##member), \
      offsetof(IothreadProperties, member) }

static const Prop prop_table[] = {
    PROP("poll-max-ns", poll_max_ns, DEFAULT_POLL_MAX_NS),
    PROP("poll-grow", poll_grow, 0),
    PROP("poll-shrink", poll_shrink, 0),
    PROP("aio-max-batch", aio_max_batch, 0),
    PROP("thread-pool-min", thread_pool_min, 0),
    PROP("thread-pool-max", thread_pool_max, DEFAULT_THREAD_POOL_MAX),
};

static bool *prop_has(IothreadProperties *props, const Prop *prop)
{
    return (bool *)((char *)props + prop->has);
}

static int64_t *prop_value(IothreadProperties *props, const Prop *prop)
{
    return (int64_t *)((char *)props + prop->value);
}

/* Copies the properties that @from has to @props. */
bool blockdev_iothread_check(IothreadProperties *props, Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(prop_table); i++) {
        const Prop *prop = &prop_table[i];

        if (*prop_has(props, prop) && *prop_value(props, prop) < 0) {
            error_setg(errp, "%s value must be in range [0, %" PRId64 "]",
                       prop->name, INT64_MAX);
            return false;
        }
    }
    return true;
}

static bool props_take(IothreadProperties *props, IothreadProperties *from,
                       Error **errp)
{
    if (!blockdev_iothread_check(from, errp)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(prop_table); i++) {
        const Prop *prop = &prop_table[i];

        if (*prop_has(from, prop)) {
            *prop_has(props, prop) = true;
            *prop_value(props, prop) = *prop_value(from, prop);
        }
    }
    if (props->thread_pool_max == 0 || props->thread_pool_max > INT_MAX ||
        props->thread_pool_min > props->thread_pool_max) {
        error_setg(errp, "bad thread-pool-min/thread-pool-max values");
        return false;
    }
    return true;
}

static void props_apply(const char *id, const IothreadProperties *props)
{
    aio_context_set_polling(iothread_context(iothread_find(id)),
                            props->poll_max_ns, props->poll_grow,
                            props->poll_shrink);
}

bool blockdev_iothread_add(const char *id, IothreadProperties *props,
                           Error **errp)
{
    IothreadProperties all = {0};

    for (size_t i = 0; i < ARRAY_SIZE(prop_table); i++) {
        *prop_has(&all, &prop_table[i]) = true;
        *prop_value(&all, &prop_table[i]) = prop_table[i].value_if_absent;
    }
    if (!props_take(&all, props, errp) || !iothread_new(id, errp)) {
        return false;
    }
    *props = all;
    props_apply(id, props);
    return true;
}

bool blockdev_iothread_has_prop(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(prop_table); i++) {
        if (!strcmp(prop_table[i].name, name)) {
            return true;
        }
    }
    return false;
}

bool blockdev_iothread_set(const char *id, IothreadProperties *props,
                           const char *name, struct json_object *value,
                           Error **errp)
{
    struct json_object *json = json_object_new_object();
    g_autoptr(IothreadProperties) change = NULL;
    IothreadProperties all = *props;

    json_object_object_add(json, name, json_object_get(value));
    change = qapi_IothreadProperties_from_json(json, QAPI_INPUT_STRICT, errp);
    json_object_put(json);
    if (!change || !props_take(&all, change, errp)) {
        return false;
    }
    *props = all;
    props_apply(id, props);
    return true;
}

char *(*blockdev_iothread_user)(const char *id);

static char *describe_handle(BlockBackend *blk)
{
    BdrvChild *root = blk_root(blk);
    g_autofree char *id = NULL;
    const char *name;

    if (root) {
        return root->klass->parent_desc(root);
    }
    id = blk_device_id(blk);
    name = *blk_name(blk) ? blk_name(blk) : id;
    return name ? g_strdup_printf("block device '%s'", name)
                : g_strdup("an unnamed block device");
}

/* Describes a user of @thread; the caller frees it.  NULL: none. */
static char *find_user(const IOThread *thread)
{
    AioContext *ctx = iothread_context(thread);
    BlockBackend *blk = NULL;
    BlockDriverState *bs = NULL;

    while ((blk = blk_next(blk))) {
        if (blk_get_aio_context(blk) == ctx) {
            return describe_handle(blk);
        }
    }
    while ((bs = bdrv_next_node(bs))) {
        if (bs->ctx == ctx) {
            return g_strdup_printf("node '%s'", bs->node_name);
        }
    }
    if (blockdev_iothread_user) {
        return blockdev_iothread_user(iothread_name(thread));
    }
    return NULL;
}

bool blockdev_iothread_del(const char *id, Error **errp)
{
    IOThread *thread = iothread_find(id);
    g_autofree char *user = find_user(thread);

    if (user) {
        error_setg(errp, "object '%s' is in use, can not be deleted: its "
                   "thread serves %s", id, user);
        return false;
    }
    iothread_free(thread);
    return true;
}

/* --- nodes --- */

static bool has_handle(const BlockDriverState *bs)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        if (blk_bs(blk) == bs) {
            return true;
        }
    }
    return false;
}

static AioContext *find_context(const StrOrNull *id, Error **errp)
{
    IOThread *thread;

    if (id->type == STR_OR_NULL_KIND_N) {
        return aio_main_context();
    }
    thread = iothread_find(id->u.s);
    if (!thread) {
        error_setg(errp, "Cannot find iothread %s", id->u.s);
        return NULL;
    }
    return iothread_context(thread);
}

bool qmp_x_blockdev_set_iothread(XBlockdevSetIothreadArg *arg, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(arg->node_name);
    AioContext *ctx;

    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   arg->node_name);
        return false;
    }
    if (!arg->force && has_handle(bs)) {
        error_setg(errp, "Node %s is associated with a BlockBackend and could "
                   "be in use (use force=true to override this check)",
                   bs->node_name);
        return false;
    }
    ctx = find_context(arg->iothread, errp);
    return ctx && bdrv_try_set_aio_context(bs, ctx, errp);
}
