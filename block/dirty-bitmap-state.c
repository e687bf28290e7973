/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of a dirty bitmap as tables: the properties of each state, its
 * successors, and the operations that a user may do in it.
 */
#include "qemu/osdep.h"

#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"

/* --- properties of the states --- */

typedef struct StateFacts {
    bool records, busy, readonly, inconsistent;
} StateFacts;

#define S(name) BDRV_BITMAP_##name

static const StateFacts facts[S(_MAX)] = {
    [S(ACTIVE)] = { .records = true },
    [S(DISABLED)] = { 0 },
    [S(FROZEN)] = { .records = true, .busy = true },
    [S(FROZEN_DISABLED)] = { .busy = true },
    [S(LOCKED)] = { .records = true, .busy = true },
    [S(LOCKED_DISABLED)] = { .busy = true },
    [S(READONLY)] = { .records = true, .readonly = true },
    [S(READONLY_DISABLED)] = { .readonly = true },
    [S(READONLY_LOCKED)] = { .records = true, .readonly = true, .busy = true },
    [S(READONLY_LOCKED_DISABLED)] = { .readonly = true, .busy = true },
    [S(INCONSISTENT)] = { .inconsistent = true },
    [S(INCONSISTENT_LOCKED)] = { .inconsistent = true, .busy = true },
    [S(INCONSISTENT_READONLY)] = { .inconsistent = true, .readonly = true },
};

/* --- transitions --- */

/* Entries are the next state plus one: 0 is "impossible". */
#define TO(name) (S(name) + 1)

static const uint8_t transitions[BDRV_BITMAP_EVENT__MAX][S(_MAX)] = {
    /* Recording has no effect, but is allowed, while nothing can be written. */
    [BDRV_BITMAP_EVENT_ENABLE] = {
        [S(ACTIVE)] = TO(ACTIVE),
        [S(DISABLED)] = TO(ACTIVE),
        [S(READONLY)] = TO(READONLY),
        [S(READONLY_DISABLED)] = TO(READONLY),
    },
    [BDRV_BITMAP_EVENT_DISABLE] = {
        [S(ACTIVE)] = TO(DISABLED),
        [S(DISABLED)] = TO(DISABLED),
        [S(READONLY)] = TO(READONLY_DISABLED),
        [S(READONLY_DISABLED)] = TO(READONLY_DISABLED),
    },
    [BDRV_BITMAP_EVENT_FREEZE] = {
        [S(ACTIVE)] = TO(FROZEN),
        [S(DISABLED)] = TO(FROZEN_DISABLED),
    },
    [BDRV_BITMAP_EVENT_THAW] = {
        [S(FROZEN)] = TO(ACTIVE),
        [S(FROZEN_DISABLED)] = TO(DISABLED),
    },
    [BDRV_BITMAP_EVENT_LOCK] = {
        [S(ACTIVE)] = TO(LOCKED),
        [S(DISABLED)] = TO(LOCKED_DISABLED),
        [S(READONLY)] = TO(READONLY_LOCKED),
        [S(READONLY_DISABLED)] = TO(READONLY_LOCKED_DISABLED),
        [S(INCONSISTENT)] = TO(INCONSISTENT_LOCKED),
    },
    [BDRV_BITMAP_EVENT_UNLOCK] = {
        [S(LOCKED)] = TO(ACTIVE),
        [S(LOCKED_DISABLED)] = TO(DISABLED),
        [S(READONLY_LOCKED)] = TO(READONLY),
        [S(READONLY_LOCKED_DISABLED)] = TO(READONLY_DISABLED),
        [S(INCONSISTENT_LOCKED)] = TO(INCONSISTENT),
    },
    [BDRV_BITMAP_EVENT_READONLY] = {
        [S(ACTIVE)] = TO(READONLY),
        [S(DISABLED)] = TO(READONLY_DISABLED),
        [S(INCONSISTENT)] = TO(INCONSISTENT_READONLY),
    },
    /* A reader keeps its hold on a bitmap when the image becomes writable. */
    [BDRV_BITMAP_EVENT_WRITABLE] = {
        [S(READONLY)] = TO(ACTIVE),
        [S(READONLY_DISABLED)] = TO(DISABLED),
        [S(READONLY_LOCKED)] = TO(LOCKED),
        [S(READONLY_LOCKED_DISABLED)] = TO(LOCKED_DISABLED),
        [S(INCONSISTENT_READONLY)] = TO(INCONSISTENT),
    },
    [BDRV_BITMAP_EVENT_BREAK] = {
        [S(ACTIVE)] = TO(INCONSISTENT),
        [S(DISABLED)] = TO(INCONSISTENT),
    },
};

