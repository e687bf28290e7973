/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pictures of where a disk changed. */
#include "qemu/osdep.h"

#include <sys/ioctl.h>

#include "heat.h"

#define DEFAULT_COLUMNS 80
#define MIN_CELLS 16
#define MAX_CELLS 160

static void row_free(HeatRow *row)
{
    g_free(row->label);
    g_free(row->note);
    g_free(row->cells);
    g_free(row);
}

HeatPicture *heat_new(char *title, int columns)
{
    HeatPicture *p = g_new0(HeatPicture, 1);

    p->title = title;
    p->columns = columns;
    p->rows = g_ptr_array_new_with_free_func((GDestroyNotify)row_free);
    return p;
}

void heat_free(HeatPicture *p)
{
    g_ptr_array_unref(p->rows);
    g_free(p->title);
    g_free(p);
}

HeatRow *heat_add_row(HeatPicture *p, char *label, char *note)
{
    HeatRow *row = g_new0(HeatRow, 1);

    row->label = label;
    row->note = note;
    row->cells = g_new0(double, p->columns);
    g_ptr_array_add(p->rows, row);
    return row;
}

void heat_fill(const HeatPicture *p, HeatRow *row, int64_t start, int64_t end,
               const BackupExtentList *list, double weight)
{
    double cell = (double)(end - start) / p->columns;

    for (; list && cell > 0; list = list->next) {
        double from = MAX(list->value->offset, start) - start;
        double to = MIN(list->value->offset + list->value->length, end) -
                    start;

        for (int i = MAX(from / cell, 0); i < p->columns && to > i * cell;
             i++) {
            double part = MIN(to, (i + 1) * cell) - MAX(from, i * cell);

            if (part > 0) {
                row->cells[i] = MIN(row->cells[i] + weight * part / cell, 1);
            }
        }
    }
}

/* --- terminals --- */

HeatStyle heat_style(void)
{
    const char *term = g_getenv("TERM");
    bool utf8 = g_get_charset(NULL);

    if (!utf8) {
        return HEAT_ASCII;
    }
    return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") &&
                   !g_getenv("NO_COLOR")
               ? HEAT_COLOUR : HEAT_UNICODE;
}

int heat_columns(int texts)
{
    struct winsize size;
    int columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col
                      ? size.ws_col : DEFAULT_COLUMNS;

    return CLAMP(columns - texts, MIN_CELLS, MAX_CELLS);
}

/* Which of @n steps shows @heat: the first is nothing, and only nothing. */
static int step_of(double heat, int n)
{
    return heat <= 0 ? 0 : CLAMP(1 + (int)(heat * (n - 1)), 1, n - 1);
}

static const char *const unicode_steps[] = { " ", "░", "▒", "▓", "█" };
static const char ascii_steps[] = " .:-=+*#%@";

/* Colours of 256, from a light yellow to a dark red. */
static const uint8_t colour_steps[] = { 0, 230, 222, 214, 208, 202, 196, 160,
                                        124, 88 };

static void print_cell(double heat, HeatStyle style)
{
    int step;

    switch (style) {
    case HEAT_ASCII:
        putchar(ascii_steps[step_of(heat, sizeof(ascii_steps) - 1)]);
        break;
    case HEAT_UNICODE:
        fputs(unicode_steps[step_of(heat, ARRAY_SIZE(unicode_steps))],
              stdout);
        break;
    case HEAT_COLOUR:
        step = step_of(heat, ARRAY_SIZE(colour_steps));
        if (step) {
            printf("\033[48;5;%dm \033[0m", colour_steps[step]);
        } else {
            fputs("\033[38;5;240m·\033[0m", stdout);
        }
        break;
    }
}

static int label_width(const HeatPicture *p)
{
    int width = 0;

    for (guint i = 0; i < p->rows->len; i++) {
        width = MAX(width, strlen(((HeatRow *)p->rows->pdata[i])->label));
    }
    return width;
}

static void print_legend(HeatStyle style)
{
    printf("less ");
    for (int i = 1; i <= 8; i++) {
        print_cell(i / 8.0 - 0.1, style);
    }
    printf(" more of a part has changed\n");
}

