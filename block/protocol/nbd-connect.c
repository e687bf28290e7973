/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections to an NBD server.
 *
 *     connected --(breaks)--> waiting: requests sleep, attempts continue
 *     waiting --(reconnect-delay is over)--> failing: requests fail; each
 *                                            starts one attempt
 *     waiting, failing --(an attempt succeeds)--> connected
 *     waiting --(cancelled)--> failing
 *     connected --(silent for too long, see nbd-silence.c)--> failing
 *     any --(yank)--> failing, and no attempts are made
 *
 * Names are resolved and sockets connected in a worker thread, the handshake
 * is done by a coroutine: nothing here blocks the loop.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "block/graph.h"
#include "nbd-int.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/sockets.h"

#define NS_PER_S INT64_C(1000000000)
#define FIRST_PAUSE (NS_PER_S / 10)
#define LONGEST_PAUSE (16 * NS_PER_S)
/* Of an attempt to reconnect: the next one may find a server that answers. */
#define LONGEST_ATTEMPT (30 * NS_PER_S)

static bool given_up(const NBDState *s)
{
    return s->closing || s->yanked;
}

/* --- one attempt --- */

/* Returns a connected socket, or -1. */
static int coroutine_fn open_socket(NBDState *s, Error **errp)
{
    const SocketAddress *addr = s->options->server;
    const InetSocketAddress *inet = &addr->u.inet;
    int on = 1, fd;

    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_FD:
        if (s->conn) {
            error_setg(errp, "A file descriptor cannot be connected again");
            return -1;
        }
        return sock_from_fd_str(addr->u.fd.str, errp);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return sock_co_connect(addr->u.q_unix.path, NULL, &s->dialing, errp);
    default:
        break;
    }
    fd = sock_co_connect(NULL, &(SockInetAddress){
                             .host = inet->host, .port = inet->port,
                             .ipv4 = inet->has_ipv4 ? inet->ipv4 : -1,
                             .ipv6 = inet->has_ipv6 ? inet->ipv6 : -1,
                         }, &s->dialing, errp);
    if (fd >= 0 && inet->has_keep_alive && inet->keep_alive) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    return fd;
}

/* Can @info replace the information the node was opened with? */
static bool check_same(const NBDState *s, const NBDInfo *info, Error **errp)
{
    if (info->size != s->info.size) {
        error_setg(errp, "the size of the export has changed from %" PRIu64
                   " to %" PRIu64, s->info.size, info->size);
        return false;
    }
    if (info->flags & NBD_FLAG_READ_ONLY &&
        !(s->info.flags & NBD_FLAG_READ_ONLY) &&
        !bdrv_is_read_only(s->bs)) {
        error_setg(errp, "the export has become read-only");
        return false;
    }
    if (info->min_block > MAX(s->info.min_block, 1) ||
        (info->max_block && info->max_block < NBD_MAX_PAYLOAD &&
         (!s->info.max_block || info->max_block < s->info.max_block))) {
        error_setg(errp, "the block sizes of the export have changed");
        return false;
    }
    if (s->info.has_context && !info->has_context) {
        error_setg(errp, "the export has lost its metadata context");
        return false;
    }
    return true;
}

/*
 * The server may have been restarted, and have lost what was not flushed.  Who
 * relies on that must hear of it also if nothing is to be sent.  Reports a
 * violation of the protocol by the server, once.
 */
static void on_break(void *opaque, const char *rule)
{
    NBDState *s = opaque;

    if (s->settled != s->changes) {
        bdrv_suspect_forgotten_writes(s->bs);
    }
    if (rule) {
        g_autofree char *name = nbd_server_name(s->options->server);

        error_report("NBD server '%s' violated the protocol: it sent %s", name,
                     rule);
    }
}

/* What was lost was not repeated: that is done only with requests in flight. */
static void note_loss(NBDState *s)
{
    s->conns++;
    if (s->settled != s->changes) {
        bdrv_note_forgotten_writes(s->bs);
        s->settled = s->changes;
    }
}

