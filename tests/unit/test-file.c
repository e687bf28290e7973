/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file driver on real files: requests, locks, permissions, resizing. */
#include "qemu/osdep.h"

#include <glib/gstdio.h>
#include <json-c/json.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/protocol/file-int.h"
#include "block/request.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-stats.h"
#include "qemu/aio.h"

/* The only drivers. */
const BlockDriver *const bdrv_drivers[] = {
    &bdrv_file, &bdrv_host_device, NULL,
};

static char *dir;

static char *path_of(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

/* A file of @bytes zeroes, sparse. */
static char *new_file(const char *name, int64_t bytes)
{
    char *path = path_of(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, bytes), ==, 0);
    close(fd);
    return path;
}

/* @more: ", 'key': value" with single quotes. */
static BlockDriverState *open_node(const char *driver, const char *path,
                                   const char *more, Error **errp)
{
    g_autofree char *text =
        g_strdup_printf("{'driver': '%s', 'filename': '%s'%s}", driver, path,
                        more ? more : "");
    json_object *obj;
    BlockDriverState *bs;

    g_strdelimit(text, "'", '"');
    obj = json_tokener_parse(text);
    g_assert_nonnull(obj);
    bs = bdrv_open_json(obj, false, BDRV_O_PROTOCOL | BDRV_O_RDWR, errp);
    json_object_put(obj);
    return bs;
}

#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

static BlockBackend *open_blk(const char *path, const char *more)
{
    BlockDriverState *bs = open_node("file", path, more, &error_abort);
    BlockBackend *blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL,
                                        &error_abort);

    bdrv_unref(bs);
    return blk;
}

static FileState *state_of(BlockBackend *blk)
{
    return blk_bs(blk)->opaque;
}

/* --- opening --- */

static void assert_open_fails(const char *driver, const char *path,
                              const char *more, const char *message)
{
    g_autoptr(Error) err = NULL;
    g_autofree char *want = g_strdup_printf(message, path);

    g_assert_null(open_node(driver, path, more, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, want);
}

static void test_open_errors(void)
{
    g_autofree char *path = new_file("open", 512);
    g_autofree char *none = path_of("none");

    assert_open_fails("file", none, NULL,
                      "Could not open '%s': No such file or directory");
    assert_open_fails("file", dir, NULL, "Could not open '%s': Is a directory");
    assert_open_fails("file", "", NULL,
                      "The 'file' block driver requires a file name%s");
    assert_open_fails("file", "/dev/null", NULL,
                      "'file' driver requires '%s' to be a regular file");
    assert_open_fails("host_device", path, NULL,
                      "'host_device' driver requires '%s' to be either a "
                      "character or block device");
    assert_open_fails("file", path, ", 'aio': 'native'",
                      "aio=native was specified, but it requires "
                      "cache.direct=on, which was not specified.");
    assert_open_fails("file", "/dev/fdset/1", NULL,
                      "Could not open '%s': No such file or directory");
}

static void test_probe_device(void)
{
    g_autofree char *path = new_file("probe", 512);

    g_assert_cmpint(bdrv_host_device.probe_device("/dev/null"), ==, 100);
    g_assert_cmpint(bdrv_host_device.probe_device(path), ==, 0);
}

/* --- requests --- */

static void check_pattern(BlockBackend *blk, int64_t offset, int64_t bytes,
                          int pattern)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(blk_pread(blk, offset, bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmpint(buf[i], ==, pattern);
    }
}

static void write_pattern(BlockBackend *blk, int64_t offset, int64_t bytes,
                          int pattern, BdrvRequestFlags flags)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, pattern, bytes);
    g_assert_cmpint(blk_pwrite(blk, offset, bytes, buf, flags), ==, 0);
}

