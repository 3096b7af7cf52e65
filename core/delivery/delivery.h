/*
 * delivery - the sending half: sessions that take what the queues give them.
 *
 * Ownership  new/free; free ends every session at once.
 * Threads    The shard's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue.h"

struct ruleset;
struct shard;
struct delivery;

struct delivery *delivery_new(struct shard *shard);
void delivery_free(struct delivery *delivery);
/* What queues_new() wants to know. */
struct queue_ops delivery_ops(struct delivery *delivery);

/* The shard's policy is another one now; `before` held until now and is there for the call. The queues have it already. */
void delivery_take_policy(struct delivery *delivery, const struct ruleset *before);

/* Ends the idle sessions: somebody else needs their descriptors. */
void delivery_make_room(struct delivery *delivery);
/* Ends the idle sessions; those in a transaction finish it. delivery_sessions() tells when they have. */
void delivery_stop(struct delivery *delivery);
unsigned delivery_sessions(const struct delivery *delivery);
/* How many of them have sent a message whole and wait for the reply to it. */
unsigned delivery_waiting_final(const struct delivery *delivery);
