/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Valid content of a disk and of bitmaps after requests some of which failed.
 * Independent of the block layer.  Units of FAULT_UNIT bytes.
 */
#ifndef FAULT_MODEL_H
#define FAULT_MODEL_H

#include "qemu/osdep.h"

#define FAULT_DISK_BYTES (1 * MiB)
#define FAULT_UNIT (4 * KiB)
#define FAULT_UNITS (FAULT_DISK_BYTES / FAULT_UNIT)

/* A set of values of a byte. */
typedef struct FaultValues {
    uint64_t bits[4];
} FaultValues;

typedef struct FaultBitmap {
    char name[32];
    bool persistent;
    bool recording;
    bool must[FAULT_UNITS]; /* changed since it began */
} FaultBitmap;

typedef struct FaultModel {
    FaultValues now[FAULT_UNITS];     /* possible results of a read */
    FaultValues durable[FAULT_UNITS]; /* ... after the loss of all caches */
    FaultBitmap bitmaps[8];
    int n_bitmaps;
} FaultModel;

/* All zeroes, no bitmaps. */
void fault_model_init(FaultModel *m);
/* A write of @value (zeroes: 0) ended with @ret.  Whole units. */
void fault_model_write(FaultModel *m, int64_t offset, int64_t bytes,
                       uint8_t value, int ret);
/* The unit at @offset changed: recording bitmaps must have it. */
void fault_model_changed(FaultModel *m, int64_t offset);
/* A flush that the guest asked for succeeded. */
void fault_model_flushed(FaultModel *m);
/* Asserts that the disk at @data, the whole of it, is possible. */
void fault_model_check(const FaultModel *m, const uint8_t *data,
                       bool only_durable);
/* NULL: there is none of that name. */
FaultBitmap *fault_model_bitmap(FaultModel *m, const char *name);
FaultBitmap *fault_model_add_bitmap(FaultModel *m, const char *name);
void fault_model_remove_bitmap(FaultModel *m, FaultBitmap *b);

#endif
