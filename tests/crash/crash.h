/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Simulated power loss: the possible states of disks after a loss at any
 * moment, and whether they are what guests were promised.
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
 * Time is a count of recorded events; disks and guest share one clock, so that
 * "before" is well defined.
 *
 * State after a power loss (log.c).  A completed flush has made durable what
 * was complete when it *began*.  All other requests may be lost, each sector of
 * 512 bytes on its own.  Of consecutive requests on one sector the later one is
 * never there without the earlier one.  A change that shrinks a file is there
 * before one that makes it grow again.
 *
 * Valid content of a disk (model.c), per unit of 64 bytes: the last write that
 * a successful flush of the guest covers, or any write completed, or in flight,
 * since then.  A discard leaves the old content or zeroes.
 *
 * Offsets and lengths are bytes.  Nothing here is thread safe.
 */
#ifndef CRASH_H
#define CRASH_H

#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include "qapi/qapi-types-block-image.h"

#define CRASH_SECTOR 512
#define CRASH_UNIT 64 /* of what guests write: offsets and lengths */
#define CRASH_DISKS 4

typedef uint32_t CrashTime;
#define CRASH_NEVER UINT32_MAX

/* --- log.c: operations on disks, and possible states after a loss --- */

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
/* Sets the content of @disk before all logged operations (copied). */
void crash_log_set_base(CrashLog *log, unsigned disk, const uint8_t *data,
                        size_t bytes);
/* A request begins; @data (copied, NULL: zeroes) only for writes.  The log owns
 * what is returned. */
CrashOp *crash_log_begin(CrashLog *log, CrashOpKind kind, unsigned disk,
                         int64_t offset, int64_t bytes, const uint8_t *data);
/* It is complete.  @size: the file's before it. */
void crash_log_end(CrashLog *log, CrashOp *op, int64_t size);
/* Makes @disk the state after @op. */
void crash_op_apply(const CrashOp *op, GByteArray *disk);

/* The part of a request that is left. */
typedef enum CrashPick {
    CRASH_LOST,
    CRASH_WHOLE,
    CRASH_TORN, /* some of its sectors */
} CrashPick;

/* A moment of a log. */
typedef struct CrashReplay {
    CrashLog *log; /* not owned */
    CrashTime cut;
    GByteArray *base[CRASH_DISKS]; /* all durable content */
    guint applied;      /* of log->done */
    GPtrArray *pending; /* CrashOp *: the others, in order */
} CrashReplay;

CrashReplay *crash_replay_new(CrashLog *log);
void crash_replay_free(CrashReplay *r);
/* Advances to the moment after the event @cut; never back. */
void crash_replay_seek(CrashReplay *r, CrashTime cut);
/*
 * The disks after a loss if @picks (one each) determines what is left of the
 * pending requests; @seed decides about torn ones.  @disks: CRASH_DISKS arrays
 * that are overwritten.
 */
void crash_replay_build(const CrashReplay *r, const uint8_t *picks,
                        uint32_t seed, GByteArray **disks);
/* "write disk 0 0x10000+512 (12..14), torn"; caller frees. */
char *crash_op_describe(const CrashOp *op, CrashPick pick);

/* --- pick.c: choosing moments and disks --- */

/*
 * Returns whether the disks are in a valid state; false: @why gets the error.
 * It may change @disks.
 */
typedef bool CrashCheck(void *opaque, CrashTime cut, GByteArray **disks,
                        GString *why);

typedef struct CrashSearch {
    CrashLog *log;
    GRand *rand;
    unsigned budget; /* approximate number of states to check */
    CrashCheck *check;
    void *opaque;
    /* out */
    uint64_t states;
    CrashTime failed_at; /* 0: none was wrong */
} CrashSearch;

/*
 * Checks moments from the first event to the last one, and at each of them
 * disks with none of the pending requests, all, each alone, all but one, and
 * random ones of them, torn or whole.  False: one was wrong; @why has the error
 * and a minimal set of requests that causes it.
 */
bool crash_search(CrashSearch *s, GString *why);

/* --- model.c: promises to the guest --- */

