/* Questions to a name server on loopback that answers, lies, is silent, or loses packets. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver_server_fixture.h"

struct fixture {
	struct server           server;
	struct loop            *loop;
	struct resolver_source *source;
	struct timer            deadline;
	unsigned                answers, wanted;
	struct resolver_answer  last;
	struct resolver_mx      mx[RESOLVER_RECORDS_MAX];
	struct ip               ip[RESOLVER_RECORDS_MAX];
	char                    detail[200];
};

static void
on_deadline(void *ctx, struct now now)
{
	struct fixture *f = ctx;
	loop_stop(f->loop);
}

static void
on_answer(void *ctx, const struct resolver_answer *a)
{
	struct fixture *f = ctx;
	f->last = *a;
	for (unsigned i = 0; i < a->n; i++) {
		if (a->mx)
			f->mx[i] = a->mx[i];
		if (a->ip)
			f->ip[i] = a->ip[i];
	}
	snprintf(f->detail, sizeof(f->detail), "%s", a->detail ? a->detail : "");
	if (++f->answers == f->wanted)
		loop_stop(f->loop);
}

static void
open_resolver(struct fixture *f, const struct endpoint *servers, unsigned n, unsigned tries)
{
	struct resolver_os_options options = { .servers = servers, .servers_n = n, .timeout_s = 1, .tries = tries };
	struct err err;
	f->source = resolver_os_new(f->loop, &options, &err);
	assert_non_null(f->source);
}

static struct endpoint
loopback(uint16_t port)
{
	return (struct endpoint){ .ip = { IP_V4, { 127, 0, 0, 1 } }, .port = port };
}

static int
setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err err;
	server_start(&f->server);
	f->loop = loop_os_new(&err);
	assert_non_null(f->loop);
	timer_init(&f->deadline, on_deadline, f);
	struct endpoint at = loopback(f->server.port);
	open_resolver(f, &at, 1, 1);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	resolver_os_free(f->source);
	timer_stop(&f->loop->timers, &f->deadline);
	loop_os_free(f->loop);
	server_stop(&f->server);
	free(f);
	return 0;
}

static void
run_for(struct fixture *f, unsigned answers)
{
	f->answers = 0;
	f->wanted = answers;
	timer_start(&f->loop->timers, &f->deadline, clock_mono(&f->loop->clock) + 20 * US_PER_S);
	loop_run(f->loop);
	assert_int_equal(f->answers, answers);
}

static void
ask(struct fixture *f, const char *name, enum resolver_type type)
{
	f->source->ask(f->source, name, type, on_answer, f);
	assert_int_equal(f->answers, 0);
	run_for(f, 1);
	f->answers = 0;
}

static void
mail_exchangers_come_lowered_and_sorted(void **state)
{
	struct fixture *f = *state;
	ask(f, "plain.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_OK);
	assert_int_equal(f->last.n, 3);
	assert_int_equal(f->last.ttl_s, 200);
	assert_string_equal(f->mx[0].host, "mx0.example");
	assert_string_equal(f->mx[1].host, "mx1.example");
	assert_string_equal(f->mx[2].host, "mx2.example");
	assert_int_equal(f->mx[2].preference, 20);
}

static void
a_chain_of_aliases_is_followed_and_the_least_ttl_counts(void **state)
{
	struct fixture *f = *state;
	ask(f, "alias.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "mx.c.example");
	assert_int_equal(f->last.ttl_s, 30);
}

static void
a_null_mx_is_an_empty_host_unless_others_stand_beside_it(void **state)
{
	struct fixture *f = *state;
	ask(f, "null.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_OK);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "");
	ask(f, "nullandmore.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "mx.example");
}

static void
hosts_with_odd_bytes_are_left_out(void **state)
{
	struct fixture *f = *state;
	ask(f, "odd.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "good_one.example");
	ask(f, "allodd.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_SERVFAIL);
}

static void
failures_have_their_status_ttl_and_a_line_for_a_person(void **state)
{
	static const struct { const char *name; enum resolver_status status; uint32_t ttl_s; const char *detail; } rows[] = {
		{ "nx.example", RESOLVER_NXDOMAIN, 77, "no such domain" },
		{ "nodata.example", RESOLVER_NODATA, 33, "no MX record" },
		{ "empty.example", RESOLVER_NODATA, 60, "no MX record" },
		{ "other.example", RESOLVER_NODATA, 60, "no MX record" },
		{ "servfail.example", RESOLVER_SERVFAIL, 0, "the server failed" },
		{ "refused.example", RESOLVER_REFUSED, 0, "the server refused" },
		{ "cut.example", RESOLVER_SERVFAIL, 0, "malformed answer" },
		{ "tcpcloses.example", RESOLVER_TIMEOUT, 0, "closed the connection" },
		{ "a..b", RESOLVER_NXDOMAIN, UINT32_MAX, "not a domain name" },
		{ "a\\.b", RESOLVER_NXDOMAIN, UINT32_MAX, "not a domain name" },
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		ask(f, rows[i].name, RESOLVE_MX);
		if (f->last.status != rows[i].status || !strstr(f->detail, rows[i].detail))
			fail_msg("%s: %d, %s", rows[i].name, f->last.status, f->detail);
		assert_int_equal(f->last.ttl_s, rows[i].ttl_s);
	}
}

static void
an_answer_truncated_by_udp_is_asked_again_over_tcp(void **state)
{
	struct fixture *f = *state;
	ask(f, "big.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_OK);
	assert_int_equal(f->last.n, 60);
	assert_string_equal(f->mx[59].host, "mx59.a-rather-long-name-for-a-host.example");
	assert_int_equal(f->server.udp_n, 1);
	assert_int_equal(f->server.tcp_n, 1);
}

static void
a_server_without_edns_is_asked_without(void **state)
{
	struct fixture *f = *state;
	ask(f, "noedns.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "old.example");
	assert_int_equal(f->server.udp_n, 2);
	assert_int_equal(f->server.edns_n, 1);
}

static void
a_server_that_is_silent_ends_in_a_timeout(void **state)
{
	static const char *const names[] = { "silent.example", "tcphangs.example" };
	struct fixture *f = *state;
	for (unsigned i = 0; i < countof(names); i++) {
		mono_us_t before = clock_mono(&f->loop->clock);
		ask(f, names[i], RESOLVE_MX);
		assert_int_equal(f->last.status, RESOLVER_TIMEOUT);
		assert_non_null(strstr(f->detail, "no answer"));
		assert_true(clock_mono(&f->loop->clock) - before >= US_PER_S / 4);
	}
}

static void
a_lost_packet_is_sent_again(void **state)
{
	struct fixture *f = *state;
	struct endpoint at = loopback(f->server.port);
	resolver_os_free(f->source);
	open_resolver(f, &at, 1, 2);
	ask(f, "second.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "late.example");
	assert_int_equal(f->server.udp_n, 2);
	assert_int_not_equal(f->server.ids[0], f->server.ids[1]);
}

static void
the_next_server_is_asked_when_one_cannot_be_reached(void **state)
{
	struct fixture *f = *state;
	/* 127.0.0.2 has nobody on that port: the refusal comes at once. */
	struct endpoint servers[] = { loopback(f->server.port), loopback(f->server.port) };
	servers[0].ip.bytes[3] = 2;
	resolver_os_free(f->source);
	open_resolver(f, servers, 2, 1);
	mono_us_t before = clock_mono(&f->loop->clock);
	ask(f, "plain.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 3);
	assert_true(clock_mono(&f->loop->clock) - before < US_PER_S / 2);
}

