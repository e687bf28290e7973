/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random mirrors, and commits of the active image. */
#include "qemu/osdep.h"

#include "../fault/fault-disk.h"
#include "ops.h"
#include "block/dirty-bitmap.h"
#include "job/job.h"

#define JUNK 255

/* --- targets --- */

static void write_node(const char *name, const uint8_t *disk)
{
    BlockBackend *blk = blk_new_with_bs(bdrv_find_node(name), BLK_PERM_WRITE,
                                        BLK_PERM_ALL, &error_abort);
    g_autofree uint8_t *buf = g_malloc(MODEL_BYTES);

    for (int i = 0; i < MODEL_SECTORS; i++) {
        memset(buf + (size_t)i * MODEL_SECTOR, disk[i], MODEL_SECTOR);
    }
    g_assert_cmpint(blk_pwrite(blk, 0, MODEL_BYTES, buf, 0), ==, 0);
    blk_unref(blk);
}

/*
 * The target holds the disk where the job does not copy, and something else
 * where it must.
 */
static void fill_target(const Model *m, const char *name, const char *sync)
{
    const ModelMirror *j = &m->mirror;
    uint8_t disk[MODEL_SECTORS];

    for (int i = 0; i < MODEL_SECTORS; i++) {
        bool copied = !strcmp(sync, "full") ||
            (j->selects && hbitmap_get(model_bits(j->bitmap),
                                       (int64_t)i * MODEL_SECTOR));

        disk[i] = copied ? JUNK : m->disk[i];
    }
    write_node(name, disk);
}

/* --- starting --- */

static const char *const policies[] = {
    "report", "ignore", "stop", "enospc",
};

static const char *random_policy(Model *m)
{
    return policies[model_draw(m, G_N_ELEMENTS(policies))];
}

static const char *random_bool(Model *m)
{
    return model_draw(m, 2) ? "true" : "false";
}

static void begin_mirror(Model *m, ModelBitmap *b, bool commit)
{
    ModelMirror *j = &m->mirror;

    *j = (ModelMirror) {
        .bitmap = b, .commit = commit, .manual = !model_draw(m, 3),
    };
    g_snprintf(j->id, sizeof(j->id), "m%d", m->serial++);
    g_strlcpy(j->source, model_top(m), sizeof(j->source));
}

static void mirror_begun(Model *m)
{
    ModelMirror *j = &m->mirror;

    j->used = true;
    model_add_in_flight(m, j->since_may);
    if (j->bitmap) {
        j->bitmap->busy = true;
        memcpy(j->must, j->bitmap->must, sizeof(j->must));
        model_copy_may(j->bitmap, j->may);
    }
}

/* The options that say how, not what. */
static char *random_options(Model *m)
{
    static const char *const modes[] = { "background", "write-blocking" };
    static const int sizes[] = { 0, 512, 20000, 131072 };
    const ModelMirror *j = &m->mirror;
    GString *s = g_string_new(NULL);

    g_string_append_printf(s, "'job-id': '%s', 'auto-dismiss': false, "
                           "'auto-finalize': %s, 'speed': %d", j->id,
                           j->manual ? "false" : "true",
                           model_draw(m, 2) ? 0 : 1 << 20);
    if (!j->commit) {
        g_string_append_printf(s, ", 'copy-mode': '%s', 'buf-size': %d, "
                               "'checkpoint-interval': %d, "
                               "'on-target-error': '%s'",
                               modes[model_draw(m, 2)],
                               sizes[model_draw(m, G_N_ELEMENTS(sizes))],
                               model_draw(m, 2),
                               random_policy(m));
    }
    if (!j->commit && !j->bitmap && model_draw(m, 2)) {
        g_string_append_printf(s, ", 'granularity': %d",
                               512 << model_draw(m, 12));
    }
    return g_string_free(s, false);
}

static bool syncs(const Model *m, const char *sync)
{
    return !strcmp(m->mirror.sync, sync);
}

static void choose_sync(Model *m, const ModelBitmap *b)
{
    ModelMirror *j = &m->mirror;
    const char *sync;

    if (!b) {
        sync = model_draw(m, 3) == 0 ? "none" : model_draw(m, 2) ? "full"
                                                                 : "top";
    } else {
        j->mode = model_draw(m, 3);
        j->selects = j->mode == BITMAP_SYNC_MODE_NEVER || model_draw(m, 3);
        sync = j->selects ? "bitmap" : model_draw(m, 2) ? "full" : "top";
    }
    if (!strcmp(sync, "top") && (m->n_nodes < 2 || m->job)) {
        sync = "full";
    }
    g_strlcpy(j->sync, sync, sizeof(j->sync));
}

