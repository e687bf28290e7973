/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Power losses while a guest uses a qcow2 image. */
#include "crash.h"

#include "block/dirty-bitmap.h"
#include "block/qcow2/qcow2-int.h"
#include "block/snapshot.h"

extern const BlockDriver bdrv_raw, bdrv_copy_on_read;

const BlockDriver *const bdrv_drivers[] = {
    &crash_recorder, &bdrv_raw, &bdrv_qcow2, &bdrv_copy_on_read, NULL,
};

/* --- a guest alone --- */

static void guest_works(CrashRun *r, int steps)
{
    crash_guest_start(&r->guest, steps);
    crash_guest_wait(&r->guest);
}

static int few(CrashRun *r)
{
    return g_rand_int_range(r->rand, 0, 20);
}

static void run_guest(CrashRun *r)
{
    crash_fill(r, few(r));
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r, 0));
    guest_works(r, r->steps);
    crash_detach(r);
}

static void prepare_lazy(CrashRun *r)
{
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    r->image.has_lazy_refcounts = r->image.lazy_refcounts = true;
}

/* The smallest clusters and the widest refcounts: their table is outgrown. */
static void prepare_refcounts(CrashRun *r)
{
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    r->image.cluster_size = r->guest.cluster = 512;
    r->image.refcount_bits = 64;
    r->image.size = 3 * MiB;
}

static void run_refcounts(CrashRun *r)
{
    int64_t used = g_rand_int_range(r->rand, 3880, 3940) * 512;
    g_autofree uint8_t *buf = g_malloc(used);
    BlockDriverState *bs = crash_open_guest(r, 0);

    crash_attach(r, bs);
    memset(buf, 255, used);
    g_assert_cmpint(blk_pwrite(r->guest.blk, 0, used, buf, 0), ==, 0);
    crash_detach(r);
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r, 0));
    guest_works(r, r->steps);
    crash_detach(r);
}

/* Power is lost a second time, in the repair after the first or later. */
static void run_again(CrashRun *r)
{
    for (int i = 0; i < 2; i++) {
        if (i == 0) {
            crash_fill(r, few(r));
        } else {
            crash_lose(r);
        }
        crash_go_live(r, 0);
        crash_attach(r, crash_open_guest(r, 0));
        guest_works(r, r->steps / 2);
        crash_detach(r);
    }
}

static void prepare_again(CrashRun *r)
{
    if (g_rand_boolean(r->rand)) {
        prepare_lazy(r);
    }
}

static void prepare_overlay(CrashRun *r)
{
    crash_make_chain(r, g_rand_int_range(r->rand, 1, 3));
}

/* What is read is copied. */
static void run_copy_on_read(CrashRun *r)
{
    BlockDriverState *bs;

    crash_fill(r, few(r));
    crash_go_live(r, 0);
    bs = crash_open(BDRV_O_RDWR, &error_abort, "{'driver': 'copy-on-read', "
                    "'file': {'driver': 'qcow2', 'discard': 'unmap', 'file': "
                    "{'driver': 'file', 'filename': 'disk0'}}}");
    crash_attach(r, bs);
    guest_works(r, r->steps);
    crash_detach(r);
}

/* --- resize --- */

#define RESIZE_MOST (INT64_C(512) * KiB)

static int resize(CrashRun *r, int64_t size)
{
    int64_t old = r->model->size_now;
    CrashGuestOp op = {
        .offset = MIN(old, size), .bytes = ABS(size - old), .size = size,
        .wild = size < old,
    };
    PreallocMode prealloc = size < old ? PREALLOC_MODE_OFF :
                            g_rand_int_range(r->rand, 0, PREALLOC_MODE__MAX);
    guint n = crash_model_begin(r->model, &op);
    int ret = blk_truncate(r->guest.blk, size, true, prealloc, 0, NULL);

    crash_model_end(r->model, n, ret);
    return ret;
}

