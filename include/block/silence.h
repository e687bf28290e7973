/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long requests wait for a server that does not answer.
 *
 * A server can stop answering while its connection stays.  Requests then wait
 * without limit, as it may go on; but not if their end is waited for by someone
 * who must not wait for ever:
 *
 *     abandoned  a user who needs no result any more: a job that was cancelled
 *     awaited    the main thread, which executes no command meanwhile
 *     ending     the program
 *
 * Requests that begin while one of these holds are limited, too.  Drivers of
 * protocols obey it; the time counts from the last answer of the server, but
 * not before the limit applied.  Main thread, exclusive, unless marked.
 */
#ifndef BLOCK_SILENCE_H
#define BLOCK_SILENCE_H

#include "block/types.h"

/* The limit for abandoned requests, in ns. */
#define BDRV_SILENCE_ABANDONED (3 * INT64_C(1000000000))

/*
 * From begin to end, which may be nested, nobody needs the result of requests
 * on @bs, or on a node that it stores its data in.  The caller holds @bs.
 */
void bdrv_abandon_begin(BlockDriverState *bs);
void bdrv_abandon_end(BlockDriverState *bs);
/* The same: the main thread waits for such requests. */
void bdrv_await_begin(BlockDriverState *bs);
void bdrv_await_end(BlockDriverState *bs);
/*
 * For programs that serve commands: awaited requests are limited.  In others
 * the main thread has nothing else to do than to wait.
 */
void bdrv_limit_awaited(void);
/*
 * The program is to end: limits of throttle groups are lifted, nodes that are
 * being opened fail to open, and all waits for servers are limited from now on.
 * @cut: the connections to servers are closed at once.
 */
void bdrv_hurry(bool cut);

/*
 * For drivers: the server of @bs may be silent for this time, in ns, before
 * requests on @bs are to fail.  INT64_MAX: there is no limit.
 */
int64_t bdrv_max_silence(const BlockDriverState *bs);

#endif
