/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "net/resolver.h"

/* A source that notes what it is asked and answers when told. */
struct asked {
	char         name[RESOLVER_NAME_MAX];
	enum resolver_type type;
	resolver_fn *on_answer;
	void        *ctx;
	bool         open;
};

struct world {
	struct resolver_source source;          /* first: cast back */
	struct loop            loop;
	struct resolver       *resolver;
	struct asked           asked[40];
	unsigned               asked_n, cancelled;
	unsigned long          total;
};

struct told {
	struct world          *world;
	unsigned               n;
	enum resolver_status   status;
	unsigned               records;
	char                   host[RESOLVER_NAME_MAX];
	struct ip              ip;
	uint32_t               ttl_s;
	struct resolver_query *cancel;          /* from within the callback */
	const char            *ask_again;
	struct told           *again;
	bool                   forget;
};

static void *
fake_ask(struct resolver_source *source, const char *name, enum resolver_type type, resolver_fn *on_answer, void *ctx)
{
	struct world *w = (struct world *)source;
	w->total++;
	struct asked *a = &w->asked[w->asked_n++ % countof(w->asked)];
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->type = type;
	a->on_answer = on_answer;
	a->ctx = ctx;
	a->open = true;
	return a;
}

static void
fake_cancel(struct resolver_source *source, void *question)
{
	struct asked *a = question;
	assert_true(a->open);
	a->open = false;
	((struct world *)source)->cancelled++;
}

static int
setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));
	w->source.ask = fake_ask;
	w->source.cancel = fake_cancel;
	w->loop.now.mono = 1000 * US_PER_S;
	w->resolver = resolver_new(&w->loop, &w->source, 7);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	resolver_free(w->resolver);
	free(w);
	return 0;
}

static void
on_told(void *ctx, const struct resolver_answer *answer)
{
	struct told *t = ctx;
	t->n++;
	t->status = answer->status;
	t->records = answer->n;
	t->ttl_s = answer->ttl_s;
	if (t->forget)
		resolver_forget(t->world->resolver);
	if (t->cancel)
		resolver_cancel(t->cancel);
	t->cancel = NULL;
	if (t->ask_again)
		resolver_ask(t->world->resolver, t->ask_again, RESOLVE_MX, on_told, t->again);
	if (answer->n && answer->mx)
		memcpy(t->host, answer->mx[answer->n - 1].host, sizeof(t->host));
	if (answer->n && answer->ip)
		t->ip = answer->ip[answer->n - 1];
}

static void
answer_mx(struct world *w, unsigned i, enum resolver_status status, uint32_t ttl_s, const char *host)
{
	struct resolver_mx mx[2] = { { .preference = 5, .host = "first.example" }, { .preference = 10 } };
	struct resolver_answer answer = { .status = status, .ttl_s = ttl_s, .mx = mx, .n = host ? 2 : 0 };
	if (host)
		snprintf(mx[1].host, sizeof(mx[1].host), "%s", host);
	assert_true(w->asked[i].open);
	w->asked[i].open = false;
	w->asked[i].on_answer(w->asked[i].ctx, &answer);
}

static void
pass(struct world *w, int64_t seconds)
{
	w->loop.now.mono += seconds * US_PER_S;
}

static struct resolver_query *
ask_mx(struct world *w, const char *name, struct told *t)
{
	t->world = w;
	return resolver_ask(w->resolver, name, RESOLVE_MX, on_told, t);
}

static void
an_answer_is_kept_for_its_ttl_and_told_before_ask_returns(void **state)
{
	struct world *w = *state;
	struct told t = { 0 };
	assert_non_null(ask_mx(w, "a.example", &t));
	assert_int_equal(t.n, 0);
	answer_mx(w, 0, RESOLVER_OK, 100, "mx.a.example");
	assert_int_equal(t.n, 1);
	assert_int_equal(t.ttl_s, 100);
	pass(w, 99);
	assert_null(ask_mx(w, "a.example", &t));
	assert_int_equal(t.n, 2);
	assert_int_equal(t.records, 2);
	assert_int_equal(t.ttl_s, 1);
	assert_string_equal(t.host, "mx.a.example");
	assert_int_equal(w->total, 1);
	pass(w, 1);
	assert_non_null(ask_mx(w, "a.example", &t));
	assert_int_equal(w->total, 2);
}

static void
a_name_is_one_whatever_its_case_and_final_dot(void **state)
{
	struct world *w = *state;
	struct told t = { 0 };
	ask_mx(w, "A.Example.", &t);
	assert_string_equal(w->asked[0].name, "a.example");
	answer_mx(w, 0, RESOLVER_OK, 60, "mx.example");
	assert_null(ask_mx(w, "a.EXAMPLE", &t));
	assert_int_equal(w->total, 1);
}

