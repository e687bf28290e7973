/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power losses while a guest uses a raw disk, disk0, whose bitmap is in an
 * image beside it, disk1.  Both lose power together, but each keeps what it
 * likes of the requests that no flush has made durable.
 */
#include "crash.h"

#include "block/bitmap-store.h"
#include "block/dirty-bitmap.h"
#include "block/qcow2/qcow2-int.h"

#define MOST (INT64_C(512) * KiB)

extern const BlockDriver bdrv_raw, bdrv_tracked;

const BlockDriver *const bdrv_drivers[] = {
    &crash_recorder, &bdrv_raw, &bdrv_qcow2, &bdrv_tracked, NULL,
};

typedef struct Tracked {
    int64_t size;
    CrashTime made;   /* from then on the bitmap is there */
    CrashTime stored; /* the last time it was stored */
    char *sha256;     /* as it was then */
    uint8_t *cleared; /* the disk when the bitmap was cleared, as the model's */
    CrashTime clear_start, clear_end; /* 0: it was not */
} Tracked;

static BlockDriverState *open_tracked(bool writable, Error **errp)
{
    return crash_open(writable ? BDRV_O_RDWR : 0, errp, "{'driver': 'tracked', "
                      "'read-only': %s, 'file': {'driver': 'raw', 'file': {"
                      "'driver': 'file', 'filename': 'disk0'}}, "
                      "'bitmaps': {'driver': 'qcow2', 'file': "
                      "{'driver': 'file', 'filename': 'disk1'}}}",
                      writable ? "false" : "true");
}

static BdrvDirtyBitmap *the_bitmap(BlockDriverState *bs)
{
    return bdrv_dirty_bitmap_find(bs, "b0");
}

/* --- the program --- */

/* disk0 is raw instead of what was made there. */
static void make_disks(CrashRun *r)
{
    GByteArray *disk = r->machine->disks[0];
    BlockdevCreateOptionsQcow2 side = r->image;
    Tracked *t = r->opaque = g_new0(Tracked, 1);

    t->size = side.size = ROUND_UP(r->image.size, CRASH_SECTOR);
    side.has_version = true;
    side.version = BLOCKDEV_QCOW2_VERSION_V3;
    crash_create(1, &side);
    g_byte_array_set_size(disk, t->size);
    for (int64_t at = 0; at < t->size; at += CRASH_UNIT) {
        memset(disk->data + at, g_rand_int_range(r->rand, 201, 254),
               CRASH_UNIT);
    }
}

static void go_live(CrashRun *r)
{
    const GByteArray *disk = r->machine->disks[0];
    g_autofree uint8_t *data = g_malloc0(MOST), *values = NULL;

    memcpy(data, disk->data, disk->len);
    values = crash_values(data, MOST);
    r->model = crash_model_new(r->log, MOST, disk->len, values);
    r->model->last_value = g_rand_int_range(r->rand, 60, 140);
    crash_machine_go_live(r->machine, r->log, r->seed + 2000000);
}

static void add_bitmap(BlockDriverState *bs, uint64_t granularity)
{
    bdrv_dirty_bitmap_set_persistent(
        bdrv_dirty_bitmap_new(bs, granularity, "b0", &error_abort), true);
}

static void works(CrashRun *r, int steps)
{
    crash_guest_start(&r->guest, steps);
    crash_guest_wait(&r->guest);
}

static void resize(CrashRun *r)
{
    int64_t old = r->model->size_now;
    int64_t most = MIN(MOST, 2 * ((Tracked *)r->opaque)->size);
    int64_t size = g_rand_int_range(r->rand, 1, most / CRASH_SECTOR) *
                   CRASH_SECTOR;
    CrashGuestOp op = {
        .offset = MIN(old, size), .bytes = ABS(size - old), .size = size,
        .wild = size < old,
    };
    guint n = crash_model_begin(r->model, &op);
    int ret = blk_truncate(r->guest.blk, size, true, PREALLOC_MODE_OFF, 0,
                           NULL);

    crash_model_end(r->model, n, ret);
    g_assert_cmpint(ret, ==, 0);
}

/* With nothing in flight; what the guest wrote need not be durable yet. */
static void clear(CrashRun *r, BlockDriverState *bs)
{
    const GByteArray *disk = r->machine->disks[0];
    g_autofree uint8_t *data = g_malloc0(MOST);
    Tracked *t = r->opaque;

    memcpy(data, disk->data, disk->len);
    t->cleared = crash_values(data, MOST);
    t->clear_start = crash_log_tick(r->log);
    bdrv_dirty_bitmap_clear(the_bitmap(bs));
    g_assert_true(bdrv_bitmap_store_sync(bs, &error_abort));
    t->clear_end = crash_log_tick(r->log);
}

static void run_sessions(CrashRun *r, bool resizes)
{
    uint64_t granularity = UINT64_C(1) << g_rand_int_range(r->rand, 9, 17);
    BlockDriverState *bs;
    Tracked *t;

    make_disks(r);
    t = r->opaque;
    bs = open_tracked(true, &error_abort);
    add_bitmap(bs, granularity);
    bdrv_unref(bs);
    go_live(r);
    for (int i = 0; i < 3; i++) {
        bs = open_tracked(true, &error_abort);
        crash_attach(r, bs);
        works(r, r->steps / 6);
        if (resizes) {
            resize(r);
        } else if (i == 1) {
            clear(r, bs);
        }
        works(r, r->steps / 6);
        g_free(t->sha256);
        t->sha256 = bdrv_dirty_bitmap_sha256(the_bitmap(bs));
        crash_detach(r);
        t->stored = r->closed;
    }
}

