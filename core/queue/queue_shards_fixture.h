/*
 * queue_shards_fixture - for tests: several shards' queues, each in a played world of its own, in one time,
 * and mail between them that takes as long as a seed says.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/peers.h"
#include "queue/queue_fixture.h"

#define SHARDS_MAX 4

struct posted {
	struct list       node;
	mono_us_t         at;
	unsigned          to;
	struct loop_call *call;
};

struct shards {
	struct peers   peers;           /* first: cast back */
	struct world  *w[SHARDS_MAX];
	struct queues *all[SHARDS_MAX];
	struct list    mail;            /* struct posted, in order of arrival */
	mono_us_t      last[SHARDS_MAX][SHARDS_MAX];
	struct prng    prng;
	int64_t        delay_us;        /* at most */
	unsigned       posts;
	struct scopes_shared *shared;
};

static inline mono_us_t
shards_now(const struct shards *s)
{
	return world_now(s->w[0]);
}

static inline void
shards_post(struct peers *peers, unsigned from, unsigned to, struct loop_call *call)
{
	struct shards *s = (struct shards *)peers;
	struct posted *posted = mem_alloc(sizeof *posted);
	struct list *before = s->mail.prev;
	mono_us_t at = shards_now(s) + (int64_t)prng_below(&s->prng, (uint64_t)s->delay_us + 1);

	assert_true(from < s->peers.n && to < s->peers.n);
	*posted = (struct posted){ .at = max_i64(at, s->last[from][to]), .to = to, .call = call };
	s->last[from][to] = posted->at;
	while (before != &s->mail && list_entry(before, struct posted, node)->at > posted->at)
		before = before->prev;
	list_add_head(before, &posted->node);
	s->posts++;
}

static inline void
shards_deliver_first(struct shards *s)
{
	struct posted *posted = list_first(&s->mail, struct posted, node);
	struct loop_call call = *posted->call;

	list_remove(&posted->node);
	free(posted);
	call.fn(call.ctx);
}

static inline void
shards_halt(struct peers *peers)
{
	struct shards *s = (struct shards *)peers;

	while (!list_empty(&s->mail))
		shards_deliver_first(s);
}

static inline void
shards_resume(struct peers *peers)
{
}

static inline struct shards *
shards_new(unsigned n, const char *policy, uint64_t seed)
{
	static const struct peers_ops ops = { shards_post, shards_halt, shards_resume };
	struct shards *s = mem_alloc(sizeof *s);

	s->peers = (struct peers){ &ops, n };
	s->delay_us = 300;
	list_init(&s->mail);
	s->shared = scopes_shared_new(&s->peers);
	prng_seed(&s->prng, seed);
	for (unsigned i = 0; i < n; i++) {
		s->w[i] = world_new_of(policy, &s->peers, i, s->all, s->shared);
		prng_seed(&s->w[i]->prng, seed + i);
		s->all[i] = s->w[i]->queues;
	}
	return s;
}

static inline void
shards_free(struct shards *s)
{
	peers_halt(&s->peers);
	for (unsigned i = 0; i < s->peers.n; i++)
		world_end_sessions(s->w[i]);
	peers_halt(&s->peers);
	for (unsigned i = 0; i < s->peers.n; i++)
		queues_close(s->w[i]->queues);
	for (unsigned i = 0; i < s->peers.n; i++)
		assert_int_equal(s->w[i]->queues->jobs.n, 0);
	for (unsigned i = 0; i < s->peers.n; i++)
		world_free(s->w[i]);
	peers_halt(&s->peers);          /* calls that reach nobody any more */
	scopes_shared_free(s->shared);
	free(s);
}

static inline void
shards_at(struct shards *s, mono_us_t at)
{
	for (unsigned i = 0; i < s->peers.n; i++)
		world_at(s->w[i], at);
}

static inline bool
shards_turn(struct shards *s, mono_us_t until)
{
	mono_us_t next = list_empty(&s->mail) ? MONO_NEVER : list_first(&s->mail, struct posted, node)->at;
	struct world *w = NULL;

	for (unsigned i = 0; i < s->peers.n; i++)
		if (timers_next(&s->w[i]->loop.timers) < next) {
			w = s->w[i];
			next = timers_next(&w->loop.timers);
		}
	if (next > until)
		return false;
	shards_at(s, max_i64(next, shards_now(s)));
	if (w != NULL)
		timers_run(&w->loop.timers, w->loop.now);
	else
		shards_deliver_first(s);
	return true;
}

