/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qcow2 driver's own: format constants, the state of an open image, and
 * what its files offer each other.
 *
 * How it stays consistent.  At any moment, what is on disk is a valid image in
 * which at worst clusters are marked used that nobody references.  These rules
 * see to it; where one can break, an assertion (for what is our own doing) or
 * an error (where it may be the image's) cites it.
 *
 *  1. What L2 tables rely on is durable before they are written: all data that
 *     their entries make visible, and the refcounts of what they refer to.  An
 *     entry is set, in the cache, after its data was written.  A flush of the
 *     file is owed as long as durable_gen is not link_gen:
 *     qcow2_must_be_durable() counts the latter up when data or refcounts have
 *     been written, never before, and only a flush that began after that pays.
 *  2. A cluster's refcount is raised, in the cache of refcount blocks, when it
 *     is allocated, and they are written before the L2 tables are; but not
 *     while the dirty bit is set, which says that they may be too low.
 *  3. A reference that goes away is cleared in the L2 cache at once; its
 *     refcount falls only after the L2 entry is durable: frees wait in
 *     pending_frees (qcow2_apply_frees()).  So a freed cluster cannot be
 *     reused while something on disk still refers to it, nor while a request
 *     that found it there before still reads from it.
 *  4. A cluster that was allocated and is being written, so that nothing refers
 *     to it yet, is not freed by anybody else: no entry is set to a cluster
 *     whose refcount has become 0.
 *  5. New tables (L1, L2, refcount table and blocks, bitmap tables and
 *     directory) are written in full and flushed before anything refers to
 *     them.
 *  6. An L2 table that something else (a snapshot) refers to is not changed:
 *     entries are set only where the L1 entry has the COPIED flag.  A check
 *     that repairs them, with nobody else there, writes to the file itself.
 *
 * Locking.  Everything runs in one thread, so state changes only where a
 * coroutine yields.
 *
 *  7. `lock` is held by whoever loads, evicts or changes metadata, across
 *     yields; but for opening, closing and reopening, when nobody else is
 *     there.  Reading what is cached needs no lock (qcow2_co_map()).
 *  8. A pointer into a cache is valid until the next yield: what was changed
 *     by it is still the entry that is cached.
 *  9. What is in a cache does not change while the cache is being written.
 * 10. Data is transferred without the lock; `ops` has the guest ranges in
 *     flight.  Entries change only under an exclusive one, which overlaps no
 *     other.
 * 11. Snapshots are made, applied and deleted with no operation in flight.
 */
#ifndef QCOW2_INT_H
#define QCOW2_INT_H

#include "block/bitmap-store.h"
#include "block/driver.h"
#include "block/graph.h"
#include "block/io.h"

#define QCOW2_MAGIC 0x514649fbU
#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_V2_HEADER_LENGTH 72
#define QCOW2_V3_MIN_HEADER_LENGTH 104
#define QCOW2_HEADER_LENGTH 112
#define QCOW2_MAX_BACKING_NAME 1023
#define QCOW2_MAX_L1_BYTES (32 * MiB)
#define QCOW2_MAX_REFTABLE_BYTES (8 * MiB)
#define QCOW2_MAX_SNAPSHOTS 65536
#define QCOW2_MAX_SNAPSHOT_TABLE (64 * MiB)
#define QCOW2_MAX_SNAPSHOT_EXTRA 1024

enum {
    QCOW2_INCOMPAT_DIRTY = 1 << 0,
    QCOW2_INCOMPAT_CORRUPT = 1 << 1,
    QCOW2_INCOMPAT_DATA_FILE = 1 << 2,
    QCOW2_INCOMPAT_COMPRESSION = 1 << 3,
    QCOW2_INCOMPAT_EXTL2 = 1 << 4,
    QCOW2_INCOMPAT_KNOWN = 0x1f,
    QCOW2_COMPAT_LAZY = 1 << 0,
    QCOW2_AUTOCLEAR_BITMAPS = 1 << 0,
    QCOW2_AUTOCLEAR_RAW = 1 << 1,
};

/*
 * Our own: who does not know it clears it before it writes to the image, and so
 * says that the disk may have been shrunk and grown without a note of it.
 */
#define QCOW2_AUTOCLEAR_CUTS (UINT64_C(1) << 63)
#define QCOW2_AUTOCLEAR_KNOWN (QCOW2_AUTOCLEAR_BITMAPS | QCOW2_AUTOCLEAR_CUTS)

enum {
    QCOW2_EXT_END = 0,
    QCOW2_EXT_BACKING_FORMAT = 0xe2792aca,
    QCOW2_EXT_FEATURES = 0x6803f857,
    QCOW2_EXT_BITMAPS = 0x23852875,
    QCOW2_EXT_BITMAP_CUTS = 0x54634244, /* our own, "TcBD" */
    QCOW2_EXT_CRYPTO = 0x0537be77,
    QCOW2_EXT_DATA_FILE = 0x44415441,
};

#define QCOW2_COPIED (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO UINT64_C(1)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_REFTABLE_MASK UINT64_C(0xfffffffffffffe00)
#define QCOW2_L1_RESERVED UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED UINT64_C(0x3f000000000001fe)

/* Largest host offset that an L2 entry can hold. */
#define QCOW2_MAX_HOST_OFFSET (INT64_C(1) << 56)

/* The header as stored; all fields in host byte order. */
typedef struct Qcow2Header {
    uint32_t version;
    uint64_t backing_offset;
    uint32_t backing_size;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    const char *reftable_damage;  /* why it cannot be there, or NULL */
    const char *snapshots_damage; /* the same of the table of snapshots */
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
    uint32_t header_length;
    uint8_t compression_type;
} Qcow2Header;

/* A header extension that we do not know, kept as it is. */
typedef struct Qcow2Extension {
    uint32_t magic;
    uint32_t len;
    uint8_t *data;
} Qcow2Extension;

/* The bitmaps extension. */
typedef struct Qcow2BitmapExt {
    uint32_t nb_bitmaps; /* 0: there is no extension */
    uint64_t dir_size;   /* bytes */
    uint64_t dir_offset;
} Qcow2BitmapExt;

/* An element of the extension of our own: see bdrv_dirty_bitmap_cut_end(). */
typedef struct Qcow2BitmapCut {
    uint32_t index; /* of the bitmap in the directory */
    uint64_t end;
} Qcow2BitmapCut;

/* --- cache of metadata (cache.c) --- */

typedef struct Qcow2Cache Qcow2Cache;

/* Makes room / writes back: called when only dirty entries are left. */
typedef int coroutine_mixed_fn Qcow2CacheEvict(BlockDriverState *bs);

typedef struct Qcow2CacheConf {
    size_t entry_size; /* bytes of an entry, power of two */
    size_t max_entries;
    BlkdebugEvent load_event, update_event;
    Qcow2CacheEvict *evict;
} Qcow2CacheConf;

Qcow2Cache *qcow2_cache_new(const Qcow2CacheConf *conf);
/* Frees it with what it holds, dirty or not. */
void qcow2_cache_free(Qcow2Cache *cache);
/* Changes the limit; entries above it go as others are loaded. */
void qcow2_cache_set_max(Qcow2Cache *cache, size_t max_entries);
size_t qcow2_cache_entry_size(const Qcow2Cache *cache);
/* The entry at @offset of the file, or NULL if not there; never yields. */
void *qcow2_cache_peek(Qcow2Cache *cache, uint64_t offset);
/* The same, loaded where needed.  Valid until the next yield. */
int coroutine_mixed_fn qcow2_cache_get(BlockDriverState *bs,
                                       Qcow2Cache *cache, uint64_t offset,
                                       void **data);
/* Says that the entry at @offset, cached in @data, was changed. */
void qcow2_cache_mark_dirty(Qcow2Cache *cache, uint64_t offset,
                            const void *data);
bool qcow2_cache_is_dirty(const Qcow2Cache *cache);
/* Writes all dirty entries, in ascending order. */
int coroutine_mixed_fn qcow2_cache_write(BlockDriverState *bs,
                                         Qcow2Cache *cache);
/* Drops, without writing, what lies in [@offset, @offset + @bytes). */
void qcow2_cache_forget(Qcow2Cache *cache, uint64_t offset, uint64_t bytes);
/* Drops what is clean and was not used since the last call; never yields. */
void qcow2_cache_clean(Qcow2Cache *cache);

/* --- state --- */

/* A data request in flight on a guest range, in whole clusters. */
typedef struct Qcow2Op {
    int64_t start, end;
    bool exclusive; /* changes the mapping */
    uint64_t fresh, fresh_bytes; /* of the file: its new clusters, until they
                                    are linked or given back */
    CoQueue wait;
    LIST_ENTRY(Qcow2Op) next;
} Qcow2Op;

/* A range of the file that is being read; lives in the reader's frame. */
typedef struct Qcow2Read {
    uint64_t offset, bytes;
    LIST_ENTRY(Qcow2Read) next;
} Qcow2Read;

/* Clusters whose reference is gone, but maybe not yet so on disk. */
typedef struct Qcow2Free {
    uint64_t offset, bytes;
    bool discard; /* hand the space back to the host */
} Qcow2Free;

typedef struct Qcow2Snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;
    char *id, *name;
    uint64_t disk_size, vm_state_size;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec, icount;
    GBytes *unknown_extra; /* kept as it is, or NULL */
    char *damage; /* why it cannot be used, or NULL */
    bool dead;    /* it cannot be made usable, either */
    bool inexact; /* it would be written differently from what was read */
} Qcow2Snapshot;

