/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qcow2 driver's own: the state of an open image.  What its files offer
 * each other is in the other *-int.h of this folder, one for each subject.
 *
 * Consistency.  At any moment, what is on disk is a valid image in which at
 * worst unreferenced clusters are marked used.  These rules ensure it; code
 * that checks one cites it, in an assertion (if only a bug can break it) or an
 * error (if the image can).
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
 *     to it yet, is not freed by other requests: no entry is set to a cluster
 *     whose refcount has become 0.
 *  5. New tables (L1, L2, refcount table and blocks, bitmap tables and
 *     directory) are written in full and flushed before anything refers to
 *     them.
 *  6. An L2 table that something else (a snapshot) refers to is not changed:
 *     entries are set only where the L1 entry has the COPIED flag.  A check
 *     that repairs them, with no other user, writes to the file itself.
 *
 * What is below may lose writes that it has completed, without an error, as a
 * server that is restarted does.  That is like a crash: what is left is a valid
 * image.  The next flush fails, whoever needed it, and makes memory match the
 * file again (loss.c).
 *
 * Locking.  Everything runs in one thread, so state changes only where a
 * coroutine yields.
 *
 *  7. `lock` is held to load, evict or change metadata, across yields;
 *     except during open, close and reopen, when there are no other users.
 *     Reading what is cached needs no lock (qcow2_co_map()).
 *  8. A pointer into a cache is valid until the next yield: the entry
 *     changed through it is still cached.
 *  9. What is in a cache does not change while the cache is being written.
 * 10. Data is transferred without the lock; `ops` has the guest ranges in
 *     flight.  Entries change only under an exclusive one, which overlaps no
 *     other; under one of a part of a cluster only the bits of its subclusters.
 * 11. Snapshots are made, applied and deleted with no operation in flight.
 */
#ifndef QCOW2_INT_H
#define QCOW2_INT_H

#include "block/bitmap-store.h"
#include "block/driver.h"
#include "block/qcow2/format-int.h"

typedef struct Qcow2Cache Qcow2Cache; /* cache-int.h */
typedef struct Qcow2Ahead Qcow2Ahead; /* bitmap-int.h */
typedef struct Qcow2Crypt Qcow2Crypt; /* crypt-int.h */
typedef struct Qcow2Op Qcow2Op;       /* alloc-int.h */
typedef struct Qcow2Read Qcow2Read;   /* alloc-int.h */

/* Entries of a table, from @first on to before @end; none if both are 0. */
typedef struct Qcow2Span {
    uint64_t first, end;
} Qcow2Span;

