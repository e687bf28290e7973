/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots of qcow2 images compared with a naive disk that keeps
 * copies: random programs; the n-th write or flush fails.  Power losses are in
 * tests/crash/.
 */
#include "qemu/osdep.h"

#include <glib/gstdio.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/qcow2-int.h"
#include "block/snapshot.h"
#include "qemu/aio.h"
#include "test-qcow2.h"

extern const BlockDriver bdrv_file, bdrv_raw;

#define SECTOR 512
#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

/* --- a filter that fails --- */

static int countdown; /* the n-th write or flush fails; 0: none */

/* True: this write or flush is the one that fails. */
static bool fault_hits(void)
{
    return countdown && --countdown == 0;
}

static int fault_open(BlockDriverState *bs, const BlockdevOptions *options,
                      int flags, Error **errp)
{
    return bdrv_open_child(bs, options->u.compress.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
           ? 0 : -EINVAL;
}

static int coroutine_fn fault_pwritev(BlockDriverState *bs, int64_t offset,
                                      int64_t bytes, QEMUIOVector *qiov,
                                      size_t qiov_offset,
                                      BdrvRequestFlags flags)
{
    return fault_hits() ? -EIO : bdrv_co_pwritev(bs->file, offset, bytes,
                                                 qiov, qiov_offset, flags);
}

static int coroutine_fn fault_flush(BlockDriverState *bs)
{
    return fault_hits() ? -EIO : 0;
}

static const BlockDriver bdrv_fault = {
    .format_name = "compress",
    .is_filter = true,
    .open = fault_open,
    .co_pwritev = fault_pwritev,
    .co_flush = fault_flush,
};

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_file, &bdrv_raw, &bdrv_qcow2, &bdrv_fault, NULL,
};

/* --- images --- */

/* What is looked at of the place for a machine's state. */
#define VM_PLACE (64 * KiB)

typedef struct Kept {
    char *name;
    int64_t size;
    uint8_t *data;
    uint8_t vm[VM_PLACE];
} Kept;

typedef struct Image {
    char *path;
    BlockdevCreateOptionsQcow2 create;
    int64_t size;
    uint8_t *model;   /* what the disk must show */
    uint8_t vm[VM_PLACE]; /* and the place for a machine's state */
    GArray *kept;     /* of Kept: the snapshots */
    unsigned made;
    BlockBackend *blk;
} Image;

static char *dir;
static bool have_peer;

static void kept_clear(void *opaque)
{
    Kept *k = opaque;

    g_free(k->name);
    g_free(k->data);
}

static void image_open_flags(Image *img, int flags)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'file': {'driver': 'compress', 'file': "
        "{'driver': 'file', 'filename': '%s', 'cache': {'no-flush': true}}}, "
        "'discard': 'unmap', "
        "'l2-cache-size': 1, 'read-only': %s}", img->path,
        flags & BDRV_O_RDWR ? "false" : "true");
    BlockDriverState *bs = open_text(text, flags, &error_abort);

    img->blk = blk_new_with_bs(bs, flags & BDRV_O_RDWR
                               ? PERM_RW : BLK_PERM_CONSISTENT_READ,
                               BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
}

static void image_open(Image *img)
{
    image_open_flags(img, BDRV_O_RDWR);
}

static void image_close(Image *img)
{
    blk_unref(img->blk);
    img->blk = NULL;
}

static bool shows(Image *img, const uint8_t *data, int64_t size)
{
    g_autofree uint8_t *buf = g_malloc(size);

    return blk_getlength(img->blk) == size &&
           blk_pread(img->blk, 0, size, buf, 0) == 0 &&
           !memcmp(buf, data, size);
}

static void check(Image *img, bool leaks_allowed)
{
    BdrvCheckResult result = { 0 };

    g_assert_cmpint(bdrv_check(blk_bs(img->blk), &result, 0), ==, 0);
    g_assert_cmpint(result.corruptions, ==, 0);
    g_assert_cmpint(result.check_errors, ==, 0);
    if (!leaks_allowed) {
        g_assert_cmpint(result.leaks, ==, 0);
    }
}

