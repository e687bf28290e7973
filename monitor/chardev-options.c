/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices in command lines, in two forms. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "monitor/chardev.h"
#include "qapi/optgroup.h"
#include "qapi/qapi-types-char.h"
#include "qemu/cutils.h"

static const OptParam chardev_params[] = {
    { "abstract", OPT_BOOL }, { "tight", OPT_BOOL, "on" },
    { "clipboard", OPT_BOOL }, { "mouse", OPT_BOOL },
    { "logappend", OPT_BOOL }, { "logfile", OPT_STRING },
    { "append", OPT_BOOL }, { "chardev", OPT_STRING }, { "size", OPT_SIZE },
    { "debug", OPT_NUMBER }, { "name", OPT_STRING }, { "signal", OPT_BOOL },
    { "mux", OPT_BOOL }, { "rows", OPT_NUMBER }, { "cols", OPT_NUMBER },
    { "height", OPT_NUMBER }, { "width", OPT_NUMBER },
    { "websocket", OPT_BOOL }, { "tls-authz", OPT_STRING },
    { "tls-creds", OPT_STRING }, { "tn3270", OPT_BOOL },
    { "telnet", OPT_BOOL }, { "reconnect", OPT_NUMBER },
    { "nodelay", OPT_BOOL }, { "delay", OPT_BOOL }, { "server", OPT_BOOL },
    { "wait", OPT_BOOL }, { "ipv6", OPT_BOOL }, { "ipv4", OPT_BOOL },
    { "to", OPT_NUMBER }, { "localport", OPT_STRING },
    { "localaddr", OPT_STRING }, { "fd", OPT_STRING },
    { "port", OPT_STRING }, { "host", OPT_STRING }, { "path", OPT_STRING },
    { "backend", OPT_STRING },
    { NULL },
};

const OptGroup chardev_opt_group = { "chardev", "backend", chardev_params };
static const OptGroup path_group = {
    "chardev", "path", chardev_params, true,
};
static const OptGroup rest_group = {
    "chardev", NULL, chardev_params, true,
};

/* Kinds of other implementations that are not supported. */
static const char *const missing_kinds[] = {
    "braille", "dbus", "msmouse", "mux", "parallel", "qemu-vdagent",
    "spiceport", "spicevmc", "testdev", "udp", "wctablet", NULL,
};

/* --- from the options to the struct --- */

static bool refuse_options(struct json_object *opts, Error **errp)
{
    static const char *const refused[] = {
        "abstract", "logfile", "reconnect", "telnet", "tn3270", "websocket",
    };

    if (opt_get(opts, "tls-creds")) {
        error_setg(errp, "No TLS credentials with id '%s'",
                   opt_get(opts, "tls-creds"));
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        const char *value = opt_get(opts, refused[i]);

        if (value && strcmp(value, "0") && strcmp(value, "off")) {
            error_setg(errp, "chardev '%s': option '%s' is not supported",
                       opt_get(opts, "id"), refused[i]);
            return false;
        }
    }
    return true;
}

static bool take_path(char **path, struct json_object *opts,
                      const char *missing, Error **errp)
{
    *path = g_strdup(opt_get(opts, "path"));
    if (!*path) {
        error_setg(errp, "chardev: %s given", missing);
    }
    return *path;
}

static bool take_mode(ChardevOptionsSocket *socket, struct json_object *opts,
                      Error **errp)
{
    socket->server = opt_get_bool(opts, "server", false);
    socket->wait = opt_get_bool(opts, "wait", true);
    socket->nodelay = !opt_get_bool(opts, "delay", true) ||
                      opt_get_bool(opts, "nodelay", false);
    if (!socket->server && opt_get(opts, "wait")) {
        error_setg(errp, "'wait' option is incompatible with socket in client "
                   "connect mode");
        return false;
    }
    if (socket->server && opt_get(opts, "reconnect")) {
        error_setg(errp, "'reconnect' option is incompatible with socket in "
                   "server listen mode");
        return false;
    }
    return true;
}

static bool take_inet(ChardevOptionsSocket *socket, struct json_object *opts,
                      Error **errp)
{
    const char *to = opt_get(opts, "to");
    uint64_t number = 0;

    socket->host = g_strdup(opt_get(opts, "host"));
    socket->port = g_strdup(opt_get(opts, "port"));
    if (!socket->port) {
        error_setg(errp, "chardev: socket: no port given");
        return false;
    }
    if (to && (!parse_uint64(to, &number, NULL) || number > UINT16_MAX)) {
        error_setg(errp, "Parameter 'to' expects a port number");
        return false;
    }
    socket->has_to = to != NULL;
    socket->to = number;
    socket->has_ipv4 = opt_get(opts, "ipv4") != NULL;
    socket->ipv4 = opt_get_bool(opts, "ipv4", false);
    socket->has_ipv6 = opt_get(opts, "ipv6") != NULL;
    socket->ipv6 = opt_get_bool(opts, "ipv6", false);
    return true;
}

