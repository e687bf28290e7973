/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The signatures of image formats, whether there is a driver for them or not.
 *
 * An image of a format without a driver must not be taken for a raw one: to
 * copy its bytes gives a wrong disk, and to write them destroys it.  So what
 * this table recognises is never raw by probing.  All of it is in the first
 * sector, which is why the guard of a raw image needs to look at no other.
 */
#include "qemu/osdep.h"
#include "block/graph-int.h"

typedef struct KnownFormat {
    const char *name;
    /* @bytes of @magic at @offset ... */
    unsigned offset, bytes;
    const char *magic;
    /* ... and this, if there is one. */
    bool (*matches)(const uint8_t *sector, const char *filename);
} KnownFormat;

/* --- conditions beyond the magic --- */

static bool is_qcow_1(const uint8_t *sector, const char *filename)
{
    return ld32_be(sector + 4) == 1;
}

static bool is_luks_1(const uint8_t *sector, const char *filename)
{
    return sector[6] == 0 && sector[7] == 1;
}

static bool is_parallels_2(const uint8_t *sector, const char *filename)
{
    return ld32_le(sector + 16) == 2;
}

/* Strings in fields of 32, 16 and 16 bytes, and a version. */
static bool is_bochs_growing(const uint8_t *sector, const char *filename)
{
    uint32_t version = ld32_le(sector + 64);

    return !memcmp(sector + 32, "Redolog", 8) &&
           !memcmp(sector + 48, "Growing", 8) &&
           (version == 0x10000 || version == 0x20000);
}

/* Its signature is at the end of the file: the name has to do. */
static bool is_named_dmg(const uint8_t *sector, const char *filename)
{
    return strlen(filename) > 4 && g_str_has_suffix(filename, ".dmg");
}

/* The length of the line at @p, of at most @left bytes, with its end; 0: it
 * does not end. */
static size_t line_bytes(const char *p, size_t left)
{
    const char *end = memchr(p, '\n', left);

    return end ? end - p + 1 : 0;
}

static bool is_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (!g_ascii_isspace(line[i])) {
            return false;
        }
    }
    return true;
}

/*
 * A text file whose first line after comments and blank lines is the version.
 * The usual title suffices, too.
 */
static bool is_vmdk_text(const uint8_t *sector, const char *filename)
{
    static const char title[] = "# Disk DescriptorFile";
    static const char version[] = "version=";
    const size_t n = sizeof(version) - 1;
    const char *p = (const char *)sector, *end = p + BDRV_SECTOR_SIZE;
    size_t line;

    if (!memcmp(p, title, sizeof(title) - 1)) {
        return true;
    }
    while ((line = line_bytes(p, end - p)) > 0 &&
           (*p == '#' || is_blank(p, line))) {
        p += line;
    }
    return line > n + 1 && !memcmp(p, version, n) && p[n] >= '1' &&
           p[n] <= '3' && is_blank(p + n + 1, line - n - 1);
}

/* --- the table --- */

#define MAGIC(string) sizeof(string) - 1, string

static const KnownFormat known_formats[] = {
    {"bochs", 0, MAGIC("Bochs Virtual HD Image\0"), is_bochs_growing},
    {"cloop", 0, MAGIC("#!/bin/sh\n#V2.0 Format\n")},
    {"luks", 0, MAGIC("LUKS\xba\xbe"), is_luks_1},
    {"parallels", 0, MAGIC("WithoutFreeSpace"), is_parallels_2},
    {"parallels", 0, MAGIC("WithouFreSpacExt"), is_parallels_2},
    {"qcow", 0, MAGIC("QFI\xfb"), is_qcow_1},
    {"qed", 0, MAGIC("QED\0")},
    {"vdi", 64, MAGIC("\x7f\x10\xda\xbe")},
    {"vhdx", 0, MAGIC("vhdxfile")},
    {"vmdk", 0, MAGIC("KDMV")},
    {"vmdk", 0, MAGIC("COWD")},
    {"vmdk", 0, 0, "", is_vmdk_text},
    {"vpc", 0, MAGIC("conectix")},
    /* What the content says counts more than the name. */
    {"dmg", 0, 0, "", is_named_dmg},
};

const char *bdrv_probe_known(const uint8_t *sector, const char *filename)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_formats); i++) {
        const KnownFormat *k = &known_formats[i];

        if (!memcmp(sector + k->offset, k->magic, k->bytes) &&
            (!k->matches || k->matches(sector, filename))) {
            return k->name;
        }
    }
    return NULL;
}