bool bdrv_bitmap_transition(BdrvBitmapState from, BdrvBitmapEvent event,
                            BdrvBitmapState *to)
{
    if (!transitions[event][from]) {
        return false;
    }
    *to = transitions[event][from] - 1;
    return true;
}

void bdrv_dirty_bitmap_event(BdrvDirtyBitmap *bitmap, BdrvBitmapEvent event)
{
    BdrvBitmapState state;

    if (!bdrv_bitmap_transition(bitmap->state, event, &state)) {
        g_error("dirty bitmap '%s': event %d is impossible in state %d",
                bitmap->name ?: "", event, bitmap->state);
    }
    bdrv_node(bitmap->bs)->bitmaps.recording += facts[state].records -
                                     facts[bitmap->state].records;
    bitmap->state = state;
}

/* --- operations of users --- */

#define BIT_OF(name) (1u << S(name))
#define IDLE (BIT_OF(ACTIVE) | BIT_OF(DISABLED))
#define READABLE (IDLE | BIT_OF(READONLY) | BIT_OF(READONLY_DISABLED))

/* Row: the operation; set: the states in which it is allowed. */
static const unsigned allowed[BDRV_BITMAP_OP__MAX] = {
    [BDRV_BITMAP_OP_REMOVE] = IDLE | BIT_OF(INCONSISTENT),
    [BDRV_BITMAP_OP_CLEAR] = IDLE,
    [BDRV_BITMAP_OP_ENABLE] = READABLE,
    [BDRV_BITMAP_OP_DISABLE] = READABLE,
    [BDRV_BITMAP_OP_MERGE_SOURCE] = READABLE,
    [BDRV_BITMAP_OP_MERGE_TARGET] = IDLE,
    [BDRV_BITMAP_OP_JOB] = IDLE,
    [BDRV_BITMAP_OP_JOB_READ] = READABLE,
    [BDRV_BITMAP_OP_EXPORT] = READABLE,
    [BDRV_BITMAP_OP_MIGRATE] = IDLE,
    [BDRV_BITMAP_OP_HASH] = (1u << S(_MAX)) - 1, /* reading is harmless */
};

/* May a user do @op in @state? */
static bool bdrv_bitmap_op_allowed(BdrvBitmapState state, BdrvBitmapOp op)
{
    return allowed[op] & (1u << state);
}

bool bdrv_dirty_bitmap_check(const BdrvDirtyBitmap *bitmap, BdrvBitmapOp op,
                             Error **errp)
{
    const StateFacts *is = &facts[bitmap->state];
    const char *name = bitmap->name ?: "";

    if (bdrv_bitmap_op_allowed(bitmap->state, op)) {
        return true;
    }
    if (is->busy) {
        error_setg(errp, "Bitmap '%s' is currently in use by another "
                   "operation and cannot be used", name);
    } else if (is->readonly && !bdrv_bitmap_op_allowed(S(READONLY), op)) {
        error_setg(errp, "Bitmap '%s' is readonly and cannot be modified",
                   name);
    } else {
        error_setg(errp, "Bitmap '%s' is inconsistent and cannot be used",
                   name);
        error_append_hint(errp, "Try block-dirty-bitmap-remove to delete this "
                          "bitmap from disk\n");
    }
    return false;
}

/* --- facts --- */

BdrvBitmapState bdrv_dirty_bitmap_state(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->state;
}

bool bdrv_dirty_bitmap_busy(const BdrvDirtyBitmap *bitmap)
{
    return facts[bitmap->state].busy;
}

