/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walkers over schema types: freeing, and functions that all walkers share. */
#include "qemu/osdep.h"
#include "type-int.h"

static void free_slot(const QapiType *type, void *slot);

bool qapi_type_is_pointer(const QapiType *type)
{
    switch (type->kind) {
    case QAPI_STR:
    case QAPI_ANY:
    case QAPI_STRUCT:
    case QAPI_LIST:
    case QAPI_ALTERNATE:
        return true;
    default:
        return false;
    }
}

int64_t qapi_int_at(const QapiType *type, const void *slot)
{
    bool is_signed = type->kind == QAPI_INT;

    switch (type->size) {
    case 1:
        return is_signed ? *(const int8_t *)slot : *(const uint8_t *)slot;
    case 2:
        return is_signed ? *(const int16_t *)slot : *(const uint16_t *)slot;
    case 4:
        return is_signed ? *(const int32_t *)slot : *(const uint32_t *)slot;
    default:
        return *(const int64_t *)slot;
    }
}

void qapi_set_int(const QapiType *type, void *slot, int64_t v)
{
    switch (type->size) {
    case 1:
        *(uint8_t *)slot = v;
        break;
    case 2:
        *(uint16_t *)slot = v;
        break;
    case 4:
        *(uint32_t *)slot = v;
        break;
    default:
        *(int64_t *)slot = v;
        break;
    }
}

const QapiType *qapi_union_branch(const QapiType *type, const void *obj,
                                  void **slot)
{
    const QapiMember *tag;
    unsigned v;

    if (!type->branches) {
        return NULL;
    }
    tag = &type->members[type->tag];
    v = qapi_enum_at(qapi_member_slot(tag, obj));
    g_assert(v < tag->type->n_values);
    *slot = (char *)(uintptr_t)obj + type->u_offset;
    return type->branches[v];
}

const QapiMember *qapi_alternate_branch(const QapiType *type, const void *obj)
{
    unsigned v = qapi_enum_at(obj);

    g_assert(v < type->n_members);
    return &type->members[v];
}

/* Frees the members of the struct at @obj, but not @obj itself. */
static void free_members(const QapiType *type, void *obj)
{
    const QapiType *branch;
    void *slot;

    branch = qapi_union_branch(type, obj, &slot);
    if (branch) {
        free_members(branch, slot);
    }
    for (unsigned i = 0; i < type->n_members; i++) {
        const QapiMember *m = &type->members[i];

        free_slot(m->type, qapi_member_slot(m, obj));
    }
}

static void free_list(const QapiType *type, void *node)
{
    while (node) {
        void *next = qapi_pointer_at(node);

        free_slot(type->element, (char *)node + QAPI_LIST_VALUE_OFFSET);
        g_free(node);
        node = next;
    }
}

static void free_slot(const QapiType *type, void *slot)
{
    if (type->kind == QAPI_STR) {
        g_free(qapi_pointer_at(slot));
    } else if (type->kind == QAPI_ANY) {
        json_object_put(qapi_pointer_at(slot));
    } else if (qapi_type_is_pointer(type)) {
        qapi_type_free(type, qapi_pointer_at(slot));
    }
}

void qapi_type_free(const QapiType *type, void *value)
{
    const QapiMember *m;

    if (!value) {
        return;
    }
    switch (type->kind) {
    case QAPI_LIST:
        free_list(type, value);
        return;
    case QAPI_ALTERNATE:
        m = qapi_alternate_branch(type, value);
        free_slot(m->type, qapi_member_slot(m, value));
        break;
    case QAPI_STRUCT:
        free_members(type, value);
        break;
    default:
        g_assert_not_reached();
    }
    g_free(value);
}

const char *qapi_enum_str(const QapiType *type, int v)
{
    g_assert(v >= 0 && v < type->n_values);
    return type->values[v];
}

int qapi_enum_parse(const QapiType *type, const char *text, Error **errp)
{
    for (int i = 0; i < type->n_values; i++) {
        if (strcmp(type->values[i], text) == 0) {
            return i;
        }
    }
    error_setg(errp, "'%s' is not a value of %s", text, type->name);
    return -1;
}