void heat_print(const HeatPicture *p, HeatStyle style)
{
    int width = label_width(p);

    printf("%s\n", p->title);
    for (guint i = 0; i < p->rows->len; i++) {
        const HeatRow *row = p->rows->pdata[i];

        printf("%*s |", width, row->label);
        for (int j = 0; j < p->columns; j++) {
            print_cell(row->cells[j], style);
        }
        printf("| %s\n", row->note);
    }
    print_legend(style);
}

/* --- SVG --- */

#define CELL_WIDTH 6
#define CELL_HEIGHT 14
#define TOP 40
#define TEXT_WIDTH 8 /* of a letter, about */

/* "#rrggbb" for a heat: from white over orange to dark red. */
static void colour_of(double heat, char out[8])
{
    static const int stops[][3] = {
        { 255, 245, 220 }, { 253, 174, 97 }, { 215, 48, 39 }, { 103, 0, 31 },
    };
    double place = CLAMP(heat, 0, 1) * (ARRAY_SIZE(stops) - 1);
    int i = MIN((int)place, (int)ARRAY_SIZE(stops) - 2);
    double part = place - i;
    unsigned rgb[3];

    for (int c = 0; c < 3; c++) {
        rgb[c] = stops[i][c] + part * (stops[i + 1][c] - stops[i][c]);
    }
    snprintf(out, 8, "#%02x%02x%02x", rgb[0] & 0xff, rgb[1] & 0xff,
             rgb[2] & 0xff);
}

static void svg_text(GString *out, int x, int y, const char *anchor,
                     const char *text)
{
    g_autofree char *safe = g_markup_escape_text(text, -1);

    g_string_append_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">"
                           "%s</text>\n", x, y, anchor, safe);
}

/* Cells of the same step side by side are one rectangle. */
static void svg_cells(GString *out, const HeatPicture *p, const HeatRow *row,
                      int x, int y)
{
    const int steps = 32;

    for (int i = 0, n; i < p->columns; i += n) {
        int step = step_of(row->cells[i], steps);
        char colour[8];

        n = 1;
        while (i + n < p->columns &&
               step_of(row->cells[i + n], steps) == step) {
            n++;
        }
        if (step) {
            colour_of((double)step / (steps - 1), colour);
            g_string_append_printf(
                out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                "fill=\"%s\"/>\n", x + i * CELL_WIDTH, y, n * CELL_WIDTH,
                CELL_HEIGHT - 1, colour);
        }
    }
}

static void svg_rows(GString *out, const HeatPicture *p, int left)
{
    int right = left + p->columns * CELL_WIDTH;

    for (guint i = 0; i < p->rows->len; i++) {
        const HeatRow *row = p->rows->pdata[i];
        int y = TOP + i * CELL_HEIGHT;

        g_string_append_printf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" "
                               "height=\"%d\" fill=\"#f4f4f4\"/>\n", left, y,
                               right - left, CELL_HEIGHT - 1);
        svg_text(out, left - 6, y + CELL_HEIGHT - 4, "end", row->label);
        svg_text(out, right + 6, y + CELL_HEIGHT - 4, "start", row->note);
        svg_cells(out, p, row, left, y);
    }
}

static void svg_legend(GString *out, int x, int y)
{
    svg_text(out, x, y + 10, "start", "less");
    for (int i = 0; i < 12; i++) {
        char colour[8];

        colour_of((i + 1) / 12.0, colour);
        g_string_append_printf(out, "<rect x=\"%d\" y=\"%d\" width=\"10\" "
                               "height=\"12\" fill=\"%s\"/>\n", x + 36 +
                               i * 10, y, colour);
    }
    svg_text(out, x + 162, y + 10, "start", "more of a part has changed");
}

char *heat_svg(const HeatPicture *p)
{
    GString *out = g_string_new("");
    int left = label_width(p) * TEXT_WIDTH + 16;
    int width = left + p->columns * CELL_WIDTH + 12 * TEXT_WIDTH;
    int bottom = TOP + p->rows->len * CELL_HEIGHT + 10;

    g_string_append_printf(
        out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
        "height=\"%d\" viewBox=\"0 0 %d %d\" "
        "font-family=\"monospace\" font-size=\"11\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        width, bottom + 24, width, bottom + 24);
    g_string_append(out, "<g font-size=\"14\">\n");
    svg_text(out, 12, 24, "start", p->title);
    g_string_append(out, "</g>\n");
    svg_rows(out, p, left);
    svg_legend(out, left, bottom);
    g_string_append(out, "</svg>\n");
    return g_string_free(out, FALSE);
}
