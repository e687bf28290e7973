/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times of HBitmap's operations on a large disk, each compared with a memcpy of
 * the bytes of its lowest level, measured alternately.
 */
#include "qemu/osdep.h"
#include "qemu/hbitmap.h"

#define GRAN (64 * KiB)
#define COARSE (1 * MiB)
#define RANDOM_SETS (INT64_C(1) << 20)
#define MAX_RESULTS 40

typedef struct Result {
    const char *name;
    double ms;              /* median */
    double memcpy_ms;       /* median, measured in turn with it */
    double ns_each;         /* per call, 0 if it is a single call */
} Result;

typedef struct Bench {
    /* Set once */
    int64_t size;
    int runs;
    size_t bytes;           /* of the lowest level */
    uint8_t *from, *to;     /* for memcpy */
    HBitmap *one, *half;    /* 1 % and 50 % of the granules, random */
    HBitmap *half2;         /* the other 50 % */
    HBitmap *coarse;        /* 50 % at COARSE */
    int64_t *offsets;       /* RANDOM_SETS of them */

    /* Targets of the present operation */
    HBitmap *hb;
    uint8_t *buf;
    int64_t sum;            /* keeps results alive */

    Result results[MAX_RESULTS];
    int n;
} Bench;

static double now_ms(void)
{
    return g_get_monotonic_time() / 1000.0;
}

static uint64_t rnd_state = 88172645463325252ULL;

static uint64_t rnd64(void)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    return rnd_state ^= rnd_state << 17;
}

static HBitmap *filled(const Bench *b, uint64_t granularity, int percent)
{
    HBitmap *hb = hbitmap_new(b->size, granularity);
    size_t n = hbitmap_serialization_size(hb, 0, b->size);
    g_autofree uint8_t *bits = g_malloc0(n);

    for (size_t i = 0; percent == 50 && i < n / 8; i++) {
        st64_le(bits + i * 8, rnd64());
    }
    for (size_t i = 0; percent < 50 && i < n * 8 * percent / 100; i++) {
        uint64_t bit = rnd64() % (n * 8);

        bits[bit / 8] |= 1 << (bit % 8);
    }
    hbitmap_replace_part(hb, bits, 0, b->size);
    return hb;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, n, sizeof(*v), compare_doubles);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

typedef void Step(Bench *b);

/* One round is @prepare (untimed), @work, and a memcpy to compare with. */
static void measure(Bench *b, const char *name, Step *prepare, Step *work,
                    int64_t calls)
{
    g_autofree double *t = g_new(double, b->runs);
    g_autofree double *c = g_new(double, b->runs);
    Result *r = &b->results[b->n++];

    assert(b->n <= MAX_RESULTS);
    for (int i = 0; i < b->runs; i++) {
        double start;

        if (prepare) {
            prepare(b);
        }
        start = now_ms();
        work(b);
        t[i] = now_ms() - start;
        start = now_ms();
        memcpy(b->to, b->from, b->bytes);
        c[i] = now_ms() - start;
        b->sum += b->to[i];
    }
    r->name = name;
    r->ms = median(t, b->runs);
    r->memcpy_ms = median(c, b->runs);
    r->ns_each = calls ? r->ms * 1e6 / calls : 0;
    printf("%-34s %10.3f ms  memcpy %7.3f ms  ratio %7.2f", name, r->ms,
           r->memcpy_ms, r->ms / r->memcpy_ms);
    printf(calls ? "  %6.2f ns each\n" : "\n", r->ns_each);
    fflush(stdout);
}

/* Operations measured, and their preparation */

static void fresh(Bench *b)
{
    hbitmap_free(b->hb);
    b->hb = hbitmap_new(b->size, GRAN);
}

static void fresh_coarse(Bench *b)
{
    hbitmap_free(b->hb);
    b->hb = hbitmap_new(b->size, COARSE);
}

