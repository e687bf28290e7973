/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges in flight, and waiting for the end of overlapping ones.
 * Offsets and lengths are bytes.  One thread; no function but
 * block_reqs_wait_one() yields.
 */
#ifndef BLOCK_REQLIST_H
#define BLOCK_REQLIST_H

#include "qemu/coroutine.h"

/* Owned by the caller that added it. */
typedef struct BlockReq {
    int64_t offset, bytes;
    CoQueue waiters;
    LIST_ENTRY(BlockReq) list;
} BlockReq;

/* Zeroed is empty. */
typedef struct BlockReqList {
    LIST_HEAD(, BlockReq) reqs;
} BlockReqList;

/* Adds @req for [@offset, @offset + @bytes); others may overlap it. */
void block_reqs_add(BlockReqList *list, BlockReq *req, int64_t offset,
                    int64_t bytes);
/* Removes it and wakes its waiters. */
void block_reqs_remove(BlockReq *req);
/* One of the list that overlaps the range, or NULL. */
BlockReq *block_reqs_find(BlockReqList *list, int64_t offset, int64_t bytes);
/* Waits for the end of one that overlaps; false: there is none. */
bool coroutine_fn block_reqs_wait_one(BlockReqList *list, int64_t offset,
                                      int64_t bytes);
/* Waits until none overlaps. */
void coroutine_fn block_reqs_wait_all(BlockReqList *list, int64_t offset,
                                      int64_t bytes);

#endif
