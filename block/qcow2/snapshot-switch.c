/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing a whole image from one set of tables to another: snapshot-int.h. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "block/qcow2/snapshot-int.h"
#include "block/qcow2/switch-int.h"
#include "qemu/iov.h"

/* The header's fields that change together: size .. snapshot table. */
#define HEADER_PART 24
#define HEADER_PART_BYTES 48

void qcow2_switch_init(Qcow2Switch *sw, BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    *sw = (Qcow2Switch){
        .bs = bs,
        .deltas = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                        g_free),
        .taken = g_array_new(FALSE, FALSE, sizeof(Qcow2Free)),
        .released = g_array_new(FALSE, FALSE, sizeof(Qcow2Free)),
        .unused = g_array_new(FALSE, FALSE, sizeof(Qcow2Free)),
        .size = s->size,
    };
}

void qcow2_switch_free(Qcow2Switch *sw)
{
    g_hash_table_destroy(sw->deltas);
    g_array_free(sw->taken, TRUE);
    g_array_free(sw->released, TRUE);
    g_array_free(sw->unused, TRUE);
    g_free(sw->rt);
    if (sw->snapshots) {
        g_array_free(sw->snapshots, TRUE);
    }
}

/* Adds a range; extends the last one if adjacent. */
static void add_range(GArray *list, uint64_t offset, uint64_t bytes)
{
    Qcow2Free item = { .offset = offset, .bytes = bytes };

    if (list->len) {
        Qcow2Free *last = &g_array_index(list, Qcow2Free, list->len - 1);

        if (last->offset + last->bytes == offset) {
            last->bytes += bytes;
            return;
        }
    }
    g_array_append_val(list, item);
}

/* --- counting --- */

/* Changes of the counts of refcount block @index; NULL: there is no block. */
static int32_t *block_deltas(Qcow2Switch *sw, uint64_t index, bool create)
{
    Qcow2State *s = sw->bs->opaque;

    if (sw->last && sw->last_index == index) {
        return sw->last;
    }
    sw->last = g_hash_table_lookup(sw->deltas, &index);
    if (!sw->last && create && index < s->rt_entries &&
        (s->rt[index] & QCOW2_REFTABLE_MASK)) {
        sw->last = g_new0(int32_t, UINT64_C(1) << s->rb_bits);
        g_hash_table_insert(sw->deltas, g_memdup2(&index, sizeof(index)),
                            sw->last);
    }
    sw->last_index = index;
    return sw->last;
}

static int refs_range(Qcow2Switch *sw, uint64_t offset, uint64_t bytes,
                      int delta, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    uint64_t first = offset >> s->cluster_bits;
    uint64_t last = (offset + bytes - 1) >> s->cluster_bits;

    for (uint64_t i = first; i <= last; i++) {
        int32_t *deltas = block_deltas(sw, i >> s->rb_bits, true);

        if (!deltas) {
            error_setg(errp, "Cluster %#" PRIx64 " of the image is used, but "
                       "has no refcount: run 'qemu-img check' on it", i);
            return -EIO;
        }
        deltas[i & ((UINT64_C(1) << s->rb_bits) - 1)] += delta;
    }
    return 0;
}

/* The range that @desc of an L2 entry refers to; *@bytes 0: none. */
static int entry_range(const Qcow2State *s, uint64_t desc, uint64_t *offset,
                       uint64_t *bytes, Error **errp)
{
    *bytes = 0;
    switch (qcow2_type_of(s, desc)) {
    case QCOW2_TYPE_COMPRESSED:
        qcow2_compressed_range(desc, s->cluster_bits, offset, bytes);
        return 0;
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        *offset = desc & QCOW2_OFFSET_MASK;
        *bytes = s->cluster_size;
        return 0;
    case QCOW2_INVALID:
        error_setg(errp, "L2 entry %#" PRIx64 " of the image is invalid: run "
                   "'qemu-img check' on it", desc);
        return -EIO;
    default:
        return 0;
    }
}

