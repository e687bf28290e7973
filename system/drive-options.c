/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of -drive: the drive's own, and those of the nodes. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/graph.h"
#include "drive.h"
#include "qemu/cutils.h"

static const char *const interface_names[DRIVE_IF__MAX] = {
    "none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen",
};

const char *drive_interface_name(DriveInterface interface)
{
    return interface_names[interface];
}

/* --- text --- */

/* Up to a single comma; a double one stands for a comma. */
static char *next_word(const char **text)
{
    GString *word = g_string_new(NULL);
    const char *p = *text;

    for (; *p; p++) {
        if (*p == ',') {
            if (p[1] != ',') {
                break;
            }
            p++;
        }
        g_string_append_c(word, *p);
    }
    *text = *p ? p + 1 : p;
    return g_string_free(word, false);
}

static bool add_word(struct json_object *options, char *word, Error **errp)
{
    char *equal = strchr(word, '='), *whole = word;
    const char *value = "on";

    if (equal) {
        *equal = '\0';
        value = equal + 1;
    } else if (g_str_has_prefix(word, "no") && strcmp(word, "node-name")) {
        word += 2;
        value = "off";
    }
    if (!equal) {
        warn_report("short-form boolean option '%s' deprecated", whole);
        report_hint("Please use %s=%s instead\n", word, value);
    }
    if (!*word) {
        error_setg(errp, "Invalid parameter '%s'", word);
        return false;
    }
    json_object_object_add(options, word, json_object_new_string(value));
    return true;
}

struct json_object *drive_parse(const char *text, Error **errp)
{
    struct json_object *options = json_object_new_object();

    while (*text) {
        g_autofree char *word = next_word(&text);

        if (*word && !add_word(options, word, errp)) {
            json_object_put(options);
            return NULL;
        }
    }
    return options;
}

/* Removes member @key from @options; NULL: absent. */
static char *take(struct json_object *options, const char *key)
{
    struct json_object *value;
    char *text;

    if (!json_object_object_get_ex(options, key, &value)) {
        return NULL;
    }
    text = g_strdup(json_object_get_string(value));
    json_object_object_del(options, key);
    return text;
}

static bool take_bool(struct json_object *options, const char *key,
                      bool dflt, bool *value, Error **errp)
{
    g_autofree char *text = take(options, key);

    *value = dflt;
    return !text || parse_bool(key, text, value, errp);
}

static bool take_int(struct json_object *options, const char *key, int *value,
                     Error **errp)
{
    g_autofree char *text = take(options, key);
    uint64_t number;

    *value = -1;
    if (!text) {
        return true;
    }
    if (!parse_uint64(text, &number, NULL) || number > INT16_MAX) {
        error_setg(errp, "Parameter '%s' expects a number", key);
        return false;
    }
    *value = number;
    return true;
}

