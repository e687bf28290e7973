/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON to values of schema types, checked.
 *
 * Every JSON value must have the type the schema says, every member of an
 * object must be known, every mandatory one present.  In keyval mode scalars
 * are strings and are converted.  Most errors name the member by its path:
 * 'actions[0].data.node', or in keyval mode 'inject-error.0.event'.
 */
#include "qemu/osdep.h"
#include <json-c/linkhash.h>
#include <math.h>
#include "qapi/unsupported.h"
#include "qemu/cutils.h"
#include "type-int.h"

/* A member or an element with its parents, for error messages. */
typedef struct Path {
    const struct Path *up;
    const char *name; /* NULL: element @index, or the nameless top */
    unsigned index;
    QapiInputMode mode;
} Path;

static bool input_slot(const QapiType *type, struct json_object *obj,
                       const Path *path, void *slot, Error **errp);

static void path_append(GString *text, const Path *path)
{
    if (path->up) {
        path_append(text, path->up);
    }
    if (path->name) {
        g_string_append_printf(text, "%s%s", text->len ? "." : "",
                               path->name);
    } else if (path->up) {
        g_string_append_printf(text,
                               path->mode != QAPI_INPUT_STRICT ? ".%u"
                                                               : "[%u]",
                               path->index);
    }
}

/* The path as text; @type's name if it is empty. */
static char *path_str(const Path *path, const QapiType *type)
{
    GString *text = g_string_new(NULL);

    path_append(text, path);
    if (!text->len && type) {
        g_string_append(text, type->name);
    }
    return g_string_free(text, false);
}

/* For enums and alternates messages name the member without a path. */
static const char *last_name(const Path *path)
{
    return path->name ? path->name : "null";
}

static bool fail_type(const QapiType *type, const Path *path,
                      const char *expected, Error **errp)
{
    g_autofree char *name = path_str(path, type);

    error_setg(errp, "Invalid parameter type for '%s', expected: %s", name,
               expected);
    return false;
}

static bool fail_expects(const QapiType *type, const Path *path,
                         const char *expected, Error **errp)
{
    g_autofree char *name = path_str(path, type);

    error_setg(errp, "Parameter '%s' expects %s", name, expected);
    return false;
}

static bool is_string(struct json_object *obj)
{
    return json_object_is_type(obj, json_type_string);
}

/* True, and the text, if scalars of this kind are given as strings. */
static const char *keyval_text(struct json_object *obj, const Path *path)
{
    return path->mode != QAPI_INPUT_STRICT && is_string(obj)
               ? json_object_get_string(obj)
               : NULL;
}

/* --- scalars --- */

static bool input_bool(const QapiType *type, struct json_object *obj,
                       const Path *path, void *slot, Error **errp)
{
    const char *text = keyval_text(obj, path);

    if (text) {
        return parse_bool("", text, slot, NULL) ||
               fail_expects(type, path, "'on' or 'off'", errp);
    }
    if (path->mode == QAPI_INPUT_KEYVAL ||
        !json_object_is_type(obj, json_type_boolean)) {
        return fail_type(type, path, "boolean", errp);
    }
    *(bool *)slot = json_object_get_boolean(obj);
    return true;
}

/* Converts a text to an integer. */
static bool parse_signed(const char *text, const Path *path, int64_t *v)
{
    return parse_int64(text, v, NULL) ||
           (path->mode == QAPI_INPUT_OPTIONS &&
            parse_size(text, 'b', v, NULL));
}

/* "uint32_t" and so on; the plain 64 bit types have no _t. */
static bool fail_range(const QapiType *type, const Path *path, Error **errp)
{
    g_autofree char *words =
        type->size == 8 ? g_strdup(type->kind == QAPI_INT ? "int64" : "uint64")
                        : g_strdup_printf("%s_t", type->name);

    return fail_expects(type, path, words, errp);
}

