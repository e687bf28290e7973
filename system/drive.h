/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -drive (drive.c, drive-options.c).  Main thread. */
#ifndef SYSTEM_DRIVE_H
#define SYSTEM_DRIVE_H

#include "block/block-backend.h"
#include "block/throttle-group.h"

typedef enum DriveInterface {
    DRIVE_IF_NONE,
    DRIVE_IF_IDE,
    DRIVE_IF_SCSI,
    DRIVE_IF_FLOPPY,
    DRIVE_IF_PFLASH,
    DRIVE_IF_MTD,
    DRIVE_IF_SD,
    DRIVE_IF_VIRTIO,
    DRIVE_IF_XEN,
    DRIVE_IF__MAX,
} DriveInterface;

/* A drive of the command line: a named BlockBackend that is deleted with its
 * device, or at the end of the program. */
typedef struct Drive {
    char *id;
    DriveInterface interface;
    int bus, unit;
    bool cdrom;
    bool read_only; /* later media are so, too */
    bool claimed; /* a device uses it */
    BlockBackend *blk; /* one reference */
    LIST_ENTRY(Drive) next;
} Drive;

/*
 * Creates a drive from "key=value,..." as in -drive; @interface is the default.
 * NULL on failure.
 */
Drive *drive_new(const char *options, DriveInterface interface, Error **errp);
/* Makes snapshot=on the default (-snapshot). */
void drive_snapshot_all(void);
Drive *drive_of_backend(const BlockBackend *blk);
Drive *drive_next(Drive *drive); /* NULL starts; the oldest first */
/* Deletes the drive; other references keep the backend. */
void drive_delete(Drive *drive);
void drive_cleanup(void);
/* Parses "key=value,..." into a flat object of strings. */
struct json_object *drive_parse(const char *options, Error **errp);
/* format=help or format=? in a -drive: prints the formats; false: neither. */
bool drive_print_formats(const char *options);

/* Options of a drive, without those of its nodes. */
typedef struct DriveConfig {
    char *id, *file, *format, *serial;
    DriveInterface interface;
    int bus, unit, index; /* -1: not given */
    bool cdrom;
    bool read_only, snapshot, copy_on_read;
    bool writethrough;
    int flags; /* BDRV_O_* */
    BlockdevOnError rerror, werror;
    bool account_invalid, account_failed;
    GArray *intervals; /* of uint32_t, seconds; NULL: none */
    ThrottleConfig limits;
    bool limited;
    char *group;
} DriveConfig;

/* Removes the drive's own options from @options, which leaves the node's. */
bool drive_config_take(DriveConfig *config, struct json_object *options,
                       Error **errp);
void drive_config_free(DriveConfig *config);
const char *drive_interface_name(DriveInterface interface);

#endif
