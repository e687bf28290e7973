/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the parts of the human monitor. */
#ifndef MONITOR_HMP_INT_H
#define MONITOR_HMP_INT_H

#include "monitor/hmp.h"

/* The value of an argument, by the order of the specification. */
typedef struct HmpValue {
    bool given;
    char *text;     /* owned */
    int64_t number;
} HmpValue;

struct HmpCall {
    const HmpCommand *command;
    char *typed;      /* the command as it was typed: "info block" */
    HmpValue values[HMP_MAX_ARGS];
    GString *out;     /* lines end in "\n" */
    bool ended;       /* hmp_end_session() */
};

/* Has the program registered commands? */
bool hmp_have_commands(void);
/* hmp_run(), with whether the session continues. */
char *hmp_run_line(const char *line, bool *ended, Error **errp);
/*
 * Parses the arguments of @call->command from @text.  False: the error was
 * added to the answer.
 */
bool hmp_parse_args(HmpCall *call, const char *text);
/* Removes the next word, up to white space, from *@text; caller frees. */
char *hmp_next_word(const char **text);
/*
 * Evaluates the expression at *@text and moves past it; false with a short
 * message, which the caller frees.
 */
bool hmp_eval(const char **text, int64_t *value, char **message);
/* Is @name one of the names in @names ("cont|c")? */
bool hmp_name_matches(const char *names, const char *name, size_t len);

#endif
