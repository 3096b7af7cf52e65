/* Each case is a process of its own, for most of them end by it. Its limit comes from WATCHDOG_USEC, as from systemd. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "net/watchdog.h"

static wall_ms_t
no_wall(void *ctx)
{
	return (wall_ms_t){ 0 };
}

static struct log to_stderr = { .level = LOG_INFO, .wall = no_wall, .sink = log_sink_stderr };

struct play {
	struct loop     *loop;
	struct watchdog *watchdog;
	struct notify    notify;
	struct timer     timer;
	pid_t            stop_us;       /* a process that stops this one for a while */
};

static void
hang(void *ctx, struct now now)
{
	volatile bool for_ever = true;

	while (for_ever)
		;
}

static void
stop_loop(void *ctx, struct now now)
{
	struct play *play = ctx;

	loop_stop(play->loop);
}

/* A loop under the watchdog, whose one timer does `fn` after so long. */
static void
run_under_watchdog(struct play *play, timer_fn *fn, mono_us_t after_us)
{
	struct err err;

	notify_init(&play->notify);
	play->loop = loop_os_new(&err);
	play->watchdog = watchdog_os_new(&to_stderr, &play->notify, &err);
	check(play->loop != NULL && play->watchdog != NULL);
	timer_init(&play->timer, fn, play);
	timer_start(&play->loop->timers, &play->timer, loop_now(play->loop).mono + after_us);
	watchdog_watch(play->watchdog, play->loop, "shard 0");
	loop_run(play->loop);
	watchdog_leave(play->watchdog, play->loop);
	watchdog_os_free(play->watchdog);
	loop_os_free(play->loop);
}

/* A child with standard error in a pipe, its reading end given back. */
static pid_t
child_of_ours(int *stderr_out, const char *limit_us)
{
	int fds[2];
	pid_t child;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child != 0) {
		close(fds[1]);
		*stderr_out = fds[0];
		return child;
	}
	dup2(fds[1], STDERR_FILENO);
	close(fds[0]);
	close(fds[1]);
	signal(SIGABRT, SIG_DFL);
	setenv("WATCHDOG_USEC", limit_us, 1);
	unsetenv("WATCHDOG_PID");
	return 0;
}

