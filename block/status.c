/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block status: where data comes from, what is allocated, what reads as zero.
 *
 * One node first (node_status), then the chain (walk_chain), then runs of
 * equal status are merged (merged_status).
 */
#include "qemu/osdep.h"
#include "io-int.h"

typedef struct Status {
    int flags;     /* BDRV_BLOCK_* or -errno */
    int64_t pnum;
    int64_t map;
    BlockDriverState *file;
    int depth;     /* layers looked at; the last one decided */
} Status;

/* What is asked; the range apart. */
typedef struct Query {
    BlockDriverState *top;
    BlockDriverState *base; /* NULL: the whole chain */
    bool include_base;
    bool single;            /* only @top */
    bool want_zero;         /* false: only allocation matters */
} Query;

static Status coroutine_fn walk_chain(const Query *q, int64_t offset,
                                      int64_t bytes);

/* --- one node --- */

/* Asks the driver for whole blocks, then cuts the answer to the range. */
static Status coroutine_fn ask_driver(BlockDriverState *bs, bool want_zero,
                                      int64_t offset, int64_t bytes)
{
    int64_t align = bdrv_request_align(bs);
    int64_t start = ROUND_DOWN(offset, align);
    int64_t end = ROUND_UP(offset + bytes, align);
    Status s = { 0 };

    bdrv_inc_in_flight(bs);
    s.flags = bs->drv->co_block_status(bs, want_zero, start, end - start,
                                       &s.pnum, &s.map, &s.file);
    bdrv_dec_in_flight(bs);
    if (s.flags < 0) {
        return s;
    }
    g_assert(s.pnum > offset - start);
    s.pnum = MIN(s.pnum - (offset - start), bytes);
    if (s.flags & (BDRV_BLOCK_OFFSET_VALID | BDRV_BLOCK_RAW)) {
        s.map += offset - start;
    }
    s.flags &= ~BDRV_BLOCK_EOF; /* found out by ourselves */
    return s;
}

/* The driver says: what @s->file has at @s->map. */
static Status coroutine_fn ask_raw(BlockDriverState *bs, bool want_zero,
                                   const Status *s)
{
    Query q = { .top = s->file, .want_zero = want_zero,
                .single = bs->drv->is_filter };
    Status below = walk_chain(&q, s->map, s->pnum);

    if (below.flags < 0) {
        return below;
    }
    if (below.pnum == 0) { /* past the child's end */
        below.flags = BDRV_BLOCK_ZERO;
        below.pnum = s->pnum;
    }
    below.flags &= ~BDRV_BLOCK_EOF;
    if (!bs->drv->is_filter) {
        below.flags |= BDRV_BLOCK_ALLOCATED;
    }
    return below;
}

/* The data lies in @s->file: a hole there makes it zero. */
static void coroutine_fn ask_below(Status *s)
{
    Query q = { .top = s->file, .want_zero = true };
    Status below = walk_chain(&q, s->map, s->pnum);

    if (below.flags < 0) {
        return; /* only less is known */
    }
    if (below.pnum == 0) {
        s->flags |= BDRV_BLOCK_ZERO;
    } else if ((below.flags & BDRV_BLOCK_EOF) &&
               (below.flags & BDRV_BLOCK_ZERO)) {
        s->flags |= BDRV_BLOCK_ZERO; /* and so is what follows the end */
    } else {
        s->flags |= below.flags & BDRV_BLOCK_ZERO;
        s->pnum = below.pnum;
    }
}

/* What is not in a node that has backing files comes from there, or is 0. */
static void complete_flags(BlockDriverState *bs, Status *s, int64_t offset)
{
    BdrvChild *cow = bdrv_cow_child(bs);

    if (s->flags & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO)) {
        s->flags |= BDRV_BLOCK_ALLOCATED;
    } else if (s->flags & BDRV_BLOCK_ALLOCATED) {
        /* as the driver says */
    } else if (bs->drv->may_be_unallocated) {
        /* and so is nowhere */
    } else if (!bs->drv->supports_backing) {
        s->flags |= BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED;
    } else if (!cow || offset >= cow->bs->total_bytes) {
        s->flags |= BDRV_BLOCK_ZERO;
    }
}

