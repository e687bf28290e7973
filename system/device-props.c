/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of devices: stored as text, checked and converted by kind. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "blockdev/blockdev.h"
#include "device-model.h"
#include "device.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/cutils.h"

#define BLOCK_SIZE_MIN 512
#define BLOCK_SIZE_MAX (2 * MiB)

static bool check_bool(const DeviceProp *prop, const char *text,
                       char **normal, Error **errp)
{
    bool on = !strcmp(text, "on") || !strcmp(text, "true") ||
              !strcmp(text, "yes") || !strcmp(text, "y");

    if (!on && strcmp(text, "off") && strcmp(text, "false") &&
        strcmp(text, "no") && strcmp(text, "n")) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", prop->name);
        return false;
    }
    *normal = g_strdup(on ? "true" : "false");
    return true;
}

static bool check_enum(const DeviceProp *prop, const QapiType *type,
                       const char *text, char **normal, Error **errp)
{
    if (qapi_enum_parse(type, text, NULL) < 0) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'",
                   prop->name, text);
        return false;
    }
    *normal = g_strdup(text);
    return true;
}

static const char *range_type(int64_t min, uint64_t max)
{
    return min < 0 ? "int32_t"
         : max == UINT8_MAX ? "uint8_t"
         : max == UINT16_MAX ? "uint16_t"
         : max == UINT32_MAX ? "uint32_t" : "uint64";
}

static bool check_range(const DeviceProp *prop, const char *text, int64_t min,
                        uint64_t max, char **normal, Error **errp)
{
    const char *digits = *text == '-' ? text + 1 : text;
    char *end = NULL;
    bool negative = *text == '-';
    uint64_t value;

    errno = 0;
    value = g_ascii_strtoull(digits, &end, 0);
    if (!g_ascii_isdigit(*digits) || *end) {
        error_setg(errp, "Parameter '%s' expects integer", prop->name);
        return false;
    }
    if (negative && max == UINT64_MAX) {
        negative = false; /* counted from the other end */
        value = -value;
    }
    if (errno || (negative ? value > (uint64_t)-min : value > max)) {
        error_setg(errp, "Parameter '%s' expects %s", prop->name,
                   range_type(min, max));
        return false;
    }
    *normal = g_strdup_printf("%s%" PRIu64, negative ? "-" : "", value);
    return true;
}

static bool check_size(const DeviceProp *prop, const char *text,
                       char **normal, Error **errp)
{
    static const char suffixes[] = "bkMGTPE";
    char *end = NULL;
    uint64_t value, scaled;
    const char *suffix;

    value = g_ascii_strtoull(text, &end, 0);
    suffix = *end ? strchr(suffixes, *end == 'K' ? 'k' : *end) : suffixes;
    if (!g_ascii_isdigit(*text) || !suffix || (*end && end[1])) {
        error_setg(errp, "Parameter '%s' expects size", prop->name);
        return false;
    }
    scaled = value << 10 * (suffix - suffixes);
    if (scaled >> 10 * (suffix - suffixes) != value) {
        error_setg(errp, "Parameter '%s' expects size below 2^64",
                   prop->name);
        return false;
    }
    *normal = g_strdup_printf("%" PRIu64, scaled);
    return true;
}

static bool check_block_size(const DeviceProp *prop, const char *id,
                             const char *text, char **normal, Error **errp)
{
    uint64_t value;

    if (!check_size(prop, text, normal, errp)) {
        return false;
    }
    value = g_ascii_strtoull(*normal, NULL, 10);
    if (!value) {
        return true;
    }
    if (value < BLOCK_SIZE_MIN || value > BLOCK_SIZE_MAX) {
        error_setg(errp, "Property %s.%s doesn't take value %" PRIu64
                   " (minimum: %d, maximum: %d)", id, prop->name, value,
                   BLOCK_SIZE_MIN, (int)BLOCK_SIZE_MAX);
        return false;
    }
    if (value & (value - 1)) {
        error_setg(errp, "Property %s.%s doesn't take value '%" PRIu64 "', "
                   "it's not a power of 2", id, prop->name, value);
        return false;
    }
    return true;
}

/* The object of @model that has the drive. */
static char *drive_owner(const DeviceModel *model)
{
    return g_strdup(model->flags & MODEL_VIRTIO_PROXY ? "virtio-blk-device"
                                                      : model->name);
}

static bool check_drive(const DeviceModel *model, const char *text,
                        Error **errp)
{
    g_autofree char *owner = drive_owner(model);

    if (*text && !blk_by_name(text) && !bdrv_find_node(text)) {
        error_setg(errp, "Property '%s.drive' can't find value '%s'", owner,
                   text);
        return false;
    }
    return true;
}

/* Does any other object have this name? */
static bool is_other_object(const char *path, const char *id)
{
    const ObjectOptions *object = NULL;

    while ((object = blockdev_next_object(object))) {
        if (!strcmp(object->id, id)) {
            return true;
        }
    }
    return device_find(path) != NULL;
}

/* The path of the object, or its end; the empty string is none. */
static bool check_iothread(const char *text, char **normal, Error **errp)
{
    const char *id = g_str_has_prefix(text, IOTHREAD_PATH)
        ? text + strlen(IOTHREAD_PATH) : text;

    if (!*text || blockdev_find_iothread(id)) {
        *normal = *text ? g_strdup_printf(IOTHREAD_PATH "%s", id)
                        : g_strdup("");
        return true;
    }
    if (is_other_object(text, id)) {
        error_setg(errp, "Invalid parameter type for 'iothread', expected: "
                   "iothread");
    } else {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", text);
    }
    return false;
}