static void
forged_answers_are_passed_over_and_many_of_them_lead_to_tcp(void **state)
{
	struct fixture *f = *state;
	ask(f, "forged.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "true.example");
	assert_int_equal(f->server.tcp_n, 0);
	ask(f, "forgedmany.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "true.example");
	assert_int_equal(f->server.tcp_n, 1);
}

static void
addresses_of_both_families_come_together(void **state)
{
	static const struct { const char *name; unsigned n; uint32_t ttl_s; enum resolver_status status; } rows[] = {
		{ "both.example", 2, 40, RESOLVER_OK },
		{ "v4.example", 1, 50, RESOLVER_OK },
		{ "half.example", 1, 60, RESOLVER_OK },         /* AAAA failed: soon again */
		{ "nx.example", 0, 77, RESOLVER_NXDOMAIN },
		{ "empty.example", 0, 60, RESOLVER_NODATA },
		{ "servfail.example", 0, 0, RESOLVER_SERVFAIL },
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		ask(f, rows[i].name, RESOLVE_ADDRESS);
		assert_int_equal(f->last.status, rows[i].status);
		assert_int_equal(f->last.n, rows[i].n);
		assert_int_equal(f->last.ttl_s, rows[i].ttl_s);
	}
	ask(f, "both.example", RESOLVE_ADDRESS);
	assert_int_equal(f->ip[0].family, IP_V6);
	assert_int_equal(f->ip[0].bytes[15], 9);
	assert_int_equal(f->ip[1].family, IP_V4);
	assert_int_equal(f->ip[1].bytes[3], 7);
}

static void
more_questions_than_may_be_under_way_wait_and_are_answered(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 600; i++)
		f->source->ask(f->source, "plain.example", RESOLVE_MX, on_answer, f);
	run_for(f, 600);
	assert_int_equal(f->last.status, RESOLVER_OK);
}

static void
a_cancelled_question_is_never_answered(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 300; i++)
		f->source->cancel(f->source, f->source->ask(f->source, "plain.example", RESOLVE_MX, on_answer, f));
	void *under_way = f->source->ask(f->source, "silent.example", RESOLVE_ADDRESS, on_answer, f);
	ask(f, "v4.example", RESOLVE_ADDRESS);
	f->source->cancel(f->source, under_way);
	ask(f, "plain.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 3);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(mail_exchangers_come_lowered_and_sorted),
		TEST(a_chain_of_aliases_is_followed_and_the_least_ttl_counts),
		TEST(a_null_mx_is_an_empty_host_unless_others_stand_beside_it),
		TEST(hosts_with_odd_bytes_are_left_out),
		TEST(failures_have_their_status_ttl_and_a_line_for_a_person),
		TEST(an_answer_truncated_by_udp_is_asked_again_over_tcp),
		TEST(a_server_without_edns_is_asked_without),
		TEST(a_server_that_is_silent_ends_in_a_timeout),
		TEST(a_lost_packet_is_sent_again),
		TEST(the_next_server_is_asked_when_one_cannot_be_reached),
		TEST(forged_answers_are_passed_over_and_many_of_them_lead_to_tcp),
		TEST(addresses_of_both_families_come_together),
		TEST(more_questions_than_may_be_under_way_wait_and_are_answered),
		TEST(a_cancelled_question_is_never_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
