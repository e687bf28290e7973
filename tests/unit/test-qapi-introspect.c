/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The answer to query-qmp-schema is complete: it has every type it uses. */
#include "qemu/osdep.h"
#include "qapi/json.h"
#include "qapi/qapi-introspect.h"
#include "qapi/qapi-types-builtin.h"
#include "qapi/qapi-types-introspect.h"

static SchemaInfoList *load(void)
{
    struct json_object *obj = json_parse_strict(
        qapi_introspect_text, strlen(qapi_introspect_text), &error_abort);
    SchemaInfoList *list = qapi_SchemaInfoList_from_json(
        obj, QAPI_INPUT_STRICT, &error_abort);

    json_object_put(obj);
    return list;
}

/* Entities by name; each name stands for one. */
static GHashTable *by_name(SchemaInfoList *list)
{
    GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);

    for (; list; list = list->next) {
        g_assert_true(
            g_hash_table_insert(table, list->value->name, list->value));
    }
    return table;
}

static void check_ref(GHashTable *table, const char *name)
{
    if (!g_hash_table_contains(table, name)) {
        g_test_message("type %s is not explained", name);
        g_test_fail();
    }
}

static void check_object(GHashTable *table, const SchemaInfoObject *object)
{
    bool tag = false;

    for (SchemaInfoObjectMemberList *m = object->members; m; m = m->next) {
        check_ref(table, m->value->type);
        tag |= object->tag && strcmp(object->tag, m->value->name) == 0;
    }
    g_assert_true(tag == (object->tag != NULL));
    for (SchemaInfoObjectVariantList *v = object->variants; v; v = v->next) {
        check_ref(table, v->value->type);
    }
}

static void check_entity(GHashTable *table, const SchemaInfo *info)
{
    switch (info->meta_type) {
    case SCHEMA_META_TYPE_ARRAY:
        check_ref(table, info->u.array.element_type);
        break;
    case SCHEMA_META_TYPE_OBJECT:
        check_object(table, &info->u.object);
        break;
    case SCHEMA_META_TYPE_ALTERNATE:
        for (SchemaInfoAlternateMemberList *m = info->u.alternate.members; m;
             m = m->next) {
            check_ref(table, m->value->type);
        }
        break;
    case SCHEMA_META_TYPE_COMMAND:
        check_ref(table, info->u.command.arg_type);
        check_ref(table, info->u.command.ret_type);
        break;
    case SCHEMA_META_TYPE_EVENT:
        check_ref(table, info->u.event.arg_type);
        break;
    default:
        break;
    }
}

static void test_whole(void)
{
    g_autoptr(SchemaInfoList) list = load();
    g_autoptr(GHashTable) table = by_name(list);

    for (SchemaInfoList *e = list; e; e = e->next) {
        check_entity(table, e->value);
    }
}

/* Names of types are hidden, names of commands and events are not. */
static void test_names(void)
{
    g_autoptr(SchemaInfoList) list = load();
    g_autoptr(GHashTable) table = by_name(list);
    SchemaInfo *add = g_hash_table_lookup(table, "blockdev-add");
    SchemaInfo *old = g_hash_table_lookup(table, "drive-backup");

    g_assert_nonnull(add);
    g_assert_cmpint(add->meta_type, ==, SCHEMA_META_TYPE_COMMAND);
    g_assert_cmpstr(add->u.command.ret_type, ==, "0");
    g_assert_false(g_hash_table_contains(table, "BlockdevOptions"));
    g_assert_true(g_hash_table_contains(table, "BLOCK_JOB_COMPLETED"));
    g_assert_true(g_hash_table_contains(table, "[str]"));
    g_assert_cmpstr(old->features->value, ==, "deprecated");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/introspect/whole", test_whole);
    g_test_add_func("/qapi/introspect/names", test_names);
    return g_test_run();
}
