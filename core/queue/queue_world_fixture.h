/*
 * queue_world_fixture - for tests: what the played world holds, its time, and meters
 * that count what receivers see at each scope and fail the test when a bound
 * is passed at any instant.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/policy_fixture.h"
#include "queue/queue_own.h"

struct world;
struct played;

enum play_answer { PLAY_DELIVERED, PLAY_TEMP, PLAY_PERM, PLAY_BREAK /* the connection, before the reply */ };

struct play {
	int64_t connect_us, reply_us, close_us, idle_us, dns_us;
	bool     spread;                        /* each takes from nothing to twice as long */
	unsigned hosts;                         /* connections tried for one session; 0: 1 */
	unsigned refuse, temp, perm, snap;      /* of 1000 connects, of 1000 replies */
	bool (*connects)(struct world *w, struct played *s);    /* NULL: by chance */
	enum play_answer (*answers)(struct world *w, struct played *s, const struct rcpt *rcpt);       /* NULL: by chance */
	void (*started)(struct world *w, struct played *s);     /* NULL: nobody looks */
	bool fails_by_dns;
};

/* What happened at which instant, for the sliding windows. */
struct marks {
	struct { mono_us_t at; uint32_t n; } *p;
	size_t   first, n, cap;
	uint64_t in_window, total;
};

struct meter {
	char         name[160];
	uint32_t     sessions, peak;
	struct marks connects, messages;
	mono_us_t    since;
	int64_t      session_us;                /* sessions times how long they were open */
};

struct bound {
	uint32_t         cap;                   /* 0: none */
	struct rate_spec connects, messages;
};

/* One recipient handed to a session. */
struct sent {
	mono_us_t at;
	uint64_t  id;
	uint16_t  index, batch;                 /* how many went in its transaction */
	uint8_t   priority;
	char      job;                          /* its first letter */
	const struct meter *queue;
	const struct played *session;           /* to compare, maybe gone */
	uint64_t  session_id;
};

struct given_up {
	mono_us_t at;
	uint64_t  id;
	char      status[16], text[120];
};

struct played {
	struct queue_slot slot;
	struct list   node;
	struct timer  timer;
	struct world *w;
	struct queue *queue;
	struct meter *meters[SCOPES_N];
	struct rcpt  *rcpts[1000];
	unsigned      n, connects;
	uint64_t      id;
	enum { PLAYED_CONNECTING, PLAYED_OPEN, PLAYED_BUSY, PLAYED_CLOSING } phase;
};

struct canned {
	char     name[100];
	enum resolver_type type;
	enum resolver_status status;
	uint32_t ttl_s;
	char     records[200];                  /* "10 mx1.example,20 mx2.example"; "192.0.2.1" */
};

struct question {
	struct timer  timer;
	struct list   node;
	struct world *w;
	char          name[RESOLVER_NAME_MAX];
	enum resolver_type type;
	resolver_fn  *on_answer;
	void         *ctx;
};

struct world {
	struct resolver_source source;          /* first: cast back */
	struct loop      loop;
	struct log       log;
	char             logged[4000];
	struct policy   *policy;
	struct resolver *resolver;
	struct queues   *queues;
	struct peers    *peers;                 /* of several shards one; else NULL */
	unsigned         me;
	struct queues *const *all;
	struct scopes_shared *shared;
	struct play      play;
	struct prng      prng;
	struct canned    canned[64];
	unsigned         canned_n, asked_n;
	struct list      questions, sessions;
	struct table     meters[SCOPES_N];
	struct bound     bounds[SCOPES_N];
	struct sent     *sent;
	size_t           sent_n, sent_cap;
	struct given_up  given_up[64];          /* the first ones */
	unsigned         given_up_n;
	unsigned         added, delivered, bounced, ended /* given up, and over */, failures, started, idled, quits;
	mono_us_t        failed_at[64];         /* the first queue-level failures */
	mono_us_t        last_attempt;
	uint64_t         next_id, turns;
	bool             slow_give_up;          /* ended a second later, as with a report */
	void            *ctx;                   /* the test's */
};

#define MS(n)   ((n) * US_PER_MS)
#define SEC(n)  ((n) * US_PER_S)
#define MINS(n) ((n) * 60 * US_PER_S)
#define HOUR(n) ((n) * 3600 * US_PER_S)

