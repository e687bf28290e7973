/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bounded pool of page-aligned buffers of one size.
 *
 * Buffers are mapped, not allocated from the heap, so that buffers returned
 * beyond the bound are unmapped at once.
 */
#include "qemu/osdep.h"
#include "qemu/bufpool.h"
#include "qemu/iov.h"
#include "qemu/thread.h"

#include <sys/mman.h>

struct BufPool {
    size_t size; /* set once; a multiple of the page size */
    int keep;    /* set once */

    QemuMutex lock;
    /* Under lock. */
    int nfree;
    void **unused; /* the first nfree of keep elements */
};

#ifdef __SANITIZE_ADDRESS__
/* Use the heap, so that overruns and leaks are detected. */
static void *buf_new(size_t size)
{
    return qemu_try_memalign(getpagesize(), size);
}

static void buf_delete(void *buf, size_t size)
{
    qemu_vfree(buf);
}
#else
static void *buf_new(size_t size)
{
    void *buf = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return buf == MAP_FAILED ? NULL : buf;
}

static void buf_delete(void *buf, size_t size)
{
    munmap(buf, size);
}
#endif

BufPool *bufpool_new(size_t size, int keep)
{
    BufPool *pool = g_new0(BufPool, 1);

    assert(size > 0 && keep >= 0);
    pool->size = ROUND_UP(size, (size_t)getpagesize());
    pool->keep = keep;
    pool->unused = g_new0(void *, keep);
    qemu_mutex_init(&pool->lock);
    return pool;
}

void bufpool_free(BufPool *pool)
{
    if (!pool) {
        return;
    }
    for (int i = 0; i < pool->nfree; i++) {
        buf_delete(pool->unused[i], pool->size);
    }
    qemu_mutex_destroy(&pool->lock);
    g_free(pool->unused);
    g_free(pool);
}

void *bufpool_get(BufPool *pool)
{
    void *buf = NULL;

    qemu_mutex_lock(&pool->lock);
    if (pool->nfree) {
        buf = pool->unused[--pool->nfree];
    }
    qemu_mutex_unlock(&pool->lock);
    return buf ? buf : buf_new(pool->size);
}

void bufpool_put(BufPool *pool, void *buf)
{
    if (!buf) {
        return;
    }
    qemu_mutex_lock(&pool->lock);
    if (pool->nfree < pool->keep) {
        pool->unused[pool->nfree++] = buf;
        buf = NULL;
    }
    qemu_mutex_unlock(&pool->lock);
    if (buf) {
        buf_delete(buf, pool->size);
    }
}
