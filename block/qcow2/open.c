/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing an image. */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "block/bitmap-store.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "block/qcow2/snapshot-int.h"

#define MAX_SLICE (64 * KiB)
#define DEFAULT_L2_CACHE (32 * MiB)
#define DEFAULT_CLEAN_SECONDS 600
#define NS_PER_SECOND INT64_C(1000000000)

/* --- options --- */

/* The kinds of metadata that a mode guards. */
static unsigned overlap_mode(Qcow2OverlapCheckMode mode)
{
    unsigned constant = QCOW2_OVERLAP_HEADER | QCOW2_OVERLAP_ACTIVE_L1 |
                        QCOW2_OVERLAP_REFCOUNT_TABLE |
                        QCOW2_OVERLAP_SNAPSHOT_TABLE |
                        QCOW2_OVERLAP_BITMAP_DIRECTORY;
    unsigned cached = constant | QCOW2_OVERLAP_ACTIVE_L2 |
                      QCOW2_OVERLAP_REFCOUNT_BLOCK |
                      QCOW2_OVERLAP_INACTIVE_L1;

    switch (mode) {
    case QCOW2_OVERLAP_CHECK_MODE_NONE:
        return 0;
    case QCOW2_OVERLAP_CHECK_MODE_CONSTANT:
        return constant;
    case QCOW2_OVERLAP_CHECK_MODE_ALL:
        return cached | QCOW2_OVERLAP_INACTIVE_L2;
    default:
        return cached;
    }
}

static unsigned overlap_flags(const Qcow2OverlapCheckFlags *f)
{
    const struct {
        bool has, on;
        unsigned kind;
    } members[] = {
        { f->has_main_header, f->main_header, QCOW2_OVERLAP_HEADER },
        { f->has_active_l1, f->active_l1, QCOW2_OVERLAP_ACTIVE_L1 },
        { f->has_active_l2, f->active_l2, QCOW2_OVERLAP_ACTIVE_L2 },
        { f->has_refcount_table, f->refcount_table,
          QCOW2_OVERLAP_REFCOUNT_TABLE },
        { f->has_refcount_block, f->refcount_block,
          QCOW2_OVERLAP_REFCOUNT_BLOCK },
        { f->has_snapshot_table, f->snapshot_table,
          QCOW2_OVERLAP_SNAPSHOT_TABLE },
        { f->has_inactive_l1, f->inactive_l1, QCOW2_OVERLAP_INACTIVE_L1 },
        { f->has_inactive_l2, f->inactive_l2, QCOW2_OVERLAP_INACTIVE_L2 },
        { f->has_bitmap_directory, f->bitmap_directory,
          QCOW2_OVERLAP_BITMAP_DIRECTORY },
    };
    unsigned kinds = overlap_mode(f->has_template
                                  ? f->template
                                  : QCOW2_OVERLAP_CHECK_MODE_CACHED);

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        if (members[i].has) {
            kinds = members[i].on ? kinds | members[i].kind
                                  : kinds & ~members[i].kind;
        }
    }
    return kinds;
}

static void apply_overlap(Qcow2State *s, const BlockdevOptionsQcow2 *o)
{
    const Qcow2OverlapChecks *c = o->overlap_check;

    s->overlap = !c ? overlap_mode(QCOW2_OVERLAP_CHECK_MODE_CACHED)
        : c->type == QCOW2_OVERLAP_CHECKS_KIND_MODE
        ? overlap_mode(c->u.mode) : overlap_flags(c->u.flags);
    qcow2_meta_forget(s);
}

static bool no_negative_sizes(const BlockdevOptionsQcow2 *o, Error **errp)
{
    const char *name =
        o->has_cache_size && o->cache_size < 0 ? "cache-size"
        : o->has_l2_cache_size && o->l2_cache_size < 0 ? "l2-cache-size"
        : o->has_refcount_cache_size && o->refcount_cache_size < 0
        ? "refcount-cache-size" : NULL;

    if (name) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below "
                   "2^64", name);
    }
    return !name;
}

