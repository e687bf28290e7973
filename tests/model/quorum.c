/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A quorum as the base of the chain: what random commands do to its children.
 *
 * At most one child at a time has other data than the disk, so that the others
 * always have the votes.  It is read again as a whole to be corrected, or
 * removed, or a mirror replaces it.
 */
#include "qemu/osdep.h"

#include "../fault/fault-disk.h"
#include "ops.h"

#define THRESHOLD 2

static bool has_bad(const Model *m)
{
    return *m->quorum.bad != '\0';
}

static void set_bad(Model *m, const char *child)
{
    g_strlcpy(m->quorum.bad, child, sizeof(m->quorum.bad));
}

static const char *random_child(Model *m)
{
    return m->quorum.children[model_draw(m, m->quorum.n)];
}

static BlockDriverState *quorum_node(const Model *m)
{
    return bdrv_find_node(m->quorum.name);
}

/* It may have left the chain, which has not been noticed. */
static bool is_in_chain(const Model *m)
{
    return m->quorum.used &&
           bdrv_chain_contains(blk_bs(m->guest), quorum_node(m));
}

bool model_top_is_quorum(const Model *m)
{
    return m->quorum.used && m->n_nodes == 1;
}

/* --- life --- */

void model_quorum_create(Model *m)
{
    ModelQuorum *q = &m->quorum;

    *q = (ModelQuorum) {
        .used = true,
        .fifo = !model_draw(m, 4),
        .n = 2 + model_draw(m, MODEL_CHILDREN - 1),
    };
    q->rewrite = !q->fifo && model_draw(m, 2);
    g_snprintf(q->name, sizeof(q->name), "q%d", m->serial++);
    for (int i = 0; i < q->n; i++) {
        g_snprintf(q->children[i], sizeof(q->children[i]), "c%d", m->serial++);
        model_create_image(m, q->children[i], NULL);
    }
}

void model_quorum_open(Model *m)
{
    const ModelQuorum *q = &m->quorum;
    GString *children = g_string_new(NULL);

    for (int i = 0; i < q->n; i++) {
        model_add_node(m, q->children[i], NULL);
        g_string_append_printf(children, "%s'%s'", i ? ", " : "",
                               q->children[i]);
    }
    QMP_OK(m, CMD("blockdev-add", "'driver': 'quorum', 'node-name': '%s', "
                  "'vote-threshold': %d, 'read-pattern': '%s', "
                  "'rewrite-corrupted': %s, 'children': [%s]"), q->name,
           THRESHOLD, q->fifo ? "fifo" : "quorum",
           q->rewrite ? "true" : "false", children->str);
    g_string_free(children, true);
}

/* The children that there are now, the oldest first. */
static void find_children(Model *m)
{
    ModelQuorum *q = &m->quorum;
    BlockDriverState *bs = quorum_node(m);
    BdrvChild *child = NULL;
    int n = 0;

    while ((child = bdrv_next_child(bs, child))) {
        n++;
    }
    g_assert_cmpint(n, >=, THRESHOLD);
    g_assert_cmpint(n, <=, MODEL_CHILDREN);
    q->n = n;
    while ((child = bdrv_next_child(bs, child))) {
        g_strlcpy(q->children[--n], bdrv_skip_filters(child->bs)->node_name,
                  sizeof(q->children[0]));
    }
}

static void remove_child_node(Model *m, const char *child)
{
    if (!strcmp(m->quorum.bad, child)) {
        set_bad(m, "");
    }
    /* One that drive-mirror has opened goes with its last user. */
    if (bdrv_find_node(child)) {
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), child);
    }
}

void model_quorum_left(Model *m)
{
    ModelQuorum *q = &m->quorum;

    for (int i = 0; i < q->n; i++) {
        remove_child_node(m, q->children[i]);
    }
    q->used = false;
}

bool model_quorum_has(const Model *m, const char *node)
{
    BlockDriverState *bs = m->quorum.used ? quorum_node(m) : NULL;
    BdrvChild *child = NULL;

    while (bs && (child = bdrv_next_child(bs, child))) {
        if (!strcmp(child->bs->node_name, node)) {
            return true;
        }
    }
    return false;
}

const char *model_quorum_child(Model *m)
{
    return has_bad(m) && model_draw(m, 2) ? m->quorum.bad : random_child(m);
}

void model_quorum_replaced(Model *m, const char *child)
{
    find_children(m);
    remove_child_node(m, child);
}

/* --- children --- */

static BdrvChild *find_edge(const Model *m, const char *node)
{
    BdrvChild *child = NULL;

    while ((child = bdrv_next_child(quorum_node(m), child)) &&
           strcmp(bdrv_skip_filters(child->bs)->node_name, node)) {
        continue;
    }
    return child;
}

