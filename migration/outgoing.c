/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source of a migration: one coroutine of the main thread, which sends, and
 * one that reads the answers.
 *
 * The order at the switch-over makes it safe: the machine stops; the rest of
 * the bitmaps is sent; the images become inactive (everything is stored, the
 * locks are released); only then the end of the stream is sent, and only with
 * the end the destination activates the images.  If anything fails before the
 * end was sent, the images become active again and the machine runs as before.
 * If the end was sent and no answer comes although one was asked for, the
 * destination may run: the machine stays stopped, and its user decides.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "bitmap-save.h"
#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/graph.h"
#include "channel.h"
#include "migration-int.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-events.h"
#include "qemu/ratelimit.h"
#include "qemu/yank.h"
#include "section.h"
#include "settings.h"
#include "wire.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define PING_VALUE 1
#define SETTLE_MAX_NS (2 * NS_PER_S)
/* Ids of sections; those of the machine's own state follow. */
#define BITMAP_SECTION_ID 3
#define MACHINE_SECTION_ID 4
/* How often what has changed is sent while the machine runs. */
#define ROUNDS_MAX 16
/* About what one section has, and is sent at once. */
#define PART_BYTES (256 * KiB)

typedef enum EndOfStream {
    END_NOT_SENT,
    END_SENT, /* the destination may have it, and run */
    END_REFUSED, /* the destination had it, and does not run */
} EndOfStream;

typedef struct Outgoing {
    MigState state;
    MigUri *uri;
    int fd;              /* for MIG_URI_FD, until it is used; else -1 */
    ThreadPoolWait connecting;
    YankEntry *yank;
    MigChannel *ch;
    MigBitmapSave *bitmaps;
    RateLimit limit;

    /* what users have asked for */
    bool cancelled, postcopy;
    bool may_continue;   /* after pre-switchover */
    CoSleep pausing;     /* waits for that */

    /* the machine */
    bool stopped;        /* by this migration */
    bool inactivated;
    RunState before;     /* its state when it was stopped */
    EndOfStream end;

    bool running;        /* the coroutine */

    /* the return path */
    bool reading, answered;
    uint32_t answer;
    Coroutine *reader, *waiter;

    /* counters */
    int pass;
    int64_t began_ns, active_ns, stopped_ns, resumed_ns, ended_ns;
    uint64_t sent, sent_running, sent_stopped, sent_postcopy;
} Outgoing;

static Outgoing out = { .fd = -1 };

const MigState *mig_outgoing_state(void)
{
    return &out.state;
}

bool mig_outgoing_stopped(void)
{
    return out.running && out.stopped;
}

static bool is_cancelled(Error **errp)
{
    if (out.cancelled) {
        error_setg(errp, "The migration was cancelled");
    }
    return out.cancelled;
}

static void next_pass(void)
{
    out.pass++;
    if (mig_capability(MIGRATION_CAPABILITY_EVENTS)) {
        qapi_event_send_migration_pass(&(MigrationPassEvent) {
            .pass = out.pass,
        });
    }
}

/* --- sending --- */

static bool coroutine_fn send_bytes(const GByteArray *data, Error **errp)
{
    out.sent += data->len;
    if (out.state.status == MIGRATION_STATUS_POSTCOPY_ACTIVE) {
        out.sent_postcopy += data->len;
    } else if (out.stopped) {
        out.sent_stopped += data->len;
    } else {
        out.sent_running += data->len;
    }
    return mig_channel_write(out.ch, data->data, data->len, errp);
}

/* The same, and waits as long as the speed demands. */
static bool coroutine_fn send_paced(const GByteArray *data, uint64_t speed,
                                    Error **errp)
{
    int64_t ns = 0;

    if (!send_bytes(data, errp)) {
        return false;
    }
    ratelimit_set_speed(&out.limit, speed);
    if (speed) {
        ns = ratelimit_delay(&out.limit, data->len, aio_now_ns());
    }
    if (ns > 0) {
        mig_channel_sleep(out.ch, ns);
    }
    return !is_cancelled(errp);
}

