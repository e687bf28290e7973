/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img convert: options, and declarations shared by its parts.
 *
 * Sources and target are opened (convert-setup.c), runs of the sources are
 * copied by several coroutines (convert-copy.c), then bitmaps are copied
 * (convert-bitmaps.c).
 */
#ifndef TOOLS_IMG_CONVERT_H
#define TOOLS_IMG_CONVERT_H

#include "img.h"

#define CONVERT_CHUNK (1 * MiB)       /* bytes read at once */
#define CONVERT_MAX_COROUTINES 16
#define CONVERT_MAX_SPARSE (16 * MiB)

typedef struct ConvertArgs {
    ToolImage source, target;         /* without file names */
    const char *cache, *source_cache;
    const char *base, *base_format;   /* -B, -F */
    const char *sparse_text, *rate_text, *coroutines_text, *snapshot;
    bool no_create, target_is_zero, unordered, offload, compressed;
    bool bitmaps, skip_broken, salvage, progress, quiet, force_share;
    char *extra;                      /* -o, joined */
    char **files;                     /* sources, then the target */
    int n_files;
    int64_t sparse;                   /* bytes; 0: write everything */
    int64_t rate;                     /* bytes per second; 0: no limit */
    int coroutines;
} ConvertArgs;

/* Sources are concatenated. */
typedef struct ConvertSource {
    BlockBackend *blk;
    int64_t start; /* in the target */
    int64_t size;  /* bytes */
    int64_t slot;  /* bytes in the target: whole sectors, zeroes at the end */
} ConvertSource;

typedef struct Convert {
    const ConvertArgs *args;
    ConvertSource *sources;
    int n_sources;
    BlockBackend *target;
    int64_t total;       /* bytes of all sources */
    int64_t data;        /* those that have to be copied; -1: not counted */
    bool target_zero;    /* parts that are not written read as zeroes */
    int64_t base_size;   /* of the target's backing file; -1: none */
    int64_t align;       /* data is copied in whole units of this; >= 1 */
} Convert;

/* Opens sources and target; reports errors. */
bool convert_setup(Convert *c);
void convert_cleanup(Convert *c);
/* Copies; 0 or -errno, reported. */
int convert_copy(Convert *c);
/* May the bitmaps be copied? */
bool convert_check_bitmaps(Convert *c);
bool convert_copy_bitmaps(Convert *c);

#endif
