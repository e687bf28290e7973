/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stored bitmaps may say after a loss of power or a kill: bitmaps.h. */
#include "bitmaps.h"

#include "block/qcow2/bitmap-int.h"

#define IN_MEMORY 1
#define IN_REGION 2
#define BOOT_ID_BYTES 16
#define AHEAD 3 /* regions that a sequential writer gets; of few */

/* --- life --- */

static void free_baseline(void *opaque)
{
    g_free(((TestBaseline *)opaque)->values);
}

static void free_bitmap(void *opaque)
{
    TestBitmap *b = opaque;

    g_free(b->name);
    g_array_unref(b->spans);
    g_array_unref(b->baselines);
    g_free(b);
}

static void free_bits(void *opaque)
{
    g_free(((TestBits *)opaque)->set);
}

static void free_sample(void *opaque)
{
    TestSample *s = opaque;

    g_free(s->values);
    g_array_unref(s->bits);
    g_free(s);
}

static void free_kill(void *opaque)
{
    TestKill *k = opaque;

    for (int i = 0; i < CRASH_DISKS; i++) {
        g_byte_array_unref(k->disks[i]);
    }
    g_free(k);
}

TestBitmaps *test_bitmaps_new(CrashRun *r, int64_t capacity)
{
    TestBitmaps *t = g_new0(TestBitmaps, 1);

    t->run = r;
    t->capacity = capacity;
    t->bitmaps = g_ptr_array_new_with_free_func(free_bitmap);
    t->samples = g_ptr_array_new_with_free_func(free_sample);
    t->kills = g_ptr_array_new_with_free_func(free_kill);
    return t;
}

void test_bitmaps_free(TestBitmaps *t)
{
    if (t) {
        g_ptr_array_unref(t->bitmaps);
        g_ptr_array_unref(t->samples);
        g_ptr_array_unref(t->kills);
        g_free(t);
    }
}

TestBitmap *test_bitmap_new(TestBitmaps *t, const char *name,
                            uint64_t granularity, BitmapSafety safety)
{
    TestBitmap *b = g_new0(TestBitmap, 1);

    b->name = g_strdup(name);
    b->granularity = granularity;
    b->safety = safety;
    b->added_start = b->added = CRASH_NEVER;
    b->removed_start = b->removed = CRASH_NEVER;
    b->spans = g_array_new(FALSE, FALSE, sizeof(TestSpan));
    b->baselines = g_array_new(FALSE, FALSE, sizeof(TestBaseline));
    g_array_set_clear_func(b->baselines, free_baseline);
    g_ptr_array_add(t->bitmaps, b);
    return b;
}

TestBitmap *test_bitmap_find(const TestBitmaps *t, const char *name)
{
    for (guint i = 0; i < t->bitmaps->len; i++) {
        TestBitmap *b = t->bitmaps->pdata[i];

        if (b->removed_start == CRASH_NEVER && !strcmp(b->name, name)) {
            return b;
        }
    }
    return NULL;
}

void test_bitmap_begins(TestBitmaps *t, TestBitmap *b, bool baseline)
{
    TestSpan span = { crash_log_tick(t->run->log), CRASH_NEVER };

    g_array_append_val(b->spans, span);
    if (baseline) {
        TestBaseline base = { span.from, CRASH_NEVER, NULL };

        base.values = g_memdup2(test_last_sample(t)->values,
                                t->capacity / CRASH_UNIT);
        g_array_append_val(b->baselines, base);
    }
}

void test_bitmap_ends_at(TestBitmap *b, CrashTime at)
{
    for (guint i = 0; i < b->spans->len; i++) {
        TestSpan *span = &g_array_index(b->spans, TestSpan, i);

        span->to = MIN(span->to, at);
    }
    for (guint i = 0; i < b->baselines->len; i++) {
        TestBaseline *base = &g_array_index(b->baselines, TestBaseline, i);

        base->to = MIN(base->to, at);
    }
}

void test_bitmap_ends(TestBitmaps *t, TestBitmap *b)
{
    test_bitmap_ends_at(b, crash_log_tick(t->run->log));
}

/* --- samples --- */

TestSample *test_last_sample(const TestBitmaps *t)
{
    return t->samples->pdata[t->samples->len - 1];
}

