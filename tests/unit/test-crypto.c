/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ciphers, digests and derived keys by published vectors; secrets. */
#include "qemu/osdep.h"

#include "crypto/cipher.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "qapi/qapi-types-qom.h"

static uint8_t *unhex(const char *text, size_t *bytes)
{
    uint8_t *out = g_malloc(strlen(text) / 2 + 1);

    *bytes = strlen(text) / 2;
    for (size_t i = 0; i < *bytes; i++) {
        out[i] = g_ascii_xdigit_value(text[i * 2]) * 16 +
                 g_ascii_xdigit_value(text[i * 2 + 1]);
    }
    return out;
}

static void check_hex(const uint8_t *data, const char *text)
{
    size_t bytes;
    g_autofree uint8_t *want = unhex(text, &bytes);

    g_assert_cmpmem(data, bytes, want, bytes);
}

/* --- digests --- */

static void test_hash(void)
{
    /* RFC 1321, FIPS 180-4, and the RIPEMD-160 page: of "abc". */
    static const struct {
        QCryptoHashAlgorithm alg;
        const char *digest;
    } rows[] = {
        { QCRYPTO_HASH_ALG_MD5, "900150983cd24fb0d6963f7d28e17f72" },
        { QCRYPTO_HASH_ALG_SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { QCRYPTO_HASH_ALG_SHA224,
          "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7" },
        { QCRYPTO_HASH_ALG_SHA256,
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { QCRYPTO_HASH_ALG_SHA384,
          "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
          "8086072ba1e7cc2358baeca134c825a7" },
        { QCRYPTO_HASH_ALG_SHA512,
          "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
          "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
        { QCRYPTO_HASH_ALG_RIPEMD160,
          "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t out[CRYPTO_HASH_MAX];

        crypto_hash(rows[i].alg, "abc", 3, out);
        check_hex(out, rows[i].digest);
        g_assert_cmpuint(crypto_hash_bytes(rows[i].alg), ==,
                         strlen(rows[i].digest) / 2);
    }
}

static int derive(QCryptoHashAlgorithm hash, const char *password,
                  const char *salt, size_t salt_bytes, uint32_t iterations,
                  uint8_t *key, size_t key_bytes, const bool *stop)
{
    CryptoPbkdf p = {
        .hash = hash,
        .password = (const uint8_t *)password,
        .password_bytes = strlen(password),
        .salt = (const uint8_t *)salt,
        .salt_bytes = salt_bytes,
        .iterations = iterations,
        .key = key,
        .key_bytes = key_bytes,
        .stop = stop,
    };

    return crypto_pbkdf2(&p);
}

static void test_pbkdf2(void)
{
    /* RFC 6070 and RFC 7914, section 11. */
    static const struct {
        QCryptoHashAlgorithm hash;
        const char *password, *salt;
        uint32_t iterations;
        const char *key;
    } rows[] = {
        { QCRYPTO_HASH_ALG_SHA1, "password", "salt", 1,
          "0c60c80f961f0e71f3a9b524af6012062fe037a6" },
        { QCRYPTO_HASH_ALG_SHA1, "password", "salt", 2,
          "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957" },
        { QCRYPTO_HASH_ALG_SHA1, "password", "salt", 4096,
          "4b007901b765489abead49d926f721d065a429c1" },
        { QCRYPTO_HASH_ALG_SHA1, "passwordPASSWORDpassword",
          "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096,
          "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038" },
        { QCRYPTO_HASH_ALG_SHA256, "passwd", "salt", 1,
          "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
          "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783" },
        { QCRYPTO_HASH_ALG_SHA256, "Password", "NaCl", 80000,
          "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
          "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d" },
    };
    uint8_t key[64];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_assert_cmpint(derive(rows[i].hash, rows[i].password, rows[i].salt,
                               strlen(rows[i].salt), rows[i].iterations, key,
                               strlen(rows[i].key) / 2, NULL), ==, 0);
        check_hex(key, rows[i].key);
    }
}

static void test_pbkdf2_stops(void)
{
    uint8_t key[64];
    bool stop = true;

    g_assert_cmpint(derive(QCRYPTO_HASH_ALG_SHA512, "a", "b", 1, UINT32_MAX,
                           key, sizeof(key), &stop), ==, -ECANCELED);
    g_assert_cmpuint(crypto_pbkdf2_iterations(QCRYPTO_HASH_ALG_SHA256, 64,
                                              1000), >, 1000);
}

/* --- ciphers --- */

static void test_cipher(void)
{
    static const struct {
        QCryptoCipherAlgorithm alg;
        const char *key, *plain, *cipher;
    } rows[] = {
        /* FIPS 197, appendix C */
        { QCRYPTO_CIPHER_ALG_AES_128, "000102030405060708090a0b0c0d0e0f",
          "00112233445566778899aabbccddeeff",
          "69c4e0d86a7b0430d8cdb78070b4c55a" },
        { QCRYPTO_CIPHER_ALG_AES_192,
          "000102030405060708090a0b0c0d0e0f1011121314151617",
          "00112233445566778899aabbccddeeff",
          "dda97ca4864cdfe06eaf70a0ec0d7191" },
        { QCRYPTO_CIPHER_ALG_AES_256,
          "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
          "00112233445566778899aabbccddeeff",
          "8ea2b7ca516745bfeafc49904b496089" },
        /* RFC 2144, appendix B */
        { QCRYPTO_CIPHER_ALG_CAST5_128, "0123456712345678234567893456789a",
          "0123456789abcdef", "238b4fe5847e44b2" },
        /* NESSIE, set 1 */
        { QCRYPTO_CIPHER_ALG_SERPENT_128, "80000000000000000000000000000000",
          "00000000000000000000000000000000",
          "264e5481eff42a4606abda06c0bfda3d" },
        { QCRYPTO_CIPHER_ALG_SERPENT_192,
          "800000000000000000000000000000000000000000000000",
          "00000000000000000000000000000000",
          "9e274ead9b737bb21efcfca548602689" },
        { QCRYPTO_CIPHER_ALG_SERPENT_256,
          "8000000000000000000000000000000000000000000000000000000000000000",
          "00000000000000000000000000000000",
          "a223aa1288463c0e2be38ebd825616c0" },
        /* Twofish: A 128-Bit Block Cipher, appendix B.2 */
        { QCRYPTO_CIPHER_ALG_TWOFISH_128, "9f589f5cf6122c32b6bfec2f2ae8c35a",
          "d491db16e7b1c39e86cb086b789f5419",
          "019f9809de1711858faac3a3ba20fbc3" },
        { QCRYPTO_CIPHER_ALG_TWOFISH_192,
          "0123456789abcdeffedcba98765432100011223344556677",
          "00000000000000000000000000000000",
          "cfd1d2e5a9be9cdf501f13b892bd2248" },
        { QCRYPTO_CIPHER_ALG_TWOFISH_256,
          "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff",
          "00000000000000000000000000000000",
          "37527be0052334b89f0cfccae87cfa20" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t key_bytes, bytes;
        g_autofree uint8_t *key = unhex(rows[i].key, &key_bytes);
        g_autofree uint8_t *data = unhex(rows[i].plain, &bytes);
        g_autoptr(CryptoCipher) c = crypto_cipher_new(rows[i].alg, key);

        g_assert_cmpuint(crypto_cipher_key_bytes(rows[i].alg,
                                                 QCRYPTO_CIPHER_MODE_CBC),
                         ==, key_bytes);
        g_assert_cmpuint(crypto_cipher_block_bytes(rows[i].alg), ==, bytes);
        crypto_cipher_encrypt(c, bytes, data, data);
        check_hex(data, rows[i].cipher);
        crypto_cipher_decrypt(c, bytes, data, data);
        check_hex(data, rows[i].plain);
    }
}

/* SP 800-38A, F.2: two blocks, and the vector that is left. */
static void test_cbc(void)
{
    static const struct {
        QCryptoCipherAlgorithm alg;
        const char *key, *cipher;
    } rows[] = {
        { QCRYPTO_CIPHER_ALG_AES_128, "2b7e151628aed2a6abf7158809cf4f3c",
          "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2" },
        { QCRYPTO_CIPHER_ALG_AES_192,
          "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
          "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a" },
        { QCRYPTO_CIPHER_ALG_AES_256,
          "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
          "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d" },
    };
    static const char plain[] =
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t n, bytes;
        g_autofree uint8_t *key = unhex(rows[i].key, &n);
        g_autofree uint8_t *data = unhex(plain, &bytes);
        g_autofree uint8_t *iv = unhex("000102030405060708090a0b0c0d0e0f", &n);
        g_autoptr(CryptoCipher) c = crypto_cipher_new(rows[i].alg, key);

        crypto_cbc_encrypt(c, iv, bytes, data, data);
        check_hex(data, rows[i].cipher);
        g_assert_cmpmem(iv, 16, data + 16, 16);
        for (n = 0; n < 16; n++) {
            iv[n] = n;
        }
        crypto_cbc_decrypt(c, iv, bytes, data, data);
        check_hex(data, plain);
    }
}

/* --- sectors --- */

/* IEEE 1619-2018, annex B: vectors 4 and 10, the begin of each. */
static void test_xts(void)
{
    static const struct {
        QCryptoCipherAlgorithm alg;
        const char *key;
        uint64_t sector;
        const char *cipher;
    } rows[] = {
        { QCRYPTO_CIPHER_ALG_AES_128, "27182818284590452353602874713526"
          "31415926535897932384626433832795", 0,
          "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c"
          "c78cf7f5e543445f8333d8fa7f56000005279fa5d8b5e4ad40e736ddb4d35412" },
        { QCRYPTO_CIPHER_ALG_AES_256, "27182818284590452353602874713526"
          "62497757247093699959574966967627"
          "31415926535897932384626433832795"
          "02884197169399375105820974944592", 0xff,
          "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"
          "5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CryptoSectorsSpec spec = {
            .cipher = rows[i].alg,
            .mode = QCRYPTO_CIPHER_MODE_XTS,
            .ivgen = QCRYPTO_IVGEN_ALG_PLAIN64,
        };
        uint8_t plain[CRYPTO_SECTOR], out[CRYPTO_SECTOR];
        size_t n;
        g_autofree uint8_t *key = unhex(rows[i].key, &n);
        g_autoptr(CryptoSectors) s = NULL;

        g_assert_true(crypto_sectors_check(&spec, NULL));
        s = crypto_sectors_new(&spec, key);
        for (n = 0; n < sizeof(plain); n++) {
            plain[n] = n;
        }
        crypto_sectors_encrypt(s, rows[i].sector, sizeof(plain), out, plain);
        check_hex(out, rows[i].cipher);
        crypto_sectors_decrypt(s, rows[i].sector, sizeof(plain), out, out);
        g_assert_cmpmem(out, sizeof(out), plain, sizeof(plain));
    }
}

/* The vector by hand: AES of the sector's number by the digest of the key. */
static void test_essiv(void)
{
    CryptoSectorsSpec spec = {
        .cipher = QCRYPTO_CIPHER_ALG_AES_128,
        .mode = QCRYPTO_CIPHER_MODE_CBC,
        .ivgen = QCRYPTO_IVGEN_ALG_ESSIV,
        .ivgen_hash = QCRYPTO_HASH_ALG_SHA256,
    };
    static const uint8_t key[16] = "0123456789abcde";
    uint8_t digest[32], iv[16] = { 0x34, 0x12 }, data[CRYPTO_SECTOR] = { 0 };
    g_autoptr(CryptoSectors) s = NULL;
    g_autoptr(CryptoCipher) essiv = NULL, cipher = NULL;
    uint8_t want[CRYPTO_SECTOR];

    g_assert_true(crypto_sectors_check(&spec, NULL));
    s = crypto_sectors_new(&spec, key);
    crypto_hash(QCRYPTO_HASH_ALG_SHA256, key, sizeof(key), digest);
    essiv = crypto_cipher_new(QCRYPTO_CIPHER_ALG_AES_256, digest);
    cipher = crypto_cipher_new(QCRYPTO_CIPHER_ALG_AES_128, key);
    crypto_cipher_encrypt(essiv, 16, iv, iv);
    crypto_cbc_encrypt(cipher, iv, sizeof(want), want, data);
    crypto_sectors_encrypt(s, 0x1234, sizeof(data), data, data);
    g_assert_cmpmem(data, sizeof(data), want, sizeof(want));
}

/* Plain vectors have 32 bits, plain64 ones have 64. */
static void test_plain(void)
{
    CryptoSectorsSpec spec = {
        .cipher = QCRYPTO_CIPHER_ALG_SERPENT_256,
        .mode = QCRYPTO_CIPHER_MODE_CBC,
    };
    static const uint8_t key[32] = { 7 };

    for (int i = 0; i < 2; i++) {
        uint8_t low[CRYPTO_SECTOR] = { 0 }, high[CRYPTO_SECTOR] = { 0 };
        g_autoptr(CryptoSectors) s = NULL;

        spec.ivgen = i ? QCRYPTO_IVGEN_ALG_PLAIN64 : QCRYPTO_IVGEN_ALG_PLAIN;
        s = crypto_sectors_new(&spec, key);
        crypto_sectors_encrypt(s, 5, sizeof(low), low, low);
        crypto_sectors_encrypt(s, 5 | UINT64_C(1) << 32, sizeof(high), high,
                               high);
        g_assert_cmpint(memcmp(low, high, sizeof(low)) != 0, ==, i);
    }
}

/* All that goes together: there and back, in pieces and at once. */
static void test_all_modes(void)
{
    enum { BYTES = 21 * CRYPTO_SECTOR };
    g_autofree uint8_t *plain = g_malloc(BYTES), *one = g_malloc(BYTES);
    g_autofree uint8_t *all = g_malloc(BYTES);
    uint8_t key[CRYPTO_KEY_MAX];
    int n = 0;

    crypto_random(plain, BYTES);
    crypto_random(key, sizeof(key));
    for (int i = 0; i < QCRYPTO_CIPHER_ALG__MAX * QCRYPTO_CIPHER_MODE__MAX *
         QCRYPTO_IVGEN_ALG__MAX * QCRYPTO_HASH_ALG__MAX; i++) {
        int rest = i;
        CryptoSectorsSpec spec;
        g_autoptr(CryptoSectors) s = NULL;

        spec.cipher = rest % QCRYPTO_CIPHER_ALG__MAX;
        rest /= QCRYPTO_CIPHER_ALG__MAX;
        spec.mode = rest % QCRYPTO_CIPHER_MODE__MAX;
        rest /= QCRYPTO_CIPHER_MODE__MAX;
        spec.ivgen = rest % QCRYPTO_IVGEN_ALG__MAX;
        spec.ivgen_hash = rest / QCRYPTO_IVGEN_ALG__MAX;
        if (!crypto_sectors_check(&spec, NULL)) {
            continue;
        }
        n++;
        s = crypto_sectors_new(&spec, key);
        crypto_sectors_encrypt(s, 1000, BYTES, all, plain);
        g_assert_true(memcmp(all, plain, BYTES) != 0);
        memcpy(one, plain, BYTES);
        for (int k = 0; k < BYTES / CRYPTO_SECTOR; k++) {
            crypto_sectors_encrypt(s, 1000 + k, CRYPTO_SECTOR,
                                   one + k * CRYPTO_SECTOR,
                                   one + k * CRYPTO_SECTOR);
        }
        g_assert_cmpmem(one, BYTES, all, BYTES);
        crypto_sectors_decrypt(s, 1000, BYTES, all, all);
        g_assert_cmpmem(plain, BYTES, all, BYTES);
    }
    /*
     * 9 ciphers of 16 bytes in 4 modes, one of 8 in 3: each with two kinds of
     * vectors, which use none of the 7 digests, and with ESSIV, for which the
     * digest must be as long as a key.
     */
    g_assert_cmpint(n, ==, (9 * 4 + 3) * 2 * 7 + 9 * 4 * 2 + 3);
}

static void refused(CryptoSectorsSpec spec, const char *word)
{
    g_autoptr(Error) err = NULL;

    g_assert_false(crypto_sectors_check(&spec, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), word));
}

static void test_refused(void)
{
    refused((CryptoSectorsSpec) { QCRYPTO_CIPHER_ALG_DES }, "'des'");
    refused((CryptoSectorsSpec) { QCRYPTO_CIPHER_ALG_3DES }, "'3des'");
    refused((CryptoSectorsSpec) {
        QCRYPTO_CIPHER_ALG_CAST5_128, QCRYPTO_CIPHER_MODE_XTS }, "'xts'");
    refused((CryptoSectorsSpec) {
        QCRYPTO_CIPHER_ALG_AES_256, QCRYPTO_CIPHER_MODE_XTS,
        QCRYPTO_IVGEN_ALG_ESSIV, QCRYPTO_HASH_ALG_SHA1 }, "20 bytes");
}

/* --- secrets --- */

static void add(const char *id, const char *data, bool base64,
                const char *keyid, const char *iv, const char *word)
{
    SecretProperties props = {
        .data = (char *)data,
        .format = base64 ? QCRYPTO_SECRET_FORMAT_BASE64
                         : QCRYPTO_SECRET_FORMAT_RAW,
        .keyid = (char *)keyid,
        .iv = (char *)iv,
    };
    g_autoptr(Error) err = NULL;
    bool ok = crypto_secret_add(id, &props, &err);

    g_assert_cmpint(ok, ==, !word);
    if (word) {
        g_assert_nonnull(strstr(error_get_pretty(err), word));
    }
}

static void check_secret(const char *id, const char *want)
{
    size_t bytes;
    uint8_t *data = crypto_secret_get(id, &bytes, &error_abort);

    g_assert_cmpmem(data, bytes, want, strlen(want));
    crypto_free(data, bytes);
}

static void test_secrets(void)
{
    static const char iv[] = "AAECAwQFBgcICQoLDA0ODw==";
    g_autoptr(Error) err = NULL;
    size_t bytes;

    add("plain", "abc", false, NULL, NULL, NULL);
    check_secret("plain", "abc");
    add("empty", "", true, NULL, NULL, NULL);
    check_secret("empty", "");
    add("coded", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", true, NULL,
        NULL, NULL);
    check_secret("coded", "12345678901234567890123456789012");
    add("bad", "Y*Jj", true, NULL, NULL, "invalid characters");
    /* "abc" by `openssl enc -aes-256-cbc` with the key "coded". */
    add("hidden", "HoyXuvwyjJHiZJVtAHY1MQ==", true, "coded", iv, NULL);
    check_secret("hidden", "abc");
    add("no-iv", "AAAA", true, "coded", NULL, "IV is required");
    add("bad-iv", "AAAA", true, "coded", "AAAA", "not 3");
    add("odd", "AAAA", true, "coded", iv, "Length 3");
    add("unpadded", "AAAAAAAAAAAAAAAAAAAAAA==", true, "coded", iv, "padding");
    add("nothing", "", true, "coded", iv, "padding");
    add("short-key", "AAAA", true, "plain", iv, "32 bytes");
    add("no-key", "AAAA", true, "nobody", iv, "'nobody'");
    add("binary", "gIGC", true, NULL, NULL, NULL);
    g_assert_null(crypto_secret_get_password("binary", &bytes, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "UTF-8"));
    for (const char *const *id = (const char *const[]) {
             "plain", "empty", "coded", "hidden", "binary", "plain", NULL };
         *id; id++) {
        crypto_secret_del(*id);
        g_assert_null(crypto_secret_get(*id, &bytes, NULL));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/crypto/hash", test_hash);
    g_test_add_func("/crypto/pbkdf2", test_pbkdf2);
    g_test_add_func("/crypto/pbkdf2-stops", test_pbkdf2_stops);
    g_test_add_func("/crypto/cipher", test_cipher);
    g_test_add_func("/crypto/cbc", test_cbc);
    g_test_add_func("/crypto/xts", test_xts);
    g_test_add_func("/crypto/essiv", test_essiv);
    g_test_add_func("/crypto/plain", test_plain);
    g_test_add_func("/crypto/all-modes", test_all_modes);
    g_test_add_func("/crypto/refused", test_refused);
    g_test_add_func("/crypto/secrets", test_secrets);
    return g_test_run();
}
