/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of schema types to JSON. */
#include "qemu/osdep.h"
#include <math.h>
#include "type-int.h"

/*
 * A string; NULL is written as an empty one.  File names need not be UTF-8 but
 * JSON text must: invalid sequences become U+FFFD.
 */
static struct json_object *string_to_json(const char *text)
{
    g_autofree char *valid = NULL;

    if (!text) {
        text = "";
    } else if (!g_utf8_validate(text, -1, NULL)) {
        text = valid = g_utf8_make_valid(text, -1);
    }
    return json_object_new_string(text);
}

static struct json_object *number_to_json(const void *slot)
{
    double v;

    memcpy(&v, slot, sizeof(v));
    return json_object_new_double(isfinite(v) ? v : 0);
}

static struct json_object *slot_to_json(const QapiType *type,
                                        const void *slot)
{
    switch (type->kind) {
    case QAPI_BOOL:
        return json_object_new_boolean(*(const bool *)slot);
    case QAPI_INT:
        return json_object_new_int64(qapi_int_at(type, slot));
    case QAPI_UINT:
    case QAPI_SIZE:
        return json_object_new_uint64(qapi_int_at(type, slot));
    case QAPI_NUMBER:
        return number_to_json(slot);
    case QAPI_ENUM:
        return json_object_new_string(
            qapi_enum_str(type, qapi_enum_at(slot)));
    case QAPI_STR:
        return string_to_json(qapi_pointer_at(slot));
    case QAPI_ANY:
        return json_object_get(qapi_pointer_at(slot));
    case QAPI_NULL:
        return NULL;
    default:
        return qapi_type_to_json(type, qapi_pointer_at(slot));
    }
}

static bool member_present(const QapiMember *m, const void *obj)
{
    const bool *has = qapi_member_has(m, obj);

    if (has) {
        return *has;
    }
    /* Mandatory strings and lists may be NULL: empty.  Other values may not. */
    if (qapi_type_is_pointer(m->type) &&
        !qapi_pointer_at(qapi_member_slot(m, obj))) {
        return !(m->flags & QAPI_MEMBER_OPTIONAL);
    }
    return true;
}

static void members_to_json(const QapiType *type, const void *obj,
                            struct json_object *out)
{
    const QapiType *branch;
    void *slot;

    for (unsigned i = 0; i < type->n_members; i++) {
        const QapiMember *m = &type->members[i];

        if (member_present(m, obj)) {
            json_object_object_add(
                out, m->name, slot_to_json(m->type, qapi_member_slot(m, obj)));
        }
    }
    branch = qapi_union_branch(type, obj, &slot);
    if (branch) {
        members_to_json(branch, slot, out);
    }
}

struct json_object *qapi_type_to_json(const QapiType *type, const void *value)
{
    const QapiMember *m;
    struct json_object *out;

    if (type->kind == QAPI_LIST) {
        out = json_object_new_array();
        for (; value; value = qapi_pointer_at(value)) {
            json_object_array_add(
                out, slot_to_json(type->element, (const char *)value +
                                                     QAPI_LIST_VALUE_OFFSET));
        }
        return out;
    }
    g_assert(value);
    if (type->kind == QAPI_ALTERNATE) {
        m = qapi_alternate_branch(type, value);
        return slot_to_json(m->type, qapi_member_slot(m, value));
    }
    g_assert(type->kind == QAPI_STRUCT);
    out = json_object_new_object();
    members_to_json(type, value, out);
    return out;
}
