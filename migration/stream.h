/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a migration: what is to be sent is put together in memory and
 * written whole; what is received is read by checked, typed steps.
 *
 * A reader that failed returns zeroes from then on, and keeps the first error:
 * the caller checks it once at the end of a step, before it uses what it read.
 */
#ifndef MIGRATION_STREAM_H
#define MIGRATION_STREAM_H

#include "qemu/aio.h"
#include "qemu/error.h"

/* --- to be sent; numbers are big endian --- */

void mig_put_8(GByteArray *out, uint8_t value);
void mig_put_16(GByteArray *out, uint16_t value);
void mig_put_32(GByteArray *out, uint32_t value);
void mig_put_64(GByteArray *out, uint64_t value);
void mig_put_bytes(GByteArray *out, const void *data, size_t len);
/* A byte with the length, at most 255, and the text. */
void mig_put_name(GByteArray *out, const char *text);

/* --- a channel: a descriptor that coroutines of the main thread use --- */

typedef struct MigChannel {
    int fd;         /* non-blocking unless a plain file; -1: closed */
    bool is_socket; /* both directions, and can be shut down */
    pid_t child;    /* the command at its other end; 0: none */
    uint64_t written; /* bytes that the kernel has taken */
    bool broken;    /* mig_channel_break() was called */
    CoSleep pause;  /* of mig_channel_sleep() */
    ThreadPoolWait child_wait;
} MigChannel;

/* Takes @fd. */
MigChannel *mig_channel_new(int fd, pid_t child);
/*
 * Whoever uses it now, or later, fails.  Outside coroutines.  NULL is allowed.
 */
void mig_channel_break(MigChannel *ch);
/* No more will be written.  If there is a command, waits for it: false with an
 * error if it failed. */
bool coroutine_fn mig_channel_finish(MigChannel *ch, Error **errp);
/* Closes and frees; NULL is allowed.  A command is left to itself. */
void mig_channel_free(MigChannel *ch);
/* Returns early, too, when the channel is broken. */
void coroutine_fn mig_channel_sleep(MigChannel *ch, int64_t ns);
/*
 * Waits, at most @ns, until the receiver has read what was written, as far as
 * the kernel knows.
 */
void coroutine_fn mig_channel_settle(MigChannel *ch, int64_t ns);
/* Writes all of @data; false with an error. */
bool coroutine_fn mig_channel_write(MigChannel *ch, const void *data,
                                    size_t len, Error **errp);

/* --- received --- */

typedef struct MigReader MigReader;

/* Of a channel, which remains the caller's. */
MigReader *mig_reader_new(MigChannel *ch);
/* Of @len bytes in memory, which remain the caller's. */
MigReader *mig_reader_new_memory(const void *data, size_t len);
/* NULL is allowed. */
void mig_reader_free(MigReader *r);
uint8_t coroutine_fn mig_get_8(MigReader *r);
uint16_t coroutine_fn mig_get_16(MigReader *r);
uint32_t coroutine_fn mig_get_32(MigReader *r);
uint64_t coroutine_fn mig_get_64(MigReader *r);
/* Exactly @len bytes; zeroes on failure. */
void coroutine_fn mig_get_bytes(MigReader *r, void *data, size_t len);
/* A length in a byte and a text, which must be valid UTF-8 without NUL bytes;
 * @text has 256 bytes. */
void coroutine_fn mig_get_name(MigReader *r, char *text);
void coroutine_fn mig_skip(MigReader *r, uint64_t len);
/* The stream ends here, or a failure came before; waits for it. */
bool coroutine_fn mig_at_end(MigReader *r);
/* Sets the error unless there is one. */
void mig_reader_fail(MigReader *r, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
bool mig_reader_ok(const MigReader *r);
/* If it failed: the error, once, and false. */
bool mig_reader_check(MigReader *r, Error **errp);
/* Bytes read so far. */
uint64_t mig_reader_position(const MigReader *r);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigReader, mig_reader_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigChannel, mig_channel_free)

#endif