static void requests(const char *name, const char *more)
{
    g_autofree char *path = new_file(name, 4 * MiB);
    BlockBackend *blk = open_blk(path, more);

    g_assert_cmpint(blk_getlength(blk), ==, 4 * MiB);
    write_pattern(blk, 0, MiB, 1, 0);
    write_pattern(blk, 513, 1000, 2, BDRV_REQ_FUA);
    check_pattern(blk, 513, 1000, 2);
    check_pattern(blk, 0, 513, 1);
    check_pattern(blk, 1513, 5000, 1);
    g_assert_cmpint(blk_pwrite_zeroes(blk, 4096, 65536, 0), ==, 0);
    check_pattern(blk, 4096, 65536, 0);
    g_assert_cmpint(blk_pwrite_zeroes(blk, 131072, 65536 + 7,
                                      BDRV_REQ_MAY_UNMAP), ==, 0);
    check_pattern(blk, 131072, 65536 + 7, 0);
    check_pattern(blk, 131072 + 65536 + 7, 100, 1);
    g_assert_cmpint(blk_pdiscard(blk, 512 * KiB, 65536), ==, 0);
    check_pattern(blk, 512 * KiB, 65536, 0);
    g_assert_cmpint(blk_flush(blk), ==, 0);
    blk_unref(blk);
}

static void test_requests(void)
{
    requests("requests", ", 'discard': 'unmap'");
    requests("requests", ", 'discard': 'unmap', 'aio': 'threads'");
}

static bool direct_works(void)
{
    g_autofree char *path = new_file("direct-probe", 4096);
    int fd = open(path, O_RDWR | O_DIRECT);

    if (fd < 0) {
        g_test_skip("this file system has no O_DIRECT");
        return false;
    }
    close(fd);
    return true;
}

static void test_direct(void)
{
    g_autofree char *path = NULL;
    BlockBackend *blk;

    if (!direct_works()) {
        return;
    }
    requests("direct", ", 'cache': {'direct': true}, 'discard': 'unmap'");
    requests("direct", ", 'cache': {'direct': true}, 'aio': 'native', "
             "'discard': 'unmap'");
    path = path_of("direct");
    blk = open_blk(path, ", 'cache': {'direct': true}");
    g_assert_cmpuint(blk_bs(blk)->bl.request_alignment, >=, 512);
    g_assert_true(is_power_of_2(blk_bs(blk)->bl.request_alignment));
    g_assert_true(fcntl(state_of(blk)->fd, F_GETFL) & O_DIRECT);
    g_assert_cmpint(blk_truncate(blk, 5 * MiB + 512, true,
                                 PREALLOC_MODE_FULL, 0, &error_abort), ==, 0);
    check_pattern(blk, 4 * MiB, MiB + 512, 0);
    blk_unref(blk);
}

/* --- status --- */

static void expect_status(BlockDriverState *bs, int64_t offset, int64_t end,
                          int want)
{
    while (offset < end) {
        int64_t pnum, map;
        BlockDriverState *file;
        int ret = bdrv_block_status(bs, offset, end - offset, &pnum, &map,
                                    &file);

        g_assert_cmpint(ret & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO), ==, want);
        g_assert_cmpint(map, ==, offset);
        g_assert_true(file == bs);
        g_assert_cmpint(pnum, >, 0);
        offset += pnum;
    }
    g_assert_cmpint(offset, ==, end);
}

static void test_status(void)
{
    g_autofree char *path = new_file("status", 8 * MiB);
    BlockBackend *blk = open_blk(path, ", 'discard': 'unmap'");
    BlockDriverState *bs = blk_bs(blk);
    FileState *s = bs->opaque;

    expect_status(bs, 0, 8 * MiB, BDRV_BLOCK_ZERO);
    write_pattern(blk, 2 * MiB, 2 * MiB, 3, 0);
    expect_status(bs, 0, 2 * MiB, BDRV_BLOCK_ZERO);
    expect_status(bs, 2 * MiB, 4 * MiB, BDRV_BLOCK_DATA);
    expect_status(bs, 4 * MiB, 8 * MiB, BDRV_BLOCK_ZERO);
    g_assert_cmpint(s->data_start, ==, 2 * MiB);
    g_assert_cmpint(s->data_end, ==, 4 * MiB);
    /* What is known of data must not outlive a discard. */
    g_assert_cmpint(blk_pdiscard(blk, 2 * MiB, MiB), ==, 0);
    expect_status(bs, 0, 3 * MiB, BDRV_BLOCK_ZERO);
    expect_status(bs, 3 * MiB, 4 * MiB, BDRV_BLOCK_DATA);
    blk_unref(blk);
}

