/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parameters of options, and the answer to query-command-line-options.
 * Names and types are an interface: management programs look there for
 * supported parameters, including those that have no effect here.
 */
#include "qemu/osdep.h"

#include "monitor/chardev.h"
#include "options.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-machine.h"
#include "storage-daemon/program.h"

static const OptParam machine_params[] = {
    { "loadparm", OPT_STRING }, { "dea-key-wrap", OPT_BOOL },
    { "aes-key-wrap", OPT_BOOL }, { "suppress-vmdesc", OPT_BOOL },
    { "iommu", OPT_BOOL }, { "firmware", OPT_STRING }, { "usb", OPT_BOOL },
    { "mem-merge", OPT_BOOL }, { "dump-guest-core", OPT_BOOL },
    { "dt_compatible", OPT_STRING }, { "phandle_start", OPT_NUMBER },
    { "dumpdtb", OPT_STRING }, { "dtb", OPT_STRING }, { "append", OPT_STRING },
    { "initrd", OPT_STRING }, { "kernel", OPT_STRING },
    { "kvm_shadow_mem", OPT_SIZE }, { "kernel_irqchip", OPT_BOOL },
    { "accel", OPT_STRING }, { "type", OPT_STRING },
    { NULL },
};

static const OptParam sandbox_params[] = {
    { "resourcecontrol", OPT_STRING }, { "spawn", OPT_STRING },
    { "elevateprivileges", OPT_STRING }, { "obsolete", OPT_STRING },
    { "enable", OPT_BOOL },
    { NULL },
};

static const OptParam action_params[] = {
    { "watchdog", OPT_STRING }, { "panic", OPT_STRING },
    { "reboot", OPT_STRING }, { "shutdown", OPT_STRING },
    { NULL },
};

static const OptParam name_params[] = {
    { "debug-threads", OPT_BOOL }, { "process", OPT_STRING },
    { "guest", OPT_STRING },
    { NULL },
};

static const OptParam msg_params[] = {
    { "guest-name", OPT_BOOL }, { "timestamp", OPT_BOOL },
    { NULL },
};

static const OptParam overcommit_params[] = {
    { "cpu-pm", OPT_BOOL }, { "mem-lock", OPT_BOOL },
    { NULL },
};

static const OptParam add_fd_params[] = {
    { "opaque", OPT_STRING }, { "set", OPT_NUMBER }, { "fd", OPT_NUMBER },
    { NULL },
};

static const OptParam boot_opts_params[] = {
    { "strict", OPT_BOOL }, { "reboot-timeout", OPT_NUMBER },
    { "splash-time", OPT_NUMBER }, { "splash", OPT_STRING },
    { "menu", OPT_BOOL }, { "once", OPT_STRING }, { "order", OPT_STRING },
    { NULL },
};

static const OptParam smp_opts_params[] = {
    { "maxcpus", OPT_NUMBER }, { "threads", OPT_NUMBER },
    { "cores", OPT_NUMBER }, { "clusters", OPT_NUMBER },
    { "dies", OPT_NUMBER }, { "sockets", OPT_NUMBER }, { "cpus", OPT_NUMBER },
    { NULL },
};

static const OptParam memory_params[] = {
    { "maxmem", OPT_SIZE }, { "slots", OPT_NUMBER }, { "size", OPT_SIZE },
    { NULL },
};

static const OptParam mon_params[] = {
    { "pretty", OPT_BOOL }, { "chardev", OPT_STRING }, { "mode", OPT_STRING },
    { NULL },
};

static const OptParam global_params[] = {
    { "value", OPT_STRING }, { "property", OPT_STRING },
    { "driver", OPT_STRING },
    { NULL },
};

static const OptParam rtc_params[] = {
    { "driftfix", OPT_STRING }, { "clock", OPT_STRING },
    { "base", OPT_STRING },
    { NULL },
};

static const OptParam drive_params[] = {
    { "copy-on-read", OPT_BOOL }, { "werror", OPT_STRING },
    { "rerror", OPT_STRING }, { "read-only", OPT_BOOL },
    { "file", OPT_STRING }, { "if", OPT_STRING }, { "media", OPT_STRING },
    { "index", OPT_NUMBER }, { "unit", OPT_NUMBER }, { "bus", OPT_NUMBER },
    { "stats-account-failed", OPT_BOOL },
    { "stats-account-invalid", OPT_BOOL }, { "detect-zeroes", OPT_STRING },
    { "throttling.group", OPT_STRING }, { "throttling.iops-size", OPT_NUMBER },
    { "throttling.bps-write-max-length", OPT_NUMBER },
    { "throttling.bps-read-max-length", OPT_NUMBER },
    { "throttling.bps-total-max-length", OPT_NUMBER },
    { "throttling.iops-write-max-length", OPT_NUMBER },
    { "throttling.iops-read-max-length", OPT_NUMBER },
    { "throttling.iops-total-max-length", OPT_NUMBER },
    { "throttling.bps-write-max", OPT_NUMBER },
    { "throttling.bps-read-max", OPT_NUMBER },
    { "throttling.bps-total-max", OPT_NUMBER },
    { "throttling.iops-write-max", OPT_NUMBER },
    { "throttling.iops-read-max", OPT_NUMBER },
    { "throttling.iops-total-max", OPT_NUMBER },
    { "throttling.bps-write", OPT_NUMBER },
    { "throttling.bps-read", OPT_NUMBER },
    { "throttling.bps-total", OPT_NUMBER },
    { "throttling.iops-write", OPT_NUMBER },
    { "throttling.iops-read", OPT_NUMBER },
    { "throttling.iops-total", OPT_NUMBER }, { "werror", OPT_STRING },
    { "format", OPT_STRING }, { "cache.writeback", OPT_BOOL },
    { "aio", OPT_STRING }, { "snapshot", OPT_BOOL },
    { "force-share", OPT_BOOL }, { "discard", OPT_STRING },
    { "auto-read-only", OPT_BOOL }, { "cache.no-flush", OPT_BOOL },
    { "cache.direct", OPT_BOOL }, { "driver", OPT_STRING },
    { "node-name", OPT_STRING },
    { NULL },
};

