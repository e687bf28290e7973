/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter lists compared with one flat buffer. */
#include "qemu/osdep.h"
#include "qemu/iov.h"

#define SIZE 3000

/* A vector of random pieces (some empty) over @mem, in order. */
static void cut(QEMUIOVector *qiov, uint8_t *mem)
{
    size_t at = 0;

    qemu_iovec_init(qiov, 0);
    while (at < SIZE) {
        size_t n = g_test_rand_int_range(0, 200);

        n = MIN(n, SIZE - at);
        qemu_iovec_add(qiov, mem + at, n);
        at += n;
    }
    g_assert_cmpuint(qiov->size, ==, SIZE);
}

static void test_model(void)
{
    uint8_t mem[SIZE], model[SIZE], buf[SIZE];

    for (int i = 0; i < 2000; i++) {
        size_t off = g_test_rand_int_range(0, SIZE + 1);
        size_t len = g_test_rand_int_range(0, SIZE - off + 1);
        QEMUIOVector qiov, slice;

        for (int j = 0; j < SIZE; j++) {
            mem[j] = model[j] = g_test_rand_int();
            buf[j] = g_test_rand_int();
        }
        cut(&qiov, mem);
        switch (i % 3) {
        case 0:
            qemu_iovec_from_buf(&qiov, off, buf, len);
            memcpy(model + off, buf, len);
            break;
        case 1:
            qemu_iovec_memset(&qiov, off, i, len);
            memset(model + off, i, len);
            break;
        default:
            qemu_iovec_memset(&qiov, off, 0, len);
            memset(model + off, 0, len);
            g_assert(qemu_iovec_is_zero(&qiov, off, len));
            break;
        }
        g_assert(!memcmp(mem, model, SIZE));
        qemu_iovec_to_buf(&qiov, off, buf, len);
        g_assert(!memcmp(buf, model + off, len));

        qemu_iovec_init_slice(&slice, &qiov, off, len);
        g_assert_cmpuint(slice.size, ==, len);
        memset(buf, 0x55, SIZE);
        qemu_iovec_to_buf(&slice, 0, buf, len);
        g_assert(!memcmp(buf, model + off, len));
        qemu_iovec_destroy(&slice);
        qemu_iovec_destroy(&qiov);
    }
}

static void test_zero(void)
{
    uint8_t mem[SIZE] = { 0 };
    QEMUIOVector qiov;

    cut(&qiov, mem);
    g_assert(qemu_iovec_is_zero(&qiov, 0, SIZE));
    for (int i = 0; i < 500; i++) {
        size_t at = g_test_rand_int_range(0, SIZE);

        mem[at] = 1;
        g_assert(!qemu_iovec_is_zero(&qiov, 0, SIZE));
        g_assert(qemu_iovec_is_zero(&qiov, 0, at));
        g_assert(qemu_iovec_is_zero(&qiov, at + 1, SIZE - at - 1));
        g_assert(!qemu_iovec_is_zero(&qiov, at, 1));
        mem[at] = 0;
    }
    qemu_iovec_destroy(&qiov);
}

static void test_shapes(void)
{
    char mem[64];
    QEMUIOVector two, one, all;

    qemu_iovec_init(&two, 1);
    qemu_iovec_add(&two, mem, 10);
    qemu_iovec_add(&two, mem + 20, 30);
    g_assert_cmpuint(two.size, ==, 40);
    qemu_iovec_init_buf(&one, mem, 64);
    g_assert_cmpuint(one.size, ==, 64);
    g_assert(one.iov->iov_base == mem);
    qemu_iovec_init(&all, 1);
    qemu_iovec_concat(&all, &two, 5, 10);
    g_assert_cmpint(all.niov, ==, 2);
    g_assert(all.iov[0].iov_base == mem + 5 && all.iov[0].iov_len == 5);
    g_assert(all.iov[1].iov_base == mem + 20 && all.iov[1].iov_len == 5);
    qemu_iovec_destroy(&all);
    qemu_iovec_destroy(&one);
    qemu_iovec_destroy(&two);
}

static void test_align(void)
{
    for (size_t align = 1; align <= 65536; align *= 2) {
        uint8_t *buf = qemu_memalign(align, 8192);
        QEMUIOVector qiov;

        g_assert_cmpuint((uintptr_t)buf % align, ==, 0);
        memset(buf, 1, 8192);
        qemu_iovec_init_buf(&qiov, buf, 8192);
        g_assert(qemu_iovec_is_aligned(&qiov, MIN(align, 4096)));
        if (align > 1) {
            qemu_iovec_init_buf(&qiov, buf + 1, 1024);
            g_assert(!qemu_iovec_is_aligned(&qiov, align));
            qemu_iovec_init_buf(&qiov, buf, 1023);
            g_assert(!qemu_iovec_is_aligned(&qiov, align));
        }
        qemu_vfree(buf);
    }
    qemu_vfree(qemu_try_memalign(512, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iov/model", test_model);
    g_test_add_func("/iov/zero", test_zero);
    g_test_add_func("/iov/shapes", test_shapes);
    g_test_add_func("/iov/align", test_align);
    return g_test_run();
}
