/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The private part of a node: its life cycle, edges, and requests in flight.
 * Drivers and users see the part in block/driver.h.
 */
#ifndef BLOCK_NODE_INT_H
#define BLOCK_NODE_INT_H

#include "block/dirty-bitmap.h"
#include "block/driver.h"

/* The dirty bitmaps of a node; initialised to zero. */
typedef struct BdrvDirtyBitmapList {
    LIST_HEAD(, BdrvDirtyBitmap) list;
    int recording; /* number of recording bitmaps; 0: marking costs nothing */
    LIST_HEAD(, BdrvShownBits) shown; /* unnamed, for queries only */
    uint64_t seq; /* of the youngest in either list */
    BdrvBitmapStore *store; /* owned; NULL: persistent ones are not possible */
    const BlockDriverState *store_user; /* has the store of this node */
    uint64_t kept_seq; /* those up to it were there before the driver was
                          opened again */
} BdrvDirtyBitmapList;

typedef struct BdrvNode {
    BlockDriverState bs; /* first */

    /* --- main thread; changed by reopen only --- */
    bool implicit;            /* inserted by a job: hidden from queries */
    bool follows_discard;     /* a job's filter: discard_unmap is that of its
                                 child */
    /*
     * What the user wrote, until it is reopened: numbers may be "1M" in it.
     * NULL: the options are typed from the start.
     */
    struct json_object *given;
    BlockdevOptions *explicit_options; /* without inherited options */
    BlockDriverState *inherits_from; /* parent that defined it in place, or
                                        NULL; no reference */
    BdrvChildRole inherits_role;
    BlockDriverState *opener; /* while it is opened: the node that does it, as
                                 its header or its options name this one; or
                                 NULL; no reference */

    /* --- main thread: life --- */
    int refcnt;         /* atomic */
    bool opened;        /* between drv->open and drv->close */
    bool close_failed;  /* reported already, see bdrv_close_error() */
    bool graph_ref;     /* bdrv_insert_node()'s reference */
    bool monitor_owned; /* made by blockdev-add: it holds a reference */
    bool reopening;     /* between prepare and commit of a reopen */
    bool inactive;      /* block/activate.h; bs->read_only is set meanwhile */
    bool half_taken;    /* block/activate.c: its users may not write */
    bool active_read_only; /* bs->read_only when it is active again */
    bool reloading;     /* its driver opens it again, with the same children */
    BdrvIdentity left;  /* of a file, when it became inactive; or NONE */
    unsigned left_as;   /* the how manieth time that nodes became so */
    bool not_given_away; /* bdrv_bitmap_not_given_away() since then */
    unsigned abandoned, awaited; /* block/silence.h */
    LIST_ENTRY(BdrvNode) node_list;

    /* --- written by the exclusive main thread, read by all: graph --- */
    LIST_HEAD(, BdrvChild) children;
    LIST_HEAD(, BdrvChild) parents;
    uint64_t cumulative_perm, cumulative_shared;
    bool walked; /* for graph walks */

    /* --- the context's thread: requests --- */
    unsigned in_flight;
    int quiesce_counter; /* > 0: drained, no new requests */
    LIST_HEAD(, BdrvRequest) requests; /* in flight: block/request.h */
    unsigned serialising_in_flight;
    CoQueue flush_queue;
    bool active_flush;
    uint64_t write_gen, flushed_gen;
    bool inherits; /* not flushed since bdrv_flush_inherits() */
    uint64_t lost_writes; /* how many times: bdrv_note_lost_writes() */
    uint64_t forgotten_writes; /* ... of these: bdrv_note_forgotten_writes() */
    uint64_t write_threshold; /* bytes; 0: off */
    uint64_t wr_highest_offset;
    BdrvDirtyBitmapList bitmaps; /* block/dirty-bitmap.h */
} BdrvNode;

static inline BdrvNode *bdrv_node(const BlockDriverState *bs)
{
    return container_of(bs, BdrvNode, bs);
}

/* The node has been opened, or may be written now: if it is a file, it may have
 * writes of others that are not durable, so that the next flush is done. */
void bdrv_flush_inherits(BlockDriverState *bs);

#endif
