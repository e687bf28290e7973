/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * luks: encrypted disks (crypto/luks.h has the format).
 *
 *     header | key material | the disk, each sector encrypted
 *
 * Data is decrypted in the buffers of the reader, and encrypted to a buffer of
 * this driver, as a guest may look at its own while they are written.
 */
#include "qemu/osdep.h"
#include "block/create-file.h"
#include "block/encrypted.h"
#include "block/graph.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "qapi/qapi-types-block-image.h"
#include "qemu/coroutine.h"

typedef struct LuksState {
    EncryptedArea area;     /* the whole file */
    LuksHeader header;      /* slots: changed under amend_lock */
    CryptoSectors *sectors; /* NULL: opened without the key */
    int64_t payload;        /* offset of the disk */
    LuksWork work;
    CoMutex amend_lock;
} LuksState;

/* --- opening --- */

/* The password that option `key-secret` names; NULL with @errp. */
static char *get_password(const char *secret, size_t *bytes, Error **errp)
{
    if (!secret) {
        error_setg(errp, "Parameter 'key-secret' is required for cipher");
        return NULL;
    }
    return crypto_secret_get_password(secret, bytes, errp);
}

static int coroutine_fn unlock(LuksState *s, const char *secret, Error **errp)
{
    LuksIO io = encrypted_luks_io(&s->area);
    uint8_t key[CRYPTO_KEY_MAX];
    size_t bytes;
    char *password = get_password(secret, &bytes, errp);
    int ret;

    if (!password) {
        return -EINVAL;
    }
    ret = luks_unlock(&s->header, &io, password, bytes, &s->work, key, errp);
    if (ret >= 0) {
        s->sectors = crypto_sectors_new(&s->header.spec, key);
    }
    explicit_bzero(key, sizeof(key));
    crypto_password_free(password, bytes);
    return MIN(ret, 0);
}

typedef struct OpenCall {
    BlockDriverState *bs;
    const char *secret;
    bool locked; /* without the key */
    int ret;
    Error **errp;
} OpenCall;

static void coroutine_fn open_entry(void *opaque)
{
    OpenCall *call = opaque;
    LuksState *s = call->bs->opaque;
    LuksIO io = encrypted_luks_io(&s->area);

    call->ret = luks_header_read(&io, &s->header, call->errp);
    if (call->ret == 0 && !call->locked) {
        call->ret = unlock(s, call->secret, call->errp);
    }
}

static int luks_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    LuksState *s = bs->opaque;
    OpenCall call = {
        .bs = bs,
        .secret = options->u.luks.key_secret,
        .locked = flags & BDRV_O_NO_IO,
        .errp = errp,
    };

    if (!bdrv_open_child(bs, options->u.luks.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    co_mutex_init(&s->amend_lock);
    s->area = (EncryptedArea) { .child = bs->file, .bytes = INT64_MAX };
    aio_run_co(bs->file->bs->ctx, open_entry, &call);
    if (call.ret < 0) {
        return call.ret;
    }
    s->payload = (int64_t)s->header.payload_sector * CRYPTO_SECTOR;
    s->work.cancelled = false; /* it was in time */
    bs->encrypted = true;
    return 0;
}

static void luks_close(BlockDriverState *bs)
{
    LuksState *s = bs->opaque;

    crypto_sectors_free(s->sectors);
}

/* Only opening and changing keys take long without the storage. */
static void luks_cancel_in_flight(BlockDriverState *bs, Coroutine *co)
{
    LuksState *s = bs->opaque;

    luks_cancel(&s->work);
}

static void luks_refresh_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = MAX(bs->bl.request_alignment, CRYPTO_SECTOR);
}

/* --- requests --- */

static int coroutine_fn luks_co_preadv(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset,
                                       BdrvRequestFlags flags)
{
    LuksState *s = bs->opaque;

    if (!s->sectors) {
        return -EACCES;
    }
    return encrypted_co_preadv(bs->file, s->payload + offset, s->sectors,
                               offset / CRYPTO_SECTOR, qiov, qiov_offset,
                               bytes);
}

static int coroutine_fn luks_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset,
                                        BdrvRequestFlags flags)
{
    LuksState *s = bs->opaque;

    if (!s->sectors) {
        return -EACCES;
    }
    return encrypted_co_pwritev(bs->file, s->payload + offset, s->sectors,
                                offset / CRYPTO_SECTOR, qiov, qiov_offset,
                                bytes, flags);
}

static int coroutine_fn luks_co_truncate(BlockDriverState *bs, int64_t offset,
                                         bool exact, PreallocMode prealloc,
                                         BdrvRequestFlags flags, Error **errp)
{
    LuksState *s = bs->opaque;

    if (offset > BDRV_MAX_LENGTH - s->payload) {
        error_setg(errp, "The requested file size is too large");
        return -EFBIG;
    }
    if (flags & BDRV_REQ_ZERO_WRITE) {
        return -ENOTSUP; /* zeroes in the file are not zeroes of the disk */
    }
    return bdrv_co_truncate(bs->file, offset + s->payload, exact, prealloc, 0,
                            errp);
}

/* A last sector that is not whole is one. */
static int64_t luks_getlength(BlockDriverState *bs)
{
    LuksState *s = bs->opaque;
    int64_t bytes = bs->file->bs->total_bytes;

    return bytes < s->payload
        ? -EIO : ROUND_UP(bytes - s->payload, CRYPTO_SECTOR);
}

