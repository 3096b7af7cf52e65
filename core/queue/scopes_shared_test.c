/* Scopes of several shards: caps hold, nobody waits where a place is free, turns go round, wherever the waiters live. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>

#include "queue/scopes_shared.h"
#include "queue/shards_fixture.h"

#define CLIENTS_MAX 5           /* a shard */
#define LINE SCOPE_LINE_SESSIONS

enum { NARROW, WIDE, SCOPES };

/* It wants places, each in both scopes, as a queue wants sessions. */
struct client {
	struct scope_waiter waiter;     /* first: cast back */
	struct timer  timer;            /* one of its places ends */
	struct village *village;
	unsigned      wants, has, served;
	int64_t       stays_us;         /* how long it keeps one */
	bool          narrow;           /* it needs a place in that one too */
};

struct village {
	struct city  *city;
	unsigned      me;
	struct scope  scopes[SCOPES];
	struct client clients[CLIENTS_MAX];
};

struct city {
	struct shards shards;
	struct peers *peers;            /* its, or real ones */
	struct timers *timers[SHARDS_MAX];
	struct scopes_shared *shared;
	struct village villages[SHARDS_MAX];
	unsigned      clients_n;        /* in each */
	uint32_t      most;             /* no cap was above it */
	bool          for_ever;         /* whoever is served wants one more */
	void        (*on_done)(struct city *city);      /* a client has had all it wanted; NULL: nobody asks */
};

static bool
needs(const struct client *c, unsigned scope)
{
	return scope == WIDE || c->narrow;
}

static bool
take_all(struct client *c, mono_us_t now)
{
	struct scope *scopes = c->village->scopes;

	for (int i = 0; i < SCOPES; i++) {
		if (!needs(c, (unsigned)i) || gauge_take(&scopes[i].use->sessions, scopes[i].limits.max_smtp_out))
			continue;
		while (--i >= 0) {
			if (!needs(c, (unsigned)i))
				continue;
			gauge_give(&scopes[i].use->sessions);
			scope_gave_back(&scopes[i], now);
		}
		return false;
	}
	return true;
}

/* Where it has to wait; NULL: nowhere. */
static struct scope *
closed(struct client *c)
{
	for (unsigned i = 0; i < SCOPES; i++) {
		struct scope *scope = &c->village->scopes[i];

		if (needs(c, i) && (gauge_in_use(&scope->use->sessions) >= scope->limits.max_smtp_out ||
				    scope_others_first(scope, LINE, &c->waiter)))
			return scope;
	}
	return NULL;
}

static void
poll_client(struct client *c, struct now now)
{
	struct city *city = c->village->city;

	while (c->waiter.scope == NULL && c->wants > 0) {
		struct scope *scope = closed(c);

		if (scope != NULL) {
			scope_wait(scope, LINE, &c->waiter, MONO_NEVER);
			return;
		}
		if (!take_all(c, now.mono))
			continue;
		for (unsigned i = 0; i < SCOPES; i++)
			check(gauge_in_use(&c->village->scopes[i].use->sessions) <= city->most);
		c->waiter.served = true;
		c->served++;
		c->has++;
		c->wants -= city->for_ever ? 0 : 1;
		if (!timer_started(&c->timer))
			timer_start(city->timers[c->village->me], &c->timer, now.mono + c->stays_us);
	}
}

static void
on_client_turn(struct scope_waiter *waiter, struct now now)
{
	poll_client((struct client *)waiter, now);
}

static void
on_end(void *ctx, struct now now)
{
	struct client *c = ctx;

	c->has--;
	for (unsigned i = 0; i < SCOPES; i++)
		if (needs(c, i))
			gauge_give(&c->village->scopes[i].use->sessions);
	for (unsigned i = 0; i < SCOPES; i++)
		if (needs(c, i))
			scope_wake(&c->village->scopes[i], now);
	if (c->has > 0)
		timer_start(c->village->city->timers[c->village->me], &c->timer, now.mono + c->stays_us);
	poll_client(c, now);
	if (c->has == 0 && c->wants == 0 && c->village->city->on_done != NULL)
		c->village->city->on_done(c->village->city);
}

