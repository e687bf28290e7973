/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block ciphers, on those of Nettle. */
#include "qemu/osdep.h"

#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <nettle/nettle-meta.h>

#include "crypto/cipher.h"
#include "crypto/hash.h"

struct CryptoCipher {
    const struct nettle_cipher *cipher;
    void *encrypt, *decrypt; /* the key, as each direction needs it */
};

/* NULL: there is no implementation. */
static const struct nettle_cipher *find_cipher(QCryptoCipherAlgorithm alg)
{
    static const struct nettle_cipher *const
        ciphers[QCRYPTO_CIPHER_ALG__MAX] = {
        [QCRYPTO_CIPHER_ALG_AES_128] = &nettle_aes128,
        [QCRYPTO_CIPHER_ALG_AES_192] = &nettle_aes192,
        [QCRYPTO_CIPHER_ALG_AES_256] = &nettle_aes256,
        [QCRYPTO_CIPHER_ALG_CAST5_128] = &nettle_cast128,
        [QCRYPTO_CIPHER_ALG_SERPENT_128] = &nettle_serpent128,
        [QCRYPTO_CIPHER_ALG_SERPENT_192] = &nettle_serpent192,
        [QCRYPTO_CIPHER_ALG_SERPENT_256] = &nettle_serpent256,
        [QCRYPTO_CIPHER_ALG_TWOFISH_128] = &nettle_twofish128,
        [QCRYPTO_CIPHER_ALG_TWOFISH_192] = &nettle_twofish192,
        [QCRYPTO_CIPHER_ALG_TWOFISH_256] = &nettle_twofish256,
    };

    return ciphers[alg];
}

bool crypto_cipher_supported(QCryptoCipherAlgorithm alg)
{
    return find_cipher(alg) != NULL;
}

size_t crypto_cipher_key_bytes(QCryptoCipherAlgorithm alg,
                               QCryptoCipherMode mode)
{
    size_t bytes = find_cipher(alg)->key_size;

    return mode == QCRYPTO_CIPHER_MODE_XTS ? bytes * 2 : bytes;
}

size_t crypto_cipher_block_bytes(QCryptoCipherAlgorithm alg)
{
    return find_cipher(alg)->block_size;
}

CryptoCipher *crypto_cipher_new(QCryptoCipherAlgorithm alg,
                                const uint8_t *key)
{
    CryptoCipher *c = g_new(CryptoCipher, 1);

    c->cipher = find_cipher(alg);
    c->encrypt = g_malloc(c->cipher->context_size);
    c->decrypt = g_malloc(c->cipher->context_size);
    c->cipher->set_encrypt_key(c->encrypt, key);
    c->cipher->set_decrypt_key(c->decrypt, key);
    return c;
}

void crypto_cipher_free(CryptoCipher *c)
{
    if (c) {
        crypto_free(c->encrypt, c->cipher->context_size);
        crypto_free(c->decrypt, c->cipher->context_size);
        g_free(c);
    }
}

void crypto_cipher_encrypt(const CryptoCipher *c, size_t bytes, uint8_t *dest,
                           const uint8_t *src)
{
    c->cipher->encrypt(c->encrypt, bytes, dest, src);
}

void crypto_cipher_decrypt(const CryptoCipher *c, size_t bytes, uint8_t *dest,
                           const uint8_t *src)
{
    c->cipher->decrypt(c->decrypt, bytes, dest, src);
}

/* AES has implementations of its own, which keep the chain in registers. */
void crypto_cbc_encrypt(const CryptoCipher *c, uint8_t *iv, size_t bytes,
                        uint8_t *dest, const uint8_t *src)
{
    if (c->cipher == &nettle_aes128) {
        cbc_aes128_encrypt(c->encrypt, iv, bytes, dest, src);
    } else if (c->cipher == &nettle_aes192) {
        cbc_aes192_encrypt(c->encrypt, iv, bytes, dest, src);
    } else if (c->cipher == &nettle_aes256) {
        cbc_aes256_encrypt(c->encrypt, iv, bytes, dest, src);
    } else {
        cbc_encrypt(c->encrypt, c->cipher->encrypt, c->cipher->block_size, iv,
                    bytes, dest, src);
    }
}

void crypto_cbc_decrypt(const CryptoCipher *c, uint8_t *iv, size_t bytes,
                        uint8_t *dest, const uint8_t *src)
{
    cbc_decrypt(c->decrypt, c->cipher->decrypt, c->cipher->block_size, iv,
                bytes, dest, src);
}
