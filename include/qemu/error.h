/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors with a class and one sentence.
 *
 * Rules:
 *  - A function that can fail takes a last parameter `Error **errp`, returns
 *    a value that tells (false, NULL or a negative errno), and sets *errp
 *    exactly when it fails.
 *  - The sentence names the object and the cause: "Bitmap 'b0' is busy".  It
 *    has no final full stop and no newline.
 *  - @errp may be NULL (the caller does not care), &error_abort (failing here
 *    is a bug: print and abort) or &error_fatal (print and exit(1)).
 *  - Callers decide by the return value, never by looking into *errp.
 *
 *     if (!bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_OP_CLEAR, errp)) {
 *         return false;
 *     }
 */
#ifndef QEMU_ERROR_H
#define QEMU_ERROR_H

#include "qemu/osdep.h"

typedef struct Error Error;

/* Class names as QMP clients see them in {"error": {"class": ...}}. */
typedef enum ErrorClass {
    ERROR_CLASS_GENERIC_ERROR,
    ERROR_CLASS_COMMAND_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_ACTIVE,
    ERROR_CLASS_DEVICE_NOT_FOUND,
    ERROR_CLASS_KVM_MISSING_CAP,
} ErrorClass;

extern Error *error_abort;
extern Error *error_fatal;

/* Sets a GenericError; *@errp must not be set yet. */
void error_setg(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* Sets a GenericError and appends ": " and strerror(@os_errno > 0). */
void error_setg_errno(Error **errp, int os_errno, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/* Sets an error of class @eclass. */
void error_set(Error **errp, ErrorClass eclass, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/* Puts text before / adds a hint line after the message, if *@errp is set. */
void error_prepend(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void error_append_hint(Error **errp, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/* Hands @err (may be NULL) to @errp; consumes it. */
void error_propagate(Error **errp, Error *err);

/* The message, without hint; valid as long as @err lives. */
const char *error_get_pretty(const Error *err);
/* The hint, or NULL. */
const char *error_get_hint(const Error *err);
ErrorClass error_get_class(const Error *err);
/* "GenericError", "DeviceNotFound" ... */
const char *error_class_name(ErrorClass eclass);
/* Frees; NULL is allowed. */
void error_free(Error *err);

/* Prints "PROGRAM: MESSAGE" and the hint on stderr, then frees @err. */
void error_report_err(Error *err);
/* Prints "PROGRAM: MESSAGE" on stderr. */
void error_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void warn_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void info_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/*
 * From now on reports are appended to @text, without the program's name; NULL:
 * they go to stderr.  Returns what was set before.  Main thread.
 */
GString *error_capture(GString *text);
/* Prints text without a prefix to where reports go: a hint for the last one. */
void report_hint(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/*
 * Sets the location of the reports on stderr, such as the current option of the
 * command line (" -drive file=x") or a line of a file ("file:3"), printed after
 * the program's name and a colon; NULL: none.  Takes over @text and returns the
 * previous text, for the caller to free or to set again.
 */
char *error_set_location(char *text);
/* Sets the prefix of reports on stderr: the time, and @guest unless NULL. */
void error_set_prefix(bool timestamp, const char *guest);
/* The program name that the above use; default: the base name of argv[0]. */
void error_set_progname(const char *argv0);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

#endif
