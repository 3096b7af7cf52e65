/*
 * outcome - what became of a recipient: accounting, the report to the sender,
 * the journal and the queue's own book, always together.
 *
 * A recipient that is bounced is over only when the report to its sender is
 * durable; until then it counts as being sent. A crash in between repeats the
 * attempt, it never loses the report. While the report cannot be stored the verdict
 * stands: only the report is tried again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "shard.h"

/* One attempt's facts, for accounting. Strings may be NULL. */
struct attempt {
	const char *remote_host;        /* "mx.example.com" */
	const char *remote_address;     /* "192.0.2.1" */
	const char *local_address;
	const char *esmtp;              /* "PIPELINING,SIZE,…" */
	uint64_t    size_bytes;
};

struct outcome {
	struct rcpt *rcpt;              /* SENDING */
	const struct smtp_reply *reply;
	const struct duration_list *floor;      /* deferred: no sooner than that; NULL or n 0: as its settings say */
	bool reroute;                   /* deferred: by the queue's other virtual MTA at once */
	bool expired;                   /* bounced: a 4xx was its last allowed attempt */
};

/* All recipients are of the envelope's message. The reader gives the report its copy of the header. */
void outcome_delivered(struct shard *shard, const struct envelope *envelope, const struct outcome *outcome,
		       const struct attempt *attempt, struct now now);
void outcome_deferred(struct shard *shard, const struct envelope *envelope, const struct outcome *outcome,
		      const struct attempt *attempt, struct now now);
/* attempt NULL: none was made. */
void outcome_bounced(struct shard *shard, const struct envelope *envelope, struct spool_reader *reader,
		     const struct outcome *outcomes, unsigned n, const struct attempt *attempt, struct now now);

/* A message that the spool cannot hand out now, to the log: a few a minute, for a segment on bad sectors holds thousands, each
 * tried again once a minute. what: "stays in its queue". */
void outcome_unread(struct shard *shard, const struct message *message, const char *what, const struct err *why, struct now now);
/* Once a second, and MONO_NEVER at the end: when their minute is over, how many more there were. */
void outcome_unread_review(struct shard *shard, mono_us_t now);

/* For a recipient that no session holds: reads its envelope from the spool. */
void outcome_give_up(struct shard *shard, struct rcpt *rcpt, const char *status, const char *text, struct now now);
/* The same, but it stays queued; floor: as an outcome's. */
void outcome_put_off(struct shard *shard, struct rcpt *rcpt, const struct smtp_reply *reply, const struct duration_list *floor,
		     struct now now);
/* Every recipient that waits in the queue, with that reply. */
void outcome_bounce_queue(struct shard *shard, struct queue *queue, const struct smtp_reply *reply, struct now now);
void outcome_queue_failed(struct shard *shard, struct queue *queue, const struct smtp_reply *reply, struct now now);
void outcome_received(struct shard *shard, const struct envelope *envelope, uint64_t size_bytes, struct now now);

/* By hand: every waiting recipient of the queues that match (and of the job, unless NULL). They return the
 * number of recipients. Bounced ones get status 5.7.1 and a report to the sender; dropped ones vanish but
 * for a line in the accounting. Both are done by turns of the loop;
 * outcome_drop_on() does a turn's share of the second, false: there was nothing left to drop. */
uint64_t outcome_bounce_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now);
uint64_t outcome_drop_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now);
bool outcome_drop_on(struct shard *shard, struct now now);
