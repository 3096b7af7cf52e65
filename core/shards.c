/*
 * shards - opens, swaps, stops and closes the shards of a node.
 *
 * Open: all are wired and all their ports bound before anybody gives up root; then
 * the accounting (what expired meanwhile is accounted as it is read), the spool
 * (its lock first of all), what it holds, the saved limits. Close: sessions end,
 * the state is saved, the spool is synced, and mail between shards is delivered
 * before each step that would miss it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "shards.h"

#include "delivery/delivery.h"
#include "queue/queue_hand.h"
#include "reception/reception.h"
#include "recovery.h"
#include "state.h"

/* ---- standing still ---- */

void
shards_halt(struct shards *shards)
{
	/* Not all mail has been delivered then: what is delivered must not rely on it. */
	check(!shards->delivering);
	if (shards->halts++ > 0 || shards->peers == NULL)
		return;
	shards->delivering = true;
	peers_halt(shards->peers);
	shards->delivering = false;
}

void
shards_resume(struct shards *shards)
{
	check(shards->halts > 0);
	if (--shards->halts == 0 && shards->peers != NULL)
		peers_resume(shards->peers);
}

/* ---- opening ---- */

static bool
bind_ports(struct shards *shards, struct err *err)
{
	struct reception_change **changes = mem_alloc(shards->n * sizeof *changes);
	unsigned n = 0;
	bool ok = true;

	for (; n < shards->n && ok; n += ok) {
		struct shard *shard = shards->all[n];

		shard->reception = reception_new(shard, n > 0 ? shards->all[0]->reception : NULL);
		changes[n] = reception_prepare(shard->reception, shard->policy, n > 0 ? changes[0] : NULL, err);
		ok = changes[n] != NULL;
	}
	while (n-- > 0) {
		if (ok)
			reception_commit(changes[n]);
		else
			reception_abandon(changes[n]);
	}
	free(changes);
	return ok;
}

static void
hand_out_account(struct shards *shards)
{
	for (unsigned i = 0; i < shards->n; i++)
		shards->all[i]->account = shards->account;
}

static bool
set_up(struct shards *shards, const struct shards_options *options, struct err *err)
{
	if (!bind_ports(shards, err) || (options->on_bound != NULL && !options->on_bound(options->ctx, shards, err)))
		return false;
	hand_out_account(shards);
	return recovery_run(shards, err);
}

struct shards *
shards_open(const struct shards_options *options, struct err *err)
{
	struct shards *shards = mem_alloc(sizeof *shards);

	check(options->n >= 1 && options->n <= PEERS_MAX);
	check((options->n > 1) == (options->peers != NULL));
	shards->n = options->n;
	shards->peers = options->peers;
	if (shards->n > 1)
		shards->shared = scopes_shared_new(shards->peers);
	shards->all = mem_alloc(shards->n * sizeof(struct shard *));
	shards->queues = mem_alloc(shards->n * sizeof(struct queues *));
	for (unsigned i = 0; i < shards->n; i++) {
		shards->all[i] = shard_new(shards, i, &options->each[i]);
		shards->queues[i] = shards->all[i]->queues;
	}
	shards->state = state_new(shards);
	if (set_up(shards, options, err))
		return shards;
	shards_close(shards);
	return NULL;
}

void
shards_start(struct shards *shards)
{
	/* A crash before the first tick must find a state that says it was no clean end. */
	state_save(shards->state);
	for (unsigned i = 0; i < shards->n; i++)
		shard_start(shards->all[i]);
}

/* ---- while they run ---- */

static bool
swap_all(struct shards *shards, struct policy *const *fresh, bool dry_run, struct shard_change **changes, struct err *err)
{
	unsigned n = 0;
	bool ok = true;

	while (ok && n < shards->n) {
		changes[n] = shard_prepare(shards->all[n], fresh[n], n > 0 ? changes[0] : NULL, err);
		ok = changes[n] != NULL;
		n += ok;
	}
	for (unsigned i = n; i-- > 0 && (!ok || dry_run);)
		shard_abandon(changes[i]);
	for (unsigned i = 0; i < n && ok && !dry_run; i++)
		shard_commit(changes[i]);
	if (ok && !dry_run)
		queues_swapped(shards->queues, shards->n);
	return ok;
}

bool
shards_swap(struct shards *shards, struct policy *const *fresh, bool dry_run, struct err *err)
{
	struct shard_change **changes = mem_alloc(shards->n * sizeof *changes);
	bool ok;

	shards_halt(shards);
	ok = swap_all(shards, fresh, dry_run, changes, err);
	if (ok && !dry_run)
		spool_set_min_free_space(shards->all[0]->spool, shards->all[0]->settings.min_free_space);
	shards_resume(shards);
	free(changes);
	return ok;
}

uint32_t
shards_generation(const struct shards *shards)
{
	return shards->all[0]->generation;
}

void
shards_take_account(struct shards *shards, struct account *account)
{
	shards_halt(shards);
	account_close(shards->account);
	shards->account = account;
	hand_out_account(shards);
	shards_resume(shards);
}

void
shards_save_now(struct shards *shards)
{
	shards_halt(shards);
	if (shards->all[0]->spool != NULL)
		state_save_now(shards->state);
	shards_resume(shards);
}

struct queue *
shards_find_queue(const struct shards *shards, struct span name)
{
	struct queue *queue = NULL;

	for (unsigned i = 0; queue == NULL && i < shards->n; i++)
		queue = queues_find(shards->all[i]->queues, name);
	return queue;
}

/* ---- the end ---- */

void
shards_stop(struct shards *shards)
{
	shards_halt(shards);
	for (unsigned i = 0; i < shards->n; i++)
		shard_stop(shards->all[i]);
	shards_resume(shards);
}

bool
shards_are_idle(struct shards *shards)
{
	bool idle = true;

	shards_halt(shards);
	for (unsigned i = 0; i < shards->n; i++)
		idle = shard_is_idle(shards->all[i]) && idle;
	shards_resume(shards);
	return idle;
}

unsigned
shards_waiting_final(struct shards *shards)
{
	unsigned n = 0;

	shards_halt(shards);
	for (unsigned i = 0; i < shards->n; i++)
		n += delivery_waiting_final(shards->all[i]->delivery);
	shards_resume(shards);
	return n;
}

void
shards_close(struct shards *shards)
{
	if (shards == NULL)
		return;
	shards_halt(shards);
	for (unsigned i = shards->n; i-- > 0;)
		shard_end(shards->all[i]);
	shards_resume(shards);
	shards_halt(shards);
	if (shards->all[0]->spool != NULL) {
		state_save_last(shards->state);
		recovery_close_spool(shards);
	}
	shards_resume(shards);
	/* What the spool told at its end was delivered, too. */
	shards_halt(shards);
	shards_resume(shards);
	state_free(shards->state);
	/* A message may be another one's. */
	for (unsigned i = shards->n; i-- > 0;)
		queues_close(shards->queues[i]);
	for (unsigned i = shards->n; i-- > 0;)
		shard_free(shards->all[i]);
	scopes_shared_free(shards->shared);
	account_close(shards->account);
	free(shards->queues);
	free(shards->all);
	free(shards);
}
