/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Write-back cache of parts of the image file of one size (L2 tables, refcount
 * blocks): found by file offset, least recently used first out.  Buffers are
 * allocated as they are needed.
 */
#include "qemu/osdep.h"

#include "block/io.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/qcow2-int.h"

typedef struct Qcow2CacheEntry {
    uint64_t offset; /* key */
    void *data;
    bool dirty;
    bool durable; /* not written since the last qcow2_cache_flushed() */
    unsigned used; /* the period in which it was used last */
    TAILQ_ENTRY(Qcow2CacheEntry) lru; /* head: used last */
} Qcow2CacheEntry;

struct Qcow2Cache {
    Qcow2CacheConf conf;
    GHashTable *map; /* &offset -> entry */
    TAILQ_HEAD(Qcow2Lru, Qcow2CacheEntry) lru;
    size_t nb_dirty;
    size_t nb_written; /* entries written since the last qcow2_cache_flushed(),
                          or more; only if they are kept */
    bool writing; /* in progress: only qcow2_cache_peek() is allowed */
    unsigned period;
};

static void entry_free(void *opaque)
{
    Qcow2CacheEntry *entry = opaque;

    qemu_vfree(entry->data);
    g_free(entry);
}

Qcow2Cache *qcow2_cache_new(const Qcow2CacheConf *conf)
{
    Qcow2Cache *cache = g_new0(Qcow2Cache, 1);

    cache->conf = *conf;
    cache->map = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                       entry_free);
    TAILQ_INIT(&cache->lru);
    return cache;
}

void qcow2_cache_free(Qcow2Cache *cache)
{
    if (cache) {
        g_hash_table_destroy(cache->map);
        g_free(cache);
    }
}

void qcow2_cache_set_max(Qcow2Cache *cache, size_t max_entries)
{
    cache->conf.max_entries = max_entries;
}

size_t qcow2_cache_entry_size(const Qcow2Cache *cache)
{
    return cache->conf.entry_size;
}

static void cache_remove(Qcow2Cache *cache, Qcow2CacheEntry *entry)
{
    cache->nb_dirty -= entry->dirty;
    TAILQ_REMOVE(&cache->lru, entry, lru);
    g_hash_table_remove(cache->map, &entry->offset);
}

void *qcow2_cache_peek(Qcow2Cache *cache, uint64_t offset)
{
    Qcow2CacheEntry *entry = TAILQ_FIRST(&cache->lru);

    if (entry && entry->offset == offset) {
        entry->used = cache->period;
        return entry->data;
    }
    entry = g_hash_table_lookup(cache->map, &offset);
    if (!entry) {
        return NULL;
    }
    entry->used = cache->period;
    TAILQ_REMOVE(&cache->lru, entry, lru);
    TAILQ_INSERT_HEAD(&cache->lru, entry, lru);
    return entry->data;
}

static bool may_drop(const Qcow2Cache *cache, const Qcow2CacheEntry *entry)
{
    return !entry->dirty && (entry->durable || !cache->conf.keeps);
}

/* Drops the one that is least recently used; false: no entry may be dropped. */
static bool cache_drop_one(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry;

    TAILQ_FOREACH_REVERSE(entry, &cache->lru, Qcow2Lru, lru) {
        if (may_drop(cache, entry)) {
            cache_remove(cache, entry);
            return true;
        }
    }
    return false;
}

static int coroutine_mixed_fn cache_make_room(BlockDriverState *bs,
                                              Qcow2Cache *cache)
{
    while (g_hash_table_size(cache->map) >= cache->conf.max_entries) {
        /*
         * If nearly all are dirty, finding a clean one takes long: write all
         * back, in order.
         */
        if (cache->nb_dirty * 4 >= cache->conf.max_entries * 3 ||
            !cache_drop_one(cache)) {
            int ret = cache->conf.evict(bs);

            if (ret < 0) {
                return ret;
            }
            if (!cache_drop_one(cache)) {
                break; /* exceed the limit for now */
            }
        }
    }
    return 0;
}

int coroutine_mixed_fn qcow2_cache_get(BlockDriverState *bs,
                                       Qcow2Cache *cache, uint64_t offset,
                                       void **data)
{
    Qcow2CacheEntry *entry;
    void *buf;
    int ret;

    *data = qcow2_cache_peek(cache, offset);
    if (*data) {
        return 0;
    }
    ret = cache_make_room(bs, cache);
    if (ret < 0) {
        return ret;
    }
    buf = bdrv_try_blockalign(bs->file->bs, cache->conf.entry_size);
    if (!buf) {
        return -ENOMEM;
    }
    bdrv_debug_event(bs->file, cache->conf.load_event);
    ret = bdrv_pread(bs->file, offset, cache->conf.entry_size, buf);
    if (ret < 0) {
        qemu_vfree(buf);
        return ret;
    }
    entry = g_new0(Qcow2CacheEntry, 1);
    entry->offset = offset;
    entry->data = buf;
    entry->durable = true;
    entry->used = cache->period;
    g_hash_table_insert(cache->map, &entry->offset, entry);
    TAILQ_INSERT_HEAD(&cache->lru, entry, lru);
    *data = buf;
    return 0;
}

