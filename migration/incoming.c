/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination of a migration: one coroutine of the main thread, which
 * reads.
 *
 * Images are inactive until the stream has ended (or the source says that the
 * machine runs here from now on).  Then they become active, the bitmaps are
 * handed over, the source gets its answer, and the machine starts.  If anything
 * fails before, the bitmaps are removed and the machine goes on waiting:
 * migrate-incoming may be given again.
 */
#include "qemu/osdep.h"

#include "block/activate.h"
#include "channel.h"
#include "migration-int.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/cutils.h"
#include "qemu/yank.h"
#include "section.h"
#include "settings.h"
#include "wire.h"

typedef struct Incoming {
    MigState state;
    bool expected;     /* -incoming was given */
    char *uri;         /* of -incoming, unless "defer" */
    MigListener *listener;
    SocketAddressList *address;
    bool running;      /* the coroutine */
    YankEntry *yank;   /* while it runs */
    MigChannel *ch;
    MigBitmapLoad *bitmaps;
    bool answers;      /* the source reads */
    bool started;      /* the machine has been started, or left stopped */
    bool will_start;
} Incoming;

static Incoming in;

const MigState *mig_incoming_state(void)
{
    return &in.state;
}

/* --- answers --- */

static bool coroutine_fn answer(uint16_t type, uint32_t value, Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();

    mig_put_16(data, type);
    mig_put_16(data, 4);
    mig_put_32(data, value);
    return mig_channel_write(in.ch, data->data, data->len, errp);
}

/* The last one; the source may have gone. */
static void coroutine_fn answer_end(bool ok)
{
    if (in.answers) {
        answer(WIRE_RP_SHUT, !ok, NULL);
    }
}

/* --- the machine takes over; outside coroutines --- */

/* States in which a machine can be that does not run. */
static RunState stopped_state(RunState status)
{
    switch (status) {
    case RUN_STATE_PRELAUNCH:
    case RUN_STATE_SHUTDOWN:
    case RUN_STATE_IO_ERROR:
    case RUN_STATE_INTERNAL_ERROR:
    case RUN_STATE_SUSPENDED:
    case RUN_STATE_WATCHDOG:
    case RUN_STATE_GUEST_PANICKED:
        return status;
    default:
        return RUN_STATE_PAUSED;
    }
}

typedef struct TakeOver {
    const MigLoader *loader;
    bool ok;
    Error **errp;
} TakeOver;

/* The source takes the images back, and has the bitmaps. */
static void give_back(void)
{
    Error *err = NULL;

    mig_bitmap_load_free(g_steal_pointer(&in.bitmaps));
    if (!bdrv_inactivate_all(&err)) {
        error_report_err(err);
    }
}

static void take_over(void *opaque)
{
    TakeOver *t = opaque;
    const MigLoader *l = t->loader;
    bool late = mig_capability(MIGRATION_CAPABILITY_LATE_BLOCK_ACTIVATE);

    in.will_start = (!l->has_status || l->status == RUN_STATE_RUNNING) &&
                    mig_machine->wants_start();
    if (l->description) {
        mig_bitmap_load_describe(in.bitmaps, l->description->data,
                                 l->description->len);
    }
    mig_bitmap_load_record(in.bitmaps);
    t->ok = (late && !in.will_start) || bdrv_activate_all(t->errp);
    if (!t->ok) {
        give_back();
        return;
    }
    if (!late || in.will_start) {
        bdrv_set_open_inactive(false);
    }
    if (l->has_clock) {
        mig_machine->set_clock_ns(l->clock_ns);
    }
    mig_bitmap_load_hand_over(in.bitmaps);
}

static void start_machine(void *opaque)
{
    const MigLoader *l = opaque;

    in.started = true;
    /* A command may have stopped it meanwhile. */
    if (in.will_start && mig_machine->wants_start()) {
        mig_machine->start();
    } else {
        mig_machine->stop(l->has_status ? stopped_state(l->status)
                                        : RUN_STATE_PAUSED);
    }
}

static bool coroutine_fn do_take_over(const MigLoader *l, Error **errp)
{
    TakeOver t = { .loader = l, .errp = errp };

    mig_run_main(take_over, &t);
    return t.ok;
}

/* --- commands in the stream --- */

static bool coroutine_fn open_return_path(Error **errp)
{
    if (!in.ch->is_socket || in.ch->child) {
        error_setg(errp, "The source wants answers, and the channel has one "
                   "direction");
        return false;
    }
    in.answers = true;
    return true;
}

static bool coroutine_fn run_here(MigLoader *l, Error **errp)
{
    if (!l->postcopy || in.started) {
        error_setg(errp, "The migration stream starts the machine %s",
                   in.started ? "twice" : "too early");
        return false;
    }
    if (!do_take_over(l, errp)) {
        return false;
    }
    mig_run_main(start_machine, l);
    return true;
}

static bool coroutine_fn run_command(void *opaque, uint16_t command,
                                     const uint8_t *data, uint16_t len,
                                     Error **errp)
{
    MigLoader *l = opaque;

    switch (command) {
    case WIRE_CMD_OPEN_RETURN_PATH:
        return open_return_path(errp);
    case WIRE_CMD_PING:
        if (len != 4 || !in.answers) {
            error_setg(errp, "A question in the migration stream is malformed");
            return false;
        }
        return answer(WIRE_RP_PONG, ld32_be(data), errp);
    case WIRE_CMD_POSTCOPY_ADVISE:
        return true; /* sizes of pages, if anything */
    case WIRE_CMD_POSTCOPY_LISTEN:
        if (l->postcopy) {
            error_setg(errp, "The migration stream begins postcopy twice");
            return false;
        }
        l->postcopy = true;
        mig_state_set(&in.state, MIGRATION_STATUS_POSTCOPY_ACTIVE);
        return true;
    case WIRE_CMD_POSTCOPY_RUN:
        return run_here(l, errp);
    default:
        error_setg(errp, "Unknown command %u in the migration stream",
                   command);
        return false;
    }
}

