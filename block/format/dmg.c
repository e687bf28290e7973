/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmg: the compressed disk images of macOS (UDIF); can only be read.
 *
 *     data | property list | trailer ("koly")
 *
 * The property list has tables ("mish", in base64), each with runs of sectors:
 * zeroes, stored, or compressed.  Of the compressions zlib is supported, and
 * bzip2 if it was there when this was built; an image with another one is
 * refused.  All numbers are big-endian.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/mapped.h"

#define DMG_TRAILER 512
#define DMG_MAX_LIST (16 * MiB)
#define DMG_MAX_RUN (64 * MiB) /* of a compressed run, both ways */
#define DMG_TABLE 204          /* bytes before the runs of a table */
#define DMG_RUN 40

/* Types of runs. */
#define DMG_ZERO 0
#define DMG_STORED 1
#define DMG_IGNORED 2
#define DMG_ADC 0x80000004U
#define DMG_ZLIB 0x80000005U
#define DMG_BZIP2 0x80000006U
#define DMG_LZFSE 0x80000007U
#define DMG_LZMA 0x80000008U
#define DMG_COMMENT 0x7ffffffeU
#define DMG_END 0xffffffffU

typedef struct DmgRun {
    uint32_t type;
    int64_t start, bytes;      /* on the disk */
    uint64_t offset, packed;   /* in the file */
} DmgRun;

typedef struct DmgState {
    MappedImage mapped;
    GArray *runs; /* of DmgRun, in order of ->start */
    MapCache data;
} DmgState;

/* --- opening --- */

static bool is_packed(const DmgRun *run)
{
    return run->type == DMG_ZLIB || run->type == DMG_BZIP2;
}

static bool check_packing(uint32_t type, Error **errp)
{
    if (type <= DMG_IGNORED || type == DMG_ZLIB ||
        (type == DMG_BZIP2 && map_has_bzip2())) {
        return true;
    }
    switch (type) {
    case DMG_ADC:
    case DMG_LZFSE:
    case DMG_LZMA:
        error_setg(errp, "Unsupported compression %s in a DMG image",
                   type == DMG_ADC ? "ADC"
                   : type == DMG_LZFSE ? "LZFSE" : "LZMA");
        break;
    case DMG_BZIP2:
        error_setg(errp, "Unsupported compression bzip2 in a DMG image: this "
                   "program was built without it");
        break;
    default:
        error_setg(errp, "Unsupported compression 0x%08" PRIx32 " in a DMG "
                   "image", type);
    }
    return false;
}

static int take_run(DmgState *s, const uint8_t *p, uint64_t first,
                    uint64_t data, uint64_t length, Error **errp)
{
    uint64_t sector = ld64_be(p + 8), count = ld64_be(p + 16);
    uint64_t most = BDRV_MAX_LENGTH / BDRV_SECTOR_SIZE;
    DmgRun run = {
        .type = ld32_be(p), .packed = ld64_be(p + 32),
        .bytes = count * BDRV_SECTOR_SIZE,
    };

    if (run.type == DMG_COMMENT || run.type == DMG_END || count == 0) {
        return 0;
    }
    if (!check_packing(run.type, errp)) {
        return -ENOTSUP;
    }
    if (first > most || sector > most - first ||
        count > most - first - sector) {
        error_setg(errp, "DMG run of %" PRIu64 " sectors is too large", count);
        return -EINVAL;
    }
    run.start = (first + sector) * BDRV_SECTOR_SIZE;
    if (run.type == DMG_STORED || is_packed(&run)) {
        if (__builtin_add_overflow(data, ld64_be(p + 24), &run.offset) ||
            !range_fits(run.offset, run.packed, length) ||
            (is_packed(&run) && (run.bytes > DMG_MAX_RUN ||
                                 run.packed > DMG_MAX_RUN ||
                                 run.packed == 0)) ||
            (run.type == DMG_STORED && run.packed < (uint64_t)run.bytes)) {
            error_setg(errp, "DMG run is outside of the file, or too large");
            return -EINVAL;
        }
    }
    g_array_append_val(s->runs, run);
    return 0;
}

