/* Recipients between shards: where they get to, that they get there once, and that nobody runs to and fro. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_shards_fixture.h"

#define POLICY \
	"node { max_smtp_out = 9 }\nvmta \"v1\" { source = \"any\", max_smtp_out = 6 }\n" \
	"vmta \"v2\" { source = \"any\", domain = { [\"relayed.example\"] = { smtp_hosts = \"relay.example\" } } }\n" \
	"provider \"big\" { domains = { \"big.example\", \"big2.example\" }, mx = { \"*.big.example\" } }\n" \
	"domain \"*\" { retry_after_dns_error = \"1m\", retry_jitter = \"0%\", retry_recipients_after = \"10m\", bounce_after = \"1d\" }\n"

/* Each domain's name is another shard's, or by chance the same's; their mail is one site's. */
static void
one_site_is_one_shards_wherever_its_domains_are(void **state)
{
	struct shards *s = shards_new(4, POLICY, 1);
	char to[40], mx[60];
	const char *host = name_of(s, 2, 'm');

	snprintf(mx, sizeof mx, "10 %s", host);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(to, sizeof to, "d%u.example", i);
		shards_mx(s, to, mx);
		put(s->w[i % 4], to);
	}
	shards_check(s);
	shards_run(s, SEC(2));
	shards_check(s);
	assert_int_equal(s->w[2]->delivered, 40);
	snprintf(to, sizeof to, "%s/v1", host);
	assert_ptr_equal(shards_queue(s, to)->queues, s->all[2]);
	assert_false(shards_have(s, "d0.example/v1") && queues_owner(s->all[0], SPAN("d0.example")) == 2);
	shards_free(s);
}

static void
a_message_for_all_shards_is_one_transaction_each_and_ends_at_home(void **state)
{
	struct shards *s = shards_new(4, POLICY, 2);
	char to[200];

	snprintf(to, sizeof to, "%s,%s,%s,%s", name_of(s, 0, 'a'), name_of(s, 1, 'b'), name_of(s, 2, 'c'), name_of(s, 3, 'd'));
	put(s->w[1], to, .n = 40, .job = "letter");
	assert_int_equal(s->all[1]->jobs.n, 1);
	assert_int_equal(s->posts, 3);
	shards_run(s, SEC(2));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(s->w[i]->delivered, 10);
		assert_int_equal(s->w[i]->sent[0].batch, 10);
		assert_int_equal(s->all[i]->jobs.n, 0);
	}
	shards_check(s);
	shards_free(s);
}

static void
who_holds_a_message_finds_it_though_all_is_over_elsewhere(void **state)
{
	struct shards *s = shards_new(2, POLICY, 3);
	struct message *message;
	struct spool_rcpt_state states[2];
	const char *domain = name_of(s, 1, 'a');
	char to[60], name[60];

	snprintf(to, sizeof to, "%s,%s", domain, name_of(s, 1, 'b'));
	snprintf(name, sizeof name, "%s/v1", domain);
	put(s->w[0], to);
	shards_run(s, MS(1) / 2);
	message = list_first(&list_first(&shards_queue(s, name)->routes, struct route, in_queue)->waiting, struct rcpt, node)->message;
	message_hold(message);
	s->w[1]->play.perm = 1000;
	shards_run(s, SEC(2));
	assert_int_equal(s->w[1]->bounced, 2);
	message_states(message, states);
	assert_int_equal(states[0].outcome, SPOOL_BOUNCED);
	assert_int_equal(states[1].outcome, SPOOL_BOUNCED);
	assert_int_equal(s->all[0]->jobs.n, 1);
	message_unhold(s->all[1], message);
	assert_int_equal(s->all[0]->jobs.n, 1);
	shards_run(s, MS(1));
	assert_int_equal(s->all[0]->jobs.n, 0);
	shards_free(s);
}

/* A new answer sends what waits, when its turn comes, and what comes. */
static void
mail_follows_its_route_to_another_shard(void **state)
{
	struct shards *s = shards_new(2, POLICY, 4);
	const char *old = name_of(s, 0, 'o'), *new = name_of(s, 1, 'n');
	char mx[60], name[60];

	snprintf(mx, sizeof mx, "10 %s", old);
	for (unsigned i = 0; i < 2; i++)
		world_dns(s->w[i], "moves.example", RESOLVE_MX, RESOLVER_OK, 60, mx);
	s->w[0]->play.temp = 1000;
	put(s->w[0], "moves.example", .n = 5);
	shards_run(s, SEC(5));
	snprintf(name, sizeof name, "%s/v1", old);
	assert_int_equal(shards_queue(s, name)->deferred_n, 5);
	snprintf(mx, sizeof mx, "10 %s", new);
	for (unsigned i = 0; i < 2; i++)
		world_dns(s->w[i], "moves.example", RESOLVE_MX, RESOLVER_OK, 60, mx);
	shards_run(s, MINS(11));
	shards_check(s);
	/* The first picked one goes by the old answer while DNS is asked; all are with the new site in the end. */
	assert_true(shards_run_until_empty(s, MINS(30)));
	assert_true(s->w[1]->delivered >= 4);
	put(s->w[0], "moves.example");
	shards_run(s, SEC(5));
	snprintf(name, sizeof name, "%s/v1", new);
	assert_ptr_equal(shards_queue(s, name)->queues, s->all[1]);
	assert_int_equal(shards_rcpts(s), 0);
	shards_check(s);
	shards_free(s);
}

