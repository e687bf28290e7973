/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HBitmap: merging within and across granularities.
 *
 * The result is computed block by block (64 words).  Of each operand, a block
 * in the result's granularity is fetched: in place if the granularities are
 * equal, else folded (operand finer) or expanded (operand coarser) into a
 * buffer by shifts and masks on whole words.  Level n of an operand is itself a
 * bitmap with 64^n times the granularity, so folding starts at the level that
 * is nearest below; the remaining factor is at most 32.
 */
#include "qemu/osdep.h"
#include "hbitmap-int.h"

/*
 * Kernels.  The body is compiled several times, because the
 * instructions that count bits and take several words at once are younger
 * than the baseline.
 */
#define KERNEL static inline __attribute__((always_inline))

KERNEL uint64_t body_or_into(uint64_t *r, const uint64_t *s)
{
    uint64_t added = 0;

    for (int i = 0; i < HB_BLOCK; i++) {
        added += ctpop64(s[i] & ~r[i]);
        r[i] |= s[i];
    }
    return added;
}

KERNEL uint64_t body_or_two(uint64_t *restrict r, const uint64_t *a,
                            const uint64_t *b)
{
    uint64_t count = 0;

    for (int i = 0; i < HB_BLOCK; i++) {
        uint64_t w = a[i] | b[i];

        count += ctpop64(w);
        r[i] = w;
    }
    return count;
}

/* Folding and expanding words */

/* @ones bits set at the start of every @every bits; @every < 64. */
KERNEL uint64_t stripes(int ones, int every)
{
    return ((UINT64_C(1) << ones) - 1) *
           (UINT64_MAX / ((UINT64_C(1) << every) - 1));
}

/* Each 2^@k bits become one that is their OR; 64 >> @k bits come out. */
KERNEL uint64_t fold_word(uint64_t w, int k)
{
    int ones = 1, every = 1 << k;

    for (int i = 0; i < k; i++) {
        w |= w >> (1 << i);
    }
    w &= stripes(1, every);
    while (every < 32) {
        w |= w >> (every - ones);
        ones *= 2;
        every *= 2;
        w &= stripes(ones, every);
    }
    return (w | w >> (32 - ones)) & ((UINT64_C(1) << 2 * ones) - 1);
}

/* Each of the low 64 >> @k bits becomes 2^@k equal ones. */
KERNEL uint64_t expand_word(uint64_t w, int k)
{
    int ones = 64 >> k, every = 64;

    w &= (UINT64_C(1) << ones) - 1;
    while (every > 1 << k) {
        every /= 2;
        ones /= 2;
        w = (w | w << (every - ones)) & stripes(ones, every);
    }
    return (w << every) - w;
}

/* A block of 64 words to 64 >> @k words. */
KERNEL void fold_words(uint64_t *dst, const uint64_t *src, int k)
{
    for (int i = 0; i < HB_BLOCK >> k; i++) {
        uint64_t w = 0;

        for (int j = 0; j < 1 << k; j++) {
            w |= fold_word(src[(i << k) + j], k) << (j * (64 >> k));
        }
        dst[i] = w;
    }
}

/* 64 >> @k words to a block. */
KERNEL void expand_words(uint64_t *dst, const uint64_t *src, int k)
{
    for (int i = 0; i < HB_BLOCK >> k; i++) {
        for (int j = 0; j < 1 << k; j++) {
            dst[(i << k) + j] = expand_word(src[i] >> (j * (64 >> k)), k);
        }
    }
}

/* With @k known to the compiler, all shifts and masks are constants. */
KERNEL void body_fold(uint64_t *dst, const uint64_t *src, int k)
{
    switch (k) {
    case 1: fold_words(dst, src, 1); break;
    case 2: fold_words(dst, src, 2); break;
    case 3: fold_words(dst, src, 3); break;
    case 4: fold_words(dst, src, 4); break;
    case 5: fold_words(dst, src, 5); break;
    default: g_assert_not_reached();
    }
}

KERNEL void body_expand(uint64_t *dst, const uint64_t *src, int k)
{
    switch (k) {
    case 1: expand_words(dst, src, 1); break;
    case 2: expand_words(dst, src, 2); break;
    case 3: expand_words(dst, src, 3); break;
    case 4: expand_words(dst, src, 4); break;
    case 5: expand_words(dst, src, 5); break;
    default: g_assert_not_reached();
    }
}

