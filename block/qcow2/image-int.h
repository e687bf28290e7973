/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: callbacks for the image as a whole (open.c, reopen.c, info.c,
 * resize.c, check.c, amend.c, create.c). */
#ifndef QCOW2_IMAGE_INT_H
#define QCOW2_IMAGE_INT_H

#include "block/graph.h"
#include "block/qcow2/qcow2-int.h"

/* Remove the timer of the caches from the loop of its thread, and add it to
 * that of bs->ctx; main thread or that thread. */
void qcow2_detach_aio_context(BlockDriverState *bs);
void qcow2_attach_aio_context(BlockDriverState *bs);

/* Is @path (NULL: unknown) the file that the image itself is in? */
bool qcow2_is_own_file(const BlockDriverState *bs, const char *path);
int qcow2_open(BlockDriverState *bs, const BlockdevOptions *options, int flags,
               Error **errp);
void qcow2_close(BlockDriverState *bs);
/* BlockDriver.child_perm. */
void qcow2_child_perm(BlockDriverState *bs, BdrvChild *child,
                      BdrvChildRole role, uint64_t perm, uint64_t shared,
                      uint64_t *nperm, uint64_t *nshared);
bool qcow2_apply_options(BlockDriverState *bs, const BlockdevOptions *options,
                         Error **errp);
/* Bytes of an L2 table that are an entry of its cache; pure. */
size_t qcow2_l2_entry_size(const Qcow2State *s, const BlockdevOptionsQcow2 *o);
/* Steps before the image may be written: repair, flags, bitmaps. */
bool coroutine_mixed_fn qcow2_make_writable(BlockDriverState *bs,
                                            Error **errp);
/*
 * The damage that makes all refcounts unusable, or NULL; the caller frees it.
 * A missing block is no damage, except that of the header.
 */
char *coroutine_mixed_fn qcow2_refcount_damage(BlockDriverState *bs);
/* Writes all metadata back and clears the dirty bit. */
int coroutine_mixed_fn qcow2_make_clean(BlockDriverState *bs);
int qcow2_reopen_prepare(BdrvReopenState *state, Error **errp);
void qcow2_reopen_commit(BdrvReopenState *state);
void qcow2_reopen_abort(BdrvReopenState *state);
void qcow2_reopen_commit_post(BdrvReopenState *state);
int qcow2_get_info(BlockDriverState *bs, BlockDriverInfo *info);
ImageInfoSpecific *qcow2_get_specific_info(BlockDriverState *bs,
                                           Error **errp);
BlockMeasureInfo *qcow2_measure(const BlockdevCreateOptions *options,
                                BlockDriverState *in_bs, Error **errp);
int64_t qcow2_get_allocated_file_size(BlockDriverState *bs);
bool qcow2_has_zero_init(BlockDriverState *bs);
bool qcow2_grows_by_zeroes(BlockDriverState *bs);
int qcow2_change_backing_file(BlockDriverState *bs, const char *backing_file,
                              const char *backing_fmt);
/* Makes the file end after its last used cluster; under the lock, without frees
 * that are pending. */
void coroutine_fn qcow2_trim_file(BlockDriverState *bs);
int coroutine_fn qcow2_co_truncate(BlockDriverState *bs, int64_t offset,
                                   bool exact, PreallocMode prealloc,
                                   BdrvRequestFlags flags, Error **errp);
/* Entries that the L1 table of a disk of @size bytes needs. */
uint64_t qcow2_l1_entries(const Qcow2State *s, int64_t size);
/* Makes the L1 table have that many, at least; under the lock. */
int coroutine_fn qcow2_grow_l1(BlockDriverState *bs, uint64_t entries);
int coroutine_fn qcow2_co_amend(BlockDriverState *bs, const BdrvAmend *amend,
                                Error **errp);
/* Is there nothing that version 2 lacks and that cannot be converted?  @bits:
 * those that a refcount is to have, 0: as now. */
bool qcow2_check_downgrade(BlockDriverState *bs, unsigned bits, Error **errp);
/* Replaces zero clusters, which version 2 lacks, in the disk and in snapshots;
 * under the lock, without requests in flight. */
int coroutine_fn qcow2_expand_zeroes(BlockDriverState *bs);
int coroutine_fn qcow2_co_check(BlockDriverState *bs, BdrvCheckResult *res,
                                int fix);
/*
 * Repairs an image before it is written to, while it is being opened.  False if
 * writing would damage it even then.  @why: "dirty" or the like.
 */
bool coroutine_mixed_fn qcow2_repair_opened(BlockDriverState *bs,
                                            const char *why, Error **errp);
int coroutine_fn qcow2_co_create(BlockdevCreateOptions *options,
                                 Error **errp);

/* Sizes of the parts of a new image, in clusters. */
typedef struct Qcow2Layout {
    uint64_t data, l2, crypt, l1, blocks, table;
    uint64_t l1_entries;
    uint64_t total; /* with the header */
} Qcow2Layout;
/* Sizes of its elements. */
typedef struct Qcow2Units {
    unsigned cluster_bits, refcount_order;
    bool extended_l2;
} Qcow2Units;
/*
 * Layout of an image of @size bytes, of which all or nothing is @allocated,
 * with a volume of @crypt_bytes for its keys.  False if a table would be too
 * large.
 */
bool qcow2_layout(uint64_t size, const Qcow2Units *units, bool allocated,
                  uint64_t crypt_bytes, Qcow2Layout *layout);
/* Can an image have extended L2 entries with these clusters? */
bool qcow2_check_extended_l2(unsigned cluster_bits, Error **errp);

#endif
