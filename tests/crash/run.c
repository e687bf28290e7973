/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs programs with seeds, and simulates power losses.  In the environment:
 *
 *   CRASH_SEEDS=N    seeds 1 to N, for each program
 *   CRASH_SEED=N     this one only
 *   CRASH_FIRST=N    from this one on, with CRASH_SEEDS
 *   CRASH_BUDGET=N   states to look at, for each seed
 *   CRASH_STEPS=N    requests of a guest: the same ones, but fewer (or more)
 *   CRASH_COUNT=1    continues after a fault, and counts seeds that have one
 *   CRASH_SAVE=DIR   writes the disks that were wrong there
 */
#include "crash.h"

/* The defaults limit the duration of a run of all tests. */
#ifdef __SANITIZE_ADDRESS__
#define SEEDS(n) DIV_ROUND_UP(n, 4)
#else
#define SEEDS(n) (n)
#endif

static uint64_t all_states, all_seeds, bad_seeds;

static unsigned from_env(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text ? strtoul(text, NULL, 0) : otherwise;
}

static void save_disks(const CrashRun *r, GByteArray **disks)
{
    const char *dir = getenv("CRASH_SAVE");

    for (int i = 0; dir && i < CRASH_DISKS; i++) {
        g_autofree char *path = g_strdup_printf("%s/%s-%u-disk%d", dir,
                                                r->program->name, r->seed, i);

        if (disks[i]->len) {
            g_file_set_contents(path, (char *)disks[i]->data, disks[i]->len,
                                NULL);
        }
    }
}

static bool check_state(void *opaque, CrashTime cut, GByteArray **disks,
                        GString *why)
{
    CrashRun *r = opaque;
    GByteArray *own[CRASH_DISKS], *before[CRASH_DISKS];
    bool save = getenv("CRASH_SAVE"), ok;

    for (int i = 0; i < CRASH_DISKS; i++) {
        own[i] = r->machine->disks[i];
        r->machine->disks[i] = disks[i];
        before[i] = g_byte_array_new();
        if (save && disks[i]->len) {
            g_byte_array_append(before[i], disks[i]->data, disks[i]->len);
        }
    }
    ok = r->program->check(r, cut, why);
    g_assert_null(bdrv_next_node(NULL));
    if (!ok) {
        save_disks(r, before);
    }
    for (int i = 0; i < CRASH_DISKS; i++) {
        r->machine->disks[i] = own[i];
        g_byte_array_unref(before[i]);
    }
    return ok;
}

static CrashRun *run_new(const CrashProgram *program, uint32_t seed)
{
    CrashRun *r = g_new0(CrashRun, 1);

    r->program = program;
    r->seed = seed;
    r->steps = from_env("CRASH_STEPS", program->steps);
    r->rand = g_rand_new_with_seed(seed);
    r->machine = crash_machine = crash_machine_new();
    r->log = crash_log_new();
    r->guest.rand = g_rand_new_with_seed(seed + 1000000);
    r->guest.mix = program->mix;
    r->guest.error = g_string_new("");
    return r;
}

static void run_free(CrashRun *r)
{
    if (r->program->free) {
        r->program->free(r);
    }
    g_clear_pointer(&r->model, crash_model_free);
    g_string_free(r->guest.error, TRUE);
    g_rand_free(r->guest.rand);
    crash_log_free(r->log);
    crash_machine_free(r->machine);
    crash_machine = NULL;
    g_rand_free(r->rand);
    g_free(r->image.backing_file);
    g_free(r);
}

/* The program, then the losses; false: @why. */
static bool run_seed(CrashRun *r, GString *why)
{
    CrashSearch search = {
        .rand = r->rand,
        .budget = from_env("CRASH_BUDGET", r->program->budget),
        .check = check_state,
        .opaque = r,
    };
    bool ok;

    crash_draw_image(r);
    if (r->program->prepare) {
        r->program->prepare(r);
    }
    crash_create(0, &r->image);
    crash_quiet(true);
    r->program->run(r);
    g_assert_null(bdrv_next_node(NULL));
    if (r->guest.error->len) {
        crash_quiet(false);
        g_string_assign(why, r->guest.error->str);
        return false;
    }
    r->machine->live = false;
    search.log = r->log;
    ok = crash_search(&search, why);
    crash_quiet(false);
    all_states += search.states;
    return ok;
}

static void report(const CrashRun *r, const GString *why)
{
    const BlockdevCreateOptionsQcow2 *c = &r->image;

    fprintf(stderr, "# %s, seed %u (clusters of %" PRIu64 ", version %d, "
            "refcounts of %" PRIi64 " bits%s, disk of %" PRIu64 "): %s\n"
            "# to see it again: CRASH_SEED=%u %s -p /crash/%s\n",
            r->program->name, r->seed, c->cluster_size,
            c->version == BLOCKDEV_QCOW2_VERSION_V3 ? 3 : 2,
            c->refcount_bits, c->lazy_refcounts ? ", lazy" : "", c->size,
            why->str, r->seed, g_get_prgname(), r->program->name);
}

static void test_program(const void *opaque)
{
    const CrashProgram *program = opaque;
    unsigned only = from_env("CRASH_SEED", 0);
    unsigned first = only ? only : from_env("CRASH_FIRST", 1);
    unsigned last = only ? only : from_env("CRASH_SEEDS",
                                            SEEDS(program->seeds));
    uint64_t states = all_states, bad = bad_seeds;

    for (unsigned seed = first; seed <= last; seed++) {
        g_autoptr(GString) why = g_string_new("");
        CrashRun *r = run_new(program, seed);
        bool ok = run_seed(r, why);

        all_seeds++;
        bad_seeds += !ok;
        if (!ok) {
            report(r, why);
        }
        run_free(r);
        if (!ok && !getenv("CRASH_COUNT")) {
            break;
        }
    }
    g_test_message("%" PRIu64 " states of %u seeds, %" PRIu64 " seeds with a "
                   "fault", all_states - states, last - first + 1,
                   bad_seeds - bad);
    if (bad_seeds > bad) {
        g_test_fail();
    }
}

void crash_add(const CrashProgram *program)
{
    g_autofree char *path = g_strdup_printf("/crash/%s", program->name);

    g_test_add_data_func(path, program, test_program);
}

int crash_main(int argc, char **argv, void (*add)(void))
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions(); /* a fault does not hide others */
    g_set_prgname(argv[0]);
    aio_main_init(&error_abort);
    add();
    ret = g_test_run();
    printf("# %" PRIu64 " states of %" PRIu64 " seeds, %" PRIu64 " seeds with "
           "a fault\n", all_states, all_seeds, bad_seeds);
    aio_main_cleanup();
    return ret;
}
