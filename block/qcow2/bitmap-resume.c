/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of jobs beside their bitmaps (block/bitmap-resume.h), as
 * it is stored: behind the bitmap directory, in the part of its last cluster
 * that it does not use.  So the records change together with the directory, and
 * are of no concern to programs that do not know them.  The format is in
 * docs/interop/qcow2-bitmap-safety.rst.
 *
 * An extension of the header says how many bytes there are, with a checksum.
 * It counts only with its autoclear bit: the tail of a directory that another
 * program has written may be that of an older one. Records that are damaged
 * are lost, but never their bitmaps. Where there is no room for a record, the
 * names in it are cut; where there is none for the rest, either, the extension
 * says of which bitmap: then no target is known to have what was copied.
 */
#include "qemu/osdep.h"

#include "block/bitmap-resume.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "qemu/crc32c.h"

#define RECORD_HEAD 72 /* bytes before the names */
#define MAX_NAME 1024
#define EXTENSION_BYTES 8 /* and the indexes of those without a record */
#define INDEX_BYTES 4

/* --- the extension --- */

void qcow2_parse_resume(Qcow2State *s, const uint8_t *data, uint32_t len)
{
    if (len < EXTENSION_BYTES || len % INDEX_BYTES ||
        !(s->autoclear & QCOW2_AUTOCLEAR_RESUME)) {
        return;
    }
    s->bitmaps.resume_bytes = ld32_be(data);
    s->bitmaps.resume_crc = ld32_be(data + 4);
    for (uint32_t at = EXTENSION_BYTES; at < len; at += INDEX_BYTES) {
        uint32_t index = ld32_be(data + at);

        g_array_append_val(s->resume_lost, index);
    }
}

static void put_number(GByteArray *out, uint32_t value)
{
    uint8_t bytes[4];

    st32_be(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

void qcow2_put_resume(GByteArray *out, const Qcow2State *s)
{
    const GArray *lost = s->resume_lost;

    put_number(out, QCOW2_EXT_BITMAPS_RESUME);
    put_number(out, EXTENSION_BYTES + lost->len * INDEX_BYTES);
    put_number(out, s->bitmaps.resume_bytes);
    put_number(out, s->bitmaps.resume_crc);
    for (guint i = 0; i < lost->len; i++) {
        put_number(out, g_array_index(lost, uint32_t, i));
    }
    if (lost->len % 2) {
        put_number(out, 0); /* padding */
    }
}

/* --- records --- */

/* The end of a name tells most; of at most @max bytes. */
static const char *end_of(const char *name, size_t max)
{
    size_t len = strlen(name);

    return len > max ? name + len - max : name;
}

/* @room: a multiple of 8, for this one. */
static bool encode_one(GByteArray *out, uint32_t index,
                       const BdrvBitmapResume *r, size_t room)
{
    size_t names = room - RECORD_HEAD, target_len, job_len, len;
    const char *target, *job;
    guint at = out->len;
    uint8_t *p;

    if (!r->copied || room < RECORD_HEAD) {
        return false;
    }
    target = end_of(r->target, MIN(MAX_NAME, names));
    target_len = strlen(target);
    job = end_of(r->job_id, MIN(MAX_NAME, names - target_len));
    job_len = strlen(job);
    len = ROUND_UP(RECORD_HEAD + target_len + job_len, 8);
    g_byte_array_set_size(out, at + len);
    p = out->data + at;
    memset(p, 0, len);
    st32_be(p, len);
    st32_be(p + 4, index);
    st64_be(p + 8, r->copied);
    st64_be(p + 16, r->total);
    st64_be(p + 24, r->file_bytes);
    memcpy(p + 32, r->digest, BDRV_RESUME_DIGEST_BYTES);
    st16_be(p + 64, target_len);
    st16_be(p + 66, job_len);
    memcpy(p + RECORD_HEAD, target, target_len);
    memcpy(p + RECORD_HEAD + target_len, job, job_len);
    return true;
}

static unsigned count_records(const GPtrArray *dir)
{
    unsigned n = 0;

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        n += b->resume && b->resume->copied;
    }
    return n;
}

GByteArray *qcow2_encode_resume(const GPtrArray *dir, size_t room)
{
    GByteArray *out = g_byte_array_new();
    unsigned n = count_records(dir);

    room = ROUND_DOWN(room, 8);
    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];
        size_t left = room - out->len, others;

        b->resume_lost = false;
        if (b->resume) {
            /* Names are cut rather than that another one has no room. */
            n -= b->resume->copied != 0;
            others = (size_t)n * RECORD_HEAD;
            b->resume_lost = !encode_one(out, i, b->resume,
                                         left >= others + RECORD_HEAD
                                         ? left - others : left);
        }
    }
    return out;
}