static int64_t draw_size(CrashRun *r)
{
    int64_t most = MIN(RESIZE_MOST, 2 * (int64_t)r->image.size);

    return g_rand_int_range(r->rand, 1, most / CRASH_SECTOR) * CRASH_SECTOR;
}

static void run_resize(CrashRun *r)
{
    crash_fill(r, few(r));
    crash_go_live(r, RESIZE_MOST);
    crash_attach(r, crash_open_guest(r, 0));
    for (int i = 0; i < 4; i++) {
        guest_works(r, r->steps / 5);
        g_assert_cmpint(resize(r, draw_size(r)), ==, 0);
    }
    guest_works(r, r->steps / 5);
    crash_detach(r);
}

static void prepare_resize(CrashRun *r)
{
    if (g_rand_boolean(r->rand)) {
        crash_make_chain(r, 1);
    }
}

/* The requests are as small as subclusters. */
static void prepare_subclusters(CrashRun *r)
{
    BlockdevCreateOptionsQcow2 *c = &r->image;

    c->version = BLOCKDEV_QCOW2_VERSION_V3;
    c->has_extended_l2 = c->extended_l2 = true;
    c->cluster_size = UINT64_C(1) << g_rand_int_range(r->rand, 14, 16);
    r->guest.cluster = c->cluster_size / 32;
    if (g_rand_boolean(r->rand)) {
        c->has_preallocation = true;
        c->preallocation = PREALLOC_MODE_METADATA;
    }
    prepare_resize(r);
}

/* --- snapshots --- */

typedef struct Snapshot {
    char *name;
    CrashTime made_start, made_end, gone_start, gone_end;
    int64_t size;
    uint8_t *data;
} Snapshot;

static void snapshot_clear(void *opaque)
{
    Snapshot *s = opaque;

    g_free(s->name);
    g_free(s->data);
}

/* Overlapping requests: which of them came last is only known by reading. */
static void make_snapshot(CrashRun *r)
{
    GArray *list = r->opaque;
    Snapshot s = {
        .name = g_strdup_printf("s%u", list->len),
        .gone_start = CRASH_NEVER, .gone_end = CRASH_NEVER,
    };
    g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new(s.name);
    uint8_t vm_state[700] = { 7 };
    int ret;

    sn->vm_state_size = list->len % 3 ? 0 : sizeof(vm_state);
    s.data = crash_read(blk_bs(r->guest.blk), &s.size, r->guest.error);
    s.made_start = crash_log_tick(r->log);
    ret = bdrv_snapshot_create(blk_bs(r->guest.blk), sn, vm_state, NULL);
    s.made_end = crash_log_tick(r->log);
    if (ret < 0) { /* narrow refcounts have an end; it was not made */
        g_assert_true(ret == -EINVAL && r->image.refcount_bits < 8);
        snapshot_clear(&s);
        return;
    }
    g_array_append_val(list, s);
}

static Snapshot *draw_snapshot(CrashRun *r)
{
    GArray *list = r->opaque;
    guint start = g_rand_int_range(r->rand, 0, MAX(list->len, 1));

    for (guint i = 0; i < list->len; i++) {
        Snapshot *s = &g_array_index(list, Snapshot, (start + i) % list->len);

        if (s->gone_start == CRASH_NEVER) {
            return s;
        }
    }
    return NULL;
}

static void delete_snapshot(CrashRun *r)
{
    Snapshot *s = draw_snapshot(r);

    if (s) {
        s->gone_start = crash_log_tick(r->log);
        g_assert_cmpint(bdrv_snapshot_delete(blk_bs(r->guest.blk), NULL,
                                             s->name, NULL), ==, 0);
        s->gone_end = crash_log_tick(r->log);
    }
}

