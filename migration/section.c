/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The framing of the stream, and the table of its sections. */
#include "qemu/osdep.h"

#include "section.h"
#include "wire.h"

#define STATUS_BYTES 100
/* Of section "ram": the total size follows; the end. */
#define RAM_MEM_SIZE 0x04
#define RAM_EOS 0x10

/* --- to be sent --- */

void mig_put_header(GByteArray *out, const char *machine_type)
{
    mig_put_32(out, WIRE_MAGIC);
    mig_put_32(out, WIRE_VERSION);
    mig_put_8(out, WIRE_CONFIGURATION);
    mig_put_32(out, strlen(machine_type));
    mig_put_bytes(out, machine_type, strlen(machine_type));
}

void mig_put_section(GByteArray *out, uint8_t kind, uint32_t id,
                     const char *name, uint32_t version)
{
    mig_put_8(out, kind);
    mig_put_32(out, id);
    mig_put_name(out, name);
    mig_put_32(out, 0); /* instance */
    mig_put_32(out, version);
}

void mig_put_more(GByteArray *out, uint8_t kind, uint32_t id)
{
    mig_put_8(out, kind);
    mig_put_32(out, id);
}

void mig_put_footer(GByteArray *out, uint32_t id)
{
    mig_put_8(out, WIRE_FOOTER);
    mig_put_32(out, id);
}

void mig_put_command(GByteArray *out, uint16_t command, const void *data,
                     uint16_t len)
{
    mig_put_8(out, WIRE_COMMAND);
    mig_put_16(out, command);
    mig_put_16(out, len);
    mig_put_bytes(out, data, len);
}

void mig_put_machine(GByteArray *out, uint32_t id, int64_t clock_ns,
                     RunState status)
{
    char text[STATUS_BYTES] = "";

    mig_put_section(out, WIRE_SECTION_FULL, id, "timer", 2);
    mig_put_64(out, 0); /* ticks: there is no processor */
    mig_put_64(out, 0);
    mig_put_64(out, clock_ns);
    mig_put_footer(out, id);
    id++;
    mig_put_section(out, WIRE_SECTION_FULL, id, "globalstate", 1);
    g_strlcpy(text, RunState_str(status), sizeof(text));
    mig_put_32(out, strlen(text) + 1);
    mig_put_bytes(out, text, sizeof(text));
    mig_put_footer(out, id);
}

void mig_put_end(GByteArray *out)
{
    mig_put_8(out, WIRE_EOF);
}

void mig_put_description(GByteArray *out, const char *safety)
{
    static const char text[] =
        "{\"page_size\": 4096, \"devices\": ["
        "{\"name\": \"timer\", \"instance_id\": 0, \"vmsd_name\": \"timer\", "
        "\"version\": 2, \"fields\": ["
        "{\"name\": \"cpu_ticks_offset\", \"type\": \"int64\", \"size\": 8}, "
        "{\"name\": \"unused\", \"type\": \"unused_buffer\", \"size\": 8}, "
        "{\"name\": \"cpu_clock_offset\", \"type\": \"int64\", \"size\": 8}]}, "
        "{\"name\": \"globalstate\", \"instance_id\": 0, "
        "\"vmsd_name\": \"globalstate\", \"version\": 1, \"fields\": ["
        "{\"name\": \"size\", \"type\": \"uint32\", \"size\": 4}, "
        "{\"name\": \"runstate\", \"type\": \"buffer\", \"size\": 100}]}]";
    g_autofree char *all = g_strdup_printf("%s, \"bitmap-safety\": %s}", text,
                                           safety);

    mig_put_8(out, WIRE_VMDESCRIPTION);
    mig_put_32(out, strlen(all));
    mig_put_bytes(out, all, strlen(all));
}

/* --- received: the content of sections --- */

static bool coroutine_fn load_timer(MigLoader *l, MigReader *r, Error **errp)
{
    mig_get_64(r);
    mig_get_64(r);
    l->clock_ns = mig_get_64(r);
    l->has_clock = true;
    if (mig_reader_ok(r) && l->clock_ns < 0) {
        mig_reader_fail(r, "The machine's clock in the migration stream is "
                        "negative");
    }
    return mig_reader_check(r, errp);
}

static bool coroutine_fn load_status(MigLoader *l, MigReader *r, Error **errp)
{
    char text[STATUS_BYTES + 1] = "";
    uint32_t len = mig_get_32(r);
    int status;

    mig_get_bytes(r, text, STATUS_BYTES);
    if (!mig_reader_check(r, errp)) {
        return false;
    }
    status = RunState_parse(text, NULL);
    if (len == 0 || len > STATUS_BYTES || status < 0 ||
        memchr(text, '\0', len) == NULL) {
        error_setg(errp, "The run state in the migration stream is not known");
        return false;
    }
    l->status = status;
    l->has_status = true;
    return true;
}

static bool coroutine_fn load_bitmaps(MigLoader *l, MigReader *r, Error **errp)
{
    return mig_bitmap_load_section(l->bitmaps, r, errp);
}

