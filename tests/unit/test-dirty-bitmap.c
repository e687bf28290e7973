/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps: all entries of the tables of states, and random operations on
 * bitmaps compared with naive ones.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"
#include "block/io.h"
#include "qapi/qapi-types-block-bitmap.h"

#define MAX_SIZE (1 * MiB)
#define UNIT 512

/* --- a driver that is only a size --- */

static int64_t disk_size = MAX_SIZE;

static int size_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    return 0;
}

static int64_t size_getlength(BlockDriverState *bs)
{
    return disk_size;
}

/* What the next change of size comes to. */
static int truncate_error;

static int coroutine_fn size_co_truncate(BlockDriverState *bs, int64_t offset,
                                         bool exact, PreallocMode prealloc,
                                         BdrvRequestFlags flags, Error **errp)
{
    if (truncate_error) {
        error_setg(errp, "told to fail");
        return truncate_error;
    }
    disk_size = offset;
    return 0;
}

/* Past the end it grows, or fails. */
static int coroutine_fn size_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset,
                                        BdrvRequestFlags flags)
{
    if (truncate_error) {
        return truncate_error;
    }
    disk_size = MAX(disk_size, offset + bytes);
    return 0;
}

static bool size_has_zero_init(BlockDriverState *bs)
{
    return true;
}

static const BlockDriver size_driver = {
    .format_name = "null-co",
    .has_zero_init = size_has_zero_init,
    .open = size_open,
    .getlength = size_getlength,
    .co_truncate = size_co_truncate,
    .co_pwritev = size_co_pwritev,
};

const BlockDriver *const bdrv_drivers[] = { &size_driver, NULL };

static BlockDriverState *open_disk(const char *name)
{
    g_autofree char *node = g_strdup(name);
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_NULL_CO,
        .node_name = node,
    };

    return bdrv_open(&options, 0, &error_abort);
}

/* --- the tables --- */

/* A bitmap as several flags, each of which follows its own simple rule. */
typedef struct Flags {
    bool disabled, frozen, locked, readonly, bad;
} Flags;

static const struct {
    BdrvBitmapState state;
    Flags flags;
} states[] = {
    { BDRV_BITMAP_ACTIVE, { 0 } },
    { BDRV_BITMAP_DISABLED, { .disabled = true } },
    { BDRV_BITMAP_FROZEN, { .frozen = true } },
    { BDRV_BITMAP_FROZEN_DISABLED, { .frozen = true, .disabled = true } },
    { BDRV_BITMAP_LOCKED, { .locked = true } },
    { BDRV_BITMAP_LOCKED_DISABLED, { .locked = true, .disabled = true } },
    { BDRV_BITMAP_READONLY, { .readonly = true } },
    { BDRV_BITMAP_READONLY_DISABLED, { .readonly = true, .disabled = true } },
    { BDRV_BITMAP_READONLY_LOCKED, { .readonly = true, .locked = true } },
    { BDRV_BITMAP_READONLY_LOCKED_DISABLED,
      { .readonly = true, .locked = true, .disabled = true } },
    { BDRV_BITMAP_INCONSISTENT, { .bad = true, .disabled = true } },
    { BDRV_BITMAP_INCONSISTENT_LOCKED,
      { .bad = true, .disabled = true, .locked = true } },
    { BDRV_BITMAP_INCONSISTENT_READONLY,
      { .bad = true, .disabled = true, .readonly = true } },
};

G_STATIC_ASSERT(ARRAY_SIZE(states) == BDRV_BITMAP__MAX);

/* What an event does to flags; false: it cannot happen. */
static bool flags_event(Flags *f, BdrvBitmapEvent event)
{
    bool busy = f->frozen || f->locked;

    switch (event) {
    case BDRV_BITMAP_EVENT_ENABLE:
    case BDRV_BITMAP_EVENT_DISABLE:
        f->disabled = event == BDRV_BITMAP_EVENT_DISABLE;
        return !busy && !f->bad;
    case BDRV_BITMAP_EVENT_FREEZE:
        f->frozen = true;
        return !busy && !f->bad && !f->readonly;
    case BDRV_BITMAP_EVENT_THAW:
        f->frozen = false;
        return busy && !f->locked;
    case BDRV_BITMAP_EVENT_LOCK:
        f->locked = true;
        return !busy && !(f->bad && f->readonly);
    case BDRV_BITMAP_EVENT_UNLOCK:
        f->locked = false;
        return busy && !f->frozen;
    case BDRV_BITMAP_EVENT_READONLY:
        f->readonly = true;
        return !busy;
    case BDRV_BITMAP_EVENT_WRITABLE:
        f->readonly = false;
        return true;
    default:
        f->bad = f->disabled = true;
        return !busy && !f->readonly;
    }
}