/* --- locks --- */

static int lock_byte(int fd, int cmd, off_t byte, short type)
{
    struct flock fl = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1,
    };
    int ret = fcntl(fd, cmd, &fl);

    g_assert_cmpint(ret, ==, 0);
    return fl.l_type;
}

/* Which of the bytes 100..103, 200..203 are locked, as a set. */
static unsigned locked(int fd)
{
    unsigned set = 0;

    for (int i = 0; i < 8; i++) {
        off_t byte = i < 4 ? 100 + i : 200 + i - 4;

        if (lock_byte(fd, F_OFD_GETLK, byte, F_WRLCK) != F_UNLCK) {
            set |= 1 << i;
        }
    }
    return set;
}

static void test_lock_bytes(void)
{
    g_autofree char *path = new_file("locks", 4096);
    int other = open(path, O_RDWR);
    BlockDriverState *bs = open_node("file", path, NULL, &error_abort);
    BlockBackend *blk;

    g_assert_cmphex(locked(other), ==, 0);
    blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                          BLK_PERM_ALL & ~BLK_PERM_RESIZE, &error_abort);
    g_assert_cmphex(locked(other), ==, 0x83);
    g_assert_true(blk_set_perm(blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                               &error_abort));
    g_assert_cmphex(locked(other), ==, 0x01);
    g_assert_true(blk_set_perm(blk, BLK_PERM_ALL, 0, &error_abort));
    g_assert_cmphex(locked(other), ==, 0xff);
    blk_unref(blk);
    g_assert_cmphex(locked(other), ==, 0);
    bdrv_unref(bs);
    close(other);
}

static void test_lock_conflict(void)
{
    g_autofree char *path = new_file("conflict", 4096);
    g_autofree char *hint =
        g_strdup_printf("Is another process using the image [%s]?\n", path);
    g_autoptr(Error) err = NULL, err2 = NULL;
    int other = open(path, O_RDWR);
    BlockDriverState *bs = open_node("file", path, NULL, &error_abort);
    BlockBackend *blk;

    lock_byte(other, F_OFD_SETLK, 201, F_RDLCK); /* does not share writing */
    g_assert_null(blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Failed to get \"write\" lock");
    g_assert_cmpstr(error_get_hint(err), ==, hint);
    g_assert_cmphex(locked(other), ==, 0); /* all were given back */

    lock_byte(other, F_OFD_SETLK, 201, F_UNLCK);
    lock_byte(other, F_OFD_SETLK, 101, F_RDLCK); /* writes */
    g_assert_null(blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ,
                                  BLK_PERM_CONSISTENT_READ, &err2));
    g_assert_cmpstr(error_get_pretty(err2), ==,
                    "Failed to get shared \"write\" lock");
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    blk_unref(blk);
    bdrv_unref(bs);
    close(other);
}

#define MANY_DESCRIPTORS 400

/* A process that locks byte 201 of @path, with many descriptors before it. */
static pid_t start_holder(const char *path)
{
    int tell[2];
    pid_t pid;
    char c;

    g_assert_cmpint(pipe(tell), ==, 0);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < MANY_DESCRIPTORS; i++) {
            (void)dup(tell[0]);
        }
        lock_byte(open(path, O_RDWR), F_OFD_SETLK, 201, F_RDLCK);
        c = write(tell[1], "", 1);
        pause();
        _exit(0);
    }
    g_assert_cmpint(read(tell[0], &c, 1), ==, 1);
    close(tell[0]);
    close(tell[1]);
    return pid;
}

