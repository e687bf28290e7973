/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending bitmaps.
 *
 * A chunk is WIRE_CHUNK bytes of the serialised form (fewer where these stand
 * for more sectors than a number of the stream can have).  `todo`, the meta
 * bitmap of the bits, has the chunks that differ from what was sent; a chunk
 * is removed from it in the moment in which its bits are copied.  Neighbouring
 * chunks that are all clean, or all dirty, are one message.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "bitmap-map.h"
#include "bitmap-save.h"
#include "block/bitmap-store.h"
#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "migration-int.h"
#include "settings.h"
#include "stream.h"
#include "wire.h"

/* The most sectors that one message is about. */
#define MAX_SECTORS (UINT32_C(1) << 31)

typedef struct SaveBitmap {
    BlockDriverState *bs;    /* a reference */
    BdrvDirtyBitmap *bitmap; /* busy; NULL: detached */
    char *name, *node_alias, *alias;
    bool left_stored;        /* in the image, which had it */
    bool persistent;
    BitmapSafety safety;
    int64_t size;            /* of the disk, when it began */
    int64_t span;            /* bytes of disk that a chunk stands for */
    size_t chunk;            /* bytes of a chunk */
    HBitmap *todo;           /* owned by the bits, or by @bits */
    HBitmap *bits;           /* a copy; NULL: those of @bitmap */
} SaveBitmap;

struct MigBitmapSave {
    GPtrArray *bitmaps;     /* of SaveBitmap */
    GHashTable *reported;   /* "node/name" that will be dropped */
    guint next;             /* the bitmap that is sent at present */
    int64_t at;             /* where in its `todo` */
    /* Whose names the receiver has, across sections; NULL: none.  QEMU 7.2 ends
     * if it has to look up another node after it has started. */
    const SaveBitmap *last;
};

/* --- which bitmaps --- */

static void detach(SaveBitmap *b)
{
    if (b->bitmap) {
        bdrv_dirty_bitmap_untrack(b->bitmap);
        bdrv_dirty_bitmap_set_busy(b->bitmap, false);
        b->bitmap = NULL;
        b->todo = NULL;
    }
}

static void save_bitmap_free(void *opaque)
{
    SaveBitmap *b = opaque;

    detach(b);
    hbitmap_free(b->bits);
    bdrv_unref(b->bs);
    g_free(b->name);
    g_free(b->node_alias);
    g_free(b->alias);
    g_free(b);
}

/* The name of the device that shows the node, if there is one: jobs and
 * throttling insert filters between them. */
static const char *default_alias(BlockDriverState *bs)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        BlockDriverState *top = blk_bs(blk);

        if (*blk_name(blk) && top &&
            (top == bs || bdrv_skip_filters(top) == bs)) {
            return blk_name(blk);
        }
    }
    return bs->node_name;
}

/* Sets both aliases; *@skip: it does not migrate. */
static bool find_aliases(BlockDriverState *bs, const char *name,
                         const char **node_alias, const char **alias,
                         bool *skip, Error **errp)
{
    const MigrationParameters *p = mig_parameters();

    *skip = false;
    if (p->has_block_bitmap_mapping) {
        const BitmapMigrationNodeAlias *node =
            mig_map_node(p->block_bitmap_mapping, bs->node_name, NULL);
        const BitmapMigrationBitmapAlias *bitmap =
            node ? mig_map_bitmap(node, name, NULL) : NULL;

        *skip = !bitmap;
        *node_alias = node ? node->alias : NULL;
        *alias = bitmap ? bitmap->alias : NULL;
        return true;
    }
    *node_alias = default_alias(bs);
    *alias = name;
    if (**node_alias == '#') {
        error_setg(errp, "Bitmap '%s' in a node with auto-generated name '%s' "
                   "can't be migrated", name, *node_alias);
        return false;
    }
    if (strlen(name) > MIG_NAME_MAX) {
        error_setg(errp, "Cannot migrate bitmap '%s' on node '%s': Name is "
                   "longer than %d bytes", name, *node_alias, MIG_NAME_MAX);
        return false;
    }
    if (strlen(*node_alias) > MIG_NAME_MAX) {
        error_setg(errp, "Cannot migrate bitmap '%s' on node '%s': Node name "
                   "is longer than %d bytes", name, *node_alias,
                   MIG_NAME_MAX);
        return false;
    }
    return true;
}

