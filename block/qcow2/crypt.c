/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encrypted images: opening, data, keys, making. */
#include "qemu/osdep.h"

#include "block/qcow2/crypt-int.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "qapi/qapi-types-block-image.h"

#define AES_KEY_BYTES 16

/* The old method: the key is the begin of the password. */
static const CryptoSectorsSpec aes_spec = {
    .cipher = QCRYPTO_CIPHER_ALG_AES_128,
    .mode = QCRYPTO_CIPHER_MODE_CBC,
    .ivgen = QCRYPTO_IVGEN_ALG_PLAIN64,
};

/* --- options --- */

static const char *key_secret(const BlockdevQcow2Encryption *o)
{
    if (!o) {
        return NULL;
    }
    return o->format == BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_AES
        ? o->u.aes.key_secret : o->u.luks.key_secret;
}

/* Do the options say the method of the header, if they say any? */
static bool check_format(const Qcow2State *s, const BlockdevQcow2Encryption *o,
                         Error **errp)
{
    BlockdevQcow2EncryptionFormat format = s->crypt_method == QCOW2_CRYPT_AES
        ? BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_AES
        : BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_LUKS;

    if (o && !s->crypt_method) {
        error_setg(errp, "No encryption in image header, but options "
                   "specified format '%s'",
                   BlockdevQcow2EncryptionFormat_str(o->format));
        return false;
    }
    if (o && o->format != format) {
        error_setg(errp, "Header reported '%s' encryption format but options "
                   "specify '%s'", BlockdevQcow2EncryptionFormat_str(format),
                   BlockdevQcow2EncryptionFormat_str(o->format));
        return false;
    }
    return true;
}

static char *get_password(const char *secret, size_t *bytes, Error **errp)
{
    if (!secret) {
        error_setg(errp, "Parameter 'encrypt.key-secret' is required for "
                   "cipher");
        return NULL;
    }
    return crypto_secret_get_password(secret, bytes, errp);
}

/* --- opening --- */

static void unlock_aes(Qcow2Crypt *c, const char *password, size_t bytes)
{
    uint8_t key[AES_KEY_BYTES] = { 0 };

    memcpy(key, password, MIN(bytes, sizeof(key)));
    c->sectors = crypto_sectors_new(&aes_spec, key);
    explicit_bzero(key, sizeof(key));
}

static int coroutine_fn unlock_luks(Qcow2Crypt *c, const char *password,
                                    size_t bytes, Error **errp)
{
    LuksIO io = encrypted_luks_io(&c->area);
    uint8_t key[CRYPTO_KEY_MAX];
    int ret = luks_unlock(&c->luks, &io, password, bytes, &c->work, key,
                          errp);

    if (ret >= 0) {
        c->sectors = crypto_sectors_new(&c->luks.spec, key);
    }
    explicit_bzero(key, sizeof(key));
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
    Qcow2State *s = call->bs->opaque;
    Qcow2Crypt *c = s->crypt;
    LuksIO io = encrypted_luks_io(&c->area);
    char *password;
    size_t bytes;

    if (s->crypt_method == QCOW2_CRYPT_LUKS) {
        call->ret = luks_header_read(&io, &c->luks, call->errp);
    }
    if (call->ret < 0 || call->locked) {
        return;
    }
    password = get_password(call->secret, &bytes, call->errp);
    if (!password) {
        call->ret = -EINVAL;
        return;
    }
    if (s->crypt_method == QCOW2_CRYPT_AES) {
        unlock_aes(c, password, bytes);
    } else {
        call->ret = unlock_luks(c, password, bytes, call->errp);
    }
    crypto_password_free(password, bytes);
}

bool qcow2_crypt_open(BlockDriverState *bs, const BlockdevOptionsQcow2 *o,
                      int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    OpenCall call = {
        .bs = bs,
        .secret = key_secret(o->encrypt),
        .locked = flags & BDRV_O_NO_IO,
        .errp = errp,
    };

    if (!check_format(s, o->encrypt, errp)) {
        return false;
    }
    if (!s->crypt_method) {
        return true;
    }
    if (s->crypt_method == QCOW2_CRYPT_LUKS && !s->crypt_offset) {
        error_setg(errp, "Missing CRYPTO header for crypt method %" PRIu32,
                   s->crypt_method);
        return false;
    }
    s->crypt = g_new0(Qcow2Crypt, 1);
    s->crypt->area = (EncryptedArea) { bs->file, s->crypt_offset,
                                       s->crypt_bytes };
    co_mutex_init(&s->crypt->amend_lock);
    aio_run_co(bs->file->bs->ctx, open_entry, &call);
    s->crypt->work.cancelled = false; /* what ended was in time */
    bs->encrypted = call.ret >= 0;
    return call.ret >= 0;
}

void qcow2_crypt_close(Qcow2State *s)
{
    if (s->crypt) {
        crypto_sectors_free(s->crypt->sectors);
        g_clear_pointer(&s->crypt, g_free);
    }
}

