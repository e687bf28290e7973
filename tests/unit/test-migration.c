/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration without a machine: the table of states, the checked reader, the
 * framing of a stream, complete and cut at each byte, and what a stream says of
 * its bitmaps at the end.
 */
#include "qemu/osdep.h"

#include "block/bitmap-store.h"
#include "block/dirty-bitmap.h"
#include "block/driver.h"
#include "block/graph.h"
#include "migration/migration-int.h"
#include "migration/section.h"
#include "migration/wire.h"
#include "qapi/qapi-commands-system.h"

/* --- a driver that is only a size --- */

static int size_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    return 0;
}

static int64_t size_getlength(BlockDriverState *bs)
{
    return MiB;
}

static const BlockDriver size_driver = {
    .format_name = "null-co",
    .open = size_open,
    .getlength = size_getlength,
};

const BlockDriver *const bdrv_drivers[] = { &size_driver, NULL };

/* --- states --- */

/* No way leads out of a state that has ended, except a new beginning. */
static void test_states(void)
{
    for (int from = 0; from < MIGRATION_STATUS__MAX; from++) {
        MigState state = { .status = from };
        bool rest = mig_state_allows(&state, MIG_OP_START);
        int ways = 0;

        for (int to = 0; to < MIGRATION_STATUS__MAX; to++) {
            bool can = mig_status_follows(from, to);

            ways += can;
            g_assert_true(!can || !rest || to == MIGRATION_STATUS_SETUP);
            g_assert_true(!can || to != MIGRATION_STATUS_NONE);
        }
        g_assert_true(!rest || ways == 1);
        /* What can be cancelled can also fail. */
        g_assert_true(!mig_state_allows(&state, MIG_OP_CANCEL) ||
                      (mig_status_follows(from, MIGRATION_STATUS_CANCELLING) &&
                       mig_status_follows(from, MIGRATION_STATUS_FAILED)));
        /* The machine is stopped for a migration, or runs. */
        g_assert_true(!rest || mig_state_allows(&state, MIG_OP_RUN));
    }
}

static void test_refusals(void)
{
    for (int op = 0; op < MIG_OP__MAX; op++) {
        for (int s = 0; s < MIGRATION_STATUS__MAX; s++) {
            MigState state = { .status = s };
            Error *err = NULL;
            bool ok = mig_state_check(&state, op, &err);

            g_assert_true(ok == mig_state_allows(&state, op));
            g_assert_true(ok == !err);
            error_free(err);
        }
    }
}

/* --- reading; from memory nothing yields --- */

static void test_reader(void)
{
    static const uint8_t raw[] = { 1, 0, 2, 0, 0, 0, 3, 3, 'a', 'b', 'c',
                                   2, 0xff, 0xfe };
    g_autoptr(MigReader) r = mig_reader_new_memory(raw, sizeof(raw));
    Error *err = NULL;
    char name[256];

    g_assert_cmpint(mig_get_8(r), ==, 1);
    g_assert_cmpint(mig_get_16(r), ==, 2);
    g_assert_cmpint(mig_get_32(r), ==, 3);
    mig_get_name(r, name);
    g_assert_cmpstr(name, ==, "abc");
    g_assert_true(mig_reader_ok(r));
    g_assert_false(mig_at_end(r));
    mig_get_name(r, name); /* no UTF-8 */
    g_assert_false(mig_reader_ok(r));
    g_assert_cmpint(mig_get_64(r), ==, 0);
    g_assert_false(mig_reader_check(r, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "UTF-8"));
    error_free(err);
}

static void test_reader_end(void)
{
    static const uint8_t raw[] = { 0xff, 0xff, 0xff };
    g_autoptr(MigReader) r = mig_reader_new_memory(raw, sizeof(raw));
    Error *err = NULL;

    g_assert_cmpint(mig_get_32(r), ==, 0xffffff00);
    g_assert_false(mig_reader_check(r, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "ends after 3 bytes"));
    error_free(err);
}

/* --- framing --- */

static bool coroutine_fn no_command(void *opaque, uint16_t command,
                                    const uint8_t *data, uint16_t len,
                                    Error **errp)
{
    int *count = opaque;

    g_assert_cmpint(command, ==, WIRE_CMD_PING);
    g_assert_cmpint(len, ==, 4);
    *count += ld32_be(data);
    return true;
}

typedef struct Loaded {
    bool ok;
    int commands;
    MigLoader loader;
} Loaded;

