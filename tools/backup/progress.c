/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of a long operation, as a bar on a terminal. */
#include "qemu/osdep.h"

#include <sys/ioctl.h>

#include "progress.h"
#include "qemu/cutils.h"

#define STEP_US (200 * 1000)
#define DEFAULT_COLUMNS 80
#define MIN_BAR 10

static struct {
    const char *what;  /* NULL: no bar is shown */
    int64_t begin_us, shown_us;
    int64_t begin_done;
} bar;

char *progress_time(int64_t seconds)
{
    int64_t h = seconds / 3600;
    int m = seconds / 60 % 60, s = seconds % 60;

    return h ? g_strdup_printf("%" PRId64 ":%02d:%02d", h, m, s)
             : g_strdup_printf("%d:%02d", m, s);
}

static int columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col
               ? size.ws_col : DEFAULT_COLUMNS;
}

/* "45% 1.2 GiB of 2.7 GiB, 120 MiB/s, 0:32 left"; caller frees. */
static char *numbers(int64_t done, int64_t total, int64_t elapsed_us)
{
    double rate = elapsed_us > 0 ? (done - bar.begin_done) * 1e6 / elapsed_us
                                 : 0;
    g_autofree char *done_text = size_to_str(done);
    g_autofree char *total_text = size_to_str(total);
    g_autofree char *rate_text = size_to_str(rate);
    g_autofree char *left = progress_time(rate > 0 ? (total - done) / rate
                                                   : 0);

    return g_strdup_printf("%3d%% %s of %s, %s/s%s%s",
                           total ? (int)(100.0 * done / total) : 100,
                           done_text, total_text, rate_text,
                           rate > 0 ? ", " : "",
                           rate > 0 ? left : "");
}

static void draw(int64_t done, int64_t total, int64_t now)
{
    g_autofree char *text = numbers(done, total, now - bar.begin_us);
    int width = columns() - strlen(bar.what) - strlen(text) - 6;
    g_autoptr(GString) line = g_string_new("\r");
    int filled = total ? width * (1.0 * done / total) : width;

    g_string_append_printf(line, "%s ", bar.what);
    if (width >= MIN_BAR) {
        g_string_append_c(line, '[');
        for (int i = 0; i < width; i++) {
            g_string_append_c(line, i < filled ? '#' : '.');
        }
        g_string_append(line, "] ");
    }
    g_string_append_printf(line, "%s\033[K", text);
    fputs(line->str, stderr);
    fflush(stderr);
}

void progress_show(const char *what, int64_t done, int64_t total)
{
    int64_t now = g_get_monotonic_time();

    if (!isatty(STDERR_FILENO)) {
        return;
    }
    if (!bar.what || strcmp(bar.what, what)) {
        bar.what = what;
        bar.begin_us = now;
        bar.begin_done = done;
        bar.shown_us = 0;
    }
    if (now - bar.shown_us >= STEP_US) {
        bar.shown_us = now;
        draw(MIN(done, total), total, now);
    }
}

void progress_clear(void)
{
    if (bar.what) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        bar.what = NULL;
    }
}
