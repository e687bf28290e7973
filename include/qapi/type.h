/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Types of the QMP schema as data, and the walkers that work on them.
 *
 * For each type Foo of the schema the generated "qapi/qapi-types-MODULE.h" has
 * the C type, a descriptor qapi_type_Foo, and typed functions around the
 * walkers:
 *
 *     void qapi_free_Foo(Foo *v);
 *     Foo *qapi_clone_Foo(const Foo *v);
 *     struct json_object *qapi_Foo_to_json(const Foo *v);
 *     Foo *qapi_Foo_from_json(struct json_object *obj, QapiInputMode mode,
 *                             Error **errp);
 *     g_autoptr(Foo)
 *
 * and for an enum: const char *Foo_str(Foo v); int Foo_parse(const char *text,
 * Error **errp), which returns -1 on failure.
 *
 * A slot is where a value lies: for strings, structs, unions, alternates,
 * lists and JSON values it holds a pointer (NULL: absent, or an empty list),
 * else the number itself.
 */
#ifndef QAPI_TYPE_H
#define QAPI_TYPE_H

#include "qemu/error.h"
#include <json-c/json_object.h>

typedef enum QapiKind {
    QAPI_BOOL,
    QAPI_INT,
    QAPI_UINT,
    QAPI_SIZE,
    QAPI_NUMBER,
    QAPI_STR,
    QAPI_ANY,
    QAPI_NULL,
    QAPI_ENUM,
    QAPI_STRUCT, /* a union is a struct with branches */
    QAPI_LIST,
    QAPI_ALTERNATE,
} QapiKind;

typedef enum QapiInputMode {
    QAPI_INPUT_STRICT, /* JSON: values must have the type of the schema */
    QAPI_INPUT_KEYVAL, /* key=value: all scalars are strings, converted here */
    QAPI_INPUT_OPTIONS, /* either; texts of whole numbers may end in k, M... */
} QapiInputMode;

/* The C type of JSON null: it carries nothing. */
typedef struct QapiNull {
    char qapi_dummy;
} QapiNull;

typedef struct QapiType QapiType;

enum {
    QAPI_MEMBER_OPTIONAL = 1 << 0,
    QAPI_MEMBER_HAS = 1 << 1,     /* has_offset is valid */
    QAPI_MEMBER_DEFAULT = 1 << 2, /* dflt or dflt_str is valid */
    QAPI_MEMBER_DEPRECATED = 1 << 3,
    QAPI_MEMBER_UNSTABLE = 1 << 4,
};

/* A member of a struct, or a branch of an alternate. */
typedef struct QapiMember {
    const char *name;
    const QapiType *type;
    uint16_t offset;
    uint16_t has_offset;
    uint32_t flags;
    int64_t dflt;
    const char *dflt_str;
} QapiMember;

struct QapiType {
    const char *name;
    QapiKind kind;
    uint32_t size; /* of the number, struct, alternate or list node */
    /* struct, alternate */
    const QapiMember *members;
    uint16_t n_members;
    /* union: the discriminator's place in members, its branches by value */
    uint16_t tag;
    uint16_t u_offset;
    const QapiType *const *branches;
    /* enum */
    uint16_t n_values;
    const char *const *values;
    /* list */
    const QapiType *element;
};

/* Where the value lies in every list node. */
#define QAPI_LIST_VALUE_OFFSET sizeof(void *)

/* True where a slot of @type holds a pointer. */
bool qapi_type_is_pointer(const QapiType *type);

/* Frees @value, a struct, union, alternate or list; NULL is allowed. */
void qapi_type_free(const QapiType *type, void *value);
/* A deep copy; JSON values ('any') are copied too.  NULL gives NULL. */
void *qapi_type_clone(const QapiType *type, const void *value);
/*
 * @value as JSON, a new reference; absent members are left out.  A NULL list
 * gives an empty array.
 */
struct json_object *qapi_type_to_json(const QapiType *type, const void *value);
/*
 * The value that @obj describes, checked against the schema, with defaults
 * filled in; NULL and @errp where it does not fit.  For a list NULL also
 * stands for an empty one: use qapi_type_input() to tell.  @obj is borrowed.
 */
void *qapi_type_from_json(const QapiType *type, struct json_object *obj,
                          QapiInputMode mode, Error **errp);
/*
 * Fills the slot at @slot from @obj.  @name stands for the value in error
 * messages, NULL at the top.  On failure the slot is NULL or 0.
 */
bool qapi_type_input(const QapiType *type, struct json_object *obj,
                     const char *name, QapiInputMode mode, void *slot,
                     Error **errp);

/* The name of value @v of an enum. */
const char *qapi_enum_str(const QapiType *type, int v);
/* The value called @text, or -1 and @errp. */
int qapi_enum_parse(const QapiType *type, const char *text, Error **errp);

#define QAPI_DECLARE_ENUM(T) \
    extern const QapiType qapi_type_##T; \
    static inline const char *T##_str(T v) \
    { \
        return qapi_enum_str(&qapi_type_##T, (int)v); \
    } \
    static inline int T##_parse(const char *text, Error **errp) \
    { \
        return qapi_enum_parse(&qapi_type_##T, text, errp); \
    }

#define QAPI_DECLARE_TYPE(T) \
    extern const QapiType qapi_type_##T; \
    static inline void qapi_free_##T(T *v) \
    { \
        qapi_type_free(&qapi_type_##T, v); \
    } \
    static inline T *qapi_clone_##T(const T *v) \
    { \
        return qapi_type_clone(&qapi_type_##T, v); \
    } \
    static inline struct json_object *qapi_##T##_to_json(const T *v) \
    { \
        return qapi_type_to_json(&qapi_type_##T, v); \
    } \
    static inline T *qapi_##T##_from_json(struct json_object *obj, \
                                          QapiInputMode mode, Error **errp) \
    { \
        return qapi_type_from_json(&qapi_type_##T, obj, mode, errp); \
    } \
    G_DEFINE_AUTOPTR_CLEANUP_FUNC(T, qapi_free_##T)

/* Puts @v in front of @list. */
#define QAPI_LIST_PREPEND(list, v) \
    do { \
        __typeof__(list) qapi_node_ = g_malloc(sizeof(*(list))); \
        qapi_node_->value = (v); \
        qapi_node_->next = (list); \
        (list) = qapi_node_; \
    } while (0)

/*
 * Adds @v at the end; @tail points to the pointer to fill:
 *     FooList *head = NULL, **tail = &head;
 *     QAPI_LIST_APPEND(tail, v);
 */
#define QAPI_LIST_APPEND(tail, v) \
    do { \
        *(tail) = g_malloc(sizeof(**(tail))); \
        (*(tail))->value = (v); \
        (*(tail))->next = NULL; \
        (tail) = &(*(tail))->next; \
    } while (0)

/* How many elements @list has. */
#define QAPI_LIST_LENGTH(list) \
    ({ \
        size_t qapi_len_ = 0; \
        for (__typeof__(list) qapi_el_ = (list); qapi_el_; \
             qapi_el_ = qapi_el_->next) { \
            qapi_len_++; \
        } \
        qapi_len_; \
    })

#endif
