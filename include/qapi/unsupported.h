/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of enums that are known, but not supported. */
#ifndef QAPI_UNSUPPORTED_H
#define QAPI_UNSUPPORTED_H

/*
 * What to use instead of @value, which others with these interfaces have in the
 * enum called @type, as a part of a sentence; NULL: it is not known.
 */
const char *qapi_unsupported(const char *type, const char *value);

#endif
