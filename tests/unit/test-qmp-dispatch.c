/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to responses, with a small table of commands; and events. */
#include "qemu/osdep.h"
#include "qapi/events.h"
#include "qapi/json.h"
#include "qapi/qapi-types-block-core.h"
#include "qapi/qapi-types-builtin.h"
#include "qapi/qapi-types-job.h"
#include "qapi/qmp-dispatch.h"
#include "qemu/coroutine.h"

static Coroutine *waiting;

static bool call_fail(void *arg, void **ret, Error **errp)
{
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "No '%s' \xff here",
              ((BlockdevDelArg *)arg)->node_name);
    return false;
}

static bool call_list(void *arg, void **ret, Error **errp)
{
    strList *list = NULL;

    QAPI_LIST_PREPEND(list, g_strdup("x"));
    *ret = list;
    return true;
}

static bool call_empty_list(void *arg, void **ret, Error **errp)
{
    *ret = NULL;
    return true;
}

static bool call_nothing(void *arg, void **ret, Error **errp)
{
    return true;
}

static bool call_raw(void *arg, void **ret, Error **errp)
{
    *ret = json_object_new_int(7);
    return true;
}

static bool call_text(void *arg, void **ret, Error **errp)
{
    *ret = g_strdup("text");
    return true;
}

static bool coroutine_fn call_wait(void *arg, void **ret, Error **errp)
{
    g_assert_true(in_coroutine());
    waiting = coroutine_self();
    coroutine_yield();
    waiting = NULL;
    return true;
}

static bool coroutine_fn call_no_wait(void *arg, void **ret, Error **errp)
{
    g_assert_true(in_coroutine());
    return true;
}

static const QmpCommand commands[] = {
    {.name = "empty-list", .call = call_empty_list,
     .ret = &qapi_type_strList},
    {.name = "fail", .call = call_fail, .arg = &qapi_type_BlockdevDelArg},
    {.name = "list", .call = call_list, .ret = &qapi_type_strList},
    {.name = "no-wait", .call = call_no_wait,
     .flags = QMP_COMMAND_COROUTINE},
    {.name = "nothing", .call = call_nothing, .flags = QMP_COMMAND_OOB},
    {.name = "raw", .call = call_raw, .flags = QMP_COMMAND_RAW},
    {.name = "text", .call = call_text, .ret = &qapi_type_str},
    {.name = "wait", .call = call_wait, .flags = QMP_COMMAND_COROUTINE},
};

static const QmpCommandTable table = {
    .commands = commands,
    .n_commands = ARRAY_SIZE(commands),
};

static const QmpCommandTable negotiation = {
    .commands = commands,
    .n_commands = 1,
    .not_found = "Expecting capabilities negotiation",
};

static struct json_object *parse(const char *text)
{
    return json_parse_strict(text, strlen(text), &error_abort);
}

static void check_equal(struct json_object *got, const char *expected)
{
    struct json_object *want = parse(expected);

    if (!json_object_equal(got, want)) {
        g_test_message("got %s", json_object_to_json_string(got));
        g_test_message("expected %s", expected);
        g_test_fail();
    }
    json_object_put(want);
    json_object_put(got);
}

static void check(const char *request, bool oob, const char *expected)
{
    struct json_object *obj = parse(request);

    check_equal(qmp_dispatch(&table, obj, oob), expected);
    json_object_put(obj);
}

static void check_error(const char *request, bool oob, const char *eclass,
                        const char *desc)
{
    g_autofree char *expected = g_strdup_printf(
        "{'error':{'class':\"%s\",'desc':\"%s\"}}", eclass, desc);

    check(request, oob, expected);
}

static void test_answers(void)
{
    check("{'execute':'nothing'}", false, "{'return':{}}");
    check("{'execute':'list'}", false, "{'return':['x']}");
    check("{'execute':'empty-list'}", false, "{'return':[]}");
    check("{'execute':'raw'}", false, "{'return':7}");
    check("{'execute':'text'}", false, "{'return':'text'}");
    check("{'execute':'nothing','arguments':{}}", false, "{'return':{}}");
    check("{'exec-oob':'nothing'}", true, "{'return':{}}");
}

static void test_id(void)
{
    check("{'execute':'nothing','id':1}", false, "{'return':{},'id':1}");
    check("{'execute':'nothing','id':{'a':[null]}}", false,
          "{'return':{},'id':{'a':[null]}}");
    check("{'execute':'nothing','id':null}", false,
          "{'return':{},'id':null}");
    check("{'execute':'x','id':'i'}", false,
          "{'error':{'class':'CommandNotFound',"
          "'desc':'The command x has not been found'},'id':'i'}");
    check("{'id':'i'}", false,
          "{'error':{'class':'GenericError',"
          "'desc':\"QMP input lacks member 'execute'\"},'id':'i'}");
}