static uint64_t *coroutine_fn read_l2(Qcow2Switch *sw, uint64_t l2, int *ret,
                                      Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    uint64_t *table;

    if (qcow2_in_cluster(s, l2)) {
        error_setg(errp, "L2 table offset %#" PRIx64 " of the image is not "
                   "aligned: run 'qemu-img check' on it", l2);
        *ret = -EIO;
        return NULL;
    }
    table = qcow2_read_table(sw->bs, l2, qcow2_l2_words(s), ret);
    if (!table) {
        error_setg_errno(errp, -*ret, "Could not read an L2 table");
    }
    return table;
}

static int coroutine_fn refs_l2(Qcow2Switch *sw, uint64_t l2, int delta,
                                Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    int ret = 0;
    g_autofree uint64_t *table = read_l2(sw, l2, &ret, errp);

    if (table) {
        ret = refs_range(sw, l2, s->cluster_size, delta, errp);
    }
    for (uint64_t i = 0; ret == 0 && i < UINT64_C(1) << s->l2_bits; i++) {
        uint64_t offset, bytes;

        ret = entry_range(s, table[qcow2_l2_word(s, i)], &offset, &bytes, errp);
        if (ret == 0 && bytes) {
            ret = refs_range(sw, offset, bytes, delta, errp);
        }
    }
    return ret;
}

int coroutine_fn qcow2_switch_refs(Qcow2Switch *sw, Qcow2L1 l1, Qcow2L1 same,
                                   int delta, Error **errp)
{
    int ret = 0;

    for (uint32_t i = 0; ret == 0 && i < l1.n; i++) {
        uint64_t l2 = l1.entries[i] & QCOW2_OFFSET_MASK;

        if (l2 && !(i < same.n &&
                    (same.entries[i] & QCOW2_OFFSET_MASK) == l2)) {
            ret = refs_l2(sw, l2, delta, errp);
        }
    }
    return ret;
}

/* The new count of the cluster. */
static int coroutine_fn future_count(Qcow2Switch *sw, uint64_t cluster,
                                     uint64_t *count)
{
    Qcow2State *s = sw->bs->opaque;
    int32_t *deltas = block_deltas(sw, cluster >> s->rb_bits, false);
    int ret = qcow2_get_refcount(sw->bs, cluster, count);

    if (deltas) {
        *count += deltas[cluster & ((UINT64_C(1) << s->rb_bits) - 1)];
    }
    return ret;
}

/* Are all counts of this block possible? */
static int coroutine_fn check_block(Qcow2Switch *sw, uint64_t index,
                                    const int32_t *deltas, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;

    for (uint64_t i = 0; i < UINT64_C(1) << s->rb_bits; i++) {
        uint64_t cluster = (index << s->rb_bits) + i, count;
        int ret;

        if (!deltas[i]) {
            continue;
        }
        ret = qcow2_get_refcount(sw->bs, cluster, &count);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read a refcount block");
            return ret;
        }
        if (deltas[i] > 0 && count > s->refcount_max - deltas[i]) {
            error_setg(errp, "Refcount of cluster %#" PRIx64 " would exceed "
                       "the %u bits that the image has for it", cluster,
                       s->refcount_bits);
            return -EINVAL;
        }
        if (count == 0 || (deltas[i] < 0 && count < (uint64_t)-(int64_t)
                                                            deltas[i])) {
            error_setg(errp, "Refcount of cluster %#" PRIx64 " is too low: "
                       "run 'qemu-img check' on the image", cluster);
            return -EIO;
        }
    }
    return 0;
}

int coroutine_fn qcow2_switch_check(Qcow2Switch *sw, Error **errp)
{
    GHashTableIter iter;
    gpointer key, value;
    int ret = 0;

    g_hash_table_iter_init(&iter, sw->deltas);
    while (!sw->checked && ret == 0 &&
           g_hash_table_iter_next(&iter, &key, &value)) {
        ret = check_block(sw, *(uint64_t *)key, value, errp);
    }
    sw->checked = true;
    return ret;
}

