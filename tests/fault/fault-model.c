/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of a disk whose requests may fail. */
#include "qemu/osdep.h"

#include "fault-model.h"

static void add_value(FaultValues *set, uint8_t value)
{
    set->bits[value / 64] |= UINT64_C(1) << (value % 64);
}

static bool has_value(const FaultValues *set, uint8_t value)
{
    return set->bits[value / 64] >> (value % 64) & 1;
}

void fault_model_init(FaultModel *m)
{
    memset(m, 0, sizeof(*m));
    for (int i = 0; i < FAULT_UNITS; i++) {
        add_value(&m->now[i], 0);
        add_value(&m->durable[i], 0);
    }
}

void fault_model_write(FaultModel *m, int64_t offset, int64_t bytes,
                       uint8_t value, int ret)
{
    for (int64_t i = offset / FAULT_UNIT; i < (offset + bytes) / FAULT_UNIT;
         i++) {
        if (ret == 0) {
            m->now[i] = (FaultValues) { { 0 } };
        }
        add_value(&m->now[i], value);
        add_value(&m->durable[i], value);
    }
}

void fault_model_changed(FaultModel *m, int64_t offset)
{
    for (int b = 0; b < m->n_bitmaps; b++) {
        m->bitmaps[b].must[offset / FAULT_UNIT] |= m->bitmaps[b].recording;
    }
}

void fault_model_flushed(FaultModel *m)
{
    memcpy(m->durable, m->now, sizeof(m->now));
}

void fault_model_check(const FaultModel *m, const uint8_t *data,
                       bool only_durable)
{
    const FaultValues *sets = only_durable ? m->durable : m->now;

    for (int64_t i = 0; i < FAULT_DISK_BYTES; i++) {
        if (!has_value(&sets[i / FAULT_UNIT], data[i])) {
            g_error("byte %" PRId64 " of the disk is %d, which was not "
                    "written there", i, data[i]);
        }
    }
}

FaultBitmap *fault_model_bitmap(FaultModel *m, const char *name)
{
    for (int i = 0; i < m->n_bitmaps; i++) {
        if (!strcmp(m->bitmaps[i].name, name)) {
            return &m->bitmaps[i];
        }
    }
    return NULL;
}

FaultBitmap *fault_model_add_bitmap(FaultModel *m, const char *name)
{
    FaultBitmap *b = &m->bitmaps[m->n_bitmaps++];

    g_assert(m->n_bitmaps <= (int)G_N_ELEMENTS(m->bitmaps));
    memset(b, 0, sizeof(*b));
    g_strlcpy(b->name, name, sizeof(b->name));
    return b;
}

void fault_model_remove_bitmap(FaultModel *m, FaultBitmap *b)
{
    *b = m->bitmaps[--m->n_bitmaps];
}
