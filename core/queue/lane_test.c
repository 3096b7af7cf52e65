/* Streams share a lane by weight, nobody is buried, and nothing of them stays. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

/* One session, so that the order is the lane's. */
static struct world *
world_with(const char *settings)
{
	char policy[1000];

	snprintf(policy, sizeof policy, "vmta \"v1\" { source = \"any\" }\ndomain \"*\" { max_smtp_out = 1, %s }\n", settings);
	return world_new(policy);
}

/* While the queue is paused mail gathers; then it goes. */
static void
hold(struct world *w, bool held)
{
	unsigned n;

	queues_pause(w->queues, SPAN("*"), NULL, held, &n, w->loop.now);
}

static unsigned
sent_of(const struct world *w, size_t from, size_t to, char job)
{
	unsigned n = 0;

	for (size_t i = from; i < to; i++)
		n += w->sent[i].job == job;
	return n;
}

struct streams {
	unsigned n;
	struct { unsigned priority, rcpts; } is[4];
};

static const struct streams rings[] = {
	{ 2, { { 50, 1 }, { 50, 1 } } },
	{ 2, { { 100, 1 }, { 50, 1 } } },
	{ 2, { { 100, 1 }, { 0, 1 } } },
	{ 3, { { 100, 1 }, { 50, 1 }, { 10, 1 } } },
	{ 2, { { 0, 1 }, { 0, 1 } } },
	{ 2, { { 50, 10 }, { 50, 1 } } },       /* shares are of recipients, not of messages */
	{ 3, { { 20, 7 }, { 80, 3 }, { 50, 1 } } },
	{ 4, { { 100, 2 }, { 50, 2 }, { 10, 2 }, { 0, 1 } } },
};

static void
streams_share_by_one_plus_priority(void **state)
{
	for (unsigned r = 0; r < countof(rings); r++) {
		struct world *w = world_with("");
		unsigned weights = 0;
		const size_t window = 4040;

		hold(w, true);
		for (unsigned s = 0; s < rings[r].n; s++) {
			char job[2] = { (char)('a' + s), '\0' };

			weights += 1 + rings[r].is[s].priority;
			put(w, "a.example", .n = rings[r].is[s].rcpts, .messages = 4200 / rings[r].is[s].rcpts,
			    .job = job, .priority = (uint8_t)rings[r].is[s].priority);
		}
		world_run(w, SEC(1));
		hold(w, false);
		while (w->sent_n < window)
			assert_true(world_turn(w, MONO_NEVER - 1));
		for (unsigned s = 0; s < rings[r].n; s++) {
			unsigned got = sent_of(w, 0, window, (char)('a' + s));
			double fair = (double)window * (1 + rings[r].is[s].priority) / weights;

			if (got < fair * 0.95 - 10 || got > fair * 1.05 + 10)
				fail_msg("ring %u: stream %u got %u of %.0f", r, s, got, fair);
		}
		world_free(w);
	}
}

static void
a_few_urgent_ones_are_not_behind_a_hundred_thousand(void **state)
{
	static const struct { unsigned bulk_priority, urgent_priority, within; } rows[] = {
		{ 50, 100, 35 }, { 0, 100, 25 }, { 50, 50, 45 },
	};

	for (unsigned r = 0; r < countof(rows); r++) {
		struct world *w = world_with("");
		size_t before;

		put(w, "a.example", .messages = 100000, .job = "bulk", .priority = (uint8_t)rows[r].bulk_priority);
		world_run(w, SEC(10));
		before = w->sent_n;
		assert_true(before > 100);
		put(w, "a.example", .messages = 20, .job = "urgent", .priority = (uint8_t)rows[r].urgent_priority);
		while (w->sent_n < before + rows[r].within)
			assert_true(world_turn(w, MONO_NEVER - 1));
		assert_int_equal(sent_of(w, before, w->sent_n, 'u'), 20);
		assert_true(w->sent[before].job == 'u' || w->sent[before + 1].job == 'u');
		world_free(w);
	}
}

