/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How one chunk moves.  In order of preference:
 *
 *   zeroes   the source reads as zeroes: nothing is read
 *   fast     both ends are host files: a worker thread does it all
 *   offload  the host copies (where the user asked for it)
 *   general  read into a buffer, write (compressed, zeroes as zeroes)
 *
 * Each may decline; a failure of the fast path is tried again on the general
 * one, which then tells whose fault it is.
 */
#include "qemu/osdep.h"
#include "block/block-copy-int.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/request.h"

static void *coroutine_fn get_buffer(BlockCopyState *s)
{
    void *buf;

    while (s->buffers >= BLOCK_COPY_BUFFERS) {
        co_queue_wait(&s->buffer_queue, NULL);
    }
    buf = bufpool_get(s->pool);
    s->buffers += buf != NULL;
    return buf;
}

static void put_buffer(BlockCopyState *s, void *buf)
{
    bufpool_put(s->pool, buf);
    s->buffers--;
    co_queue_wake_one(&s->buffer_queue);
}

static BdrvRequestFlags write_flags(const BlockCopyState *s)
{
    return s->fleecing ? BDRV_REQ_SERIALISING : 0;
}

/*
 * How many bytes of the target at @offset need no zeroes, as it reads as
 * zeroes there by itself: not through a backing file, which may change.  An
 * image without one that gets only a part of the disk may be given one later,
 * which its zeroes are to hide: there they are written wherever the image
 * itself does not hold them.
 */
static int64_t coroutine_fn zero_already(BlockCopyState *s, int64_t offset,
                                         int64_t bytes)
{
    BlockDriverState *bs = s->target->bs;
    int64_t pnum = 0;
    int ret;

    if (s->fleecing || bytes < s->cluster_size) {
        return 0;
    }
    ret = bdrv_block_status(bs, offset, bytes, &pnum, NULL, NULL);
    if (ret < 0 || !(ret & BDRV_BLOCK_ZERO) ||
        (!(ret & BDRV_BLOCK_ALLOCATED) &&
         (!s->whole || bdrv_skip_filters(bs)->backing_file ||
          bdrv_backing_chain_next(bs)))) {
        return 0;
    }
    return pnum == bytes ? bytes : ROUND_DOWN(pnum, s->cluster_size);
}

/* The target's `discard` option decides whether space may be freed. */
static int coroutine_fn write_zeroes(BlockCopyState *s, int64_t offset,
                                     int64_t bytes)
{
    int64_t skip;

    while ((skip = zero_already(s, offset, bytes)) > 0) {
        offset += skip;
        bytes -= skip;
    }
    if (bytes == 0) {
        return 0;
    }
    return bdrv_co_pwrite_zeroes(s->target, offset, bytes,
                                 write_flags(s) | BDRV_REQ_MAY_UNMAP);
}

/* --- general --- */

static int coroutine_fn move_general(BlockCopyState *s, int64_t offset,
                                     int64_t bytes, bool *error_is_read)
{
    BdrvRequestFlags flags = write_flags(s);
    void *buf = get_buffer(s);
    int ret;

    *error_is_read = false;
    if (!buf) {
        return -ENOMEM;
    }
    ret = bdrv_co_pread(s->source, offset, bytes, buf, 0);
    if (ret < 0) {
        *error_is_read = true;
    } else if (buffer_is_zero(buf, bytes)) {
        ret = write_zeroes(s, offset, bytes);
    } else {
        flags |= s->compress ? BDRV_REQ_WRITE_COMPRESSED : 0;
        ret = bdrv_co_pwrite(s->target, offset, bytes, buf, flags);
    }
    put_buffer(s, buf);
    return ret;
}

/* --- fast --- */

static bool item_aligned(const BlockCopyItem *item, size_t in_align,
                         size_t out_align)
{
    return IS_ALIGNED(item->in_offset, in_align) &&
           IS_ALIGNED(item->bytes, in_align) &&
           IS_ALIGNED(item->out_offset, out_align) &&
           IS_ALIGNED(item->bytes, out_align);
}

static void coroutine_fn run_batch(void *opaque)
{
    g_autofree BlockCopyBatch *batch = opaque;
    int n = batch->n;
    Coroutine *waiting[BLOCK_COPY_BATCH];

    batch->buf = get_buffer(batch->s);
    if (batch->buf) {
        thread_pool_co_run(block_copy_batch_run, batch);
        put_buffer(batch->s, batch->buf);
    }
    for (int i = 0; i < n; i++) {
        waiting[i] = batch->items[i]->co;
        if (!batch->buf) {
            batch->items[i]->ret = -ENOMEM;
        }
    }
    /* An item lives on the stack of who waits for it. */
    for (int i = 0; i < n; i++) {
        co_wake(waiting[i]);
    }
}

