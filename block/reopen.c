/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing options in place.
 *
 *   queue      the nodes named, each followed by the children it defined in
 *              place, which inherit changed options
 *   prepare    per node, parents first: its mode, new children, the driver's
 *              own preparation, which may still write under the old state of
 *              the children (e.g. store bitmaps before turning read-only)
 *   permit     permissions of the whole result at once
 *   commit     or abort all in reverse order
 */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/graph-int.h"
#include "block/io.h"
#include "block/node-int.h"
#include <json-c/json.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

typedef struct ReopenEntry {
    BdrvReopenState state;
    BlockdevOptions *explicit_options;
    bool keep_children; /* the options do not describe children */
} ReopenEntry;

typedef struct ReopenQueue {
    GPtrArray *entries; /* of ReopenEntry */
    GPtrArray *nodes;   /* whose permissions are renewed; references */
    Transaction *tran;
} ReopenQueue;

static void reopen_entry_free(void *opaque)
{
    ReopenEntry *entry = opaque;

    qapi_free_BlockdevOptions(entry->state.options);
    qapi_free_BlockdevOptions(entry->explicit_options);
    bdrv_unref(entry->state.bs);
    g_free(entry);
}

static void node_unref(void *bs)
{
    bdrv_unref(bs);
}

static void reopen_queue_init(ReopenQueue *queue)
{
    queue->entries = g_ptr_array_new_with_free_func(reopen_entry_free);
    queue->nodes = g_ptr_array_new_with_free_func(node_unref);
}

static void reopen_queue_clear(ReopenQueue *queue)
{
    g_ptr_array_unref(queue->entries);
    g_ptr_array_unref(queue->nodes);
}

static ReopenEntry *queue_entry(ReopenQueue *queue, guint i)
{
    return g_ptr_array_index(queue->entries, i);
}

static ReopenEntry *queue_find(ReopenQueue *queue, const BlockDriverState *bs)
{
    for (guint i = 0; i < queue->entries->len; i++) {
        if (queue_entry(queue, i)->state.bs == bs) {
            return queue_entry(queue, i);
        }
    }
    return NULL;
}

/* --- the queue --- */

static void queue_add(ReopenQueue *queue, BlockDriverState *bs,
                      const BlockdevOptions *explicit_options,
                      bool keep_children)
{
    ReopenEntry *entry = g_new0(ReopenEntry, 1);

    entry->state.bs = bdrv_ref(bs);
    entry->explicit_options = qapi_clone_BlockdevOptions(explicit_options);
    entry->state.options = qapi_clone_BlockdevOptions(explicit_options);
    entry->keep_children = keep_children;
    g_ptr_array_add(queue->entries, entry);
    g_ptr_array_add(queue->nodes, bdrv_ref(bs));
}

/* Definition of child @name in @options, or NULL. */
static const BlockdevOptions *find_definition(const BlockdevOptions *options,
                                              const char *name)
{
    BdrvOptionsChild child;
    BdrvOptionsPos pos = {};

    while (bdrv_options_next_child(options, &pos, &child)) {
        if (!strcmp(child.name, name)) {
            return child.definition;
        }
    }
    return NULL;
}

/*
 * Children that @entry's node defined in place follow its options, unless it is
 * about to lose them.
 */
static void queue_children(ReopenQueue *queue, ReopenEntry *entry)
{
    BlockDriverState *bs = entry->state.bs;
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        g_autofree char *name = bdrv_child_option_name(c);
        const BlockdevOptions *given =
            entry->keep_children
                ? NULL : find_definition(entry->explicit_options, name);

        if ((!given && bdrv_node(c->bs)->inherits_from != bs) ||
            queue_find(queue, c->bs)) {
            continue;
        }
        queue_add(queue, c->bs,
                  given ? given : bdrv_node(c->bs)->explicit_options, !given);
    }
}

