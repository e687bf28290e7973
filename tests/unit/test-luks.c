/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUKS volumes in memory: keys, slots, hostile headers, work given up. */
#include "qemu/osdep.h"

#include "crypto/hash.h"
#include "crypto/luks.h"
#include "crypto/secret.h"
#include "qapi/qapi-types-qom.h"

/* --- a volume --- */

typedef struct Volume {
    uint8_t *data;
    size_t bytes;
    int writes;     /* since it was cleared */
    int fail_after; /* so many; < 0: never */
} Volume;

static int coroutine_fn volume_read(void *opaque, uint64_t offset,
                                    size_t bytes, void *buf)
{
    Volume *v = opaque;

    if (!range_fits(offset, bytes, v->bytes)) {
        return -EIO;
    }
    memcpy(buf, v->data + offset, bytes);
    return 0;
}

static int coroutine_fn volume_write(void *opaque, uint64_t offset,
                                     size_t bytes, const void *buf)
{
    Volume *v = opaque;

    g_assert_true(range_fits(offset, bytes, v->bytes));
    if (v->fail_after >= 0 && v->writes >= v->fail_after) {
        return -EIO;
    }
    v->writes++;
    memcpy(v->data + offset, buf, bytes);
    return 0;
}

static int coroutine_fn volume_flush(void *opaque)
{
    return 0;
}

static LuksIO volume_io(Volume *v)
{
    return (LuksIO) { volume_read, volume_write, volume_flush, v };
}

static Volume volume_new(void)
{
    Volume v = { .bytes = 4 * MiB, .fail_after = -1 };

    v.data = g_malloc0(v.bytes);
    return v;
}

/* Runs a test in a coroutine of the main thread. */
typedef struct Run {
    void coroutine_fn (*fn)(void);
} Run;

static void coroutine_fn run_entry(void *opaque)
{
    ((const Run *)opaque)->fn();
}

static void run(const void *opaque)
{
    Run r = *(const Run *)opaque;

    aio_run_co(aio_main_context(), run_entry, &r);
}

static void coroutine_fn make(Volume *v, LuksHeader *h)
{
    QCryptoBlockCreateOptionsLUKS o = { .has_iter_time = true,
                                        .iter_time = 1 };
    LuksIO io = volume_io(v);
    LuksWork work = { 0 };
    LuksCreate c;

    g_assert_true(luks_create_options(&o, &c, &error_abort));
    g_assert_cmpint(luks_create(&c, &io, "secret", 6, &work, h, &error_abort),
                    ==, 0);
}

static int coroutine_fn unlock(Volume *v, const char *password, uint8_t *key)
{
    LuksIO io = volume_io(v);
    LuksWork work = { 0 };
    LuksHeader h;
    int ret = luks_header_read(&io, &h, &error_abort);

    g_assert_cmpint(ret, ==, 0);
    return luks_unlock(&h, &io, password, strlen(password), &work, key, NULL);
}

/* --- keys --- */

static void coroutine_fn test_create(void)
{
    Volume v = volume_new();
    uint8_t key[CRYPTO_KEY_MAX], again[CRYPTO_KEY_MAX];
    LuksHeader h, read;

    make(&v, &h);
    g_assert_cmpuint(h.key_bytes, ==, 64);
    g_assert_cmpuint(h.payload_sector, ==, 4040);
    g_assert_true(luks_header_parse(v.data, &read, &error_abort));
    g_assert_cmpmem(&h, sizeof(h), &read, sizeof(read));
    g_assert_cmpint(unlock(&v, "secret", key), ==, 0);
    g_assert_cmpint(unlock(&v, "secret", again), ==, 0);
    g_assert_cmpmem(key, 64, again, 64);
    g_assert_cmpint(unlock(&v, "wrong", again), ==, -EACCES);
    g_assert_cmpint(unlock(&v, "", again), ==, -EACCES);
    g_free(v.data);
}

/* Any byte of the material that changes makes the key another one. */
static void coroutine_fn test_split(void)
{
    Volume v = volume_new();
    uint8_t key[CRYPTO_KEY_MAX];
    LuksHeader h;

    make(&v, &h);
    for (size_t at = 4096; at < 4096 + 256000; at += 51199) {
        v.data[at] ^= 1;
        g_assert_cmpint(unlock(&v, "secret", key), ==, -EACCES);
        v.data[at] ^= 1;
    }
    g_assert_cmpint(unlock(&v, "secret", key), ==, 0);
    g_free(v.data);
}

/* --- slots --- */

static void add_secret(const char *id, const char *data)
{
    SecretProperties props = { .data = (char *)data };

    crypto_secret_add(id, &props, &error_abort);
}