static const TestBits *find_bits(const TestSample *s, const TestBitmap *b)
{
    for (guint i = 0; s && i < s->bits->len; i++) {
        const TestBits *bits = &g_array_index(s->bits, TestBits, i);

        if (bits->bitmap == b) {
            return bits;
        }
    }
    return NULL;
}

/* A byte each sector: is it set? */
static uint8_t *sectors_of(const TestBitmaps *t, const HBitmap *bits)
{
    uint8_t *set = g_malloc0(t->capacity / CRASH_SECTOR + 1);
    int64_t size = hbitmap_size(bits), pos = 0, area, n;

    while (hbitmap_next_dirty_area(bits, pos, size, INT64_MAX, &area, &n)) {
        memset(set + area / CRASH_SECTOR, IN_MEMORY,
               DIV_ROUND_UP(area + n, CRASH_SECTOR) - area / CRASH_SECTOR);
        pos = area + n;
    }
    return set;
}

/* Adds @flag in whole granules of @b. */
static void add_range(const TestBitmap *b, uint8_t *set, int64_t start,
                      int64_t end, int64_t size, uint8_t flag)
{
    start = ROUND_DOWN(start, b->granularity);
    end = MIN(ROUND_UP(end, b->granularity), size);
    for (int64_t pos = start; pos < end; pos += CRASH_SECTOR) {
        set[pos / CRASH_SECTOR] |= flag;
    }
}

static TestBits take_bits(const TestBitmaps *t, BlockDriverState *bs,
                          TestBitmap *b, const BdrvDirtyBitmap *bitmap)
{
    const Qcow2State *q = bs->opaque;
    const BdrvBitmapRegions *regions = qcow2_ahead_regions(&q->bitmap_store);
    TestBits bits = {
        .bitmap = b, .safety = b->safety,
        .recording = bdrv_dirty_bitmap_recording(bitmap),
        .set = sectors_of(t, bdrv_dirty_bitmap_hbitmap(bitmap)),
    };
    int64_t next, size = bs->total_bytes;

    for (int64_t at = 0; regions && bits.recording && at < size; at = next) {
        bool wanted = bdrv_bitmap_regions_wanted(regions, at, &next);

        if (wanted) {
            add_range(b, bits.set, at, next, size, IN_REGION);
        }
    }
    return bits;
}

static void take_all_bits(const TestBitmaps *t, BlockDriverState *bs,
                          TestSample *s)
{
    for (guint i = 0; i < t->bitmaps->len; i++) {
        TestBitmap *b = t->bitmaps->pdata[i];
        BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(bs, b->name);

        if (b->removed_start == CRASH_NEVER && bitmap &&
            !bdrv_dirty_bitmap_inconsistent(bitmap)) {
            TestBits bits = take_bits(t, bs, b, bitmap);

            g_array_append_val(s->bits, bits);
        }
    }
}

/* Values of the whole capacity: zeroes after the end. */
static uint8_t *values_of(const TestBitmaps *t, BlockDriverState *bs,
                          int64_t *size, GString *why)
{
    g_autofree uint8_t *data = crash_read(bs, size, why);
    uint8_t *values;

    if (!data) {
        return NULL;
    }
    values = crash_values(data, *size);
    values = g_realloc(values, t->capacity / CRASH_UNIT + 1);
    memset(values + *size / CRASH_UNIT, 0,
           (t->capacity - *size) / CRASH_UNIT);
    return values;
}

/* --- the image as it is --- */

static bool must_be_safe(const TestBitmaps *t, const TestBits *bits,
                         bool killed)
{
    return !t->may_miss_note &&
           (bits->safety == BITMAP_SAFETY_POWER ||
            (killed && bits->safety == BITMAP_SAFETY_PROCESS));
}

/* What is stored is exactly what is in memory, and the open regions. */
static bool same_bits(const TestBitmaps *t, const TestSample *s,
                      const TestBits *bits, BlockDriverState *bs, GString *why)
{
    const TestBitmap *b = bits->bitmap;
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(bs, b->name);
    g_autofree uint8_t *now = NULL;

    if (!must_be_safe(t, bits, true) && !s->readonly) {
        return true;
    }
    if (!bitmap || bdrv_dirty_bitmap_inconsistent(bitmap)) {
        g_string_append_printf(why, "killed while it is quiet, bitmap '%s' is "
                               "%s", b->name, bitmap ? "inconsistent"
                               : "not there");
        return false;
    }
    now = sectors_of(t, bdrv_dirty_bitmap_hbitmap(bitmap));
    for (int64_t i = 0; i < DIV_ROUND_UP(s->size, CRASH_SECTOR); i++) {
        if (now[i] != (bits->set[i] != 0)) {
            g_string_append_printf(why, "killed while it is quiet (event %u), "
                                   "bitmap '%s' is %s at %#" PRIx64, s->at,
                                   b->name, now[i] ? "dirty" : "clean",
                                   i * CRASH_SECTOR);
            return false;
        }
    }
    return true;
}

