/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations shared by the parts of the NBD server.
 *
 *   server.c            servers, exports, life cycle of a client
 *   negotiate-server.c  the handshake: loop over options
 *   option.c            the reply to each option
 *   meta-context.c      metadata contexts: choosing them, and their extents
 *   request.c           transmission: reading and executing requests
 *   reply.c             sending replies
 */
#ifndef NBD_NBD_INT_H
#define NBD_NBD_INT_H

#include "nbd/proto.h"
#include "nbd/server.h"
#include "qemu/aio.h"

#define NBD_MAX_IN_FLIGHT 64             /* requests of one client */
#define NBD_MAX_BYTES_IN_FLIGHT (64 * MiB) /* their buffers */
#define NBD_RX_SIZE (64 * KiB)
#define NBD_KEEP_BUFFER (512 * KiB)      /* largest buffer kept for reuse */
#define NBD_KEEP_REQUESTS 32

/* Main thread only; @clients is changed by the exclusive main thread, so that
 * any thread may walk it. */
struct NBDServer {
    LIST_HEAD(, NBDExport) exports;
    LIST_HEAD(, NBDClient) clients;
    unsigned nclients;
    void (*closed)(void *opaque, bool served);
    void *closed_opaque;
};

struct NBDExport {
    /* --- set once --- */
    NBDServer *server;
    char *name, *description;
    uint16_t trans_flags; /* NBD_FLAG_* */
    uint64_t serial; /* unique for ever */
    uint32_t preferred_block;
    char **contexts; /* names of metadata contexts, NULL at the end */
    unsigned n_contexts;
    const NBDExportOps *ops;
    void *opaque;

    /* --- the main thread --- */
    bool listed; /* in the server's list */
    unsigned nclients;
    AioBH *resume_bh; /* scheduled from any thread */
    LIST_ENTRY(NBDExport) next;

    /* --- atomic --- */
    uint64_t size;

    /* --- the thread of @ctx, and the exclusive main thread --- */
    AioContext *ctx; /* NULL: during a move */
    unsigned in_flight;
    unsigned quiesced; /* changed by the main thread only */
    CoQueue resume; /* requests that wait for quiesced == 0 */
};

/* A piece of a reply: a head, then data from elsewhere. */
typedef struct NBDChunk {
    uint8_t head[32];
    size_t head_len;
    const void *data; /* of the request's buffer, or constant */
    size_t data_len;
} NBDChunk;

/* A request with its buffer; reused. */
typedef struct NBDWork {
    NBDClient *client;
    NBDRequest req;
    void *buf;
    size_t buf_size;
    bool charged;      /* @buf counts in bytes_in_flight */
    int error;         /* reply with this -errno instead of execution */
    NBDChunk *chunks;  /* the reply: @few, or an array that is freed */
    unsigned n_chunks;
    size_t reply_size; /* bytes of all chunks */
    NBDChunk few[2];
    uint8_t *extents;  /* payload of a block status; freed with the reply */
    TAILQ_ENTRY(NBDWork) next; /* in free or ready */
} NBDWork;

typedef TAILQ_HEAD(NBDWorkList, NBDWork) NBDWorkList;

/*
 * A client belongs to the main thread during the handshake, then to the thread
 * of @ctx, and at the end to the main thread again.  The exclusive main thread
 * may access all of it.
 */
struct NBDClient {
    NBDServer *server;
    int fd;
    NBDExport *exp; /* NULL until one is chosen; set by the main thread */
    LIST_ENTRY(NBDClient) next;

    /* --- its thread: see nbd_client_settle() --- */
    AioContext *ctx; /* atomic; NULL: its export is moving */
    bool joined;     /* it follows the context of its export */
    Coroutine *parked_reader, *parked_sender; /* they wait for a context */

    /* --- handshake --- */
    AioTimer *timer;
    bool fixed_newstyle, no_zeroes;
    bool structured; /* replies; and so the other features that need them */
    bool closing; /* asked to end */
    uint64_t meta_serial;  /* the export whose contexts were chosen; 0: none */
    unsigned *contexts;    /* those chosen: indices of the export's */
    unsigned n_contexts;

