/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deep copies of values of schema types. */
#include "qemu/osdep.h"
#include "type-int.h"

/* Copies the value that the copied slot at @slot points to. */
static void clone_slot(const QapiType *type, void *slot)
{
    struct json_object *copy = NULL;

    if (type->kind == QAPI_STR) {
        qapi_set_pointer(slot, g_strdup(qapi_pointer_at(slot)));
    } else if (type->kind == QAPI_ANY) {
        if (qapi_pointer_at(slot)) {
            json_object_deep_copy(qapi_pointer_at(slot), &copy, NULL);
        }
        qapi_set_pointer(slot, copy);
    } else if (qapi_type_is_pointer(type)) {
        qapi_set_pointer(slot, qapi_type_clone(type, qapi_pointer_at(slot)));
    }
}

static void clone_members(const QapiType *type, void *obj)
{
    const QapiType *branch;
    void *slot;

    for (unsigned i = 0; i < type->n_members; i++) {
        const QapiMember *m = &type->members[i];

        clone_slot(m->type, qapi_member_slot(m, obj));
    }
    branch = qapi_union_branch(type, obj, &slot);
    if (branch) {
        clone_members(branch, slot);
    }
}

static void *clone_list(const QapiType *type, const void *node)
{
    void *head = NULL;
    void *tail = &head;

    for (; node; node = qapi_pointer_at(node)) {
        char *copy = g_memdup2(node, type->size);

        clone_slot(type->element, copy + QAPI_LIST_VALUE_OFFSET);
        qapi_set_pointer(copy, NULL);
        qapi_set_pointer(tail, copy);
        tail = copy;
    }
    return head;
}

void *qapi_type_clone(const QapiType *type, const void *value)
{
    const QapiMember *m;
    void *copy;

    if (!value) {
        return NULL;
    }
    if (type->kind == QAPI_LIST) {
        return clone_list(type, value);
    }
    copy = g_memdup2(value, type->size);
    if (type->kind == QAPI_ALTERNATE) {
        m = qapi_alternate_branch(type, copy);
        clone_slot(m->type, qapi_member_slot(m, copy));
    } else {
        g_assert(type->kind == QAPI_STRUCT);
        clone_members(type, copy);
    }
    return copy;
}