/* There is a section for memory if there is none, too. */
static bool coroutine_fn load_ram(MigLoader *l, MigReader *r, Error **errp)
{
    uint64_t word = mig_get_64(r);

    while (mig_reader_ok(r) && word != RAM_EOS) {
        if (word != RAM_MEM_SIZE) {
            mig_reader_fail(r, "The migration stream has memory, and this "
                            "machine has none");
        }
        word = mig_get_64(r);
    }
    return mig_reader_check(r, errp);
}

typedef struct SectionType {
    const char *name;
    uint32_t version;
    bool parts; /* START, PART and END; else FULL */
    bool coroutine_fn (*load)(MigLoader *l, MigReader *r, Error **errp);
} SectionType;

static const SectionType types[] = {
    { "ram", 4, true, load_ram },
    { WIRE_BITMAP_SECTION, WIRE_BITMAP_VERSION, true, load_bitmaps },
    { "timer", 2, false, load_timer },
    { "globalstate", 1, false, load_status },
};

/* --- received: framing --- */

static const SectionType *find_type(const char *name, uint32_t instance,
                                    uint32_t version, bool parts, Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i].name, name) || instance) {
            continue;
        }
        if (version != types[i].version) {
            error_setg(errp, "Section '%s' has version %" PRIu32 ", but "
                       "version %" PRIu32 " is expected", name, version,
                       types[i].version);
            return NULL;
        }
        if (parts != types[i].parts) {
            error_setg(errp, "Section '%s' must%s have parts", name,
                       types[i].parts ? "" : " not");
            return NULL;
        }
        return &types[i];
    }
    error_setg(errp, "Unknown savevm section or instance '%s' %" PRIu32 ".  "
               "Make sure that both machines have the same setup", name,
               instance);
    return NULL;
}

/* A stream has one section of each type, so that their number is limited. */
static bool has_begun(const MigLoader *l, const SectionType *type)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, l->sections);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (value == type) {
            return true;
        }
    }
    return false;
}

static const SectionType *coroutine_fn begin_section(MigLoader *l,
                                                     MigReader *r, uint8_t kind,
                                                     uint32_t id, Error **errp)
{
    char name[256];
    uint32_t instance, version;
    const SectionType *type;

    mig_get_name(r, name);
    instance = mig_get_32(r);
    version = mig_get_32(r);
    if (!mig_reader_check(r, errp)) {
        return NULL;
    }
    if (g_hash_table_contains(l->sections, GUINT_TO_POINTER(id))) {
        error_setg(errp, "Section %" PRIu32 " begins twice", id);
        return NULL;
    }
    type = find_type(name, instance, version, kind == WIRE_SECTION_START,
                     errp);
    if (type && has_begun(l, type)) {
        error_setg(errp, "Section '%s' begins twice", name);
        return NULL;
    }
    if (type) {
        g_hash_table_insert(l->sections, GUINT_TO_POINTER(id),
                            (gpointer)type);
    }
    return type;
}

static const SectionType *coroutine_fn find_section(MigLoader *l, MigReader *r,
                                                    uint32_t id, Error **errp)
{
    const SectionType *type =
        g_hash_table_lookup(l->sections, GUINT_TO_POINTER(id));

    if (!mig_reader_check(r, errp)) {
        return NULL;
    }
    if (!type || !type->parts) {
        error_setg(errp, "Unknown savevm section %" PRIu32, id);
        return NULL;
    }
    return type;
}

static bool coroutine_fn load_section(MigLoader *l, MigReader *r, uint8_t kind,
                                      Error **errp)
{
    uint32_t id = mig_get_32(r), footer_id;
    bool begins = kind == WIRE_SECTION_START || kind == WIRE_SECTION_FULL;
    const SectionType *type = begins ? begin_section(l, r, kind, id, errp)
                                     : find_section(l, r, id, errp);
    uint8_t footer;

    if (!type || !type->load(l, r, errp)) {
        return false;
    }
    footer = mig_get_8(r);
    footer_id = mig_get_32(r);
    if (!mig_reader_check(r, errp)) {
        return false;
    }
    if (footer != WIRE_FOOTER) {
        error_setg(errp, "Missing section footer for %s", type->name);
        return false;
    }
    if (footer_id != id) {
        error_setg(errp, "Mismatched section id in footer for %s - read 0x%"
                   PRIx32 " expected 0x%" PRIx32, type->name, footer_id, id);
        return false;
    }
    return true;
}

static bool coroutine_fn load_items(MigLoader *l, MigReader *r, bool package,
                                    Error **errp);

