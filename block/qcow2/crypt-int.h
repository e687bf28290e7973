/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: encrypted images (crypt.c).
 *
 * Data clusters are encrypted, compressed ones and metadata are not.  There are
 * two methods.  AES, which is old and weak, has the password itself as its key
 * and the guest's sector as the initialisation vector.  LUKS has a volume of
 * its own in the image, without a payload (crypto/luks.h), and the sector of
 * the file as the vector.
 */
#ifndef QCOW2_CRYPT_INT_H
#define QCOW2_CRYPT_INT_H

#include "block/encrypted.h"
#include "block/qcow2/qcow2-int.h"

typedef struct ImageInfoSpecificQCow2Encryption
    ImageInfoSpecificQCow2Encryption;
typedef struct QCryptoBlockCreateOptions QCryptoBlockCreateOptions;

struct Qcow2Crypt {
    EncryptedArea area;     /* LUKS: its volume */
    LuksHeader luks;        /* slots: changed under amend_lock */
    CryptoSectors *sectors; /* NULL: opened without the key */
    LuksWork work;
    CoMutex amend_lock;
};

/* Opens the encryption that the header says, if any.  @flags: BDRV_O_*; with
 * NO_IO without a key. */
bool qcow2_crypt_open(BlockDriverState *bs, const BlockdevOptionsQcow2 *o,
                      int flags, Error **errp);
void qcow2_crypt_close(Qcow2State *s);
/* Those that take long without the storage are given up. */
void qcow2_crypt_cancel(BlockDriverState *bs, Coroutine *co);

/*
 * Data of clusters of an encrypted image: at @host of the file, which is @guest
 * of the disk.  All are whole sectors.
 */
int coroutine_fn qcow2_crypt_preadv(BlockDriverState *bs, uint64_t host,
                                    int64_t guest, int64_t bytes,
                                    QEMUIOVector *qiov, size_t qiov_offset);
int coroutine_fn qcow2_crypt_pwritev(BlockDriverState *bs, uint64_t host,
                                     int64_t guest, int64_t bytes,
                                     QEMUIOVector *qiov, size_t qiov_offset);
/* Encrypts such data in @buf, which the caller writes. */
int coroutine_fn qcow2_crypt_encrypt(BlockDriverState *bs, uint64_t host,
                                     int64_t guest, size_t bytes,
                                     uint8_t *buf);

int coroutine_fn qcow2_crypt_amend(BlockDriverState *bs,
                                   const BdrvAmend *amend, Error **errp);
/* The caller frees it. */
ImageInfoSpecificQCow2Encryption *qcow2_crypt_info(const Qcow2State *s);

/* --- new images --- */

/* The encryption of an image that is to be made. */
typedef struct Qcow2CryptCreate {
    uint32_t method;
    LuksCreate luks;
    uint64_t bytes;      /* of the volume; 0: there is none */
    char *password;      /* NULL: not wanted */
    size_t password_bytes;
} Qcow2CryptCreate;

/* Checks @o (NULL: no encryption); @with_password: gets it, too. */
bool qcow2_crypt_create_options(const QCryptoBlockCreateOptions *o,
                                bool with_password, Qcow2CryptCreate *c,
                                Error **errp);
void qcow2_crypt_create_free(Qcow2CryptCreate *c);
/* Writes the volume to [@offset, ...) of @file. */
int coroutine_fn qcow2_crypt_create(const Qcow2CryptCreate *c,
                                    BdrvChild *file, uint64_t offset,
                                    Error **errp);

#endif
