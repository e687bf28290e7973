/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power loss, simulated: what is on disk when the power goes at any moment, and
 * whether that is what guests were promised.
 *
 *      guest: several coroutines at once, whose requests are in a CrashModel
 *        |
 *      qcow2, jobs: what is tested
 *        |
 *      recorder: driver "file" over the disks of a CrashMachine; requests take
 *        |       their time and overtake each other; all goes into a CrashLog
 *      CrashReplay: for a moment of the log, the disks that there may be
 *        |
 *      a fresh node over each: checked, read, compared with the model
 *
 * Time is a count of recorded events; the disks' and the guest's are of one
 * clock, so that "before" means the same to all of them.
 *
 * What a loss of power leaves (log.c).  A flush makes durable what was complete
 * when it *began*; it has done so when it is complete.  All the rest may be
 * there or not, each sector of 512 bytes for itself.  Of requests on one
 * sector those that came one after the other are there in their order: the
 * later one never without the earlier one.  What shrinks a file is there before
 * what makes it grow again.
 *
 * What a disk may show (model.c), per unit of 64 bytes: what was written last
 * of all that a successful flush of the guest covered, or anything written, or
 * being written, since then.  What a discard leaves is the old content or
 * zeroes.
 *
 * Offsets and lengths are bytes.  Nothing here is thread safe.
 */
#ifndef CRASH_H
#define CRASH_H

#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "qapi/qapi-types-block-image.h"

#define CRASH_SECTOR 512
#define CRASH_UNIT 64 /* of what guests write: offsets and lengths */
#define CRASH_DISKS 4

typedef uint32_t CrashTime;
#define CRASH_NEVER UINT32_MAX

/* --- log.c: what was done to disks, and what may be left of it --- */

typedef enum CrashOpKind {
    CRASH_OP_WRITE,    /* also of zeroes, and discards */
    CRASH_OP_TRUNCATE, /* to @offset */
    CRASH_OP_FLUSH,
} CrashOpKind;

typedef struct CrashOp {
    CrashOpKind kind;
    unsigned disk;
    int64_t offset, bytes;
    uint8_t *data;  /* owned; NULL: zeroes */
    bool grows;     /* the file was shorter */
    CrashTime start, end; /* end CRASH_NEVER: in flight */
} CrashOp;

typedef struct CrashLog {
    CrashTime now;
    GPtrArray *ops;  /* of CrashOp *, owned, by start */
    GPtrArray *done; /* the same, not owned, by end; without flushes */
    GByteArray *base[CRASH_DISKS]; /* content at time 0, durable */
} CrashLog;

CrashLog *crash_log_new(void);
void crash_log_free(CrashLog *log);
/* Each event has a time of its own, from 1 on. */
CrashTime crash_log_tick(CrashLog *log);
/* The content of @disk before all that is logged (copied). */
void crash_log_set_base(CrashLog *log, unsigned disk, const uint8_t *data,
                        size_t bytes);
/* A request begins; @data (copied, NULL: zeroes) only for writes.  The log owns
 * what is returned. */
CrashOp *crash_log_begin(CrashLog *log, CrashOpKind kind, unsigned disk,
                         int64_t offset, int64_t bytes, const uint8_t *data);
/* It is complete.  @size: the file's before it. */
void crash_log_end(CrashLog *log, CrashOp *op, int64_t size);
/* Makes @disk what it is after @op, all of it. */
void crash_op_apply(const CrashOp *op, GByteArray *disk);

/* How much of a request is left. */
typedef enum CrashPick {
    CRASH_LOST,
    CRASH_WHOLE,
    CRASH_TORN, /* some of its sectors */
} CrashPick;

/* A moment of a log. */
typedef struct CrashReplay {
    CrashLog *log; /* not owned */
    CrashTime cut;
    GByteArray *base[CRASH_DISKS]; /* all that is durable */
    guint applied;      /* of log->done */
    GPtrArray *pending; /* CrashOp *: the others, in their order */
} CrashReplay;

CrashReplay *crash_replay_new(CrashLog *log);
void crash_replay_free(CrashReplay *r);
/* Goes on to the moment after the event @cut; never back. */
void crash_replay_seek(CrashReplay *r, CrashTime cut);
/*
 * The disks if of the pending requests that is left which @picks (one each)
 * says; @seed decides about torn ones.  @disks: CRASH_DISKS arrays that are
 * overwritten.
 */
void crash_replay_build(const CrashReplay *r, const uint8_t *picks,
                        uint32_t seed, GByteArray **disks);
/* "write disk 0 0x10000+512 (12..14), torn"; caller frees. */
char *crash_op_describe(const CrashOp *op, CrashPick pick);

