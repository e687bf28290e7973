/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitors: a chardev, and the session with its present client. */
#include "qemu/osdep.h"

#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "monitor/qmp-int.h"
#include "qapi/qapi-types-control.h"

/* How long the end of the program waits for clients that read slowly. */
#define FLUSH_NS INT64_C(1000000000)

typedef struct Monitor {
    Chardev *chr;
    bool pretty;
    QmpSession *session; /* NULL: no client */
    LIST_ENTRY(Monitor) list;
} Monitor;

static int connected;           /* number of sessions */
static void (*deserted)(void);  /* called when the last session has ended */
static LIST_HEAD(, Monitor) monitors = LIST_HEAD_INITIALIZER(monitors);

static void monitor_session_closed(void *opaque)
{
    Monitor *mon = opaque;

    qmp_session_unref(g_steal_pointer(&mon->session));
    chardev_close_connection(mon->chr);
    if (--connected == 0 && deserted) {
        deserted();
    }
}

static void monitor_opened(void *opaque, int in_fd, int out_fd)
{
    Monitor *mon = opaque;

    connected++;
    mon->session = qmp_session_new(in_fd, out_fd, mon->pretty,
                                   monitor_session_closed, mon);
}

void monitor_set_deserted(void (*fn)(void))
{
    deserted = fn;
}

bool monitor_add(const MonitorOptions *options, Error **errp)
{
    Chardev *chr = chardev_find(options->chardev);
    Monitor *mon;

    if (!chr) {
        error_setg(errp, "chardev \"%s\" not found", options->chardev);
        return false;
    }
    if (options->has_mode && options->mode != MONITOR_MODE_CONTROL) {
        return hmp_monitor_add(options, errp);
    }
    mon = g_new0(Monitor, 1);
    mon->chr = chr;
    mon->pretty = options->pretty;
    if (!chardev_set_frontend(chr, monitor_opened, mon, errp)) {
        g_free(mon);
        return false;
    }
    LIST_INSERT_HEAD(&monitors, mon, list);
    return true;
}

void monitor_cleanup(void)
{
    int64_t end_ns = aio_now_ns() + FLUSH_NS;
    Monitor *mon, *next;

    hmp_monitor_cleanup(end_ns);
    LIST_FOREACH_SAFE(mon, &monitors, list, next) {
        if (mon->session) {
            qmp_session_flush(mon->session, end_ns);
            qmp_session_stop(mon->session);
            qmp_session_unref(mon->session);
        }
        LIST_REMOVE(mon, list);
        g_free(mon);
    }
    qmp_session_cleanup();
}
