/*
 * queue - what is due, for whom, by which site: the engine's scheduler.
 *
 *   recipient -> route (its domain by a virtual MTA) -> queue (site x virtual
 *   MTA) -> lane (a queue's mail for one set of hosts) -> stream (job, priority)
 *
 * A recipient is, at any time, in exactly one place:
 *   ROUTING   on its route's list: the site is not known yet (gate: dns)
 *   READY     in a stream of a lane: may go as soon as the gate is open
 *   HELD      likewise, while its job is paused by hand
 *   DEFERRED  in its queue's heap, until its own retry time
 *   SENDING   with a session
 * and, wherever it is but SENDING, on the expiry wheel.
 *
 * A session holds a slot of its queue. The queue starts sessions, hands them
 * recipients, and is told the outcome; it knows neither sockets nor Lua.
 *
 * Of a node's shards each has its queues. A site, with all that is counted and waits there, is one
 * shard's (queues_owner()); who is not yet, or no longer, where his site is goes there by
 * mail and is in no place meanwhile (queue_travel.c).
 *
 * Ownership  struct queues owns all of it. Sessions embed struct queue_slot.
 *            Empty queues, sites, lanes, streams and routes are reaped. A message stays with the shard it
 *            was added to; each of its recipients is the shard's where it waits.
 * Threads    One shard's, but for message_states(). While the shards stand still the first one's thread may do anything.
 * Time       Monotonic and wall, handed in; the wall's only for what is kept on disk.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

#include "mail/envelope.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "policy/ruleset.h"
#include "queue/gate.h"
#include "queue/interned.h"
#include "queue/overlay.h"
#include "queue/recent.h"
#include "queue/scope.h"
#include "queue/scopes_shared.h"
#include "smtp/smtp_client.h"
#include "spool/spool.h"
#include "util/pace.h"
#include "util/pool.h"
#include "util/prng.h"
#include "util/wheel.h"

struct queues;
struct queue;
struct lane;
struct stream;
struct route;
struct message;
struct peers;
struct scopes_shared;

enum rcpt_state { RCPT_ROUTING, RCPT_READY, RCPT_DEFERRED, RCPT_SENDING, RCPT_OVER, RCPT_HELD };

struct rcpt {
	struct list       node;         /* ROUTING: route->waiting; READY, HELD: stream->ready; SENDING: queue->sending */
	struct heap_node  due;          /* DEFERRED: queue->deferred */
	struct wheel_node expiry;
	struct message   *message;
	struct route     *route;
	struct route     *home;         /* its own virtual MTA's, while it is rerouted; else NULL */
	struct queue     *queue;        /* that counts it */
	struct stream    *stream;       /* READY, HELD */
	_Atomic uint64_t  told;         /* what the journal has of it, in one piece: queue_rcpt.c */
	uint16_t          index;        /* in message->rcpts and in the envelope */
	uint16_t          attempts;
	uint8_t           state;        /* enum rcpt_state */
	_Atomic uint8_t   shard;        /* whose it is: all else but `told` is for that one only; RCPT_UNDER_WAY */
};

#define RCPT_UNDER_WAY UINT8_MAX

static inline bool
rcpt_is_of(const struct rcpt *rcpt, unsigned shard)
{
	return atomic_load_explicit(&rcpt->shard, memory_order_relaxed) == shard;
}

struct message {
	union {
		struct spool_message spool;
		struct loop_call end;   /* once it is over: on its way home */
	};
	mono_us_t    accepted;          /* when it was received; may be negative after a restart */
	wall_ms_t    received;
	struct job  *job;
	_Atomic uint32_t refs;          /* recipients that are not over, and who holds it */
	uint8_t      priority;
	uint16_t     rcpts_n;           /* as spool's, which `end` takes the place of */
	struct rcpt  rcpts[];
};

/* A job's name, shared by its messages. */
struct job {
	uint32_t refs;
	struct queues *queues;          /* where its messages were added, and end */
	char     name[];                /* "": none */
};