/* --- information --- */

static int luks_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    return 0; /* no clusters, and nothing that could be dirty */
}

static ImageInfoSpecific *luks_get_specific_info(BlockDriverState *bs,
                                                 Error **errp)
{
    LuksState *s = bs->opaque;
    ImageInfoSpecific *info = g_new0(ImageInfoSpecific, 1);

    info->type = IMAGE_INFO_SPECIFIC_KIND_LUKS;
    info->u.luks.data = luks_header_info(&s->header);
    return info;
}

static BlockMeasureInfo *luks_measure(const BlockdevCreateOptions *options,
                                      BlockDriverState *in_bs, Error **errp)
{
    const BlockdevCreateOptionsLUKS *o = &options->u.luks;
    int64_t size = in_bs ? bdrv_getlength(in_bs) : (int64_t)o->size;
    LuksCreate c;
    BlockMeasureInfo *info;
    uint64_t payload;

    if (size < 0) {
        error_setg_errno(errp, -size, "Unable to get image virtual_size");
        return NULL;
    }
    if (!o->key_secret) {
        error_setg(errp, "Parameter 'key-secret' is required for cipher");
        return NULL;
    }
    if (!luks_create_options(qapi_BlockdevCreateOptionsLUKS_base(o), &c,
                             errp)) {
        return NULL;
    }
    payload = luks_payload_offset(crypto_cipher_key_bytes(c.spec.cipher,
                                                          c.spec.mode));
    if (size > BDRV_MAX_LENGTH - (int64_t)payload) {
        error_setg(errp, "The image size is too large");
        return NULL;
    }
    info = g_new0(BlockMeasureInfo, 1);
    info->required = ROUND_UP(size, CRYPTO_SECTOR) + payload;
    info->fully_allocated = info->required;
    return info;
}

/* --- keys --- */

static int coroutine_fn luks_co_amend(BlockDriverState *bs,
                                      const BdrvAmend *amend, Error **errp)
{
    LuksState *s = bs->opaque;
    LuksIO io = encrypted_luks_io(&s->area);

    if (!amend->luks) {
        return 0;
    }
    CO_MUTEX_GUARD(&s->amend_lock);
    s->work.cancelled = false;
    return luks_amend(&s->header, &io, amend->luks,
                      bs->options->u.luks.key_secret, amend->force, &s->work,
                      errp);
}

/* --- creating --- */

typedef struct LuksCreateCall {
    const BlockdevCreateOptionsLUKS *o;
    LuksCreate create;
    char *password;
    size_t password_bytes;
} LuksCreateCall;

static int coroutine_fn luks_write_image(BdrvChild *file, void *opaque,
                                         Error **errp)
{
    LuksCreateCall *c = opaque;
    const BlockdevCreateOptionsLUKS *o = c->o;
    int64_t payload = luks_payload_offset(
        crypto_cipher_key_bytes(c->create.spec.cipher, c->create.spec.mode));
    EncryptedArea area = { .child = file, .bytes = payload };
    LuksIO io = encrypted_luks_io(&area);
    PreallocMode prealloc = o->has_preallocation ? o->preallocation
                                                 : PREALLOC_MODE_OFF;
    LuksWork work = { 0 };
    LuksHeader header;
    int ret;

    if (o->size > (uint64_t)(BDRV_MAX_LENGTH - payload)) {
        error_setg(errp, "The requested file size is too large");
        return -EFBIG;
    }
    if (prealloc == PREALLOC_MODE_METADATA) {
        prealloc = PREALLOC_MODE_OFF; /* the header, which is always there */
    }
    ret = bdrv_create_empty(file, errp);
    if (ret == 0) {
        ret = bdrv_co_truncate(file, o->size + payload, false, prealloc, 0,
                               errp);
    }
    if (ret == 0) {
        ret = luks_create(&c->create, &io, c->password, c->password_bytes,
                          &work, &header, errp);
    }
    return ret;
}

static int coroutine_fn luks_co_create(BlockdevCreateOptions *options,
                                       Error **errp)
{
    const BlockdevCreateOptionsLUKS *o = &options->u.luks;
    LuksCreateCall c = { .o = o };
    int ret;

    if (!luks_create_options(qapi_BlockdevCreateOptionsLUKS_base(o),
                             &c.create, errp)) {
        return -EINVAL;
    }
    c.password = get_password(o->key_secret, &c.password_bytes, errp);
    if (!c.password) {
        return -EINVAL;
    }
    ret = bdrv_create_in_file(o->file, "luks", luks_write_image, &c, errp);
    crypto_password_free(c.password, c.password_bytes);
    return ret;
}

extern const BlockDriver bdrv_luks;

const BlockDriver bdrv_luks = {
    .format_name = "luks",
    .instance_size = sizeof(LuksState),
    .is_format = true,
    /* The gate of the child emulates flags that its driver lacks. */
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .open = luks_open,
    .close = luks_close,
    .co_create = luks_co_create,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .refresh_limits = luks_refresh_limits,
    .cancel_in_flight = luks_cancel_in_flight,
    .co_preadv = luks_co_preadv,
    .co_pwritev = luks_co_pwritev,
    .co_truncate = luks_co_truncate,
    .getlength = luks_getlength,
    .get_info = luks_get_info,
    .get_specific_info = luks_get_specific_info,
    .measure = luks_measure,
    .co_amend = luks_co_amend,
};
