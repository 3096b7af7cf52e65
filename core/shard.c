/*
 * shard - puts one shard together over given doors, and what it does once a
 * second.
 *
 * Start: only when all that is there does anything leave. Stop: no new
 * connections, transactions in flight end. End: who is left is cut off, and the
 * spool hears of it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "shard.h"

#include "delivery/delivery.h"
#include "delivery/outcome.h"
#include "net/process.h"
#include "reception/reception.h"
#include "shards.h"
#include "state.h"

#define TICK_US        (1 * US_PER_S)
#define TRIM_US        (2 * US_PER_S)          /* it holds up who allocates meanwhile */

/* ---- while it runs ---- */

void
shard_state(struct shard *shard, struct buf *out)
{
	size_t before = buf_len(out);

	queues_save(shard->queues, loop_now(shard->loop), out);
	shard->saved_at = loop_now(shard->loop).mono;
	shard->saved_n = buf_len(out) - before;
}

/* What malloc() keeps of what was freed counts as used, and might for ever: it goes back to the system before it is held
 * against a client. */
static bool
memory_is_full(struct shard *shard, mono_us_t now)
{
	uint64_t limit = shard->settings.memory_limit;

	if (limit == 0 || process_memory_used() <= limit)
		return false;
	if (shard->me != 0 || now < shard->trim_at)
		return true;
	process_memory_trim();
	shard->trim_at = now + TRIM_US;
	return process_memory_used() > limit;
}

/* All see the same; the first one says it. */
static void
watch_memory(struct shard *shard, mono_us_t now)
{
	bool full = memory_is_full(shard, now);

	if (full != shard->memory_full && shard->me == 0)
		log_warning(shard->log, full ? "memory_limit is reached: new mail is refused" : "memory is below memory_limit again");
	shard->memory_full = full;
}

static void
on_changed(void *ctx)
{
	struct shard *shard = ctx;
	mono_us_t at = max_i64(loop_now(shard->loop).mono, shard->saved_at + state_pause(shard->saved_n));

	if (timer_started(&shard->tick) && shard->tick.node.key > at)
		timer_start(&shard->loop->timers, &shard->tick, at);
}

static void
on_tick(void *ctx, struct now now)
{
	struct shard *shard = ctx;

	if (shard->queues->changed && now.mono >= shard->saved_at + state_pause(shard->saved_n))
		state_tell(shard->shards->state, shard);
	watch_memory(shard, now.mono);
	outcome_unread_review(shard, now.mono);
	timer_start(&shard->loop->timers, &shard->tick, now.mono + TICK_US);
}

/* ---- putting together ---- */

static void
open_queues(struct shard *shard)
{
	struct queues_options options = {
		.ruleset = policy_ruleset(shard->policy), .resolver = shard->resolver, .loop = shard->loop,
		.log = shard->log, .seed = prng_u64(&shard->prng), .on_changed = on_changed, .changed_ctx = shard,
		.peers = shard->shards->peers, .me = shard->me, .all = shard->shards->queues, .shared = shard->shards->shared,
	};

	shard->delivery = delivery_new(shard);
	options.ops = delivery_ops(shard->delivery);
	shard->queues = queues_new(&options, loop_now(shard->loop));
	/* Nothing leaves before everything is there. */
	shard->queues->stopping = true;
}

struct shard *
shard_new(struct shards *shards, unsigned me, const struct shard_options *options)
{
	struct shard *shard = mem_alloc(sizeof *shard);

	shard->shards = shards;
	shard->me = me;
	shard->loop = options->loop;
	shard->net = options->net;
	shard->worker = options->worker;
	shard->aside = options->aside != NULL ? options->aside : options->worker;
	shard->disk = options->disk;
	shard->log = options->log;
	shard->policy = options->policy;
	shard->settings = options->settings;
	shard->listeners = options->listeners;
	shard->listeners_n = options->listeners_n;
	shard->generation = 1;
	shard->started = loop_now(shard->loop).mono;
	timer_init(&shard->tick, on_tick, shard);
	trace_init(&shard->trace, me + 1, shards->n);
	prng_seed(&shard->prng, options->seed);
	shard->resolver = resolver_new(shard->loop, options->names, prng_u64(&shard->prng));
	open_queues(shard);
	return shard;
}

void
shard_start(struct shard *shard)
{
	timer_start(&shard->loop->timers, &shard->tick, loop_now(shard->loop).mono + TICK_US);
	shard->queues->stopping = false;
	queues_poll_all(shard->queues, loop_now(shard->loop));
}

void
shard_stop(struct shard *shard)
{
	reception_stop(shard->reception);
	shard->queues->stopping = true;
	delivery_stop(shard->delivery);
}

bool
shard_is_idle(const struct shard *shard)
{
	return reception_sessions(shard->reception) == 0 && delivery_sessions(shard->delivery) == 0;
}

void
shard_end(struct shard *shard)
{
	shard->closing = true;
	reception_close(shard->reception);
	shard->reception = NULL;
	shard->queues->stopping = true;
	delivery_free(shard->delivery);
	shard->delivery = NULL;
	timer_stop(&shard->loop->timers, &shard->tick);
	outcome_unread_review(shard, MONO_NEVER);
}

void
shard_free(struct shard *shard)
{
	queues_free(shard->queues);
	resolver_free(shard->resolver);
	shard_unpin(shard, shard->policy);
	free(shard);
}