static int take_table(DmgState *s, const uint8_t *p, gsize bytes,
                      uint64_t data, uint64_t length, Error **errp)
{
    uint32_t runs = bytes < DMG_TABLE ? 0 : ld32_be(p + DMG_TABLE - 4);
    int ret = 0;

    if (bytes < DMG_TABLE || memcmp(p, "mish", 4) ||
        runs > (bytes - DMG_TABLE) / DMG_RUN) {
        error_setg(errp, "Invalid table of runs in a DMG image");
        return -EINVAL;
    }
    if (__builtin_add_overflow(data, ld64_be(p + 24), &data)) {
        error_setg(errp, "DMG data is outside of the file");
        return -EINVAL;
    }
    for (uint32_t i = 0; ret == 0 && i < runs; i++) {
        ret = take_run(s, p + DMG_TABLE + i * DMG_RUN, ld64_be(p + 8), data,
                       length, errp);
    }
    return ret;
}

/* The tables are the data elements of the array "blkx". */
static int take_list(DmgState *s, char *list, uint64_t data, uint64_t length,
                     Error **errp)
{
    char *p = strstr(list, "<key>blkx</key>");
    char *end = p ? strstr(p, "</array>") : NULL;
    int ret = 0;

    if (!end) {
        error_setg(errp, "DMG property list has no tables of runs");
        return -EINVAL;
    }
    *end = '\0';
    while (ret == 0 && (p = strstr(p, "<data>"))) {
        char *close = strstr(p, "</data>");
        g_autofree guchar *table = NULL;
        gsize bytes;

        if (!close) {
            error_setg(errp, "DMG property list is cut");
            return -EINVAL;
        }
        *close = '\0';
        table = g_base64_decode(p + strlen("<data>"), &bytes);
        ret = take_table(s, table, bytes, data, length, errp);
        p = close + 1;
    }
    return ret;
}

static gint compare_runs(gconstpointer a, gconstpointer b)
{
    const DmgRun *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

/* Runs do not overlap; the disk has @sectors, or ends with its last run. */
static int finish_runs(DmgState *s, uint64_t sectors, int64_t *size,
                       Error **errp)
{
    int64_t end = 0;

    if (sectors > BDRV_MAX_LENGTH / BDRV_SECTOR_SIZE) {
        error_setg(errp, "DMG disk of %" PRIu64 " sectors is too large",
                   sectors);
        return -EINVAL;
    }

    g_array_sort(s->runs, compare_runs);
    for (guint i = 0; i < s->runs->len; i++) {
        const DmgRun *run = &g_array_index(s->runs, DmgRun, i);

        if (run->start < end) {
            error_setg(errp, "Runs of a DMG image overlap");
            return -EINVAL;
        }
        end = run->start + run->bytes;
    }
    *size = MAX(end, (int64_t)(sectors * BDRV_SECTOR_SIZE));
    return 0;
}

/* Where the trailer is in @end, or NULL: after it there are only the zeroes to
 * which the size of a file is rounded up. */
static const uint8_t *find_trailer(const uint8_t *end, size_t bytes)
{
    for (size_t past = 0; past < BDRV_SECTOR_SIZE; past++) {
        const uint8_t *t = end + bytes - DMG_TRAILER - past;

        if (past > bytes - DMG_TRAILER ||
            (past > 0 && t[DMG_TRAILER] != 0)) {
            return NULL;
        }
        if (!memcmp(t, "koly", 4)) {
            return t;
        }
    }
    return NULL;
}

static int read_trailer(BlockDriverState *bs, uint8_t *t, int64_t length,
                        Error **errp)
{
    uint8_t end[DMG_TRAILER + BDRV_SECTOR_SIZE];
    size_t bytes = CLAMP(length, 0, (int64_t)sizeof(end));
    const uint8_t *found;
    int ret = bytes < DMG_TRAILER ? -EINVAL
        : bdrv_pread(bs->file, length - bytes, bytes, end);

    if (ret >= 0) {
        found = find_trailer(end, bytes);
        if (found) {
            memcpy(t, found, DMG_TRAILER);
        } else {
            ret = -EINVAL;
        }
    }
    if (ret == -EINVAL) {
        error_setg(errp, "Could not locate UDIF trailer in dmg file");
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the UDIF trailer");
    }
    return MIN(ret, 0);
}

static int read_list(BlockDriverState *bs, const uint8_t *t, int64_t length,
                     Error **errp)
{
    DmgState *s = bs->opaque;
    uint64_t at = ld64_be(t + 216), bytes = ld64_be(t + 224);
    g_autofree char *list = NULL;
    int ret;

    if (bytes == 0 || bytes > DMG_MAX_LIST || !range_fits(at, bytes, length)) {
        error_setg(errp, "DMG image has no property list, or an invalid one");
        return -EINVAL;
    }
    list = g_malloc0(bytes + 1);
    ret = bdrv_pread(bs->file, at, bytes, list);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the DMG property list");
        return ret;
    }
    return take_list(s, list, ld64_be(t + 24), length, errp);
}

