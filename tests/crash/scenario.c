/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions common to programs: disk0, its guest, and its checks. */
#include "crash.h"

#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

void crash_draw_image(CrashRun *r)
{
    static const uint64_t widths[] = { 16, 16, 16, 1, 2, 4, 8, 32, 64 };
    BlockdevCreateOptionsQcow2 *c = &r->image;
    int bits = g_rand_int_range(r->rand, 9, 17);
    int64_t most = MAX(INT64_C(384) * KiB >> bits, 6);

    c->has_version = c->has_cluster_size = c->has_refcount_bits = true;
    c->version = g_rand_int_range(r->rand, 0, 5) ? BLOCKDEV_QCOW2_VERSION_V3
                                                 : BLOCKDEV_QCOW2_VERSION_V2;
    c->cluster_size = UINT64_C(1) << bits;
    c->refcount_bits = c->version == BLOCKDEV_QCOW2_VERSION_V2
        ? 16 : widths[g_rand_int_range(r->rand, 0, ARRAY_SIZE(widths))];
    c->size = g_rand_int_range(r->rand, 3, MIN(most, 160)) * c->cluster_size;
    if (g_rand_boolean(r->rand)) { /* the last cluster is not a whole one */
        c->size -= g_rand_int_range(r->rand, 0, c->cluster_size / CRASH_SECTOR)
                   * CRASH_SECTOR;
    }
    r->machine->alignment = g_rand_boolean(r->rand) ? CRASH_SECTOR : 1;
    r->machine->slow = g_rand_int_range(r->rand, 0, 25);
    r->guest.cluster = c->cluster_size;
    r->guest.workers = g_rand_int_range(r->rand, 1, 7);
}

void crash_make_base(CrashRun *r, unsigned disk, const char *backing)
{
    BlockdevCreateOptionsQcow2 c = {
        .size = r->image.size, .has_cluster_size = true,
        .cluster_size = UINT64_C(1) << g_rand_int_range(r->rand, 9, 17),
        .backing_file = (char *)backing,
        .has_backing_fmt = backing, .backing_fmt = BLOCKDEV_DRIVER_QCOW2,
    };
    BlockDriverState *bs;
    BlockBackend *blk;

    if (g_rand_int_range(r->rand, 0, 3) == 0) { /* shorter or longer */
        c.size = g_rand_int_range(r->rand, 1, 2 * c.size / CRASH_SECTOR) *
                 CRASH_SECTOR;
    }
    crash_create(disk, &c);
    bs = crash_open(BDRV_O_RDWR, &error_abort, "{'driver': 'qcow2', 'file': "
                    "{'driver': 'file', 'filename': 'disk%u'}}", disk);
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
    for (int64_t pos = 0, n; pos < (int64_t)c.size; pos += n) {
        uint8_t buf[8192];

        n = g_rand_int_range(r->rand, 1, sizeof(buf) / CRASH_UNIT + 1) *
            CRASH_UNIT;
        n = MIN(n, (int64_t)c.size - pos);
        memset(buf, g_rand_int_range(r->rand, 201, 254), n);
        if (g_rand_int_range(r->rand, 0, 4)) {
            g_assert_cmpint(blk_pwrite(blk, pos, n, buf, 0), ==, 0);
        }
    }
    blk_unref(blk);
}

void crash_make_chain(CrashRun *r, unsigned disks)
{
    for (unsigned disk = disks; disk > 0; disk--) {
        g_autofree char *backing = g_strdup_printf("disk%u", disk + 1);

        crash_make_base(r, disk, disk == disks ? NULL : backing);
    }
    r->image.backing_file = g_strdup("disk1");
    r->image.has_backing_fmt = true;
    r->image.backing_fmt = BLOCKDEV_DRIVER_QCOW2;
}

/* "'backing': {...}, " down to disk number @disks. */
static char *chain_text(unsigned disk, unsigned disks)
{
    g_autofree char *below = NULL;

    if (disk > disks) {
        return g_strdup("");
    }
    below = chain_text(disk + 1, disks);
    return g_strdup_printf("'backing': {'driver': 'qcow2', 'node-name': "
                           "'node%u', %s'file': {'driver': 'file', "
                           "'filename': 'disk%u'}}, ", disk, below, disk);
}

