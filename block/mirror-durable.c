/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the data that a mirror has copied may not be on stable storage.
 *
 * The copied ranges are recorded in two bitmaps:
 *
 *     copied --> unflushed --> flushing --> durable
 *                   a flush begins   it succeeds
 *
 * After a flush that fails, a later one that succeeds does not show that the
 * data of the first is durable: the kernel takes pages for clean that it failed
 * to write.  Nor does it if a server was restarted meanwhile.  So all that is
 * copied stays recorded from then on, and a job that goes on copies it again.
 * What the target says of its zeroes may be its cache's view: they are written
 * from then on.
 *
 * This is enough for raw bytes.  If the target is above the node that has lost
 * writes, metadata of an image may be among them, which the image will not
 * write again: then the job fails.
 *
 * A bitmap that says what still differs after a failure must not forget what is
 * only in a cache of the target.  The flush at the end of a failed job is of no
 * use where the connection to the target is what failed.  So for such a bitmap
 * the target is also flushed from time to time while data is copied; that this
 * fails is not an error of the job.  One flush is in flight at a time.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/mirror-int.h"
#include "qemu/aio.h"

/* Between the starts of two flushes while data is copied. */
int64_t mirror_flush_ns = INT64_C(1000000000);

bool mirror_durable_init(MirrorState *m)
{
    MirrorDurable *d = &m->durable;

    d->unflushed = hbitmap_try_new(m->len, m->p.unit);
    d->flushing = hbitmap_try_new(m->len, m->p.unit);
    d->lost_writes = bdrv_lost_writes_base(m->target->bs);
    d->next_ns = aio_now_ns() + mirror_flush_ns;
    return d->unflushed && d->flushing;
}

void mirror_durable_destroy(MirrorState *m)
{
    hbitmap_free(g_steal_pointer(&m->durable.unflushed));
    hbitmap_free(g_steal_pointer(&m->durable.flushing));
}

void mirror_note_copied(MirrorState *m, int64_t offset, int64_t bytes)
{
    hbitmap_set(m->durable.unflushed, offset, MIN(bytes, m->len - offset));
}

static void begin_flush(MirrorDurable *d)
{
    if (!d->failed) {
        hbitmap_merge(d->flushing, d->unflushed, d->flushing);
        hbitmap_reset_all(d->unflushed);
    }
}

int coroutine_mixed_fn mirror_flush(MirrorState *m)
{
    BlockDriverState *target = m->target->bs;
    MirrorDurable *d = &m->durable;
    uint64_t lost;
    int ret;

    begin_flush(d);
    ret = bdrv_flush(target);
    lost = bdrv_lost_writes(target);
    if (lost != d->lost_writes) {
        d->broken |= bdrv_next_child(target, NULL) != NULL;
        d->failed = true;
    }
    d->failed |= ret < 0;
    d->lost_writes = lost;
    if (!d->failed) {
        hbitmap_reset_all(d->flushing);
    }
    return ret == 0 && d->broken ? -EIO : ret;
}

void coroutine_fn mirror_flush_sometimes(MirrorState *m)
{
    MirrorDurable *d = &m->durable;

    if (!m->p.resumable || d->busy || d->failed ||
        aio_now_ns() < d->next_ns) {
        return;
    }
    d->busy = true;
    if (m->checkpoint) {
        m->checkpoint(m->opaque);
    } else {
        mirror_flush(m);
    }
    d->next_ns = aio_now_ns() + mirror_flush_ns;
    d->busy = false;
}

static void add_reqs(HBitmap *bits, const BlockReqList *list)
{
    const BlockReq *req;

    LIST_FOREACH(req, &list->reqs, list) {
        hbitmap_set(bits, req->offset, req->bytes);
    }
}

HBitmap *mirror_may_differ(const MirrorState *m)
{
    HBitmap *bits = hbitmap_copy(m->todo);

    if (bits) {
        hbitmap_merge(bits, m->durable.unflushed, bits);
        hbitmap_merge(bits, m->durable.flushing, bits);
        add_reqs(bits, &m->copying);
        add_reqs(bits, &m->writes);
    }
    return bits;
}

const HBitmap *mirror_find_differing(MirrorState *m)
{
    MirrorDurable *d = &m->durable;

    hbitmap_merge(m->todo, d->unflushed, m->todo);
    hbitmap_merge(m->todo, d->flushing, m->todo);
    return m->todo;
}

bool mirror_copy_again(MirrorState *m)
{
    MirrorDurable *d = &m->durable;

    if (!d->failed) {
        return false;
    }
    mirror_find_differing(m);
    hbitmap_reset_all(d->unflushed);
    hbitmap_reset_all(d->flushing);
    hbitmap_free(g_steal_pointer(&m->zeroed));
    copy_mover_write_all_zeroes(m->mover);
    mirror_forget_kind(m, 0, m->len);
    d->failed = false;
    m->epoch++; /* active writes in flight set their bits */
    return true;
}
