/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: one connection at a time, handed to the front end. */
#include "qemu/osdep.h"

#include <poll.h>
#include <sys/stat.h>
#include <termios.h>

#include "monitor/chardev.h"
#include "qemu/aio.h"
#include "qemu/sockets.h"

struct Chardev {
    char *id;
    char *description;
    int listen_fd;      /* -1: does not listen */
    char *unlink_path;  /* of a listening unix socket */
    int in_fd, out_fd;  /* of the connection, -1: none */
    bool owns_fds;      /* close them (not standard input and output) */
    ChardevOpened *opened;
    void *opaque;
    LIST_ENTRY(Chardev) list;
};

static LIST_HEAD(, Chardev) chardevs = LIST_HEAD_INITIALIZER(chardevs);

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

/* --- connections --- */

static void accept_connection(void *opaque);

static void listen_again(Chardev *chr)
{
    if (chr->listen_fd >= 0) {
        aio_set_fd_handler(aio_main_context(), chr->listen_fd, AIO_SCOPE_MAIN,
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

static void close_fds(Chardev *chr)
{
    if (chr->owns_fds) {
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
}

bool chardev_set_frontend(Chardev *chr, ChardevOpened *opened, void *opaque,
                          Error **errp)
{
    if (chr->opened) {
        error_setg(errp, "chardev '%s' is already in use", chr->id);
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
        error_setg_errno(errp, errno, "Could not open /dev/null");
        return false;
    }
    chr->description = g_strdup("null");
    connected(chr, -1, fd);
    return true;
}

static bool open_stdio(Chardev *chr, const ChardevOptions *options,
                       Error **errp)
{
    chr->owns_fds = false;
    chr->description = g_strdup("stdio");
    if (!fd_set_nonblock(STDIN_FILENO, true)) {
        error_setg_errno(errp, errno, "Could not use standard input");
        return false;
    }
    connected(chr, STDIN_FILENO, STDOUT_FILENO);
    return true;
}

static bool open_file(Chardev *chr, const ChardevOptions *options,
                      Error **errp)
{
    const ChardevOptionsFile *file = &options->u.file;
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK;
    int in_fd = -1, out_fd;

    flags |= file->append ? O_APPEND : O_TRUNC;
    out_fd = open(file->path, flags, 0666);
    if (out_fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", file->path);
        return false;
    }
    if (file->input_path) {
        in_fd = open(file->input_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (in_fd < 0) {
            error_setg_errno(errp, errno, "Could not open '%s'",
                             file->input_path);
            close(out_fd);
            return false;
        }
    }
    chr->description = g_strdup("file");
    connected(chr, in_fd, out_fd);
    return true;
}

/* PATH.in and PATH.out where they exist, else PATH both ways. */
static bool open_pipe(Chardev *chr, const ChardevOptions *options,
                      Error **errp)
{
    const char *path = options->u.pipe.path;
    g_autofree char *in = g_strdup_printf("%s.in", path);
    g_autofree char *out = g_strdup_printf("%s.out", path);
    int in_fd = open(in, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int out_fd = open(out, O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (in_fd < 0 || out_fd < 0) {
        if (in_fd >= 0) {
            close(in_fd);
        }
        if (out_fd >= 0) {
            close(out_fd);
        }
        in_fd = out_fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    }
    if (in_fd < 0) {
        error_setg_errno(errp, errno, "Could not open pipe '%s'", path);
        return false;
    }
    chr->description = g_strdup("pipe");
    connected(chr, in_fd, out_fd);
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

    if (!!opt->path + !!opt->fd + !!opt->port != 1) {
        error_setg(errp, "chardev '%s': exactly one of 'path', 'fd' and "
                   "'port' is needed", chr->id);
        return -1;
    }
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
    while (chr->out_fd < 0) {
        struct pollfd pfd = { .fd = chr->listen_fd, .events = POLLIN };

        poll(&pfd, 1, -1);
        accept_connection(chr);
    }
}

static bool open_socket(Chardev *chr, const ChardevOptions *options,
                        Error **errp)
{
    const ChardevOptionsSocket *opt = &options->u.socket;
    int fd;

    if (opt->reconnect || opt->has_abstract) {
        error_setg(errp, "chardev '%s': option '%s' is not supported", chr->id,
                   opt->reconnect ? "reconnect" : "abstract");
        return false;
    }
    fd = socket_fd(chr, opt, errp);
    if (fd < 0) {
        return false;
    }
    if (!opt->server) {
        connected(chr, fd, fd);
        return true;
    }
    chr->listen_fd = fd;
    chr->unlink_path = g_strdup(opt->path);
    if (opt->wait) {
        fprintf(stderr, "%s: waiting for connection on: %s\n",
                g_get_prgname() ?: "monitor", chr->description);
        wait_for_client(chr);
    }
    listen_again(chr);
    return true;
}

typedef bool ChardevOpen(Chardev *chr, const ChardevOptions *options,
                         Error **errp);

static ChardevOpen *const openers[CHARDEV_KIND__MAX] = {
    [CHARDEV_KIND_FILE] = open_file,
    [CHARDEV_KIND_NULL] = open_null,
    [CHARDEV_KIND_PIPE] = open_pipe,
    [CHARDEV_KIND_SOCKET] = open_socket,
    [CHARDEV_KIND_STDIO] = open_stdio,
};

static void chardev_free(Chardev *chr)
{
    close_fds(chr);
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

bool chardev_add(const ChardevOptions *options, Error **errp)
{
    Chardev *chr;

    if (chardev_find(options->id)) {
        error_setg(errp, "Chardev with id '%s' already exists", options->id);
        return false;
    }
    if (options->logfile || options->mux) {
        error_setg(errp, "chardev '%s': option '%s' is not supported",
                   options->id, options->logfile ? "logfile" : "mux");
        return false;
    }
    chr = g_new0(Chardev, 1);
    chr->id = g_strdup(options->id);
    chr->listen_fd = chr->in_fd = chr->out_fd = -1;
    chr->owns_fds = true;
    if (!openers[options->backend](chr, options, errp)) {
        chardev_free(chr);
        return false;
    }
    LIST_INSERT_HEAD(&chardevs, chr, list);
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
