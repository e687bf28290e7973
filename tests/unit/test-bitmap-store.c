/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stores of bitmaps: a second one beside that of qcow2, which keeps bitmaps in
 * the test's memory for a raw disk; core and commands handle both in the same
 * way.
 */
#include "qemu/osdep.h"

#include "block/bitmap-store.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-transaction.h"
#include "test-qcow2.h"

#define SIZE (1 * MiB)
#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

extern const BlockDriver bdrv_raw;
extern const BlockDriver bdrv_null_co;

const BlockDriver *const bdrv_drivers[] = { &bdrv_raw, &bdrv_null_co, NULL };

/* --- a store in memory --- */

typedef struct Stored {
    char *name;
    HBitmap *bits; /* as of the last save, or NULL */
    uint64_t granularity;
    bool records;
    bool current;
} Stored;

typedef struct MemoryStore {
    BdrvBitmapStore store;
    BdrvBitmapStore *inner; /* of a wrapping one */
} MemoryStore;

static GPtrArray *medium; /* of Stored: what survives the node */
static int fail_begin, intents, freed;
static int intent_error;
static int64_t intent_end;

static void stored_free(void *opaque)
{
    Stored *s = opaque;

    hbitmap_free(s->bits);
    g_free(s->name);
    g_free(s);
}

static Stored *stored_find(const char *name)
{
    for (guint i = 0; i < medium->len; i++) {
        Stored *s = medium->pdata[i];

        if (!strcmp(s->name, name)) {
            return s;
        }
    }
    return NULL;
}

static bool memory_can_store(BdrvBitmapStore *store, const char *name,
                             uint64_t granularity, Error **errp)
{
    if (!strcmp(name, "unwanted")) {
        error_setg(errp, "'%s' is not wanted", name);
        return false;
    }
    return true;
}

static bool memory_load(BdrvBitmapStore *store, Error **errp)
{
    for (guint i = 0; i < medium->len; i++) {
        const Stored *s = medium->pdata[i];
        BdrvDirtyBitmap *b = bdrv_dirty_bitmap_new(store->bs, s->granularity,
                                                   s->name, errp);

        if (!b) {
            return false;
        }
        bdrv_dirty_bitmap_set_persistent(b, true);
        if (!s->current || hbitmap_size(s->bits) != bdrv_dirty_bitmap_size(b)) {
            bdrv_dirty_bitmap_set_inconsistent(
                b, BITMAP_INCONSISTENCY_CRASH);
        } else {
            bdrv_dirty_bitmap_merge_bits(b, s->bits);
            if (!s->records) {
                bdrv_dirty_bitmap_disable(b);
            }
        }
        if (store->bs->read_only) {
            bdrv_dirty_bitmap_set_readonly(b, true);
        }
    }
    return true;
}

static bool memory_begin(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap,
                         Error **errp)
{
    const char *name = bitmap ? bdrv_dirty_bitmap_name(bitmap) : NULL;

    if (fail_begin) {
        error_setg(errp, "told to fail");
        return false;
    }
    if (name && !stored_find(name)) {
        Stored *s = g_new0(Stored, 1);

        s->name = g_strdup(name);
        s->granularity = bdrv_dirty_bitmap_granularity(bitmap);
        g_ptr_array_add(medium, s);
    }
    for (guint i = 0; i < medium->len; i++) {
        Stored *s = medium->pdata[i];

        if (!name || !strcmp(s->name, name)) {
            s->current = false;
        }
    }
    return true;
}

static bool memory_save(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap,
                        Error **errp)
{
    BdrvDirtyBitmap *b = NULL;

    while ((b = bdrv_dirty_bitmap_next(store->bs, b))) {
        Stored *s;

        if ((bitmap && b != bitmap) || !bdrv_dirty_bitmap_to_store(b)) {
            continue;
        }
        s = stored_find(bdrv_dirty_bitmap_name(b));
        g_assert_nonnull(s); /* it began */
        hbitmap_free(s->bits);
        s->bits = hbitmap_copy(bdrv_dirty_bitmap_hbitmap(b));
        s->records = bdrv_dirty_bitmap_enabled(b);
        s->current = true;
    }
    return true;
}

static bool coroutine_fn memory_co_remove(BdrvBitmapStore *store,
                                          const char *name, Error **errp)
{
    Stored *s = stored_find(name);

    if (s) {
        g_ptr_array_remove(medium, s);
    }
    return true;
}

