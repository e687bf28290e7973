/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digests, and keys derived from passwords.  Any thread. */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H

#include "qapi/qapi-types-crypto.h"
#include "qemu/error.h"

/* Bytes of the largest digest. */
#define CRYPTO_HASH_MAX 64

/* Bytes of a digest. */
size_t crypto_hash_bytes(QCryptoHashAlgorithm alg);
/* @out: that many bytes. */
void crypto_hash(QCryptoHashAlgorithm alg, const void *data, size_t bytes,
                 uint8_t *out);

/* A key to derive: PBKDF2 (RFC 8018) with HMAC. */
typedef struct CryptoPbkdf {
    QCryptoHashAlgorithm hash;
    const uint8_t *password;
    size_t password_bytes;
    const uint8_t *salt;
    size_t salt_bytes;
    uint32_t iterations; /* > 0 */
    uint8_t *key;        /* the result */
    size_t key_bytes;
    const bool *stop;    /* may be set by another thread; NULL: never */
} CryptoPbkdf;

/* Takes as long as the iterations say: call it in a worker thread.  0, or
 * -ECANCELED if it was stopped. */
int crypto_pbkdf2(const CryptoPbkdf *p);
/*
 * How many iterations this processor does in @ms milliseconds, for a key of
 * @key_bytes; at least 1, at most UINT64_MAX.  Takes some 30 ms: in a worker
 * thread.
 */
uint64_t crypto_pbkdf2_iterations(QCryptoHashAlgorithm hash, size_t key_bytes,
                                  uint64_t ms);

/* Fills @buf with random bytes that are fit for keys. */
void crypto_random(void *buf, size_t bytes);
/* g_free() of memory that had secrets: they are erased.  NULL is allowed. */
void crypto_free(void *buf, size_t bytes);

#endif
