/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of a file or device: size, alignments, operations. */
#include "qemu/osdep.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "file-int.h"

#define MAX_PROBED_ALIGN 4096

int64_t file_length(int fd)
{
    struct stat st;
    uint64_t bytes;
    off_t end;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (S_ISREG(st.st_mode)) {
        return st.st_size;
    }
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
            return -errno;
        }
        return bytes > INT64_MAX ? -EFBIG : (int64_t)bytes;
    }
    end = lseek(fd, 0, SEEK_END);
    return end < 0 ? -errno : end;
}

uint32_t file_sector_size(int fd)
{
    int size = 0;

    if (ioctl(fd, BLKSSZGET, &size) < 0 || size < 512 ||
        !is_power_of_2(size)) {
        return 512;
    }
    return size;
}

/* Asks the kernel (6.1 and later); false if it does not report. */
static bool alignment_by_statx(FileState *s)
{
#ifdef STATX_DIOALIGN
    struct statx stx;

    if (statx(s->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 ||
        !(stx.stx_mask & STATX_DIOALIGN) ||
        !is_power_of_2(stx.stx_dio_offset_align) ||
        !is_power_of_2(stx.stx_dio_mem_align)) {
        return false;
    }
    s->request_align = MAX(stx.stx_dio_offset_align, 512);
    s->mem_align = MAX(stx.stx_dio_mem_align, sizeof(void *));
    return true;
#else
    return false;
#endif
}

static bool can_read(int fd, void *buf, size_t bytes)
{
    ssize_t ret;

    do {
        ret = pread(fd, buf, bytes, 0);
    } while (ret < 0 && errno == EINTR);
    return ret >= 0 || errno != EINVAL;
}

/*
 * Tries reads of increasing length until one succeeds.  If even one byte at an
 * odd address can be read, the file system does not check (or the file is
 * empty) and the result means nothing: assume strict alignment then.
 */
static bool alignment_by_reading(FileState *s)
{
    char *buf = qemu_memalign(MAX_PROBED_ALIGN, 2 * MAX_PROBED_ALIGN);
    uint32_t align = MAX_PROBED_ALIGN;
    size_t mem = MAX_PROBED_ALIGN;

    if (!can_read(s->fd, buf + 1, 1)) {
        for (align = 512; align <= MAX_PROBED_ALIGN; align *= 2) {
            if (can_read(s->fd, buf, align)) {
                break;
            }
        }
        for (mem = 512; mem < MAX_PROBED_ALIGN; mem *= 2) {
            if (can_read(s->fd, buf + mem, MAX_PROBED_ALIGN)) {
                break;
            }
        }
    }
    qemu_vfree(buf);
    s->request_align = align;
    s->mem_align = mem;
    return align <= MAX_PROBED_ALIGN;
}

bool file_probe_limits(FileState *s, Error **errp)
{
    s->request_align = 1;
    s->mem_align = 1;
    if (!file_is_direct(s) || alignment_by_statx(s)) {
        return true;
    }
    if (s->is_block) {
        s->request_align = file_sector_size(s->fd);
        s->mem_align = s->request_align;
        return true;
    }
    if (!alignment_by_reading(s)) {
        error_setg(errp, "Could not find working O_DIRECT alignment");
        error_append_hint(errp, "Try cache.direct=off\n");
        return false;
    }
    return true;
}

int file_probe_device(const char *filename)
{
    struct stat st;

    if (stat(filename, &st) == 0 &&
        (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))) {
        return 100;
    }
    return 0;
}
