/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receiving bitmaps.  Nothing of the stream is believed: names, numbers and
 * lengths are checked against what is there.
 *
 *     START -> locked, does not record -- COMPLETE --> record -> hand over ->
 *                      |                                                active
 *                      +-- record -> frozen: the successor records;
 *                          hand over (the guest starts)
 *                              -- COMPLETE --> reclaim -> active
 *                              \- the end ---> inconsistent
 *
 * All begin to record before the first image is activated: exports can write
 * from then on.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "bitmap-load.h"
#include "bitmap-map.h"
#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "migration-int.h"
#include "qapi/json.h"
#include "settings.h"
#include "wire.h"

#define MAX_BITMAPS 65535

typedef struct LoadBitmap {
    char *node_alias, *alias;
    BlockDriverState *bs;    /* a reference; NULL: it is skipped */
    BdrvDirtyBitmap *bitmap; /* busy until it is handed over */
    bool enabled;            /* shall record */
    bool persistent;         /* shall be */
    bool was_persistent;     /* at the source */
    bool complete;
    bool records;            /* if it shall, as the machine takes over */
    bool handed_over;
    int64_t received;        /* bytes of disk up to which bits were sent */
} LoadBitmap;

struct MigBitmapLoad {
    GPtrArray *bitmaps; /* of LoadBitmap */
    GHashTable *names;  /* the same, by make_key() */
    char node_alias[256], alias[256];
    bool has_node, has_bitmap;
    LoadBitmap *current; /* of these names; NULL: unknown */
    uint64_t bits;       /* of all bitmaps */
};

/* --- the end of each --- */

/*
 * Shared storage has it under this name as it was at the source, but it is
 * transient from now on.
 */
static void forget_stored(BlockDriverState *bs, BdrvDirtyBitmap *bitmap)
{
    Error *err = NULL;

    if (bdrv_is_inactive(bs) || !bdrv_dirty_bitmap_replaces_stored(bitmap)) {
        return;
    }
    bdrv_dirty_bitmap_set_replaces_stored(bitmap, false);
    if (!bdrv_dirty_bitmap_persistent(bitmap) &&
        bdrv_supports_persistent_dirty_bitmap(bs) &&
        !bdrv_remove_stored_dirty_bitmap(bs, bdrv_dirty_bitmap_name(bitmap),
                                         &err)) {
        error_report_err(err);
    }
}

void mig_bitmap_load_activated(void)
{
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        BdrvDirtyBitmap *bitmap = NULL;

        while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
            if (!bdrv_dirty_bitmap_busy(bitmap)) {
                forget_stored(bs, bitmap);
            }
        }
    }
}

static bool make_persistent(LoadBitmap *b, Error **errp)
{
    if (!bdrv_dirty_bitmap_persistent(b->bitmap)) {
        /* That of an inactive node is stored when that becomes active. */
        if (!bdrv_is_inactive(b->bs) && !bdrv_can_store_dirty_bitmap(
                b->bs, bdrv_dirty_bitmap_name(b->bitmap),
                bdrv_dirty_bitmap_granularity(b->bitmap), errp)) {
            return false;
        }
        bdrv_dirty_bitmap_set_persistent(b->bitmap, true);
    }
    return bdrv_is_inactive(b->bs) ||
           bdrv_bitmap_store_begin(b->bs, b->bitmap, errp);
}

/* Makes it persistent, or reports that it cannot be. */
static void set_persistent(LoadBitmap *b)
{
    const char *name = bdrv_dirty_bitmap_name(b->bitmap);
    Error *err = NULL;

    if (b->persistent && !make_persistent(b, &err)) {
        error_prepend(&err, "Bitmap '%s' of node '%s' will not be stored: ",
                      name, b->bs->node_name);
        /* Too late to refuse. */
        if (mig_bitmap_dropped(b->bs->node_name, name, error_get_pretty(err),
                               NULL)) {
            error_free(err);
        } else {
            error_report_err(err);
        }
    }
    forget_stored(b->bs, b->bitmap);
}

/* It is complete, and the machine may have started. */
static void finish(LoadBitmap *b)
{
    if (bdrv_dirty_bitmap_has_successor(b->bitmap)) {
        bdrv_dirty_bitmap_reclaim(b->bitmap);
    } else {
        bdrv_dirty_bitmap_set_busy(b->bitmap, false);
    }
    set_persistent(b);
}

