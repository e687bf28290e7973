/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Servers, exports and the life cycle of a client.
 *
 * A client is one coroutine from beginning to end, which frees the client last.
 * A client is ended by shutting down its socket: the coroutine then reads the
 * end of the stream.
 *
 * Threads.  The coroutine does the handshake in the main thread, continues in
 * the thread of its export and returns to end.  When an export moves, its
 * clients have no context for a while.  In the old thread all coroutines that
 * wait there are woken and park; those woken earlier park when they run or, if
 * there is a new context by then, move to it.  The main thread sets the new
 * context and resumes the parked ones while it is exclusive: none of them can
 * be in the middle of parking then.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "nbd-int.h"
#include "qemu/sockets.h"

#define HANDSHAKE_NS (INT64_C(10) * 1000 * 1000 * 1000)

/* --- server --- */

NBDServer *nbd_server_new(void)
{
    return g_new0(NBDServer, 1);
}

unsigned nbd_server_clients(const NBDServer *server)
{
    return server->nclients;
}

void nbd_server_on_close(NBDServer *server,
                         void (*closed)(void *opaque, bool served),
                         void *opaque)
{
    server->closed = closed;
    server->closed_opaque = opaque;
}

void nbd_server_disconnect_all(NBDServer *server)
{
    NBDClient *client;
    NBDExport *exp;

    aio_exclusive_begin();
    LIST_FOREACH(client, &server->clients, next) {
        nbd_client_disconnect(client);
    }
    LIST_FOREACH(exp, &server->exports, next) {
        co_queue_wake_all(&exp->resume);
    }
    aio_exclusive_end();
}

void nbd_server_free(NBDServer *server)
{
    if (server) {
        g_assert(LIST_EMPTY(&server->exports) && !server->nclients);
        g_free(server);
    }
}

/* --- exports --- */

static bool check_text(const char *what, const char *text, Error **errp)
{
    if (text && strlen(text) > NBD_MAX_NAME) {
        error_setg(errp, "%s '%.40s...' too long", what, text);
        return false;
    }
    return true;
}

static void unpark(NBDClient *client, Coroutine **parked)
{
    Coroutine *co = g_steal_pointer(parked);

    if (co) {
        co_set_context(co, client->ctx);
        co_schedule(client->ctx, co);
    }
}

/* The export has moved to @ctx. */
static void client_arrive(NBDClient *client, AioContext *ctx)
{
    __atomic_store_n(&client->ctx, ctx, __ATOMIC_RELAXED);
    client->send_bh = aio_bh_new(ctx, AIO_SCOPE_IO, nbd_reply_send_bh, client);
    if (!TAILQ_EMPTY(&client->ready) && !client->sending) {
        aio_bh_schedule(client->send_bh);
    }
    unpark(client, &client->parked_reader);
    unpark(client, &client->parked_sender);
}

/* A BH, as nbd_export_quiesce()'s caller may not be ready for requests. */
static void resume_bh(void *opaque)
{
    NBDExport *exp = opaque;
    NBDClient *client;

    aio_exclusive_begin();
    if (exp->ctx) {
        LIST_FOREACH(client, &exp->server->clients, next) {
            if (client->exp == exp && client->joined && !client->ctx) {
                client_arrive(client, exp->ctx);
            }
        }
    }
    if (!exp->quiesced) {
        co_queue_wake_all(&exp->resume);
    }
    aio_exclusive_end();
}

/* Runs in the thread that the client leaves. */
static void client_depart(NBDClient *client)
{
    __atomic_store_n(&client->ctx, NULL, __ATOMIC_RELAXED);
    g_clear_pointer(&client->send_bh, aio_bh_free);
    aio_release_fd(client->fd);
    co_queue_wake_all(&client->slots);
}

void nbd_export_detach(NBDExport *exp)
{
    NBDClient *client;

    g_assert(exp->quiesced && !exp->in_flight);
    g_assert(exp->ctx == aio_current_context());
    exp->ctx = NULL;
    LIST_FOREACH(client, &exp->server->clients, next) {
        if (client->exp == exp && client->joined && client->ctx) {
            client_depart(client);
        }
    }
    co_queue_wake_all(&exp->resume);
}