static bool input_int(const QapiType *type, struct json_object *obj,
                      const Path *path, void *slot, Error **errp)
{
    const char *text = keyval_text(obj, path);
    int bits = type->size * 8;
    int64_t v;

    if (text) {
        if (!parse_signed(text, path, &v)) {
            return fail_expects(type, path, "integer", errp);
        }
    } else if (path->mode == QAPI_INPUT_KEYVAL ||
               !json_object_is_type(obj, json_type_int)) {
        return fail_type(type, path, "integer", errp);
    } else {
        v = json_object_get_int64(obj);
        if (v == INT64_MAX && json_object_get_uint64(obj) > INT64_MAX) {
            return fail_type(type, path, "integer", errp);
        }
    }
    if (bits < 64 && (v < -(INT64_C(1) << (bits - 1)) ||
                      v >= INT64_C(1) << (bits - 1))) {
        return fail_range(type, path, errp);
    }
    qapi_set_int(type, slot, v);
    return true;
}

/* Converts a text to an unsigned number; sizes may have a suffix. */
static bool parse_unsigned(const QapiType *type, const char *text,
                           const Path *path, uint64_t *v, Error **errp)
{
    int64_t bytes;

    if (type->kind == QAPI_SIZE || path->mode == QAPI_INPUT_OPTIONS) {
        if (!parse_size(text, 'b', &bytes, NULL) || bytes < 0) {
            return fail_expects(type, path, "a size", errp);
        }
        *v = bytes;
        return true;
    }
    if (*text == '-' || !parse_uint64(text, v, NULL)) {
        return fail_expects(type, path, "integer", errp);
    }
    return true;
}

static bool input_uint(const QapiType *type, struct json_object *obj,
                       const Path *path, void *slot, Error **errp)
{
    const char *text = keyval_text(obj, path);
    uint64_t v;

    if (text) {
        if (!parse_unsigned(type, text, path, &v, errp)) {
            return false;
        }
    } else if (path->mode == QAPI_INPUT_KEYVAL) {
        return fail_type(type, path, "integer", errp);
    } else if (!json_object_is_type(obj, json_type_int)) {
        return fail_expects(type, path, "uint64", errp);
    } else if (json_object_get_int64(obj) < 0) {
        return fail_range(type, path, errp);
    } else {
        v = json_object_get_uint64(obj);
    }
    if (type->size < 8 && v >> (type->size * 8)) {
        return fail_range(type, path, errp);
    }
    qapi_set_int(type, slot, v);
    return true;
}

static bool input_number(const QapiType *type, struct json_object *obj,
                         const Path *path, void *slot, Error **errp)
{
    const char *text = keyval_text(obj, path);
    char *end;
    double v;

    if (text) {
        v = g_ascii_strtod(text, &end);
        if (end == text || *end || !isfinite(v)) {
            return fail_expects(type, path, "a number", errp);
        }
    } else if (path->mode == QAPI_INPUT_KEYVAL ||
               (!json_object_is_type(obj, json_type_int) &&
                !json_object_is_type(obj, json_type_double))) {
        return fail_type(type, path, "number", errp);
    } else {
        v = json_object_get_double(obj);
    }
    memcpy(slot, &v, sizeof(v));
    return true;
}

static bool input_str(const QapiType *type, struct json_object *obj,
                      const Path *path, void *slot, Error **errp)
{
    if (!is_string(obj)) {
        return fail_type(type, path, "string", errp);
    }
    qapi_set_pointer(slot, g_strdup(json_object_get_string(obj)));
    return true;
}

static bool fail_value(const QapiType *type, const Path *path,
                       const char *value, Error **errp)
{
    const char *instead = qapi_unsupported(type->name, value);

    if (instead) {
        error_setg(errp, "Parameter '%s': '%s' is not supported: %s",
                   last_name(path), value, instead);
    } else {
        error_setg(errp, "Parameter '%s' does not accept value '%s'",
                   last_name(path), value);
    }
    return false;
}

static bool input_enum(const QapiType *type, struct json_object *obj,
                       const Path *path, void *slot, Error **errp)
{
    int v;

    if (!is_string(obj)) {
        return fail_type(type, path, "string", errp);
    }
    v = qapi_enum_parse(type, json_object_get_string(obj), NULL);
    if (v < 0) {
        return fail_value(type, path, json_object_get_string(obj), errp);
    }
    memcpy(slot, &v, sizeof(v));
    return true;
}

