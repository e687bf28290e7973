/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request: an access to the data of one node, from begin to end.
 *
 * A read, a write (of data, of zeroes, compressed), a discard, a change of
 * size, a query of block status, a range for a worker thread: on each node that
 * it passes it is one BdrvRequest, with one bdrv_request_begin() and one
 * bdrv_request_end().  Nothing else counts requests in flight, waits for them
 * or marks dirty bitmaps.
 *
 *     parent -> gate -> begin: checked, in flight, alone, intent, marked
 *                         driver, or the gate of the child: the same there
 *                       end:   grown, marked again, others woken
 *
 * The rules; code and tests name them by number.
 *
 *  1. In flight.  From begin to end a request is in its node's list and is
 *     counted in flight, also while it waits.  A drain waits for it, so the
 *     graph below the node does not change; nor does the child of its edge.
 *  2. All or nothing.  A begin that fails has counted and marked nothing, and
 *     the driver does not see the request; the caller gets -errno.
 *  3. Checked again.  begin may wait.  State that can have changed meanwhile is
 *     checked again: the size of the node, whether it is read-only, the
 *     permissions of the edge.  A call without the permission is a bug; if the
 *     permission was lost while the request waited, it fails with -EPERM.
 *  4. Serialising.  Two requests that overlap conflict if one of them is
 *     serialising.  The later one waits, unless the other itself waits (it
 *     will check again, and two that wait for each other would never end).
 *     A request is serialising from begin on or never, and is not widened
 *     after begin returned.  Serialising are: writes that need a
 *     read-modify-write (their blocks), copy-on-read and writes that ask for
 *     it (their clusters), changes of size (all from the smaller size on), and
 *     requests that their driver wants to be so (BlockDriver.serialises).
 *  5. Intent.  The range to be marked is first announced to the bitmaps' store,
 *     which may wait and may refuse.  Then it is marked, before the driver sees
 *     the request.
 *  6. Marked twice.  In begin, so that data that can be on disk after a crash
 *     is dirty; in end, whether the request failed or not, so that a copier
 *     that cleared the bits meanwhile, and copied the old data, sees them dirty
 *     again.  BDRV_REQ_WRITE_UNCHANGED marks nothing and needs no intent.
 *  7. Top down.  A request begins on the upper node first and ends there last.
 *     A driver's answer while a request is in flight (the location of data,
 *     that a range is not allocated) is valid until that request's end,
 *     whatever yields in between.
 *  8. Status.  A query is in flight on each node that it examines, all of them
 *     until the answer is complete.  It does not wait for a serialising
 *     request further on in its range: the answer ends before it.
 *  9. Host range.  Each level resolves its part by a request of its own, tied
 *     to that of the level above by `lower`.  The range is neither freed nor
 *     reused until the end, which goes upwards from the lowest level: for
 *     reading as for writing.
 * 10. One at a time.  A coroutine that holds a serialising request begins no
 *     other one of the same node that overlaps it: it would wait for itself.
 */
#ifndef BLOCK_REQUEST_H
#define BLOCK_REQUEST_H

#include "block/types.h"

/*
 * Host I/O: a range of a node that is stored unchanged in a host file, so that
 * a worker thread may read or write it with plain system calls.  See
 * bdrv_co_host_read_begin() in block/io.h.
 */
typedef enum BdrvHostKind {
    BDRV_HOST_FILE, /* at @offset of @fd */
    BDRV_HOST_ZERO, /* reads as zeroes (read only) */
} BdrvHostKind;

typedef struct BdrvHostRange {
    BdrvHostKind kind;
    int fd;
    int64_t offset; /* in @fd */
    int64_t bytes;  /* from the start asked for; 0 < bytes <= asked */
    size_t align;   /* of offset, length and buffer (O_DIRECT); 1: none */
} BdrvHostRange;

/* Result of the write of a host range, as given to ..._end(). */
enum {
    BDRV_HOST_WRITTEN = 0, /* the data is in the host file */
    BDRV_HOST_IS_ZERO = 1, /* nothing was written; the driver makes the range
                              read as zeroes */
    /* negative: -errno, the range is undefined */
};

/*
 * It is on the stack of its coroutine; that of a host range is allocated and
 * may be ended by another coroutine.  All offsets and lengths are bytes.
 */
struct BdrvRequest {
    /* --- set by the caller of begin --- */
    BdrvChild *child;     /* the edge; NULL: a status query */
    BlockDriverState *bs; /* the node; found by begin where there is an edge */
    BdrvRequestType type;
    BdrvRequestFlags flags;
    int64_t offset; /* of a change of size: the new size */
    int64_t bytes;  /* of a status query, of a host range: may be less when it
                       has begun */

    /* --- block/request.c, from begin to end --- */
    bool marked; /* its range is dirty in all bitmaps that record */
    bool copies_up; /* a read that copies what it reads into the node */
    bool serialising;
    int64_t overlap_offset, overlap_bytes; /* what others may overlap with */
    Coroutine *co; /* that began it; NULL: another may end it */
    BdrvRequest *waiting_for;
    CoQueue wait_queue; /* waits for its end */
    LIST_ENTRY(BdrvRequest) list;

    /* --- of host ranges only: block/host-io.c, and the driver of @bs --- */
    BdrvHostRange host; /* set by the driver; bytes are those of the request */
    BdrvRequest *lower; /* on the level below, if there is one */
    bool driver_holds;  /* the driver's ..._end() is to be called */
    void *priv;         /* the driver's, from its begin to its end */
};

#endif