static void
set_caps(struct city *city, uint32_t narrow, uint32_t wide)
{
	for (unsigned v = 0; v < city->peers->n; v++) {
		city->villages[v].scopes[NARROW].limits.max_smtp_out = narrow;
		city->villages[v].scopes[WIDE].limits.max_smtp_out = wide;
		for (unsigned i = 0; i < SCOPES; i++)
			scope_wake_soon(&city->villages[v].scopes[i], city->shards.now.mono);
	}
	city->most = narrow > wide ? narrow : wide;
}

static void
village_open(struct city *city, unsigned v)
{
	static const char *const names[] = { "narrow", "wide" };
	struct village *village = &city->villages[v];

	village->city = city;
	village->me = v;
	for (unsigned i = 0; i < SCOPES; i++) {
		scope_init(&village->scopes[i], city->timers[v]);
		scopes_shared_join(city->shared, v, "vmta", names[i], &village->scopes[i]);
	}
	for (unsigned i = 0; i < city->clients_n; i++) {
		struct client *c = &village->clients[i];

		scope_waiter_init(&c->waiter, on_client_turn, NULL);
		timer_init(&c->timer, on_end, c);
		c->village = village;
		c->narrow = true;
		c->stays_us = 1000;
	}
}

static void
city_open(struct city *city, struct peers *peers, unsigned clients)
{
	city->peers = peers;
	city->shared = scopes_shared_new(peers);
	city->clients_n = clients;
	for (unsigned v = 0; v < peers->n; v++)
		village_open(city, v);
}

static void
city_close(struct city *city)
{
	for (unsigned v = 0; v < city->peers->n; v++)
		for (unsigned i = 0; i < SCOPES; i++)
			scopes_shared_leave(city->shared, &city->villages[v].scopes[i]);
	scopes_shared_free(city->shared);
}

static struct city *
city_new(unsigned shards, unsigned clients, uint64_t seed)
{
	struct city *city = mem_alloc(sizeof *city);

	shards_init(&city->shards, shards, seed);
	for (unsigned v = 0; v < shards; v++)
		city->timers[v] = city->shards.timers[v];
	city_open(city, &city->shards.peers, clients);
	return city;
}

static void
city_free(struct city *city)
{
	for (unsigned v = 0; v < city->shards.peers.n; v++)
		for (unsigned i = 0; i < city->clients_n; i++) {
			struct client *c = &city->villages[v].clients[i];

			city->for_ever = false;
			c->wants = 0;
			scope_leave(&c->waiter);
		}
	shards_run(&city->shards, 3600 * US_PER_S);
	city_close(city);
	shards_fini(&city->shards);
	free(city);
}

static struct client *
client_of(struct city *city, unsigned shard, unsigned i)
{
	return &city->villages[shard].clients[i];
}

static void
wants(struct city *city, unsigned shard, unsigned i, unsigned n)
{
	struct client *c = client_of(city, shard, i);

	c->wants += n;
	poll_client(c, city->shards.now);
}

/* ---- one by one ---- */

static void
a_cap_is_one_for_all_shards_and_whoever_waits_is_woken_wherever_he_lives(void **state)
{
	struct city *city = city_new(2, 1, 1);

	set_caps(city, 1, 9);
	wants(city, 0, 0, 1);
	wants(city, 1, 0, 1);
	assert_int_equal(client_of(city, 0, 0)->has, 1);
	assert_int_equal(client_of(city, 1, 0)->has, 0);
	assert_true(scope_others_wait(&city->villages[0].scopes[NARROW], LINE, &client_of(city, 0, 0)->waiter));
	assert_false(scope_others_wait(&city->villages[1].scopes[NARROW], LINE, &client_of(city, 1, 0)->waiter));
	assert_true(scope_others_first(&city->villages[0].scopes[NARROW], LINE, &client_of(city, 0, 0)->waiter));
	assert_false(scope_others_first(&city->villages[1].scopes[NARROW], LINE, &client_of(city, 1, 0)->waiter));
	shards_run(&city->shards, 1400);
	assert_int_equal(client_of(city, 1, 0)->has, 1);
	assert_false(scope_others_wait(&city->villages[0].scopes[NARROW], LINE, &client_of(city, 0, 0)->waiter));
	city_free(city);
}

