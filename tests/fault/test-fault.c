/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each operation that can fail does: scripts of commands, jobs and guest I/O
 * are repeated while the first, second, third ... open, read, write, flush or
 * allocation fails, until none does.
 */
#include "qemu/osdep.h"

#include "fault-script.h"
#include "qapi/qapi-commands.h"
#include "qapi/qmp-dispatch.h"

extern const BlockDriver bdrv_blkdebug, bdrv_compress, bdrv_copy_before_write,
    bdrv_copy_on_read, bdrv_null_co, bdrv_qcow2, bdrv_raw,
    bdrv_snapshot_access, bdrv_throttle, bdrv_tracked;

const BlockDriver *const bdrv_drivers[] = {
    &fault_file, &bdrv_null_co, &bdrv_qcow2, &bdrv_raw, &bdrv_blkdebug,
    &bdrv_compress, &bdrv_copy_before_write, &bdrv_copy_on_read,
    &bdrv_snapshot_access, &bdrv_throttle, &bdrv_tracked, NULL,
};

/* --- pieces of scripts --- */

#define SIZE "1048576"
#define CREATE_FILE(name) \
    "{'execute': 'blockdev-create', 'arguments': {'job-id': 'c', " \
    "'options': {'driver': 'file', 'filename': '" name "', 'size': 0}}}\n" \
    "wait c\n"
#define FILE_NODE(name) \
    "{'driver': 'file', 'filename': '" name ".qcow2', " \
    "'node-name': '" name "-file'}"
#define ADD_FILE(name) \
    "{'execute': 'blockdev-add', 'arguments': " FILE_NODE(name) "}\n"
#define CREATE_RAW \
    "{'execute': 'blockdev-create', 'arguments': {'job-id': 'c', " \
    "'options': {'driver': 'file', 'filename': 'disk.img', 'size': " SIZE \
    "}}}\n" \
    "wait c\n"
#define TRACKED(more) \
    "'driver': 'tracked', 'node-name': 'disk'" more ", 'file': {'driver': " \
    "'file', 'node-name': 'disk-file', 'filename': 'disk.img'}, 'bitmaps': " \
    "{'driver': 'qcow2', 'node-name': 'side', 'file': " FILE_NODE("side") "}"
#define ADD_TRACKED COMMAND("blockdev-add", TRACKED(""))
#define DEL(name) \
    "{'execute': 'blockdev-del', 'arguments': {'node-name': '" name "'}}\n"
#define CREATE_MORE(name, more) \
    CREATE_FILE(name ".qcow2") ADD_FILE(name) \
    "{'execute': 'blockdev-create', 'arguments': {'job-id': 'c', " \
    "'options': {'driver': 'qcow2', 'file': '" name "-file', 'size': " SIZE \
    more "}}}\n" \
    "wait c\n" \
    DEL(name "-file")
#define CREATE(name) CREATE_MORE(name, "")
#define CREATE_OVER(name, base) \
    CREATE_MORE(name, ", 'backing-file': '" base ".qcow2', 'backing-fmt': " \
                      "'qcow2'")
#define ADD_MORE(name, more) \
    "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', " \
    "'node-name': '" name "', 'discard': 'unmap'" more \
    ", 'file': " FILE_NODE(name) "}}\n"
#define ADD(name) ADD_MORE(name, "")
#define ADD_NO_BACKING(name) ADD_MORE(name, ", 'backing': null")
#define COMMAND(name, args) \
    "{'execute': '" name "', 'arguments': {" args "}}\n"
#define BITMAP(what, name, more) \
    COMMAND("block-dirty-bitmap-" what, "'node': 'disk', 'name': '" name \
            "'" more)
#define PERSISTENT ", 'persistent': true, 'granularity': 65536"
#define JOB_ARGS(id) "'job-id': '" id "', 'auto-dismiss': false, "
#define BACKUP_ARGS(id, to, sync, more) \
    JOB_ARGS(id) "'device': 'disk', 'target': '" to "', 'sync': '" sync \
    "'" more
