/* What is not one site's: overlays on virtual MTAs, the state on disk, another policy. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_shards_fixture.h"

#define V1 "vmta \"v1\" { source = \"any\", max_smtp_out = 40 }\nvmta \"v2\" { source = \"any\" }\n"
#define ALL "domain \"*\" { retry_after = \"10m,20m\", retry_jitter = \"0%\", max_smtp_out = 4 }\n"
#define POLICY V1 ALL

static const struct tightening half = { .setting = SETTING_max_smtp_out, .is_percent = true, .percent = 50 };

static struct overlay_spec
cut_spec(int64_t lasts_us)
{
	return (struct overlay_spec){
		.name = "cut", .pattern = "421", .where = { "p.lua", 3, "reaction" }, .lasts_us = lasts_us,
		.tightenings = &half, .tightenings_n = 1,
	};
}

static bool
never(struct world *w, struct played *s)
{
	return false;
}

/* A queue by v1 with mail in each shard, whose receivers do not connect. */
static void
fill(struct shards *s, struct queue *queues[SHARDS_MAX])
{
	char name[60];

	for (unsigned i = 0; i < s->peers.n; i++) {
		const char *domain = name_of(s, i, 'f');

		s->w[i]->play.connects = never;
		put(s->w[0], domain);
		shards_run(s, SEC(1));
		snprintf(name, sizeof name, "%s/v1", domain);
		queues[i] = shards_queue(s, name);
	}
}

static void
assert_cap(struct shards *s, uint32_t cap)
{
	for (unsigned i = 0; i < s->peers.n; i++)
		assert_int_equal(s->all[i]->vmtas[0]->limits.max_smtp_out, cap);
}

/* ---- overlays ---- */

static void
what_lies_on_a_virtual_mta_lies_there_for_every_shard(void **state)
{
	struct shards *s = shards_new(3, POLICY, 1);
	struct overlay_spec spec = cut_spec(MINS(10));
	struct queue *q[SHARDS_MAX];

	fill(s, q);
	assert_cap(s, 40);
	assert_true(queue_lay(q[1], OVERLAY_VMTA, &spec, shards_now(s), s->w[1]->loop.now));
	assert_true(queue_lay(q[1], OVERLAY_QUEUE, &spec, shards_now(s), s->w[1]->loop.now));
	shards_run(s, MS(1));
	assert_cap(s, 20);
	assert_int_equal(s->all[0]->overlays.n, 1);
	assert_int_equal(s->all[1]->overlays.n, 2);
	assert_int_equal(q[2]->hold.overlays_n, 1);
	shards_run(s, MINS(10));
	assert_cap(s, 40);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(s->all[i]->overlays.n, 0);
	queue_lay(q[1], OVERLAY_VMTA, &spec, shards_now(s), s->w[1]->loop.now);
	shards_run(s, MS(1));
	queue_lift(q[2], "cut", s->w[2]->loop.now);
	shards_run(s, MS(1));
	assert_cap(s, 40);
	shards_free(s);
}

static void
a_wave_cuts_once_over_all_shards(void **state)
{
	for (unsigned seed = 0; seed < 100; seed++) {
		struct shards *s = shards_new(2 + seed % 3, POLICY, seed);
		struct overlay_spec spec = cut_spec(MINS(10));
		struct queue *q[SHARDS_MAX];
		mono_us_t opened;

		fill(s, q);
		s->delay_us = seed % 4 ? 300 : 0;
		for (uint32_t cap = 20; cap >= 5; cap /= 2) {
			opened = shards_now(s);
			shards_run(s, SEC(1));
			for (unsigned i = 0; i < s->peers.n * 3; i++) {
				unsigned of = (unsigned)prng_below(&s->prng, s->peers.n);

				queue_lay(q[of], OVERLAY_VMTA, &spec, opened, s->w[of]->loop.now);
				shards_run(s, (int64_t)prng_below(&s->prng, 200));
			}
			shards_run(s, MS(1));
			assert_cap(s, cap);
			for (unsigned i = 0; i < s->peers.n; i++)
				assert_int_equal(s->all[i]->overlays.n, 1);
			for (unsigned i = 1; i < s->peers.n; i++)
				assert_int_equal(overlays_next(&s->all[i]->overlays), overlays_next(&s->all[0]->overlays));
			spec.lasts_us += SEC(1);
		}
		shards_free(s);
	}
}