static void run_writes(CrashRun *r)
{
    run_sessions(r, false);
}

static void run_resizes(CrashRun *r)
{
    run_sessions(r, true);
}

/* The process ends: what it has not written is lost, nothing else. */
static void kill_process(CrashRun *r)
{
    crash_quiet(true);
    r->machine->broken = UINT_MAX;
    crash_detach(r);
    r->machine->broken = 0;
    crash_quiet(false);
}

/*
 * What a process has written is in the host's caches when it ends, and the next
 * one relies on it, although it writes nothing to the disk itself.
 */
static void run_kills(CrashRun *r)
{
    BlockDriverState *bs;
    Tracked *t;

    make_disks(r);
    t = r->opaque;
    bs = open_tracked(true, &error_abort);
    add_bitmap(bs, 4 * KiB);
    bdrv_unref(bs);
    go_live(r);
    t->stored = CRASH_NEVER;
    for (int i = 0; i < 3; i++) {
        bs = open_tracked(true, &error_abort);
        if (i == 1) {
            clear(r, bs); /* nobody writes yet */
        }
        crash_attach(r, bs);
        works(r, r->steps / 3);
        kill_process(r);
    }
}

/* --- after a loss --- */

/* Where it is clean, the disk is as it was when the bitmap began. */
static bool covers(const uint8_t *initial, BlockDriverState *bs,
                   const uint8_t *data, int64_t bytes, GString *why)
{
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(the_bitmap(bs));
    g_autofree uint8_t *values = crash_values(data, bytes);

    for (int64_t pos = 0; pos < bytes; pos += CRASH_UNIT) {
        if (values[pos / CRASH_UNIT] != initial[pos / CRASH_UNIT] &&
            !hbitmap_get(bits, pos)) {
            g_string_append_printf(why, "the bitmap lacks a change at %#"
                                   PRIx64, pos);
            return false;
        }
    }
    return true;
}

/* While it is being cleared, both are right. */
static bool covers_since(const CrashRun *r, BlockDriverState *bs, CrashTime cut,
                         const uint8_t *data, int64_t bytes, GString *why)
{
    const Tracked *t = r->opaque;
    bool after = t->clear_start && cut >= t->clear_start;

    if (after && covers(t->cleared, bs, data, bytes, why)) {
        g_string_truncate(why, 0);
        return true;
    }
    return (!after || cut < t->clear_end) &&
           covers(r->model->initial, bs, data, bytes, why);
}

static bool check_node(CrashRun *r, BlockDriverState *bs, CrashTime cut,
                       GString *why)
{
    const Tracked *t = r->opaque;
    BdrvDirtyBitmap *bitmap = the_bitmap(bs);
    g_autofree uint8_t *data = NULL;
    g_autofree char *sha256 = NULL;
    int64_t bytes;

    if (!bitmap || bdrv_dirty_bitmap_inconsistent(bitmap)) {
        g_string_append_printf(why, "the bitmap is %s",
                               bitmap ? "inconsistent" : "not there");
        return false;
    }
    data = crash_read(bs, &bytes, why);
    if (!data || !crash_model_allows(r->model, cut, data, bytes, why) ||
        !covers_since(r, bs, cut, data, bytes, why)) {
        return false;
    }
    sha256 = bdrv_dirty_bitmap_sha256(bitmap);
    if (cut >= t->stored && strcmp(sha256, t->sha256)) {
        g_string_append(why, "the bitmap is not the one stored");
        return false;
    }
    return true;
}

static bool check_image(GString *why)
{
    BlockDriverState *bs = crash_open(0, &error_abort, "{'driver': 'qcow2', "
                                      "'read-only': true, 'file': {'driver': "
                                      "'file', 'filename': 'disk1'}}");
    bool ok = crash_check_node(bs, why);

    if (ok && bs->total_bytes != (int64_t)crash_machine->disks[0]->len) {
        g_string_append(why, "the image has another size than the disk");
        ok = false;
    }
    bdrv_unref(bs);
    return ok;
}

/* It goes on: for writing first, as the image may have to follow the disk. */
static bool check_tracked(CrashRun *r, CrashTime cut, GString *why)
{
    for (int i = 0; i < 2; i++) {
        Error *err = NULL;
        BlockDriverState *bs = open_tracked(i == 0, &err);
        bool ok;

        if (!bs) {
            g_string_append_printf(why, "it cannot be opened: %s",
                                   error_get_pretty(err));
            error_free(err);
            return false;
        }
        ok = check_node(r, bs, cut, why);
        bdrv_unref(bs);
        if (!ok || !check_image(why)) {
            return false;
        }
    }
    return true;
}

static void free_tracked(CrashRun *r)
{
    Tracked *t = r->opaque;

    if (t) {
        g_free(t->sha256);
        g_free(t->cleared);
        g_free(t);
    }
}

static const CrashProgram programs[] = {
    { .name = "tracked", .mix = { .write = 6, .zeroes = 2, .discard = 1,
                                  .flush = 2, .read = 1 },
      .run = run_writes, .check = check_tracked, .free = free_tracked,
      .seeds = 30, .budget = 200, .steps = 30 },
    { .name = "tracked-resize", .mix = { .write = 6, .zeroes = 2, .flush = 2 },
      .run = run_resizes, .check = check_tracked, .free = free_tracked,
      .seeds = 40, .budget = 250, .steps = 24 },
    { .name = "tracked-kills", .mix = { .write = 8, .zeroes = 1 },
      .run = run_kills, .check = check_tracked, .free = free_tracked,
      .seeds = 20, .budget = 200, .steps = 24 },
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