/* The disk becomes the snapshot at once, and is durable when it is done. */
static void apply_snapshot(CrashRun *r)
{
    const Snapshot *s = draw_snapshot(r);
    CrashGuestOp op = { .atomic = true };
    guint n;
    int ret;

    if (!s) {
        return;
    }
    op.bytes = op.size = s->size;
    op.values = crash_values(s->data, s->size);
    n = crash_model_begin(r->model, &op);
    ret = bdrv_snapshot_goto(blk_bs(r->guest.blk), s->name, NULL);
    g_assert_true(ret == 0 || (ret == -EINVAL && r->image.refcount_bits < 8));
    if (ret < 0) {
        op = g_array_index(r->model->ops, CrashGuestOp, n);
        g_free(op.values);
        g_array_set_size(r->model->ops, n);
        return;
    }
    crash_model_end(r->model, n, ret);
    n = crash_model_begin_flush(r->model);
    crash_model_end_flush(r->model, n, 0);
}

static void run_snapshots(CrashRun *r)
{
    r->opaque = g_array_new(FALSE, FALSE, sizeof(Snapshot));
    g_array_set_clear_func(r->opaque, snapshot_clear);
    crash_fill(r, few(r));
    crash_go_live(r, RESIZE_MOST);
    crash_attach(r, crash_open_guest(r, 0));
    for (int i = 0; i < 7; i++) {
        guest_works(r, r->steps / 8);
        switch (i < 2 ? 0 : g_rand_int_range(r->rand, 0, 7)) {
        case 0:
        case 1:
            make_snapshot(r);
            break;
        case 2:
        case 3:
            delete_snapshot(r);
            break;
        case 4:
        case 5:
            apply_snapshot(r);
            break;
        default:
            if (r->image.version == BLOCKDEV_QCOW2_VERSION_V3) {
                g_assert_cmpint(resize(r, draw_size(r)), ==, 0);
            }
        }
    }
    guest_works(r, r->steps / 8);
    crash_detach(r);
}

static bool check_snapshot(const Snapshot *s, GString *why)
{
    BlockDriverState *bs = crash_open_after(false, why);
    g_autofree uint8_t *data = NULL;
    int64_t size;
    bool ok;

    if (!bs) {
        return false;
    }
    ok = bdrv_snapshot_load_tmp(bs, NULL, s->name, NULL) == 0 &&
         (data = crash_read(bs, &size, why)) && size == s->size &&
         !memcmp(data, s->data, size);
    if (!ok) {
        g_string_append_printf(why, "snapshot '%s' is not what it was",
                               s->name);
    }
    bdrv_unref(bs);
    return ok;
}

static bool check_snapshots(CrashRun *r, CrashTime cut, GString *why)
{
    GArray *list = r->opaque;
    g_autoptr(GPtrArray) found = NULL;
    BlockDriverState *bs;
    int ret;

    if (!crash_check_disk(r, cut, why)) {
        return false;
    }
    bs = crash_open_after(false, why);
    if (!bs) {
        return false;
    }
    found = bdrv_snapshot_list(bs, &ret);
    bdrv_unref(bs);
    for (guint i = 0; i < list->len; i++) {
        const Snapshot *s = &g_array_index(list, Snapshot, i);
        bool there = bdrv_snapshot_find(found, NULL, s->name) >= 0;

        if (there ? s->made_start > cut || s->gone_end <= cut
                  : s->made_end <= cut && s->gone_start > cut) {
            g_string_append_printf(why, "snapshot '%s' is %s", s->name,
                                   there ? "there" : "not there");
            return false;
        }
        if (there && !check_snapshot(s, why)) {
            return false;
        }
    }
    return true;
}

static void free_snapshots(CrashRun *r)
{
    if (r->opaque) {
        g_array_free(r->opaque, TRUE);
    }
}

/* --- bitmaps --- */

typedef struct Bitmaps {
    uint64_t granularity;
    CrashTime stored; /* the last time */
    char *sha256;     /* as it was then */
} Bitmaps;

static void prepare_bitmaps(CrashRun *r)
{
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
}

static BdrvDirtyBitmap *the_bitmap(BlockDriverState *bs)
{
    return bdrv_dirty_bitmap_find(bs, "b0");
}

