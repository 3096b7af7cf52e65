/*
 * shard - one event-loop thread and all it owns: the wiring of doors, spool,
 * queues, delivery and reception. Passed around, never looked up.
 *
 * The doors are handed in: the node's are real, a world's are simulated, and
 * this file cannot tell.
 *
 * Ownership  open/close; the doors are the caller's and must outlive it. The
 *            policy is taken by shard_open(), also where it fails; one that was
 *            swapped away lives until nothing of before needs it.
 * Threads    The shard's own.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "account/account.h"
#include "net/conn.h"
#include "net/resolver.h"
#include "net/worker.h"
#include "policy/policy.h"
#include "queue/queue.h"
#include "spool/spool.h"
#include "util/log.h"
#include "util/trace.h"

struct bounces;
struct coverage;
struct delivery;
struct finding;
struct reception;
struct shard;

struct shard_options {
	struct loop     *loop;
	struct net      *net;
	struct worker   *worker;
	struct worker   *aside;         /* for what may take long and nobody waits for; NULL: the worker */
	struct disk     *disk;
	struct resolver_source *names;
	struct log      *log;
	struct policy   *policy;
	struct ruleset_node settings;   /* the policy's, and what the command line puts over it */
	uint64_t         seed;
	/* Where mail comes in; NULL: where the policy says. Must outlive the shard. */
	const struct ruleset_listener *listeners;
	unsigned         listeners_n;
	/* The ports are bound and no file is made yet: who has to become another user does it
	 * now, and opens the accounting. May be NULL. */
	bool           (*on_bound)(void *ctx, struct shard *shard, struct err *err);
	void            *ctx;
};

/* What on.message finds chosen already; a world's inject() says it. "" and NULL: nothing. */
struct shard_choices {
	const char *vmta, *pool, *job;
	uint8_t     priority;
};

struct shard {
	struct loop     *loop;
	struct net      *net;
	struct worker   *worker, *aside;
	struct resolver *resolver;
	struct disk     *disk;
	struct spool    *spool;
	struct policy   *policy;
	struct queues   *queues;
	struct delivery *delivery;
	struct bounces  *bounces;       /* delivery's: what is to be bounced and is not over yet */
	struct reception *reception;
	struct account  *account;       /* NULL: none */
	struct log      *log;
	struct coverage *coverage;      /* NULL: nobody asks what of the policy is exercised */
	struct trace     trace;
	struct prng      prng;
	struct ruleset_node settings;
	const struct ruleset_listener *listeners;       /* NULL: the policy's */
	unsigned         listeners_n;
	const struct shard_choices *choices;    /* NULL but while a world injects */
	uint32_t         generation;
	mono_us_t        started;
	bool             closing;       /* no job is begun any more */
	bool             memory_full;   /* above memory_limit: no new mail, delivery goes on */
	uint32_t         sessions_in;
	uint64_t         received, delivered, bounced;  /* messages, recipients, recipients */
	/* the wiring's own */
	struct timer     tick;
	mono_us_t        saved_at;
	size_t           saved_n;       /* bytes, then */
	struct finding  *finding;       /* what the spool holds, while it is opened */
};

/* Everything is there when it returns, and nothing leaves yet: what the spool holds is queued, the ports are
 * bound. NULL: *err says why, and nothing is left behind. */
struct shard *shard_open(const struct shard_options *options, struct err *err);
/* Mail leaves from now on. */
void shard_start(struct shard *shard);
/* From now on another policy holds; taken when true. All of it or none: false leaves everything as it was, and *err names what
 * stands in the way (`FILE: …`). Nothing is dropped: what has begun ends under the policy it began with, or is looked
 * up anew by name (core/README.md). Node settings that were put over the old policy's stay. dry_run: only whether it could. */
bool shard_swap(struct shard *shard, struct policy *fresh, bool dry_run, struct err *err);
/* The settings of the node under that policy. */
struct ruleset_node shard_settings_under(const struct shard *shard, const struct policy *fresh);
/* Gives back a pin; the last one's policy is closed, off the loop. */
void shard_unpin(struct shard *shard, struct policy *policy);

/* No new connections, no new transactions; those in flight end. shard_is_idle() tells when they have. */
void shard_stop(struct shard *shard);
bool shard_is_idle(const struct shard *shard);
/* Saves what must outlive the process, and ends every session that is still there. NULL is fine. After a power cut the
 * same road is taken on doors that are dead: a disk that refuses everything, connections that are gone. */
void shard_close(struct shard *shard);