typedef struct Qcow2State {
    /* --- set while opening --- */
    uint32_t version;
    unsigned cluster_bits;
    int64_t cluster_size;
    bool extended_l2;     /* L2 entries have bitmaps of subclusters */
    unsigned entry_bits;  /* log2 of bytes of an L2 entry */
    unsigned sub_bits;    /* log2 of bytes of a subcluster; without them:
                             cluster_bits */
    unsigned l2_bits;     /* log2 of entries of an L2 table */
    unsigned slice_bits;  /* log2 of entries of a slice of it */
    unsigned refcount_order, refcount_bits;
    uint64_t refcount_max;
    unsigned rb_bits;     /* log2 of entries of a refcount block */
    unsigned rb_slice_bits;
    uint8_t compression_type; /* 0 zlib, 1 zstd */
    uint32_t crypt_method;    /* QCOW2_CRYPT_* */
    uint64_t crypt_offset, crypt_bytes; /* the volume of LUKS */
    Qcow2Crypt *crypt;        /* NULL: not encrypted */
    /*
     * Where data clusters are: bs->file, or an external data file, in which
     * each has the offset that it has on the disk.  Such clusters have no
     * refcounts, and no other reference.  NULL: the data file is not open, as
     * no data is accessed.
     */
    BdrvChild *data;
    bool external;
    GByteArray *unknown_fields; /* of the header, after the known ones */
    GArray *extensions;         /* of Qcow2Extension */
    GArray *snapshots;          /* of Qcow2Snapshot */
    uint64_t snapshots_offset, snapshots_bytes;
    uint32_t nb_snapshots;      /* as in the header: some may be unreadable */

    /* --- damage, as text; NULL: none --- */
    char *rt_damage;        /* the refcount table is unusable */
    char *snapshots_damage; /* the table must not be rewritten */
    char *bitmaps_damage;   /* the bitmaps extension is unusable ... */
    GByteArray *bitmaps_raw; /* ... and is this, with its head */
    uint32_t notes_damage;  /* the extension of this program that is unusable;
                               0: none */

    /* --- under lock --- */
    uint64_t incompatible, compatible;
    uint64_t autoclear; /* without QCOW2_AUTOCLEAR_RAW */
    char *data_name; /* of the external data file, in the header; NULL: none */
    bool data_raw;   /* the external data file is a raw image of the disk */
    int64_t size; /* of the disk, as in the header if it is not ... */
    bool growing; /* ... getting this size, and was: */
    int64_t old_size;
    Qcow2BitmapExt bitmaps;
    GPtrArray *bitmap_dir; /* of Qcow2Bitmap: the directory as it is in the
                              file; NULL: it has not been loaded */
    uint64_t bitmap_dir_own; /* bytes of its place that are its own ... */
    bool bitmap_dir_free; /* ... although they are not allocated */
    bool bitmaps_verified; /* their clusters belong to nothing else */
    GArray *bitmap_claims; /* of Qcow2Free: free clusters that are not allocated
                              as damaged bitmaps refer to them; may be NULL */
    bool bitmaps_unsure; /* the state on disk is unknown: a change of the header
                            or of the directory failed half way */
    GArray *cuts; /* of Qcow2BitmapCut; counts with QCOW2_AUTOCLEAR_CUTS */
    GArray *notes; /* of Qcow2BitmapNote; counts with QCOW2_AUTOCLEAR_AHEAD */
    GArray *resume_lost; /* uint32_t: indexes of bitmaps of which a job took
                            something off that is not recorded; counts with
                            QCOW2_AUTOCLEAR_RESUME */
    bool disk_known; /* so that `disk` is valid */
    BdrvBitmapDisk disk; /* to which the bitmaps belong, if not to the image */
    bool disk_saving;         /* `next_disk` replaces it with the next save */
    BdrvBitmapDisk next_disk;
    BdrvBitmapStore bitmap_store;
    BlockDriverState *image; /* the node of this image */
    guint noted;           /* the header on disk has so many of `notes` */
    uint64_t header_bytes; /* on disk, with the extensions */
    uint64_t name_offset;  /* of the backing file's name on disk */
    uint32_t name_len;
    char *name_on_disk;
    Qcow2Ahead *ahead; /* bitmap-ahead.c; NULL: no bitmap is kept safe */
    uint64_t *l1; /* host byte order */
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t *rt;             /* refcount table, host byte order */
    uint64_t rt_entries;      /* in memory */
    uint64_t rt_disk_entries; /* on disk: fewer only while it grows */
    uint64_t rt_offset;
    uint32_t rt_clusters;
    uint64_t free_index;      /* no free cluster lies below */
    uint64_t high_water;      /* file offset: nothing was ever written above */
    uint64_t byte_offset;     /* next free byte for compressed data, or 0 */
    GPtrArray *pack_tools;    /* of PackTools: idle ones; NULL: none */
    bool rt_growing;
    uint64_t link_gen;    /* changes on which L2 tables rely: so many were
                             written to the file ... */
    uint64_t durable_gen; /* ... of which so many have been flushed */
    uint64_t lost_seen; /* qcow2_lost_writes() when the state in memory was last
                           made to match what is left on disk ... */
    uint64_t lost_told; /* ... and when a flush of the node last told of it */
    Qcow2Span l1_new, rt_new; /* entries written since the last flush ... */
    bool relink; /* ... which may not be there: they are to be written again */
    GArray *pending_frees; /* of Qcow2Free */
    uint64_t pending_bytes;
    GHashTable *meta; /* numbers of clusters that are L2 tables or refcount
                         blocks -> which kinds; NULL: not built yet */
    GArray *inactive_l1; /* of Qcow2Free: L1 tables of snapshots, ascending;
                            there as long as meta is */
    Qcow2Cache *l2_cache, *rb_cache;
    bool broken; /* found corrupt: no more writing */
    bool told_corrupt; /* ... so that reading fails; reported */
    bool writable; /* qcow2_make_writable() was done, not undone since */
    bool shared; /* opened, and not being closed: other users may exist */

    /* --- options, changed by reopen --- */
    int file_sparse; /* -1: not checked yet */
    bool lazy_refcounts;
    bool discard_request, discard_other, discard_snapshot;
    bool discard_keeps; /* discarded clusters stay allocated */
    int64_t clean_interval_ns; /* of the caches; 0: never */
    AioTimer *clean_timer;
    unsigned overlap; /* kinds of metadata that are guarded */

    /* --- any time --- */
    CoMutex lock;
    CoMutex bitmap_lock; /* taken before lock: bitmap-ahead.c */
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

/* Bounds of the subcluster, or without them of the cluster, at @pos. */
static inline int64_t qcow2_sub_start(const Qcow2State *s, int64_t pos)
{
    return pos & ~((INT64_C(1) << s->sub_bits) - 1);
}

static inline int64_t qcow2_sub_end(const Qcow2State *s, int64_t pos)
{
    return qcow2_sub_start(s, pos + (INT64_C(1) << s->sub_bits) - 1);
}

/* Bytes of the disk from @pos on to the end of what its L2 table is for. */
static inline int64_t qcow2_table_rest(const Qcow2State *s, int64_t pos)
{
    int64_t span = s->cluster_size << s->l2_bits;

    return span - (pos & (span - 1));
}

static inline uint64_t qcow2_clusters(const Qcow2State *s, uint64_t bytes)
{
    return (bytes + s->cluster_size - 1) >> s->cluster_bits;
}

/* Guest content would show up where a cluster is not allocated. */
static inline bool qcow2_has_backing(const BlockDriverState *bs)
{
    return bs->backing || bs->backing_file;
}

/*
 * Where data that ends at @end, a cluster boundary, ends in the file: an
 * external data file has the size of the disk.
 */
static inline int64_t qcow2_data_end(const Qcow2State *s, int64_t end)
{
    return s->external ? MIN(end, s->size) : end;
}

/* The end of what the L1 table has entries for, be it part of the disk or not.
 */
static inline int64_t qcow2_table_end(const Qcow2State *s)
{
    return (int64_t)s->l1_size << (s->cluster_bits + s->l2_bits);
}

/*
 * Must the external data file be the disk at any time?  Encrypted data is not.
 */
static inline bool qcow2_is_raw(const Qcow2State *s)
{
    return s->data_raw && !s->crypt;
}

/* Is there a bitmaps extension, be it damaged? */
static inline bool qcow2_has_bitmaps(const Qcow2State *s)
{
    return s->bitmaps.dir_size || s->bitmaps_raw;
}

/* Rule 7.  Outside coroutines there are no other users: it is drained. */
static inline void qcow2_assert_locked(const Qcow2State *s)
{
    g_assert(!s->shared || (s->lock.holder ? s->lock.holder == coroutine_self()
                                           : !in_coroutine()));
}

extern const BlockDriver bdrv_qcow2;

#endif
