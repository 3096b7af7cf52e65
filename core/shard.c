/*
 * shard - puts one shard together over given doors, and takes it apart in the
 * one order that loses nothing.
 *
 * Open: queues, ports, accounting, spool (its lock first of all), what it holds,
 * the saved limits. Start: only when all that is there does anything leave.
 * Stop: no new connections, transactions in flight end. Close: the limits are
 * saved, the spool is synced.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "shard.h"

#include "delivery/delivery.h"
#include "net/process.h"
#include "reception/reception.h"

#define TICK_US        (1 * US_PER_S)
#define SAVE_PAUSE_US  (200 * US_PER_MS)        /* between two saves, whatever changes */
#define SAVE_BYTE_US   2                        /* and for each byte of state: a hundred times what it costs */
#define SAVE_MOST_US   (10 * US_PER_S)

/* ---- what the spool found ---- */

struct found {                          /* a message of the last run, until the queues have it */
	struct found   *next;
	struct message *message;
	struct span     meta;
	struct spool_rcpt_state *states;
};

struct finding {
	struct arena  arena;
	struct found *found, **last;
};

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct shard *shard = ctx;
	struct finding *finding = shard->finding;
	struct found *found;

	check(finding != NULL);
	found = arena_alloc(&finding->arena, sizeof *found);
	found->message = message_new(recovered->rcpts_n);
	found->meta = arena_span(&finding->arena, recovered->meta);
	found->states = arena_alloc(&finding->arena, recovered->rcpts_n * sizeof *found->states);
	memcpy(found->states, recovered->rcpts, recovered->rcpts_n * sizeof *found->states);
	*finding->last = found;
	finding->last = &found->next;
	return &found->message->spool;
}

static void
on_states(void *ctx, const struct spool_message *spooled, struct spool_rcpt_state *states)
{
	struct shard *shard = ctx;

	queues_states(shard->queues, container_of(spooled, struct message, spool), states);
}

static bool
found_decode(const struct shard *shard, const struct found *found, struct arena *arena, struct envelope *out, struct err *err)
{
	const struct ruleset *ruleset = policy_ruleset(shard->policy);

	if (!envelope_decode(found->meta, arena, out, err))
		return false;
	if (out->rcpts_n != found->message->spool.rcpts_n)
		return err_set(err, ERR_PERM, "the spool holds a message whose envelope and record disagree about its recipients");
	if (ruleset_vmta(ruleset, out->vmta) == NULL)
		return err_set(err, ERR_PERM, "the spool holds mail of the virtual MTA \"%.*s\", which %s does not declare",
			       SPAN_ARG(out->vmta), ruleset->file);
	return true;
}

/* Puts what was found into the queues; refuses if a message's virtual MTA is gone from the policy. */
static bool
requeue(struct shard *shard, struct finding *finding, struct err *err)
{
	struct now now = loop_now(shard->loop);
	struct arena arena;
	uint64_t n = 0;
	bool ok = true;

	arena_init(&arena);
	for (struct found *found = finding->found; found != NULL && ok; found = found->next) {
		struct envelope envelope;

		arena_reset(&arena);
		ok = found_decode(shard, found, &arena, &envelope, err);
		if (!ok)
			break;
		queues_add(shard->queues, found->message, &envelope, found->states, now);
		found->message = NULL;
		n++;
	}
	arena_fini(&arena);
	if (ok && n > 0)
		log_info(shard->log, "%llu messages of the last run are queued again", (unsigned long long)n);
	return ok;
}

static void
finding_fini(struct finding *finding)
{
	for (struct found *found = finding->found; found != NULL; found = found->next)
		if (found->message != NULL)
			message_free(found->message);
	arena_fini(&finding->arena);
}

static bool
load_state(struct shard *shard, struct err *err)
{
	struct buf saved;
	bool clean = false, ok;

	buf_init(&saved, 0);
	ok = spool_state_load(shard->spool, &saved, &clean, err);
	if (ok && buf_len(&saved) > 0)
		queues_load(shard->queues, buf_span(&saved), clean, loop_now(shard->loop));
	else if (ok && spool_state_lost(shard->spool))
		shard->queues->spent_at = loop_now(shard->loop).mono;   /* as after a crash */
	buf_fini(&saved);
	return ok;
}

static bool
open_spool(struct shard *shard, struct finding *finding, struct err *err)
{
	struct spool_options options = { .min_free_space = shard->settings.min_free_space, .log = shard->log };
	struct spool_owner owner = { on_recovered, on_states, shard };

	shard->finding = finding;
	shard->spool = spool_open(shard->disk, shard->worker, shard->loop, &options, &owner, err);
	shard->finding = NULL;
	if (shard->spool == NULL)
		return false;
	shard->queues->o.spool = shard->spool;
	return load_state(shard, err) && requeue(shard, finding, err);
}