static void
mx_and_address_of_a_name_are_two_questions(void **state)
{
	struct world *w = *state;
	struct told t = { .world = w };
	ask_mx(w, "a.example", &t);
	resolver_ask(w->resolver, "a.example", RESOLVE_ADDRESS, on_told, &t);
	assert_int_equal(w->total, 2);
	assert_int_equal(w->asked[1].type, RESOLVE_ADDRESS);
	struct ip ip[2] = { { IP_V6, { 0x20, 1 } }, { IP_V4, { 192, 0, 2, 1 } } };
	struct resolver_answer answer = { .status = RESOLVER_OK, .ttl_s = 9, .ip = ip, .n = 2 };
	w->asked[1].open = false;
	w->asked[1].on_answer(w->asked[1].ctx, &answer);
	assert_int_equal(t.ip.family, IP_V4);
	assert_memory_equal(t.ip.bytes, ip[1].bytes, 16);
	memset(&t.ip, 0, sizeof(t.ip));
	assert_null(resolver_ask(w->resolver, "a.example", RESOLVE_ADDRESS, on_told, &t));
	assert_memory_equal(t.ip.bytes, ip[1].bytes, 16);
}

static void
the_same_question_under_way_is_asked_once(void **state)
{
	struct world *w = *state;
	struct told a = { 0 }, b = { 0 };
	assert_non_null(ask_mx(w, "a.example", &a));
	assert_non_null(ask_mx(w, "a.example", &b));
	assert_int_equal(w->total, 1);
	answer_mx(w, 0, RESOLVER_NXDOMAIN, 60, NULL);
	assert_int_equal(a.n, 1);
	assert_int_equal(b.n, 1);
	assert_int_equal(b.status, RESOLVER_NXDOMAIN);
}

static void
ttls_are_cut_to_what_is_sensible(void **state)
{
	static const struct { enum resolver_status status; uint32_t given, kept; } rows[] = {
		{ RESOLVER_OK, 0, 1 },
		{ RESOLVER_OK, 86401, 86400 },
		{ RESOLVER_OK, UINT32_MAX, 86400 },
		{ RESOLVER_NXDOMAIN, 3600, 300 },
		{ RESOLVER_NODATA, 3600, 300 },
		{ RESOLVER_NODATA, 20, 20 },
	};
	struct world *w = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		struct told t = { 0 };
		char name[32];
		snprintf(name, sizeof(name), "n%u.example", i);
		ask_mx(w, name, &t);
		answer_mx(w, i, rows[i].status, rows[i].given, rows[i].status == RESOLVER_OK ? "mx" : NULL);
		assert_int_equal(t.ttl_s, rows[i].kept);
		pass(w, rows[i].kept - 1);
		assert_null(ask_mx(w, name, &t));
		pass(w, 1);
		struct resolver_query *q = ask_mx(w, name, &t);
		assert_non_null(q);
		resolver_cancel(q);
		w->asked_n--;
	}
}

static void
a_failure_is_never_cached(void **state)
{
	static const enum resolver_status rows[] = { RESOLVER_SERVFAIL, RESOLVER_TIMEOUT, RESOLVER_REFUSED };
	struct world *w = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		struct told t = { 0 };
		assert_non_null(ask_mx(w, "a.example", &t));
		answer_mx(w, i, rows[i], 60, NULL);
		assert_int_equal(t.status, rows[i]);
	}
	assert_int_equal(w->total, countof(rows));
}

static void
the_last_who_waits_takes_the_question_back(void **state)
{
	struct world *w = *state;
	struct told a = { 0 }, b = { 0 };
	struct resolver_query *qa = ask_mx(w, "a.example", &a), *qb = ask_mx(w, "a.example", &b);
	resolver_cancel(qa);
	assert_int_equal(w->cancelled, 0);
	resolver_cancel(qb);
	assert_int_equal(w->cancelled, 1);
	assert_non_null(ask_mx(w, "a.example", &a));
	assert_int_equal(w->total, 2);
	assert_int_equal(a.n, 0);
}

static void
one_of_several_is_cancelled_and_the_others_told(void **state)
{
	struct world *w = *state;
	struct told a = { 0 }, b = { 0 }, c = { 0 };
	ask_mx(w, "a.example", &a);
	struct resolver_query *qb = ask_mx(w, "a.example", &b);
	ask_mx(w, "a.example", &c);
	resolver_cancel(qb);
	answer_mx(w, 0, RESOLVER_OK, 60, "mx");
	assert_int_equal(a.n, 1);
	assert_int_equal(b.n, 0);
	assert_int_equal(c.n, 1);
}

