/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For drivers of encrypted formats: en- and decrypts the data of requests, in
 * several worker threads at once where there is much of it.
 *
 * Offsets and lengths are multiples of CRYPTO_SECTOR.  @sectors must live until
 * a call returns.
 */
#ifndef BLOCK_ENCRYPTED_H
#define BLOCK_ENCRYPTED_H

#include "crypto/cipher.h"
#include "crypto/luks.h"
#include "block/io.h"

/* So much is encrypted before it is written: a larger request is divided. */
#define ENCRYPTED_MAX_WRITE (2 * MiB)

/*
 * Decrypts, in place, @bytes of @qiov from @qiov_offset on: what was read from
 * sector number @sector on.
 */
void coroutine_fn encrypted_co_decrypt(const CryptoSectors *sectors,
                                       uint64_t sector, QEMUIOVector *qiov,
                                       size_t qiov_offset, size_t bytes);
/* Encrypts the same to @dest; @qiov, which a guest may see, stays as it is. */
void coroutine_fn encrypted_co_encrypt(const CryptoSectors *sectors,
                                       uint64_t sector,
                                       const QEMUIOVector *qiov,
                                       size_t qiov_offset, size_t bytes,
                                       uint8_t *dest);
/*
 * Reads from @offset of @child and decrypts; writes to it encrypted.  @sector
 * is the number of the first sector.  0 or -errno.
 */
int coroutine_fn encrypted_co_preadv(BdrvChild *child, int64_t offset,
                                     const CryptoSectors *sectors,
                                     uint64_t sector, QEMUIOVector *qiov,
                                     size_t qiov_offset, int64_t bytes);
int coroutine_fn encrypted_co_pwritev(BdrvChild *child, int64_t offset,
                                      const CryptoSectors *sectors,
                                      uint64_t sector, QEMUIOVector *qiov,
                                      size_t qiov_offset, int64_t bytes,
                                      BdrvRequestFlags flags);

/* A LUKS volume in [@start, @start + @bytes) of @child. */
typedef struct EncryptedArea {
    BdrvChild *child;
    uint64_t start, bytes;
} EncryptedArea;

/* Functions for luks_*(), which work on @area as long as that is there. */
LuksIO encrypted_luks_io(EncryptedArea *area);

#endif
