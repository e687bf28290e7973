/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: one connection at a time, passed to the front end. */
#include "qemu/osdep.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

#include "monitor/chardev.h"
#include "qapi/qapi-types-char.h"
#include "qemu/aio.h"
#include "qemu/cutils.h"
#include "qemu/fdset.h"
#include "qemu/sockets.h"
#include "qemu/yank.h"

/* Whether a terminal has been opened can only be polled. */
#define PTY_INTERVAL_NS (50 * 1000 * 1000)

struct Chardev {
    char *id;
    char *description;
    int pty_fd;         /* our side of a terminal, -1: none */
    AioTimer *pty_timer;
    int listen_fd;      /* -1: not listening */
    char *unlink_path;  /* of a listening unix socket */
    int in_fd, out_fd;  /* of the connection, -1: none */
    int stdout_fd;      /* standard output, opened separately; -1: not */
    bool restore_stdin; /* make it blocking again */
    bool restore_stdout;
    ChardevRing *ring;  /* of a ring buffer */
    YankEntry *yank;    /* of a socket */
    bool owns_fds;      /* close them (except standard input and output) */
    ChardevOpened *opened;
    void *opaque;
    LIST_ENTRY(Chardev) list;
};

static LIST_HEAD(, Chardev) chardevs = LIST_HEAD_INITIALIZER(chardevs);
static bool stdio_forbidden, stdio_in_use;

Chardev *chardev_find(const char *id)
{
    Chardev *chr;

    LIST_FOREACH(chr, &chardevs, list) {
        if (!strcmp(chr->id, id)) {
            return chr;
        }
    }
    return NULL;
}

char *chardev_describe(const Chardev *chr)
{
    return g_strdup(chr->description);
}

Chardev *chardev_next(Chardev *chr)
{
    return chr ? LIST_NEXT(chr, list) : LIST_FIRST(&chardevs);
}

const char *chardev_id(const Chardev *chr)
{
    return chr->id;
}

bool chardev_is_used(const Chardev *chr)
{
    return chr->opened;
}

ChardevRing *chardev_ring(const Chardev *chr)
{
    return chr->ring;
}

bool chardev_is_open(const Chardev *chr)
{
    return chr->opened && chr->out_fd >= 0;
}

void chardev_forbid_stdio(void)
{
    stdio_forbidden = true;
}

/* --- connections --- */

static void accept_connection(void *opaque);

static void listen_again(Chardev *chr)
{
    if (chr->listen_fd >= 0) {
        aio_set_fd_handler(aio_main_context(), chr->listen_fd, AIO_SCOPE_IO,
                           chr->out_fd < 0 ? accept_connection : NULL, NULL,
                           chr);
    }
}

static void connected(Chardev *chr, int in_fd, int out_fd)
{
    chr->in_fd = in_fd;
    chr->out_fd = out_fd;
    listen_again(chr);
    if (chr->opened) {
        chr->opened(chr->opaque, in_fd, out_fd);
    }
}

static void accept_connection(void *opaque)
{
    Chardev *chr = opaque;
    int fd = sock_accept(chr->listen_fd);

    if (fd >= 0) {
        connected(chr, fd, fd);
    }
}

static void look_at_pty(void *opaque)
{
    Chardev *chr = opaque;
    struct pollfd pfd = { .fd = chr->pty_fd, .events = POLLIN };

    if (poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP)) {
        connected(chr, chr->pty_fd, chr->pty_fd);
    } else {
        aio_timer_mod(chr->pty_timer, aio_now_ns() + PTY_INTERVAL_NS);
    }
}

static void close_fds(Chardev *chr)
{
    if (chr->owns_fds && chr->pty_fd < 0) {
        if (chr->in_fd >= 0 && chr->in_fd != chr->out_fd) {
            close(chr->in_fd);
        }
        if (chr->out_fd >= 0) {
            close(chr->out_fd);
        }
    }
    chr->in_fd = chr->out_fd = -1;
}

void chardev_close_connection(Chardev *chr)
{
    close_fds(chr);
    listen_again(chr);
    if (chr->pty_timer) {
        aio_timer_mod(chr->pty_timer, aio_now_ns() + PTY_INTERVAL_NS);
    }
}

