/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An untrusted VMDK image. */
#include "fuzz-format.h"

const char fuzz_format[] = "vmdk";