/* Fills in options that @bs inherits from the new options of its parent. */
static void inherit_new_options(ReopenQueue *queue, ReopenEntry *entry)
{
    BlockDriverState *bs = entry->state.bs;
    BlockDriverState *parent_bs = bdrv_node(bs)->inherits_from;
    ReopenEntry *parent = parent_bs ? queue_find(queue, parent_bs) : NULL;
    BdrvMode mode;

    if (!parent_bs) {
        return;
    }
    mode = bdrv_get_mode(parent_bs);
    if (parent) {
        bdrv_mode_from_options(&mode, parent->state.options, NULL);
    }
    bdrv_options_inherit(&mode, bdrv_node(bs)->inherits_role,
                         entry->state.options);
}

static bool queue_build(ReopenQueue *queue, BlockdevOptionsList *options,
                        Error **errp)
{
    for (; options; options = options->next) {
        const BlockdevOptions *o = options->value;
        BlockDriverState *bs;

        if (!o->node_name) {
            error_setg(errp, "node-name not specified");
            return false;
        }
        bs = bdrv_find_node(o->node_name);
        if (!bs) {
            error_setg(errp, "Failed to find node with node-name='%s'",
                       o->node_name);
            return false;
        }
        if (queue_find(queue, bs)) {
            error_setg(errp, "Node '%s' is named twice", o->node_name);
            return false;
        }
        queue_add(queue, bs, o, false);
    }
    return true;
}

static void queue_complete(ReopenQueue *queue)
{
    for (guint i = 0; i < queue->entries->len; i++) {
        ReopenEntry *entry = queue_entry(queue, i);

        inherit_new_options(queue, entry);
        queue_children(queue, entry);
    }
}

/* --- prepare: options of all drivers --- */

typedef struct ModeUndo {
    BlockDriverState *bs;
    BdrvMode old;
} ModeUndo;

static void mode_undo(void *opaque)
{
    ModeUndo *undo = opaque;

    bdrv_set_mode(undo->bs, &undo->old);
}

static const TransactionActionDrv mode_drv = {
    .abort = mode_undo,
    .clean = g_free,
};

static void set_mode_tran(BlockDriverState *bs, const BdrvMode *mode,
                          Transaction *tran)
{
    ModeUndo *undo = g_new(ModeUndo, 1);

    undo->bs = bs;
    undo->old = bdrv_get_mode(bs);
    tran_add(tran, &mode_drv, undo);
    bdrv_set_mode(bs, mode);
}

static bool prepare_mode(ReopenQueue *queue, ReopenEntry *entry, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    BdrvMode mode;
    int ret;

    if (!bdrv_mode_from_options(&mode, entry->state.options, errp)) {
        return false;
    }
    if (!bs->read_only && mode.read_only) {
        ret = bdrv_flush(bs);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Error flushing drive");
            return false;
        }
    }
    set_mode_tran(bs, &mode, queue->tran);
    return true;
}

/* --- prepare: options that cannot change --- */

static bool is_child_option(const BlockdevOptions *options, const char *name)
{
    const QapiType *branch = bdrv_options_branch(options->driver);

    for (unsigned i = 0; i < branch->n_members; i++) {
        if (!strcmp(branch->members[i].name, name)) {
            return bdrv_option_is_child(&branch->members[i]);
        }
    }
    return false;
}

static bool name_in(const char *const *list, const char *name)
{
    for (; list && *list; list++) {
        if (!strcmp(*list, name)) {
            return true;
        }
    }
    return false;
}

static bool is_mutable(const BlockDriverState *bs, const char *name)
{
    static const char *const node_options[] = {
        "driver", "node-name", "discard", "cache", "read-only",
        "auto-read-only", "force-share", "detect-zeroes", "active", NULL,
    };

    return name_in(node_options, name) ||
           name_in(bs->drv->mutable_options, name) ||
           is_child_option(bs->options, name);
}

/* JSON of @options, with defaults filled in. */
static json_object *options_tree(const BlockdevOptions *options)
{
    g_autoptr(BlockdevOptions) copy = qapi_clone_BlockdevOptions(options);
    const QapiType *branch = bdrv_options_branch(copy->driver);
    char *base = (char *)copy + qapi_type_BlockdevOptions.u_offset;

    for (unsigned i = 0; i < branch->n_members; i++) {
        const QapiMember *m = &branch->members[i];

        if ((m->flags & QAPI_MEMBER_HAS) && (m->flags & QAPI_MEMBER_DEFAULT)) {
            *(bool *)(base + m->has_offset) = true;
        }
    }
    return qapi_BlockdevOptions_to_json(copy);
}