bool bdrv_dirty_bitmap_recording(const BdrvDirtyBitmap *bitmap)
{
    return facts[bitmap->state].records;
}

bool bdrv_dirty_bitmap_enabled(const BdrvDirtyBitmap *bitmap)
{
    return facts[bitmap->state].records;
}

bool bdrv_dirty_bitmap_inconsistent(const BdrvDirtyBitmap *bitmap)
{
    return facts[bitmap->state].inconsistent;
}

bool bdrv_dirty_bitmap_readonly(const BdrvDirtyBitmap *bitmap)
{
    return facts[bitmap->state].readonly;
}

bool bdrv_dirty_bitmap_persistent(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->persistent && !bitmap->skip_store;
}

/* --- events --- */

void bdrv_dirty_bitmap_enable(BdrvDirtyBitmap *bitmap)
{
    bdrv_dirty_bitmap_event(bitmap, BDRV_BITMAP_EVENT_ENABLE);
    bitmap->changes++;
    bdrv_dirty_bitmap_mark_in_flight(bitmap);
}

void bdrv_dirty_bitmap_disable(BdrvDirtyBitmap *bitmap)
{
    bdrv_dirty_bitmap_event(bitmap, BDRV_BITMAP_EVENT_DISABLE);
    bitmap->changes++;
}

void bdrv_dirty_bitmap_set_busy(BdrvDirtyBitmap *bitmap, bool busy)
{
    bdrv_dirty_bitmap_event(bitmap, busy ? BDRV_BITMAP_EVENT_LOCK
                                         : BDRV_BITMAP_EVENT_UNLOCK);
}

void bdrv_dirty_bitmap_set_readonly(BdrvDirtyBitmap *bitmap, bool readonly)
{
    if (facts[bitmap->state].readonly != readonly) {
        bdrv_dirty_bitmap_event(bitmap, readonly ? BDRV_BITMAP_EVENT_READONLY
                                                 : BDRV_BITMAP_EVENT_WRITABLE);
    }
}

void bdrv_dirty_bitmap_set_inconsistent(BdrvDirtyBitmap *bitmap,
                                        BitmapInconsistency reason)
{
    bitmap->reason = reason;
    bdrv_dirty_bitmap_event(bitmap, BDRV_BITMAP_EVENT_BREAK);
    hbitmap_reset_all(bitmap->bits);
    bdrv_dirty_bitmap_set_resume(bitmap, NULL);
}

void bdrv_dirty_bitmap_distrust(BdrvDirtyBitmap *bitmap,
                                BitmapInconsistency reason)
{
    bool readonly = bdrv_dirty_bitmap_readonly(bitmap);

    if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
        bitmap->reason = reason;
        return;
    }
    bdrv_dirty_bitmap_set_readonly(bitmap, false);
    bdrv_dirty_bitmap_set_inconsistent(bitmap, reason);
    bdrv_dirty_bitmap_set_readonly(bitmap, readonly);
}

/* --- persistence, which is no part of the state --- */

void bdrv_dirty_bitmap_set_persistent(BdrvDirtyBitmap *bitmap, bool persistent)
{
    if (bitmap->kept && !persistent) {
        bdrv_bitmap_store_forget(bitmap);
    }
    bitmap->persistent = persistent;
    bitmap->changes++;
    bdrv_dirty_bitmap_mark_in_flight(bitmap);
}

void bdrv_dirty_bitmap_set_safety(BdrvDirtyBitmap *bitmap, BitmapSafety safety)
{
    bitmap->safety = safety;
    bitmap->safety_of_store = false;
}

void bdrv_dirty_bitmap_raise_safety(BdrvDirtyBitmap *bitmap,
                                    BitmapSafety safety)
{
    bitmap->least_safety = MAX(bitmap->least_safety, safety);
    if (bitmap->safety < safety) {
        bitmap->safety = safety;
        bitmap->changes++; /* its note is stored with it */
    }
}

void bdrv_dirty_bitmap_skip_store(BdrvDirtyBitmap *bitmap, bool skip)
{
    bitmap->skip_store = skip;
}
