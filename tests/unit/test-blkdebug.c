/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkdebug: rules, states, limits, breakpoints, its file names. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include <json-c/json.h>

#define NODE "\"driver\": \"blkdebug\", \"node-name\": \"dbg\"," \
             " \"discard\": \"unmap\", \"image\": {\"driver\": \"null-co\"," \
             " \"size\": 65536, \"read-zeroes\": true}"

extern const BlockDriver bdrv_file, bdrv_raw, bdrv_null_co, bdrv_blkdebug;

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_file, &bdrv_raw, &bdrv_null_co, &bdrv_blkdebug, NULL,
};

typedef struct Fixture {
    BlockDriverState *bs;
    BlockBackend *blk;
    uint8_t buf[8192];
} Fixture;

static BlockDriverState *open_json(const char *json, Error **errp)
{
    struct json_object *obj = json_tokener_parse(json);
    BlockDriverState *bs;

    g_assert_nonnull(obj);
    bs = bdrv_open_json(obj, false, BDRV_O_RDWR, errp);
    json_object_put(obj);
    return bs;
}

static void fixture_bs(Fixture *f, BlockDriverState *bs)
{
    memset(f, 0, sizeof(*f));
    f->bs = bs;
    f->blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                             BLK_PERM_ALL, &error_abort);
}

/* @raw: with a raw node on top, which fires read_aio and write_aio. */
static void fixture_init(Fixture *f, const char *extra, bool raw)
{
    g_autofree char *node = g_strdup_printf("{" NODE "%s}", extra);
    g_autofree char *json = raw
        ? g_strdup_printf("{\"driver\": \"raw\", \"node-name\": \"raw\","
                          " \"discard\": \"unmap\", \"file\": %s}", node)
        : g_strdup(node);

    fixture_bs(f, open_json(json, &error_abort));
}

static void fixture_free(Fixture *f)
{
    blk_unref(f->blk);
    bdrv_unref(f->bs);
}

static int rd(Fixture *f, int64_t offset, int64_t bytes)
{
    return blk_pread(f->blk, offset, bytes, f->buf, 0);
}

static int wr(Fixture *f, int64_t offset, int64_t bytes)
{
    return blk_pwrite(f->blk, offset, bytes, f->buf, 0);
}

static void test_event(void)
{
    Fixture f;

    fixture_init(&f, ", \"inject-error\": [{\"event\": \"write_aio\","
                 " \"errno\": 28, \"once\": true}]", true);
    g_assert_cmpint(rd(&f, 0, 512), ==, 0);
    g_assert_cmpint(wr(&f, 0, 512), ==, -ENOSPC);
    g_assert_cmpint(wr(&f, 0, 512), ==, 0);
    fixture_free(&f);
}

static void test_sector_and_iotype(void)
{
    Fixture f;

    fixture_init(&f, ", \"inject-error\": [{\"event\": \"none\","
                 " \"iotype\": \"write\", \"sector\": 8,"
                 " \"immediately\": true}]", false);
    g_assert_cmpint(rd(&f, 4096, 512), ==, 0);
    g_assert_cmpint(wr(&f, 0, 4096), ==, 0);
    g_assert_cmpint(wr(&f, 0, 4097), ==, -EIO);
    g_assert_cmpint(wr(&f, 4600, 8), ==, -EIO);
    g_assert_cmpint(wr(&f, 4608, 512), ==, 0);
    fixture_free(&f);
    fixture_init(&f, ", \"inject-error\": [{\"event\": \"none\","
                 " \"iotype\": \"flush\"}]", false);
    g_assert_cmpint(wr(&f, 0, 512), ==, 0);
    g_assert_cmpint(blk_flush(f.blk), ==, -EIO);
    fixture_free(&f);
    fixture_init(&f, ", \"inject-error\": [{\"event\": \"none\","
                 " \"iotype\": \"discard\", \"errno\": 22}]", false);
    g_assert_cmpint(blk_pdiscard(f.blk, 0, 4096), ==, -EINVAL);
    g_assert_cmpint(blk_pwrite_zeroes(f.blk, 0, 4096, 0), ==, 0);
    fixture_free(&f);
}