static void peer_check(const Image *img, bool leaks_allowed)
{
    const char *argv[] = { "qemu-img", "check", img->path, NULL };
    g_autofree char *out = NULL, *err = NULL;
    int status;

    if (!have_peer) {
        return;
    }
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH,
                               NULL, NULL, &out, &err, &status, NULL));
    status = WEXITSTATUS(status);
    if (status && !(status == 3 && leaks_allowed)) {
        g_error("the peer's check:\n%s%s", out, err);
    }
}

/* The closed image: each snapshot shows what was kept. */
static void verify_snapshots(Image *img)
{
    for (guint i = 0; i < img->kept->len; i++) {
        const Kept *k = &g_array_index(img->kept, Kept, i);

        image_open_flags(img, 0);
        g_assert_cmpint(bdrv_snapshot_load_tmp(blk_bs(img->blk), NULL,
                                               k->name, &error_abort), ==, 0);
        g_assert_true(shows(img, k->data, k->size));
        image_close(img);
    }
}

/* --- steps, on image and model --- */

static int do_create(Image *img)
{
    g_autofree char *name = g_strdup_printf("s%u", img->made++);
    g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new(name);
    uint8_t vm_state[700] = { 7 };
    Kept k = { g_strdup(name), img->size, g_memdup2(img->model, img->size) };
    int ret;

    sn->vm_state_size = img->made % 3 ? 0 : sizeof(vm_state);
    ret = bdrv_snapshot_create(blk_bs(img->blk), sn, vm_state, NULL);
    if (sn->vm_state_size) {
        memcpy(k.vm, vm_state, sizeof(vm_state));
    } else {
        memcpy(k.vm, img->vm, VM_PLACE);
    }
    if (ret == 0) {
        if (sn->vm_state_size) {
            memset(img->vm, 0, VM_PLACE); /* the snapshot has it */
        }
        g_array_append_val(img->kept, k);
    } else {
        kept_clear(&k);
    }
    return ret;
}

static int do_goto(Image *img, guint index)
{
    const Kept *k = &g_array_index(img->kept, Kept, index);
    int ret = bdrv_snapshot_goto(blk_bs(img->blk), k->name, NULL);

    if (ret == 0) {
        g_free(img->model);
        img->size = k->size;
        img->model = g_memdup2(k->data, k->size);
        memcpy(img->vm, k->vm, VM_PLACE);
    }
    return ret;
}

static int do_delete(Image *img, guint index)
{
    const Kept *k = &g_array_index(img->kept, Kept, index);
    int ret = bdrv_snapshot_delete(blk_bs(img->blk), NULL, k->name, NULL);

    if (ret == 0) {
        g_array_remove_index(img->kept, index);
    }
    return ret;
}

static void do_write(Image *img)
{
    int64_t cluster = img->create.cluster_size;
    int64_t offset = g_test_rand_int_range(0, img->size);
    int64_t bytes = g_test_rand_int_range(1, MIN(4 * cluster, 300 * KiB));
    int kind = g_test_rand_int_range(0, 5);
    g_autofree uint8_t *buf = NULL;

    if (kind == 0) {
        offset = ROUND_DOWN(offset, cluster);
        bytes = cluster;
    }
    bytes = MIN(bytes, img->size - offset);
    buf = g_malloc0(bytes);
    if (kind == 1) {
        g_assert_cmpint(blk_pwrite_zeroes(img->blk, offset, bytes,
                                          BDRV_REQ_MAY_UNMAP), ==, 0);
    } else {
        memset(buf, g_test_rand_int_range(1, 256), bytes);
        g_assert_cmpint(blk_pwrite(img->blk, offset, bytes, buf, kind ? 0 :
                                   BDRV_REQ_WRITE_COMPRESSED), ==, 0);
    }
    memcpy(img->model + offset, buf, bytes);
}