static void record(LoadBitmap *b)
{
    Error *err = NULL;

    b->records = true;
    if (!b->complete) {
        /* Stored when it is complete; a stored one is older, and in use. */
        bdrv_dirty_bitmap_set_persistent(b->bitmap, false);
    }
    if (!b->enabled) {
        return;
    }
    bdrv_dirty_bitmap_set_busy(b->bitmap, false);
    bdrv_dirty_bitmap_enable(b->bitmap);
    if (b->complete) {
        bdrv_dirty_bitmap_set_busy(b->bitmap, true);
    } else if (!bdrv_dirty_bitmap_freeze(b->bitmap, &err)) {
        g_error("%s", error_get_pretty(err)); /* it is active */
    }
}

void mig_bitmap_load_record(MigBitmapLoad *l)
{
    for (guint i = 0; i < l->bitmaps->len; i++) {
        LoadBitmap *b = l->bitmaps->pdata[i];

        if (b->bitmap && !b->records) {
            record(b);
        }
    }
}

static void hand_over(LoadBitmap *b)
{
    b->handed_over = true;
    if (b->complete) {
        finish(b);
    }
}

void mig_bitmap_load_hand_over(MigBitmapLoad *l)
{
    for (guint i = 0; i < l->bitmaps->len; i++) {
        LoadBitmap *b = l->bitmaps->pdata[i];

        if (b->bitmap && !b->handed_over) {
            hand_over(b);
        }
    }
    if (l->bitmaps->len) {
        bdrv_bitmap_arrived(); /* for images that are activated later */
    }
}

/* It will never be complete. */
static void give_up(LoadBitmap *b)
{
    if (!b->handed_over) {
        bdrv_dirty_bitmap_set_persistent(b->bitmap, false);
    }
    if (bdrv_dirty_bitmap_has_successor(b->bitmap)) {
        bdrv_dirty_bitmap_reclaim(b->bitmap);
    } else {
        bdrv_dirty_bitmap_set_busy(b->bitmap, false);
    }
    if (!b->handed_over) {
        bdrv_dirty_bitmap_release(b->bitmap);
        return;
    }
    bdrv_dirty_bitmap_distrust(b->bitmap, BITMAP_INCONSISTENCY_MIGRATION);
    if (!mig_bitmap_dropped(b->bs->node_name,
                            bdrv_dirty_bitmap_name(b->bitmap),
                            "it was not received completely, and is "
                            "inconsistent now", NULL)) {
        error_report("Bitmap '%s' of node '%s' was not received completely, "
                     "and is inconsistent now",
                     bdrv_dirty_bitmap_name(b->bitmap), b->bs->node_name);
    }
}

static void load_bitmap_free(void *opaque)
{
    LoadBitmap *b = opaque;

    if (b->bitmap && !(b->complete && b->handed_over)) {
        give_up(b);
    }
    bdrv_unref(b->bs);
    g_free(b->node_alias);
    g_free(b->alias);
    g_free(b);
}

MigBitmapLoad *mig_bitmap_load_new(void)
{
    MigBitmapLoad *l = g_new0(MigBitmapLoad, 1);

    l->bitmaps = g_ptr_array_new_with_free_func(load_bitmap_free);
    l->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return l;
}

void mig_bitmap_load_free(MigBitmapLoad *l)
{
    if (l) {
        g_hash_table_unref(l->names);
        g_ptr_array_unref(l->bitmaps);
        g_free(l);
    }
}

bool mig_bitmap_load_complete(const MigBitmapLoad *l, Error **errp)
{
    for (guint i = 0; i < l->bitmaps->len; i++) {
        const LoadBitmap *b = l->bitmaps->pdata[i];

        if (!b->complete) {
            error_setg(errp, "Bitmap '%s' of node '%s' was not sent "
                       "completely", b->alias, b->node_alias);
            return false;
        }
    }
    return true;
}

/* --- START --- */

/* Either name can have any character. */
static char *key_of(const char *node_alias, const char *alias)
{
    return g_strdup_printf("%zu %s %s", strlen(node_alias), node_alias, alias);
}

