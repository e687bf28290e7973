/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest: coroutines that send random requests, several at once. */
#include "crash.h"

static int pick_kind(CrashGuest *g)
{
    const unsigned shares[] = {
        g->mix.write, g->mix.zeroes, g->mix.zeroes_unmap, g->mix.discard,
        g->mix.compressed, g->mix.flush, g->mix.read,
    };
    unsigned sum = 0, pick;

    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        sum += shares[i];
    }
    pick = g_rand_int_range(g->rand, 0, sum);
    for (size_t i = 0; ; i++) {
        if (pick < shares[i]) {
            return i;
        }
        pick -= shares[i];
    }
}

/* Units, sectors, parts of clusters and whole ones, near each other. */
static void pick_range(CrashGuest *g, bool whole, int64_t *offset,
                       int64_t *bytes)
{
    int64_t size = g->model->size_now;
    int64_t clusters = DIV_ROUND_UP(size, g->cluster);
    int64_t at = g_rand_int_range(g->rand, 0, clusters) * g->cluster;
    int64_t n = g_rand_int_range(g->rand, 1, 4) * g->cluster;
    int64_t align = CRASH_UNIT;

    switch (whole ? 0 : g_rand_int_range(g->rand, 0, 6)) {
    case 0: /* whole clusters */
    case 1:
        break;
    case 2: /* within one */
        align = g_rand_boolean(g->rand) ? CRASH_SECTOR : CRASH_UNIT;
        n = g_rand_int_range(g->rand, 1, g->cluster / align + 1) * align;
        at += g_rand_int_range(g->rand, 0, (g->cluster - n) / align + 1) *
              align;
        break;
    case 3: /* the first sector */
        n = CRASH_SECTOR;
        break;
    default: /* anywhere */
        n = g_rand_int_range(g->rand, 1, n / align + 1) * align;
        at += g_rand_int_range(g->rand, 0, g->cluster / align) * align;
    }
    *offset = MIN(at, size - CRASH_UNIT);
    *bytes = MIN(n, size - *offset);
}

static void fail(CrashGuest *g, const char *what, int ret)
{
    if (ret < 0 && g->error->len == 0) {
        g_string_append_printf(g->error, "%s failed: %s", what,
                               g_strerror(-ret));
    }
}

static void coroutine_fn do_write(CrashGuest *g, bool compressed)
{
    CrashGuestOp op = { .size = -1,
                        .value = crash_model_new_value(g->model) };
    g_autofree uint8_t *buf = NULL;
    guint n;
    int ret;

    pick_range(g, compressed, &op.offset, &op.bytes);
    if (compressed) {
        op.bytes = MIN(op.bytes, g->cluster);
    }
    buf = g_malloc(op.bytes);
    memset(buf, op.value, op.bytes);
    n = crash_model_begin(g->model, &op);
    ret = blk_co_pwrite(g->blk, op.offset, op.bytes, buf,
                        compressed ? BDRV_REQ_WRITE_COMPRESSED : 0);
    crash_model_end(g->model, n, ret);
    fail(g, "a write", ret);
}

static void coroutine_fn do_zeroes(CrashGuest *g, bool unmap)
{
    CrashGuestOp op = { .size = -1 };
    guint n;
    int ret;

    pick_range(g, g_rand_boolean(g->rand), &op.offset, &op.bytes);
    n = crash_model_begin(g->model, &op);
    ret = blk_co_pwrite_zeroes(g->blk, op.offset, op.bytes,
                               unmap ? BDRV_REQ_MAY_UNMAP : 0);
    crash_model_end(g->model, n, ret);
    fail(g, "a write of zeroes", ret);
}

static void coroutine_fn do_discard(CrashGuest *g)
{
    CrashGuestOp op = { .size = -1, .weak = true };
    guint n;
    int ret;

    pick_range(g, g_rand_boolean(g->rand), &op.offset, &op.bytes);
    n = crash_model_begin(g->model, &op);
    ret = blk_co_pdiscard(g->blk, op.offset, op.bytes);
    crash_model_end(g->model, n, ret);
    fail(g, "a discard", ret);
}

static void coroutine_fn do_flush(CrashGuest *g)
{
    guint n = crash_model_begin_flush(g->model);
    int ret = blk_co_flush(g->blk);

    crash_model_end_flush(g->model, n, ret);
    fail(g, "a flush", ret);
}

static void coroutine_fn do_read(CrashGuest *g)
{
    g_autoptr(GString) why = g_string_new("");
    CrashTime start = crash_log_tick(g->model->log);
    g_autofree uint8_t *buf = NULL;
    int64_t offset, bytes;
    int ret;

    pick_range(g, false, &offset, &bytes);
    buf = g_malloc(bytes);
    ret = blk_co_pread(g->blk, offset, bytes, buf, 0);
    fail(g, "a read", ret);
    if (ret == 0 && g->error->len == 0 &&
        !crash_model_allows_read(g->model, start, offset, buf, bytes, why)) {
        g_string_append_printf(g->error, "a guest's read: %s", why->str);
    }
}

static void coroutine_fn worker(void *opaque)
{
    CrashGuest *g = opaque;

    while (g->steps > 0) {
        int kind = pick_kind(g);

        g->steps--;
        switch (kind) {
        case 0:
            do_write(g, false);
            break;
        case 1:
        case 2:
            do_zeroes(g, kind == 2);
            break;
        case 3:
            do_discard(g);
            break;
        case 4:
            do_write(g, true);
            break;
        case 5:
            do_flush(g);
            break;
        default:
            do_read(g);
        }
        if (g_rand_int_range(g->rand, 0, 3) == 0) {
            co_yield_to_loop();
        }
    }
    g->running--;
}

void crash_guest_start(CrashGuest *g, int steps)
{
    g->steps = steps;
    for (unsigned i = 0; i < g->workers; i++) {
        g->running++;
        coroutine_enter(coroutine_create(worker, g));
    }
}

void crash_guest_wait(CrashGuest *g)
{
    AIO_WAIT_WHILE(g->running > 0);
}
