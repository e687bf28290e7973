/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A protocol driver with one file in memory, in place of "file": no system
 * calls, no threads, so that runs of an input are reproducible.
 */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "crypto/luks.h"
#include "crypto/secret.h"
#include "fuzz-image.h"
#include "qapi/qapi-types-qom.h"

#define MAX_ITERATIONS 20000
#define MAX_STEPS 32 /* of reading and of asking for the status */
#define PIECE (64 * KiB)

GByteArray *fuzz_image;
static unsigned fuzz_image_users;

/* --- the driver --- */

static int memory_open(BlockDriverState *bs, const BlockdevOptions *options,
                       int flags, Error **errp)
{
    const char *filename = options->u.file.filename;

    if (strcmp(filename, "image")) {
        error_setg(errp, "Could not open '%s': No such file or directory",
                   filename);
        return -ENOENT;
    }
    /* An image that has itself as its backing file would go on for ever. */
    if (fuzz_image_users) {
        error_setg(errp, "'%s' is in use", filename);
        return -EAGAIN;
    }
    fuzz_image_users++;
    return 0;
}

static void memory_close(BlockDriverState *bs)
{
    fuzz_image_users--;
}

static int coroutine_fn memory_co_preadv(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, QEMUIOVector *qiov,
                                         size_t qiov_offset,
                                         BdrvRequestFlags flags)
{
    int64_t there = CLAMP((int64_t)fuzz_image->len - offset, 0, bytes);

    if (there) {
        qemu_iovec_from_buf(qiov, qiov_offset, fuzz_image->data + offset,
                            there);
    }
    qemu_iovec_memset(qiov, qiov_offset + there, 0, bytes - there);
    return 0;
}

static int memory_resize(int64_t bytes)
{
    guint old = fuzz_image->len;

    if (bytes > FUZZ_IMAGE_MAX) {
        return -ENOSPC;
    }
    g_byte_array_set_size(fuzz_image, bytes);
    if (bytes > old) {
        memset(fuzz_image->data + old, 0, bytes - old);
    }
    return 0;
}

static int memory_grow(int64_t end)
{
    return end > fuzz_image->len ? memory_resize(end) : 0;
}

static int coroutine_fn memory_co_pwritev(BlockDriverState *bs, int64_t offset,
                                          int64_t bytes, QEMUIOVector *qiov,
                                          size_t qiov_offset,
                                          BdrvRequestFlags flags)
{
    int ret = memory_grow(offset + bytes);

    if (ret == 0) {
        qemu_iovec_to_buf(qiov, qiov_offset, fuzz_image->data + offset, bytes);
    }
    return ret;
}

static int coroutine_fn memory_co_pwrite_zeroes(BlockDriverState *bs,
                                                int64_t offset, int64_t bytes,
                                                BdrvRequestFlags flags)
{
    int ret = memory_grow(offset + bytes);

    if (ret == 0) {
        memset(fuzz_image->data + offset, 0, bytes);
    }
    return ret;
}

static int coroutine_fn memory_co_truncate(BlockDriverState *bs,
                                           int64_t offset, bool exact,
                                           PreallocMode prealloc,
                                           BdrvRequestFlags flags,
                                           Error **errp)
{
    int ret = memory_resize(offset);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not resize the image");
    }
    return ret;
}

static int64_t memory_getlength(BlockDriverState *bs)
{
    return fuzz_image->len;
}

static const BlockDriver fuzz_memory = {
    .format_name = "file",
    .protocol_name = "file",
    .has_variable_length = true,
    .open = memory_open,
    .close = memory_close,
    .co_preadv = memory_co_preadv,
    .co_pwritev = memory_co_pwritev,
    .co_pwrite_zeroes = memory_co_pwrite_zeroes,
    .co_truncate = memory_co_truncate,
    .getlength = memory_getlength,
};

extern const BlockDriver bdrv_blklogwrites, bdrv_null_co, bdrv_qcow2, bdrv_raw;
extern const BlockDriver bdrv_bochs, bdrv_cloop, bdrv_dmg, bdrv_parallels;
extern const BlockDriver bdrv_qcow, bdrv_qed, bdrv_vdi, bdrv_vhdx, bdrv_vmdk;
extern const BlockDriver bdrv_luks, bdrv_vpc;
extern const BlockDriver *const bdrv_drivers[];

const BlockDriver *const bdrv_drivers[] = {
    &fuzz_memory,
    &bdrv_blklogwrites,
    &bdrv_bochs,
    &bdrv_cloop,
    &bdrv_dmg,
    &bdrv_luks,
    &bdrv_null_co,
    &bdrv_parallels,
    &bdrv_qcow,
    &bdrv_qcow2,
    &bdrv_qed,
    &bdrv_raw,
    &bdrv_vdi,
    &bdrv_vhdx,
    &bdrv_vmdk,
    &bdrv_vpc,
    NULL,
};

