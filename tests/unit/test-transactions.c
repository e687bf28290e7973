/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order of commit, abort and clean. */
#include "qemu/osdep.h"
#include "qemu/transactions.h"

static GString *trace;

static void do_commit(void *opaque)
{
    g_string_append_printf(trace, "c%s ", (char *)opaque);
}

static void do_abort(void *opaque)
{
    g_string_append_printf(trace, "a%s ", (char *)opaque);
}

static void do_clean(void *opaque)
{
    g_string_append_printf(trace, "f%s ", (char *)opaque);
}

static const TransactionActionDrv full = { do_commit, do_abort, do_clean };
static const TransactionActionDrv abort_only = { .abort = do_abort };
static const TransactionActionDrv commit_only = { .commit = do_commit };

static Transaction *make(void)
{
    Transaction *tran = tran_new();

    g_string_truncate(trace, 0);
    tran_add(tran, &full, "1");
    tran_add(tran, &abort_only, "2");
    tran_add(tran, &commit_only, "3");
    tran_add(tran, &full, "4");
    return tran;
}

static void test_order(void)
{
    tran_finalize(make(), true);
    g_assert_cmpstr(trace->str, ==, "c1 c3 c4 f1 f4 ");
    tran_finalize(make(), false);
    g_assert_cmpstr(trace->str, ==, "a4 a2 a1 f1 f4 ");
    g_string_truncate(trace, 0);
    tran_commit(tran_new());
    tran_abort(tran_new());
    g_assert_cmpstr(trace->str, ==, "");
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    trace = g_string_new(NULL);
    g_test_add_func("/transactions/order", test_order);
    ret = g_test_run();
    g_string_free(trace, TRUE);
    return ret;
}
