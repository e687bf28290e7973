/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2 as it is on disk: constants, and the header in host byte order. */
#ifndef QCOW2_FORMAT_INT_H
#define QCOW2_FORMAT_INT_H

#include "qemu/osdep.h"

#define QCOW2_MAGIC 0x514649fbU
#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_V2_HEADER_LENGTH 72
#define QCOW2_V3_MIN_HEADER_LENGTH 104
#define QCOW2_HEADER_LENGTH 112
#define QCOW2_MAX_BACKING_NAME 1023
#define QCOW2_MAX_L1_BYTES (32 * MiB)
#define QCOW2_MAX_REFTABLE_BYTES (8 * MiB)
#define QCOW2_MAX_SNAPSHOTS 65536
#define QCOW2_MAX_SNAPSHOT_TABLE (64 * MiB)
#define QCOW2_MAX_SNAPSHOT_EXTRA 1024

enum {
    QCOW2_INCOMPAT_DIRTY = 1 << 0,
    QCOW2_INCOMPAT_CORRUPT = 1 << 1,
    QCOW2_INCOMPAT_DATA_FILE = 1 << 2,
    QCOW2_INCOMPAT_COMPRESSION = 1 << 3,
    QCOW2_INCOMPAT_EXTL2 = 1 << 4,
    QCOW2_INCOMPAT_KNOWN = 0x1f,
    QCOW2_COMPAT_LAZY = 1 << 0,
    QCOW2_AUTOCLEAR_BITMAPS = 1 << 0,
    QCOW2_AUTOCLEAR_RAW = 1 << 1,
};

/*
 * A bit of this program.  Others clear it before they write to the image, which
 * says that the disk may have been shrunk and grown without a note.
 */
#define QCOW2_AUTOCLEAR_CUTS (UINT64_C(1) << 63)
/* The same: bitmaps that have a note are ahead of the disk while in use. */
#define QCOW2_AUTOCLEAR_AHEAD (UINT64_C(1) << 62)
/* The same: the disk to which the bitmaps belong is not that of the image. */
#define QCOW2_AUTOCLEAR_DISK (UINT64_C(1) << 61)
/* The same: what is remembered of jobs is behind the bitmap directory. */
#define QCOW2_AUTOCLEAR_RESUME (UINT64_C(1) << 60)
#define QCOW2_AUTOCLEAR_KNOWN \
    (QCOW2_AUTOCLEAR_BITMAPS | QCOW2_AUTOCLEAR_CUTS | \
     QCOW2_AUTOCLEAR_AHEAD | QCOW2_AUTOCLEAR_DISK | QCOW2_AUTOCLEAR_RESUME)

enum {
    QCOW2_EXT_END = 0,
    QCOW2_EXT_BACKING_FORMAT = 0xe2792aca,
    QCOW2_EXT_FEATURES = 0x6803f857,
    QCOW2_EXT_BITMAPS = 0x23852875,
    QCOW2_EXT_BITMAP_CUTS = 0x54634244, /* of this program, "TcBD" */
    QCOW2_EXT_BITMAPS_AHEAD = 0x54624148, /* of this program, "TbAH" */
    QCOW2_EXT_BITMAPS_DISK = 0x54624449, /* of this program, "TbDI" */
    QCOW2_EXT_BITMAPS_RESUME = 0x54625245, /* of this program, "TbRE" */
    QCOW2_EXT_CRYPTO = 0x0537be77,
    QCOW2_EXT_DATA_FILE = 0x44415441,
};

/* Of the header; crypt-int.h */
enum {
    QCOW2_CRYPT_NONE = 0,
    QCOW2_CRYPT_AES = 1,
    QCOW2_CRYPT_LUKS = 2,
};

#define QCOW2_COPIED (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO UINT64_C(1)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_REFTABLE_MASK UINT64_C(0xfffffffffffffe00)
#define QCOW2_L1_RESERVED UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED UINT64_C(0x3f000000000001fe)
/* With extended L2 entries, a cluster has so many subclusters. */
#define QCOW2_SUBCLUSTERS 32
#define QCOW2_MIN_EXTL2_BITS 14

/* log2 of the bytes of an L2 entry. */
static inline unsigned qcow2_entry_bits(uint64_t incompatible)
{
    return incompatible & QCOW2_INCOMPAT_EXTL2 ? 4 : 3;
}

/* Largest host offset that an L2 entry can hold. */
#define QCOW2_MAX_HOST_OFFSET (INT64_C(1) << 56)

/* The header as stored; all fields in host byte order. */
typedef struct Qcow2Header {
    uint32_t version;
    uint64_t backing_offset;
    uint32_t backing_size;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    const char *reftable_damage;  /* why it is unusable, or NULL */
    const char *snapshots_damage; /* the same for the table of snapshots */
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
    uint32_t header_length;
    uint8_t compression_type;
    uint64_t crypt_offset, crypt_bytes; /* extension of LUKS; written only */
    const char *data_name; /* extension of the external data file, or NULL;
                              written only */
} Qcow2Header;

/* An unknown header extension, which is kept. */
typedef struct Qcow2Extension {
    uint32_t magic;
    uint32_t len;
    uint8_t *data;
} Qcow2Extension;

/* The bitmaps extension. */
typedef struct Qcow2BitmapExt {
    uint32_t nb_bitmaps;
    uint64_t dir_size;   /* bytes; 0: no extension */
    uint64_t dir_offset;
    /* Of the records behind it (block/qcow2/bitmap-resume.c); 0 bytes: none. */
    uint32_t resume_bytes, resume_crc;
} Qcow2BitmapExt;

/* An element of this program's extension: see bdrv_dirty_bitmap_cut_end(). */
typedef struct Qcow2BitmapCut {
    uint32_t index; /* of the bitmap in the directory */
    uint64_t end;
} Qcow2BitmapCut;

#define QCOW2_BOOT_ID_BYTES 16

/* What this program's other extension says of a bitmap: docs/interop/
 * qcow2-bitmap-safety.rst. */
typedef struct Qcow2BitmapNote {
    uint32_t index; /* of the bitmap in the directory */
    uint8_t level;  /* QCOW2_AHEAD_*: what its stored bits survive */
    uint64_t size;  /* of the disk that they cover */
    uint64_t over;  /* bytes that they say to be dirty in excess, at most */
    uint8_t boot_id[QCOW2_BOOT_ID_BYTES]; /* of the host that wrote it */
} Qcow2BitmapNote;

enum {
    QCOW2_AHEAD_NONE = 0,
    QCOW2_AHEAD_PROCESS = 1,
    QCOW2_AHEAD_POWER = 2,
};

#endif
