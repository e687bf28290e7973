/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walker: finds what is left to copy, in areas of one kind. */
#include "qemu/osdep.h"
#include "block/copy-walker.h"

void copy_walker_init_bits(CopyWalker *w, HBitmap *left, int64_t start,
                           int64_t end)
{
    *w = (CopyWalker) {
        .left = left,
        .start = start,
        .end = end,
        .pos = start,
        .size = hbitmap_size(left),
        .unit = hbitmap_granularity(left),
    };
}

void copy_walker_init_span(CopyWalker *w, int64_t size, int64_t unit)
{
    *w = (CopyWalker) {
        .end = size,
        .size = size,
        .unit = unit,
        .again = g_array_new(false, false, sizeof(CopyArea)),
    };
}

void copy_walker_set_look(CopyWalker *w, CopyLook *look, void *opaque)
{
    w->look = look;
    w->opaque = opaque;
    w->run.bytes = 0;
}

void copy_walker_destroy(CopyWalker *w)
{
    g_clear_pointer(&w->again, g_array_unref);
}

void copy_walker_rewind(CopyWalker *w)
{
    if (w->left) {
        w->pos = w->start;
        w->run.bytes = 0; /* its kind may have changed meanwhile */
    }
}

/* The first byte that is left from pos on, or -1. */
static int64_t find_left(const CopyWalker *w)
{
    if (w->pos >= w->end) {
        return -1;
    }
    return w->left ? hbitmap_next_dirty(w->left, w->pos, w->end - w->pos)
                   : w->pos;
}

/* Makes @start part of the current run; false: it was that already. */
static bool coroutine_fn look(CopyWalker *w, int64_t start, int *ret)
{
    CopyArea run = {.offset = start, .bytes = w->size - start};

    *ret = 0;
    if (!w->look || (start >= w->run.offset &&
                     start - w->run.offset < w->run.bytes)) {
        return false;
    }
    *ret = w->look(w->opaque, &run);
    g_assert(*ret < 0 || run.bytes > 0);
    w->run = run;
    if (*ret < 0) {
        w->run.bytes = 0;
    }
    return true;
}

/* @bytes of @kind at @start, in whole units; a shared unit counts as data. */
static int64_t whole_units(const CopyWalker *w, int64_t start, int64_t bytes,
                           CopyKind kind)
{
    if (bytes >= w->size - start) {
        return w->size - start;
    }
    return kind == COPY_DATA ? MIN(ROUND_UP(bytes, w->unit), w->size - start)
                             : ROUND_DOWN(bytes, w->unit);
}

/* Kind and length of the area at @start, from the current run. */
static void measure(const CopyWalker *w, int64_t start, const int64_t *max,
                    CopyArea *area)
{
    int64_t bytes = w->end - start;
    CopyKind kind = COPY_DATA;

    if (w->look) {
        int64_t rest = w->run.offset + w->run.bytes - start;

        kind = w->run.kind;
        bytes = whole_units(w, start, rest, kind);
        if (bytes == 0) {
            kind = COPY_DATA;
            bytes = w->unit;
        }
    }
    bytes = MIN(bytes, MAX(ROUND_DOWN(max[kind], w->unit), w->unit));
    *area = (CopyArea) {start, MIN(bytes, w->end - start), kind, w->run.from};
}

int coroutine_fn copy_walker_next(CopyWalker *w, const int64_t *max,
                                  CopyArea *area)
{
    int64_t start;
    int ret;

    if (w->again && w->again->len > 0) {
        *area = g_array_index(w->again, CopyArea, 0);
        g_array_remove_index(w->again, 0);
        return 1;
    }
    do {
        start = find_left(w);
        if (start < 0) {
            return 0;
        }
        w->pos = start;
        /* look() may yield: check again what is left. */
    } while (look(w, start, &ret) && ret == 0);
    if (ret < 0) {
        *area = (CopyArea) {.offset = start, .bytes = MIN(MAX(max[COPY_DATA],
                            w->unit), w->end - start)};
        return ret;
    }
    measure(w, start, max, area);
    if (w->left) {
        hbitmap_next_dirty_area(w->left, start, w->end, area->bytes,
                                &area->offset, &area->bytes);
        hbitmap_reset(w->left, area->offset, area->bytes);
    }
    w->pos = start + area->bytes;
    return 1;
}

/* Splits areas that were put back so that [@offset, +@bytes) is in none. */
static bool cut_out(GArray *again, int64_t offset, int64_t bytes)
{
    for (guint i = 0; i < again->len; i++) {
        CopyArea a = g_array_index(again, CopyArea, i);
        CopyArea before = a, after = a;

        if (offset < a.offset || offset + bytes > a.offset + a.bytes) {
            continue;
        }
        before.bytes = offset - a.offset;
        after.offset = offset + bytes;
        after.bytes = a.offset + a.bytes - after.offset;
        g_array_remove_index(again, i);
        if (after.bytes > 0) {
            g_array_insert_val(again, i, after);
        }
        if (before.bytes > 0) {
            g_array_insert_val(again, i, before);
        }
        return true;
    }
    return false;
}

bool copy_walker_take(CopyWalker *w, int64_t offset, int64_t bytes)
{
    if (!w->left) {
        return cut_out(w->again, offset, bytes);
    }
    if (hbitmap_next_zero(w->left, offset, bytes) >= 0) {
        return false;
    }
    hbitmap_reset(w->left, offset, bytes);
    return true;
}

void copy_walker_put_back(CopyWalker *w, const CopyArea *area)
{
    if (w->left) {
        hbitmap_set(w->left, area->offset, area->bytes);
    } else {
        g_array_append_val(w->again, *area);
    }
}

void copy_walker_unget(CopyWalker *w, const CopyArea *area)
{
    if (w->left) {
        hbitmap_set(w->left, area->offset, area->bytes);
        w->pos = MIN(w->pos, area->offset);
    } else {
        g_array_insert_val(w->again, 0, *area);
    }
}

void copy_walker_pass(CopyWalker *w, int64_t offset, int64_t bytes)
{
    g_assert(!w->left);
    if (!cut_out(w->again, offset, bytes) && w->pos == offset) {
        w->pos = MIN(offset + bytes, w->end);
    }
}

bool copy_walker_more(const CopyWalker *w)
{
    return w->left ? hbitmap_next_dirty(w->left, w->start,
                                        w->end - w->start) >= 0
                   : w->again->len > 0 || w->pos < w->end;
}
