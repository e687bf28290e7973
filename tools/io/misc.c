/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: commands other than reads and writes. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "block/io.h"
#include "io-int.h"
#include "qapi/qapi-types-block-image.h"
#include "tools/common/show.h"

int io_flush(BlockBackend *blk, int argc, char **argv)
{
    int ret = blk_flush(blk);

    if (ret < 0) {
        printf("flush failed: %s\n", strerror(-ret));
    }
    return ret;
}

int io_discard(BlockBackend *blk, int argc, char **argv)
{
    IoOptions o = { 0 };
    int first = io_options(argc, argv, "Cq", &o);
    int64_t offset, bytes, start_ns;
    int ret;

    if (!first) {
        return -EINVAL;
    }
    if (argc - first != 2) {
        qemuio_usage(argv[0]);
        return -EINVAL;
    }
    if (!io_number(argv[first], &offset) ||
        !io_length_arg(argv[first + 1], &bytes)) {
        return -EINVAL;
    }
    start_ns = aio_now_ns();
    ret = blk_pdiscard(blk, offset, bytes);
    if (ret < 0) {
        printf("discard failed: %s\n", strerror(-ret));
        return ret;
    }
    io_report("discard", &o, offset, bytes, aio_now_ns() - start_ns);
    return 0;
}

/* --- allocation --- */

int io_alloc(BlockBackend *blk, int argc, char **argv)
{
    g_autofree char *at = NULL;
    int64_t offset, bytes = BDRV_SECTOR_SIZE, end, pnum, size, sum = 0;

    if (!io_number(argv[1], &offset) ||
        (argc == 3 && !io_number(argv[2], &bytes))) {
        return -EINVAL;
    }
    size = blk_getlength(blk);
    bytes = CLAMP(size - offset, 0, bytes);
    end = offset + bytes;
    for (int64_t pos = offset; pos < end; pos += pnum) {
        int ret = bdrv_is_allocated(blk_bs(blk), pos, end - pos, &pnum);

        if (ret < 0) {
            printf("is_allocated failed: %s\n", strerror(-ret));
            return ret;
        }
        sum += ret ? pnum : 0;
        if (!pnum) {
            break;
        }
    }
    at = io_size_text(offset);
    printf("%" PRId64 "/%" PRId64 " bytes allocated at offset %s\n", sum,
           bytes, at);
    return 0;
}

static void print_area(int64_t offset, int64_t bytes, bool allocated)
{
    g_autofree char *size = io_size_text(bytes);
    g_autofree char *at = io_size_text(offset);

    printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64
           ")\n", size, bytes, allocated ? "   " : "not", at, offset);
}

int io_map(BlockBackend *blk, int argc, char **argv)
{
    int64_t size = blk_getlength(blk), start = 0, pnum;
    bool last = false;

    if (size < 0) {
        error_report("Failed to query image length: %s", strerror(-size));
        return size;
    }
    for (int64_t pos = 0; pos < size; pos += pnum) {
        int ret = bdrv_is_allocated(blk_bs(blk), pos, size - pos, &pnum);

        if (ret < 0 || !pnum) {
            ret = ret < 0 ? ret : -EIO;
            printf("Failed to get allocation status: %s\n", strerror(-ret));
            return ret;
        }
        if (pos > start && ret != last) {
            print_area(start, pos - start, last);
            start = pos;
        }
        last = ret;
    }
    if (size > start) {
        print_area(start, size - start, last);
    }
    return 0;
}

/* --- size and other properties --- */

int io_length(BlockBackend *blk, int argc, char **argv)
{
    int64_t size = blk_getlength(blk);
    g_autofree char *text = NULL;

    if (size < 0) {
        printf("getlength: %s\n", strerror(-size));
        return size;
    }
    text = io_size_text(size);
    printf("%s\n", text);
    return 0;
}

int io_truncate(BlockBackend *blk, int argc, char **argv)
{
    int prealloc = PREALLOC_MODE_OFF;
    Error *err = NULL;
    int64_t size;
    int c, ret;

    while ((c = getopt(argc, argv, "m:")) != -1) {
        if (c != 'm') {
            qemuio_usage(argv[0]);
            return -EINVAL;
        }
        prealloc = PreallocMode_parse(optarg, NULL);
        if (prealloc < 0) {
            error_report("Invalid preallocation mode '%s'", optarg);
            return -EINVAL;
        }
    }
    if (argc - optind != 1 || !io_number(argv[optind], &size)) {
        return -EINVAL;
    }
    ret = blk_truncate(blk, size, false, prealloc, 0, &err);
    if (ret < 0) {
        error_report_err(err);
    }
    return ret < 0 ? ret : 0;
}

int io_info(BlockBackend *blk, int argc, char **argv)
{
    BlockDriverState *bs = blk_bs(blk);
    g_autoptr(ImageInfoSpecific) specific = NULL;
    g_autofree char *cluster = NULL, *vm_state = NULL;
    BlockDriverInfo info = { 0 };
    Error *err = NULL;

    printf("format name: %s\n", bdrv_get_format_name(bs));
    bdrv_get_info(bs, &info);
    cluster = io_size_text(info.cluster_size);
    vm_state = io_size_text(info.vm_state_offset);
    printf("cluster size: %s\nvm state offset: %s\n", cluster, vm_state);
    specific = bdrv_get_specific_info(bs, &err);
    if (err) {
        error_report_err(err);
        return -EIO;
    }
    show_specific(specific);
    return 0;
}
