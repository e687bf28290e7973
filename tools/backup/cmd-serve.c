/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tidemark serve: becomes the storage daemon for a set of disks.
 *
 * It only puts the daemon's command line together, and executes the daemon in
 * its own process: a service manager sees that.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>
#include <sys/stat.h>

#include "backup.h"
#include "daemon.h"
#include "json.h"
#include "qapi/keyval.h"

typedef struct ServeArgs {
    GPtrArray *disks, *qmp;  /* as given */
    GPtrArray *before, *after; /* words for the daemon: options of its own */
    const char *nbd, *daemon;
    bool dry_run;
} ServeArgs;

static bool add_disk(void *dest, const char *text)
{
    g_ptr_array_add(((ServeArgs *)dest)->disks, g_strdup(text));
    return true;
}

static bool add_qmp(void *dest, const char *text)
{
    g_ptr_array_add(((ServeArgs *)dest)->qmp, g_strdup(text));
    return true;
}

static void add_option(GPtrArray *words, const char *name, const char *value)
{
    g_ptr_array_add(words, g_strdup_printf("--%s", name));
    g_ptr_array_add(words, g_strdup(value));
}

static bool add_object(void *dest, const char *text)
{
    add_option(((ServeArgs *)dest)->before, "object", text);
    return true;
}

static bool add_blockdev(void *dest, const char *text)
{
    add_option(((ServeArgs *)dest)->before, "blockdev", text);
    return true;
}

static bool add_export(void *dest, const char *text)
{
    add_option(((ServeArgs *)dest)->after, "export", text);
    return true;
}

static const CliOption serve_options[] = {
    BACKUP_CALL(CLI_LONG_ONLY, "disk", add_disk),
    BACKUP_CALL(CLI_LONG_ONLY + 1, "qmp", add_qmp),
    BACKUP_TEXT(ServeArgs, CLI_LONG_ONLY + 2, "nbd", nbd),
    BACKUP_CALL(CLI_LONG_ONLY + 3, "object", add_object),
    BACKUP_CALL(CLI_LONG_ONLY + 4, "blockdev", add_blockdev),
    BACKUP_CALL(CLI_LONG_ONLY + 5, "export", add_export),
    BACKUP_TEXT(ServeArgs, CLI_LONG_ONLY + 6, "daemon", daemon),
    BACKUP_FLAG(ServeArgs, 'n', "dry-run", dry_run),
    { 0 },
};

/* --- disks --- */

/* A node of the protocol for the file or device at @path. */
static json_object *file_node(const char *path)
{
    g_autofree char *full = g_canonicalize_filename(path, NULL);
    struct stat st;
    bool is_block = stat(full, &st) == 0 && S_ISBLK(st.st_mode);

    return json_fill("{'driver': %s, 'filename': %s}",
                     is_block ? "host_device" : "file", full);
}

static json_object *tracked_node(const char *name, json_object *file,
                                 const char *bitmaps)
{
    g_autoptr(json_object) beside = file_node(bitmaps);

    return json_fill("{'driver': 'tracked', 'node-name': %s, 'file': %o,"
                     " 'bitmaps': {'driver': 'qcow2', 'file': %o}}",
                     name, file, beside);
}

/* Are all members of @disk known? */
static bool check_members(json_object *disk, const char *text, Error **errp)
{
    static const char *const known[] = {
        "name", "file", "format", "bitmaps", "read-only", NULL,
    };

    json_object_object_foreach(disk, key, value) {
        if (!g_strv_contains(known, key) ||
            !json_object_is_type(value, json_type_string)) {
            error_setg(errp, "--disk %s: there is no '%s' of a disk", text,
                       key);
            return false;
        }
    }
    return true;
}

/* The node for a disk of --disk, a new reference. */
static json_object *disk_node(json_object *disk, const char *text,
                              Error **errp)
{
    const char *name = json_get_str(disk, "name");
    const char *path = json_get_str(disk, "file");
    const char *format = json_get_str(disk, "format") ?: "qcow2";
    const char *bitmaps = json_get_str(disk, "bitmaps");
    const char *read_only = json_get_str(disk, "read-only") ?: "off";
    g_autoptr(json_object) file = NULL;

    if (!name || !path) {
        error_setg(errp, "--disk %s: it needs a name and a file, as in "
                   "'vda,file=/srv/vda.qcow2'", text);
        return NULL;
    }
    if (bitmaps && strcmp(format, "raw")) {
        error_setg(errp, "--disk %s: bitmaps in a file of their own are for "
                   "the format raw; those of qcow2 are in the image", text);
        return NULL;
    }
    if (strcmp(read_only, "on") && strcmp(read_only, "off")) {
        error_setg(errp, "--disk %s: read-only is on or off", text);
        return NULL;
    }
    file = file_node(path);
    if (bitmaps) {
        return tracked_node(name, file, bitmaps);
    }
    return json_fill("{'driver': %s, 'node-name': %s, 'read-only': %b,"
                     " 'discard': 'unmap', 'file': %o}",
                     format, name, !strcmp(read_only, "on"), file);
}

