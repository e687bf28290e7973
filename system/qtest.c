/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qtest protocol, as far as tests of block devices need it: lines of
 * words, each answered with OK, or with FAIL and the reason.
 *
 *     clock_step [NS]  advances the guest's clock by NS, or
 *                        until the next timer is due; OK and its new time
 *     clock_set NS       advances it to NS
 *     endianness         OK little
 *     irq_intercept_in, irq_intercept_out, rtas ...   refused
 *     blk_write DEVICE OFFSET BYTES PATTERN   by the guest; an extension
 *     blk_read DEVICE OFFSET BYTES            OK and the first byte, or mixed
 *
 * Answers come in the order of the requests that have ended.
 */
#include "qemu/osdep.h"

#include "block/throttle-group.h"
#include "device.h"
#include "guest-io.h"
#include "monitor/chardev.h"
#include "qemu/aio.h"
#include "qemu/cutils.h"
#include "qemu/guest-clock.h"
#include "qtest.h"

#define LINE_MAX_BYTES 4096
#define GUEST_MAX_BYTES (64 * MiB)
#define LATENCY_NS (1000 * 1000) /* of a request, while the clock is held */

typedef struct Qtest {
    Chardev *chr;
    int in_fd, out_fd; /* -1: no client */
    GString *line;
    FILE *log;
} Qtest;

static Qtest qtest = { .in_fd = -1, .out_fd = -1 };

static void G_GNUC_PRINTF(1, 2) answer(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (qtest.log) {
        fprintf(qtest.log, "[S] %s\n", text);
        fflush(qtest.log);
    }
    if (qtest.out_fd >= 0 &&
        dprintf(qtest.out_fd, "%s\n", text) < 0) {
        /* The client has disconnected, which reading will report. */
    }
}

/* --- requests of the guest --- */

typedef struct GuestCall {
    bool is_write;
    int64_t bytes;
    uint8_t *buf;
} GuestCall;

static void guest_call_done(void *opaque, int ret)
{
    GuestCall *call = opaque;

    if (ret < 0) {
        answer("FAIL %s", g_strerror(-ret));
    } else if (call->is_write || !call->bytes) {
        answer("OK");
    } else if (call->bytes > 1 &&
               memcmp(call->buf, call->buf + 1, call->bytes - 1)) {
        answer("OK mixed");
    } else {
        answer("OK 0x%02x", call->buf[0]);
    }
    g_free(call->buf);
    g_free(call);
}

static void guest_call(char **words, guint n, bool is_write)
{
    Device *dev = n > 1 ? device_find(words[1]) : NULL;
    int64_t offset, bytes;
    uint64_t pattern = 0;
    GuestCall *call;

    if (n != (is_write ? 5 : 4) || !parse_int64(words[2], &offset, NULL) ||
        !parse_int64(words[3], &bytes, NULL) || bytes < 0 ||
        bytes > GUEST_MAX_BYTES ||
        (is_write && !parse_uint64(words[4], &pattern, NULL))) {
        answer("FAIL %s DEVICE OFFSET BYTES%s", words[0],
               is_write ? " PATTERN" : "");
        return;
    }
    if (!dev || !dev->blk) {
        answer("FAIL Device '%s' not found", words[1]);
        return;
    }
    call = g_new0(GuestCall, 1);
    call->is_write = is_write;
    call->bytes = bytes;
    call->buf = g_malloc(MAX(bytes, 1));
    memset(call->buf, pattern, bytes);
    guest_rw(dev, is_write, offset, bytes, call->buf, guest_call_done, call);
}

/* --- lines --- */

/*
 * Advances from timer to timer: coroutines woken by one set the next, once the
 * loop has run them.
 */
static void clock_walk(void *opaque)
{
    int64_t *until = opaque;
    int64_t next = guest_clock_next_ns();

    if (next >= 0 && next <= *until) {
        guest_clock_move(next);
    }
    if ((next >= 0 && next <= *until) || throttle_groups_waking()) {
        aio_bh_oneshot(aio_main_context(), AIO_SCOPE_MAIN, clock_walk, until);
        return;
    }
    guest_clock_move(*until);
    answer("OK %" PRId64, guest_clock_ns());
    g_free(until);
}