static void test_lock_holder(void)
{
    g_autofree char *path = new_file("held", 4096);
    int fd = open(path, O_RDWR), other = open(path, O_RDWR);
    pid_t pid = start_holder(path);
    g_autofree char *id = g_strdup_printf("%d ", pid);
    g_autofree char *found = file_lock_holder(fd, 201, 60 * G_USEC_PER_SEC);

    g_assert_nonnull(found);
    g_assert_true(g_str_has_prefix(found, id));
    /* Another byte; no time; this process. */
    g_assert_null(file_lock_holder(fd, 200, 60 * G_USEC_PER_SEC));
    g_assert_null(file_lock_holder(fd, 201, 0));
    lock_byte(other, F_OFD_SETLK, 201, F_RDLCK);
    g_assert_null(file_lock_holder(fd, 201, 60 * G_USEC_PER_SEC));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(fd);
    close(other);
    unlink(path);
}

static void test_lock_off(void)
{
    g_autofree char *path = new_file("unlocked", 4096);
    int other = open(path, O_RDWR);
    BlockBackend *blk = open_blk(path, ", 'locking': 'off'");

    g_assert_cmphex(locked(other), ==, 0);
    blk_unref(blk);
    close(other);
}

/* --- access mode --- */

static int access_mode(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    return fcntl(s->fd, F_GETFL) & O_ACCMODE;
}

static void test_auto_read_only(void)
{
    g_autofree char *path = new_file("auto", 4096);
    BlockDriverState *bs = open_node("file", path, ", 'auto-read-only': true",
                                     &error_abort);
    BlockBackend *blk;
    FileState *s = bs->opaque;
    int fd = s->fd;

    g_assert_cmpint(access_mode(bs), ==, O_RDONLY);
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(access_mode(bs), ==, O_RDWR);
    write_pattern(blk, 0, 512, 9, 0);
    blk_set_perm(blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(access_mode(bs), ==, O_RDONLY);
    g_assert_cmpint(s->fd, ==, fd);
    check_pattern(blk, 0, 512, 9);
    blk_unref(blk);
    bdrv_unref(bs);
}

static void test_reopen(void)
{
    g_autofree char *path = new_file("reopen", 4096);
    BlockDriverState *bs = open_node("file", path, ", 'node-name': 'f'",
                                     &error_abort);

    g_assert_cmpint(access_mode(bs), ==, O_RDWR);
    g_assert_true(bdrv_reopen_set_read_only(bs, true, &error_abort));
    g_assert_cmpint(access_mode(bs), ==, O_RDONLY);
    g_assert_true(bdrv_is_read_only(bs));
    g_assert_true(bdrv_reopen_set_read_only(bs, false, &error_abort));
    g_assert_cmpint(access_mode(bs), ==, O_RDWR);
    /* Another file at this path must not be mistaken for the original. */
    g_unlink(path);
    g_free(new_file("reopen", 4096));
    g_assert_false(bdrv_reopen_set_read_only(bs, true, NULL));
    g_assert_cmpint(access_mode(bs), ==, O_RDWR);
    bdrv_unref(bs);
}

/* --- size --- */

static int64_t blocks_of(const char *path)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return (int64_t)st.st_blocks * 512;
}

