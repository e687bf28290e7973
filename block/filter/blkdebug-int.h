/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules of blkdebug, separate from the filter that applies them. */
#ifndef BLOCK_FILTER_BLKDEBUG_INT_H
#define BLOCK_FILTER_BLKDEBUG_INT_H

#include "block/types.h"
#include "qapi/qapi-types-block-core.h"

typedef struct BlkdebugRules BlkdebugRules;

/* Rules in state 1, with no rule set. */
BlkdebugRules *blkdebug_rules_new(void);
void blkdebug_rules_free(BlkdebugRules *rules);
/* Adds the rules given as options; false if one is invalid. */
bool blkdebug_rules_add(BlkdebugRules *rules,
                        const BlockdevOptionsBlkdebug *options, Error **errp);
/*
 * Adds rules from a file in the form
 *     [inject-error]
 *     event = "read_aio"
 *     errno = "5"
 */
bool blkdebug_rules_read(BlkdebugRules *rules, const char *filename,
                         Error **errp);

/*
 * Processes @event: arms errors, may change the state.  In a coroutine it waits
 * at breakpoints.
 */
void coroutine_mixed_fn blkdebug_rules_event(BlkdebugRules *rules,
                                             BlkdebugEvent event);
/* -errno if a request of @type is to fail, else 0. */
int coroutine_fn blkdebug_rules_check(BlkdebugRules *rules,
                                      BlkdebugIOType type, int64_t offset,
                                      int64_t bytes);

/* Breakpoints; 0 or -ENOENT.  What waits at one that is removed is resumed,
 * also where the breakpoint itself was used up. */
int blkdebug_break_add(BlkdebugRules *rules, const char *event,
                       const char *tag);
int blkdebug_break_remove(BlkdebugRules *rules, const char *tag);
int blkdebug_break_resume(BlkdebugRules *rules, const char *tag);
bool blkdebug_break_suspended(const BlkdebugRules *rules, const char *tag);

#endif
