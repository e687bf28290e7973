/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A model of a disk and its bitmaps, compared with the real ones: a guest
 * writes continuously while random commands change the graph below it.
 *
 *   guest.c     the guest: some coroutines, each with sectors of its own
 *   ops.c       the commands, drawn at random, over QMP
 *   mirror.c    mirrors and commits of the active image, drawn at random
 *   quorum.c    a quorum as the base of the chain
 *   check.c     disk, bitmaps and targets against the model
 *   test-model.c  seeds
 *
 * The model.  A sector holds the number that was written last.  For a bitmap
 * there are two sets: `must`, sectors written since it began, and `may`, which
 * also has those whose writes were in flight when it began.
 */
#ifndef MODEL_H
#define MODEL_H

#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-job.h"
#include "qemu/hbitmap.h"

#define MODEL_BYTES (1 * MiB)
#define MODEL_SECTOR 512
#define MODEL_SECTORS (MODEL_BYTES / MODEL_SECTOR)
#define MODEL_WRITERS 3
#define MODEL_BITMAPS 6
#define MODEL_IMAGES 8
#define MODEL_CHILDREN 4

typedef struct ModelBitmap {
    char name[16], node[32];
    bool used, persistent, recording;
    bool busy;    /* a job has it */
    bool written; /* the guest still writes to its node */
    bool loose;   /* a commit writes to its node: any bit may be set */
    bool must[MODEL_SECTORS], may[MODEL_SECTORS];
} ModelBitmap;

/* A backup in progress. */
typedef struct ModelBackup {
    char id[16], target[32];
    bool used, whole;
    bool written; /* the guest still writes to the node of the bitmap */
    ModelBitmap *bitmap; /* or NULL */
    BitmapSyncMode mode;
    bool selects;        /* only what is dirty is copied */
    uint8_t start[MODEL_SECTORS];
    bool must[MODEL_SECTORS], may[MODEL_SECTORS];   /* of the bitmap, then */
    bool since_must[MODEL_SECTORS], since_may[MODEL_SECTORS];
} ModelBackup;

/*
 * A mirror, or a commit of the active image, under way.  The target is made
 * such that it is the disk when the job has succeeded.
 */
typedef struct ModelMirror {
    char id[16], target[32];
    char source[32];  /* the node */
    bool used;
    bool commit;      /* to a node of the chain */
    bool drive;       /* drive-mirror: it opens the target itself */
    bool existing;    /* ... which is a file that exists */
    char replaces[32]; /* a child of the quorum; "": the source */
    char sync[16];
    bool manual;      /* finalized by a command */
    ModelBitmap *bitmap; /* or NULL */
    BitmapSyncMode mode;
    bool selects;        /* only what is dirty is copied */
    bool must[MODEL_SECTORS], may[MODEL_SECTORS];   /* of the bitmap, then */
    bool since_must[MODEL_SECTORS], since_may[MODEL_SECTORS];
    bool after_may[MODEL_SECTORS]; /* since it was cancelled */
    bool late[MODEL_SECTORS];      /* since it failed */
} ModelMirror;

/* The base of the chain, if that is a quorum. */
typedef struct ModelQuorum {
    bool used;
    char name[16];
    char children[MODEL_CHILDREN][32]; /* node names, the oldest first */
    int n;
    char bad[32]; /* the child that may have other data; "": none */
    bool fifo, rewrite;
} ModelQuorum;

typedef struct ModelWriter {
    struct Model *m;
    int index;
    bool running;
    int64_t sector, sectors; /* of the write under way; 0: none */
    uint8_t value;
    /* The write began before the bitmap did, under a mirror that also writes
     * the target: the bitmap may have missed it. */
    bool missed[MODEL_BITMAPS];
} ModelWriter;

typedef struct Model {
    GRand *rand;
    AioContext *contexts[3]; /* where the disk may live; none: it stays */
    int n_contexts;
    BlockBackend *guest;
    uint8_t disk[MODEL_SECTORS];
    ModelBitmap bitmaps[MODEL_BITMAPS];
    ModelBackup backup;
    ModelMirror mirror;
    ModelQuorum quorum;
    ModelWriter writers[MODEL_WRITERS];
    bool stop; /* writers end when they see it */
    bool reopen; /* all is to be closed and opened again */
    bool leaks; /* a write to an image has failed: it may have lost clusters */
    int serial;               /* of names */
    char *nodes[MODEL_IMAGES + 1]; /* the chain, base first */
    int n_nodes;
    char *job; /* a stream or commit, or NULL */
    unsigned writes, commands, refused, checks, pivots, replaced;
} Model;

/* A number in [0, @n). */
int model_draw(Model *m, int n);

/* --- guest.c --- */
void model_guest_start(Model *m);
/* Returns when no write is under way. */
void model_guest_stop(Model *m);
/* Is what the guest writes now written to node @name? */
bool model_guest_writes(const Model *m, const char *name);

/* --- check.c: abort where something differs --- */

/* Bitmaps go with their nodes. */
void model_forget_closed(Model *m);
/* The disk and all bitmaps; nothing is being written. */
void model_check_all(Model *m);
/* What node @name shows is the disk as it was. */
void model_check_node(const char *name, const uint8_t *disk);
/* The backup ended. */
void model_backup_ended(Model *m, int ret);
/* The mirror ended; nothing is being written.  @replaced: the target is a child
 * of the quorum; @shown: it has a node, or is the guest's disk. */
void model_mirror_ended(Model *m, int ret, bool pivoted, bool replaced,
                        bool shown);
/* What the bitmap says. */
const HBitmap *model_bits(const ModelBitmap *b);
/* @to |= @from */
void model_add(bool *to, const bool *from);

/* --- ops.c --- */

/* Opens the first image and attaches the guest. */
void model_begin(Model *m);
/* One random command. */
void model_step(Model *m);
/* Lets the loop run a while, and notices jobs that ended. */
void model_run_loop(Model *m, int turns);
/* Ends jobs, closes everything and opens it again. */
void model_restart(Model *m);
void model_end(Model *m);

/* --- mirror.c: random commands --- */

void model_op_mirror(Model *m);
void model_op_active_commit(Model *m);
/* One command to the job. */
void model_op_mirror_verb(Model *m);
/* It is concluded, and dismissed. */
void model_mirror_noticed(Model *m, int ret);

/* --- quorum.c --- */

/* Images for a new one; model_quorum_open() opens them. */
void model_quorum_create(Model *m);
void model_quorum_open(Model *m);
/* Its node has been removed. */
void model_quorum_left(Model *m);
/* Does the guest use it directly? */
bool model_top_is_quorum(const Model *m);
/* Is @node a child? */
bool model_quorum_has(const Model *m, const char *node);
/* A random child. */
const char *model_quorum_child(Model *m);
/* A mirror has put its target in the place of @child. */
void model_quorum_replaced(Model *m, const char *child);
/* One random command. */
void model_op_quorum(Model *m);
/* Its children have the same data, unless a job is writing. */
void model_quorum_check(const Model *m);

#endif
