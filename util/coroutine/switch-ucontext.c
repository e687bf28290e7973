/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Switching stacks on any processor, by ucontext(3): portable, but slow, since
 * each switch is a system call.
 */
#include "qemu/osdep.h"
#include "coroutine-sched.h"

#include <ucontext.h>

/* The saved context lies on the stack it belongs to. */
void tm_switch_stacks(void **save, void *load)
{
    ucontext_t here;

    *save = &here;
    if (swapcontext(&here, load) < 0) {
        g_error("swapcontext: %s", g_strerror(errno));
    }
}

void *tm_switch_init(void *bottom, void *top, void (*start)(void))
{
    uintptr_t at = ((uintptr_t)top - sizeof(ucontext_t)) & ~(uintptr_t)63;
    ucontext_t *first = (ucontext_t *)at;

    if (getcontext(first) < 0) {
        g_error("getcontext: %s", g_strerror(errno));
    }
    first->uc_stack.ss_sp = bottom;
    first->uc_stack.ss_size = at - (uintptr_t)bottom;
    first->uc_link = NULL;
    makecontext(first, start, 0);
    return first;
}
