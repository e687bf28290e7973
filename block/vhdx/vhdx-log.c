/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replaying the log of a vhdx image.
 *
 * The log is a ring of entries, which begin at multiples of 4 KiB: a header,
 * descriptors of zeroes and of data, and a sector for each descriptor of data.
 * Successive entries have successive numbers; the last one names the first one
 * that still counts (the tail).
 */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/graph.h"
#include "qemu/error.h"
#include "vhdx-int.h"

#define SECTOR (4 * KiB)
#define ENTRY_BYTES 64      /* of the header of an entry */
#define DESC_BYTES 32
#define MAX_ENTRY (64 * MiB)

enum {
    AT_LENGTH = 8,
    AT_TAIL = 12,
    AT_ENTRY_SEQUENCE = 16,
    AT_COUNT = 24,
    AT_GUID = 32,
    AT_FLUSHED = 48,
    AT_LAST = 56,
};

typedef struct Log {
    BlockDriverState *bs;
    const uint8_t *guid;
    uint64_t start, bytes;
} Log;

/* Entries that follow each other. */
typedef struct Sequence {
    GArray *positions; /* of uint32_t */
    uint64_t last;     /* number of the last entry */
    uint32_t tail;     /* as that says */
    uint64_t bytes;    /* of all */
} Sequence;

/* --- reading an entry --- */

/* Reads from the ring. */
static int log_read(const Log *log, uint64_t at, uint64_t bytes, uint8_t *buf)
{
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        uint64_t n = MIN(bytes, log->bytes - at);

        ret = bdrv_pread(log->bs->file, log->start + at, n, buf);
        buf += n;
        bytes -= n;
        at = 0;
    }
    return MIN(ret, 0);
}

static bool check_sector(const uint8_t *sector, uint64_t number)
{
    return !memcmp(sector, "data", 4) && ld32_le(sector + 4) == number >> 32 &&
           ld32_le(sector + SECTOR - 4) == (uint32_t)number;
}

/* Is what the checksum protects meaningful? */
static bool check_descriptors(const uint8_t *entry, uint32_t bytes)
{
    uint64_t number = ld64_le(entry + AT_ENTRY_SEQUENCE);
    uint32_t count = ld32_le(entry + AT_COUNT);
    uint64_t at = ROUND_UP(ENTRY_BYTES + (uint64_t)count * DESC_BYTES, SECTOR);

    if (at > bytes) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *desc = entry + ENTRY_BYTES + i * DESC_BYTES;

        if (ld64_le(desc + 24) != number) {
            return false;
        }
        if (!memcmp(desc, "desc", 4)) {
            if (at + SECTOR > bytes || !check_sector(entry + at, number)) {
                return false;
            }
            at += SECTOR;
        } else if (memcmp(desc, "zero", 4)) {
            return false;
        }
    }
    return at == bytes;
}

/* The valid entry at @at, or NULL; *@ret < 0 if reading fails. */
static uint8_t *read_entry(const Log *log, uint64_t at, int *ret)
{
    uint8_t header[ENTRY_BYTES];
    uint32_t bytes, tail;
    uint8_t *entry;

    *ret = log_read(log, at, sizeof(header), header);
    if (*ret < 0 || memcmp(header, "loge", 4) ||
        memcmp(header + AT_GUID, log->guid, 16)) {
        return NULL;
    }
    bytes = ld32_le(header + AT_LENGTH);
    tail = ld32_le(header + AT_TAIL);
    if (bytes < SECTOR || bytes % SECTOR || bytes > log->bytes ||
        bytes > MAX_ENTRY || tail % SECTOR || tail >= log->bytes ||
        ld64_le(header + AT_ENTRY_SEQUENCE) == 0) {
        return NULL;
    }
    entry = g_try_malloc(bytes);
    *ret = entry ? log_read(log, at, bytes, entry) : -ENOMEM;
    if (*ret < 0 || ld32_le(entry + VHDX_AT_CHECKSUM) !=
                    vhdx_checksum(entry, bytes) ||
        !check_descriptors(entry, bytes)) {
        g_free(entry);
        return NULL;
    }
    return entry;
}

/* --- finding the entries that count --- */

/* Appends the entry at @at if it continues the sequence. */
static bool extend(const Log *log, Sequence *seq, uint32_t at, int *ret)
{
    g_autofree uint8_t *entry = read_entry(log, at, ret);
    uint32_t bytes;

    if (!entry) {
        return false;
    }
    bytes = ld32_le(entry + AT_LENGTH);
    if ((seq->positions->len &&
         ld64_le(entry + AT_ENTRY_SEQUENCE) != seq->last + 1) ||
        bytes > log->bytes - seq->bytes) {
        return false;
    }
    g_array_append_val(seq->positions, at);
    seq->last = ld64_le(entry + AT_ENTRY_SEQUENCE);
    seq->tail = ld32_le(entry + AT_TAIL);
    seq->bytes += bytes;
    return true;
}

/* The index of the tail; false: it is not in the sequence. */
static bool find_tail(const Sequence *seq, guint *index)
{
    for (guint i = 0; i < seq->positions->len; i++) {
        if (g_array_index(seq->positions, uint32_t, i) == seq->tail) {
            *index = i;
            return true;
        }
    }
    return false;
}

static void sequence_clear(Sequence *seq)
{
    g_array_set_size(seq->positions, 0);
    seq->bytes = 0;
}