/* --- new clusters --- */

/* Allocates clusters for @bytes, without writing them. */
static int coroutine_fn take(Qcow2Switch *sw, uint64_t bytes,
                             uint64_t *offset, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    int ret = qcow2_alloc_bytes_run(sw->bs, MAX(bytes, 1), offset);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not allocate space in the image");
        return ret;
    }
    add_range(sw->taken, *offset, ROUND_UP(MAX(bytes, 1), s->cluster_size));
    return 0;
}

/* Writes @bytes, and zeroes to the end of the cluster. */
static int coroutine_fn put(Qcow2Switch *sw, uint64_t offset, const void *buf,
                            uint64_t bytes, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    uint64_t reach = ROUND_UP(MAX(bytes, 1), BDRV_SECTOR_SIZE), part = reach;
    uint64_t end = offset + ROUND_UP(reach, s->cluster_size);
    uint8_t *copy = bdrv_try_blockalign(sw->bs->file->bs, reach);
    int ret = copy ? 0 : -ENOMEM;

    if (ret == 0) {
        memset(copy + bytes, 0, reach - bytes);
        if (bytes) {
            memcpy(copy, buf, bytes);
        }
        while (part > BDRV_SECTOR_SIZE &&
               buffer_is_zero(copy + part - BDRV_SECTOR_SIZE,
                              BDRV_SECTOR_SIZE)) {
            part -= BDRV_SECTOR_SIZE;
        }
        ret = bdrv_pwrite(sw->bs->file, offset, part, copy);
    }
    if (ret >= 0) {
        ret = qcow2_write_rest(sw->bs, offset + part, offset + reach, end);
        s->high_water = MAX(s->high_water, end);
    }
    qemu_vfree(copy);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write new tables");
    }
    return MIN(ret, 0);
}

int coroutine_fn qcow2_switch_new(Qcow2Switch *sw, const void *buf,
                                  uint64_t bytes, uint64_t *offset,
                                  Error **errp)
{
    int ret = take(sw, bytes, offset, errp);

    return ret < 0 ? ret : put(sw, *offset, buf, bytes, errp);
}

int coroutine_fn qcow2_switch_new_data(Qcow2Switch *sw, const void *buf,
                                       uint64_t bytes, int64_t guest,
                                       uint64_t *offset, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    size_t whole = ROUND_UP(bytes, CRYPTO_SECTOR);
    g_autofree uint8_t *copy = NULL;
    int ret;

    if (!s->crypt) {
        return qcow2_switch_new(sw, buf, bytes, offset, errp);
    }
    ret = take(sw, whole, offset, errp);
    if (ret < 0) {
        return ret;
    }
    copy = g_try_malloc0(whole);
    ret = -ENOMEM;
    if (copy) {
        memcpy(copy, buf, bytes);
        ret = qcow2_crypt_encrypt(sw->bs, *offset, guest, whole, copy);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not encrypt the data");
        return ret;
    }
    return put(sw, *offset, copy, whole, errp);
}

int coroutine_fn qcow2_switch_new_table(Qcow2Switch *sw,
                                        const uint64_t *table,
                                        uint64_t entries, uint64_t *offset,
                                        Error **errp)
{
    g_autofree uint64_t *be = g_new(uint64_t, MAX(entries, 1));

    if (!entries) {
        *offset = 0; /* a disk of size 0 has none */
        return 0;
    }
    for (uint64_t i = 0; i < entries; i++) {
        be[i] = GUINT64_TO_BE(table[i]);
    }
    return qcow2_switch_new(sw, be, entries * 8, offset, errp);
}