static int state_of(Flags f)
{
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        if (!memcmp(&states[i].flags, &f, sizeof(f))) {
            return states[i].state;
        }
    }
    return -1;
}

/* An event that changes nothing may be in the table or not. */
static void test_transitions(void)
{
    int possible = 0;

    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        for (int event = 0; event < BDRV_BITMAP_EVENT__MAX; event++) {
            BdrvBitmapState to;
            Flags f = states[i].flags;
            bool can = flags_event(&f, event);
            bool ok = bdrv_bitmap_transition(states[i].state, event, &to);

            possible += ok;
            if (ok) {
                g_assert_true(can);
                g_assert_cmpint(to, ==, state_of(f));
            } else if (can) {
                g_assert_cmpint(state_of(f), ==, states[i].state);
            }
        }
    }
    g_assert_cmpint(possible, ==, 32);
}

/* What a state forbids, said another way than by the table. */
static bool may(Flags f, BdrvBitmapOp op)
{
    bool changes = op == BDRV_BITMAP_OP_REMOVE ||
                   op == BDRV_BITMAP_OP_CLEAR ||
                   op == BDRV_BITMAP_OP_MERGE_TARGET ||
                   op == BDRV_BITMAP_OP_MIGRATE ||
                   op == BDRV_BITMAP_OP_JOB;

    if (op == BDRV_BITMAP_OP_HASH) {
        return true; /* a look at it harms nothing */
    }
    if (f.frozen || f.locked || (f.readonly && changes)) {
        return false;
    }
    return !f.bad || op == BDRV_BITMAP_OP_REMOVE;
}

/* The order in which reasons are given. */
static const char *reason(Flags f, BdrvBitmapOp op)
{
    if (f.frozen || f.locked) {
        return "is currently in use";
    }
    if (f.readonly && !may((Flags) { .readonly = true }, op)) {
        return "is readonly";
    }
    return "is inconsistent";
}

static void put_into(BdrvDirtyBitmap *b, Flags f)
{
    if (f.bad) {
        bdrv_dirty_bitmap_set_inconsistent(b, BITMAP_INCONSISTENCY_CRASH);
    } else if (f.disabled) {
        bdrv_dirty_bitmap_disable(b);
    }
    if (f.readonly) {
        bdrv_dirty_bitmap_set_readonly(b, true);
    }
    if (f.frozen) {
        bdrv_dirty_bitmap_freeze(b, &error_abort);
    } else if (f.locked) {
        bdrv_dirty_bitmap_set_busy(b, true);
    }
}

static void take_out(BdrvDirtyBitmap *b, Flags f)
{
    if (f.frozen) {
        bdrv_dirty_bitmap_reclaim(b);
    } else if (f.locked) {
        bdrv_dirty_bitmap_set_busy(b, false);
    }
    bdrv_dirty_bitmap_release(b);
}

static void check_facts(BlockDriverState *bs, BdrvDirtyBitmap *b, Flags f)
{
    g_assert_cmpint(bdrv_node(bs)->bitmaps.recording, ==, !f.disabled);
    g_assert_cmpint(bdrv_dirty_bitmap_recording(b), ==, !f.disabled);
    g_assert_cmpint(bdrv_dirty_bitmap_enabled(b), ==, !f.disabled);
    g_assert_cmpint(bdrv_dirty_bitmap_busy(b), ==, f.frozen || f.locked);
    g_assert_cmpint(bdrv_dirty_bitmap_has_successor(b), ==, f.frozen);
    g_assert_cmpint(bdrv_dirty_bitmap_readonly(b), ==, f.readonly);
    g_assert_cmpint(bdrv_dirty_bitmap_inconsistent(b), ==, f.bad);
}