static bool coroutine_fn memory_co_resize(BdrvBitmapStore *store,
                                          int64_t bytes, Error **errp)
{
    error_setg(errp, "bitmaps of '%s' cannot follow", store->bs->node_name);
    return false;
}

static int coroutine_fn memory_co_write_intent(BdrvBitmapStore *store,
                                               int64_t offset, int64_t bytes)
{
    intents++;
    intent_end = offset + bytes;
    return intent_error;
}

static void memory_free(BdrvBitmapStore *store)
{
    freed++;
    g_free(store);
}

static const BdrvBitmapStoreOps memory_ops = {
    .can_store = memory_can_store,
    .load = memory_load,
    .begin = memory_begin,
    .save = memory_save,
    .co_remove = memory_co_remove,
    .co_resize = memory_co_resize,
    .free = memory_free,
};

/* --- one that wraps another --- */

static BdrvBitmapStore *inner_of(BdrvBitmapStore *store)
{
    return ((MemoryStore *)store)->inner;
}

static bool wrap_can_store(BdrvBitmapStore *store, const char *name,
                           uint64_t granularity, Error **errp)
{
    BdrvBitmapStore *inner = inner_of(store);

    return inner->ops->can_store(inner, name, granularity, errp);
}

static bool wrap_load(BdrvBitmapStore *store, Error **errp)
{
    return inner_of(store)->ops->load(inner_of(store), errp);
}

static bool wrap_begin(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap,
                       Error **errp)
{
    return inner_of(store)->ops->begin(inner_of(store), bitmap, errp);
}

static bool wrap_save(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap,
                      Error **errp)
{
    return inner_of(store)->ops->save(inner_of(store), bitmap, errp);
}

static bool coroutine_fn wrap_co_remove(BdrvBitmapStore *store,
                                        const char *name, Error **errp)
{
    return inner_of(store)->ops->co_remove(inner_of(store), name, errp);
}

static void wrap_free(BdrvBitmapStore *store)
{
    inner_of(store)->ops->free(inner_of(store));
    memory_free(store);
}

static const BdrvBitmapStoreOps wrap_ops = {
    .can_store = wrap_can_store,
    .load = wrap_load,
    .begin = wrap_begin,
    .save = wrap_save,
    .co_remove = wrap_co_remove,
    .co_write_intent = memory_co_write_intent,
    .free = wrap_free,
};

static void wrap(BlockDriverState *bs)
{
    MemoryStore *m = g_new0(MemoryStore, 1);

    m->store.ops = &wrap_ops;
    m->inner = bdrv_bitmap_store_attach(bs, &m->store);
    g_assert_nonnull(m->inner);
}

/* --- the disk --- */

static BlockDriverState *open_disk(bool read_only)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'raw', 'node-name': 'd', 'read-only': %s, 'file': "
        "{'driver': 'null-co', 'size': %d}}", read_only ? "true" : "false",
        (int)SIZE);
    BlockDriverState *bs = open_text(text, BDRV_O_RDWR, &error_abort);
    MemoryStore *m = g_new0(MemoryStore, 1);

    m->store.ops = &memory_ops;
    g_assert_null(bdrv_bitmap_store_attach(bs, &m->store));
    g_assert_true(bdrv_bitmap_store_load(bs, &error_abort));
    g_assert_true(read_only || bdrv_bitmap_store_begin(bs, NULL,
                                                       &error_abort));
    return bs;
}

static int try_write(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BlockBackend *blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL,
                                        &error_abort);
    g_autofree uint8_t *buf = g_malloc0(bytes);
    int ret = blk_pwrite(blk, offset, bytes, buf, 0);

    blk_unref(blk);
    return ret;
}

static void write_at(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    g_assert_cmpint(try_write(bs, offset, bytes), ==, 0);
}

static bool add(const char *name, bool disabled, Error **errp)
{
    BlockDirtyBitmapAdd arg = {
        .node = (char *)"d", .name = (char *)name,
        .has_granularity = true, .granularity = 4096,
        .has_persistent = true, .persistent = true,
        .has_disabled = true, .disabled = disabled,
    };

    return qmp_block_dirty_bitmap_add(&arg, errp);
}

