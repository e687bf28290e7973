/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random commands, and their effect on the model. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "../fault/fault-disk.h"
#include "ops.h"
#include "block/dirty-bitmap.h"
#include "job/job.h"
#include "qapi/qmp-dispatch.h"

#define MAX_TURNS 500000

/* --- QMP --- */

char *model_qmp(Model *m, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    struct json_object *request, *answer, *error;
    char *desc = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdelimit(g_strdup_vprintf(fmt, ap), "'", '"');
    va_end(ap);
    request = json_tokener_parse(text);
    if (!request) {
        g_error("not JSON: %s", text);
    }
    aio_main_hold(); /* as from a monitor: ends of jobs wait */
    answer = qmp_dispatch(qmp_program_table(), request, false);
    aio_main_release();
    m->commands++;
    if (json_object_object_get_ex(answer, "error", &error)) {
        desc = g_strdup(json_object_get_string(
                            json_object_object_get(error, "desc")));
        m->refused++;
        g_assert(*desc && !strchr(desc, '\n'));
    }
    if (g_test_verbose()) {
        g_test_message("%s: %s", text, desc ? desc : "done");
    }
    json_object_put(answer);
    json_object_put(request);
    return desc;
}

void model_wait_job(Model *m, const char *id)
{
    Job *job = job_get(id);

    for (int i = 0; job->status != JOB_STATUS_CONCLUDED; i++) {
        g_assert_cmpint(i, <, MAX_TURNS);
        model_run_loop(m, 1);
    }
}

/* --- images --- */

const char *model_top(const Model *m)
{
    return m->nodes[m->n_nodes - 1];
}

void model_create_image(Model *m, const char *name, const char *base)
{
    static const int sizes[] = { 4096, 16384, 65536 };
    g_autofree char *backing = base
        ? g_strdup_printf(", 'backing-file': '%s', 'backing-fmt': 'qcow2'",
                          base) : g_strdup("");

    QMP_OK(m, CMD("blockdev-create", "'job-id': 'c', 'options': {'driver': "
                  "'file', 'filename': '%s', 'size': 0}"), name);
    model_wait_job(m, "c");
    QMP_OK(m, CMD("job-dismiss", "'id': 'c'"));
    QMP_OK(m, CMD("blockdev-add", "'driver': 'file', 'node-name': 'cf', "
                  "'filename': '%s'"), name);
    QMP_OK(m, CMD("blockdev-create", "'job-id': 'c', 'options': {'driver': "
                  "'qcow2', 'file': 'cf', 'size': %d, 'cluster-size': %d%s}"),
           (int)MODEL_BYTES, sizes[model_draw(m, 3)], backing);
    model_wait_job(m, "c");
    QMP_OK(m, CMD("job-dismiss", "'id': 'c'"));
    QMP_OK(m, CMD("blockdev-del", "'node-name': 'cf'"));
}

void model_add_node(Model *m, const char *name, const char *backing)
{
    g_autofree char *ref = backing
        ? g_strdup_printf("'%s'", backing) : g_strdup("null");

    QMP_OK(m, CMD("blockdev-add", "'driver': 'qcow2', 'node-name': '%s', "
                  "'discard': 'unmap', 'backing': %s, 'file': {'driver': "
                  "'file', 'filename': '%s', 'node-name': '%s-file'}"),
           name, ref, name, name);
}

static void attach_guest(Model *m)
{
    m->guest = blk_new_with_bs(bdrv_find_node(model_top(m)),
                               BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                               BLK_PERM_ALL, &error_abort);
}

/* --- bitmaps --- */

ModelBitmap *model_pick_bitmap(Model *m)
{
    ModelBitmap *b = &m->bitmaps[model_draw(m, MODEL_BITMAPS)];

    return b->used ? b : NULL;
}

void model_add_in_flight(const Model *m, bool *may)
{
    for (int i = 0; i < MODEL_WRITERS; i++) {
        const ModelWriter *w = &m->writers[i];

        memset(may + w->sector, true, w->sectors);
    }
}

/*
 * Before a command by which @b begins anew: what is written until the command
 * is over may or may not be noticed, too.
 */
static void begin_bitmap(const Model *m, ModelBitmap *b)
{
    memset(b->may, 0, sizeof(b->may));
    if (b->recording && b->written) {
        model_add_in_flight(m, b->may);
    }
}

static void may_miss(Model *m, const ModelBitmap *b)
{
    for (int i = 0; m->mirror.used && i < MODEL_WRITERS; i++) {
        m->writers[i].missed[b - m->bitmaps] = true;
    }
}

