/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names and constants that the whole block layer uses. */
#ifndef BLOCK_TYPES_H
#define BLOCK_TYPES_H

#include "qemu/aio.h"
#include "qemu/error.h"
#include "qemu/iov.h"

typedef struct BlockDriver BlockDriver;
typedef struct BlockDriverState BlockDriverState; /* a node */
typedef struct BdrvChild BdrvChild;               /* an edge */
typedef struct BdrvChildClass BdrvChildClass;     /* kind of parent */
typedef struct BlockBackend BlockBackend;         /* a user's handle */
typedef struct BdrvDirtyBitmap BdrvDirtyBitmap;
typedef struct BdrvBitmapResume BdrvBitmapResume; /* block/bitmap-resume.h */
typedef struct BdrvRequest BdrvRequest;           /* block/request.h */
typedef struct Transaction Transaction;

#define BDRV_SECTOR_SIZE 512
/* Largest size of a node; leaves room for arithmetic with alignments. */
#define BDRV_MAX_LENGTH (INT64_MAX - (INT64_C(1) << 30) + 1)
/* Most bytes of one data request; the gate refuses larger ones. */
#define BDRV_REQUEST_MAX_BYTES ((INT64_C(1) << 31) - 512)

/* What an edge's parent does, and what it lets others do. */
enum {
    BLK_PERM_CONSISTENT_READ = 1 << 0, /* reads of meaningful data */
    BLK_PERM_WRITE = 1 << 1,
    BLK_PERM_WRITE_UNCHANGED = 1 << 2, /* writes that change no visible data */
    BLK_PERM_RESIZE = 1 << 3,
    BLK_PERM_ALL = 0xf,
};

/* What a child is for its parent (a set). */
typedef enum BdrvChildRole {
    BDRV_CHILD_DATA = 1 << 0,
    BDRV_CHILD_METADATA = 1 << 1,
    BDRV_CHILD_FILTERED = 1 << 2, /* the parent is a filter over it */
    BDRV_CHILD_COW = 1 << 3,      /* backing file */
    BDRV_CHILD_PRIMARY = 1 << 4,  /* stands for the parent's own image */
    BDRV_CHILD_IMAGE = BDRV_CHILD_DATA | BDRV_CHILD_METADATA |
                       BDRV_CHILD_PRIMARY,
} BdrvChildRole;

/* What a request does (block/request.h). */
typedef enum BdrvRequestType {
    BDRV_REQUEST_READ,
    BDRV_REQUEST_WRITE, /* of data or zeroes */
    BDRV_REQUEST_DISCARD,
    BDRV_REQUEST_TRUNCATE,
    BDRV_REQUEST_STATUS,
} BdrvRequestType;

/* Flags of a request. */
typedef enum BdrvRequestFlags {
    BDRV_REQ_FUA = 1 << 0,             /* on stable storage when it returns */
    BDRV_REQ_MAY_UNMAP = 1 << 1,       /* write zeroes: may deallocate */
    BDRV_REQ_NO_FALLBACK = 1 << 2,     /* write zeroes: fail (-ENOTSUP) rather
                                          than write buffers of zeroes */
    BDRV_REQ_ZERO_WRITE = 1 << 3,      /* internal: this write is of zeroes */
    BDRV_REQ_WRITE_COMPRESSED = 1 << 4,
    BDRV_REQ_WRITE_UNCHANGED = 1 << 5, /* needs only PERM_WRITE_UNCHANGED and
                                          marks no bitmap */
    BDRV_REQ_SERIALISING = 1 << 6,     /* waits for and blocks overlapping */
    BDRV_REQ_COPY_ON_READ = 1 << 7,
    BDRV_REQ_PREFETCH = 1 << 8,        /* copy-on-read, data not wanted */
} BdrvRequestFlags;

/* How many times a node has lost writes, of one kind (block/io.h). */
typedef uint64_t BdrvCountWrites(BlockDriverState *bs);

/* Answer of a block status query (a set). */
enum {
    BDRV_BLOCK_DATA = 1 << 0,         /* reads must look at the storage */
    BDRV_BLOCK_ZERO = 1 << 1,         /* reads as zeroes */
    BDRV_BLOCK_OFFSET_VALID = 1 << 2, /* @map / @file are its location */
    BDRV_BLOCK_RAW = 1 << 3,          /* drivers only: ask *file instead */
    BDRV_BLOCK_ALLOCATED = 1 << 4,    /* this layer determines the content */
    BDRV_BLOCK_EOF = 1 << 5,          /* the range ends at the node's end */
    BDRV_BLOCK_COMPRESSED = 1 << 6,
};

/* Flags of opening, for what the options struct does not say. */
enum {
    BDRV_O_NO_BACKING = 1 << 0, /* do not open the backing file */
    BDRV_O_CHECK = 1 << 1,      /* open for check or repair: be tolerant */
    BDRV_O_NO_IO = 1 << 2,      /* for information only */
    BDRV_O_PROTOCOL = 1 << 3,   /* no format probing: file name → protocol */
    BDRV_O_RDWR = 1 << 4,       /* for openers by file name: writable */
    BDRV_O_UNMAP = 1 << 5,      /* by file name: discard=unmap */
    BDRV_O_NOCACHE = 1 << 6,    /* by file name: cache.direct=on */
    BDRV_O_NO_FLUSH = 1 << 7,   /* by file name: cache.no-flush=on */
    BDRV_O_FORCE_SHARE = 1 << 8,/* by file name: force-share=on */
    BDRV_O_RESIZE = 1 << 9,     /* by file name: will be resized */
    BDRV_O_NATIVE_AIO = 1 << 10,/* by file name: aio=native */
    BDRV_O_IO_URING = 1 << 11,  /* by file name: aio=io_uring */
    BDRV_O_ACTIVE = 1 << 12,    /* active although bdrv_open_inactive() */
};

#endif