typedef struct Kernels {
    /* r |= s; returns how many bits that set */
    uint64_t (*or_into)(uint64_t *r, const uint64_t *s);
    /* r = a | b; returns the bits set in r */
    uint64_t (*or_two)(uint64_t *r, const uint64_t *a, const uint64_t *b);
    /* 64 words to 64 >> k words, and back; k is 1 to 5 */
    void (*fold)(uint64_t *dst, const uint64_t *src, int k);
    void (*expand)(uint64_t *dst, const uint64_t *src, int k);
} Kernels;

#define DEFINE_KERNELS(name, attribute) \
    attribute static uint64_t or_into_##name(uint64_t *r, const uint64_t *s) \
    { \
        return body_or_into(r, s); \
    } \
    attribute static uint64_t or_two_##name(uint64_t *r, const uint64_t *a, \
                                            const uint64_t *b) \
    { \
        return body_or_two(r, a, b); \
    } \
    attribute static void fold_##name(uint64_t *dst, const uint64_t *src, \
                                      int k) \
    { \
        body_fold(dst, src, k); \
    } \
    attribute static void expand_##name(uint64_t *dst, const uint64_t *src, \
                                        int k) \
    { \
        body_expand(dst, src, k); \
    } \
    static const Kernels kernels_##name = { \
        or_into_##name, or_two_##name, fold_##name, expand_##name \
    };

/* clang has no such attribute, and vectorises at -O2. */
#ifdef __clang__
#define FASTER
#else
#define FASTER , optimize("O3")
#endif

DEFINE_KERNELS(plain, )
#ifdef __x86_64__
DEFINE_KERNELS(avx2, __attribute__((target("popcnt,avx2") FASTER)))
DEFINE_KERNELS(avx512,
    __attribute__((target("popcnt,avx2,avx512f,avx512vl,avx512vpopcntdq")
                   FASTER)))
#endif

static const Kernels *kernels(void)
{
    static const Kernels *chosen;

    if (!chosen) {
        chosen = &kernels_plain;
#ifdef __x86_64__
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512vpopcntdq") &&
            __builtin_cpu_supports("avx512vl")) {
            chosen = &kernels_avx512;
        } else if (__builtin_cpu_supports("avx2") &&
                   __builtin_cpu_supports("popcnt")) {
            chosen = &kernels_avx2;
        }
#endif
    }
    return chosen;
}

static const uint64_t zero_block[HB_BLOCK];

uint64_t hb_block_count(const uint64_t *block)
{
    uint64_t none[HB_BLOCK];

    return kernels()->or_two(none, block, zero_block);
}

/* Fetching a block of an operand in the granularity of the result */

typedef struct Fetch {
    const HBitmap *src;
    const HBitmap *result;      /* its geometry only */
    int k;                      /* log2(result's / operand's granularity) */
    uint64_t buf[HB_BLOCK];
} Fetch;

static const uint64_t *fetch_finer(Fetch *f, uint64_t block)
{
    const HBitmap *src = f->src;
    int lv = f->k / 6, k = f->k % 6;
    uint64_t first = block << k, n;
    bool any = false;

    if (lv >= src->nlevels) {
        /* The whole bitmap is within one granule of the result. */
        memset(f->buf, 0, sizeof(f->buf));
        f->buf[0] = src->count != 0;
        return f->buf;
    }
    n = DIV_ROUND_UP(src->nwords[lv], HB_BLOCK);
    for (int i = 0; i < 1 << k; i++) {
        uint64_t b = first + i;
        uint64_t *dst = f->buf + i * (HB_BLOCK >> k);

        if (b >= n || (lv + 1 < src->nlevels && !src->level[lv + 1][b])) {
            memset(dst, 0, (HB_BLOCK >> k) * sizeof(*dst));
            continue;
        }
        any = true;
        if (k == 0) {
            return src->level[lv] + b * HB_BLOCK;
        }
        kernels()->fold(dst, src->level[lv] + b * HB_BLOCK, k);
    }
    return any ? f->buf : NULL;
}

/* The last granule of the operand may extend past the end of the result. */
static void fetch_cut_tail(Fetch *f, uint64_t block)
{
    uint64_t last = f->result->nwords[0] - 1;

    if (block == last / HB_BLOCK) {
        last %= HB_BLOCK;
        f->buf[last] &= hb_tail_mask(f->result);
        memset(f->buf + last + 1, 0,
               (HB_BLOCK - 1 - last) * sizeof(f->buf[0]));
    }
}

