/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a LUKS volume. */
#include "qemu/osdep.h"

#include "crypto/luks-int.h"

bool luks_create_options(const QCryptoBlockCreateOptionsLUKS *o,
                         LuksCreate *c, Error **errp)
{
    *c = (LuksCreate) {
        .spec = {
            .cipher = o->has_cipher_alg ? o->cipher_alg
                                        : QCRYPTO_CIPHER_ALG_AES_256,
            .mode = o->has_cipher_mode ? o->cipher_mode
                                       : QCRYPTO_CIPHER_MODE_XTS,
            .ivgen = o->has_ivgen_alg ? o->ivgen_alg
                                      : QCRYPTO_IVGEN_ALG_PLAIN64,
            .ivgen_hash = o->has_ivgen_hash_alg ? o->ivgen_hash_alg
                                                : QCRYPTO_HASH_ALG_SHA256,
        },
        .hash = o->has_hash_alg ? o->hash_alg : QCRYPTO_HASH_ALG_SHA256,
        .iter_time = o->has_iter_time ? o->iter_time : LUKS_ITER_TIME,
    };
    if (c->spec.ivgen != QCRYPTO_IVGEN_ALG_ESSIV) {
        c->spec.ivgen_hash = 0; /* not in the header */
    }
    if (c->iter_time <= 0) {
        error_setg(errp, "iter-time must be greater than zero");
        return false;
    }
    return crypto_sectors_check(&c->spec, errp);
}

/* A random UUID, version 4. */
static void make_uuid(char *text)
{
    uint8_t u[16];

    crypto_random(u, sizeof(u));
    u[6] = (u[6] & 0x0f) | 0x40;
    u[8] = (u[8] & 0x3f) | 0x80;
    for (size_t i = 0; i < sizeof(u); i++) {
        text += sprintf(text, i == 4 || i == 6 || i == 8 || i == 10
                        ? "-%02x" : "%02x", u[i]);
    }
}

/* All but the key's digest and the slots' passwords. */
static void init_header(const LuksCreate *c, LuksHeader *h)
{
    size_t area;

    memset(h, 0, sizeof(*h));
    h->spec = c->spec;
    h->hash = c->hash;
    h->key_bytes = crypto_cipher_key_bytes(c->spec.cipher, c->spec.mode);
    h->payload_sector = luks_payload_offset(h->key_bytes) / CRYPTO_SECTOR;
    area = (luks_payload_offset(h->key_bytes) - LUKS_ALIGN) / LUKS_SLOTS;
    make_uuid(h->uuid);
    for (int i = 0; i < LUKS_SLOTS; i++) {
        h->slots[i].sector = (LUKS_ALIGN + i * area) / CRYPTO_SECTOR;
    }
}

static int coroutine_fn write_header(const LuksHeader *h, const LuksIO *io,
                                     Error **errp)
{
    uint8_t raw[LUKS_HEADER_BYTES];
    int ret;

    luks_header_encode(h, raw);
    ret = io->write(io->opaque, 0, sizeof(raw), raw);
    ret = ret < 0 ? ret : io->flush(io->opaque);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Unable to write LUKS header");
    }
    return MIN(ret, 0);
}

int coroutine_fn luks_create(const LuksCreate *c, const LuksIO *io,
                             const char *password, size_t password_bytes,
                             LuksWork *work, LuksHeader *h, Error **errp)
{
    uint8_t key[CRYPTO_KEY_MAX];
    int ret;

    init_header(c, h);
    crypto_random(key, sizeof(key));
    ret = luks_set_digest(h, key, c->iter_time, work, errp);
    if (ret == 0) {
        ret = write_header(h, io, errp);
    }
    if (ret == 0) {
        ret = luks_store_key(h, io, 0, key, password, password_bytes,
                             c->iter_time, work, errp);
    }
    explicit_bzero(key, sizeof(key));
    return ret;
}