static void
read_all(int fd, char *text, size_t n)
{
	size_t used = 0;
	ssize_t got;

	while (used < n - 1 && (got = read(fd, text + used, n - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(fd);
}

static int
status_of(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* Where it stands, and what called that. The thread sanitizer holds a signal back until the thread calls
 * something that it knows, and who hangs calls nothing. */
static void
assert_stack(const char *said, unsigned frames)
{
#ifndef __SANITIZE_THREAD__
	for (; frames > 0; frames--) {
		said = strstr(said, "watchdog_os_test(+0x");
		assert_non_null(said);
		said++;
	}
#endif
}

static void
a_loop_that_hangs_ends_the_process_with_its_stack(void **state)
{
	struct play play = { 0 };
	char said[8000];
	int fd, status;
	pid_t child = child_of_ours(&fd, "400000");

	if (child == 0) {
		run_under_watchdog(&play, hang, 0);
		_exit(0);
	}
	read_all(fd, said, sizeof said);
	status = status_of(child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(said, "error shard 0 hangs: its loop has not turned for 0.2 s."));
	assert_stack(said, 2);
}

static void *
hang_beside(void *ctx)
{
	struct play *play = ctx;
	struct timer timer;
	struct err err;
	struct loop *loop = loop_os_new(&err);

	check(loop != NULL);
	timer_init(&timer, hang, play);
	timer_start(&loop->timers, &timer, loop_now(loop).mono);
	watchdog_watch(play->watchdog, loop, "shard 1");
	loop_run(loop);
	return NULL;
}

static void
start_beside(void *ctx, struct now now)
{
	struct play *play = ctx;
	pthread_t thread;

	check(pthread_create(&thread, NULL, hang_beside, play) == 0);
	timer_start(&play->loop->timers, &play->timer, now.mono + 100 * US_PER_S);
}

static void
of_several_loops_it_names_the_one_that_hangs(void **state)
{
	struct play play = { 0 };
	char said[8000];
	int fd, status;
	pid_t child = child_of_ours(&fd, "2000000");

	if (child == 0) {
		run_under_watchdog(&play, start_beside, 0);
		_exit(0);
	}
	read_all(fd, said, sizeof said);
	status = status_of(child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(said, "error shard 1 hangs"));
	assert_null(strstr(said, "shard 0"));
	assert_stack(said, 1);
}

static void
a_loop_that_turns_is_left_alone(void **state)
{
	struct play play = { 0 };
	char said[200];
	int fd;
	pid_t child = child_of_ours(&fd, "2000000");

	if (child == 0) {
		run_under_watchdog(&play, stop_loop, 1500 * US_PER_MS);
		_exit(7);
	}
	read_all(fd, said, sizeof said);
	assert_string_equal(said, "");
	assert_int_equal(WEXITSTATUS(status_of(child)), 7);
}

static void
stop_process(void *ctx, struct now now)
{
	struct play *play = ctx;

	play->stop_us = fork();
	if (play->stop_us == 0) {
		kill(getppid(), SIGSTOP);
		poll(NULL, 0, 1300);
		kill(getppid(), SIGCONT);
		_exit(0);
	}
	timer_start(&play->loop->timers, &play->timer, now.mono + 1500 * US_PER_MS);
	play->timer.fn = stop_loop;
}

static void
a_process_that_was_stopped_has_not_hung(void **state)
{
	struct play play = { 0 };
	char said[200];
	int fd;
	pid_t child = child_of_ours(&fd, "2000000");

	if (child == 0) {
		run_under_watchdog(&play, stop_process, 0);
		waitpid(play.stop_us, NULL, 0);
		_exit(7);
	}
	read_all(fd, said, sizeof said);
	assert_string_equal(said, "");
	assert_int_equal(WEXITSTATUS(status_of(child)), 7);
}

/* As a loop does that logs into a pipe which nobody reads. */
static void
fill_stderr(void *ctx, struct now now)
{
	static const char line[] = "nobody reads this\n";

	while (write(STDERR_FILENO, line, sizeof line - 1) > 0)
		;
}

static void
standard_error_that_blocks_does_not_save_the_process(void **state)
{
	struct play play = { 0 };
	int fd, status;
	pid_t child = child_of_ours(&fd, "200000");

	if (child == 0) {
		run_under_watchdog(&play, fill_stderr, 0);
		_exit(0);
	}
	status = status_of(child);
	assert_true(WIFSIGNALED(status));
	assert_true(WTERMSIG(status) == SIGALRM || WTERMSIG(status) == SIGABRT);
	close(fd);
}

static void
show_stack(void *ctx, struct now now)
{
	struct play *play = ctx;

	raise(SIGUSR2);
	loop_stop(play->loop);
}

static void
sigusr2_shows_a_stack_and_changes_nothing(void **state)
{
	struct play play = { 0 };
	char said[8000];
	int fd;
	pid_t child = child_of_ours(&fd, "60000000");

	if (child == 0) {
		run_under_watchdog(&play, show_stack, 0);
		_exit(7);
	}
	read_all(fd, said, sizeof said);
	assert_non_null(strstr(said, "watchdog_os_test(+0x"));
	assert_int_equal(WEXITSTATUS(status_of(child)), 7);
}

static void
a_word_gets_through(int fd, const char *word)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char got[64] = "";

	assert_int_equal(poll(&wait, 1, 20000), 1);
	assert_true(recv(fd, got, sizeof got - 1, 0) > 0);
	assert_string_equal(got, word);
}

static void
the_manager_hears_while_the_loop_turns(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), err_fd;
	struct play play = { 0 };
	pid_t child;

	memcpy(at.sun_path, path, strlen(path));
	if (path[0] == '@')
		at.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
	child = child_of_ours(&err_fd, "2000000");
	if (child == 0) {
		setenv("NOTIFY_SOCKET", path, 1);
		notify_init(&play.notify);
		notify_say(&play.notify, "READY=1");
		run_under_watchdog(&play, stop_loop, 700 * US_PER_MS);
		_exit(7);
	}
	a_word_gets_through(fd, "READY=1");
	a_word_gets_through(fd, "WATCHDOG=1");
	a_word_gets_through(fd, "WATCHDOG=1");
	assert_int_equal(WEXITSTATUS(status_of(child)), 7);
	close(fd);
	close(err_fd);
}

static void
the_manager_hears_by_path_and_by_abstract_name(void **state)
{
	char path[64];

	snprintf(path, sizeof path, "/tmp/notify-test-%d.sock", (int)getpid());
	the_manager_hears_while_the_loop_turns(path);
	unlink(path);
	snprintf(path, sizeof path, "@notify-test-%d", (int)getpid());
	the_manager_hears_while_the_loop_turns(path);
}

static void
an_interval_meant_for_another_process_is_none(void **state)
{
	struct notify notify;

	setenv("WATCHDOG_USEC", "5000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	notify_init(&notify);
	assert_int_equal(notify.watchdog_us, 0);
	unsetenv("WATCHDOG_PID");
	notify_init(&notify);
	assert_int_equal(notify.watchdog_us, 5000);
	setenv("WATCHDOG_USEC", "soon", 1);
	setenv("NOTIFY_SOCKET", "not/absolute", 1);
	notify_init(&notify);
	assert_int_equal(notify.watchdog_us, 0);
	assert_string_equal(notify.path, "");
	notify_say(&notify, "READY=1");
	unsetenv("WATCHDOG_USEC");
	unsetenv("NOTIFY_SOCKET");
}

static void
standard_error_is_the_journal_if_it_is_the_stream_named(void **state)
{
	struct notify notify;
	struct stat st;
	char name[48];

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	for (unsigned off = 0; off < 2; off++) {
		snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + off);
		setenv("JOURNAL_STREAM", name, 1);
		notify_init(&notify);
		assert_int_equal(notify.journal, off == 0);
	}
	unsetenv("JOURNAL_STREAM");
	notify_init(&notify);
	assert_false(notify.journal);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loop_that_hangs_ends_the_process_with_its_stack),
		cmocka_unit_test(of_several_loops_it_names_the_one_that_hangs),
		cmocka_unit_test(a_loop_that_turns_is_left_alone),
		cmocka_unit_test(a_process_that_was_stopped_has_not_hung),
		cmocka_unit_test(standard_error_that_blocks_does_not_save_the_process),
		cmocka_unit_test(sigusr2_shows_a_stack_and_changes_nothing),
		cmocka_unit_test(the_manager_hears_by_path_and_by_abstract_name),
		cmocka_unit_test(an_interval_meant_for_another_process_is_none),
		cmocka_unit_test(standard_error_is_the_journal_if_it_is_the_stream_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
