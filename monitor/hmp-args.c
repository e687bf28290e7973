/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing the text after a command's name into arguments. */
#include "qemu/osdep.h"
#include "hmp-int.h"
#include "qemu/cutils.h"

static void skip_space(const char **text)
{
    while (g_ascii_isspace(**text)) {
        (*text)++;
    }
}

char *hmp_next_word(const char **text)
{
    const char *start;

    skip_space(text);
    start = *text;
    while (**text && !g_ascii_isspace(**text)) {
        (*text)++;
    }
    return g_strndup(start, *text - start);
}

bool hmp_name_matches(const char *names, const char *name, size_t len)
{
    while (names) {
        const char *end = strchrnul(names, '|');

        if (end - names == len && !memcmp(names, name, len)) {
            return true;
        }
        names = *end ? end + 1 : NULL;
    }
    return false;
}

/* --- one argument --- */

/*
 * Errors inside quotes are printed on stderr; the answer names only the
 * argument.
 */
static bool take_escape(const char **text, GString *out)
{
    static const char letters[] = "nr\\'\"", values[] = "\n\r\\'\"";
    const char *found = **text ? strchr(letters, **text) : NULL;

    if (!found) {
        fprintf(stderr, "unsupported escape code: '\\%c'\n", **text);
        return false;
    }
    g_string_append_c(out, values[found - letters]);
    (*text)++;
    return true;
}

static char *take_quoted(const char **text)
{
    g_autoptr(GString) out = g_string_new(NULL);

    (*text)++;
    while (**text != '"') {
        if (!**text) {
            fprintf(stderr, "unterminated string\n");
            return NULL;
        }
        if (**text != '\\') {
            g_string_append_c(out, *(*text)++);
        } else {
            (*text)++;
            if (!take_escape(text, out)) {
                return NULL;
            }
        }
    }
    (*text)++;
    return g_strdup(out->str);
}

static bool take_string(HmpCall *call, const HmpArg *arg, const char **text,
                        HmpValue *value)
{
    skip_space(text);
    if (!**text && (arg->optional || arg->kind == HMP_OPTIONS)) {
        return true;
    }
    value->text = **text == '"' ? take_quoted(text)
                : **text ? hmp_next_word(text) : NULL;
    value->given = value->text != NULL;
    if (!value->text) {
        hmp_print(call, "%s: %s expected\n", call->command->name,
                  arg->kind == HMP_DEVICE ? "block device name"
                  : arg->kind == HMP_FILE ? "filename" : "string");
    }
    return value->given;
}

static bool take_rest(HmpCall *call, const HmpArg *arg, const char **text,
                      HmpValue *value)
{
    skip_space(text);
    if (!**text && arg->optional) {
        return true;
    }
    if (!**text) {
        hmp_print(call, "%s: string expected\n", call->command->name);
        return false;
    }
    value->given = true;
    value->text = g_strdup(*text);
    *text += strlen(*text);
    return true;
}

static bool take_int(HmpCall *call, const HmpArg *arg, const char **text,
                     HmpValue *value)
{
    g_autofree char *message = NULL;

    skip_space(text);
    if (!**text && arg->optional) {
        return true;
    }
    if (!hmp_eval(text, &value->number, &message)) {
        hmp_print(call, "%s\n", message);
        return false;
    }
    value->given = true;
    return true;
}

/* Length of "+1.5" or "0x10" at @text, with one letter as suffix. */
static size_t size_length(const char *text)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    size_t len = hex ? 2 + strspn(text + 2, "0123456789abcdefABCDEF")
                     : strspn(text, "0123456789.");

    return len && text[len] && strchr("bBkKmMgGtTpPeE", text[len]) ? len + 1
                                                                   : len;
}

static bool take_size(HmpCall *call, const HmpArg *arg, const char **text,
                      HmpValue *value)
{
    g_autofree char *number = NULL;
    size_t len;

    skip_space(text);
    if (!**text && arg->optional) {
        return true;
    }
    *text += **text == '+';
    len = size_length(*text);
    number = g_strndup(*text, len);
    if (!len || !parse_size(number, 'M', &value->number, NULL)) {
        hmp_print(call, "invalid size\n");
        return false;
    }
    *text += len;
    value->given = true;
    return true;
}

static bool take_switch(HmpCall *call, const HmpArg *arg, const char **text,
                        HmpValue *value)
{
    g_autofree char *word = NULL;

    skip_space(text);
    if (!**text && arg->optional) {
        return true;
    }
    word = hmp_next_word(text);
    value->number = !strcmp(word, "on");
    if (!value->number && strcmp(word, "off")) {
        hmp_print(call, "Expected 'on' or 'off'\n");
        return false;
    }
    value->given = true;
    return true;
}

/* Is -@flag an option that comes after @arg? */
static bool comes_later(const HmpArg *arg, char flag)
{
    for (arg++; arg->kind == HMP_FLAG; arg++) {
        if (arg->flag == flag) {
            return true;
        }
    }
    return false;
}

static bool take_flag(HmpCall *call, const HmpArg *arg, const char **text,
                      HmpValue *value)
{
    skip_space(text);
    if (**text != '-') {
        return true;
    }
    if ((*text)[1] == arg->flag) {
        value->given = true;
        *text += 2;
        return true;
    }
    if (!comes_later(arg, (*text)[1])) {
        hmp_print(call, "%s: unsupported option -%.1s\n", call->command->name,
                  *text + 1);
        return false;
    }
    return true;
}

typedef bool HmpTakeFunc(HmpCall *call, const HmpArg *arg, const char **text,
                         HmpValue *value);

static HmpTakeFunc *const takers[] = {
    [HMP_FLAG] = take_flag,
    [HMP_DEVICE] = take_string,
    [HMP_FILE] = take_string,
    [HMP_STRING] = take_string,
    [HMP_OPTIONS] = take_string,
    [HMP_REST] = take_rest,
    [HMP_INT] = take_int,
    [HMP_SIZE] = take_size,
    [HMP_SWITCH] = take_switch,
};

static bool take_all(HmpCall *call, const char *text)
{
    const HmpArg *args = call->command->args;

    for (int i = 0; i < HMP_MAX_ARGS && args[i].kind; i++) {
        if (!takers[args[i].kind](call, &args[i], &text, &call->values[i])) {
            return false;
        }
    }
    skip_space(&text);
    if (*text) {
        hmp_print(call, "%s: extraneous characters at the end of line\n",
                  call->command->name);
    }
    return !*text;
}

bool hmp_parse_args(HmpCall *call, const char *text)
{
    if (take_all(call, text)) {
        return true;
    }
    hmp_print(call, "Try \"help %s\" for more information\n", call->typed);
    return false;
}

/* --- access by handlers --- */

static const HmpValue *value_of(const HmpCall *call, const char *name)
{
    for (int i = 0; i < HMP_MAX_ARGS && call->command->args[i].kind; i++) {
        if (!strcmp(call->command->args[i].name, name)) {
            return &call->values[i];
        }
    }
    g_assert_not_reached();
}

const char *hmp_str(const HmpCall *call, const char *name)
{
    return value_of(call, name)->text;
}

bool hmp_has(const HmpCall *call, const char *name)
{
    return value_of(call, name)->given;
}

bool hmp_flag(const HmpCall *call, const char *name)
{
    return hmp_has(call, name);
}

int64_t hmp_int(const HmpCall *call, const char *name)
{
    return value_of(call, name)->number;
}

void hmp_end_session(HmpCall *call)
{
    call->ended = true;
}

void hmp_print(HmpCall *call, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_string_append_vprintf(call->out, fmt, ap);
    va_end(ap);
}
