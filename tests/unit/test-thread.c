/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mutexes and condition variables between threads. */
#include "qemu/osdep.h"
#include "qemu/aio.h"
#include "qemu/thread.h"

/* A box for one number: filled by one thread, emptied by another. */
typedef struct Box {
    QemuMutex lock;
    QemuCond changed;
    /* Under lock. */
    int value; /* 0: empty */
} Box;

#define BOX_ROUNDS 2000

static gpointer box_fill(gpointer opaque)
{
    Box *box = opaque;

    for (int i = 1; i <= BOX_ROUNDS; i++) {
        QEMU_LOCK_GUARD(&box->lock);
        while (box->value) {
            qemu_cond_wait(&box->changed, &box->lock);
        }
        box->value = i;
        qemu_cond_broadcast(&box->changed);
    }
    return NULL;
}

static void box_empty(Box *box)
{
    GThread *thread = g_thread_new("fill", box_fill, box);

    for (int i = 1; i <= BOX_ROUNDS; i++) {
        qemu_mutex_lock(&box->lock);
        while (!box->value) {
            g_assert(qemu_cond_timedwait(&box->changed, &box->lock,
                                         INT64_MAX));
        }
        g_assert_cmpint(box->value, ==, i);
        box->value = 0;
        qemu_mutex_unlock(&box->lock);
        qemu_cond_signal(&box->changed);
    }
    g_thread_join(thread);
}

static void test_static(void)
{
    static Box box = {
        .lock = QEMU_MUTEX_INITIALIZER,
        .changed = QEMU_COND_INITIALIZER,
    };

    box_empty(&box);
}

static void test_heap(void)
{
    g_autofree Box *box = g_new0(Box, 1);

    qemu_mutex_init(&box->lock);
    qemu_cond_init(&box->changed);
    box_empty(box);
    qemu_cond_destroy(&box->changed);
    qemu_mutex_destroy(&box->lock);
}

static gpointer try_lock(gpointer mutex)
{
    bool held = qemu_mutex_trylock(mutex);

    if (held) {
        qemu_mutex_unlock(mutex);
    }
    return GINT_TO_POINTER(held);
}

static bool is_free(QemuMutex *mutex)
{
    return g_thread_join(g_thread_new("try", try_lock, mutex)) != NULL;
}

static void leave_early(QemuMutex *mutex)
{
    QEMU_LOCK_GUARD(mutex);

    g_assert(!is_free(mutex));
    if (mutex) {
        return;
    }
    g_assert_not_reached();
}

static void test_guard(void)
{
    QemuMutex mutex = QEMU_MUTEX_INITIALIZER;

    g_assert(is_free(&mutex));
    leave_early(&mutex);
    g_assert(is_free(&mutex));
}

/* Whether early or late, the deadline is one of the monotonic clock. */
static void test_deadline(void)
{
    QemuMutex mutex = QEMU_MUTEX_INITIALIZER;
    QemuCond cond = QEMU_COND_INITIALIZER;
    int64_t end;

    qemu_mutex_lock(&mutex);
    g_assert(!qemu_cond_timedwait(&cond, &mutex, 0));
    end = aio_now_ns() + 10 * 1000 * 1000;
    while (qemu_cond_timedwait(&cond, &mutex, end)) {
        continue;
    }
    g_assert_cmpint(aio_now_ns(), >=, end);
    g_assert(!is_free(&mutex));
    qemu_mutex_unlock(&mutex);
    g_assert(is_free(&mutex));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/thread/static", test_static);
    g_test_add_func("/thread/heap", test_heap);
    g_test_add_func("/thread/guard", test_guard);
    g_test_add_func("/thread/deadline", test_deadline);
    return g_test_run();
}
