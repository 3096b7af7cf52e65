/*
 * reception - the receiving half: listeners, sessions, relay control, and a
 * message's way from DATA to a durable 250.
 *
 * Ownership  new/close; close ends every session at once.
 * Threads    The shard's.
 * Errors     A listener that cannot be opened, or whose certificate cannot be
 *            read, stops the opening: one sentence.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "shard.h"

struct reception;
struct reception_change;

/* Without listeners: a change brings them. first: the first shard's; NULL for that itself. */
struct reception *reception_new(struct shard *shard, const struct reception *first);
void reception_close(struct reception *reception);      /* NULL is fine */

/* Closes the listeners; sessions without a transaction are told 421, the others may finish theirs. */
void reception_stop(struct reception *reception);
unsigned reception_sessions(const struct reception *reception);

/* Listeners as a policy has them: those it opens and reads that may fail are opened and read; then all of it, or
 * nothing. An address that stays keeps its socket, sessions keep the rules they began under. Each change ends once.
 * first: the first shard's change of the same policy, whose sockets are joined; NULL for that itself. */
struct reception_change *reception_prepare(struct reception *reception, struct policy *fresh,
					   const struct reception_change *first, struct err *err);
void reception_commit(struct reception_change *change);
void reception_abandon(struct reception_change *change);

/* Calls fn for each listener, with the address in use. */
void reception_each_listener(const struct reception *reception,
			     void (*fn)(void *ctx, const struct ruleset_listener *listener, const struct endpoint *at),
			     void *ctx);