/* Three writes pass, the fourth fails: counting by states. */
static void test_states(void)
{
    Fixture f;

    fixture_init(&f, ", \"set-state\": ["
                 "{\"event\": \"write_aio\", \"state\": 1, \"new_state\": 2},"
                 "{\"event\": \"write_aio\", \"state\": 2, \"new_state\": 3}],"
                 " \"inject-error\": [{\"event\": \"write_aio\","
                 " \"state\": 3, \"errno\": 5}]", true);
    g_assert_cmpint(wr(&f, 0, 512), ==, 0);
    g_assert_cmpint(wr(&f, 0, 512), ==, 0);
    g_assert_cmpint(wr(&f, 0, 512), ==, -EIO);
    g_assert_cmpint(wr(&f, 0, 512), ==, -EIO);
    fixture_free(&f);
}

static void test_limits(void)
{
    Error *err = NULL;
    Fixture f;

    fixture_init(&f, ", \"align\": 4096, \"max-transfer\": 8192,"
                 " \"opt-write-zero\": 8192, \"max-write-zero\": 16384,"
                 " \"opt-discard\": 8192, \"max-discard\": 8192", false);
    g_assert_cmpint(f.bs->bl.request_alignment, ==, 4096);
    /* the filter itself asserts what it gets */
    g_assert_cmpint(rd(&f, 100, 8000), ==, 0);
    g_assert_cmpint(wr(&f, 100, 8000), ==, 0);
    g_assert_cmpint(blk_pwrite_zeroes(f.blk, 100, 60000, 0), ==, 0);
    g_assert_cmpint(blk_pdiscard(f.blk, 100, 60000), ==, 0);
    fixture_free(&f);
    g_assert_null(open_json("{" NODE ", \"align\": 1000}", &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "align 1000"));
    g_clear_pointer(&err, error_free);
    g_assert_null(open_json("{" NODE ", \"align\": 4096,"
                            " \"max-transfer\": 512}", &err));
    g_clear_pointer(&err, error_free);
}

static void test_permissions(void)
{
    Fixture f;
    BlockBackend *blk;
    Error *err = NULL;

    fixture_init(&f, ", \"take-child-perms\": [\"resize\"],"
                 " \"unshare-child-perms\": [\"write\"]", false);
    g_assert_true(f.bs->file->perm & BLK_PERM_RESIZE);
    blk = blk_new_with_bs(f.bs->file->bs, BLK_PERM_WRITE, BLK_PERM_ALL, &err);
    g_assert_null(blk);
    error_free(err);
    fixture_free(&f);
}

/* --- breakpoints --- */

typedef struct Write {
    Fixture *f;
    int64_t offset, bytes;
    bool done;
} Write;

static void coroutine_fn write_entry(void *opaque)
{
    Write *w = opaque;

    g_assert_cmpint(blk_co_pwrite(w->f->blk, w->offset, w->bytes, w->f->buf,
                                  0), ==, 0);
    w->done = true;
}

/* blkdebug tells users of it on stdout, which here is the protocol's. */
static int mute_stdout(void)
{
    int saved, null = open("/dev/null", O_WRONLY);

    fflush(stdout);
    saved = dup(STDOUT_FILENO);
    g_assert_cmpint(dup2(null, STDOUT_FILENO), ==, STDOUT_FILENO);
    close(null);
    return saved;
}

static void unmute_stdout(int saved)
{
    fflush(stdout);
    g_assert_cmpint(dup2(saved, STDOUT_FILENO), ==, STDOUT_FILENO);
    close(saved);
}

