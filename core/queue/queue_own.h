/*
 * queue_own - what the files of this folder share and nobody else includes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue_hand.h"

/* queues.c */
struct queue *queue_get(struct queues *queues, struct site *site, const struct ruleset_vmta *vmta,
			const struct queue_settings *settings);
struct site *site_get(struct queues *queues, struct span name, const struct ruleset_provider *provider);
const struct queue_settings *settings_intern(struct queues *queues, const struct ruleset_provider *provider,
					     struct span domain, const struct ruleset_vmta *vmta);
void queue_maybe_reap(struct queue *queue);             /* after something left it */
void queue_free(struct queue *queue);                   /* nothing is in it */
void queue_declare(struct queue *queue);                /* its scope's limits, and its site's, from its settings */
void route_use(struct route *route);                    /* one more recipient points there */
void route_unuse(struct route *route, mono_us_t now);
void route_keep(struct route *route, mono_us_t now);    /* one that nobody goes by after all is reaped like one that all have left */

/* queue_rcpt.c */
void rcpt_arm_expiry(struct rcpt *rcpt, mono_us_t now); /* by the settings of now */
/* Counts it in its queue by state and arms its expiry; the caller puts it where the state says. */
void rcpt_enter(struct rcpt *rcpt, struct queue *queue, enum rcpt_state state);
void rcpt_unlink(struct rcpt *rcpt);                    /* the reverse; out of wherever it waits */
void rcpt_give_up(struct rcpt *rcpt, struct queue *queue, const char *status, const char *text);
void rcpt_expire(struct rcpt *rcpt, struct queue *queue);       /* past bounce_after: the same, with its words */
void rcpt_journal(struct rcpt *rcpt, enum spool_outcome outcome, struct now now);
void rcpt_tell(struct rcpt *rcpt, const struct spool_rcpt_state *state);        /* what rcpt_told() says from now on */
struct spool_rcpt_state rcpt_told(const struct rcpt *rcpt);     /* any thread */
bool rcpt_expired(const struct rcpt *rcpt, mono_us_t now);
void rcpt_moved(struct rcpt *rcpt, struct now now);     /* unlinked: to where its route leads now */
void rcpt_forget(struct rcpt *rcpt, mono_us_t now);     /* out of the book; its message may be gone then */
mono_us_t rcpt_expiry_at(const struct rcpt *rcpt, mono_us_t now);       /* when to look whether it has expired */

/* queue_message.c */
static inline size_t message_bytes(unsigned rcpts_n) { return sizeof(struct message) + rcpts_n * sizeof(struct rcpt); }

/* What is pooled of a shard: a message of one recipient, a job and its stream by a name of so many bytes, mail to another
 * shard about a domain of so many. What is larger has memory of its own. */
#define POOLED_JOB    24u
#define POOLED_DOMAIN 64u
#define POOLED_MAX    1024u             /* spares of each */

/* A recipient, or a hold, is over: the last one ends the message. `queues`: the caller's. */
void message_unref(struct queues *queues, struct message *message);

/* queue_travel.c */
/* Between the two, what leaves for one shard is gathered for one mail. They nest. */
static inline void travels_gather(struct queues *queues) { queues->gathering++; }
void travels_post(struct queues *queues);
/* In no list, nowhere counted: to whom the domain belongs as long as nobody has asked. */
void rcpt_send_off(struct queues *queues, struct rcpt *rcpt, unsigned to, struct span domain, const struct ruleset_vmta *vmta);
void rcpt_leave(struct rcpt *rcpt, struct now now);             /* in no list: where its route leads */
void travels_init(struct queues *queues);
void travels_free(struct queues *queues);

/* queue_guest.c */
/* Under a halt: its mail is that other shard's now, and it counts there too; it is not, or no longer. */
void queue_slot_visit(struct queue_slot *slot, struct queue *heir);
void queue_slot_come_home(struct queue_slot *slot);
struct queue *queue_slot_visits(const struct queue_slot *slot);         /* NULL: none */
void queue_slot_visit_ends(struct queues *queues, struct queue_slot *slot);     /* it has ended */
void queue_guests_free(struct queue *queue);

/* queue_share.c */
void overlay_share(struct queues *queues, const struct overlay *overlay);      /* it lies on a virtual MTA: with the others too */
void overlays_share_lift(struct queues *queues, const char *vmta, const char *name);  /* likewise; NULL: all */

/* queue_scopes.c: taken of all scopes or of none */
bool queue_take_connect(struct queue *queue, mono_us_t now);
bool queue_take_session(struct queue *queue, mono_us_t now);
void queue_give_session(struct queue *queue);
void queue_give_back_session(struct queue *queue, mono_us_t now);       /* taken a moment ago, and not used */
bool queue_take_messages(struct queue *queue, uint32_t n, mono_us_t now);
uint32_t queue_messages_available(const struct queue *queue, mono_us_t now);
void lane_count_connecting(struct lane *lane, int delta);       /* in its queue and scopes too */
void queue_count_closing(const struct queue *queue, int delta);
void queue_wake_others(struct queue *queue, struct now now);    /* who waits for what its shared scopes have free */