static bool check_word(const DeviceProp *prop, const char *words,
                       const char *text, char **normal, Error **errp)
{
    g_auto(GStrv) list = g_strsplit(words, "/", -1);

    if (!g_strv_contains((const char *const *)list, text)) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'",
                   prop->name, text);
        return false;
    }
    *normal = g_strdup(text);
    return true;
}

/* "SLOT[.FUNCTION]" in hex; -1: chosen by the bus. */
static bool check_pci_addr(const DeviceModel *model, const DeviceProp *prop,
                           const char *text, char **normal, Error **errp)
{
    char *end = NULL;
    uint64_t slot = g_ascii_strtoull(text, &end, 16), function = 0;
    bool ok = g_ascii_isxdigit(*text) && slot < 32;

    if (!strcmp(text, "-1")) {
        *normal = g_strdup(text);
        return true;
    }
    if (ok && *end == '.') {
        ok = g_ascii_isxdigit(end[1]);
        function = g_ascii_strtoull(end + 1, &end, 16);
    }
    if (!ok || *end || function > 7) {
        error_setg(errp, "Property '%s.%s' doesn't take value '%s'",
                   model->name, prop->name, text);
        return false;
    }
    *normal = g_strdup_printf("%" PRIu64, slot << 3 | function);
    return true;
}

static bool check(const DeviceModel *model, const DeviceProp *prop,
                  const char *id, const char *text, char **normal,
                  Error **errp)
{
    switch (prop->kind) {
    case PROP_BOOL:
    case PROP_BIT:
        return check_bool(prop, text, normal, errp);
    case PROP_ON_OFF_AUTO:
        return check_enum(prop, &qapi_type_OnOffAuto, text, normal, errp);
    case PROP_ON_ERROR:
        return check_enum(prop, &qapi_type_BlockdevOnError, text, normal,
                          errp);
    case PROP_INT32:
        return check_range(prop, text, INT32_MIN, INT32_MAX, normal, errp);
    case PROP_UINT8:
        return check_range(prop, text, 0, UINT8_MAX, normal, errp);
    case PROP_UINT16:
        return check_range(prop, text, 0, UINT16_MAX, normal, errp);
    case PROP_UINT32:
        /* -1 means "choose one". */
        if (!strcmp(text, "-1")) {
            text = "4294967295";
        }
        return check_range(prop, text, 0, UINT32_MAX, normal, errp);
    case PROP_UINT64:
        return check_range(prop, text, 0, UINT64_MAX, normal, errp);
    case PROP_SIZE:
        return check_size(prop, text, normal, errp);
    case PROP_BLOCK_SIZE:
        return check_block_size(prop, id, text, normal, errp);
    case PROP_DRIVE:
        *normal = g_strdup(text);
        return check_drive(model, text, errp);
    case PROP_IOTHREAD:
        return check_iothread(text, normal, errp);
    case PROP_PCI_ADDR:
        return check_pci_addr(model, prop, text, normal, errp);
    case PROP_CHS_TRANS:
        return check_word(prop, "auto/none/lba/large/rechs", text, normal,
                          errp);
    case PROP_FLOPPY_TYPE:
        return check_word(prop, "144/288/120/none/auto", text, normal, errp);
    default:
        *normal = g_strdup(text);
        return true;
    }
}

bool device_prop_check(const DeviceModel *model, const DeviceProp *prop,
                       const char *id, const char *text, char **normal,
                       Error **errp)
{
    g_autofree char *value = NULL;

    if (!check(model, prop, id ? id : "", text, &value, errp)) {
        return false;
    }
    *normal = g_steal_pointer(&value);
    return true;
}

const char *device_prop_text(const Device *dev, const char *name)
{
    const char *given = g_hash_table_lookup(dev->props, name);
    const DeviceProp *prop = given ? NULL
                                   : device_model_prop(dev->model, name);

    return prop ? prop->dflt : given;
}

int64_t device_prop_int(const Device *dev, const char *name)
{
    const char *text = device_prop_text(dev, name);

    return text ? g_ascii_strtoll(text, NULL, 0) : 0;
}

bool device_prop_bool(const Device *dev, const char *name)
{
    const char *text = device_prop_text(dev, name);

    return text && !strcmp(text, "true");
}

struct json_object *device_prop_json(const Device *dev,
                                     const DeviceProp *prop)
{
    const char *text = device_prop_text(dev, prop->name);

    switch (prop->kind) {
    case PROP_BOOL:
    case PROP_BIT:
        return json_object_new_boolean(device_prop_bool(dev, prop->name));
    case PROP_STR:
    case PROP_DRIVE:
    case PROP_IOTHREAD:
    case PROP_ON_OFF_AUTO:
    case PROP_ON_ERROR:
    case PROP_CHS_TRANS:
    case PROP_FLOPPY_TYPE:
        return json_object_new_string(text ? text : "");
    case PROP_UINT64:
        return json_object_new_uint64(
            text ? g_ascii_strtoull(text, NULL, 0) : 0);
    default:
        return json_object_new_int64(text ? g_ascii_strtoll(text, NULL, 0)
                                          : -1);
    }
}
