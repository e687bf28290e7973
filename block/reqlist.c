/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges in flight: a list, as there are at most a few dozen. */
#include "qemu/osdep.h"
#include "block/reqlist.h"
#include "qemu/interval.h"

void block_reqs_add(BlockReqList *list, BlockReq *req, int64_t offset,
                    int64_t bytes)
{
    req->offset = offset;
    req->bytes = bytes;
    co_queue_init(&req->waiters);
    LIST_INSERT_HEAD(&list->reqs, req, list);
}

void block_reqs_remove(BlockReq *req)
{
    LIST_REMOVE(req, list);
    co_queue_wake_all(&req->waiters);
}

BlockReq *block_reqs_find(BlockReqList *list, int64_t offset, int64_t bytes)
{
    BlockReq *req;

    LIST_FOREACH(req, &list->reqs, list) {
        if (ranges_overlap(req->offset, req->bytes, offset, bytes)) {
            return req;
        }
    }
    return NULL;
}

bool coroutine_fn block_reqs_wait_one(BlockReqList *list, int64_t offset,
                                      int64_t bytes)
{
    BlockReq *req = block_reqs_find(list, offset, bytes);

    if (!req) {
        return false;
    }
    co_queue_wait(&req->waiters, NULL);
    return true;
}

void coroutine_fn block_reqs_wait_all(BlockReqList *list, int64_t offset,
                                      int64_t bytes)
{
    while (block_reqs_wait_one(list, offset, bytes)) {
        /* restart */
    }
}