/* The first member of @a that differs in @b, may not change and is not in @but,
 * unless that is NULL. */
static const char *find_change(const BlockDriverState *bs, json_object *a,
                               json_object *b, json_object *but)
{
    json_object_object_foreach(a, key, value) {
        if (!is_mutable(bs, key) &&
            !json_object_equal(value, json_object_object_get(b, key)) &&
            !(but && json_object_object_get_ex(but, key, NULL))) {
            return key;
        }
    }
    return NULL;
}

static bool refuse_changes(const BlockDriverState *bs,
                           const BlockdevOptions *options, Error **errp)
{
    g_autoptr(json_object) old = options_tree(bs->options);
    g_autoptr(json_object) new = options_tree(options);
    g_autoptr(json_object) given = qapi_BlockdevOptions_to_json(options);
    const char *left_out = find_change(bs, old, new, given);
    const char *change = left_out ? NULL : find_change(bs, new, old, NULL);

    if (left_out) {
        error_setg(errp, "Option '%s' cannot be reset to its default value",
                   left_out);
    } else if (change) {
        error_setg(errp, "Cannot change the option '%s'", change);
    }
    return !left_out && !change;
}

static bool prepare_options(ReopenEntry *entry, Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    BlockdevOptions *options = entry->state.options;

    if (!bdrv_check_active(bs, errp)) {
        return false;
    }
    if (options->has_active && !options->active) {
        error_setg(errp, "Cannot change the option 'active'");
        error_append_hint(errp, "blockdev-set-active does that.\n");
        return false;
    }
    if (!bs->options) {
        error_setg(errp, "Block format '%s' used by node '%s' does not "
                   "support reopening files", bs->drv->format_name,
                   bs->node_name);
        return false;
    }
    if (options->driver != bs->options->driver) {
        error_setg(errp, "Cannot change the option 'driver'");
        return false;
    }
    if (options->node_name && strcmp(options->node_name, bs->node_name)) {
        error_setg(errp, "Cannot change the option 'node-name'");
        return false;
    }
    if (bs->force_share !=
        (options->has_force_share && options->force_share)) {
        error_setg(errp, "Cannot change the option 'force-share'");
        return false;
    }
    return refuse_changes(bs, options, errp);
}

/* --- prepare: children --- */

/* The child that the option @name stands for, or NULL. */
static BdrvChild *find_option_child(BlockDriverState *bs, const char *name)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        g_autofree char *option = bdrv_child_option_name(c);

        if (!strcmp(option, name)) {
            return c;
        }
    }
    return NULL;
}

/* Replaces child @option->name as the options specify. */
static bool replace_child(ReopenQueue *queue, BlockDriverState *bs,
                          const BdrvOptionsChild *option, Error **errp)
{
    BdrvChild *child = find_option_child(bs, option->name);
    bool is_backing = !strcmp(option->name, "backing");
    BlockDriverState *old_bs, *new_bs = NULL;

    if (option->reference) {
        new_bs = bdrv_lookup_bs(NULL, option->reference, errp);
        if (!new_bs) {
            return false;
        }
    }
    if ((child ? child->bs : NULL) == new_bs) {
        return true;
    }
    if (!is_backing && (strcmp(option->name, "file") || !new_bs)) {
        error_setg(errp, "Cannot change the option '%s'", option->name);
        return false;
    }
    if (child) {
        g_ptr_array_add(queue->nodes, bdrv_ref(child->bs));
    }
    old_bs = child ? child->bs : NULL;
    return bdrv_set_child_tran(
        bs, (BdrvChildLike){ option->name, BDRV_CHILD_COW }, new_bs,
        bdrv_compare_content(old_bs, new_bs), queue->tran, errp);
}