/* Cache sizes in bytes from the options that were given. */
static bool cache_sizes(const Qcow2State *s, const BlockdevOptionsQcow2 *o,
                        uint64_t *l2, uint64_t *rb, Error **errp)
{
    uint64_t covers = ROUND_UP(qcow2_clusters(s, s->size) << s->entry_bits,
                               MAX_SLICE);

    if (!no_negative_sizes(o, errp)) {
        return false;
    }
    if (o->has_cache_size && o->has_l2_cache_size &&
        o->has_refcount_cache_size) {
        error_setg(errp, "cache-size, l2-cache-size and refcount-cache-size "
                   "may not be set at the same time");
        return false;
    }
    if (o->has_cache_size &&
        ((o->has_l2_cache_size && o->l2_cache_size > o->cache_size) ||
         (o->has_refcount_cache_size &&
          o->refcount_cache_size > o->cache_size))) {
        error_setg(errp, "%s may not exceed cache-size",
                   o->has_l2_cache_size ? "l2-cache-size"
                                        : "refcount-cache-size");
        return false;
    }
    *rb = o->has_refcount_cache_size ? o->refcount_cache_size : 0;
    *l2 = o->has_l2_cache_size ? (uint64_t)o->l2_cache_size
        : o->has_cache_size ? o->cache_size - *rb : DEFAULT_L2_CACHE;
    *l2 = MIN(*l2, covers);
    if (o->has_cache_size && !o->has_refcount_cache_size) {
        *rb = o->cache_size - *l2;
    }
    if (*rb >> s->cluster_bits > INT_MAX) {
        error_setg(errp, "Refcount cache size too big");
        return false;
    }
    return true;
}

static bool check_entry_size(const Qcow2State *s,
                             const BlockdevOptionsQcow2 *o, Error **errp)
{
    if (o->has_l2_cache_entry_size &&
        (o->l2_cache_entry_size < 512 ||
         o->l2_cache_entry_size > s->cluster_size ||
         !is_power_of_2(o->l2_cache_entry_size))) {
        error_setg(errp, "L2 cache entry size must be a power of two between "
                   "512 and the cluster size (%" PRId64 ")", s->cluster_size);
        return false;
    }
    return true;
}

size_t qcow2_l2_entry_size(const Qcow2State *s, const BlockdevOptionsQcow2 *o)
{
    return o->has_l2_cache_entry_size ? o->l2_cache_entry_size
                                      : MIN(s->cluster_size, MAX_SLICE);
}

/* @l2_slice: the bytes of an L2 table that are an entry of its cache, which is
 * clean if that changes. */
static void make_caches(Qcow2State *s, size_t l2_slice, uint64_t l2,
                        uint64_t rb)
{
    size_t slice = MIN(s->cluster_size, MAX_SLICE);
    Qcow2CacheConf l2_conf = {
        .entry_size = l2_slice,
        .max_entries = MAX(8, l2 / l2_slice),
        .load_event = BLKDEBUG_EVENT_L2_LOAD,
        .update_event = BLKDEBUG_EVENT_L2_UPDATE,
        .evict = qcow2_evict_l2,
    };
    Qcow2CacheConf rb_conf = {
        .entry_size = slice,
        .max_entries = MAX(MAX(8, 64 * KiB / slice), rb / slice),
        .load_event = BLKDEBUG_EVENT_REFBLOCK_LOAD,
        .update_event = BLKDEBUG_EVENT_REFBLOCK_UPDATE_PART,
        .evict = qcow2_evict_refcounts,
        .keeps = true,
    };

    if (s->l2_cache && qcow2_cache_entry_size(s->l2_cache) != l2_slice) {
        g_assert(!qcow2_cache_is_dirty(s->l2_cache));
        g_clear_pointer(&s->l2_cache, qcow2_cache_free);
    }
    if (!s->l2_cache) {
        s->l2_cache = qcow2_cache_new(&l2_conf);
        s->slice_bits = ctz64(l2_slice) - s->entry_bits;
    }
    qcow2_cache_set_max(s->l2_cache, l2_conf.max_entries);
    if (s->rb_cache) {
        qcow2_cache_set_max(s->rb_cache, rb_conf.max_entries);
        return;
    }
    s->rb_cache = qcow2_cache_new(&rb_conf);
    s->rb_slice_bits = ctz64(slice) + 3 - s->refcount_order;
}

/* --- memory of idle images --- */

