/* In which order addresses are tried, which are left out, and why there is none. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/target.h"
#include "queue/queue_fixture.h"

struct trial {
	struct world  *w;
	struct target  target;
	struct host_set *hosts;
	struct queue_settings settings;
	struct ruleset_vmta vmta;
	struct ip      sources[2];
	struct prng    prng;
	unsigned       ready;
	char           tried[600];      /* "192.0.2.1:25 …" */
};

static int
setup(void **state)
{
	struct trial *t = mem_alloc(sizeof *t);

	t->w = world_new("vmta \"v1\" { source = \"any\" }");
	ruleset_resolve(policy_ruleset(t->w->policy), NULL, SPAN("a.example"), NULL, &t->settings);
	t->vmta.sources = t->sources;
	prng_seed(&t->prng, 1);
	*state = t;
	return 0;
}

static int
teardown(void **state)
{
	struct trial *t = *state;

	free(t->hosts);
	world_free(t->w);
	free(t);
	return 0;
}

static void
on_ready(void *ctx)
{
	((struct trial *)ctx)->ready++;
}

/* "10 mx1.example,20 [192.0.2.7]:26" */
static void
begin(struct trial *t, bool from_dns, const char *hosts)
{
	struct span rest = span_text(hosts), one;

	free(t->hosts);
	t->hosts = mem_alloc(sizeof *t->hosts + 64 * sizeof *t->hosts->hosts);
	t->hosts->from_dns = from_dns;
	while (span_split(&rest, ',', &one)) {
		struct smtp_host *host = &t->hosts->hosts[t->hosts->n++];
		size_t space = span_find(one, ' ');
		struct endpoint at;

		host->group = (unsigned)atoi(one.p);
		one = span_from(one, space + 1);
		if (one.p[0] != '[') {
			memcpy(host->name, one.p, one.n);
			continue;
		}
		if (one.p[one.n - 1] == ']') {
			assert_true(ip_parse(span_make(one.p + 1, one.n - 2), &host->ip));
			continue;
		}
		assert_true(endpoint_parse(span_starts(one, SPAN("[192")) ? span_text("192.0.2.7:26") : one, 0, &at, NULL));
		host->ip = at.ip;
		host->port = at.port;
	}
	target_init(&t->target, t->w->resolver, t->hosts, &t->vmta, &t->prng, on_ready, t);
}

/* All of them, waiting where a name is looked up. */
static void
try_all(struct trial *t)
{
	struct endpoint at;
	size_t n = 0;
	unsigned ready;

	t->tried[0] = '\0';
	for (;;) {
		switch (target_next(&t->target, &t->settings, &at)) {
		case TARGET_NONE:
			return;
		case TARGET_ADDRESS:
			n += n ? (size_t)snprintf(t->tried + n, sizeof t->tried - n, " ") : 0;
			endpoint_format(&at, t->tried + n);
			n += strlen(t->tried + n);
			break;
		case TARGET_WAIT:
			ready = t->ready;
			world_run(t->w, SEC(1));
			assert_int_equal(t->ready, ready + 1);
		}
	}
}

static void
tries(struct trial *t, const char *expected)
{
	try_all(t);
	assert_string_equal(t->tried, expected);
	target_fini(&t->target);
}

static void
addresses(struct trial *t, const char *host, const char *ips)
{
	world_dns(t->w, host, RESOLVE_ADDRESS, RESOLVER_OK, 300, ips);
}

static void
hosts_are_tried_by_preference_and_looked_up_when_their_turn_comes(void **state)
{
	struct trial *t = *state;
	struct endpoint at;

	addresses(t, "one.example", "192.0.2.1");
	addresses(t, "two.example", "192.0.2.2,192.0.2.3");
	begin(t, true, "10 one.example,20 two.example");
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_WAIT);
	world_run(t->w, SEC(1));
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_ADDRESS);
	assert_int_equal(at.ip.bytes[3], 1);
	assert_int_equal(at.port, 25);
	assert_int_equal(t->w->asked_n, 1);
	tries(t, "192.0.2.2:25 192.0.2.3:25");
	/* From the cache nobody waits. */
	begin(t, true, "10 one.example,20 two.example");
	tries(t, "192.0.2.1:25 192.0.2.2:25 192.0.2.3:25");
	assert_int_equal(t->w->asked_n, 2);
	assert_int_equal(t->ready, 2);
}

static void
equals_come_in_random_order_and_preferences_do_not(void **state)
{
	struct trial *t = *state;
	unsigned first[4] = { 0 };

	addresses(t, "a.example", "192.0.2.0");
	addresses(t, "b.example", "192.0.2.1");
	addresses(t, "c.example", "192.0.2.2");
	addresses(t, "d.example", "192.0.2.3");
	for (unsigned i = 0; i < 600; i++) {
		begin(t, true, "10 a.example,10 b.example,10 c.example,20 d.example");
		try_all(t);
		target_fini(&t->target);
		first[t->tried[8] - '0']++;
		assert_string_equal(t->tried + strlen(t->tried) - 12, "192.0.2.3:25");
	}
	assert_int_equal(first[3], 0);
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(first[i], 150, 250);
}

