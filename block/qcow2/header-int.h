/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: reading and writing the header and its extensions (header.c). */
#ifndef QCOW2_HEADER_INT_H
#define QCOW2_HEADER_INT_H

#include "block/qcow2/qcow2-int.h"

/* Pure: decodes @buf (@len >= 112 bytes, zero-padded) and checks all ranges
 * that depend on nothing but the header. */
bool qcow2_header_parse(const uint8_t *buf, size_t len, Qcow2Header *h,
                        Error **errp);
void qcow2_header_encode(const Qcow2Header *h, uint8_t *buf);
/* Reads the extensions between the header and its end at @end. */
bool coroutine_mixed_fn qcow2_read_extensions(BlockDriverState *bs,
                                              const Qcow2Header *h,
                                              Error **errp);
/*
 * Rewrites the header from the state: flags, tables, extensions, backing file.
 * After a loss of power it is the old one or the new one, as far as extensions
 * of other programs do not need more than a sector.  No flush.
 */
int coroutine_mixed_fn qcow2_update_header(BlockDriverState *bs);
/* Sets or clears incompatible bits on disk at once, and flushes. */
int coroutine_mixed_fn qcow2_set_incompatible(BlockDriverState *bs,
                                              uint64_t bits, bool on);
void qcow2_free_extensions(Qcow2State *s);
/* The header on disk is @h, and ends at @bytes with its extensions. */
void qcow2_note_header(BlockDriverState *bs, const Qcow2Header *h,
                       size_t bytes);
/* The header's bytes for a new image, with extensions and backing file name.
 * Returns its length, or 0 if it does not fit in @size. */
size_t qcow2_header_build(const Qcow2Header *h, const char *backing_file,
                          const char *backing_format, uint8_t *buf,
                          size_t size);

#endif
