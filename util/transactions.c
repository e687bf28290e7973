/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prepare, then commit or roll back in reverse order. */
#include "qemu/osdep.h"
#include "qemu/transactions.h"

typedef struct TransactionAction {
    const TransactionActionDrv *drv;
    void *opaque;
} TransactionAction;

struct Transaction {
    GArray *actions; /* of TransactionAction, in the order of addition */
};

Transaction *tran_new(void)
{
    Transaction *tran = g_new(Transaction, 1);

    tran->actions = g_array_new(FALSE, FALSE, sizeof(TransactionAction));
    return tran;
}

void tran_add(Transaction *tran, const TransactionActionDrv *drv, void *opaque)
{
    TransactionAction action = { .drv = drv, .opaque = opaque };

    g_array_append_val(tran->actions, action);
}

/* By value: a callback may add actions, which moves the array. */
static TransactionAction tran_action(Transaction *tran, size_t i)
{
    return g_array_index(tran->actions, TransactionAction, i);
}

static void tran_clean(Transaction *tran)
{
    for (size_t i = 0; i < tran->actions->len; i++) {
        TransactionAction a = tran_action(tran, i);

        if (a.drv->clean) {
            a.drv->clean(a.opaque);
        }
    }
    g_array_free(tran->actions, TRUE);
    g_free(tran);
}

void tran_commit(Transaction *tran)
{
    for (size_t i = 0; i < tran->actions->len; i++) {
        TransactionAction a = tran_action(tran, i);

        if (a.drv->commit) {
            a.drv->commit(a.opaque);
        }
    }
    tran_clean(tran);
}

void tran_abort(Transaction *tran)
{
    for (size_t i = tran->actions->len; i-- > 0;) {
        TransactionAction a = tran_action(tran, i);

        if (a.drv->abort) {
            a.drv->abort(a.opaque);
        }
    }
    tran_clean(tran);
}

void tran_finalize(Transaction *tran, bool success)
{
    if (success) {
        tran_commit(tran);
    } else {
        tran_abort(tran);
    }
}
