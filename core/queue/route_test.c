/* Where a domain's mail goes, and what happens while nobody knows. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#define POLICY \
	"vmta \"v1\" { source = \"any\" }\n" \
	"vmta \"v2\" { source = \"any\", domain = { [\"hosted.example\"] = { smtp_hosts = \"relay.v2.example\" } } }\n" \
	"provider \"big\" { domains = { \"big.example\", \"big2.example\" }, mx = { \"*.big.example\", \"mx.big.example\" } }\n" \
	"provider \"own\" { domains = { \"own.example\" }, mx = { \"*.own-mx.example\" }, smtp_hosts = \"[192.0.2.99]:2525\" }\n" \
	"domain \"alone.example\" { rollup = false }\n" \
	"domain \"capped.example\" { max_smtp_out = 3 }\n" \
	"domain \"slow.example\" { retry_recipients_after = \"1h\" }\n" \
	"domain \"hosted.example\" { smtp_hosts = \"relay1.example,relay2.example;[192.0.2.7]:26\" }\n" \
	"domain \"strict.example\" { bounce_upon_no_mx = true }\n" \
	"domain \"*\" { retry_after_dns_error = \"1m\", retry_jitter = \"0%\" }\n"

static int
setup(void **state)
{
	*state = world_new(POLICY);
	return 0;
}

static int
teardown(void **state)
{
	world_free(*state);
	return 0;
}

/* The queue that the mail went by, once it is delivered. */
static const char *
goes_by(struct world *w, const char *domain, const char *vmta)
{
	size_t before = w->sent_n;

	put(w, domain, .vmta = vmta);
	world_run(w, SEC(2));
	world_check(w);
	return w->sent_n > before ? w->sent[before].queue->name : "nowhere";
}

static const struct host_set *
hosts_of(struct world *w, const char *route)
{
	const struct route *r = table_get(&w->queues->routes, span_text(route));

	assert_non_null(r);
	assert_non_null(r->hosts);
	return r->hosts;
}

struct site_row {
	const char *domain, *mx, *queue;
};

static const struct site_row sites[] = {
	{ "big.example",    NULL, "big/v1" },
	{ "big2.example",   "10 elsewhere.example", "big/v1" },
	{ "cust1.example",  "10 mx1.big.example,10 mx2.big.example", "big/v1" },
	{ "cust2.example",  "10 mx1.big.example,10 other.example", "mx1.big.example/v1" },
	{ "cust3.example",  "10 mx1.big.example,20 backup.example", "big/v1" },          /* the lowest preference counts */
	{ "cust4.example",  "10 other.example,20 mx1.big.example", "other.example/v1" },
	{ "one.example",    "10 mxb.example,10 mxa.example,5 z.example", "z.example/v1" },
	{ "two.example",    "10 mxb.example,10 mxa.example", "mxa.example/v1" },
	{ "three.example",  "20 mxa.example,20 mxb.example", "mxa.example/v1" },
	{ "alone.example",  "10 mxb.example,10 mxa.example", "alone.example/v1" },
	{ "capped.example", "10 mxb.example,10 mxa.example", "capped.example/v1" },
	{ "slow.example",   "10 mxb.example,10 mxa.example", "mxa.example/v1" },         /* a recipient's setting parts nobody */
	{ "hosted.example", "10 mxb.example,10 mxa.example", "hosted.example/v1" },
	{ "own.example",    NULL, "own/v1" },
	{ "found.example",  "10 a.own-mx.example", "own/v1" },
	{ "[192.0.2.5]",    NULL, "[192.0.2.5]/v1" },
};

static void
a_domain_belongs_to_a_provider_or_shares_its_mx_set_or_is_alone(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < countof(sites); i++)
		if (sites[i].mx != NULL)
			world_mx(w, sites[i].domain, sites[i].mx);
	for (unsigned i = 0; i < countof(sites); i++) {
		const char *queue = goes_by(w, sites[i].domain, "v1");

		if (strcmp(queue, sites[i].queue) != 0)
			fail_msg("%s goes by %s, not by %s", sites[i].domain, queue, sites[i].queue);
	}
	assert_ptr_equal(queue_called(w, "big/v1")->site->provider, ruleset_provider(policy_ruleset(w->policy), SPAN("big")));
	assert_null(queue_called(w, "mxa.example/v1")->site->provider);
}

static void
each_virtual_mta_has_a_queue_of_the_site(void **state)
{
	struct world *w = *state;

	world_mx(w, "a.example", "10 mx.example");
	assert_string_equal(goes_by(w, "a.example", "v1"), "mx.example/v1");
	assert_string_equal(goes_by(w, "a.example", "v2"), "mx.example/v2");
	assert_ptr_equal(queue_called(w, "mx.example/v1")->site, queue_called(w, "mx.example/v2")->site);
}

