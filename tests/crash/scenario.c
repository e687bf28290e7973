/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What programs have in common: disk0, its guest, and how it is looked at. */
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

BlockDriverState *crash_open_guest(CrashRun *r)
{
    static const char *const caches[] = {
        "'l2-cache-size': 1, ", "'l2-cache-size': 1, 'refcount-cache-size': 1,"
        " ", "", "",
    };

    return crash_open(BDRV_O_RDWR, &error_abort, "{'driver': 'qcow2', %s"
                      "'discard': '%s', 'file': {'driver': 'file', "
                      "'filename': 'disk0'}}",
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

void crash_fill(CrashRun *r, int steps)
{
    CrashLog *log = crash_log_new();
    g_autofree uint8_t *zeroes = g_malloc0(r->image.size / CRASH_UNIT);

    r->model = crash_model_new(log, r->image.size, r->image.size, zeroes);
    crash_attach(r, crash_open_guest(r));
    crash_guest_start(&r->guest, steps);
    crash_guest_wait(&r->guest);
    g_clear_pointer(&r->guest.blk, blk_unref);
    g_clear_pointer(&r->model, crash_model_free);
    crash_log_free(log);
}

void crash_go_live(CrashRun *r, int64_t capacity)
{
    g_autofree uint8_t *data = NULL, *values = NULL;
    BlockDriverState *bs = crash_open(0, &error_abort, "{'driver': 'qcow2', "
                                      "'read-only': true, 'file': {'driver': "
                                      "'file', 'filename': 'disk0'}}");
    int64_t bytes;

    data = crash_read(bs, &bytes, r->guest.error);
    g_assert_nonnull(data);
    bdrv_unref(bs);
    capacity = MAX(capacity, bytes);
    data = g_realloc(data, capacity);
    memset(data + bytes, 0, capacity - bytes);
    values = crash_values(data, capacity);
    r->model = crash_model_new(r->log, capacity, bytes, values);
    r->model->last_value = g_rand_int_range(r->rand, 60, 140);
    crash_machine_go_live(r->machine, r->log, r->seed + 2000000);
}

/* --- after a loss --- */

static BlockDriverState *open_after(bool writable, GString *why)
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

static bool shows_allowed(CrashRun *r, BlockDriverState *bs, CrashTime cut,
                          GString *why)
{
    int64_t bytes;
    g_autofree uint8_t *data = crash_read(bs, &bytes, why);

    return data && crash_model_allows(r->model, cut, data, bytes, why);
}

/* It must be of use: nothing that is written harms something else. */
static bool go_on(CrashRun *r, CrashTime cut, GString *why)
{
    BlockDriverState *bs = open_after(true, why);
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
    ok = ok && crash_check_node(bs, why);
    blk_unref(blk);
    bdrv_unref(bs);
    return ok;
}

bool crash_check_disk(CrashRun *r, CrashTime cut, GString *why)
{
    BlockDriverState *bs;
    bool ok;

    if (!r->image.lazy_refcounts) {
        bs = open_after(false, why);
        ok = bs && crash_check_node(bs, why) &&
             shows_allowed(r, bs, cut, why);
        bdrv_unref(bs);
        if (!ok || g_str_hash(r->program->name) % 3 != cut % 3) {
            return ok;
        }
    }
    return go_on(r, cut, why);
}
