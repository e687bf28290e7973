/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: write and writev. */
#include "qemu/osdep.h"
#include "block/snapshot.h"
#include "io-int.h"

static int tell(const char *what, const char *verb, int ret,
                const IoOptions *o, int64_t offset, int64_t bytes, int64_t ns)
{
    if (ret < 0) {
        printf("%s failed: %s\n", what, strerror(-ret));
        return ret;
    }
    io_report(verb, o, offset, bytes, ns);
    return 0;
}

/* The data to write; NULL: error printed, or no data (@o->zero). */
static void *source_buffer(BlockBackend *blk, const IoOptions *o,
                           int64_t bytes)
{
    void *buf;

    if (o->zero) {
        return NULL;
    }
    buf = io_alloc_buffer(blk, bytes, o->has_pattern ? o->pattern : 0xcd);
    if (o->file && !io_fill_from_file(buf, bytes, o->file)) {
        io_free(buf);
        return NULL;
    }
    return buf;
}

static int write_range(BlockBackend *blk, const IoOptions *o, int64_t offset,
                       int64_t bytes)
{
    void *buf = source_buffer(blk, o, bytes);
    int64_t start_ns = aio_now_ns();
    int ret;

    if (!buf && !o->zero) {
        return -EINVAL;
    }
    if (o->vmstate) {
        ret = bdrv_vm_state_pwrite(blk_bs(blk), offset, buf, bytes);
    } else if (o->zero) {
        ret = blk_pwrite_zeroes(blk, offset, bytes, io_write_flags(o));
    } else {
        ret = blk_pwrite(blk, offset, bytes, buf, io_write_flags(o));
    }
    ret = tell("write", "wrote", ret, o, offset, bytes,
               aio_now_ns() - start_ns);
    io_free(buf);
    return ret;
}

int io_write(BlockBackend *blk, int argc, char **argv)
{
    IoOptions o = { 0 };
    int first = io_options(argc, argv, "bcCfnpP:qs:uz", &o);
    int64_t offset, bytes;

    if (!first) {
        return -EINVAL;
    }
    if (argc - first != 2) {
        qemuio_usage(argv[0]);
        return -EINVAL;
    }
    if (!io_check_write_options(&o) || !io_number(argv[first], &offset) ||
        !io_length_arg(argv[first + 1], &bytes)) {
        return -EINVAL;
    }
    if ((o.compress || o.vmstate) &&
        (!io_check_aligned(argv[first], offset, "offset") ||
         !io_check_aligned(argv[first + 1], bytes, "count"))) {
        return -EINVAL;
    }
    return write_range(blk, &o, offset, bytes);
}

int io_writev(BlockBackend *blk, int argc, char **argv)
{
    IoOptions o = { .pattern = 0xcd };
    int first = io_options(argc, argv, "CfP:q", &o);
    int64_t offset, start_ns;
    QEMUIOVector qiov;
    void *buf;
    int ret;

    if (!first) {
        return -EINVAL;
    }
    if (argc - first < 2) {
        qemuio_usage(argv[0]);
        return -EINVAL;
    }
    if (!io_number(argv[first], &offset) ||
        !io_vector(blk, &qiov, argv + first + 1, o.pattern, &buf)) {
        return -EINVAL;
    }
    start_ns = aio_now_ns();
    ret = blk_pwritev(blk, offset, qiov.size, &qiov, io_write_flags(&o));
    ret = tell("writev", "wrote", ret, &o, offset, qiov.size,
               aio_now_ns() - start_ns);
    qemu_iovec_destroy(&qiov);
    io_free(buf);
    return ret;
}