/* The hosts a lane sends to: by MX or by smtp_hosts; interned and counted. */
struct host_set {
	char       *key;
	uint32_t    refs;
	bool        from_dns;
	unsigned    n;
	struct smtp_host hosts[];       /* group: MX preference, ascending */
};

enum route_state {
	ROUTE_RESOLVING,
	ROUTE_READY,
	ROUTE_FAILED,   /* DNS; tried again at retry_at */
	ROUTE_DEAD,     /* bounce */
	ROUTE_AWAY,     /* it leads to another shard's site */
};

/* What DNS said of a domain; for whoever it is sent to, so it is never changed. */
struct route_answer {
	_Atomic uint32_t refs;
	mono_us_t  at, expires;
	unsigned   asker;               /* the shard; between two answers of one instant the greater one counts */
	bool       by_address;          /* no MX: no hosts either */
	unsigned   n;
	struct smtp_host hosts[];
};

struct route {
	struct queues *queues;
	char          *name;            /* the domain, normal form; behind the key */
	const struct ruleset_vmta *vmta;
	const struct queue_settings *settings;  /* interned; for level R */
	struct queue  *queue;           /* while RESOLVING or FAILED for the first time: named by the domain; NULL: AWAY */
	struct host_set *hosts;         /* READY */
	enum route_state state;
	bool           by_address;      /* READY: the domain has no MX */
	mono_us_t      expires;         /* READY, AWAY by DNS: ask again then */
	mono_us_t      answered;        /* when DNS said so; MONO_NEVER: the ruleset did */
	unsigned       asker;           /* the shard that asked */
	unsigned       shard;           /* AWAY: whose the site is */
	struct route_answer *answer;    /* AWAY: for that shard; NULL: it knows better */
	mono_us_t      retry_at;        /* FAILED */
	char           dead[96];        /* DEAD: "5.1.2 no such domain": status and text */
	struct list    waiting;         /* struct rcpt */
	struct resolver_query *query;
	struct timer   timer;           /* FAILED: asks again */
	uint32_t       rcpts_n;         /* that point here, in any state */
	struct list    in_queue;        /* queue->routes */
	struct list    reap;            /* queues->reap_routes while it has no recipients */
	mono_us_t      left_at;         /* since then */
	char           key[];           /* "domain/vmta" */
};

struct stream {
	struct lane *lane;
	struct list  in_lane;           /* lane->streams while it has recipients; lane->held while its job is paused */
	struct list  ready;             /* struct rcpt */
	uint32_t     ready_n;
	uint32_t     weight;            /* 1 + priority */
	bool         held;
	int64_t      credit;
	size_t       key_n;
	char         key[];             /* priority byte and job */
};

/* What a queue's turn asks of its lanes; who answers yes stands in that line, so that nobody looks at the others. */
enum lane_line {
	LANE_MAIL,      /* has ready recipients */
	LANE_IDLE,      /* has idle sessions */
	LANE_FEEDS,     /* has both */
	LANE_UNSERVED,  /* has ready recipients and no session at all */
	LANE_WANTS,     /* has more mail than sessions on their way; the one whose turn it is first */
	LANE_EMPTY,     /* has nothing: goes at the end of the turn */
	LANE_LINES_N
};

#define WEIGHT_MAX 101                  /* 1 + the highest priority */

/* How many streams of each weight a ring has. */
struct lane_weights {
	uint32_t n[WEIGHT_MAX + 1];
	uint64_t some[2];               /* bit set: n is not 0 */
};

