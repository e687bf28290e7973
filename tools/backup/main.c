/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tidemark: the table of commands. */
#include "qemu/osdep.h"

#include <locale.h>

#include "backup.h"
#include "block/graph.h"
#include "config.h"
#include "qemu/aio.h"
#include "qemu/cutils.h"

typedef struct BackupCommand {
    const char *name;
    BackupCommandFunc *run;
    const char *arguments;
    const char *about;
    const char *options; /* a line for each */
    bool has_config;     /* takes --config */
} BackupCommand;

#define CONFIG "  -C, --config=NAME  reads options in /etc/tidemark/NAME.conf\n"

static const BackupCommand commands[] = {
    { "backup", backup_cmd_backup,
      "--to=DIR (--qmp=SOCKET (--node=NODE... | --disks=all) | IMAGE...)",
      "backs up disks, all of one moment, into a folder",
      "  -t, --to=DIR             folder of backups; is made if need be\n"
      "      --qmp=SOCKET         QMP server that has the disks\n"
      "  -n, --node=[NAME=]NODE   a disk of it: node, or name and node\n"
      "      --disks=all          all disks of it that can be written\n"
      "  -l, --level=LEVEL        auto, full, incremental or differential\n"
      "  -f, --format=FORMAT      of files: qcow2 or raw; else as before\n"
      "      --data=URI           NBD exports for the data, such as\n"
      "                           nbd://host/{disk}-{number}\n"
      "  -c, --compress           in the backup\n"
      "      --speed=BYTES        at most, a second and disk\n"
      "      --ignore-space       does not look whether there is room\n"
      "      --no-digest          does not compute digests of the files\n"
      "      --daemon=PROGRAM     storage daemon to start for an IMAGE\n"
      "      --timeout=SECONDS    for each answer of the server; 60\n"
      "      --json               prints what was done as JSON\n"
      "  -q, --quiet              prints nothing but errors\n", true },
    { "list", backup_cmd_list, "DIR", "lists the backups in a folder",
      "      --json  as JSON\n", true },
    { "show", backup_cmd_show, "DIR [ID]",
      "shows one backup, or the last one: its disks, what each is based on",
      "      --json  as JSON\n", true },
    { "verify", backup_cmd_verify, "DIR [ID]...",
      "looks whether backups are as they were: digests, chains, images",
      "      --quick  not the digests\n"
      "  -q, --quiet  prints problems only\n", true },
    { "restore", backup_cmd_restore, "--output=FILE DIR",
      "writes a disk as it was at a backup to an image, a device or a server",
      "  -u, --until=WHEN            a time, or an id; else the last backup\n"
      "  -d, --disk=NAME             which, where a backup has several\n"
      "  -o, --output=FILE           image, block device, or URI of an NBD "
      "export\n"
      "  -O, --output-format=FORMAT  qcow2 or raw; else by the name\n"
      "  -f, --force                 replaces a file; writes to a mounted "
      "device\n"
      "      --daemon=PROGRAM        storage daemon to start\n"
      "  -q, --quiet                 prints nothing but errors\n", true },
    { "mount", backup_cmd_mount, "DIR ID [PLACE]",
      "shows a disk as it was at a backup as a file",
      "  -d, --disk=NAME       which, where a backup has several\n"
      "      --daemon=PROGRAM  storage daemon to start\n", true },
    { "prune", backup_cmd_prune, "--keep=RULES DIR",
      "removes old backups; those that others are based on are merged",
      "  -k, --keep=RULES  such as 14d,8w,12m: the last of each of 14 days,\n"
      "                    8 weeks, 12 months\n"
      "  -n, --dry-run     only says what would go\n"
      "  -q, --quiet       prints nothing but errors\n", true },
    { "serve", backup_cmd_serve, "--qmp=SOCKET --disk=NAME,file=FILE...",
      "serves disks: becomes a storage daemon for them",
      "      --disk=NAME,file=FILE[,format=qcow2|raw][,bitmaps=FILE]\n"
      "             [,read-only=on]  a disk; bitmaps: image that keeps those\n"
      "                              of a raw disk\n"
      "      --qmp=SOCKET            where the daemon is controlled\n"
      "      --nbd=ADDRESS           where guests find the disks: path or\n"
      "                              HOST:PORT\n"
      "      --object=, --blockdev=, --export=WORDS\n"
      "                              options of the daemon\n"
      "      --daemon=PROGRAM        storage daemon to become\n"
      "  -n, --dry-run               prints the command line of the daemon\n",
      true },
    { "status", backup_cmd_status, "--qmp=SOCKET",
      "shows the disks of a server, their bitmaps, and its jobs",
      "      --qmp=SOCKET       QMP server\n"
      "  -t, --to=DIR           folder of backups: since when, and how old\n"
      "  -w, --watch=SECONDS    shows it again and again, until SIGINT\n"
      "      --timeout=SECONDS  for each answer of the server; 60\n"
      "      --json             as JSON\n", true },
    { "map", backup_cmd_map, "(DIR [ID] | --qmp=SOCKET --node=NODE)",
      "draws where a disk changed: for backups, for one, or for a bitmap",
      "  -d, --disk=NAME        which, where a backup has several\n"
      "      --qmp=SOCKET       QMP server\n"
      "  -n, --node=NODE        node of it\n"
      "  -b, --bitmap=NAME      bitmap, where the node has several\n"
      "      --nbd=ADDRESS      its NBD server, if it has one: path or "
      "HOST:PORT\n"
      "      --svg=FILE         an SVG image instead of text\n"
      "      --ascii            with plain characters\n"
      "      --timeout=SECONDS  for each answer of the server; 60\n", true },
    { "qmp", backup_cmd_qmp, "SOCKET COMMAND [KEY=VALUE]...",
      "asks a QMP server anything, and prints the answer",
      "  -t, --timeout=SECONDS  for the answer, and for --wait; 60\n"
      "  -w, --wait=EVENT       then waits for an event of this name, and "
      "prints it\n"
      "  -c, --compact          JSON on one line\n" },
};

