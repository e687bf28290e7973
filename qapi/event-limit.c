/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events that a faulty disk can cause for each request: a client gets the first
 * of a second at once, and the last of the others when the second is over.
 */
#include "qemu/osdep.h"
#include "qapi/event-limit.h"
#include "qemu/aio.h"

#define WINDOW_NS INT64_C(1000000000)

static const struct {
    const char *event;
    const char *member; /* each of its values is limited by itself */
} limited[] = {
    { "QUORUM_FAILURE", "reference" },
    { "QUORUM_REPORT_BAD", "node-name" },
};

/* A window that has begun.  Main thread. */
typedef struct Window {
    char *key;
    struct json_object *last; /* to be delivered; NULL: none */
    QapiEventDeliver *deliver;
    AioTimer *timer;
} Window;

static GHashTable *windows;

static void window_free(void *opaque)
{
    Window *w = opaque;

    aio_timer_free(w->timer);
    json_object_put(w->last);
    g_free(w->key);
    g_free(w);
}

static void window_begin(Window *w)
{
    aio_timer_mod(w->timer, aio_now_ns() + WINDOW_NS);
}

static void window_over(void *opaque)
{
    Window *w = opaque;
    struct json_object *last = g_steal_pointer(&w->last);

    if (last) {
        window_begin(w);
        w->deliver(last);
    } else {
        g_hash_table_remove(windows, w->key);
    }
}

/* What events share a window; NULL: the event is not limited. */
static char *window_key(struct json_object *event)
{
    struct json_object *name = json_object_object_get(event, "event");
    struct json_object *data = json_object_object_get(event, "data");

    for (size_t i = 0; i < ARRAY_SIZE(limited); i++) {
        if (!strcmp(json_object_get_string(name), limited[i].event)) {
            struct json_object *value =
                json_object_object_get(data, limited[i].member);

            return g_strconcat(limited[i].event, ":",
                               json_object_get_string(value), NULL);
        }
    }
    return NULL;
}

bool qapi_event_limit(struct json_object *event, QapiEventDeliver *deliver)
{
    g_autofree char *key = window_key(event);
    Window *w;

    if (!key || !aio_main_context()) {
        return false;
    }
    if (!windows) {
        windows = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                        window_free);
    }
    w = g_hash_table_lookup(windows, key);
    if (w) {
        json_object_put(w->last);
        w->last = event;
        return true;
    }
    w = g_new0(Window, 1);
    w->key = g_steal_pointer(&key);
    w->deliver = deliver;
    w->timer = aio_timer_new(aio_main_context(), AIO_SCOPE_IO, window_over, w);
    g_hash_table_insert(windows, w->key, w);
    window_begin(w);
    return false;
}

void qapi_event_limit_cleanup(void)
{
    g_clear_pointer(&windows, g_hash_table_unref);
}
