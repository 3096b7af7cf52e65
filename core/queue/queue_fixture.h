/*
 * queue_fixture - for tests: the queues in a world whose time, names and
 * receivers are the test's. Nothing happens but by world_run().
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue_play_fixture.h"

/* ---- the world ---- */

static inline void
world_log(void *ctx, const char *line, size_t n)
{
	struct world *w = ctx;

	snprintf(w->logged + strlen(w->logged), sizeof w->logged - strlen(w->logged), "%.*s", (int)n, line);
}

static inline wall_ms_t
world_wall(void *ctx)
{
	return ((struct world *)ctx)->loop.now.wall;
}

static inline void
world_open_queues(struct world *w)
{
	struct queues_options options = {
		.ruleset = policy_ruleset(w->policy), .resolver = w->resolver, .loop = &w->loop, .log = &w->log, .seed = 5,
		.ops = { play_start, play_send, play_quit, play_idle, play_give_up, play_queue_failed, NULL, w },
		.peers = w->peers, .me = w->me, .all = w->all, .shared = w->shared,
	};

	w->queues = queues_new(&options, w->loop.now);
}

/* One of several shards; `all` is filled in later. */
static inline struct world *
world_new_of(const char *policy, struct peers *peers, unsigned me, struct queues *const *all, struct scopes_shared *shared)
{
	struct world *w = mem_alloc(sizeof *w);

	w->peers = peers;
	w->me = me;
	w->all = all;
	w->shared = shared;
	w->next_id = (uint64_t)me << 32;
	w->source = (struct resolver_source){ canned_ask, canned_cancel };
	timers_init(&w->loop.timers);
	w->loop.now = (struct now){ HOUR(1000), { INT64_C(1790000000000) } };
	w->log = (struct log){ .wall = world_wall, .wall_ctx = w, .sink = world_log, .sink_ctx = w };
	w->play = (struct play){ .connect_us = MS(50), .reply_us = MS(20), .close_us = MS(10), .idle_us = SEC(5), .dns_us = MS(1) };
	list_init(&w->questions);
	list_init(&w->sessions);
	prng_seed(&w->prng, 1);
	for (int i = 0; i < SCOPES_N; i++)
		table_init(&w->meters[i], 1);
	w->policy = fixture_good(policy);
	w->resolver = resolver_new(&w->loop, &w->source, 7);
	world_open_queues(w);
	return w;
}

static inline struct world *
world_new(const char *policy)
{
	return world_new_of(policy, NULL, 0, NULL, NULL);
}

/* Sessions end where they are; what they had in hand waits. */
static inline void
world_end_sessions(struct world *w)
{
	w->queues->stopping = true;
	while (!list_empty(&w->sessions)) {
		struct played *s = list_first(&w->sessions, struct played, node);

		for (unsigned i = 0; i < s->n; i++)
			queue_rcpt_postpone(s->rcpts[i], w->loop.now);
		played_close(s);
	}
}

static inline void
world_close_queues(struct world *w)
{
	world_end_sessions(w);
	queues_free(w->queues);
	w->queues = NULL;
}

static inline void
world_free(struct world *w)
{
	if (w->queues != NULL)
		world_close_queues(w);
	resolver_free(w->resolver);
	policy_free(w->policy);
	assert_true(list_empty(&w->questions));
	assert_int_equal(timers_next(&w->loop.timers), MONO_NEVER);
	timers_fini(&w->loop.timers);
	for (int i = 0; i < SCOPES_N; i++) {
		struct meter *meter;
		uint32_t pos = 0;

		while ((meter = table_next(&w->meters[i], &pos)) != NULL) {
			free(meter->connects.p);
			free(meter->messages.p);
			free(meter);
		}
		table_fini(&w->meters[i]);
	}
	free(w->sent);
	free(w);
}

/* The node ends and starts again `away_us` later, its wall clock off by `jump_ms`. Waiting mail is gone: there is no spool. */
static inline void
world_restart(struct world *w, const char *policy, bool clean, int64_t away_us, int64_t jump_ms)
{
	struct buf saved;

	buf_init(&saved, 0);
	queues_save(w->queues, w->loop.now, &saved);
	w->added -= (unsigned)w->queues->rcpts_n;
	world_close_queues(w);
	resolver_forget(w->resolver);
	if (policy != NULL) {
		policy_free(w->policy);
		w->policy = fixture_good(policy);
	}
	world_at(w, world_now(w) + away_us);
	w->loop.now.wall.ms += jump_ms;
	world_open_queues(w);
	queues_load(w->queues, buf_span(&saved), clean, w->loop.now);
	buf_fini(&saved);
}

