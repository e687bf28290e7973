/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stored bitmaps with manipulated metadata.  A valid image with three bitmaps
 * is made once; an input is a list of changes to their metadata:
 *
 *     position (2 bytes, little-endian)  n (1 byte)  n bytes
 *
 * A position counts in the parts that follow, one after the other: the header
 * with its extensions, the bitmap directory, the bitmap tables, and the
 * clusters with the bits.
 *
 * Invariants: the image is refused, or opened with bitmaps that are usable or
 * inconsistent; and an image that was opened for writing and closed can be
 * opened again, at least read-only.
 */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/dirty-bitmap.h"
#include "fuzz.h"
#include "fuzz-image.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-block-image.h"

#define CLUSTER 512
#define EXT_BITMAPS 0x23852875

typedef struct Part {
    uint64_t offset;
    uint64_t bytes;
} Part;

static GByteArray *valid;
static GArray *parts;

/* --- the valid image --- */

static void make_empty(void)
{
    struct json_object *file = json_tokener_parse(
        "{\"driver\": \"file\", \"filename\": \"image\","
        " \"node-name\": \"proto\"}");
    struct json_object *how = json_tokener_parse(
        "{\"driver\": \"qcow2\", \"file\": \"proto\", \"size\": 1048576,"
        " \"cluster-size\": 512}");
    BlockDriverState *bs = bdrv_open_json(file, false, BDRV_O_RDWR,
                                          &error_abort);
    g_autoptr(BlockdevCreateOptions) options =
        qapi_BlockdevCreateOptions_from_json(how, QAPI_INPUT_STRICT,
                                             &error_abort);

    g_assert_cmpint(bdrv_create(options, &error_abort), ==, 0);
    bdrv_unref(bs);
    json_object_put(file);
    json_object_put(how);
}

static BdrvDirtyBitmap *add(BlockDriverState *bs, const char *name,
                            uint64_t granularity)
{
    BdrvDirtyBitmap *bitmap;

    if (!bdrv_can_store_dirty_bitmap(bs, name, granularity, NULL)) {
        return NULL;
    }
    bitmap = bdrv_dirty_bitmap_new(bs, granularity, name, NULL);
    if (bitmap) {
        bdrv_dirty_bitmap_set_persistent(bitmap, true);
    }
    return bitmap;
}

static void add_bitmaps(void)
{
    BlockBackend *blk = fuzz_image_open(true, 0);
    BlockDriverState *bs = blk_bs(blk);

    bdrv_dirty_bitmap_set(add(bs, "some", 4096), 8192, 65536);
    bdrv_dirty_bitmap_set(add(bs, "all", 65536), 0, MiB);
    bdrv_dirty_bitmap_disable(add(bs, "none", 512));
    fuzz_image_close(blk);
}

static void add_part(uint64_t offset, uint64_t bytes)
{
    Part part = {offset, bytes};

    g_assert_true(range_fits(offset, bytes, fuzz_image->len));
    g_array_append_val(parts, part);
}

static void add_table(uint64_t offset, uint32_t entries)
{
    add_part(offset, entries * 8);
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t bits = ld64_be(fuzz_image->data + offset + i * 8) & ~511ULL;

        if (bits) {
            add_part(bits, CLUSTER);
        }
    }
}

static void find_parts(void)
{
    const uint8_t *image = fuzz_image->data;
    const uint8_t *ext = image + ld32_be(image + 100);
    uint32_t count;
    uint64_t at, end;

    add_part(4, CLUSTER - 4);
    while (ld32_be(ext) != EXT_BITMAPS) {
        g_assert_cmpint(ext - image, <, CLUSTER);
        ext += 8 + ROUND_UP(ld32_be(ext + 4), 8);
    }
    count = ld32_be(ext + 8);
    at = ld64_be(ext + 24);
    end = at + ld64_be(ext + 16);
    g_assert_cmpuint(count, ==, 3);
    add_part(at, end - at);
    while (at < end) {
        const uint8_t *entry = image + at;

        add_table(ld64_be(entry), ld32_be(entry + 8));
        at += ROUND_UP(24 + ld16_be(entry + 18) + ld32_be(entry + 20), 8);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_image_init();
    parts = g_array_new(false, false, sizeof(Part));
    make_empty();
    add_bitmaps();
    find_parts();
    valid = g_byte_array_new();
    g_byte_array_append(valid, fuzz_image->data, fuzz_image->len);
    return 0;
}

/* --- an input --- */

static void change_byte(uint64_t position, uint8_t value)
{
    for (guint i = 0; i < parts->len; i++) {
        Part part = g_array_index(parts, Part, i);

        if (position < part.bytes) {
            fuzz_image->data[part.offset + position] = value;
            return;
        }
        position -= part.bytes;
    }
}

static void apply(const uint8_t *data, size_t size)
{
    while (size > 3) {
        uint16_t position = ld16_le(data);
        size_t n = MIN(data[2], size - 3);

        data += 3;
        size -= 3;
        for (size_t i = 0; i < n; i++) {
            change_byte(position + i, data[i]);
        }
        data += n;
        size -= n;
    }
}

static void use_bitmap(BdrvDirtyBitmap *bitmap, BdrvDirtyBitmap *sum)
{
    g_autofree char *hash = NULL;

    if (bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_OP_HASH, NULL)) {
        hash = bdrv_dirty_bitmap_sha256(bitmap);
    }
    if (sum) {
        bdrv_dirty_bitmap_merge(sum, bitmap, NULL, NULL);
    }
    if (bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_OP_ENABLE, NULL)) {
        bdrv_dirty_bitmap_enable(bitmap);
    }
}

static void use_bitmaps(BlockDriverState *bs)
{
    BdrvDirtyBitmap *sum = bdrv_dirty_bitmap_new(bs, 512, NULL, NULL);
    BdrvDirtyBitmap *bitmap = NULL;
    BlockDirtyInfoList *list = bdrv_dirty_bitmap_query(bs);

    qapi_free_BlockDirtyInfoList(list);
    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bitmap != sum) {
            use_bitmap(bitmap, sum);
        }
    }
    if (sum) {
        bdrv_dirty_bitmap_release(sum);
    }
}

static void remove_one(BlockDriverState *bs, const char *name)
{
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(bs, name);

    if (bitmap && bdrv_remove_stored_dirty_bitmap(bs, name, NULL)) {
        bdrv_dirty_bitmap_release(bitmap);
    }
}

static void write_some(BlockBackend *blk)
{
    uint8_t buf[1500];

    memset(buf, 0x5a, sizeof(buf));
    blk_pwrite(blk, 1000, MIN(sizeof(buf), blk_getlength(blk)), buf, 0);
    blk_pwrite(blk, 300000, sizeof(buf), buf, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BlockBackend *blk;

    fuzz_image_set(valid->data, valid->len);
    apply(data, size);
    blk = fuzz_image_open(false, 0);
    if (blk) {
        use_bitmaps(blk_bs(blk));
        fuzz_image_close(blk);
    }
    blk = fuzz_image_open(true, 0);
    if (!blk) {
        return 0;
    }
    use_bitmaps(blk_bs(blk));
    remove_one(blk_bs(blk), "some");
    write_some(blk);
    add(blk_bs(blk), "new", 65536);
    fuzz_image_close(blk);
    blk = fuzz_image_open(true, 0);
    if (!blk) {
        /* Marked corrupt, as something lies where metadata is. */
        blk = fuzz_image_open(false, 0);
    }
    g_assert_nonnull(blk);
    use_bitmaps(blk_bs(blk));
    fuzz_image_close(blk);
    return 0;
}
