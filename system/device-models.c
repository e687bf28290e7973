/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The models of devices and their properties, as tables. */
#include "qemu/osdep.h"

#include "device-model.h"
#include "qapi/keyval.h"
#include "qapi/qapi-types-qom.h"

static const DeviceProp block_props[] = {
    { "drive", PROP_DRIVE, NULL },
    { "logical_block_size", PROP_BLOCK_SIZE, "0" },
    { "physical_block_size", PROP_BLOCK_SIZE, "0" },
    { "min_io_size", PROP_SIZE, "0" },
    { "opt_io_size", PROP_SIZE, "0" },
    { "discard_granularity", PROP_SIZE, "4294967295" },
    { "write-cache", PROP_ON_OFF_AUTO, "auto" },
    { "share-rw", PROP_BOOL, "false" },
    { "account-invalid", PROP_ON_OFF_AUTO, "auto" },
    { "account-failed", PROP_ON_OFF_AUTO, "auto" },
    { "backend_defaults", PROP_ON_OFF_AUTO, "auto" },
    { NULL },
};

static const DeviceProp disk_props[] = {
    { "serial", PROP_STR, NULL },
    { "bootindex", PROP_INT32, NULL },
    { NULL },
};

static const DeviceProp error_props[] = {
    { "rerror", PROP_ON_ERROR, "auto" },
    { "werror", PROP_ON_ERROR, "auto" },
    { NULL },
};

static const DeviceProp chs_props[] = {
    { "cyls", PROP_UINT32, "0" },
    { "heads", PROP_UINT32, "0" },
    { "secs", PROP_UINT32, "0" },
    { "lcyls", PROP_UINT32, "0" },
    { "lheads", PROP_UINT32, "0" },
    { "lsecs", PROP_UINT32, "0" },
    { NULL },
};

static const DeviceProp scsi_props[] = {
    { "channel", PROP_UINT32, "0" },
    { "scsi-id", PROP_UINT32, "4294967295" },
    { "lun", PROP_UINT32, "4294967295" },
    { "vendor", PROP_STR, NULL },
    { "product", PROP_STR, NULL },
    { "ver", PROP_STR, NULL },
    { "device_id", PROP_STR, NULL },
    { "wwn", PROP_UINT64, "0" },
    { "port_wwn", PROP_UINT64, "0" },
    { "port_index", PROP_UINT16, "0" },
    { "max_io_size", PROP_UINT64, "2147483647" },
    { "scsi_version", PROP_INT32, "5" },
    { "quirk_mode_page_vendor_specific_apple", PROP_BIT, "false" },
    { NULL },
};

static const DeviceProp scsi_hd_props[] = {
    { "removable", PROP_BIT, "false" },
    { "rotation_rate", PROP_UINT16, "0" },
    { "max_unmap_size", PROP_UINT64, "1073741824" },
    { "dpofua", PROP_BIT, "false" },
    { NULL },
};

static const DeviceProp scsi_cd_props[] = {
    { "quirk_mode_page_apple_vendor", PROP_BIT, "false" },
    { "quirk_mode_page_truncated", PROP_BIT, "false" },
    { "quirk_mode_sense_rom_use_dbd", PROP_BIT, "false" },
    { NULL },
};

static const DeviceProp virtio_props[] = {
    { "event_idx", PROP_BIT, "true" },
    { "indirect_desc", PROP_BIT, "true" },
    { "packed", PROP_BIT, "false" },
    { "any_layout", PROP_BIT, "true" },
    { "notify_on_empty", PROP_BIT, "true" },
    { "queue_reset", PROP_BIT, "true" },
    { "iommu_platform", PROP_BIT, "false" },
    { "use-disabled-flag", PROP_BOOL, "true" },
    { "use-started", PROP_BOOL, "true" },
    { NULL },
};

