/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images in memory, for all targets that fuzz image formats. */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"

#define FUZZ_IMAGE_MAX (8 * MiB) /* to what size an image may grow */

/*
 * The only file, called "image"; the driver "file" opens it.  To be set up only
 * while it is closed.
 */
extern GByteArray *fuzz_image;

/* The loop, the secret "key" and an empty image; once. */
void fuzz_image_init(void);
/* Makes @data the content of fuzz_image. */
void fuzz_image_set(const uint8_t *data, size_t size);
/* Limits the iterations that LUKS volumes in it demand: they may take hours. */
void fuzz_image_limit_keys(void);
/* Opens it as qcow2, with a key if it is encrypted, named "disk", with
 * BDRV_O_*; NULL if it is refused. */
BlockBackend *fuzz_image_open(bool writable, int flags);
/* The same by options that refer to it; the node is writable or not. */
BlockBackend *fuzz_image_open_as(const char *json, bool writable, int flags);
/* Reads some of it, from the beginning and at the end; errors are allowed. */
void fuzz_image_read(BlockBackend *blk);
/* Asks for its block status from the beginning, and checks the lengths. */
void fuzz_image_status(BlockBackend *blk);
/* Closes it, and checks that no node remains. */
void fuzz_image_close(BlockBackend *blk);

#endif
