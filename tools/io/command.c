/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of qemu-io's commands, and the execution of a command line. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "io-int.h"
#include "qemu/cutils.h"

#define MAX_WORDS 256

static QemuIoFunc io_help;

#define OFF_LENS "off len [len..]"

static const QemuIoCommand commands[] = {
    { "abort", NULL, io_abort, 0, 0, true, 0, NULL,
      "ends the program at once, as a crash would" },
    { "aio_flush", NULL, io_aio_flush, 0, 0, false, 0, NULL,
      "waits for all asynchronous requests" },
    { "aio_read", NULL, io_aio_read, 2, -1, false, 0,
      "[-Ciqv] [-P pattern] " OFF_LENS, "reads asynchronously",
      "The result is printed on completion; aio_flush waits for that.\n"
      "  -C  report as comma separated values\n"
      "  -P  compare the data with this byte\n"
      "  -i  make the request invalid\n"
      "  -v  dump the data\n"
      "  -q  report nothing\n" },
    { "aio_write", NULL, io_aio_write, 2, -1, false, BLK_PERM_WRITE,
      "[-Cfiquz] [-P pattern] " OFF_LENS, "writes asynchronously",
      "The result is printed on completion; aio_flush waits for that.\n"
      "  -P  the byte to write (0xcd)\n"
      "  -C  report as comma separated values\n"
      "  -f  be durable when done\n"
      "  -i  make the request invalid\n"
      "  -q  report nothing\n"
      "  -u  with -z: allow to deallocate\n"
      "  -z  write zeroes, as a request of its own\n" },
    { "alloc", "a", io_alloc, 1, 2, false, 0, "offset [count]",
      "prints how much is allocated" },
    { "break", NULL, io_break, 2, 2, false, 0, "event tag",
      "makes the next request with the event wait under the tag" },
    { "discard", "d", io_discard, 2, -1, false, BLK_PERM_WRITE,
      "[-Cq] off len", "discards a range",
      "  -C  report as comma separated values\n"
      "  -q  report nothing\n" },
    { "flush", "f", io_flush, 0, 0, false, 0, NULL,
      "makes written data durable" },
    { "help", "?", io_help, 0, 1, true, 0, "[command]",
      "help for one or all commands" },
    { "info", "i", io_info, 0, 0, false, 0, NULL,
      "prints information on the image" },
    { "length", "l", io_length, 0, 0, false, 0, NULL,
      "prints the size of the image" },
    { "map", NULL, io_map, 0, 0, false, 0, NULL,
      "prints which areas are allocated" },
    { "read", "r", io_read, 2, -1, false, 0,
      "[-bCqv] [-P pattern [-s off] [-l len]] off len", "reads a range",
      "  -C  report as comma separated values\n"
      "  -P  compare the data with this byte\n"
      "  -s  from this offset of the data (with -P)\n"
      "  -l  for so many bytes (with -P)\n"
      "  -p  ignored\n"
      "  -q  report nothing\n"
      "  -v  dump the data\n"
      "  -b  from the VM state: not supported\n" },
    { "readv", NULL, io_readv, 2, -1, false, 0,
      "[-Cqv] [-P pattern] " OFF_LENS, "reads a range into several buffers",
      "  -C  report as comma separated values\n"
      "  -P  compare the data with this byte\n"
      "  -v  dump the data\n"
      "  -q  report nothing\n" },
    { "remove_break", NULL, io_remove_break, 1, 1, false, 0, "tag",
      "removes a breakpoint and resumes its requests" },
    { "resume", NULL, io_resume, 1, 1, false, 0, "tag",
      "resumes the request that waits under the tag" },
    { "sigraise", NULL, io_sigraise, 1, 1, true, 0, "signal",
      "sends a signal to this program" },
    { "sleep", NULL, io_sleep, 1, 1, true, 0, "milliseconds",
      "waits, while requests continue" },
    { "truncate", "t", io_truncate, 1, 3, false,
      BLK_PERM_WRITE | BLK_PERM_RESIZE, "[-m prealloc_mode] off",
      "changes the size of the image" },
    { "wait_break", NULL, io_wait_break, 1, 1, false, 0, "tag",
      "waits until a request waits under the tag" },
    { "write", "w", io_write, 2, -1, false, BLK_PERM_WRITE,
      "[-bcCfnquz] [-P pattern | -s source_file] off len", "writes a range",
      "  -P  the byte to write (0xcd)\n"
      "  -s  write the content of a file, repeated\n"
      "  -c  compressed\n"
      "  -f  be durable when done\n"
      "  -z  write zeroes, as a request of its own\n"
      "  -n  with -z: fail rather than write them slowly\n"
      "  -u  with -z: allow to deallocate\n"
      "  -p  ignored\n"
      "  -C  report as comma separated values\n"
      "  -q  report nothing\n"
      "  -b  to the VM state: not supported\n" },
    { "writev", NULL, io_writev, 2, -1, false, BLK_PERM_WRITE,
      "[-Cfq] [-P pattern] " OFF_LENS, "writes a range from several buffers",
      "  -P  the byte to write (0xcd)\n"
      "  -C  report as comma separated values\n"
      "  -f  be durable when done\n"
      "  -q  report nothing\n" },
    { 0 },
};

