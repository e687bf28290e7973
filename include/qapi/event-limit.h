/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How often events are delivered. */
#ifndef QAPI_EVENT_LIMIT_H
#define QAPI_EVENT_LIMIT_H

#include <json-c/json.h>

/* Delivers and consumes @event. */
typedef void QapiEventDeliver(struct json_object *event);

/*
 * True: too many of its kind came before; it is consumed, and @deliver gets it
 * later, or one like it that came after it.  False: the caller delivers it, and
 * keeps it.  Main thread.
 */
bool qapi_event_limit(struct json_object *event, QapiEventDeliver *deliver);
/* Drops what waits; before the main loop ends. */
void qapi_event_limit_cleanup(void);

#endif
