/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of file descriptors opened by another process.  /dev/fdset/N stands for
 * a descriptor of set N that has the requested access mode.
 */
#ifndef QEMU_FDSET_H
#define QEMU_FDSET_H

#include "qemu/osdep.h"

/*
 * Adds @fd, which is closed when it is removed, to set @id (< 0: a new set);
 * @opaque is a note, or NULL.  Returns the set's number.
 */
int64_t fdset_add(int64_t id, int fd, const char *opaque);
/* Removes @fd (< 0: all) of set @id; false if it is not there. */
bool fdset_remove(int64_t id, int fd);
/* Removes the sets of which no duplicate is open. */
void fdset_remove_unused(void);
/* Calls @fn for each descriptor, sets in rising order. */
void fdset_foreach(void (*fn)(int64_t id, int fd, const char *opaque,
                              void *arg), void *arg);
/*
 * open(2), but for /dev/fdset/N a duplicate is returned.  Always with
 * O_CLOEXEC.  -1 and errno on failure; ENOENT: there is no such set,
 * EACCES: none of its descriptors has the access mode.
 */
int fdset_open(const char *path, int flags, mode_t mode);
/*
 * Does @path exist but cannot be opened for writing, because the file system
 * forbids it or set N has no such descriptor?
 */
bool fdset_is_write_protected(const char *path);

#endif
