/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the event loop share.
 *
 * One turn of the loop:
 *
 *     arm what is wanted -> submit and wait -> harvest -> run what is ready
 *
 * Harvesting only moves things to the lists of what is ready; no user code
 * runs meanwhile.  Running takes one item after the other off those lists, so
 * a nested poll, which runs off the same lists, sees all that is ready.
 *
 * An I/O thread passes its gate (gate.c) outwards before it submits and waits,
 * and inwards after it; all else of a turn is done inside.
 */
#ifndef UTIL_AIO_INT_H
#define UTIL_AIO_INT_H

#include "qemu/aio.h"

#define AIO_SCOPES 2

/* --- file descriptors --- */

enum { AIO_DIR_READ, AIO_DIR_WRITE, AIO_DIRS };

typedef struct AioNode AioNode;

/* An operation in a ring; what its completion does must not run user code. */
typedef struct RingOp RingOp;
struct RingOp {
    void (*done)(RingOp *op, int res);
};

/* One direction of a descriptor: somebody wants to know when it is ready. */
typedef struct AioDir {
    AioNode *node;
    AioHandler *cb; /* stays until removed; NULL: none */
    Coroutine *co;  /* wants to know once; comes before cb */
    bool ready;     /* on the list ready_dirs[node->scope] */
    TAILQ_ENTRY(AioDir) ready_entry;
    RingOp op;      /* loop-uring: its poll, in flight while armed */
    bool armed;
    bool cancelling;
} AioDir;

/*
 * A descriptor.  Stays in AioContext.nodes when nobody wants it any more, with
 * nothing armed, until its number is used again.  All arming is for one event,
 * and is done anew before the next wait.
 */
struct AioNode {
    AioContext *ctx;
    int fd;
    AioScope scope;
    void *opaque;
    AioDir dir[AIO_DIRS];
    bool orphan; /* loop-uring: replaced, to be freed when nothing is armed */
    bool dirty;  /* on the list dirty_nodes: look whether to arm */
    TAILQ_ENTRY(AioNode) dirty_entry;
    bool in_epoll; /* loop-epoll: was added there */
};

typedef TAILQ_HEAD(AioDirList, AioDir) AioDirList;

static inline bool aio_dir_wanted(const AioDir *dir)
{
    return (dir->cb || dir->co) && !dir->ready;
}

/* An engine says that @dir is ready (or failed, which its user will see). */
void aio_dir_ready(AioDir *dir);
/* Makes the engine look at @node before the next wait. */
void aio_node_dirty(AioNode *node);
void aio_nodes_free(AioContext *ctx);
bool aio_run_dirs(AioContext *ctx, AioScope scope);

/* --- engines --- */

typedef struct AioEngine {
    const char *name;
    bool (*init)(AioContext *ctx, Error **errp);
    void (*cleanup)(AioContext *ctx);
    /* Arms what node->dir[] wants. */
    void (*arm)(AioContext *ctx, AioNode *node);
    /* Nobody wants @node any more; its number may be closed and used anew. */
    void (*forget)(AioContext *ctx, AioNode *node);
    /*
     * Submits, and waits for an event up to @timeout_ns (< 0: no limit).
     * Touches nothing but the engine's own state: the main thread may be at
     * the rest of @ctx meanwhile.
     */
    void (*wait)(AioContext *ctx, int64_t timeout_ns);
    /* Before the wait, which will be one for @timeout_ns; may be NULL. */
    void (*prepare)(AioContext *ctx, int64_t timeout_ns);
    /* After it: is there anything to harvest? */
    bool (*found)(const AioContext *ctx);
    /* After it: what has come to pass goes to the lists of what is ready. */
    void (*harvest)(AioContext *ctx);
} AioEngine;

extern const AioEngine aio_engine_uring;
extern const AioEngine aio_engine_epoll;

/* --- bottom halves and timers --- */

typedef TAILQ_HEAD(AioBHList, AioBH) AioBHList;

/* Timers of one scope: a binary heap, the next to fire first. */
typedef struct AioTimerHeap {
    AioTimer **item;
    int len, nalloc;
} AioTimerHeap;

void aio_bh_harvest(AioContext *ctx);
bool aio_run_bhs(AioContext *ctx, AioScope scope);
bool aio_run_timers(AioContext *ctx, AioScope scope);
/* When the next timer of @scope fires, INT64_MAX: never. */
int64_t aio_timers_next(const AioContext *ctx, AioScope scope);

/* --- the context --- */

/*
 * Fields "of the thread": the context's own thread, inside of its gate; or the
 * main thread while it is exclusive (gate.c), with aio_notify() after what the
 * wait goes by.
 */
struct AioContext {
    /* Set once. */
    const AioEngine *engine;
    void *engine_state;
    int wake_fd; /* eventfd, blocking: an engine reads it only when ready */
    bool is_main;

