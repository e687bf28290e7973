/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The framing of the stream: header, sections, commands, end. */
#ifndef MIGRATION_SECTION_H
#define MIGRATION_SECTION_H

#include "bitmap-load.h"
#include "qapi/qapi-types-machine.h"
#include "stream.h"

/* --- to be sent --- */

/* Magic number, version, and the type of the machine. */
void mig_put_header(GByteArray *out, const char *machine_type);
/* @kind WIRE_SECTION_START or _FULL. */
void mig_put_section(GByteArray *out, uint8_t kind, uint32_t id,
                     const char *name, uint32_t version);
/* @kind WIRE_SECTION_PART or _END, of a section that was begun. */
void mig_put_more(GByteArray *out, uint8_t kind, uint32_t id);
void mig_put_footer(GByteArray *out, uint32_t id);
void mig_put_command(GByteArray *out, uint16_t command, const void *data,
                     uint16_t len);
/* The sections of the machine's own state; ids from @id on. */
void mig_put_machine(GByteArray *out, uint32_t id, int64_t clock_ns,
                     RunState status);
void mig_put_end(GByteArray *out);
/*
 * Behind the end: a description of what was sent.  @safety: a JSON array, see
 * mig_bitmap_save_describe().
 */
void mig_put_description(GByteArray *out, const char *safety);

/* --- received --- */

typedef struct MigLoader MigLoader;

/*
 * A command, with its @len bytes; false with an error.  Called in the
 * coroutine.
 */
typedef bool coroutine_fn MigCommandFunc(void *opaque, uint16_t command,
                                         const uint8_t *data, uint16_t len,
                                         Error **errp);

struct MigLoader {
    /* set by the owner */
    const char *machine_type;
    MigBitmapLoad *bitmaps;
    MigCommandFunc *command;
    void *opaque;
    bool postcopy; /* there is no description */
    /* what was received */
    bool has_status, has_clock;
    RunState status;  /* of the source before it stopped */
    int64_t clock_ns;
    GHashTable *sections; /* id -> what it is; NULL: there was none */
    GByteArray *description; /* NULL: there was none, or it is large */
};

/*
 * All of a stream: header, sections, end, and a description if one follows.
 * False with an error; or a bitmap is not complete.
 */
bool coroutine_fn mig_load_stream(MigLoader *l, MigReader *r, Error **errp);
void mig_loader_clear(MigLoader *l);

#endif