/* It saw the cap full, and before it stands in the line the place is free: nobody was there to be called. */
static void
who_stands_as_the_first_of_all_looks_once_more(void **state)
{
	struct city *city = city_new(2, 1, 2);
	struct client *late = client_of(city, 1, 0);

	set_caps(city, 1, 9);
	late->wants = 1;
	scope_wait(&city->villages[1].scopes[NARROW], LINE, &late->waiter, MONO_NEVER);
	shards_run(&city->shards, 10);
	assert_int_equal(late->has, 1);
	city_free(city);
}

static void
time_is_the_first_lines_alone_and_goes_with_the_turn(void **state)
{
	struct city *city = city_new(2, 1, 3);
	struct scope *scopes[] = { &city->villages[0].scopes[WIDE], &city->villages[1].scopes[WIDE] };
	mono_us_t at = city->shards.now.mono + US_PER_S;

	set_caps(city, 9, 9);
	scope_wait(scopes[0], LINE, &client_of(city, 0, 0)->waiter, at);
	assert_int_equal(timers_next(city->timers[0]), 0);       /* it looks once more */
	timer_start(city->timers[0], &scopes[0]->lines[LINE].timer, at);
	scope_wait(scopes[1], LINE, &client_of(city, 1, 0)->waiter, at);
	assert_int_equal(timers_next(city->timers[1]), MONO_NEVER);
	scope_leave(&client_of(city, 0, 0)->waiter);
	assert_int_equal(timers_next(city->timers[0]), MONO_NEVER);
	client_of(city, 1, 0)->wants = 1;
	shards_run(&city->shards, 1000);
	assert_int_equal(client_of(city, 1, 0)->has, 1);
	city_free(city);
}

/* What was taken of one scope and given back, for another one refused, may be what somebody saw missing. */
static void
what_was_taken_for_an_instant_is_not_missed(void **state)
{
	struct city *city = city_new(2, 1, 4);
	struct village *here = &city->villages[0], *there = &city->villages[1];

	set_caps(city, 1, 1);
	assert_true(gauge_take(&here->scopes[NARROW].use->sessions, 1));
	client_of(city, 1, 0)->wants = 1;
	poll_client(client_of(city, 1, 0), city->shards.now);
	shards_run(&city->shards, 1000);
	assert_ptr_equal(client_of(city, 1, 0)->waiter.scope, &there->scopes[NARROW]);
	gauge_give(&here->scopes[NARROW].use->sessions);
	scope_gave_back(&here->scopes[NARROW], city->shards.now.mono);
	shards_run(&city->shards, 400);
	assert_int_equal(client_of(city, 1, 0)->has, 1);
	city_free(city);
}

static void
what_comes_back_by_a_name_that_was_gone_is_new(void **state)
{
	static const struct rate_spec spec = { .count = 3600, .window_us = 3600 * US_PER_S };
	struct city *city = city_new(2, 1, 5);
	struct scope_waiter waiter;
	struct scope scopes[2];
	mono_us_t now = city->shards.now.mono;

	for (unsigned round = 0; round < 3; round++) {
		memset(scopes, 0, sizeof scopes);
		for (unsigned i = 0; i < 2; i++) {
			scope_init(&scopes[i], city->timers[i]);
			scopes_shared_join(city->shared, i, "pool", "p", &scopes[i]);
		}
		assert_ptr_equal(scopes[0].use, scopes[1].use);
		assert_ptr_not_equal(scopes[0].use, city->villages[0].scopes[WIDE].use);
		assert_true(rate_take(&scopes[round % 2].use->messages, &spec, 1, now));
		assert_false(rate_take(&scopes[1 - round % 2].use->messages, &spec, 1, now));
		/* A call is on its way to it when it goes. */
		scope_waiter_init(&waiter, on_client_turn, NULL);
		scope_wait(&scopes[1], LINE, &waiter, MONO_NEVER);
		scope_wake_soon(&scopes[0], now);
		scope_leave(&waiter);
		scopes_shared_leave(city->shared, &scopes[0]);
		scopes_shared_leave(city->shared, &scopes[1]);
	}
	city_free(city);
}