/* Tables of commands: built in and added. */
static const QemuIoCommand *tables[4] = { commands };

void qemuio_add_commands(const QemuIoCommand *table)
{
    size_t i = 0;

    while (tables[i]) {
        i++;
    }
    g_assert(i + 1 < ARRAY_SIZE(tables));
    tables[i] = table;
}

static const QemuIoCommand *find_command(const char *name)
{
    for (size_t i = 0; tables[i]; i++) {
        for (const QemuIoCommand *c = tables[i]; c->name; c++) {
            if (!strcmp(c->name, name) ||
                (c->alias && !strcmp(c->alias, name))) {
                return c;
            }
        }
    }
    return NULL;
}

/* --- help --- */

static void print_usage(const QemuIoCommand *c, const char *called_as)
{
    printf("%s%s%s -- %s\n", called_as, c->args ? " " : "",
           c->args ? c->args : "", c->text);
}

void qemuio_usage(const char *called_as)
{
    print_usage(find_command(called_as), called_as);
}

static int by_name(const void *a, const void *b)
{
    const QemuIoCommand *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void help_all(void)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (size_t i = 0; tables[i]; i++) {
        for (const QemuIoCommand *c = tables[i]; c->name; c++) {
            g_ptr_array_add(all, (void *)c);
        }
    }
    g_ptr_array_sort(all, by_name);
    for (guint i = 0; i < all->len; i++) {
        const QemuIoCommand *c = all->pdata[i];

        print_usage(c, c->name);
    }
    printf("\nUse 'help commandname' for extended help.\n");
}

static int io_help(BlockBackend *blk, int argc, char **argv)
{
    const QemuIoCommand *c;

    if (argc == 1) {
        help_all();
        return 0;
    }
    c = find_command(argv[1]);
    if (!c) {
        printf("command %s not found\n", argv[1]);
        return -EINVAL;
    }
    print_usage(c, argv[1]);
    if (c->help) {
        printf("\n%s\n", c->help);
    }
    return 0;
}

/* --- execution --- */

static bool check_count(const QemuIoCommand *c, const char *called_as, int n)
{
    if (n >= c->min_args && (c->max_args < 0 || n <= c->max_args)) {
        return true;
    }
    if (c->max_args < 0) {
        fprintf(stderr, "bad argument count %d to %s, expected at least %d "
                "arguments\n", n, called_as, c->min_args);
    } else if (c->min_args == c->max_args) {
        fprintf(stderr, "bad argument count %d to %s, expected %d "
                "arguments\n", n, called_as, c->min_args);
    } else {
        fprintf(stderr, "bad argument count %d to %s, expected between %d "
                "and %d arguments\n", n, called_as, c->min_args, c->max_args);
    }
    return false;
}

/* Takes the permissions that @c needs, and keeps them. */
static bool take_permissions(const QemuIoCommand *c, BlockBackend *blk)
{
    uint64_t perm, shared;
    Error *err = NULL;

    if (!blk || !c->perm || !blk_is_available(blk)) {
        return true;
    }
    if (bdrv_is_read_only(blk_bs(blk))) {
        error_report("Block node is read-only");
        return false;
    }
    blk_get_perm(blk, &perm, &shared);
    if ((c->perm & ~perm) &&
        !blk_set_perm(blk, perm | c->perm, shared, &err)) {
        error_report_err(err);
        return false;
    }
    return true;
}

/* Does it use the node itself?  Others fail by their request. */
static bool needs_medium(const QemuIoCommand *c)
{
    static QemuIoFunc *const those[] = {
        io_alloc, io_map, io_info, io_break, io_remove_break, io_resume,
        io_wait_break,
    };

    for (size_t i = 0; i < ARRAY_SIZE(those); i++) {
        if (c->run == those[i]) {
            return true;
        }
    }
    return false;
}

static int run(BlockBackend *blk, int argc, char **argv)
{
    const QemuIoCommand *c = find_command(argv[0]);

    if (!c) {
        fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return -EINVAL;
    }
    if (!check_count(c, argv[0], argc - 1)) {
        return -EINVAL;
    }
    if (!c->no_file && !blk) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return -EINVAL;
    }
    if (!take_permissions(c, blk)) {
        return -EACCES;
    }
    if (blk && !blk_bs(blk) && needs_medium(c)) {
        printf("%s failed: %s\n", argv[0], strerror(ENOMEDIUM));
        return -ENOMEDIUM;
    }
    optind = 0; /* glibc: restart */
    return c->run(blk, argc, argv);
}

