/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gates for callers outside coroutines: they poll until completion. */
#include "qemu/osdep.h"
#include "io-int.h"

/* The arguments of any gate, and the result. */
typedef struct SyncIO {
    BdrvChild *child;
    BlockDriverState *bs;
    int64_t offset, bytes;
    void *buf;
    int ret;
} SyncIO;

static void coroutine_fn pread_entry(void *opaque)
{
    SyncIO *s = opaque;

    s->ret = bdrv_co_pread(s->child, s->offset, s->bytes, s->buf, 0);
}

static void coroutine_fn pwrite_entry(void *opaque)
{
    SyncIO *s = opaque;

    s->ret = bdrv_co_pwrite(s->child, s->offset, s->bytes, s->buf, 0);
}

static void coroutine_fn pwrite_sync_entry(void *opaque)
{
    SyncIO *s = opaque;
    uint64_t lost = bdrv_lost_writes(s->child->bs);

    pwrite_entry(s);
    if (s->ret == 0) {
        s->ret = bdrv_co_flush(s->child->bs);
    }
    if (s->ret == 0 && bdrv_lost_writes(s->child->bs) != lost) {
        s->ret = -EIO;
    }
}

static void coroutine_fn flush_entry(void *opaque)
{
    SyncIO *s = opaque;

    s->ret = bdrv_co_flush(s->bs);
}

static int coroutine_mixed_fn run(CoroutineEntry *entry, SyncIO s)
{
    aio_run_co(s.child ? s.child->bs->ctx : s.bs->ctx, entry, &s);
    return s.ret;
}

int coroutine_mixed_fn bdrv_pread(BdrvChild *child, int64_t offset,
                                  int64_t bytes, void *buf)
{
    return run(pread_entry, (SyncIO) {
        .child = child, .offset = offset, .bytes = bytes, .buf = buf,
    });
}

int coroutine_mixed_fn bdrv_pwrite(BdrvChild *child, int64_t offset,
                                   int64_t bytes, const void *buf)
{
    return run(pwrite_entry, (SyncIO) {
        .child = child, .offset = offset, .bytes = bytes,
        .buf = (void *)(uintptr_t)buf,
    });
}

int coroutine_mixed_fn bdrv_pwrite_sync(BdrvChild *child, int64_t offset,
                                        int64_t bytes, const void *buf)
{
    return run(pwrite_sync_entry, (SyncIO) {
        .child = child, .offset = offset, .bytes = bytes,
        .buf = (void *)(uintptr_t)buf,
    });
}

int coroutine_mixed_fn bdrv_flush(BlockDriverState *bs)
{
    return run(flush_entry, (SyncIO) { .bs = bs });
}