static bool coroutine_fn send_beginning(Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint8_t value[4];

    mig_put_header(data, mig_machine->type());
    if (out.reading) {
        st32_be(value, PING_VALUE);
        mig_put_command(data, WIRE_CMD_OPEN_RETURN_PATH, NULL, 0);
        mig_put_command(data, WIRE_CMD_PING, value, sizeof(value));
    }
    if (mig_postcopy_enabled()) {
        mig_put_command(data, WIRE_CMD_POSTCOPY_ADVISE, NULL, 0);
    }
    return send_bytes(data, errp);
}

static bool coroutine_fn send_bitmap_start(Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();

    mig_put_section(data, WIRE_SECTION_START, BITMAP_SECTION_ID,
                    WIRE_BITMAP_SECTION, WIRE_BITMAP_VERSION);
    mig_bitmap_save_start(out.bitmaps, data);
    mig_put_footer(data, BITMAP_SECTION_ID);
    return send_bytes(data, errp);
}

/* A part of what is to be sent; *@round: all was visited. */
static bool coroutine_fn send_bitmap_part(uint64_t speed, bool *round,
                                          Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    size_t limit = speed ? MIN(PART_BYTES, MAX(speed / 10, KiB)) : PART_BYTES;
    bool ok;

    mig_put_more(data, WIRE_SECTION_PART, BITMAP_SECTION_ID);
    aio_exclusive_begin();
    ok = mig_bitmap_save_part(out.bitmaps, data, limit, round, errp);
    aio_exclusive_end();
    if (!ok) {
        return false;
    }
    mig_put_footer(data, BITMAP_SECTION_ID);
    if (!send_paced(data, speed, errp)) {
        return false;
    }
    co_yield_to_loop();
    return !is_cancelled(errp);
}

static bool coroutine_fn send_bitmap_end(Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    bool ok;

    mig_put_more(data, WIRE_SECTION_END, BITMAP_SECTION_ID);
    aio_exclusive_begin();
    ok = mig_bitmap_save_end(out.bitmaps, data, errp);
    aio_exclusive_end();
    mig_put_footer(data, BITMAP_SECTION_ID);
    return ok && send_bytes(data, errp);
}

/* --- the return path --- */

/* One answer; false at the end. */
static bool coroutine_fn read_answer(MigReader *r)
{
    uint16_t type = mig_get_16(r), len = mig_get_16(r);
    uint32_t value;

    if (!mig_reader_ok(r)) {
        return false;
    }
    if (len != 4 || (type != WIRE_RP_SHUT && type != WIRE_RP_PONG)) {
        mig_reader_fail(r, "unknown answer");
        return false;
    }
    value = mig_get_32(r);
    if (type == WIRE_RP_SHUT && mig_reader_ok(r)) {
        out.answered = true;
        out.answer = value;
        return false;
    }
    return mig_reader_ok(r);
}

static void coroutine_fn read_answers(void *opaque)
{
    g_autoptr(MigReader) r = mig_reader_new(out.ch);

    while (read_answer(r)) {
        /* the next one */
    }
    out.reader = NULL;
    if (out.waiter) {
        co_wake(g_steal_pointer(&out.waiter));
    }
}

static void coroutine_fn await_reader(void)
{
    while (out.reader) {
        out.waiter = coroutine_self();
        coroutine_yield();
    }
    out.waiter = NULL;
}

/* Waits for the destination's word, if it was asked. */
static bool coroutine_fn await_answer(Error **errp)
{
    if (!out.reading) {
        return mig_channel_finish(out.ch, errp);
    }
    await_reader();
    if (!out.answered) {
        error_setg(errp, "The destination has not said whether it received "
                   "everything");
        error_append_hint(errp, "It may run.  If it does not, command 'cont' "
                          "starts the machine here.\n");
        return false;
    }
    if (out.answer) {
        if (out.state.status != MIGRATION_STATUS_POSTCOPY_ACTIVE) {
            out.end = END_REFUSED;
        }
        error_setg(errp, "The destination has failed");
        return false;
    }
    return true;
}

/* --- the machine; outside coroutines --- */

static void stop_machine(void *opaque)
{
    out.before = mig_machine->status();
    out.stopped = true;
    out.stopped_ns = aio_now_ns();
    mig_machine->stop(RUN_STATE_FINISH_MIGRATE);
}

