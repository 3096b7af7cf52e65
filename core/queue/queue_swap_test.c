/* A policy changes while mail waits and flows: nobody is lost, no cap or rate is passed, what was learnt stays. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#define V1 "vmta \"v1\" { source = \"any\" }\n"

static void
swap_to(struct world *w, const char *policy)
{
	struct err err = { 0 };

	if (!world_swap(w, policy, &err))
		fail_msg("refused: %s", err.text);
	world_check(w);
}

static bool
never(struct world *w, struct played *s)
{
	return false;
}

static uint32_t
open_sessions(struct world *w, const char *name)
{
	struct queue *q = queues_find(w->queues, span_text(name));

	return q != NULL ? gauge_in_use(&q->scope.use->sessions) : 0;
}

/* ---- caps ---- */

static void
a_lowered_cap_drains_at_message_boundaries(void **state)
{
	struct world *w = world_new(V1 "domain \"*\" { max_smtp_out = 8 }\n");
	uint64_t before;

	w->play.reply_us = MS(200);
	put(w, "a.example", .messages = 2000);
	world_run(w, SEC(5));
	assert_int_equal(open_sessions(w, "a.example/v1"), 8);
	before = w->delivered;
	swap_to(w, V1 "domain \"*\" { max_smtp_out = 3 }\n");
	assert_int_equal(open_sessions(w, "a.example/v1"), 8);
	world_run(w, MS(500));
	assert_int_equal(open_sessions(w, "a.example/v1"), 3);
	assert_true(w->delivered > before);
	assert_int_equal(w->failures, 0);
	swap_to(w, V1 "domain \"*\" { max_smtp_out = 5 }\n");
	world_run(w, SEC(2));
	assert_int_equal(open_sessions(w, "a.example/v1"), 5);
	assert_true(run_until_empty(w, HOUR(1)));
	assert_int_equal(w->delivered, 2000);
	world_free(w);
}

static void
a_site_that_is_renamed_takes_its_sessions_along(void **state)
{
	struct world *w = world_new(V1 "provider \"old\" { domains = { \"a.example\" }, max_smtp_out = 4 }\n");

	w->play.reply_us = MS(200);
	put(w, "a.example", .messages = 1000);
	world_run(w, SEC(5));
	assert_int_equal(open_sessions(w, "old/v1"), 4);
	swap_to(w, V1 "provider \"new\" { domains = { \"a.example\" }, max_smtp_out = 4 }\n");
	for (int i = 0; i < 200; i++) {
		world_run(w, MS(50));
		world_check(w);
		assert_true(w->started - w->quits <= 4 || open_sessions(w, "new/v1") + open_sessions(w, "old/v1") <= 4);
	}
	assert_int_equal(open_sessions(w, "old/v1"), 0);
	assert_int_equal(open_sessions(w, "new/v1"), 4);
	assert_true(run_until_empty(w, HOUR(1)));
	assert_int_equal(w->delivered, 1000);
	assert_int_equal(w->failures, 0);
	world_free(w);
}

static void
a_queue_that_gets_a_pool_counts_there_with_the_sessions_it_has(void **state)
{
	struct world *w = world_new(V1 "domain \"*\" { max_smtp_out = 6 }\n");

	w->play.reply_us = MS(100);
	put(w, "a.example", .messages = 1000);
	world_run(w, SEC(2));
	swap_to(w, V1 "pool \"p\" { \"v1\", max_smtp_out = 2 }\ndomain \"*\" { max_smtp_out = 6 }\n");
	assert_int_equal(gauge_in_use(&w->queues->pools[0]->use->sessions), 6);
	world_run(w, SEC(1));
	assert_int_equal(gauge_in_use(&w->queues->pools[0]->use->sessions), 2);
	swap_to(w, V1 "domain \"*\" { max_smtp_out = 6 }\n");
	world_run(w, SEC(1));
	assert_int_equal(open_sessions(w, "a.example/v1"), 6);
	assert_true(run_until_empty(w, HOUR(1)));
	world_free(w);
}

/* ---- rates ---- */