static void begun_bitmap(Model *m, ModelBitmap *b)
{
    memset(b->must, 0, sizeof(b->must));
    may_miss(m, b);
}

void model_copy_may(const ModelBitmap *b, bool *may)
{
    if (b->loose) {
        memset(may, true, sizeof(b->may));
    } else {
        memcpy(may, b->may, sizeof(b->may));
    }
}

static void op_bitmap_add(Model *m)
{
    ModelBitmap *b = &m->bitmaps[model_draw(m, MODEL_BITMAPS)];
    bool persistent = model_draw(m, 2) && !model_top_is_quorum(m);
    bool disabled = !model_draw(m, 4);
    g_autofree char *name = g_strdup_printf("b%d", m->serial++);

    if (b->used) {
        return;
    }
    *b = (ModelBitmap) {
        .used = true, .persistent = persistent, .recording = !disabled,
        .written = true,
    };
    g_strlcpy(b->name, name, sizeof(b->name));
    g_strlcpy(b->node, model_top(m), sizeof(b->node));
    begin_bitmap(m, b);
    QMP_OK(m, CMD("block-dirty-bitmap-add", "'node': '%s', 'name': '%s', "
                  "'granularity': %d, 'persistent': %s, 'disabled': %s"),
           model_top(m), name, 512 << model_draw(m, 8),
           persistent ? "true" : "false", disabled ? "true" : "false");
    begun_bitmap(m, b);
}

static bool bitmap_command(Model *m, const char *command, ModelBitmap *b)
{
    bool ok = QMP_TRY(m, "{'execute': 'block-dirty-bitmap-%s', 'arguments': "
                      "{'node': '%s', 'name': '%s'}}", command, b->node,
                      b->name);

    /* The guest's image is writable; those below it are not. */
    g_assert(!ok || !b->busy);
    g_assert(ok || b->busy || !b->written);
    return ok;
}

static void op_bitmap_remove(Model *m)
{
    ModelBitmap *b = model_pick_bitmap(m);

    if (b && bitmap_command(m, "remove", b)) {
        b->used = false;
    }
}

static void op_bitmap_clear(Model *m)
{
    ModelBitmap *b = model_pick_bitmap(m), old;

    if (!b) {
        return;
    }
    old = *b;
    begin_bitmap(m, b);
    if (bitmap_command(m, "clear", b)) {
        begun_bitmap(m, b);
    } else {
        for (int i = 0; i < MODEL_SECTORS; i++) {
            b->may[i] |= old.may[i];
        }
    }
}

static void op_bitmap_toggle(Model *m)
{
    ModelBitmap *b = model_pick_bitmap(m);

    ModelBitmap old;
    bool enable;

    /* Where nothing is written it is done, but not stored. */
    if (!b || !b->written) {
        return;
    }
    /* Writes that end during the command may be recorded, or not. */
    old = *b;
    enable = !b->recording;
    b->recording = enable;
    if (enable) {
        model_add_in_flight(m, b->may);
    }
    if (!bitmap_command(m, enable ? "enable" : "disable", b)) {
        b->recording = !enable;
    } else if (enable) {
        memcpy(b->must, old.must, sizeof(b->must));
        may_miss(m, b);
    }
}

static void op_bitmap_merge(Model *m)
{
    ModelBitmap *to = model_pick_bitmap(m), *from = model_pick_bitmap(m);
    bool before[MODEL_SECTORS];
    BdrvDirtyBitmap *bitmap;
    const HBitmap *bits;
    int n;

    if (!to || !from || to == from || strcmp(to->node, from->node)) {
        return;
    }
    /* Writes go on while the command stores the bitmap. */
    memcpy(before, from->must, sizeof(before));
    if (!QMP_TRY(m, CMD("block-dirty-bitmap-merge", "'node': '%s', "
                        "'target': '%s', 'bitmaps': ['%s']"),
                 to->node, to->name, from->name)) {
        g_assert(to->busy || from->busy || !to->written);
        return;
    }
    g_assert(!to->busy && !from->busy);
    to->loose |= from->loose;
    /* Merging widens to the granules of the source. */
    bitmap = bdrv_dirty_bitmap_find(bdrv_find_node(from->node), from->name);
    bits = bdrv_dirty_bitmap_hbitmap(bitmap);
    n = hbitmap_granularity(bits) / MODEL_SECTOR;
    for (int i = 0; i < MODEL_SECTORS; i++) {
        to->must[i] |= before[i];
        to->may[i] |= from->may[i] ||
                      memchr(from->may + i / n * n, true,
                             MIN(n, MODEL_SECTORS - i / n * n)) != NULL;
    }
}

