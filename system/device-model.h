/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Models of devices and their properties (device-models.c, device-props.c). */
#ifndef SYSTEM_DEVICE_MODEL_H
#define SYSTEM_DEVICE_MODEL_H

#include "qemu/error.h"

typedef struct ObjectPropertyInfo ObjectPropertyInfo;

typedef enum BusKind {
    BUS_NONE,
    BUS_PCI,
    BUS_VIRTIO,
    BUS_CCW,
    BUS_SCSI,
    BUS_IDE,
    BUS_FLOPPY,
    BUS_USB,
    BUS_ISA,
    BUS_VIRTIO_SERIAL,
} BusKind;

typedef enum PropKind {
    PROP_STR,
    PROP_BOOL,
    PROP_BIT, /* the same, with another description */
    PROP_ON_OFF_AUTO,
    PROP_INT32,
    PROP_UINT8,
    PROP_UINT16,
    PROP_UINT32,
    PROP_UINT64,
    PROP_SIZE,
    PROP_BLOCK_SIZE,
    PROP_ON_ERROR,
    PROP_DRIVE,
    PROP_IOTHREAD,
    PROP_PCI_ADDR,    /* "slot.function" or a number */
    PROP_CHS_TRANS,
    PROP_FLOPPY_TYPE,
} PropKind;

typedef struct DeviceProp {
    const char *name;
    PropKind kind;
    const char *dflt; /* as written; NULL: none */
} DeviceProp;

/* Prefix of a value of PROP_IOTHREAD, before an id; or the value is empty. */
#define IOTHREAD_PATH "/objects/"

enum {
    MODEL_BLOCK = 1 << 0,       /* has a block backend */
    MODEL_REMOVABLE = 1 << 1,   /* its medium can be exchanged */
    MODEL_TRAY = 1 << 2,
    MODEL_CDROM = 1 << 3,       /* never writes */
    MODEL_NEEDS_WRITE = 1 << 4, /* refuses read-only media */
    MODEL_NO_IOSTATUS = 1 << 5,
    MODEL_VIRTIO_PROXY = 1 << 6, /* the backend has an object of its own */
    MODEL_USB_SCSI = 1 << 7,     /* likewise */
    MODEL_NEEDS_SERIAL = 1 << 8,
    MODEL_ABSTRACT = 1 << 9,
    MODEL_VIRTIO = 1 << 10, /* a proxy for the device */
    MODEL_INERT = 1 << 11,  /* accepted, without effect */
};

typedef struct DeviceModel {
    const char *name;
    const char *parent; /* base type */
    const char *group;  /* title in -device help, without "devices" */
    BusKind bus, provides;
    unsigned flags;
    const DeviceProp *props[10]; /* lists, each ended by a NULL name */
    const char *refused;        /* why it is not available, or NULL */
} DeviceModel;

const DeviceModel *device_model_find(const char *name);
const DeviceModel *device_model_next(const DeviceModel *model);
const DeviceProp *device_model_prop(const DeviceModel *model,
                                    const char *name);
const char *bus_kind_name(BusKind kind);
/* -device help, -device X,help; true if @options requested it. */
bool device_print_help(const char *options);
ObjectPropertyInfo *device_prop_info(const DeviceProp *prop, bool dflt);
/* Is @text a value of @prop of device @id?  *@normal: in canonical form. */
bool device_prop_check(const DeviceModel *model, const DeviceProp *prop,
                       const char *id, const char *text, char **normal,
                       Error **errp);

#endif