static const DeviceProp virtio_blk_props[] = {
    { "iothread", PROP_IOTHREAD, NULL },
    { "num-queues", PROP_UINT16, "65535" },
    { "queue-size", PROP_UINT16, "256" },
    { "config-wce", PROP_BIT, "true" },
    { "scsi", PROP_BIT, "false" },
    { "request-merging", PROP_BIT, "true" },
    { "seg-max-adjust", PROP_BOOL, "true" },
    { "discard", PROP_BIT, "true" },
    { "write-zeroes", PROP_BIT, "true" },
    { "report-discard-granularity", PROP_BOOL, "true" },
    { "max-discard-sectors", PROP_UINT32, "4194303" },
    { "max-write-zeroes-sectors", PROP_UINT32, "4194303" },
    { NULL },
};

static const DeviceProp virtio_scsi_props[] = {
    { "iothread", PROP_IOTHREAD, NULL },
    { "num_queues", PROP_UINT32, "4294967295" },
    { "virtqueue_size", PROP_UINT32, "256" },
    { "seg_max_adjust", PROP_BOOL, "true" },
    { "max_sectors", PROP_UINT32, "65535" },
    { "cmd_per_lun", PROP_UINT32, "128" },
    { "hotplug", PROP_BIT, "true" },
    { "param_change", PROP_BIT, "true" },
    { NULL },
};

static const DeviceProp pci_props[] = {
    { "addr", PROP_PCI_ADDR, "-1" },
    { "multifunction", PROP_BIT, "false" },
    { "romfile", PROP_STR, NULL },
    { "romsize", PROP_UINT32, "4294967295" },
    { "rombar", PROP_UINT32, "1" },
    { "acpi-index", PROP_UINT32, "0" },
    { "failover_pair_id", PROP_STR, NULL },
    { NULL },
};

static const DeviceProp virtio_pci_props[] = {
    { "disable-legacy", PROP_ON_OFF_AUTO, "auto" },
    { "disable-modern", PROP_BOOL, "false" },
    { "ioeventfd", PROP_BIT, "true" },
    { "vectors", PROP_UINT32, "4294967295" },
    { "ats", PROP_BIT, "false" },
    { "page-per-vq", PROP_BIT, "false" },
    { "aer", PROP_BIT, "false" },
    { "modern-pio-notify", PROP_BIT, "false" },
    { "virtio-pci-bus-master-bug-migration", PROP_BIT, "false" },
    { NULL },
};

static const DeviceProp virtio_blk_pci_props[] = {
    { "class", PROP_UINT32, "0" },
    { NULL },
};

static const DeviceProp port_props[] = {
    { "chassis", PROP_UINT8, "0" },
    { "slot", PROP_UINT16, "0" },
    { "port", PROP_UINT8, "0" },
    { "hotplug", PROP_BOOL, "true" },
    { "power_controller_present", PROP_BIT, "true" },
    { "disable-acs", PROP_BOOL, "false" },
    { "aer_log_max", PROP_UINT16, "8" },
    { NULL },
};

static const DeviceProp reserve_props[] = {
    { "bus-reserve", PROP_UINT32, "4294967295" },
    { "io-reserve", PROP_SIZE, "18446744073709551615" },
    { "mem-reserve", PROP_SIZE, "18446744073709551615" },
    { "pref32-reserve", PROP_SIZE, "18446744073709551615" },
    { "pref64-reserve", PROP_SIZE, "18446744073709551615" },
    { NULL },
};

static const DeviceProp bridge_props[] = {
    { "chassis_nr", PROP_UINT8, "0" },
    { "msi", PROP_ON_OFF_AUTO, "auto" },
    { "shpc", PROP_BIT, "true" },
    { NULL },
};

static const DeviceProp ccw_props[] = {
    { "devno", PROP_STR, NULL },
    { "ioeventfd", PROP_BIT, "true" },
    { "max_revision", PROP_UINT32, "2" },
    { NULL },
};

static const DeviceProp ide_props[] = {
    { "unit", PROP_UINT32, "4294967295" },
    { "model", PROP_STR, NULL },
    { "ver", PROP_STR, NULL },
    { "wwn", PROP_UINT64, "0" },
    { NULL },
};

static const DeviceProp ide_hd_props[] = {
    { "bios-chs-trans", PROP_CHS_TRANS, "auto" },
    { "rotation_rate", PROP_UINT16, "0" },
    { NULL },
};

static const DeviceProp floppy_props[] = {
    { "unit", PROP_UINT32, "4294967295" },
    { "drive-type", PROP_FLOPPY_TYPE, "auto" },
    { NULL },
};

