/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every source file includes first: libc, glib and small arithmetic. */
#ifndef QEMU_OSDEP_H
#define QEMU_OSDEP_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* clang has a feature test where gcc defines a macro. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#define KiB (INT64_C(1) << 10)
#define MiB (INT64_C(1) << 20)
#define GiB (INT64_C(1) << 30)
#define TiB (INT64_C(1) << 40)

/*
 * Marks a function that may yield: it must run in a coroutine.  Functions
 * without the mark never yield; they may be called from anywhere.
 */
#define coroutine_fn
/* Marks a function that may be called in a coroutine or outside of one. */
#define coroutine_mixed_fn

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#ifndef container_of
#define container_of(ptr, type, member) \
    ((type *)((char *)(ptr) - offsetof(type, member)))
#endif

/* Rounding of non-negative integers; @d need not be a power of two. */
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define ROUND_UP(n, d) (DIV_ROUND_UP(n, d) * (d))
#define ROUND_DOWN(n, d) ((n) / (d) * (d))
#define IS_ALIGNED(n, d) (((n) % (d)) == 0)

static inline bool is_power_of_2(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* Position of the lowest set bit; @v must not be 0. */
static inline int ctz64(uint64_t v)
{
    return __builtin_ctzll(v);
}

/* Number of leading zero bits, 64 for 0. */
static inline int clz64(uint64_t v)
{
    return v ? __builtin_clzll(v) : 64;
}

static inline int ctpop64(uint64_t v)
{
    return __builtin_popcountll(v);
}

/* sys/queue.h of glibc lacks the forms that allow removal while walking. */
#ifndef LIST_FOREACH_SAFE
#define LIST_FOREACH_SAFE(var, head, field, tvar) \
    for ((var) = LIST_FIRST(head); \
         (var) && ((tvar) = LIST_NEXT(var, field), 1); (var) = (tvar))
#endif
#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, tvar) \
    for ((var) = TAILQ_FIRST(head); \
         (var) && ((tvar) = TAILQ_NEXT(var, field), 1); (var) = (tvar))
#endif

/* Unaligned big- and little-endian access, for formats and protocols. */
#define TM_DEFINE_ENDIAN(bits) \
    static inline uint##bits##_t ld##bits##_be(const void *p) \
    { \
        uint##bits##_t v; \
        memcpy(&v, p, sizeof(v)); \
        return GUINT##bits##_FROM_BE(v); \
    } \
    static inline void st##bits##_be(void *p, uint##bits##_t v) \
    { \
        v = GUINT##bits##_TO_BE(v); \
        memcpy(p, &v, sizeof(v)); \
    } \
    static inline uint##bits##_t ld##bits##_le(const void *p) \
    { \
        uint##bits##_t v; \
        memcpy(&v, p, sizeof(v)); \
        return GUINT##bits##_FROM_LE(v); \
    } \
    static inline void st##bits##_le(void *p, uint##bits##_t v) \
    { \
        v = GUINT##bits##_TO_LE(v); \
        memcpy(p, &v, sizeof(v)); \
    }
TM_DEFINE_ENDIAN(16)
TM_DEFINE_ENDIAN(32)
TM_DEFINE_ENDIAN(64)

/*
 * True if [@offset, @offset + @bytes) is a range whose end fits in int64_t and
 * is not above @limit.  For numbers read from an image or a socket.
 */
static inline bool range_fits(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    uint64_t end;

    return !__builtin_add_overflow(offset, bytes, &end) && end <= limit &&
           end <= INT64_MAX;
}

#endif
