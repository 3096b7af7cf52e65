/*
 * shards - the shards of one node: opened in the one order that loses nothing,
 * swapped all or none, stopped and closed together. One is a node, too.
 *
 * Knows no threads: whose loops run on threads of their own says so to the peers,
 * between open and start; and has them stopped again before close.
 *
 * Ownership  open/close; the doors and peers are the caller's and must outlive
 *            it. Policies are taken by shards_open(), also where it fails.
 * Threads    The first shard's. What touches more than it is done between
 *            shards_halt() and shards_resume(); the functions here see to that themselves.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/peers.h"
#include "shard.h"

struct finding;
struct shards;
struct state;

struct shards_options {
	const struct shard_options *each;
	unsigned      n;
	struct peers *peers;            /* NULL where n is 1 */
	/* The ports are bound and no file is made yet: who has to become another user does it now, and
	 * opens shards->account. May be NULL. */
	bool        (*on_bound)(void *ctx, struct shards *shards, struct err *err);
	void         *ctx;
};

struct shards {
	struct shard   **all;
	unsigned         n;
	struct peers    *peers;         /* NULL: there is one only */
	struct queues  **queues;        /* of all, as they know each other */
	struct scopes_shared *shared;   /* what their queues have in common; NULL: there is one shard only */
	struct account  *account;       /* NULL: none; closed with them */
	struct state    *state;         /* what outlives the process, of all */
	struct finding  *finding;       /* what the spool holds, while it is opened */
	unsigned         halts;         /* that are begun and not over: only the outermost is one */
	bool             delivering;    /* it has begun, and is not complete yet */
};

/* Everything is there when it returns, and nothing leaves yet: what the spool holds is queued by whom it belongs to, the
 * ports are bound. NULL: *err says why, and nothing is left behind. */
struct shards *shards_open(const struct shards_options *options, struct err *err);
/* Mail leaves from now on. */
void shards_start(struct shards *shards);

/* In between nobody else's thread runs, no mail is under way, and all may be touched. They nest. */
void shards_halt(struct shards *shards);
void shards_resume(struct shards *shards);

/* From now on other policies hold, one for each: the same texts, loaded n times. Taken when true. All or none, and not if
 * dry_run: see shard_prepare(). */
bool shards_swap(struct shards *shards, struct policy *const *fresh, bool dry_run, struct err *err);
uint32_t shards_generation(const struct shards *shards);
/* Another accounting, or none; the one before is closed. */
void shards_take_account(struct shards *shards, struct account *account);
/* What an operator was told must be true after a crash: the state is on disk when this returns. */
void shards_save_now(struct shards *shards);

/* How long transactions have to end after it, and those whose message was sent whole: cut, they may come twice. */
#define SHARDS_STOP_US       (6 * US_PER_S)
#define SHARDS_STOP_FINAL_US (8 * US_PER_S)
void shards_stop(struct shards *shards);
bool shards_are_idle(struct shards *shards);
/* Sessions that wait for the reply to a message sent whole. */
unsigned shards_waiting_final(struct shards *shards);
/* Saves what must outlive the process, and ends every session that is still there. NULL is fine. After a power cut the
 * same road is taken on doors that are dead: a disk that refuses everything, connections that are gone. */
void shards_close(struct shards *shards);

/* NULL: nobody has a queue of that name now. Between halt and resume. */
struct queue *shards_find_queue(const struct shards *shards, struct span name);
