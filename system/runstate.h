/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether the machine runs, and related events.  Main thread. */
#ifndef SYSTEM_RUNSTATE_H
#define SYSTEM_RUNSTATE_H

#include "qapi/qapi-types-machine.h"

RunState runstate_get(void);
bool runstate_is_running(void);
/* Total running time of the machine. */
int64_t runstate_clock_ns(void);
void runstate_set_clock_ns(int64_t ns);
/* Sends STOP and sets the state; nothing if it does not run. */
void vm_stop(RunState state);
/* The same; a machine that is stopped gets the state. */
void vm_stop_force(RunState state);
/* Sends RESUME, unless it runs already. */
void vm_start(void);
/*
 * Sends SHUTDOWN at once; then the loop ends, or the machine only stops if that
 * was requested (-no-shutdown) and the cause is no signal or quit.
 */
void system_shutdown(ShutdownCause cause);
/* Sets the actions on shutdown, and on reset of the machine. */
void runstate_set_actions(const RebootAction *reboot,
                          const ShutdownAction *shutdown);
/* Waits for the state of another machine, in state inmigrate. */
void runstate_await_incoming(void);
/* Shall it start when that is there? */
bool runstate_wants_start(void);
/* Setup is complete: starts, or waits for `cont` (-S) in state prelaunch. */
void runstate_begin(bool start);
/* Called after each change, until removed (waiting guest requests). */
typedef void RunStateChanged(void *opaque, bool running);
void runstate_add_listener(RunStateChanged *changed, void *opaque);
void runstate_remove_listener(RunStateChanged *changed, void *opaque);

#endif
