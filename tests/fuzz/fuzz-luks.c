/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An untrusted LUKS volume.  The input is a list of changes of a valid one, as
 * a volume is large and its key must fit: a place (2 bytes: part and offset in
 * bytes), a length (1) and bytes.
 */
#include "qemu/osdep.h"
#include "crypto/luks.h"
#include "fuzz-format.h"

const char fuzz_format[] = "luks";

#define MATERIAL 4096
#define DISK (64 * KiB)

static GByteArray *valid;

/* --- the volume --- */

static int coroutine_fn read_valid(void *opaque, uint64_t offset,
                                   size_t bytes, void *buf)
{
    memcpy(buf, valid->data + offset, bytes);
    return 0;
}

static int coroutine_fn write_valid(void *opaque, uint64_t offset,
                                    size_t bytes, const void *buf)
{
    memcpy(valid->data + offset, buf, bytes);
    return 0;
}

static int coroutine_fn flush_valid(void *opaque)
{
    return 0;
}

static void coroutine_fn create(void *opaque)
{
    LuksIO io = { read_valid, write_valid, flush_valid, NULL };
    LuksCreate c = {
        .spec = {
            .cipher = QCRYPTO_CIPHER_ALG_AES_128,
            .mode = QCRYPTO_CIPHER_MODE_CBC,
            .ivgen = QCRYPTO_IVGEN_ALG_PLAIN64,
        },
        .hash = QCRYPTO_HASH_ALG_SHA1,
        .iter_time = 1,
    };
    LuksWork work = { 0 };
    LuksHeader h;

    luks_create(&c, &io, "secret", 6, &work, &h, &error_abort);
}

static void build(void)
{
    valid = g_byte_array_new();
    g_byte_array_set_size(valid, luks_payload_offset(16) + DISK);
    memset(valid->data, 0, valid->len);
    aio_run_co(aio_main_context(), create, NULL);
    fuzz_format_options = ", \"key-secret\": \"key\"";
}

/* --- its changes --- */

static void change(uint8_t *p, const uint8_t *data, size_t size)
{
    while (size > 3) {
        uint32_t place = ld16_le(data);
        size_t n = MIN(data[2], size - 3);

        memcpy(p + (place & 1 ? MATERIAL : 0) + (place >> 1) % 1024, data + 3,
               n);
        data += 3 + n;
        size -= 3 + n;
    }
}

static void make(const uint8_t *data, size_t size)
{
    if (!valid) {
        build();
    }
    fuzz_image_set(valid->data, valid->len);
    change(fuzz_image->data, data, size);
    fuzz_image_limit_keys();
}

void (*const fuzz_format_make)(const uint8_t *data, size_t size) = make;
