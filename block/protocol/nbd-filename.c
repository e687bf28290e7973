/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File names of NBD exports:
 *
 *     nbd:HOST:PORT[:exportname=NAME]
 *     nbd:unix:PATH[:exportname=NAME]
 *     nbd[+tcp]://HOST[:PORT][/NAME]
 *     nbd+unix:///[NAME]?socket=PATH
 */
#include "qemu/osdep.h"

#include "nbd-int.h"
#include "qapi/qapi-types-sockets.h"

#define DEFAULT_PORT "10809"
#define EXPORT_PREFIX ":exportname="

static void set_unix(BlockdevOptionsNbd *o, const char *path)
{
    o->server->type = SOCKET_ADDRESS_TYPE_UNIX;
    o->server->u.q_unix.path = g_strdup(path);
}

static void set_inet(BlockdevOptionsNbd *o, char *host, const char *port)
{
    o->server->type = SOCKET_ADDRESS_TYPE_INET;
    o->server->u.inet.host = host;
    o->server->u.inet.port = g_strdup(port);
}

/* --- nbd:... --- */

/* HOST:PORT, the host in brackets where it has colons. */
static bool parse_host_port(const char *text, BlockdevOptionsNbd *o,
                            Error **errp)
{
    const char *colon, *end;

    if (*text == '[') {
        end = strchr(text, ']');
        colon = end && end[1] == ':' ? end + 1 : NULL;
        text++;
    } else {
        end = colon = strchr(text, ':');
    }
    if (!colon || !colon[1]) {
        error_setg(errp, "error parsing address '%s'", text);
        return false;
    }
    set_inet(o, g_strndup(text, end - text), colon + 1);
    return true;
}

static bool parse_plain(const char *filename, BlockdevOptionsNbd *o,
                        Error **errp)
{
    const char *text = filename + strlen("nbd:");
    const char *name = strstr(text, EXPORT_PREFIX);
    g_autofree char *address = NULL;

    if (name && !name[strlen(EXPORT_PREFIX)]) {
        error_setg(errp, "NBD server address missing");
        return false;
    }
    if (name) {
        o->export = g_strdup(name + strlen(EXPORT_PREFIX));
        address = g_strndup(text, name - text);
    } else {
        address = g_strdup(text);
    }
    if (!*address) {
        error_setg(errp, "NBD server address missing");
        return false;
    }
    if (g_str_has_prefix(address, "unix:")) {
        set_unix(o, address + strlen("unix:"));
        return true;
    }
    return parse_host_port(address, o, errp);
}

/* --- URIs --- */

static bool set_uri_unix(BlockdevOptionsNbd *o, GUri *uri)
{
    const char *query = g_uri_get_query(uri);
    const char *host = g_uri_get_host(uri);
    g_autofree char *path = NULL;

    if ((host && *host) || g_uri_get_port(uri) != -1 || !query ||
        !g_str_has_prefix(query, "socket=") || strchr(query, '&')) {
        return false;
    }
    path = g_uri_unescape_string(query + strlen("socket="), NULL);
    if (!path) {
        return false;
    }
    set_unix(o, path);
    return true;
}

static bool set_uri_inet(BlockdevOptionsNbd *o, GUri *uri)
{
    const char *host = g_uri_get_host(uri);
    g_autofree char *port = NULL;

    if (!host || !*host || g_uri_get_query(uri)) {
        return false;
    }
    port = g_uri_get_port(uri) > 0
               ? g_strdup_printf("%d", g_uri_get_port(uri))
               : g_strdup(DEFAULT_PORT);
    set_inet(o, g_strdup(host), port);
    return true;
}

static bool parse_uri(const char *filename, BlockdevOptionsNbd *o)
{
    g_autoptr(GUri) uri = g_uri_parse(filename, G_URI_FLAGS_ENCODED_QUERY,
                                      NULL);
    const char *scheme, *path;

    if (!uri) {
        return false;
    }
    scheme = g_uri_get_scheme(uri);
    path = g_uri_get_path(uri);
    /* One slash ends the host; what follows is the name. */
    path += *path == '/';
    if (*path) {
        o->export = g_strdup(path);
    }
    if (!strcmp(scheme, "nbd+unix")) {
        return set_uri_unix(o, uri);
    }
    return set_uri_inet(o, uri);
}

bool nbd_parse_filename(const char *filename, BlockdevOptions *options,
                        Error **errp)
{
    BlockdevOptionsNbd *o = &options->u.nbd;

    o->server = g_new0(SocketAddress, 1);
    if (!strstr(filename, "://")) {
        return parse_plain(filename, o, errp);
    }
    if (!parse_uri(filename, o)) {
        error_setg(errp, "No valid URL specified");
        return false;
    }
    return true;
}

/* --- back --- */

char *nbd_server_name(const SocketAddress *addr)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_UNIX:
        return g_strdup(addr->u.q_unix.path);
    case SOCKET_ADDRESS_TYPE_INET:
        return g_strdup_printf("%s:%s", addr->u.inet.host, addr->u.inet.port);
    default:
        return g_strdup(addr->u.fd.str);
    }
}

char *nbd_make_filename(BlockDriverState *bs)
{
    const BlockdevOptionsNbd *o = &bs->options->u.nbd;
    const char *name = o->export ? o->export : "";
    const SocketAddress *addr = o->server;

    if (addr->type == SOCKET_ADDRESS_TYPE_UNIX) {
        return g_strdup_printf(*name ? "nbd+unix:///%s?socket=%s"
                                     : "nbd+unix://%s?socket=%s",
                               name, addr->u.q_unix.path);
    }
    if (addr->type == SOCKET_ADDRESS_TYPE_INET) {
        return g_strdup_printf("nbd://%s:%s%s%s", addr->u.inet.host,
                               addr->u.inet.port, *name ? "/" : "", name);
    }
    return NULL;
}