/* Each of them is told that the site is the other's, in one instant. */
static void
shards_that_disagree_settle_it(void **state)
{
	for (unsigned seed = 0; seed < 50; seed++) {
		struct shards *s = shards_new(3, POLICY, seed);
		const char *sites[] = { name_of(s, 0, 'a'), name_of(s, 1, 'b'), name_of(s, 2, 'c') };
		char mx[60];

		s->delay_us = seed % 2 ? 300 : 0;
		for (unsigned i = 0; i < 3; i++) {
			snprintf(mx, sizeof mx, "10 %s", sites[(i + 1) % 3]);
			world_dns(s->w[i], "odd.example", RESOLVE_MX, RESOLVER_OK, 1, mx);
			s->w[i]->play.dns_us = 1;
			s->w[i]->play.temp = 300;
		}
		for (unsigned i = 0; i < 300; i++) {
			put(s->w[i % 3], "odd.example");
			shards_run(s, MS(100));
		}
		shards_check(s);
		assert_true(s->posts < 300 * 12);
		assert_true(shards_run_until_empty(s, HOUR(12)));
		shards_check(s);
		shards_free(s);
	}
}

/* That shard asks for itself: what it is told leads to `host`. */
static struct route *
asks(struct shards *s, unsigned shard, const char *domain, const char *host)
{
	struct world *w = s->w[shard];
	char mx[60];

	snprintf(mx, sizeof mx, "10 %s", host);
	world_mx(w, domain, mx);
	return route_get(w->queues, span_text(domain), policy_ruleset(w->policy)->vmtas[0], NULL, w->loop.now);
}

static void
of_answers_of_one_instant_all_take_the_same(void **state)
{
	struct shards *s = shards_new(2, POLICY, 9);
	const char *domain = name_of(s, 0, 'd');
	struct route *first = asks(s, 0, domain, name_of(s, 1, 'a')), *second = asks(s, 1, domain, name_of(s, 0, 'b'));

	route_use(first);
	route_use(second);
	shards_run(s, MS(100));
	assert_int_equal(first->answered, second->answered);
	assert_int_equal(first->shard, 1);
	assert_int_equal(second->shard, 0);
	put(s->w[0], domain);
	shards_run(s, SEC(2));
	assert_int_equal(s->w[0]->delivered, 1);
	assert_true(s->posts < 6);
	route_unuse(first, shards_now(s));
	route_unuse(second, shards_now(s));
	shards_free(s);
}

static void
an_older_answer_does_not_undo_a_newer_one(void **state)
{
	struct shards *s = shards_new(3, POLICY, 10);
	const char *domain = name_of(s, 0, 'd');
	struct route *older = asks(s, 0, domain, name_of(s, 1, 'a')), *newer;

	route_use(older);
	shards_run(s, MS(100));
	newer = asks(s, 1, domain, name_of(s, 2, 'c'));
	route_use(newer);
	shards_run(s, MS(100));
	put(s->w[0], domain);
	shards_run(s, SEC(2));
	assert_int_equal(s->w[2]->delivered, 1);
	assert_int_equal(newer->shard, 2);
	route_unuse(older, shards_now(s));
	route_unuse(newer, shards_now(s));
	shards_free(s);
}

static void
who_expires_on_the_way_is_given_up_where_he_arrives(void **state)
{
	struct shards *s = shards_new(2, POLICY, 5);

	s->delay_us = 1;
	put(s->w[0], name_of(s, 1, 'x'), .age_us = HOUR(24) - 1);
	shards_run(s, SEC(1));
	assert_int_equal(s->w[1]->ended, 1);
	assert_string_equal(s->w[1]->given_up[0].status, "4.4.7");
	assert_int_equal(s->w[0]->given_up_n, 0);
	shards_check(s);
	shards_free(s);
}

