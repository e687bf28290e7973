/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consistency: compares the references to host clusters with the refcounts,
 * and the COPIED flags with both.
 *
 * A count that is too high is a leak, one too low a corruption.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/check-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* --- reporting --- */

/* Errors that are told of an image that is repaired because it is opened: one
 * with a damaged table of refcounts may have a hundred thousand. */
#define OPENING_TOLD 20

static bool is_told(const Qcow2Check *c)
{
    return !c->quiet && !(c->opening && c->res->corruptions + c->res->leaks +
                                        c->res->check_errors > OPENING_TOLD);
}

static void G_GNUC_PRINTF(2, 0) vsay(const Qcow2Check *c, const char *fmt,
                                     va_list ap)
{
    if (is_told(c)) {
        vfprintf(stderr, fmt, ap);
        fputc('\n', stderr);
    }
}

void qcow2_check_say(const Qcow2Check *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsay(c, fmt, ap);
    va_end(ap);
}

void qcow2_check_found(Qcow2Check *c, const char *fmt, ...)
{
    g_autofree char *text = g_strconcat("ERROR ", fmt, NULL);
    va_list ap;

    va_start(ap, fmt);
    vsay(c, text, ap);
    va_end(ap);
    c->res->corruptions++;
}

/* --- comparing --- */

uint64_t coroutine_mixed_fn qcow2_check_final(Qcow2Check *c, uint64_t cluster)
{
    uint64_t count = cluster < c->clusters ? c->counts[cluster] : 0, refcount;

    if (c->uncounted &&
        qcow2_get_refcount(c->bs, cluster, &refcount) == 0) {
        count = MAX(count, refcount);
    }
    return count;
}

bool qcow2_check_is_l2(const Qcow2Check *c, uint64_t l2)
{
    const uint64_t *n = g_hash_table_lookup(c->l2_refs, &l2);

    return n && c->counts[l2 >> c->s->cluster_bits] == n[1];
}

/* Does the count of a cluster exceed the refcounts of the image? */
static bool overflows(const Qcow2Check *c, uint64_t cluster)
{
    return c->counts[cluster] > c->s->refcount_max ||
           c->counts[cluster] == UINT32_MAX;
}

static void compare_one(Qcow2Check *c, uint64_t cluster, uint64_t refcount)
{
    uint64_t count = c->counts[cluster];

    if (overflows(c, cluster)) {
        qcow2_check_found(c, "cluster %" PRIu64 " is referenced %" PRIu64
                          " times, too often for %u-bit refcounts", cluster,
                          count, c->s->refcount_bits);
        c->low++;
    } else if (refcount < count) {
        if (!(c->fix & BDRV_FIX_ERRORS)) {
            qcow2_check_say(c, "ERROR cluster %" PRIu64 " refcount=%" PRIu64
                            " reference=%" PRIu64, cluster, refcount, count);
        }
        c->res->corruptions++;
        c->low++;
    } else if (refcount > count) {
        if (!(c->fix & BDRV_FIX_LEAKS)) {
            qcow2_check_say(c, "Leaked cluster %" PRIu64 " refcount=%" PRIu64
                            " reference=%" PRIu64, cluster, refcount, count);
        }
        c->res->leaks++;
    }
}

/* Errors that are going to be repaired are reported then, not here. */
static void coroutine_mixed_fn compare(Qcow2Check *c)
{
    uint64_t highest = 0, refcount;

    for (uint64_t i = 0; i < c->clusters && !c->overflow; i++) {
        c->overflow = overflows(c, i);
    }
    if (c->overflow) {
        c->fix = 0;
    }
    for (uint64_t i = 0; i < c->clusters; i++) {
        if (qcow2_get_refcount(c->bs, i, &refcount) < 0) {
            qcow2_check_say(c, "Can't get refcount for cluster %" PRIu64, i);
            c->res->check_errors++;
            refcount = 0;
        } else {
            compare_one(c, i, refcount);
        }
        if (c->counts[i] || refcount) {
            highest = i + 1;
        }
    }
    c->res->image_end_offset = highest << c->s->cluster_bits;
    if (c->overflow) {
        qcow2_check_say(c, "The image cannot be repaired in place: use "
                        "qemu-img convert to create a clean copy, with wider "
                        "refcounts (option refcount_bits)");
    }
}

/* --- flags --- */