static Status coroutine_fn node_status(BlockDriverState *bs, bool want_zero,
                                       int64_t offset, int64_t bytes)
{
    Status s = { .pnum = bytes };

    if (bs->drv->co_block_status) {
        s = ask_driver(bs, want_zero, offset, bytes);
    } else if (bs->drv->is_filter) {
        s.flags = BDRV_BLOCK_RAW;
        s.file = bdrv_filter_child(bs)->bs;
        s.map = offset;
    } else {
        s.flags = BDRV_BLOCK_DATA;
        if (!bs->file) {
            s.flags |= BDRV_BLOCK_OFFSET_VALID;
            s.map = offset;
            s.file = bs;
        }
    }
    if (s.flags < 0) {
        return s;
    }
    if (s.flags & BDRV_BLOCK_RAW) {
        return ask_raw(bs, want_zero, &s);
    }
    complete_flags(bs, &s, offset);
    if (want_zero && (s.flags & BDRV_BLOCK_RECURSE) &&
        (s.flags & BDRV_BLOCK_DATA) && !(s.flags & BDRV_BLOCK_ZERO) &&
        (s.flags & BDRV_BLOCK_OFFSET_VALID) && s.file && s.file != bs) {
        ask_below(&s);
    }
    s.flags &= ~(BDRV_BLOCK_RAW | BDRV_BLOCK_RECURSE);
    return s;
}

/* The same for any range; @pnum 0 at the end of the node. */
static Status coroutine_fn clipped_status(BlockDriverState *bs,
                                          bool want_zero, int64_t offset,
                                          int64_t bytes)
{
    int64_t total = bs->total_bytes;
    Status s = { 0 };

    if (offset >= total) {
        s.flags = BDRV_BLOCK_EOF;
        return s;
    }
    if (bytes == 0) {
        return s;
    }
    s = node_status(bs, want_zero, offset, MIN(bytes, total - offset));
    if (s.flags >= 0 && offset + s.pnum >= total) {
        s.flags |= BDRV_BLOCK_EOF;
    }
    return s;
}

/* --- the chain --- */

/* A filter without a say of its own only passes on. */
static bool is_transparent(const BlockDriverState *bs)
{
    return bs->drv->is_filter && !bs->drv->co_block_status;
}

/*
 * Down from @q->top until a layer decides.  What lies past the end of a layer
 * above it was asked for is zero there, and that layer decides.
 */
static Status coroutine_fn walk_chain(const Query *q, int64_t offset,
                                      int64_t bytes)
{
    BlockDriverState *bs = q->top;
    Status s = { .pnum = bytes };
    bool eof = false, first = true;
    int64_t end = 0;
    int depth = 0;

    while (bs) {
        bool last = bs == q->base || q->single;
        BdrvChild *next = bdrv_filter_or_cow_child(bs);

        if (bs == q->base && !q->include_base) {
            break;
        }
        if (is_transparent(bs) && !last) {
            bs = next->bs;
            continue;
        }
        depth++;
        s = clipped_status(bs, q->want_zero, offset, bytes);
        if (s.flags < 0 || (first && s.pnum == 0)) {
            return s;
        }
        if (first) {
            eof = s.flags & BDRV_BLOCK_EOF;
            end = offset + s.pnum;
        }
        if (s.pnum == 0) {
            s.pnum = bytes;
            s.flags = BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED;
            s.file = bs;
        }
        if ((s.flags & BDRV_BLOCK_ALLOCATED) || last) {
            break;
        }
        bytes = s.pnum;
        first = false;
        bs = next ? next->bs : NULL;
    }
    s.flags &= ~BDRV_BLOCK_EOF;
    if (eof && offset + s.pnum == end) {
        s.flags |= BDRV_BLOCK_EOF;
    }
    s.depth = s.flags & BDRV_BLOCK_ALLOCATED ? depth : 0;
    return s;
}

/* --- merging --- */