/* Older names of options; giving both is an error. */
static bool rename_old(struct json_object *options, Error **errp)
{
    static const struct {
        const char *old, *name;
    } renames[] = {
        { "iops", "throttling.iops-total" },
        { "iops_rd", "throttling.iops-read" },
        { "iops_wr", "throttling.iops-write" },
        { "bps", "throttling.bps-total" },
        { "bps_rd", "throttling.bps-read" },
        { "bps_wr", "throttling.bps-write" },
        { "iops_max", "throttling.iops-total-max" },
        { "iops_rd_max", "throttling.iops-read-max" },
        { "iops_wr_max", "throttling.iops-write-max" },
        { "bps_max", "throttling.bps-total-max" },
        { "bps_rd_max", "throttling.bps-read-max" },
        { "bps_wr_max", "throttling.bps-write-max" },
        { "iops_size", "throttling.iops-size" },
        { "group", "throttling.group" },
        { "readonly", "read-only" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(renames); i++) {
        g_autofree char *value = take(options, renames[i].old);

        if (!value) {
            continue;
        }
        if (json_object_object_get_ex(options, renames[i].name, NULL)) {
            error_setg(errp, "'%s' and its alias '%s' can't be used at the "
                       "same time", renames[i].name, renames[i].old);
            return false;
        }
        json_object_object_add(options, renames[i].name,
                               json_object_new_string(value));
    }
    return true;
}

/* --- options of the drive --- */

static bool take_interface(DriveConfig *config, struct json_object *options,
                           Error **errp)
{
    g_autofree char *text = take(options, "if");

    if (!text) {
        return true;
    }
    for (int i = 0; i < DRIVE_IF__MAX; i++) {
        if (!strcmp(text, interface_names[i])) {
            config->interface = i;
            return true;
        }
    }
    error_setg(errp, "unsupported bus type '%s'", text);
    return false;
}

static bool take_media(DriveConfig *config, struct json_object *options,
                       Error **errp)
{
    g_autofree char *media = take(options, "media");
    bool read_only;

    config->cdrom = media && !strcmp(media, "cdrom");
    if (media && !config->cdrom && strcmp(media, "disk")) {
        error_setg(errp, "'%s' invalid media", media);
        return false;
    }
    if (!take_bool(options, "read-only", config->cdrom, &read_only,
                   errp)) {
        return false;
    }
    config->read_only = read_only || config->cdrom;
    return true;
}

static bool take_cache_mode(DriveConfig *config, struct json_object *options,
                            Error **errp)
{
    static const struct {
        const char *name;
        bool writethrough;
        int flags;
    } modes[] = {
        { "none", false, BDRV_O_NOCACHE },
        { "off", false, BDRV_O_NOCACHE },
        { "directsync", true, BDRV_O_NOCACHE },
        { "writeback", false, 0 },
        { "unsafe", false, BDRV_O_NO_FLUSH },
        { "writethrough", true, 0 },
    };
    g_autofree char *mode = take(options, "cache");
    bool writeback;

    for (size_t i = 0; mode && i < ARRAY_SIZE(modes); i++) {
        if (!strcmp(mode, modes[i].name)) {
            config->writethrough = modes[i].writethrough;
            config->flags |= modes[i].flags;
            g_clear_pointer(&mode, g_free);
        }
    }
    if (mode) {
        error_setg(errp, "invalid cache option");
        return false;
    }
    if (!take_bool(options, "cache.writeback", !config->writethrough,
                   &writeback, errp)) {
        return false;
    }
    config->writethrough = !writeback;
    return true;
}

static bool take_aio(DriveConfig *config, struct json_object *options,
                     Error **errp)
{
    g_autofree char *aio = take(options, "aio");

    if (!aio || !strcmp(aio, "threads")) {
        return true;
    }
    if (!strcmp(aio, "native")) {
        config->flags |= BDRV_O_NATIVE_AIO;
    } else if (!strcmp(aio, "io_uring")) {
        config->flags |= BDRV_O_IO_URING;
    } else {
        error_setg(errp, "invalid aio option");
        return false;
    }
    return true;
}

/* on and off are aliases of unmap and ignore. */
static void translate_discard(struct json_object *options)
{
    g_autofree char *text = take(options, "discard");

    if (text) {
        const char *name = !strcmp(text, "on") ? "unmap"
                         : !strcmp(text, "off") ? "ignore" : text;

        json_object_object_add(options, "discard",
                               json_object_new_string(name));
    }
}

static BlockdevOnError parse_on_error(const char *text, bool is_read,
                                      bool *ok, Error **errp)
{
    int policy = text ? BlockdevOnError_parse(text, NULL)
                      : is_read ? BLOCKDEV_ON_ERROR_REPORT
                                : BLOCKDEV_ON_ERROR_ENOSPC;

    *ok = policy >= 0 && (!is_read || policy != BLOCKDEV_ON_ERROR_ENOSPC) &&
          policy != BLOCKDEV_ON_ERROR_AUTO;
    if (!*ok) {
        error_setg(errp, "'%s' invalid %s error action", text,
                   is_read ? "read" : "write");
        return BLOCKDEV_ON_ERROR_REPORT;
    }
    return policy;
}

static bool take_policy(DriveConfig *config, struct json_object *options,
                        Error **errp)
{
    g_autofree char *werror = take(options, "werror");
    g_autofree char *rerror = take(options, "rerror");
    bool ok;

    config->werror = parse_on_error(werror, false, &ok, errp);
    if (!ok) {
        return false;
    }
    config->rerror = parse_on_error(rerror, true, &ok, errp);
    return ok;
}

static bool take_format(DriveConfig *config, struct json_object *options,
                        Error **errp)
{
    g_autofree char *driver = take(options, "driver");

    config->format = take(options, "format");
    if (driver && config->format) {
        error_setg(errp, "Cannot specify both 'driver' and 'format'");
        return false;
    }
    if (driver) {
        config->format = g_steal_pointer(&driver);
    }
    if (config->format && !bdrv_find_format(config->format)) {
        error_setg(errp, "Unknown driver '%s'", config->format);
        return false;
    }
    return true;
}

static bool take_id(DriveConfig *config, struct json_object *options,
                    Error **errp)
{
    config->id = take(options, "id");
    return !config->id || id_check(config->id, errp);
}

static bool snapshot_default;

void drive_snapshot_all(void)
{
    snapshot_default = true;
}

static bool take_switches(DriveConfig *config, struct json_object *options,
                          Error **errp)
{
    if (!take_bool(options, "snapshot", snapshot_default,
                   &config->snapshot, errp) ||
        !take_bool(options, "copy-on-read", false,
                   &config->copy_on_read, errp) ||
        !take_bool(options, "stats-account-invalid", true,
                   &config->account_invalid, errp) ||
        !take_bool(options, "stats-account-failed", true,
                   &config->account_failed, errp)) {
        return false;
    }
    if (config->copy_on_read && config->read_only) {
        warn_report("disabling copy-on-read on read-only drive");
        config->copy_on_read = false;
    }
    return true;
}

/* stats-intervals.0=SECONDS, stats-intervals.1=... */
static bool take_intervals(DriveConfig *config, struct json_object *options,
                           Error **errp)
{
    for (int i = 0;; i++) {
        g_autofree char *key = g_strdup_printf("stats-intervals.%d", i);
        g_autofree char *text = take(options, key);
        uint64_t seconds;
        uint32_t value;

        if (!text) {
            return true;
        }
        if (!parse_uint64(text, &seconds, NULL) || !seconds ||
            seconds > UINT32_MAX) {
            error_setg(errp, "Invalid interval length: %s", text);
            return false;
        }
        if (!config->intervals) {
            config->intervals = g_array_new(false, false, sizeof(uint32_t));
        }
        value = seconds;
        g_array_append_val(config->intervals, value);
    }
}

/* --- limits --- */

static bool take_rate(struct json_object *options, const char *key,
                      uint64_t *value, bool *given, Error **errp)
{
    g_autofree char *text = take(options, key);

    if (!text) {
        return true;
    }
    *given = true;
    if (!parse_uint64(text, value, NULL)) {
        error_setg(errp, "Parameter '%s' expects a number", key);
        return false;
    }
    return true;
}

/* Removes bps=, throttling.bps-total= and the like. */
static bool take_limits(DriveConfig *config, struct json_object *options,
                        Error **errp)
{
    static const char *const names[THROTTLE_BUCKETS] = {
        "bps-total", "bps-read", "bps-write",
        "iops-total", "iops-read", "iops-write",
    };

    throttle_config_init(&config->limits);
    for (int i = 0; i < THROTTLE_BUCKETS; i++) {
        ThrottleLimit *limit = &config->limits.limit[i];
        g_autofree char *avg = g_strdup_printf("throttling.%s", names[i]);
        g_autofree char *max = g_strdup_printf("%s-max", avg);
        g_autofree char *length = g_strdup_printf("%s-length", max);

        if (!take_rate(options, avg, &limit->avg, &config->limited, errp) ||
            !take_rate(options, max, &limit->max, &config->limited, errp) ||
            !take_rate(options, length, &limit->burst_length,
                       &config->limited, errp)) {
            return false;
        }
    }
    config->group = take(options, "throttling.group");
    return take_rate(options, "throttling.iops-size", &config->limits.op_size,
                     &config->limited, errp) &&
           throttle_config_check(&config->limits, errp);
}

/* --- help --- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* There are no read-only drivers: both lines are equal. */
static void print_formats(void)
{
    g_autofree const char **names = NULL;
    g_autofree char *line = NULL;
    size_t n = 0;

    while (bdrv_drivers[n]) {
        n++;
    }
    names = g_new0(const char *, n + 1);
    for (size_t i = 0; i < n; i++) {
        names[i] = bdrv_drivers[i]->format_name;
    }
    qsort(names, n, sizeof(*names), compare_names);
    line = g_strjoinv(" ", (char **)names);
    printf("Supported formats: %s\nSupported formats (read-only): %s\n", line,
           line);
}

bool drive_print_formats(const char *options)
{
    bool asked = false;

    /* Parsed separately: errors in the options are reported later, once. */
    while (*options && !asked) {
        g_autofree char *word = next_word(&options);

        asked = !strcmp(word, "format=help") || !strcmp(word, "format=?");
    }
    if (asked) {
        print_formats();
    }
    return asked;
}

/* --- all options --- */

bool drive_config_take(DriveConfig *config, struct json_object *options,
                       Error **errp)
{
    if (!rename_old(options, errp) || !take_id(config, options, errp) ||
        !take_interface(config, options, errp) ||
        !take_int(options, "bus", &config->bus, errp) ||
        !take_int(options, "unit", &config->unit, errp) ||
        !take_int(options, "index", &config->index, errp) ||
        !take_media(config, options, errp) ||
        !take_switches(config, options, errp) ||
        !take_intervals(config, options, errp) ||
        !take_cache_mode(config, options, errp) ||
        !take_aio(config, options, errp) ||
        !take_limits(config, options, errp) ||
        !take_policy(config, options, errp) ||
        !take_format(config, options, errp)) {
        return false;
    }
    config->file = take(options, "file");
    if (config->file && !*config->file) {
        g_clear_pointer(&config->file, g_free);
    }
    translate_discard(options);
    if (!config->file && json_object_object_length(options) &&
        !config->format && !json_object_object_get_ex(options, "file.filename",
                                                      NULL) &&
        !json_object_object_get_ex(options, "file.driver", NULL)) {
        error_setg(errp, "Must specify either driver or file");
        return false;
    }
    return true;
}

void drive_config_free(DriveConfig *config)
{
    g_free(config->id);
    g_free(config->file);
    g_free(config->format);
    g_free(config->serial);
    g_free(config->group);
    if (config->intervals) {
        g_array_unref(config->intervals);
    }
}
