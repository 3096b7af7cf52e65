/* The first recipients of a day go out by the virtual MTA that warms up, the rest by another. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/warmup.h"

#include "queue/queue_fixture.h"

/* 1970 is long over: the list's last number is every day's. */
#define POLICY(days) \
	"provider \"a\" { domains = \"a.example\" }\n" \
	"vmta \"v1\" { source = \"any\", warmup = { start = \"1970-01-01\", per_day = " days ", provider = \"a\", overflow = \"v2\" } }\n" \
	"vmta \"v2\" { source = \"any\" }\n" \
	"domain \"*\" { max_smtp_out = 3, retry_jitter = \"0%\" }\n"

static struct warmup_state
state_of(struct world *w, const char *name)
{
	struct warmup_state state = { 0 };

	assert_true(warmup_state(queue_called(w, name), loop_now(w->queues->o.loop).wall, &state));
	return state;
}

static void
the_rest_of_a_day_goes_by_the_overflow(void **state)
{
	struct world *w = world_new(POLICY("{ 5, 7 }"));

	put(w, "a.example", .messages = 20);
	world_run(w, MINS(5));
	assert_int_equal(sent_by(w, "a/v1"), 7);
	assert_int_equal(sent_by(w, "a/v2"), 13);
	world_free(w);
}

static void
a_message_to_many_takes_no_more_than_is_left(void **state)
{
	struct world *w = world_new(POLICY("{ 7 }"));

	put(w, "a.example", .n = 20);
	world_run(w, MINS(5));
	assert_int_equal(sent_by(w, "a/v1") + sent_by(w, "a/v2"), 20);
	assert_int_equal(sent_by(w, "a/v1"), 7);
	world_free(w);
}

static void
checkpoint(struct world *w)
{
	struct buf bytes;

	buf_init(&bytes, 0);
	queues_save(w->queues, w->loop.now, &bytes);
	buf_fini(&bytes);
}

static void
the_count_outlives_a_restart_and_the_day_does_not(void **state)
{
	static const struct { bool clean, still; unsigned sent; } cases[] = {
		{ true, false, 7 }, { true, true, 7 },
		/* Who knows how many went out between the checkpoint and the crash? */
		{ false, false, 4 }, { false, true, 7 },
	};

	for (unsigned i = 0; i < countof(cases); i++) {
		struct world *w = world_new(POLICY("{ 7 }"));

		put(w, "a.example", .messages = 4);
		world_run(w, SEC(10));
		assert_int_equal(state_of(w, "a/v1").left, 3);
		if (cases[i].still)
			checkpoint(w);
		world_restart(w, NULL, cases[i].clean, SEC(5), 0);
		put(w, "a.example", .messages = 10);
		world_run(w, MINS(5));
		assert_int_equal(sent_by(w, "a/v1"), cases[i].sent);
		world_run(w, HOUR(24));
		put(w, "a.example", .messages = 1);
		world_run(w, SEC(10));
		assert_int_equal(sent_by(w, "a/v1"), cases[i].sent + 1);
		assert_int_equal(state_of(w, "a/v1").used, 1);
		world_free(w);
	}
}

static void
other_sites_and_other_virtual_mtas_do_not_warm_up(void **state)
{
	struct world *w = world_new(POLICY("{ 2 }"));
	struct warmup_state unused;

	put(w, "b.example", .messages = 10);
	put(w, "a.example", .messages = 10, .vmta = "v2");
	world_run(w, MINS(1));
	assert_int_equal(sent_by(w, "b.example/v1"), 10);
	assert_int_equal(sent_by(w, "a/v2"), 10);
	assert_false(warmup_state(queue_called(w, "b.example/v1"), (wall_ms_t){ 0 }, &unused));
	assert_int_equal(warmup_available((struct queue *)queue_called(w, "a/v2"), (struct now){ 0 }), UINT32_MAX);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rest_of_a_day_goes_by_the_overflow),
		cmocka_unit_test(a_message_to_many_takes_no_more_than_is_left),
		cmocka_unit_test(the_count_outlives_a_restart_and_the_day_does_not),
		cmocka_unit_test(other_sites_and_other_virtual_mtas_do_not_warm_up),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