/* ---- turns ---- */

static void
turns_go_round_over_all_shards(void **state)
{
	for (unsigned seed = 0; seed < 12; seed++) {
		unsigned shards = 1 + seed % SHARDS_MAX, least = UINT32_MAX, most = 0;
		struct city *city = city_new(shards, CLIENTS_MAX, seed);

		city->for_ever = true;
		set_caps(city, 1 + seed % 3, 9);
		for (unsigned v = 0; v < shards; v++)
			for (unsigned i = 0; i <= v; i++)
				wants(city, v, i, 1);
		/* Who came before the others has had more; what counts is from when all stand there. */
		shards_run(&city->shards, US_PER_S / 20);
		for (unsigned v = 0; v < shards; v++)
			for (unsigned i = 0; i <= v; i++)
				client_of(city, v, i)->served = 0;
		shards_run(&city->shards, 5 * US_PER_S);
		for (unsigned v = 0; v < shards; v++)
			for (unsigned i = 0; i <= v; i++) {
				unsigned served = client_of(city, v, i)->served;

				least = served < least ? served : least;
				most = served > most ? served : most;
			}
		if (least < 10 || most - least > 2)
			fail_msg("%u shards: one was served %u times, another one %u", shards, least, most);
		city_free(city);
	}
}

/* ---- whatever happens ---- */

/* No mail is on its way and no turn is due: then nobody stands where a place is free. */
static void
check_nobody_sleeps(struct city *city)
{
	if (city->shards.letters != NULL || shards_next(&city->shards) <= city->shards.now.mono)
		return;
	for (unsigned v = 0; v < city->shards.peers.n; v++)
		for (unsigned i = 0; i < SCOPES; i++) {
			const struct scope *scope = &city->villages[v].scopes[i];

			if (scope->lines[LINE].n > 0 && gauge_in_use(&scope->use->sessions) < scope->limits.max_smtp_out)
				fail_msg("shard %u: %u wait at scope %u, where %u of %u are in use", v, scope->lines[LINE].n, i,
					 gauge_in_use(&scope->use->sessions), scope->limits.max_smtp_out);
		}
}

static void
something_happens(struct city *city)
{
	struct prng *prng = &city->shards.prng;
	struct client *c = client_of(city, (unsigned)prng_below(prng, city->shards.peers.n),
				     (unsigned)prng_below(prng, city->clients_n));
	uint32_t narrow = 1 + (uint32_t)prng_below(prng, 4), before = city->most;

	switch (prng_below(prng, 8)) {
	case 0:                         /* as a queue that is paused, or whose mail has gone */
		c->wants = 0;
		scope_leave(&c->waiter);
		return;
	case 1:                         /* the same, and it has not left the line */
		c->wants = 0;
		return;
	case 2:
		set_caps(city, narrow, narrow + (uint32_t)prng_below(prng, 4));
		city->most = city->most > before ? city->most : before;
		return;
	default:
		c->stays_us = 1 + (int64_t)prng_below(prng, 2000);
		c->wants += 1 + (unsigned)prng_below(prng, 4);
		poll_client(c, city->shards.now);
	}
}

static void
nobody_waits_for_ever_and_no_cap_is_passed(void **state)
{
	for (unsigned seed = 1; seed <= 300; seed++) {
		struct city *city = city_new(1 + seed % SHARDS_MAX, 1 + seed % CLIENTS_MAX, seed);

		set_caps(city, 2, 3);
		for (unsigned v = 0; v < city->shards.peers.n; v++)
			for (unsigned i = 0; i < city->clients_n; i++)
				client_of(city, v, i)->narrow = prng_below(&city->shards.prng, 3) > 0;
		for (unsigned step = 0; step < 300; step++) {
			mono_us_t until = city->shards.now.mono + (int64_t)prng_below(&city->shards.prng, 900);

			something_happens(city);
			while (shards_turn(&city->shards, until))
				check_nobody_sleeps(city);
		}
		shards_run(&city->shards, 60 * US_PER_S);
		for (unsigned v = 0; v < city->shards.peers.n; v++)
			for (unsigned i = 0; i < city->clients_n; i++)
				if (client_of(city, v, i)->wants > 0 || client_of(city, v, i)->has > 0)
					fail_msg("seed %u: shard %u's client %u still wants %u", seed, v, i, client_of(city, v, i)->wants);
		city_free(city);
	}
}