/* The refcount that the flag of an entry for a cluster must fit. */
static uint64_t coroutine_mixed_fn flag_refcount(Qcow2Check *c, uint64_t entry)
{
    uint64_t cluster = (entry & QCOW2_OFFSET_MASK) >> c->s->cluster_bits;
    uint64_t refcount;

    if (!c->fix && !c->without_refcounts &&
        qcow2_get_refcount(c->bs, cluster, &refcount) == 0) {
        return refcount;
    }
    return qcow2_check_final(c, cluster); /* what it is after the repair */
}

/* Is the COPIED flag of an entry correct?  It means a refcount of 1. */
static bool coroutine_mixed_fn flag_ok(Qcow2Check *c, uint64_t entry)
{
    uint64_t i = (entry & QCOW2_OFFSET_MASK) >> c->s->cluster_bits;

    return i >= c->clusters || i == 0 || overflows(c, i) ||
           !(entry & QCOW2_COPIED) == (flag_refcount(c, entry) != 1);
}

/* @fix: a repair was tried just now. */
static void flag_wrong(Qcow2Check *c, const char *what, uint64_t entry,
                       uint64_t refcount, bool fix, bool fixed)
{
    if (fix || !(c->fix & BDRV_FIX_ERRORS)) {
        qcow2_check_say(c, "%s OFLAG_COPIED %s=%" PRIx64 " refcount=%" PRIu64,
                        fixed ? "Repairing" : "ERROR", what, entry, refcount);
    }
    c->res->corruptions += !fixed;
}

/*
 * Writes the words [@from, @to) of an L2 table, in which only flags changed.
 * qcow2_set_entry() cannot do that, as it changes no table with two users: the
 * flags of such a table are wrong for both.
 */
static bool coroutine_mixed_fn write_flags(Qcow2Check *c, uint64_t l2,
                                           const uint64_t *table,
                                           uint64_t from, uint64_t to)
{
    size_t bytes = (to - from) * 8;
    g_autofree uint8_t *buf = g_try_malloc(bytes);
    int ret;

    if (!buf) {
        return false;
    }
    for (uint64_t i = from; i < to; i++) {
        st64_be(buf + (i - from) * 8, table[i]);
    }
    ret = bdrv_pwrite(c->bs->file, l2 + from * 8, bytes, buf);
    qcow2_cache_forget(c->s->l2_cache, l2, c->s->cluster_size);
    return ret >= 0;
}

/* Is it an entry with a wrong COPIED flag? */
static bool coroutine_mixed_fn entry_flag_wrong(Qcow2Check *c, uint64_t entry)
{
    Qcow2Type type = qcow2_type_of(c->s, entry);

    if ((type != QCOW2_NORMAL && type != QCOW2_ZERO_ALLOC) ||
        (entry & QCOW2_L2_RESERVED)) {
        return false;
    }
    return c->s->external ? !(entry & QCOW2_COPIED) : !flag_ok(c, entry);
}

static void coroutine_mixed_fn check_flags_l2(Qcow2Check *c, uint32_t l1_index,
                                              bool fix)
{
    Qcow2State *s = c->s;
    uint64_t l2 = s->l1[l1_index] & QCOW2_OFFSET_MASK;
    uint64_t n = qcow2_l2_words(s), from = n, to = 0;
    g_autofree uint64_t *table = NULL;
    g_autofree uint64_t *old = NULL;
    bool fixed;
    int ret;

    if (!g_hash_table_contains(c->l2_refs, &l2)) {
        return; /* not a table: reported already */
    }
    table = qcow2_read_table(c->bs, l2, n, &ret);
    old = table ? g_try_malloc(n * 8) : NULL;
    if (!old) {
        qcow2_check_say(c, "ERROR could not check the flags of the L2 table at "
                        "%#" PRIx64 ": %s", l2, strerror(table ? ENOMEM
                                                               : -ret));
        c->res->check_errors++;
        return;
    }
    memcpy(old, table, n * 8);
    for (uint64_t i = 0; i < n; i += qcow2_l2_word(s, 1)) {
        if (entry_flag_wrong(c, old[i])) {
            table[i] ^= QCOW2_COPIED;
            from = MIN(from, i);
            to = i + 1;
        }
    }
    fixed = fix && from < to && qcow2_check_is_l2(c, l2) &&
            write_flags(c, l2, table, from, to);
    for (uint64_t i = from; i < to; i++) {
        if (old[i] != table[i]) {
            flag_wrong(c, "data cluster: l2_entry", old[i], s->external
                       ? 1 : flag_refcount(c, old[i]), fix, fixed);
        }
    }
}

/* Does only an L1 table refer to the cluster at @offset? */
static bool is_l1_cluster(const Qcow2Check *c, uint64_t offset)
{
    uint64_t cluster = offset >> c->s->cluster_bits;

    return cluster < c->clusters && c->counts[cluster] == 1;
}