struct lane {
	struct queue    *queue;
	struct host_set *hosts;         /* also its key in queue->lane_table */
	struct list      in_queue;
	struct list      in_line[LANE_LINES_N];         /* queue->lane_lines */
	struct list      streams;       /* ring, the one whose turn it is first */
	struct list      held;          /* streams of paused jobs */
	struct table     stream_table;
	uint32_t         ready_n, held_n;
	uint32_t         runs_n;        /* of neighbours of one message among the ready */
	struct lane_weights *weights;   /* NULL: one stream, or none, is in the ring */
	struct list      idle;          /* struct queue_slot, waiting for a message */
	uint32_t         connecting, sessions;
	/* while a swap is under way, where it has sessions */
	struct queue    *heir;          /* where a route to its hosts leads now; may be another shard's */
	bool             stays;         /* one leads here */
};

struct site {
	char  *name;                    /* behind it, in its own memory */
	const struct ruleset_provider *provider;        /* NULL: a domain, or a roll-up */
	struct scope scope;             /* total_* */
	struct list  queues;            /* struct queue */
	uint32_t     queues_n;
	char        *domain;            /* while a swap is under way that its provider has not outlived: one of that one's */
};

/* Gathered from the overlays of a queue, its site and its virtual MTA. */
struct queue_hold {
	unsigned     overlays_n;
	mono_us_t    suspended_until;   /* 0: it is not */
	struct where suspended_where;
	mono_us_t    sources_until;     /* no source may be used until then; 0: some may */
	struct where sources_where;
	unsigned     sources_off;
	const char  *reroute;           /* NULL: none; owned: the overlay may have another one by now */
};

/* What each turn looks at stands together, in front: with many queues every cache line is a miss. */
struct queue {
	struct queues *queues;
	const struct queue_settings *settings;  /* as declared; interned */
	struct queue_settings *effective;       /* what is in force; own, while overlays lie on it, else NULL */
	uint32_t       routing_n, ready_n, deferred_n, sending_n, held_n;
	uint32_t       slots_n;
	uint32_t       connecting;      /* sessions */
	uint32_t       wants_per;       /* max_rcpt_per_message by which LANE_WANTS was told apart */
	uint64_t       lanes_seen;      /* by all its turns: the work they were, for tests */
	bool           polling, again;
	bool           paused_by_hand;
	bool           held_jobs;       /* some pause of a job is for it */
	bool           deferred_by_rule;        /* until retry_until: open sessions end too */
	bool           recall;          /* what was rerouted is to come back */
	bool           reactions_known;
	uint32_t       retry_step;      /* consecutive failures */
	mono_us_t      retry_until;     /* 0: not in retry */
	mono_us_t      retry_set_at;
	struct scope  *scopes[SCOPES_N];        /* own, site's, virtual MTA's, pool's or NULL, node's */
	struct list    lane_lines[LANE_LINES_N];
	struct heap    deferred;
	struct scope_waiter waiter;
	struct timer   timer;           /* the next thing that time alone changes */
	struct queue_hold hold;         /* what overlays hold back */
	struct scope   scope;
	struct list    slots;           /* struct queue_slot */
	struct list    sending;         /* struct rcpt */
	struct list    routes;          /* that lead here */
	struct wheel_node reap;         /* while it is empty and no route leads here */
	struct pace    over;            /* recipients that came to their end here, and not by `drop` */
	char          *name;            /* "site/vmta"; behind it, in its own memory */
	struct site   *site;
	const struct ruleset_vmta *vmta;
	const struct reaction_list *reactions;
	struct list    lanes;           /* all */
	struct table   lane_table;      /* by host set */
	char          *last_error;      /* NULL: none yet */
	struct list    in_site;         /* site->queues */
	/* while a swap is under way */
	struct queue  *heir;            /* where the first of its routes leads now, when all have left; may be another shard's */
	bool           expires_sooner;
	bool           inherits;        /* what lies on it is to be applied */
	uint32_t       made_in;         /* queues->swaps */
	struct list    guests;          /* struct guest: sessions of other shards' queues that count here */
	uint32_t       guests_n;
};

static inline uint32_t
queue_n(const struct queue *q)
{
	return q->routing_n + q->ready_n + q->deferred_n + q->sending_n + q->held_n;
}

