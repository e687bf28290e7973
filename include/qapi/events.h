/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending QMP events: the generated qapi_event_send_...() functions build them,
 * emitters (monitors) deliver them.
 */
#ifndef QAPI_EVENTS_H
#define QAPI_EVENTS_H

#include "qapi/type.h"

/*
 * Delivers @event, {"event", "data", "timestamp"}: borrowed, take a reference
 * to keep it, and do not change it.
 */
typedef void QapiEventEmitter(void *opaque, struct json_object *event);

/* Adds an emitter; it gets all events from now on.  Main thread only. */
void qapi_event_add_emitter(QapiEventEmitter *emit, void *opaque);
/*
 * Removes what was added with the same arguments; allowed in an emitter, which
 * may then still be called for the event that is being delivered.
 */
void qapi_event_remove_emitter(QapiEventEmitter *emit, void *opaque);

/*
 * Sends event @name with @data (of type @type; both NULL: none), borrowed,
 * with the time of now.  For the generated functions.  Any thread; one of
 * another than the main thread reaches the emitters when the main loop runs,
 * before all that come later.
 */
void qapi_event_send(const char *name, const QapiType *type,
                     const void *data);

#endif
