/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of the machine.  Main thread. */
#ifndef SYSTEM_DEVICE_H
#define SYSTEM_DEVICE_H

#include "block/block-backend.h"
#include "device-model.h"
#include "qemu/iothread.h"

typedef struct Device Device;

/* A place to attach devices. */
typedef struct DeviceBus {
    char *name;
    BusKind kind;
    Device *owner; /* NULL: the machine */
    int units;     /* devices that fit, 0: any number */
    bool fixed;    /* no hotplug while the machine runs */
    LIST_ENTRY(DeviceBus) next;
} DeviceBus;

struct Device {
    const DeviceModel *model;
    char *id;         /* NULL: none */
    char *path;       /* in the tree of objects */
    DeviceBus *bus;   /* the bus it is attached to */
    DeviceBus *child_bus; /* the bus it provides, or NULL */
    GHashTable *props;    /* name -> text, only those that were given */
    BlockBackend *blk;    /* one reference, or NULL */
    bool hotplugged; /* was added to the complete machine */
    bool tray_open, locked;
    bool medium_read_only; /* is or was; later media are so, too */
    int64_t scsi_channel, scsi_id, scsi_lun;
    struct GuestQueue *guest; /* requests of the guest, guest-io.c */
    int guest_requests; /* in execution */
    TAILQ_ENTRY(Device) next;
};

/* --- device-props.c --- */

/* The text of a property, or its default if not given, or NULL. */
const char *device_prop_text(const Device *dev, const char *name);
int64_t device_prop_int(const Device *dev, const char *name);
bool device_prop_bool(const Device *dev, const char *name);
/* The value as JSON, a new reference. */
struct json_object *device_prop_json(const Device *dev,
                                     const DeviceProp *prop);

/* --- device.c --- */

/* Registers which iothreads devices need; once. */
void device_init(void);
/* Adds a device: @options has "driver" and the properties, as JSON. */
Device *device_add_json(struct json_object *options, Error **errp);
/* The same from "driver,key=value,..." or JSON text. */
bool device_add_text(const char *text, Error **errp);
Device *device_next(Device *dev); /* NULL starts */
/* By id or path (its own or its backend's); NULL: not found. */
Device *device_find(const char *id_or_path);
Device *device_of_backend(const BlockBackend *blk);
/*
 * Removes it with all attached devices.  It cannot be found then; when no
 * request is in flight its backend is released and DEVICE_DELETED is sent.
 */
void device_remove(Device *dev);
/* Creates devices for drives with another interface than none. */
bool device_add_for_drives(Error **errp);
void device_cleanup(void);
/* The description of the BlockBackend's user; caller frees. */
char *device_backend_path(const Device *dev);

/* --- device-block.c --- */

bool device_block_realize(Device *dev, Error **errp);
void device_block_unrealize(Device *dev);
/* qom-set of drive: another node under the device, or another backend. */
bool device_set_drive(Device *dev, const char *value, Error **errp);
/* Takes the permissions it needs for @bs, before that becomes its medium. */
bool device_block_prepare_perms(Device *dev, const BlockDriverState *bs,
                                Error **errp);
/* The iothread that executes its requests; NULL: the main thread. */
IOThread *device_iothread(const Device *dev);
/* Are there requests for which its removal has to wait? */
bool device_block_is_busy(const Device *dev);

#endif