/* --- the chain --- */

/* A mirror has given the guest another disk, and has not been noticed yet. */
static bool guest_has_moved(const Model *m)
{
    return !model_guest_writes(m, model_top(m));
}

static void op_snapshot(Model *m)
{
    g_autofree char *name = g_strdup_printf("i%d", m->serial++);

    if (m->n_nodes >= MODEL_IMAGES) {
        return;
    }
    model_create_image(m, name, model_top(m));
    model_add_node(m, name, NULL);
    if (guest_has_moved(m)) {
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), name);
        return;
    }
    if (!QMP_TRY(m, CMD("blockdev-snapshot", "'node': '%s', 'overlay': "
                        "'%s'"), model_top(m), name)) {
        g_assert(m->job || m->backup.used || m->mirror.used);
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), name);
        return;
    }
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        m->bitmaps[i].written = false;
    }
    m->backup.written = false;
    m->nodes[m->n_nodes++] = g_steal_pointer(&name);
}

static void op_stream(Model *m)
{
    g_autofree char *id = g_strdup_printf("s%d", m->serial++);

    if (m->job || m->n_nodes < 2) {
        return;
    }
    if (QMP_TRY(m, CMD("block-stream", "'job-id': '%s', 'device': '%s', "
                       "'auto-dismiss': false, 'speed': %d"), id, model_top(m),
                model_draw(m, 2) ? 0 : 1 << 20)) {
        m->job = g_steal_pointer(&id);
    }
}

static void op_commit(Model *m)
{
    g_autofree char *id = g_strdup_printf("k%d", m->serial++);
    int base, upper;

    if (m->job || m->n_nodes < 3) {
        return;
    }
    upper = 1 + model_draw(m, m->n_nodes - 2);
    base = model_draw(m, upper);
    if (QMP_TRY(m, CMD("block-commit", "'job-id': '%s', 'device': '%s', "
                       "'top-node': '%s', 'base-node': '%s', 'auto-dismiss': "
                       "false, 'speed': %d"), id, model_top(m), m->nodes[upper],
                m->nodes[base], model_draw(m, 2) ? 0 : 1 << 20)) {
        m->job = g_steal_pointer(&id);
        for (int i = 0; i < MODEL_BITMAPS; i++) {
            m->bitmaps[i].loose |= !strcmp(m->bitmaps[i].node,
                                           m->nodes[base]);
        }
    }
}

/* False: a backup that was begun before a snapshot still has a bitmap of it. */
static bool remove_node(Model *m, const char *name)
{
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        if (m->bitmaps[i].used && m->bitmaps[i].busy &&
            !strcmp(m->bitmaps[i].node, name)) {
            g_assert_false(QMP_TRY(m, CMD("blockdev-del", "'node-name': '%s'"),
                                   name));
            return false;
        }
    }
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        if (!strcmp(m->bitmaps[i].node, name)) {
            m->bitmaps[i].used = false;
        }
    }
    if (bdrv_find_node(name)) {
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), name);
    }
    if (m->quorum.used && !strcmp(m->quorum.name, name)) {
        model_quorum_left(m);
    }
    return true;
}

/* Is @bs in the chain of one of the @n nodes @above? */
static bool is_below(BlockDriverState *bs, char *const *above, int n)
{
    for (int i = 0; i < n; i++) {
        BlockDriverState *other = bdrv_find_node(above[i]);

        if (other && bdrv_chain_contains(other, bs)) {
            return true;
        }
    }
    return false;
}

/* After a job the chain may be shorter; nodes that left it are removed, those
 * that have others below them first.  A backup may still use one. */
static void refresh_chain(Model *m)
{
    char *kept[MODEL_IMAGES + 1];
    int n = 0;

    for (int i = m->n_nodes - 1; i >= 0; i--) {
        BlockDriverState *bs = bdrv_find_node(m->nodes[i]);

        if ((bs && bdrv_chain_contains(blk_bs(m->guest), bs)) ||
            (bs && is_below(bs, kept, n)) ||
            !remove_node(m, m->nodes[i])) {
            kept[n++] = m->nodes[i];
        } else {
            g_free(m->nodes[i]);
        }
    }
    m->n_nodes = n;
    for (int i = 0; i < n; i++) {
        m->nodes[i] = kept[n - 1 - i];
    }
}

