/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUKS: what its files offer each other. */
#ifndef CRYPTO_LUKS_INT_H
#define CRYPTO_LUKS_INT_H

#include "crypto/hash.h"
#include "crypto/luks.h"

#define LUKS_ACTIVE 0x00ac71f3U
#define LUKS_INACTIVE 0x0000deadU
/* Key material of a new volume begins at multiples of this. */
#define LUKS_ALIGN 4096
#define LUKS_MIN_ITERATIONS 1000

/* Where fields of the header are. */
enum {
    LUKS_AT_VERSION = 6,
    LUKS_AT_CIPHER = 8,
    LUKS_AT_MODE = 40,
    LUKS_AT_HASH = 72,
    LUKS_AT_PAYLOAD = 104,
    LUKS_AT_KEY_BYTES = 108,
    LUKS_AT_DIGEST = 112,
    LUKS_AT_SALT = 132,
    LUKS_AT_ITERATIONS = 164,
    LUKS_AT_UUID = 168,
    LUKS_AT_SLOTS = 208,
    LUKS_SLOT_BYTES = 48,
};

/* Bytes of one slot's key material: whole sectors. */
static inline uint64_t luks_material_bytes(uint64_t key_bytes)
{
    return ROUND_UP(key_bytes * LUKS_STRIPES, CRYPTO_SECTOR);
}

/* --- af.c: splitting a key into LUKS_STRIPES parts --- */

/* @split: @bytes * LUKS_STRIPES. */
void luks_af_split(QCryptoHashAlgorithm hash, const uint8_t *key, size_t bytes,
                   uint8_t *split);
void luks_af_merge(QCryptoHashAlgorithm hash, const uint8_t *split,
                   size_t bytes, uint8_t *key);

/* --- luks-keys.c --- */

/* The digest of the volume's key, @h->digest; and its number of iterations. */
int coroutine_fn luks_set_digest(LuksHeader *h, const uint8_t *key,
                                 int64_t iter_time, LuksWork *work,
                                 Error **errp);
/* Does the slot, which is active, open by the password?  1, 0 or -errno;
 * @key as in luks_unlock(). */
int coroutine_fn luks_try_slot(const LuksHeader *h, const LuksIO *io, int slot,
                               const char *password, size_t password_bytes,
                               LuksWork *work, uint8_t *key, Error **errp);
/*
 * Writes what the header says of @slot; durable when it returns.  A crash
 * leaves the other slots as they are, and this one as it was, as it is, or
 * unusable.
 */
int coroutine_fn luks_slot_write(const LuksHeader *h, const LuksIO *io,
                                 int slot, Error **errp);

#endif