static void
swaps_hand_out_no_fresh_bucket(void **state)
{
	static const char *const policies[] = {
		V1 "domain \"*\" { max_msg_rate = { \"60/m\", burst = 40 } }\n",
		V1 "domain \"*\" { max_msg_rate = \"60/m\" }\n",
		V1 "domain \"*\" { max_msg_rate = \"30/m\" }\n",
		V1 "domain \"*\" { max_msg_rate = { \"60/m\", burst = 40 } }\nprovider \"p\" { domains = { \"b.example\" } }\n",
	};
	struct world *w = world_new(policies[0]);

	world_bound(w, SCOPE_QUEUE, 0, "unlimited", "60/m");
	put(w, "a.example", .messages = 600);
	for (unsigned i = 0; i < 300; i++) {
		world_run(w, MS(700));
		swap_to(w, policies[prng_below(&w->prng, countof(policies))]);
	}
	world_run(w, MINS(1));
	assert_true(w->delivered > 60);
	world_free(w);
}

static void
nor_does_a_limit_that_goes_and_comes_back(void **state)
{
	const char *with = V1 "vmta \"v2\" { source = \"any\" }\ndomain \"*\" { max_msg_rate = { \"60/m\", burst = 40 } }\n";
	const char *unlimited = V1 "vmta \"v2\" { source = \"any\" }\n", *without = V1;
	struct world *w = world_new(with);
	size_t sent;

	put(w, "a.example", .messages = 45);
	put(w, "a.example", .messages = 40, .vmta = "v2");
	world_run(w, SEC(1));
	assert_true(w->delivered >= 79);
	swap_to(w, unlimited);
	assert_true(run_until_empty(w, SEC(30)));
	world_run(w, SEC(6));           /* its idle sessions end */
	swap_to(w, without);
	assert_null(queues_find(w->queues, SPAN("a.example/v2")));
	swap_to(w, with);
	sent = w->sent_n;
	put(w, "a.example", .messages = 100);
	put(w, "a.example", .messages = 100, .vmta = "v2");
	world_run(w, SEC(8));
	assert_in_range(w->sent_n - sent, 1, 8);
	world_free(w);
}

static void
mail_that_moves_to_another_site_finds_a_limiter_that_is_used_up(void **state)
{
	struct world *w = world_new(V1 "provider \"old\" { domains = { \"a.example\" }, max_msg_rate = { \"60/m\", burst = 40 } }\n");
	size_t sent;

	put(w, "a.example", .messages = 200);
	world_run(w, SEC(1));
	sent = w->sent_n;
	assert_true(sent >= 39);
	swap_to(w, V1 "provider \"new\" { domains = { \"a.example\" }, max_msg_rate = { \"60/m\", burst = 40 } }\n");
	world_run(w, SEC(6));
	assert_in_range(w->sent_n - sent, 1, 3);
	assert_int_equal(queue_called(w, "new/v1")->ready_n, 200 - w->sent_n);
	world_free(w);
}

/* No route leads to either queue when the name comes back, and neither is full. */
static void
a_provider_whose_name_comes_back_finds_a_limiter_that_is_used_up(void **state)
{
#define BURST "max_msg_rate = { \"400/h\", burst = 300 }"
	static const char *const policies[] = {
		V1 "domain \"*\" { " BURST " }\nprovider \"one\" { domains = { \"a.example\" }, " BURST " }\n",
		V1 "domain \"*\" { " BURST " }\nprovider \"other\" { domains = { \"a.example\" }, " BURST " }\n",
	};
#undef BURST
	struct world *w = world_new(policies[0]);
	size_t sent;

	w->play.reply_us = MS(1);
	put(w, "a.example", .messages = 290);
	assert_true(run_until_empty(w, MINS(1)));
	swap_to(w, policies[1]);
	world_run(w, HOUR(2));
	sent = w->sent_n;
	put(w, "a.example", .messages = 190);
	assert_true(run_until_empty(w, MINS(1)));
	world_run(w, MINS(2));
	assert_true(list_empty(&queue_called(w, "one/v1")->routes));
	assert_true(list_empty(&queue_called(w, "other/v1")->routes));
	swap_to(w, policies[0]);
	put(w, "a.example", .messages = 500);
	world_run(w, MINS(55));
	assert_in_range(w->sent_n - sent, 190 + 80, 400);
	world_free(w);
}

