/*
 * scope - a place where caps and rates lie: a queue, a site, a virtual MTA, a
 * pool, the node. All scopes of a queue hold at once; the tightest wins.
 *
 * Queues that a shared scope holds back stand in its line and are let through
 * in turn, so that none starves: a queue that is not the first in line takes
 * nothing, and one that was served stands behind the others again.
 *
 * A scope that several shards have (scopes_shared.h) is a struct scope in each: what is
 * in use of it is one for all, limits and lines are each shard's. The shards' lines
 * stand in a row (turns.h): the first gives as many turns as it has waiters, then it
 * stands behind the others.
 *
 * Ownership  Embedded in its owner; its lines are made when somebody waits, which at most sites nobody does.
 *            A waiter leaves by itself or by scope_leave().
 * Threads    What is in use are atomics; all else belongs to the shard.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "limit/gauge.h"
#include "limit/rate.h"
#include "policy/ruleset.h"
#include "queue/turns.h"
#include "util/list.h"
#include "util/timer.h"

enum scope_level { SCOPE_QUEUE, SCOPE_SITE, SCOPE_VMTA, SCOPE_POOL, SCOPE_NODE, SCOPES_N };

/* What is in force now; from the ruleset, tightened by overlays. */
struct scope_limits {
	uint32_t         max_smtp_out;          /* UNLIMITED */
	struct rate_spec max_connect_rate, max_msg_rate;
	struct where     max_smtp_out_where, max_connect_rate_where, max_msg_rate_where;
};

/* As declared. */
struct scope_limits scope_limits_of_queue(const struct queue_settings *settings);
struct scope_limits scope_limits_of_site(const struct queue_settings *settings);        /* the totals, as this queue has them */
struct scope_limits scope_limits_of_vmta(const struct ruleset_vmta *vmta);
struct scope_limits scope_limits_of_pool(const struct ruleset_pool *pool);
struct scope_limits scope_limits_of_node(const struct ruleset_node *node);

/* Two lines a scope: who waits for a session to end or to be allowed to start, and who
 * waits for the message rate. In one line the first would hold up the second. */
enum scope_line { SCOPE_LINE_SESSIONS, SCOPE_LINE_MESSAGES, SCOPE_LINES_N };

struct scope_queue {
	struct list    waiters;         /* struct scope_waiter */
	uint32_t       n;               /* of them */
	uint32_t       left;            /* turns it may still give before another shard's line is first */
	uint16_t       giving;          /* turns that are being taken, one in another */
	bool           has_turn;        /* left counts */
	struct turns_place *place;      /* among the shards' lines; NULL: no other shard has the scope */
	struct timer   timer;           /* when the first one's turn may come */
	struct scope  *scope;
};

/* What is in use of it. */
struct scope_use {
	struct rate       messages, connects;
	_Atomic mono_us_t connecting_at;        /* when the last of those connecting began */
	struct gauge      sessions;
	_Atomic uint32_t  closing;              /* of them, those that will end by themselves soon */
	_Atomic uint32_t  connecting;           /* sessions that will want a message soon */
};

/* What each message asks of it stands together. */
struct scope {
	struct scope_use    own;
	struct scope_use   *use;                /* its own, or the one of all shards */
	struct scope_limits limits;             /* in force */
	struct scope_queue *lines;              /* SCOPE_LINES_N; NULL: nobody ever waited */
	struct timers      *timers;
	struct scope_limits declared;           /* without overlays */
};

struct scope_waiter {
	struct list   node;
	struct scope *scope;            /* NULL: in no line */
	enum scope_line line;
	bool          turn;             /* being let through: may pass the others */
	const struct scope_queue *turn_in;      /* the line whose turn it is */
	bool          served;           /* took something since its turn began */
	void        (*on_turn)(struct scope_waiter *waiter, struct now now);
	void        (*on_near)(const struct scope_waiter *waiter, unsigned turns);     /* see scope_waiter_init() */
};

void scope_init(struct scope *scope, struct timers *timers);
void scope_fini(struct scope *scope);   /* nobody may be in line; unless it is shared, no session open */
/* From now until scope_fini() it is one of several, of which `me` is this shard's; nothing is in use of it yet. */
void scope_share(struct scope *scope, struct scope_use *use, struct turns *const turns[SCOPE_LINES_N], unsigned me);
static inline bool scope_is_shared(const struct scope *scope) { return scope->use != &scope->own; }

/* on_near: so many others (less than SCOPE_NEAR) stand before it now, and one less the next time; what it will look
 * at may be fetched into the cache. NULL: it needs none of that. */
#define SCOPE_NEAR 4u
void scope_waiter_init(struct scope_waiter *waiter, void (*on_turn)(struct scope_waiter *waiter, struct now now),
		       void (*on_near)(const struct scope_waiter *waiter, unsigned turns));
/* Stands at the end of the line (at its head, if its turn was there and it could take nothing). Woken by
 * scope_wake(), or at `at` (MONO_NEVER: only by the former). Moves it if it stands elsewhere. */
void scope_wait(struct scope *scope, enum scope_line line, struct scope_waiter *waiter, mono_us_t at);
void scope_leave(struct scope_waiter *waiter);
/* Somebody else's turn comes first. */
bool scope_others_first(const struct scope *scope, enum scope_line line, const struct scope_waiter *waiter);
/* Somebody else stands in the line, before or behind. */
bool scope_others_wait(const struct scope *scope, enum scope_line line, const struct scope_waiter *waiter);
/* The same at the next turn of the loop: for who is in the middle of something. */
void scope_wake_soon(struct scope *scope, mono_us_t now);
/* Gives turns: after a session ended or connected, limits changed, or a rate opened. In whatever shard it is whose turn comes. */
void scope_wake(struct scope *scope, struct now now);
/* What was taken for an instant is given back: another shard may have found it closed meanwhile. */
void scope_gave_back(struct scope *scope, mono_us_t now);
