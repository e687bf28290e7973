/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data of requests, en- and decrypted in worker threads. */
#include "qemu/osdep.h"
#include "block/encrypted.h"
#include "qemu/coroutine.h"

/* Less than this is done at once: to wake another thread takes as long. */
#define INLINE_BYTES (32 * KiB)
/* A thread gets at least this much. */
#define PIECE_BYTES (64 * KiB)
#define MAX_PIECES 16

/* A part of a request, for one thread. */
typedef struct Piece {
    const CryptoSectors *sectors;
    uint64_t sector;
    const QEMUIOVector *qiov;
    size_t offset, bytes; /* in qiov */
    uint8_t *dest;        /* to encrypt to; NULL: decrypt in place */
} Piece;

static void one_run(const Piece *p, size_t done, uint8_t *data, size_t bytes)
{
    uint64_t sector = p->sector + done / CRYPTO_SECTOR;

    if (p->dest) {
        crypto_sectors_encrypt(p->sectors, sector, bytes, p->dest + done,
                               data);
    } else {
        crypto_sectors_decrypt(p->sectors, sector, bytes, data, data);
    }
}

/* A sector that is not in one element of the vector. */
static void split_sector(const Piece *p, size_t done)
{
    uint8_t sector[CRYPTO_SECTOR];

    qemu_iovec_to_buf(p->qiov, p->offset + done, sector, sizeof(sector));
    one_run(p, done, sector, sizeof(sector));
    if (!p->dest) {
        qemu_iovec_from_buf((QEMUIOVector *)p->qiov, p->offset + done, sector,
                            sizeof(sector));
    }
}

static int run_piece(void *opaque)
{
    const Piece *p = opaque;
    const struct iovec *iov = p->qiov->iov;
    size_t skip = p->offset, done = 0;

    while (done < p->bytes) {
        size_t n;

        while (skip >= iov->iov_len) {
            skip -= iov->iov_len;
            iov++;
        }
        n = ROUND_DOWN(MIN(iov->iov_len - skip, p->bytes - done),
                       (size_t)CRYPTO_SECTOR);
        if (n > 0) {
            one_run(p, done, (uint8_t *)iov->iov_base + skip, n);
        } else {
            n = CRYPTO_SECTOR;
            split_sector(p, done);
        }
        skip += n;
        done += n;
    }
    return 0;
}

static void coroutine_fn piece_entry(void *opaque)
{
    thread_pool_co_run(run_piece, opaque);
}

/* How many threads work on @bytes. */
static size_t count_pieces(size_t bytes)
{
    static int processors; /* atomic: any thread may set it */
    int n = __atomic_load_n(&processors, __ATOMIC_RELAXED);

    if (!n) {
        n = CLAMP((int)g_get_num_processors(), 1, MAX_PIECES);
        __atomic_store_n(&processors, n, __ATOMIC_RELAXED);
    }
    return MIN(n, DIV_ROUND_UP(bytes, PIECE_BYTES));
}

static void coroutine_fn run_all(const Piece *whole)
{
    Piece pieces[MAX_PIECES];
    size_t n = count_pieces(whole->bytes);
    size_t size = ROUND_UP(DIV_ROUND_UP(whole->bytes, n), 4 * KiB), at = 0;

    if (whole->bytes <= INLINE_BYTES) {
        run_piece((void *)whole);
        return;
    }
    for (size_t i = 0; i < n; i++, at += size) {
        pieces[i] = *whole;
        pieces[i].sector += at / CRYPTO_SECTOR;
        pieces[i].offset += at;
        pieces[i].bytes = at < whole->bytes ? MIN(size, whole->bytes - at)
                                            : 0;
        pieces[i].dest = whole->dest ? whole->dest + at : NULL;
    }
    co_run_all(piece_entry, pieces, n, sizeof(*pieces));
}

void coroutine_fn encrypted_co_decrypt(const CryptoSectors *sectors,
                                       uint64_t sector, QEMUIOVector *qiov,
                                       size_t qiov_offset, size_t bytes)
{
    run_all(&(Piece) { sectors, sector, qiov, qiov_offset, bytes, NULL });
}

void coroutine_fn encrypted_co_encrypt(const CryptoSectors *sectors,
                                       uint64_t sector,
                                       const QEMUIOVector *qiov,
                                       size_t qiov_offset, size_t bytes,
                                       uint8_t *dest)
{
    run_all(&(Piece) { sectors, sector, qiov, qiov_offset, bytes, dest });
}

/* --- requests --- */

int coroutine_fn encrypted_co_preadv(BdrvChild *child, int64_t offset,
                                     const CryptoSectors *sectors,
                                     uint64_t sector, QEMUIOVector *qiov,
                                     size_t qiov_offset, int64_t bytes)
{
    int ret = bdrv_co_preadv(child, offset, bytes, qiov, qiov_offset, 0);

    if (ret >= 0) {
        encrypted_co_decrypt(sectors, sector, qiov, qiov_offset, bytes);
    }
    return ret;
}

int coroutine_fn encrypted_co_pwritev(BdrvChild *child, int64_t offset,
                                      const CryptoSectors *sectors,
                                      uint64_t sector, QEMUIOVector *qiov,
                                      size_t qiov_offset, int64_t bytes,
                                      BdrvRequestFlags flags)
{
    int64_t step = MIN(bytes, ENCRYPTED_MAX_WRITE);
    uint8_t *buf = bdrv_try_blockalign(child->bs, step);
    int ret = buf ? 0 : -ENOMEM;

    for (int64_t at = 0; ret >= 0 && at < bytes; at += step) {
        int64_t n = MIN(step, bytes - at);

        encrypted_co_encrypt(sectors, sector + at / CRYPTO_SECTOR, qiov,
                             qiov_offset + at, n, buf);
        ret = bdrv_co_pwrite(child, offset + at, n, buf, flags);
    }
    qemu_vfree(buf);
    return ret;
}

/* --- volumes --- */

static int coroutine_fn area_read(void *opaque, uint64_t offset, size_t bytes,
                                  void *buf)
{
    const EncryptedArea *area = opaque;

    if (!range_fits(offset, bytes, area->bytes)) {
        return -EINVAL;
    }
    return bdrv_co_pread(area->child, area->start + offset, bytes, buf, 0);
}

static int coroutine_fn area_write(void *opaque, uint64_t offset,
                                   size_t bytes, const void *buf)
{
    const EncryptedArea *area = opaque;

    if (!range_fits(offset, bytes, area->bytes)) {
        return -EINVAL;
    }
    return bdrv_co_pwrite(area->child, area->start + offset, bytes, buf, 0);
}

static int coroutine_fn area_flush(void *opaque)
{
    const EncryptedArea *area = opaque;

    return bdrv_co_flush(area->child->bs);
}

LuksIO encrypted_luks_io(EncryptedArea *area)
{
    return (LuksIO) {
        .read = area_read,
        .write = area_write,
        .flush = area_flush,
        .opaque = area,
    };
}
