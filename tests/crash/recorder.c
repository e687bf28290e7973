/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks in memory under the driver "file".  While the machine is live each
 * request waits for a random time, so that requests overtake each other; it
 * takes effect when it completes.  One request completes in a turn of the loop,
 * and turns in which none is due are skipped: no clock is involved, and the
 * same seed gives the same order.
 */
#include "crash.h"

typedef struct Waiter {
    Coroutine *co;
    uint64_t due;
} Waiter;

CrashMachine *crash_machine;
static GPtrArray *waiters; /* of Waiter * in the frames of the waiting */
static AioBH *turn_bh;
static uint64_t now;

static void next_turn(void *opaque)
{
    guint first = 0;
    Waiter *w;

    for (guint i = 1; i < waiters->len; i++) {
        const Waiter *a = waiters->pdata[i], *b = waiters->pdata[first];

        first = a->due < b->due ? i : first;
    }
    if (waiters->len == 0) {
        return;
    }
    w = waiters->pdata[first];
    g_ptr_array_remove_index(waiters, first);
    now = MAX(now, w->due);
    if (waiters->len) {
        aio_bh_schedule(turn_bh);
    }
    co_wake(w->co);
}

/* Most take a few turns, some very long. */
static void coroutine_fn take_time(CrashMachine *m)
{
    Waiter w = { .co = coroutine_self() };
    bool slow;

    if (!m->live) {
        return;
    }
    slow = (unsigned)g_rand_int_range(m->rand, 0, 100) < m->slow;
    w.due = now + g_rand_int_range(m->rand, 1, slow ? 120 : 6);
    g_ptr_array_add(waiters, &w);
    aio_bh_schedule(turn_bh);
    coroutine_yield();
}

CrashMachine *crash_machine_new(void)
{
    CrashMachine *m = g_new0(CrashMachine, 1);

    for (int i = 0; i < CRASH_DISKS; i++) {
        m->disks[i] = g_byte_array_new();
    }
    waiters = g_ptr_array_new();
    turn_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_IO, next_turn, NULL);
    now = 0;
    return m;
}

void crash_machine_free(CrashMachine *m)
{
    g_assert_cmpuint(waiters->len, ==, 0);
    aio_bh_free(turn_bh);
    g_ptr_array_unref(waiters);
    for (int i = 0; i < CRASH_DISKS; i++) {
        g_byte_array_unref(m->disks[i]);
    }
    g_clear_pointer(&m->rand, g_rand_free);
    g_free(m);
}

void crash_machine_go_live(CrashMachine *m, CrashLog *log, uint32_t seed)
{
    for (unsigned i = 0; i < CRASH_DISKS; i++) {
        crash_log_set_base(log, i, m->disks[i]->data, m->disks[i]->len);
    }
    m->log = log;
    g_clear_pointer(&m->rand, g_rand_free);
    m->rand = g_rand_new_with_seed(seed);
    m->live = true;
}

/* --- the driver --- */

typedef struct RecorderState {
    unsigned disk;
} RecorderState;

static GByteArray *disk_of(BlockDriverState *bs)
{
    const RecorderState *s = bs->opaque;

    return crash_machine->disks[s->disk];
}

static int rec_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    RecorderState *s = bs->opaque;
    const char *name = options->u.file.filename;

    if (!g_str_has_prefix(name, "disk") || name[4] < '0' ||
        name[4] >= '0' + CRASH_DISKS || (name[5] && name[5] != '-')) {
        error_setg(errp, "There is no disk called '%s'", name);
        return -ENOENT;
    }
    s->disk = name[4] - '0';
    return 0;
}

static int64_t rec_getlength(BlockDriverState *bs)
{
    return disk_of(bs)->len;
}

/* Times are not simulated: all disks have the same one. */
static int rec_get_identity(BlockDriverState *bs, bool durable,
                            BdrvIdentity *id)
{
    const RecorderState *s = bs->opaque;

    *id = (BdrvIdentity){
        .kind = BDRV_IDENTITY_FILE,
        .bytes = disk_of(bs)->len,
        .inode = s->disk + 1,
    };
    return 0;
}

static void rec_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = MAX(crash_machine->alignment, 1);
}

static bool rec_zero_init(BlockDriverState *bs)
{
    return true;
}

static int coroutine_fn rec_preadv(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags)
{
    GByteArray *disk = disk_of(bs);
    int64_t n;

    take_time(crash_machine);
    n = CLAMP((int64_t)disk->len - offset, 0, bytes);
    if (n) {
        qemu_iovec_from_buf(qiov, qiov_offset, disk->data + offset, n);
    }
    qemu_iovec_memset(qiov, qiov_offset + n, 0, bytes - n);
    return 0;
}

/* Any change of the disk: recorded, and completed after a while. */
static int coroutine_fn change(BlockDriverState *bs, CrashOpKind kind,
                               int64_t offset, int64_t bytes,
                               const uint8_t *data)
{
    const RecorderState *s = bs->opaque;
    CrashMachine *m = crash_machine;
    CrashOp now_op = {
        .kind = kind, .offset = offset, .bytes = bytes,
        .data = (uint8_t *)data,
    };
    CrashOp *op;

    if (m->broken >> s->disk & 1) {
        return -EIO;
    }
    if (!m->live) {
        crash_op_apply(&now_op, disk_of(bs));
        return 0;
    }
    op = crash_log_begin(m->log, kind, s->disk, offset, bytes, data);
    take_time(m);
    crash_log_end(m->log, op, disk_of(bs)->len);
    crash_op_apply(op, disk_of(bs));
    return 0;
}

static int coroutine_fn rec_pwritev(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes, QEMUIOVector *qiov,
                                    size_t qiov_offset,
                                    BdrvRequestFlags flags)
{
    g_autofree uint8_t *data = g_malloc(bytes);

    qemu_iovec_to_buf(qiov, qiov_offset, data, bytes);
    return change(bs, CRASH_OP_WRITE, offset, bytes, data);
}

static int coroutine_fn rec_pwrite_zeroes(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes,
                                          BdrvRequestFlags flags)
{
    return change(bs, CRASH_OP_WRITE, offset, bytes, NULL);
}

static int coroutine_fn rec_pdiscard(BlockDriverState *bs, int64_t offset,
                                     int64_t bytes)
{
    bytes = MIN(bytes, (int64_t)disk_of(bs)->len - offset);
    return bytes <= 0 ? 0 : change(bs, CRASH_OP_WRITE, offset, bytes, NULL);
}

static int coroutine_fn rec_flush(BlockDriverState *bs)
{
    return change(bs, CRASH_OP_FLUSH, 0, 0, NULL);
}

static int coroutine_fn rec_truncate(BlockDriverState *bs, int64_t offset,
                                     bool exact, PreallocMode prealloc,
                                     BdrvRequestFlags flags, Error **errp)
{
    return change(bs, CRASH_OP_TRUNCATE, offset, 0, NULL);
}

static const char *const rec_strong[] = { "filename", NULL };

const BlockDriver crash_recorder = {
    .format_name = "file",
    .protocol_name = "file",
    .instance_size = sizeof(RecorderState),
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK,
    .strong_options = rec_strong,
    .open = rec_open,
    .getlength = rec_getlength,
    .get_identity = rec_get_identity,
    .refresh_limits = rec_limits,
    .has_zero_init = rec_zero_init,
    .co_preadv = rec_preadv,
    .co_pwritev = rec_pwritev,
    .co_pwrite_zeroes = rec_pwrite_zeroes,
    .co_pdiscard = rec_pdiscard,
    .co_flush = rec_flush,
    .co_truncate = rec_truncate,
};