/* Checks the flags of the active tables; with @fix, corrects them. */
static void coroutine_mixed_fn check_flags(Qcow2Check *c, bool fix)
{
    Qcow2State *s = c->s;

    for (uint32_t i = 0; i < s->l1_size; i++) {
        if (!(s->l1[i] & QCOW2_L1_RESERVED) && !flag_ok(c, s->l1[i])) {
            uint64_t old = s->l1[i];
            bool fixed = false;

            if (fix && is_l1_cluster(c, s->l1_offset + i * 8ULL)) {
                s->l1[i] ^= QCOW2_COPIED;
                fixed = qcow2_write_l1(c->bs, i) == 0;
            }
            g_autofree char *what = g_strdup_printf("L2 cluster: l1_index=%"
                                                    PRIu32 " l1_entry", i);

            flag_wrong(c, what, old, flag_refcount(c, old), fix, fixed);
        }
        check_flags_l2(c, i, fix);
    }
}

/* --- one look --- */

void qcow2_check_forget_bad_blocks(Qcow2Check *c)
{
    g_clear_pointer(&c->bad_blocks, g_array_unref);
}

static void check_free(Qcow2Check *c)
{
    for (guint i = 0; c->bad_blocks && i < c->bad_blocks->len; i++) {
        const Qcow2BadBlock *bad = &g_array_index(c->bad_blocks, Qcow2BadBlock,
                                                  i);
        c->s->rt[bad->index] = bad->value;
    }
    qcow2_check_forget_bad_blocks(c);
    g_free(c->counts);
    g_free(c->uses);
    g_clear_pointer(&c->l2_refs, g_hash_table_destroy);
    g_clear_pointer(&c->bitmaps, g_ptr_array_unref);
    if (c->mends) {
        g_array_free(c->mends, TRUE);
    }
}

static int check_setup(Qcow2Check *c)
{
    int64_t len = bdrv_getlength(c->bs->file->bs);

    if (len < 0) {
        return len;
    }
    if (c->s->external && c->s->data) {
        c->data_end = bdrv_getlength(c->s->data->bs);
    }
    if (c->data_end < 0) {
        return c->data_end;
    }
    c->clusters = qcow2_clusters(c->s, len);
    c->file_end = c->clusters << c->s->cluster_bits;
    c->counts = g_try_malloc0_n(MAX(c->clusters, 1), sizeof(*c->counts));
    c->uses = g_try_malloc0_n(MAX(c->clusters, 1), sizeof(*c->uses));
    c->l2_refs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                       g_free);
    c->mends = g_array_new(FALSE, FALSE, sizeof(Qcow2Mend));
    return c->counts && c->uses ? 0 : -ENOMEM;
}

/* Not when a dirty image is opened, which does not depend on it. */
static void tell_lost_data(Qcow2Check *c)
{
    if (c->past_data && !c->opening) {
        qcow2_check_found(c, "clusters past the end of the data file '%s' (%"
                          PRId64 " bytes): %" PRIu64 ", which read as zeroes "
                          "and cannot be repaired",
                          c->s->data->bs->filename, c->data_end,
                          c->past_data);
    }
}

/* Counts, compares, and fills in @c->res, which must be zeroed. */
static int coroutine_mixed_fn look(Qcow2Check *c)
{
    int ret = check_setup(c);

    if (ret == 0) {
        qcow2_check_count_all(c);
        tell_lost_data(c);
        compare(c);
        check_flags(c, false);
        c->res->total_clusters = qcow2_clusters(c->s, c->s->size);
    }
    return ret;
}

int coroutine_mixed_fn qcow2_check_recount(Qcow2Check *c)
{
    Qcow2Check again = { .bs = c->bs, .s = c->s, .fix = c->fix, .quiet = true,
                         .opening = c->opening,
                         .without_refcounts = c->without_refcounts };
    BdrvCheckResult res = { 0 };
    int ret;

    again.res = &res;
    ret = check_setup(&again);
    if (ret == 0) {
        again.rebuild = c->rebuild;
        again.bad_blocks = g_steal_pointer(&c->bad_blocks);
        qcow2_check_count_all(&again);
        for (guint i = 0; i < again.mends->len; i++) {
            const Qcow2Mend *m = &g_array_index(again.mends, Qcow2Mend, i);

            /* Still present: it cannot be repaired. */
            again.cut |= m->lost && !m->metadata;
        }
        again.quiet = c->quiet;
        again.res = c->res;
        check_free(c);
        *c = again;
    } else {
        check_free(&again);
    }
    return ret;
}

