/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of a LUKS volume.  What it says is not trusted. */
#include "qemu/osdep.h"

#include "crypto/luks-int.h"

static const uint8_t magic[6] = "LUKS\xba\xbe";

/* The names of ciphers in headers, without the length of the key. */
static const struct {
    const char *name;
    QCryptoCipherAlgorithm alg;
} ciphers[] = {
    { "aes", QCRYPTO_CIPHER_ALG_AES_128 },
    { "aes", QCRYPTO_CIPHER_ALG_AES_192 },
    { "aes", QCRYPTO_CIPHER_ALG_AES_256 },
    { "cast5", QCRYPTO_CIPHER_ALG_CAST5_128 },
    { "serpent", QCRYPTO_CIPHER_ALG_SERPENT_128 },
    { "serpent", QCRYPTO_CIPHER_ALG_SERPENT_192 },
    { "serpent", QCRYPTO_CIPHER_ALG_SERPENT_256 },
    { "twofish", QCRYPTO_CIPHER_ALG_TWOFISH_128 },
    { "twofish", QCRYPTO_CIPHER_ALG_TWOFISH_192 },
    { "twofish", QCRYPTO_CIPHER_ALG_TWOFISH_256 },
};

uint64_t luks_payload_offset(size_t key_bytes)
{
    return LUKS_ALIGN + LUKS_SLOTS * ROUND_UP((uint64_t)key_bytes *
                                              LUKS_STRIPES, LUKS_ALIGN);
}

/* --- texts --- */

static bool find_cipher(const char *name, uint32_t key_bytes,
                        CryptoSectorsSpec *spec, Error **errp)
{
    bool halves = spec->mode == QCRYPTO_CIPHER_MODE_XTS;
    uint32_t bytes = halves ? key_bytes / 2 : key_bytes;

    for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++) {
        if (!strcmp(ciphers[i].name, name) &&
            crypto_cipher_key_bytes(ciphers[i].alg, spec->mode) ==
            key_bytes) {
            spec->cipher = ciphers[i].alg;
            return true;
        }
    }
    error_setg(errp, "Algorithm '%s' with key size %" PRIu32 " bytes not "
               "supported", name, bytes);
    return false;
}

static bool find_hash(const char *name, QCryptoHashAlgorithm *hash,
                      Error **errp)
{
    int found = QCryptoHashAlgorithm_parse(name, NULL);

    if (found < 0) {
        error_setg(errp, "Hash algorithm '%s' not supported", name);
        return false;
    }
    *hash = found;
    return true;
}

/* @ivgen: NAME, or NAME:HASH. */
static bool parse_ivgen(char *ivgen, CryptoSectorsSpec *spec, Error **errp)
{
    char *hash = strchr(ivgen, ':');
    int found;

    if (hash) {
        *hash++ = '\0';
        if (!find_hash(hash, &spec->ivgen_hash, errp)) {
            return false;
        }
    }
    found = QCryptoIVGenAlgorithm_parse(ivgen, NULL);
    if (found < 0) {
        error_setg(errp, "IV generator '%s' not supported", ivgen);
        return false;
    }
    spec->ivgen = found;
    if (spec->ivgen == QCRYPTO_IVGEN_ALG_ESSIV && !hash) {
        error_setg(errp, "Missing IV generator hash specification");
        return false;
    }
    return true;
}

/* @text: MODE-IVGEN; ECB needs no vectors. */
static bool parse_mode(const char *text, CryptoSectorsSpec *spec,
                       Error **errp)
{
    g_autofree char *mode = g_strdup(text);
    char *ivgen = strchr(mode, '-');
    int found;

    if (!ivgen && strcmp(mode, "ecb")) {
        error_setg(errp, "Unexpected cipher mode string format '%s'", text);
        return false;
    }
    if (ivgen) {
        *ivgen++ = '\0';
    }
    found = QCryptoCipherMode_parse(mode, NULL);
    if (found < 0) {
        error_setg(errp, "Cipher mode '%s' not supported", mode);
        return false;
    }
    spec->mode = found;
    spec->ivgen = QCRYPTO_IVGEN_ALG_PLAIN64;
    return !ivgen || parse_ivgen(ivgen, spec, errp);
}

static bool parse_cipher(const uint8_t *raw, LuksHeader *h, Error **errp)
{
    return parse_mode((const char *)raw + LUKS_AT_MODE, &h->spec, errp) &&
           find_hash((const char *)raw + LUKS_AT_HASH, &h->hash, errp) &&
           find_cipher((const char *)raw + LUKS_AT_CIPHER, h->key_bytes,
                       &h->spec, errp) &&
           crypto_sectors_check(&h->spec, errp);
}

