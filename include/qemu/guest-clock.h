/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The time of the guest: what goes by for its devices.  It is the time that
 * passes, until somebody holds it; then it stands still unless it is moved.
 * Main thread.
 */
#ifndef QEMU_GUEST_CLOCK_H
#define QEMU_GUEST_CLOCK_H

#include "qemu/aio.h"

/* Nanoseconds. */
int64_t guest_clock_ns(void);
/* From now on it stands at @ns (negative: it goes again).  No timer pends. */
void guest_clock_hold(int64_t ns);
bool guest_clock_is_held(void);
/*
 * Nobody can move the held clock yet: until it is taken over, timers go by the
 * real time, while guest_clock_ns() stands.  What is left for a timer to wait
 * then is left in the guest's time.
 */
void guest_clock_lend(void);
/* Nothing happens where it was not lent. */
void guest_clock_take_over(void);
/* The time by which timers go, to be used for theirs. */
int64_t guest_clock_timer_ns(void);
/* Moves the held clock forward to @ns, and calls the timers that are due. */
void guest_clock_move(int64_t ns);
/* When the next timer is due; -1: none pends. */
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
