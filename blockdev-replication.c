/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands on replication. */
#include "qemu/osdep.h"

#include "block/replication.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-replication.h"
#include "qemu/error.h"

bool qmp_xen_set_replication(XenSetReplicationArg *arg, Error **errp)
{
    if (!arg->enable) {
        return replication_stop_all(arg->failover, errp);
    }
    if (arg->has_failover) {
        error_setg(errp, "Parameter 'failover' is only for stopping "
                   "replication");
        return false;
    }
    return replication_start_all(arg->primary ? REPLICATION_MODE_PRIMARY
                                              : REPLICATION_MODE_SECONDARY,
                                 errp);
}

ReplicationStatus *qmp_query_xen_replication_status(Error **errp)
{
    ReplicationStatus *status = g_new0(ReplicationStatus, 1);
    Error *err = NULL;

    if (!replication_check_all(&err)) {
        status->error = true;
        status->desc = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return status;
}

bool qmp_xen_colo_do_checkpoint(Error **errp)
{
    return replication_checkpoint_all(errp);
}