/* queue_slot.c */
bool queue_is_held(const struct queue *queue, mono_us_t now);   /* nothing of it should be open */
bool queue_is_above_a_cap(const struct queue *queue);           /* those left out that are ending already */
bool queue_slot_gives_way(const struct queue_slot *slot, bool shared_enough);   /* it is to end: somebody else needs its place */
void queue_slot_move(struct queue_slot *slot, struct queue *to);

/* Kinds of entries among what is saved: queue_save.c */
enum {
	SAVED_SCOPE = 1, SAVED_PAUSE = 2, SAVED_OVERLAY = 3, SAVED_RECENT = 4, SAVED_JOB_PAUSE = 5, SAVED_RESUME = 6, SAVED_JOB_RESUME = 7,
	SAVED_WARMUP = 8, SAVED_JOB_SUSPEND = 9, SAVED_PART = 10, SAVED_SPENT = 11, SAVED_DIGEST = 12,
};

/* queue_pauses.c */
void queues_pauses_init(struct queues *queues);
void queues_pauses_save(struct queues *queues, mono_us_t now, struct buf *out);
/* until: MONO_NEVER: by hand. */
void queues_pause_restore(struct queues *queues, struct span pattern, const char *job, bool lifted, mono_us_t until);
bool queues_paused_by_hand(struct queues *queues, const char *name);
bool queues_hold_jobs(struct queues *queues, const char *name);                 /* some job's pause is for that queue */
bool queues_hold_job(struct queues *queues, const char *name, const char *job);
void queues_pauses_free(struct queues *queues);

/* queue_hand.c */
void queues_save_now(struct queues *queues, struct now now);
/* Its waiting recipients, of the job (NULL: all), away ones not; the caller frees the array. */
struct rcpt **queue_collect(struct queue *queue, const char *job, bool deferred_only, size_t *n_out);

/* queue_overlays.c */
void queue_apply(struct queue *queue, mono_us_t now);                           /* settings and limits anew */
void queues_overlays_init(struct queues *queues);
void queues_overlays_start(struct queues *queues, struct now now);              /* they were loaded */
/* The setting of a recipient's own domain, as tight as the queue's overlays make it. */
void queue_tighten(const struct queue *queue, enum setting_id setting, void *value, mono_us_t now);

void queue_site_apply(struct queue *queue, mono_us_t now);                      /* the limits of its site */
bool setting_is_total(enum setting_id setting);         /* of a site, whatever queue says it */
void queues_overlays_arm(struct queues *queues);        /* the timer, after what lies there changed */
struct overlays_applying { struct queues *queues; mono_us_t now; };
/* An overlay_change_fn: what the target's overlays lie on is applied anew. */
void queues_overlays_changed(void *applying, const struct overlay_target *target);

/* queue_lay.c */
void queue_overlays_begin(struct queue *queue, mono_us_t now);                  /* a queue is new: what lies there holds */

/* queue_declared.c: the scopes of the node, the virtual MTAs and the pools */
void queues_scopes_init(struct queues *queues, struct now now);                 /* as the ruleset declares them */
void queues_scopes_fini(struct queues *queues);
bool queues_keep_scopes(const struct queues *queues);   /* this shard is the one that saves and restores them */
void queues_scopes_save(const struct queues *queues, struct now now, struct buf *out);
void queues_scopes_restore(struct queues *queues, struct now now);              /* the bytes were loaded */
/* What was declared, by the ruleset before, is declared anew by this one: scopes of a name stay. */
struct scopes_before { const struct ruleset *ruleset; struct scope **vmtas, **pools; };
void queues_scopes_redeclare(struct queues *queues, struct scopes_before *before, struct now now);
void queues_scopes_drop(struct queues *queues, struct scopes_before *before, struct now now);   /* nobody points to what has not stayed */
/* `before` was declared, and now something else is. spends: a rate that is new begins as if it were used up. */
void scope_declared(struct scope *scope, const struct scope_limits *before, bool spends, struct now now);

void scope_spend(struct scope *scope, mono_us_t now);   /* its rates: mail comes that others have counted until now */

/* queue_heir.c: while a swap is under way */
void queue_loses_route(struct queue *from, struct lane *lane, struct route *route);    /* lane: to its hosts, NULL: it had none */

/* queue_swap.c */
/* Made by the last swap, or since. */
static inline bool queue_is_new(const struct queue *queue) { return queue->queues->swaps > 0 && queue->made_in == queue->queues->swaps; }
/* What waits in a queue that no route leads to goes where its routes lead. True: there is more. */
bool queue_move_on(struct queue *queue, struct now now);

/* queue.c */
struct rcpt *queue_first_ready(struct queue *queue);    /* NULL: none; stays where it is */

