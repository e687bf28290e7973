/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The preallocate filter, over a file in memory that writes down its requests:
 * "w4+4" a write of 4 KiB at 4 KiB, "z" zeroes, "t" a change of size.
 */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include <json-c/json.h>

#define MAX_BYTES (4 * MiB)

static struct {
    uint8_t *data;
    int64_t size;
    int zero_ret;    /* what writing zeroes returns */
    int write_ret, truncate_ret;
    GString *trace;
    BlockDriverState *bs;
    BlockBackend *blk;
} t;

static void note(const char *verb, int64_t offset, int64_t bytes)
{
    g_string_append_printf(t.trace, "%s%s%" PRId64, t.trace->len ? " " : "",
                           verb, offset / KiB);
    if (bytes) {
        g_string_append_printf(t.trace, "+%" PRId64, bytes / KiB);
    }
}

static void expect(const char *trace)
{
    g_assert_cmpstr(t.trace->str, ==, trace);
    g_string_truncate(t.trace, 0);
}

/* --- the file --- */

static int mem_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    return 0;
}

static int64_t mem_getlength(BlockDriverState *bs)
{
    return t.size;
}

static int coroutine_fn mem_preadv(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags)
{
    qemu_iovec_from_buf(qiov, qiov_offset, t.data + offset, bytes);
    return 0;
}

static int coroutine_fn mem_pwritev(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes, QEMUIOVector *qiov,
                                    size_t qiov_offset,
                                    BdrvRequestFlags flags)
{
    note("w", offset, bytes);
    co_yield_to_loop();
    if (t.write_ret == 0) {
        g_assert_cmpint(offset + bytes, <=, MAX_BYTES);
        qemu_iovec_to_buf(qiov, qiov_offset, t.data + offset, bytes);
        t.size = MAX(t.size, offset + bytes);
    }
    return t.write_ret;
}

static int coroutine_fn mem_pwrite_zeroes(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes,
                                          BdrvRequestFlags flags)
{
    note("z", offset, bytes);
    co_yield_to_loop();
    if (t.zero_ret == 0) {
        g_assert_cmpint(offset + bytes, <=, MAX_BYTES);
        memset(t.data + offset, 0, bytes);
        t.size = MAX(t.size, offset + bytes);
    }
    return t.zero_ret;
}

static int coroutine_fn mem_truncate(BlockDriverState *bs, int64_t offset,
                                     bool exact, PreallocMode prealloc,
                                     BdrvRequestFlags flags, Error **errp)
{
    note("t", offset, 0);
    if (t.truncate_ret < 0) {
        error_setg(errp, "no");
    } else {
        memset(t.data + MIN(t.size, offset), 0,
               MAX_BYTES - MIN(t.size, offset));
        t.size = offset;
    }
    return t.truncate_ret;
}

static const BlockDriver bdrv_memory = {
    .format_name = "file",
    .protocol_name = "file",
    .open = mem_open,
    .getlength = mem_getlength,
    .co_preadv = mem_preadv,
    .co_pwritev = mem_pwritev,
    .co_pwrite_zeroes = mem_pwrite_zeroes,
    .co_truncate = mem_truncate,
};

extern const BlockDriver bdrv_preallocate;
const BlockDriver *const bdrv_drivers[] = {
    &bdrv_memory, &bdrv_preallocate, NULL,
};

/* --- the tree --- */

static BlockDriverState *open_json(const char *text, Error **errp)
{
    json_object *obj = json_tokener_parse(text);
    BlockDriverState *bs;

    g_assert(obj);
    bs = bdrv_open_json(obj, false, BDRV_O_RDWR, errp);
    json_object_put(obj);
    return bs;
}

static void setup(int64_t size)
{
    t.data = g_malloc0(MAX_BYTES);
    memset(t.data, 1, size);
    t.size = size;
    t.trace = g_string_new("");
    t.bs = open_json("{\"driver\": \"preallocate\", \"node-name\": \"p\","
                     " \"prealloc-align\": 65536, \"prealloc-size\": 131072,"
                     " \"file\": {\"driver\": \"file\", \"node-name\": \"f\","
                     " \"filename\": \"x\"}}", &error_abort);
    t.blk = blk_new_with_bs(t.bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                            BLK_PERM_RESIZE, BLK_PERM_ALL, &error_abort);
}

static void teardown(void)
{
    blk_unref(t.blk);
    bdrv_unref(t.bs);
    g_string_free(t.trace, TRUE);
    g_free(t.data);
    memset(&t, 0, sizeof(t));
}

static void expect_sizes(int64_t data, int64_t file)
{
    g_assert_cmpint(bdrv_getlength(t.bs), ==, data * KiB);
    g_assert_cmpint(bdrv_getlength(bdrv_find_node("f")), ==, file * KiB);
    g_assert_cmpint(t.size, ==, file * KiB);
}