/* --- containers --- */

static bool input_list(const QapiType *type, struct json_object *obj,
                       const Path *path, void *slot, Error **errp)
{
    void *head = NULL;
    void *tail = &head;
    Path here = {.up = path, .mode = path->mode};
    size_t n;

    if (!json_object_is_type(obj, json_type_array)) {
        return fail_type(type, path, "array", errp);
    }
    n = json_object_array_length(obj);
    for (size_t i = 0; i < n; i++) {
        char *node = g_malloc0(type->size);

        qapi_set_pointer(tail, node);
        tail = node;
        here.index = i;
        if (!input_slot(type->element, json_object_array_get_idx(obj, i),
                        &here, node + QAPI_LIST_VALUE_OFFSET, errp)) {
            qapi_type_free(type, head);
            return false;
        }
    }
    qapi_set_pointer(slot, head);
    return true;
}

/* Gives an absent member its default. */
static void set_default(const QapiMember *m, void *slot)
{
    unsigned v = m->dflt;

    switch (m->type->kind) {
    case QAPI_STR:
        qapi_set_pointer(slot, g_strdup(m->dflt_str));
        break;
    case QAPI_BOOL:
        *(bool *)slot = m->dflt;
        break;
    case QAPI_ENUM:
        memcpy(slot, &v, sizeof(v));
        break;
    default:
        qapi_set_int(m->type, slot, m->dflt);
        break;
    }
}

static bool input_member(const QapiMember *m, struct json_object *obj,
                         const Path *path, void *out, Error **errp)
{
    void *slot = qapi_member_slot(m, out);
    bool *has = qapi_member_has(m, out);
    Path here = {.up = path, .name = m->name, .mode = path->mode};
    struct json_object *value;
    g_autofree char *name = NULL;

    if (json_object_object_get_ex(obj, m->name, &value)) {
        if (has) {
            *has = true;
        }
        return input_slot(m->type, value, &here, slot, errp);
    }
    if (!(m->flags & QAPI_MEMBER_OPTIONAL)) {
        name = path_str(&here, NULL);
        error_setg(errp, "Parameter '%s' is missing", name);
        return false;
    }
    if (m->flags & QAPI_MEMBER_DEFAULT) {
        set_default(m, slot);
    }
    return true;
}