static const DeviceProp fdc_props[] = {
    { "iobase", PROP_UINT32, "1008" },
    { "irq", PROP_UINT32, "6" },
    { "dma", PROP_UINT32, "2" },
    { "fdtypeA", PROP_FLOPPY_TYPE, "auto" },
    { "fdtypeB", PROP_FLOPPY_TYPE, "auto" },
    { "fallback", PROP_FLOPPY_TYPE, "288" },
    { "bootindexA", PROP_INT32, NULL },
    { "bootindexB", PROP_INT32, NULL },
    { NULL },
};

static const DeviceProp usb_props[] = {
    { "port", PROP_STR, NULL },
    { "removable", PROP_BOOL, "false" },
    { "commandlog", PROP_BOOL, "false" },
    { "msos-desc", PROP_BIT, "true" },
    { "pcap", PROP_STR, NULL },
    { "attached", PROP_BOOL, NULL },
    { NULL },
};

static const DeviceProp xhci_props[] = {
    { "p2", PROP_UINT32, "4" },
    { "p3", PROP_UINT32, "4" },
    { "streams", PROP_BIT, "true" },
    { NULL },
};

static const DeviceProp nec_xhci_props[] = {
    { "msi", PROP_ON_OFF_AUTO, "auto" },
    { "msix", PROP_ON_OFF_AUTO, "auto" },
    { "slots", PROP_UINT32, "64" },
    { "intrs", PROP_UINT32, "16" },
    { "superspeed-ports-first", PROP_BIT, "true" },
    { "force-pcie-endcap", PROP_BIT, "false" },
    { NULL },
};

static const DeviceProp ehci_props[] = {
    { "maxframes", PROP_UINT32, "128" },
    { NULL },
};

static const DeviceProp megasas_props[] = {
    { "max_sge", PROP_UINT32, "80" },
    { "max_cmds", PROP_UINT32, "1000" },
    { "hba_serial", PROP_STR, NULL },
    { "sas_address", PROP_UINT64, "0" },
    { "msi", PROP_ON_OFF_AUTO, "auto" },
    { "msix", PROP_ON_OFF_AUTO, "auto" },
    { "use_jbod", PROP_BIT, "false" },
    { NULL },
};

static const DeviceProp mptsas_props[] = {
    { "sas_address", PROP_UINT64, "0" },
    { "msi", PROP_ON_OFF_AUTO, "auto" },
    { NULL },
};

static const DeviceProp pvscsi_props[] = {
    { "use_msg", PROP_UINT8, "1" },
    { NULL },
};

static const DeviceProp nvme_props[] = {
    { "num_queues", PROP_UINT32, "0" },
    { "max_ioqpairs", PROP_UINT32, "64" },
    { "msix_qsize", PROP_UINT16, "65" },
    { "cmb_size_mb", PROP_UINT32, "0" },
    { "mdts", PROP_UINT8, "7" },
    { "vsl", PROP_UINT8, "7" },
    { "aerl", PROP_UINT8, "3" },
    { "aer_max_queued", PROP_UINT32, "64" },
    { "use-intel-id", PROP_BOOL, "false" },
    { "ioeventfd", PROP_BOOL, "false" },
    { "msix-exclusive-bar", PROP_BOOL, "false" },
    { "smart_critical_warning", PROP_UINT8, NULL },
    { "sriov_max_vfs", PROP_UINT8, "0" },
    { "sriov_max_vi_per_vf", PROP_UINT8, "0" },
    { "sriov_max_vq_per_vf", PROP_UINT8, "0" },
    { "sriov_vi_flexible", PROP_UINT16, "0" },
    { "sriov_vq_flexible", PROP_UINT16, "0" },
    { "zoned.auto_transition", PROP_BOOL, "true" },
    { "zoned.zasl", PROP_UINT8, "0" },
    { NULL },
};

/* --- devices that do nothing: command lines of other programs have them --- */

static const DeviceProp virtio_serial_props[] = {
    { "class", PROP_UINT32, "0" },
    { "emergency-write", PROP_BIT, "true" },
    { "max_ports", PROP_UINT32, "31" },
    { NULL },
};

