/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queries of a monitor's own commands and schema. */
#include "qemu/osdep.h"
#include "qapi/json.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-control.h"

/*
 * The text is part of the program file and is parsed for each query: that takes
 * a millisecond, and no memory in between.
 */
struct json_object *qmp_query_qmp_schema(Error **errp)
{
    const char *text = qmp_program_table()->schema;

    return json_parse_strict(text, strlen(text), errp);
}

CommandInfoList *qmp_query_commands(Error **errp)
{
    const QmpCommandTable *table = qmp_program_table();
    CommandInfoList *list = NULL;

    for (size_t i = table->n_commands; i-- > 0;) {
        CommandInfo *info = g_new0(CommandInfo, 1);

        info->name = g_strdup(table->commands[i].name);
        QAPI_LIST_PREPEND(list, info);
    }
    return list;
}
