/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img: the table of commands. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/bitmap-store.h"
#include "block/driver.h"
#include "img.h"

#define OBJECT "[--object objectdef] "
#define IMAGE OBJECT "[--image-opts] [-f fmt] "

typedef struct ImgCommand {
    const char *name;
    ImgCommandFunc *run; /* NULL: not supported yet */
    const char *arguments;
} ImgCommand;

static const ImgCommand commands[] = {
    { "amend", img_amend,
      IMAGE "[-p] [-q] [-t cache] [--force] -o options filename" },
    { "bench", img_bench,
      IMAGE "[-c count] [-d depth] [--flush-interval=flush_interval] [-i aio] "
      "[-n] [--no-drain] [-o offset] [--pattern=pattern] [-q] "
      "[-s buffer_size] [-S step_size] [-t cache] [-w] [-U] filename" },
    { "bitmap", img_bitmap,
      "(--merge SOURCE | --add | --remove | --clear | --enable | "
      "--disable)... [-b source_file [-F source_fmt]] [-g granularity] "
      OBJECT "[--image-opts | -f fmt] filename bitmap" },
    { "check", img_check,
      IMAGE "[-q] [--output=ofmt] [-r [leaks | all]] [-T src_cache] [-U] "
      "filename" },
    { "commit", img_commit,
      IMAGE "[-t cache] [-b base] [-r rate_limit] [-d] [-p] [-q] filename" },
    { "compare", img_compare,
      IMAGE "[-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 "
      "filename2" },
    { "convert", img_convert,
      IMAGE "[--target-image-opts] [--target-is-zero] [--bitmaps "
      "[--skip-broken-bitmaps]] [-U] [-C] [-c] [-p] [-q] [-n] [-t cache] "
      "[-T src_cache] [-O output_fmt] [-B backing_file [-F backing_fmt]] "
      "[-o options] [-l snapshot_param] [-S sparse_size] [-r rate_limit] "
      "[-m num_coroutines] [-W] [--salvage] filename [filename2 [...]] "
      "output_filename" },
    { "create", img_create,
      OBJECT "[-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] "
      "[-o options] filename [size]" },
    { "dd", img_dd,
      IMAGE "[-U] [-O output_fmt] [bs=block_size] [count=blocks] "
      "[skip=blocks] if=input of=output" },
    { "info", img_info,
      IMAGE "[--output=ofmt] [--backing-chain] [-U] filename" },
    { "map", img_map,
      IMAGE "[--start-offset=offset] [--max-length=len] [--output=ofmt] [-U] "
      "filename" },
    { "measure", img_measure,
      "[--output=ofmt] [-O output_fmt] [-o options] [--size N | " IMAGE
      "[-l snapshot_param] [-U] filename]" },
    { "rebase", img_rebase,
      IMAGE "[-U] [-q] [-t cache] [-T src_cache] [-p] [-u] -b backing_file "
      "[-F backing_fmt] filename" },
    { "resize", img_resize,
      IMAGE "[--preallocation=prealloc] [-q] [--shrink] filename "
      "[+ | -]size" },
    { "snapshot", img_snapshot,
      IMAGE "[-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] "
      "filename" },
};