static void test_operations(void)
{
    BlockDriverState *bs = open_disk("disk");

    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        BdrvDirtyBitmap *b = bdrv_dirty_bitmap_new(bs, 4096, "the-name",
                                                   &error_abort);
        Flags f = states[i].flags;

        put_into(b, f);
        g_assert_cmpint(bdrv_dirty_bitmap_state(b), ==, states[i].state);
        check_facts(bs, b, f);
        for (int op = 0; op < BDRV_BITMAP_OP__MAX; op++) {
            g_autoptr(Error) err = NULL;
            bool ok = bdrv_dirty_bitmap_check(b, op, &err);

            g_assert_cmpint(ok, ==, may(f, op));
            g_assert_cmpint(!ok, ==, err != NULL);
            g_assert_true(ok || strstr(error_get_pretty(err), "the-name"));
            g_assert_true(ok || strstr(error_get_pretty(err), reason(f, op)));
        }
        take_out(b, f);
        g_assert_cmpint(bdrv_node(bs)->bitmaps.recording, ==, 0);
    }
    bdrv_unref(bs);
}

/* --- names and granularities --- */

static void refused(BlockDriverState *bs, uint64_t granularity,
                    const char *name)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(bdrv_dirty_bitmap_new(bs, granularity, name, &err));
    g_assert_nonnull(err);
}

static void test_new(void)
{
    BlockDriverState *bs = open_disk("disk");
    g_autofree char *longest = g_strnfill(BDRV_BITMAP_MAX_NAME, 'x');
    g_autofree char *longer = g_strnfill(BDRV_BITMAP_MAX_NAME + 1, 'x');
    BdrvDirtyBitmap *b = bdrv_dirty_bitmap_new(bs, 512, longest, &error_abort);
    BdrvDirtyBitmap *anon = bdrv_dirty_bitmap_new(bs, 512, NULL, &error_abort);
    g_autoptr(BlockDirtyInfoList) list = bdrv_dirty_bitmap_query(bs);

    refused(bs, 512, longest);
    refused(bs, 512, longer);
    refused(bs, 256, "a");
    refused(bs, 3000, "a");
    refused(bs, UINT64_C(1) << 32, "a");
    g_assert_true(bdrv_dirty_bitmap_find(bs, longest) == b);
    /* The anonymous one is seen, without a name. */
    g_assert_true(list && list->next && !list->next->next);
    g_assert_null(list->value->name);
    g_assert_cmpstr(list->next->value->name, ==, longest);
    bdrv_dirty_bitmap_release(anon);
    bdrv_dirty_bitmap_release(b);
    bdrv_unref(bs);
}

/* Names and counts of what queries tell, '-' for no name. */
static void told(BlockDriverState *bs, const char *expected)
{
    g_autoptr(BlockDirtyInfoList) list = bdrv_dirty_bitmap_query(bs);
    g_autoptr(GString) text = g_string_new(NULL);

    for (BlockDirtyInfoList *l = list; l; l = l->next) {
        g_string_append_printf(text, "%s%s %d%s%s", text->len ? ", " : "",
                               l->value->name ?: "-", (int)l->value->count,
                               l->value->busy ? " busy" : "",
                               l->value->recording ? " rec" : "");
    }
    g_assert_cmpstr(text->str, ==, expected);
}

/* Bitmaps of jobs are listed, too, in the order of creation. */
static void test_shown(void)
{
    BlockDriverState *bs = open_disk("disk");
    BdrvDirtyBitmap *a = bdrv_dirty_bitmap_new(bs, 512, "a", &error_abort);
    BdrvDirtyBitmap *b;
    g_autoptr(HBitmap) bits = hbitmap_new(4096, 1024);
    BdrvShownBits *shown;

    bdrv_dirty_bitmap_set(a, 0, 512);
    bdrv_dirty_bitmap_freeze(a, &error_abort);
    shown = bdrv_dirty_bitmap_show_bits(bs, bits, false);
    hbitmap_set(bits, 0, 1);
    b = bdrv_dirty_bitmap_new(bs, 512, "b", &error_abort);
    bdrv_dirty_bitmap_mark(bs, 512, 1024);
    told(bs, "b 1024 rec, - 1024, - 1024 rec, a 512 busy rec");
    bdrv_dirty_bitmap_reclaim(a);
    told(bs, "b 1024 rec, - 1024, a 1536 rec");
    bdrv_dirty_bitmap_freeze(a, &error_abort);
    hbitmap_free(bdrv_dirty_bitmap_abdicate(a));
    told(bs, "a 0 rec, b 1024 rec, - 1024");
    bdrv_dirty_bitmap_release(a);
    bdrv_dirty_bitmap_release(b);
    bdrv_unref(bs);
    bdrv_dirty_bitmap_hide_bits(shown);
}