/* Does @b, that begins where @a ends, go on as @a is? */
static bool continues(const Query *q, const Status *a, const Status *b)
{
    int mask = q->want_zero ? ~BDRV_BLOCK_EOF : BDRV_BLOCK_ALLOCATED;

    if ((a->flags ^ b->flags) & mask) {
        return false;
    }
    if (!q->want_zero) {
        return true;
    }
    return a->depth == b->depth && a->file == b->file &&
           (!(a->flags & BDRV_BLOCK_OFFSET_VALID) ||
            a->map + a->pnum == b->map);
}

static Status coroutine_fn merged_status(const Query *q, int64_t offset,
                                         int64_t bytes)
{
    Status s = walk_chain(q, offset, bytes);

    while (s.flags >= 0 && s.pnum > 0 && s.pnum < bytes &&
           !(s.flags & BDRV_BLOCK_EOF)) {
        Status more = walk_chain(q, offset + s.pnum, bytes - s.pnum);

        if (more.flags < 0 || more.pnum == 0 || !continues(q, &s, &more)) {
            break;
        }
        s.pnum += more.pnum;
        s.flags |= more.flags & BDRV_BLOCK_EOF;
    }
    return s;
}

/* --- entry, in a coroutine or outside --- */

typedef struct StatusCall {
    const Query *q;
    int64_t offset, bytes;
    Status s;
} StatusCall;

static void coroutine_fn status_entry(void *opaque)
{
    StatusCall *call = opaque;
    BlockDriverState *bs = call->q->top;

    bdrv_inc_in_flight(bs);
    call->s = merged_status(call->q, call->offset, call->bytes);
    bdrv_dec_in_flight(bs);
}

static Status coroutine_mixed_fn query_status(const Query *q, int64_t offset,
                                              int64_t bytes)
{
    StatusCall call = { .q = q, .offset = offset, .bytes = bytes };

    if (!q->top || !q->top->drv) {
        return (Status) { .flags = -ENOMEDIUM };
    }
    if (offset < 0 || bytes < 0 || offset > BDRV_MAX_LENGTH ||
        bytes > BDRV_MAX_LENGTH) {
        return (Status) { .flags = -EIO };
    }
    aio_run_co(status_entry, &call);
    return call.s;
}

static int give(const Status *s, int64_t *pnum, int64_t *map,
                BlockDriverState **file)
{
    if (s->flags < 0) {
        *pnum = 0;
        return s->flags;
    }
    *pnum = s->pnum;
    if (map) {
        *map = s->map;
    }
    if (file) {
        *file = s->file;
    }
    return s->flags;
}

int coroutine_mixed_fn bdrv_block_status(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, int64_t *pnum,
                                         int64_t *map,
                                         BlockDriverState **file)
{
    Query q = { .top = bs, .single = true, .want_zero = true };
    Status s = query_status(&q, offset, bytes);

    return give(&s, pnum, map, file);
}

int coroutine_mixed_fn bdrv_block_status_above(BlockDriverState *bs,
                                               BlockDriverState *base,
                                               int64_t offset, int64_t bytes,
                                               int64_t *pnum, int64_t *map,
                                               BlockDriverState **file,
                                               int *depth)
{
    Query q = { .top = bs, .base = base, .want_zero = true };
    Status s = query_status(&q, offset, bytes);

    if (depth && s.flags >= 0) {
        *depth = s.depth;
    }
    return give(&s, pnum, map, file);
}

static int allocated(const Query *q, int64_t offset, int64_t bytes,
                     int64_t *pnum)
{
    Status s = query_status(q, offset, bytes);
    int ret = give(&s, pnum, NULL, NULL);

    return ret < 0 ? ret : !!(ret & BDRV_BLOCK_ALLOCATED);
}

int coroutine_mixed_fn bdrv_is_allocated(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, int64_t *pnum)
{
    Query q = { .top = bs, .single = true };

    return allocated(&q, offset, bytes, pnum);
}

int coroutine_mixed_fn bdrv_is_allocated_above(BlockDriverState *top,
                                               BlockDriverState *base,
                                               bool include_base,
                                               int64_t offset, int64_t bytes,
                                               int64_t *pnum)
{
    Query q = { .top = top, .base = base, .include_base = include_base };

    return allocated(&q, offset, bytes, pnum);
}
