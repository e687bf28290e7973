/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the commands of qemu-io. */
#ifndef TOOLS_IO_INT_H
#define TOOLS_IO_INT_H

#include "command.h"

QemuIoFunc io_read, io_readv, io_write, io_writev, io_aio_read, io_aio_write;
QemuIoFunc io_aio_flush, io_flush, io_discard, io_alloc, io_map, io_length;
QemuIoFunc io_truncate, io_info, io_sleep, io_break, io_remove_break;
QemuIoFunc io_resume, io_wait_break, io_sigraise, io_abort;

/* --- arguments (command.c); errors are printed --- */

/* A number of bytes, with suffix; at least 0. */
bool io_number(const char *text, int64_t *value);
/* The same, at most BDRV_REQUEST_MAX_BYTES. */
bool io_length_arg(const char *text, int64_t *bytes);

/* Options of reads and writes; each command takes some of them. */
typedef struct IoOptions {
    bool vmstate;   /* -b */
    bool compress;  /* -c */
    bool csv;       /* -C */
    bool fua;       /* -f */
    bool invalid;   /* -i */
    bool no_slow;   /* -n */
    bool quiet;     /* -q */
    bool unmap;     /* -u */
    bool dump;      /* -v */
    bool zero;      /* -z */
    bool has_pattern;
    int pattern;                      /* -P */
    const char *file;                 /* -s, of write: pattern file */
    bool has_start, has_length;
    int64_t start, length;            /* -s, -l, of read: what to verify */
} IoOptions;

/*
 * Parses the options in @letters (as for getopt); returns the index of the
 * first operand, or 0 if the command must fail.
 */
int io_options(int argc, char **argv, const char *letters, IoOptions *o);
/* Is an offset or a length one of whole sectors?  Prints an error if not. */
bool io_check_aligned(const char *text, int64_t value, const char *what);
/* Are the options of a write compatible?  Prints an error if not. */
bool io_check_write_options(const IoOptions *o);
/* BDRV_REQ_* for them. */
int io_write_flags(const IoOptions *o);

/* --- buffers and reports (pattern.c) --- */

/* A buffer filled with @fill; aligned for @blk.  Free with io_free(). */
void *io_alloc_buffer(BlockBackend *blk, int64_t bytes, int fill);
void io_free(void *buf);
/* One buffer of several parts: parses lengths @argv (NULL-ended, at least
 * one); *@buf is freed with io_free(), @qiov destroyed.  False: printed. */
bool io_vector(BlockBackend *blk, QEMUIOVector *qiov, char **argv, int fill,
               void **buf);
/* Fills @buf with the content of @filename, repeated.  False: printed. */
bool io_fill_from_file(void *buf, int64_t bytes, const char *filename);
/* Is [@start, +@length) of @buf all @pattern?  Prints where it differs. */
bool io_verify(const uint8_t *buf, int64_t offset, int64_t start,
               int64_t length, int pattern);
/* Hexadecimal dump, sixteen bytes a line. */
void io_dump(const uint8_t *buf, int64_t offset, int64_t bytes);
/* "64 KiB", "1.500 KiB", "3 bytes"; caller frees. */
char *io_size_text(double bytes);
/* "read 512/512 bytes at offset 0" and the speed; nothing with -q. */
void io_report(const char *what, const IoOptions *o, int64_t offset,
               int64_t bytes, int64_t ns);

#endif