/* The top image, with other flags. */
static void op_reopen(Model *m)
{
    const BlockDriverState *bs = bdrv_find_node(model_top(m));
    g_autofree char *backing = NULL;

    if (m->job || m->mirror.used || model_top_is_quorum(m)) {
        return; /* its filter below the image has no name to be given */
    }
    backing = bs->backing
        ? g_strdup_printf("'backing': '%s', ", bs->backing->bs->node_name)
        : g_strdup("");
    QMP_OK(m, CMD("blockdev-reopen", "'options': [{'driver': 'qcow2', "
                  "'node-name': '%s', 'discard': '%s', 'cache': "
                  "{'no-flush': %s}, 'lazy-refcounts': %s, "
                  "%s'file': '%s'}]"),
           model_top(m), model_draw(m, 2) ? "unmap" : "ignore",
           model_draw(m, 4) ? "false" : "true",
           model_draw(m, 2) ? "true" : "false", backing,
           bs->file->bs->node_name);
}

/* Adds and removes a throttle node without users.  A mirror that ends meanwhile
 * would leave its source to it. */
static void op_throttle(Model *m)
{
    g_autofree char *id = g_strdup_printf("t%d", m->serial++);

    if (m->mirror.used) {
        return;
    }
    if (!QMP_TRY(m, CMD("object-add", "'qom-type': 'throttle-group', 'id': "
                        "'%s', 'x-iops-total': 1000"), id)) {
        return;
    }
    QMP_OK(m, CMD("blockdev-add", "'driver': 'throttle', 'node-name': "
                  "'%s-node', 'throttle-group': '%s', 'file': '%s'"), id, id,
           model_top(m));
    model_run_loop(m, 20);
    QMP_OK(m, CMD("blockdev-del", "'node-name': '%s-node'"), id);
    QMP_OK(m, CMD("object-del", "'id': '%s'"), id);
}

/* --- backups --- */

const char *const model_mode_names[] = {
    [BITMAP_SYNC_MODE_ON_SUCCESS] = "on-success",
    [BITMAP_SYNC_MODE_NEVER] = "never",
    [BITMAP_SYNC_MODE_ALWAYS] = "always",
};

static void fill_backup(Model *m, ModelBackup *j)
{
    j->used = true;
    memcpy(j->start, m->disk, sizeof(j->start));
    memset(j->since_must, 0, sizeof(j->since_must));
    memset(j->since_may, 0, sizeof(j->since_may));
    model_add_in_flight(m, j->since_may);
    if (j->bitmap) {
        j->bitmap->busy = true;
        memcpy(j->must, j->bitmap->must, sizeof(j->must));
        model_copy_may(j->bitmap, j->may);
    }
}

static void op_backup(Model *m)
{
    g_autofree char *target = g_strdup_printf("target%d", m->serial++);
    ModelBackup *j = &m->backup;
    ModelBitmap *b;
    g_autofree char *with = NULL;
    const char *sync = "full";
    bool ok;

    if (j->used) {
        return;
    }
    model_create_image(m, target, NULL);
    model_add_node(m, target, NULL);
    b = model_pick_bitmap(m);
    if (b && (b->busy || !b->written)) {
        b = NULL;
    }
    *j = (ModelBackup) { .bitmap = b, .whole = true, .written = true };
    if (b) {
        j->mode = model_draw(m, 3);
        j->selects = j->mode == BITMAP_SYNC_MODE_NEVER || model_draw(m, 3);
        j->whole = !j->selects;
        sync = j->selects ? "bitmap" : "full";
        with = g_strdup_printf(", 'bitmap': '%s', 'bitmap-mode': '%s', "
                               "'allow-other-target': true", b->name,
                               model_mode_names[j->mode]);
    }
    g_snprintf(j->id, sizeof(j->id), "j%d", m->serial);
    g_strlcpy(j->target, target, sizeof(j->target));
    /* The moment: what was begun is over, nothing else is begun. */
    bdrv_drain_all_begin();
    ok = !guest_has_moved(m) &&
         QMP_TRY(m, CMD("blockdev-backup", "'job-id': '%s', 'device': '%s', "
                        "'target': '%s', 'sync': '%s', 'auto-dismiss': false, "
                        "'speed': %d, 'x-perf': {'checkpoint-interval': %d}%s"),
                 j->id, model_top(m), j->target, sync,
                 model_draw(m, 2) ? 0 : 1 << 20, model_draw(m, 2),
                 with ? with : "");
    if (ok) {
        fill_backup(m, j);
    }
    bdrv_drain_all_end();
    if (!ok) {
        g_assert(m->job || m->mirror.used);
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), j->target);
    }
}