/* ---- time ---- */

static inline void
world_at(struct world *w, mono_us_t at)
{
	w->loop.now.wall.ms += at / US_PER_MS - w->loop.now.mono / US_PER_MS;
	w->loop.now.mono = at;
}

static inline mono_us_t
world_now(const struct world *w)
{
	return w->loop.now.mono;
}

static inline bool
world_turn(struct world *w, mono_us_t until)
{
	mono_us_t next = timers_next(&w->loop.timers);

	if (next > until)
		return false;
	world_at(w, max_i64(next, world_now(w)));
	w->turns++;
	timers_run(&w->loop.timers, w->loop.now);
	return true;
}

static inline void
world_run(struct world *w, int64_t us)
{
	mono_us_t until = world_now(w) + us;

	while (world_turn(w, until))
		;
	world_at(w, until);
}

/* False: not within `us`. */
static inline bool
run_until_empty(struct world *w, int64_t us)
{
	mono_us_t until = world_now(w) + us;

	while (w->queues->rcpts_n > 0 && world_turn(w, until))
		;
	return w->queues->rcpts_n == 0;
}

/* ---- meters ---- */

static inline struct meter *
meter_of(struct world *w, enum scope_level level, const char *name)
{
	struct meter *meter = table_get(&w->meters[level], span_text(name));

	if (meter == NULL) {
		meter = mem_alloc(sizeof *meter);
		snprintf(meter->name, sizeof meter->name, "%s", name);
		table_put(&w->meters[level], span_text(meter->name), meter);
	}
	return meter;
}

static inline void
meters_of_queue(struct world *w, const struct queue *q, struct meter *out[SCOPES_N])
{
	out[SCOPE_QUEUE] = meter_of(w, SCOPE_QUEUE, q->name);
	out[SCOPE_SITE] = meter_of(w, SCOPE_SITE, q->site->name);
	out[SCOPE_VMTA] = meter_of(w, SCOPE_VMTA, q->vmta->name);
	out[SCOPE_POOL] = q->vmta->limit_pool ? meter_of(w, SCOPE_POOL, q->vmta->limit_pool->name) : NULL;
	out[SCOPE_NODE] = meter_of(w, SCOPE_NODE, "");
}

/* Counts n more, and how many there were in the window that ends now. */
static inline void
marks_add(struct marks *marks, const struct rate_spec *spec, mono_us_t now, uint32_t n, const char *what)
{
	if (marks->n == marks->cap) {
		marks->cap = marks->cap * 2 + 64;
		marks->p = mem_grow(marks->p, marks->cap * sizeof *marks->p);
	}
	marks->p[marks->n].at = now;
	marks->p[marks->n++].n = n;
	marks->in_window += n;
	marks->total += n;
	while (spec->window_us > 0 && marks->p[marks->first].at <= now - spec->window_us)
		marks->in_window -= marks->p[marks->first++].n;
	if (!rate_unlimited(spec) && marks->in_window > spec->count)
		fail_msg("%s: %llu in a window, %u allowed", what, (unsigned long long)marks->in_window, spec->count);
}

static inline void
meter_sessions(struct world *w, struct meter *meter, int delta)
{
	meter->session_us += (world_now(w) - meter->since) * meter->sessions;
	meter->since = world_now(w);
	meter->sessions = (uint32_t)((int)meter->sessions + delta);
	if (meter->sessions > meter->peak)
		meter->peak = meter->sessions;
}

static inline void
count_session(struct world *w, struct played *s, int delta)
{
	for (int i = 0; i < SCOPES_N; i++) {
		if (s->meters[i] == NULL)
			continue;
		meter_sessions(w, s->meters[i], delta);
		if (w->bounds[i].cap > 0 && delta > 0 && s->meters[i]->sessions > w->bounds[i].cap)
			fail_msg("%s: %u sessions, %u allowed", s->meters[i]->name, s->meters[i]->sessions, w->bounds[i].cap);
	}
}

static inline void
count_connect(struct world *w, struct played *s)
{
	s->connects++;
	for (int i = 0; i < SCOPES_N; i++)
		if (s->meters[i] != NULL)
			marks_add(&s->meters[i]->connects, &w->bounds[i].connects, world_now(w), 1, s->meters[i]->name);
}
