/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to the service manager. */
#include "qemu/osdep.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "qemu/aio.h"
#include "qemu/notify.h"

static struct sockaddr_un address;
static socklen_t address_len; /* 0: there is no manager */
static bool stopping;
#define SECOND_NS (1000 * 1000 * 1000)

static int64_t extended_ns; /* when time was asked for last; atomic */

void notify_init(void)
{
    const char *path = g_getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    /* '@' stands for the 0 before an abstract name. */
    if (len > 1 && len < sizeof(address.sun_path) &&
        (*path == '/' || *path == '@')) {
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, path, len);
        if (*path == '@') {
            address.sun_path[0] = 0;
        }
        address_len = offsetof(struct sockaddr_un, sun_path) + len;
    }
    g_unsetenv("NOTIFY_SOCKET");
}

void notify_send(const char *text)
{
    int fd;

    if (!address_len) {
        return;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL,
               (struct sockaddr *)&address, address_len) < 0) {
        /* The manager is gone; nothing depends on it. */
    }
    close(fd);
}

void notify_stopping(void)
{
    notify_send("STOPPING=1\nSTATUS=Closing images");
    __atomic_store_n(&stopping, true, __ATOMIC_SEQ_CST);
    notify_progress();
}

void notify_progress(void)
{
    int64_t now, before;

    if (!address_len || !__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        return;
    }
    now = aio_now_ns();
    before = __atomic_load_n(&extended_ns, __ATOMIC_RELAXED);
    if ((before && now - before < SECOND_NS) ||
        !__atomic_compare_exchange_n(&extended_ns, &before, now, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        return;
    }
    notify_send("EXTEND_TIMEOUT_USEC=" G_STRINGIFY(NOTIFY_EXTEND_S) "000000");
}