typedef struct Qcow2State {
    /* --- set while opening --- */
    uint32_t version;
    unsigned cluster_bits;
    int64_t cluster_size;
    unsigned l2_bits;     /* log2 of entries of an L2 table */
    unsigned slice_bits;  /* log2 of entries of a cached part of it */
    unsigned refcount_order, refcount_bits;
    uint64_t refcount_max;
    unsigned rb_bits;     /* log2 of entries of a refcount block */
    unsigned rb_slice_bits;
    uint8_t compression_type; /* 0 zlib, 1 zstd */
    GByteArray *unknown_fields; /* of the header, behind what we know */
    GArray *extensions;         /* of Qcow2Extension */
    GArray *snapshots;          /* of Qcow2Snapshot */
    uint64_t snapshots_offset, snapshots_bytes;
    uint32_t nb_snapshots;      /* as in the header: some may be lost */

    /* --- what is damaged, in words; NULL: nothing --- */
    char *rt_damage;        /* there is no refcount table */
    char *snapshots_damage; /* the table may not be written anew */
    char *bitmaps_damage;   /* bitmaps are on disk, but are not loaded */

    /* --- under lock --- */
    uint64_t incompatible, compatible, autoclear;
    int64_t size; /* of the disk, as in the header */
    Qcow2BitmapExt bitmaps;
    bool bitmaps_unsure; /* the file may say otherwise: a change of the header
                            or of the directory failed half way */
    GArray *cuts; /* of Qcow2BitmapCut; counts with QCOW2_AUTOCLEAR_CUTS */
    BdrvBitmapStore bitmap_store;
    uint64_t *l1; /* host byte order */
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t *rt;             /* refcount table, host byte order */
    uint64_t rt_entries;      /* in memory */
    uint64_t rt_disk_entries; /* on disk: fewer only while it grows */
    uint64_t rt_offset;
    uint32_t rt_clusters;
    uint64_t free_index;      /* no free cluster lies below */
    uint64_t high_water;      /* file offset: nothing was written above */
    uint64_t byte_offset;     /* next free byte for compressed data, or 0 */
    bool rt_growing;
    uint64_t link_gen;    /* changes on which L2 tables rely: so many were
                             written to the file ... */
    uint64_t durable_gen; /* ... of which so many have been flushed */
    GArray *pending_frees; /* of Qcow2Free */
    uint64_t pending_bytes;
    GHashTable *meta; /* numbers of clusters that are L2 tables or refcount
                         blocks -> which kinds; NULL: not built yet */
    GArray *inactive_l1; /* of Qcow2Free: L1 tables of snapshots, ascending;
                            there as long as meta is */
    Qcow2Cache *l2_cache, *rb_cache;
    bool broken; /* found corrupt: no more writing */
    bool told_corrupt; /* ... so that reading fails, which was told of */
    bool writable; /* qcow2_make_writable() was done, not undone since */
    bool shared; /* opened, and not being closed: others may be there */

    /* --- options, changed by reopen --- */
    int file_sparse; /* -1: not looked yet */
    bool lazy_refcounts;
    bool discard_request, discard_other, discard_snapshot;
    bool discard_keeps; /* discarded clusters stay allocated */
    int64_t clean_interval_ns; /* of the caches; 0: never */
    AioTimer *clean_timer;
    unsigned overlap; /* kinds of metadata that are guarded */

    /* --- any time --- */
    CoMutex lock;
    LIST_HEAD(, Qcow2Op) ops;
    LIST_HEAD(, Qcow2Read) reads;
} Qcow2State;

