/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-storage-daemon: block devices, jobs and exports without a machine.
 *
 * Options are executed in the order of the command line, each like the
 * corresponding QMP command; then the loop runs until "quit" or a signal.
 */
#include "qemu/osdep.h"

#include "daemon.h"
#include "program.h"
#include "qapi/qapi-commands.h"
#include "qapi/qmp-dispatch.h"
#include "qemu/aio.h"

bool qmp_quit(Error **errp)
{
    aio_main_quit();
    return true;
}

static bool setup(void *opaque)
{
    return daemon_options_run(opaque);
}

int main(int argc, char **argv)
{
    DaemonOptions options = {0};
    Program program = { .setup = setup, .opaque = &options };
    int status;

    qmp_set_program_table(&qmp_command_table);
    error_set_progname(argv[0]);
    g_set_prgname("qemu-storage-daemon");
    daemon_options_parse(&options, argc, argv);
    program.daemonize = options.daemonize;
    program.pidfile = options.pidfile;
    status = program_run(&program);
    daemon_options_free(&options);
    return status;
}
