/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on disks, and their possible states after a power loss. */
#include "crash.h"

/* --- recording --- */

static void op_free(void *opaque)
{
    CrashOp *op = opaque;

    g_free(op->data);
    g_free(op);
}

CrashLog *crash_log_new(void)
{
    CrashLog *log = g_new0(CrashLog, 1);

    log->ops = g_ptr_array_new_with_free_func(op_free);
    log->done = g_ptr_array_new();
    for (int i = 0; i < CRASH_DISKS; i++) {
        log->base[i] = g_byte_array_new();
    }
    return log;
}

void crash_log_free(CrashLog *log)
{
    for (int i = 0; i < CRASH_DISKS; i++) {
        g_byte_array_unref(log->base[i]);
    }
    g_ptr_array_unref(log->done);
    g_ptr_array_unref(log->ops);
    g_free(log);
}

CrashTime crash_log_tick(CrashLog *log)
{
    g_assert_cmpuint(log->now, <, CRASH_NEVER - 1);
    return ++log->now;
}

void crash_log_set_base(CrashLog *log, unsigned disk, const uint8_t *data,
                        size_t bytes)
{
    g_assert_cmpuint(log->ops->len, ==, 0);
    g_byte_array_set_size(log->base[disk], 0);
    g_byte_array_append(log->base[disk], data, bytes);
}

CrashOp *crash_log_begin(CrashLog *log, CrashOpKind kind, unsigned disk,
                         int64_t offset, int64_t bytes, const uint8_t *data)
{
    CrashOp *op = g_new0(CrashOp, 1);

    g_assert_cmpuint(disk, <, CRASH_DISKS);
    op->kind = kind;
    op->disk = disk;
    op->offset = offset;
    op->bytes = bytes;
    op->data = data ? g_memdup2(data, bytes) : NULL;
    op->start = crash_log_tick(log);
    op->end = CRASH_NEVER;
    g_ptr_array_add(log->ops, op);
    return op;
}

void crash_log_end(CrashLog *log, CrashOp *op, int64_t size)
{
    g_assert_cmpuint(op->end, ==, CRASH_NEVER);
    op->end = crash_log_tick(log);
    op->grows = op->offset + op->bytes > size;
    if (op->kind != CRASH_OP_FLUSH) {
        g_ptr_array_add(log->done, op);
    }
}

/* --- disks --- */

static void set_size(GByteArray *disk, int64_t size)
{
    guint old = disk->len;

    g_byte_array_set_size(disk, size);
    if (size > old) {
        memset(disk->data + old, 0, size - old);
    }
}

/* The part of a write that lies in [@from, @to). */
static void apply_part(const CrashOp *op, GByteArray *disk, int64_t from,
                       int64_t to)
{
    int64_t start = MAX(from, op->offset);
    int64_t end = MIN(to, op->offset + op->bytes);

    if (end <= start) {
        return;
    }
    if (end > disk->len) {
        set_size(disk, end);
    }
    if (op->data) {
        memcpy(disk->data + start, op->data + (start - op->offset),
               end - start);
    } else {
        memset(disk->data + start, 0, end - start);
    }
}

void crash_op_apply(const CrashOp *op, GByteArray *disk)
{
    if (op->kind == CRASH_OP_TRUNCATE) {
        set_size(disk, op->offset);
    } else if (op->kind == CRASH_OP_WRITE) {
        apply_part(op, disk, op->offset, op->offset + op->bytes);
    }
}

static void copy_disk(GByteArray *to, const GByteArray *from)
{
    g_byte_array_set_size(to, from->len);
    if (from->len) {
        memcpy(to->data, from->data, from->len);
    }
}

/* --- moments --- */

CrashReplay *crash_replay_new(CrashLog *log)
{
    CrashReplay *r = g_new0(CrashReplay, 1);

    r->log = log;
    r->pending = g_ptr_array_new();
    for (int i = 0; i < CRASH_DISKS; i++) {
        r->base[i] = g_byte_array_new();
        copy_disk(r->base[i], log->base[i]);
    }
    return r;
}

void crash_replay_free(CrashReplay *r)
{
    for (int i = 0; i < CRASH_DISKS; i++) {
        g_byte_array_unref(r->base[i]);
    }
    g_ptr_array_unref(r->pending);
    g_free(r);
}

/* For each disk: what was complete before this time is durable. */
static void flushed_until(const CrashLog *log, CrashTime cut,
                          CrashTime *flushed)
{
    memset(flushed, 0, CRASH_DISKS * sizeof(*flushed));
    for (guint i = 0; i < log->ops->len; i++) {
        const CrashOp *op = log->ops->pdata[i];

        if (op->start > cut) {
            break;
        }
        if (op->kind == CRASH_OP_FLUSH && op->end <= cut) {
            flushed[op->disk] = MAX(flushed[op->disk], op->start);
        }
    }
}