/* --- opening and closing --- */

void fuzz_image_set(const uint8_t *data, size_t size)
{
    g_byte_array_set_size(fuzz_image, 0);
    g_byte_array_append(fuzz_image, data, size);
}

void fuzz_image_init(void)
{
    SecretProperties secret = { .data = (char *)"secret" };

    setenv("TIDEMARK_AIO", "epoll", 1);
    aio_main_init(&error_abort);
    crypto_secret_add("key", &secret, &error_abort);
    fuzz_image = g_byte_array_new();
}

BlockBackend *fuzz_image_open_as(const char *json, bool writable, int flags)
{
    struct json_object *options = json_tokener_parse(json);
    g_autoptr(Error) err = NULL;
    BlockDriverState *bs;
    BlockBackend *blk;
    uint64_t perm = BLK_PERM_CONSISTENT_READ;

    json_object_object_add(options, "read-only",
                           json_object_new_boolean(!writable));
    bs = bdrv_open_json(options, false, flags, &err);
    json_object_put(options);
    g_assert_true(!bs == !!err);
    if (!bs) {
        if (getenv("FUZZ_VERBOSE")) {
            error_report_err(g_steal_pointer(&err));
        }
        return NULL;
    }
    blk = blk_new(aio_main_context(),
                  perm | (writable ? BLK_PERM_WRITE | BLK_PERM_RESIZE : 0),
                  BLK_PERM_ALL);
    if (!blk_insert_bs(blk, bs, &err)) {
        blk_unref(blk);
        blk = NULL;
    }
    bdrv_unref(bs);
    return blk;
}

static void limit_iterations(uint8_t *field)
{
    if (ld32_be(field) > MAX_ITERATIONS) {
        st32_be(field, MAX_ITERATIONS);
    }
}

void fuzz_image_limit_keys(void)
{
    for (size_t at = 0; at + LUKS_HEADER_BYTES <= fuzz_image->len; at += 512) {
        uint8_t *p = fuzz_image->data + at;

        if (!memcmp(p, "LUKS\xba\xbe", 6)) {
            limit_iterations(p + 164);
            for (int i = 0; i < LUKS_SLOTS; i++) {
                limit_iterations(p + 208 + i * 48 + 4);
            }
        }
    }
}

/* Is the data in an external file? */
static bool has_data_file(void)
{
    return fuzz_image->len >= 80 && ld32_be(fuzz_image->data + 4) >= 3 &&
           (fuzz_image->data[79] & 4);
}

BlockBackend *fuzz_image_open(bool writable, int flags)
{
    g_autofree char *json = g_strconcat(
        "{\"driver\": \"qcow2\", \"node-name\": \"disk\","
        " \"encrypt\": {\"key-secret\": \"key\"},",
        has_data_file() ? " \"data-file\": {\"driver\": \"null-co\","
                          " \"read-zeroes\": true}," : "",
        " \"file\": {\"driver\": \"file\", \"filename\": \"image\"}}", NULL);

    return fuzz_image_open_as(json, writable, flags);
}

void fuzz_image_close(BlockBackend *blk)
{
    blk_unref(blk);
    while (aio_poll(aio_main_context(), false)) {
        /* What is left to be done at the next turn. */
    }
    g_assert_null(bdrv_next_node(NULL));
    g_assert_cmpuint(fuzz_image_users, ==, 0);
}

void fuzz_image_read(BlockBackend *blk)
{
    g_autofree uint8_t *buf = g_malloc(PIECE);
    int64_t size = blk_getlength(blk);

    for (int64_t i = 0, at = 0; i < MAX_STEPS && at < size; i++) {
        blk_pread(blk, at, MIN(PIECE, size - at), buf, 0);
        at += PIECE;
    }
    if (size > PIECE) {
        blk_pread(blk, size - PIECE, PIECE, buf, 0);
    }
}

void fuzz_image_status(BlockBackend *blk)
{
    int64_t size = blk_getlength(blk);
    int64_t at = 0, bytes, map;
    BlockDriverState *file;

    for (int i = 0; i < MAX_STEPS && at < size; i++) {
        int ret = bdrv_block_status_above(blk_bs(blk), NULL, at, size - at,
                                          &bytes, &map, &file, NULL);

        if (ret < 0) {
            break;
        }
        g_assert_cmpint(bytes, >, 0);
        g_assert_cmpint(bytes, <=, size - at);
        at += bytes;
    }
}
