/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Anti-forensic splitting: a key becomes a long random text, all of which is
 * needed to get it back, so that it is lost if any part is overwritten.
 *
 *     d = 0;  for each stripe but the last: d = H(d ^ stripe)
 *     last stripe = d ^ key
 */
#include "qemu/osdep.h"

#include "crypto/luks-int.h"

/* Each piece of @d becomes the digest of its number and of itself. */
static void diffuse(QCryptoHashAlgorithm hash, uint8_t *d, size_t bytes)
{
    size_t step = crypto_hash_bytes(hash);
    uint8_t in[4 + CRYPTO_HASH_MAX], out[CRYPTO_HASH_MAX];

    for (size_t at = 0; at < bytes; at += step) {
        size_t n = MIN(step, bytes - at);

        st32_be(in, at / step);
        memcpy(in + 4, d + at, n);
        crypto_hash(hash, in, 4 + n, out);
        memcpy(d + at, out, n);
    }
    explicit_bzero(in, sizeof(in));
    explicit_bzero(out, sizeof(out));
}

static void xor(uint8_t *dest, const uint8_t *a, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        dest[i] ^= a[i];
    }
}

/* @d: what all stripes but the last say. */
static void digest_stripes(QCryptoHashAlgorithm hash, const uint8_t *split,
                           size_t bytes, uint8_t *d)
{
    memset(d, 0, bytes);
    for (size_t i = 0; i < LUKS_STRIPES - 1; i++) {
        xor(d, split + i * bytes, bytes);
        diffuse(hash, d, bytes);
    }
}

void luks_af_split(QCryptoHashAlgorithm hash, const uint8_t *key, size_t bytes,
                   uint8_t *split)
{
    uint8_t *last = split + (LUKS_STRIPES - 1) * bytes;

    crypto_random(split, (LUKS_STRIPES - 1) * bytes);
    digest_stripes(hash, split, bytes, last);
    xor(last, key, bytes);
}

void luks_af_merge(QCryptoHashAlgorithm hash, const uint8_t *split,
                   size_t bytes, uint8_t *key)
{
    digest_stripes(hash, split, bytes, key);
    xor(key, split + (LUKS_STRIPES - 1) * bytes, bytes);
}
