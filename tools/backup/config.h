/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that name a set of disks, its folder, and how it is backed up.
 *
 *     # /etc/tidemark/vm1.conf
 *     qmp = /run/vm1-backup.sock
 *     disks = all
 *     to = /backup/vm1
 *     keep = 14d,8w,12m
 *
 * The words are those of the options; one line for each, several where an
 * option can be given several times.  A command takes those that it knows.
 */
#ifndef TOOLS_BACKUP_CONFIG_H
#define TOOLS_BACKUP_CONFIG_H

#include "qemu/error.h"

/*
 * Replaces --config=NAME (or -C NAME) among the words of a command, of which
 * (*argv)[0] is the name, by the options of that file, before all others.  NAME
 * is a path, or the name of a file in /etc/tidemark without ".conf".  The new
 * words live until the end of the program.
 */
bool config_expand(int *argc, char ***argv, Error **errp);

#endif
