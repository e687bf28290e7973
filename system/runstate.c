/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run state of a machine without processors. */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/graph.h"
#include "blockdev/blockdev.h"
#include "migration/migration.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-events.h"
#include "qemu/guest-clock.h"
#include "device.h"
#include "runstate.h"

typedef struct Listener {
    RunStateChanged *changed;
    void *opaque;
    LIST_ENTRY(Listener) next;
} Listener;

static RunState current = RUN_STATE_PRELAUNCH;
static bool shutting_down;
static bool start_when_ready; /* after the other machine's state was received */
static RebootAction reboot_action = REBOOT_ACTION_RESET;
static ShutdownAction shutdown_action = SHUTDOWN_ACTION_POWEROFF;
static int64_t clock_ns;   /* total running time up to the last stop */
static int64_t started_ns; /* start of the present run */
static LIST_HEAD(, Listener) listeners = LIST_HEAD_INITIALIZER(listeners);

RunState runstate_get(void)
{
    return current;
}

bool runstate_is_running(void)
{
    return current == RUN_STATE_RUNNING;
}

int64_t runstate_clock_ns(void)
{
    return clock_ns +
           (runstate_is_running() ? guest_clock_ns() - started_ns : 0);
}

void runstate_set_clock_ns(int64_t ns)
{
    clock_ns = ns;
    started_ns = guest_clock_ns();
}

void runstate_add_listener(RunStateChanged *changed, void *opaque)
{
    Listener *l = g_new0(Listener, 1);

    l->changed = changed;
    l->opaque = opaque;
    LIST_INSERT_HEAD(&listeners, l, next);
}

void runstate_remove_listener(RunStateChanged *changed, void *opaque)
{
    Listener *l;

    LIST_FOREACH(l, &listeners, next) {
        if (l->changed == changed && l->opaque == opaque) {
            LIST_REMOVE(l, next);
            g_free(l);
            return;
        }
    }
}

static void tell(bool running)
{
    Listener *l, *next;

    LIST_FOREACH_SAFE(l, &listeners, next, next) {
        l->changed(l->opaque, running);
    }
}

void vm_stop(RunState state)
{
    if (runstate_is_running()) {
        clock_ns = runstate_clock_ns();
        current = state;
        tell(false);
        qapi_event_send_stop();
    }
    /* Drains in any case, as callers rely on it. */
    bdrv_drain_all_begin();
    bdrv_drain_all_end();
}

void vm_stop_force(RunState state)
{
    vm_stop(state);
    current = state;
}

void vm_start(void)
{
    if (runstate_is_running()) {
        return;
    }
    started_ns = guest_clock_ns();
    current = RUN_STATE_RUNNING;
    qapi_event_send_resume();
    tell(true);
}

void runstate_begin(bool start)
{
    blockdev_vm_clock_ns = runstate_clock_ns;
    start_when_ready = start;
    if (start && current != RUN_STATE_INMIGRATE) {
        vm_start();
    }
}

void runstate_await_incoming(void)
{
    current = RUN_STATE_INMIGRATE;
}

bool runstate_wants_start(void)
{
    return start_when_ready;
}

void runstate_set_actions(const RebootAction *reboot,
                          const ShutdownAction *shutdown)
{
    reboot_action = reboot ? *reboot : reboot_action;
    shutdown_action = shutdown ? *shutdown : shutdown_action;
}

void system_shutdown(ShutdownCause cause)
{
    bool ends = shutdown_action == SHUTDOWN_ACTION_POWEROFF ||
                cause == SHUTDOWN_CAUSE_HOST_QMP_QUIT ||
                cause == SHUTDOWN_CAUSE_HOST_SIGNAL;

    if (!shutting_down) {
        shutting_down = ends;
        qapi_event_send_shutdown(&(ShutdownEvent) {
            .guest = cause >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN,
            .reason = cause,
        });
    }
    if (ends) {
        aio_main_quit();
    } else {
        vm_stop(RUN_STATE_SHUTDOWN);
    }
}

/* --- commands --- */

StatusInfo *qmp_query_status(Error **errp)
{
    StatusInfo *info = g_new0(StatusInfo, 1);

    info->running = runstate_is_running();
    info->status = current;
    return info;
}

bool qmp_stop(Error **errp)
{
    if (current == RUN_STATE_INMIGRATE) {
        start_when_ready = false;
    }
    vm_stop(RUN_STATE_PAUSED);
    return true;
}

bool qmp_cont(Error **errp)
{
    BlockBackend *blk = NULL;

    if (current == RUN_STATE_INMIGRATE) {
        if (!migration_check_await(errp)) {
            return false;
        }
        start_when_ready = true;
        return true;
    }
    if (current == RUN_STATE_SHUTDOWN || current == RUN_STATE_INTERNAL_ERROR) {
        error_setg(errp, "Resetting the Virtual Machine is required");
        return false;
    }
    if (!runstate_is_running() && !migration_allow_start(errp)) {
        return false;
    }
    while ((blk = blk_next(blk))) {
        blk_iostatus_reset(blk);
    }
    vm_start();
    return true;
}

/* A disk of virtio or SCSI that is reset has no requests in flight; others
 * forget theirs. */
static void reset_devices(void)
{
    Device *dev = NULL;

    while ((dev = device_next(dev))) {
        if (dev->blk && (dev->model->bus == BUS_SCSI ||
                         (dev->model->flags & MODEL_VIRTIO))) {
            blk_drain(dev->blk);
        }
    }
}

/* Resetting a stopped machine returns it to its initial state. */
bool qmp_system_reset(Error **errp)
{
    if (reboot_action == REBOOT_ACTION_SHUTDOWN) {
        system_shutdown(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
        return true;
    }
    reset_devices();
    qapi_event_send_reset(&(ResetEvent) {
        .guest = false,
        .reason = SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET,
    });
    if (!runstate_is_running() && current != RUN_STATE_INMIGRATE &&
        current != RUN_STATE_FINISH_MIGRATE) {
        current = RUN_STATE_PRELAUNCH;
    }
    return true;
}

/* Actions for guests and watchdogs, which do not exist, are ignored. */
bool qmp_set_action(SetActionArg *arg, Error **errp)
{
    runstate_set_actions(arg->has_reboot ? &arg->reboot : NULL,
                         arg->has_shutdown ? &arg->shutdown : NULL);
    return true;
}

bool qmp_system_powerdown(Error **errp)
{
    qapi_event_send_powerdown();
    return true;
}

bool qmp_quit(Error **errp)
{
    system_shutdown(SHUTDOWN_CAUSE_HOST_QMP_QUIT);
    return true;
}