/* A snapshot is read while the guest overwrites what it shows. */
static void op_fleece(Model *m)
{
    g_autofree char *id = g_strdup_printf("f%d", m->serial++);
    uint8_t start[MODEL_SECTORS];
    bool ok;

    if (m->backup.used || m->job || m->mirror.used) {
        return;
    }
    model_create_image(m, id, NULL);
    model_add_node(m, id, NULL);
    bdrv_drain_all_begin();
    memcpy(start, m->disk, sizeof(start));
    ok = QMP_TRY(m, CMD("blockdev-backup", "'job-id': '%s', 'device': '%s', "
                        "'target': '%s', 'sync': 'none', 'auto-dismiss': "
                        "false, 'filter-node-name': '%s-filter'"), id,
                 model_top(m), id, id);
    bdrv_drain_all_end();
    g_assert_true(ok);
    QMP_OK(m, CMD("blockdev-add", "'driver': 'snapshot-access', 'file': "
                  "'%s-filter', 'node-name': '%s-shown'"), id, id);
    for (int i = 0; i < 3; i++) {
        g_autofree char *shown = g_strdup_printf("%s-shown", id);

        model_run_loop(m, model_draw(m, 60));
        model_check_node(shown, start);
    }
    QMP_OK(m, CMD("blockdev-del", "'node-name': '%s-shown'"), id);
    QMP_OK(m, CMD("job-cancel", "'id': '%s'"), id);
    model_wait_job(m, id);
    QMP_OK(m, CMD("job-dismiss", "'id': '%s'"), id);
    QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), id);
}

/* --- jobs --- */

/* NULL: the one that was drawn does not exist. */
static const char *pick_job(Model *m)
{
    switch (model_draw(m, 3)) {
    case 0:
        return m->backup.used ? m->backup.id : NULL;
    case 1:
        return m->mirror.used ? m->mirror.id : NULL;
    default:
        return m->job;
    }
}

static void op_cancel(Model *m)
{
    const char *id = model_draw(m, 2) ? m->job
        : m->backup.used ? m->backup.id : m->job;

    if (id) {
        g_free(model_qmp(m, CMD("job-cancel", "'id': '%s'"), id));
    }
}

static void op_speed(Model *m)
{
    const char *id = pick_job(m);

    if (id) {
        g_free(model_qmp(m, CMD("block-job-set-speed", "'device': '%s', "
                                "'speed': %d"), id,
                         model_draw(m, 2) ? 0 : 1 << 21));
    }
}

static void op_pause(Model *m)
{
    g_autofree char *id = g_strdup(pick_job(m)); /* it may end */

    if (id && QMP_TRY(m, CMD("job-pause", "'id': '%s'"), id)) {
        model_run_loop(m, model_draw(m, 100));
        if (job_get(id)) {
            g_free(model_qmp(m, CMD("job-resume", "'id': '%s'"), id));
        }
    }
}

static bool concluded(const char *id, int *ret)
{
    Job *job = job_get(id);

    if (!job || job->status != JOB_STATUS_CONCLUDED) {
        return false;
    }
    *ret = job->ret;
    job_dismiss(&job, &error_abort);
    return true;
}

static void notice_jobs(Model *m)
{
    bool changed = false;
    int ret;

    if (m->backup.used && concluded(m->backup.id, &ret)) {
        model_backup_ended(m, ret);
        QMP_OK(m, CMD("blockdev-del", "'node-name': '%s'"), m->backup.target);
        changed = true;
    }
    if (m->job && concluded(m->job, &ret)) {
        g_clear_pointer(&m->job, g_free);
        changed = true;
    }
    if (m->mirror.used && concluded(m->mirror.id, &ret)) {
        model_mirror_noticed(m, ret);
        changed = true;
    }
    if (changed && !m->job && !m->mirror.used && !m->reopen) {
        refresh_chain(m);
    }
}

/* A turn of any thread counts. */
void model_run_loop(Model *m, int turns)
{
    aio_wait_begin();
    for (int i = 0; i < turns; i++) {
        aio_poll(aio_main_context(), true);
        notice_jobs(m);
    }
    aio_wait_end();
}