/* --- numbers --- */

static bool check_texts(const uint8_t *raw, Error **errp)
{
    static const struct {
        size_t at;
        const char *name;
    } texts[] = {
        { LUKS_AT_CIPHER, "cipher name" }, { LUKS_AT_MODE, "cipher mode" },
        { LUKS_AT_HASH, "hash spec" },
    };

    if (memcmp(raw, magic, sizeof(magic))) {
        error_setg(errp, "Volume is not in LUKS format");
        return false;
    }
    if (ld16_be(raw + LUKS_AT_VERSION) != 1) {
        error_setg(errp, "LUKS version %u is not supported",
                   ld16_be(raw + LUKS_AT_VERSION));
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (!memchr(raw + texts[i].at, '\0', 32)) {
            error_setg(errp, "LUKS header %s is not NUL terminated",
                       texts[i].name);
            return false;
        }
    }
    return true;
}

static bool check_slot(const LuksHeader *h, const uint8_t *raw, int i,
                       Error **errp)
{
    const LuksSlot *slot = &h->slots[i];
    uint32_t state = ld32_be(raw), stripes = ld32_be(raw + 44);
    uint64_t start = (uint64_t)slot->sector * CRYPTO_SECTOR;

    if (stripes != LUKS_STRIPES) {
        error_setg(errp, "Keyslot %d is corrupted (stripes %" PRIu32
                   " != %d)", i, stripes, LUKS_STRIPES);
    } else if (start < LUKS_HEADER_BYTES) {
        error_setg(errp, "Keyslot %d is overlapping with the LUKS header", i);
    } else if (state != LUKS_ACTIVE && state != LUKS_INACTIVE) {
        error_setg(errp, "Keyslot %d state (active/disable) is corrupted", i);
    } else if (slot->active && !slot->iterations) {
        error_setg(errp, "Keyslot %d iteration count is zero", i);
    } else if (!range_fits(start, luks_material_bytes(h->key_bytes),
                           (uint64_t)h->payload_sector * CRYPTO_SECTOR)) {
        error_setg(errp, "Keyslot %d is overlapping with the encrypted "
                   "payload", i);
    } else {
        return true;
    }
    return false;
}

static bool check_overlap(const LuksHeader *h, Error **errp)
{
    uint64_t sectors = luks_material_bytes(h->key_bytes) / CRYPTO_SECTOR;

    for (int i = 0; i < LUKS_SLOTS; i++) {
        for (int k = i + 1; k < LUKS_SLOTS; k++) {
            uint64_t a = h->slots[i].sector, b = h->slots[k].sector;

            if (a < b + sectors && b < a + sectors) {
                error_setg(errp, "Keyslots %d and %d are overlapping in the "
                           "header", i, k);
                return false;
            }
        }
    }
    return true;
}

static void decode(const uint8_t *raw, LuksHeader *h)
{
    memset(h, 0, sizeof(*h));
    h->payload_sector = ld32_be(raw + LUKS_AT_PAYLOAD);
    h->key_bytes = ld32_be(raw + LUKS_AT_KEY_BYTES);
    h->iterations = ld32_be(raw + LUKS_AT_ITERATIONS);
    memcpy(h->digest, raw + LUKS_AT_DIGEST, LUKS_DIGEST_BYTES);
    memcpy(h->salt, raw + LUKS_AT_SALT, LUKS_SALT_BYTES);
    memcpy(h->uuid, raw + LUKS_AT_UUID, LUKS_UUID_BYTES);
    for (int i = 0; i < LUKS_SLOTS; i++) {
        const uint8_t *p = raw + LUKS_AT_SLOTS + i * LUKS_SLOT_BYTES;
        LuksSlot *slot = &h->slots[i];

        slot->active = ld32_be(p) == LUKS_ACTIVE;
        slot->iterations = ld32_be(p + 4);
        memcpy(slot->salt, p + 8, LUKS_SALT_BYTES);
        slot->sector = ld32_be(p + 40);
    }
}

bool luks_header_parse(const uint8_t *raw, LuksHeader *h, Error **errp)
{
    if (!check_texts(raw, errp)) {
        return false;
    }
    decode(raw, h);
    if ((uint64_t)h->payload_sector * CRYPTO_SECTOR < LUKS_HEADER_BYTES) {
        error_setg(errp, "LUKS payload is overlapping with the header");
        return false;
    }
    if (!h->iterations) {
        error_setg(errp, "LUKS key iteration count is zero");
        return false;
    }
    for (int i = 0; i < LUKS_SLOTS; i++) {
        if (!check_slot(h, raw + LUKS_AT_SLOTS + i * LUKS_SLOT_BYTES, i,
                        errp)) {
            return false;
        }
    }
    return check_overlap(h, errp) && parse_cipher(raw, h, errp);
}