void block_copy_send_batch(void *opaque)
{
    BlockCopyState *s = opaque;

    if (s->batch) {
        coroutine_enter(coroutine_create(run_batch,
                                         g_steal_pointer(&s->batch)));
    }
}

/*
 * Handing an item to a worker and hearing of its end costs as much as copying
 * some ten KiB.  So small items wait for each other, until the loop's next turn
 * at most, and go as a batch; but not where a guest waits.
 *
 * Returns what bdrv_co_host_write_end() is to be told.
 */
static int coroutine_fn run_item(BlockCopyState *s, BlockCopyItem *item,
                                 bool urgent)
{
    BlockCopyBatch *batch;

    item->co = coroutine_self();
    if (s->batch && (urgent || s->batch->bytes + item->bytes > s->piece)) {
        block_copy_send_batch(s);
    }
    if (!s->batch) {
        s->batch = g_new0(BlockCopyBatch, 1);
        s->batch->s = s;
        aio_bh_schedule(s->batch_bh);
    }
    batch = s->batch;
    batch->items[batch->n++] = item;
    batch->bytes += item->bytes;
    if (urgent || batch->n == BLOCK_COPY_BATCH ||
        batch->bytes >= s->piece / 2) {
        block_copy_send_batch(s);
    }
    coroutine_yield();
    return item->ret;
}

/* From @from, which is kept in place by the caller; returns bytes moved. */
static int64_t coroutine_fn move_host(BlockCopyState *s, int64_t offset,
                                      const BdrvHostRange *from, bool urgent)
{
    BlockCopyItem item;
    BdrvRequest *to;
    int ret;

    if (from->kind == BDRV_HOST_ZERO) {
        ret = write_zeroes(s, offset, from->bytes);
        return ret < 0 ? ret : from->bytes;
    }
    to = bdrv_co_host_write_begin(s->target, offset, from->bytes, &ret);
    if (!to) {
        return ret;
    }
    item = (BlockCopyItem) {
        .in = from->fd,
        .out = to->host.fd,
        .in_offset = from->offset,
        .out_offset = to->host.offset,
        .bytes = to->host.bytes,
    };
    ret = item_aligned(&item, from->align, to->host.align)
        ? run_item(s, &item, urgent) : -ENOTSUP;
    ret = bdrv_co_host_write_end(to, ret);
    return ret < 0 ? ret : item.bytes;
}

/* Returns how much of it was moved, > 0, or -errno. */
static int64_t coroutine_fn move_fast(BlockCopyState *s, int64_t offset,
                                      int64_t bytes, bool urgent)
{
    BdrvRequest *from;
    int64_t moved;
    int ret;

    if (s->compress || s->fleecing) {
        return -ENOTSUP;
    }
    from = bdrv_co_host_read_begin(s->source, offset, bytes, &ret);
    if (!from) {
        return ret;
    }
    moved = move_host(s, offset, &from->host, urgent);
    bdrv_co_host_read_end(from);
    return moved;
}

/* --- offload --- */

static int coroutine_fn move_offload(BlockCopyState *s, int64_t offset,
                                     int64_t bytes)
{
    int ret;

    if (!s->use_copy_range || s->compress || s->fleecing) {
        return -ENOTSUP;
    }
    ret = bdrv_co_copy_range(s->source, offset, s->target, offset, bytes);
    if (ret < 0) {
        s->use_copy_range = false;
    }
    return ret;
}

static int64_t coroutine_fn move_data(BlockCopyState *s, int64_t offset,
                                      int64_t bytes, bool urgent,
                                      bool *error_is_read)
{
    int64_t moved;
    int ret = move_offload(s, offset, bytes);

    if (ret == 0) {
        s->fast = true;
        return bytes;
    }
    moved = move_fast(s, offset, bytes, urgent);
    s->fast = moved > 0;
    if (moved > 0) {
        return moved;
    }
    ret = move_general(s, offset, bytes, error_is_read);
    return ret < 0 ? ret : bytes;
}

int coroutine_fn block_copy_move(BlockCopyState *s, int64_t offset,
                                 int64_t bytes, BlockCopyKind kind,
                                 bool urgent, bool *error_is_read)
{
    *error_is_read = false;
    if (kind == BLOCK_COPY_ZERO) {
        return write_zeroes(s, offset, bytes);
    }
    while (bytes > 0) {
        int64_t moved = move_data(s, offset, MIN(bytes, s->piece), urgent,
                                  error_is_read);

        if (moved < 0) {
            return moved;
        }
        offset += moved;
        bytes -= moved;
    }
    return 0;
}
