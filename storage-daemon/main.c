/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-storage-daemon: block devices, jobs and exports without a machine.
 *
 * Options are carried out in the order of the command line, each like the QMP
 * command it stands for; then the loop runs until "quit" or a signal.
 */
#include "qemu/osdep.h"

#include <signal.h>

#include "block/export.h"
#include "block/graph.h"
#include "daemon.h"
#include "job/job.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands.h"

bool qmp_quit(Error **errp)
{
    aio_main_quit();
    return true;
}

static void on_signal(int sig)
{
    aio_main_quit();
}

static void setup_signals(void)
{
    struct sigaction quit = { .sa_handler = on_signal };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    sigaction(SIGINT, &quit, NULL);
    sigaction(SIGTERM, &quit, NULL);
    sigaction(SIGHUP, &quit, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/*
 * Jobs end before the nodes they use, exports before the nodes they serve;
 * the nodes' closing stores the persistent bitmaps.
 */
static void shut_down(void)
{
    if (nbd_server_get()) {
        nbd_server_stop(NULL);
    } else {
        blk_exp_close_all();
    }
    job_cancel_sync_all();
    bdrv_close_all();
    monitor_cleanup();
    chardev_cleanup();
    aio_main_cleanup();
}

int main(int argc, char **argv)
{
    DaemonOptions options = {0};
    Error *err = NULL;
    bool ok;

    qmp_set_program_table(&qmp_command_table);
    error_set_progname(argv[0]);
    g_set_prgname("qemu-storage-daemon");
    daemon_options_parse(&options, argc, argv);
    if (options.daemonize && !daemon_detach(&err)) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    setup_signals();
    if (!aio_main_init(&err)) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    blockdev_init_events();
    aio_main_hold(); /* no commands in the middle of the command line */
    ok = daemon_options_run(&options, &err) &&
         daemon_write_pidfile(options.pidfile, &err);
    aio_main_release();
    if (!ok) {
        error_report_err(err);
        shut_down();
        daemon_options_free(&options);
        return EXIT_FAILURE;
    }
    if (options.daemonize) {
        daemon_detached_ready();
    }
    aio_main_loop();
    shut_down();
    if (options.pidfile) {
        unlink(options.pidfile);
    }
    daemon_options_free(&options);
    return EXIT_SUCCESS;
}
