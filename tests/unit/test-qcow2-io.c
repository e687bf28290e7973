/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 compared with a naive disk: random requests on random kinds of images,
 * reopened in between; checked by our own check and, if it is installed, by the
 * peer's.
 */
#include "qemu/osdep.h"

#include <glib/gstdio.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/qcow2-int.h"
#include "block/request.h"
#include "qemu/aio.h"
#include "test-qcow2.h"

extern const BlockDriver bdrv_file, bdrv_raw;

/* A filter whose reads wait while `hold_reads` is set. */
static bool hold_reads;

static int slow_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    return bdrv_open_child(bs, options->u.compress.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
           ? 0 : -EINVAL;
}

static int coroutine_fn slow_preadv(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes, QEMUIOVector *qiov,
                                    size_t qiov_offset,
                                    BdrvRequestFlags flags)
{
    while (hold_reads) {
        co_yield_to_loop();
    }
    return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static const BlockDriver bdrv_slow = {
    .format_name = "compress",
    .is_filter = true,
    .open = slow_open,
    .co_preadv = slow_preadv,
};

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_file, &bdrv_raw, &bdrv_qcow2, &bdrv_slow, NULL,
};

#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

static char *dir;
static bool have_peer;

/* --- images --- */

typedef struct Image {
    char *path, *backing_path;
    BlockdevCreateOptionsQcow2 create;
    bool discard;
    int64_t size, backing_size;
    uint8_t *model; /* what the disk must show */
    BlockBackend *blk;
} Image;

static void make_file(const char *path, const uint8_t *data, int64_t bytes)
{
    g_assert_true(g_file_set_contents(path, (const char *)data, bytes, NULL));
}

static void image_open(Image *img)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': '%s'}, "
        "'discard': '%s', 'l2-cache-size': 1}", img->path,
        img->discard ? "unmap" : "ignore");
    BlockDriverState *bs = open_text(text, BDRV_O_RDWR, &error_abort);

    img->blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
}

static void image_close(Image *img)
{
    blk_unref(img->blk);
    img->blk = NULL;
}

/* Runs the peer's check; it must find the image clean. */
static void peer_check(const char *path, int64_t size, const uint8_t *model)
{
    const char *argv[] = { "qemu-img", "check", path, NULL };
    g_autofree char *out = NULL, *err = NULL, *raw = NULL, *data = NULL;
    const char *conv[] = { "qemu-img", "convert", "-O", "raw", path, NULL,
                           NULL };
    gsize len;
    int status;

    if (!have_peer) {
        return;
    }
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH,
                               NULL, NULL, &out, &err, &status, NULL));
    if (status) {
        g_printerr("%s%s", out, err);
    }
    g_assert_cmpint(status, ==, 0);
    if (!model) {
        return;
    }
    raw = g_strdup_printf("%s.raw", path);
    conv[5] = raw;
    g_assert_true(g_spawn_sync(NULL, (char **)conv, NULL, G_SPAWN_SEARCH_PATH,
                               NULL, NULL, NULL, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_file_get_contents(raw, &data, &len, NULL));
    g_assert_cmpint(len, ==, size);
    g_assert_true(!memcmp(data, model, size));
    g_unlink(raw);
}

static void own_check(Image *img)
{
    BdrvCheckResult result = { 0 };

    g_assert_cmpint(bdrv_check(blk_bs(img->blk), &result, 0), ==, 0);
    g_assert_cmpint(result.corruptions, ==, 0);
    g_assert_cmpint(result.leaks, ==, 0);
    g_assert_cmpint(result.check_errors, ==, 0);
}

static void verify(Image *img)
{
    g_autofree uint8_t *buf = g_malloc(img->size);
    int64_t pos = 0;

    g_assert_cmpint(blk_getlength(img->blk), ==, img->size);
    while (pos < img->size) {
        int64_t n = g_test_rand_int_range(1, MiB);

        n = MIN(n, img->size - pos);
        g_assert_cmpint(blk_pread(img->blk, pos, n, buf + pos, 0), ==, 0);
        pos += n;
    }
    for (int64_t i = 0; i < img->size; i++) {
        if (buf[i] != img->model[i]) {
            g_error("byte %" PRId64 " is %#x, must be %#x (cluster %" PRIu64
                    ")", i, buf[i], img->model[i], img->create.cluster_size);
        }
    }
}

/* --- random programs --- */

/* The unit of allocation. */
static int64_t unit(const Image *img)
{
    return img->create.extended_l2 ? img->create.cluster_size / 32
                                   : img->create.cluster_size;
}

static void random_range(const Image *img, int64_t *offset, int64_t *bytes)
{
    int64_t max = g_test_rand_bit() ? 4 * img->create.cluster_size
                                    : 300 * KiB;

    *offset = g_test_rand_int_range(0, img->size);
    *bytes = g_test_rand_int_range(1, MIN(max, img->size) + 1);
    if (g_test_rand_int_range(0, 3) == 0) {
        int64_t align = g_test_rand_bit() ? unit(img)
                                          : (int64_t)img->create.cluster_size;

        *offset = ROUND_DOWN(*offset, align);
        *bytes = ROUND_UP(*bytes, align);
    }
    *bytes = MIN(*bytes, img->size - *offset);
}