/* What the shards know of it: 0 nothing, else when it ends. */
static mono_us_t
end_at(const struct shards *s, unsigned shard, const char *name)
{
	const struct overlay_target *target = overlays_of(&s->all[shard]->overlays, OVERLAY_VMTA, "v1");
	mono_us_t until = 0;

	if (target == NULL)
		return 0;
	list_each(node, &target->overlays)
		if (strcmp(list_entry(node, struct overlay, node)->name, name) == 0)
			until = list_entry(node, struct overlay, node)->until;
	return until;
}

static void
a_lift_that_crosses_a_lay_ends_in_the_same_everywhere(void **state)
{
	unsigned there = 0, gone = 0;

	for (unsigned seed = 0; seed < 100; seed++) {
		struct shards *s = shards_new(2 + seed % 3, POLICY, seed);
		struct overlay_spec spec = cut_spec(DURATION_NEVER), other = cut_spec(HOUR(1));
		struct queue *q[SHARDS_MAX];

		other.name = "other";
		fill(s, q);
		for (unsigned turn = 0; turn < 20; turn++) {
			for (unsigned k = 0; k < 6; k++) {
				unsigned of = (unsigned)prng_below(&s->prng, s->peers.n);
				struct now now = s->w[of]->loop.now;

				if (prng_below(&s->prng, 2))
					queue_lay(q[of], OVERLAY_VMTA, prng_below(&s->prng, 2) ? &spec : &other, now.mono, now);
				else
					queue_lift(q[of], prng_below(&s->prng, 4) ? "cut" : NULL, now);
				shards_run(s, (int64_t)prng_below(&s->prng, 200));
			}
			shards_run(s, MS(2));
			assert_cap(s, s->all[0]->vmtas[0]->limits.max_smtp_out);
			for (unsigned i = 1; i < s->peers.n; i++) {
				assert_int_equal(end_at(s, i, "cut"), end_at(s, 0, "cut"));
				assert_int_equal(end_at(s, i, "other"), end_at(s, 0, "other"));
			}
			there += end_at(s, 0, "cut") != 0;
			gone += end_at(s, 0, "cut") == 0;
		}
		shards_free(s);
	}
	assert_true(there > 100 && gone > 100);
}

/* ---- the state ---- */

static uint32_t
retry_steps(const struct shards *s)
{
	uint32_t steps = 0;

	for (unsigned i = 0; i < s->peers.n; i++) {
		const struct queue *q;
		uint32_t pos = 0;

		while ((q = table_next(&s->all[i]->queues, &pos)) != NULL)
			steps += q->retry_step;
	}
	return steps;
}

static void
knock(struct shards *s)
{
	char to[40];

	for (unsigned i = 0; i < 12; i++) {
		snprintf(to, sizeof to, "r%u.example", i);
		put(s->w[i % s->peers.n], to);
	}
	shards_run(s, SEC(2));
	shards_check(s);
}

static size_t
saved_size(struct shards *s)
{
	struct buf saved;
	size_t n;

	buf_init(&saved, 0);
	shards_save(s, &saved);
	n = buf_len(&saved);
	buf_fini(&saved);
	return n;
}

static void
a_restart_with_another_number_of_shards_keeps_what_was_known(void **state)
{
	static const unsigned numbers[] = { 3, 4, 1, 2, 2, 3 };
	struct shards *s = shards_new(4, POLICY, 1);
	struct overlay_spec spec = cut_spec(HOUR(100));
	struct queue *q[SHARDS_MAX];
	char name[40];
	size_t size = 0;
	unsigned n, paused;

	fill(s, q);
	queue_lay(q[3], OVERLAY_VMTA, &spec, shards_now(s), s->w[0]->loop.now);
	queue_lay(q[3], OVERLAY_SITE, &spec, shards_now(s), s->w[0]->loop.now);
	for (unsigned i = 0; i < 4; i++) {
		s->w[i]->play.connects = never;
		queues_pause(s->all[i], SPAN("p*"), NULL, true, &n, s->w[0]->loop.now);
		queues_suspend(s->all[i], SPAN("q*"), HOUR(100), &n, s->w[0]->loop.now);
	}
	knock(s);
	assert_int_equal(retry_steps(s), 12 + 4);
	for (unsigned k = 0; k < countof(numbers); k++) {
		s = shards_restart(s, numbers[k], POLICY, true, SEC(30));
		assert_cap(s, 20);
		knock(s);
		assert_int_equal(retry_steps(s), 12);
		assert_int_equal(shards_sum(s, started), 0);
		for (unsigned i = 0; i < 8; i++) {
			unsigned owner;

			snprintf(name, sizeof name, "q%u.example", i);
			owner = queues_owner(s->all[0], span_text(name));
			assert_true(queue_is_held(queues_get(s->all[owner], span_text(name), policy_ruleset(s->w[owner]->policy)->vmtas[0]),
						  shards_now(s)));
		}
		for (unsigned i = 0; i < numbers[k]; i++) {
			paused = 0;
			list_each(node, &s->all[i]->pauses)
				paused++;
			assert_int_equal(paused, 1);
			assert_true(queues_paused_by_hand(s->all[i], "p.example/v1"));
		}
		shards_run(s, SEC(10));
		/* The parts' heads differ in number, and what is saved of it once is not saved twice. */
		if (size != 0)
			assert_in_range(saved_size(s), size - 3 * 9, size + 3 * 9);
		else
			size = saved_size(s);
	}
	shards_free(s);
}