void crash_replay_seek(CrashReplay *r, CrashTime cut)
{
    CrashLog *log = r->log;
    CrashTime flushed[CRASH_DISKS];

    g_assert_cmpuint(cut, >=, r->cut);
    flushed_until(log, cut, flushed);
    /* What was pending and is durable now comes first of what is. */
    for (guint i = 0; i < r->pending->len; i++) {
        const CrashOp *op = r->pending->pdata[i];

        if (op->end <= r->cut && op->end < flushed[op->disk]) {
            crash_op_apply(op, r->base[op->disk]);
            g_ptr_array_remove_index(r->pending, i--);
        } else if (op->end > r->cut) {
            g_ptr_array_remove_index(r->pending, i--); /* it was in flight */
        }
    }
    for (; r->applied < log->done->len; r->applied++) {
        CrashOp *op = log->done->pdata[r->applied];

        if (op->end > cut) {
            break;
        }
        if (op->end < flushed[op->disk]) {
            crash_op_apply(op, r->base[op->disk]);
        } else {
            g_ptr_array_add(r->pending, op);
        }
    }
    for (guint i = 0; i < log->ops->len; i++) {
        CrashOp *op = log->ops->pdata[i];

        if (op->start > cut) {
            break;
        }
        if (op->kind != CRASH_OP_FLUSH && op->end > cut) {
            g_ptr_array_add(r->pending, op);
        }
    }
    r->cut = cut;
}

/* --- states --- */

/* Per disk: when the latest request that is there began. */
typedef struct Latest {
    CrashTime *sector;
    CrashTime size; /* ... of those that make the file grow or shrink */
} Latest;

static int64_t first_sector(const CrashOp *op)
{
    return op->offset / CRASH_SECTOR;
}

static int64_t nb_sectors(const CrashOp *op)
{
    return op->bytes == 0 ? 0 :
           (op->offset + op->bytes - 1) / CRASH_SECTOR - first_sector(op) + 1;
}

static bool picked(CrashPick pick, uint32_t seed, guint index, int64_t sector)
{
    uint32_t h = seed ^ (index * 0x9e3779b1u) ^ ((uint32_t)sector *
                                                 0x85ebca6bu);

    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    h ^= h >> 12;
    return pick == CRASH_WHOLE || (pick == CRASH_TORN && (h & 1));
}

/*
 * Which sectors of @op are there (@there, one byte each): those picked, and
 * those that a later request on them needs.
 */
static bool decide(const CrashOp *op, CrashPick pick, uint32_t seed,
                   guint index, Latest *latest, uint8_t *there)
{
    bool any = false;

    if (op->kind == CRASH_OP_TRUNCATE) {
        there[0] = pick != CRASH_LOST || latest->size > op->end;
        any = there[0];
    }
    for (int64_t i = 0; op->kind == CRASH_OP_WRITE && i < nb_sectors(op);
         i++) {
        CrashTime *t = &latest->sector[first_sector(op) + i];

        there[i] = picked(pick, seed, index, i) || *t > op->end;
        if (there[i]) {
            *t = MAX(*t, op->start);
            any = true;
        }
    }
    if (any && (op->grows || op->kind == CRASH_OP_TRUNCATE)) {
        latest->size = MAX(latest->size, op->start);
    }
    return any;
}

static void apply_there(const CrashOp *op, const uint8_t *there,
                        GByteArray *disk)
{
    int64_t n = nb_sectors(op), first = first_sector(op);

    if (op->kind == CRASH_OP_TRUNCATE) {
        if (there[0]) {
            set_size(disk, op->offset);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (there[i]) {
            apply_part(op, disk, (first + i) * CRASH_SECTOR,
                       (first + i + 1) * CRASH_SECTOR);
        }
    }
}

void crash_replay_build(const CrashReplay *r, const uint8_t *picks,
                        uint32_t seed, GByteArray **disks)
{
    Latest latest[CRASH_DISKS] = { 0 };
    int64_t extent[CRASH_DISKS] = { 0 };
    guint n = r->pending->len;
    g_autofree size_t *where = g_new0(size_t, n + 1);
    g_autofree uint8_t *there = NULL;

    for (guint i = 0; i < n; i++) {
        const CrashOp *op = r->pending->pdata[i];

        where[i + 1] = where[i] + MAX(nb_sectors(op), 1);
        extent[op->disk] = MAX(extent[op->disk],
                               first_sector(op) + nb_sectors(op));
    }
    there = g_malloc0(where[n] + 1);
    for (int d = 0; d < CRASH_DISKS; d++) {
        latest[d].sector = g_new0(CrashTime, extent[d] + 1);
        copy_disk(disks[d], r->base[d]);
    }
    for (guint i = n; i-- > 0; ) {
        const CrashOp *op = r->pending->pdata[i];

        decide(op, picks[i], seed, i, &latest[op->disk], there + where[i]);
    }
    for (guint i = 0; i < n; i++) {
        const CrashOp *op = r->pending->pdata[i];

        apply_there(op, there + where[i], disks[op->disk]);
    }
    for (int d = 0; d < CRASH_DISKS; d++) {
        g_free(latest[d].sector);
    }
}

char *crash_op_describe(const CrashOp *op, CrashPick pick)
{
    static const char *const kinds[] = { "write", "truncate", "flush" };
    static const char *const how[] = { "lost", "there", "torn" };
    g_autofree char *end = op->end == CRASH_NEVER ? g_strdup("")
                           : g_strdup_printf("%u", op->end);

    return g_strdup_printf("%s %s disk%u %#" PRIx64 "+%#" PRIx64 "%s (%u..%s)",
                           how[pick], kinds[op->kind], op->disk, op->offset,
                           op->bytes, op->kind == CRASH_OP_WRITE && !op->data
                           ? " zeroes" : "", op->start, end);
}
