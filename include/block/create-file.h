/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For drivers' co_create: access to the node that is formatted. */
#ifndef BLOCK_CREATE_FILE_H
#define BLOCK_CREATE_FILE_H

#include "block/driver.h"

/* Writes the image; 0, or -errno with @errp. */
typedef int coroutine_fn BdrvCreateWrite(BdrvChild *file, void *opaque,
                                         Error **errp);

/*
 * Opens @ref, or takes the node that it names, and calls @write with an edge
 * that may write and resize it, in the thread of the node.  @format: for error
 * messages.
 */
int coroutine_fn bdrv_create_in_file(const BlockdevRef *ref,
                                     const char *format,
                                     BdrvCreateWrite *write, void *opaque,
                                     Error **errp);
/* In @write: drops the former content, if the file can shrink.  A node that
 * does not grow when it is written to keeps its size. */
int coroutine_fn bdrv_create_drop(BdrvChild *file, Error **errp);
/* ... and clears where an image begins, if it cannot. */
int coroutine_fn bdrv_create_empty(BdrvChild *file, Error **errp);

#endif