/* Of the current names. */
static char *make_key(const MigBitmapLoad *l)
{
    return key_of(l->node_alias, l->alias);
}

static LoadBitmap *find(const MigBitmapLoad *l)
{
    g_autofree char *key = make_key(l);

    return g_hash_table_lookup(l->names, key);
}

/* Where it goes; *@reason: it goes nowhere. */
typedef struct Place {
    const char *node, *name;
    const BitmapMigrationBitmapAliasTransform *transform;
    const char *reason;
} Place;

static Place find_place(const MigBitmapLoad *l)
{
    const MigrationParameters *p = mig_parameters();
    const BitmapMigrationNodeAlias *node;
    const BitmapMigrationBitmapAlias *bitmap;

    if (!p->has_block_bitmap_mapping) {
        return (Place) { .node = l->node_alias, .name = l->alias };
    }
    node = mig_map_node(p->block_bitmap_mapping, NULL, l->node_alias);
    if (!node) {
        return (Place) { .reason = "block-bitmap-mapping has no such alias of "
                                   "a node" };
    }
    bitmap = mig_map_bitmap(node, NULL, l->alias);
    if (!bitmap) {
        return (Place) { .reason = "block-bitmap-mapping has no such alias of "
                                   "a bitmap" };
    }
    return (Place) { .node = node->node_name, .name = bitmap->name,
                     .transform = bitmap->transform };
}

/* The node of @place; jobs may have put filters over that of a device. */
static BlockDriverState *find_node(Place *place)
{
    BlockDriverState *bs = bdrv_lookup_bs(place->node, place->node, NULL);

    while (bs && bdrv_is_implicit(bs) && bdrv_filter_child(bs)) {
        bs = bdrv_filter_child(bs)->bs;
    }
    if (!bs) {
        place->reason = "there is no such node or device";
    }
    return bs;
}

/*
 * A few bytes of a stream can announce a bitmap of GiB, and fill it: all of
 * them may have a quarter of the host's memory.
 */
static bool reserve(MigBitmapLoad *l, const BlockDriverState *bs,
                    uint32_t granularity, Error **errp)
{
    uint64_t host = (uint64_t)MAX(sysconf(_SC_PHYS_PAGES), 0) *
                    MAX(sysconf(_SC_PAGESIZE), 0);
    uint64_t limit = MAX(host / 4, GiB);

    l->bits += bs->total_bytes / MAX(granularity, WIRE_SECTOR);
    if (l->bits / 8 > limit) {
        error_setg(errp, "The bitmaps in the migration stream need more than "
                   "%" PRIu64 " bytes of memory", limit);
    }
    return l->bits / 8 <= limit;
}

static bool create(LoadBitmap *b, const Place *place, uint32_t granularity,
                   Error **errp)
{
    if (!*place->name) {
        error_setg(errp, "A bitmap of node '%s' has an empty name",
                   place->node);
        return false;
    }
    if (bdrv_dirty_bitmap_find(b->bs, place->name)) {
        error_setg(errp, "Bitmap with the same name ('%s') already exists on "
                   "destination", place->name);
        return false;
    }
    b->bitmap = bdrv_dirty_bitmap_new(b->bs, granularity, place->name, errp);
    if (!b->bitmap) {
        error_prepend(errp, "Bitmap '%s' of node '%s': ", place->name,
                      b->bs->node_name);
        return false;
    }
    bdrv_dirty_bitmap_disable(b->bitmap);
    bdrv_dirty_bitmap_set_busy(b->bitmap, true);
    bdrv_dirty_bitmap_set_replaces_stored(b->bitmap, b->was_persistent);
    /* How the disk's size changed is not known here. */
    bdrv_dirty_bitmap_note_cut(b->bitmap, BDRV_CUT_UNKNOWN);
    return true;
}

/* The store of an inactive node is there when that becomes active. */
static bool can_store(BlockDriverState *bs)
{
    return bdrv_supports_persistent_dirty_bitmap(bs) ||
           (bdrv_is_inactive(bs) &&
            (bs->drv->holds_bitmaps ||
             !strcmp(bs->drv->format_name, "tracked")));
}

