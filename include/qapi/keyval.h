/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * key=value,... as users write options on a command line.
 *
 *  - A key is a path of parts between dots: file.driver=qcow2 puts 'driver'
 *    into the object 'file'.  A part begins with a letter and goes on with
 *    letters, digits, '-' and '_'; or it is a number.
 *  - An object whose keys are the numbers from 0 on is an array.
 *  - Two commas in a value are one comma.
 *  - A key that is given twice has the value given last.
 *  - All values are strings; see QAPI_INPUT_KEYVAL.
 */
#ifndef QAPI_KEYVAL_H
#define QAPI_KEYVAL_H

#include "qapi/type.h"

#define KEYVAL_MAX_DEPTH 64
#define KEYVAL_MAX_KEY 127 /* bytes of one part */

/*
 * The object that @params describes, a new reference; NULL and @errp where
 * they are malformed.  @implied_key (may be NULL): the key of a first
 * parameter that is written without "key=".  @help (may be NULL) is set to
 * whether "help" or "?" is among the parameters; else these are refused.
 */
struct json_object *keyval_parse(const char *params, const char *implied_key,
                                 bool *help, Error **errp);

/*
 * As above, but a @text that begins with '{' is JSON and must be an object.
 * *@mode says how to convert the result to a type of the schema.
 */
struct json_object *keyval_parse_or_json(const char *text,
                                         const char *implied_key,
                                         QapiInputMode *mode, Error **errp);

/*
 * The struct or union of @type that such a @text describes, checked and with
 * defaults filled in; for the caller to free by qapi_free_...().
 */
void *keyval_to_type(const char *text, const char *implied_key,
                     const QapiType *type, Error **errp);

/*
 * The text at *@pos up to a single comma, doubled ones undone; *@pos goes
 * behind that comma.  Caller frees.
 */
char *keyval_take_value(const char **pos);
/* A new string with each comma doubled, to be put into a value. */
char *keyval_escape(const char *value);

#endif