static const DeviceProp serial_port_props[] = {
    { "chardev", PROP_STR, NULL },
    { "name", PROP_STR, NULL },
    { "nr", PROP_UINT32, "4294967295" },
    { NULL },
};

static const DeviceProp virtio_rng_props[] = {
    { "max-bytes", PROP_UINT64, "9223372036854775807" },
    { "period", PROP_UINT32, "65536" },
    { "rng", PROP_STR, NULL },
    { NULL },
};

static const DeviceProp virtio_balloon_props[] = {
    { "deflate-on-oom", PROP_BIT, "false" },
    { "free-page-hint", PROP_BIT, "false" },
    { "free-page-reporting", PROP_BIT, "false" },
    { "iothread", PROP_IOTHREAD, NULL },
    { "page-poison", PROP_BIT, "true" },
    { NULL },
};

static const DeviceProp net_props[] = {
    { "bootindex", PROP_INT32, NULL },
    { "mac", PROP_STR, NULL },
    { "netdev", PROP_STR, NULL },
    { NULL },
};

static const DeviceProp virtio_net_props[] = {
    { "csum", PROP_BIT, "true" },
    { "gso", PROP_BIT, "true" },
    { "host_mtu", PROP_UINT16, "0" },
    { "mq", PROP_BIT, "false" },
    { "mrg_rxbuf", PROP_BIT, "true" },
    { "rx_queue_size", PROP_UINT16, "256" },
    { "tx_queue_size", PROP_UINT16, "256" },
    { NULL },
};

#define STORAGE "Storage"
#define NETWORK "Network"
#define INPUT "Input"
#define MISC "Misc"
#define CONTROLLER "Controller/Bridge/Hub"
#define VIRTIO_BLK (MODEL_BLOCK | MODEL_VIRTIO_PROXY | MODEL_VIRTIO)