/* Can it be stored?  If not, says so before anything is received. */
static bool check_persistent(LoadBitmap *b, const Place *place, Error **errp)
{
    if (!b->persistent || can_store(b->bs)) {
        return true;
    }
    b->persistent = false;
    return mig_bitmap_dropped(b->bs->node_name, place->name,
                              "it is persistent, and the node has no place to "
                              "store it; map it with transform.persistent "
                              "false, or use driver tracked", errp);
}

static bool start(MigBitmapLoad *l, uint32_t granularity, uint8_t properties,
                  Error **errp)
{
    Place place = find_place(l);
    BlockDriverState *bs = place.reason ? NULL : find_node(&place);
    LoadBitmap *b;

    if (find(l)) {
        error_setg(errp, "Bitmap '%s' of node '%s' is sent twice", l->alias,
                   l->node_alias);
        return false;
    }
    if (l->bitmaps->len >= MAX_BITMAPS) {
        error_setg(errp, "The stream has more than %d bitmaps", MAX_BITMAPS);
        return false;
    }
    b = g_new0(LoadBitmap, 1);
    b->node_alias = g_strdup(l->node_alias);
    b->alias = g_strdup(l->alias);
    b->enabled = properties & (WIRE_BITMAP_ENABLED | WIRE_BITMAP_AUTOLOAD);
    b->was_persistent = properties & WIRE_BITMAP_PERSISTENT;
    b->persistent = b->was_persistent;
    if (place.transform && place.transform->has_persistent) {
        b->persistent = place.transform->persistent;
    }
    g_ptr_array_add(l->bitmaps, b);
    g_hash_table_insert(l->names, make_key(l), b);
    l->current = b;
    if (!bs) {
        return mig_bitmap_dropped(l->node_alias, l->alias, place.reason, errp);
    }
    b->bs = bdrv_ref(bs);
    return reserve(l, bs, granularity, errp) &&
           create(b, &place, granularity, errp) &&
           check_persistent(b, &place, errp);
}

static void coroutine_fn load_start(MigBitmapLoad *l, MigReader *r)
{
    uint32_t granularity = mig_get_32(r);
    uint8_t properties = mig_get_8(r);
    Error *err = NULL;

    if (!mig_reader_ok(r)) {
        return;
    }
    if (properties & ~(WIRE_BITMAP_ENABLED | WIRE_BITMAP_PERSISTENT |
                       WIRE_BITMAP_AUTOLOAD)) {
        mig_reader_fail(r, "Unknown flags in migrated dirty bitmap header: %x",
                        properties);
        return;
    }
    aio_exclusive_begin();
    if (!start(l, granularity, properties, &err)) {
        mig_reader_fail(r, "%s", error_get_pretty(err));
        error_free(err);
    }
    aio_exclusive_end();
    co_yield_to_loop(); /* a small part of a stream can announce many */
}

/* --- the description --- */

static const char *member(struct json_object *entry, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(entry, key, &value) &&
           json_object_is_type(value, json_type_string)
        ? json_object_get_string(value) : NULL;
}

/*
 * What the image has under the name of @b is another bitmap if the source has
 * @b as @stored.  It may not be replaced: if the source had the image again it
 * would take one for the other, unless it has given an alias itself.
 */
static void check_name(const LoadBitmap *b, const char *stored)
{
    if (!strcmp(stored, b->alias) &&
        strcmp(stored, bdrv_dirty_bitmap_name(b->bitmap))) {
        bdrv_dirty_bitmap_set_replaces_stored(b->bitmap, false);
    }
}

static void describe_one(MigBitmapLoad *l, struct json_object *entry)
{
    const char *node = member(entry, "node"), *name = member(entry, "name");
    const char *safety = member(entry, "safety");
    const char *stored = member(entry, "stored");
    int level = safety ? qapi_enum_parse(&qapi_type_BitmapSafety, safety, NULL)
                       : -1;
    g_autofree char *key = node && name ? key_of(node, name) : NULL;
    const LoadBitmap *b = key ? g_hash_table_lookup(l->names, key) : NULL;

    if (b && b->bitmap && level >= 0) {
        bdrv_dirty_bitmap_raise_safety(b->bitmap, level);
    }
    if (b && b->bitmap && stored) {
        check_name(b, stored);
    }
}

