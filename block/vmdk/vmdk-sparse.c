/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sparse extents of vmdk images: header, directory, tables, grains. */
#include "qemu/osdep.h"
#include <zlib.h>
#include "block/graph.h"
#include "qemu/aio.h"
#include "qemu/error.h"
#include "vmdk-int.h"

/* --- opening --- */

/* What the header of a hosted or of an ESX extent says. */
typedef struct Header {
    uint64_t capacity, grain, entries, dir, spare, overhead; /* sectors */
    bool compressed, markers, zeroed, has_spare;
} Header;

static int parse_hosted(const uint8_t *h, Header *out, Error **errp)
{
    uint32_t version = ld32_le(h + VMDK_AT_VERSION);
    uint32_t flags = ld32_le(h + VMDK_AT_FLAGS);
    uint16_t method = ld16_le(h + VMDK_AT_COMPRESSION);

    if (version < 1 || version > 3) {
        error_setg(errp, "Unsupported VMDK version %" PRIu32, version);
        return -ENOTSUP;
    }
    *out = (Header) {
        .capacity = ld64_le(h + VMDK_AT_CAPACITY),
        .grain = ld64_le(h + VMDK_AT_GRAIN),
        .entries = ld32_le(h + VMDK_AT_ENTRIES),
        .dir = ld64_le(h + VMDK_AT_DIR),
        .spare = ld64_le(h + VMDK_AT_SPARE_DIR),
        .overhead = ld64_le(h + VMDK_AT_OVERHEAD),
        .compressed = flags & VMDK_FLAG_COMPRESSED,
        .markers = flags & VMDK_FLAG_MARKERS,
        .zeroed = flags & VMDK_FLAG_ZEROED,
        .has_spare = flags & VMDK_FLAG_SPARE_DIR,
    };
    if (out->compressed && method != 1) {
        error_setg(errp, "Unsupported compression method %u of a VMDK image",
                   method);
        return -ENOTSUP;
    }
    return 0;
}

static int parse_esx(const uint8_t *h, Header *out, Error **errp)
{
    *out = (Header) {
        .capacity = ld32_le(h + 12),
        .grain = ld32_le(h + 16),
        .entries = 4096,
        .dir = ld32_le(h + 20),
        /* The directory is followed by tables and grains. */
        .overhead = (uint64_t)ld32_le(h + 20) + 1,
    };
    return 0;
}

/*
 * An image that was written as a stream has its directory at the end, and the
 * valid header one sector before the end-of-stream marker.
 */
static int read_footer(VmdkExtent *e, uint8_t *header, Error **errp)
{
    int64_t length = bdrv_getlength(e->file->bs);
    int ret = length < 2 * BDRV_SECTOR_SIZE ? -EINVAL
        : bdrv_pread(e->file, length - 2 * BDRV_SECTOR_SIZE,
                     VMDK_HEADER_BYTES, header);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VMDK footer");
    } else if (ld32_le(header) != VMDK_MAGIC ||
               ld64_le(header + VMDK_AT_DIR) == UINT64_MAX) {
        error_setg(errp, "VMDK image has no valid footer");
        ret = -EINVAL;
    }
    return MIN(ret, 0);
}

static int check_header(const Header *h, Error **errp)
{
    if (h->capacity > VMDK_MAX_BYTES / BDRV_SECTOR_SIZE) {
        error_setg(errp, "VMDK extent of %" PRIu64 " sectors is too large",
                   h->capacity);
    } else if (h->grain < 1 || h->grain > 64 * MiB / BDRV_SECTOR_SIZE ||
               !is_power_of_2(h->grain)) {
        error_setg(errp, "Invalid grain of %" PRIu64 " sectors in a VMDK "
                   "extent", h->grain);
    } else if (h->entries < 1 || h->entries > 4096 ||
               !is_power_of_2(h->entries)) {
        error_setg(errp, "Invalid table of %" PRIu64 " entries in a VMDK "
                   "extent", h->entries);
    } else if (h->overhead > INT64_MAX / BDRV_SECTOR_SIZE) {
        error_setg(errp, "Invalid overhead of %" PRIu64 " sectors in a VMDK "
                   "extent", h->overhead);
    } else {
        return 0;
    }
    return -EINVAL;
}