static void
ipv4_comes_first_and_families_without_a_source_not_at_all(void **state)
{
	struct trial *t = *state;

	addresses(t, "both.example", "2001:db8::1,192.0.2.1");
	addresses(t, "six.example", "2001:db8::2");
	begin(t, true, "10 both.example,20 six.example");
	tries(t, "192.0.2.1:25 [2001:db8::1]:25 [2001:db8::2]:25");
	t->sources[0] = (struct ip){ IP_V4, { 198, 51, 100, 1 } };
	t->vmta.sources_n = 1;
	begin(t, true, "10 both.example,20 six.example");
	try_all(t);
	assert_string_equal(t->tried, "192.0.2.1:25");
	assert_int_equal(t->target.unknown, 1);
	target_fini(&t->target);
	t->sources[0].family = IP_V6;
	begin(t, true, "10 both.example,20 six.example");
	tries(t, "[2001:db8::1]:25 [2001:db8::2]:25");
	t->sources[1] = (struct ip){ IP_V4, { 198, 51, 100, 1 } };
	t->vmta.sources_n = 2;
	begin(t, true, "10 both.example");
	tries(t, "192.0.2.1:25 [2001:db8::1]:25");
}

static void
dns_does_not_lead_back_into_this_machine(void **state)
{
	static const char *const ours[] = { "127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0" };
	struct trial *t = *state;

	for (unsigned i = 0; i < countof(ours); i++) {
		char host[20], hosts[40];

		snprintf(host, sizeof host, "h%u.example", i);
		snprintf(hosts, sizeof hosts, "10 %s", host);
		addresses(t, host, ours[i]);
		begin(t, true, hosts);
		try_all(t);
		if (t->tried[0] != '\0' || t->target.refused != 1 || t->target.unknown != 0)
			fail_msg("%s is tried", ours[i]);
		target_fini(&t->target);
		/* By smtp_hosts it may. */
		begin(t, false, hosts);
		try_all(t);
		assert_int_not_equal(t->tried[0], '\0');
		assert_int_equal(t->target.refused, 0);
		target_fini(&t->target);
	}
	/* What else the host has is used, and a literal is no way around. */
	addresses(t, "mixed.example", "127.0.0.1,192.0.2.1");
	begin(t, true, "10 mixed.example");
	try_all(t);
	assert_string_equal(t->tried, "192.0.2.1:25");
	assert_int_equal(t->target.refused, 0);
	target_fini(&t->target);
	begin(t, true, "10 [127.0.0.1]");
	try_all(t);
	assert_int_equal(t->target.refused, 1);
	target_fini(&t->target);
}

static void
no_more_hosts_than_mx_connection_attempts_are_tried(void **state)
{
	struct trial *t = *state;

	addresses(t, "many.example", "192.0.2.1,192.0.2.2,192.0.2.3");
	addresses(t, "more.example", "192.0.2.4,192.0.2.5");
	addresses(t, "never.example", "192.0.2.6");
	t->settings.mx_connection_attempts = 2;
	begin(t, true, "10 many.example,20 more.example,30 never.example");
	tries(t, "192.0.2.1:25 192.0.2.2:25 192.0.2.3:25 192.0.2.4:25 192.0.2.5:25");
	t->settings.mx_connection_attempts = 1;
	t->w->asked_n = 0;
	resolver_forget(t->w->resolver);
	begin(t, true, "10 many.example,20 more.example");
	tries(t, "192.0.2.1:25 192.0.2.2:25 192.0.2.3:25");
	assert_int_equal(t->w->asked_n, 1);     /* the others were not even looked up */
}

static void
a_host_without_an_address_is_none_of_those_tried(void **state)
{
	struct trial *t = *state;

	world_dns(t->w, "gone.example", RESOLVE_ADDRESS, RESOLVER_NXDOMAIN, 60, "");
	addresses(t, "works.example", "192.0.2.1");
	t->settings.mx_connection_attempts = 1;
	begin(t, true, "10 gone.example,20 works.example");
	tries(t, "192.0.2.1:25");
}

static void
a_host_of_many_addresses_does_not_hide_the_next(void **state)
{
	struct trial *t = *state;

	addresses(t, "dead.example", "192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5,192.0.2.6,192.0.2.7");
	addresses(t, "works.example", "192.0.2.9");
	t->settings.mx_connection_attempts = 2;
	begin(t, true, "10 dead.example,20 works.example");
	tries(t, "192.0.2.1:25 192.0.2.2:25 192.0.2.3:25 192.0.2.4:25 192.0.2.9:25");
}

