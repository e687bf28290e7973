/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images in memory: what the targets that fuzz image formats have in common. */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"

#define FUZZ_IMAGE_MAX (4 * MiB) /* to what size an image may grow */

/*
 * The one file there is, called "image"; it is what driver "file" opens.  Set
 * it up between closing and opening only.
 */
extern GByteArray *fuzz_image;

/* The loop and an empty image; once. */
void fuzz_image_init(void);
/* Opens it as qcow2, named "disk", with BDRV_O_*; NULL where it is refused. */
BlockBackend *fuzz_image_open(bool writable, int flags);
/* Closes it, and sees that nothing stays open. */
void fuzz_image_close(BlockBackend *blk);

#endif