static void clean_caches(void *opaque)
{
    BlockDriverState *bs = opaque;
    Qcow2State *s = bs->opaque;

    qcow2_cache_clean(s->l2_cache);
    qcow2_cache_clean(s->rb_cache);
    aio_timer_mod(s->clean_timer, aio_now_ns() + s->clean_interval_ns);
}

void qcow2_detach_aio_context(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    g_clear_pointer(&s->clean_timer, aio_timer_free);
    qcow2_ahead_stop_timer(bs);
}

void qcow2_attach_aio_context(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->clean_interval_ns) {
        s->clean_timer = aio_timer_new(bs->ctx, AIO_SCOPE_IO, clean_caches,
                                       bs);
        aio_timer_mod(s->clean_timer, aio_now_ns() + s->clean_interval_ns);
    }
    qcow2_ahead_start_timer(bs);
}

static void set_clean_timer(BlockDriverState *bs,
                            const BlockdevOptionsQcow2 *o)
{
    Qcow2State *s = bs->opaque;
    int64_t seconds = o->has_cache_clean_interval ? o->cache_clean_interval
                                                  : DEFAULT_CLEAN_SECONDS;

    qcow2_detach_aio_context(bs);
    s->clean_interval_ns = seconds * NS_PER_SECOND;
    qcow2_attach_aio_context(bs);
}

bool qcow2_apply_options(BlockDriverState *bs, const BlockdevOptions *options,
                         Error **errp)
{
    Qcow2State *s = bs->opaque;
    const BlockdevOptionsQcow2 *o = &options->u.qcow2;
    uint64_t l2, rb;

    if (o->has_lazy_refcounts && o->lazy_refcounts && s->version < 3) {
        error_setg(errp, "Lazy refcounts require a qcow2 image with at least "
                   "qemu 1.1 compatibility level");
        return false;
    }
    if (o->has_cache_clean_interval &&
        (o->cache_clean_interval < 0 ||
         o->cache_clean_interval > UINT32_MAX)) {
        error_setg(errp, "Cache clean interval too big");
        return false;
    }
    if (!check_entry_size(s, o, errp) ||
        !cache_sizes(s, o, &l2, &rb, errp)) {
        return false;
    }
    make_caches(s, qcow2_l2_entry_size(s, o), l2, rb);
    apply_overlap(s, o);
    s->file_sparse = -1;
    s->lazy_refcounts = o->has_lazy_refcounts
        ? o->lazy_refcounts : s->compatible & QCOW2_COMPAT_LAZY;
    s->discard_request = o->has_pass_discard_request
        ? o->pass_discard_request : bs->discard_unmap;
    s->discard_snapshot = !o->has_pass_discard_snapshot ||
                          o->pass_discard_snapshot;
    s->discard_keeps = o->has_discard_no_unref && o->discard_no_unref;
    set_clean_timer(bs, o);
    s->discard_other = o->has_pass_discard_other && o->pass_discard_other;
    return true;
}

/* --- opening --- */

static void set_geometry(Qcow2State *s, const Qcow2Header *h)
{
    s->version = h->version;
    s->cluster_bits = h->cluster_bits;
    s->cluster_size = INT64_C(1) << h->cluster_bits;
    s->extended_l2 = h->incompatible & QCOW2_INCOMPAT_EXTL2;
    s->entry_bits = qcow2_entry_bits(h->incompatible);
    s->sub_bits = h->cluster_bits - (s->extended_l2
                                     ? ctz64(QCOW2_SUBCLUSTERS) : 0);
    s->l2_bits = h->cluster_bits - s->entry_bits;
    s->refcount_order = h->refcount_order;
    s->refcount_bits = 1U << h->refcount_order;
    s->refcount_max = s->refcount_bits == 64
        ? INT64_MAX : (UINT64_C(1) << s->refcount_bits) - 1;
    s->rb_bits = h->cluster_bits + 3 - h->refcount_order;
    s->compression_type = h->compression_type;
    s->crypt_method = h->crypt_method;
    s->incompatible = h->incompatible;
    s->compatible = h->compatible;
    s->autoclear = h->autoclear;
    s->external = h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
    if (s->external) {
        /* Without that feature the bit has no meaning, and is cleared. */
        s->data_raw = h->autoclear & QCOW2_AUTOCLEAR_RAW;
        s->autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_RAW;
    }
    s->size = ROUND_UP(h->size, BDRV_SECTOR_SIZE);
    s->extensions = g_array_new(FALSE, FALSE, sizeof(Qcow2Extension));
    s->cuts = g_array_new(FALSE, FALSE, sizeof(Qcow2BitmapCut));
    s->notes = g_array_new(FALSE, FALSE, sizeof(Qcow2BitmapNote));
    s->resume_lost = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    s->pending_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    co_mutex_init(&s->lock);
    co_mutex_init(&s->bitmap_lock);
    LIST_INIT(&s->ops);
}

