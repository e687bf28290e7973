/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the commands of qemu-img. */
#ifndef TOOLS_IMG_H
#define TOOLS_IMG_H

#include "tools/common/cli.h"
#include "tools/common/image.h"

/* A command: argv[0] is its name; returns the exit status. */
typedef int ImgCommandFunc(int argc, char **argv);

int img_amend(int argc, char **argv);
int img_bench(int argc, char **argv);
int img_bitmap(int argc, char **argv);
int img_check(int argc, char **argv);
int img_commit(int argc, char **argv);
int img_compare(int argc, char **argv);
int img_convert(int argc, char **argv);
int img_create(int argc, char **argv);
int img_dd(int argc, char **argv);
int img_info(int argc, char **argv);
int img_map(int argc, char **argv);
int img_measure(int argc, char **argv);
int img_rebase(int argc, char **argv);
int img_resize(int argc, char **argv);
int img_snapshot(int argc, char **argv);

/* Prints the output of --help. */
void img_help(void);

/* --- options.c --- */

/* Rows of a CliOption table; @T is the command's struct. */
#define IMG_FLAG(T, letter, name, member) \
    { letter, name, CLI_FLAG, offsetof(T, member) }
#define IMG_TEXT(T, letter, name, member) \
    { letter, name, CLI_TEXT, offsetof(T, member) }
#define IMG_CALL(letter, name, func) { letter, name, CLI_CALL, 0, func }
/* Options of every command that opens @member, a ToolImage. */
#define IMG_IMAGE_OPTIONS(T, member) \
    IMG_TEXT(T, 'f', "format", member.format), \
    IMG_FLAG(T, CLI_LONG_ONLY, "image-opts", member.image_opts), \
    IMG_CALL(CLI_LONG_ONLY + 1, "object", cli_object)
/* First number free for a command's own long options. */
#define IMG_LONG_ONLY (CLI_LONG_ONLY + 16)

/* Opens, or reports "Could not open 'FILE': ..." and returns NULL. */
BlockBackend *img_open(const ToolImage *image);
/* Adds @more ("key=value,...") to *@options, which g_free() frees; reports an
 * error if it is invalid. */
bool img_add_options(char **options, const char *more);
/* Is "help" or "?" among @options (may be NULL)? */
bool img_wants_help(const char *options);
/*
 * Lists the creation options of @format; with @with_file those of its file,
 * too.  False, reported, if the format cannot be created.
 */
bool img_list_options(const char *format, bool with_file);
/* Is @option (without "=value") one of those? */
bool img_knows_option(const char *format, const char *option);
/* The same, and not one of its file. */
bool img_is_own_option(const char *format, const char *option);
/* Prints unless @quiet. */
void img_say(bool quiet, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* --- snapshot.c --- */

/*
 * Makes @blk (read-only) show the snapshot @param: an ID or name, or
 * "snapshot.id=ID,snapshot.name=NAME".  False: reported.
 */
bool img_load_snapshot(BlockBackend *blk, const char *param);

/* --- progress.c: of the running operation --- */

/* SIGUSR1 asks for progress; commands that have none to tell ignore it. */
void img_progress_init(void);
/* @show: print it whenever it grew by more than @step percent; else only on
 * SIGUSR1. */
void img_progress_begin(bool show, double step);
/* Reports that @done of @total (any unit) is done. */
void img_progress_set(uint64_t done, uint64_t total);
/* Reports @bytes more of @total, as steps of @unit bytes. */
void img_progress_add(uint64_t bytes, uint64_t unit, uint64_t total);
/* Reports that @done of @total bytes are done, as steps of whole units of
 * @unit bytes: the order in which they were done does not show. */
void img_progress_data(uint64_t done, uint64_t unit, uint64_t total);
void img_progress_end(void);

#endif
