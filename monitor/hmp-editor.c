/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line editor: each key changes line or cursor, then the screen is updated.
 * A changed line is written again from its beginning, which needs only "cursor
 * left" and "erase to the end" of a terminal.
 */
#include "qemu/osdep.h"
#include "hmp-editor.h"

#define CTRL(c) ((c) & 0x1f)
#define SCREEN_WIDTH 80

void hmp_editor_init(HmpEditor *ed, char **(*complete)(const char *line))
{
    *ed = (HmpEditor) {
        .out = g_string_new(NULL),
        .line = g_string_new(NULL),
        .history = g_ptr_array_new_with_free_func(g_free),
        .complete = complete,
    };
}

void hmp_editor_destroy(HmpEditor *ed)
{
    g_string_free(ed->out, true);
    g_string_free(ed->line, true);
    g_ptr_array_free(ed->history, true);
}

void hmp_editor_prompt(HmpEditor *ed)
{
    g_string_append(ed->out, HMP_PROMPT);
    g_string_truncate(ed->line, 0);
    ed->cursor = ed->shown = 0;
    ed->at = ed->history->len;
}

static void move_shown(HmpEditor *ed, gsize to)
{
    for (; ed->shown > to; ed->shown--) {
        g_string_append(ed->out, "\033[D");
    }
    for (; ed->shown < to; ed->shown++) {
        g_string_append(ed->out, "\033[C");
    }
}

static void update_screen(HmpEditor *ed)
{
    if (ed->stale) {
        move_shown(ed, 0);
        g_string_append_len(ed->out, ed->line->str, ed->line->len);
        g_string_append(ed->out, "\033[K");
        ed->shown = ed->line->len;
        ed->stale = false;
    }
    move_shown(ed, ed->cursor);
}

/* --- changes --- */

static void insert_text(HmpEditor *ed, const char *text, gsize len)
{
    if (ed->line->len + len <= HMP_LINE_MAX) {
        g_string_insert_len(ed->line, ed->cursor, text, len);
        ed->cursor += len;
        ed->stale = true;
    }
}

static void erase(HmpEditor *ed, gsize from, gsize to)
{
    if (from < to) {
        g_string_erase(ed->line, from, to - from);
        ed->cursor = from;
        ed->stale = true;
    }
}

static void erase_word(HmpEditor *ed)
{
    gsize from = ed->cursor;

    while (from && g_ascii_isspace(ed->line->str[from - 1])) {
        from--;
    }
    while (from && !g_ascii_isspace(ed->line->str[from - 1])) {
        from--;
    }
    erase(ed, from, ed->cursor);
}

static void show_history(HmpEditor *ed, guint at)
{
    if (at > ed->history->len || at == ed->at) {
        return;
    }
    ed->at = at;
    g_string_assign(ed->line, at < ed->history->len ? ed->history->pdata[at]
                                                    : "");
    ed->cursor = ed->line->len;
    ed->stale = true;
}

/* A line is in the history once, at its last use. */
static void remember(HmpEditor *ed)
{
    GPtrArray *h = ed->history;

    if (!ed->line->len) {
        return;
    }
    for (guint i = 0; i < h->len; i++) {
        if (!strcmp(h->pdata[i], ed->line->str)) {
            g_ptr_array_remove_index(h, i);
            break;
        }
    }
    if (h->len == HMP_HISTORY_MAX) {
        g_ptr_array_remove_index(h, 0);
    }
    g_ptr_array_add(h, g_strdup(ed->line->str));
}

/* --- completion --- */

static gsize common_prefix(char **words)
{
    gsize len = strlen(words[0]);

    for (char **w = words + 1; *w; w++) {
        gsize i = 0;

        while (i < len && (*w)[i] == words[0][i]) {
            i++;
        }
        len = i;
    }
    return len;
}

