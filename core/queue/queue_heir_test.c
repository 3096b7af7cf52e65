/* What a queue that another policy has taken the mail of leaves to others, with one shard as with several. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_shards_fixture.h"

#define V1 "vmta \"v1\" { source = \"any\" }\nvmta \"v2\" { source = \"any\" }\n"
#define ALL "domain \"*\" { max_smtp_out = 4, total_max_smtp_out = 8, retry_after = \"10m\", retry_jitter = \"0%%\" }\n"

static const unsigned numbers[] = { 1, 3 };

/* The queue of that provider by v1, wherever it is. */
static struct queue *
queue_of(struct shards *s, const char *provider)
{
	char name[60];

	snprintf(name, sizeof name, "%s/v1", provider);
	return shards_queue(s, name);
}

static const char *
name_at(const struct shards *s, unsigned shard, char letter)
{
	return name_of(s, shard % s->peers.n, letter);
}

static uint64_t
sessions(const struct shards *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->peers.n; i++)
		n += s->all[i]->sessions_n;
	return n;
}

/* ---- sessions ---- */

static void
renamed_without_a_route(unsigned n, const char *body)
{
	struct shards *s = shards_new(n, V1, 1);
	const char *before = name_at(s, 0, 'p'), *after = name_at(s, 1, 'q');
	char policy[400], renamed[400];

	snprintf(policy, sizeof policy, V1 "provider \"%s\" { %s, max_smtp_out = 1 }\n", before, body);
	snprintf(renamed, sizeof renamed, V1 "provider \"%s\" { %s, max_smtp_out = 1 }\n", after, body);
	shards_mx(s, "d.example", "10 a.hosts.example");
	shards_swap(s, policy);
	for (unsigned i = 0; i < n; i++)
		s->w[i]->play.idle_us = MINS(5);
	put(s->w[0], "d.example");
	shards_run(s, SEC(90));
	assert_true(list_empty(&queue_of(s, before)->routes));
	assert_int_equal(queue_of(s, before)->slots_n, 1);
	for (unsigned i = 0; i < n; i++)
		s->w[i]->play.close_us = SEC(1);
	shards_swap(s, renamed);
	assert_int_equal(gauge_in_use(&queue_of(s, after)->scope.use->sessions), 1);
	put(s->w[0], "d.example", .messages = 5);
	for (unsigned i = 0; i < 3000; i++) {
		shards_run(s, MS(1));
		assert_true(sessions(s) <= 1);
	}
	assert_true(shards_run_until_empty(s, MINS(1)));
	assert_int_equal(shards_sum(s, delivered), 6);
	shards_check(s);
	shards_free(s);
}

static void
a_session_that_no_route_is_left_of_counts_where_mail_for_its_hosts_would_go(void **state)
{
	for (unsigned i = 0; i < countof(numbers); i++) {
		renamed_without_a_route(numbers[i], "mx = { \"*.hosts.example\" }");
		renamed_without_a_route(numbers[i], "domains = { \"d.example\" }");
	}
}

static void
a_swap_that_changes_nothing_leaves_it_where_it_is(void **state)
{
	static const char *const policies[] = {
		V1, V1 "provider \"p\" { mx = { \"*.hosts.example\" } }\n", V1 "provider \"p\" { domains = { \"d.example\" } }\n",
		V1 "domain \"d.example\" { max_smtp_out = 3 }\n", V1 "domain \"d.example\" { smtp_hosts = \"relay.example\" }\n",
	};

	for (unsigned i = 0; i < countof(policies) * countof(numbers); i++) {
		struct shards *s = shards_new(numbers[i % countof(numbers)], policies[i / countof(numbers)], i);

		shards_mx(s, "d.example", "10 a.hosts.example");
		for (unsigned k = 0; k < s->peers.n; k++)
			s->w[k]->play.idle_us = MINS(5);
		put(s->w[0], "d.example");
		shards_run(s, SEC(90));
		shards_swap(s, policies[i / countof(numbers)]);
		shards_run(s, MINS(1));
		assert_int_equal(sessions(s), 1);
		shards_check(s);
		shards_free(s);
	}
}

/* ---- what was learnt ---- */

static const struct tightening half = { .setting = SETTING_max_smtp_out, .is_percent = true, .percent = 50 };