static inline int64_t qcow2_start_of_cluster(const Qcow2State *s, int64_t pos)
{
    return pos & ~(s->cluster_size - 1);
}

static inline int64_t qcow2_in_cluster(const Qcow2State *s, int64_t pos)
{
    return pos & (s->cluster_size - 1);
}

static inline uint64_t qcow2_clusters(const Qcow2State *s, uint64_t bytes)
{
    return (bytes + s->cluster_size - 1) >> s->cluster_bits;
}

/* Rule 7.  Outside of coroutines nobody else is there: it is drained. */
static inline void qcow2_assert_locked(const Qcow2State *s)
{
    g_assert(!s->shared || (s->lock.holder ? s->lock.holder == coroutine_self()
                                           : !in_coroutine()));
}

/* --- header.c --- */

/* Pure: decodes @buf (@len >= 112 bytes, zero-padded) and checks ranges that
 * need nothing but the header itself. */
bool qcow2_header_parse(const uint8_t *buf, size_t len, Qcow2Header *h,
                        Error **errp);
void qcow2_header_encode(const Qcow2Header *h, uint8_t *buf);
/* Reads the extensions between the header and its end at @end. */
bool coroutine_mixed_fn qcow2_read_extensions(BlockDriverState *bs,
                                              const Qcow2Header *h,
                                              Error **errp);