/* In KiB. */
static int do_write(int64_t offset, int64_t bytes, int pattern)
{
    g_autofree uint8_t *buf = g_malloc(bytes * KiB);

    memset(buf, pattern, bytes * KiB);
    return bdrv_pwrite(blk_root(t.blk), offset * KiB, bytes * KiB, buf);
}

typedef struct Call {
    int64_t offset, bytes;
    int pattern;
    int ret;
    bool done;
} Call;

static void coroutine_fn call_entry(void *opaque)
{
    Call *c = opaque;
    g_autofree uint8_t *buf = g_malloc(c->bytes);

    memset(buf, c->pattern, c->bytes);
    c->ret = c->pattern
        ? bdrv_co_pwrite(blk_root(t.blk), c->offset, c->bytes, buf, 0)
        : bdrv_co_pwrite_zeroes(blk_root(t.blk), c->offset, c->bytes, 0);
    c->done = true;
}

static Call *start(int64_t offset, int64_t bytes, int pattern)
{
    Call *c = g_new0(Call, 1);

    *c = (Call) { .offset = offset * KiB, .bytes = bytes * KiB,
                  .pattern = pattern };
    coroutine_enter(coroutine_create(call_entry, c));
    return c;
}

static int finish(Call *c)
{
    int ret;

    AIO_WAIT_WHILE(!c->done);
    ret = c->ret;
    g_free(c);
    return ret;
}

static bool is_filled(int64_t offset, int64_t bytes, int pattern)
{
    for (int64_t i = offset * KiB; i < (offset + bytes) * KiB; i++) {
        if (t.data[i] != pattern) {
            return false;
        }
    }
    return true;
}

/* --- tests --- */

static void test_one_growth_for_many(void)
{
    setup(64 * KiB);
    g_assert_cmpint(do_write(0, 4, 2), ==, 0);
    expect("w0+4");
    expect_sizes(64, 64);
    g_assert_cmpint(do_write(64, 4, 2), ==, 0);
    expect("z64+192 w64+4"); /* 68 + 128, aligned */
    expect_sizes(68, 256);
    g_assert_cmpint(do_write(68, 60, 3), ==, 0);
    g_assert_cmpint(do_write(128, 128, 4), ==, 0);
    expect("w68+60 w128+128");
    expect_sizes(256, 256);
    g_assert_cmpint(do_write(256, 4, 5), ==, 0);
    expect("z256+192 w256+4");
    expect_sizes(260, 448);
    blk_unref(t.blk);
    t.blk = NULL;
    expect("t260");
    expect_sizes(260, 260);
    g_assert(is_filled(128, 128, 4) && is_filled(256, 4, 5));
    teardown();
}

/* What is zero already is not written. */
static void test_zeroes(void)
{
    setup(64 * KiB);
    g_assert_cmpint(finish(start(64, 4, 0)), ==, 0);
    expect("z64+192");
    expect_sizes(68, 256);
    g_assert_cmpint(finish(start(96, 4, 0)), ==, 0);
    expect("");
    expect_sizes(100, 256);
    g_assert_cmpint(finish(start(120, 8, 7)), ==, 0);
    g_assert_cmpint(finish(start(100, 20, 0)), ==, 0);
    expect("w120+8 z100+20");
    g_assert_cmpint(finish(start(124, 8, 0)), ==, 0);
    expect("z124+8");
    g_assert_cmpint(finish(start(132, 4, 0)), ==, 0);
    expect("");
    expect_sizes(136, 256);
    g_assert(is_filled(64, 56, 0) && is_filled(120, 4, 7) &&
             is_filled(124, 132, 0));
    teardown();
}

/* A growth does not overwrite the data of other requests. */
static void test_concurrent(void)
{
    Call *c[16];

    for (int fail = 0; fail < 2; fail++) {
        setup(64 * KiB);
        t.zero_ret = fail ? -ENOSPC : 0;
        for (int i = 0; i < 16; i++) {
            int at = i * 7 % 16; /* in another order */

            c[i] = start(64 + at * 32, 32, at + 1);
            if (i == 8) {
                t.zero_ret = 0;
            }
        }
        for (int i = 0; i < 16; i++) {
            g_assert_cmpint(finish(c[i]), ==, 0);
        }
        g_assert_cmpint(bdrv_getlength(t.bs), ==, 576 * KiB);
        for (int i = 0; i < 16; i++) {
            g_assert(is_filled(64 + i * 32, 32, i + 1));
        }
        teardown();
    }
}