void qcow2_switch_release(Qcow2Switch *sw, uint64_t offset, uint64_t bytes)
{
    Qcow2State *s = sw->bs->opaque;

    if (bytes) {
        add_range(sw->released, offset, ROUND_UP(bytes, s->cluster_size));
    }
}

/* --- flags --- */

/* Sets the COPIED flags of @table to their new values; did one change? */
static int coroutine_fn fix_entries(Qcow2Switch *sw, uint64_t *table,
                                    bool *changed)
{
    Qcow2State *s = sw->bs->opaque;

    *changed = false;
    for (uint64_t i = 0; i < UINT64_C(1) << s->l2_bits; i++) {
        uint64_t *desc = &table[qcow2_l2_word(s, i)];
        Qcow2Type type = qcow2_type_of(s, *desc);
        uint64_t entry = *desc & ~QCOW2_COPIED, count;
        int ret;

        if (type != QCOW2_NORMAL && type != QCOW2_ZERO_ALLOC) {
            continue;
        }
        ret = future_count(sw, (entry & QCOW2_OFFSET_MASK) >> s->cluster_bits,
                           &count);
        if (ret < 0) {
            return ret;
        }
        entry |= count == 1 ? QCOW2_COPIED : 0;
        *changed |= entry != *desc;
        *desc = entry;
    }
    return 0;
}

/* The L2 table of @index: the present one, or a copy with other flags. */
static int coroutine_fn fix_l2(Qcow2Switch *sw, uint32_t index, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    uint64_t l2 = sw->l1[index] & QCOW2_OFFSET_MASK, count;
    g_autofree uint64_t *table = NULL;
    bool changed = false;
    int ret = 0;

    sw->l1[index] = l2;
    if (!l2) {
        return 0;
    }
    table = read_l2(sw, l2, &ret, errp);
    if (!table) {
        return ret;
    }
    ret = fix_entries(sw, table, &changed);
    if (ret == 0) {
        ret = future_count(sw, l2 >> s->cluster_bits, &count);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read a refcount block");
        return ret;
    }
    if (!changed) {
        sw->l1[index] |= count == 1 ? QCOW2_COPIED : 0;
        return 0;
    }
    ret = refs_range(sw, l2, s->cluster_size, -1, errp);
    if (ret == 0) {
        ret = qcow2_switch_new_table(sw, table, qcow2_l2_words(s),
                                     &sw->l1[index], errp);
    }
    sw->l1[index] |= QCOW2_COPIED;
    return ret;
}

static int coroutine_fn new_l1(Qcow2Switch *sw, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    int ret = 0;

    for (uint32_t i = 0; ret == 0 && i < sw->l1_size; i++) {
        ret = fix_l2(sw, i, errp);
    }
    if (ret == 0) {
        ret = qcow2_switch_new_table(sw, sw->l1, sw->l1_size, &sw->l1_offset,
                                     errp);
        qcow2_switch_release(sw, s->l1_offset, s->l1_size * 8ULL);
    }
    return ret;
}

/* --- refcounts --- */

/* Writes refcount block @index with its new counts at @offset. */
static int coroutine_fn put_block(Qcow2Switch *sw, uint64_t index,
                                  const int32_t *deltas, uint64_t offset,
                                  Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    g_autofree uint8_t *block = g_malloc0(s->cluster_size);

    for (uint64_t i = 0; i < UINT64_C(1) << s->rb_bits; i++) {
        uint64_t cluster = (index << s->rb_bits) + i, count;
        int ret = qcow2_get_refcount(sw->bs, cluster, &count);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read a refcount block");
            return ret;
        }
        qcow2_refcount_set(block, i, s->refcount_order, count + deltas[i]);
        if (deltas[i] && count + deltas[i] == 0) {
            add_range(sw->unused, cluster << s->cluster_bits,
                      s->cluster_size);
        }
    }
    return put(sw, offset, block, s->cluster_size, errp);
}