/* Kept ahead of the disk while it is written, and stored when it is closed. */
static void run_bitmaps(CrashRun *r)
{
    Bitmaps *b = r->opaque = g_new0(Bitmaps, 1);
    BlockDriverState *bs;

    b->granularity = UINT64_C(1) << g_rand_int_range(r->rand, 9, 17);
    crash_fill(r, few(r));
    bs = crash_open_guest(r, 0);
    bdrv_dirty_bitmap_set_persistent(
        bdrv_dirty_bitmap_new(bs, b->granularity, "b0", &error_abort), true);
    bdrv_unref(bs);
    crash_go_live(r, 0);
    for (int i = 0; i < 3; i++) {
        bs = crash_open_guest(r, 0);
        crash_attach(r, bs);
        guest_works(r, r->steps / 3);
        g_free(b->sha256);
        b->sha256 = bdrv_dirty_bitmap_sha256(the_bitmap(bs));
        crash_detach(r);
        b->stored = r->closed;
    }
}

/* Where it is clean, the disk is as it was when the bitmap began. */
static bool covers(BlockDriverState *bs, const CrashModel *model, GString *why)
{
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(the_bitmap(bs));
    int64_t bytes;
    g_autofree uint8_t *data = crash_read(bs, &bytes, why), *values = NULL;

    if (!data) {
        return false;
    }
    values = crash_values(data, bytes);
    for (int64_t pos = 0; pos < bytes; pos += CRASH_UNIT) {
        if (values[pos / CRASH_UNIT] != model->initial[pos / CRASH_UNIT] &&
            !hbitmap_get(bits, pos)) {
            g_string_append_printf(why, "the bitmap lacks a change at %#"
                                   PRIx64, pos);
            return false;
        }
    }
    return true;
}

static bool check_bitmaps(CrashRun *r, CrashTime cut, GString *why)
{
    const Bitmaps *b = r->opaque;
    BlockDriverState *bs = crash_open_after(false, why);
    g_autofree char *sha256 = NULL;
    BdrvDirtyBitmap *bitmap;
    bool ok = false;

    if (!bs) {
        return false;
    }
    bitmap = the_bitmap(bs);
    if (!bitmap) {
        g_string_append(why, "the bitmap is not there");
    } else if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
        g_string_append(why, "the bitmap is inconsistent");
    } else {
        ok = covers(bs, r->model, why);
        sha256 = bdrv_dirty_bitmap_sha256(bitmap);
        if (ok && cut >= b->stored && strcmp(sha256, b->sha256)) {
            g_string_append(why, "the bitmap is not the one stored");
            ok = false;
        }
    }
    bdrv_unref(bs);
    return ok && crash_check_disk(r, cut, why);
}

static void free_bitmaps(CrashRun *r)
{
    Bitmaps *b = r->opaque;

    if (b) {
        g_free(b->sha256);
        g_free(b);
    }
}

/* --- amend --- */

typedef struct AmendCall {
    BlockDriverState *bs;
    BdrvAmend change;
    int ret;
} AmendCall;

static void coroutine_fn amend_entry(void *opaque)
{
    AmendCall *call = opaque;

    call->ret = call->bs->drv->co_amend(call->bs, &call->change, NULL);
}

static int try_amend(CrashRun *r, const BdrvAmend *change)
{
    AmendCall call = { .bs = blk_bs(r->guest.blk), .change = *change };

    bdrv_drained_begin(call.bs);
    aio_run_co(aio_main_context(), amend_entry, &call);
    bdrv_drained_end(call.bs);
    return call.ret;
}

static void amend(CrashRun *r, int version, int lazy)
{
    BdrvAmend change = { .version = version, .lazy_refcounts = lazy };

    if (lazy == 1) {
        r->image.lazy_refcounts = true; /* so it is looked at from now on */
    }
    g_assert_cmpint(try_amend(r, &change), ==, 0);
}

static void prepare_amend(CrashRun *r)
{
    r->image.refcount_bits = 16;
    prepare_resize(r);
}

