/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Passwords and keys that options name by their id: objects of the type
 * "secret".  Any thread.
 */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include "qemu/error.h"

typedef struct SecretProperties SecretProperties;

/* Reads and decodes the secret; @id is not in use. */
bool crypto_secret_add(const char *id, const SecretProperties *props,
                       Error **errp);
/* Forgets it; no such one: no effect. */
void crypto_secret_del(const char *id);
/* Its bytes; NULL with @errp.  Free it with crypto_free(). */
uint8_t *crypto_secret_get(const char *id, size_t *bytes, Error **errp);
/* The same for a password, which is text in UTF-8: with a null byte at its
 * end, that *@bytes, its length, does not count. */
char *crypto_secret_get_password(const char *id, size_t *bytes, Error **errp);
/* Frees what that returned. */
void crypto_password_free(char *password, size_t bytes);

#endif