static void
what_dns_cannot_say_waits_with_who_asked(void **state)
{
	struct shards *s = shards_new(2, POLICY, 6);
	const char *domain = name_of(s, 0, 'f'), *host = name_of(s, 1, 'h');
	char name[60], mx[60];

	world_dns(s->w[0], domain, RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	put(s->w[1], domain);
	shards_run(s, SEC(5));
	snprintf(name, sizeof name, "%s/v1", domain);
	assert_ptr_equal(shards_queue(s, name)->queues, s->all[0]);
	assert_int_equal(shards_queue(s, name)->routing_n, 1);
	assert_int_equal(s->w[1]->asked_n, 0);
	snprintf(mx, sizeof mx, "10 %s", host);
	world_mx(s->w[0], domain, mx);
	shards_run(s, MINS(2));
	assert_int_equal(s->w[1]->delivered, 1);
	world_dns(s->w[0], domain, RESOLVE_MX, RESOLVER_NXDOMAIN, 60, "");
	shards_run(s, HOUR(2));
	put(s->w[1], domain);
	shards_run(s, SEC(5));
	assert_int_equal(s->w[0]->ended, 1);
	shards_check(s);
	shards_free(s);
}

/* There it was, and there it is seen, though the old answer is too old to be used. */
static void
a_refresh_that_fails_keeps_mail_at_its_site(void **state)
{
	struct shards *s = shards_new(2, POLICY, 7);
	const char *domain = name_of(s, 0, 'f'), *host = name_of(s, 1, 'h');
	char name[60], mx[60];

	snprintf(mx, sizeof mx, "10 %s", host);
	for (unsigned i = 0; i < 2; i++)
		world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_OK, 60, mx);
	s->w[1]->play.temp = 1000;
	put(s->w[0], domain, .n = 3);
	shards_run(s, SEC(5));
	for (unsigned i = 0; i < 2; i++)
		world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	s->w[1]->play.temp = 0;
	s->w[1]->play.refuse = 1000;
	shards_run(s, MINS(12));
	snprintf(name, sizeof name, "%s/v1", host);
	assert_int_equal(queue_n(shards_queue(s, name)), 3);
	assert_int_equal(shards_rcpts(s), 3);
	s->w[1]->play.refuse = 0;
	shards_run(s, MINS(30));
	assert_int_equal(shards_queue(s, name)->routing_n, 3);
	shards_check(s);
	for (unsigned i = 0; i < 2; i++)
		world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_OK, 60, mx);
	assert_true(shards_run_until_empty(s, HOUR(2)));
	assert_int_equal(s->w[1]->delivered, 3);
	shards_check(s);
	shards_free(s);
}

/* By the one virtual MTA it is still the old site, by the other already the new one. */
static void
rerouted_mail_goes_to_the_shard_of_the_new_site(void **state)
{
	struct shards *s = shards_new(2, POLICY, 8);
	const struct overlay_spec spec = { .name = "away", .lasts_us = HOUR(1), .reroute = "v2" };
	const char *old = name_of(s, 0, 'o'), *new = name_of(s, 1, 'n'), *domain = name_of(s, 0, 'd');
	char mx[60], name[60];

	snprintf(mx, sizeof mx, "10 %s", old);
	for (unsigned i = 0; i < 2; i++)
		world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_OK, 300, mx);
	s->w[0]->play.refuse = 1000;
	put(s->w[0], domain, .n = 3);
	shards_run(s, SEC(1));
	snprintf(mx, sizeof mx, "10 %s", new);
	shards_mx(s, domain, mx);
	resolver_forget(s->w[0]->resolver);
	snprintf(name, sizeof name, "%s/v1", old);
	queue_lay(shards_queue(s, name), OVERLAY_VMTA, &spec, shards_now(s), s->w[0]->loop.now);
	shards_run(s, SEC(1));
	shards_check(s);
	assert_int_equal(s->w[1]->delivered, 3);
	assert_int_equal(s->w[1]->sent[0].batch, 3);
	snprintf(name, sizeof name, "%s/v2", new);
	assert_string_equal(s->w[1]->sent[0].queue->name, name);
	shards_free(s);
}

/* ---- anything ---- */

static void
names_change(struct shards *s, const char *domain, const char *const hosts[6])
{
	unsigned dice = (unsigned)prng_below(&s->prng, 10);
	char mx[100];

	snprintf(mx, sizeof mx, "10 %s", hosts[prng_below(&s->prng, 6)]);
	for (unsigned i = 0; i < s->peers.n; i++) {
		/* Now and then they are not told the same. */
		if (prng_below(&s->prng, 5) == 0)
			continue;
		if (dice == 0)
			world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
		else if (dice == 1)
			world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_NODATA, 30, "");
		else
			world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_OK, 1 + (uint32_t)prng_below(&s->prng, 120), mx);
	}
}