/* ---- where mail goes ---- */

static void
waiting_mail_moves_with_its_domain_and_keeps_its_time(void **state)
{
	struct world *w = world_new(V1 "domain \"*\" { retry_jitter = \"0%\" }\n");
	mono_us_t due;

	w->play.temp = 1000;
	put(w, "a.example", .messages = 700);
	put(w, "b.example", .messages = 5);
	world_run(w, SEC(60));
	assert_int_equal(queue_called(w, "a.example/v1")->deferred_n, 700);
	due = heap_min(&queue_called(w, "a.example/v1")->deferred)->key;
	swap_to(w, V1 "provider \"p\" { domains = { \"a.example\" } }\n");
	world_run(w, SEC(1));
	assert_null(queues_find(w->queues, SPAN("a.example/v1")) != NULL && queue_n(queue_called(w, "a.example/v1")) ? w : NULL);
	assert_int_equal(queue_called(w, "p/v1")->deferred_n, 700);
	assert_int_equal(heap_min(&queue_called(w, "p/v1")->deferred)->key, due);
	assert_int_equal(queue_called(w, "b.example/v1")->deferred_n, 5);
	w->play.temp = 0;
	assert_true(run_until_empty(w, HOUR(1)));
	assert_int_equal(w->delivered, 705);
	world_free(w);
}

static void
a_provider_told_by_mx_takes_what_is_routed_already(void **state)
{
	struct world *w = world_new(V1);

	world_mx(w, "a.example", "10 mx1.big.example,20 mx2.big.example");
	world_mx(w, "b.example", "10 mx1.big.example,20 mx2.big.example");
	w->play.connects = never;
	put(w, "a.example", .messages = 3);
	put(w, "b.example", .messages = 3);
	world_run(w, SEC(5));
	assert_int_equal(queue_called(w, "mx1.big.example/v1")->ready_n, 6);
	swap_to(w, V1 "provider \"big\" { mx = { \"*.big.example\" } }\n");
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "big/v1")->ready_n, 6);
	/* What was learnt of the receiver goes along. */
	assert_int_equal(queue_called(w, "big/v1")->retry_step, 1);
	assert_string_equal(queue_called(w, "big/v1")->last_error, "400 4.4.1 connect timed out");
	swap_to(w, V1 "domain \"a.example\" { smtp_hosts = \"[192.0.2.9]:2525\" }\n");
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "a.example/v1")->ready_n, 3);
	assert_int_equal(queue_called(w, "mx1.big.example/v1")->ready_n, 3);
	swap_to(w, V1);
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "mx1.big.example/v1")->ready_n, 6);
	w->play.connects = NULL;
	assert_true(run_until_empty(w, HOUR(3)));
	assert_int_equal(w->delivered, 6);
	world_free(w);
}