static void
smtp_hosts_replace_dns_by_domain_and_by_virtual_mta(void **state)
{
	struct world *w = *state;
	const struct host_set *hosts;

	goes_by(w, "hosted.example", "v1");
	assert_int_equal(w->asked_n, 0);
	hosts = hosts_of(w, "hosted.example/v1");
	assert_false(hosts->from_dns);
	assert_int_equal(hosts->n, 3);
	assert_string_equal(hosts->hosts[0].name, "relay1.example");
	assert_int_equal(hosts->hosts[0].group, hosts->hosts[1].group);
	assert_true(hosts->hosts[2].group > hosts->hosts[1].group);
	assert_string_equal(hosts->hosts[2].name, "");
	assert_int_equal(hosts->hosts[2].port, 26);
	goes_by(w, "hosted.example", "v2");
	hosts = hosts_of(w, "hosted.example/v2");
	assert_int_equal(hosts->n, 1);
	assert_string_equal(hosts->hosts[0].name, "relay.v2.example");
	/* A provider found by MX brings its own. */
	world_mx(w, "found.example", "10 a.own-mx.example");
	goes_by(w, "found.example", "v1");
	hosts = hosts_of(w, "found.example/v1");
	assert_int_equal(hosts->n, 1);
	assert_int_equal(hosts->hosts[0].port, 2525);
}

static void
hosts_of_mx_keep_their_preferences_and_equal_sets_are_one(void **state)
{
	struct world *w = *state;
	const struct host_set *hosts;

	world_mx(w, "a.example", "20 b.mx.example,10 a.mx.example,20 c.mx.example");
	world_mx(w, "b.example", "10 a.mx.example,20 c.mx.example,20 b.mx.example");
	put(w, "a.example,b.example", .n = 2);
	world_run(w, SEC(1));
	hosts = hosts_of(w, "a.example/v1");
	assert_true(hosts->from_dns);
	assert_int_equal(hosts->n, 3);
	assert_string_equal(hosts->hosts[0].name, "a.mx.example");
	assert_int_equal(hosts->hosts[0].group, 10);
	assert_int_equal(hosts->hosts[2].group, 20);
	assert_ptr_equal(hosts, hosts_of(w, "b.example/v1"));
	/* And so one message to both is one transaction. */
	assert_int_equal(w->sent_n, 2);
	assert_int_equal(w->sent[0].batch, 2);
}

/* What smtp_hosts may name, loopback too, MX may not by naming the same host. */
static void
hosts_by_mx_and_by_smtp_hosts_are_two_sets(void **state)
{
	struct world *w = *state;

	world_mx(w, "a.example", "0 relay.v2.example");
	goes_by(w, "hosted.example", "v2");
	goes_by(w, "a.example", "v2");
	assert_string_equal(hosts_of(w, "a.example/v2")->hosts[0].name, hosts_of(w, "hosted.example/v2")->hosts[0].name);
	assert_true(hosts_of(w, "a.example/v2")->from_dns);
	assert_false(hosts_of(w, "hosted.example/v2")->from_dns);
}

static void
without_mx_the_address_counts(void **state)
{
	struct world *w = *state;

	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_NODATA, 60, "");
	assert_string_equal(goes_by(w, "a.example", "v1"), "a.example/v1");
	assert_string_equal(hosts_of(w, "a.example/v1")->hosts[0].name, "a.example");
	assert_true(hosts_of(w, "a.example/v1")->from_dns);
}

static void
an_address_literal_is_its_own_host(void **state)
{
	struct world *w = *state;

	assert_string_equal(goes_by(w, "[IPv6:2001:db8::1]", "v1"), "[IPv6:2001:db8::1]/v1");
	assert_int_equal(hosts_of(w, "[IPv6:2001:db8::1]/v1")->hosts[0].ip.family, IP_V6);
	assert_true(hosts_of(w, "[IPv6:2001:db8::1]/v1")->from_dns);    /* so that loopback is refused */
	assert_int_equal(w->asked_n, 0);
	put(w, "[nonsense]");
	world_run(w, SEC(1));
	assert_int_equal(w->given_up_n, 1);
	assert_string_equal(w->given_up[0].status, "5.1.3");
}

struct dead_row {
	const char *domain;
	enum resolver_status mx;
	const char *records;
	enum resolver_status address;
	const char *status;
};

