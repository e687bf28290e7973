/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: breakpoints of blkdebug, waiting, signals. */
#include "qemu/osdep.h"

#include <signal.h>

#include "block/graph.h"
#include "io-int.h"
#include "qemu/cutils.h"
#include "tools/common/image.h"

/* Interval at which a wait checks whether the program must end. */
#define POLL_NS (100 * INT64_C(1000000))

int io_break(BlockBackend *blk, int argc, char **argv)
{
    int ret = bdrv_debug_breakpoint(blk_bs(blk), argv[1], argv[2]);

    if (ret < 0) {
        printf("Could not set breakpoint: %s\n", strerror(-ret));
    }
    return ret;
}

int io_remove_break(BlockBackend *blk, int argc, char **argv)
{
    int ret = bdrv_debug_remove_breakpoint(blk_bs(blk), argv[1]);

    if (ret < 0) {
        printf("Could not remove breakpoint %s: %s\n", argv[1],
               strerror(-ret));
    }
    return ret;
}

int io_resume(BlockBackend *blk, int argc, char **argv)
{
    int ret = bdrv_debug_resume(blk_bs(blk), argv[1]);

    if (ret < 0) {
        printf("Could not resume request: %s\n", strerror(-ret));
    }
    return ret;
}

/* --- waiting --- */

static void on_timer(void *opaque)
{
    *(bool *)opaque = true;
}

/* Runs the loop for @ns, or until an event was handled. */
static void poll_for(int64_t ns)
{
    bool over = false;
    AioTimer *timer = aio_timer_new(aio_main_context(), AIO_SCOPE_IO,
                                    on_timer, &over);

    aio_timer_mod(timer, aio_now_ns() + ns);
    aio_poll(aio_main_context(), true);
    aio_timer_free(timer);
}

int io_wait_break(BlockBackend *blk, int argc, char **argv)
{
    while (!bdrv_debug_is_suspended(blk_bs(blk), argv[1])) {
        if (tool_interrupted()) {
            return -EINTR;
        }
        poll_for(POLL_NS);
    }
    return 0;
}

int io_sleep(BlockBackend *blk, int argc, char **argv)
{
    int64_t ms, now, end;

    if (!parse_int64(argv[1], &ms, NULL) || ms < 0 ||
        ms > INT64_MAX / 2 / 1000000) {
        printf("%s is not a valid number\n", argv[1]);
        return -EINVAL;
    }
    end = aio_now_ns() + ms * 1000000;
    while ((now = aio_now_ns()) < end && !tool_interrupted()) {
        poll_for(MIN(end - now, POLL_NS));
    }
    return 0;
}

/* --- ends --- */

int io_sigraise(BlockBackend *blk, int argc, char **argv)
{
    int64_t sig;

    if (!io_number(argv[1], &sig)) {
        return -EINVAL;
    }
    if (sig > SIGRTMAX) {
        printf("signal argument '%s' is too large to be a valid signal\n",
               argv[1]);
        return -EINVAL;
    }
    fflush(stdout);
    raise(sig);
    return 0;
}

int io_abort(BlockBackend *blk, int argc, char **argv)
{
    abort();
}