/* The node is open while a second one is opened over the same disk. */
static bool compare_killed(TestBitmaps *t, const TestSample *s, GString *why)
{
    CrashMachine *m = t->run->machine;
    BlockDriverState *bs;
    bool live = m->live, ok;

    m->live = false;
    bs = crash_open_after(false, why);
    ok = bs != NULL;
    for (guint i = 0; ok && i < s->bits->len; i++) {
        ok = same_bits(t, s, &g_array_index(s->bits, TestBits, i), bs, why);
    }
    bdrv_unref(bs);
    m->live = live;
    return ok;
}

bool test_sample(TestBitmaps *t, BlockDriverState *bs, GString *why)
{
    TestSample *s = g_new0(TestSample, 1);
    BlockDriverState *own = bs ? bs : crash_open_after(false, why);

    s->bits = g_array_new(FALSE, FALSE, sizeof(TestBits));
    g_array_set_clear_func(s->bits, free_bits);
    g_ptr_array_add(t->samples, s);
    if (!own || !(s->values = values_of(t, own, &s->size, why))) {
        return false;
    }
    s->readonly = own->read_only;
    s->least_size = s->size;
    s->loose_from = CRASH_NEVER;
    take_all_bits(t, own, s);
    if (!bs) {
        bdrv_unref(own);
    }
    s->at = crash_log_tick(t->run->log);
    return compare_killed(t, s, why);
}

/* --- after a loss --- */

typedef struct Question {
    const TestBitmaps *t;
    CrashTime cut;
    bool killed;
    BlockDriverState *bs;
    const TestSample *before, *after; /* @after: NULL, there is none */
    int64_t size;
    const uint8_t *values; /* of the disk now */
} Question;

/* Bits in memory at that time, or NULL. */
static const uint8_t *set_at(const TestSample *s, const TestBitmap *b)
{
    const TestBits *bits = find_bits(s, b);

    return bits ? bits->set : NULL;
}

static bool complain(const Question *q, const TestBitmap *b, int64_t pos,
                     const char *what, GString *why)
{
    g_string_append_printf(why, "bitmap '%s' (granularity %" PRIu64
                           ") is %s at %#" PRIx64 ", in the window from event "
                           "%u to %u%s", b->name, b->granularity, what, pos,
                           q->before->at, q->after ? q->after->at : 0,
                           q->killed ? ", killed" : "");
    return false;
}

/* Sectors, in whole granules, that requests of this window may change. */
static uint8_t *written_in_window(const Question *q, const TestBitmap *b)
{
    const GArray *ops = q->t->run->model->ops;
    uint8_t *set = g_malloc0(q->t->capacity / CRASH_SECTOR + 1);

    for (guint i = 0; i < ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(ops, CrashGuestOp, i);

        if (op->start >= q->before->at &&
            (!q->after || op->start <= q->after->at)) {
            add_range(b, set, op->offset, op->offset + op->bytes,
                      q->t->capacity, IN_MEMORY);
        }
    }
    return set;
}

/*
 * What memory had, and what has changed.  A bit that is removed may be set
 * again by a write.
 */
