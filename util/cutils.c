/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conversion of numbers, sizes and identifiers from and to text. */
#include "qemu/osdep.h"
#include "qemu/cutils.h"

#define DIGITS "0123456789"

/* The factor of a size suffix, 0 if @c is none. */
static uint64_t size_factor(char c)
{
    static const char suffixes[] = "BKMGTPE";
    const char *s = c ? strchr(suffixes, g_ascii_toupper(c)) : NULL;

    return s ? UINT64_C(1) << (10 * (s - suffixes)) : 0;
}

/* Scripts pass what strtoull() accepts: "-e 2" as one argument gives " 2". */
static const char *skip_blanks(const char *text)
{
    while (g_ascii_isspace(*text)) {
        text++;
    }
    return text;
}

static bool is_hex(const char *text)
{
    return text[0] == '0' && (text[1] == 'x' || text[1] == 'X') &&
           g_ascii_isxdigit(text[2]);
}

/*
 * Parses an unsigned number at @text, after blanks and a "+": 0, -EINVAL if
 * there is none, or -ERANGE.  strtoull() would accept a "-", and a leading 0 as
 * the sign of an octal number.
 */
static int scan_number(const char *text, uint64_t *value, const char **end)
{
    bool hex;
    char *stop;

    text = skip_blanks(text);
    text += *text == '+';
    hex = is_hex(text);
    if (!g_ascii_isdigit(*text)) {
        return -EINVAL;
    }
    errno = 0;
    *value = g_ascii_strtoull(text, &stop, hex ? 16 : 10);
    *end = stop;
    return -errno;
}

static bool scan_uint64(const char *text, uint64_t *value, const char **end)
{
    return scan_number(text, value, end) == 0;
}

/*
 * Scans the ".ddd" at *@text, if there, and yields floor(@factor * 0.ddd).
 * Integers are used, as a double would lose bits of large factors.
 */
static uint64_t scan_fraction(const char **text, uint64_t factor)
{
    const char *p = *text;
    const char *end;
    unsigned __int128 value = 0;

    if (*p != '.') {
        return 0;
    }
    for (end = p + 1; g_ascii_isdigit(*end); end++) {
    }
    *text = end;
    /* From the last digit on: value = (digit + value) / 10, in 2^-60 units. */
    while (--end > p) {
        value = (((unsigned __int128)(*end - '0') << 60) + value) / 10;
    }
    return (uint64_t)((value * factor) >> 60);
}

int parse_size_u64(const char *text, char default_suffix, uint64_t *bytes)
{
    const char *end, *frac_end, *digits;
    uint64_t whole, factor, frac;
    bool has_frac, some_frac;
    int ret = scan_number(text, &whole, &end);

    if (ret == -EINVAL) {
        return ret;
    }
    frac_end = end;
    has_frac = *end == '.';
    some_frac = has_frac && strspn(end + 1, "0") != strspn(end + 1, DIGITS);
    scan_fraction(&frac_end, 1);
    factor = size_factor(*frac_end ? *frac_end : default_suffix);
    if (!factor || (*frac_end && frac_end[1])) {
        return -EINVAL;
    }
    digits = skip_blanks(text);
    if ((some_frac && factor == 1) ||
        (has_frac && is_hex(digits + (*digits == '+')))) {
        return -EINVAL;
    }
    frac = scan_fraction(&end, factor);
    if (ret < 0 || __builtin_mul_overflow(whole, factor, &whole) ||
        __builtin_add_overflow(whole, frac, bytes)) {
        return -ERANGE;
    }
    return 0;
}

bool parse_size(const char *text, char default_suffix, int64_t *bytes,
                Error **errp)
{
    uint64_t size = 0;
    int ret = parse_size_u64(text, default_suffix, &size);

    if (ret == -EINVAL) {
        error_setg(errp, "'%s' is not a size: a number, optionally with a "
                   "suffix k, M, G, T, P or E, is expected", text);
        return false;
    }
    if (ret < 0 || size > INT64_MAX) {
        error_setg(errp, "Size '%s' is too large", text);
        return false;
    }
    *bytes = size;
    return true;
}

bool parse_size_option(const char *name, const char *text, int64_t *bytes,
                       Error **errp)
{
    uint64_t size;

    if (parse_size_u64(text, 'b', &size) == -ERANGE) {
        error_setg(errp, "Value '%s' is out of range for parameter '%s'", text,
                   name);
        return false;
    }
    if (!parse_size(text, 'b', bytes, NULL)) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below "
                   "2^64", name);
        error_append_hint(errp, "Optional suffix k, M, G, T, P or E means "
                          "kilo-, mega-, giga-, tera-, peta-\nand exabytes, "
                          "respectively.\n");
        return false;
    }
    return true;
}

bool parse_uint64(const char *text, uint64_t *value, Error **errp)
{
    const char *end;

    if (!scan_uint64(text, value, &end) || *end) {
        error_setg(errp, "'%s' is not an unsigned 64-bit number", text);
        return false;
    }
    return true;
}

bool parse_int64(const char *text, int64_t *value, Error **errp)
{
    const char *digits = skip_blanks(text);
    bool negative = *digits == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    const char *end;
    uint64_t magnitude;

    if ((negative && !g_ascii_isdigit(digits[1])) ||
        !scan_uint64(digits + negative, &magnitude, &end) || *end ||
        magnitude > limit) {
        error_setg(errp, "'%s' is not a signed 64-bit number", text);
        return false;
    }
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool parse_bool(const char *name, const char *text, bool *value, Error **errp)
{
    static const char *const words[][2] = {
        { "off", "on" }, { "no", "yes" }, { "false", "true" }, { "n", "y" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        for (int v = 0; v < 2; v++) {
            if (!strcmp(text, words[i][v])) {
                *value = v;
                return true;
            }
        }
    }
    error_setg(errp, "Parameter '%s' expects 'on' or 'off'", name);
    return false;
}

char *size_to_str(uint64_t bytes)
{
    static const char *const units[] = {
        "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
    };
    double value = bytes;
    size_t unit = 0;

    /* From 1000 on three digits do not suffice: 0.977 KiB is 1000 B. */
    while (value >= 1000 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    return g_strdup_printf("%.3g %s", value, units[unit]);
}

/* --- identifiers --- */

bool id_wellformed(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    while (g_ascii_isalnum(*id) || (*id && strchr("-._", *id))) {
        id++;
    }
    return !*id;
}

bool id_check(const char *id, Error **errp)
{
    if (id_wellformed(id)) {
        return true;
    }
    error_setg(errp, "Parameter 'id' expects an identifier");
    error_append_hint(errp, "Identifiers consist of letters, digits, '-', "
                      "'.', '_', starting with a letter.\n");
    return false;
}