static const uint64_t *fetch_coarser(Fetch *f, uint64_t block)
{
    const HBitmap *src = f->src;
    int k = -f->k;
    uint64_t first = block * HB_BLOCK;  /* word of the result */
    uint64_t any = 0;

    if (k < 6) {
        const uint64_t *words = src->level[0] + (first >> k);

        for (int i = 0; i < HB_BLOCK >> k; i++) {
            any |= words[i];
        }
        if (any) {
            kernels()->expand(f->buf, words, k);
        }
    } else {
        /* A bit of the operand is one or more whole words. */
        for (int i = 0; i < HB_BLOCK; i++) {
            uint64_t bit = (first + i) >> (k - 6);

            f->buf[i] = bit < src->bits ?
                -(src->level[0][bit >> 6] >> (bit & 63) & 1) : 0;
            any |= f->buf[i];
        }
    }
    if (!any) {
        return NULL;
    }
    fetch_cut_tail(f, block);
    return f->buf;
}

/*
 * Block @block of the operand, NULL if it is clean (or there is no operand).
 * @nonzero: which words are not 0.
 */
static const uint64_t *fetch(Fetch *f, uint64_t block, uint64_t *nonzero)
{
    const HBitmap *src = f->src;
    const uint64_t *p;

    *nonzero = 0;
    if (!src || src->count == 0) {
        return NULL;
    }
    if (f->k == 0) {
        *nonzero = src->level[1][block];
        return *nonzero ? src->level[0] + block * HB_BLOCK : NULL;
    }
    p = f->k > 0 ? fetch_finer(f, block) : fetch_coarser(f, block);
    if (p) {
        *nonzero = hb_block_nonzero(p);
    }
    return p;
}

static void fetch_init(Fetch *f, const HBitmap *src, const HBitmap *result)
{
    f->src = src;
    f->result = result;
    f->k = src ? result->shift - src->shift : 0;
}

/* Merging */

static void mark_block(HBitmap *r, uint64_t block)
{
    hb_mark_meta(r, block * HB_BLOCK,
                 MIN((block + 1) * HB_BLOCK, r->nwords[0]) - 1);
}

/* @r |= @src */
static void merge_into(HBitmap *r, const HBitmap *src)
{
    const Kernels *kern = kernels();
    Fetch f;

    if (src == r || !src || src->count == 0) {
        return;
    }
    fetch_init(&f, src, r);
    hb_expect(r, src->count);
    for (uint64_t b = 0; b < hb_nblocks(r); b++) {
        uint64_t nonzero, added;
        const uint64_t *p = fetch(&f, b, &nonzero);

        if (p) {
            added = kern->or_into(r->level[0] + b * HB_BLOCK, p);
            r->level[1][b] |= nonzero;
            if (added) {
                r->count += added;
                mark_block(r, b);
            }
        }
    }
    hb_rebuild_upper(r, 2);
}

/* @r = @a | @b; @r is neither of them. */
static void merge_fresh(const HBitmap *a, const HBitmap *b, HBitmap *r)
{
    const Kernels *kern = kernels();
    Fetch fa, fb;

    fetch_init(&fa, a, r);
    fetch_init(&fb, b, r);
    hb_expect(r, a->count + (b ? b->count : 0));
    r->count = 0;
    for (uint64_t i = 0; i < hb_nblocks(r); i++) {
        uint64_t *dst = r->level[0] + i * HB_BLOCK;
        uint64_t in_a, in_b;
        const uint64_t *pa = fetch(&fa, i, &in_a);
        const uint64_t *pb = fetch(&fb, i, &in_b);

        if (pa || pb) {
            r->count += kern->or_two(dst, pa ? pa : zero_block,
                                     pb ? pb : zero_block);
        } else if (r->level[1][i]) {
            memset(dst, 0, HB_BLOCK * sizeof(*dst));
        } else {
            continue;
        }
        r->level[1][i] = in_a | in_b;
        mark_block(r, i);
    }
    hb_rebuild_upper(r, 2);
}

bool hbitmap_merge(const HBitmap *a, const HBitmap *b, HBitmap *result)
{
    if (a->size != result->size || (b && b->size != result->size)) {
        return false;
    }
    if (result == a) {
        merge_into(result, b);
    } else if (result == b) {
        merge_into(result, a);
    } else {
        merge_fresh(a, b == a ? NULL : b, result);
    }
    return true;
}
