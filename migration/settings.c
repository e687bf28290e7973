/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capabilities and parameters: tables, checks, commands. */
#include "qemu/osdep.h"

#include "bitmap-map.h"
#include "migration-int.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-common.h"
#include "settings.h"

/* --- capabilities --- */

#define C(name) MIGRATION_CAPABILITY_##name

static bool enabled[C(_MAX)];

/* Why this machine cannot do it; NULL: it can, or there is nothing to do. */
static const char *const cannot[C(_MAX)] = {
    [C(BLOCK)] = "disks are moved by blockdev-mirror",
    [C(MULTIFD)] = "there is one connection",
    [C(X_COLO)] = "machines are not kept in step",
    [C(BACKGROUND_SNAPSHOT)] = "there is no memory; use snapshot-save",
    [C(ZERO_COPY_SEND)] = "there is no memory",
    [C(RDMA_PIN_ALL)] = "there is no memory",
    [C(POSTCOPY_PREEMPT)] = "there is no memory",
};

bool mig_capability(MigrationCapability capability)
{
    return enabled[capability];
}

bool mig_postcopy_enabled(void)
{
    return enabled[C(DIRTY_BITMAPS)] || enabled[C(POSTCOPY_RAM)];
}

bool qmp_migrate_set_capabilities(MigrateSetCapabilitiesArg *arg, Error **errp)
{
    const MigrationCapabilityStatusList *e;

    if (!mig_may_set_capabilities(errp)) {
        return false;
    }
    for (e = arg->capabilities; e; e = e->next) {
        if (e->value->state && cannot[e->value->capability]) {
            error_setg(errp, "Capability '%s' is not supported: %s",
                       MigrationCapability_str(e->value->capability),
                       cannot[e->value->capability]);
            return false;
        }
    }
    for (e = arg->capabilities; e; e = e->next) {
        enabled[e->value->capability] = e->value->state;
    }
    return true;
}

MigrationCapabilityStatusList *qmp_query_migrate_capabilities(Error **errp)
{
    MigrationCapabilityStatusList *list = NULL, **tail = &list;

    for (int i = 0; i < C(_MAX); i++) {
        MigrationCapabilityStatus *one = g_new0(MigrationCapabilityStatus, 1);

        one->capability = i;
        one->state = enabled[i];
        QAPI_LIST_APPEND(tail, one);
    }
    return list;
}

/* --- parameters --- */

static MigrationParameters parameters = {
    .announce_initial = 50, .announce_max = 550, .announce_rounds = 5,
    .announce_step = 100,
    .compress_level = 1, .compress_threads = 8, .compress_wait_thread = true,
    .decompress_threads = 2,
    .throttle_trigger_threshold = 50, .cpu_throttle_initial = 20,
    .cpu_throttle_increment = 10, .max_cpu_throttle = 99,
    .max_bandwidth = 128 * MiB, .downtime_limit = 300,
    .x_checkpoint_delay = 20000, .multifd_channels = 2,
    .xbzrle_cache_size = 64 * MiB,
    .multifd_zlib_level = 1, .multifd_zstd_level = 1,
};

const MigrationParameters *mig_parameters(void)
{
    MigrationParameters *p = &parameters;

    if (!p->tls_creds) {
        p->tls_creds = g_strdup("");
        p->tls_hostname = g_strdup("");
        p->tls_authz = g_strdup("");
    }
    return p;
}

/* Numbers: member, lowest and highest value, and how the range is called. */
#define NUMBERS(X)                                                          \
    X(announce_initial, 0, 100000, "between 0 and 100000 ms")               \
    X(announce_max, 0, 100000, "between 0 and 100000 ms")                   \
    X(announce_rounds, 0, 1000, "in the range of 0 to 1000")                \
    X(announce_step, 1, 10000, "between 0 and 10000 ms")                    \
    X(compress_level, 0, 9, "a value between 0 and 9")                      \
    X(compress_threads, 1, 255, "a value between 1 and 255")                \
    X(decompress_threads, 1, 255, "a value between 1 and 255")              \
    X(throttle_trigger_threshold, 1, 100,                                   \
      "an integer in the range of 1 to 100")                                \
    X(cpu_throttle_initial, 1, 99, "an integer in the range of 1 to 99")    \
    X(cpu_throttle_increment, 1, 99, "an integer in the range of 1 to 99")  \
    X(max_cpu_throttle, 1, 99, "an integer in the range of 1 to 99")        \
    X(max_bandwidth, 0, SIZE_MAX,                                           \
      "an integer in the range of 0 to 18446744073709551615 bytes/second")  \
    X(downtime_limit, 0, 2000000,                                           \
      "an integer in the range of 0 to 2000000 ms")                         \
    X(x_checkpoint_delay, 0, UINT32_MAX, "a positive value")                \
    X(multifd_channels, 1, 255, "a value between 1 and 255")                \
    X(xbzrle_cache_size, 4096, INT64_MAX, "a power of two no less than "    \
      "the target page size")                                               \
    X(max_postcopy_bandwidth, 0, UINT64_MAX, "a positive value")            \
    X(multifd_zlib_level, 0, 9, "a value between 0 and 9")                  \
    X(multifd_zstd_level, 0, 20, "a value between 0 and 20")

