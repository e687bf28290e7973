/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -readconfig: options in a file.
 *
 *     # a comment
 *     [drive "disk0"]
 *       file = "disk.img"
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "options.h"
#include "qapi/keyval.h"

/* A group being read: the option, and its value so far. */
typedef struct Section {
    const SystemOption *option; /* NULL: none yet */
    GString *value;
} Section;

static void end_section(Section *section, SystemOptions *options)
{
    if (section->option) {
        option_take(options, section->option, section->value->str);
    }
    section->option = NULL;
    g_string_truncate(section->value, 0);
}

static void add_parameter(Section *section, const char *key, const char *value)
{
    g_autofree char *escaped = keyval_escape(value);

    g_string_append_printf(section->value, "%s%s=%s",
                           section->value->len ? "," : "", key, escaped);
}

/* The option whose parameters are in group @name; NULL: there is none. */
static const SystemOption *option_of_group(const char *name)
{
    static const char *const others[][2] = {
        { "memory", "m" }, { "smp-opts", "smp" }, { "boot-opts", "boot" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (!strcmp(others[i][0], name)) {
            return option_find(others[i][1]);
        }
    }
    return option_group_find(name) ? option_find(name) : NULL;
}

static bool begin_section(Section *section, GMatchInfo *match, Error **errp)
{
    g_autofree char *group = g_match_info_fetch(match, 1);
    g_autofree char *id = g_match_info_fetch(match, 2);

    section->option = option_of_group(group);
    if (!section->option) {
        error_setg(errp, "There is no option group '%s'", group);
        return false;
    }
    if (id && *id) {
        add_parameter(section, "id", id);
    }
    return true;
}

static bool take_line(Section *section, SystemOptions *options,
                      const char *line, Error **errp)
{
    g_autoptr(GRegex) head = g_regex_new(
        "^\\[\\s*([^\\s\\]\"]+)\\s*(?:\"([^\"]*)\")?\\s*\\]$", 0, 0, NULL);
    g_autoptr(GRegex) param = g_regex_new(
        "^([^\\s=]+)\\s*=\\s*\"([^\"]*)\"$", 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL, value = NULL;

    if (!*line || *line == '#') {
        return true;
    }
    if (g_regex_match(head, line, 0, &match)) {
        end_section(section, options);
        return begin_section(section, match, errp);
    }
    if (!section->option) {
        error_setg(errp, "no group defined");
        return false;
    }
    if (g_regex_match(param, line, 0, &value)) {
        g_autofree char *key = g_match_info_fetch(value, 1);
        g_autofree char *text = g_match_info_fetch(value, 2);

        add_parameter(section, key, text);
        return true;
    }
    error_setg(errp, "parse error");
    return false;
}

static char *read_file(const char *path, Error **errp)
{
    g_autoptr(GError) err = NULL;
    FILE *file = fopen(path, "r");
    char *text;

    if (!file) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
        return NULL;
    }
    fclose(file);
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        error_setg_errno(errp, EISDIR, "Cannot read config file");
        return NULL;
    }
    if (!g_file_get_contents(path, &text, NULL, &err)) {
        error_setg(errp, "Cannot read config file: %s", err->message);
        return NULL;
    }
    return text;
}

bool option_readconfig(const OptionCall *call, Error **errp)
{
    g_autofree char *text = read_file(call->value, errp);
    g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;
    Section section = { .value = g_string_new(NULL) };
    bool ok = lines != NULL;

    for (int i = 0; ok && lines[i]; i++) {
        ok = take_line(&section, call->options, g_strstrip(lines[i]), errp);
        if (!ok) {
            g_free(error_set_location(g_strdup_printf("%s:%d", call->value,
                                                      i + 1)));
        }
    }
    if (ok) {
        end_section(&section, call->options);
    }
    g_string_free(section.value, true);
    return ok;
}
