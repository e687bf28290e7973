/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration without a machine: the table of states, the checked reader, and the
 * framing of a stream, complete and cut at each byte.
 */
#include "qemu/osdep.h"

#include "block/driver.h"
#include "migration/migration-int.h"
#include "migration/section.h"
#include "migration/wire.h"

const BlockDriver *const bdrv_drivers[] = { NULL };

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration/states", test_states);
    g_test_add_func("/migration/refusals", test_refusals);
    g_test_add_func("/migration/reader", test_reader);
    g_test_add_func("/migration/reader-end", test_reader_end);
    g_test_add_func("/migration/framing", test_framing);
    g_test_add_func("/migration/damage", test_damage);
    return g_test_run();
}