typedef struct Step {
    bool ok;
    Error **errp;
} Step;

/*
 * Exports write while the machine is stopped: no write may come between the
 * copies of bits that are still to be sent and the end of writing.
 */
static void inactivate(void *opaque)
{
    Step *step = opaque;

    bdrv_drain_all_begin();
    step->ok = mig_bitmap_save_detach(out.bitmaps, step->errp) &&
               bdrv_inactivate_all(step->errp);
    bdrv_drain_all_end();
    out.inactivated = step->ok;
}

static void check_dropped(void *opaque)
{
    Step *step = opaque;

    step->ok = mig_bitmap_save_check_dropped(out.bitmaps, step->errp);
}

static void new_bitmaps(void *opaque)
{
    Step *step = opaque;

    out.bitmaps = mig_bitmap_save_new(step->errp);
    step->ok = out.bitmaps != NULL;
}

static bool coroutine_fn do_outside(void (*fn)(void *opaque), Error **errp)
{
    Step step = { .errp = errp };

    mig_run_main(fn, &step);
    return step.ok;
}

void mig_outgoing_restore(void)
{
    if (out.bitmaps) {
        mig_bitmap_save_restore(out.bitmaps);
        mig_bitmap_save_free(g_steal_pointer(&out.bitmaps));
    }
}

/* The machine is as before; or it stays stopped, if it must not run. */
static void restore_machine(void *opaque)
{
    Error *err = NULL;
    bool ok;

    if (!out.stopped) {
        mig_bitmap_save_free(g_steal_pointer(&out.bitmaps));
        return;
    }
    if (out.end == END_SENT) {
        mig_machine->stop(RUN_STATE_POSTMIGRATE);
        return;
    }
    bdrv_bitmap_not_given_away(out.end == END_NOT_SENT);
    ok = !out.inactivated || bdrv_activate_all(&err);
    bdrv_bitmap_not_given_away(false);
    if (!ok) {
        error_prepend(&err, "The machine stays stopped: ");
        error_report_err(err);
        mig_machine->stop(RUN_STATE_POSTMIGRATE);
        return;
    }
    mig_outgoing_restore();
    out.resumed_ns = aio_now_ns();
    if (out.before == RUN_STATE_RUNNING) {
        mig_machine->start();
    } else {
        mig_machine->stop(out.before);
    }
}

static void leave_machine(void *opaque)
{
    mig_machine->stop(RUN_STATE_POSTMIGRATE);
}

/* --- the phases --- */

static bool coroutine_fn set_up(Error **errp)
{
    int fd = out.fd;

    out.fd = -1;
    out.ch = mig_connect(out.uri, fd, &out.connecting, errp);
    if (!out.ch || is_cancelled(errp)) {
        return false;
    }
    out.reading = out.ch->is_socket && !out.ch->child &&
                  mig_capability(MIGRATION_CAPABILITY_RETURN_PATH);
    next_pass();
    mig_state_set(&out.state, MIGRATION_STATUS_ACTIVE);
    out.active_ns = aio_now_ns();
    if (!do_outside(new_bitmaps, errp)) {
        return false;
    }
    if (out.reading) {
        out.reader = coroutine_create(read_answers, NULL);
        aio_co_enter(aio_main_context(), out.reader);
    }
    return send_beginning(errp) &&
           (mig_bitmap_save_empty(out.bitmaps) || send_bitmap_start(errp));
}

/* Can the rest be sent in the time for which the machine may be stopped? */
static bool is_little(void)
{
    uint64_t limit = mig_parameters()->downtime_limit;
    int64_t ns = aio_now_ns() - out.active_ns;
    double speed = out.sent / MAX(ns / (double)NS_PER_S, 0.001);
    uint64_t pending;

    aio_exclusive_begin();
    pending = mig_bitmap_save_pending(out.bitmaps);
    aio_exclusive_end();
    return pending <= speed * limit / 1000;
}