bool chardev_write_out(int fd, GString *out, size_t *sent)
{
    bool ok = true;

    while (*sent < out->len) {
        ssize_t n = write(fd, out->str + *sent, out->len - *sent);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            ok = errno == EAGAIN;
            break;
        }
        *sent += n;
    }
    /* Erasing after each write would take quadratic time. */
    if (*sent >= out->len / 2) {
        g_string_erase(out, 0, *sent);
        *sent = 0;
    }
    return ok;
}

void chardev_flush_out(int fd, GString *out, size_t *sent, int64_t end_ns)
{
    while (chardev_write_out(fd, out, sent) && out->len > *sent &&
           aio_now_ns() < end_ns) {
        struct pollfd pfd = { .fd = fd, .events = POLLOUT };

        poll(&pfd, 1, 10);
    }
}

bool chardev_set_frontend(Chardev *chr, ChardevOpened *opened, void *opaque,
                          Error **errp)
{
    if (chr->opened) {
        error_setg(errp, "Device '%s' is in use", chr->id);
        return false;
    }
    chr->opened = opened;
    chr->opaque = opaque;
    if (chr->out_fd >= 0) {
        opened(opaque, chr->in_fd, chr->out_fd);
    }
    return true;
}

/* --- kinds --- */

static bool open_null(Chardev *chr, const ChardevOptions *options,
                      Error **errp)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open '/dev/null'");
        return false;
    }
    chr->description = g_strdup(ChardevKind_str(options->backend));
    connected(chr, -1, fd);
    return true;
}

/*
 * Standard output in non-blocking mode.  Other processes with the same pipe or
 * terminal may rely on blocking mode, so it is opened again if possible; files
 * never block.  -1 with errno.
 */
static int open_stdout(Chardev *chr)
{
    struct stat st;

    if (fstat(STDOUT_FILENO, &st) < 0) {
        return -1;
    }
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        chr->stdout_fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK |
                              O_NOCTTY | O_CLOEXEC);
        if (chr->stdout_fd >= 0) {
            return chr->stdout_fd;
        }
    }
    if (!S_ISREG(st.st_mode)) {
        if (!fd_set_nonblock(STDOUT_FILENO, true)) {
            return -1;
        }
        chr->restore_stdout = true;
    }
    return STDOUT_FILENO;
}

static bool open_stdio(Chardev *chr, const ChardevOptions *options,
                       Error **errp)
{
    int out_fd;

    if (stdio_forbidden || stdio_in_use) {
        error_setg(errp, stdio_forbidden ? "cannot use stdio with -daemonize"
                   : "cannot use stdio by multiple character devices");
        return false;
    }
    chr->owns_fds = false;
    chr->description = g_strdup("stdio");
    if (!fd_set_nonblock(STDIN_FILENO, true)) {
        error_setg_errno(errp, errno, "Could not use standard input");
        return false;
    }
    stdio_in_use = true;
    chr->restore_stdin = true;
    out_fd = open_stdout(chr);
    if (out_fd < 0) {
        error_setg_errno(errp, errno, "Could not use standard output");
        return false;
    }
    connected(chr, STDIN_FILENO, out_fd);
    return true;
}

static int open_path(const char *path, int flags, Error **errp)
{
    int fd = fdset_open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
    }
    return fd;
}

static bool open_file(Chardev *chr, const ChardevOptions *options,
                      Error **errp)
{
    const ChardevOptionsFile *file = &options->u.file;
    int in_fd = -1, out_fd;

    out_fd = open_path(file->path, O_WRONLY | O_CREAT |
                       (file->append ? O_APPEND : O_TRUNC), errp);
    if (out_fd < 0) {
        return false;
    }
    if (file->input_path) {
        in_fd = open_path(file->input_path, O_RDONLY, errp);
        if (in_fd < 0) {
            close(out_fd);
            return false;
        }
    }
    chr->description = g_strdup("file");
    connected(chr, in_fd, out_fd);
    return true;
}

