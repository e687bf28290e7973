/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers shared by the walkers over schema types. */
#ifndef QAPI_TYPE_INT_H
#define QAPI_TYPE_INT_H

#include "qapi/type.h"

/* The place of member @m in the struct at @obj. */
static inline void *qapi_member_slot(const QapiMember *m, const void *obj)
{
    return (char *)(uintptr_t)obj + m->offset;
}

/* The has_ flag of member @m, NULL if it has none. */
static inline bool *qapi_member_has(const QapiMember *m, const void *obj)
{
    if (!(m->flags & QAPI_MEMBER_HAS)) {
        return NULL;
    }
    return (bool *)((char *)(uintptr_t)obj + m->has_offset);
}

/* The value of the enum at @slot. */
static inline unsigned qapi_enum_at(const void *slot)
{
    unsigned v;

    memcpy(&v, slot, sizeof(v));
    return v;
}

/* The pointer at @slot. */
static inline void *qapi_pointer_at(const void *slot)
{
    void *p;

    memcpy(&p, slot, sizeof(p));
    return p;
}

static inline void qapi_set_pointer(void *slot, const void *p)
{
    memcpy(slot, &p, sizeof(p));
}

/* The integer at @slot, of the width of @type; unsigned ones wrap. */
int64_t qapi_int_at(const QapiType *type, const void *slot);
/* Stores the low bytes of @v. */
void qapi_set_int(const QapiType *type, void *slot, int64_t v);

/*
 * The branch selected by the discriminator of the union @obj, NULL if it adds
 * no members, and *@slot: its place.
 */
const QapiType *qapi_union_branch(const QapiType *type, const void *obj,
                                  void **slot);
/* The branch stored in the alternate @obj. */
const QapiMember *qapi_alternate_branch(const QapiType *type,
                                        const void *obj);

#endif