int coroutine_fn luks_header_read(const LuksIO *io, LuksHeader *h,
                                  Error **errp)
{
    uint8_t raw[LUKS_HEADER_BYTES];
    int ret = io->read(io->opaque, 0, sizeof(raw), raw);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Unable to read LUKS header");
        return ret;
    }
    return luks_header_parse(raw, h, errp) ? 0 : -EINVAL;
}

/* --- the other way --- */

static const char *cipher_name(QCryptoCipherAlgorithm alg)
{
    for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++) {
        if (ciphers[i].alg == alg) {
            return ciphers[i].name;
        }
    }
    g_assert_not_reached();
}

static char *mode_text(const CryptoSectorsSpec *spec)
{
    bool essiv = spec->ivgen == QCRYPTO_IVGEN_ALG_ESSIV;

    return g_strdup_printf("%s-%s%s%s", QCryptoCipherMode_str(spec->mode),
                           QCryptoIVGenAlgorithm_str(spec->ivgen),
                           essiv ? ":" : "",
                           essiv ? QCryptoHashAlgorithm_str(spec->ivgen_hash)
                                 : "");
}

void luks_header_encode(const LuksHeader *h, uint8_t *raw)
{
    g_autofree char *mode = mode_text(&h->spec);

    memset(raw, 0, LUKS_HEADER_BYTES);
    memcpy(raw, magic, sizeof(magic));
    st16_be(raw + LUKS_AT_VERSION, 1);
    g_strlcpy((char *)raw + LUKS_AT_CIPHER, cipher_name(h->spec.cipher), 32);
    g_strlcpy((char *)raw + LUKS_AT_MODE, mode, 32);
    g_strlcpy((char *)raw + LUKS_AT_HASH, QCryptoHashAlgorithm_str(h->hash),
              32);
    st32_be(raw + LUKS_AT_PAYLOAD, h->payload_sector);
    st32_be(raw + LUKS_AT_KEY_BYTES, h->key_bytes);
    memcpy(raw + LUKS_AT_DIGEST, h->digest, LUKS_DIGEST_BYTES);
    memcpy(raw + LUKS_AT_SALT, h->salt, LUKS_SALT_BYTES);
    st32_be(raw + LUKS_AT_ITERATIONS, h->iterations);
    memcpy(raw + LUKS_AT_UUID, h->uuid, LUKS_UUID_BYTES);
    for (int i = 0; i < LUKS_SLOTS; i++) {
        uint8_t *p = raw + LUKS_AT_SLOTS + i * LUKS_SLOT_BYTES;
        const LuksSlot *slot = &h->slots[i];

        st32_be(p, slot->active ? LUKS_ACTIVE : LUKS_INACTIVE);
        st32_be(p + 4, slot->iterations);
        memcpy(p + 8, slot->salt, LUKS_SALT_BYTES);
        st32_be(p + 40, slot->sector);
        st32_be(p + 44, LUKS_STRIPES);
    }
}

static QCryptoBlockInfoLUKSSlot *slot_info(const LuksSlot *slot)
{
    QCryptoBlockInfoLUKSSlot *info = g_new0(QCryptoBlockInfoLUKSSlot, 1);

    info->active = slot->active;
    info->key_offset = (int64_t)slot->sector * CRYPTO_SECTOR;
    if (slot->active) {
        info->has_iters = true;
        info->iters = slot->iterations;
        info->has_stripes = true;
        info->stripes = LUKS_STRIPES;
    }
    return info;
}

QCryptoBlockInfoLUKS *luks_header_info(const LuksHeader *h)
{
    QCryptoBlockInfoLUKS *info = g_new0(QCryptoBlockInfoLUKS, 1);
    QCryptoBlockInfoLUKSSlotList **tail = &info->slots;

    info->cipher_alg = h->spec.cipher;
    info->cipher_mode = h->spec.mode;
    info->ivgen_alg = h->spec.ivgen;
    info->has_ivgen_hash_alg = h->spec.ivgen == QCRYPTO_IVGEN_ALG_ESSIV;
    info->ivgen_hash_alg = h->spec.ivgen_hash;
    info->hash_alg = h->hash;
    info->payload_offset = (int64_t)h->payload_sector * CRYPTO_SECTOR;
    info->master_key_iters = h->iterations;
    info->uuid = g_utf8_make_valid(h->uuid, -1);
    for (int i = 0; i < LUKS_SLOTS; i++) {
        QAPI_LIST_APPEND(tail, slot_info(&h->slots[i]));
    }
    return info;
}
