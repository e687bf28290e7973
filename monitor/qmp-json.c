/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Splitting a QMP stream into messages, and writing messages. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "monitor/qmp-json.h"

void qmp_splitter_init(QmpSplitter *sp, QmpMessageFunc *func, void *opaque)
{
    *sp = (QmpSplitter){
        .func = func,
        .opaque = opaque,
        .pending = g_byte_array_new(),
        .stack = g_byte_array_new(),
    };
}

void qmp_splitter_destroy(QmpSplitter *sp)
{
    g_byte_array_unref(sp->pending);
    g_byte_array_unref(sp->stack);
}

/* Drops the message being received; a large buffer is freed. */
static void start_afresh(QmpSplitter *sp)
{
    if (sp->pending->len > 64 * KiB) {
        g_byte_array_unref(sp->pending);
        sp->pending = g_byte_array_new();
    }
    g_byte_array_set_size(sp->pending, 0);
    g_byte_array_set_size(sp->stack, 0);
    sp->quote = 0;
    sp->escape = false;
}

static void emit(QmpSplitter *sp)
{
    g_autoptr(GByteArray) msg = g_steal_pointer(&sp->pending);

    sp->pending = g_byte_array_new();
    start_afresh(sp);
    if (msg->len) {
        sp->func(sp->opaque, (const char *)msg->data, msg->len, NULL);
    }
}

static void G_GNUC_PRINTF(3, 4) fail(QmpSplitter *sp, bool skip_line,
                                     const char *fmt, ...)
{
    g_autofree char *text = NULL;
    Error *err = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    start_afresh(sp);
    sp->skipping = skip_line;
    error_setg(&err, "JSON parse error, %s", text);
    sp->func(sp->opaque, NULL, 0, err);
}

/* A byte inside a string. */
static void string_byte(QmpSplitter *sp, char c)
{
    if (c == '\n') {
        fail(sp, false, "line break in a string");
        return;
    }
    g_byte_array_append(sp->pending, (const guint8 *)&c, 1);
    if (sp->escape) {
        sp->escape = false;
    } else if (c == '\\') {
        sp->escape = true;
    } else if (c == sp->quote) {
        sp->quote = 0;
        if (!sp->stack->len) {
            emit(sp);
        }
    }
}

static void open_bracket(QmpSplitter *sp, char c)
{
    if (sp->pending->len && !sp->stack->len) {
        emit(sp); /* ends input like  true{...} */
    }
    if (sp->stack->len == QMP_MAX_DEPTH) {
        fail(sp, true, "nesting deeper than %d", QMP_MAX_DEPTH);
        return;
    }
    g_byte_array_append(sp->stack, (const guint8 *)&c, 1);
    g_byte_array_append(sp->pending, (const guint8 *)&c, 1);
}

static void close_bracket(QmpSplitter *sp, char c)
{
    char want = c == '}' ? '{' : '[';

    if (!sp->stack->len) {
        if (sp->pending->len) {
            emit(sp);
        }
        fail(sp, false, "expecting value");
        return;
    }
    if (sp->stack->data[sp->stack->len - 1] != want) {
        fail(sp, true, "'%c' does not match '%c'", c,
             sp->stack->data[sp->stack->len - 1]);
        return;
    }
    g_byte_array_append(sp->pending, (const guint8 *)&c, 1);
    g_byte_array_set_size(sp->stack, sp->stack->len - 1);
    if (!sp->stack->len) {
        emit(sp);
    }
}

static void feed_byte(QmpSplitter *sp, char c)
{
    if (sp->skipping) {
        sp->skipping = c != '\n';
        return;
    }
    if (c == '\xff') {
        if (sp->pending->len) {
            fail(sp, false, "message broken off");
        }
        start_afresh(sp);
        return;
    }
    if (sp->pending->len >= QMP_MAX_MESSAGE) {
        fail(sp, true, "message longer than %d bytes", QMP_MAX_MESSAGE);
        return;
    }
    if (sp->quote) {
        string_byte(sp, c);
        return;
    }
    switch (c) {
    case '{':
    case '[':
        open_bracket(sp, c);
        return;
    case '}':
    case ']':
        close_bracket(sp, c);
        return;
    case '"':
    case '\'':
        sp->quote = c;
        break;
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        if (!sp->stack->len) {
            if (sp->pending->len) {
                emit(sp); /* ends a number or a word */
            }
            return;
        }
        break;
    }
    g_byte_array_append(sp->pending, (const guint8 *)&c, 1);
}

void qmp_splitter_feed(QmpSplitter *sp, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        feed_byte(sp, data[i]);
    }
}

void qmp_splitter_eof(QmpSplitter *sp)
{
    if (sp->stack->len || sp->quote) {
        fail(sp, false, "message broken off");
    } else if (sp->pending->len) {
        emit(sp);
    }
}

/* --- writing --- */

static void newline(GString *out, bool pretty, int depth)
{
    if (pretty) {
        g_string_append_c(out, '\n');
        for (int i = 0; i < depth; i++) {
            g_string_append(out, "    ");
        }
    }
}

static void print_string(GString *out, const char *text)
{
    struct json_object *str = json_object_new_string(text);

    g_string_append(out, json_object_to_json_string_ext(
                             str, JSON_C_TO_STRING_PLAIN |
                                      JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(str);
}

static void print_value(GString *out, struct json_object *obj, bool pretty,
                        int depth);

static void print_object(GString *out, struct json_object *obj, bool pretty,
                         int depth)
{
    const char *comma = "";

    g_string_append_c(out, '{');
    json_object_object_foreach(obj, key, value) {
        g_string_append(out, comma);
        newline(out, pretty, depth + 1);
        print_string(out, key);
        g_string_append(out, ": ");
        print_value(out, value, pretty, depth + 1);
        comma = pretty ? "," : ", ";
    }
    newline(out, pretty, depth);
    g_string_append_c(out, '}');
}

static void print_array(GString *out, struct json_object *obj, bool pretty,
                        int depth)
{
    const char *comma = "";

    g_string_append_c(out, '[');
    for (size_t i = 0; i < json_object_array_length(obj); i++) {
        g_string_append(out, comma);
        newline(out, pretty, depth + 1);
        print_value(out, json_object_array_get_idx(obj, i), pretty,
                    depth + 1);
        comma = pretty ? "," : ", ";
    }
    newline(out, pretty, depth);
    g_string_append_c(out, ']');
}

static void print_value(GString *out, struct json_object *obj, bool pretty,
                        int depth)
{
    switch (json_object_get_type(obj)) {
    case json_type_object:
        print_object(out, obj, pretty, depth);
        break;
    case json_type_array:
        print_array(out, obj, pretty, depth);
        break;
    case json_type_string:
        print_string(out, json_object_get_string(obj));
        break;
    default:
        g_string_append(out, json_object_to_json_string_ext(
                                 obj, JSON_C_TO_STRING_PLAIN));
        break;
    }
}

void qmp_json_print(GString *out, struct json_object *obj, bool pretty)
{
    print_value(out, obj, pretty, 0);
}
