/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An untrusted VHDX image.  As the parts of an image are megabytes apart and
 * have checksums, the input is a list of changes of a valid image: a place (2
 * bytes: part and offset in words), a length (1) and bytes.  The checksums are
 * made valid afterwards, unless the last byte of the input is odd.
 */
#include "qemu/osdep.h"
#include "fuzz-format.h"
#include "qemu/crc32c.h"

const char fuzz_format[] = "vhdx";

#define HEADER (64 * KiB)
#define REGIONS (192 * KiB)
#define LOG (1 * MiB)
#define BAT (2 * MiB)
#define META (3 * MiB)
#define BLOCK (4 * MiB)

static const uint8_t guids[][16] = {
    {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08},
    {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
     0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e},
    {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
     0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b},
    {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
     0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8},
    {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
     0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f},
    {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
     0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56},
};

static void put_region(uint8_t *entry, const uint8_t *guid, uint64_t at)
{
    memcpy(entry, guid, 16);
    st64_le(entry + 16, at);
    st32_le(entry + 24, MiB);
    st32_le(entry + 28, 1);
}

static void put_item(uint8_t *meta, int i, uint32_t bytes, uint64_t value)
{
    uint8_t *entry = meta + 32 + i * 32;

    memcpy(entry, guids[2 + i], 16);
    st32_le(entry + 16, 64 * KiB + i * 8);
    st32_le(entry + 20, bytes);
    st32_le(entry + 24, 4);
    st64_le(meta + 64 * KiB + i * 8, value);
}

/* An entry of the log that writes the first block's entry again. */
static void put_log(uint8_t *log)
{
    memcpy(log, "loge", 4);
    st32_le(log + 8, 8 * KiB);
    st64_le(log + 16, 7);
    st32_le(log + 24, 2);
    memset(log + 32, 0x11, 16);
    memcpy(log + 64, "desc", 4);
    st64_le(log + 72, BLOCK | 6);
    st64_le(log + 80, BAT);
    st64_le(log + 88, 7);
    memcpy(log + 96, "zero", 4);
    st64_le(log + 104, 4 * KiB);
    st64_le(log + 112, BAT + 4 * KiB);
    st64_le(log + 120, 7);
    memcpy(log + 4 * KiB, "data", 4);
    st32_le(log + 8 * KiB - 4, 7);
}

static void build(uint8_t *p)
{
    memcpy(p, "vhdxfile", 8);
    memcpy(p + HEADER, "head", 4);
    st64_le(p + HEADER + 8, 5);
    memset(p + HEADER + 48, 0x11, 16);
    st16_le(p + HEADER + 66, 1);
    st32_le(p + HEADER + 68, MiB);
    st64_le(p + HEADER + 72, LOG);
    memcpy(p + REGIONS, "regi", 4);
    st32_le(p + REGIONS + 8, 2);
    put_region(p + REGIONS + 16, guids[0], BAT);
    put_region(p + REGIONS + 48, guids[1], META);
    put_log(p + LOG);
    st64_le(p + BAT, 2);
    st64_le(p + BAT + 8, (BLOCK + MiB) | 6);
    memcpy(p + META, "metadata", 8);
    st16_le(p + META + 10, 4);
    put_item(p + META, 0, 8, MiB);
    put_item(p + META, 1, 8, 3 * MiB + 512);
    put_item(p + META, 2, 4, 512);
    put_item(p + META, 3, 4, 512);
}

static void change(uint8_t *p, const uint8_t *data, size_t size)
{
    static const uint32_t parts[8] = {
        0, HEADER, REGIONS, LOG, LOG + 4 * KiB, BAT, META, META + 64 * KiB,
    };

    while (size > 3) {
        uint32_t place = ld16_le(data);
        size_t n = MIN(data[2], size - 3);

        memcpy(p + parts[place & 7] + (place >> 3) % 1024 * 4, data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
}

static void add_sum(uint8_t *p, size_t bytes)
{
    st32_le(p + 4, 0);
    st32_le(p + 4, crc32c(0, p, bytes));
}

static void make(const uint8_t *data, size_t size)
{
    uint8_t *p;

    g_byte_array_set_size(fuzz_image, BLOCK + 2 * MiB);
    p = fuzz_image->data;
    memset(p, 0, fuzz_image->len);
    build(p);
    change(p, data, size);
    if (!size || !(data[size - 1] & 1)) {
        add_sum(p + HEADER, 4 * KiB);
        add_sum(p + REGIONS, 64 * KiB);
        add_sum(p + LOG, MIN(ld32_le(p + LOG + 8), MiB));
    }
}

void (*const fuzz_format_make)(const uint8_t *data, size_t size) = make;
