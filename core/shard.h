/*
 * shard - one event-loop thread and all it owns. Passed around, never looked up.
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

struct bounces;
struct coverage;
struct delivery;
struct reception;

struct shard {
	struct loop     *loop;
	struct net      *net;
	struct worker   *worker;
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
	struct prng      prng;
	uint32_t         generation;
	mono_us_t        started;
	bool             memory_full;   /* above memory_limit: no new mail, delivery goes on */
	uint32_t         sessions_in;
	uint64_t         received, delivered, bounced;  /* messages, recipients, recipients */
};