/* PATH.in and PATH.out if they exist, else PATH for both directions. */
static bool open_pipe(Chardev *chr, const ChardevOptions *options,
                      Error **errp)
{
    const char *path = options->u.pipe.path;
    g_autofree char *in = g_strdup_printf("%s.in", path);
    g_autofree char *out = g_strdup_printf("%s.out", path);
    int in_fd = open_path(in, O_RDWR, NULL);
    int out_fd = open_path(out, O_RDWR, NULL);

    if (in_fd < 0 || out_fd < 0) {
        if (in_fd >= 0) {
            close(in_fd);
        }
        if (out_fd >= 0) {
            close(out_fd);
        }
        in_fd = out_fd = open_path(path, O_RDWR, errp);
    }
    if (in_fd < 0) {
        return false;
    }
    chr->description = g_strdup("pipe");
    connected(chr, in_fd, out_fd);
    return true;
}

static void make_raw(int fd)
{
    struct termios attr;

    if (tcgetattr(fd, &attr) == 0) {
        cfmakeraw(&attr);
        tcsetattr(fd, TCSANOW, &attr);
    }
}

static bool open_serial(Chardev *chr, const ChardevOptions *options,
                        Error **errp)
{
    int fd = open_path(options->u.serial.path, O_RDWR, errp);

    if (fd < 0) {
        return false;
    }
    make_raw(fd);
    chr->description = g_strdup("serial");
    connected(chr, fd, fd);
    return true;
}

/* The user's side is opened and closed once, so that it counts as closed. */
static bool open_pty(Chardev *chr, const ChardevOptions *options,
                     Error **errp)
{
    char name[128];
    int other;

    chr->pty_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (chr->pty_fd < 0 || grantpt(chr->pty_fd) < 0 ||
        unlockpt(chr->pty_fd) < 0 ||
        ptsname_r(chr->pty_fd, name, sizeof(name)) ||
        !fd_set_nonblock(chr->pty_fd, true)) {
        error_setg_errno(errp, errno, "Failed to create PTY");
        return false;
    }
    other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (other < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", name);
        return false;
    }
    make_raw(other);
    close(other);
    printf("char device redirected to %s (label %s)\n", name, chr->id);
    fflush(stdout);
    chr->description = g_strdup_printf("pty:%s", name);
    chr->pty_timer = aio_timer_new(aio_main_context(), AIO_SCOPE_MAIN,
                                   look_at_pty, chr);
    look_at_pty(chr);
    return true;
}

static bool open_ring(Chardev *chr, const ChardevOptions *options,
                      Error **errp)
{
    bool is_memory = options->backend == CHARDEV_KIND_MEMORY;
    int fd;

    chr->ring = chardev_ring_new(is_memory ? options->u.memory.size
                                 : options->u.ringbuf.size, &fd, errp);
    if (!chr->ring) {
        return false;
    }
    chr->description = g_strdup(ChardevKind_str(options->backend));
    connected(chr, -1, fd);
    return true;
}

static int socket_fd(Chardev *chr, const ChardevOptionsSocket *opt,
                     Error **errp)
{
    SockInetAddress inet = {
        .host = opt->host,
        .port = opt->port,
        .port_to = opt->has_to ? opt->to : 0,
        .ipv4 = opt->has_ipv4 ? opt->ipv4 : -1,
        .ipv6 = opt->has_ipv6 ? opt->ipv6 : -1,
    };

    if (opt->fd) {
        chr->description = g_strdup_printf("fd:%s", opt->fd);
        return sock_from_fd_str(opt->fd, errp);
    }
    if (opt->path) {
        chr->description = g_strdup_printf("unix:%s%s", opt->path,
                                           opt->server ? ",server=on" : "");
        return opt->server ? sock_listen_unix(opt->path, errp)
                           : sock_connect_unix(opt->path, errp);
    }
    chr->description = g_strdup_printf("tcp:%s:%s%s", opt->host ?: "",
                                       opt->port,
                                       opt->server ? ",server=on" : "");
    return opt->server ? sock_listen_inet(&inet, errp)
                       : sock_connect_inet(&inet, errp);
}

static void wait_for_client(Chardev *chr)
{
    listen_again(chr);
    AIO_WAIT_WHILE(chr->out_fd < 0 && !aio_main_quitting());
}

/* Readers and writers find the connection closed, and end it. */
static void cut_connection(void *opaque)
{
    Chardev *chr = opaque;

    if (chr->out_fd >= 0) {
        shutdown(chr->out_fd, SHUT_RDWR);
    }
}

