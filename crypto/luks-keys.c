/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys of a LUKS volume: opening a slot, filling one, erasing one.
 *
 * Deriving a key from a password takes as long as the header demands, which may
 * be hours in a hostile one.  A worker thread does it, and whoever waits can
 * give up: what the worker uses is its own.
 */
#include "qemu/osdep.h"

#include "crypto/luks-int.h"

/* So often the material of an erased slot is overwritten. */
#define ERASE_PASSES 3

/* --- work for a thread --- */

/* What one job needs; it owns all of it. */
typedef struct LuksJob {
    int (*fn)(struct LuksJob *job);
    LuksHeader h;
    int slot;
    uint8_t *password;
    size_t password_bytes;
    uint8_t *key;      /* of the volume: h.key_bytes */
    uint8_t *material; /* of the slot: luks_material_bytes() */
    int64_t iter_time;
    bool stop;         /* set by the loop's thread */
} LuksJob;

static LuksJob *job_new(const LuksHeader *h, int slot, const char *password,
                        size_t password_bytes)
{
    LuksJob *job = g_new0(LuksJob, 1);

    job->h = *h;
    job->slot = slot;
    job->password = g_malloc(password_bytes + 1); /* never NULL */
    memcpy(job->password, password, password_bytes);
    job->password_bytes = password_bytes;
    job->key = g_malloc0(h->key_bytes);
    job->material = g_malloc0(luks_material_bytes(h->key_bytes));
    return job;
}

static void job_free(void *opaque)
{
    LuksJob *job = opaque;

    crypto_free(job->password, job->password_bytes);
    crypto_free(job->key, job->h.key_bytes);
    crypto_free(job->material, luks_material_bytes(job->h.key_bytes));
    crypto_free(job, sizeof(*job));
}

static int job_entry(void *opaque)
{
    LuksJob *job = opaque;

    return job->fn(job);
}

/* @job stays the caller's, unless it was given up: then *@job becomes NULL. */
static int coroutine_fn job_run(LuksJob **job, int (*fn)(LuksJob *job),
                                LuksWork *work)
{
    int ret;

    g_assert(!work->job);
    if (work->cancelled) {
        return -ECANCELED;
    }
    (*job)->fn = fn;
    work->job = *job;
    ret = thread_pool_co_run_cancellable(job_entry, *job, job_free,
                                         &work->wait);
    *job = g_steal_pointer(&work->job);
    return work->cancelled ? -ECANCELED : ret;
}

void luks_cancel(LuksWork *work)
{
    LuksJob *job = g_steal_pointer(&work->job);

    work->cancelled = true;
    if (job) {
        __atomic_store_n(&job->stop, true, __ATOMIC_RELAXED);
        /* If it is given up the coroutine may run at once, and finds none. */
        if (!thread_pool_cancel(&work->wait)) {
            work->job = job; /* the worker has finished: it is the caller's */
        }
    }
}

static void set_error(int ret, const char *what, Error **errp)
{
    if (ret == -ECANCELED) {
        error_setg(errp, "%s was cancelled", what);
    } else {
        error_setg_errno(errp, -ret, "%s failed", what);
    }
}

/* --- in a thread --- */

static int derive(const LuksJob *job, const uint8_t *secret,
                  size_t secret_bytes, const uint8_t *salt,
                  uint32_t iterations, uint8_t *out, size_t bytes)
{
    CryptoPbkdf p = {
        .hash = job->h.hash,
        .password = secret,
        .password_bytes = secret_bytes,
        .salt = salt,
        .salt_bytes = LUKS_SALT_BYTES,
        .iterations = iterations,
        .key = out,
        .key_bytes = bytes,
        .stop = &job->stop,
    };

    return crypto_pbkdf2(&p);
}

/* @digest: of job->key. */
static int digest_key(const LuksJob *job, uint8_t *digest)
{
    return derive(job, job->key, job->h.key_bytes, job->h.salt,
                  job->h.iterations, digest, LUKS_DIGEST_BYTES);
}