    /* The engine's, in the context's own thread only: file descriptors. */
    AioNode **nodes; /* by descriptor number; NULL: never used */
    int nnodes;
    TAILQ_HEAD(, AioNode) dirty_nodes;

    /* Of the thread. */
    int depth; /* of aio_poll() calls; > 1: nested */
    bool held; /* by aio_main_hold(), which counts in depth, too */
    int working; /* coroutines that wait for worker threads */
    AioDirList ready_dirs[AIO_SCOPES];
    AioBHList ready_bhs[AIO_SCOPES];
    AioTimerHeap timers[AIO_SCOPES];
    Coroutine *ready_co, **ready_co_tail;
    struct LinuxAio *laio; /* NULL until first used */
    int64_t poll_ns; /* for how long it looks for events before it waits */
    struct FileRing *ring; /* file I/O, of the engine or our own, or NULL */

    /* Atomic. */
    Coroutine *incoming_co; /* co_schedule(): stacks, latest first */
    AioBH *incoming_bh;
    int senders;   /* threads in the middle of co_schedule() and the like:
                      what they send may be over before they are */
    bool waiting;  /* about to wait or waiting: the eventfd is needed */
    bool notified; /* do not wait */
    bool inside;   /* of its gate; of an I/O thread only */
    int64_t poll_max_ns, poll_grow, poll_shrink; /* aio_context_set_polling() */

    /* The main thread: among the contexts of I/O threads. */
    LIST_ENTRY(AioContext) next;
};

/* --- gate.c --- */

/* @ctx, of an I/O thread that does not run yet, is one to be excluded. */
void aio_gate_add(AioContext *ctx);
void aio_gate_remove(AioContext *ctx);
/* For the thread of @ctx; waits while the main thread is exclusive. */
void aio_gate_enter(AioContext *ctx);
void aio_gate_leave(AioContext *ctx);
/*
 * For polls of the main thread: is not exclusive any more, however often it
 * was; returns how often, for the reverse.
 */
int aio_exclusive_leave(void);
void aio_exclusive_return(int depth);

/* --- poll.c --- */

/*
 * How long to look for events next time, where it was @poll_ns and, looking and
 * waiting, it took @took_ns until there was one.
 */
int64_t aio_poll_tune(int64_t poll_ns, int64_t took_ns, int64_t max_ns,
                      int64_t grow, int64_t shrink);
/*
 * Looks for events before a wait for up to @timeout_ns (< 0: no limit), out of
 * the gate.  True: there are events to be harvested, or somebody has called
 * aio_notify(); @ctx must not wait.
 */
bool aio_poll_busily(AioContext *ctx, int64_t timeout_ns);

/* --- context.c --- */

/* For the thread that it is for, and which has none yet; NULL with @errp. */
AioContext *aio_context_new(Error **errp);
/*
 * In its thread: runs what is left (all handlers must be gone) and frees all
 * but the struct, which is for g_free() when nobody looks at it any more.
 */
void aio_context_end(AioContext *ctx);

/* Around publishing something in @ctx and the aio_notify() after it. */
static inline void aio_send_begin(AioContext *ctx)
{
    __atomic_fetch_add(&ctx->senders, 1, __ATOMIC_RELAXED);
}

static inline void aio_send_end(AioContext *ctx)
{
    __atomic_fetch_sub(&ctx->senders, 1, __ATOMIC_RELEASE);
}

/* Queues @co to be entered in this turn.  This thread only. */
void aio_ready_co(AioContext *ctx, Coroutine *co);

/* --- file I/O --- */

typedef enum FileVerb {
    FILE_READ,
    FILE_WRITE,
    FILE_FDATASYNC,
    FILE_FALLOCATE,
} FileVerb;

typedef struct FileReq {
    FileVerb verb;
    int fd;
    int64_t offset;
    const struct iovec *iov;
    int niov;
    bool dsync;    /* of a write */
    int mode;      /* of fallocate */
    int64_t bytes; /* of fallocate */
} FileReq;

/* One transfer: bytes done (may be short), or -errno. */
ssize_t coroutine_fn file_uring_co(AioContext *ctx, const FileReq *req);
ssize_t coroutine_fn file_libaio_co(AioContext *ctx, const FileReq *req);

/* The ring for file I/O of @ctx: the loop's, else made now; NULL: none. */
struct FileRing *file_ring_get(AioContext *ctx, Error **errp);
void file_ring_cleanup(AioContext *ctx);
/* Submits what was queued since the last wait; only for a ring of our own. */
void file_ring_flush(AioContext *ctx);

bool file_libaio_init(AioContext *ctx, Error **errp);
void file_libaio_cleanup(AioContext *ctx);
void file_libaio_flush(AioContext *ctx);

void thread_pool_cleanup(void);

#endif
