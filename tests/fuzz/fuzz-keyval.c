/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of a command line: key=value,... or JSON, converted to C types.
 *
 * Invariants: a value or an error, never both; an escaped value is parsed to
 * the original.
 */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "fuzz.h"
#include "qapi/keyval.h"
#include "qapi/qapi-types-block-core.h"
#include "qapi/qapi-types-block-export.h"
#include "qapi/qapi-types-char.h"
#include "qapi/qapi-types-control.h"
#include "qapi/qapi-types-qom.h"

static const QapiType *const types[] = {
    &qapi_type_BlockExportOptions, &qapi_type_BlockdevOptions,
    &qapi_type_ChardevOptions,     &qapi_type_MonitorOptions,
    &qapi_type_NbdServerOptions,   &qapi_type_ObjectOptions,
};

static void try_types(struct json_object *obj, QapiInputMode mode)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        Error *err = NULL;
        void *value = qapi_type_from_json(types[i], obj, mode, &err);

        g_assert_true(!value == !!err);
        error_free(err);
        qapi_type_free(types[i], value);
    }
}

static void try_parse(const char *text, const char *implied, bool *help)
{
    Error *err = NULL;
    struct json_object *obj = keyval_parse(text, implied, help, &err);

    g_assert_true(!obj == !!err);
    error_free(err);
    if (obj) {
        try_types(obj, QAPI_INPUT_KEYVAL);
        json_object_put(obj);
    }
}

static void try_parse_or_json(const char *text)
{
    QapiInputMode mode = QAPI_INPUT_STRICT;
    Error *err = NULL;
    struct json_object *obj =
        keyval_parse_or_json(text, "driver", &mode, &err);

    g_assert_true(!obj == !!err);
    error_free(err);
    if (obj) {
        try_types(obj, mode);
        json_object_put(obj);
    }
}

static void try_escape(const char *text)
{
    g_autofree char *escaped = keyval_escape(text);
    g_autofree char *params = g_strdup_printf("a=1,b.c=%s,d=2", escaped);
    struct json_object *obj = keyval_parse(params, NULL, NULL, NULL);
    struct json_object *b = NULL, *c = NULL;

    if (!obj) {
        g_assert_false(g_utf8_validate(text, -1, NULL));
        return;
    }
    g_assert_true(json_object_object_get_ex(obj, "b", &b) &&
                  json_object_object_get_ex(b, "c", &c));
    g_assert_cmpstr(json_object_get_string(c), ==, text);
    json_object_put(obj);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    bool help;

    try_parse(text, NULL, NULL);
    try_parse(text, "driver", NULL);
    try_parse(text, "type", &help);
    try_parse_or_json(text);
    try_escape(text);
    return 0;
}