/* Writes the header anew from the state: flags, tables, extensions, backing
 * file.  No flush. */
int coroutine_mixed_fn qcow2_update_header(BlockDriverState *bs);
/* Sets / clears incompatible bits on disk at once, and flushes. */
int coroutine_mixed_fn qcow2_set_incompatible(BlockDriverState *bs,
                                              uint64_t bits, bool on);
void qcow2_free_extensions(Qcow2State *s);
/* The header's bytes for a new image, with extensions and backing file name.
 * Returns its length, or 0 if it does not fit in @size. */
size_t qcow2_header_build(const Qcow2Header *h, const Qcow2State *s,
                          const char *backing_file,
                          const char *backing_format, uint8_t *buf,
                          size_t size);

/* --- open.c, reopen.c, info.c, resize.c, check*.c, create.c --- */

int qcow2_open(BlockDriverState *bs, const BlockdevOptions *options, int flags,
               Error **errp);
void qcow2_close(BlockDriverState *bs);
bool qcow2_apply_options(BlockDriverState *bs, const BlockdevOptions *options,
                         Error **errp);
/* What is due once the image may be written: repair, flags, bitmaps. */
bool coroutine_mixed_fn qcow2_make_writable(BlockDriverState *bs,
                                            Error **errp);
/* Writes all back and clears the dirty bit. */
int coroutine_mixed_fn qcow2_make_clean(BlockDriverState *bs);
int qcow2_reopen_prepare(BdrvReopenState *state, Error **errp);
void qcow2_reopen_commit(BdrvReopenState *state);
void qcow2_reopen_abort(BdrvReopenState *state);
void qcow2_reopen_commit_post(BdrvReopenState *state);
int qcow2_get_info(BlockDriverState *bs, BlockDriverInfo *info);
ImageInfoSpecific *qcow2_get_specific_info(BlockDriverState *bs,
                                           Error **errp);
BlockMeasureInfo *qcow2_measure(const BlockdevCreateOptions *options,
                                BlockDriverState *in_bs, Error **errp);
bool qcow2_has_zero_init(BlockDriverState *bs);
int qcow2_change_backing_file(BlockDriverState *bs, const char *backing_file,
                              const char *backing_fmt);
int coroutine_fn qcow2_co_truncate(BlockDriverState *bs, int64_t offset,
                                   bool exact, PreallocMode prealloc,
                                   BdrvRequestFlags flags, Error **errp);
/* Entries that the L1 table of a disk of @size bytes needs. */
uint64_t qcow2_l1_entries(const Qcow2State *s, int64_t size);
int coroutine_fn qcow2_co_amend(BlockDriverState *bs, const BdrvAmend *amend,
                                Error **errp);
int coroutine_fn qcow2_co_check(BlockDriverState *bs, BdrvCheckResult *res,
                                int fix);
/*
 * Repairs an image before it is written to, while it is being opened.  False
 * where writing would damage it even then.  @why: "dirty" or the like.
 */
