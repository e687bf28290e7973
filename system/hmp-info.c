/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info ...`: the results of query commands as text. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "hmp.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-job.h"
#include "qapi/qapi-types-block-stats.h"
#include "qapi/qapi-types-control.h"
#include "qemu/cutils.h"
#include "tools/common/show.h"

/* --- the machine --- */

/* Member @key, a text; NULL: absent. */
static const char *member(struct json_object *obj, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(obj, key, &value)
               ? json_object_get_string(value) : NULL;
}

bool hmp_info_status(HmpCall *call, Error **errp)
{
    struct json_object *info = hmp_qmp("query-status", NULL, errp);
    const char *status;
    bool running;

    if (!info) {
        return false;
    }
    status = member(info, "status");
    running = !strcmp(member(info, "running"), "true");
    hmp_print(call, "VM status: %s", running ? "running" : "paused");
    if (!running && strcmp(status, "paused")) {
        hmp_print(call, " (%s)", status);
    }
    hmp_print(call, "\n");
    json_object_put(info);
    return true;
}

bool hmp_info_version(HmpCall *call, Error **errp)
{
    g_autoptr(VersionInfo) info = qmp_query_version(errp);

    if (!info) {
        return false;
    }
    hmp_print(call, "%" PRId64 ".%" PRId64 ".%" PRId64 "%s\n",
              info->qemu->major, info->qemu->minor, info->qemu->micro,
              info->package);
    return true;
}

/* Prints member @key of the result of @command, if present. */
static bool print_member(HmpCall *call, const char *command, const char *key,
                         Error **errp)
{
    struct json_object *info = hmp_qmp(command, NULL, errp);

    if (!info) {
        return false;
    }
    if (member(info, key)) {
        hmp_print(call, "%s\n", member(info, key));
    }
    json_object_put(info);
    return true;
}

bool hmp_info_name(HmpCall *call, Error **errp)
{
    return print_member(call, "query-name", "name", errp);
}

bool hmp_info_uuid(HmpCall *call, Error **errp)
{
    return print_member(call, "query-uuid", "UUID", errp);
}

bool hmp_info_iothreads(HmpCall *call, Error **errp)
{
    static const char *const keys[] = {
        "thread-id", "poll-max-ns", "poll-grow", "poll-shrink",
        "aio-max-batch",
    };
    struct json_object *list = hmp_qmp("query-iothreads", NULL, errp);

    if (!list) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *info = json_object_array_get_idx(list, i);

        hmp_print(call, "%s:\n", member(info, "id"));
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
            hmp_print(call, "  %s=%s\n", k ? keys[k] : "thread_id",
                      member(info, keys[k]) ?: "0");
        }
    }
    json_object_put(list);
    return true;
}

/* --- jobs, counters --- */

bool hmp_info_block_jobs(HmpCall *call, Error **errp)
{
    g_autoptr(Error) err = NULL;
    BlockJobInfoList *list = qmp_query_block_jobs(&err);

    if (err) {
        error_propagate(errp, g_steal_pointer(&err));
        return false;
    }
    if (!list) {
        hmp_print(call, "No active jobs\n");
    }
    for (BlockJobInfoList *e = list; e; e = e->next) {
        const BlockJobInfo *job = e->value;

        if (job->type == JOB_TYPE_STREAM) {
            hmp_print(call, "Streaming device %s", job->device);
        } else {
            hmp_print(call, "Type %s, device %s", JobType_str(job->type),
                      job->device);
        }
        hmp_print(call, ": Completed %" PRId64 " of %" PRId64 " bytes, speed "
                  "limit %" PRId64 " bytes/s\n", job->offset, job->len,
                  job->speed);
    }
    qapi_free_BlockJobInfoList(list);
    return true;
}

static void print_counters(HmpCall *call, const BlockStats *dev)
{
    const BlockDeviceStats *s = dev->stats;
    const struct {
        const char *name;
        int64_t value;
    } counters[] = {
        { "rd_bytes", s->rd_bytes },
        { "wr_bytes", s->wr_bytes },
        { "rd_operations", s->rd_operations },
        { "wr_operations", s->wr_operations },
        { "flush_operations", s->flush_operations },
        { "wr_total_time_ns", s->wr_total_time_ns },
        { "rd_total_time_ns", s->rd_total_time_ns },
        { "flush_total_time_ns", s->flush_total_time_ns },
        { "rd_merged", s->rd_merged },
        { "wr_merged", s->wr_merged },
        { "idle_time_ns", s->has_idle_time_ns ? s->idle_time_ns : 0 },
    };

    hmp_print(call, "%s:", dev->device ?: "");
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
        hmp_print(call, " %s=%" PRId64, counters[i].name, counters[i].value);
    }
    hmp_print(call, "\n");
}

bool hmp_info_blockstats(HmpCall *call, Error **errp)
{
    QueryBlockstatsArg arg = { 0 };
    g_autoptr(Error) err = NULL;
    BlockStatsList *list = qmp_query_blockstats(&arg, &err);

    if (err) {
        error_propagate(errp, g_steal_pointer(&err));
        return false;
    }
    for (BlockStatsList *e = list; e; e = e->next) {
        print_counters(call, e->value);
    }
    qapi_free_BlockStatsList(list);
    return true;
}

/* --- info block --- */

static void show_images(const void *opaque)
{
    printf("\nImages:\n");
    for (const ImageInfo *i = opaque; i; i = i->backing_image) {
        show_image(i);
    }
}

static void print_throttling(HmpCall *call, const BlockDeviceInfo *m)
{
    if (!m->bps && !m->bps_rd && !m->bps_wr && !m->iops && !m->iops_rd &&
        !m->iops_wr) {
        return;
    }
    hmp_print(call, "    I/O throttling:   bps=%" PRId64 " bps_rd=%" PRId64
              " bps_wr=%" PRId64 " bps_max=%" PRId64 " bps_rd_max=%" PRId64
              " bps_wr_max=%" PRId64, m->bps, m->bps_rd, m->bps_wr,
              m->bps_max, m->bps_rd_max, m->bps_wr_max);
    hmp_print(call, " iops=%" PRId64 " iops_rd=%" PRId64 " iops_wr=%" PRId64
              " iops_max=%" PRId64 " iops_rd_max=%" PRId64 " iops_wr_max=%"
              PRId64 " iops_size=%" PRId64 " group=%s\n", m->iops, m->iops_rd,
              m->iops_wr, m->iops_max, m->iops_rd_max, m->iops_wr_max,
              m->iops_size, m->group ?: "");
}

static void print_medium(HmpCall *call, const BlockDeviceInfo *m, bool verbose)
{
    hmp_print(call, "    Cache mode:       %s%s%s\n",
              m->cache->writeback ? "writeback" : "writethrough",
              m->cache->direct ? ", direct" : "",
              m->cache->no_flush ? ", ignore flushes" : "");
    if (m->backing_file) {
        hmp_print(call, "    Backing file:     %s (chain depth: %" PRId64
                  ")\n", m->backing_file, m->backing_file_depth);
    }
    if (m->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF) {
        hmp_print(call, "    Detect zeroes:    %s\n",
                  BlockdevDetectZeroesOptions_str(m->detect_zeroes));
    }
    print_throttling(call, m);
    if (verbose) {
        hmp_print_stdout_of(call, show_images, m->image);
    }
}

/* @dev NULL: a node. */
static void print_title(HmpCall *call, const BlockInfo *dev,
                        const BlockDeviceInfo *m)
{
    if (dev && *dev->device) {
        hmp_print(call, "%s", dev->device);
        if (m && m->node_name) {
            hmp_print(call, " (%s)", m->node_name);
        }
    } else {
        hmp_print(call, "%s", m ? m->node_name ?: "<anonymous>"
                                : dev->qdev ?: "<anonymous>");
    }
    if (m) {
        hmp_print(call, ": %s (%s%s%s)\n", m->file, m->drv,
                  m->ro ? ", read-only" : "",
                  m->encrypted ? ", encrypted" : "");
    } else {
        hmp_print(call, ": [not inserted]\n");
    }
}

static void print_device(HmpCall *call, const BlockInfo *dev, bool verbose)
{
    print_title(call, dev, dev->inserted);
    if (dev->qdev) {
        hmp_print(call, "    Attached to:      %s\n", dev->qdev);
    }
    if (dev->has_io_status &&
        dev->io_status != BLOCK_DEVICE_IO_STATUS_OK) {
        hmp_print(call, "    I/O status:       %s\n",
                  BlockDeviceIoStatus_str(dev->io_status));
    }
    if (dev->removable) {
        hmp_print(call, "    Removable device: %slocked, tray %s\n",
                  dev->locked ? "" : "not ",
                  dev->tray_open ? "open" : "closed");
    }
    if (dev->inserted) {
        print_medium(call, dev->inserted, verbose);
    }
}

/* Devices named @name (NULL: all); returns whether there was one. */
static bool print_devices(HmpCall *call, const BlockInfoList *list,
                          const char *name, bool verbose)
{
    bool found = false;

    for (const BlockInfoList *e = list; e; e = e->next) {
        if (name && strcmp(name, e->value->device)) {
            continue;
        }
        /* A blank line precedes each but the first, shown or not. */
        hmp_print(call, "%s", e == list ? "" : "\n");
        print_device(call, e->value, verbose);
        found = true;
    }
    return found;
}

static void print_nodes(HmpCall *call, const BlockDeviceInfoList *list,
                        const char *name, bool verbose)
{
    for (const BlockDeviceInfoList *e = list; e; e = e->next) {
        if (name && strcmp(name, e->value->node_name)) {
            continue;
        }
        hmp_print(call, "%s", e == list ? "" : "\n");
        print_title(call, NULL, e->value);
        print_medium(call, e->value, verbose);
    }
}

bool hmp_info_block(HmpCall *call, Error **errp)
{
    bool verbose = hmp_flag(call, "verbose");
    const char *name = hmp_str(call, "device");
    QueryNamedBlockNodesArg arg = { 0 };
    BlockDeviceInfoList *nodes;
    BlockInfoList *devices;
    bool found;

    if (!hmp_flag(call, "nodes")) {
        devices = qmp_query_block(NULL);
        found = print_devices(call, devices, name, verbose);
        qapi_free_BlockInfoList(devices);
        if (found || !name) {
            return true;
        }
    }
    nodes = qmp_query_named_block_nodes(&arg, NULL);
    print_nodes(call, nodes, name, verbose);
    qapi_free_BlockDeviceInfoList(nodes);
    return true;
}
