/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The format of requests and replies, and which requests are valid. */
#include "qemu/osdep.h"

#include "nbd/proto.h"

bool nbd_request_parse(const uint8_t *buf, NBDRequest *req)
{
    if (ld32_be(buf) != NBD_REQUEST_MAGIC) {
        return false;
    }
    req->flags = ld16_be(buf + 4);
    req->type = ld16_be(buf + 6);
    req->cookie = ld64_be(buf + 8);
    req->from = ld64_be(buf + 16);
    req->len = ld32_be(buf + 24);
    return true;
}

void nbd_request_format(uint8_t *buf, const NBDRequest *req)
{
    st32_be(buf, NBD_REQUEST_MAGIC);
    st16_be(buf + 4, req->flags);
    st16_be(buf + 6, req->type);
    st64_be(buf + 8, req->cookie);
    st64_be(buf + 16, req->from);
    st32_be(buf + 24, req->len);
}

void nbd_chunk_format(uint8_t *buf, const NBDChunkHead *head)
{
    st32_be(buf, NBD_STRUCTURED_REPLY_MAGIC);
    st16_be(buf + 4, head->flags);
    st16_be(buf + 6, head->type);
    st64_be(buf + 8, head->cookie);
    st32_be(buf + 16, head->len);
}

void nbd_simple_reply_format(uint8_t *buf, uint32_t error, uint64_t cookie)
{
    st32_be(buf, NBD_SIMPLE_REPLY_MAGIC);
    st32_be(buf + 4, error);
    st64_be(buf + 8, cookie);
}

uint32_t nbd_error_from_errno(int ret)
{
    switch (-ret) {
    case 0:
        return 0;
    case EPERM:
    case EROFS:
        return 1;
    case EIO:
        return 5;
    case ENOMEM:
        return 12;
    case EINVAL:
    case EACCES: /* as other servers: what a snapshot may not show, say */
        return 22;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return 28;
    case EOVERFLOW:
        return 75;
    case ENOTSUP:
        return 95;
    case ESHUTDOWN:
        return 108;
    default:
        return 5;
    }
}

int nbd_error_to_errno(uint32_t error)
{
    switch (error) {
    case 0:
        return 0;
    case 1:
        return -EPERM;
    case 5:
        return -EIO;
    case 12:
        return -ENOMEM;
    case 28:
        return -ENOSPC;
    case 75:
        return -EOVERFLOW;
    case 95:
        return -ENOTSUP;
    case 108:
        return -ESHUTDOWN;
    default:
        return -EINVAL;
    }
}

/* A row: the feature that a command needs, and its valid flags. */
typedef struct CommandRule {
    uint16_t needs;
    uint16_t flags;
    bool writes;
    bool has_range;
    bool has_payload; /* bytes of the range cross the wire */
} CommandRule;

static const CommandRule rules[] = {
    [NBD_CMD_READ] = { .has_range = true, .has_payload = true },
    [NBD_CMD_WRITE] = { .flags = NBD_CMD_FLAG_FUA, .writes = true,
                        .has_range = true, .has_payload = true },
    [NBD_CMD_FLUSH] = { .needs = NBD_FLAG_SEND_FLUSH },
    [NBD_CMD_TRIM] = { .needs = NBD_FLAG_SEND_TRIM,
                       .flags = NBD_CMD_FLAG_FUA, .writes = true,
                       .has_range = true },
    [NBD_CMD_CACHE] = { .needs = NBD_FLAG_SEND_CACHE, .has_range = true },
    [NBD_CMD_WRITE_ZEROES] = { .needs = NBD_FLAG_SEND_WRITE_ZEROES,
                               .flags = NBD_CMD_FLAG_FUA |
                                        NBD_CMD_FLAG_NO_HOLE |
                                        NBD_CMD_FLAG_FAST_ZERO,
                               .writes = true, .has_range = true },
    [NBD_CMD_BLOCK_STATUS] = { .flags = NBD_CMD_FLAG_REQ_ONE,
                               .has_range = true },
};

int nbd_request_check(const NBDRequest *req, uint64_t size,
                      uint16_t trans_flags)
{
    const CommandRule *rule;
    /* FUA is always allowed if there is nothing to flush. */
    uint16_t flags = NBD_CMD_FLAG_FUA;

    if (req->type >= ARRAY_SIZE(rules) || req->type == NBD_CMD_DISC) {
        return -EINVAL;
    }
    rule = &rules[req->type];
    if (rule->writes && trans_flags & NBD_FLAG_READ_ONLY) {
        return -EPERM;
    }
    flags |= rule->flags;
    if (req->type == NBD_CMD_READ && trans_flags & NBD_FLAG_SEND_DF) {
        flags |= NBD_CMD_FLAG_DF;
    }
    if (req->flags & ~flags || rule->needs & ~trans_flags ||
        (req->type == NBD_CMD_BLOCK_STATUS && req->len == 0)) {
        return -EINVAL;
    }
    if (rule->has_payload && req->len > NBD_MAX_PAYLOAD) {
        return -EINVAL;
    }
    if (rule->has_range && !range_fits(req->from, req->len, size)) {
        return rule->writes ? -ENOSPC : -EINVAL;
    }
    return 0;
}
