/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the version of an image that exists, and its lazy refcounts. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* The header changes in one write, after all that it relies on. */
static int coroutine_fn store_header(BlockDriverState *bs)
{
    int ret = qcow2_flush_file(bs);

    if (ret == 0) {
        ret = qcow2_update_header(bs);
    }
    return ret < 0 ? ret : qcow2_flush_file(bs);
}

static int coroutine_fn set_version(BlockDriverState *bs, uint32_t version)
{
    Qcow2State *s = bs->opaque;
    uint32_t old_version = s->version;
    uint64_t compatible = s->compatible, autoclear = s->autoclear;
    int ret;

    s->version = version;
    if (version < 3) {
        s->compatible = s->autoclear = 0;
    }
    ret = store_header(bs);
    if (ret < 0) {
        s->version = old_version;
        s->compatible = compatible;
        s->autoclear = autoclear;
        /* The header may say version 2, which has no zero clusters. */
        s->broken |= version < old_version && store_header(bs) < 0;
    } else if (version < 3) {
        s->lazy_refcounts = false;
    }
    return ret;
}

static int coroutine_fn set_lazy(BlockDriverState *bs, bool on)
{
    Qcow2State *s = bs->opaque;
    uint64_t old = s->compatible;
    int ret = on ? 0 : qcow2_make_clean(bs);

    if (ret == 0) {
        s->compatible = on ? old | QCOW2_COMPAT_LAZY
                           : old & ~(uint64_t)QCOW2_COMPAT_LAZY;
        ret = s->compatible == old ? 0 : store_header(bs);
    }
    if (ret < 0) {
        s->compatible = old;
    } else {
        s->lazy_refcounts = on;
    }
    return ret;
}

/*
 * Another name of the external data file, or the file is no raw image of the
 * disk any more.
 */
static int coroutine_fn set_data_file(BlockDriverState *bs,
                                      const BdrvAmend *amend)
{
    Qcow2State *s = bs->opaque;
    g_autofree char *old = s->data_name;
    bool old_raw = s->data_raw;
    int ret;

    s->data_name = g_strdup(amend->data_file ? amend->data_file : old);
    s->data_raw &= !amend->has_data_file_raw;
    ret = store_header(bs);
    if (ret < 0) {
        g_free(s->data_name);
        s->data_name = g_steal_pointer(&old);
        s->data_raw = old_raw;
    }
    return ret;
}

static bool check_data_file(const BlockDriverState *bs,
                            const BdrvAmend *amend, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    g_autofree char *path = amend->data_file
        ? bdrv_make_absolute_filename(bs->file->bs->filename, amend->data_file)
        : NULL;

    if (path && *amend->data_file && qcow2_is_own_file(bs, path)) {
        error_setg(errp, "The data file must be another file than the image");
        return false;
    }
    if (amend->data_file && !s->external) {
        error_setg(errp, "data-file can only be set for images that use an "
                   "external data file");
    } else if (amend->data_file && strlen(amend->data_file) >
               QCOW2_MAX_BACKING_NAME) {
        error_setg(errp, "The name of the data file is longer than %d bytes",
                   QCOW2_MAX_BACKING_NAME);
    } else if (amend->data_file_raw) {
        error_setg(errp, "data-file-raw cannot be set on existing images");
    } else {
        return true;
    }
    return false;
}

static bool check_amend(BlockDriverState *bs, const BdrvAmend *amend,
                        Error **errp)
{
    const Qcow2State *s = bs->opaque;
    uint32_t version = amend->version ? amend->version : s->version;
    unsigned bits = amend->refcount_bits ? amend->refcount_bits
                                         : s->refcount_bits;

    if (bits > 64 || !is_power_of_2(bits)) {
        error_setg(errp, "Refcount width must be a power of two and may not "
                   "exceed 64 bits");
    } else if (amend->lazy_refcounts == 1 && version < 3) {
        error_setg(errp, "Lazy refcounts only supported with compatibility "
                   "level 1.1 and above (use compat=1.1 or greater)");
    } else if (amend->refcount_bits && bits != 16 && version < 3) {
        error_setg(errp, "Refcount widths other than 16 bits require "
                   "compatibility level 1.1 or above (use compat=1.1 or "
                   "greater)");
    } else {
        return check_data_file(bs, amend, errp) &&
               (version >= s->version || qcow2_check_downgrade(bs, bits, errp));
    }
    return false;
}

/* Before the version becomes 2, or after it has become 3. */
static bool coroutine_fn set_width(BlockDriverState *bs,
                                   const BdrvAmend *amend, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    return !amend->refcount_bits ||
           amend->refcount_bits == s->refcount_bits ||
           qcow2_set_refcount_order(bs, ctz64(amend->refcount_bits),
                                    errp) == 0;
}

int coroutine_fn qcow2_co_amend(BlockDriverState *bs, const BdrvAmend *amend,
                                Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint32_t version = amend->version ? amend->version : s->version;
    int ret = 0;

    if (!check_amend(bs, amend, errp)) {
        return -ENOTSUP;
    }
    if (amend->luks) {
        ret = qcow2_crypt_amend(bs, amend, errp);
        if (ret < 0) {
            return ret;
        }
    }
    co_mutex_lock(&s->lock);
    if (version < s->version) {
        ret = qcow2_expand_zeroes(bs);
    }
    if (ret >= 0 && version < s->version) {
        ret = qcow2_make_clean(bs);
    }
    if (ret >= 0 && version < s->version && !set_width(bs, amend, errp)) {
        co_mutex_unlock(&s->lock);
        return -EIO;
    }
    if (ret >= 0 && version != s->version) {
        ret = set_version(bs, version);
    }
    if (ret >= 0 && version >= 3 && amend->lazy_refcounts >= 0) {
        ret = set_lazy(bs, amend->lazy_refcounts);
    }
    if (ret >= 0 && s->external &&
        (amend->data_file || (s->data_raw && amend->has_data_file_raw))) {
        ret = set_data_file(bs, amend);
    }
    if (ret >= 0 && !set_width(bs, amend, errp)) {
        co_mutex_unlock(&s->lock);
        return -EIO;
    }
    co_mutex_unlock(&s->lock);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to change the header");
    }
    return ret < 0 ? ret : 0;
}
