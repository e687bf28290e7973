/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures of where a disk changed: rows of cells, each a part of the disk,
 * which are the darker the more of it changed.
 */
#ifndef TOOLS_BACKUP_HEAT_H
#define TOOLS_BACKUP_HEAT_H

#include "qapi/qapi-types-backup-folder.h"
#include "qemu/error.h"

typedef struct HeatRow {
    char *label, *note; /* left and right of it */
    double *cells;      /* 0 (nothing) to 1 (all) */
} HeatRow;

typedef struct HeatPicture {
    char *title;
    int columns;
    GPtrArray *rows;    /* of HeatRow * */
} HeatPicture;

HeatPicture *heat_new(char *title, int columns);
void heat_free(HeatPicture *p);
/* Adds a row of cells that are 0; takes over the texts. */
HeatRow *heat_add_row(HeatPicture *p, char *label, char *note);
/*
 * Adds to each cell of @row, which together are the bytes from @start to @end
 * of a disk, which part of it is in @list, times @weight.
 */
void heat_fill(const HeatPicture *p, HeatRow *row, int64_t start, int64_t end,
               const BackupExtentList *list, double weight);

/* How it is drawn on a terminal. */
typedef enum HeatStyle {
    HEAT_ASCII,
    HEAT_UNICODE,
    HEAT_COLOUR,
} HeatStyle;

/* What standard output can show. */
HeatStyle heat_style(void);
/* As many cells as fit into a line beside texts of @texts columns. */
int heat_columns(int texts);
void heat_print(const HeatPicture *p, HeatStyle style);
/* As an SVG image; caller frees. */
char *heat_svg(const HeatPicture *p);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HeatPicture, heat_free)

#endif
