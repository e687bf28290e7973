/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata contexts: information on an export besides its data.
 *
 * An export has a list of them by name.  A client lists or chooses some by
 * queries before it enters the export; a chosen context is identified by its
 * index in the list.
 */
#include "qemu/osdep.h"

#include "nbd-int.h"
#include "qemu/sockets.h"

#define MAX_QUERIES 1024
/* Extents of one context in one reply: 64 KiB. */
#define MAX_EXTENTS (64 * KiB / 8)

/* --- choosing --- */

/*
 * Does @query, @len bytes, match @name?  When listing, a query that ends with a
 * colon matches all names with that prefix.
 */
static bool query_matches(const char *query, size_t len, const char *name,
                          bool listing)
{
    if (len == strlen(name)) {
        return memcmp(query, name, len) == 0;
    }
    return listing && len > 0 && len < strlen(name) &&
           query[len - 1] == ':' && memcmp(query, name, len) == 0;
}

/* The parsed data of the option: an export and queries for contexts. */
typedef struct MetaQuery {
    char *name;
    uint32_t n_queries;
    const uint8_t *queries, *end;
} MetaQuery;

/* Returns NULL, or the error in the data. */
static const char *parse_meta(const NBDOption *opt, MetaQuery *query)
{
    const uint8_t *p = opt->data;
    uint32_t nlen;

    query->end = p + opt->len;
    if (opt->len < 8 || ld32_be(p) > opt->len - 8) {
        return "the length of the name does not fit";
    }
    nlen = ld32_be(p);
    if (nlen > NBD_MAX_NAME || memchr(p + 4, 0, nlen)) {
        return "the name is not valid";
    }
    query->n_queries = ld32_be(p + 4 + nlen);
    query->queries = p + 8 + nlen;
    if (query->n_queries > MAX_QUERIES) {
        return "there are too many queries";
    }
    p = query->queries;
    for (uint32_t i = 0; i < query->n_queries; i++) {
        if (query->end - p < 4 || ld32_be(p) > query->end - p - 4) {
            return "the length of a query does not fit";
        }
        p += 4 + ld32_be(p);
    }
    if (p != query->end) {
        return "the number of queries does not fit";
    }
    query->name = g_strndup((const char *)opt->data + 4, nlen);
    return NULL;
}

/* Marks in @chosen the contexts that match the queries. */
static void choose(const MetaQuery *query, const NBDExport *exp, bool listing,
                   bool *chosen)
{
    const uint8_t *p = query->queries;

    for (uint32_t i = 0; i < query->n_queries; i++) {
        size_t len = ld32_be(p);

        for (unsigned c = 0; c < exp->n_contexts; c++) {
            if (query_matches((const char *)p + 4, len, exp->contexts[c],
                              listing)) {
                chosen[c] = true;
                if (!listing) {
                    break; /* of two with one name only the first can be used */
                }
            }
        }
        p += 4 + len;
    }
    for (unsigned c = 0; listing && !query->n_queries && c < exp->n_contexts;
         c++) {
        chosen[c] = true;
    }
}

static void forget(NBDClient *client)
{
    client->meta_serial = 0;
    client->n_contexts = 0;
    g_clear_pointer(&client->contexts, g_free);
}

static void remember(NBDClient *client, const NBDExport *exp,
                     const bool *chosen)
{
    client->meta_serial = exp->serial;
    client->contexts = g_new(unsigned, exp->n_contexts + 1);
    for (unsigned c = 0; c < exp->n_contexts; c++) {
        if (chosen[c]) {
            client->contexts[client->n_contexts++] = c;
        }
    }
}

/* All replies in one buffer: the export may be deleted while they are sent. */
static GByteArray *format_replies(const NBDExport *exp, uint32_t option,
                                  const bool *chosen)
{
    GByteArray *out = g_byte_array_new();

    for (unsigned c = 0; c < exp->n_contexts; c++) {
        uint32_t len = strlen(exp->contexts[c]);
        uint8_t head[24];

        if (chosen[c]) {
            st64_be(head, NBD_REP_MAGIC);
            st32_be(head + 8, option);
            st32_be(head + 12, NBD_REP_META_CONTEXT);
            st32_be(head + 16, 4 + len);
            st32_be(head + 20, option == NBD_OPT_SET_META_CONTEXT ? c : 0);
            g_byte_array_append(out, head, sizeof(head));
            g_byte_array_append(out, (uint8_t *)exp->contexts[c], len);
        }
    }
    return out;
}

