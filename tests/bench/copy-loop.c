/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limit of copying on this machine: a bare loop of pread and pwrite.
 *
 * usage: copy-loop SOURCE TARGET THREADS [CHUNK-BYTES]
 * Prints the seconds it took.
 */
#include "qemu/osdep.h"

#include <pthread.h>
#include <time.h>

typedef struct Loop {
    int src, dst;
    int64_t size, chunk;
    int64_t next; /* atomic: where the next chunk begins */
} Loop;

static void *copy_chunks(void *opaque)
{
    Loop *loop = opaque;
    char *buf = aligned_alloc(4096, loop->chunk);
    int64_t pos;

    while ((pos = __atomic_fetch_add(&loop->next, loop->chunk,
                                     __ATOMIC_RELAXED)) < loop->size) {
        ssize_t n = pread(loop->src, buf, loop->chunk, pos);

        if (n <= 0 || pwrite(loop->dst, buf, n, pos) != n) {
            perror("copy-loop");
            exit(EXIT_FAILURE);
        }
    }
    free(buf);
    return NULL;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    Loop loop = { .chunk = 1 * MiB };
    pthread_t threads[64];
    int n_threads;
    double start;

    if (argc < 4) {
        fprintf(stderr, "usage: copy-loop SOURCE TARGET THREADS [CHUNK]\n");
        return EXIT_FAILURE;
    }
    loop.src = open(argv[1], O_RDONLY);
    loop.dst = open(argv[2], O_WRONLY);
    n_threads = CLAMP(atoi(argv[3]), 1, 64);
    if (argc > 4) {
        loop.chunk = CLAMP(atoll(argv[4]), 4096, 64 * MiB);
    }
    if (loop.src < 0 || loop.dst < 0) {
        perror("copy-loop");
        return EXIT_FAILURE;
    }
    loop.size = lseek(loop.src, 0, SEEK_END);
    start = now();
    for (int i = 0; i < n_threads; i++) {
        pthread_create(&threads[i], NULL, copy_chunks, &loop);
    }
    for (int i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%.4f\n", now() - start);
    return EXIT_SUCCESS;
}