BlockDriverState *crash_open_guest(CrashRun *r, unsigned disks)
{
    static const char *const caches[] = {
        "'l2-cache-size': 1, ", "'l2-cache-size': 1, 'refcount-cache-size': 1,"
        " ", "", "",
    };
    g_autofree char *chain = chain_text(1, disks);

    return crash_open(BDRV_O_RDWR, &error_abort, "{'driver': 'qcow2', "
                      "'node-name': 'node0', %s%s'discard': '%s', 'file': "
                      "{'driver': 'file', 'filename': 'disk0'}}", chain,
                      caches[g_rand_int_range(r->rand, 0, ARRAY_SIZE(caches))],
                      g_rand_boolean(r->rand) ? "unmap" : "ignore");
}

void crash_attach(CrashRun *r, BlockDriverState *bs)
{
    r->guest.blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    r->guest.model = r->model;
    bdrv_unref(bs);
}

void crash_detach(CrashRun *r)
{
    g_clear_pointer(&r->guest.blk, blk_unref);
    r->closed = crash_log_tick(r->log);
}

/* A model that begins with what disk0 shows. */
static CrashModel *model_of_disk(CrashRun *r, CrashLog *log, int64_t capacity)
{
    BlockDriverState *bs = crash_open(0, &error_abort, "{'driver': 'qcow2', "
                                      "'read-only': true, 'file': {'driver': "
                                      "'file', 'filename': 'disk0'}}");
    g_autofree uint8_t *data = NULL, *values = NULL;
    int64_t bytes;

    data = crash_read(bs, &bytes, r->guest.error);
    g_assert_nonnull(data);
    bdrv_unref(bs);
    capacity = MAX(capacity, bytes);
    data = g_realloc(data, capacity);
    memset(data + bytes, 0, capacity - bytes);
    values = crash_values(data, capacity);
    return crash_model_new(log, capacity, bytes, values);
}

void crash_fill(CrashRun *r, int steps)
{
    CrashLog *log = crash_log_new();

    r->model = model_of_disk(r, log, 0);
    crash_attach(r, crash_open_guest(r, 0));
    crash_guest_start(&r->guest, steps);
    crash_guest_wait(&r->guest);
    g_clear_pointer(&r->guest.blk, blk_unref);
    g_clear_pointer(&r->model, crash_model_free);
    crash_log_free(log);
}

void crash_go_live(CrashRun *r, int64_t capacity)
{
    r->model = model_of_disk(r, r->log, capacity);
    r->model->last_value = g_rand_int_range(r->rand, 60, 140);
    crash_machine_go_live(r->machine, r->log, r->seed + 2000000);
}

void crash_lose(CrashRun *r)
{
    CrashReplay *replay = crash_replay_new(r->log);
    g_autofree uint8_t *picks = NULL;

    crash_replay_seek(replay, g_rand_int_range(r->rand, 1, r->log->now + 1));
    picks = g_malloc(replay->pending->len + 1);
    for (guint i = 0; i < replay->pending->len; i++) {
        picks[i] = g_rand_int_range(r->rand, CRASH_LOST, CRASH_TORN + 1);
    }
    crash_replay_build(replay, picks, r->seed, r->machine->disks);
    crash_replay_free(replay);
    r->machine->live = false;
    crash_model_free(r->model);
    crash_log_free(r->log);
    r->log = crash_log_new();
}

/* --- after a loss --- */

BlockDriverState *crash_open_after(bool writable, GString *why)
{
    Error *err = NULL;
    BlockDriverState *bs = crash_open(
        writable ? BDRV_O_RDWR : 0, &err, "{'driver': 'qcow2', 'read-only': "
        "%s, 'file': {'driver': 'file', 'filename': 'disk0'}}",
        writable ? "false" : "true");

    if (!bs) {
        g_string_append_printf(why, "the image cannot be opened%s: %s",
                               writable ? " for writing" : "",
                               error_get_pretty(err));
        error_free(err);
    }
    return bs;
}

