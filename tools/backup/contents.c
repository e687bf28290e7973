/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What files of backups hold: their bytes, and the parts of the disk. */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "block/graph.h"
#include "block/io.h"
#include "contents.h"
#include "extents.h"
#include "tools/common/image.h"

#define READ_SIZE (1 * MiB)

/* --- digests --- */

typedef struct Digest {
    GChecksum *sum;
    int fd;
    BlockBackend *blk;          /* of an export; NULL: read from fd */
    int64_t done, total;
    ContentsProgress *progress; /* may be NULL */
    void *opaque;
} Digest;

/* Reads up to @bytes; how many, or -errno. */
static ssize_t read_piece(Digest *g, int64_t offset, int64_t bytes, void *buf)
{
    ssize_t n;
    int ret;

    if (g->blk) {
        ret = blk_pread(g->blk, offset, bytes, buf, 0);
        return ret < 0 ? ret : bytes;
    }
    n = pread(g->fd, buf, bytes, offset);
    return n < 0 ? -errno : n;
}

/* Feeds a part of the file.  0, -EINTR after a signal, or -errno. */
static int feed(Digest *g, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(READ_SIZE);
    int64_t end = offset + bytes;

    while (offset < end) {
        ssize_t n = read_piece(g, offset, MIN(end - offset, READ_SIZE), buf);

        if (tool_interrupted()) {
            return -EINTR;
        }
        if (n < 0 && n != -EINTR) {
            return n;
        }
        if (n == 0) {
            return -EIO; /* it is shorter */
        }
        if (n > 0) {
            g_checksum_update(g->sum, buf, n);
            offset += n;
            g->done += n;
        }
        if (g->progress) {
            g->progress(g->opaque, g->done, g->total);
        }
    }
    return 0;
}

static int feed_extents(Digest *g, const BackupExtentList *list)
{
    int ret = 0;

    for (; list && ret == 0; list = list->next) {
        ret = feed(g, list->value->offset, list->value->length);
    }
    return ret;
}

/* Has the file only parts of the disk that are valid? */
static bool has_parts(const BackupDisk *d)
{
    return d->format == BACKUP_FORMAT_RAW && d->parent;
}

static bool open_data(Digest *g, const BackupDisk *d, const char *path,
                      Error **errp)
{
    ToolImage image = { .filename = path, .format = "raw" };

    g->fd = -1;
    if (d->uri) {
        g->blk = tool_open(&image, errp);
        return g->blk != NULL;
    }
    g->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (g->fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
    }
    return g->fd >= 0;
}

/* 0 or -errno. */
static int feed_all(Digest *g, const BackupDisk *d)
{
    struct stat st;

    if (has_parts(d)) {
        g->total = extents_total(d->extents);
        return feed_extents(g, d->extents);
    }
    if (!g->blk && fstat(g->fd, &st) < 0) {
        return -errno;
    }
    g->total = g->blk ? d->size : st.st_size;
    return feed(g, 0, g->total);
}

char *contents_digest(const BackupDisk *d, const char *path,
                      ContentsProgress *progress, void *opaque, Error **errp)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    Digest g = { .sum = sum, .progress = progress, .opaque = opaque };
    int ret;

    if (!open_data(&g, d, path, errp)) {
        return NULL;
    }
    ret = feed_all(&g, d);
    if (g.fd >= 0) {
        close(g.fd);
    }
    blk_unref(g.blk);
    if (ret == -EINTR) {
        error_setg(errp, "Interrupted");
        return NULL;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Reading '%s' failed", path);
        return NULL;
    }
    return g_strdup(g_checksum_get_string(sum));
}

/* --- extents --- */

typedef struct Extents {
    GArray *list; /* of BackupExtent, in rising order, with gaps between */
    int max; /* 0: no limit */
} Extents;

static BackupExtent *extent_at(const Extents *e, guint i)
{
    return &g_array_index(e->list, BackupExtent, i);
}

static int64_t gap_before(const Extents *e, guint i)
{
    return extent_at(e, i)->offset - extent_at(e, i - 1)->offset -
           extent_at(e, i - 1)->length;
}