/* The valid sequence with the largest number goes to @best. */
static int find_active(const Log *log, Sequence *best)
{
    Sequence seq = {.positions = g_array_new(FALSE, FALSE, 4)};
    guint unused;
    int ret = 0;

    for (uint64_t at = 0, next; ret >= 0 && at < log->bytes; at = next) {
        sequence_clear(&seq);
        while (ret >= 0 && seq.bytes < log->bytes &&
               extend(log, &seq, (at + seq.bytes) % log->bytes, &ret)) {
            /* The next one. */
        }
        next = at + MAX(seq.bytes, SECTOR);
        if (seq.positions->len && find_tail(&seq, &unused) &&
            (!best->positions->len || seq.last > best->last)) {
            GArray *old = best->positions;

            *best = seq;
            seq.positions = old;
        }
    }
    g_array_unref(seq.positions);
    return ret;
}

/* --- applying --- */

/* Headers and the log itself are never updated through the log. */
static bool may_write(const Log *log, uint64_t offset, uint64_t bytes,
                      uint64_t end)
{
    return offset >= VHDX_REGIONS_1 && offset % SECTOR == 0 &&
           bytes % SECTOR == 0 && range_fits(offset, bytes, end) &&
           (offset + bytes <= log->start ||
            offset >= log->start + log->bytes);
}

static int write_zeroes(const Log *log, uint64_t offset, uint64_t bytes)
{
    g_autofree uint8_t *zeroes = g_malloc0(1 * MiB);
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        uint64_t n = MIN(bytes, 1 * MiB);

        ret = bdrv_pwrite(log->bs->file, offset, n, zeroes);
        offset += n;
        bytes -= n;
    }
    return ret;
}

static int apply_descriptor(const Log *log, const uint8_t *desc,
                            const uint8_t *sector, uint64_t end)
{
    uint64_t offset = ld64_le(desc + 16);
    uint8_t data[SECTOR];

    if (!memcmp(desc, "zero", 4)) {
        uint64_t bytes = ld64_le(desc + 8);

        return may_write(log, offset, bytes, end)
            ? write_zeroes(log, offset, bytes) : -EINVAL;
    }
    if (!may_write(log, offset, SECTOR, end)) {
        return -EINVAL;
    }
    /* The descriptor has what the signatures of the sector replaced. */
    memcpy(data, sector, SECTOR);
    memcpy(data, desc + 8, 8);
    memcpy(data + SECTOR - 4, desc + 4, 4);
    return bdrv_pwrite(log->bs->file, offset, SECTOR, data);
}

static int apply_entry(const Log *log, const uint8_t *entry, Error **errp)
{
    uint32_t count = ld32_le(entry + AT_COUNT);
    uint64_t at = ROUND_UP(ENTRY_BYTES + (uint64_t)count * DESC_BYTES, SECTOR);
    uint64_t last = ld64_le(entry + AT_LAST);
    int64_t length = bdrv_getlength(log->bs->file->bs);
    int ret = length < 0 ? (int)length : 0;

    if (ret == 0 && ld64_le(entry + AT_FLUSHED) > (uint64_t)length) {
        error_setg(errp, "VHDX file has been truncated: %" PRId64 " bytes "
                   "instead of %" PRIu64, length, ld64_le(entry + AT_FLUSHED));
        return -EINVAL;
    }
    /* Only metadata is logged, and that is at most as large as the disk. */
    if (ret == 0 && last > 2 * VHDX_MAX_BYTES) {
        ret = -EINVAL;
    }
    for (uint32_t i = 0; ret >= 0 && i < count; i++) {
        const uint8_t *desc = entry + ENTRY_BYTES + i * DESC_BYTES;

        ret = apply_descriptor(log, desc, entry + at,
                               MAX(last, (uint64_t)length));
        at += memcmp(desc, "desc", 4) ? 0 : SECTOR;
    }
    if (ret >= 0 && last > (uint64_t)bdrv_getlength(log->bs->file->bs)) {
        static const uint8_t zeroes[BDRV_SECTOR_SIZE];

        ret = bdrv_pwrite(log->bs->file, ROUND_DOWN(last - 1, sizeof(zeroes)),
                          sizeof(zeroes), zeroes);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not replay the VHDX log");
    }
    return MIN(ret, 0);
}

static int apply(const Log *log, const Sequence *seq, Error **errp)
{
    guint first = 0;
    int ret = 0;

    find_tail(seq, &first);
    for (guint i = first; ret == 0 && i < seq->positions->len; i++) {
        uint32_t at = g_array_index(seq->positions, uint32_t, i);
        g_autofree uint8_t *entry = read_entry(log, at, &ret);

        if (!entry) {
            error_setg_errno(errp, ret < 0 ? -ret : EIO,
                             "Could not read the VHDX log again");
            return ret < 0 ? ret : -EIO;
        }
        ret = apply_entry(log, entry, errp);
    }
    if (ret == 0) {
        ret = bdrv_flush(log->bs->file->bs);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not flush the replayed VHDX "
                             "log");
        }
    }
    return ret;
}

int vhdx_log_replay(BlockDriverState *bs, Error **errp)
{
    VhdxState *s = bs->opaque;
    Log log = {
        .bs = bs, .guid = s->header + VHDX_AT_LOG_GUID,
        .start = s->log, .bytes = s->log_bytes,
    };
    Sequence seq = {.positions = g_array_new(FALSE, FALSE, 4)};
    int ret = find_active(&log, &seq);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VHDX log");
    } else if (seq.positions->len && bdrv_is_inactive(bs)) {
        ret = 0; /* what the process that has it writes */
    } else if (seq.positions->len && bs->read_only) {
        error_setg(errp, "VHDX image is opened read-only, but has a log that "
                   "needs to be replayed");
        error_append_hint(errp, "'qemu-img check -r all' replays it.\n");
        ret = -EPERM;
    } else if (seq.positions->len) {
        ret = apply(&log, &seq, errp);
        ret = ret < 0 ? ret : 1;
    }
    g_array_unref(seq.positions);
    return ret;
}