static void choose_command(Model *m)
{
    ModelMirror *j = &m->mirror;

    j->drive = !model_draw(m, 3);
    j->existing = j->drive && (j->selects || model_draw(m, 2));
    if (syncs(m, "none") && m->n_nodes >= MODEL_IMAGES) {
        j->existing = j->drive; /* a new one would be above the source */
    }
    if (model_top_is_quorum(m) && model_draw(m, 2)) {
        g_strlcpy(j->replaces, model_quorum_child(m), sizeof(j->replaces));
    }
}

static void delete_target(Model *m)
{
    QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), m->mirror.target);
}

/* True: it is new and empty. */
static bool make_target(Model *m, const char *backing)
{
    ModelMirror *j = &m->mirror;
    bool empty = backing || (syncs(m, "full") && model_draw(m, 2));

    g_snprintf(j->target, sizeof(j->target), "t%d", m->serial++);
    if (j->drive && !j->existing) {
        return true;
    }
    model_create_image(m, j->target, backing);
    model_add_node(m, j->target, backing);
    if (!empty) {
        fill_target(m, j->target, j->sync);
    }
    if (j->drive) {
        delete_target(m);
    }
    return empty;
}

static bool mirror_command(Model *m, const char *sync, bool zero,
                           const char *more)
{
    const ModelMirror *j = &m->mirror;

    if (!j->drive) {
        return QMP_TRY(m, CMD("blockdev-mirror", "'device': '%s', 'target': "
                              "'%s', 'allow-other-target': true, 'sync': "
                              "'%s', 'target-is-zero': %s%s"),
                       j->source, j->target, sync,
                       zero ? random_bool(m) : "false", more);
    }
    return QMP_TRY(m, CMD("drive-mirror", "'device': '%s', 'target': '%s', "
                          "'allow-other-target': true, 'node-name': '%s', "
                          "'format': 'qcow2', 'sync': '%s', "
                          "'mode': '%s', 'unmap': %s%s"), j->source, j->target,
                   j->target, sync,
                   j->existing ? "existing" : "absolute-paths", random_bool(m),
                   more);
}

static bool start_mirror(Model *m, bool zero)
{
    const ModelMirror *j = &m->mirror;
    g_autofree char *options = random_options(m);
    g_autofree char *replaces = *j->replaces
        ? g_strdup_printf(", 'replaces': '%s'", j->replaces) : g_strdup("");
    const char *sync = j->sync;
    g_autofree char *bitmap = NULL, *more = NULL;

    if (j->bitmap && j->selects && j->mode == BITMAP_SYNC_MODE_ON_SUCCESS &&
        model_draw(m, 2)) {
        sync = "incremental";
        bitmap = g_strdup_printf(", 'bitmap': '%s'", j->bitmap->name);
    } else if (j->bitmap) {
        bitmap = g_strdup_printf(", 'bitmap': '%s', 'bitmap-mode': '%s'",
                                 j->bitmap->name, model_mode_names[j->mode]);
    }
    more = g_strdup_printf("%s%s, %s", bitmap ? bitmap : "", replaces,
                           options);
    return mirror_command(m, sync, zero, more);
}

void model_op_mirror(Model *m)
{
    ModelMirror *j = &m->mirror;
    ModelBitmap *b = model_pick_bitmap(m);
    const char *backing;
    bool zero, ok;

    if (j->used) {
        return;
    }
    if (b && (b->busy || !b->written)) {
        b = NULL;
    }
    begin_mirror(m, b, false);
    choose_sync(m, b);
    choose_command(m);
    backing = syncs(m, "top") ? m->nodes[m->n_nodes - 2] : NULL;
    model_guest_stop(m);
    zero = make_target(m, backing) && !backing;
    if (zero || syncs(m, "full") || syncs(m, "top")) {
        model_guest_start(m);
        model_run_loop(m, model_draw(m, 20));
    }
    ok = start_mirror(m, zero);
    if (ok) {
        mirror_begun(m);
    }
    if (m->stop) {
        model_guest_start(m);
    }
    if (!ok) {
        g_assert(m->job || m->backup.used);
        if (!j->drive) {
            delete_target(m);
        }
    }
}

void model_op_active_commit(Model *m)
{
    ModelMirror *j = &m->mirror;
    g_autofree char *options = NULL;
    const char *base;

    if (j->used || m->job || m->n_nodes < 2) {
        return;
    }
    base = m->nodes[model_draw(m, m->n_nodes - 1)];
    begin_mirror(m, NULL, true);
    g_strlcpy(j->target, base, sizeof(j->target));
    options = random_options(m);
    if (!QMP_TRY(m, CMD("block-commit", "'device': '%s', 'base-node': '%s', "
                        "'on-error': '%s', %s"), j->source, base,
                 random_policy(m), options)) {
        g_assert(m->backup.used);
        return;
    }
    mirror_begun(m);
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        m->bitmaps[i].loose |= !strcmp(m->bitmaps[i].node, base);
    }
}