/*
 * @conn, made in the main thread, becomes the node's.  The former one has
 * failed; its receiver may need a context in which to end.
 */
static void coroutine_fn hand_over(NBDState *s, NBDConn *conn)
{
    nbd_conn_on_break(conn, on_break, s);
    nbd_conn_detach(conn);
    aio_exclusive_begin();
    if (s->conn) {
        nbd_conn_attach(s->conn, aio_main_context());
        nbd_conn_unref(s->conn);
    }
    s->conn = conn;
    note_loss(s);
    if (s->ctx) {
        nbd_conn_attach(conn, s->ctx);
    }
    aio_exclusive_end();
}

/* Makes a new connection and stores it in s->conn. */
static bool coroutine_fn attempt(NBDState *s, Error **errp)
{
    NBDWish wish = {
        .export = s->options->export ? s->options->export : "",
        .context = s->options->x_dirty_bitmap ? s->options->x_dirty_bitmap
                                              : NBD_CONTEXT_ALLOCATION,
    };
    int fd = open_socket(s, errp);
    NBDConn *conn;

    if (fd < 0) {
        return false;
    }
    s->handshake_fd = fd;
    if (given_up(s) || s->late) {
        shutdown(fd, SHUT_RDWR);
    }
    conn = nbd_conn_new(fd, &wish, errp);
    s->handshake_fd = -1;
    if (!conn) {
        return false;
    }
    if (s->conn && !check_same(s, nbd_conn_info(conn), errp)) {
        nbd_conn_stop(conn);
        nbd_conn_unref(conn);
        return false;
    }
    hand_over(s, conn);
    return true;
}

/* --- threads --- */

void nbd_connect_detach(NBDState *s)
{
    s->ctx = NULL;
    if (s->conn) {
        nbd_conn_detach(s->conn);
    }
}

void nbd_connect_attach(NBDState *s)
{
    s->ctx = s->bs->ctx;
    aio_bh_schedule(s->attach_bh);
}

void nbd_connect_follow(void *opaque)
{
    NBDState *s = opaque;

    aio_exclusive_begin();
    if (s->ctx && s->conn) {
        nbd_conn_attach(s->conn, s->ctx);
    }
    aio_exclusive_end();
}

/* --- the first connection --- */

typedef struct First {
    NBDState *s;
    int64_t end; /* no attempt begins later, but for the first */
    Error **errp;
    bool ok;
} First;

static void coroutine_fn first_entry(void *opaque)
{
    First *f = opaque;
    NBDState *s = f->s;
    int64_t pause = FIRST_PAUSE;
    Error *err = NULL;

    while (!(f->ok = attempt(s, &err))) {
        int64_t left = f->end - aio_now_ns();

        if (s->options->server->type == SOCKET_ADDRESS_TYPE_FD || left <= 0 ||
            given_up(s)) {
            break;
        }
        co_sleep_wakeable(&s->pause, MIN(pause, left));
        pause = MIN(pause * 2, NS_PER_S);
        if (aio_now_ns() >= f->end) {
            break;
        }
        g_clear_pointer(&err, error_free);
    }
    error_propagate(f->errp, err);
}

/* Ends the attempt in progress. */
static void cut_attempt(NBDState *s)
{
    thread_pool_cancel(&s->dialing);
    if (s->handshake_fd >= 0) {
        shutdown(s->handshake_fd, SHUT_RDWR);
    }
}

void nbd_attempt_over(void *opaque)
{
    NBDState *s = opaque;

    s->late = true;
    cut_attempt(s);
}

bool nbd_connect_first(NBDState *s, Error **errp)
{
    First f = { .s = s, .errp = errp };

    f.end = aio_now_ns() + s->options->open_timeout * NS_PER_S;
    if (s->options->open_timeout) {
        aio_timer_mod(s->attempt_timer, f.end);
    }
    aio_run_co(aio_main_context(), first_entry, &f);
    aio_timer_del(s->attempt_timer);
    if (f.ok) {
        s->info = *nbd_conn_info(s->conn);
    }
    s->was_up = f.ok;
    return f.ok;
}

/* --- reconnecting --- */