static void
parts_of_different_times_are_read_by_their_own(void **state)
{
	struct shards *s = shards_new(2, POLICY, 1), *fresh;
	const char *domain = name_of(s, 1, 'x');
	char name[60];
	struct buf saved;

	snprintf(name, sizeof name, "%s/v1", domain);
	s->w[1]->play.connects = never;
	buf_init(&saved, 0);
	queues_save(s->all[0], s->w[0]->loop.now, &saved);
	shards_run(s, MINS(30));
	put(s->w[0], domain);
	shards_run(s, MINS(4));
	queues_save(s->all[1], s->w[1]->loop.now, &saved);
	fresh = shards_new(2, POLICY, 2);
	shards_at(fresh, shards_now(s) + MINS(1));
	for (unsigned i = 0; i < 2; i++)
		queues_load(fresh->all[i], buf_span(&saved), true, fresh->w[i]->loop.now);
	put(fresh->w[0], domain);
	shards_run(fresh, SEC(1));
	/* Ten minutes of retry_after, of which five are over. */
	assert_in_range(shards_queue(fresh, name)->retry_until - shards_now(fresh), MINS(4) + SEC(50), MINS(5));
	buf_fini(&saved);
	shards_free(fresh);
	shards_free(s);
}

/* ---- another policy ---- */

static void
a_swap_that_moves_a_site_to_another_shard_takes_all_along(void **state)
{
	struct shards *s = shards_new(3, POLICY, 1);
	const char *domain = name_of(s, 0, 'd'), *provider = name_of(s, 1, 'p');
	struct overlay_spec spec = cut_spec(HOUR(1));
	char name[60], policy[400];
	struct queue *before, *after;

	snprintf(name, sizeof name, "%s/v1", domain);
	snprintf(policy, sizeof policy, "%sprovider \"%s\" { domains = { \"%s\" } }\n%s", V1, provider, domain, ALL);
	put(s->w[2], domain, .n = 8);
	shards_run(s, MS(100));
	s->w[0]->play.reply_us = SEC(5);
	shards_run(s, SEC(1));
	put(s->w[2], domain, .n = 5);
	put(s->w[2], domain, .n = 5, .messages = 20);
	shards_run(s, MS(200));
	before = shards_queue(s, name);
	assert_int_equal(before->slots_n, 4);
	queue_lay(before, OVERLAY_QUEUE, &spec, shards_now(s), s->w[0]->loop.now);
	before->retry_until = shards_now(s) + MINS(3);
	before->retry_step = 2;
	queue_error(before, "451 not now");
	shards_swap(s, policy);
	shards_run(s, MS(10));
	shards_check(s);
	snprintf(name, sizeof name, "%s/v1", provider);
	after = shards_queue(s, name);
	assert_ptr_equal(after->queues, s->all[1]);
	assert_int_equal(queue_n(after) + queue_n(before), 8 * 0 + 5 + 100);
	assert_int_equal(queue_n(before), before->sending_n);
	assert_int_equal(after->retry_step, 2);
	assert_string_equal(after->last_error, "451 not now");
	assert_true(after->retry_until > shards_now(s));
	assert_int_equal(after->scope.limits.max_smtp_out, 2);
	/* Its sessions end with what they have, and count where the mail is until then. */
	assert_int_equal(after->guests_n, 4);
	assert_int_equal(gauge_in_use(&after->scope.use->sessions), 4);
	assert_int_equal(after->slots_n, 0);
	shards_run(s, SEC(6));
	assert_int_equal(s->all[0]->sessions_n, 0);
	assert_int_equal(shards_queue(s, name)->guests_n, 0);
	assert_true(shards_run_until_empty(s, HOUR(2)));
	shards_check(s);
	/* And back. */
	put(s->w[1], domain, .messages = 10);
	shards_run(s, MS(2));
	shards_swap(s, POLICY);
	assert_true(shards_run_until_empty(s, HOUR(2)));
	shards_check(s);
	shards_free(s);
}