static bool read_header(BlockDriverState *bs, Qcow2Header *h, Error **errp)
{
    uint8_t buf[QCOW2_HEADER_LENGTH];
    int ret = bdrv_pread(bs->file, 0, sizeof(buf), buf);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read qcow2 header");
        return false;
    }
    return qcow2_header_parse(buf, sizeof(buf), h, errp);
}

/* Unknown fields after those that are known are kept. */
static bool read_unknown_fields(BlockDriverState *bs, const Qcow2Header *h,
                                Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (h->header_length <= QCOW2_HEADER_LENGTH) {
        return true;
    }
    s->unknown_fields = g_byte_array_new();
    g_byte_array_set_size(s->unknown_fields,
                          h->header_length - QCOW2_HEADER_LENGTH);
    ret = bdrv_pread(bs->file, QCOW2_HEADER_LENGTH, s->unknown_fields->len,
                     s->unknown_fields->data);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read unknown qcow2 header "
                         "fields");
    }
    return ret >= 0;
}

static bool read_backing_name(BlockDriverState *bs, const Qcow2Header *h,
                              Error **errp)
{
    char name[QCOW2_MAX_BACKING_NAME + 1] = { 0 };
    int ret;

    if (!h->backing_offset) {
        return true;
    }
    ret = bdrv_pread(bs->file, h->backing_offset, h->backing_size, name);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read backing file name");
        return false;
    }
    if (*name) {
        g_free(bs->backing_file);
        bs->backing_file = g_strdup(name);
    }
    return true;
}

/* Without refcounts an image can be read, and they can be rebuilt. */
static bool read_reftable(BlockDriverState *bs, const Qcow2Header *h,
                          Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (h->reftable_damage) {
        s->rt_damage = g_strdup(h->reftable_damage);
        s->rt = g_new0(uint64_t, 1);
        return true;
    }
    s->rt_offset = h->reftable_offset;
    s->rt_clusters = h->reftable_clusters;
    s->rt_entries = ((uint64_t)h->reftable_clusters << h->cluster_bits) / 8;
    s->rt_disk_entries = s->rt_entries;
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFTABLE_LOAD);
    s->rt = qcow2_read_table(bs, s->rt_offset, s->rt_entries, &ret);
    if (!s->rt) {
        error_setg_errno(errp, -ret, "Could not read the refcount table");
        return false;
    }
    return true;
}

static bool read_tables(BlockDriverState *bs, const Qcow2Header *h,
                        Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(bs->file->bs);
    int ret;

    if (len < 0) {
        error_setg_errno(errp, -len, "Could not get the size of the image "
                         "file");
        return false;
    }
    s->high_water = len;
    if (!read_reftable(bs, h, errp)) {
        return false;
    }
    s->l1_offset = h->l1_offset;
    s->l1_size = h->l1_size;
    s->l1 = qcow2_read_table(bs, s->l1_offset, s->l1_size, &ret);
    if (!s->l1) {
        error_setg_errno(errp, -ret, "Could not read L1 table");
        return false;
    }
    return true;
}

