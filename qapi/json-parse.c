/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JSON parser: recursive descent, building json-c values.
 *
 * json-c's own parser accepts more than JSON and silently clamps numbers that
 * are too large; an invalid request must not be executed as another one.
 */
#include "qemu/osdep.h"
#include <math.h>
#include "qapi/json.h"

typedef struct JsonParser {
    const char *pos;
    const char *end;
    int depth;
    Error **errp;
} JsonParser;

static bool parse_value(JsonParser *p, struct json_object **out);

static bool G_GNUC_PRINTF(2, 3) fail(JsonParser *p, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_setg(p->errp, "JSON parse error, %s", text);
    return false;
}

static void skip_space(JsonParser *p)
{
    while (p->pos < p->end && strchr(" \t\r\n", *p->pos) && *p->pos) {
        p->pos++;
    }
}

/* The next character that is not white space, 0 at the end. */
static char peek(JsonParser *p)
{
    skip_space(p);
    return p->pos < p->end ? *p->pos : 0;
}

static bool fail_expecting(JsonParser *p, const char *what)
{
    if (p->pos >= p->end) {
        return fail(p, "premature EOI");
    }
    return fail(p, "%s", what);
}

/* --- strings --- */

static bool parse_hex4(JsonParser *p, unsigned *v)
{
    *v = 0;
    for (int i = 0; i < 4; i++) {
        if (p->pos >= p->end || !g_ascii_isxdigit(*p->pos)) {
            return fail(p, "invalid hex escape sequence in string");
        }
        *v = *v << 4 | g_ascii_xdigit_value(*p->pos++);
    }
    return true;
}

/* The character after \u, including the other half of a surrogate pair. */
static bool parse_unicode(JsonParser *p, GString *text)
{
    unsigned v, low;

    if (!parse_hex4(p, &v)) {
        return false;
    }
    if (v >= 0xd800 && v < 0xdc00 && p->end - p->pos >= 6 &&
        p->pos[0] == '\\' && p->pos[1] == 'u') {
        p->pos += 2;
        if (!parse_hex4(p, &low)) {
            return false;
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return fail(p, "\\u%04x\\u%04x is not a valid Unicode character",
                        v, low);
        }
        v = 0x10000 + ((v & 0x3ff) << 10 | (low & 0x3ff));
    }
    if (v == 0 || (v >= 0xd800 && v <= 0xdfff)) {
        return fail(p, "\\u%04x is not a valid Unicode character", v);
    }
    g_string_append_unichar(text, v);
    return true;
}

static bool parse_escape(JsonParser *p, GString *text)
{
    static const char from[] = "\"'\\/bfnrt";
    static const char to[] = "\"'\\/\b\f\n\r\t";
    const char *found;
    char c;

    if (p->pos >= p->end) {
        return fail(p, "premature EOI");
    }
    c = *p->pos++;
    if (c == 'u') {
        return parse_unicode(p, text);
    }
    found = c ? strchr(from, c) : NULL;
    if (!found) {
        return fail(p, "invalid escape sequence in string");
    }
    g_string_append_c(text, to[found - from]);
    return true;
}

/* Fills @text; the opening quote is next. */
static bool parse_text(JsonParser *p, GString *text)
{
    char quote = *p->pos++;

    while (p->pos < p->end && *p->pos != quote) {
        const char *run = p->pos;

        while (p->pos < p->end && *p->pos != quote && *p->pos != '\\') {
            if ((unsigned char)*p->pos < 0x20) {
                return fail(p, "control character in string");
            }
            p->pos++;
        }
        if (!g_utf8_validate_len(run, p->pos - run, NULL)) {
            return fail(p, "invalid UTF-8 sequence in string");
        }
        g_string_append_len(text, run, p->pos - run);
        if (p->pos < p->end && *p->pos == '\\') {
            p->pos++;
            if (!parse_escape(p, text)) {
                return false;
            }
        }
    }
    if (p->pos >= p->end) {
        return fail(p, "premature EOI");
    }
    p->pos++;
    return true;
}

static bool parse_string(JsonParser *p, struct json_object **out)
{
    GString *text = g_string_new(NULL);
    bool ok = parse_text(p, text);

    if (ok) {
        *out = json_object_new_string_len(text->str, text->len);
    }
    g_string_free(text, true);
    return ok;
}

/* --- numbers and words --- */

static size_t span_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* True if @text is a number in JSON; @integer: without . and e. */
static bool is_number(const char *text, bool *integer)
{
    size_t n;

    text += *text == '-';
    n = span_digits(text);
    if (!n || (n > 1 && *text == '0')) {
        return false;
    }
    text += n;
    *integer = !*text;
    if (*text == '.') {
        n = span_digits(++text);
        if (!n) {
            return false;
        }
        text += n;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        n = span_digits(text);
        if (!n) {
            return false;
        }
        text += n;
    }
    return !*text;
}