#define BACKUP(sync, more) \
    COMMAND("blockdev-backup", BACKUP_ARGS("j", "copy", sync, more))
#define MIRROR(sync, more) \
    COMMAND("blockdev-mirror", BACKUP_ARGS("j", "copy", sync, more))
#define DRIVE_ARGS(sync, mode) \
    JOB_ARGS("j") "'device': 'disk', 'target': 'new.qcow2', 'node-name': " \
    "'moved', 'format': 'qcow2', 'sync': '" sync "', 'mode': '" mode "'"
#define ACTIVE ", 'copy-mode': 'write-blocking'"
#define STOP ", 'on-source-error': 'stop', 'on-target-error': 'stop'"
#define BY_BITMAP(mode) ", 'bitmap': 'b', 'bitmap-mode': '" mode "'"
/* A ready job has something left to do when it is cancelled, or completed. */
#define CANCEL_READY(writes) \
    "ready j\n" writes \
    "{'execute': 'block-job-cancel', 'arguments': {'device': 'j'}}\n" \
    "wait j\n" REST
#define COMPLETE_READY(writes) \
    "ready j\n" writes \
    "{'execute': 'job-complete', 'arguments': {'id': 'j'}}\n" \
    "wait j\n" REST
#define IGNORE ", 'on-source-error': 'ignore', 'on-target-error': 'ignore'"
#define FILL \
    "write 0 256 17\n" "write 320 64 18\n" "write 516 8 19\n" \
    "write 640 64 0\n"
#define WITH_BITMAP \
    CREATE("disk") CREATE("copy") ADD("disk") "attach disk\n" FILL \
    BITMAP("add", "b", PERSISTENT) "write 64 64 33\n" "write 900 4 34\n"
#define WITH_TRACKED \
    CREATE_RAW CREATE("side") ADD_TRACKED "attach disk\n" FILL \
    BITMAP("add", "b", PERSISTENT) "write 64 64 33\n" "write 900 4 34\n"
#define AMEND(options) \
    COMMAND("x-blockdev-amend", "'job-id': 'a', 'node-name': 'disk', " \
            "'options': {'driver': 'qcow2', " options "}") "wait a\n"
#define NEXT "---\n"
#define REST "write 960 64 77\n" "flush\n"
#define OPEN ADD("disk") "attach disk\n"
#define OPEN_BOTH OPEN ADD("copy")
#define CHAIN \
    ADD("base") ADD_MORE("mid", ", 'backing': 'base'") \
    ADD_MORE("disk", ", 'backing': 'mid'") "attach disk\n"