/* --- changes of the size --- */

static int change_size(BlockBackend *blk, int64_t size)
{
    return blk_truncate(blk, size, true, PREALLOC_MODE_OFF, 0, NULL);
}

static BlockBackend *use(BlockDriverState *bs)
{
    return blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                           BLK_PERM_RESIZE, BLK_PERM_ALL, &error_abort);
}

/* Data may be gone, though the disk is as large as it was. */
static void test_shrink_fails(void)
{
    BlockDriverState *bs = open_disk("disk");
    BlockBackend *blk = use(bs);
    BdrvDirtyBitmap *a = bdrv_dirty_bitmap_new(bs, 512, "a", &error_abort);
    BdrvDirtyBitmap *b = bdrv_dirty_bitmap_new(bs, 512, "b", &error_abort);

    bdrv_dirty_bitmap_disable(b);
    truncate_error = -ENOTSUP; /* refused: nothing happened */
    g_assert_cmpint(change_size(blk, 4096), ==, -ENOTSUP);
    g_assert_cmpint(bdrv_dirty_bitmap_count(a), ==, 0);
    truncate_error = -EIO;
    g_assert_cmpint(change_size(blk, 4096), ==, -EIO);
    g_assert_cmpint(bdrv_dirty_bitmap_count(a), ==, MAX_SIZE - 4096);
    g_assert_cmpint(bdrv_dirty_bitmap_count(b), ==, MAX_SIZE - 4096);
    g_assert_false(hbitmap_get(bdrv_dirty_bitmap_hbitmap(b), 4095));
    truncate_error = 0;
    blk_unref(blk);
    bdrv_dirty_bitmap_release(a);
    bdrv_dirty_bitmap_release(b);
    bdrv_unref(bs);
}

/* Writes past the end, of a node that grows by them. */
static void test_grow_by_write(void)
{
    static uint8_t buf[4096];
    BlockDriverState *bs = open_disk("disk");
    BlockBackend *blk = use(bs);
    BdrvChild *root = blk_root(blk);
    BdrvDirtyBitmap *a = bdrv_dirty_bitmap_new(bs, 512, "a", &error_abort);
    BdrvDirtyBitmap *b = bdrv_dirty_bitmap_new(bs, 512, "b", &error_abort);

    bdrv_dirty_bitmap_disable(b);
    g_assert_cmpint(bdrv_pwrite(root, MAX_SIZE + 8192, 4096, buf), ==, 0);
    g_assert_cmpint(bdrv_dirty_bitmap_size(a), ==, MAX_SIZE + 12288);
    g_assert_cmpint(bdrv_dirty_bitmap_count(a), ==, 4096);
    g_assert_cmpint(bdrv_dirty_bitmap_count(b), ==, 0);
    bdrv_dirty_bitmap_clear(a);
    /* One that fails may have left a part there. */
    truncate_error = -EIO;
    g_assert_cmpint(bdrv_pwrite(root, MAX_SIZE + 12288, 4096, buf), ==, -EIO);
    truncate_error = 0;
    g_assert_cmpint(change_size(blk, 2 * MAX_SIZE), ==, 0);
    g_assert_cmpint(bdrv_dirty_bitmap_count(a), ==, 4096);
    g_assert_cmpint(bdrv_dirty_bitmap_count(b), ==, 0);
    g_assert_true(hbitmap_get(bdrv_dirty_bitmap_hbitmap(a),
                              MAX_SIZE + 12288));
    blk_unref(blk);
    bdrv_dirty_bitmap_release(a);
    bdrv_dirty_bitmap_release(b);
    bdrv_unref(bs);
    disk_size = MAX_SIZE;
}