/* Allocates the refcount table, which may grow by that. */
static int coroutine_fn take_reftable(Qcow2Switch *sw, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    uint32_t clusters;
    int ret;

    for (;;) {
        clusters = s->rt_clusters;
        ret = take(sw, (uint64_t)clusters << s->cluster_bits, &sw->rt_offset,
                   errp);
        if (ret < 0 || clusters == s->rt_clusters) {
            return ret;
        }
        /* These clusters are released with the others when all is done. */
        qcow2_switch_release(sw, sw->rt_offset,
                             (uint64_t)clusters << s->cluster_bits);
    }
}

static int compare_indices(const void *a, const void *b)
{
    const uint64_t *x = *(uint64_t *const *)a, *y = *(uint64_t *const *)b;

    return *x < *y ? -1 : *x > *y;
}

/* Writes new blocks for counts that change, and a table that refers to them. */
static int coroutine_fn new_refcounts(Qcow2Switch *sw, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    guint n = 0;
    g_autofree uint64_t **index =
        (uint64_t **)g_hash_table_get_keys_as_array(sw->deltas, &n);
    g_autofree uint64_t *offsets = g_new(uint64_t, n + 1);
    int ret = 0;

    qsort(index, n, sizeof(*index), compare_indices);
    for (guint i = 0; ret == 0 && i < n; i++) {
        ret = take(sw, s->cluster_size, &offsets[i], errp);
    }
    if (ret == 0) {
        ret = take_reftable(sw, errp);
    }
    if (ret < 0) {
        return ret;
    }
    /* From here on nothing is allocated: counts do not change. */
    sw->rt = g_memdup2(s->rt, s->rt_entries * 8);
    for (guint i = 0; ret == 0 && i < n; i++) {
        uint64_t old = s->rt[*index[i]] & QCOW2_REFTABLE_MASK;

        ret = put_block(sw, *index[i],
                        g_hash_table_lookup(sw->deltas, index[i]),
                        offsets[i], errp);
        sw->rt[*index[i]] = offsets[i];
        qcow2_switch_release(sw, old, s->cluster_size);
    }
    if (ret == 0) {
        ret = qcow2_write_table(sw->bs, sw->rt_offset, sw->rt, s->rt_entries,
                                (uint64_t)s->rt_clusters << s->cluster_bits);
        qcow2_switch_release(sw, s->rt_offset,
                             (uint64_t)s->rt_clusters << s->cluster_bits);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write new tables");
        }
    }
    return ret;
}

/* --- the switch --- */

static void encode_part(uint8_t *p, const Qcow2State *s)
{
    st64_be(p, s->size);
    st32_be(p + 8, s->crypt_method);
    st32_be(p + 12, s->l1_size);
    st64_be(p + 16, s->l1_offset);
    st64_be(p + 24, s->rt_offset);
    st32_be(p + 32, s->rt_clusters);
    st32_be(p + 36, s->snapshots->len);
    st64_be(p + 40, s->snapshots_offset);
}

/* Writes the header for @sw; on failure restores the former one. */
static int coroutine_fn write_header_part(Qcow2Switch *sw, Error **errp)
{
    Qcow2State *s = sw->bs->opaque, new = *s;
    uint8_t before[HEADER_PART_BYTES], after[HEADER_PART_BYTES];
    int ret;

    encode_part(before, s);
    new.size = sw->size;
    new.l1_size = sw->l1_size;
    new.l1_offset = sw->l1_offset;
    new.rt_offset = sw->rt_offset;
    new.snapshots = sw->snapshots;
    new.snapshots_offset = sw->snapshots_offset;
    encode_part(after, &new);
    ret = bdrv_pwrite_sync(sw->bs->file, HEADER_PART, sizeof(after), after);
    if (ret >= 0) {
        return 0;
    }
    error_setg_errno(errp, -ret, "Could not update qcow2 header");
    if (bdrv_pwrite_sync(sw->bs->file, HEADER_PART, sizeof(before),
                         before) < 0) {
        /*
         * The header on disk is unknown.  Either one is valid now, and stays so
         * only if nothing is written any more.
         */
        s->broken = true;
        error_append_hint(errp, "No more writes to the image are possible.\n");
    }
    return ret;
}

