/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks for coroutines: mapped, with a guard page below. */
#include "qemu/osdep.h"
#include "coroutine-sched.h"

#include <sys/mman.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(bottom, top) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
/* Frames are several times larger with red zones. */
#define CO_STACK_BYTES (1024 * KiB)
#else
#define CO_STACK_BYTES (256 * KiB)
#endif

Coroutine *co_stack_new(void (*start)(void))
{
    size_t guard = getpagesize();
    void *stack = mmap(NULL, guard + CO_STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE,
                       -1, 0);
    uintptr_t top = (uintptr_t)stack + guard + CO_STACK_BYTES;
    void *bottom = (char *)stack + guard;
    Coroutine *co;

    if (stack == MAP_FAILED || mprotect(stack, guard, PROT_NONE) < 0) {
        g_error("no memory for the stack of a coroutine: %s",
                g_strerror(errno));
    }
#ifdef __SANITIZE_ADDRESS__
    /* A former mapping may have left red zones here. */
    __asan_unpoison_memory_region(bottom, CO_STACK_BYTES);
#endif
    top = (top - sizeof(Coroutine)) & ~(uintptr_t)63;
    co = (Coroutine *)top;
    co->stack = stack;
    /* Otherwise each switch looks like a stack that grew by gigabytes. */
    co->valgrind_id = VALGRIND_STACK_REGISTER(bottom, co);
    co->sp = tm_switch_init(bottom, co, start);
#ifdef __SANITIZE_ADDRESS__
    co->bottom = bottom;
    co->bottom_size = top - (uintptr_t)bottom;
#endif
#ifdef __SANITIZE_THREAD__
    co->fiber = __tsan_create_fiber(0);
    __tsan_set_fiber_name(co->fiber, "coroutine");
#endif
    return co;
}

void co_stack_free(Coroutine *co)
{
    VALGRIND_STACK_DEREGISTER(co->valgrind_id);
#ifdef __SANITIZE_THREAD__
    __tsan_destroy_fiber(co->fiber);
#endif
    munmap(co->stack, getpagesize() + CO_STACK_BYTES);
}
