/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of a long command, printed on request or on SIGUSR1. */
#include "qemu/osdep.h"

#include <signal.h>

#include "img.h"

static struct {
    bool show;
    float step;    /* percent */
    float now;     /* percent; sums lose what they lose in QEMU */
    float printed; /* the last value shown */
    uint64_t told; /* of what img_progress_data() was given */
} progress;

static volatile sig_atomic_t progress_wanted;

static void on_usr1(int sig)
{
    progress_wanted = 1;
}

void img_progress_init(void)
{
    struct sigaction tell = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };

    sigaction(SIGUSR1, &tell, NULL);
}

/* The begin and the end are always printed. */
static void tell(float percent)
{
    progress.now = percent;
    if (progress.show && (percent > progress.printed + progress.step ||
                          percent == 0 || percent == 100)) {
        progress.printed = percent;
        printf("    (%3.2f/100%%)\r", percent);
        fflush(stdout);
    }
    if (progress_wanted) {
        progress_wanted = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", percent);
    }
}

void img_progress_begin(bool show, double step)
{
    progress.show = show;
    progress.step = step;
    progress.told = 0;
    tell(0);
}

void img_progress_set(uint64_t done, uint64_t total)
{
    tell(total ? 100.0 * done / total : 100.0);
}

void img_progress_add(uint64_t bytes, uint64_t unit, uint64_t total)
{
    for (uint64_t n; bytes > 0; bytes -= n) {
        n = MIN(bytes, unit);
        tell(MIN(progress.now + 100.0F * n / total, 100.0F));
    }
}

void img_progress_data(uint64_t done, uint64_t unit, uint64_t total)
{
    uint64_t end = done < total ? done / unit * unit : total;

    while (progress.told < end) {
        progress.told = MIN(progress.told + unit, end);
        img_progress_set(progress.told, total);
    }
}

void img_progress_end(void)
{
    if (progress.show) {
        printf("\n");
        fflush(stdout);
    }
    progress.show = false;
}