static Loaded load(const uint8_t *data, size_t len, const char *type)
{
    g_autoptr(MigReader) r = mig_reader_new_memory(data, len);
    Loaded l = { .loader = { .machine_type = type, .command = no_command } };
    Error *err = NULL;

    l.loader.bitmaps = mig_bitmap_load_new();
    l.loader.opaque = &l.commands;
    l.ok = mig_load_stream(&l.loader, r, &err);
    g_assert_true(l.ok == !err);
    error_free(err);
    mig_bitmap_load_free(l.loader.bitmaps);
    g_hash_table_unref(l.loader.sections);
    return l;
}

static GByteArray *make_stream(size_t *end)
{
    GByteArray *out = g_byte_array_new();
    uint8_t value[4];

    mig_put_header(out, "none");
    st32_be(value, 5);
    mig_put_command(out, WIRE_CMD_PING, value, sizeof(value));
    mig_put_section(out, WIRE_SECTION_START, 9, WIRE_BITMAP_SECTION,
                    WIRE_BITMAP_VERSION);
    mig_put_8(out, WIRE_BM_EOS);
    mig_put_footer(out, 9);
    mig_put_more(out, WIRE_SECTION_END, 9);
    mig_put_8(out, WIRE_BM_EOS);
    mig_put_footer(out, 9);
    mig_put_machine(out, 10, 123456789, RUN_STATE_PAUSED);
    *end = out->len + 1;
    mig_put_end(out);
    mig_put_description(out, "[]");
    return out;
}

static void test_framing(void)
{
    size_t end;
    g_autoptr(GByteArray) data = make_stream(&end);
    Loaded l = load(data->data, data->len, "none");

    g_assert_true(l.ok);
    g_assert_cmpint(l.commands, ==, 5);
    g_assert_true(l.loader.has_clock && l.loader.has_status);
    g_assert_cmpint(l.loader.clock_ns, ==, 123456789);
    g_assert_cmpint(l.loader.status, ==, RUN_STATE_PAUSED);
    g_assert_false(load(data->data, data->len, "other").ok);
    for (size_t n = 0; n < data->len; n++) {
        g_assert_true(load(data->data, n, "none").ok == (n >= end));
    }
}

/* No byte of it can be changed so that a check is passed by. */
static void test_damage(void)
{
    size_t end;
    g_autoptr(GByteArray) data = make_stream(&end);
    g_autoptr(GByteArray) copy = g_byte_array_new();

    for (size_t n = 0; n < 8; n++) {
        g_byte_array_set_size(copy, 0);
        g_byte_array_append(copy, data->data, data->len);
        copy->data[n] ^= 0x40;
        g_assert_false(load(copy->data, copy->len, "none").ok);
    }
}

/* --- what is said of bitmaps at the end --- */

typedef struct Announced {
    MigBitmapLoad *load;
    const char *name;
} Announced;

/* A persistent bitmap of node "n" is announced, and nothing more. */
static void coroutine_fn announce(void *opaque)
{
    const Announced *a = opaque;
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(MigReader) r = NULL;

    mig_put_8(out, WIRE_BM_START | WIRE_BM_NODE | WIRE_BM_BITMAP);
    mig_put_name(out, "n");
    mig_put_name(out, a->name);
    mig_put_32(out, 64 * KiB);
    mig_put_8(out, WIRE_BITMAP_PERSISTENT);
    mig_put_8(out, WIRE_BM_EOS);
    r = mig_reader_new_memory(out->data, out->len);
    g_assert_true(mig_bitmap_load_section(a->load, r, &error_abort));
}

static void describe(MigBitmapLoad *l, const char *list)
{
    g_autofree char *text = g_strdup_printf("{\"bitmap-safety\": %s}", list);

    mig_bitmap_load_describe(l, (const uint8_t *)text, strlen(text));
}

#define ENTRY(name, more) "{\"node\": \"n\", \"name\": \"" name "\"" more "}"
#define SAFE(name, safety) ENTRY(name, ", \"safety\": \"" safety "\"")

/* The name at the destination; the node has no place to store a bitmap. */
static void set_mapping(const char *alias, const char *name)
{
    BitmapMigrationBitmapAliasTransform transient = { .has_persistent = true };
    BitmapMigrationBitmapAlias bitmap = {
        .name = (char *)name, .alias = (char *)alias, .transform = &transient,
    };
    BitmapMigrationBitmapAliasList bitmaps = { .value = &bitmap };
    BitmapMigrationNodeAlias node = {
        .node_name = (char *)"n", .alias = (char *)"n", .bitmaps = &bitmaps,
    };
    BitmapMigrationNodeAliasList nodes = { .value = &node };
    MigrateSetParameters p = {
        .has_block_bitmap_mapping = true,
        .block_bitmap_mapping = &nodes,
    };

    g_assert_true(qmp_migrate_set_parameters(&p, &error_abort));
}

