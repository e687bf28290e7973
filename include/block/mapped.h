/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For drivers of formats that divide the disk into blocks and have a map that
 * tells where in a file each block is.  They write how to look a block up and
 * how to give it a place; reading, writing, zeroes and block status are here.
 *
 * Order on storage: a block gets its data before its entry in the map, and the
 * map changes in memory only until a flush.  So a crash loses what was not
 * flushed, and leaves no entry that leads to something else than the block.
 */
#ifndef BLOCK_MAPPED_H
#define BLOCK_MAPPED_H

#include "block/io.h"
#include "qemu/coroutine.h"
#include "qemu/hbitmap.h"

typedef enum MappedKind {
    MAPPED_HOLE,  /* not in this image: the backing file's, or zeroes */
    MAPPED_ZERO,
    MAPPED_DATA,  /* at ->host of ->file */
    MAPPED_OTHER, /* the driver reads it; it is copied before it is written */
} MappedKind;

/* What is at the start of a range, and how far that goes. */
typedef struct MappedRun {
    MappedKind kind;
    int64_t bytes;   /* > 0; never beyond the block */
    int64_t start;   /* of the block on the disk */
    int64_t whole;   /* bytes of the block, which may exceed the disk */
    BdrvChild *file; /* DATA: preset to that of the image */
    int64_t host;    /* DATA; OTHER: the driver's */
} MappedRun;

/* Offsets and lengths are bytes; all return 0 or -errno. */
typedef struct MappedOps {
    /*
     * Fills @run for @offset; ->bytes is set and may be reduced.  Where blocks
     * differ the driver sets ->start and ->whole, too.
     */
    int coroutine_fn (*map)(BlockDriverState *bs, int64_t offset,
                            MappedRun *run);
    /* Reads ->bytes of OTHER at @offset. */
    int coroutine_fn (*read_other)(BlockDriverState *bs, int64_t offset,
                                   const MappedRun *run, QEMUIOVector *qiov,
                                   size_t qiov_offset);
    /*
     * Under the lock: a place for the block at @start, not yet in the map.
     * *@file is preset.  NULL: the image cannot grow.
     */
    int coroutine_fn (*allocate)(BlockDriverState *bs, int64_t start,
                                 BdrvChild **file, int64_t *host);
    /* Under the lock: the block at @start, which has been written, is there. */
    int coroutine_fn (*link)(BlockDriverState *bs, int64_t start,
                             BdrvChild *file, int64_t host);
    /* Under the lock: the block at @start is zero from now on.  May be NULL. */
    int coroutine_fn (*make_zero)(BlockDriverState *bs, int64_t start);
    /* Under the lock: writes changed metadata to the file, in safe order.  The
     * caller flushes the file afterwards. */
    int coroutine_fn (*write_back)(BlockDriverState *bs);
    /* allocate: the place after that of the block that was linked last, where
     * nothing is.  Then several blocks are written at once. */
    bool appends;
} MappedOps;

/* The first member of the driver's state. */
typedef struct MappedImage {
    const MappedOps *ops;
    int64_t size;  /* of the disk: whole sectors */
    int64_t block; /* bytes; 0: they differ */
    CoMutex lock;  /* of changes to the map */
} MappedImage;

/* In open. */
void mapped_init(MappedImage *m, const MappedOps *ops, int64_t size,
                 int64_t block);

/* Callbacks for drivers. */
int coroutine_fn mapped_co_preadv(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn mapped_co_host_read_begin(BlockDriverState *bs,
                                           BdrvRequest *r);
int coroutine_fn mapped_co_pwritev(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn mapped_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes,
                                         BdrvRequestFlags flags);
int coroutine_fn mapped_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes);
int coroutine_fn mapped_co_block_status(BlockDriverState *bs, bool want_zero,
                                        int64_t offset, int64_t bytes,
                                        int64_t *pnum, int64_t *map,
                                        BlockDriverState **file);
int coroutine_fn mapped_co_flush(BlockDriverState *bs);
int64_t mapped_getlength(BlockDriverState *bs);
/* ->cluster_size is the block. */
int mapped_get_info(BlockDriverState *bs, BlockDriverInfo *info);
/* Outside coroutines, in close: writes back; an error is reported. */
void mapped_close(BlockDriverState *bs);

/* --- for formats that can only be read --- */

/*
 * For open: opens the child "file" as @file says, makes the node read-only, and
 * reads the first @bytes of the file, the header of the format that @what names
 * for people.  0 or -errno.
 */
int mapped_open_read_only(BlockDriverState *bs, const BlockdevRef *file,
                          const char *what, void *header, size_t bytes,
                          Error **errp);
/*
 * For co_check, where blocks have one size: counts those that have a place, and
 * errors about places that are outside of the file or given twice.  *@end: of
 * the last one in the file, or 0.
 */
int coroutine_fn mapped_check_blocks(BlockDriverState *bs,
                                     BdrvCheckResult *result, int fix,
                                     int64_t *end);
/* For reopen_prepare: it stays read-only. */
int mapped_stay_read_only(BdrvReopenState *state, Error **errp);

/* The part of the file that was read last: tables, decompressed blocks. */
typedef struct MapCache {
    uint8_t *raw; /* NULL: nothing */
    uint64_t offset;
    uint32_t bytes; /* of @raw */
} MapCache;

/* @bytes at @offset of the file, which must be in it; valid until the next
 * yield.  NULL: *@ret is -errno. */
const uint8_t *coroutine_fn map_cache_read(BlockDriverState *bs, MapCache *c,
                                           uint64_t offset, uint32_t bytes,
                                           int *ret);
typedef enum MapPacking {
    MAP_ZLIB,
    MAP_DEFLATE, /* without a header, with a window of 4 KiB */
    MAP_BZIP2,   /* only if map_has_bzip2() */
} MapPacking;
/* Is it compiled in?  The others are. */
bool map_has_bzip2(void);
/* The same of @out_bytes that are compressed in these @bytes.  The file may end
 * before @bytes. */
const uint8_t *coroutine_fn map_cache_unpack(BlockDriverState *bs, MapCache *c,
                                             uint64_t offset, uint32_t bytes,
                                             uint32_t out_bytes,
                                             MapPacking packing, int *ret);
void map_cache_free(MapCache *c);

/* --- a table of the file that is kept in memory --- */

typedef struct MapTable {
    uint8_t *raw;    /* as in the file */
    uint64_t offset; /* in the file */
    uint64_t bytes;
    HBitmap *dirty;  /* what is to be written back */
} MapTable;

/* In open: reads it; @name for errors ("Block map").  0 or -errno. */
int map_table_load(BlockDriverState *bs, MapTable *t, const char *name,
                   uint64_t offset, uint64_t bytes, Error **errp);
/* @bytes at @pos of the table have changed. */
void map_table_mark(MapTable *t, uint64_t pos, uint64_t bytes);
/* Writes what has changed, which must not change further meanwhile. */
int coroutine_fn map_table_write_back(BlockDriverState *bs, MapTable *t);
void map_table_free(MapTable *t);

#endif