static const OptParam no_params[] = { { NULL } };

const OptGroup machine_opt_group = { "machine", "type", machine_params };
const OptGroup sandbox_opt_group = { "sandbox", "enable", sandbox_params };
const OptGroup action_opt_group = { "action", NULL, action_params };
const OptGroup name_opt_group = { "name", "guest", name_params };
const OptGroup msg_opt_group = { "msg", NULL, msg_params };
const OptGroup overcommit_opt_group = {
    "overcommit", NULL, overcommit_params
};
const OptGroup add_fd_opt_group = { "add-fd", NULL, add_fd_params };
const OptGroup boot_opt_group = { "boot-opts", "order", boot_opts_params };
const OptGroup smp_opt_group = { "smp-opts", "cpus", smp_opts_params };
const OptGroup memory_opt_group = { "memory", "size", memory_params };
const OptGroup mon_opt_group = { "mon", "chardev", mon_params };
const OptGroup global_opt_group = { "global", NULL, global_params };
const OptGroup rtc_opt_group = { "rtc", NULL, rtc_params };
const OptGroup drive_opt_group = { "drive", NULL, drive_params };
/* Groups whose parameters depend on the type are listed without any. */
const OptGroup object_opt_group = { "object", NULL, no_params };
const OptGroup accel_opt_group = { "accel", NULL, no_params };
const OptGroup net_opt_group = { "net", NULL, no_params };
const OptGroup nic_opt_group = { "nic", NULL, no_params };
const OptGroup device_opt_group = { "device", "driver", no_params };

static const OptGroup *const groups[] = {
    &machine_opt_group, &sandbox_opt_group, &action_opt_group, &name_opt_group,
    &msg_opt_group, &overcommit_opt_group, &object_opt_group,
    &add_fd_opt_group, &boot_opt_group, &smp_opt_group, &memory_opt_group,
    &accel_opt_group, &trace_opt_group, &mon_opt_group, &global_opt_group,
    &rtc_opt_group, &net_opt_group, &nic_opt_group, &device_opt_group,
    &chardev_opt_group, &drive_opt_group,
};

const OptGroup *option_group_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (!strcmp(groups[i]->name, name)) {
            return groups[i];
        }
    }
    return NULL;
}

static CommandLineParameterType type_of(OptType type)
{
    switch (type) {
    case OPT_STRING:
        return COMMAND_LINE_PARAMETER_TYPE_STRING;
    case OPT_BOOL:
        return COMMAND_LINE_PARAMETER_TYPE_BOOLEAN;
    case OPT_NUMBER:
        return COMMAND_LINE_PARAMETER_TYPE_NUMBER;
    case OPT_SIZE:
        return COMMAND_LINE_PARAMETER_TYPE_SIZE;
    }
    g_assert_not_reached();
}

static CommandLineOptionInfo *describe(const OptGroup *group)
{
    CommandLineOptionInfo *info = g_new0(CommandLineOptionInfo, 1);
    CommandLineParameterInfoList **tail = &info->parameters;

    info->option = g_strdup(group->name);
    for (const OptParam *p = group->params; p && p->name; p++) {
        CommandLineParameterInfo *param = g_new0(CommandLineParameterInfo, 1);

        param->name = g_strdup(p->name);
        param->type = type_of(p->type);
        param->q_default = g_strdup(p->dflt);
        QAPI_LIST_APPEND(tail, param);
    }
    return info;
}

CommandLineOptionInfoList *
qmp_query_command_line_options(QueryCommandLineOptionsArg *arg, Error **errp)
{
    CommandLineOptionInfoList *list = NULL, **tail = &list;

    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (!arg->option || !strcmp(arg->option, groups[i]->name)) {
            QAPI_LIST_APPEND(tail, describe(groups[i]));
        }
    }
    if (arg->option && !list) {
        error_setg(errp, "invalid option name: %s", arg->option);
    }
    return list;
}