void qcow2_crypt_cancel(BlockDriverState *bs, Coroutine *co)
{
    Qcow2State *s = bs->opaque;

    if (s->crypt) {
        luks_cancel(&s->crypt->work);
    }
}

/* --- data --- */

static uint64_t sector_of(const Qcow2State *s, uint64_t host, int64_t guest)
{
    return (s->crypt_method == QCOW2_CRYPT_AES ? (uint64_t)guest : host) /
           CRYPTO_SECTOR;
}

int coroutine_fn qcow2_crypt_preadv(BlockDriverState *bs, uint64_t host,
                                    int64_t guest, int64_t bytes,
                                    QEMUIOVector *qiov, size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;

    if (!s->crypt->sectors) {
        return -EACCES;
    }
    return encrypted_co_preadv(s->data, host, s->crypt->sectors,
                               sector_of(s, host, guest), qiov, qiov_offset,
                               bytes);
}

int coroutine_fn qcow2_crypt_pwritev(BlockDriverState *bs, uint64_t host,
                                     int64_t guest, int64_t bytes,
                                     QEMUIOVector *qiov, size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;

    if (!s->crypt->sectors) {
        return -EACCES;
    }
    return encrypted_co_pwritev(s->data, host, s->crypt->sectors,
                                sector_of(s, host, guest), qiov, qiov_offset,
                                bytes, 0);
}

int coroutine_fn qcow2_crypt_encrypt(BlockDriverState *bs, uint64_t host,
                                     int64_t guest, size_t bytes,
                                     uint8_t *buf)
{
    Qcow2State *s = bs->opaque;
    QEMUIOVector qiov;

    if (!s->crypt->sectors) {
        return -EACCES;
    }
    qemu_iovec_init_buf(&qiov, buf, bytes);
    encrypted_co_encrypt(s->crypt->sectors, sector_of(s, host, guest), &qiov,
                         0, bytes, buf);
    return 0;
}

/* --- keys and information --- */

int coroutine_fn qcow2_crypt_amend(BlockDriverState *bs,
                                   const BdrvAmend *amend, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Crypt *c = s->crypt;
    LuksIO io;

    if (s->crypt_method != QCOW2_CRYPT_LUKS) {
        error_setg(errp, "Only LUKS encryption options can be amended");
        return -ENOTSUP;
    }
    io = encrypted_luks_io(&c->area);
    CO_MUTEX_GUARD(&c->amend_lock);
    c->work.cancelled = false;
    return luks_amend(&c->luks, &io, amend->luks,
                      key_secret(bs->options->u.qcow2.encrypt), amend->force,
                      &c->work, errp);
}

ImageInfoSpecificQCow2Encryption *qcow2_crypt_info(const Qcow2State *s)
{
    ImageInfoSpecificQCow2Encryption *info =
        g_new0(ImageInfoSpecificQCow2Encryption, 1);

    if (s->crypt_method == QCOW2_CRYPT_LUKS) {
        QCryptoBlockInfoLUKS *luks = luks_header_info(&s->crypt->luks);

        info->format = BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_LUKS;
        info->u.luks = *luks;
        g_free(luks);
    } else {
        info->format = BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_AES;
    }
    return info;
}

/* --- new images --- */

bool qcow2_crypt_create_options(const QCryptoBlockCreateOptions *o,
                                bool with_password, Qcow2CryptCreate *c,
                                Error **errp)
{
    bool luks = o && o->format == QCRYPTO_BLOCK_FORMAT_LUKS;
    const char *secret = !o ? NULL
        : luks ? o->u.luks.key_secret : o->u.qcow.key_secret;

    memset(c, 0, sizeof(*c));
    if (!o) {
        return true;
    }
    c->method = luks ? QCOW2_CRYPT_LUKS : QCOW2_CRYPT_AES;
    if (luks) {
        if (!luks_create_options(&o->u.luks, &c->luks, errp)) {
            return false;
        }
        c->bytes = luks_payload_offset(
            crypto_cipher_key_bytes(c->luks.spec.cipher, c->luks.spec.mode));
    }
    if (with_password) {
        c->password = get_password(secret, &c->password_bytes, errp);
        return c->password != NULL;
    }
    if (luks && !secret) {
        error_setg(errp, "Parameter 'encrypt.key-secret' is required for "
                   "cipher");
        return false;
    }
    return true;
}

void qcow2_crypt_create_free(Qcow2CryptCreate *c)
{
    crypto_password_free(g_steal_pointer(&c->password), c->password_bytes);
}

int coroutine_fn qcow2_crypt_create(const Qcow2CryptCreate *c,
                                    BdrvChild *file, uint64_t offset,
                                    Error **errp)
{
    EncryptedArea area = { file, offset, c->bytes };
    LuksIO io = encrypted_luks_io(&area);
    LuksWork work = { 0 };
    LuksHeader h;

    return luks_create(&c->luks, &io, c->password, c->password_bytes, &work,
                       &h, errp);
}
