/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File I/O with each engine: whole transfers, ends of files, errors. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

#include <linux/falloc.h>

static const struct {
    const char *name;
    FileAioEngine engine;
} engines[] = {
    { "auto", FILE_AIO_AUTO },
    { "threads", FILE_AIO_THREADS },
    { "native", FILE_AIO_NATIVE },
    { "io_uring", FILE_AIO_IO_URING },
};

typedef struct Case {
    FileAioEngine engine;
    bool direct;
    int fd;
} Case;

/* A file of its own in the working directory, which may know O_DIRECT. */
static int temp_file(int flags)
{
    g_autofree char *name = g_strdup("test-file-aio-XXXXXX");
    int fd = g_mkstemp_full(name, O_RDWR | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    if (flags) {
        close(fd);
        fd = open(name, O_RDWR | O_CLOEXEC | flags);
    }
    unlink(name);
    return fd;
}

static void fill(uint8_t *buf, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = (i * 7 + seed) % 251;
    }
}

/* Many elements, more than one call takes where buffered. */
static void coroutine_fn check_vectors(const Case *c, size_t bytes, int n)
{
    uint8_t *out = qemu_memalign(4096, bytes), *in = qemu_memalign(4096, bytes);
    size_t part = bytes / n;
    QEMUIOVector qiov;

    fill(out, bytes, n);
    memset(in, 0xee, bytes);
    qemu_iovec_init(&qiov, n);
    for (int i = 0; i < n; i++) {
        qemu_iovec_add(&qiov, out + i * part, part);
    }
    g_assert_cmpint(file_co_pwritev(c->fd, 8192, &qiov, n % 2, c->engine), ==,
                    0);
    for (int i = 0; i < n; i++) {
        qiov.iov[i].iov_base = in + i * part;
    }
    g_assert_cmpint(file_co_preadv(c->fd, 8192, &qiov, c->engine), ==, 0);
    g_assert(!memcmp(in, out, part * n));
    qemu_iovec_destroy(&qiov);
    qemu_vfree(in);
    qemu_vfree(out);
}

/* A read over the end of the file yields zeroes there. */
static void coroutine_fn check_end(const Case *c)
{
    uint8_t *buf = qemu_memalign(4096, 16384);
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, 16384);
    for (off_t size = 4096; size <= 8192 + 700; size += 2048 + 350) {
        memset(buf, 7, 16384);
        g_assert_cmpint(ftruncate(c->fd, 0), ==, 0);
        g_assert_cmpint(file_co_pwritev(c->fd, 0, &qiov, false, c->engine), ==,
                        0);
        g_assert_cmpint(ftruncate(c->fd, size), ==, 0);
        memset(buf, 0xee, 16384);
        g_assert_cmpint(file_co_preadv(c->fd, 4096, &qiov, c->engine), ==, 0);
        for (int i = 0; i < 16384; i++) {
            g_assert_cmpint(buf[i], ==, i < size - 4096 ? 7 : 0);
        }
    }
    memset(buf, 0xee, 16384);
    g_assert_cmpint(file_co_preadv(c->fd, 1 << 20, &qiov, c->engine), ==, 0);
    g_assert(buffer_is_zero(buf, 16384));
    qemu_vfree(buf);
}

static void coroutine_fn check_errors(const Case *c)
{
    uint8_t *buf = qemu_memalign(4096, 4096);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, 4096);
    g_assert_cmpint(file_co_pwritev(fd, 0, &qiov, false, c->engine), ==,
                    -EBADF);
    g_assert_cmpint(file_co_preadv(fd, 0, &qiov, c->engine), ==, 0);
    close(fd);
    if (c->engine == FILE_AIO_NATIVE) {
        qemu_vfree(buf);
        return; /* libaio writes to no character device */
    }
    fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    memset(buf, 1, 4096);
    g_assert_cmpint(file_co_pwritev(fd, 0, &qiov, false, c->engine), ==,
                    -ENOSPC);
    close(fd);
    qemu_vfree(buf);
}

static void coroutine_fn check_rest(const Case *c)
{
    g_assert_cmpint(file_co_fdatasync(c->fd, c->engine), ==, 0);
    g_assert_cmpint(file_co_fallocate(c->fd, FALLOC_FL_PUNCH_HOLE |
                                      FALLOC_FL_KEEP_SIZE, 65536, 65536), ==,
                    0);
    g_assert_cmpint(file_co_fallocate(c->fd, 0, 0, 1 << 20), ==, 0);
    g_assert_cmpint(lseek(c->fd, 0, SEEK_END), >=, 1 << 20);
    g_assert_cmpint(file_co_fallocate(c->fd, 0, -1, 5), ==, -EINVAL);
}