static void do_resize(Image *img)
{
    int64_t size = 512 * (int64_t)g_test_rand_int_range(1, 6 * MiB / 512);

    g_assert_cmpint(blk_truncate(img->blk, size, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    img->model = g_realloc(img->model, size);
    if (size > img->size) {
        memset(img->model + img->size, 0, size - img->size);
    }
    img->size = size;
}

static void do_discard(Image *img, int64_t offset, int64_t bytes)
{
    int64_t step = unit(img), start = ROUND_UP(offset, step);
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(blk_pdiscard(img->blk, offset, bytes), ==, 0);
    g_assert_cmpint(blk_pread(img->blk, offset, bytes, buf, 0), ==, 0);
    /* A hint: each whole unit is zeroes now, or as it was. */
    for (int64_t pos = start; pos < offset + bytes; pos += step) {
        int64_t n = MIN(step, offset + bytes - pos);

        if (buffer_is_zero(buf + pos - offset, n)) {
            memset(img->model + pos, 0, n);
        }
    }
    g_assert_true(!memcmp(buf, img->model + offset, bytes));
}

/* One cluster, compressed. */
static void do_compressed(Image *img, int64_t offset)
{
    int64_t cluster = img->create.cluster_size;
    int64_t start = ROUND_DOWN(offset, cluster);
    int64_t n = MIN(cluster, img->size - start);

    memset(img->model + start, start >> 9 | 1, n);
    g_assert_cmpint(blk_pwrite(img->blk, start, n, img->model + start,
                               BDRV_REQ_WRITE_COMPRESSED), ==, 0);
}

static void step(Image *img)
{
    int64_t offset, bytes;
    g_autofree uint8_t *buf = NULL;
    int op = g_test_rand_int_range(0, 100);

    random_range(img, &offset, &bytes);
    if (op < 45) {
        buf = g_malloc(bytes);
        memset(buf, g_test_rand_int_range(1, 256), bytes);
        buf[bytes / 2] = op;
        g_assert_cmpint(blk_pwrite(img->blk, offset, bytes, buf, 0), ==, 0);
        memcpy(img->model + offset, buf, bytes);
    } else if (op < 60) {
        BdrvRequestFlags flags = g_test_rand_bit() ? BDRV_REQ_MAY_UNMAP : 0;

        g_assert_cmpint(blk_pwrite_zeroes(img->blk, offset, bytes, flags), ==,
                        0);
        memset(img->model + offset, 0, bytes);
    } else if (op < 70) {
        do_discard(img, offset, bytes);
    } else if (op < 90) {
        buf = g_malloc(bytes);
        g_assert_cmpint(blk_pread(img->blk, offset, bytes, buf, 0), ==, 0);
        g_assert_true(!memcmp(buf, img->model + offset, bytes));
    } else if (op < 92) {
        do_resize(img);
    } else if (op < 94) {
        do_compressed(img, offset);
    } else if (op < 96) {
        g_assert_cmpint(blk_flush(img->blk), ==, 0);
    } else if (op < 97) {
        image_close(img);
        image_open(img);
    }
}

static void image_init(Image *img, const char *name)
{
    static const uint64_t widths[] = { 1, 2, 4, 8, 16, 32, 64 };
    BlockdevCreateOptionsQcow2 *c = &img->create;
    int bits = g_test_rand_int_range(9, 18);

    *img = (Image){ .path = g_build_filename(dir, name, NULL) };
    img->size = 512 * (int64_t)g_test_rand_int_range(1, 4 * MiB / 512);
    img->discard = g_test_rand_bit();
    img->model = g_malloc0(img->size);
    c->size = img->size;
    c->has_version = c->has_cluster_size = c->has_refcount_bits = true;
    c->version = g_test_rand_int_range(0, 4) ? BLOCKDEV_QCOW2_VERSION_V3
                                             : BLOCKDEV_QCOW2_VERSION_V2;
    c->has_extended_l2 = true;
    c->extended_l2 = c->version == BLOCKDEV_QCOW2_VERSION_V3 &&
                     g_test_rand_bit();
    if (c->extended_l2) {
        bits = g_test_rand_int_range(14, 19);
    }
    c->cluster_size = UINT64_C(1) << bits;
    c->refcount_bits = c->version == BLOCKDEV_QCOW2_VERSION_V2
        ? 16 : widths[g_test_rand_int_range(0, ARRAY_SIZE(widths))];
    c->has_lazy_refcounts = true;
    c->lazy_refcounts = c->version == BLOCKDEV_QCOW2_VERSION_V3 &&
                        g_test_rand_int_range(0, 4) == 0;
    if (g_test_rand_bit()) {
        img->backing_path = g_strdup_printf("%s.base", img->path);
        img->backing_size = 512 * (int64_t)
            g_test_rand_int_range(1, 4 * MiB / 512);
        c->backing_file = img->backing_path;
        c->has_backing_fmt = true;
        c->backing_fmt = BLOCKDEV_DRIVER_RAW;
    }
    if ((!c->backing_file || c->extended_l2) &&
        g_test_rand_int_range(0, 4) == 0) {
        c->has_preallocation = true;
        c->preallocation = g_test_rand_int_range(1, 4);
    }
}

static void make_backing(Image *img)
{
    g_autofree uint8_t *data = NULL;

    if (!img->backing_path) {
        return;
    }
    data = g_malloc(img->backing_size);
    for (int64_t i = 0; i < img->backing_size; i++) {
        data[i] = (i >> 9) * 7 + 1;
    }
    make_file(img->backing_path, data, img->backing_size);
    memcpy(img->model, data, MIN(img->size, img->backing_size));
}

static void image_destroy(Image *img)
{
    g_unlink(img->path);
    if (img->backing_path) {
        g_unlink(img->backing_path);
    }
    g_free(img->path);
    g_free(img->backing_path);
    g_free(img->model);
}

static void test_random(void)
{
    int rounds = g_test_slow() ? 300 : 40;

    for (int i = 0; i < rounds; i++) {
        Image img;

        image_init(&img, "random.qcow2");
        make_backing(&img);
        create_image(img.path, &img.create);
        image_open(&img);
        for (int k = 0; k < 150; k++) {
            step(&img);
        }
        verify(&img);
        own_check(&img);
        image_close(&img);
        peer_check(img.path, img.size, img.model);
        image_open(&img);
        verify(&img);
        image_close(&img);
        image_destroy(&img);
    }
}

/* --- many at once --- */

typedef struct Writer {
    Image *img;
    int id, steps;
    int *running;
    GRand *rand;
    size_t stripe; /* bytes, up to MAX_STRIPE */
} Writer;

#define MAX_STRIPE (3 * KiB)

/* Writes only bytes of its own stripes, so the outcome is known. */
static void coroutine_fn writer_entry(void *opaque)
{
    Writer *w = opaque;
    Image *img = w->img;

    for (int i = 0; i < w->steps; i++) {
        int64_t n = w->stripe, stripes = img->size / (8 * n);
        int64_t pos = (g_rand_int_range(w->rand, 0, stripes) * 8 + w->id) * n;
        bool zero = g_rand_int_range(w->rand, 0, 3) == 0;
        uint8_t buf[MAX_STRIPE];
        uint8_t fill = zero ? 0 : g_rand_int_range(w->rand, 0, 256);
        int ret;

        memset(buf, fill, n);
        ret = zero ? blk_co_pwrite_zeroes(img->blk, pos, n,
                                          BDRV_REQ_MAY_UNMAP)
                   : blk_co_pwrite(img->blk, pos, n, buf, 0);
        g_assert_cmpint(ret, ==, 0);
        memset(img->model + pos, fill, n);
        if (i % 16 == 0) {
            g_assert_cmpint(blk_co_flush(img->blk), ==, 0);
        }
        g_assert_cmpint(blk_co_pread(img->blk, pos, n, buf, 0), ==, 0);
        for (int64_t k = 0; k < n; k++) {
            g_assert_cmpint(buf[k], ==, fill);
        }
    }
    --*w->running;
}

/*
 * With subclusters the stripes cross their bounds, so that writes meet in one
 * of them.
 */
static void test_parallel(const void *l2)
{
    bool extended = !strcmp(l2, "extended");

    for (int bits = extended ? 14 : 9; bits <= 21; bits += extended ? 3 : 2) {
        Writer w[8];
        int running = 8;
        Image img = {
            .path = g_build_filename(dir, "parallel.qcow2", NULL),
            .size = 2 * MiB,
            .model = g_malloc0(2 * MiB),
            .create = { .size = 2 * MiB, .has_cluster_size = true,
                        .cluster_size = UINT64_C(1) << bits,
                        .has_extended_l2 = true, .extended_l2 = extended },
        };

        create_image(img.path, &img.create);
        image_open(&img);
        for (int i = 0; i < 8; i++) {
            w[i] = (Writer){ &img, i, extended ? 150 : 60, &running,
                             g_rand_new_with_seed(g_test_rand_int()),
                             extended ? MAX_STRIPE : KiB };
            coroutine_enter(coroutine_create(writer_entry, &w[i]));
        }
        AIO_WAIT_WHILE(running > 0);
        verify(&img);
        own_check(&img);
        image_close(&img);
        peer_check(img.path, img.size, img.model);
        for (int i = 0; i < 8; i++) {
            g_rand_free(w[i].rand);
        }
        image_destroy(&img);
    }
}

/* --- host I/O --- */

static void coroutine_fn host_entry(void *opaque)
{
    Writer *w = opaque;
    Image *img = w->img;
    int64_t n;

    for (int64_t pos = 0, i = 0; pos < img->size; pos += n, i++) {
        int ret, kind = i % 3;
        BdrvRequest *r = bdrv_co_host_write_begin(
            blk_root(img->blk), pos, MIN(256 * KiB, img->size - pos), &ret);
        g_autofree uint8_t *buf = g_malloc(256 * KiB);

        g_assert_nonnull(r);
        g_assert_cmpint(r->host.kind, ==, BDRV_HOST_FILE);
        n = r->host.bytes;
        memset(buf, i + 1, n);
        if (kind == 0) {
            g_assert_cmpint(pwrite(r->host.fd, buf, n, r->host.offset), ==,
                            n);
            memcpy(img->model + pos, buf, n);
        } else if (kind == 1) {
            memset(img->model + pos, 0, n);
        }
        ret = bdrv_co_host_write_end(r, kind == 0 ? BDRV_HOST_WRITTEN :
                                        kind == 1 ? BDRV_HOST_IS_ZERO : -EIO);
        g_assert_cmpint(ret, ==, kind == 2 ? -EIO : 0);
    }
    w->running[0] = 0;
}

static void coroutine_fn host_read_entry(void *opaque)
{
    Writer *w = opaque;
    Image *img = w->img;
    int64_t n;

    for (int64_t pos = 0; pos < img->size; pos += n) {
        int ret;
        BdrvRequest *r = bdrv_co_host_read_begin(
            blk_root(img->blk), pos, img->size - pos, &ret);
        g_autofree uint8_t *buf = g_malloc0(img->size - pos);

        g_assert_nonnull(r);
        n = r->bytes;
        g_assert_cmpint(r->host.bytes, ==, n);
        if (r->host.kind == BDRV_HOST_FILE) {
            g_assert_cmpint(pread(r->host.fd, buf, n, r->host.offset), >=, 0);
        }
        g_assert_true(!memcmp(buf, img->model + pos, n));
        bdrv_co_host_read_end(r);
    }
    w->running[0] = 0;
}

static void test_host_io(void)
{
    for (int v = 0; v < 6; v++) {
        int running = 1;
        Image img = {
            .path = g_build_filename(dir, "host.qcow2", NULL),
            .size = 3 * MiB + 512,
            .backing_size = MiB,
            .model = g_malloc0(3 * MiB + 512),
            .create = { .size = 3 * MiB + 512, .has_version = true,
                        .version = v >= 2 ? BLOCKDEV_QCOW2_VERSION_V3
                                          : BLOCKDEV_QCOW2_VERSION_V2,
                        .has_extended_l2 = true, .extended_l2 = v >= 4 },
        };
        Writer w = { .img = &img, .running = &running };

        if (v & 1) {
            img.backing_path = g_strdup_printf("%s.base", img.path);
            img.create.backing_file = img.backing_path;
            img.create.has_backing_fmt = true;
            img.create.backing_fmt = BLOCKDEV_DRIVER_RAW;
            make_backing(&img);
        }
        create_image(img.path, &img.create);
        for (int round = 0; round < 2; round++) {
            image_open(&img);
            running = 1;
            coroutine_enter(coroutine_create(host_entry, &w));
            AIO_WAIT_WHILE(running);
            running = 1;
            coroutine_enter(coroutine_create(host_read_entry, &w));
            AIO_WAIT_WHILE(running);
            verify(&img);
            own_check(&img);
            image_close(&img);
        }
        peer_check(img.path, img.size, img.model);
        image_destroy(&img);
    }
}

/* --- reads that take long --- */

typedef struct SlowRead {
    Image *img;
    uint8_t buf[64 * KiB];
    int ret;
} SlowRead;

static void coroutine_fn slow_read_entry(void *opaque)
{
    SlowRead *r = opaque;

    r->ret = blk_co_pread(r->img->blk, 0, sizeof(r->buf), r->buf, 0);
}

/* Reads a cluster that is discarded and reused meanwhile. */
static void read_discarded(Image *img, bool compressed)
{
    g_autofree uint8_t *data = g_malloc(64 * KiB);
    g_autofree SlowRead *r = g_new0(SlowRead, 1);

    memset(data, 0xaa, 64 * KiB);
    blk_pwrite(img->blk, 0, 64 * KiB, data,
               compressed ? BDRV_REQ_WRITE_COMPRESSED : 0);
    r->img = img;
    r->ret = -EINPROGRESS;
    hold_reads = true;
    coroutine_enter(coroutine_create(slow_read_entry, r));
    g_assert_cmpint(blk_pdiscard(img->blk, 0, 64 * KiB), ==, 0);
    g_assert_cmpint(blk_flush(img->blk), ==, 0);
    memset(data, 0xbb, 64 * KiB);
    g_assert_cmpint(blk_pwrite(img->blk, MiB, 64 * KiB, data, 0), ==, 0);
    g_assert_cmpint(r->ret, ==, -EINPROGRESS);
    hold_reads = false;
    AIO_WAIT_WHILE(r->ret == -EINPROGRESS);
    g_assert_cmpint(r->ret, ==, 0);
    for (size_t i = 0; i < sizeof(r->buf); i++) {
        g_assert_cmpint(r->buf[i], ==, 0xaa);
    }
}

static void test_read_discarded(void)
{
    for (int compressed = 0; compressed < 2; compressed++) {
        Image img = {
            .path = g_build_filename(dir, "slow.qcow2", NULL),
            .create = { .size = 2 * MiB },
        };
        g_autofree char *text = g_strdup_printf(
            "{'driver': 'qcow2', 'discard': 'unmap', 'file': {"
            "'driver': 'compress', 'file': {'driver': 'file', "
            "'filename': '%s'}}}", img.path);
        BlockDriverState *bs;

        create_image(img.path, &img.create);
        bs = open_text(text, BDRV_O_RDWR, &error_abort);
        img.blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
        bdrv_unref(bs);
        read_discarded(&img, compressed);
        g_assert_cmpint(blk_flush(img.blk), ==, 0);
        own_check(&img);
        image_close(&img);
        peer_check(img.path, 0, NULL);
        image_destroy(&img);
    }
}

typedef struct HeldRange {
    Image *img;
    BdrvRequest *r;
    bool done;
} HeldRange;

static void coroutine_fn hold_range_entry(void *opaque)
{
    HeldRange *h = opaque;
    int ret;

    h->r = bdrv_co_host_read_begin(blk_root(h->img->blk), 0, 64 * KiB, &ret);
    h->done = true;
}

static void coroutine_fn release_range_entry(void *opaque)
{
    HeldRange *h = opaque;

    bdrv_co_host_read_end(h->r);
    h->done = true;
}

static void run_held(CoroutineEntry *entry, HeldRange *h)
{
    h->done = false;
    coroutine_enter(coroutine_create(entry, h));
    AIO_WAIT_WHILE(!h->done);
}

/* The same for a range that a worker thread reads by itself. */
static void test_read_held(void)
{
    Image img = {
        .path = g_build_filename(dir, "held.qcow2", NULL),
        .create = { .size = 2 * MiB },
        .discard = true,
    };
    g_autofree uint8_t *data = g_malloc(64 * KiB);
    HeldRange h = { .img = &img };

    create_image(img.path, &img.create);
    image_open(&img);
    memset(data, 0xaa, 64 * KiB);
    g_assert_cmpint(blk_pwrite(img.blk, 0, 64 * KiB, data, 0), ==, 0);
    run_held(hold_range_entry, &h);
    g_assert_nonnull(h.r);
    g_assert_cmpint(h.r->host.bytes, ==, 64 * KiB);
    g_assert_cmpint(blk_pdiscard(img.blk, 0, 64 * KiB), ==, 0);
    g_assert_cmpint(blk_flush(img.blk), ==, 0);
    for (int64_t pos = MiB; pos < MiB + 8 * 64 * KiB;
         pos += 64 * KiB) {
        memset(data, 0xbb, 64 * KiB);
        g_assert_cmpint(blk_pwrite(img.blk, pos, 64 * KiB, data, 0), ==, 0);
    }
    g_assert_cmpint(pread(h.r->host.fd, data, 64 * KiB, h.r->host.offset), ==,
                    64 * KiB);
    for (int i = 0; i < 64 * KiB; i++) {
        g_assert_cmpint(data[i], ==, 0xaa);
    }
    run_held(release_range_entry, &h);
    g_assert_cmpint(blk_flush(img.blk), ==, 0);
    own_check(&img);
    image_close(&img);
    peer_check(img.path, 0, NULL);
    image_destroy(&img);
}

/* --- images by the peer --- */

static void run(const char *fmt, ...)
{
    g_autofree char *cmd = NULL;
    va_list ap;
    int status;

    va_start(ap, fmt);
    cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_assert_true(g_spawn_command_line_sync(cmd, NULL, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
}

/* Snapshots and compressed clusters are read, and survive our writes. */
static void test_peer_image(const char *options)
{
    g_autofree char *raw = g_build_filename(dir, "peer.raw", NULL);
    Image img = {
        .path = g_build_filename(dir, "peer.qcow2", NULL),
        .size = 3 * MiB,
        .model = g_malloc(3 * MiB),
        .create = { .size = 3 * MiB, .cluster_size = 65536,
                    .extended_l2 = strstr(options, "extended_l2") },
    };

    for (int64_t i = 0; i < img.size; i++) {
        img.model[i] = (i >> 12) * (i % 61);
    }
    memset(img.model + MiB, 0, 300 * KiB);
    make_file(raw, img.model, img.size);
    run("qemu-img convert -O qcow2 %s %s %s", options, raw, img.path);
    run("qemu-img snapshot -c one %s", img.path);
    image_open(&img);
    verify(&img);
    for (int i = 0; i < 60; i++) {
        int op = g_test_rand_int_range(0, 3);
        int64_t offset, bytes;
        g_autofree uint8_t *buf = NULL;

        random_range(&img, &offset, &bytes);
        if (op == 0) {
            buf = g_malloc0(bytes);
            memset(buf, i, bytes);
            g_assert_cmpint(blk_pwrite(img.blk, offset, bytes, buf, 0), ==, 0);
            memcpy(img.model + offset, buf, bytes);
        } else {
            g_assert_cmpint(blk_pwrite_zeroes(img.blk, offset, bytes,
                                              op == 1 ? BDRV_REQ_MAY_UNMAP
                                                      : 0), ==, 0);
            memset(img.model + offset, 0, bytes);
        }
    }
    verify(&img);
    own_check(&img);
    image_close(&img);
    peer_check(img.path, img.size, img.model);
    run("qemu-img snapshot -a one %s", img.path);
    run("qemu-img compare -f qcow2 -F raw %s %s", img.path, raw);
    g_unlink(raw);
    image_destroy(&img);
}

static void test_peer_images(void)
{
    if (!have_peer) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    test_peer_image("");
    test_peer_image("-c");
    test_peer_image("-c -o compression_type=zstd");
    test_peer_image("-o compat=0.10");
    test_peer_image("-c -o cluster_size=4k,refcount_bits=8");
    test_peer_image("-o extended_l2=on");
    test_peer_image("-c -o extended_l2=on");
}

/* --- compressed writes --- */

static void test_write_compressed(void)
{
    for (int type = 0; type < 2; type++) {
        Image img = {
            .path = g_build_filename(dir, "comp.qcow2", NULL),
            .size = 2 * MiB + 1024,
            .model = g_malloc0(2 * MiB + 1024),
            .create = { .size = 2 * MiB + 1024, .has_compression_type = true,
                        .compression_type = type },
        };

        create_image(img.path, &img.create);
        image_open(&img);
        for (int64_t i = 0; i < img.size; i++) {
            img.model[i] = i < 256 * KiB ? g_test_rand_int() : i >> 11;
        }
        for (int64_t pos = 0; pos < img.size; pos += 64 * KiB) {
            g_assert_cmpint(blk_pwrite(img.blk, pos,
                                       MIN(64 * KiB, img.size - pos),
                                       img.model + pos,
                                       BDRV_REQ_WRITE_COMPRESSED), ==, 0);
        }
        verify(&img);
        memset(img.model + MiB, 7, 100);
        g_assert_cmpint(blk_pwrite(img.blk, MiB, 100, img.model + MiB, 0), ==,
                        0);
        verify(&img);
        own_check(&img);
        image_close(&img);
        peer_check(img.path, img.size, img.model);
        image_destroy(&img);
    }
}

/* Compressible clusters, zeroes, and noise, which is stored as it is. */
static void fill_mixed(Image *img)
{
    for (int64_t i = 0; i < img->size; i++) {
        int64_t cluster = i / (64 * KiB);

        img->model[i] = cluster % 7 == 3 ? 0
            : cluster % 11 == 5 ? g_test_rand_int() : (i >> 7) * 31 + cluster;
    }
}

/* Compressed by requests of @step bytes; the whole file. */
static char *write_compressed(Image *img, int64_t step, gsize *bytes)
{
    char *data;

    create_image(img->path, &img->create);
    image_open(img);
    for (int64_t pos = 0; pos < img->size; pos += step) {
        g_assert_cmpint(blk_pwrite(img->blk, pos, MIN(step, img->size - pos),
                                   img->model + pos,
                                   BDRV_REQ_WRITE_COMPRESSED), ==, 0);
    }
    image_close(img);
    g_assert_true(g_file_get_contents(img->path, &data, bytes, NULL));
    return data;
}

typedef struct VectorRead {
    Image *img;
    int64_t offset, bytes;
    int ret;
} VectorRead;

/* Into vectors whose elements end within clusters. */
static void coroutine_fn vector_read_entry(void *opaque)
{
    VectorRead *r = opaque;
    g_autofree uint8_t *buf = g_malloc(r->bytes);
    int64_t step = g_test_rand_int_range(30, 200) * KiB, n;
    QEMUIOVector qiov;

    qemu_iovec_init(&qiov, 4);
    for (int64_t pos = 0; pos < r->bytes; pos += n) {
        n = MIN(step, r->bytes - pos);
        qemu_iovec_add(&qiov, buf + pos, n);
    }
    r->ret = blk_co_preadv(r->img->blk, r->offset, r->bytes, &qiov, 0);
    qemu_iovec_destroy(&qiov);
    g_assert_true(r->ret < 0 ||
                  !memcmp(buf, r->img->model + r->offset, r->bytes));
}

static int vector_read(Image *img, int64_t offset, int64_t bytes)
{
    VectorRead r = { img, offset, bytes, -EINPROGRESS };

    coroutine_enter(coroutine_create(vector_read_entry, &r));
    AIO_WAIT_WHILE(r.ret == -EINPROGRESS);
    return r.ret;
}

/* A cluster is damaged: it cannot be read, and the others can. */
static void read_spoiled(Image *img, char *data, gsize bytes)
{
    static const int64_t bad = 30;
    uint64_t l1, l2, entry, at;

    l1 = ld64_be(data + 40);
    l2 = ld64_be(data + l1) & 0xfffffffffffe00;
    entry = ld64_be(data + l2 + bad * 8);
    g_assert_true(entry & (UINT64_C(1) << 62));
    at = entry & ((UINT64_C(1) << 54) - 1);
    g_assert_cmpuint(at, <, bytes - 16);
    memset(data + at, 0xff, 16);
    make_file(img->path, (uint8_t *)data, bytes);
    image_open(img);
    g_assert_cmpint(vector_read(img, 0, img->size), ==, -EIO);
    g_assert_cmpint(vector_read(img, bad * 64 * KiB + 5, 10), ==, -EIO);
    g_assert_cmpint(vector_read(img, 0, bad * 64 * KiB), ==, 0);
    g_assert_cmpint(vector_read(img, (bad + 1) * 64 * KiB, img->size -
                                (bad + 1) * 64 * KiB), ==, 0);
    image_close(img);
}

/*
 * Many clusters in one request are read and compressed several at once, and get
 * the same places as one by one.
 */
static void test_compressed_at_once(void)
{
    for (int type = 0; type < 2; type++) {
        Image img = {
            .path = g_build_filename(dir, "many.qcow2", NULL),
            .size = 5 * MiB + 1024,
            .model = g_malloc0(5 * MiB + 1024),
            .create = { .size = 5 * MiB + 1024, .has_compression_type = true,
                        .compression_type = type },
        };
        g_autofree char *single = NULL, *all = NULL;
        gsize single_bytes, all_bytes;

        fill_mixed(&img);
        single = write_compressed(&img, 64 * KiB, &single_bytes);
        all = write_compressed(&img, img.size, &all_bytes);
        g_assert_cmpmem(single, single_bytes, all, all_bytes);
        image_open(&img);
        verify(&img);
        for (int i = 0; i < 100; i++) {
            int64_t from = g_test_rand_int_range(0, img.size - 1);
            int64_t n = g_test_rand_int_range(1, img.size - from);

            g_assert_cmpint(vector_read(&img, from, n), ==, 0);
        }
        own_check(&img);
        image_close(&img);
        peer_check(img.path, img.size, img.model);
        read_spoiled(&img, all, all_bytes);
        image_destroy(&img);
    }
}

/* --- damaged images --- */

/* Opens, reads, writes, resizes and checks; all of it may fail. */
static void use_damaged(const char *path, int mode)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'read-only': %s, 'backing': null, "
        "'file': {'driver': 'file', 'filename': '%s'}}",
        mode == 0 ? "true" : "false", path);
    BlockDriverState *bs = open_text(text, BDRV_O_RDWR |
                                     (mode == 2 ? BDRV_O_CHECK : 0), NULL);
    g_autofree uint8_t *buf = g_malloc(256 * KiB);
    BdrvCheckResult result = { 0 };
    BlockBackend *blk;

    if (!bs) {
        return;
    }
    blk = blk_new_with_bs(bs, mode ? PERM_RW : BLK_PERM_CONSISTENT_READ,
                          BLK_PERM_ALL, NULL);
    for (int i = 0; blk && i < 8; i++) {
        int64_t pos = MIN(blk_getlength(blk), 2 * MiB) * i / 8;

        (void)blk_pread(blk, pos, 256 * KiB, buf, 0);
        if (mode) {
            (void)blk_pwrite(blk, pos, 5000, buf, 0);
            (void)blk_pwrite_zeroes(blk, pos + 65536, 65536,
                                    BDRV_REQ_MAY_UNMAP);
        }
    }
    if (blk && mode == 1) {
        (void)blk_truncate(blk, 3 * MiB, true, PREALLOC_MODE_OFF, 0, NULL);
    }
    qapi_free_ImageInfoSpecific(bdrv_get_specific_info(bs, NULL));
    /* A write to an offset that is wrong makes the file sparse and as large as
     * that; to check terabytes takes minutes, and gigabytes of memory. */
    if (bs->file->bs->total_bytes < 16 * GiB) {
        (void)bdrv_check(bs, &result, mode == 2
                         ? BDRV_FIX_ERRORS | BDRV_FIX_LEAKS : 0);
    }
    if (blk) {
        blk_unref(blk);
    }
    bdrv_unref(bs);
}

/* The offsets at which metadata lies in a small image: its first clusters. */
static void test_damaged(void)
{
    int rounds = g_test_slow() ? 3000 : 60;
    Image img = {
        .path = g_build_filename(dir, "damaged.qcow2", NULL),
        .size = 2 * MiB,
        .model = g_malloc0(2 * MiB),
    };
    BdrvDirtyBitmap *bitmap;
    g_autofree char *good = NULL;
    gsize len;

    img.create = (BlockdevCreateOptionsQcow2){
        .size = img.size, .has_cluster_size = true, .cluster_size = 4096,
    };
    create_image(img.path, &img.create);
    image_open(&img);
    bitmap = bdrv_dirty_bitmap_new(blk_bs(img.blk), 4096, "b0", &error_abort);
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    for (int i = 0; i < 40; i++) {
        step(&img);
    }
    image_close(&img);
    if (have_peer) {
        run("qemu-img snapshot -c one %s", img.path);
    }
    g_assert_true(g_file_get_contents(img.path, &good, &len, NULL));
    quiet_stderr(true);
    for (int i = 0; i < rounds; i++) {
        g_autofree char *bad = g_memdup2(good, len);

        for (int k = g_test_rand_int_range(1, 8); k > 0; k--) {
            int area = g_test_rand_int_range(0, 3);
            gsize pos = g_test_rand_int_range(0, area == 0 ? 256 :
                                              area == 1 ? 8 * 4096 : len);

            bad[pos] = g_test_rand_bit() ? g_test_rand_int()
                                         : bad[pos] ^ (1 << (i % 8));
        }
        for (int mode = 0; mode < 3; mode++) {
            make_file(img.path, (uint8_t *)bad, len);
            use_damaged(img.path, mode);
        }
    }
    quiet_stderr(false);
    image_destroy(&img);
}

/* --- repair --- */

static void repair(Image *img)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': '%s'}}",
        img->path);
    BlockDriverState *bs = open_text(text, BDRV_O_RDWR | BDRV_O_CHECK,
                                     &error_abort);
    BdrvCheckResult result = { 0 };

    quiet_stderr(true);
    g_assert_cmpint(bdrv_check(bs, &result,
                               BDRV_FIX_ERRORS | BDRV_FIX_LEAKS), ==, 0);
    quiet_stderr(false);
    g_assert_cmpint(result.corruptions + result.leaks, ==, 0);
    g_assert_cmpint(result.corruptions_fixed + result.leaks_fixed, >, 0);
    bdrv_unref(bs);
    image_open(img);
    verify(img);
    own_check(img);
    image_close(img);
    peer_check(img->path, img->size, img->model);
}

