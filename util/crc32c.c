/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/crc32c.h"

#define POLYNOMIAL 0x82f63b78U /* bits reversed */

static uint32_t table[256];

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        }
        table[i] = crc;
    }
}

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    static gsize once;
    const uint8_t *p = data;

    if (g_once_init_enter(&once)) {
        make_table();
        g_once_init_leave(&once, 1);
    }
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc = crc >> 8 ^ table[(crc ^ p[i]) & 0xff];
    }
    return ~crc;
}
