/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values that others with these interfaces have, and what to use instead. */
#include "qemu/osdep.h"

#include "qapi/unsupported.h"

#define NBDKIT(plugin) \
    "let nbdkit's plugin '" plugin "' serve it, and use the driver 'nbd'"

static const struct {
    const char *type, *value, *instead;
} values[] = {
    { "BlockExportType", "fuse",
      "export it as 'nbd', and let nbdfuse make a file of that" },
    { "BlockExportType", "vhost-user-blk", "export it as 'nbd'" },
    { "BlockExportType", "vduse-blk",
      "export it as 'nbd', and let nbd-client make a device of that" },
    { "BlockdevDriver", "ftp", NBDKIT("curl") },
    { "BlockdevDriver", "ftps", NBDKIT("curl") },
    { "BlockdevDriver", "http", NBDKIT("curl") },
    { "BlockdevDriver", "https", NBDKIT("curl") },
    { "BlockdevDriver", "ssh", NBDKIT("ssh") },
    { "BlockdevDriver", "vvfat", NBDKIT("floppy") },
    { "BlockdevDriver", "rbd",
      "map it by 'rbd map', and use the driver 'host_device'" },
    { "BlockdevDriver", "iscsi",
      "log in by iscsiadm, and use the driver 'host_device'" },
    { "BlockdevDriver", "gluster", "mount it, and use the driver 'file'" },
    { "BlockdevDriver", "nfs", "mount it, and use the driver 'file'" },
    { "BlockdevDriver", "nvme", "use the driver 'host_device'" },
    { "BlockdevDriver", "io_uring",
      "use the driver 'host_device' with aio=io_uring" },
    { "ObjectType", "tls-creds-anon", "there is no TLS; use a tunnel" },
    { "ObjectType", "tls-creds-psk", "there is no TLS; use a tunnel" },
    { "ObjectType", "tls-creds-x509", "there is no TLS; use a tunnel" },
    { "ObjectType", "secret_keyring", "use a 'secret' with a file" },
};

const char *qapi_unsupported(const char *type, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        if (!g_strcmp0(values[i].type, type) &&
            !strcmp(values[i].value, value)) {
            return values[i].instead;
        }
    }
    return NULL;
}
