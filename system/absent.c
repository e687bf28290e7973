/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries about parts that this machine does not have. */
#include "qemu/osdep.h"

#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-absent.h"
#include "qemu/error.h"

/* An empty list. */
#define NONE(Type, name)                                                     \
    Type##List *qmp_query_##name(Error **errp)                               \
    {                                                                        \
        return NULL;                                                         \
    }

NONE(Memdev, memdev)
NONE(MemoryDeviceInfo, memory_devices)
NONE(CpuDefinitionInfo, cpu_definitions)
NONE(CpuInfoFast, cpus_fast)
NONE(HotpluggableCPU, hotpluggable_cpus)
NONE(MouseInfo, mice)
NONE(VncInfo, vnc_servers)
NONE(PciInfo, pci)
NONE(TPMInfo, tpm)
NONE(TpmModel, tpm_models)
NONE(TpmType, tpm_types)
NONE(ACPIOSTInfo, acpi_ospm_status)

RxFilterInfoList *qmp_query_rx_filter(QueryRxFilterArg *arg, Error **errp)
{
    if (arg->name) {
        error_setg(errp, "invalid net client name: %s", arg->name);
    }
    return NULL;
}

BalloonInfo *qmp_query_balloon(Error **errp)
{
    error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE,
              "No balloon device has been activated");
    return NULL;
}

bool qmp_balloon(BalloonArg *arg, Error **errp)
{
    qmp_query_balloon(errp);
    return false;
}

GuidInfo *qmp_query_vm_generation_id(Error **errp)
{
    error_setg(errp, "VM Generation ID device not found");
    return NULL;
}

bool qmp_system_wakeup(Error **errp)
{
    error_setg(errp, "wake-up from suspend is not supported by this guest");
    return false;
}

MemoryInfo *qmp_query_memory_size_summary(Error **errp)
{
    return g_new0(MemoryInfo, 1);
}

CurrentMachineParams *qmp_query_current_machine(Error **errp)
{
    return g_new0(CurrentMachineParams, 1);
}

VncInfo *qmp_query_vnc(Error **errp)
{
    return g_new0(VncInfo, 1);
}

KvmInfo *qmp_query_kvm(Error **errp)
{
    return g_new0(KvmInfo, 1);
}

TargetInfo *qmp_query_target(Error **errp)
{
    TargetInfo *info = g_new0(TargetInfo, 1);

#if defined(__aarch64__)
    info->arch = SYS_EMU_TARGET_AARCH64;
#elif defined(__s390x__)
    info->arch = SYS_EMU_TARGET_S390X;
#else
    info->arch = SYS_EMU_TARGET_X86_64;
#endif
    return info;
}
