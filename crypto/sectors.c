/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk sectors of 512 bytes: initialisation vectors, and modes of ciphers.
 *
 * XTS (IEEE 1619) is done here, many blocks at once: the xor with the tweaks
 * before and after is apart from the cipher, which so runs over kilobytes
 * without interruption.
 */
#include "qemu/osdep.h"

#include "crypto/cipher.h"
#include "crypto/hash.h"

#define SECTOR_WORDS (CRYPTO_SECTOR / sizeof(uint64_t))
/* So many sectors are encrypted at once: tweaks and data fit in the cache. */
#define BATCH 8

struct CryptoSectors {
    CryptoSectorsSpec spec;
    size_t block;        /* bytes */
    CryptoCipher *data;
    CryptoCipher *tweak; /* XTS: that of the second key */
    CryptoCipher *essiv; /* ESSIV: the key is a digest of that of the data */
};

/* --- what fits together --- */

/* ESSIV needs a key of the length of a digest; false: the cipher has none. */
static bool essiv_cipher(const CryptoSectorsSpec *spec,
                         QCryptoCipherAlgorithm *alg)
{
    static const QCryptoCipherAlgorithm families[][3] = {
        { QCRYPTO_CIPHER_ALG_AES_128, QCRYPTO_CIPHER_ALG_AES_192,
          QCRYPTO_CIPHER_ALG_AES_256 },
        { QCRYPTO_CIPHER_ALG_SERPENT_128, QCRYPTO_CIPHER_ALG_SERPENT_192,
          QCRYPTO_CIPHER_ALG_SERPENT_256 },
        { QCRYPTO_CIPHER_ALG_TWOFISH_128, QCRYPTO_CIPHER_ALG_TWOFISH_192,
          QCRYPTO_CIPHER_ALG_TWOFISH_256 },
        { QCRYPTO_CIPHER_ALG_CAST5_128, QCRYPTO_CIPHER_ALG_CAST5_128,
          QCRYPTO_CIPHER_ALG_CAST5_128 },
    };
    size_t bytes = crypto_hash_bytes(spec->ivgen_hash);

    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        const QCryptoCipherAlgorithm *f = families[i];

        if (spec->cipher != f[0] && spec->cipher != f[1] &&
            spec->cipher != f[2]) {
            continue;
        }
        for (size_t k = 0; k < 3; k++) {
            if (crypto_cipher_key_bytes(f[k], QCRYPTO_CIPHER_MODE_ECB) ==
                bytes) {
                *alg = f[k];
                return true;
            }
        }
    }
    return false;
}

bool crypto_sectors_check(const CryptoSectorsSpec *spec, Error **errp)
{
    const char *name = QCryptoCipherAlgorithm_str(spec->cipher);
    QCryptoCipherAlgorithm unused;

    if (!crypto_cipher_supported(spec->cipher)) {
        error_setg(errp, "Algorithm '%s' not supported", name);
    } else if (spec->mode == QCRYPTO_CIPHER_MODE_XTS &&
               crypto_cipher_block_bytes(spec->cipher) != CRYPTO_BLOCK_MAX) {
        error_setg(errp, "Cipher '%s' can not be used in mode 'xts', which "
                   "needs blocks of %d bytes", name, CRYPTO_BLOCK_MAX);
    } else if (spec->ivgen == QCRYPTO_IVGEN_ALG_ESSIV &&
               !essiv_cipher(spec, &unused)) {
        error_setg(errp, "Cipher '%s' has no keys of %zu bytes, the length of "
                   "'%s', which 'essiv' needs", name,
                   crypto_hash_bytes(spec->ivgen_hash),
                   QCryptoHashAlgorithm_str(spec->ivgen_hash));
    } else {
        return true;
    }
    return false;
}

/* --- life --- */

static CryptoCipher *new_essiv(const CryptoSectorsSpec *spec,
                               const uint8_t *key, size_t key_bytes)
{
    uint8_t digest[CRYPTO_HASH_MAX];
    QCryptoCipherAlgorithm alg;
    CryptoCipher *c;

    g_assert(essiv_cipher(spec, &alg));
    crypto_hash(spec->ivgen_hash, key, key_bytes, digest);
    c = crypto_cipher_new(alg, digest);
    explicit_bzero(digest, sizeof(digest));
    return c;
}

CryptoSectors *crypto_sectors_new(const CryptoSectorsSpec *spec,
                                  const uint8_t *key)
{
    CryptoSectors *s = g_new0(CryptoSectors, 1);
    size_t bytes = crypto_cipher_key_bytes(spec->cipher, spec->mode);

    s->spec = *spec;
    s->block = crypto_cipher_block_bytes(spec->cipher);
    s->data = crypto_cipher_new(spec->cipher, key);
    if (spec->mode == QCRYPTO_CIPHER_MODE_XTS) {
        s->tweak = crypto_cipher_new(spec->cipher, key + bytes / 2);
    }
    if (spec->ivgen == QCRYPTO_IVGEN_ALG_ESSIV) {
        s->essiv = new_essiv(spec, key, bytes);
    }
    return s;
}

void crypto_sectors_free(CryptoSectors *s)
{
    if (s) {
        crypto_cipher_free(s->data);
        crypto_cipher_free(s->tweak);
        crypto_cipher_free(s->essiv);
        g_free(s);
    }
}

/* --- initialisation vectors --- */

/* @iv: CRYPTO_BLOCK_MAX bytes. */
static void make_iv(const CryptoSectors *s, uint64_t sector, uint8_t *iv)
{
    memset(iv, 0, CRYPTO_BLOCK_MAX);
    switch (s->spec.ivgen) {
    case QCRYPTO_IVGEN_ALG_PLAIN:
        st32_le(iv, sector);
        break;
    case QCRYPTO_IVGEN_ALG_PLAIN64:
        st64_le(iv, sector);
        break;
    case QCRYPTO_IVGEN_ALG_ESSIV:
        st64_le(iv, sector);
        crypto_cipher_encrypt(s->essiv, s->block, iv, iv);
        break;
    default:
        g_assert_not_reached();
    }
}

