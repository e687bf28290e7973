/* SPDX-License-Identifier: GPL-2.0-or-later */
/* add-fd and related commands: descriptors sent by clients over the monitor. */
#include "qemu/osdep.h"

#include "fdset.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-misc.h"
#include "qemu/cutils.h"
#include "qemu/fdset.h"
#include "runstate.h"

/* --- named descriptors --- */

static GHashTable *named; /* name -> descriptor */

static void close_fd(gpointer fd)
{
    close(GPOINTER_TO_INT(fd));
}

bool qmp_getfd(GetfdArg *arg, Error **errp)
{
    int fd;

    if (!*arg->fdname || g_ascii_isdigit(*arg->fdname)) {
        error_setg(errp, "Parameter 'fdname' expects a name not starting "
                   "with a digit");
        return false;
    }
    fd = monitor_take_fd();
    if (fd < 0) {
        error_setg(errp, "No file descriptor supplied via SCM_RIGHTS");
        return false;
    }
    if (!named) {
        named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                      close_fd);
    }
    g_hash_table_replace(named, g_strdup(arg->fdname), GINT_TO_POINTER(fd));
    return true;
}

bool qmp_closefd(ClosefdArg *arg, Error **errp)
{
    if (!named || !g_hash_table_remove(named, arg->fdname)) {
        error_setg(errp, "File descriptor named '%s' not found", arg->fdname);
        return false;
    }
    return true;
}

static int take_inherited(const char *text, Error **errp)
{
    int64_t fd;
    int flags;

    if (!parse_int64(text, &fd, NULL) || fd < 0 || fd > INT_MAX) {
        error_setg(errp, "Invalid file descriptor number '%s'", text);
        return -1;
    }
    /* Our descriptors are closed on exec; inherited ones are not. */
    flags = fcntl(fd, F_GETFD);
    if (fd <= STDERR_FILENO || flags < 0 || (flags & FD_CLOEXEC) ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        error_setg(errp, "File descriptor %s is not valid or already in use",
                   text);
        return -1;
    }
    return fd;
}

int fdset_take(const char *name, Error **errp)
{
    gpointer key, value;

    if (g_ascii_isdigit(*name)) {
        return take_inherited(name, errp);
    }
    if (!named || !g_hash_table_lookup_extended(named, name, &key, &value)) {
        error_setg(errp, "File descriptor named '%s' has not been found",
                   name);
        return -1;
    }
    g_hash_table_steal(named, name);
    g_free(key);
    return GPOINTER_TO_INT(value);
}

/* --- sets --- */

/*
 * Unused descriptors of clients are closed with the last session, as no client
 * is left that could use them.
 */
static void clients_have_gone(void)
{
    if (runstate_is_running()) {
        fdset_remove_unused();
    }
}

void fdset_follow_monitors(void)
{
    monitor_set_deserted(clients_have_gone);
}

AddfdInfo *qmp_add_fd(AddFdArg *arg, Error **errp)
{
    int fd = monitor_take_fd();
    int64_t id = arg->has_fdset_id ? arg->fdset_id : -1;
    AddfdInfo *info;

    if (fd < 0) {
        error_setg(errp, "No file descriptor supplied via SCM_RIGHTS");
        return NULL;
    }
    if (arg->has_fdset_id && id < 0) {
        error_setg(errp, "Parameter 'fdset-id' expects a non-negative value");
        close(fd);
        return NULL;
    }
    info = g_new0(AddfdInfo, 1);
    info->fdset_id = fdset_add(id, fd, arg->opaque);
    info->fd = fd;
    return info;
}

bool qmp_remove_fd(RemoveFdArg *arg, Error **errp)
{
    if (!fdset_remove(arg->fdset_id, arg->has_fd ? arg->fd : -1)) {
        if (arg->has_fd) {
            error_setg(errp, "File descriptor named 'fdset-id:%" PRId64
                       ", fd:%" PRId64 "' not found", arg->fdset_id, arg->fd);
        } else {
            error_setg(errp, "File descriptor named 'fdset-id:%" PRId64
                       "' not found", arg->fdset_id);
        }
        return false;
    }
    return true;
}

static void list_one(int64_t id, int fd, const char *opaque, void *arg)
{
    FdsetInfoList **list = arg;
    FdsetFdInfo *info = g_new0(FdsetFdInfo, 1);
    FdsetFdInfoList **tail;

    if (!*list || (*list)->value->fdset_id != id) {
        FdsetInfo *set = g_new0(FdsetInfo, 1);

        set->fdset_id = id;
        QAPI_LIST_PREPEND(*list, set);
    }
    info->fd = fd;
    info->opaque = g_strdup(opaque);
    for (tail = &(*list)->value->fds; *tail; tail = &(*tail)->next) {
    }
    QAPI_LIST_APPEND(tail, info);
}

FdsetInfoList *qmp_query_fdsets(Error **errp)
{
    FdsetInfoList *list = NULL;

    fdset_foreach(list_one, &list);
    return list;
}
