/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of qemu-nbd. */
#include "qemu/osdep.h"

#include "nbd.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qemu/cutils.h"

static void help(void)
{
    printf(
"Usage: qemu-nbd [OPTIONS] FILE\n"
"  or:  qemu-nbd -L [OPTIONS]\n"
"Serves a disk image over NBD\n"
"\n"
"  -h, --help                prints this\n"
"  -V, --version             prints the version\n"
"\n"
"Connections:\n"
"  -p, --port=PORT           port to listen on (10809)\n"
"  -b, --bind=IFACE          interface to bind to (0.0.0.0)\n"
"  -k, --socket=PATH         unix socket to listen on instead\n"
"  -e, --shared=NUM          clients at a time (1); 0: no limit\n"
"  -t, --persistent          keep running without clients\n"
"  -x, --export-name=NAME    name of the export (empty)\n"
"  -D, --description=TEXT    description of the export\n"
"\n"
"The exported part and information:\n"
"  -o, --offset=OFFSET       begin there\n"
"  -A, --allocation-depth    show the depth of allocation\n"
"  -B, --bitmap=NAME         show a dirty bitmap; may be given several times\n"
"\n"
"General:\n"
"  -L, --list                list what another server exports\n"
"  --object TYPE,id=ID,...   makes an object\n"
"  --tls-creds=ID, --tls-authz=ID\n"
"                            not supported\n"
"  -T, --trace WHAT          accepted, and ignored\n"
"  --fork                    go into the background when the server runs\n"
"  --pid-file=PATH           write the process id there\n"
"  --selinux-label=LABEL     not supported\n"
"  -v, --verbose             keep stderr in the background\n"
"  -c, --connect=DEV, -d, --disconnect\n"
"                            kernel devices: not supported\n"
"\n"
"The image:\n"
"  -f, --format=FORMAT       its format; guessed if not given\n"
"  -r, --read-only           export it read-only\n"
"  -s, --snapshot            writes go to a temporary file\n"
"  -l, --load-snapshot=SNAPSHOT\n"
"                            export an internal snapshot, read-only: an id or\n"
"                            name, or snapshot.id=ID,snapshot.name=NAME\n"
"  -n, --nocache             like --cache=none\n"
"      --cache=MODE          none, writeback, writethrough, directsync, "
"unsafe\n"
"      --aio=MODE            threads, native or io_uring\n"
"      --discard=MODE        ignore or unmap\n"
"      --detect-zeroes=MODE  off, on or unmap\n"
"      --image-opts          FILE is key=value,...\n");
}

static bool print_version(void *dest, const char *arg)
{
    cli_print_version();
    exit(EXIT_SUCCESS);
}

static bool ignore(void *dest, const char *arg)
{
    return true;
}

/* --- values --- */

static bool take_shared(void *dest, const char *arg)
{
    NbdArgs *args = dest;
    int64_t n;

    if (!parse_int64(arg, &n, NULL) || n < 0 || n > INT_MAX) {
        error_report("Invalid shared device number '%s'", arg);
        return false;
    }
    args->shared = n;
    return true;
}

static bool take_offset(void *dest, const char *arg)
{
    NbdArgs *args = dest;

    if (!parse_int64(arg, &args->offset, NULL) || args->offset < 0) {
        error_report("Invalid offset '%s'", arg);
        return false;
    }
    return true;
}

static bool take_bitmap(void *dest, const char *arg)
{
    NbdArgs *args = dest;
    BlockDirtyBitmapOrStrList **tail = &args->bitmaps;
    BlockDirtyBitmapOrStr *ref = g_new0(BlockDirtyBitmapOrStr, 1);

    ref->type = BLOCK_DIRTY_BITMAP_OR_STR_KIND_LOCAL;
    ref->u.local = g_strdup(arg);
    while (*tail) {
        tail = &(*tail)->next;
    }
    QAPI_LIST_APPEND(tail, ref);
    return true;
}

static bool set_cache(NbdArgs *args, const char *mode)
{
    if (args->has_cache) {
        error_report("-n and --cache can only be specified once");
        return false;
    }
    args->has_cache = true;
    if (!tool_cache_mode(mode, &args->image)) {
        error_report("Invalid cache mode `%s'", mode);
        return false;
    }
    return true;
}

static bool take_cache(void *dest, const char *arg)
{
    return set_cache(dest, arg);
}

static bool take_nocache(void *dest, const char *arg)
{
    return set_cache(dest, "none");
}

static bool take_aio(void *dest, const char *arg)
{
    NbdArgs *args = dest;

    if (args->has_aio) {
        error_report("--aio can only be specified once");
        return false;
    }
    args->has_aio = true;
    if (!strcmp(arg, "native")) {
        args->image.flags |= BDRV_O_NATIVE_AIO;
    } else if (!strcmp(arg, "io_uring")) {
        args->image.flags |= BDRV_O_IO_URING;
    } else if (strcmp(arg, "threads")) {
        error_report("Invalid aio mode '%s'", arg);
        return false;
    }
    return true;
}

static bool take_discard(void *dest, const char *arg)
{
    NbdArgs *args = dest;

    if (args->has_discard) {
        error_report("--discard can only be specified once");
        return false;
    }
    args->has_discard = true;
    if (!strcmp(arg, "unmap") || !strcmp(arg, "on")) {
        args->image.flags |= BDRV_O_UNMAP;
    } else if (strcmp(arg, "ignore") && strcmp(arg, "off")) {
        error_report("Invalid discard mode `%s'", arg);
        return false;
    }
    return true;
}