/* Chunks are as large as their number of sectors allows. */
static size_t chunk_size(uint64_t granularity)
{
    size_t chunk = WIRE_CHUNK;

    while (chunk > 8 && chunk * 8 > MAX_SECTORS * (uint64_t)WIRE_SECTOR /
                                        granularity) {
        chunk /= 2;
    }
    return chunk;
}

static bool add_bitmap(MigBitmapSave *s, BlockDriverState *bs,
                       BdrvDirtyBitmap *bitmap, Error **errp)
{
    const char *node_alias, *alias;
    SaveBitmap *b;
    bool skip;

    if (!find_aliases(bs, bdrv_dirty_bitmap_name(bitmap), &node_alias, &alias,
                      &skip, errp)) {
        return false;
    }
    if (skip) {
        return true;
    }
    if (!bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_OP_MIGRATE, errp)) {
        return false;
    }
    if (bdrv_dirty_bitmap_resume(bitmap)) {
        warn_report("To which target a job has copied a part of bitmap '%s' "
                    "of node '%s' is not remembered at the destination",
                    bdrv_dirty_bitmap_name(bitmap), bs->node_name);
    }
    b = g_new0(SaveBitmap, 1);
    b->bs = bdrv_ref(bs);
    b->bitmap = bitmap;
    b->name = g_strdup(bdrv_dirty_bitmap_name(bitmap));
    b->node_alias = g_strdup(node_alias);
    b->alias = g_strdup(alias);
    b->persistent = bdrv_dirty_bitmap_persistent(bitmap);
    b->safety = bdrv_dirty_bitmap_safety(bitmap);
    b->size = bdrv_dirty_bitmap_size(bitmap);
    b->chunk = chunk_size(bdrv_dirty_bitmap_granularity(bitmap));
    b->span = b->chunk * 8 * bdrv_dirty_bitmap_granularity(bitmap);
    bdrv_dirty_bitmap_set_busy(bitmap, true);
    b->todo = bdrv_dirty_bitmap_track(bitmap, b->chunk);
    hbitmap_set_all(b->todo);
    g_ptr_array_add(s->bitmaps, b);
    return true;
}

/* Calls @fn for every bitmap that has a name. */
typedef bool BitmapFunc(MigBitmapSave *s, BlockDriverState *bs,
                        BdrvDirtyBitmap *bitmap, Error **errp);

static bool for_each_bitmap(MigBitmapSave *s, BitmapFunc *fn, Error **errp)
{
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        BdrvDirtyBitmap *bitmap = NULL;

        while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
            if (bdrv_dirty_bitmap_name(bitmap) && !fn(s, bs, bitmap, errp)) {
                return false;
            }
        }
    }
    return true;
}

/* --- those that are dropped --- */

/* Is the disk being copied elsewhere?  Then the copy has no bitmaps. */
static bool is_moved(const BlockDriverState *bs)
{
    BdrvChild *c = NULL;

    while ((c = bdrv_next_parent(bs, c))) {
        BlockDriverState *parent;

        if (!c->klass->parent_is_bs) {
            continue;
        }
        parent = c->opaque;
        if (!strcmp(parent->drv->format_name, "mirror_top") ||
            (bdrv_filter_child(parent) == c && is_moved(parent))) {
            return true;
        }
    }
    return false;
}

static bool is_sent(const MigBitmapSave *s, const BdrvDirtyBitmap *bitmap)
{
    for (guint i = 0; i < s->bitmaps->len; i++) {
        const SaveBitmap *b = s->bitmaps->pdata[i];

        if (b->bitmap == bitmap) {
            return true;
        }
    }
    return false;
}

static bool report_if_dropped(MigBitmapSave *s, BlockDriverState *bs,
                              BdrvDirtyBitmap *bitmap, Error **errp)
{
    const char *name = bdrv_dirty_bitmap_name(bitmap), *how, *what;
    g_autofree char *key = g_strconcat(bs->node_name, "/", name, NULL);
    g_autofree char *reason = NULL;
    bool moved = is_moved(bs);

    if (is_sent(s, bitmap) || g_hash_table_contains(s->reported, key) ||
        (bdrv_dirty_bitmap_persistent(bitmap) && !moved)) {
        return true;
    }
    what = !bdrv_dirty_bitmap_persistent(bitmap)
        ? "it is not persistent" : "its disk is moved without its bitmaps";
    how = mig_capability(MIGRATION_CAPABILITY_DIRTY_BITMAPS)
        ? "block-bitmap-mapping does not have it"
        : "the capability dirty-bitmaps is off";
    reason = g_strdup_printf("%s, and %s", what, how);
    g_hash_table_add(s->reported, g_steal_pointer(&key));
    return mig_bitmap_dropped(bs->node_name, name, reason, errp);
}

