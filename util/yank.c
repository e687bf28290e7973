/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registry of connections that users may close. */
#include "qemu/osdep.h"

#include "qemu/yank.h"

struct YankEntry {
    YankKind kind;
    char *name;
    void (*cut)(void *opaque);
    void *opaque;
    LIST_ENTRY(YankEntry) list;
};

static LIST_HEAD(, YankEntry) entries = LIST_HEAD_INITIALIZER(entries);

YankEntry *yank_add(YankKind kind, const char *name, void (*cut)(void *opaque),
                    void *opaque)
{
    YankEntry *entry = g_new0(YankEntry, 1);

    entry->kind = kind;
    entry->name = g_strdup(name);
    entry->cut = cut;
    entry->opaque = opaque;
    LIST_INSERT_HEAD(&entries, entry, list);
    return entry;
}

void yank_remove(YankEntry *entry)
{
    if (entry) {
        LIST_REMOVE(entry, list);
        g_free(entry->name);
        g_free(entry);
    }
}

YankEntry *yank_next(YankEntry *entry)
{
    return entry ? LIST_NEXT(entry, list) : LIST_FIRST(&entries);
}

YankEntry *yank_find(YankKind kind, const char *name)
{
    YankEntry *entry = NULL;

    while ((entry = yank_next(entry))) {
        if (entry->kind == kind && !strcmp(entry->name, name)) {
            break;
        }
    }
    return entry;
}

YankKind yank_kind(const YankEntry *entry)
{
    return entry->kind;
}

const char *yank_name(const YankEntry *entry)
{
    return entry->name;
}

void yank_cut(YankEntry *entry)
{
    entry->cut(entry->opaque);
}
