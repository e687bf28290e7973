/* SPDX-License-Identifier: GPL-2.0-or-later */
/* quorum: votes, thresholds, rewrites, children that come and go. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/dirty-bitmap.h"
#include "memory-driver.h"

extern const BlockDriver bdrv_quorum, bdrv_copy_on_read;

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_memory, &bdrv_quorum, &bdrv_copy_on_read, NULL,
};

#define MAX_CHILDREN 5

/* --- events, as text --- */

static GString *events;

static void on_failure(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    g_string_append_printf(events, "[%s fails %" PRId64 "+%" PRId64 "]",
                           bs->node_name, offset, bytes);
}

static void on_bad(QuorumOpType type, BlockDriverState *bs, int error,
                   int64_t offset, int64_t bytes)
{
    g_string_append_printf(events, "[%s %s %d %" PRId64 "+%" PRId64 "]",
                           bs->node_name, QuorumOpType_str(type), error,
                           offset, bytes);
}

static void assert_events(const char *text)
{
    g_assert_cmpstr(events->str, ==, text);
    g_string_truncate(events, 0);
}

/* --- a quorum over disks in memory --- */

static BlockDriverState *open_json(const char *json, Error **errp)
{
    struct json_object *obj = json_tokener_parse(json);
    BlockDriverState *bs;

    g_assert_nonnull(obj);
    bs = bdrv_open_json(obj, false, BDRV_O_RDWR | BDRV_O_UNMAP, errp);
    json_object_put(obj);
    return bs;
}

static BlockDriverState *open_quorum(unsigned n, int threshold,
                                     const char *extra, Error **errp)
{
    g_autoptr(GString) json = g_string_new("{\"driver\": \"quorum\","
                                           " \"node-name\": \"q\","
                                           " \"children\": [");

    for (unsigned i = 0; i < n; i++) {
        g_string_append_printf(json, "%s\"c%u\"", i ? ", " : "", i);
    }
    g_string_append_printf(json, "], \"vote-threshold\": %d%s}", threshold,
                           extra);
    return open_json(json->str, errp);
}

typedef struct Fixture {
    unsigned n;
    BlockDriverState *q, *c[MAX_CHILDREN];
    MemoryDisk *d[MAX_CHILDREN];
    BlockBackend *blk;
    uint8_t *buf; /* MEMORY_BYTES */
} Fixture;

static void fixture_nodes(Fixture *f, unsigned n)
{
    *f = (Fixture) { .n = n, .buf = g_malloc(MEMORY_BYTES) };
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("c%u", i);

        f->c[i] = memory_node(name);
        f->d[i] = memory_disk(f->c[i]);
        f->d[i]->error = EIO;
    }
    g_string_truncate(events, 0);
}

static void fixture_init(Fixture *f, unsigned n, int threshold,
                         const char *extra)
{
    fixture_nodes(f, n);
    f->q = open_quorum(n, threshold, extra, &error_abort);
    f->blk = blk_new_with_bs(f->q, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                             BLK_PERM_ALL, &error_abort);
}

static void fixture_free(Fixture *f)
{
    blk_unref(f->blk);
    bdrv_unref(f->q);
    for (unsigned i = 0; i < f->n; i++) {
        bdrv_unref(f->c[i]);
    }
    g_free(f->buf);
}

static int rd(Fixture *f, int64_t offset, int64_t bytes)
{
    return blk_pread(f->blk, offset, bytes, f->buf, 0);
}

static int wr(Fixture *f, int64_t offset, int64_t bytes, uint8_t byte)
{
    memset(f->buf, byte, bytes);
    return blk_pwrite(f->blk, offset, bytes, f->buf, 0);
}

static void assert_read(Fixture *f, int64_t offset, int64_t bytes,
                        uint8_t byte)
{
    g_assert_cmpint(rd(f, offset, bytes), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmpint(f->buf[i], ==, byte);
    }
}

/* --- options --- */

