/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame of a program that is controlled by QMP: signals, the loop, the end;
 * and common options.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>
#include <signal.h>

#include "block/export.h"
#include "block/graph.h"
#include "block/replication.h"
#include "block/silence.h"
#include "blockdev/blockdev.h"
#include "job/job.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "program.h"
#include "qapi/keyval.h"
#include "qapi/optgroup.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-char.h"
#include "qemu/aio.h"
#include "qemu/notify.h"

static volatile sig_atomic_t signal_seen, signal_count;
static volatile pid_t signal_sender;
static AioBH *quit_bh; /* scheduled by aio_main_quit() */

static void on_signal(int sig, siginfo_t *info, void *context)
{
    signal_seen = sig;
    signal_count++;
    signal_sender = info->si_code > 0 ? 0 : info->si_pid;
    aio_main_quit();
}

static void setup_signals(void)
{
    struct sigaction quit = {
        .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO,
    };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    sigaction(SIGINT, &quit, NULL);
    sigaction(SIGTERM, &quit, NULL);
    sigaction(SIGHUP, &quit, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/*
 * Makes all conditions for which the loop polls come true, within the time that
 * a silent server has; a second signal cuts the connections at once.
 */
static void hurry(void *opaque)
{
    aio_exclusive_begin();
    bdrv_hurry(signal_count >= 2);
    aio_exclusive_end();
}

/*
 * Jobs, exports and devices end before the nodes they use; closing the nodes
 * stores the persistent bitmaps.  Jobs come first: the end of an export drains
 * its node, which waits for requests of jobs; but the cancel of a job makes
 * those fail that a dead target may never answer.
 */
static void shut_down(const Program *program)
{
    notify_stopping();
    hurry(NULL);
    job_cancel_sync_all();
    notify_progress();
    if (nbd_server_get()) {
        nbd_server_stop(NULL);
    } else {
        blk_exp_close_all();
    }
    if (program->close_devices) {
        program->close_devices();
    }
    replication_close_all();
    bdrv_close_all();
    blockdev_remove_objects();
    monitor_cleanup();
    chardev_cleanup();
    aio_main_on_quit(NULL);
    aio_bh_free(quit_bh);
    aio_main_cleanup();
}

static int fail(Error *err)
{
    error_report_err(err);
    return EXIT_FAILURE;
}

static bool set_up(const Program *program)
{
    Error *err = NULL;

    if (!program->setup(program->opaque)) {
        return false;
    }
    if (!daemon_write_pidfile(program->pidfile, &err)) {
        fail(err);
        return false;
    }
    return true;
}

/*
 * Monitors and exports listen, and the loop that answers begins: who connects
 * now is served.
 */
static void tell_ready(const Program *program)
{
    g_autofree char *text = NULL;

    /* The manager knows the process that has detached itself. */
    text = g_strdup_printf("READY=1\nMAINPID=%d\nSTATUS=Serving", getpid());
    notify_send(program->daemonize ? text : "READY=1\nSTATUS=Serving");
}

static void serve(const Program *program)
{
    if (program->daemonize) {
        daemon_detached_ready();
    }
    tell_ready(program);
    if (program->ready) {
        program->ready(program->opaque);
    }
    aio_main_loop();
    if (signal_seen && program->signalled) {
        program->signalled(signal_seen, signal_sender);
    }
}

int program_run(const Program *program)
{
    Error *err = NULL;
    bool ok;

    notify_init();
    if (program->daemonize && !daemon_detach(&err)) {
        return fail(err);
    }
    if (program->daemonize) {
        chardev_forbid_stdio();
    }
    if (!aio_main_init(&err)) {
        return fail(err);
    }
    quit_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_IO, hurry, NULL);
    aio_main_on_quit(quit_bh);
    setup_signals();
    blockdev_init_events();
    bdrv_limit_awaited();
    aio_main_hold(); /* no commands before the command line is complete */
    ok = set_up(program);
    aio_main_release();
    if (ok) {
        serve(program);
    }
    shut_down(program);
    if (ok && program->pidfile) {
        unlink(program->pidfile);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- options --- */

bool program_add_blockdev(const char *value, Error **errp)
{
    g_autoptr(BlockdevOptions) options = NULL;

    if (!strcmp(value, "help") || !strcmp(value, "?")) {
        error_setg(errp, "Help is not available for this option");
        return false;
    }
    options = keyval_to_type(value, "driver", &qapi_type_BlockdevOptions,
                             errp);
    return options && qmp_blockdev_add(options, errp);
}

bool program_add_chardev(const char *value, Error **errp)
{
    g_autoptr(ChardevOptions) options = chardev_options_parse(value, errp);

    if (options && chardev_find(options->id)) {
        error_setg(errp, "attempt to add duplicate property '%s' to object "
                   "(type 'container')", options->id);
        return false;
    }
    return options && chardev_add(options, errp);
}

static const OptParam trace_params[] = {
    { "file", OPT_STRING }, { "events", OPT_STRING }, { "enable", OPT_STRING },
    { NULL },
};

const OptGroup trace_opt_group = { "trace", "enable", trace_params };

/* Creates the file to which traces would be written. */
static bool touch_trace_file(const char *path, Error **errp)
{
    FILE *file = path ? fopen(path, "w") : NULL;

    if (path && !file) {
        g_free(error_set_location(NULL));
        error_setg_errno(errp, errno, "Error opening logfile %s", path);
        return false;
    }
    if (file) {
        fclose(file);
    }
    return true;
}

/* Patterns are not names, and may match nothing. */
static void miss_event(const char *name)
{
    name += *name == '-';
    if (*name && *name != '#' && !strchr(name, '*')) {
        warn_report("trace event '%s' does not exist", name);
    }
}

static bool miss_events_of(const char *path, Error **errp)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        g_free(error_set_location(g_strdup(path)));
        error_setg(errp, "%s", g_strerror(errno));
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        miss_event(g_strstrip(*line));
    }
    return true;
}

bool program_trace(const char *value, Error **errp)
{
    struct json_object *opts;
    const char *name;
    bool ok = true;

    if (!strcmp(value, "help") || !strcmp(value, "?")) {
        exit(EXIT_SUCCESS); /* the list is empty */
    }
    opts = optgroup_parse(&trace_opt_group, value, errp);
    if (!opts) {
        return false;
    }
    name = opt_get(opts, "enable");
    if (name) {
        miss_event(name);
    }
    if (opt_get(opts, "events")) {
        ok = miss_events_of(opt_get(opts, "events"), errp);
    }
    ok = ok && touch_trace_file(opt_get(opts, "file"), errp);
    json_object_put(opts);
    return ok;
}
