/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images by the tools' options, and the life cycle of a tool. */
#include "qemu/osdep.h"

#include <json-c/json.h>
#include <signal.h>

#include "block/graph.h"
#include "block/silence.h"
#include "qapi/keyval.h"
#include "tools/common/cli.h"
#include "tools/common/image.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

static volatile sig_atomic_t signal_seen, opening;

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

/* @options with "key=on" for "key" and "key=off" for "nokey"; the first one may
 * be a value without a key. */
static char *without_short_forms(const char *options)
{
    GString *out = g_string_new(NULL);

    for (const char *pos = options; *pos;) {
        bool plain = pos != options && pos[strcspn(pos, "=,")] != '=';
        g_autofree char *word = keyval_take_value(&pos);
        g_autofree char *escaped = keyval_escape(word);
        bool off = plain && g_str_has_prefix(word, "no");

        g_string_append_printf(out, "%s%s%s", out->len ? "," : "",
                               escaped + (off ? 2 : 0),
                               !plain ? "" : off ? "=off" : "=on");
        if (plain) {
            warn_report("short-form boolean option '%s' deprecated", word);
            report_hint("Please use %s=%s instead\n", word + (off ? 2 : 0),
                        off ? "off" : "on");
        }
    }
    return g_string_free(out, false);
}

static BlockDriverState *open_options(const ToolImage *image, Error **errp)
{
    g_autofree char *text = without_short_forms(image->filename);
    g_autoptr(json_object) tree = NULL;

    if (image->format) {
        error_setg(errp, "--image-opts and --format are mutually exclusive");
        return NULL;
    }
    tree = keyval_parse(text, "file", NULL, errp);
    if (tree && image->name &&
        !bdrv_options_add_name(tree, image->name, errp)) {
        return NULL;
    }
    return tree ? bdrv_open_json(tree, true, image->flags, errp) : NULL;
}

char *tool_secrets(const char *creation_options)
{
    g_autoptr(GPtrArray) kept = g_ptr_array_new_with_free_func(g_free);

    while (creation_options && *creation_options) {
        char *part = keyval_take_value(&creation_options);

        if (g_str_has_prefix(part, "key-secret=") ||
            g_str_has_prefix(part, "encrypt.key-secret=")) {
            g_ptr_array_add(kept, part);
        } else {
            g_free(part);
        }
    }
    if (!kept->len) {
        return NULL;
    }
    g_ptr_array_add(kept, NULL);
    return g_strjoinv(",", (char **)kept->pdata);
}

/* The options of @image by its name and format, and its key. */
static BlockDriverState *open_encrypted(const ToolImage *image, Error **errp)
{
    g_autoptr(BlockdevOptions) options = NULL;
    g_autoptr(json_object) tree = NULL, secrets = NULL;
    bool probed;

    options = bdrv_options_from_filename(image->filename, image->format, 0,
                                         &probed, errp);
    secrets = options ? keyval_parse(image->secrets, NULL, NULL, errp) : NULL;
    if (!secrets) {
        return NULL;
    }
    tree = qapi_BlockdevOptions_to_json(options);
    json_object_object_foreach(secrets, key, value) {
        json_object_object_add(tree, key, json_object_get(value));
    }
    return bdrv_open_json(tree, false, image->flags, errp);
}

static BlockDriverState *open_name(const ToolImage *image, Error **errp)
{
    return image->secrets
        ? open_encrypted(image, errp)
        : bdrv_open_file(image->filename, image->format, image->flags, errp);
}

static BlockDriverState *open_node(const ToolImage *image, Error **errp)
{
    bool overlay = image->temporary && (image->flags & BDRV_O_RDWR);
    ToolImage base = *image;
    BlockDriverState *bs;

    if (overlay) {
        base.flags &= ~(BDRV_O_RDWR | BDRV_O_RESIZE);
    }
    bs = image->image_opts ? open_options(&base, errp)
                           : open_name(&base, errp);
    return bs && overlay ? bdrv_add_temporary_overlay(bs, errp) : bs;
}

BlockBackend *tool_open(const ToolImage *image, Error **errp)
{
    uint64_t perm = BLK_PERM_CONSISTENT_READ, shared = BLK_PERM_ALL;
    g_autoptr(BlockDriverState) bs = NULL;
    BlockBackend *blk;

    opening = !bdrv_next_node(NULL);
    bs = open_node(image, errp);
    opening = false;
    if (!bs) {
        return NULL;
    }
    if ((image->flags & BDRV_O_RDWR) && !bs->read_only) {
        perm |= BLK_PERM_WRITE;
        if (image->flags & BDRV_O_RESIZE) {
            perm |= BLK_PERM_RESIZE;
        }
    }
    if (image->stays && !(image->flags & BDRV_O_FORCE_SHARE)) {
        shared &= ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
    blk = blk_new_with_bs(bs, perm, shared, errp);
    if (blk) {
        blk_set_enable_write_cache(blk, !image->writethrough);
    }
    return blk;
}

/* --- life cycle --- */

static volatile sig_atomic_t signal_seen, signal_count;
static bool ends_normally; /* also after a signal */
static AioBH *quit_bh;     /* scheduled by aio_main_quit() */

/*
 * Opening may take as long as an image demands (the keys of LUKS), and the
 * first image leaves nothing half done.  A third signal is for whatever else
 * does not look at tool_interrupted().
 */
static void on_signal(int sig)
{
    if (opening || signal_count >= 2) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    signal_seen = sig;
    signal_count++;
    aio_main_quit();
}

/* A server that does not answer delays the end, but for a limited time. */
static void hurry(void *opaque)
{
    aio_exclusive_begin();
    if (signal_count) {
        bdrv_hurry(signal_count >= 2);
    }
    aio_exclusive_end();
}

static void set_signals(void (*handler)(int sig))
{
    struct sigaction action = { .sa_handler = handler };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

void tool_end_normally(void)
{
    ends_normally = true;
}

void tool_default_signals(void)
{
    set_signals(SIG_DFL);
}

bool tool_interrupted(void)
{
    return signal_seen != 0;
}

void tool_init(const char *name, const char *argv0)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    Error *err = NULL;

    g_set_prgname(name);
    error_set_progname(argv0);
    sigaction(SIGPIPE, &ignore, NULL);
    if (!aio_main_init(&err)) {
        error_report_err(err);
        exit(EXIT_FAILURE);
    }
    bdrv_report_losses();
    quit_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_IO, hurry, NULL);
    aio_main_on_quit(quit_bh);
    set_signals(on_signal);
}

int tool_finish(int status)
{
    bdrv_close_all();
    if (bdrv_any_close_failed() && status == EXIT_SUCCESS) {
        status = EXIT_FAILURE; /* it was reported */
    }
    cli_objects_cleanup();
    aio_main_on_quit(NULL);
    aio_bh_free(quit_bh);
    aio_main_cleanup();
    if (fflush(stdout) || ferror(stdout)) {
        error_report("Writing to standard output failed");
        status = status ? status : EXIT_FAILURE;
    }
    if (signal_seen && !ends_normally) {
        signal(signal_seen, SIG_DFL);
        raise(signal_seen);
    }
    return status;
}
