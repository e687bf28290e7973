/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The descriptor of a vmdk image: lines key=value, and lines of extents. */
#include "qemu/osdep.h"
#include "qemu/error.h"
#include "vmdk-int.h"

/* The line "key=value" or "key = value"; a new string without quotes. */
static char *desc_value(const char *text, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    size_t n = strlen(key);

    for (char **line = lines; *line; line++) {
        char *p = g_strstrip(*line);

        if (g_ascii_strncasecmp(p, key, n)) {
            continue;
        }
        p = g_strchug(p + n);
        if (*p != '=') {
            continue;
        }
        p = g_strchug(p + 1);
        n = strlen(p);
        if (n >= 2 && *p == '"' && p[n - 1] == '"') {
            return g_strndup(p + 1, n - 2);
        }
        return g_strdup(p);
    }
    return NULL;
}

static bool desc_hex(const char *text, const char *key, uint32_t *value)
{
    g_autofree char *word = desc_value(text, key);
    char *end;
    guint64 n;

    if (!word || !g_ascii_isxdigit(*word)) {
        return false;
    }
    n = g_ascii_strtoull(word, &end, 16);
    *value = n;
    return !*end && n <= UINT32_MAX;
}

int vmdk_desc_parse(VmdkDesc *d, char *text, Error **errp)
{
    d->text = text;
    d->create_type = desc_value(text, "createType");
    if (!d->create_type) {
        error_setg(errp, "VMDK descriptor has no valid createType");
    } else if (!desc_hex(text, "CID", &d->cid)) {
        error_setg(errp, "VMDK descriptor has no valid CID");
    } else if (!desc_hex(text, "parentCID", &d->parent_cid)) {
        error_setg(errp, "VMDK descriptor has no valid parentCID");
    } else {
        if (d->parent_cid != VMDK_NO_PARENT) {
            d->parent = desc_value(text, "parentFileNameHint");
        }
        if (d->parent_cid == VMDK_NO_PARENT || d->parent) {
            return 0;
        }
        error_setg(errp, "VMDK descriptor has a parent, but no name of it");
    }
    return -EINVAL;
}

void vmdk_desc_free(VmdkDesc *d)
{
    g_free(d->text);
    g_free(d->create_type);
    g_free(d->parent);
}

bool vmdk_line_parse(const char *line, VmdkLine *l)
{
    int used = 0;
    const char *end;

    memset(l, 0, sizeof(*l));
    if (sscanf(line, " %15s %" SCNu64 " %15s %n", l->access, &l->sectors,
               l->type, &used) != 3 ||
        (strcmp(l->access, "RW") && strcmp(l->access, "RDONLY") &&
         strcmp(l->access, "NOACCESS"))) {
        return false;
    }
    line += used;
    if (*line != '"') {
        return true;
    }
    end = strchr(++line, '"');
    if (!end) {
        return true;
    }
    l->name = g_strndup(line, end - line);
    (void)!sscanf(end + 1, "%" SCNu64, &l->offset);
    return true;
}

/* The start of the line "CID=...". */
static const char *find_cid(const char *text)
{
    while (text && g_ascii_strncasecmp(text, "CID=", 4)) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    return text;
}

bool vmdk_desc_set_cid(VmdkDesc *d, uint32_t cid)
{
    const char *line = find_cid(d->text);
    char *text;

    if (!line) {
        return false;
    }
    text = g_strdup_printf("%.*sCID=%08" PRIx32 "%s", (int)(line - d->text),
                           d->text, cid, line + strcspn(line, "\r\n"));
    if (strlen(text) > d->space) {
        g_free(text);
        return false;
    }
    g_free(d->text);
    d->text = text;
    d->cid = cid;
    return true;
}
