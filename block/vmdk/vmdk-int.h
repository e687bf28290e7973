/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmdk: the disk images of VMware, after "Virtual Disk Format 5.0".
 *
 * A text, the descriptor, lists extents, which make up the disk one after the
 * other.  An extent is flat (a part of a file), of zeroes, or sparse: a file
 * with a directory of tables that have the first sector of each grain (block).
 * A sparse image of one extent has the descriptor in the extent's file.
 */
#ifndef BLOCK_VMDK_INT_H
#define BLOCK_VMDK_INT_H

#include "block/mapped.h"

#define VMDK_MAGIC 0x564d444bU      /* "KDMV" */
#define VMDK_ESX_MAGIC 0x44574f43U  /* "COWD" */
#define VMDK_HEADER_BYTES 512
#define VMDK_ENTRIES 512            /* of a table */
#define VMDK_GRAIN (64 * KiB)
#define VMDK_CACHED 1024            /* tables of an extent in memory */
#define VMDK_MAX_DESC (2 * MiB)     /* bytes of a descriptor */
#define VMDK_NO_PARENT 0xffffffffU
#define VMDK_MAX_BYTES (64 * TiB)

/* Where fields of a sparse extent's header are. */
enum {
    VMDK_AT_VERSION = 4,
    VMDK_AT_FLAGS = 8,
    VMDK_AT_CAPACITY = 12,      /* sectors, as all that follows */
    VMDK_AT_GRAIN = 20,
    VMDK_AT_DESC = 28,
    VMDK_AT_DESC_SIZE = 36,
    VMDK_AT_ENTRIES = 44,       /* of a table */
    VMDK_AT_SPARE_DIR = 48,
    VMDK_AT_DIR = 56,
    VMDK_AT_OVERHEAD = 64,
    VMDK_AT_LINE_ENDS = 73,
    VMDK_AT_COMPRESSION = 77,
};

enum {
    VMDK_FLAG_LINE_ENDS = 1 << 0,
    VMDK_FLAG_SPARE_DIR = 1 << 1,
    VMDK_FLAG_ZEROED = 1 << 2,
    VMDK_FLAG_COMPRESSED = 1 << 16,
    VMDK_FLAG_MARKERS = 1 << 17,
};

/* Before the data of a compressed grain: its first sector, length. */
#define VMDK_MARKER_BYTES 12

/* A loaded table of a sparse extent. */
typedef struct VmdkTable {
    uint8_t *raw; /* as in the file; NULL: not loaded */
    bool dirty;
} VmdkTable;

typedef struct VmdkExtent {
    BdrvChild *file;   /* NULL: zeroes */
    char *type;        /* as the descriptor says; "": the whole image */
    int64_t start;     /* on the disk */
    int64_t bytes;
    bool read_only;
    bool sparse;
    int64_t flat_offset;
    /* sparse extents */
    bool compressed, markers;
    bool zeroed;       /* an entry of 1 means zeroes */
    int64_t grain;     /* bytes */
    uint32_t entries;  /* of a table */
    uint32_t tables;
    uint32_t *dir;     /* first sectors of tables */
    uint32_t *spare;   /* of copies; NULL: there are none */
    VmdkTable *loaded;
    uint32_t cached[VMDK_CACHED]; /* loaded tables that may be dropped */
    uint32_t n_cached, hand;
    uint64_t overhead; /* bytes, before the first grain */
    uint64_t next;     /* where the next grain goes */
} VmdkExtent;

/* The descriptor. */
typedef struct VmdkDesc {
    char *text;
    uint64_t offset, space; /* bytes in the image's file */
    char *create_type;
    char *parent;           /* file name, or NULL */
    uint32_t cid, parent_cid;
} VmdkDesc;

/* A line that describes an extent. */
typedef struct VmdkLine {
    char access[16], type[16];
    char *name; /* NULL: none */
    uint64_t sectors, offset;
} VmdkLine;

typedef struct VmdkState {
    MappedImage mapped;
    VmdkExtent *extents;
    unsigned n_extents;
    VmdkDesc desc;
    bool cid_changed;    /* since the image was opened */
    bool parent_checked;
} VmdkState;

/* --- vmdk-desc.c --- */

/* Takes @text, which it owns from now on.  0 or -errno. */
int vmdk_desc_parse(VmdkDesc *d, char *text, Error **errp);
void vmdk_desc_free(VmdkDesc *d);
/* False: @line describes no extent.  The caller frees ->name. */
bool vmdk_line_parse(const char *line, VmdkLine *l);
/* Replaces the CID in the text; false: there is none, or no space. */
bool vmdk_desc_set_cid(VmdkDesc *d, uint32_t cid);

/* --- vmdk-sparse.c --- */

/* Reads header and directory of @e->file; 0 or -errno. */
int vmdk_sparse_open(VmdkExtent *e, const uint8_t *header, Error **errp);
void vmdk_sparse_free(VmdkExtent *e);
/* *@entry: where the grain at @offset of the extent is, in sectors. */
int coroutine_fn vmdk_sparse_get(VmdkExtent *e, int64_t offset,
                                 uint32_t *entry);
/* Sets it, in memory. */
int coroutine_fn vmdk_sparse_set(VmdkExtent *e, int64_t offset,
                                 uint32_t entry);
int coroutine_fn vmdk_sparse_write_back(VmdkExtent *e);
/* Reads the grain at @offset, compressed in sector @entry, into @buf. */
int coroutine_fn vmdk_read_compressed(VmdkExtent *e, int64_t offset,
                                      uint32_t entry, uint8_t *buf);
/* Writes the grain at @offset of the extent, from @buf. */
int coroutine_fn vmdk_write_compressed(VmdkExtent *e, int64_t offset,
                                       const uint8_t *buf);

/* --- vmdk-create.c --- */

int coroutine_fn vmdk_co_create(BlockdevCreateOptions *options, Error **errp);

#endif