static bool check_chain(BlockDriverState *bs, GString *why)
{
    for (; bs; bs = bdrv_backing_chain_next(bs)) {
        if (!crash_check_node(bs, why)) {
            return false;
        }
    }
    return true;
}

static bool shows_allowed(CrashRun *r, BlockDriverState *bs, CrashTime cut,
                          GString *why)
{
    int64_t bytes;
    g_autofree uint8_t *data = crash_read(bs, &bytes, why);

    return data && crash_model_allows(r->model, cut, data, bytes, why);
}

/* The added range is zero, whatever it contained before. */
static bool grows_with_zeroes(BlockBackend *blk, int64_t size, int64_t more,
                              GString *why)
{
    g_autofree uint8_t *buf = g_malloc(more);
    int ret = blk_truncate(blk, size + more, true, PREALLOC_MODE_OFF, 0, NULL);

    if (ret == -ENOTSUP) {
        return true; /* version 2 with snapshots */
    }
    if (ret == 0) {
        ret = blk_pread(blk, size, more, buf, 0);
    }
    if (ret < 0) {
        g_string_append_printf(why, "it does not grow: %s", g_strerror(-ret));
    } else if (!buffer_is_zero(buf, more)) {
        g_string_append(why, "what it grows by is not zeroes");
    } else {
        return true;
    }
    return false;
}

/* The disk must be usable: writes must not damage other data. */
static bool go_on(CrashRun *r, CrashTime cut, GString *why)
{
    BlockDriverState *bs = crash_open_after(true, why);
    g_autofree uint8_t *before = NULL, *after = NULL, *buf = NULL;
    int64_t size = 0, n, offset;
    BlockBackend *blk;
    bool ok;

    if (!bs || !(before = crash_read(bs, &size, why)) ||
        !crash_model_allows(r->model, cut, before, size, why)) {
        bdrv_unref(bs);
        return false;
    }
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    n = MIN(size, (int64_t)r->image.cluster_size * 2);
    offset = ROUND_DOWN(cut * CRASH_SECTOR % size, CRASH_SECTOR);
    n = MIN(n, size - offset);
    buf = g_malloc(n);
    memset(buf, 0xfe, n);
    memcpy(before + offset, buf, n);
    ok = blk_pwrite(blk, offset, n, buf, 0) == 0 && blk_flush(blk) == 0;
    after = ok ? crash_read(bs, &size, why) : NULL;
    ok = after && !memcmp(before, after, size);
    if (!ok) {
        g_string_append(why, "after a write other than what was written has "
                        "changed");
    }
    ok = ok && grows_with_zeroes(blk, size, 2 * r->image.cluster_size, why) &&
         crash_check_node(bs, why);
    blk_unref(blk);
    bdrv_unref(bs);
    return ok;
}

/*
 * Other programs must be able to read it, too.  That costs a process, so only
 * some are checked; the disk decides which, so that failures are reproducible.
 */
static bool check_by_peer(GString *why)
{
    const GByteArray *disk = crash_machine->disks[0];
    uint32_t hash = disk->len;

    for (guint i = 0; i < disk->len; i += CRASH_UNIT) {
        hash = (hash ^ disk->data[i]) * 0x01000193u;
    }
    return (hash >> 8) % 2000 || crash_peer_check(why);
}

bool crash_check_disk(CrashRun *r, CrashTime cut, GString *why)
{
    BlockDriverState *bs;
    bool ok;

    if (!r->image.lazy_refcounts) {
        bs = crash_open_after(false, why);
        ok = bs && check_chain(bs, why) &&
             shows_allowed(r, bs, cut, why) && check_by_peer(why);
        bdrv_unref(bs);
        if (!ok || g_str_hash(r->program->name) % 3 != cut % 3) {
            return ok;
        }
    }
    return go_on(r, cut, why);
}

uint8_t *crash_dirty_units(const BdrvDirtyBitmap *bitmap, int64_t bytes)
{
    uint8_t *units = g_malloc0(bytes / CRASH_UNIT + 1);
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(bitmap);

    for (int64_t pos = 0; pos < bytes; pos += CRASH_UNIT) {
        units[pos / CRASH_UNIT] = hbitmap_get(bits, pos);
    }
    return units;
}