static void clock_command(char **words, guint n)
{
    bool set = !strcmp(words[0], "clock_set");
    int64_t now = guest_clock_ns(), ns = 0;
    int64_t *until;

    if (n > 2 || (n == 2 && !parse_int64(words[1], &ns, NULL)) ||
        (n == 1 && set) || ns < 0 || (!set && ns > INT64_MAX - now)) {
        answer("FAIL %s [NS]", words[0]);
        return;
    }
    until = g_new(int64_t, 1);
    *until = set ? ns : n == 2 ? now + ns : MAX(guest_clock_next_ns(), now);
    clock_walk(until);
}

static void line_done(char *line)
{
    g_auto(GStrv) words = g_strsplit_set(g_strstrip(line), " \t", -1);
    guint n = g_strv_length(words);

    if (qtest.log) {
        fprintf(qtest.log, "[R] %s\n", line);
        fflush(qtest.log);
    }
    if (!n || !*words[0]) {
        return;
    }
    if (!strcmp(words[0], "clock_step") || !strcmp(words[0], "clock_set")) {
        clock_command(words, n);
    } else if (!strcmp(words[0], "blk_write")) {
        guest_call(words, n, true);
    } else if (!strcmp(words[0], "blk_read")) {
        guest_call(words, n, false);
    } else if (!strcmp(words[0], "endianness")) {
        answer("OK little");
    } else {
        answer("FAIL Unknown command '%s'", words[0]);
    }
}

static void disconnect(void)
{
    aio_set_fd_handler(aio_main_context(), qtest.in_fd, AIO_SCOPE_MAIN, NULL,
                       NULL, NULL);
    qtest.in_fd = qtest.out_fd = -1;
    g_string_truncate(qtest.line, 0);
    chardev_close_connection(qtest.chr);
}

static void readable(void *opaque)
{
    char buf[1024];
    ssize_t n = read(qtest.in_fd, buf, sizeof(buf));

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        disconnect();
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == '\n') {
            g_autofree char *line = g_strdup(qtest.line->str);

            g_string_truncate(qtest.line, 0);
            line_done(line);
        } else if (qtest.line->len < LINE_MAX_BYTES) {
            g_string_append_c(qtest.line, buf[i]);
        }
    }
}

static void opened(void *opaque, int in_fd, int out_fd)
{
    qtest.in_fd = in_fd;
    qtest.out_fd = out_fd;
    if (in_fd >= 0) {
        aio_set_fd_handler(aio_main_context(), in_fd, AIO_SCOPE_MAIN,
                           readable, NULL, NULL);
    }
}

void qtest_hold_clock(void)
{
    guest_clock_hold(0);
    guest_clock_lend(); /* it cannot be advanced before the setup is complete */
    block_acct_fix_latency(LATENCY_NS);
}

bool qtest_start(const char *chardev, Error **errp)
{
    Chardev *chr = chardev_find(chardev);

    if (!chr) {
        error_setg(errp, "chardev \"%s\" not found", chardev);
        return false;
    }
    if (qtest.chr) {
        error_setg(errp, "there is a qtest connection already");
        return false;
    }
    qtest.chr = chr;
    qtest.line = g_string_new(NULL);
    return chardev_set_frontend(chr, opened, NULL, errp);
}

bool qtest_set_log(const char *path, Error **errp)
{
    qtest.log = fopen(path, "w");
    if (!qtest.log) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
        return false;
    }
    return true;
}

void qtest_cleanup(void)
{
    if (qtest.in_fd >= 0) {
        disconnect();
    }
    if (qtest.line) {
        g_string_free(qtest.line, true);
    }
    if (qtest.log) {
        fclose(qtest.log);
    }
}
