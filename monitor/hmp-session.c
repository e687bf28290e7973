/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions: a chardev, the line editor, and the execution of commands. */
#include "qemu/osdep.h"

#include <termios.h>

#include "hmp-editor.h"
#include "hmp-int.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "qapi/qapi-types-control.h"
#include "qemu/aio.h"

#define OUT_SLOW (1 * MiB) /* accept no commands until this is read */

typedef struct HmpMonitor {
    Chardev *chr;
    int in_fd, out_fd;        /* -1: not connected */
    bool busy;                /* a command runs */
    bool eof;                 /* no more input */
    HmpEditor editor;
    GByteArray *typed;        /* input that was not processed yet */
    struct termios *terminal; /* former settings, to be restored; or NULL */
    LIST_ENTRY(HmpMonitor) list;
} HmpMonitor;

static LIST_HEAD(, HmpMonitor) monitors = LIST_HEAD_INITIALIZER(monitors);

static void update_handlers(HmpMonitor *mon);

/* --- the connection --- */

static void terminal_raw(HmpMonitor *mon)
{
    struct termios raw;

    if (!isatty(mon->in_fd) || tcgetattr(mon->in_fd, &raw) < 0) {
        return;
    }
    mon->terminal = g_memdup2(&raw, sizeof(raw));
    raw.c_iflag &= ~(ISTRIP | INLCR | ICRNL | IXON);
    raw.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
    tcsetattr(mon->in_fd, TCSANOW, &raw);
}

static void terminal_restore(HmpMonitor *mon)
{
    if (mon->terminal) {
        tcsetattr(mon->in_fd, TCSANOW, mon->terminal);
        g_free(g_steal_pointer(&mon->terminal));
    }
}

static void disconnect(HmpMonitor *mon)
{
    AioContext *ctx = aio_main_context();

    if (mon->in_fd >= 0) {
        aio_set_fd_handler(ctx, mon->in_fd, AIO_SCOPE_MAIN, NULL, NULL, NULL);
    }
    if (mon->out_fd >= 0 && mon->out_fd != mon->in_fd) {
        aio_set_fd_handler(ctx, mon->out_fd, AIO_SCOPE_MAIN, NULL, NULL,
                           NULL);
    }
    terminal_restore(mon);
    mon->in_fd = mon->out_fd = -1;
    g_byte_array_set_size(mon->typed, 0);
    g_string_truncate(mon->editor.out, 0);
}

static void hang_up(HmpMonitor *mon)
{
    disconnect(mon);
    chardev_close_connection(mon->chr);
}

/* False if the client has disconnected. */
static bool write_out(HmpMonitor *mon)
{
    GString *out = mon->editor.out;
    size_t sent = 0;
    bool ok = chardev_write_out(mon->out_fd, out, &sent);

    g_string_erase(out, 0, sent); /* it is always short */
    return ok;
}

/* --- commands --- */

/*
 * The loop may run inside the command, so input meanwhile waits; and the client
 * may be another one, or have disconnected, when the command returns.
 */
static void run_command(HmpMonitor *mon, const char *line)
{
    g_autofree char *answer = NULL;
    bool ended = false;

    mon->busy = true;
    write_out(mon); /* output of the command itself comes after its name */
    update_handlers(mon);
    answer = hmp_run_line(line, &ended, NULL);
    mon->busy = false;
    if (mon->out_fd < 0) {
        return;
    }
    g_string_append(mon->editor.out, answer ?: "");
    if (!ended) {
        hmp_editor_prompt(&mon->editor);
    }
}

static void process_typed(HmpMonitor *mon)
{
    guint i = 0;

    while (i < mon->typed->len && mon->editor.out->len < OUT_SLOW) {
        g_autofree char *line = hmp_editor_key(&mon->editor,
                                               mon->typed->data[i++]);

        if (!line) {
            continue;
        }
        g_byte_array_remove_range(mon->typed, 0, i);
        i = 0;
        run_command(mon, line);
        if (mon->out_fd < 0) {
            return;
        }
    }
    g_byte_array_remove_range(mon->typed, 0, i);
}