static void coroutine_fn case_entry(void *opaque)
{
    Case *c = opaque;

    check_end(c);
    check_vectors(c, 65536, 1);
    check_vectors(c, 65536, 16);
    if (!c->direct) {
        check_vectors(c, 3000 * 100, 3000); /* more than IOV_MAX */
    }
    check_vectors(c, 8 << 20, 2);
    check_rest(c);
    check_errors(c);
}

static void test_engine(const void *opaque)
{
    Case c = *(const Case *)opaque;
    g_autoptr(Error) err = NULL;

    if (!file_aio_supported(c.engine, &err)) {
        g_test_skip(error_get_pretty(err));
        return;
    }
    c.fd = temp_file(c.direct ? O_DIRECT : 0);
    if (c.fd < 0) {
        g_test_skip("no O_DIRECT here");
        return;
    }
    aio_run_co(aio_main_context(), case_entry, &c);
    close(c.fd);
}

/* --- many at once --- */

typedef struct Many {
    const Case *c;
    int64_t offset;
    int rounds;
    int *left;
} Many;

static void coroutine_fn many_entry(void *opaque)
{
    Many *m = opaque;
    uint8_t *buf = qemu_memalign(4096, 4096);
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, 4096);
    for (int i = 0; i < m->rounds; i++) {
        memset(buf, m->offset / 4096 + i, 4096);
        g_assert_cmpint(file_co_pwritev(m->c->fd, m->offset, &qiov, false,
                                        m->c->engine), ==, 0);
        memset(buf, 0, 4096);
        g_assert_cmpint(file_co_preadv(m->c->fd, m->offset, &qiov,
                                       m->c->engine), ==, 0);
        g_assert_cmpint(buf[17], ==, (uint8_t)(m->offset / 4096 + i));
    }
    qemu_vfree(buf);
    --*m->left;
}

static void test_many(const void *opaque)
{
    enum { N = 500 };
    Case c = *(const Case *)opaque;
    g_autofree Many *many = g_new(Many, N);
    int left = N;

    c.fd = temp_file(c.direct ? O_DIRECT : 0);
    if (c.fd < 0 || !file_aio_supported(c.engine, NULL)) {
        g_test_skip("not supported here");
        return;
    }
    for (int i = 0; i < N; i++) {
        many[i] = (Many) { &c, i * INT64_C(4096), c.direct ? 1 : 10, &left };
        coroutine_enter(coroutine_create(many_entry, &many[i]));
    }
    AIO_WAIT_WHILE(left > 0);
    close(c.fd);
}

/* --- speed --- */

static void coroutine_fn speed_entry(void *opaque)
{
    Many *m = opaque;
    g_autofree uint8_t *buf = g_malloc(4096);
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, 4096);
    memset(buf, 1, 4096);
    for (int i = 0; i < m->rounds; i++) {
        int64_t offset = (i % 256) * INT64_C(4096);

        if (m->offset) {
            file_co_pwritev(m->c->fd, offset, &qiov, false, m->c->engine);
        } else {
            file_co_preadv(m->c->fd, offset, &qiov, m->c->engine);
        }
    }
    --*m->left;
}

/* Cached 4 KiB reads or writes, by @depth coroutines at once. */
static void speed_run(const Case *c, bool write, int depth)
{
    int left = depth;
    Many m = { c, write, 64000 / depth, &left };
    int64_t start = aio_now_ns();
    double ns;

    for (int i = 0; i < depth; i++) {
        coroutine_enter(coroutine_create(speed_entry, &m));
    }
    AIO_WAIT_WHILE(left > 0);
    ns = (aio_now_ns() - start) / 64000.0;
    g_test_minimized_result(ns, "cached 4k %s, depth %d: %.0f ns",
                            write ? "write" : "read", depth, ns);
}

static void test_speed(const void *opaque)
{
    Case c = *(const Case *)opaque;

    if (c.direct || !file_aio_supported(c.engine, NULL)) {
        return;
    }
    c.fd = temp_file(0);
    g_assert_cmpint(ftruncate(c.fd, 1 << 20), ==, 0);
    for (int write = 1; write >= 0; write--) {
        speed_run(&c, write, 1);
        speed_run(&c, write, 32);
    }
    close(c.fd);
}

int main(int argc, char **argv)
{
    static Case cases[ARRAY_SIZE(engines)][2];
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        for (int direct = 0; direct < 2; direct++) {
            Case *c = &cases[i][direct];
            g_autofree char *base =
                g_strdup_printf("/file-aio/%s%s", engines[i].name,
                                direct ? "-direct" : "");
            g_autofree char *many = g_strconcat(base, "/many", NULL);
            g_autofree char *speed = g_strconcat(base, "/speed", NULL);
            g_autofree char *all = g_strconcat(base, "/all", NULL);

            *c = (Case) { .engine = engines[i].engine, .direct = direct };
            g_test_add_data_func(all, c, test_engine);
            g_test_add_data_func(many, c, test_many);
            if (g_test_perf()) {
                g_test_add_data_func(speed, c, test_speed);
            }
        }
    }
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