static void test_options(void)
{
    static const struct {
        unsigned n;
        int threshold;
        const char *extra, *error;
    } bad[] = {
        { 0, 1, "", "Number of provided children must be 1 or more" },
        { 2, 0, "", "Parameter 'vote-threshold' expects a value >= 1" },
        { 2, -1, "", "Parameter 'vote-threshold' expects a value >= 1" },
        { 2, 3, "", "threshold may not exceed children count" },
        { 3, 2, ", \"blkverify\": true", "blkverify=on can only be set if "
          "there are exactly two files and vote-threshold is 2" },
        { 2, 1, ", \"blkverify\": true", "blkverify=on can only be set if "
          "there are exactly two files and vote-threshold is 2" },
        { 2, 2, ", \"blkverify\": true, \"rewrite-corrupted\": true",
          "rewrite-corrupted=on cannot be used with blkverify=on" },
        { 2, 2, ", \"read-only\": true, \"rewrite-corrupted\": true",
          "rewrite-corrupted=on cannot be used with read-only=on" },
        { 4, 2, "", "Cannot find device='c3' nor node-name='c3'" },
    };
    Fixture f;
    Error *err = NULL;

    fixture_nodes(&f, 3);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_null(open_quorum(bad[i].n, bad[i].threshold, bad[i].extra,
                                  &err));
        g_assert_cmpstr(error_get_pretty(err), ==, bad[i].error);
        g_clear_pointer(&err, error_free);
    }
    g_assert_null(open_json("{\"driver\": \"quorum\", \"vote-threshold\": 1,"
                            " \"children\": [\"c0\", \"c0\"]}", &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Node 'c0' cannot be a child of a quorum twice");
    error_free(err);
    fixture_free(&f);
}

static void test_filename(void)
{
    Fixture f;
    BlockDriverState *bs;

    fixture_init(&f, 2, 1, ", \"read-pattern\": \"fifo\"");
    g_assert_cmpstr(f.q->filename, ==,
                    "json:{\"children\": [{\"driver\": \"null-co\"}, "
                    "{\"driver\": \"null-co\"}], \"driver\": \"quorum\", "
                    "\"read-pattern\": \"fifo\", \"vote-threshold\": 1}");
    bs = bdrv_open_file(f.q->filename, NULL, 0, &error_abort);
    g_assert_cmpstr(bs->filename, ==, f.q->filename);
    bdrv_unref(bs);
    fixture_free(&f);
}

/* --- votes --- */

static void test_vote(void)
{
    Fixture f;

    fixture_init(&f, 3, 2, "");
    g_assert_cmpint(wr(&f, 0, 2 * MiB, 1), ==, 0);
    f.d[0]->data[5000] = 9;
    assert_read(&f, 4096, 4096, 1);
    assert_events("[c0 read 0 4096+4096]");
    g_assert_cmpint(f.d[0]->data[5000], ==, 9);
    f.d[2]->data[5000] = 8;
    g_assert_cmpint(rd(&f, 4096, 4096), ==, -EIO);
    assert_events("[q fails 4096+4096]");
    assert_read(&f, 5001, 100, 1);
    assert_events("");
    f.d[2]->data[5000] = 9; /* now these two are right */
    g_assert_cmpint(rd(&f, 5000, 1), ==, 0);
    g_assert_cmpint(f.buf[0], ==, 9);
    assert_events("[c1 read 0 5000+1]");
    /* Long reads are voted on in pieces. */
    f.d[0]->data[5000] = f.d[2]->data[5000] = 1;
    f.d[0]->data[0] = 7;
    f.d[1]->data[3 * MiB / 2] = 7;
    assert_read(&f, 0, 2 * MiB, 1);
    assert_events("[c0 read 0 0+1048576][c1 read 0 1048576+1048576]");
    fixture_free(&f);
}

/* Without a majority the oldest child decides among equals. */
static void test_tie(void)
{
    Fixture f;

    fixture_init(&f, 4, 2, "");
    f.d[0]->data[0] = f.d[2]->data[0] = 5;
    g_assert_cmpint(rd(&f, 0, 1), ==, 0);
    g_assert_cmpint(f.buf[0], ==, 5);
    assert_events("[c1 read 0 0+1][c3 read 0 0+1]");
    fixture_free(&f);
}

/* Its data is there as long as enough children have it. */
static void test_forgotten(void)
{
    Fixture f;
    BlockDriverState *bs;
    BdrvChild *child = NULL;

    fixture_init(&f, 3, 2, "");
    bs = blk_bs(f.blk);
    for (int i = 0; i < 3; i++) {
        child = bdrv_next_child(bs, child);
        g_assert_cmpint(bdrv_forgotten_writes(bs), ==, i > 1);
        bdrv_note_forgotten_writes(child->bs);
        g_assert_cmpint(bdrv_lost_writes(bs), ==, bdrv_forgotten_writes(bs));
    }
    fixture_free(&f);
}

static void test_errors(void)
{
    Fixture f;

    fixture_init(&f, 3, 2, "");
    f.d[1]->fail_read = f.d[1]->fail_write = 1;
    f.d[1]->fail_flush = 1;
    f.d[1]->error = ENOSPC;
    f.d[1]->fail_on = true;
    g_assert_cmpint(wr(&f, 0, 4096, 1), ==, 0);
    assert_events("[c1 write 28 0+4096]");
    g_assert_cmpint(blk_pwrite_zeroes(f.blk, 8192, 4096, 0), ==, 0);
    assert_events("[c1 write 28 8192+4096]");
    g_assert_cmpint(blk_flush(f.blk), ==, 0);
    assert_events("[c1 flush 5 0+0]");
    g_assert_cmpint(bdrv_lost_writes(blk_bs(f.blk)), ==, 0);
    assert_read(&f, 0, 4096, 1);
    assert_events("[c1 read 28 0+4096]");

    f.d[2]->fail_read = f.d[2]->fail_write = f.d[2]->fail_flush = 1;
    g_assert_cmpint(wr(&f, 0, 4096, 1), ==, -ENOSPC); /* the first of both */
    assert_events("[c1 write 28 0+4096][c2 write 5 0+4096][q fails 0+4096]");
    g_assert_cmpint(rd(&f, 0, 4096), ==, -ENOSPC);
    assert_events("[c1 read 28 0+4096][c2 read 5 0+4096][q fails 0+4096]");
    f.d[0]->fail_write = f.d[2]->fail_write = 1;
    g_assert_cmpint(wr(&f, 0, 4096, 1), ==, -EIO); /* what most of them say */
    g_string_truncate(events, 0);
    f.d[1]->fail_flush = 1;
    g_assert_cmpint(blk_flush(f.blk), ==, -EIO);
    assert_events("[c1 flush 5 0+0][c2 flush 5 0+0]");
    g_assert_cmpint(bdrv_lost_writes(blk_bs(f.blk)), ==, 1);
    f.d[1]->fail_on = false;
    f.d[1]->fail_read = f.d[1]->fail_write = 0;
    g_assert_cmpint(blk_flush(f.blk), ==, 0);
    fixture_free(&f);
}

static void test_fifo(void)
{
    Fixture f;

    fixture_init(&f, 3, 2, ", \"read-pattern\": \"fifo\"");
    g_assert_cmpint(wr(&f, 0, 4096, 1), ==, 0);
    memset(f.d[0]->data, 2, 4096);
    assert_read(&f, 0, 4096, 2);
    assert_events("");
    g_assert_cmpint(f.d[1]->reads + f.d[2]->reads, ==, 0);
    f.d[0]->bad[0] = true;
    assert_read(&f, 0, 4096, 1);
    assert_events("[c0 read 5 0+4096]");
    g_assert_cmpint(f.d[2]->reads, ==, 0);
    f.d[1]->bad[0] = f.d[2]->bad[0] = true;
    g_assert_cmpint(rd(&f, 0, 1), ==, -EIO);
    assert_events("[c0 read 5 0+1][c1 read 5 0+1][c2 read 5 0+1]");
    fixture_free(&f);
}

static void test_status(void)
{
    Fixture f;
    int64_t n;

    fixture_init(&f, 3, 2, "");
    for (int i = 0; i < 3; i++) {
        f.d[i]->tells_zeroes = true;
    }
    f.d[2]->data[2 * MEMORY_UNIT] = 1;
    g_assert_cmpint(bdrv_block_status(f.q, 0, MEMORY_BYTES, &n, NULL, NULL),
                    ==, BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED);
    g_assert_cmpint(n, ==, 2 * MEMORY_UNIT);
    g_assert_cmpint(bdrv_block_status(f.q, n, MEMORY_BYTES - n, &n, NULL,
                                      NULL),
                    ==, BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED);
    g_assert_cmpint(n, ==, MEMORY_UNIT);
    g_assert_cmpint(bdrv_is_allocated(f.q, 0, MEMORY_BYTES, &n), ==, 1);
    g_assert_cmpint(n, ==, MEMORY_BYTES);
    fixture_free(&f);
}

/* --- rewrites --- */

static BdrvDirtyBitmap *add_bitmap(BlockDriverState *bs)
{
    return bdrv_dirty_bitmap_new(bs, MEMORY_UNIT, "b", &error_abort);
}

static void test_rewrite(void)
{
    Fixture f;
    BdrvDirtyBitmap *top, *good, *bad;

    fixture_init(&f, 3, 2, ", \"rewrite-corrupted\": true");
    g_assert_cmpint(wr(&f, 0, MEMORY_BYTES, 1), ==, 0);
    top = add_bitmap(f.q);
    good = add_bitmap(f.c[0]);
    bad = add_bitmap(f.c[1]);
    memset(f.d[1]->data, 7, 2 * MEMORY_UNIT);
    assert_read(&f, 0, MEMORY_UNIT, 1);
    assert_events("[c1 read 0 0+4096]");
    g_assert_cmpint(f.d[1]->data[0], ==, 1);
    g_assert_cmpint(f.d[1]->data[MEMORY_UNIT], ==, 7); /* was not read */
    g_assert_cmpint(bdrv_dirty_bitmap_count(top), ==, 0);
    g_assert_cmpint(bdrv_dirty_bitmap_count(good), ==, 0);
    g_assert_cmpint(bdrv_dirty_bitmap_count(bad), ==, MEMORY_UNIT);
    g_assert_cmpint(wr(&f, 5 * MEMORY_UNIT, 1, 2), ==, 0);
    g_assert_cmpint(bdrv_dirty_bitmap_count(top), ==, MEMORY_UNIT);
    g_assert_cmpint(bdrv_dirty_bitmap_count(good), ==, MEMORY_UNIT);
    g_assert_cmpint(bdrv_dirty_bitmap_count(bad), ==, 2 * MEMORY_UNIT);
    /* A child that fails is not written; nor does a failed rewrite matter. */
    f.d[0]->bad[1] = true;
    g_assert_cmpint(rd(&f, MEMORY_UNIT, 1), ==, -EIO); /* 7 and 1 */
    assert_events("[c0 read 5 4096+1][q fails 4096+1]");
    f.d[0]->bad[1] = false;
    f.d[1]->fail_write = 1;
    assert_read(&f, MEMORY_UNIT, 1, 1);
    assert_events("[c1 read 0 4096+1][c1 write 5 4096+1]");
    assert_read(&f, MEMORY_UNIT, MEMORY_UNIT, 1);
    g_string_truncate(events, 0);
    assert_read(&f, MEMORY_UNIT, MEMORY_UNIT, 1);
    assert_events("");
    fixture_free(&f);
}

/* --- requests that overlap --- */

/* How often each request lets others go first, by chance. */
static void coroutine_fn dawdle(int64_t offset, int64_t bytes)
{
    for (int n = g_test_rand_int_range(0, 4); n > 0; n--) {
        co_yield_to_loop();
    }
}

typedef struct Load {
    Fixture *f;
    int *running;
    uint8_t byte;
} Load;

#define LOAD_BYTES (16 * KiB)

static void coroutine_fn load_entry(void *opaque)
{
    Load *l = opaque;
    g_autofree uint8_t *buf = g_malloc(LOAD_BYTES);

    for (int i = 0; i < 60; i++) {
        int64_t offset = g_test_rand_int_range(0, LOAD_BYTES);
        int64_t bytes = g_test_rand_int_range(1, LOAD_BYTES - offset + 1);
        int ret;

        switch (g_test_rand_int_range(0, 4)) {
        case 0:
            ret = blk_co_pwrite_zeroes(l->f->blk, offset, bytes, 0);
            break;
        case 1:
            ret = blk_co_pread(l->f->blk, offset, bytes, buf, 0);
            break;
        default:
            memset(buf, l->byte + i, bytes);
            ret = blk_co_pwrite(l->f->blk, offset, bytes, buf, 0);
        }
        g_assert_cmpint(ret, ==, 0);
    }
    --*l->running;
}

/* @damage: a child that is damaged all the time; -1: none. */
static void run_load(Fixture *f, int damage)
{
    Load loads[6];
    int running = ARRAY_SIZE(loads);

    for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
        loads[i] = (Load) { f, &running, .byte = i * 40 };
        coroutine_enter(coroutine_create(load_entry, &loads[i]));
    }
    while (running > 0) {
        aio_poll(aio_main_context(), true);
        if (damage >= 0) {
            f->d[damage]->data[g_test_rand_int_range(0, LOAD_BYTES)] ^= 1;
        }
    }
}