static void
by_hand(struct shards *s)
{
	struct now now = s->w[0]->loop.now;
	unsigned n;

	peers_halt(&s->peers);
	for (unsigned i = 0; i < s->peers.n; i++)
		switch (prng_below(&s->prng, 4)) {
		case 0: queues_pause(s->all[i], SPAN("*/v1"), NULL, true, &n, now); break;
		case 1: queues_pause(s->all[i], SPAN("*/v1"), NULL, false, &n, now); break;
		case 2: queues_retry(s->all[i], SPAN("*"), true, NULL, &n, now); break;
		default: break;
		}
}

static void
reroute_some(struct shards *s)
{
	const struct overlay_spec spec = { .name = "away", .lasts_us = MINS(5), .reroute = "v2" };
	struct queues *queues = s->all[prng_below(&s->prng, s->peers.n)];
	struct queue *q;
	uint32_t pos = 0;

	while ((q = table_next(&queues->queues, &pos)) != NULL)
		if (strcmp(q->vmta->name, "v1") == 0 && prng_below(&s->prng, 3) == 0)
			queue_lay(q, prng_below(&s->prng, 2) ? OVERLAY_QUEUE : OVERLAY_VMTA, &spec, shards_now(s), s->w[0]->loop.now);
}

static void
play_any(uint64_t seed)
{
	static const char *const domains[] = { "p.example", "q.example", "r.example", "relayed.example", "big.example", "[192.0.2.9]" };
	static const char *const hosts[] = { "m1.example", "m2.example", "m3.example", "mx.big.example", "m4.example", "m5.example" };
	struct shards *s = shards_new(2 + seed % 3, POLICY, seed);
	unsigned n;

	for (unsigned i = 0; i < s->peers.n; i++) {
		s->w[i]->play.temp = 200;
		s->w[i]->play.perm = 30;
		s->w[i]->play.refuse = 50;
		s->w[i]->slow_give_up = true;
	}
	for (unsigned turn = 0; turn < 400; turn++) {
		unsigned dice = (unsigned)prng_below(&s->prng, 20);
		char to[100];

		if (dice == 0)
			names_change(s, domains[prng_below(&s->prng, 5)], hosts);
		else if (dice == 1)
			by_hand(s);
		else if (dice == 2)
			reroute_some(s);
		snprintf(to, sizeof to, "%s,%s", domains[prng_below(&s->prng, countof(domains))],
			 domains[prng_below(&s->prng, countof(domains))]);
		put(s->w[prng_below(&s->prng, s->peers.n)], to, .n = 1 + (unsigned)prng_below(&s->prng, 6), .vmta = dice % 4 ? "v1" : "v2");
		shards_run(s, (int64_t)prng_below(&s->prng, (uint64_t)SEC(4)));
		if (turn % 20 == 0)
			shards_check(s);
	}
	for (unsigned i = 0; i < s->peers.n; i++)
		queues_pause(s->all[i], SPAN("*"), NULL, false, &n, s->w[0]->loop.now);
	assert_true(shards_run_until_empty(s, HOUR(30)));
	shards_run(s, SEC(5));
	shards_check(s);
	for (unsigned i = 0; i < s->peers.n; i++)
		assert_int_equal(s->all[i]->jobs.n, 0);
	assert_true(s->posts < shards_sum(s, added) * 20);
	shards_free(s);
}

static void
nobody_is_lost_whatever_happens(void **state)
{
	const char *seeds = getenv("SEEDS");
	unsigned n = seeds != NULL ? (unsigned)atoi(seeds) : 30;

	for (unsigned seed = 1; seed <= n; seed++)
		play_any(seed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_site_is_one_shards_wherever_its_domains_are),
		cmocka_unit_test(a_message_for_all_shards_is_one_transaction_each_and_ends_at_home),
		cmocka_unit_test(who_holds_a_message_finds_it_though_all_is_over_elsewhere),
		cmocka_unit_test(mail_follows_its_route_to_another_shard),
		cmocka_unit_test(shards_that_disagree_settle_it),
		cmocka_unit_test(of_answers_of_one_instant_all_take_the_same),
		cmocka_unit_test(an_older_answer_does_not_undo_a_newer_one),
		cmocka_unit_test(who_expires_on_the_way_is_given_up_where_he_arrives),
		cmocka_unit_test(what_dns_cannot_say_waits_with_who_asked),
		cmocka_unit_test(a_refresh_that_fails_keeps_mail_at_its_site),
		cmocka_unit_test(rerouted_mail_goes_to_the_shard_of_the_new_site),
		cmocka_unit_test(nobody_is_lost_whatever_happens),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
