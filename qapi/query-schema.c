/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a monitor answers about itself: its commands and its schema. */
#include "qemu/osdep.h"
#include "qapi/json.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-introspect.h"

/*
 * The text lies in the program file and is parsed for each query: that takes
 * a millisecond, and no memory while nobody asks.
 */
struct json_object *qmp_query_qmp_schema(Error **errp)
{
    return json_parse_strict(qapi_introspect_text, qapi_introspect_length,
                             errp);
}

CommandInfoList *qmp_query_commands(Error **errp)
{
    CommandInfoList *list = NULL;

    for (size_t i = qmp_command_table.n_commands; i-- > 0;) {
        CommandInfo *info = g_new0(CommandInfo, 1);

        info->name = g_strdup(qmp_commands[i].name);
        QAPI_LIST_PREPEND(list, info);
    }
    return list;
}