/* Sends bits while the machine runs. */
static bool coroutine_fn send_running(Error **errp)
{
    bool round = false;

    if (mig_bitmap_save_empty(out.bitmaps)) {
        return !is_cancelled(errp);
    }
    /* All, then what has changed meanwhile, until that is little; or as little
     * as it gets beside a guest that writes faster: it is never more than the
     * bitmaps themselves. */
    for (int rounds = 0; !out.postcopy;) {
        if (!send_bitmap_part(mig_parameters()->max_bandwidth, &round, errp)) {
            return false;
        }
        if (round && rounds++ > 0 &&
            (rounds > ROUNDS_MAX || is_little())) {
            break;
        }
        if (round) {
            next_pass();
        }
    }
    /* The machine is not stopped while the destination still reads all this. */
    mig_channel_settle(out.ch, SETTLE_MAX_NS);
    return !is_cancelled(errp);
}

static bool coroutine_fn pause_before_switchover(Error **errp)
{
    if (!mig_capability(MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER)) {
        return true;
    }
    mig_state_set(&out.state, MIGRATION_STATUS_PRE_SWITCHOVER);
    while (!out.may_continue && !out.cancelled) {
        co_sleep_wakeable(&out.pausing, NS_PER_S);
    }
    if (is_cancelled(errp)) {
        return false;
    }
    mig_state_set(&out.state, MIGRATION_STATUS_DEVICE);
    return true;
}

/* What is left when the guest does not write any more. */
static bool coroutine_fn send_stopped(Error **errp)
{
    bool round = mig_bitmap_save_empty(out.bitmaps);

    while (!round) {
        if (!send_bitmap_part(0, &round, errp)) {
            return false;
        }
    }
    return true;
}

/* The machine is stopped, and everything is sent. */
static bool coroutine_fn switch_over(Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    g_autofree char *safety = NULL;
    uint64_t end;

    mig_run_main(stop_machine, NULL);
    if (!pause_before_switchover(errp)) {
        return false;
    }
    next_pass();
    if (!send_stopped(errp) || is_cancelled(errp) ||
        !do_outside(check_dropped, errp) || !do_outside(inactivate, errp) ||
        is_cancelled(errp)) {
        return false;
    }
    /* With the bits of writes that exports have done since. */
    if (!mig_bitmap_save_empty(out.bitmaps) && !send_bitmap_end(errp)) {
        return false;
    }
    mig_put_machine(data, MACHINE_SECTION_ID, mig_machine->clock_ns(),
                    out.before);
    end = out.ch->written + data->len;
    safety = mig_bitmap_save_describe(out.bitmaps);
    mig_put_end(data);
    mig_put_description(data, safety);
    out.end = END_SENT;
    if (!send_bytes(data, errp)) {
        /* Without it the destination does not begin. */
        out.end = out.ch->written > end ? END_SENT : END_NOT_SENT;
        return false;
    }
    return await_answer(errp);
}

/* --- after switch-over --- */

/* What the destination executes at once: it runs from there on. */
static bool coroutine_fn send_package(Error **errp)
{
    g_autoptr(GByteArray) package = g_byte_array_new();
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint8_t size[4];

    mig_put_command(package, WIRE_CMD_POSTCOPY_LISTEN, NULL, 0);
    mig_put_machine(package, MACHINE_SECTION_ID, mig_machine->clock_ns(),
                    out.before);
    mig_put_command(package, WIRE_CMD_POSTCOPY_RUN, NULL, 0);
    st32_be(size, package->len);
    mig_put_command(data, WIRE_CMD_PACKAGED, size, sizeof(size));
    mig_put_bytes(data, package->data, package->len);
    return send_bytes(data, errp);
}

static bool coroutine_fn send_rest(Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    bool round = mig_bitmap_save_empty(out.bitmaps);

    while (!round) {
        if (!send_bitmap_part(mig_parameters()->max_postcopy_bandwidth, &round,
                              errp)) {
            return false;
        }
    }
    if (!mig_bitmap_save_empty(out.bitmaps) && !send_bitmap_end(errp)) {
        return false;
    }
    mig_put_end(data);
    return send_bytes(data, errp) && await_answer(errp);
}