static void free_state(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->clean_timer) {
        aio_timer_free(s->clean_timer);
    }
    qcow2_cache_free(s->l2_cache);
    qcow2_cache_free(s->rb_cache);
    qcow2_free_extensions(s);
    qcow2_free_snapshots(s);
    if (s->unknown_fields) {
        g_byte_array_free(s->unknown_fields, TRUE);
    }
    if (s->pending_frees) {
        g_array_free(s->pending_frees, TRUE);
    }
    qcow2_meta_forget(s);
    qcow2_crypt_close(s);
    qcow2_free_pack_tools(s);
    g_free(s->l1);
    g_free(s->rt);
    g_free(s->rt_damage);
    g_free(s->snapshots_damage);
    g_free(s->bitmaps_damage);
    g_clear_pointer(&s->bitmaps_raw, g_byte_array_unref);
    g_clear_pointer(&s->bitmap_dir, g_ptr_array_unref);
    g_clear_pointer(&s->bitmap_claims, g_array_unref);
    memset(s, 0, sizeof(*s));
}

/* --- external data files --- */

/*
 * Is @path the file of a child with the name @filename?  It is not if the image
 * is read again, with its children, after another process changed the name in
 * the image.
 */
static bool is_file_of(const char *path, const char *filename)
{
    struct stat st;

    return path_has_protocol(path) || !filename ||
           stat(path, &st) < 0 || stat(filename, &st) < 0 ||
           path_is_same_file(path, filename);
}

bool qcow2_is_own_file(const BlockDriverState *bs, const char *path)
{
    const char *own = bs->file->bs->filename;

    return own && path && path_is_same_file(own, path);
}

/*
 * Opens the data file that the header names, relative to the image.  It is the
 * name of a file: an image that is not trusted must not choose a protocol, or
 * options, by which anything is written.
 */
static BdrvChild *open_named_data(BlockDriverState *bs, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    bool plain = !path_has_protocol(s->data_name);
    const char *base = bs->file->bs->filename;
    bool known = base && !g_str_has_prefix(base, "json:");
    g_autofree char *name = g_strconcat(plain ? "" : "./", s->data_name, NULL);
    g_autofree char *path = bdrv_make_absolute_filename(known ? base : NULL,
                                                        name);
    g_autoptr(BlockdevOptions) options = NULL;
    BlockdevRef ref = { .type = BLOCKDEV_REF_KIND_DEFINITION };
    BdrvChild *child;
    bool unused;

    options = bdrv_options_from_filename(path, NULL, BDRV_O_PROTOCOL, &unused,
                                         errp);
    if (!options) {
        return NULL;
    }
    ref.u.definition = options;
    child = bdrv_open_child(bs, &ref, "data-file", BDRV_CHILD_DATA, errp);
    if (child && !is_file_of(path, child->bs->filename)) {
        error_setg(errp, "The data file of the image is now '%s' instead of "
                   "'%s': the image is to be opened anew", path,
                   child->bs->filename);
        return NULL;
    }
    return child;
}

/* The option comes before the name in the header. */
static bool open_data_file(BlockDriverState *bs, const BlockdevOptionsQcow2 *o,
                           int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;

    s->data = s->external ? NULL : bs->file;
    if (!s->external && o->data_file) {
        error_setg(errp, "'data-file' can only be set for images with an "
                   "external data file");
        return false;
    }
    if (s->external && o->data_file) {
        s->data = bdrv_open_child(bs, o->data_file, "data-file",
                                  BDRV_CHILD_DATA, errp);
    } else if (s->external && !(flags & BDRV_O_NO_IO)) {
        if (!s->data_name || !*s->data_name) {
            error_setg(errp, "'data-file' is required for this image");
            return false;
        }
        s->data = open_named_data(bs, errp);
    }
    if (s->external && s->data &&
        qcow2_is_own_file(bs, s->data->bs->filename)) {
        error_setg(errp, "The data file of image '%s' is the image itself",
                   bs->file->bs->filename);
        return false;
    }
    return s->data || (flags & BDRV_O_NO_IO);
}

/*
 * The data file of each image that we or QEMU make is at least as long as the
 * disk.  The disk is shown nevertheless: what is left may be worth saving.
 */
static void look_at_data_size(BlockDriverState *bs, int flags)
{
    const Qcow2State *s = bs->opaque;
    int64_t len = s->external && s->data ? bdrv_getlength(s->data->bs)
                                         : s->size;

    if (len >= 0 && len < s->size && !(flags & BDRV_O_CHECK)) {
        warn_report("The data file '%s' of image '%s' was cut off or replaced: "
                    "it has %" PRId64 " bytes, but the disk has %" PRId64
                    "; the rest reads as zeroes", s->data->bs->filename,
                    bs->file->bs->filename, len, s->size);
    }
}