/* ---- on threads ---- */

#define THREADS SHARDS_MAX
#define WANTED  300
#define WAIT_US (60 * US_PER_S)         /* then somebody sleeps for ever */

struct real {
	struct city   city;             /* first: cast back */
	struct loop  *loops[THREADS];
	struct loop_call starts[THREADS], stops[THREADS];
	struct timer  patience;         /* the first one's */
	bool          late;
	_Atomic unsigned done;
};

static void
on_start(void *ctx)
{
	struct village *village = ctx;
	struct now now = loop_now(((struct real *)village->city)->loops[village->me]);

	for (unsigned i = 0; i < village->city->clients_n; i++) {
		village->clients[i].narrow = i % 3 != 2;
		village->clients[i].stays_us = 20 * i;      /* the first: not a moment */
		village->clients[i].wants = WANTED;
		poll_client(&village->clients[i], now);
	}
}

static void
on_stop(void *ctx)
{
	loop_stop(ctx);
}

static void
stop_all(struct real *real)
{
	for (unsigned i = 0; i < THREADS; i++)
		loop_post(real->loops[i], &real->stops[i]);
}

static void
on_one_done(struct city *city)
{
	struct real *real = (struct real *)city;

	if (atomic_fetch_add(&real->done, 1) + 1 == THREADS * city->clients_n)
		stop_all(real);
}

static void
on_late(void *ctx, struct now now)
{
	struct real *real = ctx;

	real->late = true;
	stop_all(real);
}

static void *
thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void
threads_share_a_cap_and_all_are_served(void **state)
{
	struct real *real = mem_alloc(sizeof *real);
	pthread_t threads[THREADS];
	struct peers *peers;
	struct err err;

	for (unsigned i = 0; i < THREADS; i++) {
		real->loops[i] = loop_os_new(&err);
		assert_non_null(real->loops[i]);
		real->city.timers[i] = &real->loops[i]->timers;
		real->starts[i] = (struct loop_call){ .fn = on_start, .ctx = &real->city.villages[i] };
		real->stops[i] = (struct loop_call){ .fn = on_stop, .ctx = real->loops[i] };
	}
	peers = peers_os_new(real->loops, THREADS);
	city_open(&real->city, peers, CLIENTS_MAX);
	real->city.on_done = on_one_done;
	set_caps(&real->city, 2, 3);
	timer_init(&real->patience, on_late, real);
	timer_start(&real->loops[0]->timers, &real->patience, loop_now(real->loops[0]).mono + WAIT_US);
	for (unsigned i = 0; i < THREADS; i++) {
		loop_post(real->loops[i], &real->starts[i]);
		assert_int_equal(pthread_create(&threads[i], NULL, thread, real->loops[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_false(real->late);
	for (unsigned v = 0; v < THREADS; v++)
		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			assert_int_equal(real->city.villages[v].clients[i].served, WANTED);
	timer_stop(&real->loops[0]->timers, &real->patience);
	city_close(&real->city);
	peers_os_free(peers);
	for (unsigned i = 0; i < THREADS; i++)
		loop_os_free(real->loops[i]);
	free(real);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cap_is_one_for_all_shards_and_whoever_waits_is_woken_wherever_he_lives),
		cmocka_unit_test(who_stands_as_the_first_of_all_looks_once_more),
		cmocka_unit_test(time_is_the_first_lines_alone_and_goes_with_the_turn),
		cmocka_unit_test(what_was_taken_for_an_instant_is_not_missed),
		cmocka_unit_test(what_comes_back_by_a_name_that_was_gone_is_new),
		cmocka_unit_test(turns_go_round_over_all_shards),
		cmocka_unit_test(nobody_waits_for_ever_and_no_cap_is_passed),
		cmocka_unit_test(threads_share_a_cap_and_all_are_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
