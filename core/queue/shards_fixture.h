/*
 * shards_fixture - for tests: shards in one thread, each with timers of its own, whose
 * mail takes a moment that a seed chooses; between two of them it stays in order.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/peers.h"
#include "util/prng.h"

#define SHARDS_MAX 4

struct letter {
	struct letter    *next;         /* in the order they were posted */
	struct loop_call *call;
	mono_us_t         at;
	unsigned          from, to;
};

struct shards {
	struct peers     peers;         /* first: cast back */
	struct prng      prng;
	struct now       now;
	struct timers    own[SHARDS_MAX];
	struct timers   *timers[SHARDS_MAX];    /* own[], or a world's */
	struct letter   *letters;
	unsigned         posted;
	int64_t          slowest_us;
	void           (*before_turn)(struct shards *shards, unsigned shard);   /* NULL: nothing */
	void            *ctx;
};

static inline void
shards_post(struct peers *peers, unsigned from, unsigned to, struct loop_call *call)
{
	struct shards *shards = (struct shards *)peers;
	struct letter *letter = mem_alloc(sizeof *letter), **end = &shards->letters;

	letter->from = from;
	letter->to = to;
	letter->call = call;
	letter->at = shards->now.mono + (int64_t)(prng_u64(&shards->prng) % (uint64_t)(shards->slowest_us + 1));
	for (; *end != NULL; end = &(*end)->next) {
		check((*end)->call != call);
		if ((*end)->from == from && (*end)->to == to)
			letter->at = max_i64(letter->at, (*end)->at);
	}
	*end = letter;
	shards->posted++;
}

static inline void
shards_init(struct shards *shards, unsigned n, uint64_t seed)
{
	static const struct peers_ops ops = { .post = shards_post };

	*shards = (struct shards){ .peers = { &ops, n }, .now = { 3600 * US_PER_S, { INT64_C(1790000000000) } }, .slowest_us = 300 };
	prng_seed(&shards->prng, seed);
	for (unsigned i = 0; i < n; i++) {
		timers_init(&shards->own[i]);
		shards->timers[i] = &shards->own[i];
	}
}

static inline void
shards_fini(struct shards *shards)
{
	check(shards->letters == NULL);
	for (unsigned i = 0; i < shards->peers.n; i++)
		timers_fini(&shards->own[i]);
}

static inline bool
shards_deliver(struct shards *shards)
{
	for (struct letter **at = &shards->letters; *at != NULL; at = &(*at)->next) {
		struct letter *letter = *at;

		if (letter->at > shards->now.mono)
			continue;
		*at = letter->next;
		letter->call->fn(letter->call->ctx);
		free(letter);
		return true;
	}
	return false;
}

static inline mono_us_t
shards_next(const struct shards *shards)
{
	mono_us_t at = MONO_NEVER;

	for (const struct letter *letter = shards->letters; letter != NULL; letter = letter->next)
		at = min_i64(at, letter->at);
	for (unsigned i = 0; i < shards->peers.n; i++)
		at = min_i64(at, timers_next(shards->timers[i]));
	return at;
}

/* One letter, or one shard's timers that are due; who is first at one instant is chance. False: nothing until then. */
static inline bool
shards_turn(struct shards *shards, mono_us_t until)
{
	mono_us_t next = shards_next(shards);
	unsigned first = (unsigned)(prng_u64(&shards->prng) % shards->peers.n);

	if (next > until || next == MONO_NEVER)
		return false;
	if (next > shards->now.mono) {
		shards->now.wall.ms += next / US_PER_MS - shards->now.mono / US_PER_MS;
		shards->now.mono = next;
	}
	if (prng_u64(&shards->prng) % 2 == 0 && shards_deliver(shards))
		return true;
	for (unsigned i = 0; i < shards->peers.n; i++) {
		unsigned shard = (first + i) % shards->peers.n;

		if (timers_next(shards->timers[shard]) > shards->now.mono)
			continue;
		if (shards->before_turn != NULL)
			shards->before_turn(shards, shard);
		timers_run(shards->timers[shard], shards->now);
		return true;
	}
	return shards_deliver(shards);
}

static inline void
shards_run(struct shards *shards, int64_t us)
{
	mono_us_t until = shards->now.mono + us;

	while (shards_turn(shards, until))
		;
	shards->now.wall.ms += until / US_PER_MS - shards->now.mono / US_PER_MS;
	shards->now.mono = until;
}