static bool has_old(const Question *q, const TestBitmap *b,
                    const uint8_t *now, const uint8_t *heir, GString *why)
{
    const TestBits *before = find_bits(q->before, b);
    const uint8_t *after = set_at(q->after, b);
    bool loose = q->before->loose == b && q->cut >= q->before->loose_from;
    bool changes = before && before->recording && q->before->loose != b &&
                   (!q->after || (after && find_bits(q->after, b)->recording));
    /* Until the disk has shrunk, what is cut off counts. */
    int64_t size = q->size == q->before->size
                   ? q->size : MIN(q->size, q->before->least_size);
    g_autofree uint8_t *written = written_in_window(q, b);

    for (int64_t pos = 0; before && pos < size; pos += CRASH_UNIT) {
        int64_t i = pos / CRASH_SECTOR, unit = pos / CRASH_UNIT;
        bool old = before->set[i] & IN_MEMORY;

        if (now[i]) {
            continue;
        }
        if (old && (!loose || (after && (after[i] & IN_MEMORY) &&
                               !written[i]))) {
            return complain(q, b, pos, "clean where it was dirty", why);
        }
        if (old && loose && heir && !heir[i]) {
            return complain(q, b, pos, "clean, as is its heir", why);
        }
        if (changes && q->values[unit] != q->before->values[unit]) {
            return complain(q, b, pos, "clean where the disk has changed",
                            why);
        }
    }
    return true;
}

static bool has_write(const Question *q, const TestBitmap *b,
                      const CrashGuestOp *op, const uint8_t *now,
                      GString *why)
{
    int64_t end = MIN(op->offset + op->bytes, q->size);

    for (int64_t pos = op->offset; op->value && pos < end; pos += CRASH_UNIT) {
        int64_t unit = pos / CRASH_UNIT;

        if (q->values[unit] == op->value &&
            q->before->values[unit] != op->value && !now[pos / CRASH_SECTOR]) {
            return complain(q, b, pos, "clean where a write is", why);
        }
    }
    return true;
}

/* The writes since it records for certain. */
static bool has_writes(const Question *q, const TestBitmap *b,
                       const uint8_t *now, GString *why)
{
    const GArray *ops = q->t->run->model->ops;
    CrashTime from = CRASH_NEVER;

    for (guint i = 0; i < b->spans->len; i++) {
        const TestSpan *span = &g_array_index(b->spans, TestSpan, i);

        if (span->from <= q->cut && q->cut < span->to) {
            from = MIN(from, span->from);
        }
    }
    for (guint i = 0; i < ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(ops, CrashGuestOp, i);

        if (op->start >= from && op->start <= q->cut && !op->values &&
            !op->wild && !has_write(q, b, op, now, why)) {
            return false;
        }
    }
    return true;
}

static bool has_baseline(const Question *q, const TestBitmap *b,
                         const uint8_t *now, GString *why)
{
    for (guint i = 0; i < b->baselines->len; i++) {
        const TestBaseline *base = &g_array_index(b->baselines, TestBaseline,
                                                  i);

        if (q->cut < base->from || q->cut >= base->to) {
            continue;
        }
        for (int64_t pos = 0; pos < q->size; pos += CRASH_UNIT) {
            int64_t unit = pos / CRASH_UNIT;

            if (q->values[unit] != base->values[unit] &&
                !now[pos / CRASH_SECTOR]) {
                return complain(q, b, pos, "clean where the disk is not what "
                                "it was when it began", why);
            }
        }
    }
    return true;
}

/*
 * What is closed is not made durable by that: when the latest flush of the disk
 * began that was complete at the moment.
 */
static CrashTime last_flush(const Question *q)
{
    const GPtrArray *ops = q->t->run->log->ops;
    CrashTime last = 0;

    for (guint i = 0; i < ops->len; i++) {
        const CrashOp *op = ops->pdata[i];

        if (op->kind == CRASH_OP_FLUSH && op->disk == 0 && op->end <= q->cut) {
            last = MAX(last, op->start);
        }
    }
    return last;
}

/* The first window of which something may still be what is stored. */
static guint first_window(const Question *q)
{
    CrashTime flush = q->killed ? q->cut : last_flush(q);
    guint first = 0;

    for (guint i = 0; i < q->t->samples->len; i++) {
        const TestSample *s = q->t->samples->pdata[i];

        first = s->at <= flush ? i : first;
    }
    return first;
}

/* The regions that requests may have opened since the sample. */
static void add_opened(const Question *q, const TestBitmap *b,
                       const TestSample *since, uint8_t *may)
{
    const GArray *ops = q->t->run->model->ops;

    for (guint i = 0; i < ops->len; i++) {
        const CrashGuestOp *op = &g_array_index(ops, CrashGuestOp, i);
        int64_t end = ROUND_UP(op->offset + op->bytes, qcow2_ahead_region) +
                      AHEAD * qcow2_ahead_region;

        if (op->start >= since->at && op->start <= q->cut) {
            add_range(b, may, ROUND_DOWN(op->offset, qcow2_ahead_region), end,
                      q->t->capacity, IN_REGION);
        }
    }
}