static bool open_socket(Chardev *chr, const ChardevOptions *options,
                        Error **errp)
{
    const ChardevOptionsSocket *opt = &options->u.socket;
    int fd;

    fd = socket_fd(chr, opt, errp);
    if (fd < 0) {
        return false;
    }
    chr->yank = yank_add(YANK_CHARDEV, chr->id, cut_connection, chr);
    if (!opt->server) {
        connected(chr, fd, fd);
        return true;
    }
    chr->listen_fd = fd;
    chr->unlink_path = g_strdup(opt->path);
    if (opt->wait) {
        info_report("QEMU waiting for connection on: disconnected:%s",
                    chr->description);
        wait_for_client(chr);
        if (chr->out_fd < 0) {
            error_setg(errp, "No client connected to chardev '%s'", chr->id);
            return false;
        }
    }
    listen_again(chr);
    return true;
}

typedef bool ChardevOpen(Chardev *chr, const ChardevOptions *options,
                         Error **errp);

static ChardevOpen *const openers[CHARDEV_KIND__MAX] = {
    [CHARDEV_KIND_FILE] = open_file,
    [CHARDEV_KIND_MEMORY] = open_ring,
    [CHARDEV_KIND_NULL] = open_null,
    [CHARDEV_KIND_PIPE] = open_pipe,
    [CHARDEV_KIND_PTY] = open_pty,
    [CHARDEV_KIND_RINGBUF] = open_ring,
    [CHARDEV_KIND_SERIAL] = open_serial,
    [CHARDEV_KIND_SOCKET] = open_socket,
    [CHARDEV_KIND_STDIO] = open_stdio,
    [CHARDEV_KIND_VC] = open_null,
};

static void chardev_free(Chardev *chr)
{
    close_fds(chr);
    chardev_ring_free(chr->ring);
    yank_remove(chr->yank);
    if (chr->restore_stdin) {
        fd_set_nonblock(STDIN_FILENO, false);
        stdio_in_use = false;
    }
    if (chr->restore_stdout) {
        fd_set_nonblock(STDOUT_FILENO, false);
    }
    if (chr->stdout_fd >= 0) {
        close(chr->stdout_fd);
    }
    if (chr->pty_timer) {
        aio_timer_free(chr->pty_timer);
    }
    if (chr->pty_fd >= 0) {
        close(chr->pty_fd);
    }
    if (chr->listen_fd >= 0) {
        aio_set_fd_handler(aio_main_context(), chr->listen_fd, AIO_SCOPE_MAIN,
                           NULL, NULL, NULL);
        close(chr->listen_fd);
    }
    if (chr->unlink_path) {
        unlink(chr->unlink_path);
    }
    g_free(chr->unlink_path);
    g_free(chr->description);
    g_free(chr->id);
    g_free(chr);
}

/* Creates a device that is not in the list; NULL on failure. */
static Chardev *create(const ChardevOptions *options, Error **errp)
{
    Chardev *chr = g_new0(Chardev, 1);

    chr->id = g_strdup(options->id);
    chr->listen_fd = chr->in_fd = chr->out_fd = chr->pty_fd = -1;
    chr->stdout_fd = -1;
    chr->owns_fds = true;
    if (!openers[options->backend](chr, options, errp)) {
        chardev_free(chr);
        return NULL;
    }
    return chr;
}

bool chardev_add(const ChardevOptions *options, Error **errp)
{
    Chardev *chr;

    if (!id_check(options->id, errp)) {
        return false;
    }
    if (chardev_find(options->id)) {
        error_setg(errp, "Duplicate ID '%s' for chardev", options->id);
        return false;
    }
    chr = create(options, errp);
    if (!chr) {
        return false;
    }
    LIST_INSERT_HEAD(&chardevs, chr, list);
    return true;
}

void chardev_remove(Chardev *chr)
{
    LIST_REMOVE(chr, list);
    chardev_free(chr);
}

bool chardev_change(const ChardevOptions *options, Error **errp)
{
    Chardev *old = chardev_find(options->id);
    Chardev *chr = create(options, errp);

    if (!chr) {
        return false;
    }
    LIST_INSERT_AFTER(old, chr, list);
    chardev_remove(old);
    return true;
}

void chardev_cleanup(void)
{
    Chardev *chr, *next;

    LIST_FOREACH_SAFE(chr, &chardevs, list, next) {
        LIST_REMOVE(chr, list);
        chardev_free(chr);
    }
}