static BdrvDirtyBitmap *find(BlockDriverState *bs, const char *name)
{
    BdrvDirtyBitmap *b = bdrv_dirty_bitmap_find(bs, name);

    g_assert_nonnull(b);
    return b;
}

/* The answer to a query: name, count, flags of each. */
static void told(BlockDriverState *bs, const char *expected)
{
    g_autoptr(BlockDirtyInfoList) list = bdrv_dirty_bitmap_query(bs);
    g_autoptr(GString) text = g_string_new(NULL);

    for (BlockDirtyInfoList *l = list; l; l = l->next) {
        g_string_append_printf(text, "%s%s %d%s%s%s", text->len ? ", " : "",
                               l->value->name, (int)l->value->count,
                               l->value->recording ? " rec" : "",
                               l->value->persistent ? " pers" : "",
                               l->value->inconsistent ? " bad" : "");
    }
    g_assert_cmpstr(text->str, ==, expected);
}

/* --- tests --- */

static void test_life(void)
{
    BlockDriverState *bs = open_disk(false);
    BlockDirtyBitmap b = { (char *)"d", (char *)"b" };
    int before = freed;

    g_assert_true(add("a", false, &error_abort));
    g_assert_true(add("b", true, &error_abort));
    g_assert_false(stored_find("a")->current); /* from the moment it records */
    write_at(bs, 8192, 4096);
    told(bs, "b 0 pers, a 4096 rec pers");
    bdrv_unref(bs);
    g_assert_cmpint(freed, ==, before + 1);
    g_assert_true(stored_find("a")->current && stored_find("b")->current);

    bs = open_disk(true);
    g_assert_true(bdrv_dirty_bitmap_readonly(find(bs, "a")));
    told(bs, "b 0 pers, a 4096 rec pers");
    bdrv_unref(bs);
    g_assert_true(stored_find("a")->current);

    bs = open_disk(false);
    g_assert_false(stored_find("a")->current);
    write_at(bs, 0, 1);
    told(bs, "b 0 pers, a 8192 rec pers");
    g_assert_true(qmp_block_dirty_bitmap_remove(&b, &error_abort));
    g_assert_null(stored_find("b"));
    bdrv_unref(bs);
    g_assert_cmpint(medium->len, ==, 1);
    g_assert_cmpint(hbitmap_count(stored_find("a")->bits), ==, 8192);
}

/* A bitmap that began and was not saved is inconsistent. */
static void test_crash(void)
{
    BlockDriverState *bs = open_disk(false);
    BlockDirtyBitmap a = { (char *)"d", (char *)"a" };

    add("a", false, &error_abort);
    bdrv_unref(bs);
    bs = open_disk(false);
    g_assert_false(stored_find("a")->current);
    bdrv_dirty_bitmap_release_all(bs); /* nothing is left to be saved */
    bdrv_unref(bs);
    bs = open_disk(false);
    told(bs, "a 0 pers bad");
    bdrv_unref(bs);
    bs = open_disk(false);
    told(bs, "a 0 pers bad");
    g_assert_true(qmp_block_dirty_bitmap_remove(&a, &error_abort));
    bdrv_unref(bs);
    g_assert_cmpint(medium->len, ==, 0);
}