/* --- random lives --- */

typedef struct Naive {
    BdrvDirtyBitmap *b;
    int64_t granularity;
    bool bits[MAX_SIZE / UNIT], successor[MAX_SIZE / UNIT]; /* by UNIT */
    /* Was there data once that a shrink took away?  By UNIT. */
    bool cut[MAX_SIZE / UNIT], successor_cut[MAX_SIZE / UNIT];
    bool frozen, disabled;
} Naive;

/* A naive bitmap is marked in whole granules, as the real one is. */
static void naive_mark(const Naive *n, bool *bits, int64_t offset,
                       int64_t bytes)
{
    int64_t start = ROUND_DOWN(offset, n->granularity);
    int64_t end = MIN(ROUND_UP(offset + bytes, n->granularity), disk_size);

    for (int64_t pos = start; bytes > 0 && pos < end; pos += UNIT) {
        bits[pos / UNIT] = true;
    }
}

static void naive_merge(const Naive *n, bool *dest, const bool *src)
{
    for (int64_t pos = 0; pos < disk_size; pos += UNIT) {
        if (src[pos / UNIT]) {
            naive_mark(n, dest, pos, 1);
        }
    }
}

static void naive_add_cut(bool *dest, const bool *src)
{
    for (size_t i = 0; i < MAX_SIZE / UNIT; i++) {
        dest[i] |= src[i];
    }
}

static void verify(const Naive *n)
{
    int64_t granules = 0, cut_end = MAX_SIZE;

    while (cut_end > 0 && !n->cut[cut_end / UNIT - 1]) {
        cut_end -= UNIT;
    }
    g_assert_cmpint(bdrv_dirty_bitmap_cut_end(n->b), ==, cut_end);

    for (int64_t pos = 0; pos < disk_size; pos += UNIT) {
        const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(n->b);

        g_assert_cmpint(hbitmap_get(bits, pos), ==, n->bits[pos / UNIT]);
        granules += pos % n->granularity == 0 && n->bits[pos / UNIT];
    }
    g_assert_cmpint(bdrv_dirty_bitmap_count(n->b), ==,
                    granules * n->granularity);
    g_assert_cmpint(bdrv_dirty_bitmap_has_successor(n->b), ==, n->frozen);
    g_assert_cmpint(bdrv_dirty_bitmap_busy(n->b), ==, n->frozen);
    g_assert_cmpint(bdrv_dirty_bitmap_recording(n->b), ==, !n->disabled);
}

static void do_write(BlockDriverState *bs, Naive *all, int count, GRand *rand)
{
    int64_t offset = g_rand_int_range(rand, 0, disk_size);
    int64_t bytes = g_rand_int_range(rand, 1, 40000);

    bdrv_dirty_bitmap_mark(bs, offset, MIN(bytes, disk_size - offset));
    for (int i = 0; i < count; i++) {
        Naive *n = &all[i];

        if (!n->disabled) {
            naive_mark(n, n->frozen ? n->successor : n->bits, offset, bytes);
        }
    }
}

/* What had been cut off comes back dirty, recording or not. */
static void naive_resize(const Naive *n, bool *bits, bool *cut, int64_t old)
{
    for (int64_t pos = old; pos < disk_size; pos += UNIT) {
        if (cut[pos / UNIT]) {
            naive_mark(n, bits, pos, UNIT);
            cut[pos / UNIT] = false;
        }
    }
    for (int64_t pos = disk_size; pos < old; pos += UNIT) {
        bits[pos / UNIT] = false;
        cut[pos / UNIT] = true;
    }
    /* What belongs to a granule that was cut is as the granule is. */
    naive_merge(n, bits, bits);
}

static void do_resize(BlockDriverState *bs, Naive *all, int count, GRand *rand)
{
    int64_t old = disk_size;

    disk_size = g_rand_int_range(rand, 1, MAX_SIZE / UNIT + 1) * UNIT;
    bdrv_refresh_total_size(bs);
    for (int i = 0; i < count; i++) {
        Naive *n = &all[i];

        naive_resize(n, n->bits, n->cut, old);
        if (n->frozen) {
            naive_resize(n, n->successor, n->successor_cut, old);
        }
    }
}