bool coroutine_mixed_fn qcow2_repair_opened(BlockDriverState *bs,
                                            const char *why, Error **errp);
int coroutine_fn qcow2_co_create(BlockdevCreateOptions *options,
                                 Error **errp);

/* Sizes of the parts of a new image, in clusters. */
typedef struct Qcow2Layout {
    uint64_t data, l2, l1, blocks, table;
    uint64_t l1_entries;
    uint64_t total; /* with the header */
} Qcow2Layout;
/*
 * Layout of an image of @size bytes, of which all or nothing is @allocated.
 * False where a table would be too large.
 */
bool qcow2_layout(uint64_t size, unsigned cluster_bits,
                  unsigned refcount_order, bool allocated,
                  Qcow2Layout *layout);

/* --- snapshot.c --- */

/* Damaged entries do not make it fail: they, or the table, are marked. */
bool coroutine_mixed_fn qcow2_read_snapshots(BlockDriverState *bs,
                                             const Qcow2Header *h,
                                             Error **errp);
void qcow2_free_snapshots(Qcow2State *s);
/* A copy, but for element @without (-1: all). */
GArray *qcow2_copy_snapshots(const GArray *list, int without);
/* The table as it is on disk; *@bytes of it may be 0.  NULL: too large. */
uint8_t *qcow2_encode_snapshots(const GArray *list, size_t *bytes,
                                Error **errp);
extern const struct BdrvSnapshotOps qcow2_snapshot_ops;

/* --- refcount.c, refcount-grow.c --- */

/* Pure: entry @index of a refcount block. */
uint64_t qcow2_refcount_get(const void *block, uint64_t index,
                            unsigned order);
void qcow2_refcount_set(void *block, uint64_t index, unsigned order,
                        uint64_t value);
/* Refcount of a host cluster (number). */
int coroutine_mixed_fn qcow2_get_refcount(BlockDriverState *bs,
                                          uint64_t cluster, uint64_t *value);
/* Sets it; its refcount block must exist. */
int coroutine_mixed_fn qcow2_put_refcount(BlockDriverState *bs,
                                          uint64_t cluster, uint64_t value);
/* Adds @delta (1 or -1) to the counts of all clusters that the host range
 * touches; -EINVAL and a corruption report where one would go below 0. */
int coroutine_mixed_fn qcow2_update_refcount(BlockDriverState *bs,
                                             uint64_t offset, uint64_t bytes,
                                             int delta);
/*
 * A run of @min .. @max free clusters in a row; refcounts are 1 afterwards.
 * *@offset in the file, *@count clusters.
 */
int coroutine_mixed_fn qcow2_alloc_run(BlockDriverState *bs, uint64_t min,
                                       uint64_t max, uint64_t *offset,
                                       uint64_t *count);
/* Exactly enough clusters for @bytes. */
int coroutine_mixed_fn qcow2_alloc_bytes_run(BlockDriverState *bs,
                                             uint64_t bytes,
                                             uint64_t *offset);
/* Frees what nothing on disk refers to. */
void coroutine_mixed_fn qcow2_free_now(BlockDriverState *bs, uint64_t offset,
                                       uint64_t bytes);
/* Frees what something on disk may still refer to: later. */
void qcow2_free_later(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                      bool discard);
/* Refcounts, then (flush) L2 tables. */
int coroutine_mixed_fn qcow2_write_metadata(BlockDriverState *bs);
/* L2 tables, after the flush that is owed; refcounts are written already. */
int coroutine_mixed_fn qcow2_write_l2_tables(BlockDriverState *bs);
/*
 * Something that L2 tables rely on has been written to the file (the request
 * is complete): it must be flushed before they are written.
 */
static inline void qcow2_must_be_durable(Qcow2State *s)
{
    s->link_gen++;
}
/* Must the file be flushed before L2 tables are written? */
static inline bool qcow2_barrier_owed(const Qcow2State *s)
{
    return s->durable_gen != s->link_gen;
}
/* The same, then makes pending frees real. */
int coroutine_mixed_fn qcow2_apply_frees(BlockDriverState *bs);
/* Applies them where too many have come together. */
int coroutine_mixed_fn qcow2_limit_frees(BlockDriverState *bs);
/* Flushes the file, which pays the barrier that is owed when it begins. */
int coroutine_mixed_fn qcow2_flush_file(BlockDriverState *bs);
int coroutine_mixed_fn qcow2_evict_l2(BlockDriverState *bs);
/* Writes the refcount blocks, without a flush. */
int coroutine_mixed_fn qcow2_evict_refcounts(BlockDriverState *bs);
/*
 * Makes the refcount blocks that [@start, @start + @n) needs, using clusters
 * right behind that range (which are free), *@used of them.
 */