static inline void
shards_run(struct shards *s, int64_t us)
{
	mono_us_t until = shards_now(s) + us;

	while (shards_turn(s, until))
		;
	shards_at(s, until);
}

/* Another policy for all, under a halt. */
static inline void
shards_swap(struct shards *s, const char *policy)
{
	struct err err = { 0 };

	peers_halt(&s->peers);
	for (unsigned i = 0; i < s->peers.n; i++)
		if (!world_swap(s->w[i], policy, &err))
			fail_msg("refused: %s", err.text);
	queues_swapped(s->all, s->peers.n);
	peers_resume(&s->peers);
}

/* What is on the disk while they stand still. */
static inline void
shards_save(struct shards *s, struct buf *out)
{
	peers_halt(&s->peers);
	for (unsigned i = 0; i < s->peers.n; i++)
		queues_save(s->all[i], s->w[i]->loop.now, out);
}

/* The node ends and starts again with n shards; what waited is gone: there is no spool. */
static inline struct shards *
shards_restart(struct shards *s, unsigned n, const char *policy, bool clean, int64_t away_us)
{
	struct shards *fresh = shards_new(n, policy, prng_u64(&s->prng));
	struct buf saved;

	buf_init(&saved, 0);
	shards_save(s, &saved);
	shards_at(fresh, shards_now(s) + away_us);
	for (unsigned i = 0; i < n; i++)
		queues_load(fresh->all[i], buf_span(&saved), clean, fresh->w[i]->loop.now);
	buf_fini(&saved);
	shards_free(s);
	return fresh;
}

/* ---- all together ---- */

#define shards_sum(s, what) shards_sum_of(s, offsetof(struct world, what))
static inline unsigned
shards_sum_of(const struct shards *s, size_t at)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < s->peers.n; i++)
		sum += *(const unsigned *)((const char *)s->w[i] + at);
	return sum;
}

static inline uint64_t
shards_rcpts(const struct shards *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->peers.n; i++)
		n += s->all[i]->rcpts_n;
	return n;
}

/* Each queue stands right, no two shards have one of the same site, and nobody is lost. */
static inline void
shards_check(struct shards *s)
{
	peers_halt(&s->peers);
	for (unsigned i = 0; i < s->peers.n; i++) {
		struct site *site;
		uint32_t pos = 0;

		world_check(s->w[i]);
		while ((site = table_next(&s->all[i]->sites, &pos)) != NULL)
			if (queues_owner(s->all[i], span_text(site->name)) != i)
				fail_msg("the site %s is with shard %u", site->name, i);
	}
	assert_int_equal(shards_rcpts(s) + shards_sum(s, delivered) + shards_sum(s, bounced) + shards_sum(s, ended),
			 shards_sum(s, added));
}

static inline bool
shards_run_until_empty(struct shards *s, int64_t us)
{
	mono_us_t until = shards_now(s) + us;

	while (shards_rcpts(s) > 0 || !list_empty(&s->mail))
		if (!shards_turn(s, until))
			return false;
	return true;
}

static inline void
shards_mx(struct shards *s, const char *name, const char *records)
{
	for (unsigned i = 0; i < s->peers.n; i++)
		world_mx(s->w[i], name, records);
}

/* A name of that shard's: "a17.example". */
static inline const char *
name_of(const struct shards *s, unsigned owner, char letter)
{
	static char names[16][24];
	static unsigned next;
	char *name = names[next++ % countof(names)];

	for (unsigned i = 0;; i++) {
		snprintf(name, sizeof names[0], "%c%u.example", letter, i);
		if (queues_owner(s->all[0], span_text(name)) == owner)
			return name;
	}
}

/* Which shard has the queue; fails where it is not exactly one. */
static inline struct queue *
shards_queue(struct shards *s, const char *name)
{
	struct queue *found = NULL;

	for (unsigned i = 0; i < s->peers.n; i++) {
		struct queue *q = queues_find(s->all[i], span_text(name));

		if (q != NULL && found != NULL)
			fail_msg("two shards have %s", name);
		found = q != NULL ? q : found;
	}
	if (found == NULL)
		fail_msg("no shard has %s", name);
	return found;
}

static inline bool
shards_have(const struct shards *s, const char *name)
{
	for (unsigned i = 0; i < s->peers.n; i++)
		if (queues_find(s->all[i], span_text(name)) != NULL)
			return true;
	return false;
}