static void
a_callback_may_cancel_another_who_waits(void **state)
{
	static const enum resolver_status rows[] = { RESOLVER_OK, RESOLVER_TIMEOUT };
	struct world *w = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		struct told a = { 0 }, b = { 0 };
		const char *name = i ? "b.example" : "a.example";
		ask_mx(w, name, &a);
		a.cancel = ask_mx(w, name, &b);
		answer_mx(w, i, rows[i], 60, NULL);
		assert_int_equal(a.n, 1);
		assert_int_equal(b.n, 0);
	}
	assert_int_equal(w->cancelled, 0);
}

static void
a_callback_may_ask_again_and_is_not_told_twice(void **state)
{
	struct world *w = *state;
	struct told a = { 0 }, again = { 0 };
	ask_mx(w, "a.example", &a);
	a.ask_again = "a.example";
	a.again = &again;
	answer_mx(w, 0, RESOLVER_TIMEOUT, 0, NULL);
	assert_int_equal(a.n, 1);
	assert_int_equal(again.n, 0);
	assert_int_equal(w->total, 2);
	answer_mx(w, 1, RESOLVER_OK, 60, "mx.example");
	assert_int_equal(again.n, 1);
}

static void
a_callback_may_forget_everything_and_still_read_its_answer(void **state)
{
	struct world *w = *state;
	struct told a = { .forget = true }, b = { 0 };
	ask_mx(w, "a.example", &a);
	ask_mx(w, "a.example", &b);
	answer_mx(w, 0, RESOLVER_OK, 60, "mx.example");
	assert_string_equal(a.host, "mx.example");
	assert_string_equal(b.host, "mx.example");
	assert_non_null(ask_mx(w, "a.example", &b));
}

static void
the_cache_is_bounded_and_drops_what_was_used_least_recently(void **state)
{
	struct world *w = *state;
	struct told t = { 0 };
	for (unsigned i = 0; i <= 16384; i++) {
		char name[32];
		if (i == 16384)         /* the oldest is used once more */
			assert_null(ask_mx(w, "n0.example", &t));
		snprintf(name, sizeof(name), "n%u.example", i);
		w->asked_n = 0;
		assert_non_null(ask_mx(w, name, &t));
		answer_mx(w, 0, RESOLVER_OK, 3600, "mx");
	}
	assert_null(ask_mx(w, "n0.example", &t));
	assert_null(ask_mx(w, "n2.example", &t));
	w->asked_n = 0;
	assert_non_null(ask_mx(w, "n1.example", &t));
}

static void
a_text_that_is_no_name_does_not_exist(void **state)
{
	struct world *w = *state;
	struct told t = { 0 };
	char longest[300];
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(ask_mx(w, longest, &t));
	assert_null(ask_mx(w, "", &t));
	assert_int_equal(t.n, 2);
	assert_int_equal(t.status, RESOLVER_NXDOMAIN);
	assert_int_equal(w->total, 0);
}

static void
more_records_than_an_answer_may_hold_are_left_out(void **state)
{
	struct world *w = *state;
	struct told t = { 0 };
	struct resolver_mx mx[RESOLVER_RECORDS_MAX + 5] = { 0 };
	struct resolver_answer answer = { .status = RESOLVER_OK, .ttl_s = 60, .mx = mx, .n = countof(mx) };
	ask_mx(w, "a.example", &t);
	w->asked[0].on_answer(w->asked[0].ctx, &answer);
	assert_int_equal(t.records, RESOLVER_RECORDS_MAX);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_answer_is_kept_for_its_ttl_and_told_before_ask_returns),
		TEST(a_name_is_one_whatever_its_case_and_final_dot),
		TEST(mx_and_address_of_a_name_are_two_questions),
		TEST(the_same_question_under_way_is_asked_once),
		TEST(ttls_are_cut_to_what_is_sensible),
		TEST(a_failure_is_never_cached),
		TEST(the_last_who_waits_takes_the_question_back),
		TEST(one_of_several_is_cancelled_and_the_others_told),
		TEST(a_callback_may_cancel_another_who_waits),
		TEST(a_callback_may_ask_again_and_is_not_told_twice),
		TEST(a_callback_may_forget_everything_and_still_read_its_answer),
		TEST(the_cache_is_bounded_and_drops_what_was_used_least_recently),
		TEST(a_text_that_is_no_name_does_not_exist),
		TEST(more_records_than_an_answer_may_hold_are_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