static void
a_question_under_way_is_answered_by_the_new_policy(void **state)
{
	struct world *w = world_new(V1);

	w->play.dns_us = SEC(2);
	world_mx(w, "a.example", "10 mx1.big.example");
	put(w, "a.example,b.example");
	world_dns(w, "c.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	put(w, "c.example");
	world_run(w, SEC(1));
	swap_to(w, V1 "provider \"big\" { mx = { \"*.big.example\" } }\ndomain \"b.example\" { smtp_hosts = \"[192.0.2.9]\" }\n");
	w->play.connects = never;
	world_run(w, SEC(3));
	assert_int_equal(queue_called(w, "big/v1")->ready_n, 1);
	assert_int_equal(queue_called(w, "b.example/v1")->ready_n, 1);
	assert_int_equal(queue_called(w, "c.example/v1")->routing_n, 1);
	swap_to(w, V1 "provider \"c\" { domains = { \"c.example\" } }\n");
	assert_int_equal(queue_called(w, "c/v1")->routing_n, 1);
	world_mx(w, "c.example", "10 mx.c.example");
	w->play.connects = NULL;
	assert_true(run_until_empty(w, HOUR(3)));
	assert_int_equal(w->delivered, 3);
	world_free(w);
}

static void
a_virtual_mta_that_has_mail_cannot_go(void **state)
{
	struct world *w = world_new(V1 "vmta \"v2\" { source = \"any\" }\n");
	struct err err = { 0 };

	w->play.connects = never;
	put(w, "a.example", .messages = 3, .vmta = "v2");
	world_run(w, SEC(5));
	assert_false(world_swap(w, V1, &err));
	assert_string_equal(err.text, "policy.lua: it does not declare the virtual MTA \"v2\", but 3 recipients are in a.example/v2");
	world_check(w);
	assert_int_equal(queue_called(w, "a.example/v2")->ready_n, 3);
	w->play.connects = NULL;
	assert_true(run_until_empty(w, HOUR(1)));
	world_run(w, SEC(20));
	swap_to(w, V1);
	world_free(w);
}

static void
nor_one_whose_mail_is_rerouted(void **state)
{
	struct world *w = world_new(V1 "vmta \"v2\" { source = \"any\" }\n");
	struct overlay_spec spec = { .name = "r", .lasts_us = HOUR(1), .reroute = "v2" };
	struct err err = { 0 };

	w->play.connects = never;
	put(w, "a.example", .messages = 3);
	world_run(w, SEC(5));
	assert_true(queue_lay(queue_called(w, "a.example/v1"), OVERLAY_QUEUE, &spec, world_now(w), w->loop.now));
	world_run(w, MINS(11));
	assert_int_equal(queue_called(w, "a.example/v2")->ready_n, 3);
	assert_false(world_swap(w, V1, &err));
	assert_false(world_swap(w, "vmta \"v2\" { source = \"any\" }\n", &err));
	w->play.connects = NULL;
	assert_true(run_until_empty(w, HOUR(2)));
	world_free(w);
}

/* ---- what stays ---- */

static void
overlays_stay_and_tighten_what_the_new_policy_says(void **state)
{
	struct tightening four = { .setting = SETTING_max_smtp_out, .count = 4 };
	struct overlay_spec spec = { .name = "r", .lasts_us = HOUR(1), .tightenings = &four, .tightenings_n = 1 };
	struct world *w = world_new(V1 "domain \"*\" { max_smtp_out = 20 }\n");

	w->play.connects = never;
	put(w, "a.example", .messages = 3);
	world_run(w, SEC(1));
	assert_true(queue_lay(queue_called(w, "a.example/v1"), OVERLAY_QUEUE, &spec, world_now(w), w->loop.now));
	assert_true(queue_lay(queue_called(w, "a.example/v1"), OVERLAY_VMTA, &spec, world_now(w), w->loop.now));
	swap_to(w, V1 "domain \"*\" { max_smtp_out = 3 }\n");
	assert_int_equal(queue_called(w, "a.example/v1")->scope.limits.max_smtp_out, 3);
	assert_int_equal(w->queues->vmtas[0]->limits.max_smtp_out, 4);
	swap_to(w, V1 "domain \"*\" { max_smtp_out = 30 }\n");
	assert_int_equal(queue_called(w, "a.example/v1")->scope.limits.max_smtp_out, 4);
	swap_to(w, V1 "provider \"p\" { domains = { \"a.example\" } }\n");
	assert_int_equal(queue_called(w, "p/v1")->scope.limits.max_smtp_out, 4);
	world_run(w, HOUR(1));
	assert_int_equal(queue_called(w, "p/v1")->scope.limits.max_smtp_out, 20);
	world_free(w);
}

static void
the_wait_after_a_failure_stays(void **state)
{
	struct world *w = world_new(V1 "domain \"*\" { retry_after = \"1h\", retry_jitter = \"0%\" }\n");
	mono_us_t until;

	w->play.connects = never;
	put(w, "a.example", .messages = 3);
	world_run(w, SEC(5));
	until = queue_called(w, "a.example/v1")->retry_until;
	assert_true(until > world_now(w));
	swap_to(w, V1 "domain \"*\" { retry_after = \"1m\", retry_jitter = \"0%\" }\n");
	assert_int_equal(queue_called(w, "a.example/v1")->retry_until, until);
	assert_int_equal(queue_called(w, "a.example/v1")->retry_step, 1);
	world_free(w);
}

static void
a_shorter_bounce_after_holds_for_what_waits(void **state)
{
	struct world *w = world_new(V1 "domain \"*\" { bounce_after = \"5d\", paused = true }\n");

	put(w, "a.example", .messages = 3);
	world_run(w, HOUR(1));
	swap_to(w, V1 "domain \"*\" { bounce_after = \"2h\", paused = true }\n");
	world_run(w, MINS(59));
	assert_int_equal(w->given_up_n, 0);
	world_run(w, MINS(2));
	assert_int_equal(w->given_up_n, 3);
	world_free(w);
}

static void
a_pause_that_the_policy_declares_begins_and_ends(void **state)
{
	struct world *w = world_new(V1);

	put(w, "a.example", .messages = 500);
	world_run(w, MS(300));
	swap_to(w, V1 "domain \"a.example\" { paused = true }\n");
	world_run(w, SEC(10));
	assert_true(w->delivered < 500);
	assert_int_equal(open_sessions(w, "a.example/v1"), 0);
	swap_to(w, V1);
	assert_true(run_until_empty(w, MINS(1)));
	world_free(w);
}

/* ---- whatever happens ---- */

struct draw {
	struct prng prng;
	char        policy[4000];
};

static unsigned
dice(struct draw *d, unsigned n)
{
	return (unsigned)prng_below(&d->prng, n);
}

/* None above 60 a minute, so that this holds across any change. */
static const char *
draw_rate(struct draw *d)
{
	static const char *const rates[] = { "\"60/m\"", "{ \"60/m\", burst = 30 }", "\"30/m\"", "{ \"50/m\", burst = 10 }" };

	return rates[dice(d, countof(rates))];
}

static void
draw_policy(struct draw *d)
{
	size_t n = 0;

	n += (size_t)snprintf(d->policy, sizeof d->policy, "node { max_smtp_out = %u }\n", 4 + dice(d, 9));
	for (unsigned i = 1; i <= 3; i++)
		if (i < 3 || dice(d, 2))
			n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "vmta \"v%u\" { source = \"any\", max_smtp_out = %u, max_msg_rate = %s }\n",
					      i, 2 + dice(d, 5), draw_rate(d));
	if (dice(d, 2))
		n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "pool \"p\" { \"v1\", \"v2\", max_smtp_out = %u }\n", 2 + dice(d, 7));
	if (dice(d, 2))
		n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "provider \"q%u\" { domains = { \"s0.example\", \"s1.example\" }%s }\n",
				      dice(d, 2), dice(d, 2) ? "" : ", smtp_hosts = \"[192.0.2.7]\"");
	if (dice(d, 2))
		n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "provider \"r\" { mx = { \"*.big.example\" } }\n");
	if (dice(d, 3) == 0)
		n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "domain \"s3.example\" { max_smtp_out = 2 }\n");
	snprintf(d->policy + n, sizeof d->policy - n,
		 "domain \"*\" { max_smtp_out = %u, total_max_smtp_out = %u, max_connect_rate = %s, max_rcpt_per_message = %u, "
		 "retry_after = \"5s,20s\", retry_recipients_after = \"10s\", retry_after_dns_error = \"3s\", bounce_after = \"6h\" }\n",
		 1 + dice(d, 4), 1 + dice(d, 6), draw_rate(d), 1 + dice(d, 10));
}

