/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which backups are kept. */
#include "qemu/osdep.h"

#include "retention.h"

#define MAX_COUNT 100000

static bool parse_rule(const char *text, RetentionRule *rule, Error **errp)
{
    char *end = NULL;
    gint64 n;

    if (!strcmp(text, "all")) {
        *rule = (RetentionRule) { .count = INT_MAX };
        return true;
    }
    n = g_ascii_isdigit(*text) ? g_ascii_strtoll(text, &end, 10) : 0;

    if (n < 1 || n > MAX_COUNT || (*end && (!strchr("hdwmy", *end) ||
                                            end[1]))) {
        error_setg(errp, "'%s' is no rule of what to keep", text);
        error_append_hint(errp, "Such are 24h, 14d, 8w, 12m, 5y, 3: of so "
                          "many hours ... years, or the last of all; or "
                          "'all'.\n");
        return false;
    }
    rule->count = n;
    rule->unit = *end;
    return true;
}

GArray *retention_parse(const char *text, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    g_autoptr(GArray) rules = g_array_new(FALSE, FALSE,
                                          sizeof(RetentionRule));

    for (char **word = words; *word; word++) {
        RetentionRule rule;

        if (!parse_rule(g_strstrip(*word), &rule, errp)) {
            return NULL;
        }
        g_array_append_val(rules, rule);
    }
    if (!rules->len) {
        error_setg(errp, "No rule says what to keep");
        return NULL;
    }
    return g_steal_pointer(&rules);
}

/* The period that a time is in, as a text; caller frees. */
static char *period_of(int64_t seconds, char unit)
{
    static const struct {
        char unit;
        const char *format;
    } formats[] = {
        { 'h', "%Y-%m-%d %H" }, { 'd', "%Y-%m-%d" }, { 'w', "%G-%V" },
        { 'm', "%Y-%m" }, { 'y', "%Y" },
    };
    g_autoptr(GDateTime) t = g_date_time_new_from_unix_local(seconds);

    for (size_t i = 0; t && i < ARRAY_SIZE(formats); i++) {
        if (formats[i].unit == unit) {
            return g_date_time_format(t, formats[i].format);
        }
    }
    return NULL; /* each is of its own */
}

static void apply_rule(const RetentionRule *rule, const int64_t *times, int n,
                       bool *keep)
{
    g_autofree char *last = NULL;
    int count = 0;

    for (int i = n - 1; i >= 0 && count < rule->count; i--) {
        g_autofree char *period = period_of(times[i], rule->unit);

        if (!period || g_strcmp0(period, last)) {
            keep[i] = true;
            count++;
        }
        g_free(last);
        last = g_steal_pointer(&period);
    }
}

void retention_apply(const GArray *rules, const int64_t *times, int n,
                     bool *keep)
{
    for (guint i = 0; i < rules->len; i++) {
        apply_rule(&g_array_index(rules, RetentionRule, i), times, n, keep);
    }
}
