/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The form of the stream, see docs/devel/migration.rst.  Numbers are big
 * endian.
 */
#ifndef MIGRATION_WIRE_H
#define MIGRATION_WIRE_H

#define WIRE_MAGIC 0x5145564d /* "QEVM" */
#define WIRE_VERSION 3

/* What follows, one byte */
#define WIRE_EOF 0x00
#define WIRE_SECTION_START 0x01 /* id, name, instance, version, content */
#define WIRE_SECTION_PART 0x02  /* id, content */
#define WIRE_SECTION_END 0x03   /* id, content */
#define WIRE_SECTION_FULL 0x04  /* as START, and nothing more of it */
#define WIRE_VMDESCRIPTION 0x06 /* 4 bytes length, JSON; behind EOF */
#define WIRE_CONFIGURATION 0x07 /* 4 bytes length, name of the machine type */
#define WIRE_COMMAND 0x08       /* 2 bytes command, 2 bytes length, content */
#define WIRE_FOOTER 0x7e        /* 4 bytes id; behind each section */

/* Commands */
#define WIRE_CMD_OPEN_RETURN_PATH 1
#define WIRE_CMD_PING 2            /* 4 bytes, which the answer has */
#define WIRE_CMD_POSTCOPY_ADVISE 3
#define WIRE_CMD_POSTCOPY_LISTEN 4
#define WIRE_CMD_POSTCOPY_RUN 5
#define WIRE_CMD_PACKAGED 7        /* 4 bytes length; then a stream of it */

/* Answers on the return path: 2 bytes type, 2 bytes length, content */
#define WIRE_RP_SHUT 1 /* 4 bytes: 0 if everything was received */
#define WIRE_RP_PONG 2 /* 4 bytes, of the question */

/* Limits of what is accepted */
#define WIRE_MAX_TYPE_NAME 255
#define WIRE_MAX_PACKAGE (16 * MiB)
#define WIRE_MAX_DESCRIPTION (16 * MiB)
#define WIRE_MAX_DESCRIPTION_READ (1 * MiB) /* larger ones are skipped */

/* --- section dirty-bitmap --- */

#define WIRE_BITMAP_SECTION "dirty-bitmap"
#define WIRE_BITMAP_VERSION 1

/* Flags of a chunk, one byte */
#define WIRE_BM_EOS 0x01      /* alone: no more chunks in this section */
#define WIRE_BM_ZEROES 0x02   /* of BITS: all clean, no data */
#define WIRE_BM_BITMAP 0x04   /* a name of a bitmap follows, and counts on */
#define WIRE_BM_NODE 0x08     /* the same for a node, before it */
#define WIRE_BM_START 0x10    /* 4 bytes granularity, 1 byte properties */
#define WIRE_BM_COMPLETE 0x20
#define WIRE_BM_BITS 0x40     /* 8 bytes first sector, 4 bytes sectors, and
                                 8 bytes length, bits */
#define WIRE_BM_EXTRA 0x80    /* one more byte of flags follows, see below */
/* Of BITS, in the second byte: all dirty, no data.  Not in QEMU. */
#define WIRE_BM_ONES 0x01

/* Properties of a bitmap */
#define WIRE_BITMAP_ENABLED 0x01
#define WIRE_BITMAP_PERSISTENT 0x02
#define WIRE_BITMAP_AUTOLOAD 0x04 /* the same as enabled; not written */

#define WIRE_SECTOR 512
/* Bits in one chunk of data: QEMU sends 1 KiB and takes up to 10 KiB. */
#define WIRE_CHUNK 1024
#define WIRE_CHUNK_MAX (64 * KiB)
/* QEMU pads the data of small bitmaps to multiples of this. */
#define WIRE_PADDING 32

#endif
