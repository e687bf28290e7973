/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An export in one thread and its client's node in another, both moving. */
#include "qemu/osdep.h"

#include <glib/gstdio.h>
#include <json-c/json.h>

#include "block/block-backend.h"
#include "block/export.h"
#include "block/graph.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/iothread.h"

extern const BlockDriver bdrv_null_co, bdrv_nbd;

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_null_co, &bdrv_nbd, NULL,
};

#define WORKERS 4
#define MOVES 200

typedef struct Bench {
    IOThread *threads[2];
    AioContext *ctx[3]; /* main, and of the threads */
    char *dir, *path;
    BlockDriverState *disk, *client;
    BlockBackend *blk;
    int running, done, failed;
    bool stop;
} Bench;

static BlockDriverState *open_json(char *text)
{
    g_autofree char *json = g_strdelimit(text, "'", '"');
    struct json_object *obj = json_tokener_parse(json);
    g_autoptr(BlockdevOptions) options = NULL;

    options = bdrv_options_from_json(obj, false, &error_abort);
    json_object_put(obj);
    return bdrv_open(options, 0, &error_abort);
}

static void serve(Bench *b)
{
    SocketAddress addr = { .type = SOCKET_ADDRESS_TYPE_UNIX };
    BlockExportOptions export = {
        .type = BLOCK_EXPORT_TYPE_NBD,
        .id = (char *)"e",
        .node_name = (char *)"disk",
        .writable = true,
    };

    addr.u.q_unix.path = b->path;
    g_assert_true(nbd_server_start(&addr, NULL, NULL, 0, &error_abort));
    g_assert_nonnull(blk_exp_add(&export, &error_abort));
}

static void bench_begin(Bench *b, int reconnect_delay)
{
    *b = (Bench){ .ctx = { aio_main_context() } };
    for (int i = 0; i < 2; i++) {
        b->threads[i] = iothread_new("t", &error_abort);
        b->ctx[i + 1] = iothread_context(b->threads[i]);
    }
    b->dir = g_dir_make_tmp("nbd-XXXXXX", NULL);
    b->path = g_strdup_printf("%s/sock", b->dir);
    b->disk = open_json(g_strdup("{'driver':'null-co','node-name':'disk',"
                                 "'size':1048576,'read-zeroes':true}"));
    serve(b);
    b->client = open_json(g_strdup_printf(
        "{'driver':'nbd','node-name':'client','export':'disk',"
        "'reconnect-delay':%d,"
        "'server':{'type':'unix','path':'%s'}}", reconnect_delay, b->path));
    b->blk = blk_new_with_bs(b->client,
                             BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                             BLK_PERM_ALL, &error_abort);
}

static void move(Bench *b, int disk, int client)
{
    bdrv_try_set_aio_context(b->disk, b->ctx[disk], &error_abort);
    bdrv_try_set_aio_context(b->client, b->ctx[client], &error_abort);
}

static void coroutine_fn worker_entry(void *opaque)
{
    Bench *b = opaque;
    uint8_t buf[4096] = { 0 };

    for (int i = 0; !b->stop; i++) {
        int ret;

        while (aio_current_context() != blk_get_aio_context(b->blk)) {
            co_move_to(blk_get_aio_context(b->blk));
        }
        if (b->stop) {
            break;
        }
        ret = i % 2 ? blk_co_pread(b->blk, 0, sizeof(buf), buf, 0)
                    : blk_co_pwrite(b->blk, 0, sizeof(buf), buf, 0);
        b->done += ret == 0;
        b->failed += ret < 0;
        if (ret < 0) {
            co_yield_to_loop();
        }
    }
    b->running--;
}

static void start(Bench *b)
{
    for (int i = 0; i < WORKERS; i++) {
        b->running++;
        aio_co_enter(blk_get_aio_context(b->blk),
                     coroutine_create(worker_entry, b));
    }
}

static void stop(Bench *b)
{
    b->stop = true;
    AIO_WAIT_WHILE(b->running > 0);
}

/* Nodes and connections are ended where they are. */
static void bench_end(Bench *b)
{
    g_clear_pointer(&b->blk, blk_unref);
    g_clear_pointer(&b->client, bdrv_unref);
    if (nbd_server_get()) {
        nbd_server_stop(&error_abort);
    }
    g_clear_pointer(&b->disk, bdrv_unref);
    g_assert_null(bdrv_next_node(NULL));
    iothread_free(b->threads[0]);
    iothread_free(b->threads[1]);
    g_rmdir(b->dir);
    g_free(b->dir);
    g_free(b->path);
}

static void wait_for_requests(Bench *b)
{
    int before = b->done;

    AIO_WAIT_WHILE(b->done - before < 4);
}

static void test_move(void)
{
    Bench b;

    bench_begin(&b, 0);
    start(&b);
    for (int i = 0; i < MOVES; i++) {
        move(&b, i % 3, i / 3 % 3);
        if (i % 2) {
            wait_for_requests(&b);
        }
    }
    stop(&b);
    g_assert_cmpint(b.failed, ==, 0);
    move(&b, 1, 2);
    bench_end(&b);
}

/* The export is deleted, then the server stopped, under load. */
static void test_server_ends(void)
{
    for (int i = 0; i < 9; i++) {
        Bench b;

        bench_begin(&b, 0);
        move(&b, i % 3, i / 3);
        start(&b);
        wait_for_requests(&b);
        if (i % 2) {
            blk_exp_del(blk_exp_find("e"), BLOCK_EXPORT_REMOVE_MODE_HARD,
                        &error_abort);
        } else {
            nbd_server_stop(&error_abort);
        }
        AIO_WAIT_WHILE(b.failed < 8);
        stop(&b);
        bench_end(&b);
    }
}

/* Requests wait for the server while the node moves, and lose nothing. */
static void test_reconnect(void)
{
    Bench b;

    bench_begin(&b, 60);
    start(&b);
    for (int i = 0; i < 9; i++) {
        move(&b, i % 3, (i + 1) % 3);
        wait_for_requests(&b);
        nbd_server_stop(&error_abort);
        serve(&b);
        wait_for_requests(&b);
    }
    stop(&b);
    g_assert_cmpint(b.failed, ==, 0);
    bench_end(&b);
}

int main(int argc, char **argv)
{
    int ret;

    aio_main_init(&error_fatal);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nbd/nodes/move", test_move);
    g_test_add_func("/nbd/nodes/server-ends", test_server_ends);
    g_test_add_func("/nbd/nodes/reconnect", test_reconnect);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
