/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For targets that are one image format each. */
#ifndef TESTS_FUZZ_FORMAT_H
#define TESTS_FUZZ_FORMAT_H

#include "fuzz-image.h"

/* Its name, which the target defines. */
extern const char fuzz_format[];
/* More options of the node, as JSON with a comma before it; "". */
extern const char *fuzz_format_options;
/* Makes the image for an input; fuzz_image_set if the input is the image. */
extern void (*const fuzz_format_make)(const uint8_t *data, size_t size);

#endif