/* Refcounts that are wrong, and a refcount table without its block. */
static void test_repair(void)
{
    for (int kind = 0; kind < 3; kind++) {
        Image img = {
            .path = g_build_filename(dir, "repair.qcow2", NULL),
            .size = 2 * MiB,
            .model = g_malloc0(2 * MiB),
            .create = { .size = 2 * MiB, .has_cluster_size = true,
                        .cluster_size = 4096 },
        };
        uint8_t junk[64] = { 0 };
        int fd;

        create_image(img.path, &img.create);
        image_open(&img);
        for (int i = 0; i < 60; i++) {
            step(&img);
        }
        image_close(&img);
        fd = open(img.path, O_RDWR);
        if (kind == 0) {
            memset(junk, 1, sizeof(junk));
            g_assert_cmpint(pwrite(fd, junk, sizeof(junk), 8192 + 16), ==, 64);
        } else if (kind == 1) {
            g_assert_cmpint(pwrite(fd, junk, sizeof(junk), 8192 + 8), ==, 64);
        } else {
            g_assert_cmpint(pwrite(fd, junk, 8, 4096), ==, 8);
        }
        close(fd);
        repair(&img);
        image_destroy(&img);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *peer = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    peer = g_find_program_in_path("qemu-img");
    have_peer = peer != NULL;
    dir = g_dir_make_tmp("test-qcow2-XXXXXX", NULL);
    g_test_add_func("/qcow2/random", test_random);
    g_test_add_data_func("/qcow2/parallel/plain", "plain", test_parallel);
    g_test_add_data_func("/qcow2/parallel/extended", "extended",
                         test_parallel);
    g_test_add_func("/qcow2/host-io", test_host_io);
    g_test_add_func("/qcow2/read-discarded", test_read_discarded);
    g_test_add_func("/qcow2/read-held", test_read_held);
    g_test_add_func("/qcow2/peer-images", test_peer_images);
    g_test_add_func("/qcow2/write-compressed", test_write_compressed);
    g_test_add_func("/qcow2/compressed-at-once", test_compressed_at_once);
    g_test_add_func("/qcow2/damaged", test_damaged);
    g_test_add_func("/qcow2/repair", test_repair);
    ret = g_test_run();
    g_rmdir(dir);
    g_free(dir);
    aio_main_cleanup();
    return ret;
}
