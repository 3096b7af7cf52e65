/* The scheduler against receivers that behave as they like: caps, rates, fairness, and that nothing is left behind. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

/* ---- whatever happens ---- */

#define SITES 5

/* Limits of a random policy, by scope: what the meters hold the scheduler to. */
struct draw {
	struct prng prng;
	unsigned    vmtas;
	char        policy[4000];
};

static unsigned
dice(struct draw *d, unsigned n)
{
	return (unsigned)prng_below(&d->prng, n);
}

static const char *
draw_rate(struct draw *d)
{
	static const char *const rates[] = { "60/m", "30/10s", "5/s", "100/s", "240/m" };

	return dice(d, 3) ? "unlimited" : rates[dice(d, countof(rates))];
}

static uint32_t
draw_cap(struct draw *d, unsigned most)
{
	return dice(d, 2) ? 0 : 1 + dice(d, most);
}

/* ` max_smtp_out = 3, max_msg_rate = "5/s",`; the bound that goes with it. */
static const char *
say(struct world *w, enum scope_level level, const char *prefix, uint32_t cap, const char *connects, const char *messages,
    char out[300])
{
	char number[40] = "";

	world_bound(w, level, cap, connects, messages);
	if (cap > 0)
		snprintf(number, sizeof number, "%smax_smtp_out = %u, ", prefix, cap);
	snprintf(out, 300, "%s%smax_connect_rate = \"%s\", %smax_msg_rate = \"%s\"", number, prefix, connects, prefix, messages);
	return out;
}

static void
draw_policy(struct draw *d, struct world *bounds)
{
	char queue[300], site[300], vmta[300], pool[300];
	const char *node_rate = draw_rate(d);
	uint32_t node_cap = 1 + dice(d, 12);
	size_t n = 0;

	d->vmtas = 1 + dice(d, 4);
	world_bound(bounds, SCOPE_NODE, node_cap, "unlimited", node_rate);
	say(bounds, SCOPE_QUEUE, "", 1 + dice(d, 4), draw_rate(d), draw_rate(d), queue);
	say(bounds, SCOPE_SITE, "total_", draw_cap(d, 6), draw_rate(d), draw_rate(d), site);
	say(bounds, SCOPE_VMTA, "", draw_cap(d, 6), draw_rate(d), draw_rate(d), vmta);
	say(bounds, SCOPE_POOL, "", draw_cap(d, 8), draw_rate(d), draw_rate(d), pool);
	n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "node { max_smtp_out = %u, max_msg_rate = \"%s\" }\n", node_cap, node_rate);
	for (unsigned i = 1; i <= d->vmtas; i++)
		n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "vmta \"v%u\" { source = \"any\", %s }\n", i, vmta);
	n += (size_t)snprintf(d->policy + n, sizeof d->policy - n, "pool \"p\" { \"v1\"%s, %s }\n", d->vmtas > 1 ? ", \"v2\"" : "", pool);
	snprintf(d->policy + n, sizeof d->policy - n,
		 "domain \"*\" { %s, %s, max_rcpt_per_message = %u, %sretry_after = \"5s,20s\", retry_recipients_after = \"10s\", "
		 "retry_after_dns_error = \"3s\", bounce_after = \"6h\" }\n",
		 queue, site, 1 + dice(d, 10), dice(d, 2) ? "max_msg_per_connection = 7, " : "");
}

static void
draw_play(struct draw *d, struct play *play)
{
	static const int64_t lives[] = { MS(1), MS(30), MS(400), SEC(3) };

	*play = (struct play){
		.connect_us = lives[dice(d, 4)], .reply_us = lives[dice(d, 3)], .close_us = lives[dice(d, 3)], .idle_us = SEC(5),
		.dns_us = lives[dice(d, 3)], .spread = true, .hosts = 1 + dice(d, 3),
		.refuse = dice(d, 3) ? 0 : dice(d, 300), .temp = dice(d, 400), .perm = dice(d, 30), .snap = dice(d, 30),
	};
}

static void
draw_mail(struct draw *d, struct world *w)
{
	char to[40], vmta[8], job[2] = { (char)('a' + dice(d, 3)), '\0' };

	snprintf(to, sizeof to, "s%u.example,s%u.example", dice(d, SITES), dice(d, SITES));
	snprintf(vmta, sizeof vmta, "v%u", 1 + dice(d, d->vmtas));
	put(w, to, .n = 1 + dice(d, 12), .vmta = vmta, .job = job, .priority = (uint8_t)(50 * dice(d, 3)));
}