/* Two children, both must agree: any other order in one of them is an error. */
static void test_order(void)
{
    Fixture f;

    fixture_init(&f, 2, 2, "");
    f.d[0]->on_write = f.d[1]->on_write = f.d[1]->on_read = dawdle;
    run_load(&f, -1);
    assert_events("");
    g_assert_false(memcmp(f.d[0]->data, f.d[1]->data, MEMORY_BYTES));
    fixture_free(&f);
}

/* What is written meanwhile is not overwritten by an old winner. */
static void test_rewrite_order(void)
{
    Fixture f;

    fixture_init(&f, 3, 2, ", \"rewrite-corrupted\": true");
    for (int i = 0; i < 3; i++) {
        f.d[i]->on_write = f.d[i]->on_read = dawdle;
    }
    run_load(&f, 1);
    g_assert_cmpint(rd(&f, 0, LOAD_BYTES), ==, 0);
    for (int i = 0; i < 3; i++) {
        g_assert_false(memcmp(f.d[0]->data, f.d[i]->data, MEMORY_BYTES));
    }
    fixture_free(&f);
}

/* --- children --- */

static void assert_children(BlockDriverState *q, const char *text)
{
    g_autoptr(GString) out = g_string_new(NULL);
    BdrvChild *c = NULL;

    while ((c = bdrv_next_child(q, c))) {
        g_autofree char *one = g_strdup_printf(
            "%s=%s ", c->name + strlen("children."), c->bs->node_name);

        g_string_prepend(out, one);
    }
    g_assert_cmpstr(out->str, ==, text);
}

