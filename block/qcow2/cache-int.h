/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: the caches of metadata (cache.c). */
#ifndef QCOW2_CACHE_INT_H
#define QCOW2_CACHE_INT_H

#include "block/qcow2/qcow2-int.h"

/* Makes room / writes back: called when only dirty entries are left. */
typedef int coroutine_mixed_fn Qcow2CacheEvict(BlockDriverState *bs);

typedef struct Qcow2CacheConf {
    size_t entry_size; /* bytes of an entry, power of two */
    size_t max_entries;
    BlkdebugEvent load_event, update_event;
    Qcow2CacheEvict *evict;
    bool keeps; /* entries that are not durable stay, for qcow2_cache_lost() */
} Qcow2CacheConf;

Qcow2Cache *qcow2_cache_new(const Qcow2CacheConf *conf);
/* Frees the cache with its entries, dirty or not. */
void qcow2_cache_free(Qcow2Cache *cache);
/* Changes the limit; excess entries are dropped as others are loaded. */
void qcow2_cache_set_max(Qcow2Cache *cache, size_t max_entries);
size_t qcow2_cache_entry_size(const Qcow2Cache *cache);
/* The entry at @offset of the file, or NULL if not cached; never yields. */
void *qcow2_cache_peek(Qcow2Cache *cache, uint64_t offset);
/* The same, loaded if needed.  Valid until the next yield. */
int coroutine_mixed_fn qcow2_cache_get(BlockDriverState *bs,
                                       Qcow2Cache *cache, uint64_t offset,
                                       void **data);
/* Marks the entry at @offset, cached in @data, as dirty. */
void qcow2_cache_mark_dirty(Qcow2Cache *cache, uint64_t offset,
                            const void *data);
bool qcow2_cache_is_dirty(const Qcow2Cache *cache);
/* All that was written is durable. */
void qcow2_cache_flushed(Qcow2Cache *cache);
/* What was written since may be lost: it is dirty again. */
void qcow2_cache_lost(Qcow2Cache *cache);
/* Writes all dirty entries, in ascending order. */
int coroutine_mixed_fn qcow2_cache_write(BlockDriverState *bs,
                                         Qcow2Cache *cache);
/* Drops entries in [@offset, @offset + @bytes) without writing. */
void qcow2_cache_forget(Qcow2Cache *cache, uint64_t offset, uint64_t bytes);
/* Drops clean entries that were not used since the last call; never yields. */
void qcow2_cache_clean(Qcow2Cache *cache);

#endif
