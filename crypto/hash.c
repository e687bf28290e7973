/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Digests and PBKDF2, on those of Nettle. */
#include "qemu/osdep.h"

#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <sys/random.h>
#include <time.h>

#include "crypto/hash.h"

/* So many iterations are done between two looks at what stops them. */
#define STOP_INTERVAL 4096

static const struct nettle_hash *find_hash(QCryptoHashAlgorithm alg)
{
    static const struct nettle_hash *const hashes[QCRYPTO_HASH_ALG__MAX] = {
        [QCRYPTO_HASH_ALG_MD5] = &nettle_md5,
        [QCRYPTO_HASH_ALG_SHA1] = &nettle_sha1,
        [QCRYPTO_HASH_ALG_SHA224] = &nettle_sha224,
        [QCRYPTO_HASH_ALG_SHA256] = &nettle_sha256,
        [QCRYPTO_HASH_ALG_SHA384] = &nettle_sha384,
        [QCRYPTO_HASH_ALG_SHA512] = &nettle_sha512,
        [QCRYPTO_HASH_ALG_RIPEMD160] = &nettle_ripemd160,
    };

    return hashes[alg];
}

size_t crypto_hash_bytes(QCryptoHashAlgorithm alg)
{
    return find_hash(alg)->digest_size;
}

void crypto_hash(QCryptoHashAlgorithm alg, const void *data, size_t bytes,
                 uint8_t *out)
{
    const struct nettle_hash *hash = find_hash(alg);
    void *ctx = g_malloc(hash->context_size);

    hash->init(ctx);
    hash->update(ctx, bytes, data);
    hash->digest(ctx, hash->digest_size, out);
    crypto_free(ctx, hash->context_size);
}

/* --- PBKDF2 --- */

/* The states of a digest after the inner and outer pad, and the current one. */
typedef struct Hmac {
    const struct nettle_hash *hash;
    void *outer, *inner, *state;
} Hmac;

static void hmac_begin(Hmac *h, QCryptoHashAlgorithm alg,
                       const uint8_t *password, size_t bytes)
{
    h->hash = find_hash(alg);
    h->outer = g_malloc(h->hash->context_size);
    h->inner = g_malloc(h->hash->context_size);
    h->state = g_malloc(h->hash->context_size);
    hmac_set_key(h->outer, h->inner, h->state, h->hash, bytes, password);
}

static void hmac_end(Hmac *h)
{
    crypto_free(h->outer, h->hash->context_size);
    crypto_free(h->inner, h->hash->context_size);
    crypto_free(h->state, h->hash->context_size);
}

/* @out: a digest of those of the two parts. */
static void hmac_run(Hmac *h, const uint8_t *data, size_t bytes,
                     const uint8_t *more, size_t more_bytes, uint8_t *out)
{
    hmac_update(h->state, h->hash, bytes, data);
    hmac_update(h->state, h->hash, more_bytes, more);
    hmac_digest(h->outer, h->inner, h->state, h->hash, h->hash->digest_size,
                out);
}

static bool is_stopped(const CryptoPbkdf *p)
{
    return p->stop && __atomic_load_n(p->stop, __ATOMIC_RELAXED);
}

/* Block @number (from 1 on) of the key: the xor of all iterations' digests. */
static int pbkdf2_block(const CryptoPbkdf *p, Hmac *h, uint32_t number,
                        uint8_t *sum)
{
    uint8_t u[CRYPTO_HASH_MAX], be[4];
    size_t n = h->hash->digest_size;
    int ret = 0;

    st32_be(be, number);
    hmac_run(h, p->salt, p->salt_bytes, be, sizeof(be), u);
    memcpy(sum, u, n);
    for (uint32_t i = 1; i < p->iterations; i++) {
        if (i % STOP_INTERVAL == 0 && is_stopped(p)) {
            ret = -ECANCELED;
            break;
        }
        hmac_run(h, u, n, be, 0, u);
        for (size_t k = 0; k < n; k++) {
            sum[k] ^= u[k];
        }
    }
    explicit_bzero(u, sizeof(u));
    return ret;
}

int crypto_pbkdf2(const CryptoPbkdf *p)
{
    uint8_t block[CRYPTO_HASH_MAX];
    size_t n = crypto_hash_bytes(p->hash);
    Hmac h;
    int ret = 0;

    hmac_begin(&h, p->hash, p->password, p->password_bytes);
    for (size_t at = 0; ret == 0 && at < p->key_bytes; at += n) {
        ret = pbkdf2_block(p, &h, at / n + 1, block);
        memcpy(p->key + at, block, MIN(n, p->key_bytes - at));
    }
    hmac_end(&h);
    explicit_bzero(block, sizeof(block));
    return ret;
}

/* CPU time of this thread; other threads' load does not count. */
static int64_t thread_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

uint64_t crypto_pbkdf2_iterations(QCryptoHashAlgorithm hash, size_t key_bytes,
                                  uint64_t ms)
{
    g_autofree uint8_t *key = g_malloc(key_bytes);
    CryptoPbkdf p = {
        .hash = hash,
        .password = (const uint8_t *)"password",
        .password_bytes = 8,
        .salt = (const uint8_t *)"salt",
        .salt_bytes = 4,
        .iterations = 1000,
        .key = key,
        .key_bytes = key_bytes,
    };
    int64_t ns = 0;
    double n;

    while (p.iterations < UINT32_MAX / 2) {
        int64_t start = thread_ns();

        crypto_pbkdf2(&p);
        ns = thread_ns() - start;
        if (ns > 15 * 1000000) {
            break;
        }
        p.iterations *= 2;
    }
    n = (double)p.iterations * 1e6 * ms / MAX(ns, 1);
    return n >= 1.8e19 ? UINT64_MAX : MAX((uint64_t)n, 1U);
}

/* --- memory --- */

void crypto_random(void *buf, size_t bytes)
{
    uint8_t *p = buf;

    while (bytes > 0) {
        ssize_t n = getrandom(p, bytes, 0);

        if (n < 0) {
            if (errno != EINTR) {
                g_error("getrandom: %s", g_strerror(errno));
            }
            continue;
        }
        p += n;
        bytes -= n;
    }
}

void crypto_free(void *buf, size_t bytes)
{
    if (buf) {
        explicit_bzero(buf, bytes);
        g_free(buf);
    }
}