void mig_bitmap_load_describe(MigBitmapLoad *l, const uint8_t *text,
                              size_t len)
{
    struct json_object *root = json_parse_strict((const char *)text, len, NULL);
    struct json_object *list;

    if (root && json_object_is_type(root, json_type_object) &&
        json_object_object_get_ex(root, "bitmap-safety", &list) &&
        json_object_is_type(list, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(list); i++) {
            describe_one(l, json_object_array_get_idx(list, i));
        }
    }
    json_object_put(root);
}

/* --- BITS and COMPLETE --- */

/* The current bitmap, which has begun and has not ended; or an error. */
static LoadBitmap *current(const MigBitmapLoad *l, MigReader *r)
{
    LoadBitmap *b = l->current;

    if (!b) {
        mig_reader_fail(r, "Bits are sent of bitmap '%s' of node '%s', which "
                        "was not announced", l->alias, l->node_alias);
    } else if (b->complete) {
        mig_reader_fail(r, "More is sent of bitmap '%s' of node '%s', which "
                        "is complete", l->alias, l->node_alias);
        b = NULL;
    }
    return b;
}

/* Bytes of disk from sectors of the stream; false: that is no part of @b. */
static bool find_range(const LoadBitmap *b, uint64_t first, uint32_t sectors,
                       int64_t *offset, int64_t *bytes)
{
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(b->bitmap);
    uint64_t size = hbitmap_size(bits);
    uint64_t align = hbitmap_serialization_align(bits), start, end;

    if (first > INT64_MAX / WIRE_SECTOR) {
        return false;
    }
    start = first * WIRE_SECTOR;
    end = start + (uint64_t)sectors * WIRE_SECTOR;
    if (end > ROUND_UP(size, WIRE_SECTOR) || start >= end ||
        start % align || (end < size && end % align)) {
        return false;
    }
    *offset = start;
    *bytes = MIN(end, size) - start;
    return true;
}

static void coroutine_fn load_data(LoadBitmap *b, MigReader *r, int64_t offset,
                                   int64_t bytes)
{
    uint64_t len = mig_get_64(r), expected;
    g_autofree uint8_t *buf = NULL;

    if (len > WIRE_CHUNK_MAX) {
        mig_reader_fail(r, "A part of bitmap '%s' has %" PRIu64 " bytes, more "
                        "than %" PRIu64, b->alias, len,
                        (uint64_t)WIRE_CHUNK_MAX);
        return;
    }
    if (!b->bitmap) {
        mig_skip(r, len);
        return;
    }
    expected = hbitmap_serialization_size(
        bdrv_dirty_bitmap_hbitmap(b->bitmap), offset, bytes);
    if (len < expected || len > ROUND_UP(expected, WIRE_PADDING)) {
        mig_reader_fail(r, "A part of bitmap '%s' has %" PRIu64 " bytes, but "
                        "needs %" PRIu64, b->alias, len, expected);
        return;
    }
    buf = g_malloc(len);
    mig_get_bytes(r, buf, len);
    if (!mig_reader_ok(r)) {
        return;
    }
    aio_exclusive_begin();
    /* The disk may have got another size meanwhile: bits of what is left must
     * not be missing. */
    if (offset + bytes <= bdrv_dirty_bitmap_size(b->bitmap)) {
        bdrv_dirty_bitmap_receive(b->bitmap, buf, offset, bytes);
    } else {
        mig_reader_fail(r, "The disk of node '%s' has become smaller while "
                        "bitmap '%s' was received", b->bs->node_name,
                        b->alias);
    }
    aio_exclusive_end();
}

typedef enum Content { CONTENT_DATA, CONTENT_ZEROES, CONTENT_ONES } Content;