static bool prepare_child(ReopenQueue *queue, BlockDriverState *bs,
                          const BdrvOptionsChild *option, Error **errp)
{
    BdrvChild *child = find_option_child(bs, option->name);

    if (option->definition) {
        /* The child is reopened separately; it may not become another node. */
        const char *name = option->definition->node_name;

        if (!child || (name && strcmp(name, child->bs->node_name))) {
            error_setg(errp, "Cannot change the option '%s'", option->name);
            return false;
        }
        return true;
    }
    if (!option->present) {
        if (!strcmp(option->name, "backing") &&
            (child || (bs->backing_file && *bs->backing_file))) {
            error_setg(errp, "backing is missing for '%s'", bs->node_name);
            return false;
        }
        if (child && bs->drv->finds_children &&
            child != bdrv_primary_child(bs)) {
            return true; /* its name is in the image */
        }
        if (child) {
            error_setg(errp, "Cannot change the option '%s'", option->name);
            return false;
        }
        return true;
    }
    return replace_child(queue, bs, option, errp);
}

/* A list of children is as long as it was. */
static bool check_list_child(BlockDriverState *bs, const BdrvChild *child,
                             const BlockdevOptions *options, Error **errp)
{
    g_autofree char *name = bdrv_child_option_name(child);
    BdrvOptionsChild option;
    BdrvOptionsPos pos = {};

    while (bdrv_options_next_child(options, &pos, &option)) {
        if (!strcmp(option.name, name)) {
            return true;
        }
    }
    error_setg(errp, "Cannot change the option '%s'", name);
    return false;
}

static bool prepare_children(ReopenQueue *queue, ReopenEntry *entry,
                             Error **errp)
{
    BlockDriverState *bs = entry->state.bs;
    BdrvOptionsChild option;
    BdrvOptionsPos pos = {};
    BdrvChild *c;

    if (entry->keep_children) {
        return true;
    }
    while (bdrv_options_next_child(entry->state.options, &pos, &option)) {
        if (!prepare_child(queue, bs, &option, errp)) {
            return false;
        }
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (strchr(c->name, '.') &&
            !check_list_child(bs, c, entry->state.options, errp)) {
            return false;
        }
    }
    return true;
}

/* --- prepare: the driver --- */

static void driver_commit(void *opaque)
{
    BdrvReopenState *state = opaque;

    if (state->bs->drv->reopen_commit) {
        state->bs->drv->reopen_commit(state);
    }
    bdrv_flush_inherits(state->bs);
}

static void driver_abort(void *opaque)
{
    BdrvReopenState *state = opaque;

    if (state->bs->drv->reopen_abort) {
        state->bs->drv->reopen_abort(state);
    }
}

static void driver_clean(void *opaque)
{
    BdrvReopenState *state = opaque;

    bdrv_node(state->bs)->reopening = false;
}

static const TransactionActionDrv driver_drv = {
    .commit = driver_commit,
    .abort = driver_abort,
    .clean = driver_clean,
};

bool bdrv_reopen_driver_tran(BdrvReopenState *state, Transaction *tran,
                             Error **errp)
{
    BlockDriverState *bs = state->bs;

    if (!bdrv_bitmap_store_reopen_tran(bs, tran, errp)) {
        return false;
    }
    if (bs->drv->reopen_prepare && bs->drv->reopen_prepare(state, errp) < 0) {
        return false;
    }
    bdrv_node(bs)->reopening = true;
    tran_add(tran, &driver_drv, state);
    return true;
}

/* In reverse order, as the size of a node may depend on that of its child. */
static bool queue_refresh_sizes(ReopenQueue *queue, Error **errp)
{
    for (guint i = queue->entries->len; i > 0; i--) {
        BlockDriverState *bs = queue_entry(queue, i - 1)->state.bs;

        if (bdrv_primary_child(bs) &&
            !bdrv_refresh_size_tran(bs, queue->tran, errp)) {
            return false;
        }
    }
    return true;
}

