/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that name a set of disks, its folder, and how it is backed up. */
#include "qemu/osdep.h"

#include "config.h"
#include "durable.h"
#include "qemu/cutils.h"

#define CONFIG_DIR "/etc/tidemark"

/* How a line is passed on. */
typedef enum KeyKind {
    KEY_OPTION,  /* --KEY=VALUE */
    KEY_FLAG,    /* --KEY if the value is yes */
    KEY_OPERAND, /* VALUE */
} KeyKind;

typedef struct ConfigKey {
    const char *name;
    KeyKind kind;
    const char *commands; /* that know it, with blanks around */
} ConfigKey;

static const ConfigKey keys[] = {
    { "to", KEY_OPTION, " backup status " },
    { "to", KEY_OPERAND, " list show verify restore mount prune map " },
    { "image", KEY_OPERAND, " backup " },
    { "qmp", KEY_OPTION, " backup status serve " },
    { "disk", KEY_OPTION, " serve " },
    { "nbd", KEY_OPTION, " serve " },
    { "object", KEY_OPTION, " serve " },
    { "blockdev", KEY_OPTION, " serve " },
    { "export", KEY_OPTION, " serve " },
    { "node", KEY_OPTION, " backup " },
    { "disks", KEY_OPTION, " backup " },
    { "level", KEY_OPTION, " backup " },
    { "format", KEY_OPTION, " backup " },
    { "data", KEY_OPTION, " backup " },
    { "compress", KEY_FLAG, " backup " },
    { "speed", KEY_OPTION, " backup " },
    { "ignore-space", KEY_FLAG, " backup " },
    { "no-digest", KEY_FLAG, " backup " },
    { "daemon", KEY_OPTION, " backup restore mount " },
    { "timeout", KEY_OPTION, " backup status " },
    { "keep", KEY_OPTION, " prune " },
    { "quiet", KEY_FLAG, " backup prune restore verify " },
};

/* What config_expand() has returned; never freed. */
static GPtrArray *words;

typedef struct Config {
    const char *command;
    char *path; /* of the file; NULL: there is none */
    GPtrArray *options, *operands; /* of char * */
} Config;

/* Adds what @key = @value means to the command. */
static bool take_key(Config *c, const ConfigKey *key, const char *value,
                     Error **errp)
{
    bool yes;

    switch (key->kind) {
    case KEY_OPTION:
        g_ptr_array_add(c->options,
                        g_strdup_printf("--%s=%s", key->name, value));
        return true;
    case KEY_FLAG:
        if (!parse_bool(key->name, value, &yes, errp)) {
            return false;
        }
        if (yes) {
            g_ptr_array_add(c->options, g_strdup_printf("--%s", key->name));
        }
        return true;
    case KEY_OPERAND:
        g_ptr_array_add(c->operands, g_strdup(value));
        return true;
    }
    g_assert_not_reached();
}

static bool take_pair(Config *c, const char *name, const char *value,
                      Error **errp)
{
    g_autofree char *word = g_strdup_printf(" %s ", c->command);
    bool known = false;

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (strcmp(keys[i].name, name)) {
            continue;
        }
        known = true;
        if (strstr(keys[i].commands, word) &&
            !take_key(c, &keys[i], value, errp)) {
            return false;
        }
    }
    if (!known) {
        error_setg(errp, "there is no option '%s'", name);
    }
    return known;
}

/* @line is changed. */
static bool take_line(Config *c, char *line, Error **errp)
{
    char *eq;

    g_strstrip(line);
    if (!*line || *line == '#') {
        return true;
    }
    eq = strchr(line, '=');
    if (!eq) {
        error_setg(errp, "'%s' is not KEY = VALUE", line);
        return false;
    }
    *eq = 0;
    return take_pair(c, g_strchomp(line), g_strchug(eq + 1), errp);
}

static bool read_file(Config *c, Error **errp)
{
    size_t len;
    g_autofree char *text = durable_read(c->path, &len, errp);
    g_auto(GStrv) lines = NULL;

    if (!text) {
        return false;
    }
    if (strlen(text) < len) {
        error_setg(errp, "'%s' is not a file of text", c->path);
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        if (!take_line(c, lines[i], errp)) {
            error_prepend(errp, "%s:%d: ", c->path, i + 1);
            return false;
        }
    }
    return true;
}

/* The path of the file called @name; caller frees. */
static char *find_file(const char *name)
{
    const char *dir = g_getenv("TIDEMARK_CONFIG_DIR");
    g_autofree char *file = g_strdup_printf("%s.conf", name);

    return strchr(name, '/') ? g_strdup(name)
                             : g_build_filename(dir ? dir : CONFIG_DIR, file,
                                                NULL);
}

/*
 * Is argv[i] the option? *@name gets its argument, *@n the number of words.
 */
static bool is_config(char **argv, int argc, int i, const char **name, int *n)
{
    const char *word = argv[i];

    *n = 1;
    if (g_str_has_prefix(word, "--config=")) {
        *name = word + strlen("--config=");
        return true;
    }
    if (!strcmp(word, "--config") || !strcmp(word, "-C")) {
        *n = 2;
        *name = i + 1 < argc ? argv[i + 1] : NULL;
        return true;
    }
    return false;
}

static void append(GPtrArray *to, const GPtrArray *from)
{
    for (guint i = 0; i < from->len; i++) {
        g_ptr_array_add(to, from->pdata[i]);
    }
}

/* Reads the file called @name; its words go to c->options and c->operands. */
static bool take_file(Config *c, const char *name, Error **errp)
{
    if (!name || !*name) {
        error_setg(errp, "--config needs the name of a file");
        return false;
    }
    g_free(c->path);
    c->path = find_file(name);
    return read_file(c, errp);
}

bool config_expand(int *argc, char ***argv, Error **errp)
{
    g_autoptr(GPtrArray) options = g_ptr_array_new();
    g_autoptr(GPtrArray) operands = g_ptr_array_new();
    g_autoptr(GPtrArray) rest = g_ptr_array_new();
    Config c = { .command = (*argv)[0], .options = options,
                 .operands = operands };
    const char *name;
    int n;

    for (int i = 1; i < *argc; i += n) {
        if (!is_config(*argv, *argc, i, &name, &n)) {
            g_ptr_array_add(rest, (*argv)[i]);
        } else if (!take_file(&c, name, errp)) {
            g_free(c.path);
            return false;
        }
    }
    words = g_ptr_array_new();
    g_ptr_array_add(words, (*argv)[0]);
    if (c.path && !strcmp(c.command, "prune")) {
        g_ptr_array_add(words, g_strdup("--keep=all")); /* the default */
    }
    append(words, options);
    append(words, operands);
    append(words, rest);
    g_free(c.path);
    *argc = words->len;
    g_ptr_array_add(words, NULL);
    *argv = (char **)words->pdata;
    return true;
}
