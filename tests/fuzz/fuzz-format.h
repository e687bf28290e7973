/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For targets that are one image format each. */
#ifndef TESTS_FUZZ_FORMAT_H
#define TESTS_FUZZ_FORMAT_H

/* Its name, which the target defines. */
extern const char fuzz_format[];

#endif