static int do_vm_write(Image *img)
{
    int64_t offset = SECTOR * g_test_rand_int_range(0, VM_PLACE / SECTOR);
    size_t bytes = SECTOR * g_test_rand_int_range(0, 1 + (VM_PLACE - offset) /
                                                         SECTOR);
    g_autofree uint8_t *buf = g_malloc(MAX(bytes, 1));
    int ret;

    memset(buf, g_test_rand_int_range(0, 256), bytes);
    ret = bdrv_vm_state_pwrite(blk_bs(img->blk), offset, buf, bytes);
    if (ret == 0 && bytes) {
        memcpy(img->vm + offset, buf, bytes);
    }
    return ret;
}

static bool has_vm_state(Image *img)
{
    g_autofree uint8_t *buf = g_malloc(VM_PLACE);

    g_assert_cmpint(bdrv_vm_state_pread(blk_bs(img->blk), 0, buf, VM_PLACE),
                    ==, 0);
    return !memcmp(buf, img->vm, VM_PLACE);
}

static int64_t vm_state_offset(Image *img)
{
    BlockDriverInfo info = { 0 };

    g_assert_cmpint(bdrv_get_info(blk_bs(img->blk), &info), ==, 0);
    return info.vm_state_offset;
}

static void do_resize(Image *img)
{
    int64_t place = vm_state_offset(img);
    int64_t size = SECTOR * (int64_t)g_test_rand_int_range(1, 3 * MiB /
                                                              SECTOR);

    if (img->create.version == BLOCKDEV_QCOW2_VERSION_V2 && img->kept->len) {
        return;
    }
    g_assert_cmpint(blk_truncate(img->blk, size, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    img->model = g_realloc(img->model, size);
    if (size > img->size) {
        memset(img->model + img->size, 0, size - img->size);
    }
    if (size < img->size || vm_state_offset(img) != place) {
        memset(img->vm, 0, VM_PLACE);
    }
    img->size = size;
}

static void step(Image *img)
{
    int op = g_test_rand_int_range(0, 100);
    guint index = img->kept->len ? g_test_rand_int_range(0, img->kept->len)
                                 : 0;

    if (op < 60) {
        do_write(img);
    } else if (op < 64) {
        do_resize(img);
    } else if (op < 76) {
        int ret = do_create(img);

        /* Narrow refcounts come to their end. */
        g_assert_true(ret == 0 || (ret == -EINVAL &&
                                   img->create.refcount_bits < 8));
    } else if (op < 84 && img->kept->len) {
        int ret = do_goto(img, index);

        g_assert_true(ret == 0 || (ret == -EINVAL &&
                                   img->create.refcount_bits < 8));
    } else if (op < 94 && img->kept->len) {
        g_assert_cmpint(do_delete(img, index), ==, 0);
    } else if (op < 96) {
        image_close(img);
        image_open(img);
    } else {
        g_assert_cmpint(do_vm_write(img), ==, 0);
    }
}

static void image_init(Image *img, int max_bits)
{
    static const uint64_t widths[] = { 1, 2, 4, 8, 16, 32, 64 };
    BlockdevCreateOptionsQcow2 *c = &img->create;

    *img = (Image){ .path = g_build_filename(dir, "image.qcow2", NULL) };
    img->size = SECTOR * (int64_t)g_test_rand_int_range(1, 2 * MiB / SECTOR);
    img->model = g_malloc0(img->size);
    img->kept = g_array_new(FALSE, FALSE, sizeof(Kept));
    g_array_set_clear_func(img->kept, kept_clear);
    c->size = img->size;
    c->has_version = c->has_cluster_size = c->has_refcount_bits = true;
    c->version = g_test_rand_int_range(0, 4) ? BLOCKDEV_QCOW2_VERSION_V3
                                             : BLOCKDEV_QCOW2_VERSION_V2;
    c->cluster_size = UINT64_C(1) << g_test_rand_int_range(9, max_bits);
    c->has_extended_l2 = true;
    c->extended_l2 = c->version == BLOCKDEV_QCOW2_VERSION_V3 && max_bits > 13 &&
                     g_test_rand_bit();
    if (c->extended_l2) {
        c->cluster_size = UINT64_C(1) << g_test_rand_int_range(14, max_bits);
    }
    c->refcount_bits = c->version == BLOCKDEV_QCOW2_VERSION_V2
        ? 16 : widths[g_test_rand_int_range(0, ARRAY_SIZE(widths))];
    c->has_lazy_refcounts = true;
    c->lazy_refcounts = c->version == BLOCKDEV_QCOW2_VERSION_V3 &&
                        g_test_rand_int_range(0, 4) == 0;
    create_image(img->path, &img->create);
    image_open(img);
}

static void image_destroy(Image *img)
{
    g_unlink(img->path);
    g_free(img->path);
    g_free(img->model);
    g_array_free(img->kept, TRUE);
}

static void test_random(void)
{
    int rounds = g_test_slow() ? 200 : 30;

    for (int i = 0; i < rounds; i++) {
        Image img;

        image_init(&img, 18);
        for (int k = 0; k < 80; k++) {
            step(&img);
            if (k % 8 == 0) {
                g_assert_true(has_vm_state(&img));
                check(&img, false);
            }
        }
        g_assert_true(shows(&img, img.model, img.size));
        g_assert_true(has_vm_state(&img));
        check(&img, false);
        image_close(&img);
        peer_check(&img, false);
        verify_snapshots(&img);
        image_destroy(&img);
    }
}

/* --- failures --- */

typedef enum Verb { VERB_CREATE, VERB_GOTO, VERB_DELETE, VERB_VM_WRITE } Verb;

static int do_verb(Image *img, Verb verb)
{
    switch (verb) {
    case VERB_CREATE:
        return do_create(img);
    case VERB_GOTO:
        return do_goto(img, 0);
    case VERB_VM_WRITE:
        return do_vm_write(img);
    default:
        return do_delete(img, 0);
    }
}

/*
 * An image with two snapshots that share, and a disk that differs.  Lazy
 * refcounts are wrong by design where power is lost; small ones may overflow,
 * which is refused (see /refused).
 */
static void image_prepare(Image *img)
{
    image_init(img, 13);
    while (img->create.refcount_bits < 16 || img->create.lazy_refcounts) {
        image_close(img);
        image_destroy(img);
        image_init(img, 13);
    }
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 8; i++) {
            do_write(img);
        }
        g_assert_cmpint(do_create(img), ==, 0);
    }
    for (int i = 0; i < 4; i++) {
        do_write(img);
    }
    g_assert_cmpint(blk_flush(img->blk), ==, 0);
}

