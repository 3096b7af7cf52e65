/* Allocation, and the end of a process whose invariant broke. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "util/base.h"

static void
fail_a_check(int value, int fd)
{
	dup2(fd, 2);
	signal(SIGABRT, SIG_DFL);
	check(value == 2);
	_exit(0);
}

static void
a_failed_check_says_where_and_aborts(void **state)
{
	int fds[2], status;
	assert_int_equal(pipe(fds), 0);
	pid_t child = fork();
	if (child == 0)
		fail_a_check(1, fds[1]);
	close(fds[1]);
	char said[300] = "";
	assert_true(read(fds[0], said, sizeof(said) - 1) > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(said, "base_test.c:"));
	assert_non_null(strstr(said, "value == 2"));
	close(fds[0]);
}

static void
allocations_are_zeroed_and_never_null(void **state)
{
	char *p = mem_alloc(1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(p[i], 0);
	p = mem_grow(p, 5000);
	assert_int_equal(p[999], 0);
	free(p);
	p = mem_alloc(0);
	assert_non_null(p);
	free(p);
}

static void
copies_of_text_end(void **state)
{
	char *whole = mem_strdup("hello"), *part = mem_strndup("hello", 2), *shorter = mem_strndup("hi\0there", 8);
	assert_string_equal(whole, "hello");
	assert_string_equal(part, "he");
	assert_string_equal(shorter, "hi");
	free(whole);
	free(part);
	free(shorter);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_check_says_where_and_aborts),
		cmocka_unit_test(allocations_are_zeroed_and_never_null),
		cmocka_unit_test(copies_of_text_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