static void test_cannot_grow(void)
{
    setup(64 * KiB);
    t.zero_ret = -ENOSPC;
    g_assert_cmpint(do_write(64, 4, 2), ==, 0);
    expect("z64+192 w64+4");
    expect_sizes(68, 68);
    t.write_ret = -ENOSPC;
    g_assert_cmpint(do_write(68, 4, 2), ==, -ENOSPC);
    expect("z68+188 w68+4");
    expect_sizes(68, 68);
    t.write_ret = 0;
    t.zero_ret = -ENOTSUP;
    g_assert_cmpint(do_write(68, 4, 2), ==, 0);
    g_assert_cmpint(do_write(72, 4, 2), ==, 0);
    expect("z68+188 w68+4 w72+4"); /* it is not tried again */
    expect_sizes(76, 76);
    teardown();
}

static int resize(int64_t size, Error **errp)
{
    return blk_truncate(t.blk, size * KiB, true, PREALLOC_MODE_OFF, 0, errp);
}

static void test_truncate(void)
{
    Error *err = NULL;

    setup(64 * KiB);
    g_assert_cmpint(do_write(64, 4, 2), ==, 0);
    expect("z64+192 w64+4");
    g_assert_cmpint(resize(200, &error_abort), ==, 0); /* there is room */
    expect("");
    expect_sizes(200, 256);
    g_assert_cmpint(resize(300, &error_abort), ==, 0);
    expect("t200 t300");
    expect_sizes(300, 300);
    g_assert_cmpint(do_write(300, 4, 2), ==, 0);
    expect("z300+148 w300+4");
    g_assert_cmpint(resize(302, &error_abort), ==, 0);
    expect("t302");
    expect_sizes(302, 302);

    g_assert_cmpint(do_write(302, 2, 2), ==, 0);
    t.write_ret = -EIO;
    g_assert_cmpint(do_write(304, 4, 2), ==, -EIO);
    t.write_ret = 0;
    g_string_truncate(t.trace, 0);
    /* The content at 304 is not known after the failed write. */
    g_assert_cmpint(resize(400, &error_abort), ==, 0);
    expect("t304 t400");

    g_assert_cmpint(do_write(400, 4, 2), ==, 0);
    t.truncate_ret = -EIO;
    g_assert_cmpint(resize(100, &err), ==, -EIO);
    error_free(err);
    err = NULL;
    g_assert_cmpint(bdrv_getlength(t.bs), ==, 404 * KiB);
    t.truncate_ret = 0;
    teardown();
}

/* The surplus goes with the permission; where it cannot, so does neither. */
static void test_permissions(void)
{
    const uint64_t less = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE;
    BdrvChild *child;
    Error *err = NULL;

    setup(64 * KiB);
    child = t.bs->file;
    g_assert_cmpuint(child->shared & (BLK_PERM_WRITE | BLK_PERM_RESIZE), ==,
                     0);
    g_assert_cmpint(do_write(64, 4, 2), ==, 0);
    g_string_truncate(t.trace, 0);
    t.truncate_ret = -EIO;
    g_assert(!blk_set_perm(t.blk, less, BLK_PERM_ALL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Could not truncate the "
                    "preallocated space of node 'p': no");
    error_free(err);
    err = NULL;
    expect("t68");
    expect_sizes(68, 256);
    g_assert_cmpint(do_write(68, 4, 2), ==, 0);
    expect("w68+4");
    t.truncate_ret = 0;
    g_assert(blk_set_perm(t.blk, less, BLK_PERM_ALL, &error_abort));
    expect("t72");
    expect_sizes(72, 72);
    g_assert_cmpuint(child->shared & BLK_PERM_RESIZE, ==, BLK_PERM_RESIZE);
    g_assert_cmpint(do_write(0, 4, 2), ==, 0);
    expect("w0+4");
    teardown();
}

static void test_options(void)
{
    static const struct {
        const char *option, *error;
    } bad[] = {
        { "\"prealloc-align\": 100", "prealloc-align parameter of preallocate "
          "filter is not aligned to 512" },
        { "\"prealloc-align\": -512", "prealloc-align of the preallocate "
          "filter must be between 0 and 9223372035781033984" },
        { "\"prealloc-size\": -1", "prealloc-size of the preallocate "
          "filter must be between 0 and 9223372035781033984" },
        { "\"prealloc-size\": 9223372036854775807", "prealloc-size of the "
          "preallocate filter must be between 0 and 9223372035781033984" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *text = g_strdup_printf(
            "{\"driver\": \"preallocate\", %s,"
            " \"file\": {\"driver\": \"file\", \"filename\": \"x\"}}",
            bad[i].option);
        Error *err = NULL;

        g_assert(!open_json(text, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, bad[i].error);
        error_free(err);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/preallocate/one-growth-for-many",
                    test_one_growth_for_many);
    g_test_add_func("/preallocate/zeroes", test_zeroes);
    g_test_add_func("/preallocate/concurrent", test_concurrent);
    g_test_add_func("/preallocate/cannot-grow", test_cannot_grow);
    g_test_add_func("/preallocate/truncate", test_truncate);
    g_test_add_func("/preallocate/permissions", test_permissions);
    g_test_add_func("/preallocate/options", test_options);
    return g_test_run();
}