/* Fills the gaps that are at most @limit bytes long. */
static void fill_gaps(Extents *e, int64_t limit)
{
    guint kept = 0;

    for (guint i = 1; i < e->list->len; i++) {
        BackupExtent *last = extent_at(e, kept), *next = extent_at(e, i);

        if (next->offset - last->offset - last->length <= limit) {
            last->length = next->offset + next->length - last->offset;
        } else {
            *extent_at(e, ++kept) = *next;
        }
    }
    g_array_set_size(e->list, MIN(e->list->len, kept + 1));
}

static void add_extent(Extents *e, int64_t offset, int64_t length)
{
    BackupExtent next = { .offset = offset, .length = length };
    int64_t limit = INT64_MAX;

    if (e->list->len) {
        BackupExtent *last = extent_at(e, e->list->len - 1);

        if (last->offset + last->length == offset) {
            last->length += length;
            return;
        }
    }
    g_array_append_val(e->list, next);
    if (!e->max || e->list->len <= 2 * e->max) {
        return;
    }
    /* Half of them go, or more: the cost of this is shared by many. */
    for (guint i = 1; i < e->list->len; i++) {
        limit = MIN(limit, gap_before(e, i));
    }
    while (e->list->len > e->max) {
        fill_gaps(e, limit);
        limit = limit > INT64_MAX / 2 ? INT64_MAX : limit * 2;
    }
}

static int collect(BlockDriverState *bs, int64_t size, Extents *e)
{
    int64_t n;

    for (int64_t pos = 0; pos < size; pos += n) {
        int status = bdrv_block_status(bs, pos, size - pos, &n, NULL, NULL);

        if (status < 0) {
            return status;
        }
        if (status & BDRV_BLOCK_ALLOCATED) {
            add_extent(e, pos, n);
        }
    }
    return 0;
}

static BackupExtentList *to_list(const Extents *e)
{
    BackupExtentList *list = NULL;

    for (guint i = e->list->len; i-- > 0;) {
        BackupExtent *copy = g_new(BackupExtent, 1);

        *copy = *extent_at(e, i);
        QAPI_LIST_PREPEND(list, copy);
    }
    return list;
}

BackupExtentList *contents_extents(const char *path, int max, bool *ok,
                                   Error **errp)
{
    g_autoptr(BlockDriverState) bs =
        bdrv_open_file(path, "qcow2", BDRV_O_NO_BACKING, errp);
    g_autoptr(GArray) array = g_array_new(FALSE, FALSE, sizeof(BackupExtent));
    Extents e = { .list = array, .max = max };
    int64_t size = bs ? bdrv_getlength(bs) : 0;
    int ret = 0;

    *ok = bs != NULL;
    if (bs) {
        ret = size < 0 ? size : collect(bs, size, &e);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the metadata of '%s'",
                         path);
        *ok = false;
    }
    return *ok ? to_list(&e) : NULL;
}

/* --- all that a manifest says --- */

/* Extents of an image in a manifest; more are summed up. */
#define MAX_EXTENTS 65536

static bool describe_extents(BackupDisk *d, const char *path, Error **errp)
{
    bool ok = true;

    if (d->format == BACKUP_FORMAT_QCOW2) {
        BackupExtentList *list = contents_extents(path, MAX_EXTENTS, &ok,
                                                  errp);

        if (ok) {
            qapi_free_BackupExtentList(d->extents);
            d->extents = list;
        }
    }
    d->has_copied = true;
    d->copied = extents_total(d->extents);
    return ok;
}

bool contents_describe(BackupDisk *d, const char *path, bool digest,
                       ContentsProgress *progress, void *opaque, Error **errp)
{
    struct stat st;

    if (!describe_extents(d, path, errp)) {
        return false;
    }
    g_free(d->sha256);
    d->sha256 = NULL;
    if (digest) {
        d->sha256 = contents_digest(d, path, progress, opaque, errp);
        if (!d->sha256) {
            return false;
        }
    }
    if (d->uri) {
        return true;
    }
    if (stat(path, &st) < 0) {
        error_setg_errno(errp, errno, "'%s'", path);
        return false;
    }
    d->has_file_size = true;
    d->file_size = st.st_size;
    return true;
}