/* What is opened for writing is told when the table is rebuilt. */
static void look_at_refcounts(BlockDriverState *bs, int flags)
{
    bool rebuilt = !bs->read_only && !(flags & BDRV_O_NO_IO);
    g_autofree char *damage = NULL;

    if (rebuilt || (flags & BDRV_O_CHECK)) {
        return;
    }
    damage = qcow2_refcount_damage(bs);
    if (damage) {
        warn_report("The refcount table of image '%s' is damaged (%s): run "
                    "'qemu-img check -r all' on it", bs->file->bs->filename,
                    damage);
    }
}

/* The disk can be used without its snapshots; so it is said which are not
 * there. */
static void look_at_snapshots(BlockDriverState *bs, int flags)
{
    const Qcow2State *s = bs->opaque;
    const Qcow2Snapshot *first = NULL;
    unsigned n = 0;

    if (flags & BDRV_O_CHECK) {
        return;
    }
    if (s->snapshots_damage) {
        warn_report("The table of snapshots of image '%s' is damaged (%s): run "
                    "'qemu-img check -r all' on it", bs->file->bs->filename,
                    s->snapshots_damage);
    }
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot,
                                                 i);

        if (sn->damage) {
            first = first ? first : sn;
            n++;
        }
    }
    if (first) {
        warn_report("%u snapshot(s) of image '%s' are damaged and cannot be "
                    "used, the first one, '%s': %s", n,
                    bs->file->bs->filename,
                    *first->name ? first->name : first->id, first->damage);
    }
}

void qcow2_child_perm(BlockDriverState *bs, BdrvChild *child,
                      BdrvChildRole role, uint64_t perm, uint64_t shared,
                      uint64_t *nperm, uint64_t *nshared)
{
    const Qcow2State *s = bs->opaque;

    bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
    if (strcmp(child->name, "data-file") || !s) {
        return;
    }
    if (perm & BLK_PERM_RESIZE) {
        *nperm |= BLK_PERM_WRITE; /* new parts are zeroed */
    }
    if (*nperm & BLK_PERM_WRITE) {
        *nperm |= BLK_PERM_CONSISTENT_READ | BLK_PERM_RESIZE;
    }
}

static bool check_corrupt_bit(BlockDriverState *bs, int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;

    if ((s->incompatible & QCOW2_INCOMPAT_CORRUPT) && !bs->read_only &&
        !(flags & BDRV_O_CHECK)) {
        error_setg(errp, "qcow2: Image is corrupt; cannot be opened "
                   "read/write");
        return false;
    }
    return true;
}

static bool open_steps(BlockDriverState *bs, const BlockdevOptions *options,
                       int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Header h;

    if (!read_header(bs, &h, errp)) {
        return false;
    }
    set_geometry(s, &h);
    if (!qcow2_read_extensions(bs, &h, errp) ||
        !check_corrupt_bit(bs, flags, errp) ||
        !read_unknown_fields(bs, &h, errp) ||
        !read_backing_name(bs, &h, errp) ||
        !open_data_file(bs, &options->u.qcow2, flags, errp)) {
        return false;
    }
    qcow2_note_header(bs, &h, s->header_bytes);
    if (!qcow2_crypt_open(bs, &options->u.qcow2, flags, errp) ||
        !qcow2_apply_options(bs, options, errp) ||
        !read_tables(bs, &h, errp) ||
        !qcow2_read_snapshots(bs, &h, errp)) {
        return false;
    }
    bs->total_bytes = s->size;
    look_at_data_size(bs, flags);
    look_at_refcounts(bs, flags);
    look_at_snapshots(bs, flags);
    qcow2_attach_bitmap_store(bs);
    if (options->u.qcow2.has_bitmap_safety) {
        bdrv_bitmap_store_set_safety(&s->bitmap_store,
                                     options->u.qcow2.bitmap_safety);
    }
    if (flags & (BDRV_O_CHECK | BDRV_O_NO_IO)) {
        return true;
    }
    /* Bitmaps first: a repair needs to know their clusters. */
    return bdrv_bitmap_store_load(bs, errp) &&
           (bs->read_only || (qcow2_make_writable(bs, errp) &&
                              bdrv_bitmap_store_begin(bs, NULL, errp)));
}

