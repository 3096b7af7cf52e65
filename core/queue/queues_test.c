/* What stays in memory: nothing of what is over, and little for what waits. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#define POLICY "vmta \"v1\" { source = \"any\" }\nvmta \"v2\" { source = \"any\" }\n"

static void
assert_nothing_is_left(struct world *w)
{
	assert_int_equal(w->queues->queues.n, 0);
	assert_int_equal(w->queues->sites.n, 0);
	assert_int_equal(w->queues->routes.n, 0);
	assert_int_equal(w->queues->host_sets.n, 0);
	assert_int_equal(w->queues->jobs.n, 0);
	assert_int_equal(w->queues->rcpts_n, 0);
	assert_int_equal(w->queues->deferred_n, 0);
	assert_int_equal(w->queues->sessions_n, 0);
	assert_true(list_empty(&w->queues->reap_routes));
	assert_int_equal(gauge_in_use(&w->queues->node.use->sessions), 0);
	for (unsigned i = 0; i < policy_ruleset(w->policy)->vmtas_n; i++) {
		assert_int_equal(gauge_in_use(&w->queues->vmtas[i]->use->sessions), 0);
		assert_int_equal(w->queues->vmtas[i]->use->connecting, 0);
	}
	assert_int_equal(w->queues->node.use->connecting, 0);
}

/* How long after the last recipient everything has gone. */
static int64_t
until_all_is_gone(struct world *w, int64_t at_most)
{
	mono_us_t from = world_now(w);

	while (w->queues->queues.n > 0 || w->queues->sites.n > 0 || w->queues->routes.n > 0) {
		if (world_now(w) - from > at_most)
			fail_msg("%u queues, %u sites, %u routes after %lld s", w->queues->queues.n, w->queues->sites.n,
				 w->queues->routes.n, (long long)(at_most / US_PER_S));
		world_run(w, SEC(1));
	}
	return world_now(w) - from;
}