static void coroutine_fn load_bits(MigBitmapLoad *l, MigReader *r,
                                   Content content)
{
    uint64_t first = mig_get_64(r);
    uint32_t sectors = mig_get_32(r);
    LoadBitmap *b = mig_reader_ok(r) ? current(l, r) : NULL;
    int64_t offset = 0, bytes = 0;

    if (!b) {
        return;
    }
    if (b->bitmap && !find_range(b, first, sectors, &offset, &bytes)) {
        mig_reader_fail(r, "Sectors %" PRIu64 " to %" PRIu64 " are no part of "
                        "bitmap '%s' of node '%s', which has %" PRId64
                        " bytes of disk", first, first + sectors,
                        b->alias, b->bs->node_name,
                        bdrv_dirty_bitmap_size(b->bitmap));
        return;
    }
    b->received = MAX(b->received, offset + bytes);
    if (content == CONTENT_DATA) {
        load_data(b, r, offset, bytes);
    } else if (b->bitmap) {
        aio_exclusive_begin();
        bdrv_dirty_bitmap_receive_all(b->bitmap, content == CONTENT_ONES,
                                      offset, bytes);
        aio_exclusive_end();
    }
}

static void finish_outside(void *opaque)
{
    finish(opaque);
}

/* The disk may be larger than that of the source: the rest is not known. */
static void set_rest(LoadBitmap *b)
{
    int64_t size = bdrv_dirty_bitmap_size(b->bitmap);

    if (b->received < size) {
        bdrv_dirty_bitmap_receive_all(b->bitmap, true, b->received,
                                      size - b->received);
    }
}

static void coroutine_fn load_complete(MigBitmapLoad *l, MigReader *r)
{
    LoadBitmap *b = current(l, r);

    if (!b) {
        return;
    }
    b->complete = true;
    if (!b->bitmap) {
        return;
    }
    aio_exclusive_begin();
    set_rest(b);
    /* Stored when the image is activated, and not before it is complete. */
    if (b->persistent && !b->records && bdrv_is_inactive(b->bs)) {
        bdrv_dirty_bitmap_set_persistent(b->bitmap, true);
    }
    aio_exclusive_end();
    if (b->handed_over) {
        bdrv_run_outside(finish_outside, b);
    }
}

/* --- messages --- */

static bool coroutine_fn load_names(MigBitmapLoad *l, MigReader *r,
                                    uint8_t flags)
{
    if (flags & WIRE_BM_NODE) {
        mig_get_name(r, l->node_alias);
        l->has_node = true;
    }
    if (flags & WIRE_BM_BITMAP) {
        mig_get_name(r, l->alias);
        l->has_bitmap = true;
    }
    if (!l->has_node || !l->has_bitmap) {
        mig_reader_fail(r, "A part of a bitmap names no %s",
                        l->has_node ? "bitmap" : "node");
    }
    if (flags & (WIRE_BM_NODE | WIRE_BM_BITMAP)) {
        l->current = find(l);
    }
    return mig_reader_ok(r);
}

/* One message; false: it was the last one of the section, or an error. */
static bool coroutine_fn load_message(MigBitmapLoad *l, MigReader *r)
{
    uint8_t flags = mig_get_8(r);
    uint8_t extra = flags & WIRE_BM_EXTRA ? mig_get_8(r) : 0;
    uint8_t kind = flags & ~(WIRE_BM_NODE | WIRE_BM_BITMAP);

    if (flags == WIRE_BM_EOS || !mig_reader_ok(r)) {
        return false;
    }
    if ((flags & WIRE_BM_EXTRA && (kind != (WIRE_BM_BITS | WIRE_BM_EXTRA) ||
                                   extra != WIRE_BM_ONES)) ||
        (kind != WIRE_BM_START && kind != WIRE_BM_COMPLETE &&
         (kind & ~(WIRE_BM_ZEROES | WIRE_BM_EXTRA)) != WIRE_BM_BITS)) {
        mig_reader_fail(r, "Unknown flags in a part of a bitmap: %02x%02x",
                        flags, extra);
        return false;
    }
    if (!load_names(l, r, flags)) {
        return false;
    }
    if (kind == WIRE_BM_START) {
        load_start(l, r);
    } else if (kind == WIRE_BM_COMPLETE) {
        load_complete(l, r);
    } else {
        load_bits(l, r, kind & WIRE_BM_ZEROES ? CONTENT_ZEROES :
                        extra ? CONTENT_ONES : CONTENT_DATA);
    }
    return mig_reader_ok(r);
}

bool coroutine_fn mig_bitmap_load_section(MigBitmapLoad *l, MigReader *r,
                                          Error **errp)
{
    while (load_message(l, r)) {
        /* the next one */
    }
    return mig_reader_check(r, errp);
}
