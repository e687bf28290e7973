/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines of the tools: a table of options, parsed into a struct, and
 * values common to several commands.
 */
#ifndef TOOLS_COMMON_CLI_H
#define TOOLS_COMMON_CLI_H

#include "qemu/error.h"

/* Parses @arg (NULL if the option has none) into @dest; reports an error and
 * returns false if it is invalid. */
typedef bool CliFunc(void *dest, const char *arg);

typedef struct CliOption {
    int letter;       /* the option's letter; from 256 on: long form only */
    const char *name; /* the long form, or NULL; both 0: end of the table */
    enum {
        CLI_FLAG, /* sets the bool at @offset */
        CLI_TEXT, /* sets the const char * at @offset to its argument */
        CLI_CALL, /* passes its argument to @call */
        CLI_NOTE, /* calls @call without an argument */
    } kind;
    size_t offset;
    CliFunc *call;
} CliOption;

#define CLI_LONG_ONLY 256

/*
 * Parses the options of @argv into @dest; returns the index of the first
 * operand.  Operands may be between options.  An unknown option or an invalid
 * value ends the program with status 1; -h/--help calls @help and ends it with
 * 0.
 */
int cli_parse(int argc, char **argv, const CliOption *table, void *dest,
              void (*help)(void));

/* Reports @fmt and "Try 'PROGRAM --help' ..."; exits with 1. */
void cli_usage_error(const char *fmt, ...) G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN;

/* A size in bytes, with suffix; reports "Invalid @what specified ..." */
bool cli_size(const char *what, const char *text, int64_t *bytes);
/* "human" or "json"; reports anything else.  NULL: human. */
bool cli_output_format(const char *text, bool *json);
/* --object: creates it; reports errors.  A CliFunc. */
bool cli_object(void *dest, const char *arg);
/* Deletes the objects of cli_object(). */
void cli_objects_cleanup(void);
/* Prints name and version of the program. */
void cli_print_version(void);

#endif
