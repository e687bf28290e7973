/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pieces from host file to host file: worker threads that take the next piece
 * themselves.
 *
 * A lane is a worker thread that empties the queue, and a coroutine that waits
 * for it.  Submitting a piece to an idle thread and being notified of its end
 * costs as much as copying some ten KiB, and is delayed while the loop is busy.
 * So a lane exists only while there are pieces, continues by itself as long as
 * there are, and takes several small ones at once.
 *
 * The coroutine of a piece is woken (co_wake()) as soon as the piece is copied,
 * for small ones together: its requests end in the thread of the mover, which
 * refills the queue while the lane copies the next one.
 */
#include "qemu/osdep.h"
#include "block/copy-mover-int.h"
#include "qemu/aio.h"
#include "qemu/interval.h"
#include "qemu/iov.h"

/* Small pieces that a lane takes together. */
#define LANE_PIECES 16
/*
 * Threads at a time: enough for one to read while another one writes, and no
 * more than there are processors, as additional threads only evict cached data.
 */
#define MIN_LANES 3
#define MAX_LANES 8

struct CopyHost {
    /* --- set once --- */
    BufPool *pool; /* thread safe */
    int64_t buffer;
    int max_lanes;

    /* --- any thread, under lock --- */
    QemuMutex lock;
    TAILQ_HEAD(, CopyPiece) queue;
    int taking;    /* lanes that will check the queue again */
    int lanes;     /* lanes whose coroutine has not ended */
    bool orphaned; /* the last lane frees it */
};

typedef struct Lane {
    CopyHost *h;
    void *buf; /* page aligned, h->buffer bytes */
    /* --- the worker's, then its coroutine's --- */
    CopyPiece *taken[LANE_PIECES], *copied[LANE_PIECES];
    int n_taken, n_copied;
} Lane;

CopyHost *copy_host_new(int64_t buffer)
{
    CopyHost *h = g_new0(CopyHost, 1);

    h->buffer = buffer;
    h->max_lanes = CLAMP(sysconf(_SC_NPROCESSORS_ONLN) + 1, MIN_LANES,
                         MAX_LANES);
    h->pool = bufpool_new(buffer, h->max_lanes);
    qemu_mutex_init(&h->lock);
    TAILQ_INIT(&h->queue);
    return h;
}

static void destroy(CopyHost *h)
{
    bufpool_free(h->pool);
    qemu_mutex_destroy(&h->lock);
    g_free(h);
}

void copy_host_free(CopyHost *h)
{
    bool last;

    if (!h) {
        return;
    }
    qemu_mutex_lock(&h->lock);
    g_assert(TAILQ_EMPTY(&h->queue));
    h->orphaned = true;
    last = h->lanes == 0;
    qemu_mutex_unlock(&h->lock);
    if (last) {
        destroy(h);
    }
}

int copy_host_threads(const CopyHost *h)
{
    return h->max_lanes;
}

/* --- in a worker thread --- */

/* The part past the end of a file is zero. */
static int read_all(const CopyPiece *piece, void *buf)
{
    int64_t done = 0;

    while (done < piece->bytes) {
        ssize_t n = pread(piece->in, (char *)buf + done,
                          piece->bytes - done, piece->in_offset + done);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            memset((char *)buf + done, 0, piece->bytes - done);
            break;
        }
        done += MAX(n, 0);
    }
    return 0;
}

static int write_all(const CopyPiece *piece, const void *buf)
{
    int64_t done = 0;

    while (done < piece->bytes) {
        ssize_t n = pwrite(piece->out, (const char *)buf + done,
                           piece->bytes - done, piece->out_offset + done);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -EIO;
        }
        done += MAX(n, 0);
    }
    return 0;
}

/* Is any whole unit zero?  Units begin at multiples of it on the disk. */
static bool has_zero_unit(const CopyPiece *piece, const void *buf)
{
    int64_t unit = piece->zero_unit, n;

    for (int64_t at = 0; at < piece->bytes; at += n) {
        n = MIN(unit - (piece->offset + at) % unit, piece->bytes - at);
        if (buffer_is_zero((const char *)buf + at, n)) {
            return true;
        }
    }
    return false;
}

/* Reads, looks for zeroes while the data is cached, writes. */
static int copy_piece(const CopyPiece *piece, void *buf)
{
    int ret = read_all(piece, buf);

    if (ret < 0) {
        return ret;
    }
    if (piece->zero_unit > 0 && has_zero_unit(piece, buf)) {
        return COPY_PIECE_MIXED;
    }
    if (piece->zero_unit == 0 && buffer_is_zero(buf, piece->bytes)) {
        return BDRV_HOST_IS_ZERO;
    }
    ret = write_all(piece, buf);
    return ret < 0 ? ret : BDRV_HOST_WRITTEN;
}