int coroutine_mixed_fn qcow2_make_refblocks(BlockDriverState *bs,
                                            uint64_t start, uint64_t n,
                                            uint64_t *used);
/* How many refcount blocks are missing for these clusters? */
uint64_t qcow2_missing_refblocks(const Qcow2State *s, uint64_t start,
                                 uint64_t n);
/* Makes a table that has room for @entries, where the present one has not. */
int coroutine_mixed_fn qcow2_grow_reftable(BlockDriverState *bs,
                                           uint64_t entries);

/* --- overlap.c --- */

/* Kinds of metadata that are guarded against being overwritten. */
enum {
    QCOW2_OVERLAP_HEADER = 1 << 0,
    QCOW2_OVERLAP_ACTIVE_L1 = 1 << 1,
    QCOW2_OVERLAP_ACTIVE_L2 = 1 << 2,
    QCOW2_OVERLAP_REFCOUNT_BLOCK = 1 << 3,
    QCOW2_OVERLAP_REFCOUNT_TABLE = 1 << 4,
    QCOW2_OVERLAP_SNAPSHOT_TABLE = 1 << 5,
    QCOW2_OVERLAP_INACTIVE_L1 = 1 << 6, /* of snapshots */
    QCOW2_OVERLAP_INACTIVE_L2 = 1 << 7,
    QCOW2_OVERLAP_BITMAP_DIRECTORY = 1 << 8,
};

/*
 * -EIO (and the image is marked corrupt) if a write to this range of the file
 * would overwrite metadata of a kind that is guarded and not @own: what is
 * written there (0: data, or a table in a place that is new).  Under the lock;
 * may yield.
 */
int coroutine_mixed_fn qcow2_check_overlap(BlockDriverState *bs,
                                           uint64_t offset, uint64_t bytes,
                                           unsigned own);
/* A cluster becomes / is no longer an (active) L2 table or refcount block. */
void qcow2_meta_add(Qcow2State *s, uint64_t offset, unsigned kind);
void qcow2_meta_remove(Qcow2State *s, uint64_t offset, unsigned kind);
/* Where metadata is, or what is guarded, changes altogether. */
void qcow2_meta_forget(Qcow2State *s);
/* Reports, sets the corrupt bit and stops writing; returns -EIO. */
int coroutine_mixed_fn qcow2_corrupt(BlockDriverState *bs, bool fatal,
                                     int64_t offset, int64_t size,
                                     const char *fmt, ...)
    G_GNUC_PRINTF(5, 6);

/* --- l2.c --- */

typedef enum Qcow2Type {
    QCOW2_UNALLOCATED,
    QCOW2_ZERO_PLAIN,
    QCOW2_ZERO_ALLOC,
    QCOW2_NORMAL,
    QCOW2_TYPE_COMPRESSED,
    QCOW2_INVALID,
} Qcow2Type;

/* What a run of the disk is. */
typedef struct Qcow2Map {
    Qcow2Type type;
    bool copied;    /* we are the only user: may be written in place */
    uint64_t host;  /* file offset of its first byte, if it has one */
    int64_t bytes;
    uint64_t entry; /* the first raw entry */
} Qcow2Map;

/* Pure: what an L2 entry says. */
Qcow2Type qcow2_entry_type(uint64_t entry, uint32_t version,
                           unsigned cluster_bits);
/* Pure: where compressed data lies. */
void qcow2_compressed_range(uint64_t entry, unsigned cluster_bits,
                            uint64_t *offset, uint64_t *bytes);
/* The run at @offset, under the lock. */
int coroutine_mixed_fn qcow2_map(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, Qcow2Map *map);
/* Either of them; takes the lock where needed. */
int coroutine_fn qcow2_co_map(BlockDriverState *bs, int64_t offset,
                              int64_t bytes, Qcow2Map *map);
/* Makes the L2 table for @offset ours, and there. */
int coroutine_mixed_fn qcow2_prepare_l2(BlockDriverState *bs, int64_t offset);
/*
 * Sets the entry of the cluster at @offset (its L2 table prepared), after the
 * data that it shows was written.  The old entry's reference is dropped unless
 * @keep.  @discard: see Qcow2Free.
 */
