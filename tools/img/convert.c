/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "img.h"
int img_convert(int argc, char **argv) { return 1; }
