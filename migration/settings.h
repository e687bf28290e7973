/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capabilities and parameters of migrations, outgoing and incoming. */
#ifndef MIGRATION_SETTINGS_H
#define MIGRATION_SETTINGS_H

#include "qapi/qapi-types-migration.h"
#include "qemu/error.h"

bool mig_capability(MigrationCapability capability);
/* Can a migration go on after the machine has changed over? */
bool mig_postcopy_enabled(void);
/* All of them, with a value each; valid until the next change. */
const MigrationParameters *mig_parameters(void);

#endif
