/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations shared by the parts of the event loop.
 *
 * One turn of the loop:
 *
 *     arm events -> submit and wait -> harvest -> run what is ready
 *
 * Harvesting only moves items to the lists of ready items; no user code runs
 * meanwhile.  Running takes one item after the other off those lists, so a
 * nested poll, which uses the same lists, sees all ready items.
 *
 * An I/O thread leaves its gate (gate.c) before it submits and waits, and
 * enters it afterwards; the rest of a turn runs inside.
 */
#ifndef UTIL_AIO_INT_H
#define UTIL_AIO_INT_H

#include "qemu/aio.h"

#define AIO_SCOPES 2

/* --- file descriptors --- */

enum { AIO_DIR_READ, AIO_DIR_WRITE, AIO_DIRS };

typedef struct AioNode AioNode;

/* An operation in a ring; its completion callback must not run user code. */
typedef struct RingOp RingOp;
struct RingOp {
    void (*done)(RingOp *op, int res);
};

/* One direction of a descriptor, with its handler or coroutine. */
typedef struct AioDir {
    AioNode *node;
    AioHandler *cb; /* stays until removed; NULL: none */
    Coroutine *co;  /* waits for one event; has precedence over cb */
    bool ready;     /* on the list ready_dirs[node->scope] */
    TAILQ_ENTRY(AioDir) ready_entry;
    RingOp op;      /* loop-uring: its poll, in flight while armed */
    bool armed;
    bool cancelling;
} AioDir;

/*
 * A descriptor.  After its last handler is removed it stays in
 * AioContext.nodes, with nothing armed, until its number is reused.  Each event
 * is armed once, and again before the next wait.
 */
struct AioNode {
    AioContext *ctx;
    int fd;
    AioScope scope;
    void *opaque;
    AioDir dir[AIO_DIRS];
    bool orphan; /* loop-uring: replaced, freed when nothing is armed */
    bool dirty;  /* on the list dirty_nodes: check what to arm */
    TAILQ_ENTRY(AioNode) dirty_entry;
    bool in_epoll; /* loop-epoll: it was added */
};

typedef TAILQ_HEAD(AioDirList, AioDir) AioDirList;

static inline bool aio_dir_wanted(const AioDir *dir)
{
    return (dir->cb || dir->co) && !dir->ready;
}

/* For engines: @dir is ready (or failed, which its user will see). */
void aio_dir_ready(AioDir *dir);
/* Makes the engine check @node before the next wait. */
void aio_node_dirty(AioNode *node);
void aio_nodes_free(AioContext *ctx);
bool aio_run_dirs(AioContext *ctx, AioScope scope);

/* --- engines --- */

typedef struct AioEngine {
    const char *name;
    bool (*init)(AioContext *ctx, Error **errp);
    void (*cleanup)(AioContext *ctx);
    /* Arms the events of node->dir[]. */
    void (*arm)(AioContext *ctx, AioNode *node);
    /* @node has no handlers; its number may be closed and reused. */
    void (*forget)(AioContext *ctx, AioNode *node);
    /*
     * Submits, and waits for an event up to @timeout_ns (< 0: no limit).
     * Accesses only the engine's own state: the main thread may access the rest
     * of @ctx meanwhile.
     */
    void (*wait)(AioContext *ctx, int64_t timeout_ns);
    /* Called before a wait for @timeout_ns; may be NULL. */
    void (*prepare)(AioContext *ctx, int64_t timeout_ns);
    /* Called after a wait: is there anything to harvest? */
    bool (*found)(const AioContext *ctx);
    /* Called after a wait: moves completed events to the ready lists. */
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
/* Expiry of the next timer of @scope, INT64_MAX: none. */
int64_t aio_timers_next(const AioContext *ctx, AioScope scope);

/* --- the context --- */

/*
 * Fields "of the thread" are accessed by the context's own thread, inside its
 * gate; or by the exclusive main thread (gate.c), with aio_notify() after a
 * change that affects the wait.
 */
struct AioContext {
    /* Set once. */
    const AioEngine *engine;
    void *engine_state;
    int wake_fd; /* eventfd, blocking: an engine reads it only when ready */
    bool is_main;

    /* The engine's, accessed in the context's own thread only: descriptors. */
    AioNode **nodes; /* by descriptor number; NULL: never used */
    int nnodes;
    TAILQ_HEAD(, AioNode) dirty_nodes;

    /* Of the thread. */
    int depth; /* of aio_poll() calls; > 1: nested */
    bool held; /* by aio_main_hold(), which counts in depth, too */
    AioDirList ready_dirs[AIO_SCOPES];
    AioBHList ready_bhs[AIO_SCOPES];
    AioTimerHeap timers[AIO_SCOPES];
    Coroutine *ready_co, **ready_co_tail;
    struct LinuxAio *laio; /* NULL until first used */
    int64_t poll_ns; /* how long to poll for events before a wait */
    struct FileRing *ring; /* file I/O: the engine's or its own, or NULL */

    /* Atomic. */
    Coroutine *incoming_co; /* co_schedule(): stacks, latest first */
    AioBH *incoming_bh;
    int senders;   /* threads inside co_schedule() and the like: their work may
                      be done before they return */
    bool waiting;  /* about to wait or waiting: the eventfd is needed */
    bool notified; /* do not wait */
    bool inside;   /* of its gate; for I/O threads only */
    int64_t poll_max_ns, poll_grow, poll_shrink; /* aio_context_set_polling() */

    /* Main thread: links the contexts of I/O threads. */
    LIST_ENTRY(AioContext) next;
};

/* --- gate.c --- */

/* Adds @ctx of an I/O thread that does not run yet to the exclusion. */
void aio_gate_add(AioContext *ctx);
void aio_gate_remove(AioContext *ctx);
/* Called by the thread of @ctx; waits while the main thread is exclusive. */
void aio_gate_enter(AioContext *ctx);
void aio_gate_leave(AioContext *ctx);
/*
 * For polls of the main thread: ends all nested exclusive sections and returns
 * their number, for the reverse.
 */
int aio_exclusive_leave(void);
void aio_exclusive_return(int depth);

/* --- poll.c --- */

/*
 * The next polling time, if it was @poll_ns and an event took @took_ns,
 * including the wait.
 */
int64_t aio_poll_tune(int64_t poll_ns, int64_t took_ns, int64_t max_ns,
                      int64_t grow, int64_t shrink);
/*
 * Polls for events before a wait for up to @timeout_ns (< 0: no limit), outside
 * the gate.  True: there are events to harvest, or aio_notify() was called;
 * @ctx must not wait.
 */
bool aio_poll_busily(AioContext *ctx, int64_t timeout_ns);

/* --- context.c --- */

/* Called by the context's thread, which has none yet; NULL with @errp. */
AioContext *aio_context_new(Error **errp);
/*
 * Called by its thread: runs what is left (all handlers must be gone) and frees
 * all but the struct, which is freed by g_free() after its last use.
 */
void aio_context_end(AioContext *ctx);

/* Called before and after publishing work for @ctx and aio_notify(). */
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

/* The ring for file I/O of @ctx: the loop's, or one created now; NULL: none. */
struct FileRing *file_ring_get(AioContext *ctx, Error **errp);
void file_ring_cleanup(AioContext *ctx);
/* Submits requests queued since the last wait; only for a separate ring. */
void file_ring_flush(AioContext *ctx);

bool file_libaio_init(AioContext *ctx, Error **errp);
void file_libaio_cleanup(AioContext *ctx);
void file_libaio_flush(AioContext *ctx);

void thread_pool_cleanup(void);

#endif
