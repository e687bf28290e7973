/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's parts among themselves.  All in the main thread. */
#ifndef SYSTEM_INT_H
#define SYSTEM_INT_H

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/throttle-group.h"
#include "qapi/qapi-types.h"
#include "qemu/error.h"

/* --- run state (runstate.c) --- */

RunState runstate_get(void);
bool runstate_is_running(void);
/* How long the machine ran, in all. */
int64_t runstate_clock_ns(void);
void runstate_set_clock_ns(int64_t ns);
/* STOP, and the state; nothing where it does not run already. */
void vm_stop(RunState state);
/* RESUME, unless it runs already. */
void vm_start(void);
/*
 * SHUTDOWN is sent at once; then the loop ends, or the machine only stops where
 * that was asked for (-no-shutdown) and nobody ends the program.
 */
void system_shutdown(ShutdownCause cause);
/* What happens then, and when the machine is reset. */
void runstate_set_actions(const RebootAction *reboot,
                          const ShutdownAction *shutdown);
/* The machine waits for the state of another one, with state inmigrate. */
void runstate_await_incoming(void);
/* Ready to run: starts, or waits for `cont` (-S) with state prelaunch. */
void runstate_begin(bool start);
/* Called after each change, until removed (guest requests that wait). */
typedef void RunStateChanged(void *opaque, bool running);
void runstate_add_listener(RunStateChanged *changed, void *opaque);
void runstate_remove_listener(RunStateChanged *changed, void *opaque);

/* Descriptors that clients have sent go with them (fdset.c). */
void fdset_follow_monitors(void);

/* --- what the machine is called (machine.c) --- */

/* -machine: takes the name of a machine, refuses others. */
bool machine_set_type(const char *type, Error **errp);
void machine_set_name(const char *name);
bool machine_set_uuid(const char *text, Error **errp);
/* The models of machines, for people. */
void machine_print_help(void);
const char *machine_type(void);
/* --object iothread,... and others that need nothing of us. */
bool system_object_add(struct json_object *options, QapiInputMode mode,
                       Error **errp);

/* --- -drive (drive.c, drive-options.c) --- */

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

/* A drive of the command line: a named BlockBackend that goes with its
 * device, or at the end of the program. */
typedef struct Drive {
    char *id;
    DriveInterface interface;
    int bus, unit;
    bool cdrom;
    bool read_only; /* so is a medium that comes later */
    bool claimed; /* a device was made of it */
    BlockBackend *blk; /* one reference */
    LIST_ENTRY(Drive) next;
} Drive;

/*
 * Makes a drive of "key=value,..." as -drive takes it; @interface is what
 * holds where the options do not say.  NULL on failure.
 */
Drive *drive_new(const char *options, DriveInterface interface, Error **errp);
/* From now on snapshot=on is the default (-snapshot). */
void drive_snapshot_all(void);
Drive *drive_of_backend(const BlockBackend *blk);
Drive *drive_next(Drive *drive); /* NULL starts; the oldest first */
/* Drops the drive; the backend lives on while others hold it. */
void drive_delete(Drive *drive);
void drive_cleanup(void);
/* Parses "key=value,..." into an object of strings, nothing nested. */
struct json_object *drive_parse(const char *options, Error **errp);
/* format=help or format=? in a -drive: prints the formats; false: neither. */
bool drive_print_formats(const char *options);

/* What the options of a drive say, beside those of its nodes. */
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

/* Takes its own out of @options, leaves those of the node. */
bool drive_config_take(DriveConfig *config, struct json_object *options,
                       Error **errp);
void drive_config_free(DriveConfig *config);
const char *drive_interface_name(DriveInterface interface);

/* --- devices (device*.c) --- */

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
} BusKind;

