/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of qemu-io, for its prompt and for other programs. */
#ifndef TOOLS_IO_COMMAND_H
#define TOOLS_IO_COMMAND_H

#include "block/block-backend.h"

/*
 * A command.  argv[0] is the name used, as for main(); returns 0 or -errno
 * after printing the error.  @blk is not NULL, unless no_file.
 */
typedef int QemuIoFunc(BlockBackend *blk, int argc, char **argv);

typedef struct QemuIoCommand {
    const char *name, *alias; /* alias: NULL: none */
    QemuIoFunc *run;
    int min_args, max_args;   /* besides the name; max -1: no limit */
    bool no_file;             /* works without an open image */
    uint64_t perm;            /* BLK_PERM_* it needs */
    const char *args;         /* "[-q] off len" or NULL */
    const char *text;         /* description in one line */
    const char *help;         /* further help, or NULL */
} QemuIoCommand;

/*
 * Executes the command line @text on @blk (NULL: no image is open).  Returns 0
 * or -errno.  Waits for its requests, except aio_read and aio_write.
 */
int qemuio_command(BlockBackend *blk, const char *text);
/* Adds the commands of @table (ended by a NULL name), which stays in use. */
void qemuio_add_commands(const QemuIoCommand *table);
/* Prints "NAME ARGS -- what it does". */
void qemuio_usage(const char *called_as);
/* Misaligns buffers against the needs of O_DIRECT. */
void qemuio_set_misalign(bool misalign);
/* Waits for the requests of aio_read and aio_write. */
void qemuio_drain(void);
/* The same; lets them pass without limits. */
void qemuio_finish(void);

#endif
