/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices as far as monitors need them: sockets, standard input and
 * output, files, pipes, terminals.  Main thread.
 */
#ifndef MONITOR_CHARDEV_H
#define MONITOR_CHARDEV_H

#include "qemu/error.h"

typedef struct ChardevOptions ChardevOptions;

typedef struct Chardev Chardev;

/*
 * A connection was opened: @in_fd (-1: nothing can be read) and @out_fd
 * are non-blocking, may be the same, and stay the chardev's.
 */
typedef void ChardevOpened(void *opaque, int in_fd, int out_fd);

struct OptGroup;
struct json_object;

/* What --chardev takes. */
extern const struct OptGroup chardev_opt_group;

/* What the options of that group say. */
ChardevOptions *chardev_options_from(struct json_object *opts, Error **errp);
/* The value of --chardev: KIND,id=ID,...; NULL and @errp on failure. */
ChardevOptions *chardev_options_parse(const char *text, Error **errp);
/*
 * The short way, as in "unix:/path,server=on"; the device gets @id.  What is
 * wrong with the words is reported; @errp says which text they were in.
 */
ChardevOptions *chardev_options_parse_compat(const char *text, const char *id,
                                             Error **errp);
/* The kinds, on stdout; @monitors_only: without those of a screen. */
void chardev_print_help(bool monitors_only);
/* From now on stdio is refused: the program goes into the background. */
void chardev_forbid_stdio(void);

/*
 * Creates the device that @options (the value of --chardev) describe.  A
 * listening socket with wait=on (the default) waits here for its client.
 */
bool chardev_add(const ChardevOptions *options, Error **errp);
/* NULL: there is none of that @id. */
Chardev *chardev_find(const char *id);
/*
 * From now on @opened is called for each connection.  False where the device
 * has a user already.
 */
bool chardev_set_frontend(Chardev *chr, ChardevOpened *opened, void *opaque,
                          Error **errp);
/* The user is done with the connection: it is closed, the next is awaited. */
void chardev_close_connection(Chardev *chr);
/*
 * Writes of @out, of which *@sent bytes were written already, what @fd takes
 * without waiting, and drops what is written from it.  False: the other side
 * is gone.
 */
bool chardev_write_out(int fd, GString *out, size_t *sent);
/* The same, waiting for the other side to read until @end_ns (aio_now_ns()). */
void chardev_flush_out(int fd, GString *out, size_t *sent, int64_t end_ns);
/* Puts a new device into the place of that with @options' id. */
bool chardev_change(const ChardevOptions *options, Error **errp);
/* Closes and frees @chr, which must be unused. */
void chardev_remove(Chardev *chr);
/* The devices one by one; NULL starts and ends. */
Chardev *chardev_next(Chardev *chr);
const char *chardev_id(const Chardev *chr);
/* Is it in use? */
bool chardev_is_open(const Chardev *chr);
/* Has it a user, connected or not? */
bool chardev_is_used(const Chardev *chr);
/* "unix:/path,server=on" and the like; caller frees. */
char *chardev_describe(const Chardev *chr);
/* Closes and frees all; removes the paths of listening unix sockets. */
void chardev_cleanup(void);

/* --- ring buffers --- */

typedef struct ChardevRing ChardevRing;

/* NULL: @chr is no ring buffer. */
ChardevRing *chardev_ring(const Chardev *chr);
/*
 * Keeps the latest @size bytes, a power of two.  What is written to *@fd,
 * which becomes the caller's, comes into it.
 */
ChardevRing *chardev_ring_new(uint64_t size, int *fd, Error **errp);
/* NULL is allowed. */
void chardev_ring_free(ChardevRing *ring);
/* Drops the oldest bytes if there is no room. */
void chardev_ring_write(ChardevRing *ring, const uint8_t *bytes, size_t len);
/* Takes out the oldest bytes, @max at most; *@len of them, caller frees. */
uint8_t *chardev_ring_read(ChardevRing *ring, uint64_t max, size_t *len);

#endif