static const DeviceModel models[] = {
    { "virtio-blk-pci", "virtio-blk-pci-base", STORAGE, BUS_PCI, BUS_NONE,
      VIRTIO_BLK,
      { block_props, disk_props, error_props, chs_props, virtio_props,
        virtio_blk_props, pci_props, virtio_pci_props, virtio_blk_pci_props } },
    { "virtio-blk-ccw", "virtio-ccw-device", STORAGE, BUS_CCW, BUS_NONE,
      VIRTIO_BLK,
      { block_props, disk_props, error_props, chs_props, virtio_props,
        virtio_blk_props, ccw_props } },
    { "virtio-blk-device", "virtio-device", STORAGE, BUS_VIRTIO, BUS_NONE,
      MODEL_BLOCK,
      { block_props, disk_props, error_props, chs_props, virtio_props,
        virtio_blk_props } },
    { "virtio-scsi-pci", "virtio-scsi-pci-base", STORAGE, BUS_PCI, BUS_SCSI,
      MODEL_VIRTIO,
      { virtio_props, virtio_scsi_props, pci_props, virtio_pci_props } },
    { "virtio-scsi-ccw", "virtio-ccw-device", STORAGE, BUS_CCW, BUS_SCSI,
      MODEL_VIRTIO, { virtio_props, virtio_scsi_props, ccw_props } },
    { "virtio-scsi-device", "virtio-scsi-common", STORAGE, BUS_VIRTIO,
      BUS_SCSI, 0, { virtio_props, virtio_scsi_props } },
    { "scsi-hd", "scsi-disk-base", STORAGE, BUS_SCSI, BUS_NONE, MODEL_BLOCK,
      { block_props, disk_props, error_props, chs_props, scsi_props,
        scsi_hd_props } },
    { "scsi-cd", "scsi-disk-base", STORAGE, BUS_SCSI, BUS_NONE,
      MODEL_BLOCK | MODEL_REMOVABLE | MODEL_TRAY | MODEL_CDROM,
      { block_props, disk_props, error_props, scsi_props, scsi_cd_props } },
    { "scsi-block", "scsi-disk-base", STORAGE, BUS_SCSI, BUS_NONE,
      MODEL_BLOCK, { block_props, disk_props, error_props, scsi_props },
      "scsi-block needs a SCSI device of the host, which is not supported" },
    { "scsi-generic", "scsi-device", STORAGE, BUS_SCSI, BUS_NONE,
      MODEL_BLOCK, { block_props, disk_props, error_props, scsi_props },
      "scsi-generic needs a SCSI device of the host, which is not "
      "supported" },
    { "ide-hd", "ide-device", STORAGE, BUS_IDE, BUS_NONE,
      MODEL_BLOCK | MODEL_NEEDS_WRITE,
      { block_props, disk_props, error_props, chs_props, ide_props,
        ide_hd_props } },
    { "ide-cd", "ide-device", STORAGE, BUS_IDE, BUS_NONE,
      MODEL_BLOCK | MODEL_REMOVABLE | MODEL_TRAY | MODEL_CDROM,
      { block_props, disk_props, error_props, ide_props } },
    { "floppy", "device", STORAGE, BUS_FLOPPY, BUS_NONE,
      MODEL_BLOCK | MODEL_REMOVABLE | MODEL_NO_IOSTATUS,
      { block_props, floppy_props } },
    { "usb-storage", "usb-storage-dev", STORAGE, BUS_USB, BUS_NONE,
      MODEL_BLOCK | MODEL_USB_SCSI,
      { block_props, disk_props, error_props, usb_props } },
    { "nvme", "pci-device", STORAGE, BUS_PCI, BUS_NONE,
      MODEL_BLOCK | MODEL_NO_IOSTATUS | MODEL_NEEDS_SERIAL,
      { block_props, disk_props, nvme_props, pci_props } },
    { "lsi53c895a", "pci-device", STORAGE, BUS_PCI, BUS_SCSI, 0,
      { pci_props } },
    { "megasas", "megasas-base", STORAGE, BUS_PCI, BUS_SCSI, 0,
      { pci_props, megasas_props } },
    { "mptsas1068", "pci-device", STORAGE, BUS_PCI, BUS_SCSI, 0,
      { pci_props, mptsas_props } },
    { "pvscsi", "pci-device", STORAGE, BUS_PCI, BUS_SCSI, 0,
      { pci_props, pvscsi_props } },
    { "ich9-ahci", "pci-device", STORAGE, BUS_PCI, BUS_IDE, 0,
      { pci_props } },
    { "piix3-ide", "pci-ide", STORAGE, BUS_PCI, BUS_IDE, 0,
      { pci_props } },
    { "isa-fdc", "isa-device", STORAGE, BUS_ISA, BUS_FLOPPY, 0,
      { fdc_props } },
    { "usb-ehci", "pci-ehci-usb", CONTROLLER, BUS_PCI, BUS_USB, 0,
      { pci_props, ehci_props } },
    { "qemu-xhci", "pci-xhci", CONTROLLER, BUS_PCI, BUS_USB, 0,
      { pci_props, xhci_props } },
    { "nec-usb-xhci", "pci-xhci", CONTROLLER, BUS_PCI, BUS_USB, 0,
      { pci_props, xhci_props, nec_xhci_props } },
    { "pcie-root-port", "pcie-root-port-base", CONTROLLER, BUS_PCI, BUS_PCI,
      0, { pci_props, port_props, reserve_props } },
    { "pci-bridge", "base-pci-bridge", CONTROLLER, BUS_PCI, BUS_PCI, 0,
      { pci_props, reserve_props, bridge_props } },
    { "virtio-net-pci", "virtio-net-pci-base", NETWORK, BUS_PCI, BUS_NONE,
      MODEL_INERT, { virtio_props, net_props, virtio_net_props, pci_props,
                     virtio_pci_props } },
    { "e1000", "e1000-base", NETWORK, BUS_PCI, BUS_NONE, MODEL_INERT,
      { net_props, pci_props } },
    { "virtio-serial-pci", "virtio-serial-pci-base", INPUT, BUS_PCI,
      BUS_VIRTIO_SERIAL, MODEL_INERT,
      { virtio_props, virtio_serial_props, pci_props, virtio_pci_props } },
    { "virtserialport", "virtio-serial-port", INPUT, BUS_VIRTIO_SERIAL,
      BUS_NONE, MODEL_INERT, { serial_port_props } },
    { "virtconsole", "virtserialport", INPUT, BUS_VIRTIO_SERIAL, BUS_NONE,
      MODEL_INERT, { serial_port_props } },
    { "virtio-balloon-pci", "virtio-balloon-pci-base", MISC, BUS_PCI,
      BUS_NONE, MODEL_INERT,
      { virtio_props, virtio_balloon_props, pci_props, virtio_pci_props } },
    { "virtio-rng-pci", "virtio-rng-pci-base", MISC, BUS_PCI, BUS_NONE,
      MODEL_INERT,
      { virtio_props, virtio_rng_props, pci_props, virtio_pci_props } },
};