typedef struct CrashGuestOp {
    CrashTime start, end; /* end CRASH_NEVER: in flight */
    bool ok;
    bool weak;   /* an effect is optional: a discard */
    bool wild;   /* any content is valid: a range that is cut off */
    bool atomic; /* all of it or nothing, and no other request meanwhile */
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
/* A request begins; returns its number for ..._end().  Fields that are not set
 * in @op (start, end, ok) are filled in; op->values is consumed. */
guint crash_model_begin(CrashModel *m, const CrashGuestOp *op);
/* @ret 0, or -errno: then it may have been done in part. */
void crash_model_end(CrashModel *m, guint op, int ret);
guint crash_model_begin_flush(CrashModel *m);
void crash_model_end_flush(CrashModel *m, guint flush, int ret);
/*
 * May the disk, opened after a power loss after the event @cut, be @bytes long
 * and contain @data?
 */
bool crash_model_allows(const CrashModel *m, CrashTime cut,
                        const uint8_t *data, int64_t bytes, GString *why);
/* May a read from @start until now have seen @data at @offset? */
bool crash_model_allows_read(const CrashModel *m, CrashTime start,
                             int64_t offset, const uint8_t *data,
                             int64_t bytes, GString *why);
/* Units written by the event @cut, one byte each; caller frees. */
uint8_t *crash_model_touched(const CrashModel *m, CrashTime cut);

/* --- recorder.c: disks in memory, under the driver "file" --- */

typedef struct CrashMachine {
    GByteArray *disks[CRASH_DISKS];
    int64_t alignment; /* of requests; 0: 1 */
    bool live;         /* requests take time and are recorded */
    CrashLog *log;
    GRand *rand;       /* of the delays */
    unsigned slow;     /* percent of requests that take long */
    bool no_peer;      /* a name is too long for files */
    unsigned broken;   /* a bit each disk: writes and flushes fail */
} CrashMachine;

/* The machine whose disks are opened by the names "disk0", "disk1" ...; more of
 * the name may follow after a "-". */
extern CrashMachine *crash_machine;
/* An empty machine, not live. */
CrashMachine *crash_machine_new(void);
void crash_machine_free(CrashMachine *m);
/* From now on its disks are recorded; their content is durable. */
void crash_machine_go_live(CrashMachine *m, CrashLog *log, uint32_t seed);
extern const BlockDriver crash_recorder;

/* --- image.c: nodes over those disks --- */

/* Opens what @text, JSON with ' for ", describes, formatted. */
BlockDriverState *crash_open(int flags, Error **errp, const char *text, ...)
    G_GNUC_PRINTF(3, 4);
/* A new qcow2 image on "disk@disk"; create->file is not used. */
void crash_create(unsigned disk, const BlockdevCreateOptionsQcow2 *create);
/* The content of @bs; caller frees.  NULL with @why. */
uint8_t *crash_read(BlockDriverState *bs, int64_t *bytes, GString *why);
/* Checks a node: it must be without errors but may have leaks. */
bool crash_check_node(BlockDriverState *bs, GString *why);
/* Values of @bytes of @data, one each unit, which must be uniform. */
uint8_t *crash_values(const uint8_t *data, int64_t bytes);
/* Hides output from the terminal from now on (or shows it again). */
void crash_quiet(bool quiet);
/* Checks disk0 by the installed qemu-img; true if there is none. */
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
    GString *error; /* the error; empty: none */
} CrashGuest;

/* Starts @steps requests, by g->workers coroutines. */
void crash_guest_start(CrashGuest *g, int steps);
/* Waits until all are done. */
void crash_guest_wait(CrashGuest *g);

/* --- run.c: programs, seeds, and results --- */

typedef struct CrashProgram CrashProgram;

/* One run of a program. */
typedef struct CrashRun {
    const CrashProgram *program;
    uint32_t seed;
    int steps;    /* approximate number of requests */
    GRand *rand;
    CrashMachine *machine;
    CrashLog *log;
    CrashModel *model;  /* of disk0, from crash_go_live() on */
    CrashGuest guest;
    BlockdevCreateOptionsQcow2 image; /* creation options of disk0 */
    CrashTime closed;   /* when disk0 was closed; 0: it is open */
    void *opaque;       /* the program's */
} CrashRun;

/* A program, and its promises. */
struct CrashProgram {
    const char *name;
    CrashMix mix;
    /* Changes the random r->image, creates other disks; NULL: nothing. */
    void (*prepare)(CrashRun *r);
    /* Runs; disk0 exists with content.  Goes live, and closes all. */
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
/* Initialises, runs the tests of @add, and sums up; main()'s result. */
int crash_main(int argc, char **argv, void (*add)(void));

/* --- scenario.c: functions common to programs --- */

/* A random image: version, cluster size, refcount width ... */
void crash_draw_image(CrashRun *r);
/* A qcow2 image on "disk@disk" with random content, values 201 on, about as
 * large as disk0; @backing may be NULL. */
void crash_make_base(CrashRun *r, unsigned disk, const char *backing);
/* Gives disk0 the backing file disk1, and that maybe disk2: for prepare. */
void crash_make_chain(CrashRun *r, unsigned disks);
/* Opens disk0 for a guest, with random options; the nodes are "node0" and those
 * of @disks disks of its chain, from "node1" on (0: by the header). */
BlockDriverState *crash_open_guest(CrashRun *r, unsigned disks);
/* A guest writes to disk0 while nothing is recorded. */
void crash_fill(CrashRun *r, int steps);
/*
 * Starts recording.  The model begins with the content of disk0, and can follow
 * it up to @capacity (0: its size).
 */
void crash_go_live(CrashRun *r, int64_t capacity);
/* The guest uses @bs (whose reference is consumed) until crash_detach(). */
void crash_attach(CrashRun *r, BlockDriverState *bs);
/* The guest stops; disk0 is closed. */
void crash_detach(CrashRun *r);
/* After disk0 was closed: loses power at a random moment.  The disks are in the
 * state after it; crash_go_live() restarts. */
void crash_lose(CrashRun *r);
/* The image on disk0, for reading or for writing.  NULL with @why. */
BlockDriverState *crash_open_after(bool writable, GString *why);
/*
 * disk0 and its chain must be without errors but for leaks, and have valid
 * content by the model; sometimes it is then opened for writing, written and
 * checked again.
 */
bool crash_check_disk(CrashRun *r, CrashTime cut, GString *why);
/* A byte for each unit of a disk of @bytes: is it dirty?  To be freed. */
uint8_t *crash_dirty_units(const BdrvDirtyBitmap *bitmap, int64_t bytes);

#endif
