/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps that do not migrate: nothing is dropped in silence. */
#include "qemu/osdep.h"

#include "migration-int.h"
#include "qapi/qapi-events.h"
#include "settings.h"

bool mig_bitmap_dropped(const char *node, const char *name, const char *reason,
                        Error **errp)
{
    if (mig_parameters()->bitmaps_dropped == BITMAPS_DROPPED_REFUSE) {
        error_setg(errp, "Bitmap '%s' of node '%s' would be dropped: %s", name,
                   node, reason);
        return false;
    }
    warn_report("Bitmap '%s' of node '%s' is dropped: %s", name, node, reason);
    qapi_event_send_migration_bitmap_dropped(&(MigrationBitmapDroppedEvent) {
        .node = (char *)node,
        .name = (char *)name,
        .reason = (char *)reason,
    });
    return true;
}