static bool remove_child(Model *m, const char *node)
{
    g_autofree char *child = g_strdup(node);
    bool ok = QMP_TRY(m, CMD("x-blockdev-change", "'parent': '%s', 'child': "
                             "'%s'"), m->quorum.name,
                      find_edge(m, node)->name);

    g_assert(!ok || m->quorum.n > THRESHOLD);
    g_assert(ok || m->quorum.n <= THRESHOLD || m->job || m->backup.used ||
             m->mirror.used);
    if (ok) {
        find_children(m);
        remove_child_node(m, child);
    }
    return ok;
}

static void op_remove(Model *m)
{
    remove_child(m, has_bad(m) ? m->quorum.bad : random_child(m));
}

static void op_add(Model *m)
{
    g_autofree char *name = g_strdup_printf("c%d", m->serial++);

    if (m->quorum.n >= MODEL_CHILDREN || has_bad(m)) {
        return;
    }
    model_create_image(m, name, NULL);
    model_add_node(m, name, NULL);
    if (!is_in_chain(m)) { /* any more */
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), name);
    } else if (QMP_TRY(m, CMD("x-blockdev-change", "'parent': '%s', 'node': "
                              "'%s'"), m->quorum.name, name)) {
        set_bad(m, name);
        find_children(m);
    } else {
        g_assert(m->job || m->backup.used || m->mirror.used);
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), name);
    }
}

/* The one that may be bad, or one that may become so; NULL: there is none. */
static const char *to_be_bad(Model *m)
{
    return m->quorum.n <= THRESHOLD ? NULL
           : has_bad(m) ? m->quorum.bad : random_child(m);
}

/* Sectors of a child change behind the back of the quorum. */
static void op_corrupt(Model *m)
{
    const char *child = to_be_bad(m);
    int first = model_draw(m, MODEL_SECTORS);
    int n = 1 + model_draw(m, MIN(MODEL_SECTORS - first, 200));
    g_autofree void *buf = g_malloc((size_t)n * MODEL_SECTOR);
    BlockBackend *blk;

    if (!child || m->quorum.fifo) {
        return;
    }
    set_bad(m, child);
    memset(buf, model_draw(m, 256), (size_t)n * MODEL_SECTOR);
    blk = blk_new_with_bs(bdrv_find_node(child), BLK_PERM_WRITE_UNCHANGED,
                          BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(blk_pwrite(blk, (int64_t)first * MODEL_SECTOR,
                               (int64_t)n * MODEL_SECTOR, buf,
                               BDRV_REQ_WRITE_UNCHANGED), ==, 0);
    blk_unref(blk);
}

/*
 * The file of a child fails for a while.  With read-pattern=fifo it must be
 * removed before it can be read again.
 */
static void op_break(Model *m)
{
    g_autofree char *child = g_strdup(to_be_bad(m));
    bool busy = m->job || m->backup.used || m->mirror.used;

    if (!child || (m->quorum.fifo && (busy || has_bad(m)))) {
        return;
    }
    set_bad(m, child);
    m->leaks = true;
    fault_disk_break(child);
    model_run_loop(m, model_draw(m, 60));
    if (m->quorum.fifo) {
        g_assert_true(remove_child(m, child));
    }
    fault_disk_break(NULL);
}

static void read_all(const char *name, uint8_t *buf)
{
    BlockBackend *blk = blk_new_with_bs(bdrv_find_node(name),
                                        BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                                        &error_abort);

    g_assert_cmpint(blk_pread(blk, 0, MODEL_BYTES, buf, 0), ==, 0);
    blk_unref(blk);
}

/* What is read is corrected. */
static void op_heal(Model *m)
{
    g_autofree uint8_t *buf = g_malloc(MODEL_BYTES);

    if (m->quorum.rewrite && !quorum_node(m)->read_only) {
        read_all(m->quorum.name, buf);
        set_bad(m, "");
    }
}

void model_op_quorum(Model *m)
{
    static void (*const list[])(Model *m) = {
        op_remove, op_add, op_corrupt, op_corrupt, op_break, op_heal, op_heal,
    };

    if (is_in_chain(m)) {
        list[model_draw(m, G_N_ELEMENTS(list))](m);
    }
}

/* --- comparison --- */

void model_quorum_check(const Model *m)
{
    const ModelQuorum *q = &m->quorum;
    g_autofree uint8_t *buf = g_malloc(MODEL_BYTES);
    g_autofree uint8_t *other = g_malloc(MODEL_BYTES);

    if (!q->used || m->job || m->mirror.used) {
        return;
    }
    read_all(q->name, buf);
    for (int i = 0; i < q->n; i++) {
        if (strcmp(q->children[i], q->bad)) {
            read_all(q->children[i], other);
            if (memcmp(buf, other, MODEL_BYTES)) {
                g_error("child '%s' has other data than '%s'", q->children[i],
                        q->name);
            }
        }
    }
}