static inline const struct queue_settings *queue_settings_now(const struct queue *q) { return q->effective ? q->effective : q->settings; }
/* The totals among them as overlays on the site tighten them: those are no queue's own. */
void queue_totals_now(const struct queue *q, struct queue_settings *settings);

/* A session's hold on its queue. */
enum slot_state { SLOT_CONNECTING, SLOT_IDLE, SLOT_BUSY, SLOT_CLOSING };
struct queue_slot {
	struct list     node;           /* lane->idle while IDLE */
	struct list     in_queue;       /* queue->slots */
	struct lane    *lane;
	enum slot_state state;
	bool            waits_for_rate; /* IDLE although there is mail */
	mono_us_t       started;
	uint32_t        messages;
	struct guest   *guest;          /* counts at another shard's queue, too, and is to end; NULL: it does not */
};

/* What the queue asks of delivery. */
struct queue_ops {
	/* Opens a session for the lane (already counted in every scope, its first connect paid); `first` is the
	 * recipient it is opened for. Never fails at once: trouble comes as queue_slot_failed(), later. */
	struct queue_slot *(*start)(void *ctx, struct lane *lane, struct rcpt *first);
	/* One transaction: recipients of one message, all SENDING now. */
	void (*send)(void *ctx, struct queue_slot *slot, struct rcpt **rcpts, unsigned n);
	/* Nothing for it: the session should end (queue empty past idle_timeout is the session's own timer; this
	 * is for a lowered cap, a pause, or another lane's turn). */
	void (*quit)(void *ctx, struct queue_slot *slot);
	/* An IDLE slot: wait idle_timeout (no mail), or as long as 4 minutes (a rate holds it). */
	void (*idle)(void *ctx, struct queue_slot *slot);
	/* Give up: past bounce_after or max_attempts, or its domain is dead. status "4.4.7", text for people. The
	 * recipient is in no list; delivery ends it by queue_rcpt_over(). */
	void (*give_up)(void *ctx, struct rcpt *rcpt, const char *status, const char *text);
	/* A queue-level failure that counts: for accounting (tq) and the log. */
	void (*queue_failed)(void *ctx, struct queue *queue, const struct smtp_reply *reply);
	/* The names of its domains could not be looked up; no session was there to show it to the policy. May be NULL. */
	void (*dns_failed)(void *ctx, struct queue *queue, const struct smtp_reply *reply);
	void *ctx;
};

struct queues_options {
	const struct ruleset *ruleset;
	struct spool    *spool;         /* may be NULL: tests without one */
	struct resolver *resolver;
	struct loop     *loop;
	struct log      *log;
	struct peers *peers;            /* NULL: the only shard */
	unsigned      me;
	struct queues *const *all;      /* peers->n; complete before the first event */
	struct scopes_shared *shared;   /* of node, pools, virtual MTAs; NULL with one shard */
	uint64_t         seed;
	struct queue_ops ops;
	/* Something that must outlive a crash changed: better saved now than at the next second. May be NULL. */
	void           (*on_changed)(void *ctx);
	void            *changed_ctx;
	/* A setting had a say in what becomes of mail: for the coverage of policies. May be NULL. */
	void           (*on_used)(void *ctx, const struct where *where, const char *name);
	void            *used_ctx;
};

