/*
 * state - the first shard keeps the newest bytes of each, and writes all of them
 * one behind the other: what reads them again takes what is his, so another number
 * of shards reads them as well.
 *
 * A shard that is alone keeps nothing between two writes: what the disk could
 * not take yet is gathered anew.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include "shards.h"

#define PAUSE_US (200 * US_PER_MS)      /* between two writes, whatever changes */
#define BYTE_US  2                      /* and for each byte: a hundred times what it costs */
#define MOST_US  (10 * US_PER_S)
#define AGAIN_US (1 * US_PER_S)         /* when the last write is still under way */

struct state {
	struct shards *shards;
	struct buf    *newest;          /* of each */
	struct timer   timer;           /* writes them; with one shard never started */
	mono_us_t      written_at;
	size_t         written_n;
};

struct told {                           /* one shard's bytes on their way to the first */
	struct loop_call call;
	struct state    *state;
	unsigned         from;
	struct buf       bytes;
};

static struct shard *first_of(const struct state *state) { return state->shards->all[0]; }
static struct spool *spool_of(const struct state *state) { return first_of(state)->spool; }

mono_us_t
state_pause(size_t bytes)
{
	return min_i64(PAUSE_US + (int64_t)bytes * BYTE_US, MOST_US);
}

/* ---- one alone ---- */

static void
write_only(struct shard *shard)
{
	struct buf bytes;

	buf_init(&bytes, 0);
	shard_state(shard, &bytes);
	if (!spool_state_save(shard->spool, buf_span(&bytes)))
		shard->queues->changed = true;
	buf_fini(&bytes);
}

/* ---- many ---- */

static void
join(const struct state *state, struct buf *out)
{
	for (unsigned i = 0; i < state->shards->n; i++)
		buf_add(out, buf_span(&state->newest[i]));
}

static void
on_timer(void *ctx, struct now now)
{
	struct state *state = ctx;
	struct buf all;

	buf_init(&all, 0);
	join(state, &all);
	if (spool_state_save(spool_of(state), buf_span(&all))) {
		state->written_at = now.mono;
		state->written_n = buf_len(&all);
	} else {
		timer_start(&first_of(state)->loop->timers, &state->timer, now.mono + AGAIN_US);
	}
	buf_fini(&all);
}

static void
write_soon(struct state *state)
{
	struct loop *loop = first_of(state)->loop;

	if (!timer_started(&state->timer))
		timer_start(&loop->timers, &state->timer,
			    max_i64(loop_now(loop).mono, state->written_at + state_pause(state->written_n)));
}

static void
replace(struct state *state, unsigned i, struct buf *bytes)
{
	buf_fini(&state->newest[i]);
	state->newest[i] = *bytes;
}

static void
on_told(void *ctx)
{
	struct told *told = ctx;

	replace(told->state, told->from, &told->bytes);
	write_soon(told->state);
	free(told);
}

/* All stand still, or nobody has begun. */
static void
gather(struct state *state)
{
	for (unsigned i = 0; i < state->shards->n; i++) {
		struct buf bytes;

		buf_init(&bytes, 0);
		shard_state(state->shards->all[i], &bytes);
		replace(state, i, &bytes);
	}
}

/* ---- for all ---- */

void
state_tell(struct state *state, struct shard *shard)
{
	struct told *told;

	if (state->shards->n == 1) {
		write_only(shard);
		return;
	}
	told = mem_alloc(sizeof *told);
	*told = (struct told){ .call = { .fn = on_told, .ctx = told }, .state = state, .from = shard->me };
	buf_init(&told->bytes, 0);
	shard_state(shard, &told->bytes);
	peers_post(state->shards->peers, shard->me, 0, &told->call);
}

void
state_save(struct state *state)
{
	if (state->shards->n == 1) {
		write_only(first_of(state));
		return;
	}
	gather(state);
	on_timer(state, loop_now(first_of(state)->loop));
}

static void
save(struct state *state, void (*write)(struct spool *spool, struct span bytes))
{
	struct buf all;

	gather(state);
	buf_init(&all, 0);
	join(state, &all);
	write(spool_of(state), buf_span(&all));
	buf_fini(&all);
}

void
state_save_now(struct state *state)
{
	save(state, spool_state_save_now);
}

void
state_save_last(struct state *state)
{
	save(state, spool_state_last);
}

bool
state_load(struct shards *shards, struct err *err)
{
	struct buf saved;
	bool clean = false, ok;

	buf_init(&saved, 0);
	ok = spool_state_load(shards->all[0]->spool, &saved, &clean, err);
	for (unsigned i = 0; ok && i < shards->n; i++) {
		struct shard *shard = shards->all[i];
		struct now now = loop_now(shard->loop);

		if (buf_len(&saved) > 0)
			queues_load(shard->queues, buf_span(&saved), clean, now);
		else if (spool_state_lost(shard->spool))
			shard->queues->spent_at = now.mono;     /* as after a crash */
	}
	buf_fini(&saved);
	return ok;
}

struct state *
state_new(struct shards *shards)
{
	struct state *state = mem_alloc(sizeof *state);

	state->shards = shards;
	state->newest = mem_alloc(shards->n * sizeof *state->newest);
	for (unsigned i = 0; i < shards->n; i++)
		buf_init(&state->newest[i], 0);
	timer_init(&state->timer, on_timer, state);
	return state;
}

void
state_free(struct state *state)
{
	if (state == NULL)
		return;
	timer_stop(&first_of(state)->loop->timers, &state->timer);
	for (unsigned i = 0; i < state->shards->n; i++)
		buf_fini(&state->newest[i]);
	free(state->newest);
	free(state);
}
