/*
 * turns - whose turn it is among shards that wait for the same thing: they stand
 * in a row, and who is first may take.
 *
 * A shard stands while somebody of its own waits. The first one keeps the turn until
 * it passes it on or leaves; whoever becomes first after another one is told so by
 * mail, and whoever frees something calls the first, wherever he lives.
 *
 * Ownership  The caller's; freed when no shard has its place any more and no mail is
 *            on its way to one (turns_idle()).
 * Threads    A place is its shard's; what is in the row, a lock of its own guards. While
 *            nobody stands, nobody takes it: turns_first(), turns_others() and a call
 *            that has nobody to reach are loads.
 * Limits     PEERS_MAX shards.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

#include "net/loop.h"
#include "util/list.h"

struct peers;
struct turns;

/* One shard's. */
struct turns_place {
	struct list      node;          /* turns->row */
	struct turns    *turns;
	unsigned         shard;
	bool             stands;        /* the shard's */
	bool             called;        /* under the lock: a call is on its way */
	struct loop_call call;
	/* What a call starts, at once; NULL: nobody is here. The shard's. */
	struct timers   *timers;
	struct timer    *timer;
};

struct turns *turns_new(struct peers *peers);
void turns_free(struct turns *turns);           /* NULL is fine; it is idle */
bool turns_idle(struct turns *turns);           /* for who knows that nobody stands or calls meanwhile */

/* A shard comes, and goes: it stands no more, and no call reaches it. */
struct turns_place *turns_enter(struct turns *turns, unsigned shard, struct timers *timers, struct timer *timer);
void turns_exit(struct turns_place *place);

/* Behind all others. True: it is first, and has to look now whether something is free: what was freed a moment
 * ago, when nobody stood here, called nobody. */
bool turns_stand(struct turns_place *place);
void turns_leave(struct turns_place *place);    /* the next one's turn, if it was the first's */
void turns_pass(struct turns_place *place);     /* the first goes behind all others */
/* Something is free: the first one's timer is started, if somebody stands. What was freed must have been stored
 * by a sequentially consistent operation. */
void turns_call(const struct turns_place *caller);
bool turns_first(const struct turns_place *place);      /* it stands, and before all others */
bool turns_others(const struct turns_place *place);     /* another shard stands */