/* The cipher of the slot's material, which the password determines. */
static int slot_cipher(const LuksJob *job, CryptoSectors **sectors)
{
    const LuksSlot *slot = &job->h.slots[job->slot];
    uint8_t key[CRYPTO_KEY_MAX];
    int ret = derive(job, job->password, job->password_bytes, slot->salt,
                     slot->iterations, key, job->h.key_bytes);

    if (ret == 0) {
        *sectors = crypto_sectors_new(&job->h.spec, key);
    }
    explicit_bzero(key, sizeof(key));
    return ret;
}

/* job->material becomes job->key; 1: it is the volume's, 0: it is not. */
static int open_slot(LuksJob *job)
{
    g_autoptr(CryptoSectors) sectors = NULL;
    uint8_t digest[LUKS_DIGEST_BYTES];
    int ret = slot_cipher(job, &sectors);

    if (ret < 0) {
        return ret;
    }
    crypto_sectors_decrypt(sectors, 0, luks_material_bytes(job->h.key_bytes),
                           job->material, job->material);
    luks_af_merge(job->h.hash, job->material, job->h.key_bytes, job->key);
    ret = digest_key(job, digest);
    return ret < 0 ? ret : !memcmp(digest, job->h.digest, sizeof(digest));
}

/* job->key becomes job->material, by a new salt. */
static int fill_slot(LuksJob *job)
{
    g_autoptr(CryptoSectors) sectors = NULL;
    LuksSlot *slot = &job->h.slots[job->slot];
    uint64_t n = crypto_pbkdf2_iterations(job->h.hash, job->h.key_bytes,
                                          job->iter_time);
    int ret;

    if (n > UINT32_MAX) {
        return -ERANGE;
    }
    slot->iterations = MAX(n, LUKS_MIN_ITERATIONS);
    crypto_random(slot->salt, sizeof(slot->salt));
    ret = slot_cipher(job, &sectors);
    if (ret < 0) {
        return ret;
    }
    luks_af_split(job->h.hash, job->key, job->h.key_bytes, job->material);
    crypto_sectors_encrypt(sectors, 0, luks_material_bytes(job->h.key_bytes),
                           job->material, job->material);
    return 0;
}

/* The digest of job->key is for recognition only: an eighth of the time. */
static int make_digest(LuksJob *job)
{
    uint64_t n = crypto_pbkdf2_iterations(job->h.hash, LUKS_DIGEST_BYTES,
                                          job->iter_time) / 8;

    if (n > UINT32_MAX) {
        return -ERANGE;
    }
    job->h.iterations = MAX(n, LUKS_MIN_ITERATIONS);
    crypto_random(job->h.salt, sizeof(job->h.salt));
    return digest_key(job, job->h.digest);
}

/* --- opening --- */

static uint64_t slot_offset(const LuksHeader *h, int slot)
{
    return (uint64_t)h->slots[slot].sector * CRYPTO_SECTOR;
}

int coroutine_fn luks_try_slot(const LuksHeader *h, const LuksIO *io, int slot,
                               const char *password, size_t password_bytes,
                               LuksWork *work, uint8_t *key, Error **errp)
{
    LuksJob *job = job_new(h, slot, password, password_bytes);
    int ret = io->read(io->opaque, slot_offset(h, slot),
                       luks_material_bytes(h->key_bytes), job->material);

    if (ret < 0) {
        job_free(job);
        error_setg_errno(errp, -ret, "Failed to read key material");
        return ret;
    }
    ret = job_run(&job, open_slot, work);
    if (ret < 0) {
        set_error(ret, "Opening a keyslot", errp);
    } else if (ret > 0) {
        memcpy(key, job->key, h->key_bytes);
    }
    if (job) {
        job_free(job);
    }
    return ret;
}

int coroutine_fn luks_unlock(const LuksHeader *h, const LuksIO *io,
                             const char *password, size_t password_bytes,
                             LuksWork *work, uint8_t *key, Error **errp)
{
    for (int i = 0; i < LUKS_SLOTS; i++) {
        int ret = h->slots[i].active
            ? luks_try_slot(h, io, i, password, password_bytes, work, key,
                            errp)
            : 0;

        if (ret != 0) {
            return ret < 0 ? ret : i;
        }
    }
    error_setg(errp, "Invalid password, cannot unlock any keyslot");
    return -EACCES;
}