static void show_choice(HmpEditor *ed, char **words)
{
    gsize width = 10;
    unsigned columns;

    for (char **w = words; *w; w++) {
        width = MAX(width, strlen(*w) + 2);
    }
    columns = MAX(1, SCREEN_WIDTH / width);
    g_string_append(ed->out, "\r\n");
    for (unsigned i = 0; words[i]; i++) {
        g_string_append_printf(ed->out, "%-*s", (int)width, words[i]);
        if ((i + 1) % columns == 0 || !words[i + 1]) {
            g_string_append(ed->out, "\r\n");
        }
    }
    g_string_append(ed->out, HMP_PROMPT);
    ed->shown = 0;
    ed->stale = true;
}

static void complete(HmpEditor *ed)
{
    g_autofree char *before = g_strndup(ed->line->str, ed->cursor);
    g_auto(GStrv) words = ed->complete(before);
    gsize begin = ed->cursor, len;

    if (!words[0]) {
        return;
    }
    while (begin && !g_ascii_isspace(before[begin - 1])) {
        begin--;
    }
    len = common_prefix(words);
    if (len > ed->cursor - begin) {
        insert_text(ed, words[0] + (ed->cursor - begin),
                    len - (ed->cursor - begin));
    }
    if (words[1]) {
        show_choice(ed, words);
    } else {
        insert_text(ed, " ", 1);
    }
}

/* --- keys --- */

static void clear_screen(HmpEditor *ed)
{
    g_string_append(ed->out, "\033[2J\033[1;1H" HMP_PROMPT);
    ed->shown = 0;
    ed->stale = ed->line->len > 0;
}

static void plain_key(HmpEditor *ed, unsigned char key)
{
    switch (key) {
    case CTRL('A'):
        ed->cursor = 0;
        break;
    case CTRL('D'):
        erase(ed, ed->cursor, MIN(ed->cursor + 1, ed->line->len));
        break;
    case CTRL('E'):
        ed->cursor = ed->line->len;
        break;
    case CTRL('L'):
        clear_screen(ed);
        break;
    case CTRL('N'):
        show_history(ed, ed->at + 1);
        break;
    case CTRL('P'):
        show_history(ed, ed->at ? ed->at - 1 : 0);
        break;
    case CTRL('W'):
        erase_word(ed);
        break;
    case '\t':
        complete(ed);
        break;
    case '\b':
    case 127:
        erase(ed, ed->cursor ? ed->cursor - 1 : 0, ed->cursor);
        break;
    case 27:
        ed->state = HMP_ESCAPE;
        ed->number = 0;
        break;
    default:
        if (key >= 32) {
            insert_text(ed, (char *)&key, 1);
        }
    }
}

static void number_key(HmpEditor *ed)
{
    switch (ed->number) {
    case 1:
        ed->cursor = 0;
        break;
    case 3:
        plain_key(ed, CTRL('D'));
        break;
    case 4:
        ed->cursor = ed->line->len;
        break;
    }
}

static void sequence_key(HmpEditor *ed, unsigned char key)
{
    if (g_ascii_isdigit(key)) {
        ed->number = MIN(ed->number * 10 + (key - '0'), 1000);
        return;
    }
    ed->state = HMP_KEY;
    switch (key) {
    case 'A':
        plain_key(ed, CTRL('P'));
        break;
    case 'B':
        plain_key(ed, CTRL('N'));
        break;
    case 'C':
        ed->cursor = MIN(ed->cursor + 1, ed->line->len);
        break;
    case 'D':
        ed->cursor -= ed->cursor > 0;
        break;
    case '~':
        number_key(ed);
        break;
    }
}

static char *end_line(HmpEditor *ed)
{
    remember(ed);
    g_string_append(ed->out, "\r\n");
    return g_strdup(ed->line->str);
}

char *hmp_editor_key(HmpEditor *ed, unsigned char key)
{
    switch (ed->state) {
    case HMP_KEY:
        if (key == '\r' || key == '\n') {
            return end_line(ed);
        }
        plain_key(ed, key);
        break;
    case HMP_ESCAPE:
        ed->state = key == '[' ? HMP_CSI : key == 'O' ? HMP_SS3 : HMP_KEY;
        break;
    case HMP_CSI:
        sequence_key(ed, key);
        break;
    case HMP_SS3:
        ed->state = HMP_KEY;
        break;
    }
    update_screen(ed);
    return NULL;
}