static const char help_parameters[] =
    "\n"
    "Parameters:\n"
    "  filename        a path, or json:{...}, or PROTOCOL:...; with "
    "--image-opts\n"
    "                  key=value,... like driver=qcow2,file.filename=PATH\n"
    "  objectdef       an object, like throttle-group,id=ID,...\n"
    "  fmt             format of an image; guessed where not given\n"
    "  cache           none, writeback, writethrough, directsync or unsafe\n"
    "                  (for the target of convert: unsafe if not given)\n"
    "  size, len ...   bytes, or with a suffix: k, M, G, T, P, E (powers of "
    "1024)\n"
    "  ofmt            human or json\n"
    "  options         name=value,...; -o help lists those of a format\n"
    "\n"
    "  -q              print nothing but errors\n"
    "  -p              show progress (of what takes long); SIGUSR1 asks for "
    "it\n"
    "  -U              open although others write to the image\n"
    "  -u              create: do not open the backing file; rebase: change "
    "only\n"
    "                  its name\n"
    "  -s              compare: sizes and allocation must be equal too\n"
    "  -r leaks|all    check: repair what leaks, or everything\n"
    "  -b base, -d     commit: into that backing file, not the next one; do "
    "not\n"
    "                  empty the image afterwards\n"
    "  --shrink        resize: allow the disk to become smaller\n"
    "\n"
    "Parameters of convert:\n"
    "  -n              the target exists already\n"
    "  --target-is-zero  with -n: it reads as zeroes\n"
    "  -c              compress\n"
    "  -B, -F          backing file of the target and its format; data of the\n"
    "                  source's own backing file is not copied\n"
    "  -S size         skip runs of zeroes of that length (4k); 0: none\n"
    "  -m number       requests at the same time (8, at most 16)\n"
    "  -W              write in any order\n"
    "  -C              use copy_file_range() if possible\n"
    "  -r rate         bytes per second, at most\n"
    "  --bitmaps       copy the persistent bitmaps too\n"
    "  --skip-broken-bitmaps  but not those that are inconsistent\n"
    "  --salvage       write zeroes instead of unreadable data\n"
    "  -l snapshot     use the snapshot: its ID or name, or\n"
    "                  snapshot.id=ID,snapshot.name=NAME; also of measure\n"
    "\n"
    "Parameters of snapshot: -l lists, -c makes, -a applies, -d deletes one\n"
    "\n"
    "Parameters of bitmap, executed in the order given:\n"
    "  --add, --remove, --clear, --enable, --disable\n"
    "  --merge SOURCE  adds the bits of SOURCE; -b, -F: in another image\n"
    "  -g granularity  of --add, a power of two\n";

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One line, which scripts parse. */
static void print_formats(void)
{
    g_autofree const char **names = NULL;
    size_t n = 0;

    while (bdrv_drivers[n]) {
        n++;
    }
    names = g_new(const char *, n);
    for (size_t i = 0; i < n; i++) {
        names[i] = bdrv_drivers[i]->format_name;
    }
    qsort(names, n, sizeof(*names), compare_names);
    printf("Supported formats:");
    for (size_t i = 0; i < n; i++) {
        printf(" %s", names[i]);
    }
    printf("\n");
}

void img_help(void)
{
    cli_print_version();
    printf("usage: qemu-img [standard options] command [command options]\n"
           "\n"
           "    '-h', '--help'       print this and exit\n"
           "    '-V', '--version'    print the version and exit\n"
           "    '-T', '--trace'      accepted, and ignored\n"
           "\n"
           "Command syntax:\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].run) {
            printf("  %s %s\n", commands[i].name, commands[i].arguments);
        }
    }
    printf("%s\n", help_parameters);
    print_formats();
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

static const CliOption global_options[] = {
    { 'V', "version", CLI_NOTE, 0, print_version },
    { 'T', "trace", CLI_CALL, 0, ignore_trace },
    { 0 },
};

/* Finds the command: the first argument that is no global option. */
static int find_command(int argc, char **argv)
{
    int i = 1;

    while (i < argc && argv[i][0] == '-') {
        bool separate = !strcmp(argv[i], "-T") || !strcmp(argv[i], "--trace");

        i += separate ? 2 : 1;
    }
    return MIN(i, argc);
}

static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, argv[0])) {
            continue;
        }
        if (!commands[i].run) {
            error_report("Command '%s' is not supported yet", argv[0]);
            return EXIT_FAILURE;
        }
        return commands[i].run(argc, argv);
    }
    cli_usage_error("Command not found: %s", argv[0]);
}

int main(int argc, char **argv)
{
    int command, status;

    tool_init("qemu-img", argv[0]);
    img_progress_init();
    /* It has an image open for a moment, and says if it cannot store them. */
    bdrv_bitmap_set_default_safety(BITMAP_SAFETY_CLOSE);
    command = find_command(argc, argv);
    cli_parse(command, argv, global_options, NULL, img_help);
    if (command == argc) {
        cli_usage_error("Not enough arguments");
    }
    status = run_command(argc - command, argv + command);
    return tool_finish(status);
}
