/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a buffer all zero?
 *
 * Most buffers that are not zero have a bit set in their first, middle or last
 * word, which are tested first.  The rest is or-ed together in vectors, 4 at a
 * time, with one test per step, and ends with an overlapping step, so that no
 * byte-wise tail is needed.
 */
#include "qemu/osdep.h"
#include "qemu/iov.h"

#define ZERO_UNROLL 4

typedef uint64_t __attribute__((vector_size(16), aligned(1), may_alias)) Vec16;

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline bool step16_is_zero(const uint8_t *p)
{
    const Vec16 *v = (const Vec16 *)p;
    Vec16 any = (v[0] | v[1]) | (v[2] | v[3]);

    return !(any[0] | any[1]);
}

/* @len >= 64.  SSE2 on x86-64, NEON on aarch64, words elsewhere. */
static bool is_zero_vec16(const uint8_t *p, size_t len)
{
    const size_t step = ZERO_UNROLL * sizeof(Vec16);
    const uint8_t *last = p + len - step;

    for (; p < last; p += step) {
        if (!step16_is_zero(p)) {
            return false;
        }
    }
    return step16_is_zero(last);
}

#ifdef __x86_64__
#include <immintrin.h>

static inline __attribute__((target("avx2"))) bool
step32_is_zero(const uint8_t *p)
{
    const __m256i *v = (const __m256i *)p;
    __m256i a = _mm256_loadu_si256(v);
    __m256i b = _mm256_loadu_si256(v + 1);
    __m256i c = _mm256_loadu_si256(v + 2);
    __m256i d = _mm256_loadu_si256(v + 3);
    __m256i any = _mm256_or_si256(_mm256_or_si256(a, b),
                                  _mm256_or_si256(c, d));

    return _mm256_testz_si256(any, any);
}

/* @len >= 128. */
static __attribute__((target("avx2"))) bool
is_zero_avx2(const uint8_t *p, size_t len)
{
    const size_t step = ZERO_UNROLL * 32;
    const uint8_t *last = p + len - step;

    for (; p < last; p += step) {
        if (!step32_is_zero(p)) {
            return false;
        }
    }
    return step32_is_zero(last);
}
#endif

/* @len < 64. */
static bool is_zero_short(const uint8_t *p, size_t len)
{
    uint64_t any = 0;

    if (len < 8) {
        while (len--) {
            any |= p[len];
        }
        return !any;
    }
    for (size_t i = 0; i + 8 <= len; i += 8) {
        any |= load64(p + i);
    }
    return !(any | load64(p + len - 8));
}

bool buffer_is_zero(const void *buf, size_t len)
{
    const uint8_t *p = buf;

    if (len < ZERO_UNROLL * sizeof(Vec16)) {
        return is_zero_short(p, len);
    }
    if (load64(p) | load64(p + len / 2) | load64(p + len - 8)) {
        return false;
    }
#ifdef __x86_64__
    if (len >= 128 && __builtin_cpu_supports("avx2")) {
        return is_zero_avx2(p, len);
    }
#endif
    return is_zero_vec16(p, len);
}
