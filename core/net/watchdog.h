/*
 * watchdog - ends the process when one of its event loops no longer turns, so that a service
 * manager starts it anew; before that, the loop's stack is on standard error.
 *
 * Ownership  A loop outlives its watch.
 * Threads    watchdog_watch() and watchdog_leave(): the loop's own, or any while the loop does not run.
 * Time       Counted in ticks of an eighth of the limit in which no beat came, not in time that passed: a process
 *            that was stopped, or a machine that slept, has missed one tick at most.
 * Signals    SIGUSR2 puts the stack of the thread that gets it on standard error, and changes nothing.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/loop.h"
#include "net/notify.h"
#include "util/log.h"

#define WATCHDOG_LIMIT_US (30 * US_PER_S)       /* unless the manager's interval is shorter than twice that */

struct watchdog;

/* Tells `notify` of its life as often as that wants to hear. Both outlive it. */
struct watchdog *watchdog_os_new(struct log *log, const struct notify *notify, struct err *err);
void watchdog_os_free(struct watchdog *watchdog);       /* NULL is fine; nobody is watched any more */

/* From now on until watchdog_leave() the loop must turn. The name is copied. */
void watchdog_watch(struct watchdog *watchdog, struct loop *loop, const char *name);
void watchdog_leave(struct watchdog *watchdog, struct loop *loop);
