/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line editor for terminals: input of the user, output for the screen.
 *
 * Keys: arrows, Home, End, Del, Backspace, Tab; ^A ^E ^D ^W ^L ^P ^N.
 */
#ifndef MONITOR_HMP_EDITOR_H
#define MONITOR_HMP_EDITOR_H

#include "qemu/osdep.h"

#define HMP_LINE_MAX 4095   /* bytes; further input is dropped */
#define HMP_HISTORY_MAX 64

typedef struct HmpEditor {
    GString *out;    /* output for the screen; the owner empties it */
    GString *line;
    gsize cursor;    /* in the line */
    gsize shown;     /* position of the cursor on the screen */
    bool stale;      /* the screen shows another line */
    enum { HMP_KEY, HMP_ESCAPE, HMP_CSI, HMP_SS3 } state;
    unsigned number; /* of the escape sequence */
    GPtrArray *history;
    guint at;        /* in the history; its length: the new line */
    char **(*complete)(const char *line);
} HmpEditor;

#define HMP_PROMPT "(qemu) "

/* @complete as hmp_complete(). */
void hmp_editor_init(HmpEditor *ed, char **(*complete)(const char *line));
void hmp_editor_destroy(HmpEditor *ed);
/*
 * Processes a byte.  Returns a line if that completes one, caller frees; the
 * screen is then at the beginning of a new line.
 */
char *hmp_editor_key(HmpEditor *ed, unsigned char key);
/* Prompts for the next line. */
void hmp_editor_prompt(HmpEditor *ed);

#endif
