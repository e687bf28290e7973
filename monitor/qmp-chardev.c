/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices over QMP: a backend is converted to ChardevOptions. */
#include "qemu/osdep.h"

#include "monitor/chardev.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-char.h"
#include "qapi/qapi-types-sockets.h"

ChardevInfoList *qmp_query_chardev(Error **errp)
{
    ChardevInfoList *list = NULL, **tail = &list;
    Chardev *chr = NULL;

    while ((chr = chardev_next(chr))) {
        ChardevInfo *info = g_new0(ChardevInfo, 1);

        info->label = g_strdup(chardev_id(chr));
        info->filename = chardev_describe(chr);
        info->frontend_open = chardev_is_open(chr);
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

ChardevBackendInfoList *qmp_query_chardev_backends(Error **errp)
{
    ChardevBackendInfoList *list = NULL, **tail = &list;

    for (int i = 0; i < CHARDEV_KIND__MAX; i++) {
        ChardevBackendInfo *info = g_new0(ChardevBackendInfo, 1);

        info->name = g_strdup(ChardevKind_str(i));
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

/* --- from the backend to the options --- */

/* Refuses a member that is not supported; false if absent. */
static bool refuse(bool given, const char *option, Error **errp)
{
    if (given) {
        error_setg(errp, "option '%s' is not supported", option);
    }
    return given;
}

static bool take_address(ChardevOptionsSocket *to,
                         const SocketAddressLegacy *addr, Error **errp)
{
    const InetSocketAddress *inet = addr->u.inet.data;

    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_UNIX:
        to->path = g_strdup(addr->u.q_unix.data->path);
        return !refuse(addr->u.q_unix.data->abstract, "abstract", errp);
    case SOCKET_ADDRESS_TYPE_FD:
        to->fd = g_strdup(addr->u.fd.data->str);
        return true;
    case SOCKET_ADDRESS_TYPE_INET:
        to->host = g_strdup(inet->host);
        to->port = g_strdup(inet->port);
        to->has_to = inet->has_to;
        to->to = inet->to;
        to->has_ipv4 = inet->has_ipv4;
        to->ipv4 = inet->ipv4;
        to->has_ipv6 = inet->has_ipv6;
        to->ipv6 = inet->ipv6;
        return true;
    default:
        error_setg(errp, "Socket addresses of type 'vsock' are not "
                   "supported");
        return false;
    }
}

static bool take_socket(ChardevOptionsSocket *to, const ChardevSocket *from,
                        Error **errp)
{
    to->server = !from->has_server || from->server;
    to->wait = from->has_wait && from->wait;
    to->nodelay = from->nodelay;
    if (!to->server && from->has_wait) {
        error_setg(errp, "'wait' option is incompatible with socket in client "
                   "connect mode");
        return false;
    }
    if (to->server && from->has_reconnect) {
        error_setg(errp, "'reconnect' option is incompatible with socket in "
                   "server listen mode");
        return false;
    }
    if (from->tls_creds) {
        error_setg(errp, "No TLS credentials with id '%s'", from->tls_creds);
        return false;
    }
    if (refuse(from->reconnect, "reconnect", errp) ||
        refuse(from->telnet, "telnet", errp) ||
        refuse(from->tn3270, "tn3270", errp) ||
        refuse(from->websocket, "websocket", errp)) {
        return false;
    }
    return take_address(to, from->addr, errp);
}

static bool take_ringbuf(ChardevOptionsRingbuf *to, const ChardevRingbuf *from,
                         Error **errp)
{
    if (from->has_size && from->size < 0) {
        error_setg(errp, "size of ringbuf chardev must be power of two");
        return false;
    }
    to->has_size = true;
    to->size = from->has_size ? from->size : 65536;
    return true;
}

/* The members of every kind begin with those of ChardevCommon. */
static const ChardevCommon *common_of(const ChardevBackend *backend)
{
    return backend->u.null.data;
}

static bool take_backend(ChardevOptions *to, const ChardevBackend *backend,
                         Error **errp)
{
    switch (to->backend) {
    case CHARDEV_KIND_FILE:
        to->u.file.path = g_strdup(backend->u.file.data->out);
        to->u.file.input_path = g_strdup(backend->u.file.data->in);
        to->u.file.append = backend->u.file.data->append;
        return true;
    case CHARDEV_KIND_PIPE:
        to->u.pipe.path = g_strdup(backend->u.pipe.data->device);
        return true;
    case CHARDEV_KIND_SERIAL:
        to->u.serial.path = g_strdup(backend->u.serial.data->device);
        return true;
    case CHARDEV_KIND_SOCKET:
        return take_socket(&to->u.socket, backend->u.socket.data, errp);
    case CHARDEV_KIND_RINGBUF:
        return take_ringbuf(&to->u.ringbuf, backend->u.ringbuf.data, errp);
    case CHARDEV_KIND_MEMORY:
        return take_ringbuf(&to->u.memory, backend->u.memory.data, errp);
    case CHARDEV_KIND_STDIO:
        to->u.stdio.signal = !backend->u.stdio.data->has_signal ||
                             backend->u.stdio.data->signal;
        return true;
    default:
        return true;
    }
}

static ChardevOptions *options_of(const char *id,
                                  const ChardevBackend *backend, Error **errp)
{
    g_autoptr(ChardevOptions) options = g_new0(ChardevOptions, 1);
    const char *type = ChardevBackendKind_str(backend->type);
    int kind = ChardevKind_parse(type, NULL);

    if (kind < 0) {
        error_setg(errp, "character device '%s' is not supported", type);
        return NULL;
    }
    options->id = g_strdup(id);
    options->backend = kind;
    if (refuse(common_of(backend)->logfile, "logfile", errp) ||
        !take_backend(options, backend, errp)) {
        return NULL;
    }
    return g_steal_pointer(&options);
}

/* --- commands --- */

/* Creates a device, or replaces that of the same name. */
static ChardevReturn *make(const char *id, const ChardevBackend *backend,
                           bool change, Error **errp)
{
    Error *err = NULL;
    g_autoptr(ChardevOptions) options = options_of(id, backend, &err);
    g_autofree char *what = NULL;
    ChardevReturn *ret;

    if (!options || !(change ? chardev_change(options, &err)
                             : chardev_add(options, &err))) {
        error_prepend(&err, "Failed to add chardev '%s': ", id);
        error_propagate(errp, err);
        return NULL;
    }
    ret = g_new0(ChardevReturn, 1);
    what = chardev_describe(chardev_find(id));
    if (g_str_has_prefix(what, "pty:")) {
        ret->pty = g_strdup(what + strlen("pty:"));
    }
    return ret;
}

ChardevReturn *qmp_chardev_add(ChardevAddArg *arg, Error **errp)
{
    if (chardev_find(arg->id)) {
        error_setg(errp, "Chardev with id '%s' already exists", arg->id);
        return NULL;
    }
    return make(arg->id, arg->backend, false, errp);
}

ChardevReturn *qmp_chardev_change(ChardevChangeArg *arg, Error **errp)
{
    Chardev *chr = chardev_find(arg->id);

    if (!chr) {
        error_setg(errp, "Chardev '%s' does not exist", arg->id);
        return NULL;
    }
    if (chardev_is_used(chr)) {
        error_setg(errp, "Chardev user does not support chardev hotswap");
        return NULL;
    }
    return make(arg->id, arg->backend, true, errp);
}

static Chardev *find(const char *id, Error **errp)
{
    Chardev *chr = chardev_find(id);

    if (!chr) {
        error_setg(errp, "Chardev '%s' not found", id);
    }
    return chr;
}

bool qmp_chardev_remove(ChardevRemoveArg *arg, Error **errp)
{
    Chardev *chr = find(arg->id, errp);

    if (!chr) {
        return false;
    }
    if (chardev_is_used(chr)) {
        error_setg(errp, "Chardev '%s' is busy", arg->id);
        return false;
    }
    chardev_remove(chr);
    return true;
}

bool qmp_chardev_send_break(ChardevSendBreakArg *arg, Error **errp)
{
    return find(arg->id, errp);
}

/* --- ring buffers --- */

static ChardevRing *find_ring(const char *id, Error **errp)
{
    Chardev *chr = chardev_find(id);

    if (!chr) {
        error_setg(errp, "Device '%s' not found", id);
        return NULL;
    }
    if (!chardev_ring(chr)) {
        error_setg(errp, "%s is not a ringbuf device", id);
    }
    return chardev_ring(chr);
}

static bool is_base64(const char *text)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "abcdefghijklmnopqrstuvwxyz0123456789+/=\n";

    return text[strspn(text, alphabet)] == '\0';
}

bool qmp_ringbuf_write(RingbufWriteArg *arg, Error **errp)
{
    ChardevRing *ring = find_ring(arg->device, errp);
    g_autofree uint8_t *bytes = NULL;
    size_t len;

    if (!ring) {
        return false;
    }
    if (arg->format != DATA_FORMAT_BASE64) {
        chardev_ring_write(ring, (const uint8_t *)arg->data,
                           strlen(arg->data));
        return true;
    }
    if (!is_base64(arg->data)) {
        error_setg(errp, "Base64 data contains invalid characters");
        return false;
    }
    bytes = g_base64_decode(arg->data, &len);
    chardev_ring_write(ring, bytes, len);
    return true;
}

char *qmp_ringbuf_read(RingbufReadArg *arg, Error **errp)
{
    ChardevRing *ring = find_ring(arg->device, errp);
    g_autofree uint8_t *bytes = NULL;
    size_t len;

    if (!ring) {
        return NULL;
    }
    if (arg->size <= 0) {
        error_setg(errp, "size must be greater than zero");
        return NULL;
    }
    bytes = chardev_ring_read(ring, arg->size, &len);
    if (arg->format == DATA_FORMAT_BASE64) {
        return g_base64_encode(bytes, len);
    }
    return g_utf8_make_valid((const char *)bytes, len);
}