static const struct overlay_spec cut = {
	.name = "cut", .pattern = "421", .where = { "p.lua", 3, "reaction" }, .lasts_us = HOUR(1), .tightenings = &half, .tightenings_n = 1,
};

static void
assert_inherited(const struct queue *q)
{
	assert_int_equal(q->scope.limits.max_smtp_out, 2);
	assert_int_equal(q->hold.overlays_n, 1);
	assert_int_equal(q->retry_step, 2);
	assert_true(q->retry_until > loop_now(q->queues->o.loop).mono);
	assert_string_equal(q->last_error, "451 not now");
}

static void
all_that_get_some_of_the_mail_inherit_and_count_their_own_sessions(void **state)
{
	for (unsigned i = 0; i < countof(numbers); i++) {
		struct shards *s = shards_new(numbers[i], V1, 1);
		const char *big = name_at(s, 0, 'p'), *one = name_at(s, 1, 'q'), *other = name_at(s, 2, 'r');
		char policy[600];
		struct queue *q;

		snprintf(policy, sizeof policy, V1 "provider \"%s\" { domains = { \"a.example\", \"b.example\" } }\n" ALL, big);
		shards_mx(s, "a.example", "10 mx.a.example");
		shards_mx(s, "b.example", "10 mx.b.example");
		shards_swap(s, policy);
		for (unsigned k = 0; k < s->peers.n; k++)
			s->w[k]->play.reply_us = SEC(5);
		put(s->w[0], "a.example", .messages = 2);
		put(s->w[0], "b.example", .messages = 2);
		shards_run(s, SEC(1));
		put(s->w[0], "a.example,b.example", .n = 16);
		q = queue_of(s, big);
		assert_int_equal(q->slots_n, 4);
		queue_lay(q, OVERLAY_QUEUE, &cut, shards_now(s), s->w[0]->loop.now);
		q->retry_until = shards_now(s) + MINS(3);
		q->retry_step = 2;
		queue_error(q, "451 not now");
		snprintf(policy, sizeof policy, V1 "provider \"%s\" { domains = { \"a.example\" } }\nprovider \"%s\" { domains = { \"b.example\" } }\n" ALL,
			 one, other);
		shards_swap(s, policy);
		assert_inherited(queue_of(s, one));
		assert_inherited(queue_of(s, other));
		assert_int_equal(gauge_in_use(&queue_of(s, one)->scope.use->sessions), 2);
		assert_int_equal(gauge_in_use(&queue_of(s, other)->scope.use->sessions), 2);
		assert_true(shards_run_until_empty(s, HOUR(3)));
		assert_int_equal(shards_sum(s, delivered), 20);
		shards_check(s);
		shards_free(s);
	}
}

static void
what_lies_on_a_site_lies_on_its_heir_however_many_queues_that_has(void **state)
{
	for (unsigned i = 0; i < countof(numbers); i++) {
		struct shards *s = shards_new(numbers[i], V1, 1);
		const char *before = name_at(s, 0, 'p'), *after = name_at(s, 1, 'q');
		struct overlay_spec spec = cut;
		char policy[400];

		snprintf(policy, sizeof policy, V1 "provider \"%s\" { domains = { \"a.example\" } }\n" ALL, before);
		shards_swap(s, policy);
		put(s->w[0], "a.example");
		put(s->w[0], "a.example", .vmta = "v2");
		shards_run(s, SEC(1));
		queue_lay(queue_of(s, before), OVERLAY_SITE, &spec, shards_now(s), s->w[0]->loop.now);
		assert_int_equal(queue_of(s, before)->site->scope.limits.max_smtp_out, 4);
		snprintf(policy, sizeof policy, V1 "provider \"%s\" { domains = { \"a.example\" } }\n" ALL, after);
		shards_swap(s, policy);
		assert_int_equal(queue_of(s, after)->site->scope.limits.max_smtp_out, 4);
		shards_run(s, MINS(2));
		shards_check(s);
		shards_free(s);
	}
}

