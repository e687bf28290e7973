/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Valid content of a disk: the requests of a guest, and which of them count. */
#include "crash.h"

#define MAX_VALUE 200 /* of writes; images may begin with larger ones */

CrashModel *crash_model_new(CrashLog *log, int64_t capacity, int64_t size,
                            const uint8_t *initial)
{
    CrashModel *m = g_new0(CrashModel, 1);

    g_assert_true(IS_ALIGNED(capacity, CRASH_UNIT) && size <= capacity);
    m->log = log;
    m->capacity = capacity;
    m->size = m->size_now = size;
    m->initial = g_memdup2(initial, capacity / CRASH_UNIT);
    m->ops = g_array_new(FALSE, FALSE, sizeof(CrashGuestOp));
    m->flushes = g_array_new(FALSE, FALSE, sizeof(CrashGuestOp));
    return m;
}

void crash_model_free(CrashModel *m)
{
    for (guint i = 0; i < m->ops->len; i++) {
        g_free(g_array_index(m->ops, CrashGuestOp, i).values);
    }
    g_array_free(m->ops, TRUE);
    g_array_free(m->flushes, TRUE);
    g_free(m->initial);
    g_free(m);
}

uint8_t crash_model_new_value(CrashModel *m)
{
    m->last_value = m->last_value % MAX_VALUE + 1;
    return m->last_value;
}

static guint begin(CrashModel *m, GArray *list, CrashGuestOp op)
{
    op.start = crash_log_tick(m->log);
    op.end = CRASH_NEVER;
    op.ok = false;
    g_array_append_val(list, op);
    return list->len - 1;
}

static void end(CrashModel *m, GArray *list, guint index, int ret)
{
    CrashGuestOp *op = &g_array_index(list, CrashGuestOp, index);

    g_assert_cmpuint(op->end, ==, CRASH_NEVER);
    op->end = crash_log_tick(m->log);
    op->ok = ret == 0;
}

guint crash_model_begin(CrashModel *m, const CrashGuestOp *op)
{
    g_assert_true(IS_ALIGNED(op->offset | op->bytes, CRASH_UNIT));
    g_assert_cmpint(op->offset + op->bytes, <=, m->capacity);
    return begin(m, m->ops, *op);
}

void crash_model_end(CrashModel *m, guint index, int ret)
{
    const CrashGuestOp *op = &g_array_index(m->ops, CrashGuestOp, index);

    end(m, m->ops, index, ret);
    if (ret == 0 && op->size >= 0) {
        m->size_now = op->size;
    }
}

guint crash_model_begin_flush(CrashModel *m)
{
    return begin(m, m->flushes, (CrashGuestOp) { 0 });
}

void crash_model_end_flush(CrashModel *m, guint flush, int ret)
{
    end(m, m->flushes, flush, ret);
}

/* --- valid content --- */

/* The question: requests that began by @cut count; those that are good and were
 * complete before @covered have had their effect. */
typedef struct Question {
    const CrashModel *m;
    CrashTime cut, covered;
    const CrashGuestOp *without; /* as if it were not, or NULL */
    const CrashGuestOp *with;    /* as if it were complete, or NULL */
} Question;

static bool counts(const Question *q, const CrashGuestOp *op)
{
    return op->start <= q->cut && op != q->without;
}

static bool is_covered(const Question *q, const CrashGuestOp *op)
{
    return op == q->with || (counts(q, op) && op->ok && !op->weak &&
                             !op->wild && op->end < q->covered);
}

typedef struct Mask {
    uint64_t bits[4];
} Mask;

static void mask_set(Mask *mask, uint8_t value)
{
    mask->bits[value / 64] |= UINT64_C(1) << (value % 64);
}

static bool mask_has(const Mask *mask, uint8_t value)
{
    return mask->bits[value / 64] >> (value % 64) & 1;
}

/* Per unit of [@offset, +@bytes): when the last covered write to it began. */
static CrashTime *last_covered(const Question *q, int64_t offset,
                               int64_t bytes)
{
    CrashTime *last = g_new0(CrashTime, bytes / CRASH_UNIT + 1);

    for (guint i = 0; i < q->m->ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(q->m->ops, CrashGuestOp, i);
        int64_t stop = MIN(op->offset + op->bytes, offset + bytes);

        if (op->start > q->cut) {
            break;
        }
        for (int64_t pos = MAX(op->offset, offset);
             is_covered(q, op) && pos < stop; pos += CRASH_UNIT) {
            CrashTime *t = &last[(pos - offset) / CRASH_UNIT];

            *t = MAX(*t, op->start);
        }
    }
    return last;
}

static void allow(const CrashGuestOp *op, int64_t pos, Mask *mask)
{
    if (op->wild) {
        memset(mask, 0xff, sizeof(*mask));
    } else {
        mask_set(mask, op->values
                 ? op->values[(pos - op->offset) / CRASH_UNIT] : op->value);
    }
}

