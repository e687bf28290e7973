/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor: lookup and execution of commands, help, completion. */
#include "qemu/osdep.h"
#include "hmp-int.h"

static const HmpCommand *commands;

void hmp_set_commands(const HmpCommand *table)
{
    commands = table;
}

bool hmp_have_commands(void)
{
    return commands != NULL;
}

static const HmpCommand *find_command(const HmpCommand *table,
                                      const char *name)
{
    for (const HmpCommand *c = table; c->name; c++) {
        if (hmp_name_matches(c->name, name, strlen(name))) {
            return c;
        }
    }
    return NULL;
}

/* --- help --- */

static int by_name(const void *a, const void *b)
{
    const HmpCommand *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void print_usage(HmpCall *call, const HmpCommand *c,
                        const char *prefix)
{
    hmp_print(call, "%s%s %s -- %s\n", prefix, c->name, c->params, c->help);
}

static void print_all(HmpCall *call, const HmpCommand *table,
                      const char *prefix)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (const HmpCommand *c = table; c->name; c++) {
        g_ptr_array_add(all, (void *)c);
    }
    g_ptr_array_sort(all, by_name);
    for (guint i = 0; i < all->len; i++) {
        print_usage(call, all->pdata[i], prefix);
    }
}

/* Help for the command at the beginning of @topic, below @table. */
static void print_topic(HmpCall *call, const HmpCommand *table,
                        const char *prefix, const char *topic)
{
    g_autofree char *name = hmp_next_word(&topic);
    g_autofree char *path = g_strdup_printf("%s%s", prefix, name);
    g_autofree char *below = g_strdup_printf("%s ", path);
    const HmpCommand *c;

    if (!*name) {
        print_all(call, table, prefix);
        return;
    }
    c = find_command(table, name);
    if (!c) {
        hmp_print(call, "unknown command: '%s'\n", path);
    } else if (c->sub) {
        print_topic(call, c->sub, below, topic);
    } else {
        print_usage(call, c, prefix);
    }
}

bool hmp_help(HmpCall *call, Error **errp)
{
    print_topic(call, commands, "", hmp_str(call, "name") ?: "");
    return true;
}

/* --- execution --- */

static void execute(HmpCall *call, const char *rest)
{
    const HmpCommand *c = call->command;
    g_autoptr(Error) err = NULL;
    GString *before;

    if (c->missing) {
        error_setg(&err, "Command '%s' is not supported: %s", call->typed,
                   c->missing);
    } else if (hmp_parse_args(call, rest)) {
        before = error_capture(call->out);
        c->run(call, &err);
        error_capture(before);
    }
    if (err) {
        const char *hint = error_get_hint(err);

        hmp_print(call, "Error: %s\n", error_get_pretty(err));
        if (hint) {
            hmp_print(call, "%s%s", hint,
                      g_str_has_suffix(hint, "\n") ? "" : "\n");
        }
    }
}

/* Finds the command at the beginning of @line, and executes it. */
static void run_line(HmpCall *call, const char *line)
{
    const HmpCommand *table = commands;
    const char *rest = line;

    while (table) {
        g_autofree char *name = hmp_next_word(&rest);

        if (!*name) {
            if (call->command) {
                g_autofree char *prefix = g_strconcat(call->typed, " ", NULL);

                print_all(call, table, prefix);
            }
            return;
        }
        g_free(call->typed);
        call->typed = g_strndup(line, rest - line);
        call->command = find_command(table, name);
        if (!call->command) {
            hmp_print(call, "unknown command: '%s'\n", call->typed);
            return;
        }
        table = call->command->sub;
    }
    execute(call, rest);
}

/* Replaces each "\n" by "\r\n". */
static char *with_returns(const GString *text)
{
    GString *out = g_string_sized_new(text->len + 16);

    for (gsize i = 0; i < text->len; i++) {
        if (text->str[i] == '\n') {
            g_string_append_c(out, '\r');
        }
        g_string_append_c(out, text->str[i]);
    }
    return g_string_free(out, false);
}

char *hmp_run_line(const char *line, bool *ended, Error **errp)
{
    HmpCall call = { 0 };
    char *answer;

    if (!commands) {
        error_setg(errp, "This program has no human monitor");
        return NULL;
    }
    while (g_ascii_isspace(*line)) {
        line++;
    }
    call.out = g_string_new(NULL);
    run_line(&call, line);
    answer = with_returns(call.out);
    g_string_free(call.out, true);
    g_free(call.typed);
    *ended = call.ended;
    for (int i = 0; i < HMP_MAX_ARGS; i++) {
        g_free(call.values[i].text);
    }
    return answer;
}

char *hmp_run(const char *line, Error **errp)
{
    bool ended;

    return hmp_run_line(line, &ended, errp);
}

/* --- completion --- */

static void add_names(GPtrArray *out, const HmpCommand *table,
                      const char *begin)
{
    for (const HmpCommand *c = table; c->name; c++) {
        g_auto(GStrv) names = g_strsplit(c->name, "|", -1);

        for (char **name = names; *name; name++) {
            if (g_str_has_prefix(*name, begin)) {
                g_ptr_array_add(out, g_strdup(*name));
            }
        }
    }
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **hmp_complete(const char *line)
{
    GPtrArray *out = g_ptr_array_new();
    const HmpCommand *table = commands;

    while (table) {
        g_autofree char *word = hmp_next_word(&line);
        const HmpCommand *c;

        if (!*line) {
            add_names(out, table, word);
            break;
        }
        c = find_command(table, word);
        if (!c || (c->run != hmp_help && !c->sub)) {
            break;
        }
        table = c->sub ?: commands;
    }
    g_ptr_array_sort(out, compare_text);
    g_ptr_array_add(out, NULL);
    return (char **)g_ptr_array_free(out, false);
}
