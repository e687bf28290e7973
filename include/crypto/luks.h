/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS, version 1: the header of an encrypted volume and the keys in it.  The
 * volume may be a file, or an area of one (qcow2).
 *
 *     header (592 bytes) | key material of 8 slots | payload
 *
 * A slot has the volume's key, split into many parts that are all needed to
 * restore it and encrypted by a key that is derived from a password.  All
 * numbers are big-endian.
 *
 * Source: LUKS On-Disk Format Specification, version 1.2.3.
 */
#ifndef CRYPTO_LUKS_H
#define CRYPTO_LUKS_H

#include "crypto/cipher.h"
#include "qemu/aio.h"

#define LUKS_SLOTS 8
#define LUKS_HEADER_BYTES 592
#define LUKS_SALT_BYTES 32
#define LUKS_DIGEST_BYTES 20
#define LUKS_UUID_BYTES 40
/* The parts of a key; the only number in use. */
#define LUKS_STRIPES 4000
/* What a new key takes to derive if nothing is said, in milliseconds. */
#define LUKS_ITER_TIME 2000

typedef struct LuksSlot {
    bool active;
    uint32_t iterations;
    uint8_t salt[LUKS_SALT_BYTES];
    uint32_t sector; /* of the key material */
} LuksSlot;

typedef struct LuksHeader {
    CryptoSectorsSpec spec;
    QCryptoHashAlgorithm hash;
    uint32_t payload_sector;
    uint32_t key_bytes;
    uint8_t digest[LUKS_DIGEST_BYTES]; /* of the key */
    uint8_t salt[LUKS_SALT_BYTES];
    uint32_t iterations;
    char uuid[LUKS_UUID_BYTES + 1];
    LuksSlot slots[LUKS_SLOTS];
} LuksHeader;

/* The volume.  The functions return 0 or -errno. */
typedef struct LuksIO {
    int coroutine_fn (*read)(void *opaque, uint64_t offset, size_t bytes,
                             void *buf);
    int coroutine_fn (*write)(void *opaque, uint64_t offset, size_t bytes,
                              const void *buf);
    int coroutine_fn (*flush)(void *opaque);
    void *opaque;
} LuksIO;

/* What takes long and can be given up; zeroed. */
typedef struct LuksWork {
    ThreadPoolWait wait;
    struct LuksJob *job; /* NULL: none is running */
    bool cancelled;      /* all that is begun fails, until this is cleared */
} LuksWork;

/* What is running fails at once with -ECANCELED, and what begins later. */
void luks_cancel(LuksWork *work);

/* --- the header --- */

/*
 * Pure: checks all that depends on nothing but the header.  @raw:
 * LUKS_HEADER_BYTES.
 */
bool luks_header_parse(const uint8_t *raw, LuksHeader *h, Error **errp);
void luks_header_encode(const LuksHeader *h, uint8_t *raw);
/* The header, then luks_header_parse(). */
int coroutine_fn luks_header_read(const LuksIO *io, LuksHeader *h,
                                  Error **errp);
QCryptoBlockInfoLUKS *luks_header_info(const LuksHeader *h);
/* Bytes of the payload's begin in a volume of such keys. */
uint64_t luks_payload_offset(size_t key_bytes);

/* --- keys --- */

/*
 * Finds a slot that @password opens.  @key: h->key_bytes, to be erased by the
 * caller.  The number of the slot, or -errno: -EACCES if there is none.
 */
int coroutine_fn luks_unlock(const LuksHeader *h, const LuksIO *io,
                             const char *password, size_t password_bytes,
                             LuksWork *work, uint8_t *key, Error **errp);
/*
 * Puts @key into @slot, and only then makes it active, in @h too.  @iter_time:
 * milliseconds.  0 or -errno.
 */
int coroutine_fn luks_store_key(LuksHeader *h, const LuksIO *io, int slot,
                                const uint8_t *key, const char *password,
                                size_t password_bytes, int64_t iter_time,
                                LuksWork *work, Error **errp);
/* Makes @slot inactive, and then overwrites what was in it.  0 or -errno. */
int coroutine_fn luks_erase_key(LuksHeader *h, const LuksIO *io, int slot,
                                Error **errp);
/*
 * A change of the slots as clients describe it.  @password: one that opens the
 * volume, to get its key.  @force: allow what makes the content unreadable.
 */
int coroutine_fn luks_amend(LuksHeader *h, const LuksIO *io,
                            const QCryptoBlockAmendOptionsLUKS *o,
                            const char *key_secret, bool force,
                            LuksWork *work, Error **errp);

/* --- making a volume --- */

/* A volume that is to be made; the options with their defaults. */
typedef struct LuksCreate {
    CryptoSectorsSpec spec;
    QCryptoHashAlgorithm hash;
    int64_t iter_time; /* milliseconds */
} LuksCreate;

/* Checks @o, except for its secret. */
bool luks_create_options(const QCryptoBlockCreateOptionsLUKS *o,
                         LuksCreate *c, Error **errp);
/* Writes header and first slot; durable when it returns.  0 or -errno. */
int coroutine_fn luks_create(const LuksCreate *c, const LuksIO *io,
                             const char *password, size_t password_bytes,
                             LuksWork *work, LuksHeader *h, Error **errp);

#endif