/* Per unit: the values that it may have; caller frees. */
static Mask *allowed(const Question *q, int64_t offset, int64_t bytes)
{
    Mask *masks = g_new0(Mask, bytes / CRASH_UNIT + 1);
    g_autofree CrashTime *last = last_covered(q, offset, bytes);

    for (int64_t i = 0; i < bytes / CRASH_UNIT; i++) {
        if (!last[i]) {
            mask_set(&masks[i], q->m->initial[offset / CRASH_UNIT + i]);
        }
    }
    for (guint i = 0; i < q->m->ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(q->m->ops, CrashGuestOp, i);
        int64_t stop = MIN(op->offset + op->bytes, offset + bytes);

        if (!counts(q, op)) {
            continue;
        }
        for (int64_t pos = MAX(op->offset, offset); pos < stop;
             pos += CRASH_UNIT) {
            int64_t unit = (pos - offset) / CRASH_UNIT;

            if (op->end >= last[unit]) {
                allow(op, pos, &masks[unit]);
            }
        }
    }
    return masks;
}

/* 256: not uniform. */
static unsigned unit_value(const uint8_t *data)
{
    return memcmp(data, data + 1, CRASH_UNIT - 1) ? 256 : data[0];
}

static void explain(const Mask *mask, int64_t offset, unsigned value,
                    GString *why)
{
    g_string_append_printf(why, "at %#" PRIx64 " of the disk there is ",
                           offset);
    if (value > 255) {
        g_string_append(why, "a mixture");
    } else {
        g_string_append_printf(why, "%u", value);
    }
    g_string_append(why, ", but it may only be");
    for (int i = 0; i < 256; i++) {
        if (mask_has(mask, i)) {
            g_string_append_printf(why, " %d", i);
        }
    }
}

static bool content_is_allowed(const Question *q, int64_t offset,
                               const uint8_t *data, int64_t bytes,
                               GString *why)
{
    g_autofree Mask *masks = allowed(q, offset, bytes);

    for (int64_t i = 0; i < bytes / CRASH_UNIT; i++) {
        unsigned value = unit_value(data + i * CRASH_UNIT);

        if (value > 255 || !mask_has(&masks[i], value)) {
            explain(&masks[i], offset + i * CRASH_UNIT, value, why);
            return false;
        }
    }
    return true;
}

static bool size_is_allowed(const Question *q, int64_t size)
{
    CrashTime last = 0;
    bool found = false;

    for (guint i = 0; i < q->m->ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(q->m->ops, CrashGuestOp, i);

        /* What is cut off is wild, but the cut itself is not. */
        if (op->size >= 0 && (op == q->with ||
                              (counts(q, op) && op->ok &&
                               op->end < q->covered))) {
            last = MAX(last, op->start);
        }
    }
    found = !last && size == q->m->size;
    for (guint i = 0; i < q->m->ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(q->m->ops, CrashGuestOp, i);

        found |= counts(q, op) && op->size == size && op->end >= last;
    }
    return found;
}

static bool is_allowed(const Question *q, const uint8_t *data, int64_t bytes,
                       GString *why)
{
    if (!size_is_allowed(q, bytes)) {
        g_string_append_printf(why, "the disk has a wrong size, %" PRId64,
                               bytes);
        return false;
    }
    return content_is_allowed(q, 0, data, bytes, why);
}

static const CrashGuestOp *atomic_in_flight(const CrashModel *m,
                                            CrashTime cut)
{
    for (guint i = 0; i < m->ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(m->ops, CrashGuestOp, i);

        if (op->atomic && op->start <= cut && op->end > cut) {
            return op;
        }
    }
    return NULL;
}

bool crash_model_allows(const CrashModel *m, CrashTime cut,
                        const uint8_t *data, int64_t bytes, GString *why)
{
    const CrashGuestOp *atomic = atomic_in_flight(m, cut);
    Question q = { .m = m, .cut = cut, .without = atomic };

    for (guint i = 0; i < m->flushes->len; i++) {
        const CrashGuestOp *f = &g_array_index(m->flushes, CrashGuestOp, i);

        if (f->ok && f->end <= cut) {
            q.covered = MAX(q.covered, f->start);
        }
    }
    if (atomic) {
        g_autoptr(GString) other = g_string_new("");

        if (is_allowed(&q, data, bytes, other)) {
            return true;
        }
        q.without = NULL;
        q.with = atomic;
    }
    return is_allowed(&q, data, bytes, why);
}

bool crash_model_allows_read(const CrashModel *m, CrashTime start,
                             int64_t offset, const uint8_t *data,
                             int64_t bytes, GString *why)
{
    Question q = { .m = m, .cut = m->log->now, .covered = start };

    return content_is_allowed(&q, offset, data, bytes, why);
}

uint8_t *crash_model_touched(const CrashModel *m, CrashTime cut)
{
    uint8_t *touched = g_malloc0(m->capacity / CRASH_UNIT + 1);

    for (guint i = 0; i < m->ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(m->ops, CrashGuestOp, i);

        if (op->start <= cut) {
            memset(touched + op->offset / CRASH_UNIT, 1,
                   op->bytes / CRASH_UNIT);
        }
    }
    return touched;
}