/* --- writing --- */

/*
 * Sectors are written as a whole or not; where a slot is in two, first that
 * with the end of its salt, then that with its state.
 */
int coroutine_fn luks_slot_write(const LuksHeader *h, const LuksIO *io,
                                 int slot, Error **errp)
{
    uint8_t raw[LUKS_HEADER_BYTES];
    uint64_t start = LUKS_AT_SLOTS + slot * LUKS_SLOT_BYTES;
    uint64_t end = start + LUKS_SLOT_BYTES;
    uint64_t border = CLAMP(CRYPTO_SECTOR, start, end);
    int ret = 0;

    luks_header_encode(h, raw);
    if (border < end) {
        ret = io->write(io->opaque, border, end - border, raw + border);
        ret = ret < 0 ? ret : io->flush(io->opaque);
    }
    if (ret >= 0 && border > start) {
        ret = io->write(io->opaque, start, border - start, raw + start);
        ret = ret < 0 ? ret : io->flush(io->opaque);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Unable to write keyslot %d", slot);
    }
    return MIN(ret, 0);
}

int coroutine_fn luks_set_digest(LuksHeader *h, const uint8_t *key,
                                 int64_t iter_time, LuksWork *work,
                                 Error **errp)
{
    LuksJob *job = job_new(h, 0, "", 0);
    int ret;

    job->iter_time = iter_time;
    memcpy(job->key, key, h->key_bytes);
    ret = job_run(&job, make_digest, work);
    if (ret < 0) {
        set_error(ret, "Deriving the digest of the key", errp);
    } else {
        *h = job->h;
    }
    if (job) {
        job_free(job);
    }
    return ret;
}

/* The material of the job's slot, durable. */
static int coroutine_fn write_material(const LuksJob *job, const LuksIO *io)
{
    int ret = io->write(io->opaque, slot_offset(&job->h, job->slot),
                        luks_material_bytes(job->h.key_bytes), job->material);

    return ret < 0 ? ret : io->flush(io->opaque);
}

int coroutine_fn luks_store_key(LuksHeader *h, const LuksIO *io, int slot,
                                const uint8_t *key, const char *password,
                                size_t password_bytes, int64_t iter_time,
                                LuksWork *work, Error **errp)
{
    LuksJob *job = job_new(h, slot, password, password_bytes);
    int ret;

    job->iter_time = iter_time;
    memcpy(job->key, key, h->key_bytes);
    ret = job_run(&job, fill_slot, work);
    if (ret < 0) {
        set_error(ret, "Deriving the key of a keyslot", errp);
        if (job) {
            job_free(job);
        }
        return ret;
    }
    ret = write_material(job, io);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to store key material");
    } else {
        job->h.slots[slot].active = true;
        ret = luks_slot_write(&job->h, io, slot, errp);
    }
    if (ret == 0) {
        h->slots[slot] = job->h.slots[slot];
    }
    job_free(job);
    return ret;
}

int coroutine_fn luks_erase_key(LuksHeader *h, const LuksIO *io, int slot,
                                Error **errp)
{
    size_t bytes = luks_material_bytes(h->key_bytes);
    g_autofree uint8_t *garbage = g_malloc(bytes);
    int ret;

    /* Without the salt in the header the material is worth nothing. */
    h->slots[slot].active = false;
    h->slots[slot].iterations = 0;
    memset(h->slots[slot].salt, 0, LUKS_SALT_BYTES);
    ret = luks_slot_write(h, io, slot, errp);
    for (int pass = 0; ret == 0 && pass < ERASE_PASSES; pass++) {
        crypto_random(garbage, bytes);
        ret = io->write(io->opaque, slot_offset(h, slot), bytes, garbage);
        ret = ret < 0 ? ret : io->flush(io->opaque);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Failed to erase key material");
        }
    }
    return MIN(ret, 0);
}
