/* Standard error is a pipe here, which is read when the case says so. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "util/log_stderr.h"

#define STAMP "1970-01-01T00:00:00.000Z "

struct play {
	struct log        log;
	struct log_stderr to;
	int               stderr_before, read_fd;
};

static wall_ms_t
no_wall(void *ctx)
{
	return (wall_ms_t){ 0 };
}

static void
begin(struct play *play)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	play->stderr_before = dup(STDERR_FILENO);
	play->read_fd = fds[0];
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	play->log = (struct log){ .level = LOG_INFO, .wall = no_wall };
	log_stderr_init(&play->to, &play->log);
}

static void
end(struct play *play)
{
	log_stderr_fini(&play->to);
	dup2(play->stderr_before, STDERR_FILENO);
	close(play->stderr_before);
	close(play->read_fd);
}

/* A byte is left of no page. */
static void
fill(void)
{
	static const char page[4096];
	int flags = fcntl(STDERR_FILENO, F_GETFL);

	assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
	while (write(STDERR_FILENO, page, sizeof page) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, flags), 0);
}

/* What is there and is no filling. */
static void
read_lines(struct play *play, char *out, size_t n)
{
	static char all[1 << 20];
	size_t used = 0;
	ssize_t got;

	fcntl(play->read_fd, F_SETFL, O_NONBLOCK);
	got = read(play->read_fd, all, sizeof all);
	assert_true(got >= 0 || errno == EAGAIN);
	for (ssize_t i = 0; i < got; i++)
		if (all[i] != '\0' && used < n - 1)
			out[used++] = all[i];
	out[used] = '\0';
}

static void
what_nobody_reads_is_dropped_and_counted(void **state)
{
	struct play play;
	char got[1000];

	begin(&play);
	log_info(&play.log, "first");
	read_lines(&play, got, sizeof got);
	assert_string_equal(got, STAMP "info first\n");
	for (unsigned round = 0; round < 2; round++) {
		fill();
		for (unsigned i = 0; i < 5000; i++)     /* each waiting, it would take 40 minutes */
			log_info(&play.log, "lost %u", i);
		read_lines(&play, got, sizeof got);
		assert_string_equal(got, "");
		log_error(&play.log, "again");
		log_info(&play.log, "and on");
		read_lines(&play, got, sizeof got);
		assert_string_equal(got, STAMP "warning nobody read this log: 5000 lines are missing here\n"
				    STAMP "error again\n" STAMP "info and on\n");
	}
	end(&play);
}

static void
what_was_dropped_last_is_told_at_the_end(void **state)
{
	struct play play;
	char got[1000];

	begin(&play);
	fill();
	log_info(&play.log, "lost");
	read_lines(&play, got, sizeof got);
	assert_string_equal(got, "");
	log_stderr_fini(&play.to);
	read_lines(&play, got, sizeof got);
	assert_string_equal(got, STAMP "warning nobody read this log: 1 lines are missing here\n");
	log_stderr_init(&play.to, &play.log);
	end(&play);
}

static void *
read_after_a_moment(void *ctx)
{
	struct play *play = ctx;
	char got[1000];

	poll(NULL, 0, 50);
	read_lines(play, got, sizeof got);
	return NULL;
}

static void
a_reader_that_is_slow_is_waited_for(void **state)
{
	struct play play;
	pthread_t thread;
	char got[1000];

	begin(&play);
	fill();
	assert_int_equal(pthread_create(&thread, NULL, read_after_a_moment, &play), 0);
	log_info(&play.log, "kept");
	assert_int_equal(pthread_join(thread, NULL), 0);
	log_info(&play.log, "next");
	read_lines(&play, got, sizeof got);
	assert_non_null(strstr(got, STAMP "info next\n"));
	assert_null(strstr(got, "missing"));
	end(&play);
}

static void
a_reader_that_is_gone_costs_nothing(void **state)
{
	struct play play;

	begin(&play);
	signal(SIGPIPE, SIG_IGN);
	close(play.read_fd);
	for (unsigned i = 0; i < 5000; i++)
		log_info(&play.log, "to nobody");
	assert_int_equal(play.to.dropped, 0);
	play.read_fd = dup(STDERR_FILENO);
	end(&play);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nobody_reads_is_dropped_and_counted),
		cmocka_unit_test(what_was_dropped_last_is_told_at_the_end),
		cmocka_unit_test(a_reader_that_is_slow_is_waited_for),
		cmocka_unit_test(a_reader_that_is_gone_costs_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
