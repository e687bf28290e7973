/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files in memory, and injected failures. */
#include "qemu/osdep.h"

#include "fault-disk.h"
#include "block/graph.h"
#include "block/io.h"
#include "qapi/qapi-types-block-image.h"

#define MAX_FILE (64 * MiB)

const char *const fault_kind_names[FAULT__MAX] = {
    [FAULT_OPEN] = "open",   [FAULT_READ] = "read",   [FAULT_WRITE] = "write",
    [FAULT_FLUSH] = "flush", [FAULT_ALLOC] = "alloc",
};

/* --- the fault --- */

static struct {
    FaultKind kind;
    int left; /* operations up to the one that fails; 0: not armed */
    bool stays;
    int fired;
    int suspended;
} fault;

void fault_arm(FaultKind kind, unsigned n, bool stays)
{
    fault.kind = kind;
    fault.stays = stays;
    g_atomic_int_set(&fault.fired, 0);
    g_atomic_int_set(&fault.left, n);
}

void fault_disarm(void)
{
    g_atomic_int_set(&fault.left, 0);
}

void fault_suspend(void)
{
    g_atomic_int_inc(&fault.suspended);
}

void fault_resume(void)
{
    g_assert(g_atomic_int_get(&fault.suspended) > 0);
    g_atomic_int_add(&fault.suspended, -1);
}

bool fault_fired(void)
{
    return g_atomic_int_get(&fault.fired) > 0;
}

/* Counts an operation; true: it is to fail. */
static bool comes(FaultKind kind)
{
    int left = g_atomic_int_get(&fault.left);

    if (left == 0 || kind != fault.kind ||
        g_atomic_int_get(&fault.suspended)) {
        return false;
    }
    if (left > 1) {
        g_atomic_int_set(&fault.left, left - 1);
        return false;
    }
    if (!fault.stays) {
        g_atomic_int_set(&fault.left, 0);
    }
    g_atomic_int_inc(&fault.fired);
    return true;
}

/* --- memory: the linker puts these in front of the functions --- */

gpointer __real_g_try_malloc(gsize size);
gpointer __wrap_g_try_malloc(gsize size);
gpointer __real_g_try_malloc0(gsize size);
gpointer __wrap_g_try_malloc0(gsize size);
void *__real_qemu_try_memalign(size_t align, size_t size);
void *__wrap_qemu_try_memalign(size_t align, size_t size);

gpointer __wrap_g_try_malloc(gsize size)
{
    return comes(FAULT_ALLOC) ? NULL : __real_g_try_malloc(size);
}

gpointer __wrap_g_try_malloc0(gsize size)
{
    return comes(FAULT_ALLOC) ? NULL : __real_g_try_malloc0(size);
}

void *__wrap_qemu_try_memalign(size_t align, size_t size)
{
    return comes(FAULT_ALLOC) ? NULL : __real_qemu_try_memalign(align, size);
}

/* --- files --- */

typedef struct File {
    GByteArray *data;
} File;

static GHashTable *files, *saved; /* name -> GByteArray */

static GHashTable *new_table(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                 (GDestroyNotify)g_byte_array_unref);
}

static GHashTable *copy_table(GHashTable *from)
{
    GHashTable *to = new_table();
    GHashTableIter iter;
    gpointer name, data;

    g_hash_table_iter_init(&iter, from);
    while (g_hash_table_iter_next(&iter, &name, &data)) {
        GByteArray *old = data, *copy = g_byte_array_sized_new(old->len);

        g_byte_array_append(copy, old->data, old->len);
        g_hash_table_insert(to, g_strdup(name), copy);
    }
    return to;
}

static GByteArray *broken; /* of files; compared only; atomic */

void fault_disk_break(const char *name)
{
    g_atomic_pointer_set(&broken, name && files
                         ? g_hash_table_lookup(files, name) : NULL);
}

void fault_disks_clear(void)
{
    fault_disk_break(NULL);
    g_clear_pointer(&files, g_hash_table_unref);
    g_clear_pointer(&saved, g_hash_table_unref);
}

void fault_disks_save(void)
{
    g_clear_pointer(&saved, g_hash_table_unref);
    saved = files ? copy_table(files) : new_table();
}

void fault_disks_restore(void)
{
    g_clear_pointer(&files, g_hash_table_unref);
    files = copy_table(saved);
}

void fault_disks_foreach(void (*fn)(const char *name, void *opaque),
                         void *opaque)
{
    g_autoptr(GList) names = files ? g_hash_table_get_keys(files) : NULL;

    for (GList *l = names; l; l = l->next) {
        fn(l->data, opaque);
    }
}

static uint32_t slow_next; /* atomic: disks may be in several threads */
static int slow_turns = 1;

void fault_disks_slow(GRand *rand, int turns)
{
    slow_next = rand ? g_rand_int(rand) : 0;
    slow_turns = MAX(turns, 1);
}

static void coroutine_fn take_time(void)
{
    uint32_t x = __atomic_fetch_add(&slow_next, 1, __ATOMIC_RELAXED);
    int n = 1 + (x * UINT32_C(2654435761) >> 16) % slow_turns;

    while (n-- > 0) {
        co_yield_to_loop();
    }
}

/* Path names come as given or as absolute ones; the last part is the name. */
static GByteArray *find_file(const char *path)
{
    g_autofree char *name = g_path_get_basename(path);

    return files ? g_hash_table_lookup(files, name) : NULL;
}

static File *file_of(BlockDriverState *bs)
{
    return bs->opaque;
}

