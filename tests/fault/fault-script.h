/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs scripts of QMP commands and of a guest's requests, one of whose
 * operations below fails, and compares what is left with a model.
 *
 * A script has three parts, separated by lines "---":
 *
 *   made once, without faults; all is closed then, the files are kept
 *   made before each run, without faults
 *   run with a fault: the n-th operation of its kind fails
 *
 * Lines:
 *
 *   {'execute': ...}           a QMP command, ' for "
 *   wait JOB                   until it is concluded, then dismisses it
 *   cancel JOB                 the same after a cancel by force
 *   attach NODE                the guest uses that node from now on
 *   detach                     it uses none
 *   write OFFSET BYTES VALUE   the guest, KiB; VALUE 0 writes zeroes
 *   discard OFFSET BYTES       likewise
 *   flush                      the guest
 *   check NODE                 repairs the image
 *
 * A line that fails says why in one sentence, and the next one is run.  At the
 * end everything is closed and opened again: there is no corruption in any
 * image, the guest's disk holds what was written, and each bitmap of it says
 * of all that was written that it changed, or that it cannot be trusted.
 */
#ifndef FAULT_SCRIPT_H
#define FAULT_SCRIPT_H

#include "fault-disk.h"

typedef struct FaultScript {
    const char *name;
    const char *text;
} FaultScript;

/* How many faults came, for all kinds.  Aborts where something is wrong. */
unsigned fault_script_run(const FaultScript *script, FaultKind kind,
                          bool stays);

#endif