static void end_jobs(Model *m)
{
    for (int i = 0; m->job || m->backup.used || m->mirror.used; i++) {
        g_assert_cmpint(i, <, MAX_TURNS);
        if (i == 0) {
            for (Job *job = job_next(NULL); job; job = job_next(job)) {
                job_user_cancel(job, true, NULL);
            }
        }
        notice_jobs(m);
        if (m->job || m->backup.used || m->mirror.used) {
            model_run_loop(m, 1);
        }
    }
}

/* --- the whole --- */

static void open_image(Model *m, int i)
{
    if (i == 0 && m->quorum.used) {
        model_quorum_open(m);
    } else {
        model_add_node(m, m->nodes[i], i ? m->nodes[i - 1] : NULL);
    }
}

void model_begin(Model *m)
{
    m->n_nodes = 1;
    if (!model_draw(m, 3)) {
        model_quorum_create(m);
        m->nodes[0] = g_strdup(m->quorum.name);
    } else {
        m->nodes[0] = g_strdup_printf("i%d", m->serial++);
        model_create_image(m, m->nodes[0], NULL);
    }
    open_image(m, 0);
    attach_guest(m);
    model_guest_start(m);
}

static void close_all(Model *m)
{
    model_guest_stop(m);
    end_jobs(m);
    model_check_all(m);
    m->reopen = false;
    blk_unref(g_steal_pointer(&m->guest));
    bdrv_close_all();
    g_assert_null(bdrv_next_node(NULL));
}

static void check_image(const Model *m, const char *name)
{
    BdrvCheckResult result = { 0 };
    BlockDriverState *bs =
        bdrv_open_file(name, "qcow2", BDRV_O_CHECK | BDRV_O_NO_BACKING,
                       &error_abort);

    g_assert_cmpint(bdrv_check(bs, &result, 0), ==, 0);
    g_assert_cmpint(result.corruptions, ==, 0);
    g_assert_cmpint(result.check_errors, ==, 0);
    g_assert(result.leaks == 0 || m->leaks);
    bdrv_unref(bs);
}

static void check_images(Model *m)
{
    for (int i = m->quorum.used; i < m->n_nodes; i++) {
        check_image(m, m->nodes[i]);
    }
    for (int i = 0; m->quorum.used && i < m->quorum.n; i++) {
        check_image(m, m->quorum.children[i]);
    }
}

void model_restart(Model *m)
{
    close_all(m);
    check_images(m);
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        m->bitmaps[i].used &= m->bitmaps[i].persistent;
    }
    for (int i = 0; i < m->n_nodes; i++) {
        open_image(m, i);
    }
    attach_guest(m);
    model_check_all(m);
    model_guest_start(m);
}

void model_end(Model *m)
{
    close_all(m);
    check_images(m);
    for (int i = 0; i < m->n_nodes; i++) {
        g_free(m->nodes[i]);
    }
    fault_disks_clear();
}

/* The disk, and all that is connected with it, goes to another thread. */
static void op_move(Model *m)
{
    if (m->n_contexts) {
        bdrv_try_set_aio_context(blk_bs(m->guest),
                                 m->contexts[model_draw(m, m->n_contexts)],
                                 &error_abort);
    }
}

/* How often each is drawn. */
static const struct {
    int weight;
    void (*fn)(Model *m);
} ops[] = {
    { 6, op_bitmap_add },   { 2, op_bitmap_remove }, { 2, op_bitmap_clear },
    { 2, op_bitmap_toggle }, { 3, op_bitmap_merge },  { 2, op_snapshot },
    { 2, op_stream },       { 2, op_commit },        { 6, op_backup },
    { 2, op_cancel },       { 2, op_speed },         { 2, op_pause },
    { 1, op_throttle },     { 1, op_reopen },        { 1, op_fleece },
    { 4, op_move },         { 5, model_op_mirror },
    { 2, model_op_active_commit }, { 16, model_op_mirror_verb },
    { 6, model_op_quorum },
};

void model_step(Model *m)
{
    int total = 0, at;

    notice_jobs(m);
    if (m->reopen) {
        model_restart(m);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(ops); i++) {
        total += ops[i].weight;
    }
    at = model_draw(m, total);
    for (size_t i = 0; i < G_N_ELEMENTS(ops); i++) {
        at -= ops[i].weight;
        if (at < 0) {
            ops[i].fn(m);
            break;
        }
    }
    notice_jobs(m);
    model_run_loop(m, model_draw(m, 60));
    if (!model_draw(m, 25)) {
        model_restart(m);
    } else if (!model_draw(m, 10)) {
        model_guest_stop(m);
        model_check_all(m);
        model_guest_start(m);
    }
}