static void test_refused(void)
{
    BlockDriverState *bs = open_disk(false), *other;
    BlockBackend *blk;
    g_autoptr(Error) err = NULL;

    g_assert_false(add("unwanted", false, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "'unwanted' is not wanted");
    g_clear_pointer(&err, error_free);
    fail_begin = 1;
    g_assert_false(add("a", false, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "told to fail");
    fail_begin = 0;
    told(bs, "");
    g_clear_pointer(&err, error_free);
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(blk_truncate(blk, SIZE / 2, true, PREALLOC_MODE_OFF, 0,
                                 &err), ==, -ENOTSUP);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "bitmaps of 'd' cannot follow");
    g_assert_cmpint(bdrv_getlength(bs), ==, SIZE);
    blk_unref(blk);
    bdrv_unref(bs);

    other = open_text("{'driver': 'null-co', 'node-name': 'd'}", BDRV_O_RDWR,
                      &error_abort);
    g_clear_pointer(&err, error_free);
    g_assert_false(add("a", false, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Can't store persistent "
                    "bitmaps to d: Operation not supported");
    bdrv_unref(other);
}

/* A transaction that fails leaves no trace in the store. */
static void test_abort(void)
{
    BlockDriverState *bs = open_disk(false);
    g_autoptr(Error) err = NULL;
    BlockDirtyBitmapAdd arg = {
        .node = (char *)"d", .name = (char *)"a", .has_persistent = true,
        .persistent = true,
    };
    TransactionAction add_it = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD,
        .u.block_dirty_bitmap_add.data = &arg,
    };
    Abort nothing = { 0 };
    TransactionAction fail = {
        .type = TRANSACTION_ACTION_KIND_ABORT, .u.abort.data = &nothing,
    };
    TransactionActionList second = { .value = &fail };
    TransactionActionList first = { .value = &add_it, .next = &second };

    g_assert_false(qmp_transaction(&(TransactionArg){ .actions = &first },
                                   &err));
    told(bs, "");
    g_assert_cmpint(medium->len, ==, 0);
    bdrv_unref(bs);
}

/* Read-only and back; where it cannot begin again, nothing may be written. */
static void test_reopen(void)
{
    BlockDriverState *bs = open_disk(false);

    add("a", false, &error_abort);
    write_at(bs, 0, 4096);
    g_assert_true(bdrv_reopen_set_read_only(bs, true, &error_abort));
    g_assert_true(stored_find("a")->current);
    g_assert_true(bdrv_dirty_bitmap_readonly(find(bs, "a")));
    g_assert_true(bdrv_reopen_set_read_only(bs, false, &error_abort));
    g_assert_false(stored_find("a")->current);
    g_assert_false(bdrv_dirty_bitmap_readonly(find(bs, "a")));

    bdrv_dirty_bitmap_set_busy(find(bs, "a"), true);
    g_assert_false(bdrv_reopen_set_read_only(bs, true, NULL));
    bdrv_dirty_bitmap_set_busy(find(bs, "a"), false);
    g_assert_false(stored_find("a")->current);

    g_assert_true(bdrv_reopen_set_read_only(bs, true, &error_abort));
    fail_begin = 1;
    g_assert_true(bdrv_reopen_set_read_only(bs, false, &error_abort));
    g_assert_true(stored_find("a")->current);
    g_assert_cmpint(try_write(bs, 8192, 4096), ==, -EIO);
    g_assert_cmpint(try_write(bs, 8192, 4096), ==, -EIO);
    told(bs, "a 4096 rec pers");
    fail_begin = 0;
    write_at(bs, 8192, 4096);
    g_assert_false(stored_find("a")->current);
    bdrv_unref(bs);
    g_assert_true(stored_find("a")->current);
    g_assert_cmpint(hbitmap_count(stored_find("a")->bits), ==, 8192);
}

/* One bitmap alone, and the intent of writing, by a store around another. */
static void test_wrapped(void)
{
    BlockDriverState *bs = open_disk(false);
    int before = freed;

    wrap(bs);
    add("a", false, &error_abort);
    add("b", true, &error_abort);
    write_at(bs, 4096, 512);
    g_assert_cmpint(intents, ==, 1);
    g_assert_cmpint(intent_end, ==, 4096 + 512);
    intent_error = -ENOSPC;
    g_assert_cmpint(try_write(bs, 65536, 512), ==, -ENOSPC);
    intent_error = 0;
    g_assert_true(bdrv_bitmap_store_save(bs, find(bs, "b"), true,
                                         &error_abort));
    g_assert_true(stored_find("b")->current && !stored_find("a")->current);
    told(bs, "a 4096 rec pers"); /* the write that failed marks nothing */
    bdrv_unref(bs);
    g_assert_true(stored_find("a")->current);
    g_assert_cmpint(freed, ==, before + 2);
}

static void run(const void *test)
{
    medium = g_ptr_array_new_with_free_func(stored_free);
    ((void (*)(void))test)();
    g_ptr_array_unref(medium);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_data_func("/bitmap-store/life", test_life, run);
    g_test_add_data_func("/bitmap-store/crash", test_crash, run);
    g_test_add_data_func("/bitmap-store/refused", test_refused, run);
    g_test_add_data_func("/bitmap-store/abort", test_abort, run);
    g_test_add_data_func("/bitmap-store/reopen", test_reopen, run);
    g_test_add_data_func("/bitmap-store/wrapped", test_wrapped, run);
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