static uint32_t *read_dir(VmdkExtent *e, uint64_t sector, int *ret,
                          Error **errp)
{
    int64_t length = bdrv_getlength(e->file->bs);
    uint64_t bytes = e->tables * 4ULL;
    uint32_t *dir;

    if (sector > INT64_MAX / BDRV_SECTOR_SIZE || length < 0 ||
        !range_fits(sector * BDRV_SECTOR_SIZE, bytes, length)) {
        error_setg(errp, "Grain directory of a VMDK extent is outside of its "
                   "file");
        *ret = -EINVAL;
        return NULL;
    }
    dir = g_try_malloc(MAX(bytes, 1));
    *ret = dir ? bdrv_pread(e->file, sector * BDRV_SECTOR_SIZE, bytes, dir)
               : -ENOMEM;
    if (*ret < 0) {
        error_setg_errno(errp, -*ret, "Could not read the grain directory of "
                         "a VMDK extent");
        g_free(dir);
        return NULL;
    }
    for (uint32_t i = 0; i < e->tables; i++) {
        dir[i] = GUINT32_FROM_LE(dir[i]);
    }
    return dir;
}

static int read_dirs(VmdkExtent *e, const Header *h, Error **errp)
{
    int ret;

    e->dir = read_dir(e, h->dir, &ret, errp);
    if (e->dir && h->has_spare) {
        e->spare = read_dir(e, h->spare, &ret, errp);
    }
    if (!e->dir || (h->has_spare && !e->spare)) {
        return ret;
    }
    e->loaded = g_try_new0(VmdkTable, MAX(e->tables, 1));
    if (!e->loaded) {
        error_setg(errp, "Not enough memory for %" PRIu32 " tables",
                   e->tables);
        return -ENOMEM;
    }
    return 0;
}

int vmdk_sparse_open(VmdkExtent *e, const uint8_t *header, Error **errp)
{
    int64_t length = bdrv_getlength(e->file->bs);
    uint8_t footer[VMDK_HEADER_BYTES];
    bool esx = ld32_le(header) == VMDK_ESX_MAGIC;
    Header h;
    int ret;

    if (!esx && ld64_le(header + VMDK_AT_DIR) == UINT64_MAX) {
        ret = read_footer(e, footer, errp);
        if (ret < 0) {
            return ret;
        }
        header = footer;
        e->read_only = true; /* grains go before what is at the end */
    }
    ret = esx ? parse_esx(header, &h, errp) : parse_hosted(header, &h, errp);
    if (ret == 0) {
        ret = check_header(&h, errp);
    }
    if (ret < 0) {
        return ret;
    }
    e->sparse = true;
    /* Without markers, nothing tells how long new data is. */
    e->read_only |= esx || (h.compressed && !h.markers);
    e->compressed = h.compressed;
    e->markers = h.markers;
    e->zeroed = h.zeroed;
    e->grain = h.grain * BDRV_SECTOR_SIZE;
    e->entries = h.entries;
    e->bytes = h.capacity * BDRV_SECTOR_SIZE;
    e->tables = (h.capacity + h.grain * h.entries - 1) / (h.grain * h.entries);
    e->overhead = h.overhead * BDRV_SECTOR_SIZE;
    e->next = ROUND_UP(MAX((uint64_t)MAX(length, 0), e->overhead),
                       BDRV_SECTOR_SIZE);
    return read_dirs(e, &h, errp);
}

void vmdk_sparse_free(VmdkExtent *e)
{
    for (uint32_t i = 0; e->loaded && i < e->tables; i++) {
        qemu_vfree(e->loaded[i].raw);
    }
    g_free(e->loaded);
    g_free(e->dir);
    g_free(e->spare);
}

/* --- tables --- */

static uint32_t table_of(const VmdkExtent *e, int64_t offset)
{
    return offset / (e->grain * e->entries);
}

/* Where the entry for @offset is in its table. */
static uint32_t pos_of(const VmdkExtent *e, int64_t offset)
{
    return offset / e->grain % e->entries * 4;
}

/* Remembers that table @i is loaded; drops another one if there are many.  More
 * are kept only while all are dirty. */
