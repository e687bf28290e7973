/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-system-qtest: a machine with block devices, monitors and run state, and
 * no processors.  For tests, and for clients under development.
 */
#include "qemu/osdep.h"

#include "device.h"
#include "drive.h"
#include "machine.h"
#include "fdset.h"
#include "hmp.h"
#include "migration/migration.h"
#include "monitor/hmp.h"
#include "options.h"
#include "qapi/qapi-commands-system.h"
#include "qemu/guest-clock.h"
#include "qtest.h"
#include "runstate.h"
#include "storage-daemon/program.h"
#include "tools/io/command.h"

/* The program that sent the signal; caller frees.  NULL: not known. */
static char *program_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", pid);
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

static void signalled(int signum, pid_t sender)
{
    g_autofree char *program = sender ? program_of(sender) : NULL;

    if (sender) {
        error_report("terminating on signal %d from pid %d (%s)", signum,
                     sender, program ?: "<unknown process>");
    } else {
        error_report("terminating on signal %d", signum);
    }
    system_shutdown(SHUTDOWN_CAUSE_HOST_SIGNAL);
}

static const MigrationMachine migration_machine = {
    .type = machine_type,
    .status = runstate_get,
    .stop = vm_stop_force,
    .start = vm_start,
    .clock_ns = runstate_clock_ns,
    .set_clock_ns = runstate_set_clock_ns,
    .wants_start = runstate_wants_start,
    .take_fd = fdset_take,
};

static bool setup(void *opaque)
{
    return system_options_run(opaque);
}

static void ready(void *opaque)
{
    const SystemOptions *options = opaque;

    Error *err = NULL;

    guest_clock_take_over();
    runstate_begin(!options->stopped);
    if (!migration_await(&err)) {
        error_report_err(err);
        exit(EXIT_FAILURE);
    }
}

static void close_devices(void)
{
    migration_cleanup();
    qemuio_finish(); /* those hold their disks until they have told */
    device_cleanup();
    drive_cleanup();
    qtest_cleanup();
}

int main(int argc, char **argv)
{
    SystemOptions options = {0};
    Program program = {
        .setup = setup, .ready = ready, .signalled = signalled,
        .close_devices = close_devices, .opaque = &options,
    };
    int status;

    qmp_set_program_table(&qmp_command_table_system);
    hmp_set_commands(hmp_commands);
    qom_init();
    device_init();
    migration_init(&migration_machine);
    error_set_progname(argv[0]);
    g_set_prgname("qemu-system-qtest");
    fdset_follow_monitors();
    system_options_parse(&options, argc, argv);
    program.daemonize = options.daemonize;
    program.pidfile = options.pidfile;
    status = program_run(&program);
    system_options_free(&options);
    return status;
}