static void assert_no_add(Fixture *f, BlockDriverState *parent,
                          BlockDriverState *bs, const char *text)
{
    Error *err = NULL;

    g_assert_false(bdrv_add_child(parent, bs, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static void assert_no_del(Fixture *f, BlockDriverState *parent,
                          const char *name, const char *text)
{
    Error *err = NULL;

    g_assert_false(bdrv_del_child(parent, name, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static void test_children(void)
{
    Fixture f;
    BlockDriverState *more = memory_node("more"), *filter;

    fixture_init(&f, 3, 2, "");
    assert_no_add(&f, f.q, f.c[0], "The node c0 already has a parent");
    assert_no_add(&f, f.c[0], more, "The node c0 does not support adding a "
                  "child");
    assert_no_del(&f, f.q, "children.3", "Node 'q' does not have child "
                  "'children.3'");
    g_assert_true(bdrv_add_child(f.q, more, &error_abort));
    assert_children(f.q, "0=c0 1=c1 2=c2 3=more ");
    g_assert_cmpint(wr(&f, 0, 4096, 1), ==, 0);
    g_assert_cmpint(memory_disk(more)->data[0], ==, 1);
    g_assert_true(bdrv_del_child(f.q, "children.0", &error_abort));
    g_assert_true(bdrv_del_child(f.q, "children.2", &error_abort));
    assert_children(f.q, "1=c1 3=more ");
    assert_no_del(&f, f.q, "children.1", "The number of children cannot be "
                  "lower than the vote threshold 2");
    g_assert_cmpint(wr(&f, 0, 4096, 2), ==, 0);
    g_assert_cmpint(f.d[0]->data[0], ==, 1);
    g_assert_cmpint(f.d[1]->data[0], ==, 2);
    assert_read(&f, 0, 4096, 2);
    assert_events("");
    g_assert_true(bdrv_add_child(f.q, f.c[0], &error_abort));
    assert_children(f.q, "1=c1 3=more 4=c0 ");
    assert_read(&f, 0, 4096, 2);
    assert_events("[c0 read 0 0+4096]");
    filter = open_json("{\"driver\": \"copy-on-read\", \"node-name\": \"f\","
                       " \"file\": \"more\"}", &error_abort);
    assert_no_del(&f, filter, "file", "The node f does not support removing "
                  "a child");
    g_assert_true(bdrv_replace_node(more, filter, BDRV_CONTENT_SAME,
                                    &error_abort));
    assert_children(f.q, "1=c1 3=f 4=c0 ");
    g_assert_true(bdrv_recurse_can_replace(f.q, f.q));
    g_assert_true(bdrv_recurse_can_replace(f.q, f.c[0]));
    g_assert_true(bdrv_recurse_can_replace(f.q, more));
    g_assert_false(bdrv_recurse_can_replace(f.q, f.c[2]));
    bdrv_unref(filter);
    fixture_free(&f);
    bdrv_unref(more);
}

/* --- all of it, beside a plain array --- */

typedef struct Model {
    Fixture f;
    uint8_t *data;
    unsigned victim; /* the child that fails, loses, leaves, is new */
} Model;

/* The victim is removed, and another node with old data takes its place. */
static void model_exchange(Model *m)
{
    BdrvChild *c = NULL;

    while ((c = bdrv_next_child(m->f.q, c)) && c->bs != m->f.c[m->victim]) {
    }
    g_assert_true(bdrv_del_child(m->f.q, c->name, &error_abort));
    m->victim = m->victim == 2 ? 3 : 2;
    g_assert_true(bdrv_add_child(m->f.q, m->f.c[m->victim], &error_abort));
}

static void model_read(Model *m, int64_t offset, int64_t bytes)
{
    g_assert_cmpint(rd(&m->f, offset, bytes), ==, 0);
    g_assert_false(memcmp(m->f.buf, m->data + offset, bytes));
}

static void model_step(Model *m)
{
    MemoryDisk *victim = m->f.d[m->victim];
    int64_t offset = g_test_rand_int_range(0, MEMORY_BYTES);
    int64_t bytes = g_test_rand_int_range(
        1, MIN(MEMORY_BYTES - offset, 3 * MiB / 2) + 1);
    uint8_t byte = g_test_rand_int_range(0, 256);

    if (g_test_rand_int_range(0, 3) == 0) {
        victim->fail_write = victim->fail_read = 1;
    }
    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        model_exchange(m);
        break;
    case 1:
        memset(victim->data + offset, byte, bytes);
        break;
    case 2:
        g_assert_cmpint(blk_pwrite_zeroes(m->f.blk, offset, bytes,
                                          BDRV_REQ_MAY_UNMAP), ==, 0);
        memset(m->data + offset, 0, bytes);
        break;
    case 3:
        /* Whole granules become zeroes, nothing else changes. */
        offset = ROUND_DOWN(offset, MEMORY_UNIT);
        g_assert_cmpint(blk_pdiscard(m->f.blk, offset, MEMORY_UNIT), ==, 0);
        memset(m->data + offset, 0, MEMORY_UNIT);
        break;
    case 4:
    case 5:
        g_assert_cmpint(wr(&m->f, offset, bytes, byte), ==, 0);
        memset(m->data + offset, byte, bytes);
        break;
    default:
        model_read(m, offset, bytes);
    }
    victim->fail_write = victim->fail_read = 0;
}

static void test_random(void)
{
    Model m = { .data = g_malloc0(MEMORY_BYTES), .victim = 2 };
    BlockDriverState *spare = memory_node("c3");

    fixture_init(&m.f, 3, 2, ", \"rewrite-corrupted\": true,"
                 " \"discard\": \"unmap\"");
    m.f.c[3] = spare;
    m.f.d[3] = memory_disk(spare);
    m.f.d[3]->error = EIO;
    for (int i = 0; i < 300; i++) {
        model_step(&m);
    }
    model_read(&m, 0, MEMORY_BYTES);
    model_read(&m, 0, MEMORY_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_false(memcmp(m.f.d[i]->data, m.data, MEMORY_BYTES));
    }
    g_assert_false(memcmp(m.f.d[m.victim]->data, m.data, MEMORY_BYTES));
    fixture_free(&m.f);
    bdrv_unref(spare);
    g_free(m.data);
}

/* A child leaves while requests are in flight: they end first. */
static void test_leaves_under_load(void)
{
    Fixture f;
    Load loads[4];
    int running = ARRAY_SIZE(loads);
    bool there = true;

    fixture_init(&f, 3, 2, "");
    for (int i = 0; i < 3; i++) {
        f.d[i]->on_write = f.d[i]->on_read = dawdle;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
        loads[i] = (Load) { &f, &running, .byte = i * 40 };
        coroutine_enter(coroutine_create(load_entry, &loads[i]));
    }
    for (int i = 0; running > 0; i++) {
        aio_poll(aio_main_context(), true);
        if (i % 50 == 49 && there) {
            BdrvChild *c = bdrv_next_child(f.q, NULL);

            g_assert_true(c->bs == f.c[2]);
            g_assert_true(bdrv_del_child(f.q, c->name, &error_abort));
            g_assert_cmpint(f.d[2]->requests, ==, 0);
            there = false;
        } else if (i % 50 == 49) {
            g_assert_true(bdrv_add_child(f.q, f.c[2], &error_abort));
            there = true;
        }
    }
    g_assert_false(memcmp(f.d[0]->data, f.d[1]->data, MEMORY_BYTES));
    fixture_free(&f);
}

/* --- blkverify mode --- */

static void test_blkverify(void)
{
    Fixture f;

    if (g_test_subprocess()) {
        fixture_init(&f, 2, 2, ", \"blkverify\": true");
        f.d[1]->data[5000] = 1;
        assert_read(&f, 0, 4096, 0);
        rd(&f, 4096, 4096);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*quorum: offset=4096 bytes=4096 contents "
                              "mismatch at offset 5000\n");
}

static void test_blkverify_ok(void)
{
    Fixture f;
    BlockDriverState *more = memory_node("more");

    fixture_init(&f, 2, 2, ", \"blkverify\": true");
    g_assert_cmpint(wr(&f, 0, 4096, 1), ==, 0);
    assert_read(&f, 0, 4096, 1);
    f.d[1]->bad[0] = true;
    g_assert_cmpint(rd(&f, 0, 4096), ==, -EIO);
    assert_events("[c1 read 5 0+4096][q fails 0+4096]");
    assert_no_add(&f, f.q, more, "Cannot add a child to a quorum in "
                  "blkverify mode");
    fixture_free(&f);
    bdrv_unref(more);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    events = g_string_new(NULL);
    bdrv_event_hooks.quorum_failure = on_failure;
    bdrv_event_hooks.quorum_report_bad = on_bad;
    g_test_add_func("/quorum/options", test_options);
    g_test_add_func("/quorum/filename", test_filename);
    g_test_add_func("/quorum/vote", test_vote);
    g_test_add_func("/quorum/tie", test_tie);
    g_test_add_func("/quorum/errors", test_errors);
    g_test_add_func("/quorum/forgotten", test_forgotten);
    g_test_add_func("/quorum/fifo", test_fifo);
    g_test_add_func("/quorum/status", test_status);
    g_test_add_func("/quorum/rewrite", test_rewrite);
    g_test_add_func("/quorum/order", test_order);
    g_test_add_func("/quorum/rewrite-order", test_rewrite_order);
    g_test_add_func("/quorum/children", test_children);
    g_test_add_func("/quorum/random", test_random);
    g_test_add_func("/quorum/leaves-under-load", test_leaves_under_load);
    g_test_add_func("/quorum/blkverify", test_blkverify);
    g_test_add_func("/quorum/blkverify-ok", test_blkverify_ok);
    ret = g_test_run();
    g_string_free(events, true);
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