static bool parse_number(JsonParser *p, const char *word,
                         struct json_object **out)
{
    bool integer;
    double v;

    if (!is_number(word, &integer)) {
        return fail(p, "stray '%s'", word);
    }
    if (integer) {
        errno = 0;
        if (*word == '-') {
            int64_t i = g_ascii_strtoll(word, NULL, 10);

            *out = errno ? NULL : json_object_new_int64(i);
        } else {
            uint64_t u = g_ascii_strtoull(word, NULL, 10);

            *out = errno            ? NULL
                   : u <= INT64_MAX ? json_object_new_int64(u)
                                    : json_object_new_uint64(u);
        }
        if (*out) {
            return true;
        }
    }
    v = g_ascii_strtod(word, NULL);
    if (!isfinite(v)) {
        return fail(p, "number '%s' is out of range", word);
    }
    *out = json_object_new_double(v);
    return true;
}

static bool is_word_char(char c)
{
    return g_ascii_isalnum(c) || c == '_' || c == '-' || c == '+' || c == '.';
}

static bool parse_word(JsonParser *p, struct json_object **out)
{
    const char *start = p->pos;
    g_autofree char *word = NULL;

    while (p->pos < p->end && is_word_char(*p->pos)) {
        p->pos++;
    }
    /* A very long run of digits is refused. */
    if (p->pos == start || p->pos - start > 400) {
        return fail_expecting(p, "expecting value");
    }
    word = g_strndup(start, p->pos - start);
    if (!g_ascii_isalpha(*word)) {
        return parse_number(p, word, out);
    }
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        *out = json_object_new_boolean(*word == 't');
        return true;
    }
    if (strcmp(word, "null") == 0) {
        *out = NULL;
        return true;
    }
    return fail(p, "invalid keyword '%s'", word);
}

/* --- containers --- */

static bool parse_pair(JsonParser *p, struct json_object *object)
{
    GString *key = g_string_new(NULL);
    struct json_object *value = NULL;
    bool ok = false;

    if (peek(p) != '"' && peek(p) != '\'') {
        fail_expecting(p, "key is not a string in object");
    } else if (!parse_text(p, key)) {
        /* it has failed */
    } else if (peek(p) != ':') {
        fail_expecting(p, "missing : in object pair");
    } else if (json_object_object_get_ex(object, key->str, NULL)) {
        fail(p, "duplicate key");
    } else {
        p->pos++;
        ok = parse_value(p, &value);
    }
    if (ok) {
        json_object_object_add(object, key->str, value);
    }
    g_string_free(key, true);
    return ok;
}

static bool parse_object(JsonParser *p, struct json_object **out)
{
    struct json_object *object = json_object_new_object();

    p->pos++;
    while (peek(p) != '}') {
        if (json_object_object_length(object)) {
            if (peek(p) != ',') {
                fail_expecting(p, "expected separator in dict");
                goto fail;
            }
            p->pos++;
        }
        if (!parse_pair(p, object)) {
            goto fail;
        }
    }
    p->pos++;
    *out = object;
    return true;

fail:
    json_object_put(object);
    return false;
}

static bool parse_array(JsonParser *p, struct json_object **out)
{
    struct json_object *array = json_object_new_array();
    struct json_object *value;

    p->pos++;
    while (peek(p) != ']') {
        if (json_object_array_length(array)) {
            if (peek(p) != ',') {
                fail_expecting(p, "expected separator in list");
                goto fail;
            }
            p->pos++;
        }
        if (!parse_value(p, &value)) {
            goto fail;
        }
        json_object_array_add(array, value);
    }
    p->pos++;
    *out = array;
    return true;

fail:
    json_object_put(array);
    return false;
}

static bool parse_value(JsonParser *p, struct json_object **out)
{
    char c = peek(p);
    bool ok;

    *out = NULL;
    if (c == '"' || c == '\'') {
        return parse_string(p, out);
    }
    if (c != '{' && c != '[') {
        return parse_word(p, out);
    }
    if (p->depth == JSON_MAX_DEPTH) {
        return fail(p, "nesting is deeper than %d", JSON_MAX_DEPTH);
    }
    p->depth++;
    ok = c == '{' ? parse_object(p, out) : parse_array(p, out);
    p->depth--;
    return ok;
}

struct json_object *json_parse_strict(const char *text, size_t len,
                                      Error **errp)
{
    JsonParser p = {.pos = text, .end = text + len, .errp = errp};
    struct json_object *value;

    if (!parse_value(&p, &value)) {
        return NULL;
    }
    skip_space(&p);
    if (p.pos < p.end) {
        fail(&p, "expecting at most one value");
    } else if (!value) {
        fail(&p, "null where a value is needed");
    } else {
        return value;
    }
    json_object_put(value);
    return NULL;
}