/* The n-th write or flush fails, once: nothing has changed, work goes on. */
static void fail_once(Verb verb, int n, bool *done)
{
    Image img;
    int ret;

    image_prepare(&img);
    countdown = n;
    ret = do_verb(&img, verb);
    *done = countdown > 0;
    countdown = 0;
    g_assert_true(ret == 0 || !*done);
    g_assert_true(shows(&img, img.model, img.size));
    check(&img, true);
    do_write(&img);
    g_assert_cmpint(do_verb(&img, verb), ==, 0);
    do_write(&img);
    g_assert_true(shows(&img, img.model, img.size));
    check(&img, true);
    image_close(&img);
    if (n % 4 == 0) {
        peer_check(&img, true);
    }
    verify_snapshots(&img);
    image_destroy(&img);
}

static void test_fail(const void *opaque)
{
    Verb verb = GPOINTER_TO_INT(opaque);
    bool done = false;

    for (int n = 1; !done; n++) {
        g_assert_cmpint(n, <, 1000);
        fail_once(verb, n, &done);
    }
}

/* --- single facts --- */

static void test_vm_state(const void *l2)
{
    bool extended = !strcmp(l2, "extended");
    int max_bits = extended ? 16 : 13;
    uint8_t state[3000], buf[3000];
    Image img;

    image_init(&img, max_bits);
    while (img.create.cluster_size < 4096 || img.create.refcount_bits < 16 ||
           img.create.extended_l2 != extended) {
        image_close(&img);
        image_destroy(&img);
        image_init(&img, max_bits);
    }
    memset(state, 0x5a, sizeof(state));
    for (int i = 0; i < 2; i++) {
        g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new(i ? "b" : "a");

        do_write(&img);
        state[0] = i;
        sn->vm_state_size = sizeof(state);
        g_assert_cmpint(bdrv_snapshot_create(blk_bs(img.blk), sn, state,
                                             &error_abort), ==, 0);
        g_assert_cmpstr(sn->id, ==, i ? "2" : "1");
    }
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(bdrv_snapshot_read_vm_state(
                            blk_bs(img.blk), i ? "b" : "a", buf, sizeof(buf),
                            &error_abort), ==, 0);
        state[0] = i;
        g_assert_true(!memcmp(buf, state, sizeof(buf)));
    }
    g_assert_cmpint(bdrv_snapshot_read_vm_state(blk_bs(img.blk), "a", buf,
                                                sizeof(buf) + 1, NULL), ==,
                    -EINVAL);
    g_assert_cmpint(bdrv_snapshot_goto(blk_bs(img.blk), "a", &error_abort), ==,
                    0);
    g_assert_cmpint(bdrv_snapshot_delete(blk_bs(img.blk), NULL, "b",
                                         &error_abort), ==, 0);
    check(&img, false);
    image_close(&img);
    peer_check(&img, false);
    image_destroy(&img);
}