/* --- pick.c: which moments and which disks are looked at --- */

/*
 * Says whether the disks are as they may be; false: @why is told what is wrong.
 * It may change @disks, if it likes.
 */
typedef bool CrashCheck(void *opaque, CrashTime cut, GByteArray **disks,
                        GString *why);

typedef struct CrashSearch {
    CrashLog *log;
    GRand *rand;
    unsigned budget; /* states to look at, about */
    CrashCheck *check;
    void *opaque;
    /* out */
    uint64_t states;
    CrashTime failed_at; /* 0: none was wrong */
} CrashSearch;

/*
 * Looks at moments from the first event to the last one, and at each of them
 * at disks with none of the pending requests, all, each alone, all but one,
 * and random ones of them, torn or whole.  False: one was wrong; @why has what
 * was wrong and which requests must be left for it, no more than needed.
 */
bool crash_search(CrashSearch *s, GString *why);

/* --- model.c: what a guest was promised --- */

typedef struct CrashGuestOp {
    CrashTime start, end; /* end CRASH_NEVER: in flight */
    bool ok;
    bool weak;   /* need not have an effect: a discard */
    bool wild;   /* leaves anything: what is cut off */
    bool atomic; /* all of it or nothing; nothing else meanwhile */
    int64_t offset, bytes;
    uint8_t value;
    uint8_t *values; /* owned, one a unit, or NULL: all are @value */
    int64_t size;    /* of the disk, from now on; -1: stays */
} CrashGuestOp;

typedef struct CrashModel {
    CrashLog *log;    /* the clock; not owned */
    int64_t capacity; /* the largest size ever */
    int64_t size;     /* at time 0 */
    int64_t size_now;
    uint8_t *initial; /* a value each unit */
    GArray *ops;      /* of CrashGuestOp */
    GArray *flushes;  /* of CrashGuestOp: start, end, ok */
    uint8_t last_value;
} CrashModel;

/* @initial: capacity / CRASH_UNIT values, copied. */
CrashModel *crash_model_new(CrashLog *log, int64_t capacity, int64_t size,
                            const uint8_t *initial);
void crash_model_free(CrashModel *m);
/* A value that the last 200 writes did not have. */
uint8_t crash_model_new_value(CrashModel *m);
/* A request begins; returns its number for ..._end().  What @op does not say
 * (start, end, ok) is filled in; op->values is taken over. */
guint crash_model_begin(CrashModel *m, const CrashGuestOp *op);
/* @ret 0, or -errno: then it may have been done in part. */
void crash_model_end(CrashModel *m, guint op, int ret);
guint crash_model_begin_flush(CrashModel *m);
void crash_model_end_flush(CrashModel *m, guint flush, int ret);
/*
 * May the disk, opened after a loss of power after the event @cut, be @bytes
 * long and hold @data?
 */
bool crash_model_allows(const CrashModel *m, CrashTime cut,
                        const uint8_t *data, int64_t bytes, GString *why);
/* May a read from @start until now have seen @data at @offset? */
bool crash_model_allows_read(const CrashModel *m, CrashTime start,
                             int64_t offset, const uint8_t *data,
                             int64_t bytes, GString *why);
/* Units that anything was written to by the event @cut, one byte each; caller
 * frees. */
uint8_t *crash_model_touched(const CrashModel *m, CrashTime cut);

/* --- recorder.c: disks in memory, under the driver "file" --- */

typedef struct CrashMachine {
    GByteArray *disks[CRASH_DISKS];
    int64_t alignment; /* of requests; 0: 1 */
    bool live;         /* requests take time and are recorded */
    CrashLog *log;
    GRand *rand;       /* of the delays */
    unsigned slow;     /* percent of requests that take long */
} CrashMachine;

/* The one whose disks are opened by the names "disk0", "disk1" ... */
extern CrashMachine *crash_machine;
/* An empty one, not live. */
CrashMachine *crash_machine_new(void);
void crash_machine_free(CrashMachine *m);
/* From now on its disks are recorded; what they hold is durable. */
void crash_machine_go_live(CrashMachine *m, CrashLog *log, uint32_t seed);
extern const BlockDriver crash_recorder;

/* --- image.c: nodes over those disks --- */

/* Opens what @text, JSON with ' for ", describes, formatted. */
BlockDriverState *crash_open(int flags, Error **errp, const char *text, ...)
    G_GNUC_PRINTF(3, 4);