bool mig_bitmap_save_check_dropped(MigBitmapSave *s, Error **errp)
{
    return for_each_bitmap(s, report_if_dropped, errp);
}

/* --- life --- */

MigBitmapSave *mig_bitmap_save_new(Error **errp)
{
    MigBitmapSave *s = g_new0(MigBitmapSave, 1);
    bool ok = true;

    s->bitmaps = g_ptr_array_new_with_free_func(save_bitmap_free);
    s->reported = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (mig_capability(MIGRATION_CAPABILITY_DIRTY_BITMAPS)) {
        ok = for_each_bitmap(s, add_bitmap, errp);
    }
    if (!ok || !mig_bitmap_save_check_dropped(s, errp)) {
        mig_bitmap_save_free(s);
        return NULL;
    }
    return s;
}

void mig_bitmap_save_free(MigBitmapSave *s)
{
    if (s) {
        g_ptr_array_unref(s->bitmaps);
        g_hash_table_unref(s->reported);
        g_free(s);
    }
}

/* The bits that are still to be sent are copied. */
static bool copy_bits(SaveBitmap *b, Error **errp)
{
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(b->bitmap);
    g_autoptr(HBitmap) todo = hbitmap_copy(b->todo);

    b->bits = hbitmap_copy(bits);
    if (!todo || !b->bits) {
        error_setg(errp, "No memory for a copy of bitmap '%s' of node '%s'",
                   bdrv_dirty_bitmap_name(b->bitmap), b->bs->node_name);
        return false;
    }
    detach(b);
    b->todo = hbitmap_create_meta(b->bits, b->chunk);
    hbitmap_merge(todo, NULL, b->todo);
    return true;
}

/*
 * If either process ends before the destination has stored it, the image still
 * has it.  QEMU accepts a bitmap in the image that has the name of one that it
 * has received if it is in use.
 */
static bool leave_stored(SaveBitmap *b, BdrvDirtyBitmap *bitmap, Error **errp)
{
    if (!bdrv_dirty_bitmap_persistent(bitmap)) {
        return true;
    }
    b->left_stored = bdrv_dirty_bitmap_leave_stored(
        bitmap, !strcmp(b->name, b->alias), errp);
    if (!b->left_stored) {
        error_prepend(errp, "Bitmap '%s' of node '%s': ", b->name,
                      b->bs->node_name);
    }
    return b->left_stored;
}

static bool check_size(const SaveBitmap *b, Error **errp)
{
    int64_t size = b->bitmap ? bdrv_dirty_bitmap_size(b->bitmap) : b->size;

    if (size != b->size) {
        error_setg(errp, "The size of node '%s' has changed from %" PRId64
                   " to %" PRId64 " bytes, and its bitmap '%s' migrates",
                   b->bs->node_name, b->size, size,
                   bdrv_dirty_bitmap_name(b->bitmap));
        return false;
    }
    return true;
}

bool mig_bitmap_save_detach(MigBitmapSave *s, Error **errp)
{
    for (guint i = 0; i < s->bitmaps->len; i++) {
        SaveBitmap *b = s->bitmaps->pdata[i];
        BdrvDirtyBitmap *bitmap = b->bitmap;

        if (!bitmap) {
            continue;
        }
        if (!check_size(b, errp)) {
            return false;
        }
        if (!hbitmap_empty(b->todo) && !copy_bits(b, errp)) {
            return false;
        }
        detach(b);
        if (!leave_stored(b, bitmap, errp)) {
            return false;
        }
    }
    return true;
}

