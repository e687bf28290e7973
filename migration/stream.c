/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of a migration: putting, sending, receiving. */
#include "qemu/osdep.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "qemu/sockets.h"
#include "stream.h"

#define READ_BUFFER (64 * KiB)
#define SETTLE_NS 500000

/* --- to be sent --- */

void mig_put_bytes(GByteArray *out, const void *data, size_t len)
{
    g_byte_array_append(out, data, len);
}

void mig_put_8(GByteArray *out, uint8_t value)
{
    mig_put_bytes(out, &value, 1);
}

void mig_put_16(GByteArray *out, uint16_t value)
{
    uint8_t raw[2] = { value >> 8, value };

    mig_put_bytes(out, raw, sizeof(raw));
}

void mig_put_32(GByteArray *out, uint32_t value)
{
    uint8_t raw[4];

    st32_be(raw, value);
    mig_put_bytes(out, raw, sizeof(raw));
}

void mig_put_64(GByteArray *out, uint64_t value)
{
    mig_put_32(out, value >> 32);
    mig_put_32(out, value);
}

void mig_put_name(GByteArray *out, const char *text)
{
    size_t len = strlen(text);

    g_assert(len <= 255);
    mig_put_8(out, len);
    mig_put_bytes(out, text, len);
}

/* --- channels --- */

MigChannel *mig_channel_new(int fd, pid_t child)
{
    MigChannel *ch = g_new0(MigChannel, 1);
    struct stat st;

    ch->fd = fd;
    ch->child = child;
    ch->is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    return ch;
}

void mig_channel_break(MigChannel *ch)
{
    if (!ch || ch->broken) {
        return;
    }
    ch->broken = true;
    if (ch->fd >= 0 && ch->is_socket) {
        shutdown(ch->fd, SHUT_RDWR);
    }
    if (ch->fd >= 0) {
        aio_release_fd(ch->fd);
    }
    co_sleep_wake(&ch->pause);
    thread_pool_cancel(&ch->child_wait);
}

static void close_fd(MigChannel *ch)
{
    if (ch->fd >= 0) {
        close(ch->fd);
        ch->fd = -1;
    }
}

/* Runs in a worker thread. */
static int wait_child(void *opaque)
{
    int status;
    pid_t *child = opaque;

    while (waitpid(*child, &status, 0) < 0) {
        if (errno != EINTR) {
            return 0;
        }
    }
    return status;
}

bool coroutine_fn mig_channel_finish(MigChannel *ch, Error **errp)
{
    pid_t *child;
    int status;

    if (ch->is_socket && ch->fd >= 0) {
        shutdown(ch->fd, SHUT_WR);
    }
    if (!ch->child) {
        return true;
    }
    close_fd(ch);
    child = g_new(pid_t, 1);
    *child = ch->child;
    ch->child = 0;
    status = thread_pool_co_run_cancellable(wait_child, child, g_free,
                                            &ch->child_wait);
    if (status == -ECANCELED) {
        error_setg(errp, "The migration was cancelled");
        return false;
    }
    g_free(child);
    if (status) {
        error_setg(errp, "The command failed with %s %d",
                   WIFEXITED(status) ? "status" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status)
                                     : WTERMSIG(status));
        return false;
    }
    return true;
}

void mig_channel_free(MigChannel *ch)
{
    if (ch) {
        close_fd(ch);
        if (ch->child) {
            /* Reaped if it ends soon, and at our end otherwise. */
            waitpid(ch->child, NULL, WNOHANG);
        }
        g_free(ch);
    }
}

void coroutine_fn mig_channel_sleep(MigChannel *ch, int64_t ns)
{
    if (!ch->broken) {
        co_sleep_wakeable(&ch->pause, ns);
    }
}

void coroutine_fn mig_channel_settle(MigChannel *ch, int64_t ns)
{
    int64_t end = aio_now_ns() + ns;
    int queued = 0;

    while (ch->is_socket && !ch->broken && aio_now_ns() < end &&
           ioctl(ch->fd, SIOCOUTQ, &queued) == 0 && queued > 0) {
        mig_channel_sleep(ch, SETTLE_NS);
    }
}

/* Sends some; never raises SIGPIPE. */
static ssize_t send_some(const MigChannel *ch, const void *data, size_t len)
{
    return ch->is_socket ? send(ch->fd, data, len, MSG_NOSIGNAL)
                         : write(ch->fd, data, len);
}

static bool must_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

bool coroutine_fn mig_channel_write(MigChannel *ch, const void *data,
                                    size_t len, Error **errp)
{
    while (len && !ch->broken) {
        ssize_t n = send_some(ch, data, len);

        if (n > 0) {
            data = (const char *)data + n;
            len -= n;
            ch->written += n;
        } else if (n < 0 && must_wait()) {
            co_wait_writable(ch->fd);
        } else if (n < 0 && errno != EINTR) {
            error_setg_errno(errp, errno, "Unable to write to %s",
                             ch->child ? "command" :
                             ch->is_socket ? "socket" : "file");
            return false;
        }
    }
    if (len) {
        error_setg(errp, "The migration was cancelled");
    }
    return !len;
}

