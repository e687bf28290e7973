/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages to the service manager that started the program: the protocol of
 * sd_notify(3), datagrams to the socket that NOTIFY_SOCKET names.  Without that
 * nothing is sent.
 */
#ifndef QEMU_NOTIFY_H
#define QEMU_NOTIFY_H

/*
 * Takes the address from the environment, so that child processes do not have
 * it.  Called once, before there are threads.
 */
void notify_init(void);
/*
 * Sends assignments, one on each line: "READY=1".  Errors are ignored: nobody
 * can be told of them.
 */
void notify_send(const char *text);
/* The program ends: says so; notify_progress() has an effect from now on. */
void notify_stopping(void);
/*
 * The end gets further: asks for NOTIFY_EXTEND_S from now, at most once a
 * second.  Called for each piece of work that may take long, so that a program
 * that hangs is not waited for.  From any thread.
 */
void notify_progress(void);
#define NOTIFY_EXTEND_S 60

#endif