static void run_amend(CrashRun *r)
{
    bool lazy = g_rand_boolean(r->rand);

    crash_fill(r, few(r));
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r, 0));
    for (int i = 0; i < 4; i++) {
        guest_works(r, r->steps / 5);
        if (g_rand_boolean(r->rand)) {
            amend(r, 2, -1);
        } else {
            amend(r, 3, lazy ? g_rand_boolean(r->rand) : -1);
        }
    }
    guest_works(r, r->steps / 5);
    crash_detach(r);
}

/* In tables of snapshots zero clusters are replaced in place. */
static void run_amend_snapshots(CrashRun *r)
{
    r->opaque = g_array_new(FALSE, FALSE, sizeof(Snapshot));
    g_array_set_clear_func(r->opaque, snapshot_clear);
    crash_fill(r, few(r));
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r, 0));
    for (int i = 0; i < 7; i++) {
        guest_works(r, r->steps / 8);
        switch (i < 2 ? 0 : g_rand_int_range(r->rand, 0, 5)) {
        case 0:
            make_snapshot(r);
            break;
        case 1:
            delete_snapshot(r);
            break;
        case 2:
            apply_snapshot(r);
            break;
        default:
            amend(r, i % 2 ? 2 : 3, -1);
        }
    }
    guest_works(r, r->steps / 8);
    crash_detach(r);
}

/* --- amend of the width of refcounts --- */

typedef struct Widths {
    Bitmaps bitmaps;
    Snapshot snapshot; /* without a name: there is none */
} Widths;

/* With small clusters and wide refcounts there are several blocks of them. */
static void prepare_widths(CrashRun *r)
{
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    r->image.has_lazy_refcounts = true;
    r->image.lazy_refcounts = g_rand_boolean(r->rand);
}

/* What may be there: a bitmap and a snapshot. */
static void fill_widths(CrashRun *r, Widths *w)
{
    BlockDriverState *bs = crash_open_guest(r, 0);
    g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new("s");
    int64_t size;
    g_autofree uint8_t *data = crash_read(bs, &size, r->guest.error);

    if (g_rand_boolean(r->rand) &&
        bdrv_snapshot_create(bs, sn, NULL, NULL) == 0) {
        w->snapshot.name = g_strdup("s");
        w->snapshot.size = size;
        w->snapshot.data = g_steal_pointer(&data);
    }
    bdrv_dirty_bitmap_set_persistent(
        bdrv_dirty_bitmap_new(bs, UINT64_C(1) << g_rand_int_range(r->rand, 9,
                                                                  17),
                              "b0", &error_abort), true);
    bdrv_unref(bs);
}

/* A guest writes between the changes; refcounts may be too large for one. */
static void run_widths(CrashRun *r)
{
    Widths *w = r->opaque = g_new0(Widths, 1);
    BlockDriverState *bs;

    crash_fill(r, r->steps / 2);
    fill_widths(r, w);
    crash_go_live(r, 0);
    bs = crash_open_guest(r, 0);
    crash_attach(r, bs);
    for (int i = 0; i < 4; i++) {
        BdrvAmend change = {
            .lazy_refcounts = -1,
            .refcount_bits = 1U << g_rand_int_range(r->rand, 0, 7),
        };
        int ret = try_amend(r, &change);

        g_assert_true(ret == 0 || (ret == -EIO && change.refcount_bits < 8));
        r->image.refcount_bits = ret ? r->image.refcount_bits
                                     : change.refcount_bits;
        guest_works(r, r->steps / 8);
    }
    w->bitmaps.sha256 = bdrv_dirty_bitmap_sha256(the_bitmap(bs));
    crash_detach(r);
    w->bitmaps.stored = r->closed;
}

/* All is there that was there before, at any time. */
static bool check_widths(CrashRun *r, CrashTime cut, GString *why)
{
    const Widths *w = r->opaque;

    return check_bitmaps(r, cut, why) &&
           (!w->snapshot.name || check_snapshot(&w->snapshot, why));
}

static void free_widths(CrashRun *r)
{
    Widths *w = r->opaque;

    if (w) {
        snapshot_clear(&w->snapshot);
        g_free(w->bitmaps.sha256);
        g_free(w);
    }
}

