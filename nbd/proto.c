/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The form of requests and replies, and which requests are valid. */
#include "qemu/osdep.h"

#include "nbd/proto.h"
#include "nbd/server.h"

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
    case EACCES:
        return 1;
    case EIO:
        return 5;
    case ENOMEM:
        return 12;
    case EINVAL:
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

/* A row: what a command needs of the export, and the flags it may have. */
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
};

int nbd_request_check(const NBDRequest *req, uint64_t size,
                      uint16_t trans_flags)
{
    const CommandRule *rule;

    if (req->type >= ARRAY_SIZE(rules) || req->type == NBD_CMD_DISC) {
        return -EINVAL;
    }
    rule = &rules[req->type];
    if (rule->writes && trans_flags & NBD_FLAG_READ_ONLY) {
        return -EPERM;
    }
    /* Clients may always ask for FUA where there is nothing to flush. */
    if (req->flags & ~(rule->flags | NBD_CMD_FLAG_FUA) ||
        rule->needs & ~trans_flags) {
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
