/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The requests of a quorum.  Each is submitted to all children at once and
 * completes when all of them have:
 *
 *     read     what at least vote-threshold children agree on, byte by byte;
 *              of several such versions, the one with most votes, then the one
 *              that the oldest child has
 *     others   succeed if they do for at least vote-threshold children
 *
 * If they do not, the errno is the one that most children returned, or EIO if
 * they could be read and disagreed.
 *
 * Data is compared in private buffers: the caller's may be memory of a guest,
 * which can change it while it is being compared.
 *
 * Discards.  A range that was discarded reads as it may, and differently for
 * different children, so that a later read (a backup's, at the latest) would
 * lose its vote.  Therefore children get a write of zeroes that may unmap, but
 * only if one of them can do that without writing buffers.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "quorum-int.h"

/* Most bytes that are voted on at once, for all children together and for
 * one, and the least for one. */
#define VOTE_BYTES_ALL (16 * MiB)
#define VOTE_BYTES_MAX (1 * MiB)
#define VOTE_BYTES_MIN (64 * KiB)

typedef struct QuorumRequest QuorumRequest;

typedef struct QuorumPart {
    const QuorumRequest *r;
    BdrvChild *child;
    int ret;
    /* --- of a read that is voted on --- */
    uint8_t *buf;
    unsigned version; /* the first part that has the same data */
    unsigned votes;   /* for its data, in the part that is the version */
} QuorumPart;

struct QuorumRequest {
    BlockDriverState *bs;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    BdrvRequestFlags flags;
    unsigned n;
    QuorumPart parts[]; /* one for each child, the oldest first */
};

static QuorumRequest *request_new(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes)
{
    unsigned n = quorum_count(bs);
    QuorumRequest *r = g_malloc0(sizeof(*r) + n * sizeof(r->parts[0]));
    BdrvChild *child = NULL;

    r->bs = bs;
    r->offset = offset;
    r->bytes = bytes;
    r->n = n;
    while ((child = bdrv_next_child(bs, child))) {
        n--;
        r->parts[n].r = r;
        r->parts[n].child = child;
    }
    return r;
}

static void coroutine_fn run_all(QuorumRequest *r, CoroutineEntry *verb)
{
    co_run_all(verb, r->parts, r->n, sizeof(r->parts[0]));
}

/* --- results --- */

static void report_bad(const QuorumRequest *r, QuorumOpType type,
                       const QuorumPart *part)
{
    if (bdrv_event_hooks.quorum_report_bad) {
        bdrv_event_hooks.quorum_report_bad(type, part->child->bs,
                                           MAX(-part->ret, 0), r->offset,
                                           r->bytes);
    }
}

static void report_failure(const QuorumRequest *r)
{
    if (bdrv_event_hooks.quorum_failure) {
        bdrv_event_hooks.quorum_failure(r->bs, r->offset, r->bytes);
    }
}

/* How many parts succeeded; reports the others. */
static unsigned count_good(const QuorumRequest *r, QuorumOpType type)
{
    unsigned good = 0;

    for (unsigned i = 0; i < r->n; i++) {
        if (r->parts[i].ret < 0) {
            report_bad(r, type, &r->parts[i]);
        } else {
            good++;
        }
    }
    return good;
}

static unsigned count_result(const QuorumRequest *r, int ret)
{
    unsigned n = 0;

    for (unsigned i = 0; i < r->n; i++) {
        n += r->parts[i].ret == ret;
    }
    return n;
}

/* The error of most parts; at least one failed. */
static int most_frequent_error(const QuorumRequest *r)
{
    unsigned most = 0;
    int ret = -EIO;

    for (unsigned i = 0; i < r->n; i++) {
        int error = r->parts[i].ret;
        unsigned n = error < 0 ? count_result(r, error) : 0;

        if (n > most) {
            most = n;
            ret = error;
        }
    }
    return ret;
}

/* Of a request that changes all children or is to make that durable. */
static int common_result(const QuorumRequest *r, QuorumOpType type)
{
    const QuorumState *s = r->bs->opaque;

    if (count_good(r, type) >= s->threshold) {
        return 0;
    }
    if (type != QUORUM_OP_TYPE_FLUSH) {
        report_failure(r);
    }
    return most_frequent_error(r);
}

/* --- changes --- */

static void coroutine_fn part_write(void *opaque)
{
    QuorumPart *part = opaque;
    const QuorumRequest *r = part->r;

    part->ret = bdrv_co_pwritev(part->child, r->offset, r->bytes, r->qiov,
                                r->qiov_offset, r->flags);
}

int coroutine_fn quorum_co_pwritev(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags)
{
    g_autofree QuorumRequest *r = request_new(bs, offset, bytes);

    r->qiov = qiov;
    r->qiov_offset = qiov_offset;
    r->flags = flags;
    run_all(r, part_write);
    return common_result(r, QUORUM_OP_TYPE_WRITE);
}

static void coroutine_fn part_zeroes(void *opaque)
{
    QuorumPart *part = opaque;
    const QuorumRequest *r = part->r;

    part->ret = bdrv_co_pwrite_zeroes(part->child, r->offset, r->bytes,
                                      r->flags);
}

int coroutine_fn quorum_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes,
                                         BdrvRequestFlags flags)
{
    g_autofree QuorumRequest *r = request_new(bs, offset, bytes);

    r->flags = flags;
    run_all(r, part_zeroes);
    if ((flags & BDRV_REQ_NO_FALLBACK) && count_result(r, -ENOTSUP)) {
        return -ENOTSUP; /* the caller writes data, then all agree again */
    }
    return common_result(r, QUORUM_OP_TYPE_WRITE);
}

