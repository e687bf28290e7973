/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that change hands between processes.
 *
 * An inactive node has its image open, but another process may have it active:
 * it holds no lock that keeps others from writing, and never writes.  When it
 * becomes active it reads again what the other process may have changed.
 *
 * Main thread, outside coroutines.  The functions that return bool set an
 * error, which names the node, exactly when they return false.
 */
#ifndef BLOCK_ACTIVATE_H
#define BLOCK_ACTIVATE_H

#include "block/types.h"

/*
 * @bs and all nodes below it, children first, take their locks, read their
 * metadata and stored bitmaps, and may then be written.  Already so: true.
 * False: all are inactive, as before; if one cannot even become inactive again,
 * which is reported, they are active.
 */
bool bdrv_activate(BlockDriverState *bs, Error **errp);
/*
 * @bs, and those nodes below it that no active node uses, parents first, store
 * their bitmaps and metadata, durably, and release their locks.  Already so:
 * true.  False: a user of the nodes cannot do without them, or something could
 * not be stored; the nodes are active as before.
 */
bool bdrv_inactivate(BlockDriverState *bs, Error **errp);

/*
 * The same for all nodes.  If one cannot be activated the others are all the
 * same, as far as they do not need it.  If one cannot be inactivated, all are
 * active as before.
 */
bool bdrv_activate_all(Error **errp);
/*
 * Bitmaps that are not to be stored (bdrv_dirty_bitmap_skip_store()) stay in
 * memory; who wants them back takes that back before the node is activated.
 */
bool bdrv_inactivate_all(Error **errp);

/* May another process have its image? */
bool bdrv_is_inactive(const BlockDriverState *bs);
/* For commands that need an active node: true if @bs is one. */
bool bdrv_check_active(const BlockDriverState *bs, Error **errp);

/* Whether nodes whose options say nothing of it are opened inactive from now
 * on; for a machine that awaits the state of another one. */
void bdrv_set_open_inactive(bool inactive);
bool bdrv_open_inactive(void);

#endif
