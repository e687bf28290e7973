/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -set and -global: parameters for other options. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "device-model.h"
#include "options.h"
#include "qapi/keyval.h"

/* --- -set GROUP.ID.KEY=VALUE --- */

/* Are all four parts present?  Caller frees them. */
static bool parse_setting(const char *text, char *parts[4])
{
    g_autoptr(GRegex) regex = g_regex_new(
        "^([^.]{1,63})\\.([^.]{1,63})\\.([^=]{1,63})=(.*)$", G_REGEX_DOTALL,
        0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    if (!g_regex_match(regex, text, 0, &match)) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        parts[i] = g_match_info_fetch(match, i + 1);
    }
    return true;
}

static bool has_id(const SystemStep *step, const char *id)
{
    g_autofree char *want = g_strdup_printf("id=%s", id);
    g_auto(GStrv) words = NULL;

    if (step->opts) {
        const char *have = opt_get(step->opts, "id");

        return have && !strcmp(have, id);
    }
    words = g_strsplit(step->value, ",", -1);
    return g_strv_contains((const char *const *)words, want);
}

static bool change_step(SystemStep *step, const char *key, const char *value,
                        Error **errp)
{
    g_autofree char *before = NULL;
    g_autofree char *escaped = NULL;

    if (step->opts) {
        if (!optgroup_check(step->option->group, key, value, errp)) {
            return false;
        }
        json_object_object_add(step->opts, key, json_object_new_string(value));
        return true;
    }
    before = step->value;
    escaped = keyval_escape(value);
    step->value = g_strdup_printf("%s,%s=%s", before, key, escaped);
    return true;
}

static bool set_parameter(SystemOptions *options, char *parts[4],
                          Error **errp)
{
    if (!strcmp(parts[0], "object") || !strcmp(parts[0], "machine") ||
        !strcmp(parts[0], "accel") || !strcmp(parts[0], "smp-opts") ||
        !strcmp(parts[0], "boot-opts")) {
        error_setg(errp, "-set is not supported with %s", parts[0]);
        return false;
    }
    if (!option_group_find(parts[0])) {
        error_setg(errp, "There is no option group '%s'", parts[0]);
        return false;
    }
    for (guint i = 0; i < options->steps->len; i++) {
        SystemStep *step = &g_array_index(options->steps, SystemStep, i);

        if (!strcmp(step->option->name, parts[0]) && has_id(step, parts[1])) {
            return change_step(step, parts[2], parts[3], errp);
        }
    }
    error_setg(errp, "there is no %s \"%s\" defined", parts[0], parts[1]);
    return false;
}

bool option_set(const OptionCall *call, Error **errp)
{
    char *parts[4] = { NULL };
    bool ok;

    if (!parse_setting(call->value, parts)) {
        error_setg(errp, "can't parse: \"%s\"", call->value);
        return false;
    }
    ok = set_parameter(call->options, parts, errp);
    for (int i = 0; i < 4; i++) {
        g_free(parts[i]);
    }
    return ok;
}

/* --- -global --- */

typedef struct Setting {
    char *model, *key, *value;
} Setting;

static GPtrArray *settings;

static void setting_free(gpointer data)
{
    Setting *s = data;

    g_free(s->model);
    g_free(s->key);
    g_free(s->value);
    g_free(s);
}

static void add_setting(const char *model, const char *key, const char *value)
{
    Setting *s;

    if (!device_model_find(model)) {
        option_no_location();
        warn_report("global %s.%s has invalid class name", model, key);
        return;
    }
    s = g_new0(Setting, 1);
    s->model = g_strdup(model);
    s->key = g_strdup(key);
    s->value = g_strdup(value);
    if (!settings) {
        settings = g_ptr_array_new_with_free_func(setting_free);
    }
    g_ptr_array_add(settings, s);
}

static bool add_setting_of(struct json_object *opts, Error **errp)
{
    const char *model = opt_get(opts, "driver");
    const char *key = opt_get(opts, "property");
    const char *value = opt_get(opts, "value");

    if (!model || !key || !value) {
        error_setg(errp, "options 'driver', 'property', and 'value' are "
                   "required");
        return false;
    }
    add_setting(model, key, value);
    return true;
}

/* MODEL.PROPERTY=VALUE or driver=MODEL,property=PROPERTY,value=VALUE */
bool option_global(const OptionCall *call, Error **errp)
{
    const char *dot = strchr(call->value, '.');
    const char *equal = strchr(call->value, '=');
    struct json_object *opts;
    bool ok;

    if (dot && equal > dot + 1 && dot > call->value) {
        g_autofree char *model = g_strndup(call->value, dot - call->value);
        g_autofree char *key = g_strndup(dot + 1, equal - dot - 1);

        add_setting(model, key, equal + 1);
        return true;
    }
    opts = optgroup_parse(&global_opt_group, call->value, errp);
    ok = opts && add_setting_of(opts, errp);
    json_object_put(opts);
    return ok;
}

char *with_globals(const char *device)
{
    g_autofree char *model = g_strndup(device, strcspn(device, ","));
    GString *out = g_string_new(device);

    for (guint i = 0; settings && i < settings->len && *device != '{'; i++) {
        Setting *s = g_ptr_array_index(settings, i);
        g_autofree char *given = g_strdup_printf(",%s=", s->key);

        if (device_model_find(s->model) == device_model_find(model) &&
            device_model_prop(device_model_find(model), s->key) &&
            !strstr(device, given)) {
            g_autofree char *escaped = keyval_escape(s->value);

            g_string_append_printf(out, ",%s=%s", s->key, escaped);
        }
    }
    return g_string_free(out, false);
}

void settings_cleanup(void)
{
    if (settings) {
        g_ptr_array_unref(g_steal_pointer(&settings));
    }
}