int qemuio_command(BlockBackend *blk, const char *text)
{
    g_autofree char *copy = g_strdup(text);
    char *argv[MAX_WORDS + 1];
    char *rest = copy;
    int argc = 0;
    int ret;

    while (rest) {
        char *word = strsep(&rest, " \t\r\n");

        if (!*word) {
            continue;
        }
        if (argc == MAX_WORDS) {
            fprintf(stderr, "too many arguments\n");
            return -EINVAL;
        }
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    ret = argc ? run(blk, argc, argv) : 0;
    fflush(stdout);
    return ret;
}

/* --- arguments --- */

bool io_number(const char *text, int64_t *value)
{
    if (parse_size(text, 'b', value, NULL)) {
        return true;
    }
    if (g_ascii_isdigit(*text) &&
        (!text[strspn(text, "0123456789")] ||
         !text[strspn(text, "0123456789") + 1])) {
        printf("Parsing error: argument too large -- %s\n", text);
    } else {
        printf("Parsing error: non-numeric argument, or extraneous/"
               "unrecognized suffix -- %s\n", text);
    }
    return false;
}

bool io_length_arg(const char *text, int64_t *bytes)
{
    if (!io_number(text, bytes)) {
        return false;
    }
    if (*bytes > BDRV_REQUEST_MAX_BYTES) {
        printf("length cannot exceed %" PRId64 ", given %s\n",
               BDRV_REQUEST_MAX_BYTES, text);
        return false;
    }
    return true;
}

static bool take_pattern(const char *text, IoOptions *o)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (!*text || *end || value < 0 || value > 0xff) {
        printf("%s is not a valid pattern byte\n", text);
        return false;
    }
    o->has_pattern = true;
    o->pattern = value;
    return true;
}

/* @letters with "l:" is a read: there -s is an offset, else a file. */
static bool take_option(int letter, bool is_read, IoOptions *o)
{
    switch (letter) {
    case 'b': o->vmstate = true; return true;
    case 'c': o->compress = true; return true;
    case 'C': o->csv = true; return true;
    case 'f': o->fua = true; return true;
    case 'i': o->invalid = true; return true;
    case 'n': o->no_slow = true; return true;
    case 'p': return true;
    case 'q': o->quiet = true; return true;
    case 'u': o->unmap = true; return true;
    case 'v': o->dump = true; return true;
    case 'z': o->zero = true; return true;
    case 'P': return take_pattern(optarg, o);
    case 'l':
        o->has_length = true;
        return io_number(optarg, &o->length);
    case 's':
        if (is_read) {
            o->has_start = true;
            return io_number(optarg, &o->start);
        }
        o->file = optarg;
        return true;
    default: /* reported by getopt() */
        return false;
    }
}

int io_options(int argc, char **argv, const char *letters, IoOptions *o)
{
    bool is_read = strstr(letters, "l:");
    int c;

    opterr = 1;
    while ((c = getopt(argc, argv, letters)) != -1) {
        if (!take_option(c, is_read, o)) {
            if (c == '?') {
                qemuio_usage(argv[0]);
            }
            return 0;
        }
    }
    return optind;
}

bool io_check_aligned(const char *text, int64_t value, const char *what)
{
    if (value % BDRV_SECTOR_SIZE) {
        printf("%s is not a sector-aligned value for '%s'\n", text, what);
        return false;
    }
    return true;
}

bool io_check_write_options(const IoOptions *o)
{
    if (o->vmstate && o->zero) {
        printf("-b and -z cannot be specified at the same time\n");
    } else if (o->fua && (o->vmstate || o->compress)) {
        printf("-f and -b or -c cannot be specified at the same time\n");
    } else if (o->no_slow && !o->zero) {
        printf("-n requires -z to be specified\n");
    } else if (o->unmap && !o->zero) {
        printf("-u requires -z to be specified\n");
    } else if (o->zero + o->has_pattern + (o->file != NULL) > 1) {
        printf("Only one of -z, -P, and -s can be specified at the same "
               "time\n");
    } else {
        return true;
    }
    return false;
}

int io_write_flags(const IoOptions *o)
{
    int flags = o->fua ? BDRV_REQ_FUA : 0;

    if (o->zero) {
        flags |= o->unmap ? BDRV_REQ_MAY_UNMAP : 0;
        flags |= o->no_slow ? BDRV_REQ_NO_FALLBACK : 0;
    } else if (o->compress) {
        flags |= BDRV_REQ_WRITE_COMPRESSED;
    }
    return flags;
}
