/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Losses of power during transactions over the bitmaps of several images: what
 * bitmaps.h says of one image holds for each of them.  A transaction that was
 * not answered may be in effect on some nodes, and not on others; one that
 * failed is in effect on none.
 *
 * All happens one after the other.  For each event there is the state after it:
 * which bitmaps there are, and what they must have.
 */
#include "crash.h"

#include <json-c/json.h>

#include "block/dirty-bitmap.h"
#include "block/qcow2/bitmap-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qmp-dispatch.h"

extern const BlockDriver bdrv_raw;

const BlockDriver *const bdrv_drivers[] = {
    &crash_recorder, &bdrv_raw, &bdrv_qcow2, NULL,
};

#define NODES 3
#define BITMAPS 2
#define SIZE (INT64_C(512) * KiB)
#define GRANULE (4 * KiB)
#define UNITS (SIZE / GRANULE)
#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

/* The one command that belongs to the program. */
bool qmp_quit(Error **errp)
{
    error_setg(errp, "There is no program to quit");
    return false;
}

typedef struct Bitmap {
    bool there;
    uint8_t must[UNITS];
} Bitmap;

typedef struct State {
    CrashTime start, end; /* of the event that led to it */
    int node, unit;       /* a write there; node -1: a command */
    uint8_t value;        /* of the write */
    Bitmap bitmaps[NODES][BITMAPS];
} State;

typedef struct Nodes {
    CrashRun *run;
    GArray *states; /* of State */
    State now;
    BlockBackend *blk[NODES];
    GString *actions; /* of the next transaction */
} Nodes;

static int draw(Nodes *n, int limit)
{
    return g_rand_int_range(n->run->rand, 0, limit);
}

/* --- events --- */

/* @node -1: a command. */
static void begin_event(Nodes *n, int node, int unit)
{
    n->now.node = node;
    n->now.unit = unit;
    n->now.value = n->now.value % 250 + 1;
    n->now.start = crash_log_tick(n->run->log);
}

static void end_event(Nodes *n)
{
    n->now.end = crash_log_tick(n->run->log);
    g_array_append_val(n->states, n->now);
}

static void write_somewhere(Nodes *n)
{
    int node = draw(n, NODES), unit = draw(n, UNITS);
    uint8_t data[CRASH_SECTOR];

    begin_event(n, node, unit);
    memset(data, n->now.value, sizeof(data));
    for (int b = 0; b < BITMAPS; b++) {
        n->now.bitmaps[node][b].must[unit] = n->now.bitmaps[node][b].there;
    }
    g_assert_cmpint(blk_pwrite(n->blk[node], unit * GRANULE, sizeof(data),
                               data, 0), ==, 0);
    if (draw(n, 4) == 0) {
        blk_flush(n->blk[node]);
    }
    end_event(n);
}

/* --- transactions --- */

static bool qmp(const char *text)
{
    g_autofree char *json = g_strdelimit(g_strdup(text), "'", '"');
    struct json_object *request = json_tokener_parse(json), *answer;
    bool ok;

    g_assert_nonnull(request);
    aio_main_hold();
    answer = qmp_dispatch(qmp_program_table(), request, false);
    aio_main_release();
    ok = !json_object_object_get_ex(answer, "error", NULL);
    if (g_test_verbose()) {
        g_test_message("%u: %s: %s", crash_machine->log->now, text,
                       json_object_get_string(answer));
    }
    json_object_put(answer);
    json_object_put(request);
    return ok;
}

static void add_action(Nodes *n, const char *kind, int node, const char *more)
{
    g_string_append_printf(n->actions, "%s{'type': '%s', 'data': {'node': "
                           "'node%d', %s}}", n->actions->len ? ", " : "", kind,
                           node, more);
}