/* Adds the regions that were open for other bitmaps, too. */
static void add_regions(const Question *q, const TestBitmap *b,
                        const TestSample *s, uint8_t *may)
{
    for (guint k = 0; k < s->bits->len; k++) {
        const TestBits *other = &g_array_index(s->bits, TestBits, k);

        for (int64_t pos = 0; pos < q->t->capacity; pos += CRASH_SECTOR) {
            if (other->set[pos / CRASH_SECTOR] & IN_REGION) {
                add_range(b, may, pos, pos + CRASH_SECTOR, q->t->capacity,
                          IN_REGION);
            }
        }
    }
}

/* What may be stored without a reason in the samples around the moment; NULL:
 * everything. */
static uint8_t *may_be_over(const Question *q, const TestBitmap *b)
{
    g_autofree uint8_t *may = g_malloc0(q->t->capacity / CRASH_SECTOR + 1);
    guint i = first_window(q);
    const TestSample *first = q->t->samples->pdata[i];

    add_opened(q, b, first, may);
    for (; i < q->t->samples->len; i++) {
        const TestSample *s = q->t->samples->pdata[i];
        const uint8_t *set = set_at(s, b);

        if (s->at > q->cut) {
            break;
        }
        if (s->any_over) {
            return NULL;
        }
        add_regions(q, b, s, may);
        for (int64_t k = 0; set && k < q->t->capacity / CRASH_SECTOR; k++) {
            may[k] |= set[k];
        }
    }
    return g_steal_pointer(&may);
}

static bool has_no_more(const Question *q, const TestBitmap *b,
                        const uint8_t *now, GString *why)
{
    const uint8_t *after = set_at(q->after, b);
    g_autofree uint8_t *may = may_be_over(q, b);

    for (int64_t i = 0; may && i < DIV_ROUND_UP(q->size, CRASH_SECTOR); i++) {
        if (now[i] && !may[i] && !(after && after[i])) {
            return complain(q, b, i * CRASH_SECTOR, "dirty without reason",
                            why);
        }
    }
    return true;
}

/* A command or job that removes bits has removed all, or none. */
static bool is_atomic(const Question *q, const TestBitmap *b,
                      const uint8_t *now, GString *why)
{
    const uint8_t *before = set_at(q->before, b), *after = set_at(q->after, b);
    g_autofree uint8_t *may = NULL;
    int64_t kept = -1, gone = -1;

    if (q->before->loose != b || !before || !after) {
        return true;
    }
    may = g_malloc0(q->t->capacity / CRASH_SECTOR + 1);
    add_opened(q, b, q->before, may);
    add_regions(q, b, q->before, may);
    add_regions(q, b, q->after, may);
    for (int64_t i = 0; i < DIV_ROUND_UP(q->size, CRASH_SECTOR); i++) {
        if ((before[i] & IN_MEMORY) && !after[i] && !may[i]) {
            *(now[i] ? &kept : &gone) = i * CRASH_SECTOR;
        }
    }
    return kept < 0 || gone < 0 ||
           complain(q, b, gone, "clean, but not where it was to be, too", why);
}

/* --- a state --- */

static uint8_t *stored_set(const Question *q, const TestBitmap *b)
{
    BdrvDirtyBitmap *bitmap = b ? bdrv_dirty_bitmap_find(q->bs, b->name)
                                : NULL;

    return !bitmap || bdrv_dirty_bitmap_inconsistent(bitmap)
        ? NULL : sectors_of(q->t, bdrv_dirty_bitmap_hbitmap(bitmap));
}

/* Must it be there and consistent? */
static bool is_demanded(const Question *q, const TestBitmap *b)
{
    const TestBits *before = find_bits(q->before, b);
    const TestBits *after = find_bits(q->after, b);

    if (q->before->removes || b->added > q->cut || b->removed_start <= q->cut) {
        return false;
    }
    return (!before || must_be_safe(q->t, before, q->killed)) &&
           (!q->after || b->removed_start <= q->after->at ||
            (after && must_be_safe(q->t, after, q->killed))) &&
           (before || after);
}

