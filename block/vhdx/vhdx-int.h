/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhdx: the disk images of Hyper-V, after [MS-VHDX].
 *
 *     identifier | 2 headers | 2 region tables | regions: log, BAT, metadata;
 *     blocks
 *
 * A header is replaced by writing the other one with a larger number.  Metadata
 * is updated by others through the log, which is replayed on opening; here the
 * order of writes is enough, as each entry of the BAT (block table) is
 * independent.  All numbers are little-endian.
 */
#ifndef BLOCK_VHDX_INT_H
#define BLOCK_VHDX_INT_H

#include "block/mapped.h"

#define VHDX_HEADER_BYTES (4 * KiB)
#define VHDX_TABLE_BYTES (64 * KiB)
#define VHDX_HEADER_1 (64 * KiB)    /* where they are */
#define VHDX_HEADER_2 (128 * KiB)
#define VHDX_REGIONS_1 (192 * KiB)
#define VHDX_REGIONS_2 (256 * KiB)
#define VHDX_FIRST_REGION (1 * MiB)
#define VHDX_MAX_BYTES (64 * TiB)

/* Where fields of a header are. */
enum {
    VHDX_AT_CHECKSUM = 4,   /* of region tables and log entries, too */
    VHDX_AT_SEQUENCE = 8,
    VHDX_AT_FILE_GUID = 16,
    VHDX_AT_DATA_GUID = 32,
    VHDX_AT_LOG_GUID = 48,
    VHDX_AT_LOG_VERSION = 64,
    VHDX_AT_VERSION = 66,
    VHDX_AT_LOG_BYTES = 68,
    VHDX_AT_LOG = 72,
};

typedef struct VhdxState {
    MappedImage mapped;
    uint8_t header[VHDX_HEADER_BYTES]; /* the current one */
    bool second;          /* it is at VHDX_HEADER_2 */
    uint64_t log, log_bytes;
    uint64_t bat, bat_bytes;
    uint64_t meta, meta_bytes;
    MapTable table;       /* the part of the BAT that is used */
    uint32_t ratio;       /* blocks for each bitmap entry of the BAT */
    uint64_t next;        /* where the next block goes */
    bool guid_changed;    /* since the image was opened */
    bool dirty;
} VhdxState;

/* Of a structure whose checksum is at VHDX_AT_CHECKSUM. */
uint32_t vhdx_checksum(const uint8_t *data, size_t bytes);
void vhdx_random_guid(uint8_t *guid);

/* --- vhdx-log.c --- */

/* In open: applies what is in the log to the file.  1, 0 if nothing valid is
 * there, or -errno. */
int vhdx_log_replay(BlockDriverState *bs, Error **errp);

/* --- vhdx-create.c --- */

int coroutine_fn vhdx_co_create(BlockdevCreateOptions *options, Error **errp);
extern const uint8_t vhdx_guid_bat[16], vhdx_guid_meta[16];
extern const uint8_t vhdx_guid_params[16], vhdx_guid_size[16],
    vhdx_guid_page83[16], vhdx_guid_logical[16], vhdx_guid_physical[16];

#endif