static void end_of_job(Naive *n, bool success)
{
    if (success) {
        hbitmap_free(bdrv_dirty_bitmap_abdicate(n->b));
        memcpy(n->bits, n->successor, sizeof(n->bits));
        memcpy(n->cut, n->successor_cut, sizeof(n->cut));
    } else {
        bdrv_dirty_bitmap_reclaim(n->b);
        naive_merge(n, n->bits, n->successor);
        naive_add_cut(n->cut, n->successor_cut);
    }
    memset(n->successor, 0, sizeof(n->successor));
    memset(n->successor_cut, 0, sizeof(n->successor_cut));
    n->frozen = false;
}

/* Something that a user or a job does to one bitmap. */
static void do_one(Naive *n, const Naive *other, GRand *rand)
{
    int what = g_rand_int_range(rand, 0, 5);

    if (n->frozen) {
        if (what < 2) {
            end_of_job(n, what);
        }
        return;
    }
    switch (what) {
    case 0:
        bdrv_dirty_bitmap_clear(n->b);
        memset(n->bits, 0, sizeof(n->bits));
        memset(n->cut, 0, sizeof(n->cut));
        break;
    case 1:
        n->disabled = !n->disabled;
        (n->disabled ? bdrv_dirty_bitmap_disable
                     : bdrv_dirty_bitmap_enable)(n->b);
        break;
    case 2: {
        BdrvBitmapBackup *backup = NULL;
        bool ok = bdrv_dirty_bitmap_merge(n->b, other->b, &backup, NULL);

        g_assert_cmpint(ok, ==, !other->frozen);
        if (ok && g_rand_boolean(rand)) {
            bdrv_dirty_bitmap_restore(n->b, backup); /* undone */
        } else if (ok) {
            naive_merge(n, n->bits, other->bits);
            naive_add_cut(n->cut, other->cut);
            bdrv_bitmap_backup_free(backup);
        }
        break;
    }
    default:
        g_assert_true(bdrv_dirty_bitmap_freeze(n->b, &error_abort));
        n->frozen = true;
        break;
    }
}

static void test_random(void)
{
    static const int64_t granularities[] = { 512, 4096, 65536, 1 * MiB };
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    g_autofree Naive *all = NULL;

    for (int round = 0; round < 20; round++) {
        BlockDriverState *bs;

        disk_size = MAX_SIZE;
        bs = open_disk("disk");
        g_free(all);
        all = g_new0(Naive, ARRAY_SIZE(granularities));
        for (size_t i = 0; i < ARRAY_SIZE(granularities); i++) {
            g_autofree char *name = g_strdup_printf("b%zu", i);

            all[i].granularity = granularities[i];
            all[i].b = bdrv_dirty_bitmap_new(bs, granularities[i], name,
                                             &error_abort);
        }
        for (int step = 0; step < 150; step++) {
            int i = g_rand_int_range(rand, 0, ARRAY_SIZE(granularities));
            int k = g_rand_int_range(rand, 0, ARRAY_SIZE(granularities));

            if (g_rand_int_range(rand, 0, 20) == 0) {
                do_resize(bs, all, ARRAY_SIZE(granularities), rand);
            }
            do_write(bs, all, ARRAY_SIZE(granularities), rand);
            do_one(&all[i], &all[k], rand);
            for (size_t j = 0; j < ARRAY_SIZE(granularities); j++) {
                verify(&all[j]);
            }
        }
        for (size_t i = 0; i < ARRAY_SIZE(granularities); i++) {
            if (all[i].frozen) {
                end_of_job(&all[i], true);
            }
        }
        bdrv_unref(bs);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/dirty-bitmap/transitions", test_transitions);
    g_test_add_func("/dirty-bitmap/operations", test_operations);
    g_test_add_func("/dirty-bitmap/new", test_new);
    g_test_add_func("/dirty-bitmap/shown", test_shown);
    g_test_add_func("/dirty-bitmap/shrink-fails", test_shrink_fails);
    g_test_add_func("/dirty-bitmap/grow-by-write", test_grow_by_write);
    g_test_add_func("/dirty-bitmap/random", test_random);
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
