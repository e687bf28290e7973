/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules of blkdebug.
 *
 * A rule belongs to an event and, if it names one, to a state.  When the event
 * happens, its inject-error rules replace those that were active before; its
 * set-state rules change the state afterwards; its breakpoints suspend the
 * request.  A request fails if an active rule covers its kind and range.
 */
#include "qemu/osdep.h"
#include "blkdebug-int.h"
#include "qemu/aio.h"
#include "qemu/interval.h"

typedef enum RuleAction {
    RULE_INJECT_ERROR,
    RULE_SET_STATE,
    RULE_BREAK,
} RuleAction;

typedef struct Rule {
    RuleAction action;
    int64_t state; /* 0: any */
    bool active;   /* inject: armed by the last event that armed any */
    LIST_ENTRY(Rule) next;

    /* inject */
    unsigned iotypes; /* set of 1 << BlkdebugIOType */
    int error;
    bool once, immediately;
    int64_t offset; /* of a sector; -1: any */
    /* set-state */
    int64_t new_state;
    /* break */
    char *tag;
} Rule;

/* One breakpoint at which a request waits; it may wait at several. */
typedef struct Suspended {
    Coroutine *co;
    unsigned *waits; /* of this request: at so many breakpoints */
    char *tag;
    LIST_ENTRY(Suspended) next;
} Suspended;

struct BlkdebugRules {
    int64_t state;
    LIST_HEAD(, Rule) rules[BLKDEBUG_EVENT__MAX];
    LIST_HEAD(, Suspended) suspended;
};

/* --- life --- */

BlkdebugRules *blkdebug_rules_new(void)
{
    BlkdebugRules *rules = g_new0(BlkdebugRules, 1);

    rules->state = 1;
    return rules;
}

static void rule_free(Rule *rule)
{
    LIST_REMOVE(rule, next);
    g_free(rule->tag);
    g_free(rule);
}

void blkdebug_rules_free(BlkdebugRules *rules)
{
    if (!rules) {
        return;
    }
    g_assert(LIST_EMPTY(&rules->suspended));
    for (int i = 0; i < BLKDEBUG_EVENT__MAX; i++) {
        while (!LIST_EMPTY(&rules->rules[i])) {
            rule_free(LIST_FIRST(&rules->rules[i]));
        }
    }
    g_free(rules);
}

static Rule *rule_new(BlkdebugRules *rules, RuleAction action,
                      BlkdebugEvent event, int64_t state)
{
    Rule *rule = g_new0(Rule, 1);

    rule->action = action;
    rule->state = state;
    LIST_INSERT_HEAD(&rules->rules[event], rule, next);
    return rule;
}

/* --- from options --- */

static bool add_inject(BlkdebugRules *rules,
                       const BlkdebugInjectErrorOptions *o, Error **errp)
{
    Rule *rule;

    if (o->q_errno < 0 || o->q_errno > 4095) {
        error_setg(errp, "Invalid error number %" PRId64 " for blkdebug",
                   o->q_errno);
        return false;
    }
    if (o->has_sector &&
        (o->sector < -1 || o->sector > INT64_MAX / BDRV_SECTOR_SIZE)) {
        error_setg(errp, "Invalid sector %" PRId64 " for blkdebug",
                   o->sector);
        return false;
    }
    rule = rule_new(rules, RULE_INJECT_ERROR, o->event,
                    o->has_state ? o->state : 0);
    rule->error = o->q_errno;
    rule->once = o->once;
    rule->immediately = o->immediately;
    rule->offset = o->has_sector && o->sector >= 0
                   ? o->sector * BDRV_SECTOR_SIZE : -1;
    rule->iotypes = o->has_iotype
                    ? 1u << o->iotype
                    : 1u << BLKDEBUG_IO_TYPE_READ |
                      1u << BLKDEBUG_IO_TYPE_WRITE |
                      1u << BLKDEBUG_IO_TYPE_WRITE_ZEROES |
                      1u << BLKDEBUG_IO_TYPE_DISCARD |
                      1u << BLKDEBUG_IO_TYPE_FLUSH;
    return true;
}

static void add_set_state(BlkdebugRules *rules,
                          const BlkdebugSetStateOptions *o)
{
    Rule *rule = rule_new(rules, RULE_SET_STATE, o->event,
                          o->has_state ? o->state : 0);

    rule->new_state = o->new_state;
}