int coroutine_mixed_fn qcow2_set_entry(BlockDriverState *bs, int64_t offset,
                                       uint64_t entry, bool keep,
                                       bool discard);
/* Writes the sector of the L1 table with @index. */
int coroutine_mixed_fn qcow2_write_l1(BlockDriverState *bs, uint32_t index);
/* A zeroed or copied table of 64-bit entries, converted to big endian, is
 * written at @offset. */
int coroutine_mixed_fn qcow2_write_table(BlockDriverState *bs, uint64_t offset,
                                         const uint64_t *table,
                                         uint64_t entries, uint64_t bytes);
/* Reads @entries 64-bit numbers; NULL with -errno in *@ret. */
uint64_t *coroutine_mixed_fn qcow2_read_table(BlockDriverState *bs,
                                              uint64_t offset,
                                              uint64_t entries, int *ret);

/* --- alloc.c --- */

/* One step of a write: a guest range that goes to one run of the file. */
typedef struct Qcow2Write {
    Qcow2Op op;
    int64_t offset, bytes; /* of the guest */
    uint64_t host;         /* where @offset goes */
    bool link;             /* L2 entries are to be set when data is there */
    bool whole;            /* set by the caller: whole clusters, which may
                              become zero clusters in the end */
    bool fresh;            /* the clusters are newly allocated */
    bool beyond;           /* ... past all that was ever written */
} Qcow2Write;

/* Waits for what is in flight on the first cluster; under the lock. */
void coroutine_fn qcow2_op_begin(BlockDriverState *bs, Qcow2Op *op,
                                 int64_t offset, int64_t bytes);
void coroutine_fn qcow2_op_end(Qcow2Op *op);
/* Is the cluster at @offset in an exclusive operation? */
bool qcow2_op_covers(const Qcow2State *s, int64_t offset);
/* Is the host cluster at @offset a new one that is being written? */
bool qcow2_op_has_fresh(const Qcow2State *s, uint64_t offset);
/*
 * Decides where data for the start of [@offset, +@bytes) goes, allocating
 * where needed; @w->bytes of it are covered.  Ends with qcow2_write_end().
 */
int coroutine_fn qcow2_write_begin(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, Qcow2Write *w);
/* @ret 0: the data is there, link it; else free what was allocated. */
int coroutine_fn qcow2_write_end(BlockDriverState *bs, Qcow2Write *w, int ret);
/* Instead of ..._end(): the range becomes zeroes, nothing was written. */
int coroutine_fn qcow2_write_end_zero(BlockDriverState *bs, Qcow2Write *w);
/* Guest content would show up where a cluster is not allocated. */
static inline bool qcow2_has_backing(const BlockDriverState *bs)
{
    return bs->backing || bs->backing_file;
}

/* --- io.c, zero.c, host-io.c, compress.c --- */

int coroutine_fn qcow2_co_preadv(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn qcow2_co_pwritev(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn qcow2_co_flush(BlockDriverState *bs);
int coroutine_fn qcow2_co_block_status(BlockDriverState *bs, bool want_zero,
                                       int64_t offset, int64_t bytes,
                                       int64_t *pnum, int64_t *map,
                                       BlockDriverState **file);
int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, BdrvRequestFlags flags);
int coroutine_fn qcow2_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes);
/* Whole clusters become zero clusters; under the lock, ops taken. */
int coroutine_mixed_fn qcow2_zero_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           bool unmap);
/* Whole clusters become unallocated whatever shows then; under the lock. */
int coroutine_mixed_fn qcow2_drop_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes);
/* All clusters become unallocated. */
int coroutine_fn qcow2_co_make_empty(BlockDriverState *bs);
int coroutine_fn qcow2_co_host_read_begin(BlockDriverState *bs,
                                          BdrvRequest *r);
void coroutine_fn qcow2_co_host_read_end(BlockDriverState *bs, BdrvRequest *r);
int coroutine_fn qcow2_co_host_write_begin(BlockDriverState *bs,
                                           BdrvRequest *r);
int coroutine_fn qcow2_co_host_write_end(BlockDriverState *bs, BdrvRequest *r,
                                         int result);
/* Reads the compressed cluster that @entry describes into @buf. */
int coroutine_fn qcow2_read_compressed(BlockDriverState *bs, uint64_t entry,
                                       uint8_t *buf);