static bool queue_prepare(ReopenQueue *queue, Error **errp)
{
    for (guint i = 0; i < queue->entries->len; i++) {
        ReopenEntry *entry = queue_entry(queue, i);

        if (!prepare_options(entry, errp) ||
            !prepare_mode(queue, entry, errp) ||
            !prepare_children(queue, entry, errp) ||
            !bdrv_reopen_driver_tran(&entry->state, queue->tran, errp)) {
            return false;
        }
    }
    return bdrv_refresh_perms_list(queue->nodes, queue->tran, errp) &&
           queue_refresh_sizes(queue, errp);
}

/* --- commit --- */

/* Former children do not inherit options any more. */
static void forget_lost_children(BlockDriverState *bs)
{
    BlockDriverState *other = NULL;
    BdrvChild *c;

    while ((other = bdrv_next_node(other))) {
        bool is_child = false;

        LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
            is_child = is_child || c->bs == other;
        }
        if (bdrv_node(other)->inherits_from == bs && !is_child) {
            bdrv_node(other)->inherits_from = NULL;
        }
    }
}

static void entry_finish(ReopenEntry *entry)
{
    BlockDriverState *bs = entry->state.bs;

    qapi_free_BlockdevOptions(bs->options);
    bs->options = g_steal_pointer(&entry->state.options);
    qapi_free_BlockdevOptions(bdrv_node(bs)->explicit_options);
    g_clear_pointer(&bdrv_node(bs)->given, json_object_put);
    bdrv_node(bs)->explicit_options = g_steal_pointer(&entry->explicit_options);
    forget_lost_children(bs);
    bdrv_refresh_limits(bs, NULL, NULL);
}

/* Children come after their parents in the queue: iterate in reverse. */
static void queue_finish(ReopenQueue *queue)
{
    for (guint i = queue->entries->len; i > 0; i--) {
        ReopenEntry *entry = queue_entry(queue, i - 1);
        BdrvReopenState *state = &entry->state;

        if (state->bs->drv->reopen_commit_post) {
            state->bs->drv->reopen_commit_post(state);
        }
        bdrv_bitmap_store_reopened(state->bs);
        entry_finish(entry);
        bdrv_refresh_filename(state->bs);
    }
}

static bool queue_run(ReopenQueue *queue, Error **errp)
{
    g_autoptr(GPtrArray) drained = g_ptr_array_new_with_free_func(node_unref);
    bool ok;

    for (guint i = 0; i < queue->entries->len; i++) {
        BlockDriverState *bs = queue_entry(queue, i)->state.bs;

        g_ptr_array_add(drained, bdrv_ref(bs));
        bdrv_drained_begin(bs);
    }
    queue->tran = tran_new();
    ok = queue_prepare(queue, errp);
    tran_finalize(queue->tran, ok);
    if (ok) {
        queue_finish(queue);
    }
    for (guint i = 0; i < drained->len; i++) {
        bdrv_drained_end(g_ptr_array_index(drained, i));
    }
    return ok;
}

bool bdrv_reopen_multiple(BlockdevOptionsList *options, Error **errp)
{
    ReopenQueue queue;
    bool ok;

    reopen_queue_init(&queue);
    ok = queue_build(&queue, options, errp);
    if (ok) {
        queue_complete(&queue);
        ok = queue_run(&queue, errp);
    }
    reopen_queue_clear(&queue);
    return ok;
}

bool bdrv_reopen_set_read_only(BlockDriverState *bs, bool read_only,
                               Error **errp)
{
    g_autoptr(BlockdevOptions) options =
        qapi_clone_BlockdevOptions(bdrv_node(bs)->explicit_options);
    ReopenQueue queue;
    bool ok;

    if (bs->read_only == read_only) {
        return true;
    }
    options->has_read_only = true;
    options->read_only = read_only;
    reopen_queue_init(&queue);
    queue_add(&queue, bs, options, true);
    queue_complete(&queue);
    ok = queue_run(&queue, errp);
    reopen_queue_clear(&queue);
    return ok;
}

void bdrv_reopen_read_only_again(BlockDriverState *bs)
{
    Error *err = NULL;

    if (!bdrv_reopen_set_read_only(bs, true, &err)) {
        warn_report("Node '%s' stays writable: %s", bs->node_name,
                    error_get_pretty(err));
        error_free(err);
    }
}