/* The scheduler starts a session just when the report says that it may. */
static void
assert_report_agrees(struct world *w)
{
	struct queue *q;
	uint32_t pos = 0;

	while ((q = table_next(&w->queues->queues, &pos)) != NULL) {
		struct gate_wait wait;
		struct gate_answer answer;
		bool open;

		if (q->ready_n == 0)
			continue;
		open = gate_session(q, world_now(w), &wait) <= world_now(w);
		gate_decide(q, world_now(w), &answer);
		if (open != answer.open || (!open && wait.gate != answer.binding.gate))
			fail_msg("%s: the scheduler says %s, the report %s", q->name, open ? "open" : gate_name(wait.gate),
				 answer.open ? "open" : gate_name(answer.binding.gate));
	}
}

/* ---- overlays that come and go ---- */

struct laid {
	enum overlay_scope scope;
	char      name[60];
	uint32_t  cap;                  /* 0: suspended */
	mono_us_t until;
};

struct overlays_laid {
	struct laid laid[64];
	unsigned    n;
};

/* No session is started above what any of them says. */
static void
check_laid(struct world *w, struct played *s)
{
	static const enum scope_level levels[] = { SCOPE_QUEUE, SCOPE_SITE, SCOPE_VMTA };
	const struct overlays_laid *all = w->ctx;

	for (unsigned i = 0; i < all->n; i++) {
		const struct laid *o = &all->laid[i];
		const struct meter *meter = s->meters[levels[o->scope]];

		if (world_now(w) < o->until && strcmp(meter->name, o->name) == 0 && meter->sessions > o->cap)
			fail_msg("%s: %u sessions under an overlay of %u", meter->name, meter->sessions, o->cap);
	}
}

static struct queue *
draw_queue(struct draw *d, struct world *w)
{
	unsigned skip = dice(d, w->queues->queues.n);
	struct queue *q;
	uint32_t pos = 0;

	while ((q = table_next(&w->queues->queues, &pos)) != NULL && skip > 0)
		skip--;
	return q;
}

static void
draw_overlay(struct draw *d, struct world *w)
{
	struct overlays_laid *all = w->ctx;
	struct tightening tightenings[2] = { { .setting = SETTING_max_smtp_out, .count = 1 + dice(d, 3) },
					     { .setting = SETTING_max_msg_rate, .rate = { 30, 0, SEC(10) } } };
	char name[8];
	struct overlay_spec spec = { .name = name, .lasts_us = SEC(1 + (int64_t)dice(d, 40)), .tightenings = tightenings };
	enum overlay_scope scope = (enum overlay_scope)dice(d, 3);
	struct queue *q;
	struct smtp_reply reply;

	if (w->queues->queues.n == 0 || all->n == countof(all->laid))
		return;
	q = draw_queue(d, w);
	snprintf(name, sizeof name, "r%u", all->n);
	switch (dice(d, 5)) {
	case 0:
		spec.suspend = true;
		break;
	case 1:
		spec.reroute = d->vmtas > 1 ? "v2" : NULL;
		spec.tightenings_n = 1;
		break;
	case 2:
		smtp_reply_make(&reply, 421, "4.7.0", "not now");
		queue_defer(q, &reply, w->loop.now);
		return;
	case 3:
		queue_lift(q, NULL, w->loop.now);
		all->n = 0;             /* too many to tell which */
		return;
	default:
		spec.tightenings_n = 1 + dice(d, 2);
	}
	assert_true(queue_lay(q, scope, &spec, world_now(w), w->loop.now));
	all->laid[all->n] = (struct laid){ .scope = scope, .cap = spec.tightenings_n ? tightenings[0].count : 0,
					   .until = world_now(w) + spec.lasts_us };
	snprintf(all->laid[all->n++].name, sizeof all->laid->name, "%s",
		 scope == OVERLAY_QUEUE ? q->name : scope == OVERLAY_SITE ? q->site->name : q->vmta->name);
}