GArray *qcow2_lost_resume(const GPtrArray *dir)
{
    GArray *lost = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (b->resume && b->resume_lost) {
            g_array_append_val(lost, i);
        }
    }
    return lost;
}

/* NULL: it is invalid. */
static BdrvBitmapResume *decode_one(const uint8_t *p, size_t len)
{
    size_t target_len = ld16_be(p + 64), job_len = ld16_be(p + 66);
    int64_t copied = ld64_be(p + 8), total = ld64_be(p + 16);
    BdrvBitmapResume *r;

    if (target_len > MAX_NAME || job_len > MAX_NAME ||
        target_len + job_len > len - RECORD_HEAD || copied <= 0 ||
        total < copied || (int64_t)ld64_be(p + 24) < 0) {
        return NULL;
    }
    r = g_new0(BdrvBitmapResume, 1);
    r->copied = copied;
    r->total = total;
    r->file_bytes = ld64_be(p + 24);
    memcpy(r->digest, p + 32, BDRV_RESUME_DIGEST_BYTES);
    r->target = g_utf8_make_valid((const char *)p + RECORD_HEAD, target_len);
    r->job_id = g_utf8_make_valid((const char *)p + RECORD_HEAD + target_len,
                                  job_len);
    r->loaded = true;
    return r;
}

void qcow2_decode_resume(GPtrArray *dir, const uint8_t *buf, size_t len)
{
    while (len >= RECORD_HEAD) {
        size_t used = ld32_be(buf);
        uint32_t index = ld32_be(buf + 4);

        if (used < RECORD_HEAD || used > len || used % 8) {
            return;
        }
        if (index < dir->len) {
            Qcow2Bitmap *b = dir->pdata[index];

            bdrv_bitmap_resume_free(b->resume);
            b->resume = decode_one(buf, used);
        }
        buf += used;
        len -= used;
    }
}

/* Those of which only this is known. */
static void set_lost(const GArray *lost, GPtrArray *dir)
{
    for (guint i = 0; i < lost->len; i++) {
        uint32_t index = g_array_index(lost, uint32_t, i);
        Qcow2Bitmap *b = index < dir->len ? dir->pdata[index] : NULL;

        if (b && !b->resume) {
            b->resume = bdrv_bitmap_resume_unknown();
            b->resume_lost = true;
        }
    }
}

static void coroutine_mixed_fn read_records(BlockDriverState *bs,
                                            GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    const Qcow2BitmapExt *ext = &s->bitmaps;
    uint64_t end = ext->dir_offset + ext->dir_size;
    g_autofree uint8_t *buf = NULL;

    if (!ext->resume_bytes ||
        ext->resume_bytes > ROUND_UP(end, s->cluster_size) - end) {
        return;
    }
    buf = g_malloc(ext->resume_bytes);
    if (bdrv_pread(bs->file, end, ext->resume_bytes, buf) >= 0 &&
        crc32c(0, buf, ext->resume_bytes) == ext->resume_crc) {
        qcow2_decode_resume(dir, buf, ext->resume_bytes);
    }
}

void coroutine_mixed_fn qcow2_read_resume(BlockDriverState *bs, GPtrArray *dir)
{
    const Qcow2State *s = bs->opaque;

    read_records(bs, dir);
    set_lost(s->resume_lost, dir);
}
