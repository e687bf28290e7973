/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interface of a fuzz target.
 *
 * A target is linked twice: with libFuzzer, which generates inputs, and with
 * fuzz-main.c, which passes it the files of its corpus, so that former findings
 * are always tested.  Input that breaks an invariant ends the program: by a
 * sanitizer, or by g_assert().
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "qemu/osdep.h"

/* Called once before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* Tries one input; always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