/* --- all --- */

static int coroutine_mixed_fn write_caches(BlockDriverState *bs)
{
    int ret = qcow2_evict_refcounts(bs);

    if (ret == 0) {
        ret = qcow2_write_l2_tables(bs);
    }
    return ret < 0 ? ret : qcow2_flush_file(bs);
}

/* Repairs and checks again: errors that are gone count as repaired. */
static int coroutine_mixed_fn repair(Qcow2Check *c, BdrvCheckResult *left)
{
    BdrvCheckResult scratch = { 0 }, *res = c->res;
    int ret;

    c->res = &scratch; /* only the last look counts */
    ret = qcow2_repair(c);
    if (ret == 0) {
        ret = write_caches(c->bs); /* the flags rely on the refcounts */
    }
    if (ret == 0 && (c->fix & BDRV_FIX_ERRORS)) {
        check_flags(c, true);
        ret = qcow2_flush_file(c->bs);
    }
    check_free(c);
    *c = (Qcow2Check){ .bs = c->bs, .s = c->s, .res = left, .quiet = true,
                       .opening = c->opening };
    if (ret == 0) {
        ret = look(c);
    }
    c->res = res;
    return ret;
}

static void take_result(BdrvCheckResult *res, const BdrvCheckResult *left)
{
    int64_t corruptions = res->corruptions, leaks = res->leaks;

    *res = *left;
    res->corruptions_fixed = MAX(corruptions - left->corruptions, 0);
    res->leaks_fixed = MAX(leaks - left->leaks, 0);
}

/*
 * A complete repair without errors left makes the image clean; a repair of
 * leaks only does not clear the corrupt bit.
 */
static int coroutine_mixed_fn clear_bits(BlockDriverState *bs, int fix,
                                         const BdrvCheckResult *res)
{
    uint64_t bits = QCOW2_INCOMPAT_DIRTY;

    if (!fix || res->corruptions || res->check_errors) {
        return 0;
    }
    if (fix & BDRV_FIX_ERRORS) {
        bits |= QCOW2_INCOMPAT_CORRUPT;
    }
    return qcow2_set_incompatible(bs, bits, false);
}

/* @opening: see Qcow2Check.  *@sound: afterwards no cluster in use can be
 * allocated. */
static int coroutine_mixed_fn check_and_repair(BlockDriverState *bs,
                                               BdrvCheckResult *res, int fix,
                                               bool opening, bool *sound)
{
    Qcow2Check c = { .bs = bs, .s = bs->opaque, .res = res, .fix = fix,
                     .opening = opening };
    BdrvCheckResult left = { 0 };
    int ret = look(&c);

    if (ret == 0 && fix && !c.overflow && (res->corruptions || res->leaks)) {
        ret = repair(&c, &left);
        if (ret == 0) {
            take_result(res, &left);
        }
    }
    *sound = !c.low && !c.rebuild && !res->check_errors;
    check_free(&c);
    return ret < 0 ? ret : clear_bits(bs, fix, res);
}

static void tell_rest(BlockDriverState *bs, const BdrvCheckResult *res)
{
    int64_t found = res->corruptions + res->corruptions_fixed + res->leaks +
                    res->leaks_fixed + res->check_errors;

    if (found > OPENING_TOLD) {
        warn_report("Node '%s' had %" PRId64 " errors in all, of which the "
                    "first are shown", bs->node_name, found);
    }
}

bool coroutine_mixed_fn qcow2_repair_opened(BlockDriverState *bs,
                                            const char *why, Error **errp)
{
    BdrvCheckResult res = { 0 };
    bool sound;
    int ret = check_and_repair(bs, &res, BDRV_FIX_ERRORS | BDRV_FIX_LEAKS,
                               true, &sound);

    tell_rest(bs, &res);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not repair %s image", why);
    } else if (!sound) {
        error_setg(errp, "Could not repair %s image: its refcounts stay "
                   "wrong, writing to it would damage data", why);
        error_append_hint(errp, "It can be opened read-only, and copied with "
                          "qemu-img convert.\n");
        ret = -EIO;
    }
    return ret == 0;
}

int coroutine_fn qcow2_co_check(BlockDriverState *bs, BdrvCheckResult *res,
                                int fix)
{
    Qcow2State *s = bs->opaque;
    bool sound;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    /* The caches are part of the image that is checked. */
    ret = bs->read_only ? 0 : qcow2_apply_frees(bs);
    return ret < 0 ? ret : check_and_repair(bs, res, fix, false,
                                          &sound);
}
