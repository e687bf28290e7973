/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An untrusted VHD image. */
#include "qemu/osdep.h"
#include "fuzz-format.h"

const char fuzz_format[] = "vpc";
void (*const fuzz_format_make)(const uint8_t *data, size_t size) =
    fuzz_image_set;
