/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of a long operation. */
#include "qemu/osdep.h"
#include "qemu/progress.h"

void progress_get(const ProgressMeter *pm, uint64_t *current, uint64_t *total)
{
    uint64_t all = __atomic_load_n(&pm->total, __ATOMIC_ACQUIRE);

    *current = __atomic_load_n(&pm->current, __ATOMIC_ACQUIRE);
    *total = MAX(all, *current);
}

void progress_done(ProgressMeter *pm, uint64_t bytes)
{
    __atomic_fetch_add(&pm->current, bytes, __ATOMIC_RELEASE);
}

void progress_set_remaining(ProgressMeter *pm, uint64_t bytes)
{
    uint64_t current = __atomic_load_n(&pm->current, __ATOMIC_RELAXED);

    __atomic_store_n(&pm->total, current + bytes, __ATOMIC_RELEASE);
}
