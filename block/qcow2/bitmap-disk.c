/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The extension of the header that says to which disk the bitmaps belong, in an
 * image that has bitmaps of another disk (block/filter/tracked.c).
 *
 *      0   1   kind: 0 nothing is known, 1 file, 2 device
 *      1   1   1: the disk was closed, 0: it is in use
 *      2   2   zero
 *      4   4   nanoseconds of the time of the last change
 *      8   8   size of the file or device, in bytes
 *     16   8   device number: of the file system, or of the device
 *     24   8   inode
 *     32   8   seconds of the time of the last change
 *     40   8   only while the disk is resized: size before, in bytes
 *     48   8   ... and after
 *
 * All numbers are big-endian.  It counts only with its autoclear bit, which
 * programs that do not know it clear before they write to the image.
 */
#include "qemu/osdep.h"

#include "block/qcow2/bitmap-int.h"

#define SHORT_BYTES 40

void qcow2_parse_disk(Qcow2State *s, const uint8_t *data, uint32_t len)
{
    BdrvBitmapDisk *d = &s->disk;

    s->disk_known = (s->autoclear & QCOW2_AUTOCLEAR_DISK) &&
                    (len == SHORT_BYTES || len == QCOW2_DISK_BYTES) &&
                    data[0] <= BDRV_IDENTITY_DEVICE && data[1] <= 1;
    if (!s->disk_known) {
        if (s->autoclear & QCOW2_AUTOCLEAR_DISK) {
            s->notes_damage = QCOW2_EXT_BITMAPS_DISK;
        }
        return;
    }
    *d = (BdrvBitmapDisk){
        .identity = {
            .kind = data[0],
            .bytes = ld64_be(data + 8),
            .device = ld64_be(data + 16),
            .inode = ld64_be(data + 24),
            .mtime_s = ld64_be(data + 32),
            .mtime_ns = ld32_be(data + 4),
        },
        .closed = data[1],
    };
    if (len == QCOW2_DISK_BYTES) {
        d->from = ld64_be(data + 40);
        d->to = ld64_be(data + 48);
    }
}

size_t qcow2_encode_disk(const BdrvBitmapDisk *disk, uint8_t *p)
{
    const BdrvIdentity *id = &disk->identity;

    memset(p, 0, QCOW2_DISK_BYTES);
    p[0] = id->kind;
    p[1] = disk->closed;
    st32_be(p + 4, id->mtime_ns);
    st64_be(p + 8, id->bytes);
    st64_be(p + 16, id->device);
    st64_be(p + 24, id->inode);
    st64_be(p + 32, id->mtime_s);
    if (disk->from == disk->to) {
        return SHORT_BYTES;
    }
    st64_be(p + 40, disk->from);
    st64_be(p + 48, disk->to);
    return QCOW2_DISK_BYTES;
}

const BdrvBitmapDisk *qcow2_bitmaps_disk(const BdrvBitmapStore *store)
{
    const Qcow2State *s = container_of(store, Qcow2State, bitmap_store);

    return s->disk_known ? &s->disk : NULL;
}

typedef struct RecordCall {
    BlockDriverState *bs;
    const BdrvBitmapDisk *disk;
    Error **errp;
    bool ok;
} RecordCall;

static bool coroutine_fn record_locked(BlockDriverState *bs,
                                       const BdrvBitmapDisk *disk,
                                       Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs);
    BdrvBitmapDisk old = s->disk;
    bool known = s->disk_known;
    int ret = 0;

    s->disk = *disk;
    s->disk_known = true;
    s->disk_saving = false;
    if (dir->len) {
        ret = qcow2_write_notes(bs, dir);
    }
    if (ret < 0) {
        s->disk = old;
        s->disk_known = known;
        error_setg_errno(errp, -ret, "Could not write the header");
    }
    return ret == 0;
}

static void coroutine_fn record_entry(void *opaque)
{
    RecordCall *call = opaque;
    Qcow2State *s = call->bs->opaque;

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    call->ok = record_locked(call->bs, call->disk, call->errp);
}

bool coroutine_mixed_fn qcow2_bitmaps_record_disk(BdrvBitmapStore *store,
                                                  const BdrvBitmapDisk *disk,
                                                  bool with_save,
                                                  Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    RecordCall call = { .bs = s->image, .disk = disk, .errp = errp };

    if (with_save) {
        s->next_disk = *disk;
        s->disk_saving = true;
        return true;
    }
    aio_run_co(call.bs->ctx, record_entry, &call);
    return call.ok;
}
