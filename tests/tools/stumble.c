/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library to preload: the program is killed, or fails, at its nth step.
 *
 * A step is a call that changes files, or sends something to a server:
 *
 *     STUMBLE_AT=7        before the seventh one the process is killed
 *     STUMBLE_ERRNO=28    it fails with this error instead
 *
 * Programs that the process starts are left alone.  If it ends without having
 * got so far, it has gone through all steps.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static long steps_left;
static int error;

static void __attribute__((constructor)) begin(void)
{
    const char *at = getenv("STUMBLE_AT"), *code = getenv("STUMBLE_ERRNO");

    steps_left = at ? atol(at) : 0;
    error = code ? atoi(code) : 0;
    unsetenv("LD_PRELOAD");
    unsetenv("STUMBLE_AT");
    unsetenv("STUMBLE_ERRNO");
}

/* True: the call is to fail. */
static bool stumble(void)
{
    if (gettid() != getpid() || steps_left == 0 || --steps_left > 0) {
        return false;
    }
    if (!error) {
        kill(getpid(), SIGKILL);
    }
    errno = error;
    return true;
}

#define STEP(ret, name, params, ...) \
    ret name params; \
    ret name params \
    { \
        ret(*real) params = (ret(*) params)dlsym(RTLD_NEXT, #name); \
        return stumble() ? -1 : real(__VA_ARGS__); \
    }

STEP(int, rename, (const char *from, const char *to), from, to)
STEP(int, fsync, (int fd), fd)
STEP(int, mkdir, (const char *path, mode_t mode), path, mode)
STEP(int, rmdir, (const char *path), path)
STEP(int, unlink, (const char *path), path)
STEP(ssize_t, send, (int fd, const void *buf, size_t n, int flags), fd, buf,
     n, flags)