/* A stream in the stream: what the source wants to be executed at once. */
static bool coroutine_fn load_package(MigLoader *l, const uint8_t *data,
                                      uint16_t len, MigReader *r, Error **errp)
{
    g_autofree uint8_t *package = NULL;
    g_autoptr(MigReader) inner = NULL;
    uint32_t size = len == 4 ? ld32_be(data) : UINT32_MAX;

    if (size > WIRE_MAX_PACKAGE) {
        error_setg(errp, "A package in the migration stream has %" PRIu32
                   " bytes, more than %" PRIu64, size,
                   (uint64_t)WIRE_MAX_PACKAGE);
        return false;
    }
    package = g_malloc(size);
    mig_get_bytes(r, package, size);
    if (!mig_reader_check(r, errp)) {
        return false;
    }
    inner = mig_reader_new_memory(package, size);
    return load_items(l, inner, true, errp);
}

static bool coroutine_fn load_command(MigLoader *l, MigReader *r, bool package,
                                      Error **errp)
{
    uint16_t command = mig_get_16(r), len = mig_get_16(r);
    g_autofree uint8_t *data = g_malloc(len + 1);

    mig_get_bytes(r, data, len);
    if (!mig_reader_check(r, errp)) {
        return false;
    }
    if (command == WIRE_CMD_PACKAGED) {
        if (package) {
            error_setg(errp, "A package in the migration stream has another "
                       "one");
            return false;
        }
        return load_package(l, data, len, r, errp);
    }
    return l->command(l->opaque, command, data, len, errp);
}

/* Up to WIRE_EOF, or the end of a @package. */
static bool coroutine_fn load_items(MigLoader *l, MigReader *r, bool package,
                                    Error **errp)
{
    bool ok = true;

    while (ok && !(package && mig_at_end(r))) {
        uint8_t kind = mig_get_8(r);

        if (!mig_reader_check(r, errp)) {
            return false;
        }
        switch (kind) {
        case WIRE_EOF:
            return true;
        case WIRE_SECTION_START:
        case WIRE_SECTION_PART:
        case WIRE_SECTION_END:
        case WIRE_SECTION_FULL:
            ok = load_section(l, r, kind, errp);
            break;
        case WIRE_COMMAND:
            ok = load_command(l, r, package, errp);
            break;
        default:
            error_setg(errp, "Unknown savevm section type %u at byte %" PRIu64,
                       kind, mig_reader_position(r) - 1);
            return false;
        }
    }
    return ok;
}

static bool coroutine_fn load_header(MigLoader *l, MigReader *r, Error **errp)
{
    uint32_t magic = mig_get_32(r), version = mig_get_32(r), len;
    char type[WIRE_MAX_TYPE_NAME + 1] = "";

    if (!mig_reader_check(r, errp)) {
        return false;
    }
    if (magic != WIRE_MAGIC) {
        error_setg(errp, "Not a migration stream");
        return false;
    }
    if (version != WIRE_VERSION) {
        error_setg(errp, "Unsupported migration stream version %" PRIu32,
                   version);
        return false;
    }
    if (mig_get_8(r) != WIRE_CONFIGURATION) {
        mig_reader_fail(r, "Configuration section missing");
    }
    len = mig_get_32(r);
    if (len > WIRE_MAX_TYPE_NAME) {
        mig_reader_fail(r, "The machine type in the migration stream is too "
                        "long");
    } else {
        mig_get_bytes(r, type, len);
    }
    if (!mig_reader_check(r, errp)) {
        return false;
    }
    if (strcmp(type, l->machine_type)) {
        g_autofree char *shown = g_utf8_make_valid(type, -1);

        error_setg(errp, "Machine type received is '%s' and local is '%s'",
                   shown, l->machine_type);
        return false;
    }
    return true;
}

/*
 * For people who look at the stream, and for what they would not miss.  If it
 * is cut here nothing is missing, so errors are ignored.
 */
static void coroutine_fn load_description(MigLoader *l, MigReader *r)
{
    uint32_t len;

    if (mig_at_end(r) || mig_get_8(r) != WIRE_VMDESCRIPTION) {
        return;
    }
    len = mig_get_32(r);
    if (mig_reader_ok(r) && len <= WIRE_MAX_DESCRIPTION_READ) {
        l->description = g_byte_array_sized_new(len);
        g_byte_array_set_size(l->description, len);
        mig_get_bytes(r, l->description->data, len);
    } else {
        mig_skip(r, MIN(len, WIRE_MAX_DESCRIPTION));
    }
    if (!mig_reader_ok(r)) {
        g_clear_pointer(&l->description, g_byte_array_unref);
    }
}

bool coroutine_fn mig_load_stream(MigLoader *l, MigReader *r, Error **errp)
{
    if (!l->sections) {
        l->sections = g_hash_table_new(NULL, NULL);
    }
    if (!load_header(l, r, errp) || !load_items(l, r, false, errp) ||
        !mig_bitmap_load_complete(l->bitmaps, errp)) {
        return false;
    }
    if (!l->postcopy) {
        load_description(l, r);
    }
    return true;
}

void mig_loader_clear(MigLoader *l)
{
    if (l->sections) {
        g_hash_table_unref(l->sections);
    }
    g_clear_pointer(&l->description, g_byte_array_unref);
    *l = (MigLoader) { 0 };
}