/* --- all of it --- */

static void free_bitmaps(void *opaque)
{
    mig_bitmap_load_free(g_steal_pointer(&in.bitmaps));
}

static bool coroutine_fn receive(MigLoader *l, MigReader *r, Error **errp)
{
    if (!mig_load_stream(l, r, errp)) {
        return false;
    }
    if (l->postcopy && !in.started) {
        error_setg(errp, "The migration stream ends before the machine runs");
        return false;
    }
    return l->postcopy || do_take_over(l, errp);
}

static void coroutine_fn run(void *opaque)
{
    g_autoptr(MigReader) r = mig_reader_new(in.ch);
    MigLoader l = { .machine_type = mig_machine->type(),
                    .bitmaps = in.bitmaps, .command = run_command };
    Error *err = NULL;
    bool ok;

    l.opaque = &l;
    mig_state_set(&in.state, MIGRATION_STATUS_ACTIVE);
    ok = receive(&l, r, &err);
    answer_end(ok);
    if (ok && !in.started) {
        mig_run_main(start_machine, &l);
    }
    mig_run_main(free_bitmaps, NULL);
    yank_remove(g_steal_pointer(&in.yank));
    mig_channel_free(g_steal_pointer(&in.ch));
    mig_loader_clear(&l);
    if (ok) {
        mig_state_set(&in.state, MIGRATION_STATUS_COMPLETED);
    } else {
        error_prepend(&err, "load of migration failed: ");
        mig_state_fail(&in.state, err);
    }
    in.running = false;
}

/* The source may be silent for ever. */
static void cut(void *opaque)
{
    mig_channel_break(in.ch);
}

static void accepted(void *opaque, MigChannel *ch)
{
    mig_listener_free(g_steal_pointer(&in.listener));
    in.ch = ch;
    in.running = true;
    in.yank = yank_add(YANK_MIGRATION, "", cut, NULL);
    in.answers = in.started = false;
    in.bitmaps = mig_bitmap_load_new();
    aio_co_enter(aio_main_context(), coroutine_create(run, NULL));
}

/* --- commands --- */

static bool await(const char *text, Error **errp)
{
    g_autoptr(MigUri) uri = mig_uri_parse(text, true, errp);
    int fd = -1;

    if (!uri) {
        return false;
    }
    if (uri->kind == MIG_URI_FD) {
        fd = mig_machine->take_fd(uri->path, errp);
        if (fd < 0) {
            return false;
        }
    }
    in.listener = mig_listen(uri, fd, accepted, NULL, errp);
    if (!in.listener) {
        return false;
    }
    qapi_free_SocketAddressList(in.address);
    in.address = mig_listener_address(in.listener);
    mig_state_set(&in.state, MIGRATION_STATUS_SETUP);
    return true;
}

bool qmp_migrate_incoming(MigrateIncomingArg *arg, Error **errp)
{
    if (!in.expected) {
        error_setg(errp, "'-incoming' was not specified on the command line");
        return false;
    }
    if (mig_machine->status() != RUN_STATE_INMIGRATE ||
        !mig_state_allows(&in.state, MIG_OP_START)) {
        error_setg(errp, "The incoming migration has already been started");
        return false;
    }
    return await(arg->uri, errp);
}

bool migration_expect(const char *uri, Error **errp)
{
    if (strcmp(uri, "defer")) {
        g_autoptr(MigUri) parsed = mig_uri_parse(uri, true, errp);
        int64_t number;

        if (!parsed) {
            return false;
        }
        /* No client has given one a name. */
        if (parsed->kind == MIG_URI_FD &&
            !parse_int64(parsed->path, &number, NULL)) {
            error_setg(errp, "Invalid file descriptor number '%s'",
                       parsed->path);
            return false;
        }
        g_free(in.uri);
        in.uri = g_strdup(uri);
    }
    in.expected = true;
    bdrv_set_open_inactive(true);
    return true;
}

bool migration_await(Error **errp)
{
    if (in.uri && !await(in.uri, errp)) {
        error_prepend(errp, "-incoming %s: ", in.uri);
        return false;
    }
    return true;
}

/* Is there still something to wait for? */
bool migration_check_await(Error **errp)
{
    if (in.state.status != MIGRATION_STATUS_FAILED) {
        return true;
    }
    error_setg(errp, "The state of the machine was not received: %s",
               error_get_pretty(in.state.err));
    error_append_hint(errp, "Use migrate-incoming to wait again.\n");
    return false;
}

void mig_incoming_info(MigrationInfo *info)
{
    if (in.state.status != MIGRATION_STATUS_NONE &&
        in.state.status != MIGRATION_STATUS_SETUP) {
        info->has_status = true;
        info->status = in.state.status;
    }
    if (in.state.err) {
        info->error_desc = g_strdup(error_get_pretty(in.state.err));
    }
    if (in.state.status != MIGRATION_STATUS_COMPLETED) {
        info->socket_address = qapi_clone_SocketAddressList(in.address);
    }
}

void mig_incoming_cleanup(void)
{
    mig_listener_free(g_steal_pointer(&in.listener));
    if (in.running) {
        mig_channel_break(in.ch);
        mig_wait_while_running(&in.running);
    }
    qapi_free_SocketAddressList(in.address);
    error_free(in.state.err);
    g_free(in.uri);
    in = (Incoming) { .state = { 0 } };
}