static const struct {
    const char *alias, *name;
} aliases[] = {
    { "virtio-blk", "virtio-blk-pci" },
    { "virtio-scsi", "virtio-scsi-pci" },
    { "virtio-net", "virtio-net-pci" },
    { "virtio-serial", "virtio-serial-pci" },
    { "virtio-balloon", "virtio-balloon-pci" },
    { "virtio-rng", "virtio-rng-pci" },
    { "lsi", "lsi53c895a" },
    { "ahci", "ich9-ahci" },
};

static const char *const bus_names[] = {
    [BUS_NONE] = "", [BUS_PCI] = "PCI", [BUS_VIRTIO] = "virtio-bus",
    [BUS_CCW] = "virtual-css-bus", [BUS_SCSI] = "SCSI", [BUS_IDE] = "IDE",
    [BUS_FLOPPY] = "floppy-bus", [BUS_USB] = "usb-bus", [BUS_ISA] = "ISA",
    [BUS_VIRTIO_SERIAL] = "virtio-serial-bus",
};

const char *bus_kind_name(BusKind kind)
{
    return bus_names[kind];
}

const DeviceModel *device_model_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
        if (!strcmp(aliases[i].alias, name)) {
            name = aliases[i].name;
            break;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        if (!strcmp(models[i].name, name)) {
            return &models[i];
        }
    }
    return NULL;
}

const DeviceModel *device_model_next(const DeviceModel *model)
{
    const DeviceModel *next = model ? model + 1 : models;

    return next < models + ARRAY_SIZE(models) ? next : NULL;
}

const DeviceProp *device_model_prop(const DeviceModel *model,
                                    const char *name)
{
    for (int set = 0; model->props[set]; set++) {
        for (const DeviceProp *p = model->props[set]; p->name; p++) {
            if (!strcmp(p->name, name)) {
                return p;
            }
        }
    }
    return NULL;
}

/* --- help --- */

static const char *prop_type(PropKind kind)
{
    static const char *const names[] = {
        [PROP_STR] = "str", [PROP_BOOL] = "bool",
        [PROP_ON_OFF_AUTO] = "OnOffAuto", [PROP_INT32] = "int32",
        [PROP_UINT8] = "uint8", [PROP_UINT16] = "uint16",
        [PROP_UINT32] = "uint32", [PROP_UINT64] = "uint64",
        [PROP_SIZE] = "size", [PROP_BLOCK_SIZE] = "size",
        [PROP_ON_ERROR] = "BlockdevOnError", [PROP_DRIVE] = "str",
        [PROP_IOTHREAD] = "link<iothread>", [PROP_BIT] = "bool",
        [PROP_PCI_ADDR] = "int32", [PROP_CHS_TRANS] = "BiosAtaTranslation",
        [PROP_FLOPPY_TYPE] = "FdcDriveType",
    };

    return names[kind];
}

static const char *prop_text(PropKind kind)
{
    switch (kind) {
    case PROP_BIT:
        return "on/off";
    case PROP_ON_OFF_AUTO:
        return "on/off/auto";
    case PROP_BLOCK_SIZE:
        return "A power of two between 512 B and 2 MiB";
    case PROP_ON_ERROR:
        return "Error handling policy, report/ignore/enospc/stop/auto";
    case PROP_DRIVE:
        return "Node name or ID of a block device to use as a backend";
    case PROP_PCI_ADDR:
        return "Slot and optional function number, example: 06.0 or 06";
    case PROP_CHS_TRANS:
        return "Logical CHS translation algorithm, "
               "auto/none/lba/large/rechs";
    case PROP_FLOPPY_TYPE:
        return "FDC drive type, 144/288/120/none/auto";
    default:
        return NULL;
    }
}

