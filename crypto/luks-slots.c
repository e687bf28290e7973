/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of the key slots of a LUKS volume, as clients describe them. */
#include "qemu/osdep.h"

#include "crypto/luks-int.h"
#include "crypto/secret.h"

/* One call of luks_amend(). */
typedef struct Amend {
    LuksHeader *h;
    const LuksIO *io;
    const QCryptoBlockAmendOptionsLUKS *o;
    const char *key_secret;
    bool force;
    LuksWork *work;
} Amend;

static int count_active(const LuksHeader *h)
{
    int n = 0;

    for (int i = 0; i < LUKS_SLOTS; i++) {
        n += h->slots[i].active;
    }
    return n;
}

static bool check_number(const Amend *a, Error **errp)
{
    if (a->o->has_keyslot &&
        (a->o->keyslot < 0 || a->o->keyslot >= LUKS_SLOTS)) {
        error_setg(errp, "Invalid keyslot %" PRId64 " specified, must be "
                   "between 0 and %d", a->o->keyslot, LUKS_SLOTS - 1);
        return false;
    }
    return true;
}

/* --- adding a key --- */

/* The slot to fill; -1 with @errp: there is none. */
static int slot_to_fill(const Amend *a, Error **errp)
{
    const LuksHeader *h = a->h;

    if (!a->o->has_keyslot) {
        for (int i = 0; i < LUKS_SLOTS; i++) {
            if (!h->slots[i].active) {
                return i;
            }
        }
        error_setg(errp, "Can't add a keyslot - all keyslots are in use");
        return -1;
    }
    if (h->slots[a->o->keyslot].active && !a->force) {
        error_setg(errp, "Refusing to overwrite active keyslot %" PRId64
                   " - please erase it first", a->o->keyslot);
        return -1;
    }
    return a->o->keyslot;
}

/* @key: what the volume is encrypted with. */
static int coroutine_fn get_volume_key(const Amend *a, uint8_t *key,
                                       Error **errp)
{
    const char *id = a->o->secret ? a->o->secret : a->key_secret;
    char *password;
    size_t bytes;
    int ret;

    if (!id) {
        error_setg(errp, "A secret that opens the volume is required to "
                   "activate a keyslot");
        return -EINVAL;
    }
    password = crypto_secret_get_password(id, &bytes, errp);
    if (!password) {
        return -EINVAL;
    }
    ret = luks_unlock(a->h, a->io, password, bytes, a->work, key, errp);
    crypto_password_free(password, bytes);
    if (ret < 0) {
        error_prepend(errp, "Failed to retrieve the master key: ");
    }
    return MIN(ret, 0);
}

static int coroutine_fn fill(const Amend *a, int slot, const char *password,
                             size_t bytes, Error **errp)
{
    int64_t iter_time = a->o->has_iter_time ? a->o->iter_time
                                            : LUKS_ITER_TIME;
    uint8_t key[CRYPTO_KEY_MAX];
    int ret = get_volume_key(a, key, errp);

    if (ret == 0) {
        ret = luks_store_key(a->h, a->io, slot, key, password, bytes,
                             iter_time, a->work, errp);
    }
    explicit_bzero(key, sizeof(key));
    return ret;
}

static int coroutine_fn add(const Amend *a, Error **errp)
{
    char *password;
    size_t bytes;
    int slot, ret;

    if (!a->o->new_secret) {
        error_setg(errp, "'new-secret' is required to activate a keyslot");
        return -EINVAL;
    }
    if (a->o->old_secret) {
        error_setg(errp, "'old-secret' must not be given when activating "
                   "keyslots");
        return -EINVAL;
    }
    if (a->o->has_iter_time && a->o->iter_time <= 0) {
        error_setg(errp, "iter-time must be greater than zero");
        return -EINVAL;
    }
    slot = check_number(a, errp) ? slot_to_fill(a, errp) : -1;
    if (slot < 0) {
        return -EINVAL;
    }
    password = crypto_secret_get_password(a->o->new_secret, &bytes, errp);
    if (!password) {
        return -EINVAL;
    }
    ret = fill(a, slot, password, bytes, errp);
    crypto_password_free(password, bytes);
    return ret;
}

