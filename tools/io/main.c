/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: commands from the command line or from standard input. */
#include "qemu/osdep.h"
#include "command.h"
#include "session.h"
#include "tools/common/cli.h"

typedef struct IoArgs {
    IoOpen open;
    bool misalign;
    GPtrArray *commands; /* -c, in the order given */
} IoArgs;

static void help(void)
{
    printf("Usage: qemu-io [OPTIONS]... [-c STRING]... [file]\n"
           "Reads and writes images, for tests\n\n"
           "  --object OBJECTDEF   makes an object, like throttle-group\n"
           "  --image-opts         file is key=value,...\n"
           "  -c, --cmd STRING     runs a command; may be given several "
           "times\n"
           "  -f, --format FMT     format of the image; guessed if not given\n"
           "  -r, --read-only      opens read-only\n"
           "  -s, --snapshot       writes go to a temporary file\n"
           "  -n, --nocache        without the host's cache: -t none\n"
           "  -C, --copy-on-read   writes to the image what is read from its "
           "backing file\n"
           "  -m, --misalign       buffers that O_DIRECT cannot take as they "
           "are\n"
           "  -k, --native-aio     like -i native\n"
           "  -i, --aio=MODE       threads, native or io_uring\n"
           "  -t, --cache=MODE     none, writeback, writethrough, directsync, "
           "unsafe\n"
           "  -d, --discard=MODE   unmap or ignore\n"
           "  -T, --trace WHAT     accepted, and ignored\n"
           "  -U, --force-share    opens although others write\n"
           "  -h, --help           prints this\n"
           "  -V, --version        prints the version\n\n"
           "See 'qemu-io -c help' for the commands.\n");
}

static bool take_command(void *dest, const char *arg)
{
    g_ptr_array_add(((IoArgs *)dest)->commands, (void *)arg);
    return true;
}

static bool print_version(void *dest, const char *arg)
{
    cli_print_version();
    exit(EXIT_SUCCESS);
}

static bool ignore_trace(void *dest, const char *arg)
{
    return true;
}

#define IO_FLAG(letter, name, member) \
    { letter, name, CLI_FLAG, offsetof(IoArgs, member) }
#define IO_TEXT(letter, name, member) \
    { letter, name, CLI_TEXT, offsetof(IoArgs, member) }

static const CliOption options[] = {
    { CLI_LONG_ONLY, "object", CLI_CALL, 0, cli_object },
    IO_FLAG(CLI_LONG_ONLY + 1, "image-opts", open.image.image_opts),
    { 'c', "cmd", CLI_CALL, 0, take_command },
    IO_TEXT('f', "format", open.image.format),
    IO_FLAG('r', "read-only", open.read_only),
    IO_FLAG('s', "snapshot", open.image.temporary),
    IO_FLAG('n', "nocache", open.nocache),
    IO_FLAG('C', "copy-on-read", open.copy_on_read),
    IO_FLAG('m', "misalign", misalign),
    IO_FLAG('k', "native-aio", open.native_aio),
    IO_TEXT('i', "aio", open.aio),
    IO_TEXT('t', "cache", open.cache),
    IO_TEXT('d', "discard", open.discard),
    { 'T', "trace", CLI_CALL, 0, ignore_trace },
    IO_FLAG('U', "force-share", open.force_share),
    { 'V', "version", CLI_NOTE, 0, print_version },
    { 0 },
};

/* True: a command failed. */
static bool run_commands(const GPtrArray *list)
{
    bool failed = false;

    for (guint i = 0; i < list->len; i++) {
        if (io_session_ended() || tool_interrupted()) {
            break;
        }
        failed |= qemuio_command(io_session_blk(), list->pdata[i]) < 0;
    }
    return failed;
}

static char *read_line(void)
{
    char *line = NULL;
    size_t size = 0;

    printf("qemu-io> ");
    fflush(stdout);
    if (getline(&line, &size, stdin) < 0) {
        free(line);
        return NULL;
    }
    return line;
}

static bool run_prompt(void)
{
    bool failed = false;
    char *line;

    while (!io_session_ended() && !tool_interrupted() &&
           (line = read_line())) {
        failed |= qemuio_command(io_session_blk(), line) < 0;
        free(line);
    }
    return failed;
}

static bool open_first(IoArgs *args, int n_files, char **files)
{
    if (n_files > 1) {
        help();
        return false;
    }
    if (args->open.image.image_opts && args->open.image.format) {
        error_report("--image-opts and -f are mutually exclusive");
        return false;
    }
    if (!io_open_prepare(&args->open)) {
        return false;
    }
    args->open.image.filename = files[0];
    return n_files == 0 || io_session_open(&args->open);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) commands = g_ptr_array_new();
    IoArgs args = { .commands = commands };
    bool failed;
    int first;

    tool_init("qemu-io", argv[0]);
    io_session_add_commands();
    first = cli_parse(argc, argv, options, &args, help);
    qemuio_set_misalign(args.misalign);
    failed = !open_first(&args, argc - first, argv + first);
    if (!failed) {
        failed = commands->len ? run_commands(commands) : run_prompt();
    }
    io_session_close();
    return tool_finish(failed ? EXIT_FAILURE : EXIT_SUCCESS);
}
