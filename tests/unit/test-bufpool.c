/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pool of buffers: reuse, bound, threads. */
#include "qemu/osdep.h"
#include "qemu/bufpool.h"

static void test_reuse(void)
{
    BufPool *pool = bufpool_new(100, 2);
    void *buf[4];

    for (int i = 0; i < 4; i++) {
        buf[i] = bufpool_get(pool);
        g_assert(buf[i]);
        g_assert_cmpuint((uintptr_t)buf[i] % getpagesize(), ==, 0);
        memset(buf[i], i, 100);
    }
    for (int i = 0; i < 4; i++) {
        bufpool_put(pool, buf[i]);
    }
    g_assert(bufpool_get(pool) == buf[1]);
    g_assert(bufpool_get(pool) == buf[0]);
    bufpool_put(pool, buf[0]);
    bufpool_put(pool, buf[1]);
    bufpool_put(pool, NULL);
    bufpool_free(pool);
    bufpool_free(NULL);
}

static gpointer thread(gpointer pool)
{
    for (int i = 0; i < 2000; i++) {
        uint8_t *a = bufpool_get(pool), *b = bufpool_get(pool);

        g_assert(a != b);
        a[0] = b[0] = i;
        bufpool_put(pool, a);
        bufpool_put(pool, b);
    }
    return NULL;
}

static void test_threads(void)
{
    BufPool *pool = bufpool_new(65536, 3);
    GThread *threads[4];

    for (int i = 0; i < 4; i++) {
        threads[i] = g_thread_new("user", thread, pool);
    }
    for (int i = 0; i < 4; i++) {
        g_thread_join(threads[i]);
    }
    bufpool_free(pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bufpool/reuse", test_reuse);
    g_test_add_func("/bufpool/threads", test_threads);
    return g_test_run();
}