static bool coroutine_fn switch_over_early(Error **errp)
{
    mig_state_set(&out.state, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    mig_run_main(stop_machine, NULL);
    if (!do_outside(check_dropped, errp) || !do_outside(inactivate, errp)) {
        return false;
    }
    out.end = END_SENT;
    if (!send_package(errp)) {
        return false;
    }
    out.resumed_ns = aio_now_ns();
    return send_rest(errp);
}

/* --- all of it --- */

static void settle(void *opaque)
{
    bdrv_bitmap_store_settle_all();
}

static bool coroutine_fn migrate(Error **errp)
{
    if (!set_up(errp)) {
        return false;
    }
    /* What images hold is written now, but for what is written meanwhile, and
     * not while the machine is stopped. */
    mig_run_main(settle, NULL);
    if (!send_running(errp)) {
        return false;
    }
    mig_run_main(settle, NULL);
    return out.postcopy ? switch_over_early(errp) : switch_over(errp);
}

static void coroutine_fn run(void *opaque)
{
    Error *err = NULL;
    bool ok = migrate(&err);

    if (!out.resumed_ns) {
        out.resumed_ns = aio_now_ns();
    }
    yank_remove(g_steal_pointer(&out.yank));
    if (out.ch && (!ok || out.reader)) {
        mig_channel_break(out.ch);
    }
    await_reader();
    mig_channel_free(g_steal_pointer(&out.ch));
    out.ended_ns = aio_now_ns();
    if (ok) {
        mig_run_main(leave_machine, NULL);
        mig_state_set(&out.state, MIGRATION_STATUS_COMPLETED);
    } else if (out.state.status == MIGRATION_STATUS_CANCELLING) {
        error_free(err);
        mig_run_main(restore_machine, NULL);
        mig_state_set(&out.state, MIGRATION_STATUS_CANCELLED);
    } else {
        /* Before that, as then another migration may begin. */
        mig_run_main(restore_machine, NULL);
        mig_state_fail(&out.state, err);
    }
    out.running = false;
}

/* --- commands --- */

/* Whatever waits for the destination fails. */
static void cut(void *opaque)
{
    thread_pool_cancel(&out.connecting);
    mig_channel_break(out.ch);
}

/* Forgets the migration before. */
static void reset(void)
{
    MigState state = out.state;

    mig_bitmap_save_free(out.bitmaps);
    mig_uri_free(out.uri);
    out = (Outgoing) { .fd = -1, .state = state };
}

static bool begin(const char *uri, Error **errp)
{
    out.uri = mig_uri_parse(uri, false, errp);
    if (!out.uri) {
        return false;
    }
    if (out.uri->kind == MIG_URI_FD) {
        out.fd = mig_machine->take_fd(out.uri->path, errp);
    }
    return out.uri->kind != MIG_URI_FD || out.fd >= 0;
}

static bool may_migrate(const MigrateArg *arg, Error **errp)
{
    if (arg->has_resume && arg->resume &&
        !mig_state_allows(&out.state, MIG_OP_RECOVER)) {
        error_setg(errp, "Cannot resume if there is no paused migration");
        return false;
    }
    if (!mig_state_check(&out.state, MIG_OP_START, errp)) {
        return false;
    }
    if (mig_machine->status() == RUN_STATE_INMIGRATE) {
        error_setg(errp, "Guest is waiting for an incoming migration");
        return false;
    }
    if (mig_machine->status() == RUN_STATE_POSTMIGRATE) {
        error_setg(errp, "Can't migrate the vm that was paused due to "
                   "previous migration");
        return false;
    }
    if ((arg->has_blk && arg->blk) || (arg->has_inc && arg->inc)) {
        error_setg(errp, "The content of disks cannot be migrated with the "
                   "machine; use blockdev-mirror");
        return false;
    }
    return true;
}

bool qmp_migrate(MigrateArg *arg, Error **errp)
{
    Error *err = NULL;

    if (!may_migrate(arg, errp)) {
        return false;
    }
    reset();
    out.began_ns = aio_now_ns();
    mig_state_set(&out.state, MIGRATION_STATUS_SETUP);
    if (!begin(arg->uri, &err)) {
        out.ended_ns = out.began_ns;
        error_free(out.state.err);
        out.state.err = NULL;
        mig_state_set(&out.state, MIGRATION_STATUS_FAILED);
        error_propagate(errp, err);
        return false;
    }
    out.running = true;
    out.yank = yank_add(YANK_MIGRATION, "", cut, NULL);
    aio_co_enter(aio_main_context(), coroutine_create(run, NULL));
    return true;
}

bool qmp_migrate_cancel(Error **errp)
{
    if (out.state.status == MIGRATION_STATUS_POSTCOPY_ACTIVE) {
        return mig_state_check(&out.state, MIG_OP_CANCEL, errp);
    }
    if (mig_state_allows(&out.state, MIG_OP_CANCEL) && out.end != END_SENT) {
        out.cancelled = true;
        mig_state_set(&out.state, MIGRATION_STATUS_CANCELLING);
        co_sleep_wake(&out.pausing);
        cut(NULL);
    }
    return true;
}

bool qmp_migrate_continue(MigrateContinueArg *arg, Error **errp)
{
    if (out.state.status != arg->state ||
        !mig_state_allows(&out.state, MIG_OP_CONTINUE)) {
        error_setg(errp, "Migration not in expected state: %s",
                   MigrationStatus_str(out.state.status));
        return false;
    }
    out.may_continue = true;
    co_sleep_wake(&out.pausing);
    return true;
}

bool qmp_migrate_start_postcopy(Error **errp)
{
    if (!mig_postcopy_enabled()) {
        error_setg(errp, "Enable postcopy with migrate_set_capability before "
                   "the start of migration");
        return false;
    }
    if (out.state.status == MIGRATION_STATUS_NONE) {
        return mig_state_check(&out.state, MIG_OP_POSTCOPY, errp);
    }
    out.postcopy |= mig_state_allows(&out.state, MIG_OP_POSTCOPY);
    return true;
}

/* --- query-migrate --- */

static void set_stats(MigrationStats *ram, int64_t ns)
{
    ram->transferred = out.sent;
    ram->precopy_bytes = out.sent_running;
    ram->downtime_bytes = out.sent_stopped;
    ram->postcopy_bytes = out.sent_postcopy;
    ram->remaining = out.bitmaps ? mig_bitmap_save_pending(out.bitmaps) : 0;
    ram->dirty_sync_count = out.pass;
    ram->page_size = 4096;
    ram->mbps = ns ? out.sent * 8.0 * 1000 / ns : 0;
}

void mig_outgoing_info(MigrationInfo *info)
{
    MigrationStatus status = out.state.status;
    int64_t now = out.ended_ns ?: aio_now_ns();
    bool failed = status == MIGRATION_STATUS_FAILED ||
                  status == MIGRATION_STATUS_CANCELLED ||
                  status == MIGRATION_STATUS_CANCELLING;

    info->has_status = true;
    info->status = status;
    if (out.state.err) {
        info->error_desc = g_strdup(error_get_pretty(out.state.err));
    }
    if (failed) {
        return;
    }
    info->has_total_time = true;
    info->total_time = (now - out.began_ns) / NS_PER_MS;
    if (status == MIGRATION_STATUS_SETUP) {
        return;
    }
    info->has_setup_time = true;
    info->setup_time = (out.active_ns - out.began_ns) / NS_PER_MS;
    info->ram = g_new0(MigrationStats, 1);
    set_stats(info->ram, now - out.active_ns);
    if (status == MIGRATION_STATUS_COMPLETED) {
        info->has_downtime = true;
        info->downtime = (out.resumed_ns - out.stopped_ns) / NS_PER_MS;
    } else {
        info->has_expected_downtime = true;
        info->expected_downtime = mig_parameters()->downtime_limit;
    }
}

void mig_outgoing_cleanup(void)
{
    if (out.running) {
        out.cancelled = true;
        if (mig_state_allows(&out.state, MIG_OP_CANCEL) &&
            out.end != END_SENT) {
            mig_state_set(&out.state, MIGRATION_STATUS_CANCELLING);
        }
        co_sleep_wake(&out.pausing);
        cut(NULL);
        mig_wait_while_running(&out.running);
    }
    reset();
    error_free(out.state.err);
    out.state.err = NULL;
}
