/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of commands share. */
#ifndef MODEL_OPS_H
#define MODEL_OPS_H

#include "model.h"

/* Runs a command, ' for "; NULL: done, else its error, to be freed. */
char *model_qmp(Model *m, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static inline bool model_done(char *error)
{
    g_autofree char *desc = error;

    return !desc;
}

#define CMD(name, args) "{'execute': '" name "', 'arguments': {" args "}}"

/* A command that must succeed. */
#define QMP_OK(m, ...) \
    do { \
        g_autofree char *error_ = model_qmp(m, __VA_ARGS__); \
        if (error_) { \
            g_error("line %d: %s", __LINE__, error_); \
        } \
    } while (0)

/* May be refused; true: done. */
#define QMP_TRY(m, ...) model_done(model_qmp(m, __VA_ARGS__))

/* Until it is concluded. */
void model_wait_job(Model *m, const char *id);

/* The node of the guest's image. */
const char *model_top(const Model *m);
/* A qcow2 image in a file @name; @base: its backing file, or NULL. */
void model_create_image(Model *m, const char *name, const char *base);
/* Adds the node @name over the file of that name; NULL @backing: over none. */
void model_add_node(Model *m, const char *name, const char *backing);

/* NULL: the one that was drawn does not exist. */
ModelBitmap *model_pick_bitmap(Model *m);
/* What is being written may or may not be noticed. */
void model_add_in_flight(const Model *m, bool *may);
/* What it may say. */
void model_copy_may(const ModelBitmap *b, bool *may);
/* of BitmapSyncMode */
extern const char *const model_mode_names[];

#endif