static bool
recover(struct shard *shard, struct err *err)
{
	struct finding finding = { .last = &finding.found };
	bool ok;

	arena_init(&finding.arena);
	ok = open_spool(shard, &finding, err);
	/* What was found and not queued is the spool's until that is closed. */
	if (!ok) {
		spool_close(shard->spool);
		shard->spool = NULL;
		shard->queues->o.spool = NULL;
	}
	finding_fini(&finding);
	return ok;
}

/* ---- while it runs ---- */

static void
save_state(struct shard *shard, bool last)
{
	struct buf bytes;

	buf_init(&bytes, 0);
	queues_save(shard->queues, loop_now(shard->loop), &bytes);
	if (last)
		spool_state_last(shard->spool, buf_span(&bytes));
	else if (!spool_state_save(shard->spool, buf_span(&bytes)))
		shard->queues->changed = true;
	shard->saved_at = loop_now(shard->loop).mono;
	shard->saved_n = buf_len(&bytes);
	buf_fini(&bytes);
}

static void
watch_memory(struct shard *shard)
{
	bool full = shard->settings.memory_limit > 0 && process_memory_used() > shard->settings.memory_limit;

	if (full != shard->memory_full)
		log_warning(shard->log, full ? "memory_limit is reached: new mail is refused" : "memory is below memory_limit again");
	shard->memory_full = full;
}

static mono_us_t
save_again_at(const struct shard *shard)
{
	return shard->saved_at + min_i64(SAVE_PAUSE_US + (int64_t)shard->saved_n * SAVE_BYTE_US, SAVE_MOST_US);
}

static void
on_changed(void *ctx)
{
	struct shard *shard = ctx;
	mono_us_t at = max_i64(loop_now(shard->loop).mono, save_again_at(shard));

	if (timer_started(&shard->tick) && shard->tick.node.key > at)
		timer_start(&shard->loop->timers, &shard->tick, at);
}

static void
on_tick(void *ctx, struct now now)
{
	struct shard *shard = ctx;

	if (shard->account != NULL)
		account_flush(shard->account);
	if (shard->queues->changed && now.mono >= save_again_at(shard))
		save_state(shard, false);
	watch_memory(shard);
	timer_start(&shard->loop->timers, &shard->tick, now.mono + TICK_US);
}

/* ---- putting together ---- */

static void
open_queues(struct shard *shard)
{
	struct queues_options options = {
		.ruleset = policy_ruleset(shard->policy), .resolver = shard->resolver, .loop = shard->loop,
		.log = shard->log, .seed = prng_u64(&shard->prng), .on_changed = on_changed, .changed_ctx = shard,
	};

	shard->delivery = delivery_new(shard);
	options.ops = delivery_ops(shard->delivery);
	shard->queues = queues_new(&options, loop_now(shard->loop));
	/* Nothing leaves before everything is there. */
	shard->queues->stopping = true;
}

struct shard *
shard_open(const struct shard_options *options, struct err *err)
{
	struct shard *shard = mem_alloc(sizeof *shard);

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
	trace_init(&shard->trace);
	prng_seed(&shard->prng, options->seed);
	shard->resolver = resolver_new(shard->loop, options->names, prng_u64(&shard->prng));
	open_queues(shard);
	/* What expired meanwhile is accounted as it is read, so the accounting comes first. */
	shard->reception = reception_open(shard, err);
	if (shard->reception == NULL || (options->on_bound != NULL && !options->on_bound(options->ctx, shard, err)) ||
	    !recover(shard, err)) {
		shard_close(shard);
		return NULL;
	}
	return shard;
}

void
shard_start(struct shard *shard)
{
	timer_start(&shard->loop->timers, &shard->tick, loop_now(shard->loop).mono + TICK_US);
	/* A crash before the first tick must find a state that says it was no clean end. */
	save_state(shard, false);
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
shard_close(struct shard *shard)
{
	if (shard == NULL)
		return;
	shard->closing = true;
	reception_close(shard->reception);
	shard->queues->stopping = true;
	delivery_free(shard->delivery);
	if (shard->spool != NULL) {
		save_state(shard, true);
		spool_close(shard->spool);
	}
	timer_stop(&shard->loop->timers, &shard->tick);
	queues_free(shard->queues);
	account_close(shard->account);
	resolver_free(shard->resolver);
	shard_unpin(shard, shard->policy);
	free(shard);
}
