/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies the data of images into one below them: for the job, or polling. */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "block/commit.h"
#include "block/copy-mover.h"
#include "block/io.h"

/* Areas in flight: each has a buffer if the ends are not host files. */
#define COMMIT_WORKERS 4

struct CommitCopier {
    const CommitCopy *c;
    CopyWalker walker;
    CopyPacer pacer;
    RateLimit limit;
    CopyMover *mover;
    Copier copier;
    int64_t done; /* bytes */
    bool interrupted;
};

/*
 * A CopyLook: the topmost layer that allocates the run hides those below it,
 * and past its end, if it is shorter, reads as zeroes.
 */
static int coroutine_fn look(void *opaque, CopyArea *run)
{
    const CommitCopy *c = ((CommitCopier *)opaque)->c;

    run->kind = COPY_SKIP;
    for (unsigned i = 0; i < c->n_layers; i++) {
        BlockDriverState *bs = c->layers[i].bs;
        int64_t size = bdrv_getlength(bs), pnum;
        int ret;

        if (size < 0) {
            return size;
        }
        if (run->offset >= size) {
            run->kind = COPY_ZERO;
            return 0;
        }
        run->bytes = MIN(run->bytes, size - run->offset);
        ret = bdrv_block_status(bs, run->offset, run->bytes, &pnum, NULL,
                                NULL);
        if (ret < 0) {
            return ret;
        }
        run->bytes = pnum ? pnum : run->bytes;
        if (ret & BDRV_BLOCK_ALLOCATED) {
            run->kind = ret & BDRV_BLOCK_ZERO ? COPY_ZERO : COPY_DATA;
            run->from = c->layers[i].blk;
            return 0;
        }
    }
    return 0;
}

static int coroutine_fn move(void *opaque, const CopyArea *area,
                             bool *is_read)
{
    CommitCopier *k = opaque;
    BdrvChild *source = area->from ? blk_root((BlockBackend *)area->from)
                                   : NULL; /* zeroes */

    return copy_mover_move_from(k->mover, source, area, is_read);
}

static void ended(void *opaque, const CopyArea *area, int ret)
{
    CommitCopier *k = opaque;
    const CommitCopy *c = k->c;

    k->pacer.max_bytes = copy_mover_is_fast(k->mover)
        ? copy_mover_fast_bytes(k->mover) : 0;
    if (ret < 0) {
        return;
    }
    k->done += c->to_copy && area->kind == COPY_SKIP ? 0 : area->bytes;
    if (c->progress && !c->progress(c->opaque, k->done,
                                    c->to_copy ? c->to_copy : c->size)) {
        k->interrupted = true;
        copy_pacer_cancel(&k->pacer);
    }
}

static const CopierOps copier_ops = {
    .move = move,
    .ended = ended,
};

CommitCopier *commit_copier_new(const CommitCopy *c)
{
    CommitCopier *k = g_new0(CommitCopier, 1);
    CopyMoverParams params = {
        .unit = bdrv_get_cluster_size(blk_bs(c->base)),
    };

    k->c = c;
    copy_walker_init_span(&k->walker, c->size, 1);
    copy_walker_set_look(&k->walker, look, k);
    ratelimit_set_speed(&k->limit, c->speed);
    copy_pacer_init(&k->pacer, COMMIT_WORKERS, 0, &k->limit);
    k->mover = copy_mover_new(NULL, blk_root(c->base), &params);
    k->copier = (Copier) {
        .walker = &k->walker,
        .pacer = &k->pacer,
        .ops = &copier_ops,
        .opaque = k,
        .chunk = COPY_CHUNK,
        .no_retry = true,
    };
    return k;
}

void commit_copier_free(CommitCopier *k)
{
    if (k) {
        copy_walker_destroy(&k->walker);
        copy_mover_free(k->mover);
        g_free(k);
    }
}

Copier *commit_copier(CommitCopier *k)
{
    return &k->copier;
}

/* --- synchronously --- */

typedef struct CopyCall {
    const CommitCopy *c;
    int ret;
} CopyCall;

static void coroutine_fn copy_entry(void *opaque)
{
    CopyCall *call = opaque;
    CommitCopier *k = commit_copier_new(call->c);
    BlockDriverState *base = blk_bs(call->c->base);
    uint64_t lost = bdrv_lost_writes_base(base);

    call->ret = copier_run(&k->copier);
    if (call->ret == 0 && k->interrupted) {
        call->ret = -EINTR;
    } else if (call->ret == 0) {
        call->ret = blk_co_flush(call->c->base);
    }
    if (call->ret == 0 && bdrv_lost_writes(base) != lost) {
        call->ret = -EIO;
    }
    commit_copier_free(k);
}

static void coroutine_fn count_entry(void *opaque)
{
    CommitCopy *c = opaque;
    CommitCopier k = { .c = c };
    CopyArea run = { .offset = 0 };
    int64_t sum = 0;

    for (; run.offset < c->size; run.offset += run.bytes) {
        run.bytes = c->size - run.offset;
        if (look(&k, &run) < 0) {
            return;
        }
        sum += run.kind == COPY_SKIP ? 0 : run.bytes;
    }
    c->to_copy = sum;
}

void commit_count(CommitCopy *c)
{
    aio_run_co(blk_bs(c->base)->ctx, count_entry, c);
}

int commit_copy(const CommitCopy *c)
{
    CopyCall call = {.c = c};

    aio_run_co(blk_bs(c->base)->ctx, copy_entry, &call);
    return call.ret;
}
