/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random commands under a writing guest, against a model.
 *
 *   test-model                 the seeds of `make check`
 *   MODEL_SEED=N               that one; with --verbose, what it does
 *   MODEL_SEEDS=N              N seeds, from MODEL_FIRST (default 1) on
 *   MODEL_THREADS=1            the disk moves between threads; then a seed is
 *                              not the same program each time
 */
#include "qemu/osdep.h"

#include "../fault/fault-disk.h"
#include "model.h"
#include "qapi/qapi-commands.h"
#include "qapi/qmp-dispatch.h"
#include "qemu/iothread.h"

#define SEEDS 250
#define STEPS 120

extern const BlockDriver bdrv_copy_before_write, bdrv_copy_on_read,
    bdrv_qcow2, bdrv_quorum, bdrv_raw, bdrv_snapshot_access, bdrv_throttle;

const BlockDriver *const bdrv_drivers[] = {
    &fault_file, &bdrv_qcow2, &bdrv_quorum, &bdrv_raw, &bdrv_copy_before_write,
    &bdrv_copy_on_read, &bdrv_snapshot_access, &bdrv_throttle, NULL,
};

/* The one command that belongs to the program. */
bool qmp_quit(Error **errp)
{
    error_setg(errp, "There is no program to quit");
    return false;
}

static int number(const char *name, int otherwise)
{
    const char *text = g_getenv(name);

    return text ? atoi(text) : otherwise;
}

static IOThread *threads[2]; /* NULL: none */

static Model *run_seed(int seed)
{
    Model *m = g_new0(Model, 1);

    m->rand = g_rand_new_with_seed(seed);
    if (threads[0]) {
        m->contexts[m->n_contexts++] = aio_main_context();
        m->contexts[m->n_contexts++] = iothread_context(threads[0]);
        m->contexts[m->n_contexts++] = iothread_context(threads[1]);
    }
    /* Told before, as what goes wrong aborts. */
    g_test_message("to run this again: MODEL_SEED=%d", seed);
    fault_disks_slow(m->rand, 1 + model_draw(m, 8));
    model_begin(m);
    for (int i = 0; i < STEPS; i++) {
        model_step(m);
    }
    model_end(m);
    fault_disks_slow(NULL, 0);
    g_rand_free(m->rand);
    return m;
}

static void test_random(void)
{
    int one = number("MODEL_SEED", 0);
    int first = one ? one : number("MODEL_FIRST", 1);
    int n = one ? 1 : number("MODEL_SEEDS", SEEDS);
    unsigned writes = 0, commands = 0, refused = 0, checks = 0, pivots = 0,
             replaced = 0;

    for (int i = 0; i < n; i++) {
        g_autofree Model *m = run_seed(first + i);

        writes += m->writes;
        commands += m->commands;
        refused += m->refused;
        checks += m->checks;
        pivots += m->pivots;
        replaced += m->replaced;
    }
    g_test_message("%d seeds: %u commands (%u refused), %u writes, %u "
                   "comparisons, %u pivots, %u children replaced", n, commands,
                   refused, writes, checks, pivots, replaced);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    qmp_set_program_table(&qmp_command_table);
    for (int i = 0; number("MODEL_THREADS", 0) && i < 2; i++) {
        threads[i] = iothread_new("model", &error_abort);
    }
    g_test_add_func("/model/random", test_random);
    ret = g_test_run();
    iothread_free(threads[0]);
    iothread_free(threads[1]);
    return ret;
}