bool blkdebug_rules_add(BlkdebugRules *rules,
                        const BlockdevOptionsBlkdebug *options, Error **errp)
{
    const BlkdebugInjectErrorOptionsList *i;
    const BlkdebugSetStateOptionsList *s;

    for (i = options->inject_error; i; i = i->next) {
        if (!add_inject(rules, i->value, errp)) {
            return false;
        }
    }
    for (s = options->set_state; s; s = s->next) {
        add_set_state(rules, s->value);
    }
    return true;
}

/* --- from a file --- */

/* Adds the rule that one section describes. */
static bool add_section(BlkdebugRules *rules, const char *name,
                        struct json_object *members, Error **errp)
{
    if (!strcmp(name, "inject-error")) {
        g_autoptr(BlkdebugInjectErrorOptions) o =
            qapi_BlkdebugInjectErrorOptions_from_json(
                members, QAPI_INPUT_KEYVAL, errp);

        return o && add_inject(rules, o, errp);
    }
    if (!strcmp(name, "set-state")) {
        g_autoptr(BlkdebugSetStateOptions) o =
            qapi_BlkdebugSetStateOptions_from_json(
                members, QAPI_INPUT_KEYVAL, errp);

        if (o) {
            add_set_state(rules, o);
        }
        return o != NULL;
    }
    error_setg(errp, "Unknown section '%s'", name);
    return false;
}

/* `key = "value"`; the quotes are optional. */
static bool add_member(struct json_object *members, char *line, Error **errp)
{
    char *eq = strchr(line, '=');
    char *value;
    size_t len;

    if (!eq) {
        error_setg(errp, "'%s' is neither a section nor key = value", line);
        return false;
    }
    *eq = '\0';
    value = g_strstrip(eq + 1);
    len = strlen(value);
    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value[len - 1] = '\0';
        value++;
    }
    json_object_object_add(members, g_strstrip(line),
                           json_object_new_string(value));
    return true;
}

static bool parse_lines(BlkdebugRules *rules, char **lines, Error **errp)
{
    struct json_object *members = NULL;
    g_autofree char *section = NULL;
    bool ok = true;

    for (int i = 0; ok; i++) {
        char *line = lines[i] ? g_strstrip(lines[i]) : NULL;
        size_t len = line ? strlen(line) : 0;

        if (line && (len == 0 || *line == '#')) {
            continue;
        }
        if (!line || (len > 2 && *line == '[' && line[len - 1] == ']')) {
            ok = !section || add_section(rules, section, members, errp);
            json_object_put(members);
            members = NULL;
            g_free(section);
            section = line ? g_strndup(line + 1, len - 2) : NULL;
            members = line ? json_object_new_object() : NULL;
            if (!line) {
                break;
            }
        } else if (!section) {
            error_setg(errp, "'%s' is not in a section", line);
            ok = false;
        } else {
            ok = add_member(members, line, errp);
        }
    }
    json_object_put(members);
    return ok;
}

bool blkdebug_rules_read(BlkdebugRules *rules, const char *filename,
                         Error **errp)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) err = NULL;

    if (!g_file_get_contents(filename, &text, NULL, &err)) {
        error_setg(errp, "Could not read blkdebug config file: %s",
                   err->code == G_FILE_ERROR_NOENT ? strerror(ENOENT)
                                                   : err->message);
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    if (!parse_lines(rules, lines, errp)) {
        error_prepend(errp, "Could not parse blkdebug config file '%s': ",
                      filename);
        return false;
    }
    return true;
}

/* --- applying --- */

static void disarm_all(BlkdebugRules *rules)
{
    Rule *rule;

    for (int i = 0; i < BLKDEBUG_EVENT__MAX; i++) {
        LIST_FOREACH(rule, &rules->rules[i], next) {
            rule->active = false;
        }
    }
}

/* Removes and returns the first breakpoint of @event; NULL: none. */
static char *take_breakpoint(BlkdebugRules *rules, BlkdebugEvent event)
{
    Rule *rule;

    LIST_FOREACH(rule, &rules->rules[event], next) {
        if (rule->action == RULE_BREAK) {
            char *tag = g_steal_pointer(&rule->tag);

            rule_free(rule);
            return tag;
        }
    }
    return NULL;
}

/*
 * Waits until all breakpoints of @event that there are now have been resumed,
 * in any order.  They are used up.
 */
static void coroutine_fn suspend(BlkdebugRules *rules, BlkdebugEvent event)
{
    unsigned waits = 0;
    char *tag;

    while ((tag = take_breakpoint(rules, event))) {
        Suspended *s = g_new(Suspended, 1);

        *s = (Suspended){
            .co = coroutine_self(), .waits = &waits, .tag = tag,
        };
        waits++;
        LIST_INSERT_HEAD(&rules->suspended, s, next);
        printf("blkdebug: Suspended request '%s'\n", tag);
        fflush(stdout);
    }
    if (waits) {
        coroutine_yield();
    }
}