static void test_errors(void)
{
    static const char *const generic[][2] = {
        {"[]", "QMP input must be a JSON object"},
        {"1", "QMP input must be a JSON object"},
        {"{}", "QMP input lacks member 'execute'"},
        {"{'execute':1}", "QMP input member 'execute' must be a string"},
        {"{'exec':'x'}", "QMP input member 'exec' is unexpected"},
        {"{'execute':'list','x':1}", "QMP input member 'x' is unexpected"},
        {"{'exec-oob':'nothing'}",
         "QMP input member 'exec-oob' is unexpected"},
        {"{'execute':'list','arguments':[]}",
         "QMP input member 'arguments' must be an object"},
        {"{'execute':'list','arguments':{'x':1}}",
         "Parameter 'x' is unexpected"},
        {"{'execute':'fail'}", "Parameter 'node-name' is missing"},
        {"{'execute':'fail','arguments':{'node-name':1}}",
         "Invalid parameter type for 'node-name', expected: string"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(generic); i++) {
        check_error(generic[i][0], false, "GenericError", generic[i][1]);
    }
    check_error("{'execute':'a','exec-oob':'b'}", true, "GenericError",
                "QMP input member 'execute' clashes with 'exec-oob'");
    check_error("{'exec-oob':'list'}", true, "GenericError",
                "The command list does not support OOB");
    check_error("{'execute':'fail','arguments':{'node-name':'n'}}", false,
                "DeviceNotFound", "No 'n' \xef\xbf\xbd here");
    check_equal(qmp_dispatch(&table, NULL, false),
                "{'error':{'class':'GenericError',"
                "'desc':'QMP input must be a JSON object'}}");
}

static void test_negotiation(void)
{
    struct json_object *request = parse("{'execute':'nothing'}");

    check_equal(qmp_dispatch(&negotiation, request, false),
                "{'error':{'class':'CommandNotFound',"
                "'desc':'Expecting capabilities negotiation'}}");
    json_object_put(request);
}

static void keep_response(struct json_object *response, void *opaque)
{
    struct json_object **out = opaque;

    g_assert_null(*out);
    *out = response;
}

static struct json_object *begin(const char *text,
                                 struct json_object **response)
{
    struct json_object *request = parse(text);

    qmp_dispatch_async(&table, request, false, keep_response, response);
    json_object_put(request);
    return *response;
}

static void test_async(void)
{
    struct json_object *response = NULL;

    check_equal(begin("{'execute':'list'}", &response), "{'return':['x']}");
    response = NULL;
    check_equal(begin("{'execute':'no-wait'}", &response), "{'return':{}}");
    response = NULL;
    check_equal(begin("{'execute':'x'}", &response),
                "{'error':{'class':'CommandNotFound',"
                "'desc':'The command x has not been found'}}");
}

/* A coroutine command answers on completion; its id is valid until then. */
static void test_wait(void)
{
    struct json_object *response = NULL;

    g_assert_null(begin("{'execute':'wait','id':{'a':1}}", &response));
    g_assert_nonnull(waiting);
    coroutine_enter(waiting);
    g_assert_nonnull(response);
    check_equal(response, "{'return':{},'id':{'a':1}}");
}

/* --- events --- */

static void count_event(void *opaque, struct json_object *event)
{
    struct json_object *stamp, *data;

    g_assert_true(json_object_object_get_ex(event, "timestamp", &stamp));
    g_assert_true(json_object_object_get_ex(stamp, "microseconds", NULL));
    g_assert_true(json_object_object_get_ex(event, "data", &data));
    g_assert_cmpstr(json_object_to_json_string_ext(data,
                                                   JSON_C_TO_STRING_PLAIN),
                    ==, "{\"id\":\"j\",\"status\":\"running\"}");
    ++*(int *)opaque;
}

static void remove_itself(void *opaque, struct json_object *event)
{
    ++*(int *)opaque;
    qapi_event_remove_emitter(remove_itself, opaque);
}

static void test_events(void)
{
    JobStatusChangeEvent arg = {.id = (char *)"j",
                                .status = JOB_STATUS_RUNNING};
    int a = 0, b = 0;

    qapi_event_send("E", &qapi_type_JobStatusChangeEvent, &arg);
    qapi_event_add_emitter(remove_itself, &a);
    qapi_event_add_emitter(count_event, &b);
    qapi_event_send("E", &qapi_type_JobStatusChangeEvent, &arg);
    qapi_event_send("E", &qapi_type_JobStatusChangeEvent, &arg);
    g_assert_cmpint(a, ==, 1);
    g_assert_cmpint(b, ==, 2);
    qapi_event_remove_emitter(count_event, &b);
    qapi_event_send("E", &qapi_type_JobStatusChangeEvent, &arg);
    g_assert_cmpint(b, ==, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp/answers", test_answers);
    g_test_add_func("/qmp/id", test_id);
    g_test_add_func("/qmp/errors", test_errors);
    g_test_add_func("/qmp/negotiation", test_negotiation);
    g_test_add_func("/qmp/async", test_async);
    g_test_add_func("/qmp/wait", test_wait);
    g_test_add_func("/qmp/events", test_events);
    return g_test_run();
}
