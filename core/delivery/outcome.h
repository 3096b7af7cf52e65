/*
 * outcome - what became of a recipient: journal, accounting, the report to the
 * sender, and the queue's own book, always together and in that order.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "shard.h"

/* One attempt's facts, for accounting. Strings may be NULL. */
struct attempt {
	const char *remote_host;        /* "mx.example.com" */
	const char *remote_address;     /* "192.0.2.1" */
	const char *local_address;
	const char *esmtp;              /* "ENHANCEDSTATUSCODES,PIPELINING,…" */
	uint64_t    size_bytes;
};

void outcome_delivered(struct shard *shard, struct rcpt *rcpt, const struct envelope *envelope,
		       const struct smtp_reply *reply, const struct attempt *attempt, struct now now);
void outcome_bounced(struct shard *shard, struct rcpt *rcpt, const struct envelope *envelope,
		     const struct smtp_reply *reply, const struct attempt *attempt, struct now now);
void outcome_deferred(struct shard *shard, struct rcpt *rcpt, const struct envelope *envelope,
		      const struct smtp_reply *reply, const struct attempt *attempt, struct now now);

/* For a recipient that no session holds: reads its envelope from the spool. */
void outcome_give_up(struct shard *shard, struct rcpt *rcpt, const char *status, const char *text, struct now now);
void outcome_queue_failed(struct shard *shard, struct queue *queue, const struct smtp_reply *reply, struct now now);
void outcome_received(struct shard *shard, const struct envelope *envelope, uint64_t size_bytes, struct now now);

/* By hand: every waiting recipient of the queues that match (and of the job, unless NULL). They return the
 * number of recipients. Bounced ones get status 5.7.1 "bounced by the operator" and a report to the sender;
 * dropped ones vanish but for a line in the accounting. */
uint64_t outcome_bounce_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now);
uint64_t outcome_drop_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now);