/* Shard 0 knows of an older answer than the one that its mail is led to, and that one leads it on. */
static void
what_is_left_goes_on_to_where_the_mail_ends(void **state)
{
	struct shards *s = shards_new(3, V1, 1);
	const char *domain = name_of(s, 1, 'd'), *a = name_of(s, 1, 'a'), *c = name_of(s, 2, 'c'), *provider = name_of(s, 0, 'p');
	char policy[400], mx[40];
	struct queue *q;

	snprintf(policy, sizeof policy, V1 "provider \"%s\" { mx = { \"%s\" }, max_smtp_out = 1 }\n", provider, a);
	snprintf(mx, sizeof mx, "10 %s", a);
	for (unsigned i = 0; i < 3; i++)
		world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_OK, 1, mx);
	shards_swap(s, policy);
	s->w[0]->play.reply_us = MINS(1);
	put(s->w[1], domain);
	shards_run(s, SEC(5));
	snprintf(mx, sizeof mx, "10 %s", c);
	shards_mx(s, domain, mx);
	for (unsigned i = 0; i < 3; i++)
		resolver_forget(s->w[i]->resolver);
	put(s->w[1], domain);
	shards_run(s, SEC(1));
	q = queue_of(s, provider);
	assert_int_equal(q->slots_n, 1);
	assert_int_equal(queue_n(q), 2);
	q->retry_step = 2;
	shards_swap(s, V1);
	assert_int_equal(queue_of(s, c)->retry_step, 2);
	assert_int_equal(queue_of(s, c)->guests_n, 1);
	assert_true(shards_run_until_empty(s, HOUR(1)));
	shards_run(s, MINS(1));
	assert_int_equal(shards_sum(s, delivered), 2);
	shards_check(s);
	shards_free(s);
}

/* ---- rates ---- */

static int
earlier(const void *a, const void *b)
{
	mono_us_t x = *(const mono_us_t *)a, y = *(const mono_us_t *)b;

	return (x > y) - (x < y);
}

/* More than that in any window, whatever queues and shards it went by? */
static void
assert_sent_at_most(const struct shards *s, unsigned most, int64_t window_us)
{
	static mono_us_t at[10000];
	size_t n = 0;

	for (unsigned i = 0; i < s->peers.n; i++)
		for (size_t k = 0; k < s->w[i]->sent_n && n < countof(at); k++)
			at[n++] = s->w[i]->sent[k].at;
	qsort(at, n, sizeof at[0], earlier);
	assert_true(n > 0);
	for (size_t i = most; i < n; i++)
		if (at[i] - at[i - most] < window_us)
			fail_msg("%u within %lld us", most + 1, (long long)(at[i] - at[i - most]));
}

/* The queue that was left is still there, under the limits of others, when its mail comes back. */
static void
mail_that_goes_to_and_fro_between_queues_finds_limiters_that_are_used_up(void **state)
{
	static const char *const rates[] = { "max_msg_rate = \"24/10s\"", "total_max_msg_rate = { \"24/10s\", burst = 12 }" };

	for (unsigned i = 0; i < 8 * countof(numbers); i++) {
		struct shards *s = shards_new(numbers[i / 8], V1, i);
		const char *names[] = { name_at(s, 0, 'p'), name_at(s, 1, 'q') }, *rate = rates[i % 2];
		bool both = i / 2 % 2;
		char policy[700], other[200];

		for (unsigned k = 0; k < 60; k++) {
			snprintf(other, sizeof other, "provider \"%s\" { domains = { \"b.example\" }, %s }\n", names[1 - k % 2], rate);
			snprintf(policy, sizeof policy, V1 "domain \"*\" { max_msg_rate = { \"1000/m\", burst = 500 }, total_max_msg_rate = \"2000/m\" }\n"
				 "provider \"%s\" { domains = { \"a.example\" }, %s }\n%s", names[k % 2], rate, both ? other : "");
			shards_swap(s, policy);
			if (k == 0)
				put(s->w[0], "a.example", .messages = 2000);
			shards_run(s, MS(1) * (int64_t)prng_below(&s->prng, i / 4 % 2 ? 1500 : 9000));
		}
		assert_sent_at_most(s, 24, SEC(10));
		shards_free(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_that_no_route_is_left_of_counts_where_mail_for_its_hosts_would_go),
		cmocka_unit_test(a_swap_that_changes_nothing_leaves_it_where_it_is),
		cmocka_unit_test(all_that_get_some_of_the_mail_inherit_and_count_their_own_sessions),
		cmocka_unit_test(mail_that_goes_to_and_fro_between_queues_finds_limiters_that_are_used_up),
		cmocka_unit_test(what_is_left_goes_on_to_where_the_mail_ends),
		cmocka_unit_test(what_lies_on_a_site_lies_on_its_heir_however_many_queues_that_has),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