static void test_refused(void)
{
    g_autofree char *name = g_strnfill(256, 'n');
    g_autoptr(BdrvSnapshot) long_name = bdrv_snapshot_new(name);
    g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new("s");
    BdrvDirtyBitmap *bitmap;
    Error *err = NULL;
    Image img;

    image_init(&img, 13);
    g_assert_cmpint(bdrv_snapshot_create(blk_bs(img.blk), long_name, NULL,
                                         NULL), ==, -EINVAL);
    g_assert_cmpint(bdrv_snapshot_goto(blk_bs(img.blk), "no", NULL), ==,
                    -ENOENT);
    g_assert_cmpint(bdrv_snapshot_delete(blk_bs(img.blk), "1", "no", NULL), ==,
                    -ENOENT);
    g_assert_cmpint(bdrv_snapshot_create(blk_bs(img.blk), sn, NULL,
                                         &error_abort), ==, 0);
    g_assert_cmpint(bdrv_snapshot_load_tmp(blk_bs(img.blk), NULL, "s", NULL),
                    ==, -EINVAL);
    bitmap = bdrv_dirty_bitmap_new(blk_bs(img.blk), 65536, "b", &error_abort);
    bdrv_dirty_bitmap_disable(bitmap);
    g_assert_cmpint(bdrv_snapshot_goto(blk_bs(img.blk), "s", &err), ==,
                    -EBUSY);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Device has active dirty bitmaps");
    error_free(err);
    bdrv_dirty_bitmap_release(bitmap);
    g_assert_cmpint(bdrv_snapshot_goto(blk_bs(img.blk), "s", &error_abort), ==,
                    0);
    image_close(&img);
    image_destroy(&img);
}

int main(int argc, char **argv)
{
    static const char *const verbs[] = { "create", "goto", "delete",
                                         "vm-write" };
    g_autofree char *peer = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    peer = g_find_program_in_path("qemu-img");
    have_peer = peer != NULL;
    dir = g_dir_make_tmp("test-snapshot-XXXXXX", NULL);
    g_test_add_func("/qcow2-snapshot/random", test_random);
    for (guint i = 0; i < ARRAY_SIZE(verbs); i++) {
        g_autofree char *fail = g_strdup_printf("/qcow2-snapshot/fail/%s",
                                                verbs[i]);

        g_test_add_data_func(fail, GINT_TO_POINTER(i), test_fail);
    }
    g_test_add_data_func("/qcow2-snapshot/vm-state/plain", "plain",
                         test_vm_state);
    g_test_add_data_func("/qcow2-snapshot/vm-state/extended", "extended",
                         test_vm_state);
    g_test_add_func("/qcow2-snapshot/refused", test_refused);
    ret = g_test_run();
    g_rmdir(dir);
    g_free(dir);
    aio_main_cleanup();
    return ret;
}
