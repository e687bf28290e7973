/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parallels images: what parallels.c and parallels-bitmaps.c share. */
#ifndef BLOCK_FORMAT_PARALLELS_INT_H
#define BLOCK_FORMAT_PARALLELS_INT_H

#include "block/types.h"

/* Values of the field in_use; 0: a program wrote that knows no bitmaps. */
#define PARALLELS_IN_USE 0x746f6e59U
#define PARALLELS_CLOSED 0x312e3276U

/* What the header says of the format extension. */
typedef struct ParallelsPlace {
    uint64_t extension; /* sectors from the start of the file; not 0 */
    uint64_t data;      /* sector of the first cluster */
    int64_t cluster;    /* bytes */
    uint32_t in_use;
} ParallelsPlace;

/*
 * In open, when the node has its size: adds the bitmaps of the image to it.
 * What is wrong with them is reported, and does not prevent that it is opened.
 */
void parallels_load_bitmaps(BlockDriverState *bs, const ParallelsPlace *place);

#endif