static struct json_object *default_json(const DeviceProp *prop)
{
    switch (prop->kind) {
    case PROP_BOOL:
    case PROP_BIT:
        return json_object_new_boolean(!strcmp(prop->dflt, "true"));
    case PROP_STR:
    case PROP_ON_OFF_AUTO:
    case PROP_ON_ERROR:
    case PROP_CHS_TRANS:
    case PROP_FLOPPY_TYPE:
        return json_object_new_string(prop->dflt);
    case PROP_PCI_ADDR:
        return json_object_new_int64(-1);
    default:
        return json_object_new_uint64(g_ascii_strtoull(prop->dflt, NULL, 10));
    }
}

ObjectPropertyInfo *device_prop_info(const DeviceProp *prop, bool dflt)
{
    ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

    info->name = g_strdup(prop->name);
    info->type = g_strdup(prop_type(prop->kind));
    if (dflt) {
        info->description = g_strdup(prop_text(prop->kind));
        info->default_value = prop->dflt ? default_json(prop) : NULL;
    }
    return info;
}

static void print_models(const char *group)
{
    printf("%s devices:\n", group);
    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        const DeviceModel *m = &models[i];

        if (strcmp(m->group, group) || m->refused) {
            continue;
        }
        printf("name \"%s\", bus %s", m->name, bus_kind_name(m->bus));
        for (size_t j = 0; j < ARRAY_SIZE(aliases); j++) {
            if (!strcmp(aliases[j].name, m->name)) {
                printf(", alias \"%s\"", aliases[j].alias);
            }
        }
        printf("%s\n", m->flags & MODEL_INERT ? ", without effect" : "");
    }
}

/* Sorts names like the lines that begin with them. */
static gint compare_props(gconstpointer a, gconstpointer b)
{
    const DeviceProp *const *one = a, *const *two = b;
    g_autofree char *left = g_strconcat((*one)->name, "=", NULL);
    g_autofree char *right = g_strconcat((*two)->name, "=", NULL);

    return strcmp(left, right);
}

static void print_props(const DeviceModel *model)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();

    for (int set = 0; model->props[set]; set++) {
        for (const DeviceProp *p = model->props[set]; p->name; p++) {
            g_ptr_array_add(sorted, (void *)p);
        }
    }
    g_ptr_array_sort(sorted, compare_props);
    printf("%s options:\n", model->name);
    for (guint i = 0; i < sorted->len; i++) {
        const DeviceProp *p = g_ptr_array_index(sorted, i);
        g_autofree char *left = g_strdup_printf("  %s=<%s>", p->name,
                                                prop_type(p->kind));
        const char *text = prop_text(p->kind);
        bool quoted = p->kind == PROP_STR || p->kind == PROP_ON_OFF_AUTO ||
                      p->kind == PROP_ON_ERROR ||
                      p->kind == PROP_CHS_TRANS ||
                      p->kind == PROP_FLOPPY_TYPE;

        if (p->dflt) {
            printf("%-24s - %s (default: %s%s%s)\n", left, text ? text : "",
                   quoted ? "\"" : "", p->dflt, quoted ? "\"" : "");
        } else {
            printf("%-24s%s%s\n", left, text ? " - " : "", text ? text : "");
        }
    }
}

static void print_all_models(void)
{
    static const char *const groups[] = {
        CONTROLLER, STORAGE, NETWORK, INPUT, MISC,
    };

    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        printf("%s", i ? "\n" : "");
        print_models(groups[i]);
    }
}

bool device_print_help(const char *options)
{
    g_auto(GStrv) words = g_strsplit(options, ",", 2);
    const DeviceModel *model;

    if (!strcmp(options, "help") || !strcmp(options, "?")) {
        print_all_models();
        return true;
    }
    if (!words[0] || !words[1] ||
        (strcmp(words[1], "help") && strcmp(words[1], "?"))) {
        return false;
    }
    model = device_model_find(words[0]);
    if (!model) {
        error_report("'%s' is not a valid device model name", words[0]);
        exit(EXIT_FAILURE);
    }
    print_props(model);
    return true;
}