/* One change; returns what was wrong, "" for nothing. */
static char *coroutine_fn amend(Volume *v, LuksHeader *h, bool active,
                                const char *new_secret,
                                const char *old_secret, int keyslot)
{
    QCryptoBlockAmendOptionsLUKS o = {
        .state = active ? Q_CRYPTO_BLOCK_LUKS_KEYSLOT_STATE_ACTIVE
                        : Q_CRYPTO_BLOCK_LUKS_KEYSLOT_STATE_INACTIVE,
        .new_secret = (char *)new_secret,
        .old_secret = (char *)old_secret,
        .has_keyslot = keyslot >= 0,
        .keyslot = keyslot,
        .has_iter_time = active,
        .iter_time = 1,
    };
    LuksIO io = volume_io(v);
    LuksWork work = { 0 };
    g_autoptr(Error) err = NULL;
    int ret = luks_amend(h, &io, &o, "first", false, &work, &err);

    g_assert_cmpint(ret < 0, ==, err != NULL);
    return g_strdup(err ? error_get_pretty(err) : "");
}

#define SAYS(text, word) do { \
        g_autofree char *said_ = (text); \
        g_assert_true(*(word) ? strstr(said_, (word)) != NULL : !*said_); \
    } while (0)

static void coroutine_fn test_slots(void)
{
    Volume v = volume_new();
    uint8_t key[CRYPTO_KEY_MAX], other[CRYPTO_KEY_MAX];
    LuksHeader h;

    add_secret("first", "secret");
    add_secret("second", "other");
    make(&v, &h);
    unlock(&v, "secret", key);
    SAYS(amend(&v, &h, true, "second", NULL, -1), "");
    SAYS(amend(&v, &h, true, "second", NULL, 6), ""); /* in two sectors */
    SAYS(amend(&v, &h, true, "second", NULL, 7), "");
    SAYS(amend(&v, &h, true, "second", NULL, 6), "Refusing to overwrite");
    SAYS(amend(&v, &h, true, "second", NULL, 8), "Invalid keyslot 8");
    SAYS(amend(&v, &h, true, "third", NULL, -1), "'third'");
    SAYS(amend(&v, &h, true, NULL, NULL, -1), "'new-secret' is required");
    SAYS(amend(&v, &h, true, "second", "first", -1), "'old-secret' must not");
    g_assert_cmpint(unlock(&v, "other", other), ==, 1);
    g_assert_cmpmem(key, 64, other, 64);
    SAYS(amend(&v, &h, false, NULL, NULL, 1), "");
    g_assert_cmpint(unlock(&v, "other", other), ==, 6);
    g_assert_cmpmem(key, 64, other, 64);
    SAYS(amend(&v, &h, false, NULL, NULL, 1), "already erased");
    SAYS(amend(&v, &h, false, NULL, NULL, -1), "To erase keyslot(s)");
    SAYS(amend(&v, &h, false, NULL, "second", 0), "doesn't contain");
    SAYS(amend(&v, &h, false, NULL, "second", -1), ""); /* 6 and 7 */
    g_assert_cmpint(unlock(&v, "other", other), ==, -EACCES);
    SAYS(amend(&v, &h, false, NULL, "second", -1), "No keyslots match");
    SAYS(amend(&v, &h, false, NULL, "first", -1), "All the active keyslots");
    SAYS(amend(&v, &h, false, NULL, NULL, 0), "the only active keyslot 0");
    g_assert_cmpint(unlock(&v, "secret", other), ==, 0);
    crypto_secret_del("first");
    crypto_secret_del("second");
    g_free(v.data);
}

/* After a failure at any write the first key opens the volume. */
static void coroutine_fn test_interrupted(void)
{
    Volume v = volume_new();
    uint8_t key[CRYPTO_KEY_MAX];
    LuksHeader h;
    bool failed = true;

    add_secret("first", "secret");
    add_secret("second", "other");
    make(&v, &h);
    for (int n = 0; failed; n++) {
        g_autofree char *said = NULL;

        v.writes = 0;
        v.fail_after = n;
        said = amend(&v, &h, true, "second", NULL, 6);
        failed = *said;
        g_assert_cmpint(unlock(&v, "secret", key), ==, 0);
        g_assert_cmpint(unlock(&v, "other", key), ==, failed ? -EACCES : 6);
    }
    v.writes = 0;
    v.fail_after = 2; /* the state is in the second write */
    SAYS(amend(&v, &h, false, NULL, NULL, 6), "erase");
    g_assert_cmpint(unlock(&v, "secret", key), ==, 0);
    g_assert_cmpint(unlock(&v, "other", key), ==, -EACCES);
    crypto_secret_del("first");
    crypto_secret_del("second");
    g_free(v.data);
}

/* --- work that would never end --- */

