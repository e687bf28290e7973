/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block status: where data comes from, what is allocated, what reads as zero.
 *
 * One node first (node_status), then the chain below it (walk), then runs of
 * equal status are merged (merged_status).  A node that only shows another one,
 * a filter or raw over an image, is skipped: the allocation of its child is
 * reported.
 *
 * On each node that it examines the query is a request in flight until the
 * nodes below have answered, too (rule 8 of block/request.h): a write that
 * waits for readers waits for it, so that no answer combines the state before
 * the write (upper layer) with that after it (lower layer).
 */
#include "qemu/osdep.h"
#include "io-int.h"

typedef struct Status {
    int flags;     /* BDRV_BLOCK_* or -errno */
    int64_t pnum;
    int64_t map;
    BlockDriverState *file;
    int depth;     /* layers examined, if the last one decided, else 0 */
} Status;

/* A query, without its range. */
typedef struct Query {
    BlockDriverState *top;
    BlockDriverState *base; /* NULL: the whole chain */
    bool include_base;
    bool single;            /* only @top */
    bool want_zero;         /* false: only allocation matters */
    const BdrvRequest *within; /* the caller has it in flight on @top */
} Query;

static Status coroutine_fn walk(const Query *q, BlockDriverState *bs,
                                int64_t offset, int64_t bytes);

/* --- one node --- */

/* Asks the driver for whole blocks, then cuts the answer to the range. */
static Status coroutine_fn ask_driver(BlockDriverState *bs, bool want_zero,
                                      int64_t offset, int64_t bytes)
{
    int64_t align = bdrv_request_align(bs);
    int64_t start = ROUND_DOWN(offset, align);
    int64_t end = ROUND_UP(offset + bytes, align);
    Status s = { 0 };

    s.flags = bs->drv->co_block_status(bs, want_zero, start, end - start,
                                       &s.pnum, &s.map, &s.file);
    if (s.flags < 0) {
        return s;
    }
    g_assert(s.pnum > offset - start);
    s.pnum = MIN(s.pnum - (offset - start), bytes);
    if (s.flags & (BDRV_BLOCK_OFFSET_VALID | BDRV_BLOCK_RAW)) {
        s.map += offset - start;
    }
    s.flags &= ~BDRV_BLOCK_EOF; /* determined by the caller */
    return s;
}

/* Unallocated data is that of the backing file, or zero. */
static void complete_flags(BlockDriverState *bs, Status *s, int64_t offset)
{
    BdrvChild *cow = bdrv_cow_child(bs);

    if (s->flags & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO)) {
        s->flags |= BDRV_BLOCK_ALLOCATED;
    } else if (s->flags & BDRV_BLOCK_ALLOCATED) {
        /* as the driver reports */
    } else if (bs->drv->may_be_unallocated) {
        /* and so has no place */
    } else if (!bs->drv->supports_backing) {
        s->flags |= BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED;
    } else if (!cow || offset >= cow->bs->total_bytes) {
        s->flags |= BDRV_BLOCK_ZERO;
    }
}

/* With BDRV_BLOCK_RAW: the data is in ->file at ->map. */
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
    if (s.flags >= 0 && !(s.flags & BDRV_BLOCK_RAW)) {
        complete_flags(bs, &s, offset);
        s.depth = s.flags & BDRV_BLOCK_ALLOCATED ? 1 : 0;
    }
    return s;
}

/* --- the chain --- */

/*
 * The data of @bs is that of @s->file, which may have backing files of its own.
 * Those of a filter's child are part of the chain that is walked; those below
 * another driver belong to that driver, even if it is the base.
 */
static Status coroutine_fn look_through(const Query *q, BlockDriverState *bs,
                                        const Status *s)
{
    Query sub = {
        .base = q->base, .include_base = q->include_base,
        .single = q->single, .want_zero = q->want_zero,
    };
    Status below;

    if (bs == q->base) {
        sub.base = NULL;
        sub.single = bs->drv->is_filter;
    }
    below = walk(&sub, s->file, s->map, s->pnum);
    if (below.flags < 0) {
        return below;
    }
    if (below.pnum == 0) { /* past the end of the child */
        below = (Status) {
            .flags = BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED,
            .pnum = s->pnum, .depth = 1,
        };
    }
    below.flags &= ~BDRV_BLOCK_EOF;
    return below;
}

