/*
 * turns - a row of shards under a small lock, and two numbers beside it that say
 * without the lock who is first and how many stand.
 *
 * No wake-up is lost, for each of these looks for itself whether something is free:
 *   - who stands as the first of all: between what it saw closed and its standing
 *     somebody may have freed something and called nobody. A fence lies between its
 *     standing and its look, and who frees stores first and then asks who stands, so
 *     one of the two sees the other.
 *   - who becomes first because another one went: it is called under the lock that
 *     made it so, and what was freed for the one before was freed before that.
 *   - who is called while it is first. A call clears its mark before it looks, so what
 *     is freed after the mark was seen is still looked for.
 * A call that arrives at a shard that is not first any more has nothing to say: it was
 * passed on when the shard went.
 *
 * A call only starts a timer: turns are given by the shard's own loop, from the bottom
 * of its stack, and never while all stand still.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/turns.h"

#include <pthread.h>

#include "net/peers.h"

struct turns {
	struct peers    *peers;
	pthread_mutex_t  lock;          /* guards row, and called of the places */
	struct list      row;           /* struct turns_place */
	_Atomic(const struct turns_place *) first;      /* of the row; NULL: nobody */
	_Atomic uint32_t standing;
	struct turns_place places[];    /* peers->n */
};

static void
on_call(void *ctx)
{
	struct turns_place *place = ctx;
	struct turns *turns = place->turns;

	pthread_mutex_lock(&turns->lock);
	place->called = false;
	pthread_mutex_unlock(&turns->lock);
	if (place->timer != NULL && turns_first(place))
		timer_start(place->timers, place->timer, 0);
}

struct turns *
turns_new(struct peers *peers)
{
	struct turns *turns = mem_alloc(sizeof *turns + peers->n * sizeof turns->places[0]);

	turns->peers = peers;
	check(pthread_mutex_init(&turns->lock, NULL) == 0);
	list_init(&turns->row);
	for (unsigned i = 0; i < peers->n; i++) {
		struct turns_place *place = &turns->places[i];

		list_init(&place->node);
		place->turns = turns;
		place->shard = i;
		place->call = (struct loop_call){ .fn = on_call, .ctx = place };
	}
	return turns;
}

bool
turns_idle(struct turns *turns)
{
	bool idle;

	pthread_mutex_lock(&turns->lock);
	idle = list_empty(&turns->row);
	for (unsigned i = 0; i < turns->peers->n; i++)
		idle &= turns->places[i].timer == NULL && !turns->places[i].called;
	pthread_mutex_unlock(&turns->lock);
	return idle;
}

void
turns_free(struct turns *turns)
{
	if (turns == NULL)
		return;
	check(list_empty(&turns->row));
	pthread_mutex_destroy(&turns->lock);
	free(turns);
}

struct turns_place *
turns_enter(struct turns *turns, unsigned shard, struct timers *timers, struct timer *timer)
{
	struct turns_place *place = &turns->places[shard];

	check(shard < turns->peers->n);
	check(place->timer == NULL);
	place->timers = timers;
	place->timer = timer;
	return place;
}

void
turns_exit(struct turns_place *place)
{
	check(!place->stands);
	place->timers = NULL;
	place->timer = NULL;
}

/* ---- the row; under its lock ---- */

static void
call_first(struct turns *turns, unsigned from)
{
	struct turns_place *first;

	if (list_empty(&turns->row))
		return;
	first = list_first(&turns->row, struct turns_place, node);
	if (first->called)
		return;
	first->called = true;
	peers_post(turns->peers, from, first->shard, &first->call);
}

static void
note_first(struct turns *turns)
{
	const struct turns_place *first = list_empty(&turns->row) ? NULL : list_first(&turns->row, struct turns_place, node);

	atomic_store(&turns->first, first);
}

/* ---- for shards ---- */

bool
turns_stand(struct turns_place *place)
{
	struct turns *turns = place->turns;
	bool is_first;

	check(!place->stands);
	place->stands = true;
	pthread_mutex_lock(&turns->lock);
	is_first = list_empty(&turns->row);
	list_add_tail(&turns->row, &place->node);
	atomic_fetch_add(&turns->standing, 1);
	note_first(turns);
	pthread_mutex_unlock(&turns->lock);
	atomic_thread_fence(memory_order_seq_cst);
	return is_first;
}

static void
go(struct turns_place *place, bool comes_back)
{
	struct turns *turns = place->turns;
	bool was_first;

	pthread_mutex_lock(&turns->lock);
	was_first = turns->row.next == &place->node;
	list_remove(&place->node);
	if (comes_back)
		list_add_tail(&turns->row, &place->node);
	else
		atomic_fetch_sub(&turns->standing, 1);
	note_first(turns);
	if (was_first)
		call_first(turns, place->shard);
	pthread_mutex_unlock(&turns->lock);
}

void
turns_leave(struct turns_place *place)
{
	check(place->stands);
	place->stands = false;
	go(place, false);
}

void
turns_pass(struct turns_place *place)
{
	check(turns_first(place));
	go(place, true);
}

void
turns_call(const struct turns_place *caller)
{
	struct turns *turns = caller->turns;

	if (atomic_load(&turns->first) == NULL)
		return;
	pthread_mutex_lock(&turns->lock);
	call_first(turns, caller->shard);
	pthread_mutex_unlock(&turns->lock);
}

bool
turns_first(const struct turns_place *place)
{
	return atomic_load(&place->turns->first) == place;
}

bool
turns_others(const struct turns_place *place)
{
	return atomic_load(&place->turns->standing) > place->stands;
}
