/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Expressions in command lines: + - & | ^ bind weakest, then * / %, then the
 * signs + - ~; numbers as in C, characters in single quotes, parentheses.
 * Arithmetic wraps around.
 */
#include "qemu/osdep.h"
#include "hmp-int.h"

#define MAX_DEPTH 64

typedef struct Parser {
    const char *pos;
    char *message; /* set: it has failed */
    int depth;
} Parser;

static void skip_space(Parser *p)
{
    while (g_ascii_isspace(*p->pos)) {
        p->pos++;
    }
}

static int64_t G_GNUC_PRINTF(2, 3) fail(Parser *p, const char *fmt, ...)
{
    va_list ap;

    if (!p->message) {
        va_start(ap, fmt);
        p->message = g_strdup_vprintf(fmt, ap);
        va_end(ap);
    }
    return 0;
}

static int64_t parse_sum(Parser *p);

static int64_t parse_number(Parser *p)
{
    uint64_t value;
    char *end;

    if (!*p->pos) {
        return fail(p, "unexpected end of expression");
    }
    errno = 0;
    value = strtoull(p->pos, &end, 0);
    if (errno == ERANGE) {
        return fail(p, "number too large");
    }
    if (end == p->pos || !g_ascii_isdigit(*p->pos)) {
        return fail(p, "invalid char '%c' in expression", *p->pos);
    }
    p->pos = end;
    return value;
}

static int64_t parse_character(Parser *p)
{
    int64_t value;

    p->pos++;
    if (!*p->pos) {
        return fail(p, "character constant expected");
    }
    value = (unsigned char)*p->pos++;
    if (*p->pos != '\'') {
        return fail(p, "missing terminating \' character");
    }
    p->pos++;
    return value;
}

static int64_t parse_parentheses(Parser *p)
{
    int64_t value;

    p->pos++;
    value = parse_sum(p);
    if (!p->message && *p->pos != ')') {
        return fail(p, "')' expected");
    }
    if (!p->message) {
        p->pos++;
    }
    return value;
}

static int64_t parse_unary(Parser *p)
{
    int64_t value;

    skip_space(p);
    if (++p->depth > MAX_DEPTH) {
        return fail(p, "expression too deep");
    }
    switch (*p->pos) {
    case '+':
        p->pos++;
        value = parse_unary(p);
        break;
    case '-':
        p->pos++;
        value = -(uint64_t)parse_unary(p);
        break;
    case '~':
        p->pos++;
        value = ~parse_unary(p);
        break;
    case '(':
        value = parse_parentheses(p);
        break;
    case '\'':
        value = parse_character(p);
        break;
    case '$':
        value = fail(p, "unknown register");
        break;
    default:
        value = parse_number(p);
    }
    p->depth--;
    skip_space(p);
    return value;
}

static int64_t divide(Parser *p, int64_t a, int64_t b, char op)
{
    if (b == 0) {
        return fail(p, "division by zero");
    }
    if (b == -1) { /* INT64_MIN / -1 traps */
        return op == '/' ? (int64_t)-(uint64_t)a : 0;
    }
    return op == '/' ? a / b : a % b;
}

static int64_t parse_product(Parser *p)
{
    int64_t value = parse_unary(p);

    while (!p->message && *p->pos && strchr("*/%", *p->pos)) {
        char op = *p->pos++;
        int64_t right = parse_unary(p);

        if (p->message) {
            break;
        }
        value = op == '*' ? (int64_t)((uint64_t)value * right)
                          : divide(p, value, right, op);
    }
    return value;
}

static int64_t parse_logic(Parser *p)
{
    int64_t value = parse_product(p);

    while (!p->message && *p->pos && strchr("&|^", *p->pos)) {
        char op = *p->pos++;
        int64_t right = parse_product(p);

        value = op == '&' ? value & right
              : op == '|' ? value | right : value ^ right;
    }
    return value;
}

static int64_t parse_sum(Parser *p)
{
    uint64_t value = parse_logic(p);

    while (!p->message && (*p->pos == '+' || *p->pos == '-')) {
        char op = *p->pos++;
        int64_t right = parse_logic(p);

        value = op == '+' ? value + right : value - right;
    }
    return value;
}

bool hmp_eval(const char **text, int64_t *value, char **message)
{
    Parser p = { .pos = *text };

    skip_space(&p);
    *value = parse_sum(&p);
    *message = p.message;
    *text = p.pos;
    return !p.message;
}
