/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: asynchronous requests. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "io-int.h"

/* Belongs to the thread of @blk during execution, else to the main thread. */
typedef struct AioRequest {
    BlockBackend *blk;  /* a reference */
    IoOptions o;
    bool is_write;
    int64_t offset;
    int64_t bytes;
    QEMUIOVector qiov;  /* empty with -z */
    void *buf;
    int64_t start_ns;
    BlockAcctCookie acct;
    int ret;
} AioRequest;

/* Number of requests in flight, of all handles. */
static unsigned in_flight;

static void aio_request_free(AioRequest *r)
{
    if (r->buf) {
        qemu_iovec_destroy(&r->qiov);
        io_free(r->buf);
    }
    blk_unref(r->blk);
    g_free(r);
}

static int coroutine_fn perform(AioRequest *r)
{
    int flags = io_write_flags(&r->o);

    if (!r->is_write) {
        return blk_co_preadv(r->blk, r->offset, r->bytes, &r->qiov, 0);
    }
    if (r->o.zero) {
        return blk_co_pwrite_zeroes(r->blk, r->offset, r->bytes, flags);
    }
    return blk_co_pwritev(r->blk, r->offset, r->bytes, &r->qiov, flags);
}

static void tell(AioRequest *r, int ret)
{
    int64_t ns = aio_now_ns() - r->start_ns;

    if (ret < 0) {
        printf("%s failed: %s\n", r->is_write ? "aio_write" : "readv",
               strerror(-ret));
        return;
    }
    if (!r->is_write && r->o.has_pattern) {
        io_verify(r->buf, r->offset, 0, r->bytes, r->o.pattern);
    }
    if (!r->is_write && r->o.dump && !r->o.quiet) {
        io_dump(r->buf, r->offset, r->bytes);
    }
    io_report(r->is_write ? "wrote" : "read", &r->o, r->offset, r->bytes, ns);
}

/* Outside coroutines, as this may drop the last reference to the handle. */
static void done_bh(void *opaque)
{
    AioRequest *r = opaque;

    /* Counted like a guest's, except for zeroes. */
    if (!r->o.zero) {
        block_acct_done(blk_get_stats(r->blk), &r->acct, r->ret);
    }
    tell(r, r->ret);
    fflush(stdout);
    aio_exclusive_begin();
    aio_request_free(r);
    aio_exclusive_end();
    in_flight--;
}

static void coroutine_fn aio_entry(void *opaque)
{
    AioRequest *r = opaque;

    r->ret = perform(r);
    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, done_bh, r);
}

/* Consumes @r. */
static void submit(AioRequest *r, BlockBackend *blk)
{
    r->blk = blk_ref(blk);
    r->start_ns = aio_now_ns();
    block_acct_start(&r->acct, r->is_write ? BLOCK_ACCT_WRITE
                                           : BLOCK_ACCT_READ, r->bytes);
    in_flight++;
    blk_enter_co(blk, aio_entry, r);
}

static int aio_invalid(BlockBackend *blk, bool is_write)
{
    printf("injecting invalid %s request\n", is_write ? "write" : "read");
    block_acct_invalid(blk_get_stats(blk),
                       is_write ? BLOCK_ACCT_WRITE : BLOCK_ACCT_READ);
    return 0;
}

/* Operands of @r: offset, and one or several lengths. */
static bool take_operands(AioRequest *r, BlockBackend *blk, char **argv)
{
    if (!io_number(argv[0], &r->offset)) {
        return false;
    }
    if (r->o.zero) {
        return io_length_arg(argv[1], &r->bytes);
    }
    if (!io_vector(blk, &r->qiov, argv + 1,
                   r->o.has_pattern ? r->o.pattern : r->is_write ? 0xcd : 0xab,
                   &r->buf)) {
        return false;
    }
    r->bytes = r->qiov.size;
    return true;
}

static bool check_write(const IoOptions *o, int n_operands)
{
    if (o->zero && n_operands != 2) {
        printf("-z supports only a single length parameter\n");
        return false;
    }
    if (o->unmap && !o->zero) {
        printf("-u requires -z to be specified\n");
        return false;
    }
    if (o->zero && o->has_pattern) {
        printf("-z and -P cannot be specified at the same time\n");
        return false;
    }
    return true;
}

static int aio_request(BlockBackend *blk, int argc, char **argv,
                       const char *letters, bool is_write)
{
    AioRequest *r = g_new0(AioRequest, 1);
    int first = io_options(argc, argv, letters, &r->o);
    int ret = -EINVAL;

    r->is_write = is_write;
    if (first && argc - first < 2) {
        qemuio_usage(argv[0]);
    } else if (first && check_write(&r->o, argc - first)) {
        if (r->o.invalid) {
            ret = aio_invalid(blk, is_write);
        } else if (take_operands(r, blk, argv + first)) {
            submit(r, blk);
            return 0;
        }
    }
    g_free(r);
    return ret;
}

int io_aio_read(BlockBackend *blk, int argc, char **argv)
{
    return aio_request(blk, argc, argv, "CP:iqv", false);
}

int io_aio_write(BlockBackend *blk, int argc, char **argv)
{
    return aio_request(blk, argc, argv, "CfiP:quz", true);
}

void qemuio_drain(void)
{
    AIO_WAIT_WHILE(in_flight > 0);
}

void qemuio_finish(void)
{
    bdrv_drain_all_begin();
    bdrv_drain_all_end();
    qemuio_drain();
}

int io_aio_flush(BlockBackend *blk, int argc, char **argv)
{
    BlockAcctCookie acct;

    block_acct_start(&acct, BLOCK_ACCT_FLUSH, 0);
    qemuio_finish();
    block_acct_done(blk_get_stats(blk), &acct, 0);
    return 0;
}