static const struct dead_row deads[] = {
	{ "null.example",    RESOLVER_OK, "0 ", RESOLVER_OK, "5.1.10" },
	{ "nx.example",      RESOLVER_NXDOMAIN, "", RESOLVER_OK, "5.1.2" },
	{ "nothing.example", RESOLVER_NODATA, "", RESOLVER_NODATA, "5.1.2" },
	{ "gone.example",    RESOLVER_NODATA, "", RESOLVER_NXDOMAIN, "5.1.2" },
	{ "strict.example",  RESOLVER_NODATA, "", RESOLVER_OK, "5.1.2" },
};

static void
a_domain_that_takes_no_mail_bounces_at_once(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < countof(deads); i++) {
		unsigned before = w->given_up_n;

		world_dns(w, deads[i].domain, RESOLVE_MX, deads[i].mx, 60, deads[i].records);
		world_dns(w, deads[i].domain, RESOLVE_ADDRESS, deads[i].address, 60, deads[i].address == RESOLVER_OK ? "192.0.2.1" : "");
		put(w, deads[i].domain, .n = 3);
		world_run(w, SEC(1));
		/* One that comes while it is known to be dead, too. */
		put(w, deads[i].domain);
		if (w->given_up_n != before + 4)
			fail_msg("%s: %u given up", deads[i].domain, w->given_up_n - before);
		for (unsigned g = before; g < w->given_up_n; g++)
			assert_string_equal(w->given_up[g].status, deads[i].status);
	}
	assert_int_equal(w->failures, 0);
	assert_int_equal(w->sent_n, 0);
	world_check(w);
}

static void
a_dead_domain_is_asked_about_again(void **state)
{
	struct world *w = *state;

	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_NXDOMAIN, 30, "");
	put(w, "a.example");
	world_run(w, SEC(50));
	world_mx(w, "a.example", "10 mx.example");
	world_run(w, SEC(20));
	assert_string_equal(goes_by(w, "a.example", "v1"), "mx.example/v1");
}

/* The verdict of an hour ago bounces nobody. */
static void
one_that_comes_due_for_a_domain_that_was_dead_asks_first(void **state)
{
	struct world *w = *state;
	struct spool_rcpt_state later = { SPOOL_WAITING, 1, { w->loop.now.wall.ms + 3600 * MS_PER_S } };

	world_mx(w, "a.example", "10 mx.example");
	put(w, "a.example", .states = &later);
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "mx.example/v1")->deferred_n, 1);
	/* Dead for a while: the mail of that time bounces, and the one that waits does not. */
	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_NXDOMAIN, 30, "");
	resolver_forget(w->resolver);
	table_next(&w->queues->routes, &(uint32_t){ 0 });
	((struct route *)table_get(&w->queues->routes, SPAN("a.example/v1")))->expires = world_now(w);
	put(w, "a.example");
	world_run(w, SEC(10));
	assert_int_equal(w->given_up_n, 1);
	world_mx(w, "a.example", "10 mx.example");
	world_run(w, HOUR(1));
	assert_int_equal(w->given_up_n, 1);
	assert_int_equal(w->delivered, 1);
}

static void
a_failing_resolver_holds_the_queue_by_the_gate_dns_and_then_it_goes(void **state)
{
	static const enum resolver_status failures[] = { RESOLVER_SERVFAIL, RESOLVER_TIMEOUT, RESOLVER_REFUSED };
	struct world *w = *state;

	for (unsigned i = 0; i < countof(failures); i++) {
		struct gate_answer answer;
		char domain[20], name[30];
		struct queue *q;
		unsigned before = w->failures;

		snprintf(domain, sizeof domain, "f%u.example", i);
		snprintf(name, sizeof name, "f%u.example/v1", i);
		world_dns(w, domain, RESOLVE_MX, failures[i], 0, "");
		put(w, domain, .n = 2);
		/* Asked, and no answer yet. */
		q = queue_called(w, name);
		gate_decide(q, world_now(w), &answer);
		assert_false(answer.open);
		assert_int_equal(answer.binding.gate, GATE_DNS);
		assert_int_equal(answer.binding.until, MONO_NEVER);
		world_run(w, SEC(30));
		gate_decide(q, world_now(w), &answer);
		assert_int_equal(answer.binding.gate, GATE_DNS);
		assert_in_range(answer.binding.until, world_now(w) + SEC(29), world_now(w) + SEC(31));
		assert_non_null(strstr(answer.binding.where.file, "policy.lua"));
		assert_int_equal(answer.binding.where.line, 10);
		assert_int_equal(w->failures, before + 1);
		assert_non_null(strstr(q->last_error, "canned"));
		assert_int_equal(q->routing_n, 2);
		world_run(w, MINS(2));
		assert_int_equal(w->failures, before + 3);
		world_mx(w, domain, "10 mx.example");
		world_run(w, MINS(1));
		assert_int_equal(w->delivered, 2 * (i + 1));
		assert_int_equal(w->given_up_n, 0);
		world_check(w);
	}
}