void nbd_export_attach(NBDExport *exp, AioContext *ctx)
{
    exp->ctx = ctx;
    aio_bh_schedule(exp->resume_bh);
}

uint64_t nbd_export_size(const NBDExport *exp)
{
    return __atomic_load_n(&exp->size, __ATOMIC_RELAXED);
}

bool nbd_export_busy(const NBDExport *exp)
{
    return exp->in_flight > 0;
}

/* Clients see them in the order of creation. */
static void list_append(NBDServer *server, NBDExport *exp)
{
    NBDExport *last = LIST_FIRST(&server->exports);

    while (last && LIST_NEXT(last, next)) {
        last = LIST_NEXT(last, next);
    }
    if (last) {
        LIST_INSERT_AFTER(last, exp, next);
    } else {
        LIST_INSERT_HEAD(&server->exports, exp, next);
    }
}

static uint16_t export_flags(const NBDExportInfo *info,
                             const NBDExportOps *ops)
{
    return NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
           (info->exclusive ? 0 : NBD_FLAG_CAN_MULTI_CONN) |
           (ops->cache ? NBD_FLAG_SEND_CACHE : 0) |
           (info->writable ? NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
                                 NBD_FLAG_SEND_FAST_ZERO
                           : NBD_FLAG_READ_ONLY);
}

uint16_t nbd_client_flags(const NBDClient *client, const NBDExport *exp)
{
    return exp->trans_flags | (client->structured ? NBD_FLAG_SEND_DF : 0);
}

NBDExport *nbd_export_new(NBDServer *server, const NBDExportInfo *info,
                          const NBDExportOps *ops, void *opaque, Error **errp)
{
    static uint64_t last_serial;
    NBDExport *exp;

    if (!check_text("export name", info->name, errp) ||
        !check_text("description", info->description, errp)) {
        return NULL;
    }
    if (nbd_export_find(server, info->name)) {
        error_setg(errp, "NBD server already has export named '%s'",
                   info->name);
        return NULL;
    }
    exp = g_new0(NBDExport, 1);
    exp->server = server;
    exp->name = g_strdup(info->name);
    exp->description = g_strdup(info->description);
    exp->size = info->size;
    exp->preferred_block = MAX(info->preferred_block, 4096);
    exp->ops = ops;
    exp->opaque = opaque;
    exp->trans_flags = export_flags(info, ops);
    exp->serial = ++last_serial;
    exp->contexts = g_strdupv((char **)info->contexts);
    exp->n_contexts = exp->contexts ? g_strv_length(exp->contexts) : 0;
    exp->ctx = aio_main_context();
    co_queue_init(&exp->resume);
    exp->resume_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_IO, resume_bh,
                                exp);
    exp->listed = true;
    list_append(server, exp);
    return exp;
}

NBDExport *nbd_export_find(NBDServer *server, const char *name)
{
    NBDExport *exp;

    LIST_FOREACH(exp, &server->exports, next) {
        if (strcmp(exp->name, name) == 0) {
            return exp;
        }
    }
    return NULL;
}

void nbd_export_shutdown(NBDExport *exp)
{
    NBDClient *client;

    if (exp->listed) {
        exp->listed = false;
        LIST_REMOVE(exp, next);
    }
    aio_exclusive_begin();
    LIST_FOREACH(client, &exp->server->clients, next) {
        if (client->exp == exp) {
            nbd_client_disconnect(client);
        }
    }
    co_queue_wake_all(&exp->resume);
    aio_exclusive_end();
}

void nbd_export_free(NBDExport *exp)
{
    g_assert(exp->nclients == 0);
    nbd_export_shutdown(exp);
    aio_bh_free(exp->resume_bh);
    g_free(exp->name);
    g_free(exp->description);
    g_strfreev(exp->contexts);
    g_free(exp);
}

void *nbd_export_opaque(const NBDExport *exp)
{
    return exp->opaque;
}

void nbd_export_set_size(NBDExport *exp, uint64_t size)
{
    __atomic_store_n(&exp->size, size, __ATOMIC_RELAXED);
}

