/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of a job beside its bitmap: which target has what was
 * taken off the bitmap.
 *
 * A target is recognised by the name of its storage and not by its content:
 * that would have to be read.  The size of its file catches the frequent case
 * of an image that was created again under the same name, as it is shorter than
 * one that has data.  A target is good, too, if the remembered one is in its
 * backing chain, since it shows all that the other has.
 */
#include "qemu/osdep.h"
#include "block/bitmap-resume.h"
#include "block/graph-int.h"

BdrvBitmapResume *bdrv_bitmap_resume_copy(const BdrvBitmapResume *r)
{
    BdrvBitmapResume *copy = r ? g_memdup2(r, sizeof(*r)) : NULL;

    if (copy) {
        copy->target = g_strdup(r->target);
        copy->job_id = g_strdup(r->job_id);
    }
    return copy;
}

void bdrv_bitmap_resume_free(BdrvBitmapResume *r)
{
    if (r) {
        g_free(r->target);
        g_free(r->job_id);
        g_free(r);
    }
}

/* --- the target --- */

static BlockDriverState *storage_of(BlockDriverState *bs)
{
    BdrvChild *c;

    while ((c = bdrv_primary_child(bs))) {
        bs = c->bs;
    }
    return bs;
}

/*
 * @is_file: symbolic links are followed, as another one may lead to the same
 * file, or the same one to another file.  Those to devices are what is stable.
 */
static char *full_name(const char *name, bool is_file)
{
    char *real = is_file ? realpath(name, NULL) : NULL;
    char *full;

    if (real) {
        full = g_strdup(real);
        free(real);
        return full;
    }
    return path_has_protocol(name) ? g_strdup(name)
                                   : g_canonicalize_filename(name, NULL);
}

char *bdrv_target_name(BlockDriverState *target)
{
    BlockDriverState *storage = storage_of(target);
    BdrvIdentity id;

    if (!storage->filename || !*storage->filename) {
        return g_strdup(storage->node_name);
    }
    bdrv_get_identity(storage, false, &id);
    return full_name(storage->filename, id.kind == BDRV_IDENTITY_FILE);
}

int64_t bdrv_target_file_bytes(BlockDriverState *target)
{
    BlockDriverState *bs = bdrv_skip_filters(target);
    BdrvChild *c = bdrv_primary_child(bs);

    return (c ? c->bs : bs)->total_bytes;
}

static void digest_of(const char *name, uint8_t *digest)
{
    gsize n = BDRV_RESUME_DIGEST_BYTES;
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);

    g_checksum_update(sum, (const guchar *)name, strlen(name));
    g_checksum_get_digest(sum, digest, &n);
    g_checksum_free(sum);
}

BdrvBitmapResume *bdrv_bitmap_resume_new(BlockDriverState *target,
                                         const char *job_id)
{
    BdrvBitmapResume *r = g_new0(BdrvBitmapResume, 1);

    r->target = bdrv_target_name(target);
    r->job_id = g_strdup(job_id);
    digest_of(r->target, r->digest);
    return r;
}

BdrvBitmapResume *bdrv_bitmap_resume_unknown(void)
{
    BdrvBitmapResume *r = g_new0(BdrvBitmapResume, 1);

    r->target = g_strdup("unknown");
    r->job_id = g_strdup("unknown");
    r->loaded = true;
    return r;
}

/* --- is it the same? --- */

static bool is_name(const BdrvBitmapResume *r, const char *name)
{
    uint8_t digest[BDRV_RESUME_DIGEST_BYTES];

    digest_of(name, digest);
    return !memcmp(r->digest, digest, sizeof(digest));
}

static bool is_node(const BdrvBitmapResume *r, BlockDriverState *bs)
{
    g_autofree char *name = bdrv_target_name(bs);
    int64_t bytes = bdrv_target_file_bytes(bs);

    /* A file that is as large as the disk is raw: it gets smaller with it. */
    return is_name(r, name) &&
           (bytes >= r->file_bytes || bytes == bs->total_bytes);
}

/* The image names a backing file that is not open. */
static bool is_closed_backing(const BdrvBitmapResume *r,
                              const BlockDriverState *bs)
{
    g_autofree char *path = NULL, *name = NULL;

    if (!bs->backing_file || !*bs->backing_file) {
        return false;
    }
    path = bdrv_make_absolute_filename(bdrv_base_filename(bs),
                                       bs->backing_file);
    name = full_name(path, true);
    return is_name(r, name);
}

bool bdrv_bitmap_resume_fits(const BdrvBitmapResume *r,
                             BlockDriverState *target)
{
    BlockDriverState *next;

    if (!r->copied) {
        return false;
    }
    for (BlockDriverState *bs = target; bs; bs = next) {
        next = bdrv_backing_chain_next(bs);
        if (is_node(r, bs) ||
            (!next && is_closed_backing(r, bdrv_skip_filters(bs)))) {
            return true;
        }
    }
    return false;
}

/* --- for users --- */

int bdrv_bitmap_resume_percent(const BdrvBitmapResume *r)
{
    return r->total > 0 && r->copied >= 0
        ? MIN(r->copied, r->total) / (double)r->total * 100 : 0;
}

BlockDirtyResumable *bdrv_bitmap_resume_query(const BdrvBitmapResume *r)
{
    BlockDirtyResumable *info = g_new0(BlockDirtyResumable, 1);

    info->job_id = g_strdup(r->job_id);
    info->target = g_strdup(r->target);
    info->target_size = r->file_bytes;
    info->copied = r->copied;
    info->total = r->total;
    info->target_required = r->loaded;
    return info;
}
