/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest: writers, each with sectors of its own. */
#include "qemu/osdep.h"

#include "model.h"
#include "job/job.h"

/* Blocks of this many sectors go to the writers in turn: some share a cluster
 * of the image. */
#define STRIPE 8

int model_draw(Model *m, int n)
{
    return g_rand_int_range(m->rand, 0, n);
}

static void mark(bool *set, const ModelWriter *w)
{
    memset(set + w->sector, true, w->sectors);
}

bool model_guest_writes(const Model *m, const char *name)
{
    return !strcmp(bdrv_skip_filters(blk_bs(m->guest))->node_name, name);
}

/* The write can be on the disk from now on. */
static void write_begins(ModelWriter *w)
{
    Model *m = w->m;

    for (int i = 0; i < MODEL_BITMAPS; i++) {
        ModelBitmap *b = &m->bitmaps[i];

        if (b->used && b->recording && b->written) {
            mark(b->may, w);
        }
    }
    if (m->backup.used && m->backup.written) {
        mark(m->backup.since_may, w);
    }
    if (m->mirror.used) {
        mark(m->mirror.since_may, w);
        mark(m->mirror.after_may, w);
    }
}

/* It may have, or will when its node is drained. */
static bool mirror_has_ended(const Model *m)
{
    const Job *job = job_get(m->mirror.id);

    return !job || job->status == JOB_STATUS_ABORTING ||
           job->status == JOB_STATUS_CONCLUDED;
}

/*
 * A mirror that has been completed may have moved the guest to another node,
 * and not been noticed yet.
 */
static void write_ended(ModelWriter *w, int ret)
{
    Model *m = w->m;

    g_assert_cmpint(ret, ==, 0);
    memset(m->disk + w->sector, w->value, w->sectors);
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        ModelBitmap *b = &m->bitmaps[i];

        if (b->used && b->recording && model_guest_writes(m, b->node)) {
            mark(b->may, w);
            if (!w->missed[i]) {
                mark(b->must, w);
            }
        }
    }
    if (m->backup.used && m->backup.bitmap &&
        model_guest_writes(m, m->backup.bitmap->node)) {
        mark(m->backup.since_must, w);
        mark(m->backup.since_may, w);
    }
    if (m->mirror.used && model_guest_writes(m, m->mirror.source)) {
        mark(m->mirror.since_must, w);
    }
    if (m->mirror.used && mirror_has_ended(m)) {
        mark(m->mirror.late, w);
    }
    w->sectors = 0;
    m->writes++;
}

static void choose_write(ModelWriter *w)
{
    Model *m = w->m;
    int stripes = MODEL_SECTORS / STRIPE / MODEL_WRITERS;
    int stripe = model_draw(m, stripes) * MODEL_WRITERS + w->index;
    int first = model_draw(m, STRIPE);

    memset(w->missed, 0, sizeof(w->missed));
    w->sector = stripe * STRIPE + first;
    w->sectors = 1 + model_draw(m, STRIPE - first);
    w->value = model_draw(m, 4) ? 1 + model_draw(m, 255) : 0;
}

static int coroutine_fn do_write(ModelWriter *w)
{
    Model *m = w->m;
    int64_t offset = w->sector * MODEL_SECTOR;
    int64_t bytes = w->sectors * MODEL_SECTOR;
    g_autofree void *buf = NULL;

    if (w->value == 0 && model_draw(m, 2)) {
        return blk_co_pwrite_zeroes(m->guest, offset, bytes,
                                    model_draw(m, 2) ? BDRV_REQ_MAY_UNMAP : 0);
    }
    buf = g_malloc(bytes);
    memset(buf, w->value, bytes);
    return blk_co_pwrite(m->guest, offset, bytes, buf,
                         model_draw(m, 8) ? 0 : BDRV_REQ_FUA);
}

/* To the thread where the disk is now: nothing is done in another. */
static void coroutine_fn follow(Model *m)
{
    while (aio_current_context() != blk_get_aio_context(m->guest)) {
        co_move_to(blk_get_aio_context(m->guest));
    }
}

static void coroutine_fn writer_entry(void *opaque)
{
    ModelWriter *w = opaque;
    Model *m = w->m;

    while (!m->stop) {
        choose_write(w);
        write_begins(w);
        write_ended(w, do_write(w));
        if (!model_draw(m, 6)) {
            g_assert_cmpint(blk_co_flush(m->guest), ==, 0);
        }
        for (int i = model_draw(m, 4); i >= 0; i--) {
            co_yield_to_loop();
            follow(m);
        }
    }
    w->running = false;
}

void model_guest_start(Model *m)
{
    m->stop = false;
    for (int i = 0; i < MODEL_WRITERS; i++) {
        ModelWriter *w = &m->writers[i];

        *w = (ModelWriter) { .m = m, .index = i, .running = true };
        aio_co_enter(blk_get_aio_context(m->guest),
                     coroutine_create(writer_entry, w));
    }
}

void model_guest_stop(Model *m)
{
    m->stop = true;
    for (int i = 0; i < MODEL_WRITERS; i++) {
        AIO_WAIT_WHILE(m->writers[i].running);
    }
}