static bool check_number(const char *member, uint64_t value, uint64_t lowest,
                         uint64_t highest, const char *range, Error **errp)
{
    g_autofree char *name = NULL;

    if (value >= lowest && value <= highest) {
        return true;
    }
    name = g_strdelimit(g_strdup(member), "_", '-');
    error_setg(errp, "Parameter '%s' expects %s", name, range);
    return false;
}

static bool check_parameters(const MigrateSetParameters *arg, Error **errp)
{
#define CHECK(member, lowest, highest, range)                               \
    if (arg->has_##member &&                                                \
        !check_number(#member, arg->member, lowest, highest, range, errp)) { \
        return false;                                                       \
    }
    NUMBERS(CHECK)
#undef CHECK
    if (arg->has_xbzrle_cache_size &&
        !is_power_of_2(arg->xbzrle_cache_size)) {
        error_setg(errp, "Parameter 'xbzrle-cache-size' expects a power of "
                   "two no less than the target page size");
        return false;
    }
    if (arg->has_multifd_compression &&
        arg->multifd_compression != MULTI_FD_COMPRESSION_NONE) {
        error_setg(errp, "Parameter 'multifd-compression' expects none: there "
                   "is one connection");
        return false;
    }
    if (arg->has_block_bitmap_mapping &&
        !mig_check_mapping(arg->block_bitmap_mapping, errp)) {
        error_prepend(errp, "Invalid mapping given for block-bitmap-mapping: ");
        return false;
    }
    return true;
}

/* What is stored is what query-migrate-parameters shows. */
static void set_text(char **to, const StrOrNull *value)
{
    if (value) {
        g_free(*to);
        *to = g_strdup(value->type == STR_OR_NULL_KIND_S ? value->u.s : "");
    }
}

static void set_others(MigrationParameters *p, const MigrateSetParameters *arg)
{
    if (arg->has_compress_wait_thread) {
        p->compress_wait_thread = arg->compress_wait_thread;
    }
    if (arg->has_cpu_throttle_tailslow) {
        p->cpu_throttle_tailslow = arg->cpu_throttle_tailslow;
    }
    if (arg->has_block_incremental) {
        p->block_incremental = arg->block_incremental;
    }
    if (arg->has_multifd_compression) {
        p->multifd_compression = arg->multifd_compression;
    }
    if (arg->has_bitmaps_dropped) {
        p->bitmaps_dropped = arg->bitmaps_dropped;
    }
    set_text(&p->tls_creds, arg->tls_creds);
    set_text(&p->tls_hostname, arg->tls_hostname);
    set_text(&p->tls_authz, arg->tls_authz);
}

bool qmp_migrate_set_parameters(MigrateSetParameters *arg, Error **errp)
{
    MigrationParameters *p = &parameters;

    if (!check_parameters(arg, errp)) {
        return false;
    }
    mig_parameters();
#define SET(member, lowest, highest, range)                                 \
    if (arg->has_##member) {                                                \
        p->member = arg->member;                                            \
    }
    NUMBERS(SET)
#undef SET
    set_others(p, arg);
    if (arg->has_block_bitmap_mapping) {
        qapi_free_BitmapMigrationNodeAliasList(p->block_bitmap_mapping);
        p->has_block_bitmap_mapping = true;
        p->block_bitmap_mapping = qapi_clone_BitmapMigrationNodeAliasList(
            arg->block_bitmap_mapping);
    }
    return true;
}

/* All have a value but the mapping. */
MigrationParameters *qmp_query_migrate_parameters(Error **errp)
{
    MigrationParameters *p =
        qapi_clone_MigrationParameters(mig_parameters());

#define SHOW(member, lowest, highest, range) p->has_##member = true;
    NUMBERS(SHOW)
#undef SHOW
    p->has_compress_wait_thread = p->has_cpu_throttle_tailslow = true;
    p->has_block_incremental = p->has_multifd_compression = true;
    p->has_bitmaps_dropped = true;
    return p;
}