struct queues {
	struct queues_options o;
	struct prng    prng;
	struct table   queues, sites, routes, host_sets, jobs;
	struct interned settings;
	struct buf     route_key;       /* of the route that is looked for */
	struct buf     meta;            /* of the message that is made durable */
	struct pool    messages_pool, jobs_pool, streams_pool, travels_pool;
	struct table   saved;           /* what the last run knew, until its owner is there again */
	struct now     saved_at;        /* when that was, on this run's clocks */
	mono_us_t      spent_at;        /* what a limiter that comes now could have let go until then counts as spent; 0: nothing */
	uint64_t       digest;          /* of the ruleset */
	bool           changed;         /* since queues_save() */
	struct scope   node;
	struct scope **vmtas, **pools;  /* by index */
	struct list    accepting;       /* struct accept: on their way to the disk */
	struct wheel   expiry;
	struct timer   expiry_timer;
	struct list    pauses;          /* patterns paused by hand */
	struct timer   pauses_timer;    /* the first of them that ends by itself */
	struct overlays overlays;
	struct timer   overlays_timer;
	mono_us_t      overlays_warn_at;        /* not before: a further one was left out */
	struct recent  recent;          /* matches of the reactions */
	struct table   warmups;         /* queue's name -> what went out today */
	struct wheel   reap;            /* queues */
	struct list    reap_routes;
	struct timer   reaper;
	uint64_t       rcpts_n, deferred_n, sessions_n;
	unsigned       shards_n;        /* of the node */
	struct list    bequests;        /* struct bequest, until queues_swapped() */
	struct travel_box *boxes;       /* by shard: who leaves for it; NULL: the only shard */
	unsigned       gathering;       /* callers who have not said all yet */
	bool           leaving;         /* there is something in them */
	uint32_t       swaps;
	bool           stopping;        /* no new sessions, no new transactions */
	bool           swapping;        /* until queues_swapped(): nobody has a turn */
	bool           closing;
};

/* Whose a site of that name is; before DNS was asked, whose a recipient is whose domain (or its provider) is called so. */
unsigned queues_owner(const struct queues *queues, struct span site_name);

static inline void
settings_used(const struct queues *queues, const struct queue_settings *settings, enum setting_id id)
{
	if (queues->o.on_used != NULL)
		queues->o.on_used(queues->o.used_ctx, &settings->where[id], setting_name(id));
}

static inline void queue_used(const struct queue *q, enum setting_id id) { settings_used(q->queues, queue_settings_now(q), id); }

struct queues *queues_new(const struct queues_options *options, struct now now);
/* Nobody's mail is under way, and nothing is sent any more: what waits is let go, from memory only. With several shards each
 * is closed before the first is freed, for a message may be another one's. */
void queues_close(struct queues *queues);
void queues_free(struct queues *queues);        /* closes it too; NULL is fine */

/* Takes the message in: routes every recipient that is not over. Its memory: message_new()'s, or messages_pool's. */
struct message *message_new(unsigned rcpts_n);
void message_free(struct message *message);     /* one that was not added */
/* While held it stays, though its last recipient is over. */
void message_hold(struct message *message);
void message_unhold(struct queues *queues, struct message *message);
/* vmta and domains from the envelope; states NULL: all new. */
void queues_add(struct queues *queues, struct message *message, const struct envelope *envelope,
		const struct spool_rcpt_state *states, struct now now);

void queues_poll_all(struct queues *queues, struct now now);    /* after stopping was taken back */
/* Can all that waits go on under another ruleset? False: *err names what could not. */
bool queues_may_swap(const struct queues *queues, const struct ruleset *fresh, struct err *err);
/* From now on `fresh` holds, and nothing points to the one before. queues_may_swap() was asked in the same turn, and
 * queues_swapped() follows in it. */
void queues_swap(struct queues *queues, const struct ruleset *fresh, struct now now);
/* Each of the node's n shards has swapped, and nothing has happened since: what their queues leave to each other. */
void queues_swapped(struct queues *const *all, unsigned n);
/* How the message's recipients stand by what the journal was told, for the spool's compaction; any thread. */
void message_states(const struct message *message, struct spool_rcpt_state *states);

