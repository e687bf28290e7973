/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Choosing moments, and some of the many possible disks. */
#include "crash.h"

typedef struct State {
    CrashSearch *search;
    CrashReplay *replay;
    GByteArray *disks[CRASH_DISKS];
    uint8_t *picks;
    uint32_t seed; /* of torn requests */
} State;

static bool look(State *s, GString *why)
{
    crash_replay_build(s->replay, s->picks, s->seed, s->disks);
    s->search->states++;
    return s->search->check(s->search->opaque, s->replay->cut, s->disks, why);
}

/* --- minimisation --- */

/* Is it still wrong with that pick?  Then the pick is kept. */
static void try_pick(State *s, guint i, CrashPick pick)
{
    g_autoptr(GString) why = g_string_new("");
    uint8_t old = s->picks[i];

    s->picks[i] = pick;
    if (old == pick || look(s, why)) {
        s->picks[i] = old;
    }
}

static void shrink(State *s)
{
    for (guint i = s->replay->pending->len; i-- > 0; ) {
        if (s->picks[i] != CRASH_LOST) {
            try_pick(s, i, CRASH_LOST);
        }
        if (s->picks[i] == CRASH_TORN) {
            try_pick(s, i, CRASH_WHOLE);
        }
    }
}

static void explain(State *s, GString *why)
{
    guint n = s->replay->pending->len;

    shrink(s);
    g_string_truncate(why, 0);
    if (look(s, why)) {
        g_string_append(why, "(it is not wrong a second time)");
    }
    g_string_append_printf(why, "\n  power lost after event %u of %u; not "
                           "durable then:", s->replay->cut,
                           s->search->log->now);
    for (guint i = 0; i < n; i++) {
        if (n < 40 || s->picks[i] != CRASH_LOST) {
            g_autofree char *text = crash_op_describe(
                s->replay->pending->pdata[i], s->picks[i]);

            g_string_append_printf(why, "\n    %s", text);
        }
    }
}

/* --- choosing --- */

/* The kind of state number @number of a moment with @n pending requests. */
static void choose(State *s, unsigned number, guint n)
{
    GRand *rand = s->search->rand;
    int kind = number < 2 ? (int)number : g_rand_int_range(rand, 2, 8);
    guint one = g_rand_int_range(rand, 0, MAX(n, 1));
    double share = g_rand_double(rand);

    s->seed = g_rand_int(rand);
    for (guint i = 0; i < n; i++) {
        switch (kind) {
        case 0: /* none */
        case 1: /* all */
            s->picks[i] = kind ? CRASH_WHOLE : CRASH_LOST;
            break;
        case 2: /* one alone */
        case 3: /* all but one */
            s->picks[i] = (i == one) == (kind == 2) ? CRASH_WHOLE
                                                    : CRASH_LOST;
            break;
        case 4: /* the last ones */
            s->picks[i] = i >= one ? CRASH_WHOLE : CRASH_LOST;
            break;
        case 5:
            s->picks[i] = g_rand_double(rand) < share ? CRASH_WHOLE
                                                      : CRASH_LOST;
            break;
        default:
            s->picks[i] = g_rand_double(rand) >= share ? CRASH_LOST :
                          g_rand_boolean(rand) ? CRASH_TORN : CRASH_WHOLE;
        }
    }
}

static bool search_moment(State *s, unsigned budget, GString *why)
{
    guint n = s->replay->pending->len;

    s->picks = g_realloc(s->picks, n + 1);
    for (unsigned k = 0; k < (n == 0 ? 1 : budget); k++) {
        choose(s, k, n);
        if (!look(s, why)) {
            s->search->failed_at = s->replay->cut;
            explain(s, why);
            return false;
        }
    }
    return true;
}

bool crash_search(CrashSearch *search, GString *why)
{
    CrashTime end = search->log->now;
    double moments = CLAMP(search->budget / 6.0, 1, end);
    unsigned each = MAX(search->budget / (unsigned)moments, 6);
    State s = { .search = search, .replay = crash_replay_new(search->log) };
    bool ok = true;

    for (int d = 0; d < CRASH_DISKS; d++) {
        s.disks[d] = g_byte_array_new();
    }
    for (CrashTime cut = 1; ok && cut <= end; cut++) {
        if (cut == end || g_rand_double(search->rand) * end < moments) {
            crash_replay_seek(s.replay, cut);
            ok = search_moment(&s, each, why);
        }
    }
    for (int d = 0; d < CRASH_DISKS; d++) {
        g_byte_array_unref(s.disks[d]);
    }
    g_free(s.picks);
    crash_replay_free(s.replay);
    return ok;
}