void mig_bitmap_save_restore(MigBitmapSave *s)
{
    for (guint i = 0; i < s->bitmaps->len; i++) {
        SaveBitmap *b = s->bitmaps->pdata[i];
        BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(b->bs, b->name);
        Error *err = NULL;

        if (!b->left_stored || !bitmap ||
            bdrv_dirty_bitmap_persistent(bitmap)) {
            continue; /* it is already, as the image was inactive */
        }
        b->left_stored = false;
        if (!bdrv_dirty_bitmap_store_again(bitmap, &err)) {
            error_prepend(&err, "Bitmap '%s' of node '%s': ", b->name,
                          b->bs->node_name);
            error_report_err(err);
        }
    }
}

bool mig_bitmap_save_empty(const MigBitmapSave *s)
{
    return s->bitmaps->len == 0;
}

char *mig_bitmap_save_describe(const MigBitmapSave *s)
{
    struct json_object *list = json_object_new_array();
    char *text;

    for (guint i = 0; i < s->bitmaps->len; i++) {
        const SaveBitmap *b = s->bitmaps->pdata[i];
        struct json_object *entry = json_object_new_object();

        json_object_object_add(entry, "node",
                               json_object_new_string(b->node_alias));
        json_object_object_add(entry, "name",
                               json_object_new_string(b->alias));
        json_object_object_add(entry, "safety", json_object_new_string(
                                   BitmapSafety_str(b->safety)));
        json_object_object_add(entry, "stored",
                               json_object_new_string(b->name));
        if (b->persistent) {
            json_object_array_add(list, entry);
        } else {
            json_object_put(entry);
        }
    }
    text = g_strdup(json_object_to_json_string_ext(list,
                                                   JSON_C_TO_STRING_PLAIN));
    json_object_put(list);
    return text;
}

uint64_t mig_bitmap_save_pending(const MigBitmapSave *s)
{
    uint64_t sum = 0;

    for (guint i = 0; i < s->bitmaps->len; i++) {
        const SaveBitmap *b = s->bitmaps->pdata[i];

        sum += b->todo ? hbitmap_count(b->todo) : 0;
    }
    return sum;
}

/* --- messages --- */

static void put_head(MigBitmapSave *s, GByteArray *out, const SaveBitmap *b,
                     uint8_t flags, uint8_t extra)
{
    const SaveBitmap *last = s->last;
    bool node = !last || strcmp(last->node_alias, b->node_alias);

    flags |= (node ? WIRE_BM_NODE : 0) | (b != last ? WIRE_BM_BITMAP : 0) |
             (extra ? WIRE_BM_EXTRA : 0);
    mig_put_8(out, flags);
    if (extra) {
        mig_put_8(out, extra);
    }
    if (flags & WIRE_BM_NODE) {
        mig_put_name(out, b->node_alias);
    }
    if (flags & WIRE_BM_BITMAP) {
        mig_put_name(out, b->alias);
    }
    s->last = b;
}

void mig_bitmap_save_start(MigBitmapSave *s, GByteArray *out)
{
    s->last = NULL;
    for (guint i = 0; i < s->bitmaps->len; i++) {
        const SaveBitmap *b = s->bitmaps->pdata[i];
        uint8_t properties = 0;

        if (bdrv_dirty_bitmap_enabled(b->bitmap)) {
            properties |= WIRE_BITMAP_ENABLED;
        }
        if (bdrv_dirty_bitmap_persistent(b->bitmap)) {
            properties |= WIRE_BITMAP_PERSISTENT;
        }
        put_head(s, out, b, WIRE_BM_START, 0);
        mig_put_32(out, bdrv_dirty_bitmap_granularity(b->bitmap));
        mig_put_8(out, properties);
    }
    mig_put_8(out, WIRE_BM_EOS);
}

static const HBitmap *bits_of(const SaveBitmap *b)
{
    return b->bits ?: bdrv_dirty_bitmap_hbitmap(b->bitmap);
}

typedef enum Extent { EXTENT_ZEROES, EXTENT_ONES, EXTENT_DATA } Extent;

/*
 * Of what kind are the bits from @start, in whole chunks up to @end?  *@stop is
 * where the kind ends.
 */
