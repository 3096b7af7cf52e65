/*
 * queue_own - what the files of this folder share and nobody else includes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue.h"

/* queues.c */
struct queue *queue_get(struct queues *queues, struct site *site, const struct ruleset_vmta *vmta,
			const struct queue_settings *settings);
struct site *site_get(struct queues *queues, struct span name, const struct ruleset_provider *provider);
const struct queue_settings *settings_intern(struct queues *queues, const struct ruleset_provider *provider,
					     struct span domain, const struct ruleset_vmta *vmta);
void queue_maybe_reap(struct queue *queue);             /* after something left it */
/* Counts it in its queue by state and arms its expiry; the caller puts it where the state says. */
void rcpt_enter(struct rcpt *rcpt, struct queue *queue, enum rcpt_state state);
void rcpt_unlink(struct rcpt *rcpt);                    /* the reverse; out of wherever it waits */
void rcpt_give_up(struct rcpt *rcpt, struct queue *queue, const char *status, const char *text);
void rcpt_journal(struct rcpt *rcpt, enum spool_outcome outcome, struct now now);
bool rcpt_expired(const struct rcpt *rcpt, mono_us_t now);
void rcpt_moved(struct rcpt *rcpt, struct now now);     /* unlinked: to where its route leads now */
void message_hold(struct message *message);
void message_unhold(struct queues *queues, struct message *message);
void message_poll(struct message *message, struct now now);     /* the queues of its recipients; held */

/* queue_hand.c */
enum { SAVED_SCOPE = 1, SAVED_PAUSE = 2 };
void queues_pauses_save(struct queues *queues, struct buf *out);
void queues_pause_restore(struct queues *queues, struct span pattern);
bool queues_paused_by_hand(struct queues *queues, const char *name);
void queues_pauses_free(struct queues *queues);

/* queue_save.c */
void scope_restore(struct queues *queues, const char *kind, const char *name, struct scope *scope, struct now now);
void queue_restore(struct queue *queue, struct now now);
void queues_saved_free(struct queues *queues);

void queues_changed(struct queues *queues);

/* route.c */
struct route *route_get(struct queues *queues, struct span domain, const struct ruleset_vmta *vmta, struct now now);
void route_place(struct rcpt *rcpt, struct now now);    /* into its stream, its heap, or its route's list */
void route_forget(struct route *route);                 /* frees it: no recipient points to it */
void route_refresh(struct route *route, struct now now);
void route_retry(struct route *route, struct now now);  /* FAILED: asks now */
bool route_moved(const struct rcpt *rcpt, const struct lane *lane);
void host_set_unref(struct queues *queues, struct host_set *set);

/* Fewer events in the same time; unlimited is the loosest. */
static inline bool
rate_tighter(const struct rate_spec *a, const struct rate_spec *b)
{
	if (rate_unlimited(a) || rate_unlimited(b))
		return !rate_unlimited(a);
	return (double)a->count / (double)a->window_us < (double)b->count / (double)b->window_us;
}

/* lane.c */
struct lane *lane_get(struct queue *queue, struct host_set *hosts);
void lane_add(struct lane *lane, struct rcpt *rcpt);
void lane_take(struct rcpt *rcpt);                      /* out of its stream */
uint32_t lane_transactions(const struct lane *lane);    /* how many its ready recipients need, about */
void lane_maybe_free(struct lane *lane);
struct rcpt *lane_next(struct lane *lane);              /* whose turn it is; stays where it is */
void lane_charge(struct stream *stream, unsigned n);    /* its stream was served */
