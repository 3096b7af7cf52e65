/*
 * shard - one event loop and all it owns: the wiring of doors, spool, queues,
 * delivery and reception. Passed around, never looked up. Those of one node are
 * opened and closed together, by shards.h.
 *
 * The doors are handed in: the node's are real, a world's are simulated, and
 * this file cannot tell.
 *
 * Ownership  new/free; the doors are the caller's and must outlive it. The
 *            policy is taken by shard_new(); one that was swapped away lives
 *            until nothing of before needs it.
 * Threads    The shard's own; the first shard's, while all stand still.
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
struct drops;
struct reception;
struct shard;
struct shards;

struct shard_options {
	struct loop     *loop;
	struct net      *net;
	struct worker   *worker;        /* for commits: the first shard's; any thread may give it work */
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
};

/* What on.message finds chosen already; a world's inject() says it. "" and NULL: nothing. */
struct shard_choices {
	const char *vmta, *pool, *job;
	uint8_t     priority;
};

struct shard {
	struct shards   *shards;        /* of which it is one, */
	unsigned         me;            /* and which */
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
	struct drops    *drops;         /* the same of what is to be dropped */
	struct reception *reception;
	struct account  *account;       /* the node's; NULL: none */
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
	mono_us_t        trim_at;       /* the first's: not before */
	struct {                        /* outcome_unread()'s */
		mono_us_t until;        /* its minute ends then; 0: none runs */
		unsigned  told;         /* lines in it; */
		uint64_t  left_out;     /* and what became none */
	} unread;
	mono_us_t        saved_at;
	size_t           saved_n;       /* bytes, then */
};

/* Wired, without a port and without a spool; nothing leaves yet. Shard `me` of shards, whose other members may not be there yet. */
struct shard *shard_new(struct shards *shards, unsigned me, const struct shard_options *options);
/* Mail leaves from now on. */
void shard_start(struct shard *shard);
/* What must outlive the process, as bytes. */
void shard_state(struct shard *shard, struct buf *out);

/* Another policy, in two steps: what may fail, and what may not. Each change ends once; `first`: the first shard's of the
 * same policy, NULL for that itself. NULL: *err names what stands in the way (`FILE: …`). The policy is taken by
 * shard_commit(). Nothing is dropped: what has begun ends under the policy it began with, or is looked up anew by
 * name (core/README.md). Node settings that were put over the old policy's stay. */
struct shard_change;
struct shard_change *shard_prepare(struct shard *shard, struct policy *fresh, const struct shard_change *first, struct err *err);
void shard_commit(struct shard_change *change);
void shard_abandon(struct shard_change *change);
/* The settings of the node under that policy. */
struct ruleset_node shard_settings_under(const struct shard *shard, const struct policy *fresh);
/* Gives back a pin; the last one's policy is closed, off the loop. */
void shard_unpin(struct shard *shard, struct policy *policy);

/* No new connections, no new transactions; those in flight end. shard_is_idle() tells when they have. */
void shard_stop(struct shard *shard);
bool shard_is_idle(const struct shard *shard);
/* Ends every session that is still there. The spool still takes what they leave behind. */
void shard_end(struct shard *shard);
/* After shard_end(), and when the spool is closed. */
void shard_free(struct shard *shard);
