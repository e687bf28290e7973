/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checksum CRC-32C (Castagnoli). */
#ifndef QEMU_CRC32C_H
#define QEMU_CRC32C_H

#include "qemu/osdep.h"

/* Of @bytes at @data that follow data with the checksum @crc; 0: none. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
