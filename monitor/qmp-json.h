/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP as a stream of bytes: finding the ends of messages, and writing them.
 *
 * Messages follow each other with or without white space between them, and
 * arrive in pieces of any size.  The splitter finds the end of each by counting
 * brackets outside of strings; the parser checks whether it is JSON. Where the
 * stream cannot be split (a string with a raw line break, brackets that do not
 * match, too large, too deep) the rest of the line is dropped, one error
 * reported, and the stream resumes.  A byte 0xff, which occurs in no message,
 * resets the splitter.
 */
#ifndef MONITOR_QMP_JSON_H
#define MONITOR_QMP_JSON_H

#include "qemu/error.h"

struct json_object;

#define QMP_MAX_MESSAGE (64 * 1024 * 1024)
#define QMP_MAX_DEPTH 1024

/*
 * One message: its text, or (@text NULL) an error, which the callback consumes.
 */
typedef void QmpMessageFunc(void *opaque, const char *text, size_t len,
                            Error *err);

typedef struct QmpSplitter {
    QmpMessageFunc *func;
    void *opaque;
    GByteArray *pending; /* of the message being received */
    GByteArray *stack;   /* the opening brackets, innermost last */
    char quote;          /* inside a string: its quote, else 0 */
    bool escape;         /* the last byte was a backslash in a string */
    bool skipping;       /* until the end of the line */
} QmpSplitter;

void qmp_splitter_init(QmpSplitter *sp, QmpMessageFunc *func, void *opaque);
void qmp_splitter_destroy(QmpSplitter *sp);
/* Calls func for each message that ends in @data. */
void qmp_splitter_feed(QmpSplitter *sp, const char *data, size_t len);
/* The stream has ended: pending input becomes a message. */
void qmp_splitter_eof(QmpSplitter *sp);

/* Appends @obj to @out, spaced as {"a": 1, "b": [2, 3]}, or in lines. */
void qmp_json_print(GString *out, struct json_object *obj, bool pretty);

#endif