static void
run_one_seed(uint64_t seed, bool with_overlays)
{
	static struct draw d;
	struct overlays_laid overlays = { .n = 0 };
	struct world bounds = { 0 };
	struct world *w;
	uint64_t turns;

	prng_seed(&d.prng, seed);
	draw_policy(&d, &bounds);
	w = world_new(d.policy);
	memcpy(w->bounds, bounds.bounds, sizeof w->bounds);
	prng_seed(&w->prng, seed);
	draw_play(&d, &w->play);
	w->ctx = &overlays;
	w->play.started = check_laid;
	for (int i = 0; i < 50; i++) {
		draw_mail(&d, w);
		if (with_overlays && dice(&d, 2))
			draw_overlay(&d, w);
		world_run(w, dice(&d, 4) ? MS(1) * dice(&d, 1500) : 0);
		world_check(w);
		assert_report_agrees(w);
	}
	while (w->queues->rcpts_n > 0 && w->turns < 100000) {
		run_until_empty(w, SEC(7));
		world_check(w);
		assert_report_agrees(w);
	}
	turns = w->turns - (uint64_t)((world_now(w) - HOUR(1000)) / US_PER_S) * 6 / 5;
	if (w->queues->rcpts_n > 0)
		fail_msg("seed %llu: %llu left after %llu s", (unsigned long long)seed, (unsigned long long)w->queues->rcpts_n,
			 (unsigned long long)((world_now(w) - HOUR(1000)) / US_PER_S));
	assert_int_equal(w->given_up_n, 0);
	/* A handful of turns for each transaction and session; no spinning. */
	if (turns > 12 * (w->sent_n + w->started) + 100)
		fail_msg("seed %llu: %llu turns for %zu attempts and %u sessions", (unsigned long long)seed,
			 (unsigned long long)turns, w->sent_n, w->started);
	world_run(w, MINS(3));
	assert_int_equal(w->queues->queues.n, 0);
	assert_int_equal(w->queues->routes.n, 0);
	assert_int_equal(w->queues->overlays.n, 0);
	world_free(w);
}

static void
no_cap_or_rate_is_ever_passed_and_nothing_is_left_behind(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		run_one_seed(seed, false);
}

static void
nor_are_they_while_overlays_come_and_go(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		run_one_seed(seed, true);
}

/* ---- what is allowed is used, and shared ---- */

struct share {
	enum scope_level level;
	unsigned    vmtas, sites;
	const char *node, *vmta, *pool, *domain;        /* settings */
	double      per_s;                              /* recipients that may go; 0: the cap is what counts */
	uint32_t    cap;
};

static const struct share shares[] = {
	{ SCOPE_QUEUE, 1, 1, "", "", "", "max_msg_rate = \"120/m\"", 2, 0 },
	{ SCOPE_SITE,  4, 1, "", "", "", "total_max_msg_rate = \"120/m\"", 2, 0 },
	{ SCOPE_VMTA,  1, 5, "", "max_msg_rate = \"120/m\"", "", "", 2, 0 },
	{ SCOPE_POOL,  2, 3, "", "", "max_msg_rate = \"120/m\"", "", 2, 0 },
	{ SCOPE_NODE,  3, 3, "max_msg_rate = \"120/m\"", "", "", "", 2, 0 },
	{ SCOPE_NODE,  3, 3, "max_msg_rate = \"100/s\"", "", "", "", 100, 0 },
	{ SCOPE_QUEUE, 1, 1, "", "", "", "max_msg_per_connection = 1, max_connect_rate = \"120/m\"", 2, 0 },
	{ SCOPE_SITE,  4, 1, "", "", "", "max_msg_per_connection = 1, total_max_connect_rate = \"120/m\"", 2, 0 },
	{ SCOPE_VMTA,  1, 5, "", "max_connect_rate = \"120/m\"", "", "max_msg_per_connection = 1", 2, 0 },
	{ SCOPE_POOL,  2, 3, "", "", "max_connect_rate = \"120/m\"", "max_msg_per_connection = 1", 2, 0 },
	{ SCOPE_QUEUE, 1, 1, "", "", "", "max_smtp_out = 3", 0, 3 },
	{ SCOPE_SITE,  6, 1, "", "", "", "total_max_smtp_out = 4", 0, 4 },
	{ SCOPE_VMTA,  1, 6, "", "max_smtp_out = 4", "", "", 0, 4 },
	{ SCOPE_POOL,  2, 3, "", "", "max_smtp_out = 4", "", 0, 4 },
	{ SCOPE_NODE,  3, 3, "max_smtp_out = 4", "", "", "", 0, 4 },
	/* two limits at once */
	{ SCOPE_NODE,  3, 3, "max_smtp_out = 9, max_msg_rate = \"300/m\"", "max_smtp_out = 3", "", "", 5, 0 },
};