static void adopt(Qcow2Switch *sw)
{
    Qcow2State *s = sw->bs->opaque;

    s->size = sw->size;
    g_free(s->l1);
    s->l1 = g_memdup2(sw->l1, MAX(sw->l1_size, 1) * 8);
    s->l1_size = sw->l1_size;
    s->l1_offset = sw->l1_offset;
    g_free(s->rt);
    s->rt = g_steal_pointer(&sw->rt);
    s->rt_offset = sw->rt_offset;
    g_array_free(s->snapshots, TRUE);
    s->snapshots = g_steal_pointer(&sw->snapshots);
    s->nb_snapshots = s->snapshots->len;
    s->snapshots_offset = sw->snapshots_offset;
    s->snapshots_bytes = sw->snapshots_bytes;
    s->free_index = 0;
    s->byte_offset = 0;
    qcow2_meta_forget(s);
    qcow2_cache_forget(s->l2_cache, 0, INT64_MAX);
    qcow2_cache_forget(s->rb_cache, 0, INT64_MAX);
}

/* Ranges of @least bytes or more. */
static void coroutine_fn discard_all(BlockDriverState *bs, const GArray *list,
                                     uint64_t least)
{
    for (guint i = 0; i < list->len; i++) {
        const Qcow2Free *f = &g_array_index(list, Qcow2Free, i);

        if (f->bytes >= least) {
            qcow2_discard_unused(bs, f->offset, f->bytes);
        }
    }
}

static void coroutine_fn give_back(Qcow2Switch *sw, const GArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        const Qcow2Free *f = &g_array_index(list, Qcow2Free, i);

        qcow2_free_now(sw->bs, f->offset, f->bytes);
    }
}

void coroutine_fn qcow2_switch_undo(Qcow2Switch *sw)
{
    Qcow2State *s = sw->bs->opaque;

    if (!s->broken) {
        give_back(sw, sw->taken);
    }
}

static int coroutine_fn write_all(Qcow2Switch *sw, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    g_autofree uint8_t *table = NULL;
    size_t bytes;
    int ret;

    ret = qcow2_switch_check(sw, errp);
    if (ret == 0) {
        table = qcow2_encode_snapshots(sw->snapshots, &bytes, errp);
        ret = table ? 0 : -EFBIG;
    }
    if (ret == 0) {
        ret = new_l1(sw, errp);
    }
    if (ret == 0 && bytes) {
        ret = qcow2_switch_new(sw, table, bytes, &sw->snapshots_offset, errp);
    }
    if (ret == 0) {
        sw->snapshots_bytes = bytes;
        qcow2_switch_release(sw, s->snapshots_offset, s->snapshots_bytes);
        ret = new_refcounts(sw, errp);
    }
    if (ret == 0) {
        ret = qcow2_evict_refcounts(sw->bs);
        if (ret == 0) {
            ret = qcow2_flush_file(sw->bs);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write new tables");
        }
    }
    return ret;
}

int coroutine_fn qcow2_switch_commit(Qcow2Switch *sw, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    int ret = write_all(sw, errp);

    if (ret == 0) {
        ret = write_header_part(sw, errp);
    }
    if (ret < 0) {
        qcow2_switch_undo(sw);
        return ret;
    }
    adopt(sw);
    give_back(sw, sw->released);
    /* A failure only leaks from here on: the operation has succeeded. */
    (void)qcow2_evict_refcounts(sw->bs);
    if (s->discard_snapshot) {
        discard_all(sw->bs, sw->unused, 0);
        /* Small tables are soon replaced by others: a discard is slower. */
        discard_all(sw->bs, sw->released, MiB);
    }
    return 0;
}