static const FaultScript scripts[] = {
    { "create", NEXT NEXT CREATE("new") ADD("new") DEL("new") },
    { "open-and-close",
      WITH_BITMAP NEXT NEXT OPEN REST },
    { "guest-io",
      CREATE("disk") ADD("disk") "attach disk\n" FILL NEXT OPEN NEXT
      "write 4 8 40\n" "write 256 64 41\n" "flush\n" "write 512 128 42\n"
      "discard 64 64\n" "write 0 64 0\n" "write 8 4 43\n" "flush\n"
      "write 60 16 44\n" "write 640 4 45\n" REST },
    { "guest-io-lazy-refcounts",
      CREATE_MORE("disk", ", 'lazy-refcounts': true") NEXT OPEN NEXT
      FILL "flush\n" "discard 64 64\n" "write 0 64 0\n" "write 8 4 43\n"
      REST },
    { "guest-io-overlay",
      CREATE("base") ADD("base") "attach base\n" FILL
      CREATE_OVER("disk", "base") NEXT OPEN NEXT
      "write 4 8 40\n" "flush\n" "write 256 128 41\n" "discard 0 128\n"
      "write 516 4 42\n" "write 100 40 0\n" REST },
    { "copy-on-read",
      CREATE("base") ADD("base") "attach base\n" FILL
      CREATE_OVER("disk", "base") NEXT
      ADD("disk")
      COMMAND("blockdev-add", "'driver': 'copy-on-read', 'node-name': 'cor', "
              "'file': 'disk'") "attach cor\n" NEXT
      "write 4 8 40\n" "write 516 4 42\n" REST },
    { "bitmaps",
      WITH_BITMAP NEXT OPEN NEXT
      BITMAP("add", "b2", PERSISTENT) BITMAP("add", "b3", ", 'disabled': true")
      "write 128 64 50\n" BITMAP("disable", "b", "") "write 200 4 51\n"
      BITMAP("enable", "b", "")
      COMMAND("block-dirty-bitmap-merge", "'node': 'disk', 'target': 'b3', "
              "'bitmaps': ['b', 'b2']")
      BITMAP("clear", "b2", "") "write 300 4 52\n" BITMAP("remove", "b3", "")
      BITMAP("remove", "b", "") REST },
    { "transaction",
      WITH_BITMAP NEXT OPEN_BOTH NEXT
      COMMAND("transaction", "'actions': ["
              "{'type': 'block-dirty-bitmap-add', 'data': {'node': 'disk', "
              "'name': 'b2'" PERSISTENT "}}, "
              "{'type': 'block-dirty-bitmap-merge', 'data': {'node': 'disk', "
              "'target': 'b2', 'bitmaps': ['b']}}, "
              "{'type': 'block-dirty-bitmap-clear', 'data': {'node': 'disk', "
              "'name': 'b2'}}, "
              "{'type': 'blockdev-backup', 'data': {"
              BACKUP_ARGS("j", "copy", "bitmap", BY_BITMAP("on-success"))
              "}}]")
      "write 128 64 50\n" "wait j\n" REST },
    { "transaction-that-aborts",
      WITH_BITMAP NEXT OPEN_BOTH NEXT
      COMMAND("transaction", "'actions': ["
              "{'type': 'block-dirty-bitmap-add', 'data': {'node': 'disk', "
              "'name': 'b2'" PERSISTENT "}}, "
              "{'type': 'block-dirty-bitmap-clear', 'data': {'node': 'disk', "
              "'name': 'b'}}, "
              "{'type': 'block-dirty-bitmap-remove', 'data': {'node': 'disk', "
              "'name': 'b'}}, "
              "{'type': 'abort', 'data': {}}]")
      "write 128 64 50\n" REST },
    { "backup-full", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("full", "") "write 0 64 60\n" "wait j\n" REST },
    { "backup-full-always", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("full", BY_BITMAP("always")) "write 0 64 60\n" "wait j\n" REST },
    { "backup-top", CREATE("base") CREATE("copy") ADD("base") "attach base\n"
      FILL CREATE_OVER("disk", "base") NEXT OPEN_BOTH "write 4 4 9\n" NEXT
      BACKUP("top", "") "write 0 64 60\n" "wait j\n" REST },
    { "backup-on-success", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("bitmap", BY_BITMAP("on-success")) "write 0 96 60\n" "wait j\n"
      REST },
    { "backup-never", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("bitmap", BY_BITMAP("never")) "write 0 96 60\n" "wait j\n" REST },
    { "backup-always", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("bitmap", BY_BITMAP("always")) "write 0 96 60\n" "wait j\n"
      REST },
    { "backup-always-cancelled", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("bitmap", BY_BITMAP("always") ", 'speed': 65536, "
             "'x-perf': {'checkpoint-interval': 1}")
      "write 0 96 60\n" "cancel j\n" REST },
    { "backup-compressed", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("full", ", 'compress': true") "write 0 96 60\n" "wait j\n" REST },
    { "backup-none", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("none", "") "write 0 96 60\n" "cancel j\n" REST },
    { "mirror-full", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", "") "write 0 64 60\n" "complete j\n" REST },
    { "mirror-full-active", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", ACTIVE ", 'target-is-zero': true, 'granularity': 65536")
      "write 0 96 60\n" "write 644 4 61\n" "discard 256 64\n" "write 320 4 0\n"
      "complete j\n" REST },
    { "mirror-full-stop", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", STOP BY_BITMAP("always")) "write 0 64 60\n"
      "complete j\n" REST },
    { "mirror-full-always", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", BY_BITMAP("always")) "write 0 64 60\n" "end j\n" REST },
    { "mirror-full-always-active", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", ACTIVE STOP BY_BITMAP("always")) "write 0 96 60\n"
      "write 644 4 61\n" "discard 256 64\n" "end j\n" REST },
    { "mirror-on-success", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("bitmap", BY_BITMAP("on-success")) "write 0 96 60\n" "end j\n"
      REST },
    { "mirror-never", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("bitmap", BY_BITMAP("never")) "write 0 96 60\n" "end j\n" REST },
    { "mirror-always", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("bitmap", BY_BITMAP("always")) "write 0 96 60\n" "end j\n" REST },
    { "mirror-always-active", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("bitmap", ACTIVE BY_BITMAP("always")) "write 0 96 60\n"
      "write 644 4 61\n" "end j\n" REST },
    { "mirror-always-cancelled", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", ACTIVE BY_BITMAP("always") ", 'speed': 65536")
      "write 0 96 60\n" "cancel j\n" REST },
    { "mirror-cancelled-ready", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", BY_BITMAP("always"))
      CANCEL_READY("write 0 96 60\n" "discard 256 64\n") },
    { "mirror-cancelled-ready-stop", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", STOP BY_BITMAP("on-success"))
      CANCEL_READY("write 0 96 60\n" "write 644 4 61\n") },
    { "mirror-cancelled-ready-ignore", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", IGNORE)
      CANCEL_READY("write 0 96 60\n") },
    { "mirror-cancelled-ready-active", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("bitmap", ACTIVE STOP BY_BITMAP("always"))
      CANCEL_READY("write 0 96 60\n" "write 644 4 61\n" "discard 64 64\n") },
    { "mirror-completed-ready", WITH_BITMAP NEXT OPEN_BOTH NEXT
      MIRROR("full", STOP BY_BITMAP("always"))
      COMPLETE_READY("write 0 96 60\n" "write 644 4 0\n") },
    { "drive-mirror", CREATE("disk") ADD("disk") "attach disk\n" FILL NEXT OPEN
      NEXT COMMAND("drive-mirror", DRIVE_ARGS("full", "absolute-paths"))
      "write 0 64 60\n" "complete j\n" REST },
    { "drive-mirror-existing", CREATE("base") ADD("base") "attach base\n" FILL
      "detach\n" DEL("base") CREATE_OVER("disk", "base")
      CREATE_OVER("new", "base") NEXT OPEN "write 4 4 9\n" NEXT
      COMMAND("drive-mirror", DRIVE_ARGS("top", "existing"))
      "write 0 64 60\n" "complete j\n" REST },
    { "mirror-top", CREATE("base") ADD("base") "attach base\n" FILL
      "detach\n" DEL("base") CREATE_OVER("disk", "base")
      CREATE_OVER("copy", "base") NEXT ADD("base")
      ADD_MORE("disk", ", 'backing': 'base'")
      ADD_MORE("copy", ", 'backing': 'base'") "attach disk\n" "write 4 4 9\n"
      NEXT MIRROR("top", "") "write 0 64 60\n" "complete j\n" REST },
    { "commit-active", CREATE("base") ADD("base") "attach base\n" FILL
      "detach\n" DEL("base") CREATE_OVER("mid", "base") ADD("mid")
      "attach mid\n" "write 32 64 20\n" "detach\n" DEL("mid")
      CREATE_OVER("disk", "mid") NEXT CHAIN "write 4 4 9\n" NEXT
      COMMAND("block-commit", JOB_ARGS("j") "'device': 'disk'")
      "write 0 64 60\n" "discard 516 4\n" "complete j\n" REST },
    { "commit-active-ended", CREATE("base") ADD("base") "attach base\n" FILL
      "detach\n" DEL("base") CREATE_OVER("mid", "base")
      CREATE_OVER("disk", "mid") NEXT CHAIN "write 4 4 9\n" NEXT
      COMMAND("block-commit", JOB_ARGS("j") "'device': 'disk', 'on-error': "
              "'stop'") "write 0 64 60\n" "end j\n" REST },
    { "snapshot",
      WITH_BITMAP CREATE_OVER("new", "disk") NEXT OPEN ADD_NO_BACKING("new")
      NEXT
      COMMAND("blockdev-snapshot", "'node': 'disk', 'overlay': 'new'")
      "write 0 96 60\n" REST },
    { "snapshot-sync",
      WITH_BITMAP NEXT OPEN NEXT
      COMMAND("blockdev-snapshot-sync", "'node-name': 'disk', "
              "'snapshot-file': 'new.qcow2', 'snapshot-node-name': 'new'")
      "write 0 96 60\n" REST },
    { "internal-snapshots",
      WITH_BITMAP BITMAP("remove", "b", "") NEXT OPEN NEXT
      COMMAND("blockdev-snapshot-internal-sync", "'device': 'disk', "
              "'name': 's'")
      "write 0 96 60\n" "flush\n"
      COMMAND("blockdev-snapshot-internal-sync", "'device': 'disk', "
              "'name': 't'")
      "write 4 96 61\n"
      COMMAND("blockdev-snapshot-delete-internal-sync", "'device': 'disk', "
              "'name': 's'") REST },
    { "stream", CREATE("base") ADD("base") "attach base\n" FILL
      CREATE_OVER("disk", "base") NEXT OPEN "write 4 4 9\n" NEXT
      COMMAND("block-stream", JOB_ARGS("j") "'device': 'disk'")
      "write 0 64 60\n" "wait j\n" REST },
    { "commit", CREATE("base") ADD("base") "attach base\n" FILL
      "detach\n" DEL("base") CREATE_OVER("mid", "base") ADD("mid")
      "attach mid\n" "write 32 64 20\n" "detach\n" DEL("mid")
      CREATE_OVER("disk", "mid") NEXT OPEN "write 4 4 9\n" NEXT
      COMMAND("block-commit", JOB_ARGS("j") "'device': 'disk', "
              "'top': 'mid.qcow2'")
      "write 0 64 60\n" "wait j\n" REST },
    { "resize", WITH_BITMAP NEXT OPEN NEXT
      COMMAND("block_resize", "'node-name': 'disk', 'size': 3145728")
      "write 0 96 60\n" "flush\n"
      COMMAND("block_resize", "'node-name': 'disk', 'size': 1048576") REST },
    { "drive-backup", WITH_BITMAP NEXT OPEN NEXT
      COMMAND("drive-backup", JOB_ARGS("d") "'device': 'disk', 'target': "
              "'new.qcow2', 'format': 'qcow2', 'sync': 'full'")
      "write 0 64 60\n" "wait d\n" REST },
    { "fleecing", WITH_BITMAP NEXT OPEN_BOTH NEXT
      BACKUP("none", ", 'filter-node-name': 'filter'")
      COMMAND("blockdev-add", "'driver': 'snapshot-access', 'node-name': "
              "'shown', 'file': 'filter'")
      "write 0 96 60\n" DEL("shown") "cancel j\n" REST },
    { "reopen",
      WITH_BITMAP NEXT ADD("disk") NEXT
      COMMAND("blockdev-reopen", "'options': [{'driver': 'qcow2', "
              "'node-name': 'disk', 'discard': 'unmap', 'read-only': true, "
              "'file': 'disk-file'}]")
      COMMAND("blockdev-reopen", "'options': [{'driver': 'qcow2', "
              "'node-name': 'disk', 'discard': 'unmap', 'read-only': false, "
              "'file': 'disk-file'}]") "attach disk\n" REST },
    { "tracked", WITH_TRACKED NEXT ADD_TRACKED "attach disk\n" NEXT
      BITMAP("add", "b2", PERSISTENT) "write 128 64 50\n" "flush\n"
      BITMAP("clear", "b2", "") "write 300 4 52\n"
      BITMAP("remove", "b2", "") "write 400 4 53\n" REST },
    { "tracked-open-and-close", WITH_TRACKED NEXT NEXT
      ADD_TRACKED "attach disk\n" REST },
    { "tracked-resize", WITH_TRACKED NEXT ADD_TRACKED "attach disk\n" NEXT
      COMMAND("block_resize", "'node-name': 'disk', 'size': 3145728")
      "write 0 96 60\n" "flush\n"
      COMMAND("block_resize", "'node-name': 'disk', 'size': 1048576") REST },
    { "tracked-reopen", WITH_TRACKED NEXT ADD_TRACKED NEXT
      COMMAND("blockdev-reopen", "'options': [{"
              TRACKED(", 'read-only': true") "}]")
      COMMAND("blockdev-reopen", "'options': [{"
              TRACKED(", 'read-only': false") "}]")
      "attach disk\n" REST },
    { "tracked-image-used-again", WITH_TRACKED NEXT
      ADD("side")
      COMMAND("blockdev-add", "'driver': 'file', 'node-name': 'disk-file', "
              "'filename': 'disk.img'") NEXT
      COMMAND("blockdev-add", "'driver': 'tracked', 'node-name': 'disk', "
              "'file': 'disk-file', 'bitmaps': 'side'")
      "attach disk\n" "write 0 4 9\n" "detach\n" DEL("disk")
      COMMAND("blockdev-add", "'driver': 'tracked', 'node-name': 'disk', "
              "'file': 'disk-file', 'bitmaps': 'side'")
      "attach disk\n" REST },
    { "amend-refcount-bits",
      WITH_BITMAP COMMAND("blockdev-snapshot-internal-sync",
                          "'device': 'disk', 'name': 's'")
      "write 4 96 61\n" NEXT OPEN NEXT
      AMEND("'refcount-bits': 64") "write 128 64 50\n"
      AMEND("'refcount-bits': 2") "write 300 4 52\n" REST },
    { "amend-version",
      CREATE("base") ADD("base") "attach base\n" FILL
      CREATE_OVER("disk", "base") ADD("disk") "attach disk\n"
      "write 256 64 0\n"
      COMMAND("blockdev-snapshot-internal-sync", "'device': 'disk', "
              "'name': 's'")
      COMMAND("blockdev-snapshot-internal-sync", "'device': 'disk', "
              "'name': 't'") NEXT OPEN "write 64 128 0\n" NEXT
      AMEND("'version': 'v2'") "write 128 64 50\n"
      AMEND("'version': 'v3', 'lazy-refcounts': true") "write 0 64 0\n"
      AMEND("'lazy-refcounts': false") REST },
    { "check", WITH_BITMAP NEXT ADD("disk") NEXT
      "check disk\n" "attach disk\n" REST },
};

/* The one command that belongs to the program. */
bool qmp_quit(Error **errp)
{
    error_setg(errp, "There is no program to quit");
    return false;
}

static const bool ways[] = { false, true };

static void test_script(const void *opaque)
{
    const FaultScript *script = opaque;

    for (FaultKind kind = 0; kind < FAULT__MAX; kind++) {
        for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
            unsigned n = fault_script_run(script, kind, ways[i]);

            g_test_message("%s: %u points where %s fails%s", script->name, n,
                           fault_kind_names[kind], ways[i] ? " for good" : "");
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    qmp_set_program_table(&qmp_command_table);
    for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++) {
        g_autofree char *path = g_strdup_printf("/fault/%s", scripts[i].name);

        g_test_add_data_func(path, &scripts[i], test_script);
    }
    return g_test_run();
}