    /* --- reading --- */
    uint8_t *rx; /* NBD_RX_SIZE bytes; [rx_pos, rx_end) is unread */
    size_t rx_pos, rx_end;

    /* --- requests --- */
    NBDWorkList free;
    unsigned nfree;
    unsigned in_flight;  /* until the reply was sent */
    uint64_t bytes_in_flight;
    unsigned running;    /* in execution */
    CoQueue slots;       /* the reader waits for one to end */

    /* --- replies --- */
    NBDWorkList ready;
    size_t sent;     /* bytes of the first of them already sent */
    bool in_send;    /* replies are being sent at present */
    bool sending;    /* a coroutine waits for room in the socket */
    bool send_failed;
    AioBH *send_bh;
};

/* negotiate-server.c: 0: an export was chosen; -errno or 1: end. */
int coroutine_fn nbd_negotiate(NBDClient *client);

/* option.c */
typedef struct NBDOption {
    uint32_t number;
    uint32_t len;
    uint8_t *data;
} NBDOption;
/* Like nbd_negotiate(), but NBD_GO_ON: continue with the next option. */
#define NBD_GO_ON 2
int coroutine_fn nbd_handle_option(NBDClient *client, const NBDOption *opt);
/* Replies with an error and a text for users; 0 or -errno. */
int coroutine_fn nbd_reply_error(NBDClient *client, uint32_t option,
                                 uint32_t type, const char *text);

/* The same, then continues with the next option. */
int coroutine_fn nbd_refuse(NBDClient *client, const NBDOption *opt,
                            uint32_t type, const char *text);
/* Sends NBD_REP_ACK; 0 or -errno. */
int coroutine_fn nbd_ack(NBDClient *client, const NBDOption *opt);
/* Sends one reply to an option; 0 or -errno. */
int coroutine_fn nbd_reply(NBDClient *client, uint32_t option, uint32_t type,
                           const void *data, uint32_t len);

/* meta-context.c */
int coroutine_fn nbd_opt_meta_context(NBDClient *client, const NBDOption *opt);
/* Were contexts chosen for the export that the client uses? */
bool nbd_has_contexts(const NBDClient *client);
/* Executes NBD_CMD_BLOCK_STATUS: the reply's chunks.  0 or -errno. */
int coroutine_fn nbd_block_status(NBDWork *work);

/* server.c: the flags of @exp for this client. */
uint16_t nbd_client_flags(const NBDClient *client, const NBDExport *exp);
/* server.c: makes @exp the client's export. */
void nbd_client_choose(NBDClient *client, NBDExport *exp);
/* Undoes that; @exp may be freed. */
void nbd_client_leave(NBDClient *client);
/*
 * Continues in the context of @client; if there is none, *@parked waits for it.
 * Called whenever a coroutine of @client has waited.
 */
void coroutine_fn nbd_client_settle(NBDClient *client, Coroutine **parked);
/* The size in bytes; any thread. */
uint64_t nbd_export_size(const NBDExport *exp);
/* Shuts its socket down; the caller then wakes the waiters in exp->resume. */
void nbd_client_disconnect(NBDClient *client);

/* request.c: returns after the connection and all requests have ended. */
void coroutine_fn nbd_transmission(NBDClient *client);
/* Recycles @work, whose reply was sent or dropped.  The caller must wake
 * client->slots. */
void nbd_work_done(NBDWork *work);

/* reply.c: makes room for @n chunks and drops the present ones. */
void nbd_reply_init(NBDWork *work, unsigned n);
/*
 * Adds a chunk of @type with @more bytes (<= 12) at @head and @len bytes at
 * @data; the last is to be marked by the caller of nbd_reply_queue().
 */
void nbd_reply_add(NBDWork *work, uint16_t type, const void *head, size_t more,
                   const void *data, size_t len);
/*
 * @work is complete with @ret: sends its reply, together with others if more
 * are expected.  The client may be freed, unless the caller is a coroutine.
 */
void nbd_reply_queue(NBDWork *work, int ret);
void nbd_reply_send_bh(void *opaque);

#endif