/* The second try for a child that cannot do it fast, while others did. */
static void coroutine_fn part_zeroes_slowly(void *opaque)
{
    QuorumPart *part = opaque;
    const QuorumRequest *r = part->r;

    if (part->ret == -ENOTSUP) {
        part->ret = bdrv_co_pwrite_zeroes(part->child, r->offset, r->bytes,
                                          BDRV_REQ_MAY_UNMAP);
    }
}

int coroutine_fn quorum_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes)
{
    g_autofree QuorumRequest *r = request_new(bs, offset, bytes);

    r->flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    run_all(r, part_zeroes);
    if (count_result(r, -ENOTSUP) == r->n) {
        return -ENOTSUP;
    }
    run_all(r, part_zeroes_slowly);
    return common_result(r, QUORUM_OP_TYPE_WRITE);
}

static void coroutine_fn part_flush(void *opaque)
{
    QuorumPart *part = opaque;

    part->ret = bdrv_co_flush(part->child->bs);
}

int coroutine_fn quorum_co_flush(BlockDriverState *bs)
{
    g_autofree QuorumRequest *r = request_new(bs, 0, 0);

    run_all(r, part_flush);
    return common_result(r, QUORUM_OP_TYPE_FLUSH);
}

/* How many children have lost writes at most @times. */
static unsigned count_safe(BlockDriverState *bs, BdrvCountWrites *count,
                           uint64_t times)
{
    BdrvChild *child = NULL;
    unsigned n = 0;

    while ((child = bdrv_next_child(bs, child))) {
        n += count(child->bs) <= times;
    }
    return n;
}

/* As with requests, what happens to the others does not matter. */
uint64_t quorum_count_writes(BlockDriverState *bs, BdrvCountWrites *count)
{
    const QuorumState *s = bs->opaque;
    BdrvChild *child = NULL;
    uint64_t least = UINT64_MAX;

    while ((child = bdrv_next_child(bs, child))) {
        uint64_t n = count(child->bs);

        if (n < least && count_safe(bs, count, n) >= s->threshold) {
            least = n;
        }
    }
    return least;
}

/* --- reading --- */

static int coroutine_fn read_fifo(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset)
{
    g_autofree QuorumRequest *r = request_new(bs, offset, bytes);

    for (unsigned i = 0; i < r->n; i++) {
        QuorumPart *part = &r->parts[i];

        part->ret = bdrv_co_preadv(part->child, offset, bytes, qiov,
                                   qiov_offset, 0);
        if (part->ret == 0) {
            return 0;
        }
        report_bad(r, QUORUM_OP_TYPE_READ, part);
    }
    return most_frequent_error(r);
}

static void coroutine_fn part_read(void *opaque)
{
    QuorumPart *part = opaque;
    const QuorumRequest *r = part->r;

    part->ret = bdrv_co_pread(part->child, r->offset, r->bytes, part->buf, 0);
}

static bool same_data(const QuorumRequest *r, unsigned a, unsigned b)
{
    return !memcmp(r->parts[a].buf, r->parts[b].buf, r->bytes);
}

/* The version of part @i: an older one, or its own. */
static unsigned find_version(const QuorumRequest *r, unsigned i)
{
    for (unsigned j = 0; j < i; j++) {
        if (r->parts[j].ret == 0 && r->parts[j].version == j &&
            same_data(r, i, j)) {
            return j;
        }
    }
    return i;
}

/* Counts the votes; the winner. */
static const QuorumPart *vote(QuorumRequest *r)
{
    const QuorumPart *winner = NULL;

    for (unsigned i = 0; i < r->n; i++) {
        QuorumPart *part = &r->parts[i];

        if (part->ret == 0) {
            part->version = find_version(r, i);
            r->parts[part->version].votes++;
        }
    }
    for (unsigned i = 0; i < r->n; i++) {
        if (!winner || r->parts[i].votes > winner->votes) {
            winner = &r->parts[i];
        }
    }
    return winner;
}

