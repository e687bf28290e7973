/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs that hold nodes: their identification, and the operations they block. */
#include "qemu/osdep.h"
#include "block/blockjob.h"
#include "dummy-drivers.h"
#include "qapi/qapi-types-block-job.h"

static int coroutine_fn no_work(Job *job, Error **errp)
{
    return 0;
}

/* The kind of a job does not depend on its callbacks. */
static void own_set_speed(Job *job, int64_t speed)
{
    block_job_set_speed(job, speed);
}

static const JobDriver block_driver = {
    .instance_size = sizeof(BlockJob),
    .kind = JOB_KIND_BLOCK,
    .type = JOB_TYPE_STREAM,
    .run = no_work,
    .set_speed = own_set_speed,
    .free = block_job_free,
};

static const JobDriver plain_driver = {
    .instance_size = sizeof(Job),
    .kind = JOB_KIND_PLAIN,
    .type = JOB_TYPE_CREATE,
    .run = no_work,
};

static BlockDriverState *open_node(void)
{
    return dummy_open("{'driver':'null-co','node-name':'n'}");
}

static BlockJob *create(BlockDriverState *bs)
{
    BlockJobParams params = { .id = "j", .driver = &block_driver, .bs = bs };

    return block_job_create(&params, &error_abort);
}

static void test_kind(void)
{
    BlockDriverState *bs = open_node();
    BlockJob *job = create(bs);
    Job *plain = job_create("p", &plain_driver, NULL, aio_main_context(), 0,
                            &error_abort);
    BlockJobInfoList *infos;
    Error *err = NULL;

    g_assert_true(block_job_of(&job->job) == job);
    g_assert_null(block_job_of(plain));
    g_assert_true(block_job_find("j", &error_abort) == job);
    g_assert_null(block_job_find("p", &err));
    assert_error(&err, "Block job 'p' not found");
    infos = block_job_query_all();
    g_assert_true(infos && !infos->next);
    g_assert_cmpstr(infos->value->device, ==, "j");
    qapi_free_BlockJobInfoList(infos);
    job_early_fail(plain);
    job_early_fail(&job->job);
    bdrv_unref(bs);
    dummy_reset();
}

static void test_blocks(void)
{
    BlockDriverState *bs = open_node();
    BlockDriverState *read =
        dummy_open("{'driver':'null-co','node-name':'r'}");
    BlockJob *job = create(bs);
    Error *err = NULL;

    g_assert_true(block_job_add_read(job, "base", read, &error_abort));
    g_assert_true(bdrv_op_check(read, &error_abort));
    g_assert_false(bdrv_op_check(bs, &err));
    assert_error(&err, "Node 'n' is busy: block device is in use by block "
                       "job: stream");
    block_job_remove_all_bdrv(job);
    g_assert_true(bdrv_op_check(bs, &error_abort));
    job_early_fail(&job->job);
    bdrv_unref(read);
    bdrv_unref(bs);
    dummy_reset();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/blockjob/kind", test_kind);
    g_test_add_func("/blockjob/blocks", test_blocks);
    return g_test_run();
}