/* queue_reroute.c */
bool rcpt_is_astray(struct rcpt *rcpt, struct now now);         /* its turn has come, but by another route */
void rcpt_reroute(struct rcpt *rcpt, struct now now);           /* in no list: takes the route that is right now */
/* Ready recipients, while the queue reroutes. True: there are more. */
bool queue_send_away(struct queue *queue, struct now now);
void queue_recall(struct queue *queue, struct now now);         /* those that wait elsewhere come back */

/* queue_save.c */
void scope_restore(struct queues *queues, const char *kind, const char *name, struct scope *scope, struct now now);
void queue_restore(struct queue *queue, struct now now);
void queues_saved_free(struct queues *queues);
void scope_save(struct buf *out, const char *kind, const char *name, const struct scope *scope, mono_us_t now);        /* if it limits */
/* As a restart would find it: should it come back it is not fresh. */
void scope_remember(struct queues *queues, const char *kind, const char *name, const struct scope *scope, struct now now);
void queue_remember(const struct queue *queue, struct now now);

void queues_changed(struct queues *queues);
/* While frozen a poll is put off, so that recipients collected beforehand stay where they are. Poll after the thaw. */
static inline bool
queue_freeze(struct queue *queue)
{
	bool was = queue->polling;

	queue->polling = true;
	return was;
}
static inline void queue_thaw(struct queue *queue, bool was) { queue->polling = was; }

/* route.c */
/* near: a site of ours that its mail may be counted at while the name is asked for, where the one called by the domain is
 * another shard's. NULL: it is ours. */
struct route *route_get(struct queues *queues, struct span domain, const struct ruleset_vmta *vmta, struct site *near, struct now now);
/* The same by what another shard was answered (NULL: nothing), if that is newer than what is known here. */
struct route *route_told(struct queues *queues, struct span domain, const struct ruleset_vmta *vmta,
			 const struct route_answer *answer, struct now now);
void route_answer_unref(struct route_answer *answer);
/* Whose site its mail is counted at until DNS has said. */
unsigned domain_owner(const struct queues *queues, struct span domain);
void route_place(struct rcpt *rcpt, struct now now);    /* into its stream, its heap, or its route's list */
void route_forget(struct route *route);                 /* frees it: no recipient points to it */
bool route_moved(const struct rcpt *rcpt, const struct lane *lane);
void host_set_unref(struct queues *queues, struct host_set *set);

/* route.c, for route_ask.c */
void route_settle(struct route *route, struct queue *queue, struct host_set *hosts, struct now now);
void route_lead_to(struct route *route, struct queue *queue);   /* NULL: to none of ours */
void route_answered(struct route *route, struct now now);       /* DNS has answered us, now */
bool route_is_asker(const struct route *route);                 /* its domain's name is ours */
struct queue *route_queue_before_dns(struct route *route);
void route_away(struct route *route, unsigned shard, struct route_answer *answer, struct now now);
bool route_leads_away(struct route *route, const struct ruleset_provider *provider, struct span site_name,
		      const struct smtp_host *hosts, unsigned n, bool by_address, int64_t ttl_us, struct now now);
void route_ready(struct route *route, const struct ruleset_provider *provider, struct span site_name,
		 const struct smtp_host *hosts, unsigned n, bool from_dns, int64_t ttl_us, struct now now);
void route_dead(struct route *route, const char *why, struct now now);

/* route_ask.c */
void route_asks(struct route *route);                           /* it is new */
void route_refresh(struct route *route, struct now now);
void route_take_ruleset(struct route *route, struct now now);   /* another one holds */
void route_retry(struct route *route, struct now now);          /* FAILED: asks now */
bool route_by_ruleset(struct route *route, struct now now);     /* its hosts need no question. False: they do */
void route_take_answer(struct route *route, const struct route_answer *answer, int64_t ttl_us, struct now now);

/* Fewer events in the same time; unlimited is the loosest. */
static inline bool
rate_tighter(const struct rate_spec *a, const struct rate_spec *b)
{
	if (rate_unlimited(a) || rate_unlimited(b))
		return !rate_unlimited(a);
	return (double)a->count / (double)a->window_us < (double)b->count / (double)b->window_us;
}

/* lane.c */
struct lane *lane_find(const struct queue *queue, struct host_set *hosts);      /* NULL: none */
struct lane *lane_get(struct queue *queue, struct host_set *hosts);
void lane_add(struct lane *lane, struct rcpt *rcpt);
void lane_take(struct rcpt *rcpt);                      /* out of its stream */
void lane_maybe_free(struct lane *lane);
void lane_line_up(struct lane *lane);                   /* after its mail or its sessions changed */
void lane_served(struct lane *lane);                    /* others that want a session come first now */
struct lane *lane_first(struct queue *queue, enum lane_line line);      /* NULL: none */
struct lane *lane_that_wants(struct queue *queue);      /* whose turn it is; stays where it is */
void lanes_init(struct queue *queue);
void lanes_free_empty(struct queue *queue);             /* nobody holds on to a lane */
struct rcpt *lane_next(struct lane *lane);              /* whose turn it is; stays where it is */
void lane_charge(struct stream *stream, unsigned n);    /* its stream was served */