/* A new qcow2 image on "disk@disk"; create->file is not used. */
void crash_create(unsigned disk, const BlockdevCreateOptionsQcow2 *create);
/* All of @bs; caller frees.  NULL with @why. */
uint8_t *crash_read(BlockDriverState *bs, int64_t *bytes, GString *why);
/* A node that must be without errors but may have leaks. */
bool crash_check_node(BlockDriverState *bs, GString *why);
/* Values of @bytes of @data, one each unit, which must be uniform. */
uint8_t *crash_values(const uint8_t *data, int64_t bytes);
/* What is printed from now on is kept from the terminal (or shown again). */
void crash_quiet(bool quiet);
/* What the installed qemu-img says of disk0; true where there is none. */
bool crash_peer_check(GString *why);

/* --- guest.c: random requests --- */

/* Shares of the kinds of requests; 0: none. */
typedef struct CrashMix {
    unsigned write, zeroes, zeroes_unmap, discard, compressed, flush, read;
} CrashMix;

typedef struct CrashGuest {
    BlockBackend *blk;
    CrashModel *model;
    GRand *rand;
    CrashMix mix;
    int64_t cluster;
    unsigned workers; /* requests at once */
    /* private */
    unsigned running;
    int steps;
    GString *error; /* what went wrong; empty: nothing */
} CrashGuest;

/* Starts @steps requests, by g->workers coroutines. */
void crash_guest_start(CrashGuest *g, int steps);
/* Until all are done. */
void crash_guest_wait(CrashGuest *g);

/* --- run.c: programs, seeds, and what they found --- */

typedef struct CrashProgram CrashProgram;

/* One run of a program. */
typedef struct CrashRun {
    const CrashProgram *program;
    uint32_t seed;
    int steps;    /* about how many requests */
    GRand *rand;
    CrashMachine *machine;
    CrashLog *log;
    CrashModel *model;  /* of disk0, from crash_go_live() on */
    CrashGuest guest;
    BlockdevCreateOptionsQcow2 image; /* how disk0 is made */
    CrashTime closed;   /* when disk0 was closed; 0: it is not */
    void *opaque;       /* the program's */
} CrashRun;

/* A program, and what it was promised. */
struct CrashProgram {
    const char *name;
    CrashMix mix;
    /* Changes r->image as it was drawn, makes other disks; NULL: nothing. */
    void (*prepare)(CrashRun *r);
    /* Works; disk0 is made and filled.  Goes live, and closes all. */
    void (*run)(CrashRun *r);
    /* The machine's disks after a loss of power. */
    bool (*check)(CrashRun *r, CrashTime cut, GString *why);
    void (*free)(CrashRun *r); /* of r->opaque; NULL: nothing */
    unsigned seeds;  /* of a run of all tests */
    unsigned budget; /* states a seed */
    unsigned steps;
};

/* Adds a test for @program, "/crash/NAME". */
void crash_add(const CrashProgram *program);
/* Initialises, runs the tests that @add adds, and sums up; main()'s result. */
int crash_main(int argc, char **argv, void (*add)(void));

/* --- scenario.c: what programs have in common --- */

/* An image of any kind: version, cluster size, refcount width ... */
void crash_draw_image(CrashRun *r);
/* A qcow2 image on "disk@disk" with random content, values 201 on, about as
 * large as disk0; @backing may be NULL. */
void crash_make_base(CrashRun *r, unsigned disk, const char *backing);
/* disk0 is to have disk1 as its backing file, that maybe disk2: for prepare. */
void crash_make_chain(CrashRun *r, unsigned disks);
/* Opens disk0 as a guest would, with options drawn; the nodes are "node0" and
 * those of @disks disks of its chain, with "node1" on (0: by the header). */
BlockDriverState *crash_open_guest(CrashRun *r, unsigned disks);
/* A guest writes to disk0 while nothing is recorded. */
void crash_fill(CrashRun *r, int steps);
/*
 * From now on all is recorded.  The model begins with what disk0 shows, and can
 * follow it up to @capacity (0: its size).
 */
void crash_go_live(CrashRun *r, int64_t capacity);
/* The guest uses @bs (its reference is taken over) until crash_detach(). */
void crash_attach(CrashRun *r, BlockDriverState *bs);
/* It stops; disk0 is closed. */
void crash_detach(CrashRun *r);
/* Once disk0 is closed: power is lost, at a moment that is drawn.  The disks
 * are what is left; crash_go_live() begins anew. */
void crash_lose(CrashRun *r);
/* The image on disk0, for reading or for writing.  NULL with @why. */
BlockDriverState *crash_open_after(bool writable, GString *why);
/*
 * disk0 and its chain must be without errors but for leaks, and show what the
 * model allows; sometimes it is then opened for writing, written and looked at
 * again.
 */
bool crash_check_disk(CrashRun *r, CrashTime cut, GString *why);

#endif
