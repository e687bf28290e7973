/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A registry of connections that users may close (yank), so that no operation
 * waits without end for a server that does not answer.  Main thread.
 */
#ifndef QEMU_YANK_H
#define QEMU_YANK_H

#include "qemu/error.h"

typedef enum YankKind {
    YANK_BLOCK_NODE,
    YANK_CHARDEV,
    YANK_MIGRATION, /* the name is empty */
} YankKind;

typedef struct YankEntry YankEntry;

/*
 * @cut is called with @opaque to close the connections of @name (copied); it
 * may be called more than once and must not wait.  The entry is the
 * caller's until yank_remove().
 */
YankEntry *yank_add(YankKind kind, const char *name, void (*cut)(void *opaque),
                    void *opaque);
/* NULL is allowed. */
void yank_remove(YankEntry *entry);
/* NULL: there is no entry of that name. */
YankEntry *yank_find(YankKind kind, const char *name);
/* All of them, one by one; NULL starts and ends. */
YankEntry *yank_next(YankEntry *entry);
YankKind yank_kind(const YankEntry *entry);
const char *yank_name(const YankEntry *entry);
void yank_cut(YankEntry *entry);

#endif