typedef struct Endless {
    LuksWork work;
    Volume v;
    bool done;
    int ret;
} Endless;

static void coroutine_fn endless_entry(void *opaque)
{
    Endless *e = opaque;
    LuksIO io = volume_io(&e->v);
    uint8_t key[CRYPTO_KEY_MAX];
    LuksHeader h;

    g_assert_cmpint(luks_header_read(&io, &h, &error_abort), ==, 0);
    e->ret = luks_unlock(&h, &io, "secret", 6, &e->work, key, NULL);
    e->done = true;
}

static void coroutine_fn test_endless(void)
{
    Endless e = { .v = volume_new() };
    LuksHeader h;

    make(&e.v, &h);
    st32_be(e.v.data + 208 + 4, UINT32_MAX);
    coroutine_enter(coroutine_create(endless_entry, &e));
    g_assert_false(e.done);
    luks_cancel(&e.work);
    while (!e.done) {
        co_sleep_ns(1000000);
    }
    g_assert_cmpint(e.ret, ==, -ECANCELED);
    /* It stays so until it is cleared. */
    e.done = false;
    coroutine_enter(coroutine_create(endless_entry, &e));
    g_assert_true(e.done);
    g_assert_cmpint(e.ret, ==, -ECANCELED);
    g_free(e.v.data);
}

/* --- hostile headers --- */

static void coroutine_fn test_hostile(void)
{
    static const struct {
        size_t at;
        const char *bytes;
        size_t n;
        const char *word;
    } rows[] = {
#define ROW(at, bytes, word) { at, bytes, sizeof(bytes) - 1, word }
        ROW(0, "X", "not in LUKS format"),
        ROW(6, "\0\2", "version 2"),
        ROW(8, "foo\0", "Algorithm 'foo'"),
        ROW(8, "aaaabbbbaaaabbbbaaaabbbbaaaabbbb", "cipher name"),
        ROW(8, "cast5\0", "'cast5'"),
        ROW(40, "xts\0", "'xts'"),
        ROW(40, "gcm-", "mode 'gcm'"),
        ROW(40, "xts-plain99\0", "'plain99'"),
        ROW(40, "xts-essiv\0", "Missing"),
        ROW(40, "xts-essiv:foo\0", "'foo'"),
        ROW(40, "xts-essiv:sha512\0", "64 bytes"),
        ROW(40, "aaaabbbbaaaabbbbaaaabbbbaaaabbbb", "cipher mode"),
        ROW(72, "crc32\0", "'crc32'"),
        ROW(72, "aaaabbbbaaaabbbbaaaabbbbaaaabbbb", "hash spec"),
        ROW(104, "\0\0\0\0", "payload is overlapping"),
        ROW(104, "\0\0\0\x8", "Keyslot 0 is overlapping with the encrypted"),
        ROW(108, "\0\0\0\0", "size 0"),
        ROW(108, "\xff\xff\xff\xff", "encrypted payload"),
        ROW(108, "\0\0\0\x3f", "size 31"),
        ROW(164, "\0\0\0\0", "iteration count is zero"),
        ROW(208, "\0\0\0\0", "state"),
        ROW(212, "\0\0\0\0", "Keyslot 0 iteration count"),
        ROW(248, "\0\0\0\1", "LUKS header"),
        ROW(248, "\0\0\0\xd", "Keyslots 0 and 1"),
        ROW(248, "\xff\xff\xff\xff", "encrypted payload"),
        ROW(252, "\0\0\0\1", "stripes 1"),
        ROW(256, "\x00\xac\x71\xf3", "Keyslot 1 iteration count"),
#undef ROW
    };
    Volume v = volume_new();
    LuksHeader h;

    make(&v, &h);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t raw[LUKS_HEADER_BYTES];
        g_autoptr(Error) err = NULL;

        memcpy(raw, v.data, sizeof(raw));
        memcpy(raw + rows[i].at, rows[i].bytes, rows[i].n);
        g_assert_false(luks_header_parse(raw, &h, &err));
        g_test_message("%s", error_get_pretty(err));
        g_assert_nonnull(strstr(error_get_pretty(err), rows[i].word));
    }
    g_free(v.data);
}

int main(int argc, char **argv)
{
    static const Run create = { test_create }, split = { test_split },
        slots = { test_slots }, interrupted = { test_interrupted },
        endless = { test_endless }, hostile = { test_hostile };

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    g_test_add_data_func("/luks/create", &create, run);
    g_test_add_data_func("/luks/split", &split, run);
    g_test_add_data_func("/luks/slots", &slots, run);
    g_test_add_data_func("/luks/interrupted", &interrupted, run);
    g_test_add_data_func("/luks/endless", &endless, run);
    g_test_add_data_func("/luks/hostile", &hostile, run);
    return g_test_run();
}
