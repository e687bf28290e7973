/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands of the human monitor. */
#ifndef SYSTEM_HMP_H
#define SYSTEM_HMP_H

#include "monitor/hmp.h"

/* All of them, for hmp_set_commands(). */
extern const HmpCommand hmp_commands[];

/* Adds to the answer what @fn prints on stdout. */
void hmp_print_stdout_of(HmpCall *call, void (*fn)(const void *),
                         const void *opaque);

/* hmp-info.c */
HmpFunc hmp_info_status, hmp_info_version, hmp_info_name, hmp_info_uuid;
HmpFunc hmp_info_block_jobs, hmp_info_blockstats, hmp_info_iothreads;
HmpFunc hmp_info_block;
/* hmp-block.c */
HmpFunc hmp_qemu_io, hmp_block_resize, hmp_block_set_io_throttle, hmp_eject;
HmpFunc hmp_change, hmp_drive_add, hmp_drive_del, hmp_drive_backup;
HmpFunc hmp_drive_mirror, hmp_snapshot_blkdev, hmp_commit, hmp_block_stream;
/* hmp-misc.c */
HmpFunc hmp_stop, hmp_cont, hmp_system_reset, hmp_quit;
HmpFunc hmp_device_add, hmp_device_del, hmp_object_add, hmp_object_del;
HmpFunc hmp_job_set_speed, hmp_job_cancel, hmp_job_complete, hmp_job_pause;
HmpFunc hmp_job_resume;
HmpFunc hmp_nbd_server_start, hmp_nbd_server_add, hmp_nbd_server_remove;
HmpFunc hmp_nbd_server_stop;
/* hmp-qom.c */
HmpFunc hmp_qom_list, hmp_qom_get, hmp_qom_set, hmp_getfd, hmp_closefd;
HmpFunc hmp_system_powerdown, hmp_system_wakeup, hmp_info_balloon;
HmpFunc hmp_info_vm_generation_id, hmp_info_kvm, hmp_info_usb, hmp_info_dump;
HmpFunc hmp_info_nothing; /* there is none of these */
/* hmp-snapshot.c */
HmpFunc hmp_info_snapshots, hmp_savevm, hmp_loadvm, hmp_delvm;
HmpFunc hmp_snapshot_blkdev_internal, hmp_snapshot_delete_blkdev_internal;
/* hmp-migration.c */
HmpFunc hmp_migrate, hmp_migrate_cancel, hmp_migrate_continue;
HmpFunc hmp_migrate_incoming, hmp_migrate_recover, hmp_migrate_pause;
HmpFunc hmp_migrate_start_postcopy, hmp_migrate_set_capability;
HmpFunc hmp_migrate_set_parameter, hmp_info_migrate;
HmpFunc hmp_info_migrate_capabilities, hmp_info_migrate_parameters;

#endif
