/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of all commands of the human monitor. */
#include "qemu/osdep.h"
#include "hmp.h"

#define FLAG(letter, name) { HMP_FLAG, name, letter }
#define DEVICE(name) { HMP_DEVICE, name }
#define STRING(name) { HMP_STRING, name }
#define INT(name) { HMP_INT, name }
/* Marks an optional argument: */
#define MAYBE(kind, name) { HMP_##kind, name, .optional = true }

static const HmpCommand info_commands[] = {
    { "balloon", "", "how much memory the guest has", hmp_info_balloon },
    { "block", "[-n] [-v] [device]",
      "the block devices, or one of them (-n: all nodes, -v: with "
      "information on their images)", hmp_info_block,
      { FLAG('n', "nodes"), FLAG('v', "verbose"), MAYBE(DEVICE, "device") } },
    { "block-jobs", "", "block jobs and their progress",
      hmp_info_block_jobs },
    { "blockstats", "", "counters of the block devices",
      hmp_info_blockstats },
    { "capture", "", "recordings of sound", hmp_info_nothing },
    { "dump", "", "progress of a dump of the memory", hmp_info_dump },
    { "iothreads", "", "threads for requests", hmp_info_iothreads },
    { "kvm", "", "whether processors run in the kernel", hmp_info_kvm },
    { "memory-devices", "", "memory that was plugged in", hmp_info_nothing },
    { "name", "", "the name of the machine", hmp_info_name },
    { "network", "", "network devices", hmp_info_nothing },
    { "snapshots", "", "snapshots inside the images", hmp_info_snapshots },
    { "status", "", "whether the machine runs", hmp_info_status },
    { "tpm", "", "TPM devices", hmp_info_nothing },
    { "usb", "", "USB devices of the guest", hmp_info_usb },
    { "uuid", "", "the UUID of the machine", hmp_info_uuid },
    { "version", "", "the version of this program", hmp_info_version },
    { "vm-generation-id", "", "the generation ID of the machine",
      hmp_info_vm_generation_id },
    { 0 },
};