/* Counts a request; true: it is to fail. */
static bool request_fails(BlockDriverState *bs, FaultKind kind)
{
    return file_of(bs)->data == g_atomic_pointer_get(&broken) || comes(kind);
}

static int set_size(GByteArray *data, int64_t size)
{
    guint old = data->len;

    if (size > MAX_FILE) {
        return -EFBIG;
    }
    g_byte_array_set_size(data, size);
    if (size > old) {
        memset(data->data + old, 0, size - old);
    }
    return 0;
}

/* --- the driver --- */

static int fault_open(BlockDriverState *bs, const BlockdevOptions *options,
                      int flags, Error **errp)
{
    const char *path = options->u.file.filename;
    GByteArray *data = find_file(path);

    if (comes(FAULT_OPEN)) {
        error_setg_errno(errp, EIO, "Could not open '%s'", path);
        return -EIO;
    }
    if (!data) {
        error_setg_errno(errp, ENOENT, "Could not open '%s'", path);
        return -ENOENT;
    }
    file_of(bs)->data = g_byte_array_ref(data);
    g_free(bs->filename);
    bs->filename = g_strdup(path);
    return 0;
}

static void fault_close(BlockDriverState *bs)
{
    g_byte_array_unref(file_of(bs)->data);
}

static int coroutine_fn fault_co_create(BlockdevCreateOptions *options,
                                        Error **errp)
{
    const BlockdevCreateOptionsFile *opts = &options->u.file;
    GByteArray *data = find_file(opts->filename);
    int ret;

    if (comes(FAULT_OPEN)) {
        error_setg_errno(errp, EIO, "Could not create '%s'", opts->filename);
        return -EIO;
    }
    if (!data) {
        data = g_byte_array_new();
        files = files ? files : new_table();
        g_hash_table_insert(files, g_path_get_basename(opts->filename), data);
    }
    g_byte_array_set_size(data, 0);
    ret = set_size(data, opts->size);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not resize '%s'", opts->filename);
    }
    return ret;
}

static int64_t fault_getlength(BlockDriverState *bs)
{
    return file_of(bs)->data->len;
}

static int64_t fault_allocated_size(BlockDriverState *bs)
{
    return file_of(bs)->data->len;
}

static int fault_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    return 0;
}

static int coroutine_fn fault_co_preadv(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset,
                                        BdrvRequestFlags flags)
{
    const GByteArray *data = file_of(bs)->data;
    bool fails = request_fails(bs, FAULT_READ);
    int64_t n;

    take_time();
    if (fails) {
        return -EIO;
    }
    n = CLAMP((int64_t)data->len - offset, 0, bytes);
    if (n > 0) {
        qemu_iovec_from_buf(qiov, qiov_offset, data->data + offset, n);
    }
    qemu_iovec_memset(qiov, qiov_offset + n, 0, bytes - n);
    return 0;
}

/* Room for a change up to @end, or the fault. */
static int coroutine_fn begin_change(BlockDriverState *bs, int64_t end)
{
    bool fails = request_fails(bs, FAULT_WRITE);

    take_time();
    if (fails) {
        return -ENOSPC;
    }
    return end > file_of(bs)->data->len ? set_size(file_of(bs)->data, end)
                                        : 0;
}

static int coroutine_fn fault_co_pwritev(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, QEMUIOVector *qiov,
                                         size_t qiov_offset,
                                         BdrvRequestFlags flags)
{
    int ret = begin_change(bs, offset + bytes);

    if (ret == 0) {
        qemu_iovec_to_buf(qiov, qiov_offset, file_of(bs)->data->data + offset,
                          bytes);
    }
    return ret;
}

static int coroutine_fn fault_co_pwrite_zeroes(BlockDriverState *bs,
                                               int64_t offset, int64_t bytes,
                                               BdrvRequestFlags flags)
{
    int ret = begin_change(bs, offset + bytes);

    if (ret == 0) {
        memset(file_of(bs)->data->data + offset, 0, bytes);
    }
    return ret;
}

static int coroutine_fn fault_co_pdiscard(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes)
{
    int ret = begin_change(bs, offset);
    int64_t n = CLAMP((int64_t)file_of(bs)->data->len - offset, 0, bytes);

    if (ret == 0 && n > 0) {
        memset(file_of(bs)->data->data + offset, 0, n);
    }
    return ret;
}

static int coroutine_fn fault_co_flush(BlockDriverState *bs)
{
    bool fails = request_fails(bs, FAULT_FLUSH);

    take_time();
    return fails ? -EIO : 0;
}

static int coroutine_fn fault_co_truncate(BlockDriverState *bs, int64_t offset,
                                          bool exact, PreallocMode prealloc,
                                          BdrvRequestFlags flags, Error **errp)
{
    int ret = begin_change(bs, 0);

    if (ret == 0) {
        ret = set_size(file_of(bs)->data, offset);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not resize '%s'", bs->filename);
    }
    return ret;
}

static bool fault_has_zero_init(BlockDriverState *bs)
{
    return true;
}

const BlockDriver fault_file = {
    .format_name = "file",
    .protocol_name = "file",
    .instance_size = sizeof(File),
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK,
    .open = fault_open,
    .close = fault_close,
    .co_create = fault_co_create,
    .co_preadv = fault_co_preadv,
    .co_pwritev = fault_co_pwritev,
    .co_pwrite_zeroes = fault_co_pwrite_zeroes,
    .co_pdiscard = fault_co_pdiscard,
    .co_flush = fault_co_flush,
    .co_truncate = fault_co_truncate,
    .getlength = fault_getlength,
    .get_allocated_file_size = fault_allocated_size,
    .get_info = fault_get_info,
    .has_zero_init = fault_has_zero_init,
};