static void
one_message_of_the_lowest_priority_goes_at_once_too(void **state)
{
	struct world *w = world_with("");
	size_t before;

	put(w, "a.example", .messages = 1000, .job = "bulk", .priority = 100);
	world_run(w, SEC(1));
	before = w->sent_n;
	put(w, "a.example", .job = "little", .priority = 0);
	world_run(w, SEC(1));
	assert_int_equal(sent_of(w, before, before + 2, 'l'), 1);
	world_free(w);
}

static void
equals_take_turns_also_when_a_light_one_was_there_first(void **state)
{
	struct world *w = world_with("");
	size_t before;

	put(w, "a.example", .messages = 1000, .job = "light", .priority = 0);
	world_run(w, SEC(1));
	before = w->sent_n;
	put(w, "a.example", .messages = 200, .job = "a", .priority = 100);
	put(w, "a.example", .messages = 200, .job = "b", .priority = 100);
	world_run(w, SEC(5));
	for (size_t i = before; i + 4 < before + 100; i++)
		assert_in_range(sent_of(w, i, i + 4, 'a'), 1, 3);
	world_free(w);
}

static void
the_same_job_at_two_priorities_is_two_streams(void **state)
{
	struct world *w = world_with("");
	unsigned urgent = 0;

	hold(w, true);
	put(w, "a.example", .messages = 500, .job = "j", .priority = 0);
	put(w, "a.example", .messages = 20, .job = "j", .priority = 100);
	world_run(w, SEC(1));
	hold(w, false);
	while (w->sent_n < 30)
		assert_true(world_turn(w, MONO_NEVER - 1));
	for (size_t i = 0; i < 25; i++)
		urgent += w->sent[i].priority == 100;
	assert_int_equal(urgent, 20);
	world_free(w);
}

static void
a_single_job_gets_all_and_owes_nothing_later(void **state)
{
	struct world *w = world_with("max_rcpt_per_message = 100");
	size_t before;

	put(w, "a.example", .n = 100, .messages = 30, .job = "a", .priority = 50);
	world_run(w, MS(300));
	assert_int_equal(sent_of(w, 0, w->sent_n, 'a'), w->sent_n);
	before = w->sent_n;
	assert_true(before >= 500 && before < 3000);
	put(w, "a.example", .messages = 500, .job = "b", .priority = 50);
	while (w->sent_n < before + 400)
		assert_true(world_turn(w, MONO_NEVER - 1));
	assert_in_range(sent_of(w, before, w->sent_n, 'a'), 100, 300);
	world_free(w);
}

/* They come due as b a b a. The two of b go together, and leave one run of a behind, not two. */
static void
what_parted_a_run_goes_and_it_is_one_run_again(void **state)
{
	struct world *w = world_with("");
	int64_t now_ms = w->loop.now.wall.ms;
	struct spool_rcpt_state a[] = { { SPOOL_WAITING, 0, { now_ms + 2000 } }, { SPOOL_WAITING, 0, { now_ms + 4000 } } };
	struct spool_rcpt_state b[] = { { SPOOL_WAITING, 0, { now_ms + 1000 } }, { SPOOL_WAITING, 0, { now_ms + 3000 } } };

	hold(w, true);
	put(w, "x.example", .n = 2, .states = a);
	put(w, "x.example", .n = 2, .states = b);
	world_run(w, SEC(5));
	world_check(w);
	w->play.reply_us = SEC(1);
	hold(w, false);
	world_run(w, SEC(1));
	assert_int_equal(w->sent_n, 2);
	world_check(w);
	world_run(w, SEC(2));
	assert_int_equal(w->delivered, 4);
	assert_int_equal(w->started, 1);
	world_free(w);
}

static void
within_a_stream_the_oldest_goes_first(void **state)
{
	struct world *w = world_with("");
	uint64_t last = 0;

	put(w, "a.example", .messages = 50, .job = "a");
	assert_true(run_until_empty(w, MINS(1)));
	for (size_t i = 0; i < w->sent_n; i++) {
		assert_true(w->sent[i].id > last);
		last = w->sent[i].id;
	}
	world_free(w);
}