static void
what_waits_for_dns_goes_to_who_asks_now(void **state)
{
	struct shards *s = shards_new(3, POLICY, 1);
	const char *domain = name_of(s, 0, 'd'), *provider = name_of(s, 1, 'p');
	char policy[400], name[60];

	snprintf(policy, sizeof policy, "%sprovider \"%s\" { domains = { \"%s\" } }\n%s", V1, provider, domain, ALL);
	snprintf(name, sizeof name, "%s/v1", provider);
	for (unsigned i = 0; i < 3; i++)
		world_dns(s->w[i], domain, RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	put(s->w[2], domain, .n = 3);
	shards_run(s, SEC(5));
	shards_swap(s, policy);
	shards_run(s, SEC(1));
	shards_check(s);
	assert_int_equal(shards_queue(s, name)->routing_n, 3);
	assert_int_equal(s->all[0]->rcpts_n, 0);
	shards_mx(s, domain, "10 mx.example");
	assert_true(shards_run_until_empty(s, HOUR(1)));
	assert_int_equal(s->w[1]->delivered, 3);
	shards_check(s);
	shards_free(s);
}

static void
draw_policy(struct prng *prng, char policy[600])
{
	static const char *const providers[] = { "", "pa", "pb", "pc" };
	const char *p = providers[prng_below(prng, 4)], *q = providers[prng_below(prng, 4)];
	int n = snprintf(policy, 600, "%s%s", V1, ALL);

	if (*p != '\0')
		n += snprintf(policy + n, 600 - (size_t)n, "provider \"%s\" { domains = { \"x1.example\", \"x2.example\" } }\n", p);
	if (*q != '\0' && strcmp(p, q) != 0)
		n += snprintf(policy + n, 600 - (size_t)n, "provider \"%s\" { mx = { \"*.hosts.example\" } }\n", q);
	if (prng_below(prng, 3) == 0)
		snprintf(policy + n, 600 - (size_t)n, "domain \"x3.example\" { smtp_hosts = \"relay.example\" }\n");
}

static void
swaps_under_load_lose_nobody(void **state)
{
	for (unsigned seed = 0; seed < 40; seed++) {
		struct shards *s = shards_new(1 + seed % 4, POLICY, seed);
		char policy[600], to[60], mx[60];

		for (unsigned i = 0; i < s->peers.n; i++) {
			s->w[i]->play.temp = 200;
			s->w[i]->play.refuse = 100;
		}
		shards_mx(s, "x3.example", "10 a.hosts.example");
		for (unsigned turn = 0; turn < 200; turn++) {
			snprintf(to, sizeof to, "x%u.example,x%u.example", (unsigned)prng_below(&s->prng, 8), (unsigned)prng_below(&s->prng, 8));
			put(s->w[prng_below(&s->prng, s->peers.n)], to, .n = 4);
			shards_run(s, (int64_t)prng_below(&s->prng, (uint64_t)SEC(2)));
			if (prng_below(&s->prng, 10) == 0) {
				draw_policy(&s->prng, policy);
				shards_swap(s, policy);
			} else if (prng_below(&s->prng, 10) == 0) {
				snprintf(mx, sizeof mx, "10 %c.hosts.example", (char)('a' + prng_below(&s->prng, 3)));
				snprintf(to, sizeof to, "x%u.example", (unsigned)prng_below(&s->prng, 8));
				shards_mx(s, to, mx);
				for (unsigned i = 0; i < s->peers.n; i++)
					resolver_forget(s->w[i]->resolver);
			}
			if (turn % 10 == 0)
				shards_check(s);
		}
		assert_true(shards_run_until_empty(s, HOUR(100)));
		shards_run(s, MINS(1));
		shards_check(s);
		for (unsigned i = 0; i < s->peers.n; i++) {
			const struct queue *q;
			uint32_t pos = 0;

			while ((q = table_next(&s->all[i]->queues, &pos)) != NULL)
				assert_int_equal(q->guests_n, 0);
		}
		shards_free(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_lies_on_a_virtual_mta_lies_there_for_every_shard),
		cmocka_unit_test(a_wave_cuts_once_over_all_shards),
		cmocka_unit_test(a_lift_that_crosses_a_lay_ends_in_the_same_everywhere),
		cmocka_unit_test(a_restart_with_another_number_of_shards_keeps_what_was_known),
		cmocka_unit_test(parts_of_different_times_are_read_by_their_own),
		cmocka_unit_test(a_swap_that_moves_a_site_to_another_shard_takes_all_along),
		cmocka_unit_test(what_waits_for_dns_goes_to_who_asks_now),
		cmocka_unit_test(swaps_under_load_lose_nobody),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