/* --- erasing keys --- */

/* Which slots open by the password, as a bit each; -errno. */
static int coroutine_fn find_slots(const Amend *a, const char *password,
                                   size_t bytes, Error **errp)
{
    uint8_t key[CRYPTO_KEY_MAX];
    int found = 0, ret = 0;

    for (int i = 0; ret >= 0 && i < LUKS_SLOTS; i++) {
        if (!a->h->slots[i].active ||
            (a->o->has_keyslot && a->o->keyslot != i)) {
            continue;
        }
        ret = luks_try_slot(a->h, a->io, i, password, bytes, a->work, key,
                            errp);
        found |= ret > 0 ? 1 << i : 0;
    }
    explicit_bzero(key, sizeof(key));
    return ret < 0 ? ret : found;
}

/* The same for the secret that is said to be in them. */
static int coroutine_fn find_old(const Amend *a, Error **errp)
{
    size_t bytes;
    char *password = crypto_secret_get_password(a->o->old_secret, &bytes,
                                                errp);
    int found;

    if (!password) {
        return -EINVAL;
    }
    found = find_slots(a, password, bytes, errp);
    crypto_password_free(password, bytes);
    if (found == 0 && a->o->has_keyslot) {
        error_setg(errp, "Given keyslot %" PRId64 " doesn't contain the given "
                   "old password for erase operation", a->o->keyslot);
    } else if (found == 0) {
        error_setg(errp, "No keyslots match given (old) password for erase "
                   "operation");
    }
    return found == 0 ? -EINVAL : found;
}

/* Which slots are to be erased, as a bit each; -errno. */
static int coroutine_fn slots_to_erase(const Amend *a, Error **errp)
{
    int64_t number = a->o->keyslot;
    int found = a->o->has_keyslot ? 1 << number : 0;

    if (a->o->has_keyslot && !a->h->slots[number].active) {
        error_setg(errp, "Given keyslot %" PRId64 " is already erased "
                   "(inactive) ", number);
        return -EINVAL;
    }
    if (a->o->old_secret) {
        found = find_old(a, errp);
    } else if (!found) {
        error_setg(errp, "To erase keyslot(s), either explicit keyslot index "
                   "or the password currently contained in them must be "
                   "given");
        return -EINVAL;
    }
    if (found > 0 && !a->force && ctpop64(found) == count_active(a->h)) {
        if (a->o->has_keyslot) {
            error_setg(errp, "Attempt to erase the only active keyslot %"
                       PRId64 " which will erase all the data in the image "
                       "irreversibly - refusing operation", number);
        } else {
            error_setg(errp, "All the active keyslots match the (old) "
                       "password that was given and erasing them will erase "
                       "all the data in the image irreversibly - refusing "
                       "operation");
        }
        return -EPERM;
    }
    return found;
}

static int coroutine_fn erase(const Amend *a, Error **errp)
{
    int slots, ret = 0;

    if (a->o->new_secret || a->o->has_iter_time) {
        error_setg(errp, "'%s' must not be given when erasing keyslots",
                   a->o->new_secret ? "new-secret" : "iter-time");
        return -EINVAL;
    }
    if (!check_number(a, errp)) {
        return -EINVAL;
    }
    slots = slots_to_erase(a, errp);
    if (slots < 0) {
        return slots;
    }
    for (int i = 0; ret == 0 && i < LUKS_SLOTS; i++) {
        if (slots >> i & 1) {
            ret = luks_erase_key(a->h, a->io, i, errp);
        }
    }
    return ret;
}

int coroutine_fn luks_amend(LuksHeader *h, const LuksIO *io,
                            const QCryptoBlockAmendOptionsLUKS *o,
                            const char *key_secret, bool force,
                            LuksWork *work, Error **errp)
{
    Amend a = {
        .h = h,
        .io = io,
        .o = o,
        .key_secret = key_secret,
        .force = force,
        .work = work,
    };

    return o->state == Q_CRYPTO_BLOCK_LUKS_KEYSLOT_STATE_ACTIVE
        ? add(&a, errp) : erase(&a, errp);
}