static bool check_one(TestBitmaps *t, const Question *q, const TestBitmap *b,
                      GString *why)
{
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(q->bs, b->name);
    g_autofree uint8_t *now = stored_set(q, b);
    g_autofree uint8_t *heir = NULL;

    if (bitmap && !q->before->removes &&
        (b->added_start > q->cut || b->removed <= q->cut)) {
        g_string_append_printf(why, "bitmap '%s' is there", b->name);
        return false;
    }
    if (is_demanded(q, b)) {
        if (!now) {
            g_string_append_printf(why, "bitmap '%s' is %s", b->name,
                                   bitmap ? "inconsistent" : "not there");
            return false;
        }
        t->demanded++;
    }
    if (!now || b->added > q->cut) {
        return true;
    }
    heir = q->before->loose == b ? stored_set(q, q->before->heir) : NULL;
    return has_old(q, b, now, heir, why) && has_writes(q, b, now, why) &&
           has_baseline(q, b, now, why) && has_no_more(q, b, now, why) &&
           is_atomic(q, b, now, why);
}

/* The host has started again since. */
static void change_boot_id(void)
{
    GByteArray *disk = crash_machine->disks[0];
    g_autofree char *text = NULL;
    uint8_t id[BOOT_ID_BYTES] = { 0 };
    size_t n = 0;

    g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL);
    for (const char *p = text; p && *p && n < 2 * BOOT_ID_BYTES; p++) {
        if (g_ascii_isxdigit(*p)) {
            id[n / 2] = id[n / 2] << 4 | g_ascii_xdigit_value(*p);
            n++;
        }
    }
    for (guint pos = 0; pos + BOOT_ID_BYTES <= MIN(disk->len, 4 * KiB); pos++) {
        if (!memcmp(disk->data + pos, id, BOOT_ID_BYTES)) {
            disk->data[pos] ^= 0xff;
        }
    }
}

static void find_window(Question *q)
{
    for (guint i = 0; i < q->t->samples->len; i++) {
        const TestSample *s = q->t->samples->pdata[i];

        if (s->at > q->cut) {
            q->after = s;
            break;
        }
        q->before = s;
    }
}

bool test_check_bitmaps(TestBitmaps *t, CrashTime cut, bool killed,
                        GString *why)
{
    Question q = { .t = t, .cut = cut, .killed = killed };
    g_autofree uint8_t *values = NULL;
    bool ok;

    find_window(&q);
    if (!q.before) {
        return true;
    }
    if (!killed) {
        change_boot_id();
    }
    q.bs = crash_open_after(false, why);
    if (!q.bs) {
        return false;
    }
    q.values = values = values_of(t, q.bs, &q.size, why);
    ok = values != NULL;
    for (guint i = 0; ok && i < t->bitmaps->len; i++) {
        ok = check_one(t, &q, t->bitmaps->pdata[i], why);
    }
    bdrv_unref(q.bs);
    return ok;
}

/* --- kills --- */

static void copy_disks(GByteArray **to, GByteArray **from)
{
    for (int i = 0; i < CRASH_DISKS; i++) {
        g_byte_array_set_size(to[i], from[i]->len);
        if (from[i]->len) {
            memcpy(to[i]->data, from[i]->data, from[i]->len);
        }
    }
}

void test_kill_state(TestBitmaps *t)
{
    TestKill *k = g_new0(TestKill, 1);

    k->at = t->run->log->now;
    for (int i = 0; i < CRASH_DISKS; i++) {
        k->disks[i] = g_byte_array_new();
    }
    copy_disks(k->disks, t->run->machine->disks);
    g_ptr_array_add(t->kills, k);
}

bool test_check_kills(TestBitmaps *t, GString *why)
{
    CrashMachine *m = t->run->machine;
    GByteArray *own[CRASH_DISKS];
    bool ok = true;

    m->live = false;
    memcpy(own, m->disks, sizeof(own));
    for (guint i = 0; ok && i < t->kills->len; i++) {
        TestKill *k = t->kills->pdata[i];

        memcpy(m->disks, k->disks, sizeof(own));
        ok = test_check_bitmaps(t, k->at, true, why) &&
             crash_check_disk(t->run, k->at, why);
        memcpy(k->disks, m->disks, sizeof(own));
        if (!ok) {
            g_string_append_printf(why, " (killed after event %u)", k->at);
        }
    }
    memcpy(m->disks, own, sizeof(own));
    return ok;
}