/* One for a bitmap of @node; changes the model. */
static void draw_action(Nodes *n, int node)
{
    int b = draw(n, BITMAPS);
    Bitmap *bitmap = &n->now.bitmaps[node][b];
    const Bitmap *other = &n->now.bitmaps[node][!b];
    g_autofree char *name = g_strdup_printf("'name': 'b%d'", b);

    if (!bitmap->there) {
        g_autofree char *more = g_strdup_printf(
            "%s, 'persistent': true, 'granularity': %d", name, (int)GRANULE);

        add_action(n, "block-dirty-bitmap-add", node, more);
        memset(bitmap->must, 0, UNITS);
        bitmap->there = true;
    } else if (other->there && draw(n, 3) == 0) {
        g_autofree char *more = g_strdup_printf(
            "'target': 'b%d', 'bitmaps': ['b%d']", b, !b);

        add_action(n, "block-dirty-bitmap-merge", node, more);
        for (int i = 0; i < UNITS; i++) {
            bitmap->must[i] |= other->must[i];
        }
    } else if (draw(n, 4)) {
        add_action(n, "block-dirty-bitmap-clear", node, name);
        memset(bitmap->must, 0, UNITS);
    } else {
        add_action(n, "block-dirty-bitmap-remove", node, name);
        bitmap->there = false;
    }
}

/* @broken: the disk of the last node fails meanwhile. */
static void transaction(Nodes *n, bool fails, bool broken)
{
    g_autofree State *before = g_memdup2(&n->now, sizeof(State));
    g_autofree char *text = NULL;
    bool ok;

    begin_event(n, -1, 0);
    g_string_truncate(n->actions, 0);
    for (int node = 0; node < NODES; node++) {
        draw_action(n, node);
    }
    text = g_strdup_printf("{'execute': 'transaction', 'arguments': {'actions':"
                           " [%s%s]}}", n->actions->str,
                           fails ? ", {'type': 'abort', 'data': {}}" : "");
    n->run->machine->broken = broken ? 1U << (NODES - 1) : 0;
    ok = qmp(text);
    n->run->machine->broken = 0;
    g_assert_true(!ok || !fails);
    g_assert_true(ok || fails || broken);
    end_event(n);
    if (!ok) {
        /* Until that moment, some of it may have been in effect. */
        memcpy(n->now.bitmaps, before->bitmaps, sizeof(before->bitmaps));
        n->now.start = n->now.end;
        g_array_append_val(n->states, n->now);
    }
}

/* --- the program --- */

static void open_nodes(Nodes *n)
{
    for (int i = 0; i < NODES; i++) {
        g_autofree char *text = g_strdup_printf(
            "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', "
            "'node-name': 'node%d', 'file': {'driver': 'file', 'filename': "
            "'disk%d'}}}", i, i);
        g_autofree char *name = g_strdup_printf("node%d", i);

        g_assert_true(qmp(text));
        n->blk[i] = blk_new_with_bs(bdrv_find_node(name), PERM_RW,
                                    BLK_PERM_ALL, &error_abort);
    }
}

static void close_nodes(Nodes *n)
{
    for (int i = 0; i < NODES; i++) {
        g_autofree char *text = g_strdup_printf(
            "{'execute': 'blockdev-del', 'arguments': {'node-name': 'node%d'}}",
            i);

        blk_unref(n->blk[i]);
        g_assert_true(qmp(text));
    }
}

static void prepare(CrashRun *r)
{
    r->image.size = SIZE;
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    g_clear_pointer(&r->image.backing_file, g_free);
    r->image.has_backing_fmt = false;
    for (int i = 1; i < NODES; i++) {
        crash_create(i, &r->image);
    }
    qcow2_ahead_region = 64 * KiB;
    qcow2_ahead_max = 128 * KiB;
}

static void run(CrashRun *r)
{
    Nodes *n = r->opaque = g_new0(Nodes, 1);

    n->run = r;
    n->states = g_array_new(FALSE, FALSE, sizeof(State));
    n->actions = g_string_new("");
    crash_go_live(r, 0);
    open_nodes(n);
    begin_event(n, -1, 0);
    end_event(n);
    for (int i = 0; i < r->steps; i++) {
        if (draw(n, 3)) {
            write_somewhere(n);
        } else {
            transaction(n, draw(n, 4) == 0, draw(n, 6) == 0);
        }
    }
    close_nodes(n);
}

