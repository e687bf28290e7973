/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes from a QMP client: cut into messages, parsed, checked as requests and
 * turned into the C types of commands' arguments; no command is executed.
 *
 * Invariants: the split of the stream does not depend on how it arrives; an
 * accepted value of a type, converted back to text, is accepted again with the
 * same result.
 */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "fuzz.h"
#include "monitor/qmp-json.h"
#include "qapi/json.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-block-export.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-job.h"
#include "qapi/qapi-types-char.h"
#include "qapi/qapi-types-qom.h"
#include "qapi/qapi-types-sockets.h"
#include "qapi/qapi-types-transaction.h"
#include "qapi/qmp-dispatch.h"

static const QapiType *const types[] = {
    &qapi_type_BlockDirtyBitmapAdd,
    &qapi_type_BlockDirtyBitmapMerge,
    &qapi_type_BlockExportOptions,
    &qapi_type_BlockdevBackup,
    &qapi_type_BlockdevCreateOptions,
    &qapi_type_BlockdevOptions,
    &qapi_type_ChardevOptions,
    &qapi_type_DriveBackup,
    &qapi_type_ObjectOptions,
    &qapi_type_SocketAddress,
    &qapi_type_TransactionArg,
};

static char *to_text(struct json_object *obj)
{
    g_autoptr(GString) text = g_string_new(NULL);

    qmp_json_print(text, obj, false);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void try_type(const QapiType *type, struct json_object *obj)
{
    g_autofree char *text1 = NULL;
    g_autofree char *text2 = NULL;
    struct json_object *out1, *out2;
    void *value = NULL, *copy;
    Error *err = NULL;

    if (!qapi_type_input(type, obj, NULL, QAPI_INPUT_STRICT, &value, &err)) {
        g_assert_nonnull(err);
        error_free(err);
        return;
    }
    g_assert_null(err);
    copy = qapi_type_clone(type, value);
    qapi_type_free(type, value);
    out1 = qapi_type_to_json(type, copy);
    qapi_type_free(type, copy);
    g_assert_true(qapi_type_input(type, out1, NULL, QAPI_INPUT_STRICT, &value,
                                  &error_abort));
    out2 = qapi_type_to_json(type, value);
    qapi_type_free(type, value);
    text1 = to_text(out1);
    text2 = to_text(out2);
    g_assert_cmpstr(text1, ==, text2);
    json_object_put(out1);
    json_object_put(out2);
}

static void try_request(struct json_object *obj)
{
    struct json_object *args;
    g_autoptr(Error) err = NULL;
    bool oob;

    if (!qmp_request_check(obj, true, &oob, &err)) {
        g_assert_nonnull(err);
    }
    if (!json_object_is_type(obj, json_type_object) ||
        !json_object_object_get_ex(obj, "arguments", &args)) {
        args = obj;
    }
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        try_type(types[i], args);
    }
}

static void count_message(void *opaque, const char *text, size_t len,
                          Error *err)
{
    GString *log = opaque;

    g_string_append_printf(log, "%c%zu\n", text ? 'm' : 'e', len);
    error_free(err);
}

static void take_message(void *opaque, const char *text, size_t len,
                         Error *err)
{
    struct json_object *obj;

    count_message(opaque, text, len, err);
    if (!text) {
        return;
    }
    err = NULL;
    obj = json_parse_strict(text, len, &err);
    g_assert_true(!obj == !!err);
    if (obj) {
        try_request(obj);
        json_object_put(obj);
    }
    error_free(err);
}

static void feed(const char *data, size_t size, size_t piece,
                 QmpMessageFunc *func, GString *log)
{
    QmpSplitter sp;

    qmp_splitter_init(&sp, func, log);
    for (size_t at = 0; at < size; at += piece) {
        qmp_splitter_feed(&sp, data + at, MIN(piece, size - at));
    }
    qmp_splitter_eof(&sp);
    qmp_splitter_destroy(&sp);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GString) log1 = g_string_new(NULL);
    g_autoptr(GString) log2 = g_string_new(NULL);

    feed((const char *)data, size, MAX(size, 1), take_message, log1);
    feed((const char *)data, size, 3, count_message, log2);
    g_assert_cmpstr(log1->str, ==, log2->str);
    return 0;
}