/* A level only rises; what is not understood, or not known, is passed over. */
static void check_levels(MigBitmapLoad *l, const BdrvDirtyBitmap *bitmap)
{
    static const char *const ignored[] = {
        "[]", "{}", "1", "[1, null, [], \"b\"]", "[" SAFE("c", "power") "]",
        "[" SAFE("b", "nosuch") "]", "[" ENTRY("b", "") "]",
        "[" ENTRY("b", ", \"safety\": 3") "]",
        "[{\"node\": \"n\", \"safety\": \"power\"}]",
        "[{\"node\": \"m\", \"name\": \"b\", \"safety\": \"power\"}]",
        "[{\"node\": 1, \"name\": \"b\", \"safety\": \"power\"}]",
        "[" SAFE("b", "power"), /* cut off */
    };

    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
        describe(l, ignored[i]);
        g_assert_cmpint(bdrv_dirty_bitmap_safety(bitmap), ==,
                        BITMAP_SAFETY_CLOSE);
    }
    describe(l, "[1, " SAFE("c", "power") ", " SAFE("b", "process") "]");
    g_assert_cmpint(bdrv_dirty_bitmap_safety(bitmap), ==,
                    BITMAP_SAFETY_PROCESS);
    describe(l, "[" SAFE("b", "close") "]");
    g_assert_cmpint(bdrv_dirty_bitmap_safety(bitmap), ==,
                    BITMAP_SAFETY_PROCESS);
    describe(l, "[" SAFE("b", "close") ", " SAFE("b", "power") "]");
    g_assert_cmpint(bdrv_dirty_bitmap_safety(bitmap), ==, BITMAP_SAFETY_POWER);
}

/* What the image has under the name of one that was sent under another one is
 * not replaced. */
static void check_stored(MigBitmapLoad *l, BdrvDirtyBitmap *same,
                         BdrvDirtyBitmap *renamed)
{
    describe(l, "[" ENTRY("b", ", \"stored\": \"b\"") ", "
             ENTRY("a", ", \"stored\": \"other\"") ", "
             ENTRY("a", ", \"stored\": 1") "]");
    g_assert_true(bdrv_dirty_bitmap_replaces_stored(same));
    g_assert_true(bdrv_dirty_bitmap_replaces_stored(renamed));
    describe(l, "[" ENTRY("a", ", \"stored\": \"a\"") "]");
    g_assert_true(bdrv_dirty_bitmap_replaces_stored(same));
    g_assert_false(bdrv_dirty_bitmap_replaces_stored(renamed));
}

static void test_describe(void)
{
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_NULL_CO, .node_name = (char *)"n",
    };
    BlockDriverState *bs = bdrv_open(&options, 0, &error_abort);
    MigBitmapLoad *l = mig_bitmap_load_new();
    MigrateSetParameters none = { .has_block_bitmap_mapping = true };
    Announced a = { l, "b" };
    BdrvDirtyBitmap *same, *renamed;

    bdrv_bitmap_set_default_safety(BITMAP_SAFETY_CLOSE);
    set_mapping("b", "b");
    aio_run_co(aio_main_context(), announce, &a);
    a.name = "a";
    set_mapping("a", "d");
    aio_run_co(aio_main_context(), announce, &a);
    same = bdrv_dirty_bitmap_find(bs, "b");
    renamed = bdrv_dirty_bitmap_find(bs, "d");
    g_assert_true(same && renamed);
    check_levels(l, same);
    g_assert_cmpint(bdrv_dirty_bitmap_safety(renamed), ==,
                    BITMAP_SAFETY_CLOSE);
    check_stored(l, same, renamed);
    g_assert_true(qmp_migrate_set_parameters(&none, &error_abort));
    mig_bitmap_load_free(l);
    bdrv_unref(bs);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/migration/describe", test_describe);
    g_test_add_func("/migration/states", test_states);
    g_test_add_func("/migration/refusals", test_refusals);
    g_test_add_func("/migration/reader", test_reader);
    g_test_add_func("/migration/reader-end", test_reader_end);
    g_test_add_func("/migration/framing", test_framing);
    g_test_add_func("/migration/damage", test_damage);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