static bool has_member(const QapiType *type, const char *name)
{
    for (unsigned i = 0; type && i < type->n_members; i++) {
        if (strcmp(type->members[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool input_members(const QapiType *type, struct json_object *obj,
                          const Path *path, void *out, Error **errp)
{
    for (unsigned i = 0; i < type->n_members; i++) {
        if (!input_member(&type->members[i], obj, path, out, errp)) {
            return false;
        }
    }
    return true;
}

/* Refuses members that neither @type nor its @branch has. */
static bool check_unexpected(const QapiType *type, const QapiType *branch,
                             struct json_object *obj, const Path *path,
                             Error **errp)
{
    json_object_object_foreach(obj, key, value)
    {
        (void)value;
        if (!has_member(type, key) && !has_member(branch, key)) {
            Path here = {.up = path, .name = key, .mode = path->mode};
            g_autofree char *name = path_str(&here, NULL);

            error_setg(errp, "Parameter '%s' is unexpected", name);
            return false;
        }
    }
    return true;
}

static bool input_struct(const QapiType *type, struct json_object *obj,
                         const Path *path, void *slot, Error **errp)
{
    const QapiType *branch;
    void *branch_slot;
    void *out;

    if (!json_object_is_type(obj, json_type_object)) {
        return fail_type(type, path, "object", errp);
    }
    out = g_malloc0(type->size);
    if (!input_members(type, obj, path, out, errp)) {
        goto fail;
    }
    branch = qapi_union_branch(type, out, &branch_slot);
    if (branch && !input_members(branch, obj, path, branch_slot, errp)) {
        goto fail;
    }
    if (!check_unexpected(type, branch, obj, path, errp)) {
        goto fail;
    }
    qapi_set_pointer(slot, out);
    return true;

fail:
    qapi_type_free(type, out);
    return false;
}

/* Does branch @type of an alternate accept a JSON value of type @json? */
static bool branch_takes(const QapiType *type, enum json_type json,
                         QapiInputMode mode)
{
    switch (type->kind) {
    case QAPI_STR:
    case QAPI_ENUM:
        return json == json_type_string;
    case QAPI_STRUCT:
        return json == json_type_object;
    case QAPI_NULL:
        return json == json_type_null;
    case QAPI_BOOL:
        return json == json_type_boolean ||
               (mode != QAPI_INPUT_STRICT && json == json_type_string);
    case QAPI_NUMBER:
        return json == json_type_double || json == json_type_int ||
               (mode != QAPI_INPUT_STRICT && json == json_type_string);
    default:
        return json == json_type_int ||
               (mode != QAPI_INPUT_STRICT && json == json_type_string);
    }
}

/* The branch for @json; one that accepts strings as such has precedence. */
static int choose_branch(const QapiType *type, enum json_type json,
                         QapiInputMode mode)
{
    for (int i = 0; i < type->n_members; i++) {
        if (branch_takes(type->members[i].type, json, QAPI_INPUT_STRICT)) {
            return i;
        }
    }
    for (int i = 0; i < type->n_members; i++) {
        if (branch_takes(type->members[i].type, json, mode)) {
            return i;
        }
    }
    return -1;
}

static bool input_alternate(const QapiType *type, struct json_object *obj,
                            const Path *path, void *slot, Error **errp)
{
    int kind = choose_branch(type, json_object_get_type(obj), path->mode);
    const QapiMember *m;
    void *out;

    if (kind < 0) {
        error_setg(errp, "Invalid parameter type for '%s', expected: %s",
                   last_name(path), type->name);
        return false;
    }
    m = &type->members[kind];
    out = g_malloc0(type->size);
    memcpy(out, &kind, sizeof(kind));
    if (!input_slot(m->type, obj, path, qapi_member_slot(m, out), errp)) {
        g_free(out);
        return false;
    }
    qapi_set_pointer(slot, out);
    return true;
}

static bool input_slot(const QapiType *type, struct json_object *obj,
                       const Path *path, void *slot, Error **errp)
{
    switch (type->kind) {
    case QAPI_BOOL:
        return input_bool(type, obj, path, slot, errp);
    case QAPI_INT:
        return input_int(type, obj, path, slot, errp);
    case QAPI_UINT:
    case QAPI_SIZE:
        return input_uint(type, obj, path, slot, errp);
    case QAPI_NUMBER:
        return input_number(type, obj, path, slot, errp);
    case QAPI_STR:
        return input_str(type, obj, path, slot, errp);
    case QAPI_ENUM:
        return input_enum(type, obj, path, slot, errp);
    case QAPI_ANY:
        qapi_set_pointer(slot, json_object_get(obj));
        return true;
    case QAPI_NULL:
        return !obj || fail_type(type, path, "null", errp);
    case QAPI_LIST:
        return input_list(type, obj, path, slot, errp);
    case QAPI_STRUCT:
        return input_struct(type, obj, path, slot, errp);
    case QAPI_ALTERNATE:
        return input_alternate(type, obj, path, slot, errp);
    }
    g_assert_not_reached();
}

bool qapi_type_input(const QapiType *type, struct json_object *obj,
                     const char *name, QapiInputMode mode, void *slot,
                     Error **errp)
{
    Path top = {.name = name, .mode = mode};

    return input_slot(type, obj, &top, slot, errp);
}

void *qapi_type_from_json(const QapiType *type, struct json_object *obj,
                          QapiInputMode mode, Error **errp)
{
    void *out = NULL;

    g_assert(qapi_type_is_pointer(type));
    qapi_type_input(type, obj, NULL, mode, &out, errp);
    return out;
}
