/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images by the tools' options, and the life cycle of a tool. */
#include "qemu/osdep.h"

#include <signal.h>

#include "block/graph.h"
#include "qapi/keyval.h"
#include "tools/common/cli.h"
#include "tools/common/image.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

bool tool_cache_mode(const char *mode, ToolImage *image)
{
    static const struct {
        const char *name;
        int flags;
        bool writethrough;
    } modes[] = {
        { "none", BDRV_O_NOCACHE, false },
        { "off", BDRV_O_NOCACHE, false },
        { "writeback", 0, false },
        { "writethrough", 0, true },
        { "directsync", BDRV_O_NOCACHE, true },
        { "unsafe", BDRV_O_NO_FLUSH, false },
    };

    for (size_t i = 0; mode && i < ARRAY_SIZE(modes); i++) {
        if (!strcmp(modes[i].name, mode)) {
            image->flags &= ~(BDRV_O_NOCACHE | BDRV_O_NO_FLUSH);
            image->flags |= modes[i].flags;
            image->writethrough = modes[i].writethrough;
            return true;
        }
    }
    return !mode;
}

static BlockDriverState *open_options(const ToolImage *image, Error **errp)
{
    g_autoptr(json_object) tree = NULL;

    if (image->format) {
        error_setg(errp, "--image-opts and --format are mutually exclusive");
        return NULL;
    }
    tree = keyval_parse(image->filename, "file", NULL, errp);
    return tree ? bdrv_open_json(tree, true, image->flags, errp) : NULL;
}

BlockBackend *tool_open(const ToolImage *image, Error **errp)
{
    uint64_t perm = BLK_PERM_CONSISTENT_READ;
    g_autoptr(BlockDriverState) bs = NULL;
    BlockBackend *blk;

    bs = image->image_opts
             ? open_options(image, errp)
             : bdrv_open_file(image->filename, image->format, image->flags,
                              errp);
    if (!bs) {
        return NULL;
    }
    if ((image->flags & BDRV_O_RDWR) && !bs->read_only) {
        perm |= BLK_PERM_WRITE;
        if (image->flags & BDRV_O_RESIZE) {
            perm |= BLK_PERM_RESIZE;
        }
    }
    blk = blk_new_with_bs(bs, perm, BLK_PERM_ALL, errp);
    if (blk) {
        blk_set_enable_write_cache(blk, !image->writethrough);
    }
    return blk;
}

/* --- life cycle --- */

static volatile sig_atomic_t signal_seen;

static void on_signal(int sig)
{
    signal_seen = sig;
}

bool tool_interrupted(void)
{
    return signal_seen != 0;
}

void tool_init(const char *name, const char *argv0)
{
    struct sigaction end = { .sa_handler = on_signal };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    Error *err = NULL;

    g_set_prgname(name);
    error_set_progname(argv0);
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    if (!aio_main_init(&err)) {
        error_report_err(err);
        exit(EXIT_FAILURE);
    }
}

int tool_finish(int status)
{
    bdrv_close_all();
    if (bdrv_any_close_failed() && status == EXIT_SUCCESS) {
        status = EXIT_FAILURE; /* it was reported */
    }
    cli_objects_cleanup();
    aio_main_cleanup();
    if (fflush(stdout) || ferror(stdout)) {
        error_report("Writing to standard output failed");
        status = status ? status : EXIT_FAILURE;
    }
    if (signal_seen) {
        signal(signal_seen, SIG_DFL);
        raise(signal_seen);
    }
    return status;
}