static void
nothing_is_left_of_what_is_over(void **state)
{
	struct world *w = world_new(POLICY);
	char to[40], job[8];

	world_dns(w, "dead.example", RESOLVE_MX, RESOLVER_NXDOMAIN, 60, "");
	world_dns(w, "fails.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	world_mx(w, "r1.example", "10 mx.example");
	world_mx(w, "r2.example", "10 mx.example");
	w->play.temp = 100;
	w->play.refuse = 50;
	for (unsigned i = 0; i < 300; i++) {
		snprintf(to, sizeof to, "d%u.example,dead.example,r1.example", i);
		snprintf(job, sizeof job, "j%u", i % 50);
		put(w, to, .n = 1 + i % 7, .job = job, .vmta = i % 3 ? "v1" : "v2", .priority = (uint8_t)(i % 101));
	}
	put(w, "fails.example,r2.example");
	world_run(w, MINS(5));
	assert_true(w->queues->queues.n > 1);
	world_mx(w, "fails.example", "10 mx.example");
	assert_true(run_until_empty(w, HOUR(24)));
	until_all_is_gone(w, MINS(3));
	assert_nothing_is_left(w);
	world_free(w);
}

static void
memory_does_not_grow_with_time(void **state)
{
	struct world *w = world_new(POLICY);
	char to[40];
	uint32_t most = 0;

	for (unsigned i = 0; i < 5000; i++) {
		snprintf(to, sizeof to, "d%u.example", i);
		put(w, to, .job = "a job");
		world_run(w, MS(200));
		most = (uint32_t)max_i64(most, w->queues->queues.n + w->queues->routes.n);
	}
	/* A minute's, at five a second. */
	assert_in_range(most, 1, 800);
	world_free(w);
}

/* Sent, reaped and sent again: the second time must not begin with a fresh bucket. */
static void
a_limiter_is_not_forgotten_before_its_window_is_over(void **state)
{
	static const struct { const char *setting, *rate; enum scope_level level; bool connects; } rows[] = {
		{ "max_msg_rate = \"60/m\"", "60/m", SCOPE_QUEUE, false },
		{ "max_msg_rate = \"6/h\"", "6/h", SCOPE_QUEUE, false },
		{ "total_max_msg_rate = \"6/h\"", "6/h", SCOPE_SITE, false },
		{ "max_msg_per_connection = 1, max_connect_rate = \"6/h\"", "6/h", SCOPE_QUEUE, true },
		{ "max_msg_per_connection = 1, total_max_connect_rate = \"6/h\"", "6/h", SCOPE_SITE, true },
		{ "max_msg_rate = { \"60/m\", burst = 50 }", "60/m", SCOPE_QUEUE, false },
		{ "max_msg_rate = { \"60/m\", burst = 59 }", "60/m", SCOPE_QUEUE, false },
		{ "total_max_msg_rate = { \"400/h\", burst = 390 }", "400/h", SCOPE_SITE, false },
		{ "max_msg_rate = { \"400/h\", burst = 399 }", "400/h", SCOPE_QUEUE, false },
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		for (unsigned burst = 1; burst <= 400; burst *= 3) {
			char policy[400];
			struct world *w;

			snprintf(policy, sizeof policy, POLICY "domain \"*\" { %s }", rows[i].setting);
			w = world_new(policy);
			world_bound(w, rows[i].level, 0, rows[i].connects ? rows[i].rate : "unlimited",
				    rows[i].connects ? "unlimited" : rows[i].rate);
			w->play.reply_us = MS(1);
			for (unsigned round = 0; round < 12; round++) {
				put(w, "a.example", .messages = burst);
				run_until_empty(w, HOUR(1));
				world_run(w, SEC(70));  /* route and queue would go */
			}
			world_free(w);
		}
	}
}

static void
a_full_limiter_is_let_go(void **state)
{
	struct world *w = world_new(POLICY "domain \"*\" { max_msg_rate = \"60/m\", total_max_msg_rate = { \"400/h\", burst = 50 } }");

	put(w, "a.example", .messages = 60);
	assert_true(run_until_empty(w, MINS(3)));
	until_all_is_gone(w, MINS(10));
	assert_nothing_is_left(w);
	world_free(w);
}

static void
a_queue_in_retry_is_not_forgotten(void **state)
{
	struct world *w = world_new(POLICY "domain \"*\" { retry_after = \"30m\", retry_jitter = \"0%\", bounce_after = \"10m\" }");

	w->play.refuse = 1000;
	put(w, "a.example");
	world_run(w, MINS(12));
	assert_int_equal(w->given_up_n, 1);
	assert_int_equal(w->queues->rcpts_n, 0);
	put(w, "a.example");
	world_run(w, MINS(9));
	assert_int_equal(w->failures, 1);       /* still the wait of the first one */
	world_run(w, MINS(10));
	until_all_is_gone(w, MINS(30));
	world_free(w);
}

static void
a_site_stays_while_one_of_its_queues_does(void **state)
{
	struct world *w = world_new(POLICY);
	unsigned n;
	struct site *site;

	queues_pause(w->queues, SPAN("*/v2"), NULL, true, &n, w->loop.now);
	put(w, "a.example");
	put(w, "a.example", .vmta = "v2");
	world_run(w, MINS(5));
	assert_null(queues_find(w->queues, SPAN("a.example/v1")));
	site = queue_called(w, "a.example/v2")->site;
	assert_int_equal(site->queues_n, 1);
	put(w, "a.example");
	world_run(w, SEC(1));
	assert_ptr_equal(queue_called(w, "a.example/v1")->site, site);
	world_free(w);
}

static void
one_that_comes_back_in_time_finds_its_queue(void **state)
{
	struct world *w = world_new(POLICY);
	struct queue *q;

	put(w, "a.example");
	world_run(w, SEC(1));
	q = queue_called(w, "a.example/v1");
	for (unsigned i = 0; i < 30; i++) {
		world_run(w, SEC(30));
		put(w, "a.example");
		assert_ptr_equal(queue_called(w, "a.example/v1"), q);
	}
	world_free(w);
}

/* One recipient a message, the worst case: with the allocator's header, and its slots in a heap and in an array that doubles. */
static void
a_queued_recipient_costs_at_most_256_bytes(void **state)
{
	assert_in_range(sizeof(struct message) + sizeof(struct rcpt) + 16 + 2 * sizeof(void *), 1, 256);
	assert_in_range(sizeof(struct rcpt), 1, 128);
}

static void
how_recipients_stand_is_told_for_the_spool(void **state)
{
	struct world *w = world_new(POLICY "domain \"*\" { retry_jitter = \"0%\", retry_recipients_after = \"10m\", max_rcpt_per_message = 1 }");
	struct spool_rcpt_state states[3];
	struct message *message;
	unsigned n;

	w->play.perm = 1000;
	put(w, "c.example,b.example,a.example");
	message = list_first(&queue_called(w, "c.example/v1")->routes, struct route, in_queue)->waiting.next == NULL ? NULL :
		  list_entry(list_first(&queue_called(w, "c.example/v1")->routes, struct route, in_queue)->waiting.next, struct rcpt, node)->message;
	queues_pause(w->queues, SPAN("a*"), NULL, true, &n, w->loop.now);
	queues_pause(w->queues, SPAN("b*"), NULL, true, &n, w->loop.now);
	world_run(w, SEC(1));
	w->play.perm = 0;
	w->play.temp = 1000;
	queues_pause(w->queues, SPAN("b*"), NULL, false, &n, w->loop.now);
	world_run(w, SEC(1));
	message_states(message, states);
	assert_int_equal(states[0].outcome, SPOOL_BOUNCED);
	assert_int_equal(states[1].outcome, SPOOL_WAITING);
	assert_int_equal(states[1].attempts, 1);
	assert_in_range(states[1].due.ms - w->loop.now.wall.ms, 598 * MS_PER_S, 600 * MS_PER_S);
	assert_int_equal(states[2].outcome, SPOOL_WAITING);
	assert_int_equal(states[2].attempts, 0);
	assert_int_equal(states[2].due.ms, 0);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left_of_what_is_over),
		cmocka_unit_test(memory_does_not_grow_with_time),
		cmocka_unit_test(a_limiter_is_not_forgotten_before_its_window_is_over),
		cmocka_unit_test(a_full_limiter_is_let_go),
		cmocka_unit_test(a_queue_in_retry_is_not_forgotten),
		cmocka_unit_test(a_site_stays_while_one_of_its_queues_does),
		cmocka_unit_test(one_that_comes_back_in_time_finds_its_queue),
		cmocka_unit_test(a_queued_recipient_costs_at_most_256_bytes),
		cmocka_unit_test(how_recipients_stand_is_told_for_the_spool),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