/* Told by delivery. */
void queue_slot_ready(struct queue_slot *slot, struct now now);         /* connected, or its transaction is over */
/* May another connection of this session start? True: paid. Else *at_out says when to ask again. */
bool queue_slot_connect(struct queue_slot *slot, mono_us_t now, mono_us_t *at_out);
/* What was paid then is too old for a connection that starts now: it is to be paid again. */
bool queue_slot_payment_lapsed(const struct queue_slot *slot, mono_us_t paid_at, mono_us_t now);
void queue_slot_closing(struct queue_slot *slot);                       /* it will not take another message */
void queue_slot_closed(struct queue_slot *slot, struct now now);        /* the connection is gone; the slot is given back */
/* The session never got to a transaction: connection-level failure. DNS: only addresses of hosts failed to resolve. */
void queue_slot_failed(struct queue_slot *slot, const struct smtp_reply *reply, bool dns, struct now now);
void queue_error(struct queue *queue, const char *text);                /* last_error */

/* Ends of an attempt; the recipient is SENDING (or in no list, after give_up). */
void queue_rcpt_delivered(struct rcpt *rcpt, struct now now);           /* resets the queue's retry steps; over */
void queue_rcpt_over(struct rcpt *rcpt, enum spool_outcome outcome, struct now now);
/* max_attempts allows no further one: a 4xx now is the end. */
bool queue_rcpt_last_attempt(const struct rcpt *rcpt);
void queue_rcpt_defer(struct rcpt *rcpt, struct now now);               /* 4xx: attempts + 1, waits retry_recipients_after; may give_up */
/* The same; floor: waits at least that long, step by step (NULL: none); reroute: goes by the queue's other virtual MTA at once. */
void queue_rcpt_defer_for(struct rcpt *rcpt, const struct duration_list *floor, bool reroute, struct now now);
/* Could not be ended for a reason of ours (the spool): looked at again in a minute; not an attempt. */
void queue_rcpt_postpone(struct rcpt *rcpt, struct now now);
/* No host of the lane has an address that may be used: its ready recipients are given up. */
void queue_lane_dead(struct lane *lane, const char *status, const char *text, struct now now);

void queue_poll(struct queue *queue, struct now now);
void queue_poll_soon(struct queue *queue, mono_us_t now);               /* at the next turn of the loop */

/* ---- what reactions do ---- */

/* Lays it; `opened`: when the session began that got the reply. Only what is of now changes at once; sessions start and
 * end at the next turn of the loop. False: too many lie there. */
bool queue_lay(struct queue *queue, enum overlay_scope scope, const struct overlay_spec *spec, mono_us_t opened, struct now now);
/* Overlays of the queue, its site and its virtual MTA. */
typedef void overlay_visit_fn(void *ctx, const struct overlay *overlay);
void queue_overlays(const struct queue *queue, overlay_visit_fn *fn, void *ctx);
unsigned queue_lift(struct queue *queue, const char *name, struct now now);    /* NULL: all */
/* Into retry now, with its open sessions; no session has failed. */
void queue_defer(struct queue *queue, const struct smtp_reply *reply, struct now now);
/* Each waiting recipient, as SENDING; the taker ends it by queue_rcpt_over(). */
uint64_t queue_take(struct queue *queue, const char *job, void (*fn)(void *ctx, struct rcpt *rcpt), void *ctx, struct now now);
bool queue_source_is_off(const struct queue *queue, const struct ip *source, mono_us_t now);
/* It should not go on looking for a host: suspended, paused, or above a cap. */
bool queue_slot_unwanted(const struct queue_slot *slot, mono_us_t now);
/* A busy session goes to another host with the recipients it has; and before it sends them there it pays for them
 * again: how many of n may go now. 0: *at_out says when to ask again. */
void queue_slot_seeks_again(struct queue_slot *slot);
unsigned queue_slot_pay(struct queue_slot *slot, unsigned n, mono_us_t now, mono_us_t *at_out);

/* Limits, retry steps and pauses as bytes for spool_state_save(), and back. Of several shards each saves its part; the parts
 * one behind the other, the first shard's first, are what all load, and their number may have changed. */
void queues_save(struct queues *queues, struct now now, struct buf *out);
void queues_load(struct queues *queues, struct span saved, bool clean, struct now now);
