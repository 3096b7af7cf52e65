/* The gauge: never above its limit, whoever asks. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "limit/gauge.h"

static void
gives_up_to_the_limit_and_again_after_a_give(void **state)
{
	struct gauge gauge = { 0 };
	for (int i = 0; i < 3; i++)
		assert_true(gauge_take(&gauge, 3));
	assert_false(gauge_take(&gauge, 3));
	gauge_give(&gauge);
	assert_int_equal(gauge_in_use(&gauge), 2);
	assert_true(gauge_take(&gauge, 3));
	assert_false(gauge_take(&gauge, 3));
}

static void
a_limit_of_nothing_gives_nothing(void **state)
{
	struct gauge gauge = { 0 };
	assert_false(gauge_take(&gauge, 0));
}

static void
a_fallen_limit_revokes_nothing_and_gives_nothing_new(void **state)
{
	struct gauge gauge = { 0 };
	for (int i = 0; i < 5; i++)
		assert_true(gauge_take(&gauge, GAUGE_UNLIMITED));
	assert_false(gauge_take(&gauge, 2));
	assert_int_equal(gauge_in_use(&gauge), 5);
	for (int i = 0; i < 4; i++)
		gauge_give(&gauge);
	assert_true(gauge_take(&gauge, 2));
}

static void
giving_what_was_not_taken_is_a_broken_invariant(void **state)
{
	pid_t child = fork();
	if (child == 0) {
		struct gauge gauge = { 0 };
		signal(SIGABRT, SIG_DFL);
		fclose(stderr);
		gauge_give(&gauge);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

struct shared {
	struct gauge     gauge;
	_Atomic uint32_t inside;
	_Atomic uint32_t most;
	_Atomic uint32_t entered;
};

static void *
come_and_go(void *ctx)
{
	struct shared *shared = ctx;
	for (int i = 0; i < 200000; i++) {
		if (!gauge_take(&shared->gauge, 1))
			continue;
		uint32_t inside = atomic_fetch_add(&shared->inside, 1) + 1;
		if (inside > 1)
			atomic_store(&shared->most, inside);
		atomic_fetch_add(&shared->entered, 1);
		atomic_fetch_sub(&shared->inside, 1);
		gauge_give(&shared->gauge);
	}
	return NULL;
}

static void
threads_never_pass_the_limit_together(void **state)
{
	struct shared shared = { 0 };
	pthread_t threads[3];
	for (size_t i = 0; i < countof(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &shared), 0);
	for (size_t i = 0; i < countof(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.most, 0);
	assert_true(shared.entered >= 1000);
	assert_int_equal(gauge_in_use(&shared.gauge), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_up_to_the_limit_and_again_after_a_give),
		cmocka_unit_test(a_limit_of_nothing_gives_nothing),
		cmocka_unit_test(a_fallen_limit_revokes_nothing_and_gives_nothing_new),
		cmocka_unit_test(giving_what_was_not_taken_is_a_broken_invariant),
		cmocka_unit_test(threads_never_pass_the_limit_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
