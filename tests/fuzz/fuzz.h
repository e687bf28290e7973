/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each fuzz target offers.
 *
 * A target is linked twice: with libFuzzer, which feeds it bytes of its own
 * making, and with fuzz-main.c, which feeds it the files of its corpus, so that
 * what was once found is tested ever after.  Input that breaks a promise ends
 * the program: by a sanitizer, or by g_assert().
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "qemu/osdep.h"

/* Called once before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* Tries one input; always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
