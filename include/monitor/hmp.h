/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor: command lines for people and for test suites.
 *
 * Commands stand in a table, which the program gives; here are the parser of
 * command lines, help, and the prompt on a chardev.  Main thread, outside
 * coroutines.
 */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include "qemu/error.h"

typedef struct MonitorOptions MonitorOptions;

struct json_object;

/* One execution of a command: its arguments, and what it answers. */
typedef struct HmpCall HmpCall;

typedef enum HmpArgKind {
    HMP_NONE,    /* ends the list */
    HMP_FLAG,    /* -c, may be left out */
    HMP_DEVICE,  /* a word, or text in double quotes */
    HMP_FILE,    /* the same */
    HMP_STRING,  /* the same */
    HMP_OPTIONS, /* the same; missing: "" */
    HMP_REST,    /* all that is left of the line */
    HMP_INT,     /* an expression such as 0x10+(2*3) */
    HMP_SIZE,    /* bytes, with suffix; a bare number means MiB */
    HMP_SWITCH,  /* "on" (1) or "off" (0) */
} HmpArgKind;

typedef struct HmpArg {
    HmpArgKind kind;
    const char *name; /* by which the handler asks for it */
    char flag;        /* of HMP_FLAG */
    bool optional;    /* of those after HMP_FLAG */
} HmpArg;

#define HMP_MAX_ARGS 8

/* Does the work; with an error the answer gets the line "Error: ...". */
typedef bool HmpFunc(HmpCall *call, Error **errp);

typedef struct HmpCommand {
    const char *name;   /* all its names: "cont|c" */
    const char *params; /* as help shows them, "" where there are none */
    const char *help;   /* what it does */
    HmpFunc *run;
    HmpArg args[HMP_MAX_ARGS];
    const struct HmpCommand *sub; /* instead of run: `NAME SUBCOMMAND` */
    /* Instead of run: what is missing yet, as the end of the sentence
     * "Command 'x' is not supported: ...". */
    const char *missing;
} HmpCommand;

/* The commands, ended by a NULL name; the table stays in use. */
void hmp_set_commands(const HmpCommand *table);

/*
 * Runs the command line @line.  Returns the answer, lines that end in "\r\n";
 * caller frees.  What is wrong with the line, or what the command says of its
 * failure, is in the answer; @errp is for when there are no commands at all.
 */
char *hmp_run(const char *line, Error **errp);
/*
 * How @line can go on: the words that can replace its last one, a NULL-ended
 * list without duplicates, sorted; caller frees.
 */
char **hmp_complete(const char *line);

/* The command "help": its argument is an optional HMP_REST "name". */
bool hmp_help(HmpCall *call, Error **errp);

/*
 * A prompt on a chardev, as @options (mode readline) describe it.  Commands
 * run while the loop of the process goes on.
 */
bool hmp_monitor_add(const MonitorOptions *options, Error **errp);
/*
 * Sends what is still to be sent, until @end_ns (aio_now_ns()), and removes all
 * prompts.
 */
void hmp_monitor_cleanup(int64_t end_ns);

/* --- for commands --- */

/* Adds text to the answer; "\n" ends a line. */
void hmp_print(HmpCall *call, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* An argument, NULL where it was left out.  Valid during the call. */
const char *hmp_str(const HmpCall *call, const char *name);
bool hmp_flag(const HmpCall *call, const char *name);
/* Was the argument given? */
bool hmp_has(const HmpCall *call, const char *name);
/* A number; 0 where it was left out. */
int64_t hmp_int(const HmpCall *call, const char *name);

/* After this command the prompt is not shown again. */
void hmp_end_session(HmpCall *call);

/*
 * Executes the QMP command @name with @args (consumed; NULL: none) and returns
 * what it returns, a new reference; NULL with its error.
 */
struct json_object *hmp_qmp(const char *name, struct json_object *args,
                            Error **errp);
/* The same where nothing of interest is returned. */
bool hmp_qmp_do(const char *name, struct json_object *args, Error **errp);

#endif