static bool take_socket(ChardevOptionsSocket *socket, struct json_object *opts,
                        Error **errp)
{
    const char *path = opt_get(opts, "path"), *fd = opt_get(opts, "fd");
    const char *host = opt_get(opts, "host");

    if (!!path + !!fd + !!host > 1) {
        error_setg(errp, "None or one of 'path', 'fd' or 'host' option "
                   "required.");
        return false;
    }
    if (host && !take_inet(socket, opts, errp)) {
        return false;
    }
    if (!path && !host && !fd) {
        fd = "";
    }
    socket->path = g_strdup(path);
    socket->fd = g_strdup(fd);
    return take_mode(socket, opts, errp);
}

static bool take_size(uint64_t *size, struct json_object *opts, Error **errp)
{
    const char *text = opt_get(opts, "size");

    int64_t bytes = 65536;

    if (text && !parse_size(text, 'B', &bytes, errp)) {
        return false;
    }
    *size = bytes;
    return true;
}

static bool take_kind(ChardevOptions *options, struct json_object *opts,
                      Error **errp)
{
    switch (options->backend) {
    case CHARDEV_KIND_FILE:
        options->u.file.append = opt_get_bool(opts, "append", false);
        return take_path(&options->u.file.path, opts, "file: no filename",
                         errp);
    case CHARDEV_KIND_PIPE:
        return take_path(&options->u.pipe.path, opts,
                         "pipe: no device path", errp);
    case CHARDEV_KIND_SERIAL:
        return take_path(&options->u.serial.path, opts,
                         "serial/tty: no device path", errp);
    case CHARDEV_KIND_SOCKET:
        return take_socket(&options->u.socket, opts, errp);
    case CHARDEV_KIND_RINGBUF:
        return take_size(&options->u.ringbuf.size, opts, errp);
    case CHARDEV_KIND_MEMORY:
        return take_size(&options->u.memory.size, opts, errp);
    case CHARDEV_KIND_STDIO:
        options->u.stdio.signal = opt_get_bool(opts, "signal", true);
        return true;
    default:
        return true;
    }
}

static int parse_kind(const char *backend, Error **errp)
{
    int kind;

    if (!strcmp(backend, "tty")) {
        warn_report("The alias 'tty' is deprecated, use 'serial' instead");
        backend = "serial";
    }
    kind = ChardevKind_parse(backend, NULL);
    if (kind < 0) {
        error_setg(errp, g_strv_contains(missing_kinds, backend)
                   ? "character device '%s' is not supported"
                   : "'%s' is not a valid char driver name", backend);
    }
    return kind;
}

ChardevOptions *chardev_options_from(struct json_object *opts, Error **errp)
{
    g_autoptr(ChardevOptions) options = NULL;
    const char *id = opt_get(opts, "id"), *backend = opt_get(opts, "backend");
    int kind;

    if (!id) {
        error_setg(errp, "chardev: no id specified");
        return NULL;
    }
    if (!backend) {
        error_setg(errp, "chardev: \"%s\" missing backend", id);
        return NULL;
    }
    kind = parse_kind(backend, errp);
    if (kind < 0) {
        return NULL;
    }
    options = g_new0(ChardevOptions, 1);
    options->backend = kind;
    options->id = g_strdup(id);
    options->mux = opt_get_bool(opts, "mux", false);
    if (!take_kind(options, opts, errp) || !refuse_options(opts, errp)) {
        return NULL;
    }
    return g_steal_pointer(&options);
}

ChardevOptions *chardev_options_parse(const char *text, Error **errp)
{
    struct json_object *opts = optgroup_parse(&chardev_opt_group, text, errp);
    ChardevOptions *options = opts ? chardev_options_from(opts, errp) : NULL;

    json_object_put(opts);
    return options;
}

void chardev_print_help(bool monitors_only)
{
    printf("Available chardev backend types: \n");
    for (int i = 0; i < CHARDEV_KIND__MAX; i++) {
        if (!monitors_only || i != CHARDEV_KIND_VC) {
            printf("  %s\n", ChardevKind_str(i));
        }
    }
}

