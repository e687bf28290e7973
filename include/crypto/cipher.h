/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block ciphers, and the encryption of disk sectors with them.
 *
 * Both are constant once they are made, so that any number of threads may use
 * them at once.  Keys are erased when they are freed.
 */
#ifndef CRYPTO_CIPHER_H
#define CRYPTO_CIPHER_H

#include "qapi/qapi-types-crypto.h"
#include "qemu/error.h"

#define CRYPTO_SECTOR 512
/* Bytes of the largest key, that of a mode with two keys. */
#define CRYPTO_KEY_MAX 64
#define CRYPTO_BLOCK_MAX 16

/* --- ciphers --- */

typedef struct CryptoCipher CryptoCipher;

/* Is there an implementation? */
bool crypto_cipher_supported(QCryptoCipherAlgorithm alg);
/* Bytes of a key of the cipher in @mode: XTS has two. */
size_t crypto_cipher_key_bytes(QCryptoCipherAlgorithm alg,
                               QCryptoCipherMode mode);
/* Bytes that are encrypted as one. */
size_t crypto_cipher_block_bytes(QCryptoCipherAlgorithm alg);

/* @key: as many bytes as the cipher has; @alg is supported. */
CryptoCipher *crypto_cipher_new(QCryptoCipherAlgorithm alg,
                                const uint8_t *key);
void crypto_cipher_free(CryptoCipher *c);
/* Whole blocks, each alone; @dest may be @src. */
void crypto_cipher_encrypt(const CryptoCipher *c, size_t bytes, uint8_t *dest,
                           const uint8_t *src);
void crypto_cipher_decrypt(const CryptoCipher *c, size_t bytes, uint8_t *dest,
                           const uint8_t *src);
/* Whole blocks, chained; @iv, of one block, becomes that of what follows. */
void crypto_cbc_encrypt(const CryptoCipher *c, uint8_t *iv, size_t bytes,
                        uint8_t *dest, const uint8_t *src);
void crypto_cbc_decrypt(const CryptoCipher *c, uint8_t *iv, size_t bytes,
                        uint8_t *dest, const uint8_t *src);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CryptoCipher, crypto_cipher_free)

/* --- sectors --- */

typedef struct CryptoSectors CryptoSectors;

/* How sectors are encrypted. */
typedef struct CryptoSectorsSpec {
    QCryptoCipherAlgorithm cipher;
    QCryptoCipherMode mode;
    QCryptoIVGenAlgorithm ivgen;
    QCryptoHashAlgorithm ivgen_hash; /* of ESSIV */
} CryptoSectorsSpec;

/* Do the parts fit together?  False with @errp. */
bool crypto_sectors_check(const CryptoSectorsSpec *spec, Error **errp);
/* @key: crypto_cipher_key_bytes(); @spec has been checked. */
CryptoSectors *crypto_sectors_new(const CryptoSectorsSpec *spec,
                                  const uint8_t *key);
void crypto_sectors_free(CryptoSectors *s);
/*
 * Whole sectors, the first of them being number @sector, by which their
 * initialisation vectors are determined; @dest may be @src.
 */
void crypto_sectors_encrypt(const CryptoSectors *s, uint64_t sector,
                            size_t bytes, uint8_t *dest, const uint8_t *src);
void crypto_sectors_decrypt(const CryptoSectors *s, uint64_t sector,
                            size_t bytes, uint8_t *dest, const uint8_t *src);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CryptoSectors, crypto_sectors_free)

#endif
