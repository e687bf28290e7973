/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One task in several coroutines at once. */
#include "qemu/osdep.h"
#include "coroutine-sched.h"

typedef struct CoAll {
    CoroutineEntry *entry;
    Coroutine *whole;
    void *item;   /* of the part that is entered next */
    size_t left;  /* parts that have not ended */
    bool waiting; /* the whole yields until there are none */
} CoAll;

static void coroutine_fn part_entry(void *opaque)
{
    CoAll *all = opaque;

    all->entry(all->item);
    if (--all->left == 0 && all->waiting) {
        co_wake(all->whole);
    }
}

void coroutine_fn co_run_all(CoroutineEntry *entry, void *items, size_t n,
                             size_t size)
{
    CoAll all = {
        .entry = entry,
        .whole = coroutine_self(),
        .item = items,
        .left = n,
    };

    if (n == 0) {
        return;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        Coroutine *part = coroutine_create(part_entry, &all);

        /* It reads `item` before it can yield. */
        part->part_of = all.whole;
        coroutine_enter(part);
        all.item = (char *)all.item + size;
    }
    part_entry(&all);
    if (all.left > 0) {
        all.waiting = true;
        coroutine_yield();
    }
}

bool co_is_part_of(const Coroutine *co, const Coroutine *whole)
{
    while (co && co != whole) {
        co = co->part_of;
    }
    return co != NULL;
}
