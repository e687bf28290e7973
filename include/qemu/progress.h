/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of a long operation; written by its thread, read by any. */
#ifndef QEMU_PROGRESS_H
#define QEMU_PROGRESS_H

#include "qemu/osdep.h"

typedef struct ProgressMeter {
    uint64_t current; /* atomic; only grows */
    uint64_t total;   /* atomic; current + estimated remaining */
} ProgressMeter;

/* A consistent pair; *@current <= *@total. */
void progress_get(const ProgressMeter *pm, uint64_t *current, uint64_t *total);
/* @bytes of work have been done. */
void progress_done(ProgressMeter *pm, uint64_t bytes);
/* @bytes of work remain from here: total = current + @bytes. */
void progress_set_remaining(ProgressMeter *pm, uint64_t bytes);

#endif
