/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -qtest.  Main thread. */
#ifndef SYSTEM_QTEST_H
#define SYSTEM_QTEST_H

#include "qemu/error.h"

/* Only qtest commands advance the guest's clock (qemu/guest-clock.h). */
void qtest_hold_clock(void);
bool qtest_start(const char *chardev, Error **errp);
bool qtest_set_log(const char *path, Error **errp);
void qtest_cleanup(void);

#endif