static void
draw_mail(struct draw *d, struct world *w)
{
	char to[60], vmta[8];

	snprintf(to, sizeof to, "s%u.example,s%u.example", dice(d, 5), dice(d, 5));
	snprintf(vmta, sizeof vmta, "v%u", 1 + dice(d, ruleset_vmta(w->queues->o.ruleset, SPAN("v3")) != NULL ? 3 : 2));
	put(w, to, .n = 1 + dice(d, 6), .vmta = vmta);
}

static void
run_one_seed(uint64_t seed)
{
	static struct draw d;
	struct world *w;
	unsigned swaps = 0;

	prng_seed(&d.prng, seed);
	draw_policy(&d);
	w = world_new(d.policy);
	world_bound(w, SCOPE_VMTA, 0, "unlimited", "60/m");
	world_bound(w, SCOPE_QUEUE, 0, "60/m", "unlimited");
	prng_seed(&w->prng, seed);
	w->play = (struct play){ .connect_us = MS(30), .reply_us = MS(30) << dice(&d, 6), .close_us = MS(10), .idle_us = SEC(5),
				 .dns_us = MS(1) << dice(&d, 11), .spread = true, .temp = dice(&d, 300), .perm = dice(&d, 30),
				 .snap = dice(&d, 30), .refuse = dice(&d, 3) ? 0 : dice(&d, 200) };
	world_mx(w, "s2.example", "10 mx1.big.example");
	world_mx(w, "s3.example", "10 mx1.big.example");
	for (int i = 0; i < 60; i++) {
		struct err err = { 0 };

		draw_mail(&d, w);
		if (dice(&d, 2)) {
			draw_policy(&d);
			swaps += world_swap(w, d.policy, &err);
			world_check(w);
		}
		world_run(w, dice(&d, 4) ? MS(1) * dice(&d, 1500) : 0);
		world_check(w);
	}
	assert_true(swaps > 5);
	while (w->queues->rcpts_n > 0 && w->turns < 100000) {
		run_until_empty(w, SEC(7));
		world_check(w);
	}
	if (w->queues->rcpts_n > 0)
		fail_msg("seed %llu: %llu left", (unsigned long long)seed, (unsigned long long)w->queues->rcpts_n);
	if (w->given_up_n > 0)
		fail_msg("seed %llu: given up after %llu s: %s %s", (unsigned long long)seed,
			 (unsigned long long)((w->given_up[0].at - HOUR(1000)) / US_PER_S), w->given_up[0].status, w->given_up[0].text);
	world_run(w, MINS(5));
	assert_int_equal(w->queues->queues.n, 0);
	assert_int_equal(w->queues->routes.n, 0);
	world_free(w);
}

