/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices as -qmp, -monitor and -qtest write them. */
#include "qemu/osdep.h"

#include "qemu/cutils.h"
#include "system-int.h"

static ChardevOptions *options_new(ChardevKind kind, const char *id)
{
    ChardevOptions *options = g_new0(ChardevOptions, 1);

    options->backend = kind;
    options->id = g_strdup(id);
    return options;
}

static bool take_socket_word(ChardevOptionsSocket *socket, const char *word,
                             Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(word, "=", 2);
    const char *value = parts[1] ? parts[1] : "on";

    if (!strcmp(parts[0], "server")) {
        return parse_bool("server", value, &socket->server, errp);
    }
    if (!strcmp(parts[0], "wait")) {
        return parse_bool("wait", value, &socket->wait, errp);
    }
    if (!strcmp(parts[0], "nowait")) {
        socket->wait = false;
        return true;
    }
    if (!strcmp(parts[0], "nodelay") || !strcmp(parts[0], "delay")) {
        return true;
    }
    error_setg(errp, "Invalid parameter '%s'", parts[0]);
    return false;
}

/* The part after unix: or tcp:. */
static bool take_socket(ChardevOptionsSocket *socket, const char *text,
                        bool is_unix, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    const char *address = words[0] ? words[0] : "";
    const char *colon = strrchr(address, ':');

    socket->wait = true;
    if (is_unix) {
        /* The path may be written with its key. */
        socket->path = g_strdup(g_str_has_prefix(address, "path=")
                                ? address + strlen("path=") : address);
    } else if (!colon) {
        error_setg(errp, "'%s' has no port", address);
        return false;
    } else {
        socket->host = g_strndup(address, colon - address);
        socket->port = g_strdup(colon + 1);
    }
    for (int i = 1; words[0] && words[i]; i++) {
        if (!take_socket_word(socket, words[i], errp)) {
            return false;
        }
    }
    return true;
}

ChardevOptions *chardev_options_parse(const char *text, const char *id,
                                      Error **errp)
{
    g_autoptr(ChardevOptions) options = NULL;
    bool is_unix = g_str_has_prefix(text, "unix:");

    if (!strcmp(text, "stdio") || !strcmp(text, "mon:stdio")) {
        options = options_new(CHARDEV_KIND_STDIO, id);
        options->u.stdio.has_signal = options->u.stdio.signal = true;
    } else if (!strcmp(text, "null")) {
        options = options_new(CHARDEV_KIND_NULL, id);
    } else if (g_str_has_prefix(text, "pipe:")) {
        options = options_new(CHARDEV_KIND_PIPE, id);
        options->u.pipe.path = g_strdup(text + strlen("pipe:"));
    } else if (g_str_has_prefix(text, "file:")) {
        options = options_new(CHARDEV_KIND_FILE, id);
        options->u.file.path = g_strdup(text + strlen("file:"));
    } else if (is_unix || g_str_has_prefix(text, "tcp:")) {
        options = options_new(CHARDEV_KIND_SOCKET, id);
        if (!take_socket(&options->u.socket, strchr(text, ':') + 1, is_unix,
                         errp)) {
            return NULL;
        }
    } else {
        error_setg(errp, "'%s' is not a valid char driver", text);
        return NULL;
    }
    return g_steal_pointer(&options);
}
