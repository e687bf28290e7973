/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of all drivers and filters; the only file that refers to all. */
#include "qemu/osdep.h"
#include "block/driver.h"

extern const BlockDriver bdrv_blkdebug;
extern const BlockDriver bdrv_blklogwrites;
extern const BlockDriver bdrv_blkverify;
extern const BlockDriver bdrv_bochs;
extern const BlockDriver bdrv_cloop;
extern const BlockDriver bdrv_compress;
extern const BlockDriver bdrv_copy_before_write;
extern const BlockDriver bdrv_copy_on_read;
extern const BlockDriver bdrv_dmg;
extern const BlockDriver bdrv_file;
extern const BlockDriver bdrv_host_cdrom;
extern const BlockDriver bdrv_host_device;
extern const BlockDriver bdrv_luks;
extern const BlockDriver bdrv_nbd;
extern const BlockDriver bdrv_null_aio;
extern const BlockDriver bdrv_null_co;
extern const BlockDriver bdrv_parallels;
extern const BlockDriver bdrv_preallocate;
extern const BlockDriver bdrv_qcow;
extern const BlockDriver bdrv_qcow2;
extern const BlockDriver bdrv_qed;
extern const BlockDriver bdrv_quorum;
extern const BlockDriver bdrv_raw;
extern const BlockDriver bdrv_replication;
extern const BlockDriver bdrv_snapshot_access;
extern const BlockDriver bdrv_throttle;
extern const BlockDriver bdrv_tracked;
extern const BlockDriver bdrv_vdi;
extern const BlockDriver bdrv_vhdx;
extern const BlockDriver bdrv_vmdk;
extern const BlockDriver bdrv_vpc;

const BlockDriver *const bdrv_drivers[] = {
    /* protocols */
    &bdrv_file,
    &bdrv_host_cdrom,
    &bdrv_host_device,
    &bdrv_nbd,
    &bdrv_null_aio,
    &bdrv_null_co,
    /* formats */
    &bdrv_bochs,
    &bdrv_cloop,
    &bdrv_dmg,
    &bdrv_luks,
    &bdrv_parallels,
    &bdrv_qcow,
    &bdrv_qcow2,
    &bdrv_qed,
    &bdrv_raw,
    &bdrv_vdi,
    &bdrv_vhdx,
    &bdrv_vmdk,
    &bdrv_vpc,
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
    &bdrv_tracked,
    NULL,
};