/* The request that waits at @s does so no longer, and goes on if that was the
 * last of its breakpoints. */
static void let_go(Suspended *s)
{
    Coroutine *co = --*s->waits == 0 ? s->co : NULL;

    LIST_REMOVE(s, next);
    g_free(s->tag);
    g_free(s);
    if (co) {
        co_wake(co);
    }
}

void coroutine_mixed_fn blkdebug_rules_event(BlkdebugRules *rules,
                                             BlkdebugEvent event)
{
    int64_t new_state = rules->state;
    bool armed = false;
    Rule *rule;

    LIST_FOREACH(rule, &rules->rules[event], next) {
        if (rule->state && rule->state != rules->state) {
            continue;
        }
        if (rule->action == RULE_INJECT_ERROR) {
            if (!armed) {
                disarm_all(rules);
                armed = true;
            }
            rule->active = true;
        } else if (rule->action == RULE_SET_STATE) {
            new_state = rule->new_state;
        }
    }
    rules->state = new_state;
    if (in_coroutine()) {
        suspend(rules, event);
    }
}

static bool covers(const Rule *rule, BlkdebugIOType type, int64_t offset,
                   int64_t bytes)
{
    return rule->active && (rule->iotypes & (1u << type)) &&
           (rule->offset < 0 ||
            ranges_overlap(rule->offset, BDRV_SECTOR_SIZE, offset,
                           MAX(bytes, 1)));
}

/* The active rule that was given first: lists have the newest in front. */
static Rule *find_active(BlkdebugRules *rules, BlkdebugIOType type,
                         int64_t offset, int64_t bytes)
{
    Rule *rule, *found = NULL;

    for (int i = 0; i < BLKDEBUG_EVENT__MAX; i++) {
        LIST_FOREACH(rule, &rules->rules[i], next) {
            if (covers(rule, type, offset, bytes)) {
                found = rule;
            }
        }
        if (found) {
            break;
        }
    }
    return found;
}

int coroutine_fn blkdebug_rules_check(BlkdebugRules *rules,
                                      BlkdebugIOType type, int64_t offset,
                                      int64_t bytes)
{
    Rule *rule = find_active(rules, type, offset, bytes);
    bool immediately;
    int error;

    if (!rule || !rule->error) {
        return 0;
    }
    error = rule->error;
    immediately = rule->immediately;
    if (rule->once) {
        rule_free(rule);
    }
    if (!immediately) {
        co_yield_to_loop();
    }
    return -error;
}

/* --- breakpoints --- */

int blkdebug_break_add(BlkdebugRules *rules, const char *event,
                       const char *tag)
{
    int e = BlkdebugEvent_parse(event, NULL);

    if (e < 0) {
        return -ENOENT;
    }
    rule_new(rules, RULE_BREAK, e, 0)->tag = g_strdup(tag);
    return 0;
}

/* Resumes requests that wait at @tag; returns their number. */
static int resume(BlkdebugRules *rules, const char *tag, bool all)
{
    Suspended *s;
    int n = 0;

    do {
        LIST_FOREACH(s, &rules->suspended, next) {
            if (!strcmp(s->tag, tag)) {
                break;
            }
        }
        if (!s) {
            break;
        }
        printf("blkdebug: Resuming request '%s'\n", tag);
        fflush(stdout);
        let_go(s);
        n++;
    } while (all);
    return n;
}

int blkdebug_break_resume(BlkdebugRules *rules, const char *tag)
{
    return resume(rules, tag, false) ? 0 : -ENOENT;
}

int blkdebug_break_remove(BlkdebugRules *rules, const char *tag)
{
    Rule *rule, *tmp;
    int n = 0;

    for (int i = 0; i < BLKDEBUG_EVENT__MAX; i++) {
        LIST_FOREACH_SAFE(rule, &rules->rules[i], next, tmp) {
            if (rule->action == RULE_BREAK && !strcmp(rule->tag, tag)) {
                rule_free(rule);
                n++;
            }
        }
    }
    resume(rules, tag, true);
    return n ? 0 : -ENOENT;
}

bool blkdebug_break_suspended(const BlkdebugRules *rules, const char *tag)
{
    const Suspended *s;

    LIST_FOREACH(s, &rules->suspended, next) {
        if (!strcmp(s->tag, tag)) {
            return true;
        }
    }
    return false;
}
