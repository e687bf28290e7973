/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text to JSON values, strictly.
 *
 * Taken is what RFC 8259 says, and strings in single quotes; \' is an escape.
 * Refused are: anything after the value, a key twice in an object, invalid
 * UTF-8, control characters and \u0000 in strings, lone surrogates, nesting
 * deeper than JSON_MAX_DEPTH.  Integers up to UINT64_MAX are integers,
 * larger ones are numbers.  The parser recurses: not for coroutines.
 */
#ifndef QAPI_JSON_H
#define QAPI_JSON_H

#include "qemu/error.h"
#include <json-c/json_object.h>

#define JSON_MAX_DEPTH 1024

/*
 * The value that the @len bytes at @text describe, a new reference; NULL and
 * @errp ("JSON parse error, ...") otherwise.  A text that is just null is
 * refused, since the answer could not be told from a failure.
 */
struct json_object *json_parse_strict(const char *text, size_t len,
                                      Error **errp);

#endif