void qcow2_cache_mark_dirty(Qcow2Cache *cache, uint64_t offset,
                            const void *data)
{
    Qcow2CacheEntry *entry = TAILQ_FIRST(&cache->lru);

    if (entry->offset != offset) {
        entry = g_hash_table_lookup(cache->map, &offset);
    }
    g_assert(entry && entry->data == data); /* rule 8 */
    g_assert(!cache->writing);              /* rule 9 */
    if (!entry->dirty) {
        entry->dirty = true;
        cache->nb_dirty++;
    }
}

bool qcow2_cache_is_dirty(const Qcow2Cache *cache)
{
    return cache->nb_dirty > 0;
}

static int compare_offsets(const void *a, const void *b)
{
    const Qcow2CacheEntry *x = *(Qcow2CacheEntry *const *)a;
    const Qcow2CacheEntry *y = *(Qcow2CacheEntry *const *)b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Writes entries [@from, @to), which are adjacent in the file. */
static int coroutine_mixed_fn cache_write_run(BlockDriverState *bs,
                                              Qcow2Cache *cache,
                                              GPtrArray *dirty, guint from,
                                              guint to)
{
    size_t size = cache->conf.entry_size;
    Qcow2CacheEntry *first = dirty->pdata[from];
    uint8_t *buf = first->data;
    int ret;

    if (to - from > 1) {
        buf = bdrv_try_blockalign(bs->file->bs, size * (to - from));
        if (!buf) {
            return -ENOMEM;
        }
        for (guint i = from; i < to; i++) {
            Qcow2CacheEntry *entry = dirty->pdata[i];
            memcpy(buf + size * (i - from), entry->data, size);
        }
    }
    bdrv_debug_event(bs->file, cache->conf.update_event);
    ret = bdrv_pwrite(bs->file, first->offset, size * (to - from), buf);
    if (buf != first->data) {
        qemu_vfree(buf);
    }
    for (guint i = from; ret >= 0 && i < to; i++) {
        Qcow2CacheEntry *entry = dirty->pdata[i];
        entry->dirty = entry->durable = false;
        cache->nb_dirty--;
        cache->nb_written += cache->conf.keeps;
    }
    return ret < 0 ? ret : 0;
}

int coroutine_mixed_fn qcow2_cache_write(BlockDriverState *bs,
                                         Qcow2Cache *cache)
{
    size_t size = cache->conf.entry_size;
    guint max_run = MAX(1, 256 * KiB / size);
    g_autoptr(GPtrArray) dirty = NULL;
    Qcow2CacheEntry *entry;
    int ret = 0;

    if (!cache->nb_dirty) {
        return 0;
    }
    dirty = g_ptr_array_new();
    TAILQ_FOREACH(entry, &cache->lru, lru) {
        if (entry->dirty) {
            g_ptr_array_add(dirty, entry);
        }
    }
    qsort(dirty->pdata, dirty->len, sizeof(void *), compare_offsets);
    g_assert(!cache->writing); /* rule 9 */
    cache->writing = true;
    for (guint i = 0, j; ret == 0 && i < dirty->len; i = j) {
        for (j = i + 1; j < dirty->len && j - i < max_run; j++) {
            if (((Qcow2CacheEntry *)dirty->pdata[j])->offset !=
                ((Qcow2CacheEntry *)dirty->pdata[j - 1])->offset + size) {
                break;
            }
        }
        ret = cache_write_run(bs, cache, dirty, i, j);
    }
    cache->writing = false;
    return ret;
}

void qcow2_cache_flushed(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry;

    if (cache->nb_written) {
        TAILQ_FOREACH(entry, &cache->lru, lru) {
            entry->durable = true;
        }
        cache->nb_written = 0;
    }
}

void qcow2_cache_lost(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry;

    g_assert(cache->conf.keeps && !cache->writing); /* rule 9 */
    TAILQ_FOREACH(entry, &cache->lru, lru) {
        cache->nb_dirty += !entry->durable && !entry->dirty;
        entry->dirty |= !entry->durable;
    }
}

void qcow2_cache_forget(Qcow2Cache *cache, uint64_t offset, uint64_t bytes)
{
    size_t size = cache->conf.entry_size;

    g_assert(!cache->writing); /* rule 9 */
    if (bytes / size <= g_hash_table_size(cache->map)) {
        for (uint64_t pos = offset; pos < offset + bytes; pos += size) {
            Qcow2CacheEntry *entry = g_hash_table_lookup(cache->map, &pos);

            if (entry) {
                cache_remove(cache, entry);
            }
        }
    } else {
        Qcow2CacheEntry *entry, *next;

        TAILQ_FOREACH_SAFE(entry, &cache->lru, lru, next) {
            if (entry->offset >= offset && entry->offset - offset < bytes) {
                cache_remove(cache, entry);
            }
        }
    }
}

void qcow2_cache_clean(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry, *next;

    TAILQ_FOREACH_SAFE(entry, &cache->lru, lru, next) {
        if (may_drop(cache, entry) && entry->used != cache->period) {
            cache_remove(cache, entry);
        }
    }
    cache->period++;
}