static void
nobody_is_lost_and_no_rate_is_passed_while_policies_change(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++)
		run_one_seed(seed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lowered_cap_drains_at_message_boundaries),
		cmocka_unit_test(a_site_that_is_renamed_takes_its_sessions_along),
		cmocka_unit_test(a_queue_that_gets_a_pool_counts_there_with_the_sessions_it_has),
		cmocka_unit_test(swaps_hand_out_no_fresh_bucket),
		cmocka_unit_test(nor_does_a_limit_that_goes_and_comes_back),
		cmocka_unit_test(mail_that_moves_to_another_site_finds_a_limiter_that_is_used_up),
		cmocka_unit_test(a_provider_whose_name_comes_back_finds_a_limiter_that_is_used_up),
		cmocka_unit_test(waiting_mail_moves_with_its_domain_and_keeps_its_time),
		cmocka_unit_test(a_provider_told_by_mx_takes_what_is_routed_already),
		cmocka_unit_test(a_question_under_way_is_answered_by_the_new_policy),
		cmocka_unit_test(a_virtual_mta_that_has_mail_cannot_go),
		cmocka_unit_test(nor_one_whose_mail_is_rerouted),
		cmocka_unit_test(overlays_stay_and_tighten_what_the_new_policy_says),
		cmocka_unit_test(the_wait_after_a_failure_stays),
		cmocka_unit_test(a_shorter_bounce_after_holds_for_what_waits),
		cmocka_unit_test(a_pause_that_the_policy_declares_begins_and_ends),
		cmocka_unit_test(nobody_is_lost_and_no_rate_is_passed_while_policies_change),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
