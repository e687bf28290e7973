/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets: given as such or in a file, plain or in base64, and maybe encrypted
 * with another secret: AES-256 in CBC mode, padded as in PKCS #7.
 */
#include "qemu/osdep.h"

#include "crypto/cipher.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/thread.h"

#define MASTER_KEY_BYTES 32

typedef struct Secret {
    uint8_t *data;
    size_t bytes;
} Secret;

/* id -> Secret; NULL: there are none.  Under lock. */
static GHashTable *secrets;
static QemuMutex lock = QEMU_MUTEX_INITIALIZER;

static void secret_free(void *opaque)
{
    Secret *secret = opaque;

    crypto_free(secret->data, secret->bytes);
    g_free(secret);
}

/* --- reading --- */

/* A null byte follows what it returns. */
static uint8_t *load(const SecretProperties *props, size_t *bytes,
                     Error **errp)
{
    g_autoptr(GError) err = NULL;
    char *data = NULL;

    if (!props->data == !props->file) {
        error_setg(errp, props->data
                   ? "'file' and 'data' are mutually exclusive"
                   : "Either 'file' or 'data' must be provided");
        return NULL;
    }
    if (props->data) {
        *bytes = strlen(props->data);
        return (uint8_t *)g_strdup(props->data);
    }
    if (!g_file_get_contents(props->file, &data, bytes, &err)) {
        error_setg(errp, "Unable to read %s: %s", props->file, err->message);
        return NULL;
    }
    return (uint8_t *)data;
}

/* Decodes the text @data in place, and returns the number of bytes. */
static bool decode_base64(uint8_t *data, size_t *bytes, Error **errp)
{
    static const char valid[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n";

    if (strspn((char *)data, valid) != *bytes) {
        error_setg(errp, strlen((char *)data) == *bytes
                   ? "Base64 data contains invalid characters"
                   : "Base64 data is not NUL terminated");
        return false;
    }
    if (*bytes > 0) {
        g_base64_decode_inplace((char *)data, bytes);
    }
    return true;
}

/* --- encrypted secrets --- */

static bool decode_iv(const char *text, uint8_t *iv, Error **errp)
{
    g_autofree uint8_t *data = (uint8_t *)g_strdup(text ? text : "");
    size_t bytes = strlen((char *)data);

    if (!text) {
        error_setg(errp, "IV is required to decrypt secret");
        return false;
    }
    if (!decode_base64(data, &bytes, errp)) {
        return false;
    }
    if (bytes != CRYPTO_BLOCK_MAX) {
        error_setg(errp, "IV should be %d bytes in length not %zu",
                   CRYPTO_BLOCK_MAX, bytes);
        return false;
    }
    memcpy(iv, data, bytes);
    return true;
}

/* Removes the padding: its bytes each say how many they are. */
static bool unpad(const uint8_t *data, size_t *bytes, Error **errp)
{
    uint8_t n = *bytes ? data[*bytes - 1] : 0;

    if (n == 0 || n > CRYPTO_BLOCK_MAX || n > *bytes) {
        error_setg(errp, "Incorrect number of padding bytes (%u) found on "
                   "decrypted data", n);
        return false;
    }
    *bytes -= n;
    return true;
}

static bool decrypt_by(const uint8_t *key, const SecretProperties *props,
                       uint8_t *data, size_t *bytes, Error **errp)
{
    g_autoptr(CryptoCipher) cipher = NULL;
    uint8_t iv[CRYPTO_BLOCK_MAX];

    if (!decode_iv(props->iv, iv, errp)) {
        return false;
    }
    if (props->format == QCRYPTO_SECRET_FORMAT_BASE64 &&
        !decode_base64(data, bytes, errp)) {
        return false;
    }
    if (*bytes % CRYPTO_BLOCK_MAX) {
        error_setg(errp, "Length %zu must be a multiple of block size %d",
                   *bytes, CRYPTO_BLOCK_MAX);
        return false;
    }
    cipher = crypto_cipher_new(QCRYPTO_CIPHER_ALG_AES_256, key);
    crypto_cbc_decrypt(cipher, iv, *bytes, data, data);
    return unpad(data, bytes, errp);
}

static bool decrypt(const SecretProperties *props, uint8_t *data,
                    size_t *bytes, Error **errp)
{
    size_t key_bytes;
    uint8_t *key = crypto_secret_get(props->keyid, &key_bytes, errp);
    bool ok = false;

    if (!key) {
        return false;
    }
    if (key_bytes != MASTER_KEY_BYTES) {
        error_setg(errp, "Key should be %d bytes in length",
                   MASTER_KEY_BYTES);
    } else {
        ok = decrypt_by(key, props, data, bytes, errp);
    }
    crypto_free(key, key_bytes);
    return ok;
}

/* --- the table --- */

static void insert(const char *id, const uint8_t *data, size_t bytes)
{
    Secret *secret = g_new(Secret, 1);
    QEMU_LOCK_GUARD(&lock);

    secret->data = g_memdup2(data, bytes);
    secret->bytes = bytes;
    if (!secrets) {
        secrets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                        secret_free);
    }
    g_hash_table_replace(secrets, g_strdup(id), secret);
}

bool crypto_secret_add(const char *id, const SecretProperties *props,
                       Error **errp)
{
    size_t loaded, bytes;
    uint8_t *data = load(props, &loaded, errp);
    bool ok;

    if (!data) {
        return false;
    }
    bytes = loaded;
    if (props->keyid) {
        ok = decrypt(props, data, &bytes, errp);
    } else {
        ok = props->format != QCRYPTO_SECRET_FORMAT_BASE64 ||
             decode_base64(data, &bytes, errp);
    }
    if (ok) {
        insert(id, data, bytes);
    }
    crypto_free(data, loaded);
    return ok;
}

void crypto_secret_del(const char *id)
{
    QEMU_LOCK_GUARD(&lock);

    if (secrets) {
        g_hash_table_remove(secrets, id);
        if (!g_hash_table_size(secrets)) {
            g_clear_pointer(&secrets, g_hash_table_unref);
        }
    }
}

uint8_t *crypto_secret_get(const char *id, size_t *bytes, Error **errp)
{
    const Secret *secret;
    uint8_t *copy;
    QEMU_LOCK_GUARD(&lock);

    secret = secrets ? g_hash_table_lookup(secrets, id) : NULL;
    if (!secret) {
        error_setg(errp, "No secret with id '%s'", id);
        return NULL;
    }
    *bytes = secret->bytes;
    copy = g_malloc(secret->bytes + 1); /* never NULL */
    memcpy(copy, secret->bytes ? secret->data : (uint8_t *)"", secret->bytes);
    return copy;
}

char *crypto_secret_get_password(const char *id, size_t *bytes, Error **errp)
{
    char *text = (char *)crypto_secret_get(id, bytes, errp);

    if (!text) {
        return NULL;
    }
    text[*bytes] = '\0';
    if (!g_utf8_validate(text, *bytes, NULL)) {
        error_setg(errp, "Data from secret %s is not valid UTF-8", id);
        crypto_password_free(text, *bytes);
        return NULL;
    }
    return text;
}

void crypto_password_free(char *password, size_t bytes)
{
    crypto_free(password, bytes);
}