/* Another policy while all goes on. False: it was refused, and *err says why. */
static inline bool
world_swap(struct world *w, const char *policy, struct err *err)
{
	struct policy *before = w->policy, *fresh = fixture_good(policy);

	if (!queues_may_swap(w->queues, policy_ruleset(fresh), err)) {
		policy_free(fresh);
		return false;
	}
	queues_swap(w->queues, policy_ruleset(fresh), w->loop.now);
	if (w->peers == NULL)
		queues_swapped(&w->queues, 1);
	w->policy = fresh;
	policy_free(before);
	return true;
}

static inline void
world_bound(struct world *w, enum scope_level level, uint32_t cap, const char *connects, const char *messages)
{
	struct err err = { 0 };

	w->bounds[level].cap = cap;
	assert_true(rate_parse(span_text(connects), &w->bounds[level].connects, &err));
	assert_true(rate_parse(span_text(messages), &w->bounds[level].messages, &err));
}

/* ---- mail ---- */

struct mail {
	const char *to;                 /* domains, by comma; recipients take them in turn */
	unsigned    n;                  /* recipients; 0: one a domain */
	unsigned    messages;           /* that many of it; 0: 1 */
	const char *vmta;               /* NULL: "v1" */
	const char *job;
	uint8_t     priority;
	int64_t     age_us;             /* it was accepted that long ago */
	const struct spool_rcpt_state *states;
};

static inline uint64_t
put_one(struct world *w, const struct mail *mail)
{
	struct envelope_rcpt rcpts[1000] = { 0 };
	struct envelope envelope = { .rcpts = rcpts };
	struct span domains[64], rest = span_text(mail->to);
	struct message *message;
	unsigned domains_n = 0;

	while (span_split(&rest, ',', &domains[domains_n]))
		domains_n++;
	envelope.id = ++w->next_id;
	envelope.received.ms = w->loop.now.wall.ms - mail->age_us / US_PER_MS;
	envelope.vmta = span_text(mail->vmta ? mail->vmta : "v1");
	envelope.job = span_text(mail->job ? mail->job : "");
	envelope.priority = mail->priority;
	envelope.rcpts_n = mail->n ? mail->n : domains_n;
	for (unsigned i = 0; i < envelope.rcpts_n; i++)
		rcpts[i].domain = domains[i % domains_n];
	message = message_new(envelope.rcpts_n);
	message->spool.id = envelope.id;
	message->spool.rcpts_n = (uint16_t)envelope.rcpts_n;
	w->added += envelope.rcpts_n;
	queues_add(w->queues, message, &envelope, mail->states, w->loop.now);
	return envelope.id;
}

/* The last message's id. */
#define put(w, domains, ...) put_mail(w, &(struct mail){ .to = domains, ##__VA_ARGS__ })
static inline uint64_t
put_mail(struct world *w, const struct mail *mail)
{
	uint64_t id = 0;

	for (unsigned i = 0; i < (mail->messages ? mail->messages : 1); i++)
		id = put_one(w, mail);
	return id;
}

/* ---- looking ---- */

static inline struct queue *
queue_called(struct world *w, const char *name)
{
	struct queue *q = queues_find(w->queues, span_text(name));

	if (q == NULL)
		fail_msg("no queue %s", name);
	return q;
}

/* Recipients, under the name of the queue that they were sent by. */
static inline unsigned
sent_by(const struct world *w, const char *queue)
{
	unsigned n = 0;

	for (size_t i = 0; i < w->sent_n; i++)
		n += strcmp(w->sent[i].queue->name, queue) == 0;
	return n;
}

static inline bool
is_held(const struct queue *q)
{
	return q->settings->paused || q->paused_by_hand || q->queues->stopping;
}

static inline uint32_t
runs_of(const struct stream *stream)
{
	const struct message *last = NULL;
	uint32_t runs = 0;

	list_each(node, &stream->ready) {
		const struct rcpt *rcpt = list_entry(node, struct rcpt, node);

		runs += rcpt->message != last;
		last = rcpt->message;
	}
	return runs;
}