static void
settings_are_those_of_the_moment(void **state)
{
	struct trial *t = *state;
	struct queue_settings *overlaid = mem_alloc(sizeof *overlaid);
	struct endpoint at;

	addresses(t, "a.example", "192.0.2.1");
	addresses(t, "b.example", "192.0.2.2");
	begin(t, true, "10 a.example,20 b.example");
	*overlaid = t->settings;
	overlaid->mx_connection_attempts = 1;
	assert_int_equal(target_next(&t->target, overlaid, &at), TARGET_WAIT);
	world_run(t->w, SEC(1));
	assert_int_equal(target_next(&t->target, overlaid, &at), TARGET_ADDRESS);
	assert_false(target_has_another_host(&t->target, overlaid));
	free(overlaid);
	assert_true(target_has_another_host(&t->target, &t->settings));
	tries(t, "192.0.2.2:25");
}

static void
why_there_is_none_is_counted(void **state)
{
	struct trial *t = *state;

	world_dns(t->w, "none.example", RESOLVE_ADDRESS, RESOLVER_NODATA, 60, "");
	world_dns(t->w, "nx.example", RESOLVE_ADDRESS, RESOLVER_NXDOMAIN, 60, "");
	world_dns(t->w, "fails.example", RESOLVE_ADDRESS, RESOLVER_SERVFAIL, 0, "");
	addresses(t, "loop.example", "127.0.0.1");
	begin(t, true, "10 none.example,20 nx.example,30 fails.example,40 loop.example");
	try_all(t);
	assert_string_equal(t->tried, "");
	assert_int_equal(t->target.unknown, 2);
	assert_int_equal(t->target.dns_failed, 1);
	assert_int_equal(t->target.refused, 1);
	assert_string_equal(t->target.dns_detail, "canned");
	target_fini(&t->target);
	/* One that works behind them is reached. */
	addresses(t, "works.example", "192.0.2.1");
	begin(t, true, "10 none.example,20 fails.example,30 works.example");
	tries(t, "192.0.2.1:25");
}

static void
ports_come_from_the_host_or_from_smtp_port(void **state)
{
	struct trial *t = *state;

	addresses(t, "a.example", "192.0.2.1");
	t->settings.smtp_port = 2525;
	begin(t, false, "0 a.example,1 [192.0.2.7]:26,2 [192.0.2.8]");
	tries(t, "192.0.2.1:2525 192.0.2.7:26 192.0.2.8:2525");
}

static void
a_host_is_called_by_its_name_or_its_address(void **state)
{
	struct trial *t = *state;
	struct endpoint at;
	char name[DOMAIN_MAX];

	addresses(t, "a.example", "192.0.2.1");
	begin(t, false, "0 a.example,1 [192.0.2.8],2 [2001:db8::9]");
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_WAIT);
	world_run(t->w, SEC(1));
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_ADDRESS);
	target_host_name(&t->target, &at, name);
	assert_string_equal(name, "a.example");
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_ADDRESS);
	target_host_name(&t->target, &at, name);
	assert_string_equal(name, "[192.0.2.8]");
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_ADDRESS);
	target_host_name(&t->target, &at, name);
	assert_string_equal(name, "[2001:db8::9]");
	target_fini(&t->target);
}

static void
the_rest_of_a_host_can_be_skipped(void **state)
{
	struct trial *t = *state;
	struct endpoint at;

	addresses(t, "a.example", "192.0.2.1,192.0.2.2,192.0.2.3");
	addresses(t, "b.example", "192.0.2.4");
	begin(t, true, "10 a.example,20 b.example");
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_WAIT);
	world_run(t->w, SEC(1));
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_ADDRESS);
	assert_true(target_has_another_host(&t->target, &t->settings));
	target_skip_host(&t->target);
	try_all(t);
	assert_string_equal(t->tried, "192.0.2.4:25");
	assert_false(target_has_another_host(&t->target, &t->settings));
	target_fini(&t->target);
}

static void
one_that_is_given_up_asks_no_further(void **state)
{
	struct trial *t = *state;
	struct endpoint at;

	begin(t, true, "10 a.example");
	assert_int_equal(target_next(&t->target, &t->settings, &at), TARGET_WAIT);
	target_fini(&t->target);
	world_run(t->w, SEC(5));
	assert_int_equal(t->ready, 0);
	assert_true(list_empty(&t->w->questions));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(hosts_are_tried_by_preference_and_looked_up_when_their_turn_comes),
		T(equals_come_in_random_order_and_preferences_do_not),
		T(ipv4_comes_first_and_families_without_a_source_not_at_all),
		T(dns_does_not_lead_back_into_this_machine),
		T(no_more_hosts_than_mx_connection_attempts_are_tried),
		T(a_host_without_an_address_is_none_of_those_tried),
		T(a_host_of_many_addresses_does_not_hide_the_next),
		T(settings_are_those_of_the_moment),
		T(why_there_is_none_is_counted),
		T(ports_come_from_the_host_or_from_smtp_port),
		T(a_host_is_called_by_its_name_or_its_address),
		T(the_rest_of_a_host_can_be_skipped),
		T(one_that_is_given_up_asks_no_further),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
