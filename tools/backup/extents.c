/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of parts of a disk: in rising order, without overlaps. */
#include "qemu/osdep.h"

#include "extents.h"
#include "qemu/iov.h"
#include "tools/common/image.h"

#define COPY_SIZE (1 * MiB)

/* --- lists --- */

typedef struct Builder {
    BackupExtentList *list, **tail;
    BackupExtent *last;
} Builder;

/* Adds a part that begins behind the beginning of the last one. */
static void add(Builder *b, int64_t start, int64_t end)
{
    BackupExtent *e;

    if (start >= end) {
        return;
    }
    if (b->last && start <= b->last->offset + b->last->length) {
        b->last->length = MAX(b->last->length, end - b->last->offset);
        return;
    }
    e = g_new(BackupExtent, 1);
    *e = (BackupExtent) { .offset = start, .length = end - start };
    QAPI_LIST_APPEND(b->tail, e);
    b->last = e;
}

static int64_t end_of(const BackupExtentList *l)
{
    return l->value->offset + l->value->length;
}

BackupExtentList *extents_all(int64_t size)
{
    Builder b = { .tail = &b.list };

    add(&b, 0, size);
    return b.list;
}

BackupExtentList *extents_union(const BackupExtentList *a,
                                const BackupExtentList *b, int64_t limit)
{
    Builder out = { .tail = &out.list };

    while (a || b) {
        bool take_a = a && (!b || a->value->offset <= b->value->offset);
        const BackupExtentList *l = take_a ? a : b;

        add(&out, l->value->offset, MIN(end_of(l), limit));
        if (take_a) {
            a = a->next;
        } else {
            b = b->next;
        }
    }
    return out.list;
}

BackupExtentList *extents_minus(const BackupExtentList *a,
                                const BackupExtentList *b, int64_t limit)
{
    Builder out = { .tail = &out.list };

    for (; a; a = a->next) {
        int64_t pos = a->value->offset, end = MIN(end_of(a), limit);

        while (b && end_of(b) <= pos) {
            b = b->next;
        }
        for (const BackupExtentList *l = b; l && l->value->offset < end;
             l = l->next) {
            add(&out, pos, MIN(l->value->offset, end));
            pos = MAX(pos, end_of(l));
        }
        add(&out, pos, end);
    }
    return out.list;
}

int64_t extents_total(const BackupExtentList *list)
{
    int64_t total = 0;

    for (; list; list = list->next) {
        total += list->value->length;
    }
    return total;
}

/* --- copying --- */

static bool copy_piece(BlockBackend *from, BlockBackend *to, int64_t offset,
                       int64_t bytes, uint8_t *buf, Error **errp)
{
    int ret = blk_pread(from, offset, bytes, buf, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Reading at %" PRId64 " failed", offset);
        return false;
    }
    ret = buffer_is_zero(buf, bytes)
              ? blk_pwrite_zeroes(to, offset, bytes, BDRV_REQ_MAY_UNMAP)
              : blk_pwrite(to, offset, bytes, buf, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Writing at %" PRId64 " failed", offset);
    }
    return ret >= 0;
}

bool extents_copy(const BackupExtentList *list, BlockBackend *from,
                  BlockBackend *to, ContentsProgress *progress, void *opaque,
                  Error **errp)
{
    g_autofree uint8_t *buf = g_malloc(COPY_SIZE);
    int64_t total = extents_total(list), done = 0;
    int ret;

    for (; list; list = list->next) {
        int64_t end = end_of(list), n;

        for (int64_t pos = list->value->offset; pos < end; pos += n) {
            n = MIN(end - pos, COPY_SIZE);
            if (tool_interrupted()) {
                error_setg(errp, "Interrupted");
                return false;
            }
            if (!copy_piece(from, to, pos, n, buf, errp)) {
                return false;
            }
            done += n;
            if (progress) {
                progress(opaque, done, total);
            }
        }
    }
    ret = blk_flush(to);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Flushing failed");
    }
    return ret >= 0;
}

/* --- layers --- */

BackupExtentList *extents_of(const BackupFolder *f, const Backup *b,
                             const BackupDisk *d)
{
    BackupExtentList *list = extents_union(d->extents, NULL, INT64_MAX);
    const char *id = d->parent;

    while (id && backup_is_merged(f, b, d)) {
        const Backup *gone = backup_folder_get(f, id);
        BackupDisk *below = gone && gone->manifest
                                ? manifest_find_disk(gone->manifest, d->name)
                                : NULL;
        BackupExtentList *old = list;

        if (!below) {
            break;
        }
        list = extents_union(old, below->extents, d->size);
        qapi_free_BackupExtentList(old);
        b = gone;
        d = below;
        id = below->parent;
    }
    return list;
}

GArray *extents_layers(const BackupFolder *f, const GPtrArray *chain,
                       const char *name)
{
    GArray *layers = g_array_new(FALSE, FALSE, sizeof(ExtentsLayer));
    BackupExtentList *covered = NULL;
    int64_t limit = INT64_MAX;

    for (guint i = chain->len; i-- > 0;) {
        ExtentsLayer layer = { .backup = chain->pdata[i] };
        BackupExtentList *own, *all;

        layer.disk = manifest_find_disk(layer.backup->manifest, name);
        /* What a disk had behind an end that it got later is gone. */
        limit = MIN(limit, layer.disk->size);
        own = extents_of(f, layer.backup, layer.disk);
        layer.parts = extents_minus(own, covered, limit);
        all = extents_union(own, covered, INT64_MAX);
        qapi_free_BackupExtentList(own);
        qapi_free_BackupExtentList(covered);
        covered = all;
        g_array_append_val(layers, layer);
    }
    qapi_free_BackupExtentList(covered);
    return layers;
}

void extents_free_layers(GArray *layers)
{
    for (guint i = 0; i < layers->len; i++) {
        qapi_free_BackupExtentList(
            g_array_index(layers, ExtentsLayer, i).parts);
    }
    g_array_free(layers, TRUE);
}
