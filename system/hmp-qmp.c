/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor as a QMP command. */
#include "qemu/osdep.h"
#include "hmp.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-misc.h"

char *qmp_human_monitor_command(HumanMonitorCommandArg *arg, Error **errp)
{
    if (arg->has_cpu_index) {
        error_setg(errp, "Parameter 'cpu-index' expects a CPU number");
        return NULL;
    }
    return hmp_run(arg->command_line, errp);
}
