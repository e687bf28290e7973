/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's clock, which its devices use.  It follows the real time until it
 * is held; from then on it changes only when it is moved.  Main thread.
 */
#ifndef QEMU_GUEST_CLOCK_H
#define QEMU_GUEST_CLOCK_H

#include "qemu/aio.h"

/* Nanoseconds. */
int64_t guest_clock_ns(void);
/* Holds the clock at @ns (negative: it runs again).  No timer is pending. */
void guest_clock_hold(int64_t ns);
bool guest_clock_is_held(void);
/*
 * While no client can move the held clock: until guest_clock_take_over(),
 * timers use the real time and guest_clock_ns() does not change.  The remaining
 * delay of a timer is then converted to the guest's time.
 */
void guest_clock_lend(void);
/* No effect if the clock was not lent. */
void guest_clock_take_over(void);
/* The time that timers compare with, for computing their deadlines. */
int64_t guest_clock_timer_ns(void);
/* Moves the held clock forward to @ns, and calls the timers that are due. */
void guest_clock_move(int64_t ns);
/* When the next timer is due; -1: none is pending. */
int64_t guest_clock_next_ns(void);

typedef struct GuestTimer GuestTimer;

/* As aio_timer_*() (qemu/aio.h), in the time of the guest. */
GuestTimer *guest_timer_new(AioContext *ctx, AioScope scope, AioHandler *cb,
                            void *opaque);
void guest_timer_mod(GuestTimer *timer, int64_t when_ns);
void guest_timer_del(GuestTimer *timer);
void guest_timer_free(GuestTimer *timer);
bool guest_timer_pending(const GuestTimer *timer);

#endif