typedef struct QuorumRewrite {
    const QuorumPart *winner;
    QuorumPart part;
} QuorumRewrite;

static void coroutine_fn part_rewrite(void *opaque)
{
    QuorumRewrite *w = opaque;
    const QuorumRequest *r = w->part.r;

    w->part.ret = bdrv_co_pwrite(w->part.child, r->offset, r->bytes,
                                 w->winner->buf, 0);
    if (w->part.ret < 0) {
        report_bad(r, QUORUM_OP_TYPE_WRITE, &w->part);
    }
}

/* Reports those that lost and, where that is wanted, corrects them. */
static void coroutine_fn treat_losers(QuorumRequest *r,
                                      const QuorumPart *winner)
{
    const QuorumState *s = r->bs->opaque;
    g_autofree QuorumRewrite *rewrites = g_new(QuorumRewrite, r->n);
    unsigned n = 0;

    for (unsigned i = 0; i < r->n; i++) {
        const QuorumPart *part = &r->parts[i];

        if (part->ret < 0 || &r->parts[part->version] == winner) {
            continue;
        }
        report_bad(r, QUORUM_OP_TYPE_READ, part);
        if (s->rewrite && (part->child->perm & BLK_PERM_WRITE)) {
            rewrites[n++] = (QuorumRewrite) { winner, *part };
        }
    }
    co_run_all(part_rewrite, rewrites, n, sizeof(rewrites[0]));
}

/* blkverify: both children were read, and one of them is wrong. */
static void G_GNUC_NORETURN verify_failed(const QuorumRequest *r)
{
    int64_t i = 0;

    while (r->parts[0].buf[i] == r->parts[1].buf[i]) {
        i++;
    }
    fprintf(stderr, "quorum: offset=%" PRId64 " bytes=%" PRId64
            " contents mismatch at offset %" PRId64 "\n", r->offset, r->bytes,
            r->offset + i);
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

static int coroutine_fn read_vote(QuorumRequest *r, QEMUIOVector *qiov,
                                  size_t qiov_offset)
{
    const QuorumState *s = r->bs->opaque;
    const QuorumPart *winner;

    run_all(r, part_read);
    if (count_good(r, QUORUM_OP_TYPE_READ) < s->threshold) {
        report_failure(r);
        return most_frequent_error(r);
    }
    if (s->blkverify && !same_data(r, 0, 1)) {
        verify_failed(r);
    }
    winner = vote(r);
    if (winner->votes < s->threshold) {
        report_failure(r);
        return -EIO;
    }
    if (winner->votes < r->n) {
        treat_losers(r, winner);
    }
    qemu_iovec_from_buf(qiov, qiov_offset, winner->buf, r->bytes);
    return 0;
}

static int coroutine_fn read_piece(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset)
{
    g_autofree QuorumRequest *r = request_new(bs, offset, bytes);
    int ret = 0;

    for (unsigned i = 0; i < r->n; i++) {
        r->parts[i].buf = bdrv_try_blockalign(r->parts[i].child->bs, bytes);
        if (!r->parts[i].buf) {
            ret = -ENOMEM;
        }
    }
    if (ret == 0) {
        ret = read_vote(r, qiov, qiov_offset);
    }
    for (unsigned i = 0; i < r->n; i++) {
        qemu_vfree(r->parts[i].buf);
    }
    return ret;
}

int coroutine_fn quorum_co_preadv(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags)
{
    const QuorumState *s = bs->opaque;
    int64_t max = CLAMP(VOTE_BYTES_ALL / quorum_count(bs), VOTE_BYTES_MIN,
                        VOTE_BYTES_MAX);
    int ret = 0;

    if (s->fifo) {
        return read_fifo(bs, offset, bytes, qiov, qiov_offset);
    }
    max = ROUND_DOWN(max, VOTE_BYTES_MIN);
    for (int64_t done = 0; ret == 0 && done < bytes; done += max) {
        ret = read_piece(bs, offset + done, MIN(max, bytes - done), qiov,
                         qiov_offset + done);
    }
    return ret;
}

/* --- status --- */

/* Zeroes where all children have them; all else is data, and is voted on. */
int coroutine_fn quorum_co_block_status(BlockDriverState *bs, bool want_zero,
                                        int64_t offset, int64_t bytes,
                                        int64_t *pnum, int64_t *map,
                                        BlockDriverState **file)
{
    BdrvChild *child = NULL;

    *pnum = bytes;
    if (!want_zero) {
        return BDRV_BLOCK_DATA;
    }
    while ((child = bdrv_next_child(bs, child))) {
        int64_t n;
        bool zero = bdrv_co_reads_as_zero(child->bs, offset, *pnum, &n);

        *pnum = n;
        if (!zero) {
            return BDRV_BLOCK_DATA;
        }
    }
    return BDRV_BLOCK_ZERO;
}
