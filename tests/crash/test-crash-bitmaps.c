/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power losses and kills while a qcow2 image has persistent bitmaps: a guest
 * writes, and under it go commands, jobs, resizes, snapshots, reopenings and
 * restarts.  bitmaps.h says what must hold.
 */
#include "bitmaps.h"

#include <json-c/json.h>

#include "block/qcow2/bitmap-int.h"
#include "block/snapshot.h"
#include "job/job.h"
#include "qapi/qapi-commands.h"
#include "qapi/qmp-dispatch.h"

extern const BlockDriver bdrv_raw, bdrv_copy_before_write;

const BlockDriver *const bdrv_drivers[] = {
    &crash_recorder, &bdrv_raw, &bdrv_qcow2, &bdrv_copy_before_write, NULL,
};

/* The one command that belongs to the program. */
bool qmp_quit(Error **errp)
{
    error_setg(errp, "There is no program to quit");
    return false;
}

#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)
#define TARGET 2 /* the disk of the target of a job */
#define MANY_TURNS 2000000

typedef struct Play {
    TestBitmaps *t;
    CrashRun *run;
    BlockDriverState *bs; /* node0, referenced; NULL: closed */
    unsigned snapshots;
} Play;

static int draw(Play *p, int n)
{
    return g_rand_int_range(p->run->rand, 0, n);
}

/* --- QMP --- */