static void
the_next_question_of_a_queue_is_the_soonest_of_its_routes(void **state)
{
	struct world *w = *state;
	struct gate_answer answer;

	world_dns(w, "big.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	world_dns(w, "big2.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	put(w, "big.example");
	world_run(w, SEC(40));
	put(w, "big2.example");
	world_run(w, SEC(1));
	gate_decide(queue_called(w, "big/v1"), world_now(w), &answer);
	assert_int_equal(answer.binding.gate, GATE_DNS);
	assert_in_range(answer.binding.until, world_now(w) + SEC(18), world_now(w) + SEC(20));
}

static void
what_waits_moves_when_the_answer_has_changed(void **state)
{
	struct world *w = *state;
	unsigned n;

	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_OK, 60, "10 old.example");
	queues_pause(w->queues, SPAN("old.example/*"), NULL, true, &n, w->loop.now);
	put(w, "a.example", .messages = 20);
	world_run(w, MINS(2));
	assert_int_equal(queue_called(w, "old.example/v1")->ready_n, 20);
	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_OK, 60, "10 new.example");
	/* The old answer serves while the new one is asked for; then everybody is placed anew. */
	queues_pause(w->queues, SPAN("*"), NULL, false, &n, w->loop.now);
	world_run(w, SEC(10));
	assert_int_equal(w->delivered, 20);
	for (size_t i = 0; i < w->sent_n; i++)
		assert_string_equal(w->sent[i].queue->name, "new.example/v1");
	world_check(w);
}

static void
an_answer_that_cannot_be_refreshed_holds_who_has_not_left(void **state)
{
	struct world *w = *state;
	unsigned n;

	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_OK, 60, "10 mx.example");
	put(w, "a.example");
	world_run(w, SEC(1));
	assert_int_equal(w->delivered, 1);
	queues_pause(w->queues, SPAN("*"), NULL, true, &n, w->loop.now);
	put(w, "a.example", .messages = 5);
	world_run(w, MINS(2));
	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	queues_pause(w->queues, SPAN("*"), NULL, false, &n, w->loop.now);
	world_run(w, SEC(10));
	assert_int_equal(w->delivered, 1);
	assert_int_equal(queue_called(w, "a.example/v1")->routing_n, 5);
	world_check(w);
	world_mx(w, "a.example", "10 mx.example");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 6);
	world_check(w);
}

static void
answers_are_asked_for_again_after_their_ttl_and_not_before(void **state)
{
	struct world *w = *state;
	unsigned asked;

	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_OK, 300, "10 mx.example");
	for (unsigned i = 0; i < 4; i++) {
		put(w, "a.example");
		world_run(w, MINS(1));
	}
	asked = w->asked_n;
	assert_int_equal(asked, 1);
	world_run(w, MINS(2));
	put(w, "a.example");
	world_run(w, MINS(1));
	assert_int_equal(w->asked_n, 2);
	assert_int_equal(w->delivered, 5);
}

/* Whoever writes a zone must not get into the queue of a provider by a host of that name. */
static void
a_host_that_is_called_like_a_provider_makes_no_part_of_it(void **state)
{
	struct world *w = *state;

	world_mx(w, "evil.example", "10 big");
	assert_string_equal(goes_by(w, "evil.example", "v1"), "evil.example/v1");
	world_mx(w, "evil2.example", "0 ,10 mx.example");
	put(w, "evil2.example");
	world_run(w, SEC(1));
	assert_null(queues_find(w->queues, SPAN("/v1")));
	world_check(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_domain_belongs_to_a_provider_or_shares_its_mx_set_or_is_alone),
		T(each_virtual_mta_has_a_queue_of_the_site),
		T(smtp_hosts_replace_dns_by_domain_and_by_virtual_mta),
		T(hosts_of_mx_keep_their_preferences_and_equal_sets_are_one),
		T(hosts_by_mx_and_by_smtp_hosts_are_two_sets),
		T(without_mx_the_address_counts),
		T(an_address_literal_is_its_own_host),
		T(a_domain_that_takes_no_mail_bounces_at_once),
		T(a_dead_domain_is_asked_about_again),
		T(one_that_comes_due_for_a_domain_that_was_dead_asks_first),
		T(a_failing_resolver_holds_the_queue_by_the_gate_dns_and_then_it_goes),
		T(the_next_question_of_a_queue_is_the_soonest_of_its_routes),
		T(what_waits_moves_when_the_answer_has_changed),
		T(an_answer_that_cannot_be_refreshed_holds_who_has_not_left),
		T(answers_are_asked_for_again_after_their_ttl_and_not_before),
		T(a_host_that_is_called_like_a_provider_makes_no_part_of_it),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