/* --- received --- */

struct MigReader {
    MigChannel *ch; /* NULL: memory */
    uint8_t *own;   /* the buffer of a channel */
    const uint8_t *buf;
    size_t at, len; /* in @buf: the next byte, and how many there are */
    uint64_t position;
    Error *err;
};

MigReader *mig_reader_new(MigChannel *ch)
{
    MigReader *r = g_new0(MigReader, 1);

    r->ch = ch;
    r->buf = r->own = g_malloc(READ_BUFFER);
    return r;
}

MigReader *mig_reader_new_memory(const void *data, size_t len)
{
    MigReader *r = g_new0(MigReader, 1);

    r->buf = data;
    r->len = len;
    return r;
}

void mig_reader_free(MigReader *r)
{
    if (r) {
        error_free(r->err);
        g_free(r->own);
        g_free(r);
    }
}

bool mig_reader_ok(const MigReader *r)
{
    return !r->err;
}

bool mig_reader_check(MigReader *r, Error **errp)
{
    if (!r->err) {
        return true;
    }
    error_propagate(errp, r->err);
    r->err = NULL;
    mig_reader_fail(r, "The stream has failed before");
    return false;
}

void mig_reader_fail(MigReader *r, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    if (!r->err) {
        va_start(ap, fmt);
        text = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        error_setg(&r->err, "%s", text);
    }
}

uint64_t mig_reader_position(const MigReader *r)
{
    return r->position;
}

/* If there is always more to read, as in a file, others have their turn. */
static ssize_t coroutine_fn fill(MigReader *r)
{
    MigChannel *ch = r->ch;
    bool waited = false;

    while (ch && !ch->broken) {
        ssize_t n = read(ch->fd, r->own, READ_BUFFER);

        if (n >= 0) {
            r->at = 0;
            r->len = n;
            if (!waited) {
                co_yield_to_loop();
            }
            return n;
        }
        if (must_wait()) {
            co_wait_readable(ch->fd);
            waited = true;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return ch ? -ECANCELED : 0;
}

/* Is there a byte to read?  @need_it: it is an error if not. */
static bool coroutine_fn available(MigReader *r, bool need_it)
{
    ssize_t n;

    if (r->err) {
        return false;
    }
    if (r->at < r->len) {
        return true;
    }
    n = fill(r);
    if (n < 0) {
        error_setg_errno(&r->err, -n, "Unable to read the migration stream");
    } else if (n == 0 && need_it) {
        error_setg(&r->err, "The migration stream ends after %" PRIu64
                   " bytes, before it is complete", r->position);
    }
    return n > 0;
}

bool coroutine_fn mig_at_end(MigReader *r)
{
    return !available(r, false);
}

void coroutine_fn mig_get_bytes(MigReader *r, void *data, size_t len)
{
    uint8_t *to = data;

    while (len && available(r, true)) {
        size_t n = MIN(len, r->len - r->at);

        memcpy(to, r->buf + r->at, n);
        r->at += n;
        r->position += n;
        to += n;
        len -= n;
    }
    if (len) {
        memset(to, 0, len);
    }
}

void coroutine_fn mig_skip(MigReader *r, uint64_t len)
{
    while (len && available(r, true)) {
        size_t n = MIN(len, r->len - r->at);

        r->at += n;
        r->position += n;
        len -= n;
    }
}

uint8_t coroutine_fn mig_get_8(MigReader *r)
{
    uint8_t raw;

    mig_get_bytes(r, &raw, 1);
    return raw;
}

uint16_t coroutine_fn mig_get_16(MigReader *r)
{
    uint8_t raw[2];

    mig_get_bytes(r, raw, sizeof(raw));
    return raw[0] << 8 | raw[1];
}

uint32_t coroutine_fn mig_get_32(MigReader *r)
{
    uint8_t raw[4];

    mig_get_bytes(r, raw, sizeof(raw));
    return ld32_be(raw);
}

uint64_t coroutine_fn mig_get_64(MigReader *r)
{
    uint64_t high = mig_get_32(r);

    return high << 32 | mig_get_32(r);
}

void coroutine_fn mig_get_name(MigReader *r, char *text)
{
    uint8_t len = mig_get_8(r);

    mig_get_bytes(r, text, len);
    text[len] = '\0';
    if (mig_reader_ok(r) && !g_utf8_validate(text, len, NULL)) {
        mig_reader_fail(r, "A name in the migration stream is no valid UTF-8");
    }
}