/* Streams begin and end at all times, with all weights: one that has mail is served within a bounded number of slots. */
static void
no_stream_starves_whatever_comes_and_goes(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct world *w = world_with("max_rcpt_per_message = 5");
		struct prng prng;

		prng_seed(&prng, seed);
		for (unsigned i = 0; i < 400; i++) {
			char job[2] = { (char)('a' + prng_below(&prng, 6)), '\0' };

			put(w, "a.example", .n = 1 + (unsigned)prng_below(&prng, 8), .job = job, .priority = (uint8_t)prng_below(&prng, 101));
			world_run(w, MS(1) * (int64_t)prng_below(&prng, 60));
		}
		world_check(w);
		assert_true(run_until_empty(w, HOUR(1)));
		world_free(w);
	}
}

static void
streams_lanes_and_jobs_are_freed_with_their_last_recipient(void **state)
{
	struct world *w = world_with("");
	struct queue *q;
	char job[8];

	hold(w, true);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(job, sizeof job, "job%u", i);
		put(w, "a.example", .job = job, .n = 2);
	}
	world_run(w, SEC(1));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(list_first(&q->lanes, struct lane, in_queue)->stream_table.n, 50);
	assert_int_equal(w->queues->jobs.n, 50);
	hold(w, false);
	world_run(w, MS(500));
	/* Those that are done are gone, while others still wait. */
	assert_in_range(list_first(&q->lanes, struct lane, in_queue)->stream_table.n, 10, 49);
	assert_in_range(w->queues->jobs.n, list_first(&q->lanes, struct lane, in_queue)->stream_table.n,
			list_first(&q->lanes, struct lane, in_queue)->stream_table.n + 1);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(w->queues->jobs.n, 0);
	world_run(w, SEC(6));           /* the idle session has gone */
	assert_true(list_empty(&q->lanes));
	world_free(w);
}

/* A provider told by its MX hosts: every domain has hosts of its own, and all are in one queue. */
static void
the_work_of_a_turn_does_not_grow_with_the_lanes_that_wait(void **state)
{
	struct world *w = world_new("vmta \"v1\" { source = \"any\" }\n"
				    "provider \"p\" { mx = { \"*.example\" }, max_smtp_out = 4 }\n");
	const unsigned n = 5000;
	struct queue *q;
	char name[32];

	hold(w, true);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof name, "d%u.example", i);
		put(w, name);
	}
	world_run(w, SEC(5));
	q = queue_called(w, "p/v1");
	assert_int_equal(q->ready_n, n);
	assert_int_equal(q->lane_table.n, n);
	world_check(w);
	assert_true(q->lanes_seen < 20 * n);
	q->lanes_seen = 0;
	hold(w, false);
	assert_true(run_until_empty(w, HOUR(2)));
	assert_true(q->lanes_seen < 40 * n);
	assert_int_equal(w->sent_n, n);
	world_run(w, SEC(6));
	assert_int_equal(q->lane_table.n, 0);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_share_by_one_plus_priority),
		cmocka_unit_test(a_few_urgent_ones_are_not_behind_a_hundred_thousand),
		cmocka_unit_test(one_message_of_the_lowest_priority_goes_at_once_too),
		cmocka_unit_test(equals_take_turns_also_when_a_light_one_was_there_first),
		cmocka_unit_test(the_same_job_at_two_priorities_is_two_streams),
		cmocka_unit_test(a_single_job_gets_all_and_owes_nothing_later),
		cmocka_unit_test(what_parted_a_run_goes_and_it_is_one_run_again),
		cmocka_unit_test(within_a_stream_the_oldest_goes_first),
		cmocka_unit_test(no_stream_starves_whatever_comes_and_goes),
		cmocka_unit_test(streams_lanes_and_jobs_are_freed_with_their_last_recipient),
		cmocka_unit_test(the_work_of_a_turn_does_not_grow_with_the_lanes_that_wait),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