/* --- while it runs --- */

static bool verb(Model *m, const char *command)
{
    return QMP_TRY(m, "{'execute': 'job-%s', 'arguments': {'id': '%s'}}",
                   command, m->mirror.id);
}

/* By @fmt the job ends, and the guest goes on to write its source. */
#define END_BY(m, ...) \
    do { \
        ModelMirror *j_ = &(m)->mirror; \
        bool before_[MODEL_SECTORS]; \
        memcpy(before_, j_->after_may, sizeof(before_)); \
        memset(j_->after_may, 0, sizeof(j_->after_may)); \
        model_add_in_flight(m, j_->after_may); \
        if (!QMP_TRY(m, __VA_ARGS__)) { \
            model_add(j_->after_may, before_); \
        } \
    } while (0)

static void verb_cancel(Model *m, bool force)
{
    END_BY(m, CMD("block-job-cancel", "'device': '%s', 'force': %s"),
           m->mirror.id, force ? "true" : "false");
}

static void verb_complete(Model *m)
{
    const ModelMirror *j = &m->mirror;
    const Job *job = job_get(j->id);

    if (model_draw(m, 4)) {
        for (int i = model_draw(m, 300);
             i > 0 && j->used && job->status == JOB_STATUS_RUNNING; i--) {
            model_run_loop(m, 1);
        }
    }
    if (j->used) {
        END_BY(m, CMD("job-complete", "'id': '%s'"), j->id);
    }
}

static void verb_break(Model *m)
{
    const ModelMirror *j = &m->mirror;
    bool is_broken = model_draw(m, 2) && !j->commit;

    m->leaks |= is_broken;
    fault_disk_break(is_broken ? j->target : NULL);
    if (is_broken && model_draw(m, 2)) {
        model_run_loop(m, model_draw(m, 100));
        fault_disk_break(NULL);
    }
}

void model_op_mirror_verb(Model *m)
{
    const ModelMirror *j = &m->mirror;

    if (!j->used) {
        return;
    }
    switch (model_draw(m, 12)) {
    case 0:
        verb_cancel(m, model_draw(m, 2));
        break;
    case 1:
        verb(m, "pause");
        break;
    case 2:
    case 3:
        verb(m, "resume");
        break;
    case 4:
        g_free(model_qmp(m, CMD("block-job-change", "'id': '%s', 'type': "
                                "'mirror', 'copy-mode': 'write-blocking'"),
                         j->id));
        break;
    case 5:
    case 6:
        verb_break(m);
        break;
    case 7:
    case 8:
        verb(m, "finalize");
        break;
    default:
        verb_complete(m);
        break;
    }
}

/* --- the end --- */

static void set_written(Model *m)
{
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        m->bitmaps[i].written = m->bitmaps[i].used &&
            model_guest_writes(m, m->bitmaps[i].node);
    }
}

static void pivoted(Model *m)
{
    const ModelMirror *j = &m->mirror;

    m->pivots++;
    set_written(m);
    m->backup.written = false;
    if (!j->commit) {
        m->nodes[m->n_nodes++] = g_strdup(j->target);
    }
    /* The images below were opened once more. */
    m->reopen = j->existing && syncs(m, "top");
}

/* The file that drive-mirror has closed; false: it shows its source. */
static bool open_target(Model *m)
{
    const ModelMirror *j = &m->mirror;
    BlockDriverState *backing = syncs(m, "top")
        ? bdrv_backing_chain_next(bdrv_find_node(j->source)) : NULL;

    if (syncs(m, "none") && !j->existing) {
        return false;
    }
    model_add_node(m, j->target, backing ? backing->node_name : NULL);
    return true;
}

void model_mirror_noticed(Model *m, int ret)
{
    ModelMirror *j = &m->mirror;
    bool moved = model_guest_writes(m, j->target), stopped = m->stop;
    bool replaced = *j->replaces && model_quorum_has(m, j->target);
    bool shown = !j->drive || moved || replaced;

    g_assert(!(moved || replaced) || ret == 0);
    fault_disk_break(NULL);
    model_guest_stop(m);
    model_forget_closed(m);
    shown = shown || open_target(m);
    model_mirror_ended(m, ret, moved, replaced, shown);
    j->used = false;
    if (moved) {
        pivoted(m);
    } else if (replaced) {
        m->replaced++;
        model_quorum_replaced(m, j->replaces);
    } else if (!j->commit && shown) {
        delete_target(m);
    }
    model_check_all(m);
    if (!stopped) {
        model_guest_start(m);
    }
}
