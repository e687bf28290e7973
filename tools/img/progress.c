/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of a long command, printed on request or on SIGUSR1. */
#include "qemu/osdep.h"

#include <signal.h>

#include "img.h"

/* Minimum increase, in percent, before it is printed again. */
#define PROGRESS_STEP 2.0

static struct {
    bool show;
    double printed; /* the last value shown; negative: none */
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

void img_progress_begin(bool show)
{
    progress.show = show;
    progress.printed = -1;
    img_progress_set(0, 1);
}

void img_progress_set(uint64_t done, uint64_t total)
{
    double percent = total ? 100.0 * done / total : 100.0;
    bool step = progress.printed < 0 ||
                percent >= progress.printed + PROGRESS_STEP ||
                (done >= total && progress.printed < 100.0);

    if (progress.show && step) {
        progress.printed = percent;
        printf("    (%3.2f/100%%)\r", percent);
        fflush(stdout);
    }
    if (progress_wanted) {
        progress_wanted = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", percent);
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
