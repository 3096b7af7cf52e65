/*
 * O_NONBLOCK would be everybody's who has the other end of this description, a shell for one; so room is asked for
 * first, and nobody else of us writes in between (the watchdog does, when all is over). A pipe that has room at all has it for PIPE_BUF bytes at once, and so
 * much for a journal's socket.
 *
 * Who has waited in vain does not wait again for some lines: a reader that takes one now and then would
 * make each cost a moment. Lines are counted, not seconds, for that takes no clock.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/log_stderr.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#define WAIT_MS     500
#define HURRY_LINES 1000

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line fits where there is room");

/* What is closed or broken has room: write() fails at once. */
static bool
has_room(int wait_ms)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	int n;

	do
		n = poll(&out, 1, wait_ms);
	while (n < 0 && errno == EINTR);
	return n != 0;
}

/* The lock is held, and there is room. */
static void
tell_dropped(struct log_stderr *to)
{
	struct log direct = *to->log;
	uint64_t n = to->dropped;

	to->dropped = 0;
	direct.sink = log_sink_stderr;
	log_warning(&direct, "nobody read this log: %" PRIu64 " lines are missing here", n);
}

static void
sink(void *ctx, const char *line, size_t n)
{
	struct log_stderr *to = ctx;

	pthread_mutex_lock(&to->lock);
	if (to->dropped > 0 && has_room(0))
		tell_dropped(to);
	if (has_room(to->hurry > 0 ? 0 : WAIT_MS)) {
		to->hurry -= to->hurry > 0;
		log_sink_stderr(NULL, line, n);
	} else {
		to->hurry = HURRY_LINES;
		to->dropped++;
	}
	pthread_mutex_unlock(&to->lock);
}

void
log_stderr_init(struct log_stderr *to, struct log *log)
{
	*to = (struct log_stderr){ .log = log };
	check(pthread_mutex_init(&to->lock, NULL) == 0);
	log->sink = sink;
	log->sink_ctx = to;
}

void
log_stderr_fini(struct log_stderr *to)
{
	if (to->dropped > 0 && has_room(0))
		tell_dropped(to);
	to->log->sink = log_sink_stderr;
	pthread_mutex_destroy(&to->lock);
}