int qcow2_open(BlockDriverState *bs, const BlockdevOptions *options, int flags,
               Error **errp)
{
    if (!bdrv_open_child(bs, options->u.qcow2.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    if (!open_steps(bs, options, flags, errp)) {
        qcow2_ahead_end(bs);
        bdrv_dirty_bitmap_release_loaded(bs);
        bdrv_bitmap_store_detach(bs);
        free_state(bs);
        return -EINVAL;
    }
    ((Qcow2State *)bs->opaque)->shared = true;
    return 0;
}

/* --- becoming writable --- */

char *coroutine_mixed_fn qcow2_refcount_damage(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(bs->file->bs);
    uint64_t file_end = ROUND_UP((uint64_t)MAX(len, 0), s->cluster_size);

    if (s->rt_damage) {
        return g_strdup(s->rt_damage);
    }
    if (!(s->rt[0] & QCOW2_REFTABLE_MASK)) {
        return g_strdup("there is no refcount for the header");
    }
    for (uint64_t i = 0; len >= 0 && i < s->rt_entries; i++) {
        uint64_t block = s->rt[i] & QCOW2_REFTABLE_MASK;

        if (block && (qcow2_in_cluster(s, block) ||
                      !range_fits(block, s->cluster_size, file_end))) {
            return g_strdup_printf("entry %" PRIu64 " (%#" PRIx64 ") is "
                                   "invalid", i, s->rt[i]);
        }
    }
    return NULL;
}

/* Allocation is refused if a cluster in use could count as free. */
static bool coroutine_mixed_fn repair_refcounts(BlockDriverState *bs,
                                                Error **errp)
{
    Qcow2State *s = bs->opaque;
    bool dirty = s->incompatible & QCOW2_INCOMPAT_DIRTY;
    g_autofree char *damage = qcow2_refcount_damage(bs);
    int ret;

    if (!dirty && !damage) {
        return true;
    }
    if (damage) {
        warn_report("The refcount table of node '%s' is damaged (%s): it is "
                    "rebuilt", bs->node_name, damage);
    }
    if (!qcow2_repair_opened(bs, dirty ? "dirty" : "damaged", errp)) {
        s->broken = true;
        return false;
    }
    ret = qcow2_make_clean(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not repair dirty image");
    }
    return ret == 0;
}

bool coroutine_mixed_fn qcow2_make_writable(BlockDriverState *bs,
                                            Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;

    qcow2_note_losses(bs);
    if (!repair_refcounts(bs, errp)) {
        return false;
    }
    if ((s->autoclear & ~QCOW2_AUTOCLEAR_KNOWN) ||
        (s->autoclear && !qcow2_has_bitmaps(s))) {
        s->autoclear &= qcow2_has_bitmaps(s) ? QCOW2_AUTOCLEAR_KNOWN : 0;
        ret = qcow2_update_header(bs);
        if (ret == 0) {
            ret = qcow2_flush_file(bs);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not update qcow2 header");
            return false;
        }
    }
    s->writable = true;
    return true;
}

int coroutine_mixed_fn qcow2_make_clean(BlockDriverState *bs)
{
    int ret = qcow2_apply_frees(bs);

    if (ret == 0) {
        ret = qcow2_evict_refcounts(bs);
    }
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret == 0) {
        ret = qcow2_set_incompatible(bs, QCOW2_INCOMPAT_DIRTY, false);
    }
    return ret;
}

void qcow2_close(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    Error *err = NULL;
    int ret;

    g_assert(LIST_EMPTY(&s->ops) && LIST_EMPTY(&s->reads));
    s->shared = false;
    if (!bs->read_only && !s->broken) {
        /* After a check without repair the image must not count as clean. */
        ret = s->writable ? qcow2_make_clean(bs) : qcow2_apply_frees(bs);
        if (ret < 0) {
            error_setg_errno(&err, -ret, "Failed to write back the metadata");
            bdrv_close_error(bs, err);
        }
    }
    qcow2_ahead_end(bs);
    free_state(bs);
}
