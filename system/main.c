/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-system-qtest: a machine with block devices, monitors and run state, and
 * no processors.  For tests, and for clients under development.
 */
#include "qemu/osdep.h"

#include <signal.h>

#include "block/export.h"
#include "block/graph.h"
#include "blockdev/blockdev.h"
#include "hmp.h"
#include "job/job.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands-system.h"
#include "qemu/aio.h"
#include "storage-daemon/daemon.h"
#include "system-int.h"

static volatile sig_atomic_t signal_seen;

static void on_signal(int sig)
{
    signal_seen = sig;
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
 * Jobs end before the nodes they use, and so do devices and exports; the
 * nodes' closing stores the persistent bitmaps.
 */
static void shut_down(void)
{
    if (nbd_server_get()) {
        nbd_server_stop(NULL);
    } else {
        blk_exp_close_all();
    }
    job_cancel_sync_all();
    device_cleanup();
    drive_cleanup();
    bdrv_close_all();
    qtest_cleanup();
    monitor_cleanup();
    chardev_cleanup();
    aio_main_cleanup();
}

int main(int argc, char **argv)
{
    SystemOptions options = {0};
    Error *err = NULL;
    bool ok;

    qmp_set_program_table(&qmp_command_table_system);
    hmp_set_commands(hmp_commands);
    error_set_progname(argv[0]);
    g_set_prgname("qemu-system-qtest");
    system_options_parse(&options, argc, argv);
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
    ok = system_options_run(&options, &err) &&
         daemon_write_pidfile(options.pidfile, &err);
    aio_main_release();
    if (!ok) {
        error_report_err(err);
        shut_down();
        system_options_free(&options);
        return EXIT_FAILURE;
    }
    if (options.daemonize) {
        daemon_detached_ready();
    }
    runstate_begin(!options.stopped);
    aio_main_loop();
    if (signal_seen) {
        system_shutdown(SHUTDOWN_CAUSE_HOST_SIGNAL);
    }
    shut_down();
    if (options.pidfile) {
        unlink(options.pidfile);
    }
    system_options_free(&options);
    return EXIT_SUCCESS;
}
