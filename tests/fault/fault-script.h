/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs scripts of QMP commands and of a guest's requests, one of whose
 * operations in the layers below fails, and compares the result with a model.
 *
 * A script has three parts, separated by lines "---":
 *
 *   executed once, without faults; then all is closed and the files are kept
 *   executed before each run, without faults
 *   executed with a fault: the n-th operation of its kind fails
 *
 * Lines:
 *
 *   {'execute': ...}           a QMP command, ' for "
 *   ready JOB                  waits until it is that, or concluded
 *   wait JOB                   until it is concluded, then dismisses it
 *   cancel JOB                 the same after a cancel by force
 *   end JOB                    the same after a cancel when it is ready
 *   complete JOB               the same after its completion when it is ready
 *   attach NODE                the guest uses that node from now on
 *   detach                     it uses none
 *   write OFFSET BYTES VALUE   the guest, KiB; VALUE 0 writes zeroes
 *   discard OFFSET BYTES       likewise
 *   flush                      the guest
 *   check NODE                 repairs the image
 *
 * A line that fails reports one sentence, and the next one is executed.  At the
 * end everything is closed and opened again: no image is corrupt, the guest's
 * disk has the data written, and each of its bitmaps records all changes or is
 * inconsistent.
 */
#ifndef FAULT_SCRIPT_H
#define FAULT_SCRIPT_H

#include "fault-disk.h"

typedef struct FaultScript {
    const char *name;
    const char *text;
} FaultScript;

/* Returns the number of faults of all kinds.  Aborts on an error. */
unsigned fault_script_run(const FaultScript *script, FaultKind kind,
                          bool stays);

#endif
