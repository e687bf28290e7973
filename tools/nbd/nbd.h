/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the parts of qemu-nbd. */
#ifndef TOOLS_NBD_H
#define TOOLS_NBD_H

#include "qapi/qapi-types-block-core.h"
#include "tools/common/cli.h"
#include "tools/common/image.h"

typedef struct BlockDirtyBitmapOrStrList BlockDirtyBitmapOrStrList;
typedef struct SocketAddress SocketAddress;

typedef struct NbdArgs {
    ToolImage image;
    const char *port, *bind, *socket; /* NULL: not given */
    const char *export, *description, *pid_file, *snapshot;
    const char *tls_creds, *tls_authz;
    const char *connect, *disconnect; /* kernel devices */
    bool read_only, persistent, verbose, list, fork, depth, discard_unmap;
    bool has_cache, has_aio, has_discard;
    BlockdevDetectZeroesOptions detect_zeroes;
    uint32_t shared;                  /* clients at a time; 0: no limit */
    int64_t offset;                   /* bytes */
    BlockDirtyBitmapOrStrList *bitmaps;
} NbdArgs;

/* options.c: parses the command line; errors end the program. */
void nbd_args_parse(NbdArgs *args, int argc, char **argv);
void nbd_args_free(NbdArgs *args);

/* list.c: -L: prints the exports at @addr; returns the exit status. */
int nbd_list(const SocketAddress *addr);

/*
 * background.c: --fork.  The parent relays the child's stderr and exits with 0
 * when that ends, or with 1 if there was output.
 */
void nbd_background(void);
/* The server is ready: ends the parent; @verbose: stderr stays open. */
void nbd_background_ready(bool verbose);
/* Writes the process id to @path; reports errors. */
bool nbd_write_pid_file(const char *path);

#endif