/* The command that runs; NULL: none yet. */
static const BackupCommand *current;

static void print_all(void)
{
    printf("usage: tidemark COMMAND [OPTION]... [ARGUMENT]...\n"
           "Backs up disks of virtual machines while they run, and restores "
           "them.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        printf("  %-8s  %s\n", commands[i].name, commands[i].about);
    }
    printf("\n  -h, --help     this text; after a command, its options\n"
           "  -V, --version  name and version\n");
}

void backup_help(void)
{
    if (!current) {
        print_all();
        return;
    }
    printf("usage: tidemark %s [OPTION]... %s\n\n%s%s\n", current->name,
           current->arguments, current->options,
           current->has_config ? CONFIG : "");
}

bool backup_timeout(const char *seconds, int *ms)
{
    uint64_t n;

    if (!seconds) {
        return true;
    }
    if (!parse_uint64(seconds, &n, NULL) || n == 0 || n > 86400) {
        error_report("--timeout is a number of seconds, 1 to 86400");
        return false;
    }
    *ms = n * 1000;
    return true;
}

static bool find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!strcmp(commands[i].name, name)) {
            current = &commands[i];
            return true;
        }
    }
    return false;
}

/* What is no command: --help, --version, or a mistake. */
static int without_command(const char *word)
{
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        cli_print_version();
    } else if (!strcmp(word, "--help") || !strcmp(word, "-h") ||
               !strcmp(word, "help")) {
        print_all();
    } else {
        cli_usage_error("There is no command '%s'", word);
    }
    return EXIT_SUCCESS;
}

/* Closes images; unlike tool_finish() the status is told even after SIGINT. */
static int finish(int status)
{
    bdrv_close_all();
    if (bdrv_any_close_failed() && status == EXIT_SUCCESS) {
        status = BACKUP_FAILED; /* it was reported */
    }
    aio_main_cleanup();
    if (fflush(stdout) || ferror(stdout)) {
        error_report("Writing to standard output failed");
        status = status ? status : BACKUP_FAILED;
    }
    return status;
}

static int run_command(int argc, char **argv)
{
    Error *err = NULL;

    if (current->has_config && !config_expand(&argc, &argv, &err)) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    return current->run(argc, argv);
}

int main(int argc, char **argv)
{
    int status;

    setlocale(LC_CTYPE, ""); /* pictures use what the terminal can show */
    tool_init("tidemark", argv[0]);
    if (argc < 2) {
        cli_usage_error("A command is missing");
    }
    if (!find_command(argv[1])) {
        status = without_command(argv[1]);
    } else {
        g_autofree char *name = g_strdup_printf("tidemark %s", argv[1]);

        g_set_prgname(name); /* for "Try '... --help'" */
        status = run_command(argc - 1, argv + 1);
    }
    return finish(status);
}
