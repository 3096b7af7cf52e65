/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/resolver_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "sim/loop_sim.h"

struct fixture {
	struct loop            *loop;
	struct resolver_source *source;
	char                    got[300];
	uint32_t                ttl_s;
};

static void
on_answer(void *ctx, const struct resolver_answer *answer)
{
	struct fixture *f = ctx;
	size_t n = 0;
	char ip[IP_TEXT_MAX];

	f->ttl_s = answer->ttl_s;
	n += (size_t)snprintf(f->got, sizeof(f->got), "%d@%lld", answer->status, (long long)loop_now(f->loop).mono);
	for (unsigned i = 0; i < answer->n && answer->mx; i++)
		n += (size_t)snprintf(f->got + n, sizeof(f->got) - n, " %u %s", answer->mx[i].preference, answer->mx[i].host);
	for (unsigned i = 0; i < answer->n && answer->ip; i++) {
		ip_format(&answer->ip[i], ip);
		n += (size_t)snprintf(f->got + n, sizeof(f->got) - n, " %s", ip);
	}
	assert_true((answer->detail != NULL) == (answer->status != RESOLVER_OK));
}

static void
set_up(struct fixture *f)
{
	*f = (struct fixture){ .loop = loop_sim_new(0, (wall_ms_t){ 0 }) };
	f->source = resolver_sim_new(f->loop);
}

static void
tear_down(struct fixture *f)
{
	resolver_sim_free(f->source);
	loop_sim_free(f->loop);
}

static const char *
asked(struct fixture *f, const char *name, enum resolver_type type)
{
	f->got[0] = 0;
	f->source->ask(f->source, name, type, on_answer, f);
	assert_string_equal(f->got, "");
	loop_run(f->loop);
	return f->got;
}

static void
answers_for_names_that_nobody_set(void **state)
{
	struct fixture f;
	char ip[IP_TEXT_MAX];
	struct ip a;

	set_up(&f);
	assert_string_equal(asked(&f, "b.example", RESOLVE_MX), "0@0 10 b.example");
	assert_int_equal(f.ttl_s, 300);
	assert_string_equal(asked(&f, "b.example", RESOLVE_ADDRESS), "0@0 198.18.0.1");
	a = resolver_sim_address_of(f.source, "A.example");
	ip_format(&a, ip);
	assert_string_equal(ip, "198.18.0.2");
	assert_string_equal(asked(&f, "b.example", RESOLVE_ADDRESS), "0@0 198.18.0.1");
	assert_string_equal(asked(&f, "a.example", RESOLVE_ADDRESS), "0@0 198.18.0.2");
	tear_down(&f);
}

static void
answers_what_was_set(void **state)
{
	static const struct resolver_mx mx[] = { { 20, "b.mx" }, { 10, "z.mx" }, { 10, "a.mx" } };
	static const struct ip ip[] = { { IP_V4, { 192, 0, 2, 1 } }, { IP_V4, { 192, 0, 2, 2 } } };
	struct fixture f;

	set_up(&f);
	resolver_sim_set(f.source, "Example.com", &(struct resolver_sim_zone){ .mx_n = 3, .mx = mx, .ttl_s = 60 });
	assert_string_equal(asked(&f, "example.com", RESOLVE_MX), "0@0 10 a.mx 10 z.mx 20 b.mx");
	assert_int_equal(f.ttl_s, 60);
	resolver_sim_set(f.source, "a.mx", &(struct resolver_sim_zone){ .ip_n = 2, .ip = ip });
	assert_string_equal(asked(&f, "a.mx", RESOLVE_ADDRESS), "0@0 192.0.2.1 192.0.2.2");
	assert_string_equal(asked(&f, "a.mx", RESOLVE_MX), "1@0");
	resolver_sim_set(f.source, "a.mx", NULL);
	assert_string_equal(asked(&f, "a.mx", RESOLVE_ADDRESS), "0@0 198.18.0.1");
	resolver_sim_set(f.source, "gone.example", &(struct resolver_sim_zone){ .status = RESOLVER_NXDOMAIN });
	assert_string_equal(asked(&f, "gone.example", RESOLVE_MX), "2@0");
	assert_string_equal(asked(&f, "gone.example", RESOLVE_ADDRESS), "2@0");
	tear_down(&f);
}

static void
takes_its_time(void **state)
{
	struct fixture f;

	set_up(&f);
	resolver_sim_latency(f.source, 30000);
	resolver_sim_ttl(f.source, 5);
	assert_string_equal(asked(&f, "x", RESOLVE_MX), "0@30000 10 x");
	assert_int_equal(f.ttl_s, 5);
	resolver_sim_set(f.source, "slow", &(struct resolver_sim_zone){ .status = RESOLVER_TIMEOUT });
	assert_string_equal(asked(&f, "slow", RESOLVE_MX), "4@12030000");
	tear_down(&f);
}

static void
fails_for_everyone_until_told_otherwise(void **state)
{
	struct fixture f;

	set_up(&f);
	resolver_sim_fail(f.source, RESOLVER_SERVFAIL);
	assert_string_equal(asked(&f, "x", RESOLVE_MX), "3@0");
	resolver_sim_fail(f.source, RESOLVER_OK);
	assert_string_equal(asked(&f, "x", RESOLVE_MX), "0@0 10 x");
	tear_down(&f);
}

static void
forgets_a_question_that_is_cancelled(void **state)
{
	struct fixture f;

	set_up(&f);
	f.source->cancel(f.source, f.source->ask(f.source, "x", RESOLVE_MX, on_answer, &f));
	loop_run(f.loop);
	assert_string_equal(f.got, "");
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_for_names_that_nobody_set),
		cmocka_unit_test(answers_what_was_set),
		cmocka_unit_test(takes_its_time),
		cmocka_unit_test(fails_for_everyone_until_told_otherwise),
		cmocka_unit_test(forgets_a_question_that_is_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