static void free_nodes(CrashRun *r)
{
    Nodes *n = r->opaque;

    if (n) {
        g_array_unref(n->states);
        g_string_free(n->actions, TRUE);
        g_free(n);
    }
}

/* --- after a loss --- */

/* Is what was being written on the disk? */
static bool is_written(const State *s, BlockDriverState *bs)
{
    g_autoptr(GString) why = g_string_new("");
    int64_t bytes;
    g_autofree uint8_t *data = crash_read(bs, &bytes, why);

    return data && data[s->unit * GRANULE] == s->value;
}

static bool has(const BdrvDirtyBitmap *bitmap, int unit)
{
    return hbitmap_get(bdrv_dirty_bitmap_hbitmap(bitmap), unit * GRANULE);
}

/* @after: of an event that may be in effect; NULL: there is none. */
static bool check_bitmap(const Bitmap *before, const Bitmap *after,
                         BlockDriverState *bs, const char *name, GString *why)
{
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(bs, name);
    bool must = before->there && (!after || after->there);
    bool may = before->there || (after && after->there);

    if (!bitmap) {
        if (must) {
            g_string_append_printf(why, "bitmap '%s' is lost", name);
        }
        return !must;
    }
    if (!may || bdrv_dirty_bitmap_inconsistent(bitmap)) {
        g_string_append_printf(why, "bitmap '%s' is %s", name,
                               may ? "inconsistent" : "there again");
        return false;
    }
    for (int i = 0; must && i < UNITS; i++) {
        if (before->must[i] && (!after || after->must[i]) && !has(bitmap, i)) {
            g_string_append_printf(why, "bitmap '%s' lacks unit %d", name, i);
            return false;
        }
    }
    return true;
}

static bool check_node(const State *before, const State *after, int node,
                       GString *why)
{
    Error *err = NULL;
    BlockDriverState *bs = crash_open(
        0, &err, "{'driver': 'qcow2', 'read-only': true, 'file': {'driver': "
        "'file', 'filename': 'disk%d'}}", node);
    bool ok = bs && crash_check_node(bs, why);

    if (!bs) {
        g_string_append(why, error_get_pretty(err));
        error_free(err);
    }
    for (int b = 0; ok && b < BITMAPS; b++) {
        g_autofree char *name = g_strdup_printf("b%d", b);

        ok = check_bitmap(&before->bitmaps[node][b],
                          after ? &after->bitmaps[node][b] : NULL, bs, name,
                          why);
        if (ok && after && after->node == node && is_written(after, bs) &&
            before->bitmaps[node][b].there &&
            !has(bdrv_dirty_bitmap_find(bs, name), after->unit)) {
            g_string_append_printf(why, "bitmap '%s' lacks a write", name);
            ok = false;
        }
    }
    if (!ok) {
        g_string_append_printf(why, " (node%d)", node);
    }
    bdrv_unref(bs);
    return ok;
}

static bool check(CrashRun *r, CrashTime cut, GString *why)
{
    const Nodes *n = r->opaque;
    const State *before = NULL, *after = NULL;

    for (guint i = 0; i < n->states->len; i++) {
        const State *s = &g_array_index(n->states, State, i);

        if (s->end <= cut) {
            before = s;
        } else if (s->start <= cut) {
            after = s;
        }
    }
    for (int node = 0; before && node < NODES; node++) {
        if (!check_node(before, after, node, why)) {
            return false;
        }
    }
    return true;
}

static const CrashProgram program = {
    .name = "nodes", .prepare = prepare, .run = run, .check = check,
    .free = free_nodes, .seeds = 30, .budget = 200, .steps = 20,
};

static void add(void)
{
    crash_add(&program);
}

int main(int argc, char **argv)
{
    qmp_set_program_table(&qmp_command_table);
    return crash_main(argc, argv, add);
}
