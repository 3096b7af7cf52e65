/*
 * notify - what a service manager is told that asked for it (sd_notify(3), systemd's protocol).
 *
 * Errors     None: a manager that cannot be reached is no reason to stop, and without one nothing is said.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

#define NOTIFY_PATH_MAX 108u

struct notify {
	char      path[NOTIFY_PATH_MAX];        /* "": nobody asked; '@' first: an abstract name */
	mono_us_t watchdog_us;                  /* how often it wants to hear from us; 0: it does not */
	bool      journal;                      /* standard error is its journal */
};

/* From the environment: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, JOURNAL_STREAM. */
void notify_init(struct notify *notify);
/* "READY=1", "STOPPING=1", "WATCHDOG=1". */
void notify_say(const struct notify *notify, const char *state);
