/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bottom halves.
 *
 * Any thread schedules one by pushing it on the context's stack `incoming_bh`;
 * the loop moves it to a list of its scope.  LISTED means that it is on either,
 * so that it is not added twice and only the loop frees it.
 */
#include "qemu/osdep.h"
#include "aio-int.h"

enum {
    BH_LISTED = 1,
    BH_SCHEDULED = 2, /* to be run when dequeued */
    BH_DELETED = 4,   /* to be freed when dequeued */
    BH_ONESHOT = 8,
};

struct AioBH {
    /* Set once. */
    AioContext *ctx;
    AioScope scope;
    AioHandler *cb;
    void *opaque;

    unsigned flags; /* atomic */
    AioBH *next;    /* while incoming */
    TAILQ_ENTRY(AioBH) entry; /* the context's thread */
};

AioBH *aio_bh_new(AioContext *ctx, AioScope scope, AioHandler *cb,
                  void *opaque)
{
    AioBH *bh = g_new0(AioBH, 1);

    bh->ctx = ctx;
    bh->scope = scope;
    bh->cb = cb;
    bh->opaque = opaque;
    return bh;
}

static void aio_bh_set(AioBH *bh, unsigned flags)
{
    AioContext *ctx = bh->ctx;
    unsigned old;

    aio_send_begin(ctx);
    old = __atomic_fetch_or(&bh->flags, flags | BH_LISTED,
                             __ATOMIC_SEQ_CST);

    if (!(old & BH_LISTED)) {
        bh->next = __atomic_load_n(&ctx->incoming_bh, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&ctx->incoming_bh, &bh->next, bh,
                                            true, __ATOMIC_SEQ_CST,
                                            __ATOMIC_RELAXED)) {
        }
    }
    aio_notify(ctx);
    aio_send_end(ctx);
}

void aio_bh_schedule(AioBH *bh)
{
    aio_bh_set(bh, BH_SCHEDULED);
}

void aio_bh_oneshot(AioContext *ctx, AioScope scope, AioHandler *cb,
                    void *opaque)
{
    aio_bh_set(aio_bh_new(ctx, scope, cb, opaque), BH_SCHEDULED | BH_ONESHOT);
}

void aio_bh_cancel(AioBH *bh)
{
    __atomic_fetch_and(&bh->flags, ~BH_SCHEDULED, __ATOMIC_SEQ_CST);
}

void aio_bh_free(AioBH *bh)
{
    unsigned old;

    if (!bh) {
        return;
    }
    old = __atomic_fetch_or(&bh->flags, BH_DELETED, __ATOMIC_SEQ_CST);
    if (!(old & BH_LISTED)) {
        g_free(bh);
    }
}

void aio_bh_harvest(AioContext *ctx)
{
    AioBH *bh, *next, *first = NULL;

    if (!__atomic_load_n(&ctx->incoming_bh, __ATOMIC_SEQ_CST)) {
        return;
    }
    bh = __atomic_exchange_n(&ctx->incoming_bh, NULL, __ATOMIC_ACQUIRE);
    for (; bh; bh = next) {
        next = bh->next;
        bh->next = first;
        first = bh;
    }
    for (bh = first; bh; bh = bh->next) {
        TAILQ_INSERT_TAIL(&ctx->ready_bhs[bh->scope], bh, entry);
    }
}

/* Runs a dequeued bottom half; false if it was cancelled. */
static bool aio_bh_run(AioBH *bh)
{
    unsigned old = __atomic_fetch_and(&bh->flags, ~(BH_LISTED | BH_SCHEDULED),
                                      __ATOMIC_SEQ_CST);
    AioHandler *cb = bh->cb;
    void *opaque = bh->opaque;

    if (old & (BH_DELETED | BH_ONESHOT)) {
        g_free(bh);
    }
    if ((old & BH_DELETED) || !(old & BH_SCHEDULED)) {
        return false;
    }
    cb(opaque);
    return true;
}

bool aio_run_bhs(AioContext *ctx, AioScope scope)
{
    AioBHList *list = &ctx->ready_bhs[scope];
    bool progress = false;
    int n = 0;
    AioBH *bh;

    TAILQ_FOREACH(bh, list, entry) {
        n++;
    }
    /* Nested polls add to the list and remove from it. */
    while (n-- && (bh = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, bh, entry);
        progress |= aio_bh_run(bh);
    }
    return progress;
}