static void warm(Bench *b)
{
    fresh(b);
    hbitmap_set_all(b->hb);
    hbitmap_reset(b->hb, 0, b->size);
}

static void copy_of_half(Bench *b)
{
    hbitmap_free(b->hb);
    b->hb = hbitmap_copy(b->half);
}

static void full(Bench *b)
{
    fresh(b);
    hbitmap_set_all(b->hb);
}

static void set_in_turn(Bench *b)
{
    for (int64_t o = 0; o < b->size; o += GRAN) {
        hbitmap_set(b->hb, o, GRAN);
    }
}

static void set_random(Bench *b)
{
    for (int64_t i = 0; i < RANDOM_SETS; i++) {
        hbitmap_set(b->hb, b->offsets[i], 4096);
    }
}

static void set_one_place(Bench *b)
{
    for (int64_t i = 0; i < RANDOM_SETS; i++) {
        hbitmap_set(b->hb, (i & 1023) * 4096, 4096);
    }
}

static void set_all(Bench *b)
{
    hbitmap_set_all(b->hb);
}

static void reset_range(Bench *b)
{
    hbitmap_reset(b->hb, 0, b->size);
}

static void iterate(Bench *b, const HBitmap *hb)
{
    int64_t at = 0, area, bytes;

    while (hbitmap_next_dirty_area(hb, at, b->size, b->size, &area, &bytes)) {
        b->sum += bytes;
        at = area + bytes;
    }
}

static void iterate_one(Bench *b)
{
    iterate(b, b->one);
}

static void iterate_half(Bench *b)
{
    iterate(b, b->half);
}

static void merge_in_place(Bench *b)
{
    hbitmap_merge(b->hb, b->half2, b->hb);
}

static void merge_sparse(Bench *b)
{
    hbitmap_merge(b->hb, b->one, b->hb);
}

static void merge_two(Bench *b)
{
    hbitmap_merge(b->half, b->half2, b->hb);
}

static void convert_half(Bench *b)
{
    hbitmap_merge(b->half, NULL, b->hb);
}

static void convert_one(Bench *b)
{
    hbitmap_merge(b->one, NULL, b->hb);
}

static void convert_coarse(Bench *b)
{
    hbitmap_merge(b->coarse, NULL, b->hb);
}

static void serialise(Bench *b)
{
    hbitmap_serialize_part(b->half, b->buf, 0, b->size);
}

static void deserialise(Bench *b)
{
    hbitmap_replace_part(b->hb, b->buf, 0, b->size);
}

static void run_all(Bench *b)
{
    int64_t granules = DIV_ROUND_UP(b->size, GRAN);

    measure(b, "create and free", NULL, fresh, 0);
    measure(b, "set on clean, in turn", warm, set_in_turn, granules);
    measure(b, "set on dirty, in turn", full, set_in_turn, granules);
    measure(b, "set on clean, random 4 KiB", fresh, set_random, RANDOM_SETS);
    measure(b, "set on dirty, random 4 KiB", full, set_random, RANDOM_SETS);
    measure(b, "set on dirty, one place", full, set_one_place, RANDOM_SETS);
    measure(b, "set all in one call", warm, set_all, 0);
    measure(b, "reset all in one range", full, reset_range, 0);
    measure(b, "iterate areas, 1 % random", NULL, iterate_one, 0);
    measure(b, "iterate areas, 50 % random", NULL, iterate_half, 0);
    measure(b, "merge a |= b, 50 % each", copy_of_half, merge_in_place, 0);
    measure(b, "merge a |= b, b 1 %", copy_of_half, merge_sparse, 0);
    measure(b, "merge c = a | b, 50 % each", warm, merge_two, 0);
    measure(b, "merge c = a | b, c never used", fresh, merge_two, 0);
    measure(b, "merge 64 KiB into 1 MiB, 50 %", fresh_coarse, convert_half, 0);
    measure(b, "merge 64 KiB into 1 MiB, 1 %", fresh_coarse, convert_one, 0);
    measure(b, "merge 1 MiB into 64 KiB, 50 %", warm, convert_coarse, 0);
    measure(b, "serialise", NULL, serialise, 0);
    measure(b, "deserialise", warm, deserialise, 0);
}

