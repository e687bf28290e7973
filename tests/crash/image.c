/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes over a machine's disks: creation, opening, checks, reads. */
#include "crash.h"

#include <glib/gstdio.h>
#include <json-c/json.h>

BlockDriverState *crash_open(int flags, Error **errp, const char *text, ...)
{
    g_autofree char *json = NULL;
    BlockDriverState *bs;
    json_object *obj;
    va_list ap;

    va_start(ap, text);
    json = g_strdup_vprintf(text, ap);
    va_end(ap);
    g_strdelimit(json, "'", '"');
    obj = json_tokener_parse(json);
    g_assert_nonnull(obj);
    bs = bdrv_open_json(obj, false, flags, errp);
    json_object_put(obj);
    return bs;
}

void crash_create(unsigned disk, const BlockdevCreateOptionsQcow2 *create)
{
    BlockDriverState *bs;
    BlockdevRef ref = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = (char *)"target",
    };
    BlockdevCreateOptions options = {
        .driver = BLOCKDEV_DRIVER_QCOW2,
        .u.qcow2 = *create,
    };

    g_byte_array_set_size(crash_machine->disks[disk], 0);
    bs = crash_open(BDRV_O_RDWR, &error_abort, "{'driver': 'file', "
                    "'filename': 'disk%u', 'node-name': 'target'}", disk);
    options.u.qcow2.file = &ref;
    bdrv_create(&options, &error_abort);
    bdrv_unref(bs);
}

uint8_t *crash_read(BlockDriverState *bs, int64_t *bytes, GString *why)
{
    BlockBackend *blk = blk_new_unqueued(bs, BLK_PERM_CONSISTENT_READ,
                                         BLK_PERM_ALL, NULL, &error_abort);
    g_autofree uint8_t *data = NULL;
    int ret;

    *bytes = blk_getlength(blk);
    g_assert_cmpint(*bytes, >=, 0);
    data = g_malloc(*bytes + 1);
    ret = blk_pread(blk, 0, *bytes, data, 0);
    blk_unref(blk);
    if (ret < 0) {
        g_string_append_printf(why, "the disk cannot be read: %s",
                               g_strerror(-ret));
        return NULL;
    }
    return g_steal_pointer(&data);
}

bool crash_check_node(BlockDriverState *bs, GString *why)
{
    BdrvCheckResult result = { 0 };
    int ret = bdrv_check(bs, &result, 0);

    if (ret < 0 || result.corruptions || result.check_errors) {
        g_string_append_printf(why, "the check of '%s' returns %d and finds %"
                               PRId64 " corruptions, %" PRId64 " errors",
                               bs->filename, ret, result.corruptions,
                               result.check_errors);
        return false;
    }
    return true;
}

uint8_t *crash_values(const uint8_t *data, int64_t bytes)
{
    uint8_t *values = g_malloc(bytes / CRASH_UNIT + 1);

    for (int64_t i = 0; i < bytes / CRASH_UNIT; i++) {
        values[i] = data[i * CRASH_UNIT];
        g_assert_true(!memcmp(data + i * CRASH_UNIT,
                              data + i * CRASH_UNIT + 1, CRASH_UNIT - 1));
    }
    return values;
}

void crash_quiet(bool quiet)
{
    static int saved = -1;

    fflush(stderr);
    if (quiet && saved < 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        saved = dup(STDERR_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
    } else if (!quiet && saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
        saved = -1;
    }
}

static bool have_peer(void)
{
    static int have = -1;

    if (have < 0) {
        g_autofree char *program = g_find_program_in_path("qemu-img");

        have = program != NULL;
    }
    return have;
}

bool crash_peer_check(GString *why)
{
    const char *argv[] = { "qemu-img", "check", "disk0", NULL };
    g_autofree char *dir = NULL, *out = NULL, *err = NULL;
    int status;

    if (!have_peer() || crash_machine->no_peer) {
        return true;
    }
    dir = g_dir_make_tmp("crash-XXXXXX", NULL);
    for (int i = 0; i < CRASH_DISKS; i++) {
        const GByteArray *disk = crash_machine->disks[i];
        g_autofree char *path = g_strdup_printf("%s/disk%d", dir, i);

        g_assert_true(g_file_set_contents(path, (char *)disk->data, disk->len,
                                          NULL));
    }
    g_assert_true(g_spawn_sync(dir, (char **)argv, NULL, G_SPAWN_SEARCH_PATH,
                               NULL, NULL, &out, &err, &status, NULL));
    for (int i = 0; i < CRASH_DISKS; i++) {
        g_autofree char *path = g_strdup_printf("%s/disk%d", dir, i);

        g_unlink(path);
    }
    g_rmdir(dir);
    if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3) {
        g_string_append_printf(why, "the installed qemu-img check:\n%s%s",
                               out, err);
        return false;
    }
    return true;
}
