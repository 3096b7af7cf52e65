/*
 * bounces_own - what bounces.c (who waits, and turns) and bounces_report.c (a
 * bounce, its report and its end) share.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "delivery/bounces.h"

struct verdict;

struct bounces {
	struct shard   *shard;
	struct table    open;           /* of doomed, by the message's address: those that take more */
	struct list     doomed;
	struct list     unsent;         /* struct bounce */
	struct timer    timer;
	struct verdict *last;           /* NULL: none yet */
	uint64_t        storing_bytes;
	uint64_t        failures;
	bool            trouble;        /* the last report could not be stored */
};

struct bounce {
	struct list     node;           /* bounces->unsent */
	struct shard   *shard;
	struct arena    arena;          /* everything below */
	struct envelope envelope;       /* of the message that failed */
	struct attempt  attempt;
	struct rcpt   **rcpts;
	struct smtp_reply *replies;
	const char    **categories;
	unsigned        n;
	uint64_t        bytes;          /* counted in bounces->storing_bytes */
};

/* bounces.c */
void bounces_schedule(struct bounces *bounces, struct now now); /* the next turn, if there is work and room for it */
void bounces_trouble(struct bounces *bounces, const char *why, struct now now);     /* a report could not be stored: one is tried now and then */

/* bounces_report.c; each but new and expire ends the bounce or hands it on */
struct bounce *bounce_new(struct shard *shard, const struct envelope *envelope, const struct outcome *outcomes, unsigned n,
			  const struct attempt *attempt);
/* The report, if one is wanted, and when that is durable the end. */
void bounce_go(struct bounce *b, struct spool_reader *reader, struct now now);
void bounce_settle(struct bounce *b, struct now now);   /* the end, no report or a durable one behind it */
void bounce_wait(struct bounce *b, const char *why, struct now now);    /* its report cannot be stored: it is tried again */
void bounce_postpone(struct bounce *b, struct now now); /* back to the queue, as if nothing had been said */