/*
 * Data that @s does not allocate is in @next.  The part past the end of @next
 * is zero, and @next is reported as the layer that decides.
 */
static Status coroutine_fn go_down(const Query *q, BlockDriverState *next,
                                   const Status *s, int64_t offset)
{
    Status below;

    if (next == q->base && !q->include_base) {
        return *s;
    }
    below = walk(q, next, offset, s->pnum);
    if (below.flags >= 0 && below.pnum == 0) {
        below = (Status) {
            .flags = BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED,
            .pnum = s->pnum, .file = next, .depth = 1,
        };
    }
    if (below.flags >= 0) {
        below.depth += below.depth > 0;
        below.flags &= ~BDRV_BLOCK_EOF;
    }
    return below;
}

/* The request is in flight on @bs: queries it, and lower layers if needed. */
static Status coroutine_fn layer_status(const Query *q, BlockDriverState *bs,
                                        int64_t offset, int64_t bytes)
{
    BdrvChild *cow = bdrv_cow_child(bs);
    Status s = node_status(bs, q->want_zero, offset, bytes);

    if (s.flags < 0) {
        return s;
    }
    if (s.flags & BDRV_BLOCK_RAW) {
        s = look_through(q, bs, &s);
    } else if (!(s.flags & BDRV_BLOCK_ALLOCATED) && cow && !q->single &&
               bs != q->base) {
        s = go_down(q, cow->bs, &s, offset);
    }
    if (s.flags >= 0 && offset + s.pnum >= bs->total_bytes) {
        s.flags |= BDRV_BLOCK_EOF;
    }
    return s;
}

/*
 * Walks down from @bs until a layer decides.  ->pnum is 0 at the end of @bs.
 * If @bs is the base and not included, nothing is allocated.
 */
static Status coroutine_fn walk(const Query *q, BlockDriverState *bs,
                                int64_t offset, int64_t bytes)
{
    BdrvRequest r;
    bool held = q->within && q->within->bs == bs;
    Status s = { .pnum = bytes };

    if (bs == q->base && !q->include_base) {
        return s;
    }
    bdrv_request_init(&r, NULL, BDRV_REQUEST_STATUS, offset, bytes, 0);
    r.bs = bs;
    s.flags = held ? 0 : bdrv_request_begin(&r);
    if (s.flags < 0) {
        return s;
    }
    if (offset >= bs->total_bytes) {
        s.flags = BDRV_BLOCK_EOF;
        s.pnum = 0;
    } else if (bytes > 0) {
        s = layer_status(q, bs, offset,
                         MIN(r.bytes, bs->total_bytes - offset));
    }
    if (!held) {
        bdrv_request_end(&r, MIN(s.flags, 0));
    }
    return s;
}

/* --- merging --- */

/* Does @b, which begins where @a ends, have the same status? */
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
    Status s = walk(q, q->top, offset, bytes);

    while (s.flags >= 0 && s.pnum > 0 && s.pnum < bytes &&
           !(s.flags & BDRV_BLOCK_EOF)) {
        Status more = walk(q, q->top, offset + s.pnum, bytes - s.pnum);

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

    call->s = merged_status(call->q, call->offset, call->bytes);
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
    aio_run_co(q->top->ctx, status_entry, &call);
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

/* Past the end of the file all is zero. */
static bool is_zero(const Status *s)
{
    return s->flags >= 0 && (s->pnum == 0 || (s->flags & BDRV_BLOCK_ZERO));
}

bool coroutine_fn bdrv_co_reads_as_zero(BlockDriverState *file, int64_t offset,
                                        int64_t bytes, int64_t *pnum)
{
    Query q = { .top = file, .want_zero = true };
    Status s = walk(&q, file, offset, bytes);
    bool zero = is_zero(&s);
    int64_t n = MAX(s.pnum, 0);

    /* Some drivers answer for each of their blocks. */
    while (zero && s.pnum > 0 && n < bytes && !(s.flags & BDRV_BLOCK_EOF)) {
        s = walk(&q, file, offset + n, bytes - n);
        if (!is_zero(&s)) {
            *pnum = n;
            return true;
        }
        n += s.pnum;
    }
    *pnum = s.flags < 0 || zero ? bytes : n;
    return zero;
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

int coroutine_fn bdrv_co_is_allocated_within(BdrvRequest *r, int64_t offset,
                                             int64_t bytes, int64_t *pnum)
{
    Query q = { .top = r->bs, .single = true, .within = r };

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
