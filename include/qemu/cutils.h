/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers, sizes and identifiers of users: conversion from and to text. */
#ifndef QEMU_CUTILS_H
#define QEMU_CUTILS_H

#include "qemu/error.h"

/*
 * A size such as "64k", "1.5G", "0x1000", "512": a number with an optional
 * fraction and one suffix of b k M G T P E (upper or lower case, factors of
 * 1024); @default_suffix ('b', 'M' ...) applies if there is none.  Blanks and a
 * "+" may come first.  The whole string must be consumed.  False (and @errp) if
 * it is no size or > INT64_MAX.
 */
bool parse_size(const char *text, char default_suffix, int64_t *bytes,
                Error **errp);
/* The same up to 2^64 - 1: 0, -EINVAL if it is no size, or -ERANGE. */
int parse_size_u64(const char *text, char default_suffix, uint64_t *bytes);
/* The same up to INT64_MAX, of bytes, for the option @name: errors are worded
 * as QEMU words those of options. */
bool parse_size_option(const char *name, const char *text, int64_t *bytes,
                       Error **errp);
/* A decimal or 0x number, after blanks and a "+"; the whole string. */
bool parse_uint64(const char *text, uint64_t *value, Error **errp);
bool parse_int64(const char *text, int64_t *value, Error **errp);
/* "on"/"off" (and yes/no, true/false, y/n). */
bool parse_bool(const char *name, const char *text, bool *value, Error **errp);
/* Is @id a letter, followed by letters, digits, '-', '.' and '_'? */
bool id_wellformed(const char *id);
/* Fails if it is not well-formed; the error has the rule as a hint. */
bool id_check(const char *id, Error **errp);
/* "1.5 GiB", "512 B": as the tools print sizes (three significant digits). */
char *size_to_str(uint64_t bytes);

#endif