static void process(HmpMonitor *mon)
{
    process_typed(mon);
    if (mon->out_fd >= 0 && !write_out(mon)) {
        hang_up(mon);
        return;
    }
    update_handlers(mon);
}

static void readable(void *opaque)
{
    HmpMonitor *mon = opaque;
    uint8_t buf[1024];
    ssize_t n = read(mon->in_fd, buf, sizeof(buf));

    if (n > 0) {
        g_byte_array_append(mon->typed, buf, n);
        process(mon);
    } else if (n == 0 && mon->in_fd != mon->out_fd) {
        mon->eof = true;
        update_handlers(mon);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        hang_up(mon);
    }
}

static void writable(void *opaque)
{
    HmpMonitor *mon = opaque;

    if (!write_out(mon)) {
        hang_up(mon);
    } else if (!mon->busy) {
        process(mon);
    }
}

static void update_handlers(HmpMonitor *mon)
{
    AioContext *ctx = aio_main_context();
    bool want_read = mon->in_fd >= 0 && !mon->busy && !mon->eof &&
                     mon->editor.out->len < OUT_SLOW;
    AioHandler *on_read = want_read ? readable : NULL;
    AioHandler *on_write = mon->editor.out->len ? writable : NULL;

    if (mon->out_fd < 0) {
        return;
    }
    if (mon->in_fd == mon->out_fd) {
        aio_set_fd_handler(ctx, mon->in_fd, AIO_SCOPE_MAIN, on_read, on_write,
                           mon);
        return;
    }
    if (mon->in_fd >= 0) {
        aio_set_fd_handler(ctx, mon->in_fd, AIO_SCOPE_MAIN, on_read, NULL,
                           mon);
    }
    aio_set_fd_handler(ctx, mon->out_fd, AIO_SCOPE_MAIN, NULL, on_write, mon);
}

/* --- life cycle --- */

static void opened(void *opaque, int in_fd, int out_fd)
{
    HmpMonitor *mon = opaque;

    mon->in_fd = in_fd;
    mon->out_fd = out_fd;
    mon->eof = false;
    terminal_raw(mon);
    g_string_append_printf(mon->editor.out,
                           "QEMU %d.%d.%d monitor - type 'help' for more "
                           "information\r\n", TIDEMARK_QEMU_MAJOR,
                           TIDEMARK_QEMU_MINOR, TIDEMARK_QEMU_MICRO);
    hmp_editor_prompt(&mon->editor);
    write_out(mon); /* a disconnected client is noticed by reading */
    update_handlers(mon);
}

bool hmp_monitor_add(const MonitorOptions *options, Error **errp)
{
    Chardev *chr = chardev_find(options->chardev);
    HmpMonitor *mon;

    if (!chr) {
        error_setg(errp, "chardev \"%s\" not found", options->chardev);
        return false;
    }
    if (!hmp_have_commands()) {
        error_setg(errp, "Only QMP is supported");
        return false;
    }
    if (options->has_pretty && options->pretty) {
        error_setg(errp, "'pretty' is not compatible with HMP monitors");
        return false;
    }
    mon = g_new0(HmpMonitor, 1);
    mon->chr = chr;
    mon->in_fd = mon->out_fd = -1;
    mon->typed = g_byte_array_new();
    hmp_editor_init(&mon->editor, hmp_complete);
    LIST_INSERT_HEAD(&monitors, mon, list);
    if (!chardev_set_frontend(chr, opened, mon, errp)) {
        LIST_REMOVE(mon, list);
        hmp_editor_destroy(&mon->editor);
        g_byte_array_free(mon->typed, true);
        g_free(mon);
        return false;
    }
    return true;
}

void hmp_monitor_cleanup(int64_t end_ns)
{
    HmpMonitor *mon, *next;

    LIST_FOREACH_SAFE(mon, &monitors, list, next) {
        size_t sent = 0;

        if (mon->out_fd >= 0) {
            chardev_flush_out(mon->out_fd, mon->editor.out, &sent, end_ns);
        }
        disconnect(mon);
        LIST_REMOVE(mon, list);
        hmp_editor_destroy(&mon->editor);
        g_byte_array_free(mon->typed, true);
        g_free(mon);
    }
}