/* --- XTS --- */

/* dest = a ^ b */
static void xor_bytes(uint8_t *dest, const uint8_t *a, const uint8_t *b,
                      size_t bytes)
{
    typedef uint64_t Pair __attribute__((vector_size(16)));

    for (size_t i = 0; i < bytes; i += sizeof(Pair)) {
        Pair x, y;

        memcpy(&x, a + i, sizeof(x));
        memcpy(&y, b + i, sizeof(y));
        x ^= y;
        memcpy(dest + i, &x, sizeof(x));
    }
}

/*
 * The tweaks of one sector's blocks, of which the first is there: each is the
 * one before, multiplied by x in GF(2^128), as a little-endian number.
 */
static void expand_tweaks(uint64_t *t)
{
    uint64_t low = GUINT64_FROM_LE(t[0]), high = GUINT64_FROM_LE(t[1]);

    for (size_t i = 2; i < SECTOR_WORDS; i += 2) {
        uint64_t carry = -(high >> 63) & 0x87;

        high = high << 1 | low >> 63;
        low = low << 1 ^ carry;
        t[i] = GUINT64_TO_LE(low);
        t[i + 1] = GUINT64_TO_LE(high);
    }
}

static void xts_batch(const CryptoSectors *s, bool encrypt, uint64_t sector,
                      size_t bytes, uint8_t *dest, const uint8_t *src)
{
    uint64_t tweaks[BATCH * SECTOR_WORDS];
    uint8_t ivs[BATCH * CRYPTO_BLOCK_MAX] = { 0 };
    size_t n = bytes / CRYPTO_SECTOR;

    for (size_t i = 0; i < n; i++) {
        make_iv(s, sector + i, ivs + i * CRYPTO_BLOCK_MAX);
    }
    crypto_cipher_encrypt(s->tweak, n * CRYPTO_BLOCK_MAX, ivs, ivs);
    for (size_t i = 0; i < n; i++) {
        memcpy(tweaks + i * SECTOR_WORDS, ivs + i * CRYPTO_BLOCK_MAX,
               CRYPTO_BLOCK_MAX);
        expand_tweaks(tweaks + i * SECTOR_WORDS);
    }
    xor_bytes(dest, src, (const uint8_t *)tweaks, bytes);
    if (encrypt) {
        crypto_cipher_encrypt(s->data, bytes, dest, dest);
    } else {
        crypto_cipher_decrypt(s->data, bytes, dest, dest);
    }
    xor_bytes(dest, dest, (const uint8_t *)tweaks, bytes);
}

/* --- the other modes, a sector each --- */

/* A counter as long as a block, big-endian, is encrypted and xored. */
static void ctr_sector(const CryptoSectors *s, uint8_t *iv, uint8_t *dest,
                       const uint8_t *src)
{
    uint8_t counters[CRYPTO_SECTOR];

    for (size_t at = 0; at < CRYPTO_SECTOR; at += s->block) {
        memcpy(counters + at, iv, s->block);
        for (size_t i = s->block; i-- > 0 && ++iv[i] == 0;) {
            /* carry */
        }
    }
    crypto_cipher_encrypt(s->data, CRYPTO_SECTOR, counters, counters);
    xor_bytes(dest, src, counters, CRYPTO_SECTOR);
}

static void one_sector(const CryptoSectors *s, bool encrypt, uint64_t sector,
                       uint8_t *dest, const uint8_t *src)
{
    uint8_t iv[CRYPTO_BLOCK_MAX];

    make_iv(s, sector, iv);
    switch (s->spec.mode) {
    case QCRYPTO_CIPHER_MODE_ECB:
        (encrypt ? crypto_cipher_encrypt : crypto_cipher_decrypt)(
            s->data, CRYPTO_SECTOR, dest, src);
        break;
    case QCRYPTO_CIPHER_MODE_CBC:
        (encrypt ? crypto_cbc_encrypt : crypto_cbc_decrypt)(
            s->data, iv, CRYPTO_SECTOR, dest, src);
        break;
    case QCRYPTO_CIPHER_MODE_CTR:
        ctr_sector(s, iv, dest, src);
        break;
    default:
        g_assert_not_reached();
    }
}

static void run(const CryptoSectors *s, bool encrypt, uint64_t sector,
                size_t bytes, uint8_t *dest, const uint8_t *src)
{
    bool xts = s->spec.mode == QCRYPTO_CIPHER_MODE_XTS;
    size_t step = xts ? BATCH * CRYPTO_SECTOR : CRYPTO_SECTOR;

    g_assert(bytes % CRYPTO_SECTOR == 0);
    for (size_t at = 0; at < bytes; at += step) {
        if (xts) {
            xts_batch(s, encrypt, sector + at / CRYPTO_SECTOR,
                      MIN(step, bytes - at), dest + at, src + at);
        } else {
            one_sector(s, encrypt, sector + at / CRYPTO_SECTOR, dest + at,
                       src + at);
        }
    }
}

void crypto_sectors_encrypt(const CryptoSectors *s, uint64_t sector,
                            size_t bytes, uint8_t *dest, const uint8_t *src)
{
    run(s, true, sector, bytes, dest, src);
}

void crypto_sectors_decrypt(const CryptoSectors *s, uint64_t sector,
                            size_t bytes, uint8_t *dest, const uint8_t *src)
{
    run(s, false, sector, bytes, dest, src);
}