/* The coroutine is not entered here, as it and others may leave the list. */
void nbd_wake_use(NBDState *s, NBDUse *use)
{
    if (use->asleep) {
        use->asleep = false;
        co_schedule(s->bs->ctx, use->co);
    }
}

static void wake_all(NBDState *s)
{
    NBDUse *use;

    LIST_FOREACH(use, &s->uses, list) {
        nbd_wake_use(s, use);
    }
}

void nbd_delay_over(void *opaque)
{
    NBDState *s = opaque;

    aio_exclusive_begin();
    s->waiting = false;
    wake_all(s);
    aio_exclusive_end();
}

/* attempt(), for a limited time. */
static bool coroutine_fn attempt_again(NBDState *s)
{
    bool ok;

    s->late = false;
    aio_timer_mod(s->attempt_timer, aio_now_ns() + LONGEST_ATTEMPT);
    ok = attempt(s, NULL);
    aio_timer_del(s->attempt_timer);
    return ok;
}

static void coroutine_fn reconnect_entry(void *opaque)
{
    NBDState *s = opaque;
    int64_t pause = FIRST_PAUSE;

    if (s->waiting) {
        aio_timer_mod(s->delay_timer, aio_now_ns() +
                      s->options->reconnect_delay * NS_PER_S);
    }
    while (!given_up(s) && !attempt_again(s) && s->waiting && !given_up(s)) {
        co_sleep_wakeable(&s->pause, pause);
        pause = MIN(pause * 2, LONGEST_PAUSE);
        if (!s->waiting) {
            break;
        }
    }
    aio_exclusive_begin();
    s->connecting = false;
    if (nbd_conn_ok(s->conn)) {
        s->waiting = false;
        aio_timer_del(s->delay_timer);
    }
    wake_all(s);
    aio_exclusive_end();
    aio_notify(aio_main_context());
}

/* The connection was found broken. */
static void coroutine_fn start_connecting(NBDState *s)
{
    if (s->was_up && !s->connecting && s->options->reconnect_delay &&
        !s->impatient) {
        s->waiting = true; /* the coroutine sets the timer */
    }
    s->was_up = false;
    if (!s->connecting) {
        s->connecting = true;
        aio_co_enter(aio_main_context(),
                     coroutine_create(reconnect_entry, s));
    }
}

NBDConn *coroutine_fn nbd_connect_get(NBDState *s, NBDUse *use)
{
    while (!given_up(s)) {
        if (nbd_conn_ok(s->conn)) {
            s->was_up = true;
            return nbd_conn_ref(s->conn);
        }
        start_connecting(s);
        if (nbd_conn_ok(s->conn)) {
            continue;
        }
        if (!s->waiting || use->cancelled) {
            return NULL;
        }
        use->asleep = true;
        coroutine_yield();
    }
    return NULL;
}

/* --- the end --- */

static bool is_alive(const NBDState *s)
{
    return s->connecting || (s->conn && !nbd_conn_ended(s->conn));
}

void nbd_connect_cut(void *opaque)
{
    NBDState *s = opaque;

    aio_exclusive_begin();
    s->yanked = true;
    nbd_delay_over(s);
    co_sleep_wake(&s->pause);
    cut_attempt(s);
    if (s->conn) {
        nbd_conn_stop(s->conn);
    }
    aio_exclusive_end();
}

void nbd_connect_close(NBDState *s)
{
    s->closing = true;
    yank_remove(g_steal_pointer(&s->yank));
    nbd_connect_cut(s);
    AIO_WAIT_WHILE(is_alive(s));
    nbd_conn_unref(s->conn);
    s->conn = NULL;
    g_clear_pointer(&s->attach_bh, aio_bh_free);
    g_clear_pointer(&s->watch_bh, aio_bh_free);
    g_clear_pointer(&s->delay_timer, aio_timer_free);
    g_clear_pointer(&s->attempt_timer, aio_timer_free);
    g_clear_pointer(&s->watch_timer, aio_timer_free);
    g_clear_pointer(&s->options, qapi_free_BlockdevOptionsNbd);
}
