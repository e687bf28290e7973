/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: read and readv. */
#include "qemu/osdep.h"
#include "block/snapshot.h"
#include "io-int.h"

/* The part to verify, by -s and -l, within @bytes. */
static bool take_verified_part(IoOptions *o, const char *name, int64_t bytes)
{
    if ((o->has_start || o->has_length) && !o->has_pattern) {
        qemuio_usage(name);
        return false;
    }
    if (!o->has_length) {
        o->length = bytes - o->start;
    }
    if (o->start > bytes || o->length < 0 || o->length > bytes - o->start) {
        printf("pattern verification range exceeds end of read data\n");
        return false;
    }
    return true;
}

/* Reads, verifies, prints.  @what names the command in messages. */
static int read_and_tell(BlockBackend *blk, const char *what, int64_t offset,
                         QEMUIOVector *qiov, void *buf, const IoOptions *o)
{
    int64_t start_ns = aio_now_ns(), ns;
    int ret = o->vmstate
        ? bdrv_vm_state_pread(blk_bs(blk), offset, buf, qiov->size)
        : blk_preadv(blk, offset, qiov->size, qiov, 0);

    ns = aio_now_ns() - start_ns;
    if (ret < 0) {
        printf("%s failed: %s\n", what, strerror(-ret));
        return ret;
    }
    if (o->has_pattern &&
        !io_verify(buf, offset, o->start, o->length, o->pattern)) {
        ret = -EINVAL;
    }
    if (!o->quiet && o->dump) {
        io_dump(buf, offset, qiov->size);
    }
    io_report("read", o, offset, qiov->size, ns);
    return ret < 0 ? ret : 0;
}

int io_read(BlockBackend *blk, int argc, char **argv)
{
    IoOptions o = { 0 };
    int first = io_options(argc, argv, "bCl:pP:qs:v", &o);
    int64_t offset, bytes;
    QEMUIOVector qiov;
    void *buf;
    int ret;

    if (!first) {
        return -EINVAL;
    }
    if (argc - first != 2) {
        qemuio_usage(argv[0]);
        return -EINVAL;
    }
    if (!io_number(argv[first], &offset) ||
        !io_length_arg(argv[first + 1], &bytes) ||
        !take_verified_part(&o, argv[0], bytes)) {
        return -EINVAL;
    }
    if (o.vmstate && (!io_check_aligned(argv[first], offset, "offset") ||
                      !io_check_aligned(argv[first + 1], bytes, "count"))) {
        return -EINVAL;
    }
    buf = io_alloc_buffer(blk, bytes, 0xab);
    qemu_iovec_init_buf(&qiov, buf, bytes);
    ret = read_and_tell(blk, "read", offset, &qiov, buf, &o);
    io_free(buf);
    return ret;
}

int io_readv(BlockBackend *blk, int argc, char **argv)
{
    IoOptions o = { 0 };
    int first = io_options(argc, argv, "CP:qv", &o);
    int64_t offset;
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
        !io_vector(blk, &qiov, argv + first + 1, 0xab, &buf)) {
        return -EINVAL;
    }
    o.length = qiov.size;
    ret = read_and_tell(blk, "readv", offset, &qiov, buf, &o);
    qemu_iovec_destroy(&qiov);
    io_free(buf);
    return ret;
}