typedef enum PropKind {
    PROP_STR,
    PROP_BOOL,
    PROP_BIT, /* the same, described otherwise */
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

enum {
    MODEL_BLOCK = 1 << 0,       /* holds a block backend */
    MODEL_REMOVABLE = 1 << 1,   /* its medium can be exchanged */
    MODEL_TRAY = 1 << 2,
    MODEL_CDROM = 1 << 3,       /* never writes */
    MODEL_NEEDS_WRITE = 1 << 4, /* refuses read-only media */
    MODEL_NO_IOSTATUS = 1 << 5,
    MODEL_VIRTIO_PROXY = 1 << 6, /* the backend is a part of its own */
    MODEL_USB_SCSI = 1 << 7,     /* likewise */
    MODEL_NEEDS_SERIAL = 1 << 8,
    MODEL_ABSTRACT = 1 << 9,
    MODEL_VIRTIO = 1 << 10, /* a proxy; the device proper is its part */
};

typedef struct DeviceModel {
    const char *name;
    const char *parent; /* type it is derived from */
    const char *group;  /* "Storage" or "Controller/Bridge/Hub" */
    BusKind bus, provides;
    unsigned flags;
    const DeviceProp *props[10]; /* lists, each ended by a NULL name */
    const char *refused;        /* why it can not be had, or NULL */
} DeviceModel;

typedef struct Device Device;

/* A place to attach devices. */
typedef struct DeviceBus {
    char *name;
    BusKind kind;
    Device *owner; /* NULL: the machine */
    int units;     /* devices that fit, 0: any number */
    bool fixed;    /* nothing comes or goes while the machine runs */
    LIST_ENTRY(DeviceBus) next;
} DeviceBus;

struct Device {
    const DeviceModel *model;
    char *id;         /* NULL: none */
    char *path;       /* in the tree of objects */
    DeviceBus *bus;   /* where it is attached */
    DeviceBus *child_bus; /* what it provides, or NULL */
    GHashTable *props;    /* name -> text, of those that were given */
    BlockBackend *blk;    /* one reference, or NULL */
    bool hotplugged; /* came while the machine was complete */
    bool tray_open, locked;
    bool medium_read_only; /* was or is; media that come later are so, too */
    int64_t scsi_channel, scsi_id, scsi_lun;
    struct GuestQueue *guest; /* requests of the guest, guest-io.c */
    TAILQ_ENTRY(Device) next;
};

/* device-models.c */
const DeviceModel *device_model_find(const char *name);
const DeviceModel *device_model_next(const DeviceModel *model);
const DeviceProp *device_model_prop(const DeviceModel *model,
                                    const char *name);
const char *bus_kind_name(BusKind kind);
/* -device help, -device X,help; true where @options asked for it. */
bool device_print_help(const char *options);
ObjectPropertyInfo *device_prop_info(const DeviceProp *prop, bool dflt);
/* device-props.c */
/* Is @text a value of @prop of device @id?  *@normal: written anew. */
bool device_prop_check(const DeviceModel *model, const DeviceProp *prop,
                       const char *id, const char *text, char **normal,
                       Error **errp);
/* The text of a property, its default where it was not given, or NULL. */
const char *device_prop_text(const Device *dev, const char *name);
int64_t device_prop_int(const Device *dev, const char *name);
bool device_prop_bool(const Device *dev, const char *name);
/* The value as JSON, a new reference. */
struct json_object *device_prop_json(const Device *dev,
                                     const DeviceProp *prop);
/* device.c */
/* Adds a device: @options has "driver" and the properties, as JSON. */
Device *device_add_json(struct json_object *options, Error **errp);
/* The same from "driver,key=value,..." or JSON text. */
bool device_add_text(const char *text, Error **errp);
Device *device_next(Device *dev); /* NULL starts */
/* By id or path (of itself or of its backend); NULL: there is none. */
Device *device_find(const char *id_or_path);
Device *device_of_backend(const BlockBackend *blk);
/*
 * Removes it with what is attached to it.  It can not be found any more; its
 * backend goes, and DEVICE_DELETED comes, once no request is under way.
 */
void device_remove(Device *dev);
/* Devices for drives with another interface than none. */
bool device_add_for_drives(Error **errp);
void device_cleanup(void);
/* The name by which the BlockBackend's user is known; caller frees. */
char *device_backend_path(const Device *dev);
/* device-block.c */
bool device_block_realize(Device *dev, Error **errp);
void device_block_unrealize(Device *dev);
/* qom-set of drive: another node under the device, or another backend. */
bool device_set_drive(Device *dev, const char *value, Error **errp);
/* Those it would need for @bs, before that becomes its medium. */
bool device_block_prepare_perms(Device *dev, const BlockDriverState *bs,
                                Error **errp);
/* Are there requests that its removal has to wait for? */
bool device_block_is_busy(const Device *dev);

/* --- backends as commands name them (medium.c) --- */

/* By drive name or by device (exactly one); DeviceNotFound. */
BlockBackend *system_find_backend(const char *device, const char *id,
                                  Error **errp);
/* A device by id or path, or a drive by name; DeviceNotFound. */
BlockBackend *system_backend_by_id(const char *id, Error **errp);

/* --- -qtest (qtest.c) --- */

/* The clock of the guest is moved by qtest only (qemu/guest-clock.h). */
void qtest_hold_clock(void);
bool qtest_start(const char *chardev, Error **errp);
bool qtest_set_log(const char *path, Error **errp);
void qtest_cleanup(void);

/* --- requests as a guest makes them (guest-io.c) --- */

typedef void GuestDone(void *opaque, int ret);
/*
 * A read (@buf is filled) or write of the guest: failures go by the device's
 * rerror/werror; one that stops the machine is tried again on `cont`.
 */
void guest_rw(Device *dev, bool is_write, int64_t offset, int64_t bytes,
              void *buf, GuestDone *done, void *opaque);
/* Ends all that wait for the machine to run with -EIO; the device goes. */
void guest_detach(Device *dev);

/* --- the command line (options.c) --- */

typedef struct SystemOptions {
    bool stopped;      /* -S */
    bool daemonize;
    bool no_defaults, nographic;
    bool monitor_given;
    bool show_guest_name, show_time; /* -msg */
    char *guest_name;
    char *pidfile;
    char *accel;         /* -accel: names between ":", NULL: not given */
    char *machine_accel; /* the same of -machine */
    int phase;           /* being carried out, a Phase */
    GArray *given_fds;   /* of -add-fd, to be closed; or NULL */
    GArray *steps;       /* of SystemStep */
} SystemOptions;

void system_options_parse(SystemOptions *options, int argc, char **argv);
/*
 * Carries them out, in the order in which things need each other; false at the
 * first that fails, which has been reported.
 */
bool system_options_run(SystemOptions *options);
void system_options_free(SystemOptions *options);

#endif