static void test_truncate(void)
{
    g_autofree char *path = new_file("truncate", MiB);
    BlockBackend *blk = open_blk(path, NULL);
    g_autoptr(Error) err = NULL;

    g_assert_cmpint(blk_truncate(blk, 2 * MiB, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    g_assert_cmpint(blk_getlength(blk), ==, 2 * MiB);
    g_assert_cmpint(blk_truncate(blk, 3 * MiB, true, PREALLOC_MODE_FULL, 0,
                                 &error_abort), ==, 0);
    g_assert_cmpint(blocks_of(path), >=, MiB);
    g_assert_cmpint(blocks_of(path), <, 2 * MiB);
    g_assert_cmpint(blk_truncate(blk, 4 * MiB, true, PREALLOC_MODE_FALLOC, 0,
                                 &error_abort), ==, 0);
    g_assert_cmpint(blocks_of(path), >=, 2 * MiB);
    check_pattern(blk, 2 * MiB, 2 * MiB, 0);
    g_assert_cmpint(blk_truncate(blk, 5 * MiB, true, PREALLOC_MODE_METADATA,
                                 0, &err), <, 0);
    g_assert_nonnull(err);
    g_assert_cmpint(blk_truncate(blk, 512, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    g_assert_cmpint(blk_getlength(blk), ==, 512);
    blk_unref(blk);
}

typedef struct CreateCall {
    BlockdevCreateOptions options;
    Error *err;
    int ret;
} CreateCall;

static void coroutine_fn create_entry(void *opaque)
{
    CreateCall *call = opaque;

    call->ret = bdrv_file.co_create(&call->options, &call->err);
}

static void test_create(void)
{
    g_autofree char *path = path_of("created");
    g_autofree char *nowhere = path_of("no/where");
    CreateCall call = {
        .options = {
            .driver = BLOCKDEV_DRIVER_FILE,
            .u.file = { .filename = path, .size = MiB,
                        .preallocation = PREALLOC_MODE_FALLOC },
        },
    };
    int other;

    aio_run_co(aio_main_context(), create_entry, &call);
    g_assert_cmpint(call.ret, ==, 0);
    g_assert_cmpint(blocks_of(path), >=, MiB);
    /* In use by a process that does not share resizing: it must not change. */
    other = open(path, O_RDWR);
    lock_byte(other, F_OFD_SETLK, 203, F_RDLCK);
    call.options.u.file.size = 0;
    aio_run_co(aio_main_context(), create_entry, &call);
    g_assert_cmpint(call.ret, <, 0);
    g_assert_cmpstr(error_get_pretty(call.err), ==,
                    "Failed to get \"resize\" lock");
    g_clear_pointer(&call.err, error_free);
    g_assert_cmpint(blocks_of(path), >=, MiB);
    close(other);
    call.options.u.file.filename = nowhere;
    aio_run_co(aio_main_context(), create_entry, &call);
    g_assert_cmpint(call.ret, ==, -ENOENT);
    g_assert_true(g_str_has_prefix(error_get_pretty(call.err),
                                   "Could not create '"));
    g_clear_pointer(&call.err, error_free);
}

/* --- host I/O --- */

static void coroutine_fn host_io_entry(void *opaque)
{
    BlockBackend *blk = opaque;
    BdrvRequest *r;
    int ret;

    r = bdrv_co_host_read_begin(blk_root(blk), 0, 2 * MiB, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(r->host.kind, ==, BDRV_HOST_ZERO);
    g_assert_cmpint(r->host.bytes, ==, MiB);
    bdrv_co_host_read_end(r);

    r = bdrv_co_host_read_begin(blk_root(blk), MiB, MiB, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(r->host.kind, ==, BDRV_HOST_FILE);
    g_assert_cmpint(r->host.offset, ==, MiB);
    bdrv_co_host_read_end(r);

    r = bdrv_co_host_write_begin(blk_root(blk), 0, 4096, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(pwrite(r->host.fd, "hello", 5, r->host.offset), ==, 5);
    g_assert_cmpint(bdrv_co_host_write_end(r, BDRV_HOST_WRITTEN), ==, 0);

    r = bdrv_co_host_write_begin(blk_root(blk), MiB, MiB, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(bdrv_co_host_write_end(r, BDRV_HOST_IS_ZERO), ==, 0);
}

static void test_host_io(void)
{
    g_autofree char *path = new_file("host-io", 4 * MiB);
    BlockBackend *blk = open_blk(path, NULL);
    char buf[5];

    write_pattern(blk, MiB, MiB, 5, 0);
    aio_run_co(aio_main_context(), host_io_entry, blk);
    g_assert_cmpint(blk_pread(blk, 0, 5, buf, 0), ==, 0);
    g_assert_cmpmem(buf, 5, "hello", 5);
    check_pattern(blk, MiB, MiB, 0);
    blk_unref(blk);
}

static void test_stats(void)
{
    g_autofree char *path = new_file("stats", MiB);
    BlockBackend *blk = open_blk(path, ", 'discard': 'unmap'");
    BlockStatsSpecific *stats;

    g_assert_cmpint(blk_pdiscard(blk, 0, 65536), ==, 0);
    stats = bdrv_file.get_specific_stats(blk_bs(blk));
    g_assert_cmpint(stats->driver, ==, BLOCKDEV_DRIVER_FILE);
    g_assert_cmpuint(stats->u.file.discard_nb_ok, ==, 1);
    g_assert_cmpuint(stats->u.file.discard_bytes_ok, ==, 65536);
    qapi_free_BlockStatsSpecific(stats);
    blk_unref(blk);
}

/* --- errors of writes that are to be durable --- */

/* What the next writes return: durable ones, and others. */
static int durable_ret, plain_ret;

int coroutine_fn __real_file_co_pwritev(int fd, int64_t offset,
                                        QEMUIOVector *qiov, bool dsync,
                                        FileAioEngine engine);
int coroutine_fn __wrap_file_co_pwritev(int fd, int64_t offset,
                                        QEMUIOVector *qiov, bool dsync,
                                        FileAioEngine engine);

int coroutine_fn __wrap_file_co_pwritev(int fd, int64_t offset,
                                        QEMUIOVector *qiov, bool dsync,
                                        FileAioEngine engine)
{
    int ret = dsync ? durable_ret : plain_ret;

    return ret ? ret : __real_file_co_pwritev(fd, offset, qiov, dsync, engine);
}

typedef struct DurableCase {
    const char *more; /* options of the file */
    int durable, plain;
    bool lost;        /* is data of before that lost? */
} DurableCase;

static void run_durable(const DurableCase *c)
{
    g_autofree char *path = new_file("durable", MiB);
    BlockBackend *blk = open_blk(path, c->more);
    void *buf = qemu_memalign(4096, 4096);
    int want = c->lost ? -EIO : 0;

    memset(buf, 0x11, 4096);
    g_assert_cmpint(blk_pwrite(blk, 0, 4096, buf, 0), ==, 0);
    durable_ret = c->durable;
    plain_ret = c->plain;
    g_assert_cmpint(blk_pwrite(blk, 65536, 4096, buf, BDRV_REQ_FUA), ==,
                    c->durable);
    durable_ret = plain_ret = 0;
    g_assert_cmpuint(bdrv_lost_writes(blk_bs(blk)), ==, c->lost);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(blk_flush(blk), ==, want);
    }
    qemu_vfree(buf);
    blk_unref(blk);
}

static void test_durable(void)
{
    static const DurableCase cases[] = {
        { NULL, -EIO, 0, true },
        { NULL, -EIO, -EIO, true },
        { NULL, -ENOSPC, 0, true },
        { NULL, -ENOSPC, -ENOSPC, false }, /* the disk is full */
        { NULL, -EROFS, 0, true },
        { NULL, -EINVAL, 0, false },
        { NULL, 0, 0, false },
        { ", 'cache': {'direct': true}", -EIO, 0, false },
    };

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        run_durable(&cases[i]);
    }
}

static void remove_dir(void)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(d))) {
        g_autofree char *path = path_of(name);

        g_unlink(path);
    }
    g_dir_close(d);
    g_rmdir(dir);
    g_free(dir);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    dir = g_dir_make_tmp("test-file-XXXXXX", NULL);
    g_assert_nonnull(dir);
    g_test_add_func("/file/open-errors", test_open_errors);
    g_test_add_func("/file/probe-device", test_probe_device);
    g_test_add_func("/file/requests", test_requests);
    g_test_add_func("/file/direct", test_direct);
    g_test_add_func("/file/status", test_status);
    g_test_add_func("/file/lock/bytes", test_lock_bytes);
    g_test_add_func("/file/lock/conflict", test_lock_conflict);
    g_test_add_func("/file/lock/holder", test_lock_holder);
    g_test_add_func("/file/lock/off", test_lock_off);
    g_test_add_func("/file/auto-read-only", test_auto_read_only);
    g_test_add_func("/file/reopen", test_reopen);
    g_test_add_func("/file/truncate", test_truncate);
    g_test_add_func("/file/create", test_create);
    g_test_add_func("/file/host-io", test_host_io);
    g_test_add_func("/file/stats", test_stats);
    g_test_add_func("/file/durable", test_durable);
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    remove_dir();
    return ret;
}
