/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replaces the worker threads, so that a seed gives the same run each time. */
#include "qemu/aio.h"

int coroutine_fn __wrap_thread_pool_co_run(ThreadPoolFunc *fn, void *arg);

int coroutine_fn __wrap_thread_pool_co_run(ThreadPoolFunc *fn, void *arg)
{
    int ret;

    co_yield_to_loop();
    ret = fn(arg);
    co_yield_to_loop();
    return ret;
}
