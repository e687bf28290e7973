/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image that qemu-io has open, and the commands that change which. */
#ifndef TOOLS_IO_SESSION_H
#define TOOLS_IO_SESSION_H

#include "tools/common/image.h"

/* How to open; what is 0 or NULL is left as it is usual. */
typedef struct IoOpen {
    ToolImage image;      /* file name, format, key=value text or not */
    const char *options;  /* key=value,... besides the file name; or NULL */
    const char *cache, *discard, *aio;
    bool read_only, nocache, native_aio, copy_on_read, snapshot, force_share;
} IoOpen;

/* Turns the names in @o into flags; reports what is no such name. */
bool io_open_prepare(IoOpen *o);
/* Opens for all following commands; reports what fails. */
bool io_session_open(const IoOpen *o);
/* Closes, after all requests are done. */
void io_session_close(void);
/* The open image, NULL: none. */
BlockBackend *io_session_blk(void);
/* "quit" was given. */
bool io_session_ended(void);
/* Adds open, close, reopen and quit to the commands. */
void io_session_add_commands(void);

#endif