const HmpCommand hmp_commands[] = {
    { "help|?", "[cmd]", "this list, or what one command does", hmp_help,
      { MAYBE(REST, "name") } },
    { "info", "[subcommand]", "shows information on the machine",
      .sub = info_commands },

    /* --- block devices --- */
    { "qemu-io", "[-d] [device] \"[command]\"",
      "runs a command of qemu-io on a block device or node (-d: [device] is "
      "the ID or path of a device); it prints on standard output", hmp_qemu_io,
      { FLAG('d', "qdev"), DEVICE("device"), STRING("command") } },
    { "block_resize", "device size", "changes the size of a block device",
      hmp_block_resize, { DEVICE("device"), { HMP_SIZE, "size" } } },
    { "block_set_io_throttle",
      "device bps bps_rd bps_wr iops iops_rd iops_wr",
      "limits the rate of requests of a block device",
      hmp_block_set_io_throttle,
      { DEVICE("device"), INT("bps"), INT("bps_rd"), INT("bps_wr"),
        INT("iops"), INT("iops_rd"), INT("iops_wr") } },
    { "change", "device [-f] filename [format [read-only-mode]]",
      "exchanges the medium of a device (-f: even if it is locked)",
      hmp_change,
      { DEVICE("device"), FLAG('f', "force"), { HMP_FILE, "filename" },
        MAYBE(STRING, "format"), MAYBE(STRING, "read-only-mode") } },
    { "eject", "[-f] device",
      "removes the medium of a device (-f: even if it is locked)",
      hmp_eject, { FLAG('f', "force"), DEVICE("device") } },
    { "drive_add",
      "[-n] [[<domain>:]<bus>:]<slot> [file=file][,if=none][,id=id]...",
      "adds a drive without a device (-n: a node, as blockdev-add does)",
      hmp_drive_add,
      { FLAG('n', "node"), STRING("address"), STRING("opts") } },
    { "drive_del", "device",
      "removes a drive and its medium; or removes a node",
      hmp_drive_del, { DEVICE("id") } },
    { "drive_backup", "[-n] [-f] [-c] device target [format]",
      "copies the present content of a device to a new image (-n: to an "
      "existing one, -f: including backing files, -c: compressed)",
      hmp_drive_backup,
      { FLAG('n', "reuse"), FLAG('f', "full"), FLAG('c', "compress"),
        DEVICE("device"), STRING("target"), MAYBE(STRING, "format") } },
    { "snapshot_blkdev", "[-n] device [new-image-file] [format]",
      "installs a new image as overlay of a device's image (-n: an existing "
      "one)", hmp_snapshot_blkdev,
      { FLAG('n', "reuse"), DEVICE("device"), MAYBE(STRING, "snapshot-file"),
        MAYBE(STRING, "format") } },
    { "commit", "device|all",
      "writes the data of a device's image into its backing file, and "
      "empties the image", hmp_commit, { DEVICE("device") } },

    { "snapshot_blkdev_internal", "device name",
      "makes a snapshot inside an image", hmp_snapshot_blkdev_internal,
      { DEVICE("device"), STRING("name") } },
    { "snapshot_delete_blkdev_internal", "device name [id]",
      "deletes a snapshot inside an image",
      hmp_snapshot_delete_blkdev_internal,
      { DEVICE("device"), STRING("name"), MAYBE(STRING, "id") } },
    { "savevm", "[tag]", "makes a snapshot of the machine and of all disks",
      hmp_savevm, { MAYBE(STRING, "name") } },
    { "loadvm", "tag", "reverts to a snapshot of the machine", hmp_loadvm,
      { STRING("name") } },
    { "delvm", "tag", "deletes a snapshot of the machine", hmp_delvm,
      { STRING("name") } },

    /* --- jobs --- */
    { "block_stream", "device [speed [base]]",
      "copies the data of backing files into an image, down to base",
      hmp_block_stream,
      { DEVICE("device"), MAYBE(SIZE, "speed"), MAYBE(STRING, "base") } },
    { "block_job_cancel", "[-f] device",
      "cancels a block job (-f: at once, even if it is ready)", hmp_job_cancel,
      { FLAG('f', "force"), DEVICE("device") } },
    { "block_job_complete", "device",
      "completes a block job that is ready", hmp_job_complete,
      { DEVICE("device") } },
    { "block_job_pause", "device", "pauses a block job", hmp_job_pause,
      { DEVICE("device") } },
    { "block_job_resume", "device", "resumes a paused block job",
      hmp_job_resume, { DEVICE("device") } },
    { "block_job_set_speed", "device speed",
      "limits the speed of a block job, per second", hmp_job_set_speed,
      { DEVICE("device"), { HMP_SIZE, "speed" } } },

    /* --- NBD --- */
    { "nbd_server_start", "[-a] [-w] host:port|unix:path",
      "starts the NBD server (-a: and exports all devices, -w: writable)",
      hmp_nbd_server_start,
      { FLAG('a', "all"), FLAG('w', "writable"), STRING("uri") } },
    { "nbd_server_add", "[-w] device [name]",
      "exports a block device over NBD (-w: writable)", hmp_nbd_server_add,
      { FLAG('w', "writable"), DEVICE("device"), MAYBE(STRING, "name") } },
    { "nbd_server_remove", "[-f] name",
      "ends an export (-f: even if it has clients)",
      hmp_nbd_server_remove, { FLAG('f', "force"), STRING("name") } },
    { "nbd_server_stop", "", "stops the NBD server", hmp_nbd_server_stop },

    /* --- devices and objects --- */
    { "device_add", "driver[,prop=value][,...]",
      "adds a device, as -device does", hmp_device_add,
      { { HMP_OPTIONS, "device" } } },
    { "device_del", "device", "removes a device", hmp_device_del,
      { STRING("id") } },
    { "object_add", "[qom-type=]type,id=str[,prop=value][,...]",
      "adds an object, as -object does", hmp_object_add,
      { { HMP_REST, "object" } } },
    { "object_del", "id", "removes an object", hmp_object_del,
      { STRING("id") } },
    { "qom-list", "path", "the properties of an object", hmp_qom_list,
      { MAYBE(STRING, "path") } },
    { "qom-get", "path property", "shows a property of an object",
      hmp_qom_get, { STRING("path"), STRING("property") } },
    { "qom-set", "[-j] path property value",
      "changes a property of an object (-j: the value is JSON)", hmp_qom_set,
      { FLAG('j', "json"), STRING("path"), STRING("property"),
        { HMP_REST, "value" } } },
    { "getfd", "getfd name", "receives a descriptor sent with the command",
      hmp_getfd, { STRING("fdname") } },
    { "closefd", "closefd name", "closes a received descriptor",
      hmp_closefd, { STRING("fdname") } },

    /* --- the machine --- */
    { "stop|s", "", "stops the machine", hmp_stop },
    { "cont|c", "", "starts the machine", hmp_cont },
    { "system_reset", "", "resets the machine", hmp_system_reset },
    { "system_powerdown", "", "asks the guest to turn itself off",
      hmp_system_powerdown },
    { "system_wakeup", "", "wakes the guest up", hmp_system_wakeup },
    { "quit|q", "", "ends this program", hmp_quit },

    /* --- commands that are not supported yet --- */
    { "drive_mirror", "[-n] [-f] device target [format]",
      "copies a device while it is written to",
      .missing = "there is no mirror job yet" },
    { 0 },
};
