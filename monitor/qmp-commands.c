/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the monitor itself. */
#include "qemu/osdep.h"

#include "monitor/monitor.h"
#include "monitor/qmp-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-control.h"

bool qmp_qmp_capabilities(QmpCapabilitiesArg *arg, Error **errp)
{
    bool oob = false;

    for (QMPCapabilityList *c = arg->enable; c; c = c->next) {
        oob |= c->value == QMP_CAPABILITY_OOB;
    }
    return qmp_session_negotiate(qmp_session_current(), oob, errp);
}

VersionInfo *qmp_query_version(Error **errp)
{
    VersionInfo *info = g_new0(VersionInfo, 1);

    info->qemu = g_new0(VersionTriple, 1);
    info->qemu->major = TIDEMARK_QEMU_MAJOR;
    info->qemu->minor = TIDEMARK_QEMU_MINOR;
    info->qemu->micro = TIDEMARK_QEMU_MICRO;
    info->package = g_strdup(TIDEMARK_PACKAGE);
    return info;
}