static void cache_table(VmdkExtent *e, uint32_t i)
{
    if (e->n_cached < VMDK_CACHED) {
        e->cached[e->n_cached++] = i;
        return;
    }
    for (unsigned n = 0; n < VMDK_CACHED; n++) {
        uint32_t *slot = &e->cached[e->hand];
        VmdkTable *old = &e->loaded[*slot];

        e->hand = (e->hand + 1) % VMDK_CACHED;
        if (!old->dirty) {
            qemu_vfree(old->raw);
            old->raw = NULL;
            *slot = i;
            return;
        }
    }
}

/* Loads table @i, which has a place in the file. */
static int coroutine_fn load_table(VmdkExtent *e, uint32_t i)
{
    uint64_t at = (uint64_t)e->dir[i] * BDRV_SECTOR_SIZE;
    int64_t length = bdrv_getlength(e->file->bs);
    uint8_t *raw;
    int ret;

    if (length < 0 || !range_fits(at, e->entries * 4, length)) {
        return -EIO;
    }
    raw = bdrv_try_blockalign(e->file->bs, e->entries * 4);
    if (!raw) {
        return -ENOMEM;
    }
    ret = bdrv_co_pread(e->file, at, e->entries * 4, raw, 0);
    if (ret < 0 || e->loaded[i].raw) {
        qemu_vfree(raw); /* it failed, or somebody else was faster */
    } else {
        e->loaded[i].raw = raw;
        cache_table(e, i);
    }
    return MIN(ret, 0);
}

int coroutine_fn vmdk_sparse_get(VmdkExtent *e, int64_t offset,
                                 uint32_t *entry)
{
    uint32_t i = table_of(e, offset);

    *entry = 0;
    if (e->dir[i] == 0) {
        return 0; /* nothing in its range was ever written */
    }
    if (!e->loaded[i].raw) {
        int ret = load_table(e, i);

        if (ret < 0) {
            return ret;
        }
    }
    *entry = ld32_le(e->loaded[i].raw + pos_of(e, offset));
    return 0;
}

/* May a table be written to @sector?  Not where grains may be. */
static bool is_place_of_table(const VmdkExtent *e, uint32_t sector)
{
    return (uint64_t)sector * BDRV_SECTOR_SIZE + e->entries * 4 <= e->overhead;
}

int coroutine_fn vmdk_sparse_set(VmdkExtent *e, int64_t offset, uint32_t entry)
{
    uint32_t i = table_of(e, offset), unused;
    int ret = vmdk_sparse_get(e, offset, &unused);

    if (ret < 0) {
        return ret;
    }
    if (!e->loaded[i].raw) {
        return -ENOTSUP;
    }
    if (!is_place_of_table(e, e->dir[i]) ||
        (e->spare && !is_place_of_table(e, e->spare[i]))) {
        return -EIO;
    }
    st32_le(e->loaded[i].raw + pos_of(e, offset), entry);
    e->loaded[i].dirty = true;
    return 0;
}

static int coroutine_fn write_table(VmdkExtent *e, uint32_t i)
{
    int64_t bytes = e->entries * 4;
    int ret = 0;

    if (e->spare && e->spare[i]) {
        ret = bdrv_co_pwrite(e->file, (uint64_t)e->spare[i] * BDRV_SECTOR_SIZE,
                             bytes, e->loaded[i].raw, 0);
    }
    if (ret >= 0) {
        ret = bdrv_co_pwrite(e->file, (uint64_t)e->dir[i] * BDRV_SECTOR_SIZE,
                             bytes, e->loaded[i].raw, 0);
    }
    return MIN(ret, 0);
}

int coroutine_fn vmdk_sparse_write_back(VmdkExtent *e)
{
    bool flushed = false;

    for (uint32_t i = 0; i < e->tables; i++) {
        int ret = 0;

        if (!e->loaded[i].dirty) {
            continue;
        }
        if (!flushed) {
            ret = bdrv_co_flush(e->file->bs); /* the grains */
            flushed = true;
        }
        if (ret >= 0) {
            ret = write_table(e, i);
        }
        if (ret < 0) {
            return ret;
        }
        e->loaded[i].dirty = false;
    }
    return 0;
}

/* --- compressed grains --- */

typedef struct ZlibJob {
    uint8_t *dest;
    const uint8_t *src;
    uLongf dest_bytes;
    uLong src_bytes;
    int ret;
} ZlibJob;