static struct world *
world_for(const struct share *share)
{
	char policy[2000], members[200] = "", vmtas[800] = "";
	size_t n = 0, m = 0;

	for (unsigned i = 1; i <= share->vmtas; i++) {
		n += (size_t)snprintf(vmtas + n, sizeof vmtas - n, "vmta \"v%u\" { source = \"any\", %s }\n", i, share->vmta);
		m += (size_t)snprintf(members + m, sizeof members - m, "\"v%u\", ", i);
	}
	snprintf(policy, sizeof policy, "node { %s }\n%spool \"p\" { %s %s }\ndomain \"*\" { %s }\n", share->node, vmtas, members,
		 share->pool, share->domain);
	return world_new(policy);
}

static void
give_each_queue(struct world *w, const struct share *share, unsigned messages)
{
	char to[20], vmta[8];

	for (unsigned v = 1; v <= share->vmtas; v++) {
		for (unsigned s = 1; s <= share->sites; s++) {
			snprintf(vmta, sizeof vmta, "v%u", v);
			snprintf(to, sizeof to, "s%u.example", s);
			put(w, to, .vmta = vmta, .messages = messages);
		}
	}
}

static void
what_a_limit_allows_is_used_and_shared_within_a_factor_of_two(void **state)
{
	for (unsigned i = 0; i < countof(shares); i++) {
		const struct share *share = &shares[i];
		struct world *w = world_for(share);
		uint64_t least = UINT64_MAX, most = 0, start;
		struct meter *meter;
		uint32_t pos = 0;

		w->play.reply_us = share->cap ? MS(200) : MS(20);
		give_each_queue(w, share, share->per_s > 10 ? 7000 : share->cap ? 13000 : 2000);
		world_run(w, SEC(10));
		start = w->delivered;
		meter = table_next(&w->meters[share->level], &pos);
		meter_sessions(w, meter, 0);
		meter->session_us = 0;
		world_run(w, MINS(10));
		if (share->per_s > 0 && w->delivered - start < 0.9 * share->per_s * 600)
			fail_msg("row %u: %llu delivered", i, (unsigned long long)(w->delivered - start));
		meter_sessions(w, meter, 0);
		if (share->cap && meter->session_us < (int64_t)(0.9 * share->cap * (double)MINS(10)))
			fail_msg("row %u: %.1f sessions in use", i, (double)meter->session_us / (double)MINS(10));
		pos = 0;
		while ((meter = table_next(&w->meters[SCOPE_QUEUE], &pos)) != NULL) {
			least = (uint64_t)min_i64((int64_t)least, (int64_t)meter->messages.total);
			most = (uint64_t)max_i64((int64_t)most, (int64_t)meter->messages.total);
		}
		if (w->meters[SCOPE_QUEUE].n != share->vmtas * share->sites || most > 2 * least)
			fail_msg("row %u: of %u queues one got %llu, one %llu", i, w->meters[SCOPE_QUEUE].n,
				 (unsigned long long)least, (unsigned long long)most);
		world_free(w);
	}
}

static void
a_queue_with_little_mail_is_not_behind_one_with_much(void **state)
{
	for (unsigned i = 1; i < countof(shares); i++) {
		const struct share *share = &shares[i];
		struct world *w;
		unsigned queues = share->vmtas * share->sites;
		double per_s = share->per_s > 0 ? share->per_s : share->cap * 5 * 0.7;

		if (queues == 1)
			continue;
		w = world_for(share);
		w->play.reply_us = share->cap ? MS(200) : MS(20);
		put(w, "s1.example", .messages = 20000);
		world_run(w, SEC(60));
		give_each_queue(w, share, 40);
		mono_us_t began = world_now(w);
		struct queue *q = NULL;
		char name[40];

		/* 40 of each while all compete, and 30 s for a session that has its share to give way. */
		world_run(w, (int64_t)(1.5 * 40 * queues / per_s * US_PER_S) + SEC(35));
		for (unsigned v = 1; v <= share->vmtas; v++) {
			for (unsigned s = 1; s <= share->sites; s++) {
				if (v == 1 && s == 1)
					continue;
				snprintf(name, sizeof name, "s%u.example/v%u", s, v);
				q = queues_find(w->queues, span_text(name));
				if (q != NULL && queue_n(q) > 0)
					fail_msg("row %u: %u left in %s after %llu s", i, queue_n(q), name,
						 (unsigned long long)((world_now(w) - began) / US_PER_S));
			}
		}
		world_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_cap_or_rate_is_ever_passed_and_nothing_is_left_behind),
		cmocka_unit_test(nor_are_they_while_overlays_come_and_go),
		cmocka_unit_test(what_a_limit_allows_is_used_and_shared_within_a_factor_of_two),
		cmocka_unit_test(a_queue_with_little_mail_is_not_behind_one_with_much),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
