/* Sessions that a swap leaves with another shard than their mail count there, too. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_shards_fixture.h"

#define BEFORE "vmta \"v1\" { source = \"any\" }\ndomain \"*\" { max_smtp_out = 2, total_max_smtp_out = 3 }\n"
#define DOMAIN "d.example"

struct moving {
	struct shards *s;
	char providers[3][60];          /* of each shard one */
};

/* What that provider's queue is called; the domain is no provider's: -1. */
static const char *
queue_of(struct moving *m, int provider)
{
	static char name[80];

	snprintf(name, sizeof name, "%s/v1", provider < 0 ? DOMAIN : m->providers[provider]);
	return name;
}

static void
swap_to(struct moving *m, int provider)
{
	char policy[400];

	snprintf(policy, sizeof policy, BEFORE "provider \"%s\" { domains = { \"%s\" } }\n", m->providers[provider], DOMAIN);
	shards_swap(m->s, policy);
}

static struct queue *
find(struct moving *m, unsigned shard, const char *name)
{
	return queues_find(m->s->all[shard], span_text(name));
}

/* Two sessions of a provider of shard 0's are in the middle of a message, which lasts 5 seconds; more mail waits. */
static void
begin(struct moving *m)
{
	m->s = shards_new(3, BEFORE, 1);
	for (unsigned i = 0; i < 3; i++)
		snprintf(m->providers[i], sizeof m->providers[i], "%s", name_of(m->s, i, 'p'));
	swap_to(m, 0);
	for (unsigned i = 0; i < 3; i++)
		m->s->w[i]->play.reply_us = SEC(5);
	put(m->s->w[0], DOMAIN, .messages = 20);
	shards_run(m->s, SEC(1));
	assert_int_equal(find(m, 0, queue_of(m, 0))->slots_n, 2);
}

static void
end(struct moving *m)
{
	assert_true(shards_run_until_empty(m->s, HOUR(2)));
	shards_run(m->s, MINS(10));
	shards_check(m->s);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(m->s->all[i]->sessions_n, 0);
	assert_int_equal(shards_sum(m->s, delivered), 20);
	shards_free(m->s);
}

static void
assert_guests(struct moving *m, unsigned shard, uint32_t n)
{
	const struct queue *q = find(m, shard, queue_of(m, (int)shard));

	assert_non_null(q);
	assert_int_equal(q->guests_n, n);
	assert_int_equal(gauge_in_use(&q->scope.use->sessions), q->slots_n + n);
	assert_int_equal(gauge_in_use(&q->site->scope.use->sessions), q->slots_n + n);
}

static void
no_session_begins_where_the_mail_goes_before_one_has_ended_where_it_was(void **state)
{
	struct moving m;

	begin(&m);
	swap_to(&m, 1);
	assert_guests(&m, 1, 2);
	shards_run(m.s, SEC(1));
	assert_guests(&m, 1, 2);
	assert_int_equal(find(&m, 1, queue_of(&m, 1))->slots_n, 0);
	assert_int_equal(m.s->all[0]->sessions_n, 2);
	shards_run(m.s, SEC(5));
	assert_guests(&m, 1, 0);
	assert_int_equal(find(&m, 1, queue_of(&m, 1))->slots_n, 2);
	assert_int_equal(m.s->all[0]->sessions_n, 0);
	end(&m);
}

static void
they_go_on_with_the_mail_to_a_third_shard(void **state)
{
	struct moving m;

	begin(&m);
	swap_to(&m, 1);
	shards_run(m.s, SEC(1));
	swap_to(&m, 2);
	assert_guests(&m, 2, 2);
	shards_run(m.s, MS(500));
	assert_int_equal(m.s->all[1]->sessions_n + m.s->all[2]->sessions_n, 0);
	shards_run(m.s, SEC(5));
	assert_guests(&m, 2, 0);
	assert_int_equal(m.s->all[2]->sessions_n, 2);
	end(&m);
}

/* Of another name again, and by chance of the same shard as before. */
static void
they_go_on_with_the_mail_within_the_shard(void **state)
{
	struct moving m;

	begin(&m);
	swap_to(&m, 1);
	shards_run(m.s, SEC(1));
	snprintf(m.providers[1], sizeof m.providers[1], "%s", name_of(m.s, 1, 'q'));
	swap_to(&m, 1);
	shards_run(m.s, MS(500));
	assert_guests(&m, 1, 2);
	assert_int_equal(m.s->all[1]->sessions_n, 0);
	end(&m);
}

static void
they_are_at_home_again_when_the_mail_comes_back(void **state)
{
	struct moving m;

	begin(&m);
	swap_to(&m, 1);
	shards_run(m.s, SEC(1));
	swap_to(&m, 0);
	shards_run(m.s, SEC(1));
	assert_int_equal(m.s->all[0]->sessions_n, 2);
	assert_int_equal(m.s->all[1]->sessions_n, 0);
	end(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_session_begins_where_the_mail_goes_before_one_has_ended_where_it_was),
		cmocka_unit_test(they_go_on_with_the_mail_to_a_third_shard),
		cmocka_unit_test(they_go_on_with_the_mail_within_the_shard),
		cmocka_unit_test(they_are_at_home_again_when_the_mail_comes_back),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