static bool qmp(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* True: it succeeded. */
static bool qmp(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    struct json_object *request, *answer, *error;
    va_list ap;
    bool ok;

    va_start(ap, fmt);
    text = g_strdelimit(g_strdup_vprintf(fmt, ap), "'", '"');
    va_end(ap);
    request = json_tokener_parse(text);
    if (!request) {
        g_error("not JSON: %s", text);
    }
    aio_main_hold(); /* as from a monitor: ends of jobs wait */
    answer = qmp_dispatch(qmp_program_table(), request, false);
    aio_main_release();
    ok = !json_object_object_get_ex(answer, "error", &error);
    if (g_test_verbose()) {
        g_test_message("%u: %s: %s", crash_machine->log ?
                       crash_machine->log->now : 0, text, ok ? "done" :
                       json_object_get_string(
                           json_object_object_get(error, "desc")));
    }
    json_object_put(answer);
    json_object_put(request);
    return ok;
}

/* --- the node --- */

static void add_node(Play *p)
{
    static const char *const caches[] = {
        "'l2-cache-size': 1, ", "'l2-cache-size': 1, 'refcount-cache-size': 1,"
        " ", "", "",
    };

    g_assert_true(qmp("{'execute': 'blockdev-add', 'arguments': {'driver': "
                      "'qcow2', 'node-name': 'node0', %s%s'discard': '%s', "
                      "'file': {'driver': 'file', 'filename': 'disk0'}}}",
                      p->run->image.backing_file ? "'backing': {'driver': "
                      "'qcow2', 'node-name': 'node1', 'read-only': true, "
                      "'file': {'driver': 'file', 'filename': 'disk1'}}, " : "",
                      caches[draw(p, ARRAY_SIZE(caches))],
                      draw(p, 2) ? "unmap" : "ignore"));
    p->bs = bdrv_find_node("node0");
    bdrv_ref(p->bs);
}

static void attach(Play *p)
{
    CrashRun *r = p->run;

    r->guest.blk = blk_new_with_bs(p->bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    r->guest.model = r->model;
}

static void open_node(Play *p)
{
    add_node(p);
    attach(p);
}

static void close_node(Play *p)
{
    g_clear_pointer(&p->run->guest.blk, blk_unref);
    g_clear_pointer(&p->bs, bdrv_unref);
    g_assert_true(qmp("{'execute': 'blockdev-del', 'arguments': {'node-name': "
                      "'node0'}}"));
    p->run->closed = crash_log_tick(p->run->log);
}

static void turns(int n)
{
    for (; n > 0; n--) {
        aio_poll(aio_main_context(), false);
    }
}

/* The guest begins; something then happens beside it, or after it. */
static void guest_begins(Play *p, int steps)
{
    crash_guest_start(&p->run->guest, steps);
    turns(draw(p, 30));
    if (draw(p, 4) == 0) {
        test_kill_state(p->t);
    }
}

static void guest_ends(Play *p)
{
    crash_guest_wait(&p->run->guest);
}

static int some_steps(Play *p)
{
    return draw(p, 5);
}

/* --- bitmaps --- */

static const char *const levels[] = { "close", "process", "power" };

static TestBitmap *pick(Play *p)
{
    const GPtrArray *all = p->t->bitmaps;
    guint start = draw(p, MAX(all->len, 1));

    for (guint i = 0; i < all->len; i++) {
        TestBitmap *b = all->pdata[(start + i) % all->len];

        if (b->removed_start == CRASH_NEVER) {
            return b;
        }
    }
    return NULL;
}

static unsigned count(const Play *p)
{
    unsigned n = 0;

    for (guint i = 0; i < p->t->bitmaps->len; i++) {
        const TestBitmap *b = p->t->bitmaps->pdata[i];

        n += b->removed_start == CRASH_NEVER;
    }
    return n;
}

static bool many_pages(const Play *p)
{
    return p->run->image.size > 4 * MiB;
}

#define SAME "'node': 'node0', 'name': '%s'"

/* Those that a kill leaves are to survive more then. */
static int usual_level(const Play *p)
{
    return g_str_has_suffix(p->run->program->name, "-kills") ? 1 : 2;
}

static void add_bitmap(Play *p, bool quiet)
{
    g_autofree char *name = g_strdup_printf("b%u", p->t->serial++);
    int level = draw(p, 3) ? usual_level(p) : draw(p, 4) > 0;
    bool disabled = draw(p, 6) == 0;
    TestBitmap *b;

    if (count(p) >= CRASH_BITMAPS) {
        return;
    }
    b = test_bitmap_new(p->t, name, 512 << draw(p, many_pages(p) ? 2 :
                                                draw(p, 4) ? 8 : 14), level);
    b->added_start = crash_log_tick(p->run->log);
    g_assert_true(qmp("{'execute': 'block-dirty-bitmap-add', 'arguments': {"
                      SAME ", 'granularity': %" PRIu64 ", 'persistent': true, "
                      "'disabled': %s, 'safety': '%s'}}", name, b->granularity,
                      disabled ? "true" : "false", levels[level]));
    b->added = crash_log_tick(p->run->log);
    b->recording = !disabled;
    if (b->recording) {
        test_bitmap_begins(p->t, b, quiet);
    }
}

static bool command(const char *what, const TestBitmap *b)
{
    return qmp("{'execute': 'block-dirty-bitmap-%s', 'arguments': {" SAME
               "}}", what, b->name);
}

static void remove_bitmap(Play *p, TestBitmap *b)
{
    bool there = bdrv_dirty_bitmap_find(p->bs, b->name) != NULL;

    test_bitmap_ends(p->t, b);
    b->removed_start = crash_log_tick(p->run->log);
    g_assert_true(!there || command("remove", b)); /* one may be lost */
    b->removed = crash_log_tick(p->run->log);
}

static void loosen(Play *p, const TestBitmap *b)
{
    TestSample *s = test_last_sample(p->t);

    s->loose = b;
    s->loose_from = crash_log_tick(p->run->log);
}

static void clear_bitmap(Play *p, TestBitmap *b, bool quiet)
{
    test_bitmap_ends(p->t, b);
    loosen(p, b);
    g_assert_true(command("clear", b));
    if (b->recording) {
        test_bitmap_begins(p->t, b, quiet);
    }
}

static void switch_bitmap(Play *p, TestBitmap *b)
{
    test_bitmap_ends(p->t, b);
    g_assert_true(command(b->recording ? "disable" : "enable", b));
    b->recording = !b->recording;
    if (b->recording) {
        test_bitmap_begins(p->t, b, false);
    }
}

static void merge_bitmap(Play *p, TestBitmap *b)
{
    const TestBitmap *from = pick(p);

    g_assert_true(qmp("{'execute': 'block-dirty-bitmap-merge', 'arguments': "
                      "{'node': 'node0', 'target': '%s', 'bitmaps': ['%s']}}",
                      b->name, from->name));
}

#define ACTION(name, data) "{'type': 'block-dirty-bitmap-" name "', 'data': {" \
    data "}}"

/* Many changes, all of which are undone. */
static void abort_transaction(Play *p, TestBitmap *b)
{
    const TestBitmap *c = pick(p);
    bool removes = draw(p, 2);
    g_autofree char *gone = removes ? g_strdup_printf(
        ACTION("remove", SAME) ", ", pick(p)->name) : g_strdup("");

    test_last_sample(p->t)->removes |= removes;
    g_assert_false(qmp("{'execute': 'transaction', 'arguments': {'actions': ["
                       ACTION("add", "'node': 'node0', 'name': 'new', "
                              "'persistent': true") ", "
                       ACTION("merge", "'node': 'node0', 'target': '%s', "
                              "'bitmaps': ['%s']") ", "
                       ACTION("clear", SAME) ", " ACTION("disable", SAME) ", "
                       "%s" ACTION("enable", "'node': 'node0', 'name': 'none'")
                       "]}}", c->name, b->name, b->name, c->name, gone));
}

/* The bits of one move to another, at once. */
static void hand_over(Play *p, TestBitmap *b)
{
    TestBitmap *heir = pick(p);

    if (heir == b) {
        return;
    }
    test_bitmap_ends(p->t, b);
    loosen(p, b);
    test_last_sample(p->t)->heir = heir;
    g_assert_true(qmp("{'execute': 'transaction', 'arguments': {'actions': ["
                      ACTION("merge", "'node': 'node0', 'target': '%s', "
                             "'bitmaps': ['%s']") ", "
                      ACTION("clear", SAME) "]}}", heir->name, b->name,
                      b->name));
    if (b->recording) {
        test_bitmap_begins(p->t, b, false);
    }
}

static void any_command(Play *p, bool quiet)
{
    TestBitmap *b = pick(p);

    switch (b ? draw(p, 12) : 0) {
    case 0:
    case 1:
    case 2:
    case 3:
        add_bitmap(p, quiet);
        break;
    case 4:
        remove_bitmap(p, b);
        break;
    case 5:
    case 6:
        clear_bitmap(p, b, quiet);
        break;
    case 7:
        switch_bitmap(p, b);
        break;
    case 8:
        merge_bitmap(p, b);
        break;
    case 9:
    case 10:
        abort_transaction(p, b);
        break;
    default:
        hand_over(p, b);
    }
}

/* --- windows --- */

static void play_guest(Play *p)
{
    guest_begins(p, 1 + some_steps(p));
    guest_ends(p);
}

static void play_command(Play *p)
{
    bool quiet = draw(p, 2);

    if (!quiet) {
        guest_begins(p, some_steps(p));
    }
    any_command(p, quiet);
    if (!quiet) {
        guest_ends(p);
    }
}

static void close_quiet(Play *p)
{
    const Qcow2State *q = p->bs->opaque;

    for (int i = 0; i < 2 && qcow2_ahead_regions(&q->bitmap_store); i++) {
        qcow2_ahead_tick(p->bs);
        turns(draw(p, 10));
    }
}

static void play_tick(Play *p)
{
    guest_begins(p, some_steps(p));
    close_quiet(p);
    guest_ends(p);
    bdrv_drained_begin(p->bs); /* until it is done */
    bdrv_drained_end(p->bs);
}

static void play_resize(Play *p)
{
    CrashRun *r = p->run;
    int64_t old = r->model->size_now;
    int64_t size = (1 + draw(p, p->t->capacity / CRASH_SECTOR)) * CRASH_SECTOR;
    CrashGuestOp op = {
        .offset = MIN(old, size), .bytes = ABS(size - old), .size = size,
        .wild = size < old,
    };
    TestSample *s = test_last_sample(p->t);
    guint n;

    if (draw(p, 2)) {
        close_quiet(p);
        bdrv_drained_begin(p->bs);
        bdrv_drained_end(p->bs);
    }
    n = crash_model_begin(r->model, &op);
    s->any_over = true;
    s->least_size = MIN(s->least_size, size);
    crash_model_end(r->model, n, qmp("{'execute': 'block_resize', 'arguments': "
                                     "{'node-name': 'node0', 'size': %" PRId64
                                     "}}", size) ? 0 : -EIO);
}

static void play_snapshot(Play *p)
{
    g_autofree char *name = g_strdup_printf("s%u", p->snapshots);

    if (p->run->image.refcount_bits < 8) {
        return;
    }
    if (p->snapshots && draw(p, 2)) {
        p->snapshots--;
        g_free(name);
        name = g_strdup_printf("s%u", p->snapshots);
        g_assert_cmpint(bdrv_snapshot_delete(p->bs, NULL, name, NULL), ==, 0);
    } else {
        g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new(name);

        p->snapshots++;
        g_assert_cmpint(bdrv_snapshot_create(p->bs, sn, NULL, NULL), ==, 0);
    }
}

static bool reopen(const Play *p, bool read_only)
{
    return qmp("{'execute': 'blockdev-reopen', 'arguments': {'options': "
               "[{'driver': 'qcow2', 'node-name': 'node0', 'read-only': %s, "
               "%s'file': {'driver': 'file', 'filename': 'disk0', 'read-only': "
               "false}}]}}", read_only ? "true" : "false",
               p->run->image.backing_file ? "'backing': 'node1', " : "");
}

static void play_readonly(Play *p)
{
    g_clear_pointer(&p->run->guest.blk, blk_unref);
    if (!p->bs->read_only) {
        g_assert_true(reopen(p, true));
    }
}

static void play_writable(Play *p)
{
    if (p->bs->read_only) {
        g_assert_true(reopen(p, false));
    }
    attach(p);
}

/* After an opening, nothing else is known of what a bitmap shall survive. */
static void forget_levels(Play *p)
{
    for (guint i = 0; i < p->t->bitmaps->len; i++) {
        TestBitmap *b = p->t->bitmaps->pdata[i];
        BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(p->bs, b->name);

        if (b->removed_start != CRASH_NEVER) {
            continue;
        }
        if (!bitmap || bdrv_dirty_bitmap_inconsistent(bitmap)) {
            bool safe = b->safety != BITMAP_SAFETY_CLOSE &&
                        !p->t->may_miss_note;

            if (safe) {
                g_string_append_printf(p->run->guest.error, "killed, bitmap "
                                       "'%s' is %s", b->name, bitmap ?
                                       "inconsistent" : "not there");
            }
            remove_bitmap(p, b);
        } else {
            b->safety = BITMAP_SAFETY_POWER;
        }
    }
}

static void play_restart(Play *p)
{
    close_node(p);
    open_node(p);
    forget_levels(p);
}

/* What no flush has covered so far. */
static void weaken_writes(CrashModel *m)
{
    CrashTime covered = 0;

    for (guint i = 0; i < m->flushes->len; i++) {
        const CrashGuestOp *f = &g_array_index(m->flushes, CrashGuestOp, i);

        covered = f->ok ? MAX(covered, f->start) : covered;
    }
    for (guint i = 0; i < m->ops->len; i++) {
        CrashGuestOp *op = &g_array_index(m->ops, CrashGuestOp, i);

        op->weak |= op->end >= covered;
    }
}

/*
 * Data is lost whose place was not stored yet: what is there counts now.  A
 * flush of the new process need not make it durable, as it wrote nothing.
 */
static void accept_content(Play *p)
{
    CrashGuestOp op = { .size = -1, .weak = true };
    g_autofree uint8_t *data = crash_read(p->bs, &op.bytes,
                                          p->run->guest.error);

    op.values = crash_values(data, op.bytes);
    weaken_writes(p->run->model);
    crash_model_end(p->run->model, crash_model_begin(p->run->model, &op), 0);
}

/* The process is killed, and another one goes on; the host runs. */
static void play_kill(Play *p)
{
    CrashMachine *m = p->run->machine;

    guest_begins(p, 1 + some_steps(p));
    m->broken = ~0u;
    guest_ends(p);
    close_node(p);
    m->broken = 0;
    g_string_truncate(p->run->guest.error, 0); /* of requests cut off */
    open_node(p);
    accept_content(p);
    forget_levels(p);
}

/* --- jobs --- */

static CrashTime finishing; /* when the job may begin to change the bitmap */

static void on_status(Job *job, JobStatus status)
{
    if (status == JOB_STATUS_WAITING || status == JOB_STATUS_PENDING ||
        status == JOB_STATUS_ABORTING) {
        finishing = MIN(finishing, crash_log_tick(crash_machine->log));
    }
}

static int job_result;

static void on_end(Job *job)
{
    job_result = job->ret;
}

/* While a job has a bitmap, others may be added, and regions are closed. */
static void beside_job(Play *p)
{
    turns(draw(p, 60));
    if (draw(p, 2)) {
        close_quiet(p);
        crash_guest_start(&p->run->guest, some_steps(p));
    }
    if (draw(p, 3) == 0) {
        add_bitmap(p, false);
    }
}

/* What becomes of the job: it may go on, its target fail, or be cancelled. */
static void steer_job(Play *p, bool mirror)
{
    int fate = draw(p, 5);

    beside_job(p);
    turns(draw(p, 140));
    if (fate == 0) {
        p->run->machine->broken = 1 << TARGET;
    } else if (fate == 1 && job_get("job")) {
        qmp("{'execute': 'job-cancel', 'arguments': {'id': 'job'}}");
    }
    for (int i = 0; job_get("job") && i < MANY_TURNS; i++) {
        if (mirror && job_get("job")->status == JOB_STATUS_READY) {
            /* Without force: it ends, and nothing is replaced. */
            qmp("{'execute': 'block-job-cancel', 'arguments': {'device': "
                "'job'}}");
            mirror = false;
        }
        aio_poll(aio_main_context(), job_get("job") != NULL);
    }
    g_assert_null(job_get("job"));
    p->run->machine->broken = 0;
}

static bool start_job(Play *p, const TestBitmap *b, bool mirror,
                      const char **mode)
{
    static const char *const modes[] = { "on-success", "never", "always" };
    static const char *const syncs[] = { "bitmap", "full", "top" };
    const char *sync;

    *mode = modes[draw(p, 3)];
    sync = strcmp(*mode, "never") ? syncs[draw(p, 3)] : "bitmap";
    return qmp("{'execute': 'blockdev-%s', 'arguments': {'job-id': 'job', "
               "'device': 'node0', 'target': 'target', 'sync': '%s', "
               "'bitmap': '%s', 'bitmap-mode': '%s'%s}}", mirror ? "mirror" :
               "backup", sync, b->name, *mode, mirror ? "" :
               ", 'on-cbw-error': 'break-snapshot'");
}

static void add_target(Play *p)
{
    BlockdevCreateOptionsQcow2 c = {
        .size = p->run->model->size_now, .has_cluster_size = true,
        .cluster_size = UINT64_C(1) << (9 + draw(p, 8)),
    };

    crash_create(TARGET, &c);
    g_assert_true(qmp("{'execute': 'blockdev-add', 'arguments': {'driver': "
                      "'qcow2', 'node-name': 'target', 'file': {'driver': "
                      "'file', 'filename': 'disk%d'}}}", TARGET));
}

/*
 * It has what was written since the job began, or after a mirror since it
 * ended; but as before, if it is reclaimed.
 */
static void job_is_over(Play *p, TestBitmap *b, bool mirror, const char *mode,
                        CrashTime began)
{
    bool success = job_result == 0;
    TestSpan span = {
        mirror ? crash_log_tick(p->run->log) : began, CRASH_NEVER,
    };

    if (!strcmp(mode, "never") || (!success && !strcmp(mode, "on-success"))) {
        return;
    }
    if (mirror && !strcmp(mode, "always")) {
        finishing = MIN(finishing, began); /* checkpoints: test-crash-resume */
    }
    test_bitmap_ends_at(b, finishing);
    if (b->recording) {
        g_array_append_val(b->spans, span);
    }
}

static void play_job(Play *p)
{
    TestBitmap *b = pick(p);
    TestSample *s = test_last_sample(p->t);
    bool mirror = draw(p, 3) == 0;
    const char *mode;

    if (!b) {
        return;
    }
    add_target(p);
    finishing = CRASH_NEVER;
    job_event_hooks.status_change = on_status;
    job_event_hooks.completed = job_event_hooks.cancelled = on_end;
    if (draw(p, 2)) {
        guest_begins(p, some_steps(p));
    }
    s->any_over = true;
    s->loose = b;
    if (start_job(p, b, mirror, &mode)) {
        CrashTime began = crash_log_tick(p->run->log);

        guest_ends(p);
        crash_guest_start(&p->run->guest, some_steps(p));
        steer_job(p, mirror);
        job_is_over(p, b, mirror, mode, began);
        s->loose_from = finishing;
    }
    guest_ends(p);
    g_assert_true(qmp("{'execute': 'blockdev-del', 'arguments': {'node-name': "
                      "'target'}}"));
}

/* --- the program --- */

typedef enum Focus {
    FOCUS_NONE,
    FOCUS_KILLS,
    FOCUS_SIZES,
    FOCUS_COMMANDS,
    FOCUS__MAX,
} Focus;

static Focus focus_of(const CrashRun *r)
{
    static const char *const suffixes[FOCUS__MAX] = {
        "?", "-kills", "-sizes", "-commands",
    };

    for (int i = 0; i < FOCUS__MAX; i++) {
        if (g_str_has_suffix(r->program->name, suffixes[i])) {
            return i;
        }
    }
    return FOCUS_NONE;
}

/* The shares of kinds of windows. */
static const struct {
    void (*play)(Play *p);
    int shares[FOCUS__MAX];
} kinds[] = {
    { play_guest, { 6, 4, 4, 1 } },
    { play_command, { 7, 3, 6, 14 } },
    { play_job, { 4, 0, 1, 2 } },
    { play_tick, { 1, 1, 3, 1 } },
    { play_resize, { 1, 0, 6, 0 } },
    { play_snapshot, { 1, 0, 1, 0 } },
    { play_readonly, { 1, 0, 0, 0 } },
    { play_restart, { 1, 0, 0, 0 } },
    { play_kill, { 2, 4, 1, 0 } },
};

static void window(Play *p)
{
    Focus focus = focus_of(p->run);
    int sum = 0, kind;

    if (!p->run->guest.blk) {
        play_writable(p);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        sum += kinds[i].shares[focus];
    }
    kind = draw(p, sum);
    for (size_t i = 0; ; i++) {
        if (kind < kinds[i].shares[focus]) {
            kinds[i].play(p);
            return;
        }
        kind -= kinds[i].shares[focus];
    }
}

static void prepare(CrashRun *r)
{
    BlockdevCreateOptionsQcow2 *c = &r->image;
    int kind = g_rand_int_range(r->rand, 0, 24);

    c->version = BLOCKDEV_QCOW2_VERSION_V3;
    if (kind < 5) {
        c->has_lazy_refcounts = c->lazy_refcounts = true;
    }
    if (kind > 18) {
        crash_make_chain(r, 1);
    }
    if (kind > 20) {
        char *pad = g_strnfill(g_rand_int_range(r->rand, 1, 340), '-');

        g_free(c->backing_file);
        c->backing_file = g_strconcat("disk1", pad, NULL);
        r->machine->no_peer = true;
        g_free(pad);
    }
}

/* The bits of a bitmap are in several clusters, which are stored on their own.
 */
static void prepare_pages(CrashRun *r)
{
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    r->image.cluster_size = r->guest.cluster = 512;
    r->image.size = 5 * MiB;
}

static void prepare_large(CrashRun *r)
{
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    r->image.cluster_size = r->guest.cluster = 2 * MiB;
    r->image.size = 3 * MiB;
}

static void begin_play(Play *p, CrashRun *r)
{
    int64_t capacity = ROUND_UP(r->image.size, CRASH_SECTOR);

    *p = (Play) { .run = r };
    qcow2_ahead_region = INT64_C(65536) << g_rand_int_range(r->rand, 0, 2);
    qcow2_ahead_max = qcow2_ahead_region * g_rand_int_range(r->rand, 1, 5);
    capacity = MIN(2 * capacity, capacity + MiB);
    crash_go_live(r, capacity);
    r->opaque = p->t = test_bitmaps_new(r, r->model->capacity);
    p->t->may_miss_note = r->image.backing_file &&
                          strlen(r->image.backing_file) > 8 &&
                          r->image.cluster_size <= 512;
}

static void run(CrashRun *r)
{
    GString *why = r->guest.error;
    Play play, *p = &play;

    begin_play(p, r);
    test_sample(p->t, NULL, why);
    open_node(p);
    test_sample(p->t, p->bs, why);
    for (int i = 0; i < r->steps && !why->len; i++) {
        window(p);
        if (!why->len) {
            test_sample(p->t, p->bs, why);
        }
    }
    close_node(p);
    if (!why->len) {
        test_check_kills(p->t, why);
    }
}

static bool check(CrashRun *r, CrashTime cut, GString *why)
{
    return test_check_bitmaps(r->opaque, cut, false, why) &&
           crash_check_disk(r, cut, why);
}

static void free_play(CrashRun *r)
{
    test_bitmaps_free(r->opaque);
}

#define MIX \
    { .write = 6, .zeroes = 2, .zeroes_unmap = 1, .discard = 1, \
      .compressed = 1, .flush = 2, .read = 1 }

static const CrashProgram programs[] = {
    { .name = "bitmaps", .mix = MIX, .prepare = prepare, .run = run,
      .check = check, .free = free_play,
      .seeds = 110, .budget = 90, .steps = 14 },
    { .name = "bitmaps-kills", .mix = MIX, .prepare = prepare, .run = run,
      .check = check, .free = free_play,
      .seeds = 60, .budget = 90, .steps = 8 },
    { .name = "bitmaps-sizes", .mix = MIX, .prepare = prepare, .run = run,
      .check = check, .free = free_play,
      .seeds = 50, .budget = 90, .steps = 14 },
    { .name = "bitmaps-commands", .mix = MIX, .prepare = prepare, .run = run,
      .check = check, .free = free_play,
      .seeds = 40, .budget = 90, .steps = 16 },
    { .name = "bitmaps-pages-commands", .mix = MIX, .prepare = prepare_pages,
      .run = run, .check = check, .free = free_play,
      .seeds = 30, .budget = 60, .steps = 14 },
    { .name = "bitmaps-large-clusters", .mix = MIX, .prepare = prepare_large,
      .run = run, .check = check, .free = free_play,
      .seeds = 2, .budget = 30, .steps = 8 },
};

static void add(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        crash_add(&programs[i]);
    }
}

int main(int argc, char **argv)
{
    qmp_set_program_table(&qmp_command_table);
    return crash_main(argc, argv, add);
}
