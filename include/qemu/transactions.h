/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prepare, then commit or roll back in reverse order.
 *
 *     Transaction *tran = tran_new();
 *     ok = step_one(..., tran, errp) && step_two(..., tran, errp);
 *     tran_finalize(tran, ok);
 *
 * Each step makes its change and adds an action that can undo it (abort) or
 * make it final (commit); clean runs last in either case.
 */
#ifndef QEMU_TRANSACTIONS_H
#define QEMU_TRANSACTIONS_H

#include "qemu/osdep.h"

typedef struct Transaction Transaction;

typedef struct TransactionActionDrv {
    void (*commit)(void *opaque); /* in the order of adding */
    void (*abort)(void *opaque);  /* in reverse order */
    void (*clean)(void *opaque);  /* in the order of adding */
} TransactionActionDrv;

/* Without steps; tran_commit(), _abort() or _finalize() frees it. */
Transaction *tran_new(void);
/* @drv must outlive @tran; any of its callbacks may be NULL. */
void tran_add(Transaction *tran, const TransactionActionDrv *drv,
              void *opaque);
/* Runs all commits; frees @tran. */
void tran_commit(Transaction *tran);
/* Runs all aborts; frees @tran. */
void tran_abort(Transaction *tran);
/* One or the other. */
void tran_finalize(Transaction *tran, bool success);

#endif
