/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Constants of the NBD protocol, and the wire format of requests. */
#ifndef NBD_PROTO_H
#define NBD_PROTO_H

#include "qemu/osdep.h"

#define NBD_INIT_MAGIC UINT64_C(0x4e42444d41474943)   /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC UINT64_C(0x49484156454f5054)   /* "IHAVEOPT" */
#define NBD_REP_MAGIC UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC UINT32_C(0x25609513)
#define NBD_SIMPLE_REPLY_MAGIC UINT32_C(0x67446698)

#define NBD_STRUCTURED_REPLY_MAGIC UINT32_C(0x668e33ef)

#define NBD_REQUEST_SIZE 28
#define NBD_SIMPLE_REPLY_SIZE 16
#define NBD_STRUCTURED_REPLY_SIZE 20 /* of a chunk, before its payload */

#define NBD_MAX_NAME 4096          /* bytes of a name or description */
#define NBD_MAX_PAYLOAD (32 * MiB) /* of one read or write */

/* Flags that server and client exchange first. */
enum {
    NBD_FLAG_FIXED_NEWSTYLE = 1 << 0,
    NBD_FLAG_NO_ZEROES = 1 << 1,
};

/* Options of the handshake. */
enum {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

/* Types of replies to them; bit 31: an error. */
#define NBD_REP_ERR(n) (UINT32_C(0x80000000) + (n))
enum {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META_CONTEXT = 4,
};
#define NBD_REP_ERR_UNSUP NBD_REP_ERR(1)
#define NBD_REP_ERR_POLICY NBD_REP_ERR(2)
#define NBD_REP_ERR_INVALID NBD_REP_ERR(3)
#define NBD_REP_ERR_PLATFORM NBD_REP_ERR(4)
#define NBD_REP_ERR_TLS_REQD NBD_REP_ERR(5)
#define NBD_REP_ERR_UNKNOWN NBD_REP_ERR(6)
#define NBD_REP_ERR_SHUTDOWN NBD_REP_ERR(7)
#define NBD_REP_ERR_BLOCK_SIZE_REQD NBD_REP_ERR(8)
#define NBD_REP_ERR_TOO_BIG NBD_REP_ERR(9)

/* Kinds of NBD_REP_INFO. */
enum {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3,
};

/* What an export can do. */
enum {
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3,
    NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_SEND_DF = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
    NBD_FLAG_SEND_CACHE = 1 << 10,
    NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};

/* Commands and their flags. */
enum {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};
enum {
    NBD_CMD_FLAG_FUA = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
};

/* Chunks of a structured reply: their types (bit 15: an error) and flags. */
enum {
    NBD_REPLY_TYPE_NONE = 0,
    NBD_REPLY_TYPE_OFFSET_DATA = 1,
    NBD_REPLY_TYPE_OFFSET_HOLE = 2,
    NBD_REPLY_TYPE_BLOCK_STATUS = 5,
    NBD_REPLY_TYPE_ERROR = 0x8001,
    NBD_REPLY_TYPE_ERROR_OFFSET = 0x8002,
};
enum {
    NBD_REPLY_FLAG_DONE = 1 << 0,
};

/* Flags of the metadata context base:allocation, and of dirty bitmaps. */
enum {
    NBD_STATE_HOLE = 1 << 0,
    NBD_STATE_ZERO = 1 << 1,
    NBD_STATE_DIRTY = 1 << 0,
};
#define NBD_CONTEXT_ALLOCATION "base:allocation"
#define NBD_CONTEXT_DEPTH "qemu:allocation-depth"
#define NBD_CONTEXT_BITMAP "qemu:dirty-bitmap:" /* and the bitmap's name */

typedef struct NBDRequest {
    uint16_t flags;  /* NBD_CMD_FLAG_* */
    uint16_t type;   /* NBD_CMD_* */
    uint64_t cookie; /* returned unchanged with the reply */
    uint64_t from;   /* bytes */
    uint32_t len;    /* bytes */
} NBDRequest;

/* The head of a chunk. */
typedef struct NBDChunkHead {
    uint16_t flags;  /* NBD_REPLY_FLAG_* */
    uint16_t type;   /* NBD_REPLY_TYPE_* */
    uint64_t cookie;
    uint32_t len;    /* bytes of payload that follow */
} NBDChunkHead;

/* From NBD_REQUEST_SIZE bytes at @buf; false: the magic number is wrong. */
bool nbd_request_parse(const uint8_t *buf, NBDRequest *req);
/* NBD_REQUEST_SIZE bytes to @buf. */
void nbd_request_format(uint8_t *buf, const NBDRequest *req);
/* NBD_STRUCTURED_REPLY_SIZE bytes to @buf. */
void nbd_chunk_format(uint8_t *buf, const NBDChunkHead *head);
/* NBD_SIMPLE_REPLY_SIZE bytes to @buf; @error is an NBD error number. */
void nbd_simple_reply_format(uint8_t *buf, uint32_t error, uint64_t cookie);
/* -errno (or 0) to the number on the wire. */
uint32_t nbd_error_from_errno(int ret);
/* The reverse: 0 or -errno; an unknown number gives -EINVAL. */
int nbd_error_to_errno(uint32_t error);
/*
 * Is @req valid for an export of @size bytes?  0, or the -errno to reply with.
 * @trans_flags: NBD_FLAG_* of the export.
 */
int nbd_request_check(const NBDRequest *req, uint64_t size,
                      uint16_t trans_flags);

#endif