int coroutine_fn qcow2_co_pwritev_compressed(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov,
                                             size_t qiov_offset);

/* --- bitmap-dir.c: the pure part --- */

#define QCOW2_MAX_BITMAPS 65535
#define QCOW2_MAX_BITMAP_DIR (64 * MiB)
#define QCOW2_MAX_BITMAP_TABLE 0x8000000 /* entries */
#define QCOW2_MAX_BITMAP_BYTES INT64_C(0x20000000)
#define QCOW2_MIN_BITMAP_GRANULARITY_BITS 9
#define QCOW2_MAX_BITMAP_GRANULARITY_BITS 31

enum {
    QCOW2_BITMAP_IN_USE = 1 << 0,
    QCOW2_BITMAP_AUTO = 1 << 1,
    QCOW2_BITMAP_EXTRA_COMPATIBLE = 1 << 2,
    QCOW2_BITMAP_FLAGS_KNOWN = 7,
    QCOW2_BITMAP_TYPE_DIRTY = 1,
};
#define QCOW2_BITMAP_ENTRY_RESERVED UINT64_C(0xff000000000001fe)

/* An entry of the bitmap directory. */
typedef struct Qcow2Bitmap {
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;
    uint8_t type;
    uint8_t granularity_bits;
    char *name;
    uint8_t *extra;
    uint32_t extra_size;
    int64_t cut_end; /* see bdrv_dirty_bitmap_cut_end(); not in the directory */
    /* while storing: has a new table; what it replaces is to be freed */
    bool stored;
    uint64_t old_table_offset;
    uint32_t old_table_size;
} Qcow2Bitmap;

void qcow2_bitmap_free(Qcow2Bitmap *b);
/* Array of Qcow2Bitmap *, freed with its elements; NULL on error. */
GPtrArray *qcow2_bitmap_dir_parse(const uint8_t *buf, size_t len,
                                  uint32_t nb_bitmaps, unsigned cluster_bits,
                                  Error **errp);
/* Caller frees; *@len bytes. */
uint8_t *qcow2_bitmap_dir_serialise(const GPtrArray *dir, size_t *len);
size_t qcow2_bitmap_entry_size(size_t name_len, size_t extra_len);
/* Can we keep it up to date? (known type, flags, extra data) */
bool qcow2_bitmap_usable(const Qcow2Bitmap *b);
/* Table entries that a bitmap of a disk of @size bytes needs. */
uint64_t qcow2_bitmap_table_entries(int64_t size, unsigned granularity_bits,
                                    unsigned cluster_bits);
Qcow2Bitmap *qcow2_bitmap_dir_find(GPtrArray *dir, const char *name);

/* --- bitmap.c, bitmap-store.c --- */

/* The directory of the image with the cut_end of each; empty where there is
 * none. */
GPtrArray *coroutine_mixed_fn qcow2_bitmap_dir_read(BlockDriverState *bs,
                                                    Error **errp);
/* The store of bitmaps in the image becomes that of @bs. */
void qcow2_attach_bitmap_store(BlockDriverState *bs);
/*
 * Operations of that store, see BdrvBitmapStoreOps.  Where the directory is
 * damaged, no bitmap is loaded, with a warning, and they are not trusted any
 * more.
 */
bool coroutine_mixed_fn qcow2_bitmaps_load(BdrvBitmapStore *store,
                                           Error **errp);
bool coroutine_mixed_fn qcow2_bitmaps_begin(BdrvBitmapStore *store,
                                            BdrvDirtyBitmap *bitmap,
                                            Error **errp);
bool qcow2_bitmaps_can_store(BdrvBitmapStore *store, const char *name,
                             uint64_t granularity, Error **errp);
bool coroutine_fn qcow2_bitmaps_co_resize(BdrvBitmapStore *store,
                                          int64_t bytes, Error **errp);
/* Marks @name (NULL: all) in use on disk; under the lock, or while opening. */
bool coroutine_mixed_fn qcow2_mark_bitmaps_in_use(BlockDriverState *bs,
                                                  const char *name,
                                                  Error **errp);
/* The bitmap table of @b, checked; NULL and an error otherwise. */
uint64_t *coroutine_mixed_fn qcow2_bitmap_read_table(BlockDriverState *bs,
                                                     const Qcow2Bitmap *b,
                                                     Error **errp);
extern const BlockDriver bdrv_qcow2;

#endif