static bool write_json(const Bench *b, const char *file)
{
    FILE *f = fopen(file, "w");

    if (!f) {
        fprintf(stderr, "bench-hbitmap: cannot write '%s': %s\n", file,
                strerror(errno));
        return false;
    }
    fprintf(f, "{\"bench\": \"hbitmap\", \"size\": %" PRId64
            ", \"granularity\": %" PRId64 ", \"memory\": %zu, \"runs\": %d,\n"
            " \"results\": [\n", b->size, GRAN, hbitmap_memory(b->half),
            b->runs);
    for (int i = 0; i < b->n; i++) {
        const Result *r = &b->results[i];

        fprintf(f, "  {\"name\": \"%s\", \"ms\": %.4f, \"memcpy-ms\": %.4f, "
                "\"ratio\": %.3f, \"ns-each\": %.2f}%s\n", r->name, r->ms,
                r->memcpy_ms, r->ms / r->memcpy_ms, r->ns_each,
                i + 1 < b->n ? "," : "");
    }
    fprintf(f, "]}\n");
    if (fclose(f) != 0) {
        fprintf(stderr, "bench-hbitmap: cannot write '%s': %s\n", file,
                strerror(errno));
        return false;
    }
    return true;
}

static void setup(Bench *b)
{
    b->one = filled(b, GRAN, 1);
    b->half = filled(b, GRAN, 50);
    b->half2 = filled(b, GRAN, 50);
    b->coarse = filled(b, COARSE, 50);
    b->bytes = hbitmap_serialization_size(b->half, 0, b->size);
    b->from = g_malloc(b->bytes);
    b->to = g_malloc(b->bytes);
    b->buf = g_malloc(b->bytes);
    memset(b->from, 1, b->bytes);
    memset(b->to, 2, b->bytes);
    hbitmap_serialize_part(b->half, b->buf, 0, b->size);
    b->offsets = g_new(int64_t, RANDOM_SETS);
    for (int64_t i = 0; i < RANDOM_SETS; i++) {
        b->offsets[i] = rnd64() % (b->size / 4096) * 4096;
    }
}

static void teardown(Bench *b)
{
    hbitmap_free(b->one);
    hbitmap_free(b->half);
    hbitmap_free(b->half2);
    hbitmap_free(b->coarse);
    hbitmap_free(b->hb);
    g_free(b->from);
    g_free(b->to);
    g_free(b->buf);
    g_free(b->offsets);
}

static int usage(void)
{
    fprintf(stderr, "usage: bench-hbitmap [-s GiB] [-n runs >= 5] "
            "[-j result.json]\n");
    return 1;
}

int main(int argc, char **argv)
{
    Bench b = { .size = 16 * TiB, .runs = 7 };
    const char *json = NULL;
    int opt, ret = 0;

    while ((opt = getopt(argc, argv, "s:n:j:")) != -1) {
        switch (opt) {
        case 's':
            b.size = g_ascii_strtoll(optarg, NULL, 10) * GiB;
            break;
        case 'n':
            b.runs = g_ascii_strtoll(optarg, NULL, 10);
            break;
        case 'j':
            json = optarg;
            break;
        default:
            return usage();
        }
    }
    if (b.size <= 0 || b.size > 1024 * TiB || b.runs < 5 || b.runs > 1000) {
        return usage();
    }
    setup(&b);
    printf("%" PRId64 " GiB at %" PRId64 " KiB: %.2f MiB of memory, "
           "median of %d\n", b.size / GiB, GRAN / KiB,
           hbitmap_memory(b.half) / (double)MiB, b.runs);
    run_all(&b);
    if (json && !write_json(&b, json)) {
        ret = 1;
    }
    teardown(&b);
    return ret;
}
