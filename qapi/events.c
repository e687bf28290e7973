/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: built once, passed to every emitter. */
#include "qemu/osdep.h"
#include "qapi/event-limit.h"
#include "qapi/events.h"
#include "qemu/aio.h"

#include <pthread.h>

typedef struct Emitter {
    QapiEventEmitter *emit;
    void *opaque;
    TAILQ_ENTRY(Emitter) next;
} Emitter;

static TAILQ_HEAD(, Emitter) emitters = TAILQ_HEAD_INITIALIZER(emitters);

void qapi_event_add_emitter(QapiEventEmitter *emit, void *opaque)
{
    Emitter *emitter = g_new0(Emitter, 1);

    emitter->emit = emit;
    emitter->opaque = opaque;
    TAILQ_INSERT_TAIL(&emitters, emitter, next);
}

void qapi_event_remove_emitter(QapiEventEmitter *emit, void *opaque)
{
    Emitter *emitter;

    TAILQ_FOREACH(emitter, &emitters, next)
    {
        if (emitter->emit == emit && emitter->opaque == opaque) {
            TAILQ_REMOVE(&emitters, emitter, next);
            g_free(emitter);
            return;
        }
    }
}

static struct json_object *timestamp_to_json(void)
{
    struct json_object *obj = json_object_new_object();
    int64_t now = g_get_real_time();

    json_object_object_add(obj, "seconds",
                           json_object_new_int64(now / G_USEC_PER_SEC));
    json_object_object_add(obj, "microseconds",
                           json_object_new_int64(now % G_USEC_PER_SEC));
    return obj;
}

static void deliver(struct json_object *event)
{
    Emitter *emitter, *next;

    TAILQ_FOREACH_SAFE(emitter, &emitters, next, next)
    {
        emitter->emit(emitter->opaque, event);
    }
    json_object_put(event);
}

static void emit(struct json_object *event)
{
    if (!qapi_event_limit(event, deliver)) {
        deliver(event);
    }
}

/* --- from I/O threads: emitted in order, before later ones --- */

static struct {
    pthread_mutex_t lock;
    GQueue events; /* under lock: of json_object */
} waiting = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .events = G_QUEUE_INIT,
};

static struct json_object *next_waiting(void)
{
    struct json_object *event;

    pthread_mutex_lock(&waiting.lock);
    event = g_queue_pop_head(&waiting.events);
    pthread_mutex_unlock(&waiting.lock);
    return event;
}

static void emit_waiting(void *unused)
{
    struct json_object *event;

    while ((event = next_waiting())) {
        emit(event);
    }
}

static void let_wait(struct json_object *event)
{
    pthread_mutex_lock(&waiting.lock);
    g_queue_push_tail(&waiting.events, event);
    pthread_mutex_unlock(&waiting.lock);
    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, emit_waiting, NULL);
}

void qapi_event_send(const char *name, const QapiType *type, const void *data)
{
    struct json_object *event;

    if (TAILQ_EMPTY(&emitters)) {
        return;
    }
    event = json_object_new_object();
    json_object_object_add(event, "timestamp", timestamp_to_json());
    json_object_object_add(event, "event", json_object_new_string(name));
    if (type) {
        json_object_object_add(event, "data", qapi_type_to_json(type, data));
    }
    if (aio_main_context() && aio_current_context() != aio_main_context()) {
        let_wait(event);
        return;
    }
    emit_waiting(NULL);
    emit(event);
}