static void test_breakpoint(void)
{
    int out = mute_stdout();
    Fixture f;
    Write a = { &f, 512, 512, false }, b = { &f, 1024, 512, false };

    fixture_init(&f, ", \"align\": 4096", false);
    g_assert_cmpint(bdrv_debug_breakpoint(f.bs, "pwritev_rmw_after_tail",
                                          "A"), ==, 0);
    g_assert_cmpint(bdrv_debug_breakpoint(f.bs, "nonsense", "A"), ==,
                    -ENOENT);
    coroutine_enter(coroutine_create(write_entry, &a));
    while (!bdrv_debug_is_suspended(f.bs, "A")) {
        aio_poll(aio_main_context(), true);
    }
    /* the read-modify-write has the block: b waits */
    coroutine_enter(coroutine_create(write_entry, &b));
    g_assert_false(b.done);
    g_assert_cmpint(bdrv_debug_resume(f.bs, "B"), ==, -ENOENT);
    g_assert_cmpint(bdrv_debug_resume(f.bs, "A"), ==, 0);
    AIO_WAIT_WHILE(!a.done || !b.done);
    g_assert_false(bdrv_debug_is_suspended(f.bs, "A"));
    /* removing lets go, too, of what used it up */
    a.done = false;
    bdrv_debug_breakpoint(f.bs, "pwritev", "C");
    coroutine_enter(coroutine_create(write_entry, &a));
    while (!bdrv_debug_is_suspended(f.bs, "C")) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_cmpint(bdrv_debug_remove_breakpoint(f.bs, "C"), ==, -ENOENT);
    AIO_WAIT_WHILE(!a.done);
    g_assert_cmpint(bdrv_debug_remove_breakpoint(f.bs, "C"), ==, -ENOENT);
    /* one request waits at all breakpoints of the event at once */
    a.done = false;
    bdrv_debug_breakpoint(f.bs, "pwritev", "D");
    bdrv_debug_breakpoint(f.bs, "pwritev", "E");
    coroutine_enter(coroutine_create(write_entry, &a));
    while (!bdrv_debug_is_suspended(f.bs, "D")) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_true(bdrv_debug_is_suspended(f.bs, "E"));
    g_assert_cmpint(bdrv_debug_resume(f.bs, "D"), ==, 0);
    g_assert_false(bdrv_debug_is_suspended(f.bs, "D"));
    while (aio_poll(aio_main_context(), false)) {
    }
    g_assert_false(a.done);
    g_assert_cmpint(bdrv_debug_resume(f.bs, "E"), ==, 0);
    AIO_WAIT_WHILE(!a.done);
    fixture_free(&f);
    unmute_stdout(out);
}

/* --- files --- */

static char *temp_file(const char *text)
{
    char *path = g_strdup("/tmp/test-blkdebug-XXXXXX");
    int fd = g_mkstemp(path);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    return path;
}

static void test_config_file(void)
{
    g_autofree char *config = temp_file("# a rule\n[inject-error]\n"
        "event = \"read_aio\"\nerrno = \"28\"\nonce = \"on\"\n\n"
        "[set-state]\nevent = \"write_aio\"\nnew_state = \"2\"\n");
    g_autofree char *image = temp_file("0123456789abcdef");
    g_autofree char *name = g_strdup_printf("blkdebug:%s:%s", config, image);
    g_autofree char *plain = g_strdup_printf("blkdebug::%s", image);
    Fixture f;

    g_assert_cmpint(truncate(image, 65536), ==, 0);
    fixture_bs(&f, bdrv_open_file(name, "raw", BDRV_O_RDWR, &error_abort));
    g_assert_cmpint(rd(&f, 0, 16), ==, -ENOSPC);
    g_assert_cmpint(rd(&f, 0, 16), ==, 0);
    g_assert_cmpint(memcmp(f.buf, "0123456789abcdef", 16), ==, 0);
    fixture_free(&f);
    fixture_bs(&f, bdrv_open_file(plain, "raw", BDRV_O_RDWR, &error_abort));
    g_assert_cmpint(rd(&f, 0, 16), ==, 0);
    fixture_free(&f);
    unlink(config);
    unlink(image);
}

static void test_bad_config(void)
{
    static const char *const bad[] = {
        "[nonsense]\n", "event = x\n", "[inject-error]\nerrno = 5\n",
        "[inject-error]\nevent = \"never\"\n", "[inject-error]\nfoo\n",
        "[set-state]\nevent = \"none\"\n",
        "[inject-error]\nevent = \"none\"\nerrno = \"-1\"\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *config = temp_file(bad[i]);
        g_autofree char *json = g_strdup_printf("{" NODE ", \"config\":"
                                                " \"%s\"}", config);
        Error *err = NULL;

        g_assert_null(open_json(json, &err));
        g_assert_nonnull(strstr(error_get_pretty(err), config));
        error_free(err);
        unlink(config);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/blkdebug/event", test_event);
    g_test_add_func("/blkdebug/sector-iotype", test_sector_and_iotype);
    g_test_add_func("/blkdebug/states", test_states);
    g_test_add_func("/blkdebug/limits", test_limits);
    g_test_add_func("/blkdebug/permissions", test_permissions);
    g_test_add_func("/blkdebug/breakpoint", test_breakpoint);
    g_test_add_func("/blkdebug/config-file", test_config_file);
    g_test_add_func("/blkdebug/bad-config", test_bad_config);
    return g_test_run();
}