static int inflate_job(void *opaque)
{
    ZlibJob *job = opaque;

    job->ret = uncompress2(job->dest, &job->dest_bytes, job->src,
                           &job->src_bytes) == Z_OK ? 0 : -EIO;
    return 0;
}

static int deflate_job(void *opaque)
{
    ZlibJob *job = opaque;

    job->ret = compress(job->dest, &job->dest_bytes, job->src,
                        job->src_bytes) == Z_OK ? 0 : -EIO;
    return 0;
}

/* The compressed data of a grain: where it is, and at most how much. */
static int coroutine_fn find_data(VmdkExtent *e, int64_t offset, int64_t at,
                                  int64_t *data, int64_t *bytes)
{
    uint8_t marker[VMDK_MARKER_BYTES];
    int64_t most = compressBound(e->grain);
    int ret;

    *data = at;
    *bytes = most;
    if (!e->markers) {
        return 0;
    }
    ret = bdrv_co_pread(e->file, at, sizeof(marker), marker, 0);
    if (ret < 0) {
        return ret;
    }
    *data = at + sizeof(marker);
    *bytes = ld32_le(marker + 8);
    return *bytes > 0 && *bytes <= most &&
           ld64_le(marker) == (uint64_t)offset / BDRV_SECTOR_SIZE ? 0 : -EIO;
}

int coroutine_fn vmdk_read_compressed(VmdkExtent *e, int64_t offset,
                                      uint32_t entry, uint8_t *buf)
{
    int64_t there = MIN(e->grain, e->bytes - offset), data, bytes;
    g_autofree uint8_t *src = NULL;
    ZlibJob job;
    int ret = find_data(e, offset, (int64_t)entry * BDRV_SECTOR_SIZE, &data,
                        &bytes);

    if (ret < 0) {
        return ret;
    }
    src = g_try_malloc(bytes);
    if (!src) {
        return -ENOMEM;
    }
    ret = bdrv_co_pread(e->file, data, bytes, src, 0);
    if (ret < 0) {
        return ret;
    }
    job = (ZlibJob) {
        .dest = buf, .dest_bytes = e->grain, .src = src, .src_bytes = bytes,
    };
    ret = thread_pool_co_run(inflate_job, &job);
    if (ret >= 0) {
        /* The last grain may be cut at the end of the extent. */
        ret = job.ret < 0 ? job.ret : (int64_t)job.dest_bytes < there ? -EIO
                                                                      : 0;
    }
    return ret;
}

int coroutine_fn vmdk_write_compressed(VmdkExtent *e, int64_t offset,
                                       const uint8_t *buf)
{
    int64_t most = VMDK_MARKER_BYTES + compressBound(e->grain);
    int64_t bytes = ROUND_UP(most, BDRV_SECTOR_SIZE);
    uint8_t *out = bdrv_try_blockalign(e->file->bs, bytes);
    ZlibJob job;
    int ret;

    if (!out) {
        return -ENOMEM;
    }
    memset(out, 0, bytes);
    job = (ZlibJob) {
        .dest = out + VMDK_MARKER_BYTES,
        .dest_bytes = most - VMDK_MARKER_BYTES,
        .src = buf, .src_bytes = e->grain,
    };
    ret = thread_pool_co_run(deflate_job, &job);
    ret = ret < 0 ? ret : job.ret;
    if (ret == 0 && e->next / BDRV_SECTOR_SIZE > UINT32_MAX) {
        ret = -EFBIG;
    }
    if (ret == 0) {
        st64_le(out, offset / BDRV_SECTOR_SIZE);
        st32_le(out + 8, job.dest_bytes);
        bytes = ROUND_UP(VMDK_MARKER_BYTES + (int64_t)job.dest_bytes,
                         BDRV_SECTOR_SIZE);
        ret = bdrv_co_pwrite(e->file, e->next, bytes, out, 0);
    }
    if (ret >= 0) {
        ret = vmdk_sparse_set(e, offset, e->next / BDRV_SECTOR_SIZE);
    }
    if (ret >= 0) {
        e->next += bytes;
    }
    qemu_vfree(out);
    return MIN(ret, 0);
}