int coroutine_fn nbd_opt_meta_context(NBDClient *client, const NBDOption *opt)
{
    bool listing = opt->number == NBD_OPT_LIST_META_CONTEXT;
    g_autoptr(GByteArray) out = NULL;
    g_autofree bool *chosen = NULL;
    g_autofree char *name = NULL;
    MetaQuery query = { 0 };
    const char *wrong = parse_meta(opt, &query);
    NBDExport *exp;
    int ret;

    if (!listing) {
        forget(client);
    }
    name = query.name;
    if (wrong || !client->structured) {
        return nbd_refuse(client, opt, NBD_REP_ERR_INVALID, wrong ? wrong :
                          "structured replies must be negotiated first");
    }
    exp = nbd_export_find(client->server, name);
    if (!exp) {
        return nbd_refuse(client, opt, NBD_REP_ERR_UNKNOWN,
                          "no export of that name is present");
    }
    chosen = g_new0(bool, exp->n_contexts + 1);
    choose(&query, exp, listing, chosen);
    if (!listing) {
        remember(client, exp, chosen);
    }
    out = format_replies(exp, opt->number, chosen);
    ret = out->len ? sock_co_send(client->fd, out->data, out->len) : 0;
    if (ret == 0) {
        ret = nbd_ack(client, opt);
    }
    return ret ? ret : NBD_GO_ON;
}

bool nbd_has_contexts(const NBDClient *client)
{
    return client->n_contexts && client->meta_serial == client->exp->serial;
}

/* --- extents --- */

/* Appends a run; merges it with the last one if the flags are equal. */
static void add_run(GByteArray *out, size_t first, uint32_t len,
                    uint32_t flags)
{
    uint8_t extent[8];

    if (out->len > first &&
        ld32_be(out->data + out->len - 4) == flags) {
        uint8_t *last = out->data + out->len - 8;

        st32_be(last, ld32_be(last) + len);
        return;
    }
    st32_be(extent, len);
    st32_be(extent + 4, flags);
    g_byte_array_append(out, extent, sizeof(extent));
}

/* The extents of one context for the request's range, or its first part. */
static int coroutine_fn one_context(NBDWork *work, unsigned context,
                                    GByteArray *out)
{
    const NBDExport *exp = work->client->exp;
    const NBDRequest *req = &work->req;
    bool one = req->flags & NBD_CMD_FLAG_REQ_ONE;
    size_t first = out->len;
    uint32_t run;

    for (uint32_t pos = 0; pos < req->len; pos += run) {
        uint32_t flags;
        int ret = exp->ops->status(exp->opaque, context, req->from + pos,
                                   req->len - pos, &flags, &run);

        if (ret < 0) {
            return ret;
        }
        g_assert(run > 0 && run <= req->len - pos);
        if (out->len > first &&
            (one || out->len - first >= MAX_EXTENTS * 8) &&
            ld32_be(out->data + out->len - 4) != flags) {
            break;
        }
        add_run(out, first, run, flags);
    }
    return 0;
}

int coroutine_fn nbd_block_status(NBDWork *work)
{
    const NBDClient *client = work->client;
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autofree size_t *start = g_new(size_t, client->n_contexts + 1);

    for (unsigned i = 0; i < client->n_contexts; i++) {
        int ret;

        start[i] = out->len;
        ret = one_context(work, client->contexts[i], out);
        if (ret < 0) {
            return ret;
        }
    }
    start[client->n_contexts] = out->len;
    work->extents = g_byte_array_free(g_steal_pointer(&out), FALSE);
    nbd_reply_init(work, client->n_contexts);
    for (unsigned i = 0; i < client->n_contexts; i++) {
        uint8_t id[4];

        st32_be(id, client->contexts[i]);
        nbd_reply_add(work, NBD_REPLY_TYPE_BLOCK_STATUS, id, sizeof(id),
                      work->extents + start[i], start[i + 1] - start[i]);
    }
    return 0;
}
