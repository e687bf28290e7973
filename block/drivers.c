/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of all drivers and filters; the only file that refers to all. */
#include "qemu/osdep.h"
#include "block/driver.h"

extern const BlockDriver bdrv_blkdebug;
extern const BlockDriver bdrv_blklogwrites;
extern const BlockDriver bdrv_blkverify;
extern const BlockDriver bdrv_compress;
extern const BlockDriver bdrv_copy_before_write;
extern const BlockDriver bdrv_copy_on_read;
extern const BlockDriver bdrv_file;
extern const BlockDriver bdrv_host_device;
extern const BlockDriver bdrv_nbd;
extern const BlockDriver bdrv_null_aio;
extern const BlockDriver bdrv_null_co;
extern const BlockDriver bdrv_preallocate;
extern const BlockDriver bdrv_qcow2;
extern const BlockDriver bdrv_quorum;
extern const BlockDriver bdrv_raw;
extern const BlockDriver bdrv_replication;
extern const BlockDriver bdrv_snapshot_access;
extern const BlockDriver bdrv_throttle;

const BlockDriver *const bdrv_drivers[] = {
    /* protocols */
    &bdrv_file,
    &bdrv_host_device,
    &bdrv_nbd,
    &bdrv_null_aio,
    &bdrv_null_co,
    /* formats */
    &bdrv_qcow2,
    &bdrv_raw,
    /* filters */
    &bdrv_blkdebug,
    &bdrv_blklogwrites,
    &bdrv_blkverify,
    &bdrv_compress,
    &bdrv_copy_before_write,
    &bdrv_copy_on_read,
    &bdrv_preallocate,
    &bdrv_quorum,
    &bdrv_replication,
    &bdrv_snapshot_access,
    &bdrv_throttle,
    NULL,
};