/* --- reading --- */

/* The last run that begins at or before @offset, or NULL. */
static const DmgRun *find_run(const DmgState *s, int64_t offset)
{
    guint low = 0, high = s->runs->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (g_array_index(s->runs, DmgRun, middle).start <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low ? &g_array_index(s->runs, DmgRun, low - 1) : NULL;
}

/* What no run describes is zero. */
static void map_gap(const DmgState *s, int64_t offset, MappedRun *out)
{
    guint i = 0;

    out->kind = MAPPED_ZERO;
    out->start = offset;
    while (i < s->runs->len &&
           g_array_index(s->runs, DmgRun, i).start <= offset) {
        i++;
    }
    out->whole = (i < s->runs->len ? g_array_index(s->runs, DmgRun, i).start
                                   : s->mapped.size) - offset;
}

static int coroutine_fn dmg_map(BlockDriverState *bs, int64_t offset,
                                MappedRun *out)
{
    DmgState *s = bs->opaque;
    const DmgRun *run = find_run(s, offset);

    if (!run || offset >= run->start + run->bytes) {
        map_gap(s, offset, out);
        return 0;
    }
    out->start = run->start;
    out->whole = run->bytes;
    out->kind = run->type == DMG_STORED ? MAPPED_DATA
              : is_packed(run) ? MAPPED_OTHER : MAPPED_ZERO;
    out->host = run->offset + (run->type == DMG_STORED ? offset - run->start
                                                       : 0);
    return 0;
}

static int coroutine_fn dmg_read_other(BlockDriverState *bs, int64_t offset,
                                       const MappedRun *out,
                                       QEMUIOVector *qiov, size_t qiov_offset)
{
    DmgState *s = bs->opaque;
    const DmgRun *run = find_run(s, offset);
    const uint8_t *data;
    int ret;

    data = map_cache_unpack(bs, &s->data, run->offset, run->packed, run->bytes,
                            run->type == DMG_BZIP2 ? MAP_BZIP2 : MAP_ZLIB,
                            &ret);
    if (!data) {
        return ret;
    }
    qemu_iovec_from_buf(qiov, qiov_offset, data + offset - run->start,
                        out->bytes);
    return 0;
}

static const MappedOps dmg_ops = {
    .map = dmg_map,
    .read_other = dmg_read_other,
};

static void free_state(DmgState *s)
{
    g_array_unref(s->runs);
    map_cache_free(&s->data);
}

static int dmg_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    DmgState *s = bs->opaque;
    uint8_t t[DMG_TRAILER];
    int64_t length, size = 0;
    int ret;

    /* Its header is at the end. */
    ret = mapped_open_read_only(bs, options->u.dmg.file, "dmg", NULL, 0, errp);
    if (ret < 0) {
        return ret;
    }
    length = bdrv_getlength(bs->file->bs);
    ret = read_trailer(bs, t, length, errp);
    if (ret < 0) {
        return ret;
    }
    s->runs = g_array_new(FALSE, FALSE, sizeof(DmgRun));
    ret = read_list(bs, t, length, errp);
    if (ret == 0) {
        ret = finish_runs(s, ld64_be(t + 492), &size, errp);
    }
    if (ret < 0) {
        free_state(s);
        return ret;
    }
    mapped_init(&s->mapped, &dmg_ops, size, 0);
    return 0;
}

static void dmg_close(BlockDriverState *bs)
{
    free_state(bs->opaque);
}

extern const BlockDriver bdrv_dmg;

const BlockDriver bdrv_dmg = {
    .format_name = "dmg",
    .instance_size = sizeof(DmgState),
    .is_format = true,
    .open = dmg_open,
    .close = dmg_close,
    .reopen_prepare = mapped_stay_read_only,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_block_status = mapped_co_block_status,
    .getlength = mapped_getlength,
};