static bool take_detect_zeroes(void *dest, const char *arg)
{
    NbdArgs *args = dest;
    int mode = BlockdevDetectZeroesOptions_parse(arg, NULL);

    if (mode < 0) {
        error_report("Failed to parse detect_zeroes mode: invalid parameter "
                     "value: %s", arg);
        return false;
    }
    args->detect_zeroes = mode;
    return true;
}

static bool refuse_label(void *dest, const char *arg)
{
    error_report("Option '--selinux-label' is not supported");
    return false;
}

/* --- the table --- */

#define NBD_FLAG(letter, name, member) \
    { letter, name, CLI_FLAG, offsetof(NbdArgs, member) }
#define NBD_TEXT(letter, name, member) \
    { letter, name, CLI_TEXT, offsetof(NbdArgs, member) }

static const CliOption options[] = {
    { 'V', "version", CLI_NOTE, 0, print_version },
    NBD_TEXT('p', "port", port),
    NBD_TEXT('b', "bind", bind),
    NBD_TEXT('k', "socket", socket),
    { 'e', "shared", CLI_CALL, 0, take_shared },
    NBD_FLAG('t', "persistent", persistent),
    NBD_FLAG('v', "verbose", verbose),
    NBD_TEXT('x', "export-name", export),
    NBD_TEXT('D', "description", description),
    { 'o', "offset", CLI_CALL, 0, take_offset },
    NBD_FLAG('A', "allocation-depth", depth),
    { 'B', "bitmap", CLI_CALL, 0, take_bitmap },
    NBD_FLAG('L', "list", list),
    { CLI_LONG_ONLY, "object", CLI_CALL, 0, cli_object },
    NBD_TEXT(CLI_LONG_ONLY + 1, "tls-creds", tls_creds),
    NBD_TEXT(CLI_LONG_ONLY + 2, "tls-authz", tls_authz),
    { 'T', "trace", CLI_CALL, 0, ignore },
    NBD_FLAG(CLI_LONG_ONLY + 3, "fork", fork),
    NBD_TEXT(CLI_LONG_ONLY + 4, "pid-file", pid_file),
    { CLI_LONG_ONLY + 5, "selinux-label", CLI_CALL, 0, refuse_label },
    NBD_TEXT('c', "connect", connect),
    NBD_TEXT('d', "disconnect", disconnect),
    NBD_TEXT('f', "format", image.format),
    NBD_FLAG('r', "read-only", read_only),
    NBD_FLAG('s', "snapshot", image.temporary),
    NBD_TEXT('l', "load-snapshot", snapshot),
    { 'n', "nocache", CLI_NOTE, 0, take_nocache },
    { CLI_LONG_ONLY + 6, "cache", CLI_CALL, 0, take_cache },
    { CLI_LONG_ONLY + 7, "aio", CLI_CALL, 0, take_aio },
    { CLI_LONG_ONLY + 8, "discard", CLI_CALL, 0, take_discard },
    { CLI_LONG_ONLY + 9, "detect-zeroes", CLI_CALL, 0, take_detect_zeroes },
    NBD_FLAG(CLI_LONG_ONLY + 10, "image-opts", image.image_opts),
    { 0 },
};

static void G_GNUC_NORETURN die(const char *fmt, const char *arg)
{
    error_report(fmt, arg);
    exit(EXIT_FAILURE);
}

static void G_GNUC_NORETURN wrong_number(const char *argv0)
{
    error_report("Invalid number of arguments");
    fprintf(stderr, "Try `%s --help' for more information.\n",
            argv0);
    exit(EXIT_FAILURE);
}

/* Refuses invalid options and combinations. */
static void check(const NbdArgs *args)
{
    if (args->connect || args->disconnect) {
        die("Kernel NBD devices are not supported (%s): nbdfuse makes a file "
            "of an export, nbd-client a device",
            args->connect ? "-c" : "-d");
    }
    if (args->tls_creds) {
        die("Failed to get TLS creds: No TLS credentials with id '%s'",
            args->tls_creds);
    }
    if (args->tls_authz) {
        die("--tls-authz is not permitted without --tls-creds: '%s'",
            args->tls_authz);
    }
    if (args->socket && args->socket[0] != '/') {
        die("%s", "socket path must be absolute");
    }
    if (args->image.image_opts && args->image.format) {
        die("%s", "--image-opts and -f are mutually exclusive");
    }
    if (args->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP &&
        !(args->image.flags & BDRV_O_UNMAP)) {
        die("%s", "setting detect-zeroes to unmap is not allowed without "
            "setting discard operation to unmap");
    }
}

void nbd_args_parse(NbdArgs *args, int argc, char **argv)
{
    int first;

    args->shared = 1;
    first = cli_parse(argc, argv, options, args, help);
    if (args->disconnect && access(args->disconnect, R_OK | W_OK) < 0) {
        error_report("Cannot open %s: %s", args->disconnect,
                     g_strerror(errno));
        exit(EXIT_FAILURE);
    }
    if (!args->disconnect && argc - first != (args->list ? 0 : 1) &&
        !(args->socket && args->socket[0] != '/')) {
        wrong_number(argv[0]);
    }
    check(args);
    args->image.filename = argv[first];
    args->read_only |= args->snapshot != NULL;
    args->image.flags |= args->read_only ? 0 : BDRV_O_RDWR;
}

void nbd_args_free(NbdArgs *args)
{
    qapi_free_BlockDirtyBitmapOrStrList(args->bitmaps);
}
