/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: buffers, their content, and reports. */
#include "qemu/osdep.h"
#include "block/io.h"
#include "io-int.h"

#define MISALIGN 16 /* offset in bytes */

static bool misalign;

void qemuio_set_misalign(bool on)
{
    misalign = on;
}

/* The address to free is stored before the buffer. */
void *io_alloc_buffer(BlockBackend *blk, int64_t bytes, int fill)
{
    /* Without a medium the request fails later. */
    size_t head = blk_bs(blk) ? MAX(blk_bs(blk)->bl.opt_mem_alignment, 4096)
                              : 4096;
    uint8_t *memory = qemu_memalign(head, head + bytes + MISALIGN);
    uint8_t *buf = memory + head + (misalign ? MISALIGN : 0);

    memcpy(buf - sizeof(memory), &memory, sizeof(memory));
    memset(buf, fill, bytes);
    return buf;
}

void io_free(void *buf)
{
    void *memory;

    if (buf) {
        memcpy(&memory, (uint8_t *)buf - sizeof(memory), sizeof(memory));
        qemu_vfree(memory);
    }
}

/* Sum of the lengths in @argv, or -1, printed. */
static int64_t total_length(char **argv)
{
    int64_t total = 0, bytes;

    for (; *argv; argv++) {
        if (!io_length_arg(*argv, &bytes)) {
            return -1;
        }
        if (bytes > BDRV_REQUEST_MAX_BYTES - total) {
            printf("The total number of bytes exceed the maximum size %"
                   PRId64 "\n", BDRV_REQUEST_MAX_BYTES);
            return -1;
        }
        total += bytes;
    }
    return total;
}

bool io_vector(BlockBackend *blk, QEMUIOVector *qiov, char **argv, int fill,
               void **buf)
{
    int64_t total = total_length(argv);
    int64_t bytes;
    uint8_t *p;

    if (total < 0) {
        return false;
    }
    p = *buf = io_alloc_buffer(blk, total, fill);
    qemu_iovec_init(qiov, g_strv_length(argv));
    for (; *argv && io_length_arg(*argv, &bytes); argv++) {
        qemu_iovec_add(qiov, p, bytes);
        p += bytes;
    }
    return true;
}

bool io_fill_from_file(void *buf, int64_t bytes, const char *filename)
{
    FILE *f = fopen(filename, "r");
    int64_t n, have;

    if (!f) {
        fprintf(stderr, "%s: %s\n", filename, strerror(errno));
        return false;
    }
    have = fread(buf, 1, bytes, f);
    if (ferror(f) || (bytes && !have)) {
        fprintf(stderr, "%s: %s\n", filename,
                ferror(f) ? strerror(errno) : "file is empty");
        fclose(f);
        return false;
    }
    fclose(f);
    for (int64_t pos = have; pos < bytes; pos += n) {
        n = MIN(have, bytes - pos);
        memcpy((uint8_t *)buf + pos, buf, n);
    }
    return true;
}

bool io_verify(const uint8_t *buf, int64_t offset, int64_t start,
               int64_t length, int pattern)
{
    for (int64_t i = start; i < start + length; i++) {
        if (buf[i] != pattern) {
            printf("Pattern verification failed at offset %" PRId64 ", %"
                   PRId64 " bytes\n", offset + start, length);
            return false;
        }
    }
    return true;
}

void io_dump(const uint8_t *buf, int64_t offset, int64_t bytes)
{
    for (int64_t pos = 0; pos < bytes; pos += 16) {
        int n = MIN(16, bytes - pos);

        printf("%08" PRIx64 ":  ", offset + pos);
        for (int i = 0; i < n; i++) {
            printf("%02x ", buf[pos + i]);
        }
        printf(" ");
        for (int i = 0; i < n; i++) {
            printf("%c", g_ascii_isalnum(buf[pos + i]) ? buf[pos + i] : '.');
        }
        printf("\n");
    }
}

char *io_size_text(double bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB",
                                         "EiB" };
    int unit = -1;
    char *text, *zeroes;

    while (bytes >= 1024 && unit + 1 < (int)ARRAY_SIZE(units)) {
        bytes /= 1024;
        unit++;
    }
    if (unit < 0) {
        text = g_strdup_printf("%f", bytes);
        zeroes = strstr(text, ".000000");
    } else {
        text = g_strdup_printf("%.3f", bytes);
        zeroes = strstr(text, ".000");
    }
    if (zeroes) {
        *zeroes = '\0';
    }
    zeroes = g_strdup_printf("%s %s", text, unit < 0 ? "bytes" : units[unit]);
    g_free(text);
    return zeroes;
}

/* "00.02 sec", or "0:01:02.03" if @full or at least a minute. */
static char *time_text(double seconds, bool full)
{
    unsigned minutes = seconds / 60;
    double rest = seconds - minutes * 60.0;

    /* Truncated to hundredths, not rounded: 59.999 is not 60. */
    rest = (int)(rest * 100) / 100.0;
    if (minutes || full) {
        return g_strdup_printf("%u:%02u:%05.2f", minutes / 60, minutes % 60,
                               rest);
    }
    return g_strdup_printf("%05.2f sec", rest);
}

void io_report(const char *what, const IoOptions *o, int64_t offset,
               int64_t bytes, int64_t ns)
{
    double seconds = MAX(ns, 1) / 1e9;
    g_autofree char *time = time_text(seconds, o->csv);
    g_autofree char *size = io_size_text(bytes);
    g_autofree char *speed = io_size_text(bytes / seconds);

    if (o->quiet) {
        return;
    }
    if (o->csv) {
        printf("%" PRId64 ",1,%s,%.3f,%.3f\n", bytes, time, bytes / seconds,
               1 / seconds);
        return;
    }
    printf("%s %" PRId64 "/%" PRId64 " bytes at offset %" PRId64 "\n"
           "%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n", what, bytes, bytes,
           offset, size, time, speed, 1 / seconds);
}