/* Adds the words for a disk: its node to @before, its export to @after. */
static bool put_disk(ServeArgs *args, const char *text, Error **errp)
{
    g_autoptr(json_object) disk = keyval_parse(text, "name", NULL, errp);
    g_autoptr(json_object) node = NULL, exp = NULL;
    g_autofree char *words = NULL, *export_words = NULL;
    const char *name;

    if (!disk || !check_members(disk, text, errp)) {
        return false;
    }
    node = disk_node(disk, text, errp);
    if (!node) {
        return false;
    }
    words = json_text(node, false);
    add_option(args->before, "blockdev", words);
    if (args->nbd) {
        name = json_get_str(disk, "name");
        exp = json_fill("{'type': 'nbd', 'id': %s, 'node-name': %s,"
                        " 'name': %s, 'writable': %b}", name, name, name,
                        g_strcmp0(json_get_str(disk, "read-only"), "on") != 0);
        export_words = json_text(exp, false);
        add_option(args->after, "export", export_words);
    }
    return true;
}

/* --- addresses --- */

/* HOST and PORT of an address; false: it is the path *@host. */
static bool split_address(const char *text, char **host, char **port)
{
    bool tcp = g_str_has_prefix(text, "tcp:");
    const char *rest = tcp || g_str_has_prefix(text, "unix:")
        ? strchr(text, ':') + 1 : text;
    const char *colon = strrchr(rest, ':');
    size_t len;

    if (rest != text && !tcp) {
        colon = NULL; /* "unix:" */
    }
    if (!colon || (!tcp && (strchr(rest, '/') || !colon[1] ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1)))) {
        *host = g_canonicalize_filename(rest, NULL);
        return false;
    }
    len = colon - rest;
    if (len >= 2 && rest[0] == '[' && rest[len - 1] == ']') {
        *host = g_strndup(rest + 1, len - 2);
    } else {
        *host = g_strndup(rest, len);
    }
    *port = g_strdup(colon + 1);
    return true;
}

static char *nbd_words(const char *address)
{
    g_autofree char *host = NULL, *port = NULL;
    g_autoptr(json_object) server = NULL;

    if (split_address(address, &host, &port)) {
        server = json_fill("{'addr': {'type': 'inet', 'host': %s,"
                           " 'port': %s}, 'max-connections': 0}", host, port);
    } else {
        server = json_fill("{'addr': {'type': 'unix', 'path': %s},"
                           " 'max-connections': 0}", host);
    }
    return json_text(server, false);
}

static void put_monitor(GPtrArray *words, const char *address, guint i)
{
    g_autofree char *host = NULL, *port = NULL, *at = NULL, *chardev = NULL;
    g_autofree char *id = g_strdup_printf("qmp%u", i);

    bool is_inet = split_address(address, &host, &port);
    g_autofree char *escaped = keyval_escape(host);

    at = is_inet ? g_strdup_printf("host=%s,port=%s", escaped, port)
                 : g_strdup_printf("path=%s", escaped);
    chardev = g_strdup_printf("socket,id=%s,%s,server=on,wait=off", id, at);
    add_option(words, "chardev", chardev);
    add_option(words, "monitor", id);
}

/* --- all of it --- */

static void append(GPtrArray *to, const GPtrArray *from)
{
    for (guint i = 0; i < from->len; i++) {
        g_ptr_array_add(to, g_strdup(from->pdata[i]));
    }
}

/* The daemon's words but for its name.  NULL with @errp. */
static GPtrArray *daemon_words(ServeArgs *args, Error **errp)
{
    g_autofree char *program = backup_daemon_program(args->daemon);
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < args->disks->len; i++) {
        if (!put_disk(args, args->disks->pdata[i], errp)) {
            return NULL;
        }
    }
    g_ptr_array_add(words, g_steal_pointer(&program));
    append(words, args->before);
    if (args->nbd) {
        g_autofree char *server = nbd_words(args->nbd);

        add_option(words, "nbd-server", server);
    }
    append(words, args->after);
    /* Whoever can connect finds all disks. */
    for (guint i = 0; i < args->qmp->len; i++) {
        put_monitor(words, args->qmp->pdata[i], i);
    }
    return g_steal_pointer(&words);
}

static void print_words(const GPtrArray *words)
{
    for (guint i = 0; i < words->len; i++) {
        const char *word = words->pdata[i];
        g_autofree char *quoted = word[strcspn(word, " \t\n'\"\\{}$*?;&|<>()")]
            ? g_shell_quote(word) : g_strdup(word);

        printf("%s%s", i ? " " : "", quoted);
    }
    putchar('\n');
}

static BackupStatus become_daemon(GPtrArray *words)
{
    g_ptr_array_add(words, NULL);
    execvp(words->pdata[0], (char **)words->pdata);
    error_report("'%s' could not be started: %s", (char *)words->pdata[0],
                 g_strerror(errno));
    return BACKUP_FAILED;
}

BackupStatus backup_cmd_serve(int argc, char **argv)
{
    g_autoptr(GPtrArray) disks = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) qmp = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) after = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) words = NULL;
    ServeArgs args = { .disks = disks, .qmp = qmp, .before = before,
                       .after = after };
    Error *err = NULL;

    if (cli_parse(argc, argv, serve_options, &args, backup_help) < argc) {
        cli_usage_error("Expecting no arguments");
    }
    if (!qmp->len) {
        cli_usage_error("--qmp is missing: the socket by which the daemon is "
                        "controlled");
    }
    if (!disks->len && !before->len) {
        cli_usage_error("--disk is missing: what to serve");
    }
    words = daemon_words(&args, &err);
    if (!words) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    if (args.dry_run) {
        print_words(words);
        return BACKUP_OK;
    }
    return become_daemon(words);
}