static Extent next_extent(const SaveBitmap *b, int64_t start, int64_t end,
                          int64_t *stop)
{
    const HBitmap *bits = bits_of(b);
    int64_t dirty = hbitmap_next_dirty(bits, start, end - start), zero;

    *stop = end;
    if (dirty < 0) {
        return EXTENT_ZEROES;
    }
    if (dirty - start >= b->span) {
        *stop = start + ROUND_DOWN(dirty - start, b->span);
        return EXTENT_ZEROES;
    }
    if (mig_capability(MIGRATION_CAPABILITY_FULL_CHUNKS)) {
        zero = hbitmap_next_zero(bits, start, end - start);
        if (zero < 0) {
            return EXTENT_ONES;
        }
        if (zero - start >= b->span) {
            *stop = start + ROUND_DOWN(zero - start, b->span);
            return EXTENT_ONES;
        }
    }
    *stop = MIN(end, start + b->span);
    return EXTENT_DATA;
}

static void put_extent(MigBitmapSave *s, GByteArray *out, const SaveBitmap *b,
                       int64_t start, int64_t stop, Extent kind)
{
    const HBitmap *bits = bits_of(b);
    guint at;
    size_t len;

    put_head(s, out, b,
             WIRE_BM_BITS | (kind == EXTENT_ZEROES ? WIRE_BM_ZEROES : 0),
             kind == EXTENT_ONES ? WIRE_BM_ONES : 0);
    mig_put_64(out, start / WIRE_SECTOR);
    mig_put_32(out, DIV_ROUND_UP(stop - start, WIRE_SECTOR));
    if (kind == EXTENT_DATA) {
        len = hbitmap_serialization_size(bits, start, stop - start);
        mig_put_64(out, len);
        at = out->len;
        g_byte_array_set_size(out, at + len);
        hbitmap_serialize_part(bits, out->data + at, start, stop - start);
    }
}

/* Sends the chunks that @todo has in [@at, @at + @bytes). */
static void put_chunks(MigBitmapSave *s, GByteArray *out, SaveBitmap *b,
                       int64_t at, int64_t bytes)
{
    int64_t span = b->span, chunk = b->chunk, stop;
    int64_t start = at / chunk * span;
    int64_t end = MIN(b->size, start + DIV_ROUND_UP(bytes, chunk) * span);
    int64_t most = ROUND_DOWN((int64_t)MAX_SECTORS * WIRE_SECTOR, span);
    Extent kind;

    if (start >= end) {
        hbitmap_reset(b->todo, at, bytes); /* the padding of a bitmap */
        return;
    }
    kind = next_extent(b, start, MIN(end, start + most), &stop);
    bytes = stop == b->size ? hbitmap_size(b->todo) - at
                            : (stop - start) / span * chunk;
    hbitmap_reset(b->todo, at, bytes);
    put_extent(s, out, b, start, stop, kind);
}

/* False: the bitmap has nothing more to send from s->at on. */
static bool put_next(MigBitmapSave *s, GByteArray *out, SaveBitmap *b)
{
    int64_t bytes;

    if (!b->todo ||
        !hbitmap_next_dirty_area(b->todo, s->at, INT64_MAX, INT64_MAX, &s->at,
                                 &bytes)) {
        return false;
    }
    put_chunks(s, out, b, s->at, bytes);
    return true;
}

/* Everything that is to be sent from here to the end of the last bitmap. */
static bool put_round(MigBitmapSave *s, GByteArray *out, size_t limit,
                      bool *round, Error **errp)
{
    size_t before = out->len;

    *round = false;
    while (s->next < s->bitmaps->len) {
        SaveBitmap *b = s->bitmaps->pdata[s->next];

        if (!check_size(b, errp)) {
            return false;
        }
        if (out->len - before >= limit) {
            return true;
        }
        if (!put_next(s, out, b)) {
            s->next++;
            s->at = 0;
        }
    }
    s->next = 0;
    s->at = 0;
    *round = true;
    return true;
}

bool mig_bitmap_save_part(MigBitmapSave *s, GByteArray *out, size_t limit,
                          bool *round, Error **errp)
{
    if (!put_round(s, out, limit, round, errp)) {
        return false;
    }
    mig_put_8(out, WIRE_BM_EOS);
    return true;
}

bool mig_bitmap_save_end(MigBitmapSave *s, GByteArray *out, Error **errp)
{
    bool round;

    s->next = 0;
    s->at = 0;
    if (!put_round(s, out, SIZE_MAX, &round, errp)) {
        return false;
    }
    for (guint i = 0; i < s->bitmaps->len; i++) {
        put_head(s, out, s->bitmaps->pdata[i], WIRE_BM_COMPLETE, 0);
    }
    mig_put_8(out, WIRE_BM_EOS);
    return true;
}