/* It stands in the lines it belongs to; its weights are those of its ring. */
static inline void
lane_check(const struct lane *lane)
{
	bool mail = lane->ready_n > 0, idle = !list_empty(&lane->idle);
	uint32_t of_weight[WEIGHT_MAX + 1] = { 0 }, streams = 0;

	assert_int_equal(list_linked(&lane->in_line[LANE_MAIL]), mail);
	assert_int_equal(list_linked(&lane->in_line[LANE_IDLE]), idle);
	assert_int_equal(list_linked(&lane->in_line[LANE_FEEDS]), mail && idle);
	assert_int_equal(list_linked(&lane->in_line[LANE_UNSERVED]), mail && lane->sessions == 0);
	if (idle || !mail || lane->connecting >= lane->ready_n)
		assert_false(list_linked(&lane->in_line[LANE_WANTS]));
	else if (lane->connecting < lane->runs_n)
		assert_true(list_linked(&lane->in_line[LANE_WANTS]));
	assert_int_equal(list_linked(&lane->in_line[LANE_EMPTY]), !mail && lane->held_n == 0 && lane->sessions == 0);
	list_each(node, &lane->streams) {
		of_weight[list_entry(node, struct stream, in_lane)->weight]++;
		streams++;
	}
	if (lane->weights == NULL) {
		assert_true(streams <= 1);
		return;
	}
	assert_memory_equal(of_weight, lane->weights->n, sizeof of_weight);
	for (unsigned i = 0; i <= WEIGHT_MAX; i++)
		assert_int_equal(lane->weights->some[i / 64] >> i % 64 & 1, of_weight[i] > 0);
}

/* Nothing waits without somebody who will look again, and the counts are right. */
static inline void
world_check(struct world *w)
{
	struct queue *q;
	uint32_t pos = 0;
	uint64_t all = 0;

	while ((q = table_next(&w->queues->queues, &pos)) != NULL) {
		uint32_t ready = 0, held = 0, sessions = 0, connecting = 0, waiting = 0;

		list_each(lane_node, &q->lanes) {
			const struct lane *lane = list_entry(lane_node, struct lane, in_queue);
			uint32_t in_lane = 0, runs = 0;

			list_each(node, &lane->streams) {
				const struct stream *stream = list_entry(node, struct stream, in_lane);

				assert_true(stream->ready_n > 0);
				in_lane += stream->ready_n;
				runs += runs_of(stream);
			}
			list_each(node, &lane->held)
				held += list_entry(node, struct stream, in_lane)->ready_n;
			assert_int_equal(in_lane, lane->ready_n);
			assert_int_equal(runs, lane->runs_n);
			lane_check(lane);
			ready += in_lane;
			sessions += lane->sessions;
			connecting += lane->connecting;
		}
		list_each(node, &q->routes) {
			const struct route *route = list_entry(node, struct route, in_queue);

			list_each(rcpt, &route->waiting)
				waiting++;
			if (!list_empty(&route->waiting))
				assert_true(route->query != NULL || timer_started(&route->timer));
		}
		assert_int_equal(ready, q->ready_n);
		assert_int_equal(held, q->held_n);
		assert_int_equal(sessions, q->slots_n);
		assert_int_equal(connecting, q->connecting);
		assert_int_equal(waiting, q->routing_n);
		assert_int_equal(q->deferred.n, q->deferred_n);
		assert_int_equal(gauge_in_use(&q->scope.use->sessions), q->slots_n + q->guests_n);
		if (q->deferred_n > 0)
			assert_true(timer_started(&q->timer) || w->queues->stopping);
		if (q->ready_n > 0 && !is_held(q) && q->slots_n + q->guests_n == 0 && !timer_started(&q->timer) && q->waiter.scope == NULL)
			fail_msg("%s: %u wait for nothing", q->name, q->ready_n);
		assert_true(queue_n(q) > 0 || q->slots_n > 0 || !list_empty(&q->routes) || list_linked(&q->reap.link));
		all += queue_n(q);
	}
	assert_int_equal(all, w->queues->rcpts_n);
	if (w->peers == NULL)
		assert_int_equal(w->queues->rcpts_n + w->delivered + w->bounced + w->ended, w->added);
}
