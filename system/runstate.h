/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether the machine runs, and what follows from it.  Main thread. */
#ifndef SYSTEM_RUNSTATE_H
#define SYSTEM_RUNSTATE_H

#include "qapi/qapi-types-machine.h"

RunState runstate_get(void);
bool runstate_is_running(void);
/* How long the machine ran, in all. */
int64_t runstate_clock_ns(void);
void runstate_set_clock_ns(int64_t ns);
/* STOP, and the state; nothing where it does not run already. */
void vm_stop(RunState state);
/* RESUME, unless it runs already. */
void vm_start(void);
/*
 * SHUTDOWN is sent at once; then the loop ends, or the machine only stops where
 * that was asked for (-no-shutdown) and nobody ends the program.
 */
void system_shutdown(ShutdownCause cause);
/* What happens then, and when the machine is reset. */
void runstate_set_actions(const RebootAction *reboot,
                          const ShutdownAction *shutdown);
/* The machine waits for the state of another one, with state inmigrate. */
void runstate_await_incoming(void);
/* Ready to run: starts, or waits for `cont` (-S) with state prelaunch. */
void runstate_begin(bool start);
/* Called after each change, until removed (guest requests that wait). */
typedef void RunStateChanged(void *opaque, bool running);
void runstate_add_listener(RunStateChanged *changed, void *opaque);
void runstate_remove_listener(RunStateChanged *changed, void *opaque);

#endif