void nbd_export_quiesce(NBDExport *exp, bool quiesce)
{
    if (quiesce) {
        exp->quiesced++;
        return;
    }
    g_assert(exp->quiesced > 0);
    if (--exp->quiesced == 0) {
        aio_bh_schedule(exp->resume_bh);
    }
}

/* --- clients --- */

void nbd_client_choose(NBDClient *client, NBDExport *exp)
{
    client->exp = exp;
    exp->nclients++;
    exp->ops->client_added(exp->opaque);
}

void nbd_client_leave(NBDClient *client)
{
    NBDExport *exp = client->exp;

    client->exp = NULL;
    if (exp) {
        exp->nclients--;
        exp->ops->client_removed(exp->opaque);
    }
}

void nbd_client_disconnect(NBDClient *client)
{
    client->closing = true;
    shutdown(client->fd, SHUT_RDWR);
}

static void handshake_timeout(void *opaque)
{
    nbd_client_disconnect(opaque);
}

static void client_free(NBDClient *client)
{
    NBDServer *server = client->server;
    bool served = client->exp;

    g_assert(TAILQ_EMPTY(&client->ready) && !client->in_flight);
    aio_exclusive_begin();
    LIST_REMOVE(client, next);
    aio_exclusive_end();
    server->nclients--;
    aio_timer_free(client->timer);
    aio_set_fd_handler(aio_main_context(), client->fd, AIO_SCOPE_IO, NULL,
                       NULL, NULL);
    close(client->fd);
    qemu_vfree(client->rx);
    nbd_client_leave(client);
    g_free(client->contexts);
    g_free(client);
    if (server->closed) {
        server->closed(server->closed_opaque, served);
    }
}

void coroutine_fn nbd_client_settle(NBDClient *client, Coroutine **parked)
{
    AioContext *ctx;

    for (;;) {
        ctx = __atomic_load_n(&client->ctx, __ATOMIC_RELAXED);
        if (ctx == aio_current_context()) {
            return;
        }
        if (ctx) {
            co_move_to(ctx);
        } else {
            *parked = coroutine_self();
            coroutine_yield();
        }
    }
}

/* Moves the client from the main thread to the thread of its export. */
static void coroutine_fn client_join(NBDClient *client)
{
    g_clear_pointer(&client->timer, aio_timer_free);
    aio_set_fd_handler(aio_main_context(), client->fd, AIO_SCOPE_IO, NULL,
                       NULL, NULL);
    aio_exclusive_begin();
    client->joined = true;
    __atomic_store_n(&client->ctx, NULL, __ATOMIC_RELAXED);
    if (client->exp->ctx) {
        client_arrive(client, client->exp->ctx);
    }
    aio_exclusive_end();
    nbd_client_settle(client, &client->parked_reader);
}

/* Moves the client back to the main thread, after all requests and replies. */
static void coroutine_fn client_part(NBDClient *client)
{
    AioContext *ctx = aio_current_context();

    client->joined = false;
    aio_bh_free(client->send_bh);
    aio_set_fd_handler(ctx, client->fd, AIO_SCOPE_IO, NULL, NULL, NULL);
    __atomic_store_n(&client->ctx, aio_main_context(), __ATOMIC_RELAXED);
    co_move_to(aio_main_context());
}

static void coroutine_fn client_entry(void *opaque)
{
    NBDClient *client = opaque;

    aio_timer_mod(client->timer, aio_now_ns() + HANDSHAKE_NS);
    if (nbd_negotiate(client) == 0) {
        client_join(client);
        nbd_transmission(client);
        client_part(client);
    }
    client_free(client);
}

void nbd_server_add_client(NBDServer *server, int fd)
{
    AioContext *ctx = aio_main_context();
    NBDClient *client = g_new0(NBDClient, 1);

    client->server = server;
    client->fd = fd;
    sock_expect_bulk(fd);
    client->timer = aio_timer_new(ctx, AIO_SCOPE_IO, handshake_timeout,
                                  client);
    client->ctx = ctx;
    TAILQ_INIT(&client->free);
    TAILQ_INIT(&client->ready);
    co_queue_init(&client->slots);
    aio_exclusive_begin();
    LIST_INSERT_HEAD(&server->clients, client, next);
    aio_exclusive_end();
    server->nclients++;
    coroutine_enter(coroutine_create(client_entry, client));
}
