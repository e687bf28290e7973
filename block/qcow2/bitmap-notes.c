/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notes in the header that say which stored bitmaps are kept ahead of the disk
 * while they are in use (docs/interop/qcow2-bitmap-safety.rst).
 */
#include "qemu/osdep.h"

#include "block/qcow2/bitmap-int.h"

#define EXTENSION_HEAD 8 /* bytes: magic, length */
#define HEAD_BYTES 32    /* size, over, boot id */
#define ENTRY_BYTES 4    /* level, index */
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

/* Of this run of the host's kernel; all zeroes if it is not known. */
static const uint8_t *host_boot_id(void)
{
    static uint8_t id[QCOW2_BOOT_ID_BYTES];
    static gsize done;

    if (g_once_init_enter(&done)) {
        g_autofree char *text = NULL;
        size_t n = 0;

        if (g_file_get_contents(BOOT_ID_FILE, &text, NULL, NULL)) {
            for (const char *p = text; *p && n < 2 * sizeof(id); p++) {
                int digit = g_ascii_xdigit_value(*p);

                if (digit >= 0) {
                    id[n / 2] = id[n / 2] << 4 | digit;
                    n++;
                }
            }
        }
        g_once_init_leave(&done, 1);
    }
    return id;
}

/* Bits that were only written to caches are lost when the host stops. */
static bool still_valid(const Qcow2BitmapNote *note)
{
    static const uint8_t unknown[QCOW2_BOOT_ID_BYTES];
    const uint8_t *id = host_boot_id();

    return note->level == QCOW2_AHEAD_POWER ||
           (note->level == QCOW2_AHEAD_PROCESS &&
            memcmp(id, unknown, sizeof(unknown)) &&
            !memcmp(id, note->boot_id, QCOW2_BOOT_ID_BYTES));
}

/* --- the extension --- */

void qcow2_parse_notes(Qcow2State *s, const uint8_t *data, uint32_t len)
{
    Qcow2BitmapNote note;

    if (len < HEAD_BYTES || (len - HEAD_BYTES) % ENTRY_BYTES) {
        s->autoclear &= ~QCOW2_AUTOCLEAR_AHEAD;
        s->notes_damage = QCOW2_EXT_BITMAPS_AHEAD;
        return;
    }
    note.size = ld64_be(data);
    note.over = ld64_be(data + 8);
    memcpy(note.boot_id, data + 16, QCOW2_BOOT_ID_BYTES);
    for (uint32_t pos = HEAD_BYTES; pos < len; pos += ENTRY_BYTES) {
        uint32_t entry = ld32_be(data + pos);

        note.index = entry & 0xffffff;
        note.level = entry >> 24;
        g_array_append_val(s->notes, note);
    }
}

/* All bits cover the same disk. */
void qcow2_put_notes(GByteArray *out, const GArray *notes, guint n)
{
    const Qcow2BitmapNote *first = &g_array_index(notes, Qcow2BitmapNote, 0);
    uint8_t head[EXTENSION_HEAD + HEAD_BYTES], entry[ENTRY_BYTES];
    static const uint8_t zeroes[8];

    st32_be(head, QCOW2_EXT_BITMAPS_AHEAD);
    st32_be(head + 4, HEAD_BYTES + n * ENTRY_BYTES);
    st64_be(head + 8, first->size);
    st64_be(head + 16, first->over);
    memcpy(head + 24, first->boot_id, QCOW2_BOOT_ID_BYTES);
    g_byte_array_append(out, head, sizeof(head));
    for (guint i = 0; i < n; i++) {
        const Qcow2BitmapNote *note = &g_array_index(notes, Qcow2BitmapNote,
                                                     i);

        g_assert(note->size == first->size);
        st32_be(entry, (uint32_t)note->level << 24 | note->index);
        g_byte_array_append(out, entry, sizeof(entry));
    }
    g_byte_array_append(out, zeroes, n % 2 * ENTRY_BYTES);
}

/* --- notes and the directory --- */

void qcow2_apply_notes(const Qcow2State *s, GPtrArray *dir)
{
    if (!(s->autoclear & QCOW2_AUTOCLEAR_AHEAD)) {
        return;
    }
    for (guint i = 0; i < s->notes->len; i++) {
        const Qcow2BitmapNote *note = &g_array_index(s->notes,
                                                     Qcow2BitmapNote, i);

        if (note->index < dir->len && note->size <= BDRV_MAX_LENGTH &&
            still_valid(note)) {
            Qcow2Bitmap *b = dir->pdata[note->index];

            b->level = note->level;
            b->covered = note->size;
            b->over = note->over;
        }
    }
}

GArray *qcow2_make_notes(const GPtrArray *dir)
{
    GArray *notes = g_array_new(FALSE, FALSE, sizeof(Qcow2BitmapNote));

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];
        Qcow2BitmapNote note = {
            .index = i,
            .level = b->level,
            .size = b->covered,
            .over = b->over,
        };

        memcpy(note.boot_id, host_boot_id(), QCOW2_BOOT_ID_BYTES);
        if (b->level != QCOW2_AHEAD_NONE) {
            g_array_append_val(notes, note);
        }
    }
    return notes;
}

bool qcow2_bitmap_is_ahead(const Qcow2Bitmap *b)
{
    return (b->flags & QCOW2_BITMAP_IN_USE) && b->level != QCOW2_AHEAD_NONE;
}

bool qcow2_notes_outdated(const Qcow2State *s)
{
    return s->notes->len && !(s->autoclear & QCOW2_AUTOCLEAR_AHEAD);
}
