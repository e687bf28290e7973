/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzz target on given files, or on all files of given folders. */
#include "qemu/osdep.h"
#include "fuzz.h"

static unsigned tried;

static void try_file(const char *path)
{
    g_autofree char *data = NULL;
    g_autoptr(GError) gerr = NULL;
    gsize size;

    if (!g_file_get_contents(path, &data, &size, &gerr)) {
        fprintf(stderr, "%s\n", gerr->message);
        exit(2);
    }
    if (getenv("FUZZ_VERBOSE")) {
        fprintf(stderr, "%s\n", path);
    }
    /* A copy of its very size, so that reading past its end is noticed. */
    {
        g_autofree uint8_t *exact = g_memdup2(data, size);

        LLVMFuzzerTestOneInput(exact, size);
    }
    tried++;
}

static void try_path(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    if (!dir) {
        try_file(path);
        return;
    }
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *entry = g_build_filename(path, name, NULL);

        try_path(entry);
    }
}

int main(int argc, char **argv)
{
    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        try_path(argv[i]);
    }
    printf("%u inputs\n", tried);
    return tried ? 0 : 1;
}
