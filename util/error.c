/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors with a class, one sentence and an optional hint. */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "qemu/error.h"

struct Error {
    ErrorClass eclass;
    char *msg;
    GString *hint;
};

/* Only their addresses matter: they identify a caller's &error_abort. */
Error *error_abort;
Error *error_fatal;

static char *progname;
/* Per thread: a monitor captures the reports of its own commands only. */
static __thread GString *captured; /* NULL: reports go to stderr */
static __thread char *location;    /* NULL: none */
static bool with_time;
static char *guest_name;  /* NULL: not shown */

/* Levels of syslog(3), as journald reads them at the beginning of a line. */
#define LEVEL_ERROR "<3>"
#define LEVEL_WARNING "<4>"
#define LEVEL_NOTICE "<5>"
#define LEVEL_INFO "<6>"

void error_set_progname(const char *argv0)
{
    g_free(progname);
    progname = g_path_get_basename(argv0);
}

static const char *error_progname(void)
{
    return progname ? progname : program_invocation_short_name;
}

GString *error_capture(GString *text)
{
    GString *before = captured;

    captured = text;
    return before;
}

char *error_set_location(char *text)
{
    char *before = location;

    location = text;
    return before;
}

void error_set_prefix(bool timestamp, const char *guest)
{
    with_time = timestamp;
    g_free(guest_name);
    guest_name = g_strdup(guest);
}

/* Is stderr the stream of the journal?  JOURNAL_STREAM has "DEVICE:INODE". */
static bool is_journal(void)
{
    const char *text = g_getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
           st.st_ino == ino;
}

/* Once per line; nothing where a person reads. */
static void print_level(const char *level)
{
    if (is_journal()) {
        fputs(level, stderr);
    }
}

/* "2026-11-22T01:03:14.287138Z GUEST PROGRAM: LOCATION: " */
static void print_prefix(void)
{
    if (with_time) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *text = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");

        fprintf(stderr, "%s.%06dZ ", text, g_date_time_get_microsecond(now));
    }
    if (guest_name) {
        fprintf(stderr, "%s ", guest_name);
    }
    fprintf(stderr, "%s:", error_progname());
    if (location) {
        fprintf(stderr, "%s:", location);
    }
    fputc(' ', stderr);
}

static void G_GNUC_PRINTF(3, 0)
report(const char *level, const char *kind, const char *fmt, va_list ap)
{
    g_autofree char *msg = g_strdup_vprintf(fmt, ap);

    if (captured) {
        g_string_append_printf(captured, "%s%s\n", kind, msg);
        return;
    }
    print_level(level);
    print_prefix();
    fprintf(stderr, "%s%s\n", kind, msg);
}

void error_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report(LEVEL_ERROR, "", fmt, ap);
    va_end(ap);
}

void warn_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report(LEVEL_WARNING, "warning: ", fmt, ap);
    va_end(ap);
}

void info_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report(LEVEL_INFO, "info: ", fmt, ap);
    va_end(ap);
}

void report_hint(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (captured) {
        g_string_append_vprintf(captured, fmt, ap);
    } else {
        print_level(LEVEL_NOTICE);
        vfprintf(stderr, fmt, ap);
    }
    va_end(ap);
}

/* Passes on @err, or ends the program if the caller asked for that. */
static void error_deliver(Error **errp, Error *err)
{
    if (errp == &error_abort) {
        error_report("unexpected error: %s", err->msg);
        abort();
    }
    if (errp == &error_fatal) {
        error_report_err(err);
        exit(1);
    }
    assert(!*errp);
    *errp = err;
}

static void G_GNUC_PRINTF(4, 0)
error_setv(Error **errp, ErrorClass eclass, int os_errno, const char *fmt,
           va_list ap)
{
    int saved_errno = errno;
    Error *err;

    if (!errp) {
        return;
    }
    err = g_new0(Error, 1);
    err->eclass = eclass;
    err->msg = g_strdup_vprintf(fmt, ap);
    if (os_errno) {
        char *msg = g_strdup_printf("%s: %s", err->msg, g_strerror(os_errno));

        g_free(err->msg);
        err->msg = msg;
    }
    error_deliver(errp, err);
    errno = saved_errno;
}

void error_setg(Error **errp, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, ERROR_CLASS_GENERIC_ERROR, 0, fmt, ap);
    va_end(ap);
}

void error_setg_errno(Error **errp, int os_errno, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, ERROR_CLASS_GENERIC_ERROR, os_errno, fmt, ap);
    va_end(ap);
}

void error_set(Error **errp, ErrorClass eclass, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, eclass, 0, fmt, ap);
    va_end(ap);
}

void error_prepend(Error **errp, const char *fmt, ...)
{
    va_list ap;
    char *head, *msg;

    if (!errp || !*errp) {
        return;
    }
    va_start(ap, fmt);
    head = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    msg = g_strconcat(head, (*errp)->msg, NULL);
    g_free(head);
    g_free((*errp)->msg);
    (*errp)->msg = msg;
}

void error_append_hint(Error **errp, const char *fmt, ...)
{
    va_list ap;

    if (!errp || !*errp) {
        return;
    }
    if (!(*errp)->hint) {
        (*errp)->hint = g_string_new(NULL);
    }
    va_start(ap, fmt);
    g_string_append_vprintf((*errp)->hint, fmt, ap);
    va_end(ap);
}

void error_propagate(Error **errp, Error *err)
{
    if (!err) {
        return;
    }
    /* The first error is kept: it is closer to the cause. */
    if (!errp || (errp != &error_abort && errp != &error_fatal && *errp)) {
        error_free(err);
        return;
    }
    error_deliver(errp, err);
}

const char *error_get_pretty(const Error *err)
{
    return err->msg;
}

const char *error_get_hint(const Error *err)
{
    return err->hint ? err->hint->str : NULL;
}

ErrorClass error_get_class(const Error *err)
{
    return err->eclass;
}

const char *error_class_name(ErrorClass eclass)
{
    static const char *const names[] = {
        [ERROR_CLASS_GENERIC_ERROR] = "GenericError",
        [ERROR_CLASS_COMMAND_NOT_FOUND] = "CommandNotFound",
        [ERROR_CLASS_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [ERROR_CLASS_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [ERROR_CLASS_KVM_MISSING_CAP] = "KVMMissingCap",
    };

    assert(eclass < ARRAY_SIZE(names));
    return names[eclass];
}

void error_free(Error *err)
{
    if (!err) {
        return;
    }
    g_free(err->msg);
    if (err->hint) {
        g_string_free(err->hint, TRUE);
    }
    g_free(err);
}

void error_report_err(Error *err)
{
    error_report("%s", err->msg);
    if (err->hint && err->hint->len) {
        const char *hint = err->hint->str;
        const char *end = g_str_has_suffix(hint, "\n") ? "" : "\n";

        if (captured) {
            g_string_append_printf(captured, "%s%s", hint, end);
        } else {
            fprintf(stderr, "%s%s", hint, end);
        }
    }
    error_free(err);
}