/* --- the table --- */

#define MIX_ALL \
    { .write = 6, .zeroes = 2, .zeroes_unmap = 1, .discard = 1, \
      .compressed = 1, .flush = 3, .read = 1 }

static const CrashProgram programs[] = {
    { .name = "alloc", .mix = { .write = 6, .flush = 2, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "zeroes", .mix = { .write = 5, .zeroes = 3, .zeroes_unmap = 1,
                                 .flush = 3, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 80, .budget = 250, .steps = 40 },
    { .name = "discard", .mix = { .write = 6, .discard = 3, .zeroes_unmap = 1,
                                  .flush = 2, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "compressed", .mix = { .write = 3, .compressed = 5, .zeroes = 1,
                                     .discard = 1, .flush = 2, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "lazy", .mix = MIX_ALL,
      .prepare = prepare_lazy, .run = run_guest, .check = crash_check_disk,
      .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "refcounts", .mix = { .write = 8, .zeroes_unmap = 1,
                                    .flush = 2 },
      .prepare = prepare_refcounts, .run = run_refcounts,
      .check = crash_check_disk, .seeds = 20, .budget = 200, .steps = 90 },
    { .name = "again", .mix = MIX_ALL,
      .prepare = prepare_again, .run = run_again, .check = crash_check_disk,
      .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "overlay", .mix = MIX_ALL,
      .prepare = prepare_overlay, .run = run_guest, .check = crash_check_disk,
      .seeds = 80, .budget = 250, .steps = 40 },
    { .name = "copy-on-read", .mix = { .write = 2, .zeroes = 1, .discard = 1,
                                       .flush = 2, .read = 6 },
      .prepare = prepare_overlay, .run = run_copy_on_read,
      .check = crash_check_disk, .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "resize", .mix = MIX_ALL,
      .prepare = prepare_resize, .run = run_resize, .check = crash_check_disk,
      .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "snapshots", .mix = MIX_ALL, .prepare = prepare_resize,
      .run = run_snapshots, .check = check_snapshots, .free = free_snapshots,
      .seeds = 45, .budget = 250, .steps = 48 },
    { .name = "subclusters", .mix = { .write = 6, .zeroes = 2,
                                      .zeroes_unmap = 1, .discard = 2,
                                      .flush = 3, .read = 1 },
      .prepare = prepare_subclusters, .run = run_guest,
      .check = crash_check_disk, .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "subclusters-snapshots",
      .mix = { .write = 6, .zeroes = 2, .zeroes_unmap = 1, .flush = 3 },
      .prepare = prepare_subclusters, .run = run_snapshots,
      .check = check_snapshots, .free = free_snapshots,
      .seeds = 25, .budget = 250, .steps = 48 },
    { .name = "bitmaps", .mix = { .write = 6, .zeroes = 2, .zeroes_unmap = 1,
                                  .flush = 2, .read = 1 },
      .prepare = prepare_bitmaps, .run = run_bitmaps, .check = check_bitmaps,
      .free = free_bitmaps, .seeds = 45, .budget = 250, .steps = 30 },
    { .name = "amend", .mix = MIX_ALL,
      .prepare = prepare_amend, .run = run_amend, .check = crash_check_disk,
      .seeds = 45, .budget = 250, .steps = 40 },
    { .name = "amend-snapshots",
      .mix = { .write = 6, .zeroes = 3, .zeroes_unmap = 1, .flush = 2 },
      .prepare = prepare_amend, .run = run_amend_snapshots,
      .check = check_snapshots, .free = free_snapshots,
      .seeds = 45, .budget = 250, .steps = 48 },
    { .name = "refcount-width", .mix = MIX_ALL,
      .prepare = prepare_widths, .run = run_widths, .check = check_widths,
      .free = free_widths, .seeds = 60, .budget = 250, .steps = 32 },
};

static void add(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        crash_add(&programs[i]);
    }
}

int main(int argc, char **argv)
{
    return crash_main(argc, argv, add);
}
