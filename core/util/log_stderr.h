/*
 * log_stderr - standard error as a node's log, which holds nobody up for long.
 *
 * A reader that is slow is waited for a moment. While it does not read at all, lines are
 * dropped; the first line after that is preceded by one that says how many they were.
 *
 * Threads    Any.
 * Limits     A terminal or a file that blocks all the same is beyond it: the watchdog ends that.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>

#include "util/log.h"

struct log_stderr {
	struct log     *log;
	pthread_mutex_t lock;           /* guards what follows */
	uint64_t        dropped;        /* since the last line that was written */
	unsigned        hurry;          /* so many lines are not waited for */
};

void log_stderr_init(struct log_stderr *to, struct log *log);   /* becomes its sink */
void log_stderr_fini(struct log_stderr *to);
