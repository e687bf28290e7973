/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The type of the machine, and its name. */
#include "qemu/osdep.h"

#include "machine.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-machine.h"

#define UUID_NONE "00000000-0000-0000-0000-000000000000"

typedef struct MachineModel {
    const char *name, *alias, *desc;
} MachineModel;

/* The first is the default.  The others are names used by users of other
 * programs; all of them mean the same machine. */
static const MachineModel models[] = {
    { "tidemark-1.0", "tidemark", "Devices and no processors" },
    { "pc", NULL, "Devices and no processors" },
    { "q35", NULL, "Devices and no processors" },
    { "virt", NULL, "Devices and no processors" },
    { "s390-ccw-virtio", NULL, "Devices and no processors" },
    { "microvm", NULL, "Devices and no processors" },
    { "none", NULL, "Devices and no processors" },
};

/* Versions of these mean the same machine, too. */
static const struct {
    const char *prefix, *name;
} versioned[] = {
    { "pc-i440fx-", "pc" },
    { "pc-q35-", "q35" },
    { "virt-", "virt" },
    { "s390-ccw-virtio-", "s390-ccw-virtio" },
};

static const MachineModel *machine = &models[0];
static char *machine_name;
static char *machine_uuid;

const char *machine_type(void)
{
    return machine->name;
}

void machine_print_help(void)
{
    printf("Supported machines are:\n");
    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        const MachineModel *m = &models[i];

        if (m->alias) {
            printf("%-20s %s (alias of %s)\n", m->alias, m->desc, m->name);
        }
        printf("%-20s %s%s\n", m->name, m->desc, i ? "" : " (default)");
    }
    for (size_t i = 0; i < ARRAY_SIZE(versioned); i++) {
        g_autofree char *name = g_strconcat(versioned[i].prefix, "M.N", NULL);

        printf("%-20s any version of %s\n", name, versioned[i].name);
    }
}

/* Is it two numbers with a point between them? */
static bool is_version(const char *text)
{
    size_t major = strspn(text, "0123456789");
    size_t minor = text[major] == '.'
        ? strspn(text + major + 1, "0123456789") : 0;

    return major > 0 && minor > 0 && text[major + 1 + minor] == '\0';
}

static const char *without_version(const char *type)
{
    for (size_t i = 0; i < ARRAY_SIZE(versioned); i++) {
        const char *prefix = versioned[i].prefix;

        if (g_str_has_prefix(type, prefix) &&
            is_version(type + strlen(prefix))) {
            return versioned[i].name;
        }
    }
    return type;
}

bool machine_set_type(const char *type, Error **errp)
{
    type = without_version(type);
    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        if (!strcmp(models[i].name, type) ||
            (models[i].alias && !strcmp(models[i].alias, type))) {
            machine = &models[i];
            return true;
        }
    }
    error_setg(errp, "unsupported machine type");
    error_append_hint(errp, "Use -machine help to list supported machines\n");
    return false;
}

void machine_set_name(const char *name)
{
    g_free(machine_name);
    machine_name = g_strdup(name);
}

bool machine_set_uuid(const char *text, Error **errp)
{
    if (!g_uuid_string_is_valid(text)) {
        error_setg(errp, "failed to parse UUID string: wrong format");
        return false;
    }
    g_free(machine_uuid);
    machine_uuid = g_ascii_strdown(text, -1);
    return true;
}

/* --- commands --- */

NameInfo *qmp_query_name(Error **errp)
{
    NameInfo *info = g_new0(NameInfo, 1);

    info->name = g_strdup(machine_name);
    return info;
}

UuidInfo *qmp_query_uuid(Error **errp)
{
    UuidInfo *info = g_new0(UuidInfo, 1);

    info->UUID = g_strdup(machine_uuid ? machine_uuid : UUID_NONE);
    return info;
}

MachineInfoList *qmp_query_machines(Error **errp)
{
    MachineInfoList *list = NULL, **tail = &list;

    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        MachineInfo *info = g_new0(MachineInfo, 1);

        info->name = g_strdup(models[i].name);
        info->alias = g_strdup(models[i].alias);
        info->has_is_default = info->is_default = i == 0;
        info->cpu_max = 1;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
