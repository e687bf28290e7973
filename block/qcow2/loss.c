/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The barrier between structures and what refers to them, and what is done
 * where a server has lost writes that had completed (bdrv_forgotten_writes()).
 * After a flush that failed the file still shows them, and memory is kept.
 *
 * The file is a valid image then, as after a crash, but not the one that is in
 * memory.  So the flush that finds this out fails, and:
 *
 *  - L2 tables are read again: an entry that is not durable may have come with
 *    data, or a copy of old data, that is lost, so the former one counts again,
 *    and what that refers to is not freed.  A request that has written data
 *    before does not link it (qcow2_write_end()).
 *  - Refcounts that are not durable are written again: nothing that is in use
 *    may look free.  Clusters to which nothing refers any more are leaked.
 *  - New entries of the L1 table and of the refcount table are written again,
 *    before anything else: what they refer to was durable before.
 *
 * The header is the matter of those who write it: they flush at once.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

uint64_t qcow2_lost_writes(const BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;
    uint64_t n = bdrv_forgotten_writes(bs->file->bs);

    return s->external && s->data ? n + bdrv_forgotten_writes(s->data->bs) : n;
}

void qcow2_note_losses(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    s->lost_seen = s->lost_told = qcow2_lost_writes(bs);
}

static void go_back(BlockDriverState *bs, uint64_t lost)
{
    Qcow2State *s = bs->opaque;

    qcow2_assert_locked(s);
    s->lost_seen = lost;
    s->relink = s->l1_new.end || s->rt_new.end;
    s->byte_offset = 0;
    g_array_set_size(s->pending_frees, 0);
    s->pending_bytes = 0;
    qcow2_cache_forget(s->l2_cache, 0, INT64_MAX);
    qcow2_cache_lost(s->rb_cache);
    qcow2_ahead_lost(bs);
    qcow2_must_be_durable(s); /* the refcounts, which are to be written */
}

/* The tables may have been replaced by smaller ones. */
static int coroutine_mixed_fn link_again(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    uint64_t l1_end = MIN(s->l1_new.end, s->l1_size);
    uint64_t rt_end = MIN(s->rt_new.end, s->rt_disk_entries);
    int ret = 0;

    for (uint64_t i = s->rt_new.first; ret >= 0 && i < rt_end; i++) {
        ret = qcow2_write_rt_entry(bs, i);
    }
    for (uint64_t i = s->l1_new.first; ret >= 0 && i < l1_end;
         i += QCOW2_L1_PART) {
        ret = qcow2_write_l1(bs, i);
    }
    return MIN(ret, 0);
}

static int coroutine_mixed_fn flush_files(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;
    int ret = s->external ? bdrv_flush(s->data->bs) : 0;

    return ret < 0 ? ret : bdrv_flush(bs->file->bs);
}

int coroutine_mixed_fn qcow2_flush_file(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int ret = s->relink ? link_again(bs) : 0;
    uint64_t gen = s->link_gen; /* excludes changes during the flush */
    uint64_t lost;

    qcow2_assert_locked(s);
    if (ret == 0) {
        ret = flush_files(bs);
    }
    if (ret < 0) {
        return ret;
    }
    lost = qcow2_lost_writes(bs);
    if (lost != s->lost_seen) {
        go_back(bs, lost);
        return -EIO;
    }
    s->durable_gen = MAX(s->durable_gen, gen);
    s->l1_new = s->rt_new = (Qcow2Span){ 0 };
    s->relink = false;
    qcow2_cache_flushed(s->rb_cache);
    return 0;
}

int coroutine_fn qcow2_flush_told(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int ret = flush_files(bs);
    uint64_t lost = qcow2_lost_writes(bs);

    if (ret < 0 || lost == s->lost_told) {
        return ret;
    }
    CO_MUTEX_GUARD(&s->lock);
    if (lost != s->lost_seen) {
        go_back(bs, qcow2_lost_writes(bs));
    }
    s->lost_told = lost;
    return -EIO;
}