/* --- the short form: tcp:HOST:PORT,server=on --- */

static struct json_object *opts_new(const char *backend, const char *key,
                                    const char *value)
{
    struct json_object *opts = json_object_new_object();

    json_object_object_add(opts, "backend", json_object_new_string(backend));
    if (key) {
        json_object_object_add(opts, key, json_object_new_string(value));
    }
    return opts;
}

static struct json_object *with_backend(struct json_object *opts,
                                        const char *backend)
{
    if (opts) {
        json_object_object_add(opts, "backend",
                               json_object_new_string(backend));
    }
    return opts;
}

/* HOST:PORT[,OPTIONS]; NULL without an error: another form. */
static struct json_object *compat_inet(const char *text, const char *backend,
                                       Error **errp)
{
    size_t len = strcspn(text, ",");
    g_autofree char *address = g_strndup(text, len);
    char *colon = strrchr(address, ':');
    struct json_object *opts;

    if (!colon || !colon[1]) {
        return NULL;
    }
    *colon = '\0';
    opts = with_backend(optgroup_parse(&rest_group, text + len + !!text[len],
                                       errp), backend);
    if (opts) {
        json_object_object_add(opts, "host", json_object_new_string(address));
        json_object_object_add(opts, "port",
                               json_object_new_string(colon + 1));
    }
    return opts;
}

static bool is_one_of(const char *text, const char *const *words)
{
    return g_strv_contains(words, text);
}

/* WxH or WCxHC, where C stands for characters. */
static bool is_size(const char *text)
{
    return g_regex_match_simple("^[0-9]+C?x[0-9]+C?$", text, 0, 0);
}

static struct json_object *compat_device(const char *text)
{
    if (g_str_has_prefix(text, "/dev/parport")) {
        return opts_new("parallel", "path", text);
    }
    if (g_str_has_prefix(text, "/dev/") || g_str_has_prefix(text, "COM")) {
        return opts_new("serial", "path", text);
    }
    return NULL;
}

static struct json_object *compat_opts(const char *text, Error **errp)
{
    static const char *const plain[] = { "null", "pty", "stdio", "vc",
                                         "msmouse", "wctablet", "braille",
                                         "testdev", NULL };
    static const struct {
        const char *prefix, *backend, *key;
    } with_value[] = {
        { "file:", "file", "path" }, { "pipe:", "pipe", "path" },
        { "con:", "console", NULL },
    }, with_address[] = {
        { "tcp:", "socket", NULL }, { "telnet:", "socket", "telnet" },
        { "tn3270:", "socket", "tn3270" }, { "udp:", "udp", NULL },
        { "websocket:", "socket", "websocket" },
    };
    struct json_object *opts;

    if (is_one_of(text, plain)) {
        return opts_new(text, NULL, NULL);
    }
    for (size_t i = 0; i < ARRAY_SIZE(with_value); i++) {
        if (g_str_has_prefix(text, with_value[i].prefix)) {
            return opts_new(with_value[i].backend, with_value[i].key,
                            text + strlen(with_value[i].prefix));
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(with_address); i++) {
        if (!g_str_has_prefix(text, with_address[i].prefix)) {
            continue;
        }
        opts = compat_inet(text + strlen(with_address[i].prefix),
                           with_address[i].backend, errp);
        if (opts && with_address[i].key) {
            json_object_object_add(opts, with_address[i].key,
                                   json_object_new_string("on"));
        }
        return opts;
    }
    if (g_str_has_prefix(text, "unix:")) {
        return with_backend(optgroup_parse(&path_group, text + 5, errp),
                            "socket");
    }
    if (g_str_has_prefix(text, "vc:")) {
        return is_size(text + 3) ? opts_new("vc", NULL, NULL) : NULL;
    }
    opts = compat_device(text);
    if (!opts) {
        error_setg(errp, "'%s' is not a valid char driver", text);
    }
    return opts;
}

ChardevOptions *chardev_options_parse_compat(const char *text, const char *id,
                                             Error **errp)
{
    const char *rest = text + (g_str_has_prefix(text, "mon:") ? 4 : 0);
    ChardevOptions *options;
    Error *err = NULL;
    struct json_object *opts = compat_opts(rest, &err);

    if (!opts) {
        if (err) {
            error_report_err(err);
        }
        error_setg(errp, "parse error: %s", text);
        return NULL;
    }
    json_object_object_add(opts, "id", json_object_new_string(id));
    options = chardev_options_from(opts, errp);
    json_object_put(opts);
    if (options && rest != text) {
        options->mux = true;
    }
    return options;
}
