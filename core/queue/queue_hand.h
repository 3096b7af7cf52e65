/*
 * queue_hand - what an operator sees of queues, and does to them by pattern.
 *
 * Threads    That of the shard whose the queues are, or the first one's while all stand still.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue.h"

/* '*' stands for any run of characters. */
bool queue_pattern_matches(struct span pattern, struct span name);
/* pattern: "site/vmta" with '*'. job NULL: all. They return how many recipients were touched; *queues_out how many queues. */
typedef void queue_visit_fn(void *ctx, struct queue *queue);
unsigned queues_match(struct queues *queues, struct span pattern, queue_visit_fn *fn, void *ctx);
uint64_t queues_pause(struct queues *queues, struct span pattern, const char *job, bool paused, unsigned *queues_out, struct now now);
/* Also on queues that come later and match. */
uint64_t queues_suspend(struct queues *queues, struct span pattern, int64_t lasts_us, unsigned *queues_out, struct now now);
/* All it has is held, job by job: when the last of what holds it ends; MONO_NEVER: not by itself. */
mono_us_t queue_held_until(const struct queue *queue);
/* A pause of that job which ends by itself; queues_pause() ends it too. */
uint64_t queues_suspend_job(struct queues *queues, struct span pattern, const char *job, int64_t lasts_us, unsigned *queues_out,
			    struct now now);
/* Overlays of that name (NULL: all) on what matches, whoever laid them; *queues_out: queues that had some. */
uint64_t queues_lift(struct queues *queues, struct span pattern, const char *name, unsigned *queues_out, struct now now);
uint64_t queues_retry(struct queues *queues, struct span pattern, bool recipients, const char *job, unsigned *queues_out, struct now now);
/* Hands over each waiting recipient, as SENDING; the taker ends it by queue_rcpt_over(). Those with a session are left. */
uint64_t queues_take(struct queues *queues, struct span pattern, const char *job, unsigned *queues_out,
		     void (*fn)(void *ctx, struct rcpt *rcpt), void *ctx, struct now now);
struct queue *queues_find(struct queues *queues, struct span name);     /* NULL: none by that name now */
/* The queue of that site (a provider, else a domain) by that virtual MTA, made where it is missing: for who asks about one
 * that never held anything. It is reaped soon. */
struct queue *queues_get(struct queues *queues, struct span site, const struct ruleset_vmta *vmta);

/* ---- what he sees ---- */

/* Each of its recipients, wherever it stands. fn must not move one. */
void queue_each(const struct queue *queue, void (*fn)(void *ctx, const struct rcpt *rcpt), void *ctx);
mono_us_t queue_oldest(const struct queue *queue);      /* acceptance of its oldest recipient; MONO_NEVER: empty */
mono_us_t queue_next_attempt(const struct queue *queue, mono_us_t now); /* MONO_NEVER: not known */
const char *queue_mode(const struct queue *queue);      /* "normal", "backoff", "suspended", "paused" */