/* False: the queue is empty, and this lane does not check it again. */
static bool take_pieces(Lane *lane)
{
    CopyHost *h = lane->h;
    CopyPiece *piece;
    int64_t bytes = 0;

    lane->n_taken = 0;
    qemu_mutex_lock(&h->lock);
    while (lane->n_taken < LANE_PIECES && (piece = TAILQ_FIRST(&h->queue)) &&
           (lane->n_taken == 0 || bytes + piece->bytes <= h->buffer / 2)) {
        TAILQ_REMOVE(&h->queue, piece, entry);
        lane->taken[lane->n_taken++] = piece;
        bytes += piece->bytes;
    }
    if (lane->n_taken == 0) {
        h->taking--;
    }
    qemu_mutex_unlock(&h->lock);
    return lane->n_taken > 0;
}

/* Wakes the waiters of the copied pieces, which are invalid afterwards. */
static void wake_copied(Lane *lane)
{
    for (int i = 0; i < lane->n_copied; i++) {
        co_wake(lane->copied[i]->co);
    }
    lane->n_copied = 0;
}

/* The coroutine wakes the last ones: when all pieces have ended, so has each
 * lane that copied one. */
static int lane_work(void *opaque)
{
    Lane *lane = opaque;

    while (take_pieces(lane)) {
        wake_copied(lane);
        for (int i = 0; i < lane->n_taken; i++) {
            lane->taken[i]->ret = copy_piece(lane->taken[i], lane->buf);
            lane->copied[i] = lane->taken[i];
        }
        lane->n_copied = lane->n_taken;
    }
    return 0;
}

/* --- in the mover's thread --- */

static void coroutine_fn lane_entry(void *opaque)
{
    g_autofree Lane *lane = opaque;
    CopyHost *h = lane->h;
    bool last;

    thread_pool_co_run(lane_work, lane);
    bufpool_put(h->pool, lane->buf);
    qemu_mutex_lock(&h->lock);
    h->lanes--;
    last = h->lanes == 0 && h->orphaned;
    qemu_mutex_unlock(&h->lock);
    wake_copied(lane);
    if (last) {
        destroy(h);
    }
}

/* Starts a lane; false: no memory for its buffer. */
static bool start_lane(CopyHost *h)
{
    Lane *lane = g_new0(Lane, 1);

    lane->h = h;
    lane->buf = bufpool_get(h->pool);
    if (!lane->buf) {
        g_free(lane);
        return false;
    }
    coroutine_enter(coroutine_create(lane_entry, lane));
    return true;
}

/* Puts @piece into the queue; true: a new lane is needed. */
static bool enqueue(CopyHost *h, CopyPiece *piece, bool urgent)
{
    bool wanted;

    qemu_mutex_lock(&h->lock);
    if (urgent) {
        TAILQ_INSERT_HEAD(&h->queue, piece, entry);
    } else {
        TAILQ_INSERT_TAIL(&h->queue, piece, entry);
    }
    wanted = urgent || h->taking < h->max_lanes;
    h->taking += wanted;
    h->lanes += wanted;
    qemu_mutex_unlock(&h->lock);
    return wanted;
}

/* No lane could be started; false: another lane takes @piece. */
static bool withdraw(CopyHost *h, CopyPiece *piece)
{
    CopyPiece *other;
    bool found = false;

    qemu_mutex_lock(&h->lock);
    h->taking--;
    h->lanes--;
    TAILQ_FOREACH(other, &h->queue, entry) {
        found |= other == piece;
    }
    if (found && h->taking == 0) {
        TAILQ_REMOVE(&h->queue, piece, entry);
    } else {
        found = false; /* another lane takes it */
    }
    qemu_mutex_unlock(&h->lock);
    return found;
}

int coroutine_fn copy_host_run(CopyHost *h, CopyPiece *piece, bool urgent)
{
    piece->co = coroutine_self();
    if (enqueue(h, piece, urgent) && !start_lane(h) && withdraw(h, piece)) {
        return -ENOMEM;
    }
    coroutine_yield();
    return piece->ret;
}

void copy_host_hurry(CopyHost *h, int64_t offset, int64_t bytes)
{
    CopyPiece *piece, *next;

    qemu_mutex_lock(&h->lock);
    TAILQ_FOREACH_SAFE(piece, &h->queue, entry, next) {
        if (ranges_overlap(piece->offset, piece->bytes, offset, bytes)) {
            TAILQ_REMOVE(&h->queue, piece, entry);
            TAILQ_INSERT_HEAD(&h->queue, piece, entry);
        }
    }
    qemu_mutex_unlock(&h->lock);
}
