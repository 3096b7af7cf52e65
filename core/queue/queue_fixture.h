/*
 * queue_fixture - for tests: the queues in a world whose time, names and
 * receivers are the test's. Nothing happens but by world_run().
 *
 * Sessions are played: connect, reply and close take as long as `play` says,
 * and its functions decide what comes of them. A meter per scope counts what
 * receivers see, and fails the test when a bound is passed at any instant.
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

/* ---- played sessions ---- */

static inline void
played_after(struct played *s, int64_t us)
{
	if (s->w->play.spread)
		us = (int64_t)prng_below(&s->w->prng, (uint64_t)us * 2 + 1);
	timer_start(&s->w->loop.timers, &s->timer, world_now(s->w) + us);
}

static inline void
played_close(struct played *s)
{
	struct world *w = s->w;

	timer_stop(&w->loop.timers, &s->timer);
	list_remove(&s->node);
	count_session(w, s, -1);
	queue_slot_closed(&s->slot, w->loop.now);
	free(s);
}

static inline void
played_quit(struct played *s)
{
	s->phase = PLAYED_CLOSING;
	played_after(s, s->w->play.close_us);
}

static inline bool
play_connects(struct world *w, struct played *s)
{
	if (w->play.connects != NULL)
		return w->play.connects(w, s);
	return prng_below(&w->prng, 1000) >= w->play.refuse;
}

static inline enum play_answer
play_answers(struct world *w, struct played *s, const struct rcpt *rcpt)
{
	const struct play *play = &w->play;
	unsigned dice;

	if (play->answers != NULL)
		return play->answers(w, s, rcpt);
	dice = (unsigned)prng_below(&w->prng, 1000);
	if (dice < play->temp)
		return PLAY_TEMP;
	if (dice < play->temp + play->perm)
		return PLAY_PERM;
	return dice < play->temp + play->perm + play->snap ? PLAY_BREAK : PLAY_DELIVERED;
}

static inline void
played_connect(struct played *s)
{
	struct world *w = s->w;
	struct smtp_reply reply;
	mono_us_t at;

	if (play_connects(w, s)) {
		s->phase = PLAYED_OPEN;
		queue_slot_ready(&s->slot, w->loop.now);
		return;
	}
	if (s->connects < w->play.hosts) {
		if (!queue_slot_connect(&s->slot, world_now(w), &at)) {
			timer_start(&w->loop.timers, &s->timer, at);
			return;
		}
		count_connect(w, s);
		played_after(s, w->play.connect_us);
		return;
	}
	smtp_reply_make(&reply, 400, "4.4.1", "connect timed out");
	queue_slot_failed(&s->slot, &reply, w->play.fails_by_dns, w->loop.now);
	played_close(s);
}

static inline void
played_reply(struct played *s)
{
	struct world *w = s->w;
	bool broken = false;

	for (unsigned i = 0; i < s->n; i++) {
		switch (play_answers(w, s, s->rcpts[i])) {
		case PLAY_DELIVERED:
			w->delivered++;
			queue_rcpt_delivered(s->rcpts[i], w->loop.now);
			break;
		case PLAY_PERM:
			w->bounced++;
			queue_rcpt_over(s->rcpts[i], SPOOL_BOUNCED, w->loop.now);
			break;
		case PLAY_BREAK:
			broken = true;
			/* fall through */
		case PLAY_TEMP:
			queue_rcpt_defer(s->rcpts[i], w->loop.now);
		}
	}
	s->n = 0;
	if (broken) {
		played_close(s);
		return;
	}
	s->phase = PLAYED_OPEN;
	queue_slot_ready(&s->slot, w->loop.now);
}

static inline void
on_played(void *ctx, struct now now)
{
	struct played *s = ctx;

	switch (s->phase) {
	case PLAYED_CONNECTING:
		if (s->connects > 0 && s->slot.state == SLOT_CONNECTING)
			played_connect(s);
		break;
	case PLAYED_BUSY:
		played_reply(s);
		break;
	case PLAYED_OPEN:               /* its idle time is over */
		queue_slot_closing(&s->slot);
		played_quit(s);
		break;
	case PLAYED_CLOSING:
		played_close(s);
	}
}

static inline struct queue_slot *
play_start(void *ctx, struct lane *lane, struct rcpt *first)
{
	struct world *w = ctx;
	struct played *s = mem_alloc(sizeof *s);

	assert_ptr_equal(first->queue, lane->queue);
	assert_int_equal(first->state, RCPT_READY);
	s->w = w;
	s->id = ++w->next_id;
	s->queue = lane->queue;
	timer_init(&s->timer, on_played, s);
	list_add_tail(&w->sessions, &s->node);
	meters_of_queue(w, lane->queue, s->meters);
	w->started++;
	w->last_attempt = world_now(w);
	count_session(w, s, 1);
	count_connect(w, s);
	if (w->play.started != NULL)
		w->play.started(w, s);
	played_after(s, w->play.connect_us);
	return &s->slot;
}

static inline void
play_send(void *ctx, struct queue_slot *slot, struct rcpt **rcpts, unsigned n)
{
	struct world *w = ctx;
	struct played *s = container_of(slot, struct played, slot);

	assert_int_equal(s->phase, PLAYED_OPEN);
	assert_in_range(n, 1, countof(s->rcpts));
	memcpy(s->rcpts, rcpts, n * sizeof *rcpts);
	s->n = n;
	s->phase = PLAYED_BUSY;
	for (int i = 0; i < SCOPES_N; i++)
		if (s->meters[i] != NULL)
			marks_add(&s->meters[i]->messages, &w->bounds[i].messages, world_now(w), n, s->meters[i]->name);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(rcpts[i]->state, RCPT_SENDING);
		assert_ptr_equal(rcpts[i]->message, rcpts[0]->message);
		if (w->sent_n == w->sent_cap) {
			w->sent_cap = w->sent_cap * 2 + 256;
			w->sent = mem_grow(w->sent, w->sent_cap * sizeof *w->sent);
		}
		w->sent[w->sent_n++] = (struct sent){
			world_now(w), rcpts[i]->message->spool.id, rcpts[i]->index, (uint16_t)n, rcpts[i]->message->priority,
			rcpts[i]->message->job->name[0], s->meters[SCOPE_QUEUE], s, s->id,
		};
	}
	played_after(s, w->play.reply_us);
}

static inline void
play_quit(void *ctx, struct queue_slot *slot)
{
	((struct world *)ctx)->quits++;
	queue_slot_closing(slot);
	played_quit(container_of(slot, struct played, slot));
}

static inline void
play_idle(void *ctx, struct queue_slot *slot)
{
	struct world *w = ctx;
	struct played *s = container_of(slot, struct played, slot);

	w->idled++;
	assert_int_equal(slot->state, SLOT_IDLE);
	timer_start(&w->loop.timers, &s->timer, world_now(w) + (slot->waits_for_rate ? SEC(240) : w->play.idle_us));
}

struct slow_end {
	struct timer  timer;
	struct world *w;
	struct rcpt  *rcpt;
};

static inline void
on_slow_end(void *ctx, struct now now)
{
	struct slow_end *end = ctx;

	end->w->ended++;
	queue_rcpt_over(end->rcpt, SPOOL_BOUNCED, now);
	free(end);
}

static inline void
play_give_up(void *ctx, struct rcpt *rcpt, const char *status, const char *text)
{
	struct world *w = ctx;

	if (w->given_up_n < countof(w->given_up)) {
		struct given_up *g = &w->given_up[w->given_up_n];

		g->at = world_now(w);
		g->id = rcpt->message->spool.id;
		snprintf(g->status, sizeof g->status, "%s", status);
		snprintf(g->text, sizeof g->text, "%s", text);
	}
	w->given_up_n++;
	if (w->slow_give_up) {
		struct slow_end *end = mem_alloc(sizeof *end);

		end->w = w;
		end->rcpt = rcpt;
		timer_init(&end->timer, on_slow_end, end);
		timer_start(&w->loop.timers, &end->timer, world_now(w) + SEC(1));
		return;
	}
	w->ended++;
	queue_rcpt_over(rcpt, SPOOL_BOUNCED, w->loop.now);
}

static inline void
play_queue_failed(void *ctx, struct queue *queue, const struct smtp_reply *reply)
{
	struct world *w = ctx;

	if (w->failures < countof(w->failed_at))
		w->failed_at[w->failures] = world_now(w);
	w->failures++;
}

/* ---- names ---- */

/* What the resolver's source answers from now on. A domain that is not told has itself as its only MX. */
static inline void
world_dns(struct world *w, const char *name, enum resolver_type type, enum resolver_status status, uint32_t ttl_s,
	  const char *records)
{
	unsigned i = 0;

	while (i < w->canned_n && (w->canned[i].type != type || strcmp(w->canned[i].name, name) != 0))
		i++;
	assert_true(i < countof(w->canned));
	if (i == w->canned_n)
		w->canned_n++;
	w->canned[i] = (struct canned){ .type = type, .status = status, .ttl_s = ttl_s };
	snprintf(w->canned[i].name, sizeof w->canned[i].name, "%s", name);
	snprintf(w->canned[i].records, sizeof w->canned[i].records, "%s", records);
}

static inline void
world_mx(struct world *w, const char *name, const char *records)
{
	world_dns(w, name, RESOLVE_MX, RESOLVER_OK, 3600, records);
}

static inline int
by_preference(const void *a, const void *b)
{
	const struct resolver_mx *x = a, *y = b;

	return x->preference != y->preference ? x->preference - y->preference : strcmp(x->host, y->host);
}

static inline void
on_question(void *ctx, struct now now)
{
	struct question *q = ctx;
	const struct world *w = q->w;
	struct resolver_mx mx[RESOLVER_RECORDS_MAX] = { 0 };
	struct ip ip[RESOLVER_RECORDS_MAX] = { 0 };
	struct resolver_answer answer = { .status = RESOLVER_OK, .ttl_s = 3600, .n = 1, .detail = "canned", .mx = mx, .ip = ip };
	const char *records = NULL;
	struct span rest, one;

	for (unsigned i = 0; i < w->canned_n; i++) {
		if (w->canned[i].type != q->type || strcmp(w->canned[i].name, q->name) != 0)
			continue;
		records = w->canned[i].records;
		answer.status = w->canned[i].status;
		answer.ttl_s = w->canned[i].ttl_s;
	}
	if (records == NULL) {
		snprintf(mx[0].host, sizeof mx[0].host, "%s", q->name);
		ip[0] = (struct ip){ IP_V4, { 192, 0, 2, 1 } };
	} else {
		answer.n = 0;
		for (rest = span_text(records); span_split(&rest, ',', &one); answer.n++) {
			unsigned preference;

			if (q->type == RESOLVE_ADDRESS)
				assert_true(ip_parse(one, &ip[answer.n]));
			else
				assert_true(sscanf(one.p, "%u %255[^,]", &preference, mx[answer.n].host) >= 1);
			if (q->type == RESOLVE_MX)
				mx[answer.n].preference = (uint16_t)preference;
		}
		qsort(mx, q->type == RESOLVE_MX ? answer.n : 0, sizeof *mx, by_preference);
	}
	resolver_fn *on_answer = q->on_answer;
	void *on_ctx = q->ctx;
	list_remove(&q->node);
	free(q);
	on_answer(on_ctx, &answer);
}

static inline void *
canned_ask(struct resolver_source *source, const char *name, enum resolver_type type, resolver_fn *on_answer, void *ctx)
{
	struct world *w = (struct world *)source;
	struct question *q = mem_alloc(sizeof *q);

	w->asked_n++;
	q->w = w;
	snprintf(q->name, sizeof q->name, "%s", name);
	q->type = type;
	q->on_answer = on_answer;
	q->ctx = ctx;
	list_add_tail(&w->questions, &q->node);
	timer_init(&q->timer, on_question, q);
	timer_start(&w->loop.timers, &q->timer, world_now(w) + w->play.dns_us);
	return q;
}

static inline void
canned_cancel(struct resolver_source *source, void *question)
{
	struct question *q = question;

	timer_stop(&q->w->loop.timers, &q->timer);
	list_remove(&q->node);
	free(q);
}

/* ---- the world ---- */

static inline void
world_log(void *ctx, const char *line, size_t n)
{
	struct world *w = ctx;

	snprintf(w->logged + strlen(w->logged), sizeof w->logged - strlen(w->logged), "%.*s", (int)n, line);
}

static inline wall_ms_t
world_wall(void *ctx)
{
	return ((struct world *)ctx)->loop.now.wall;
}

static inline void
world_open_queues(struct world *w)
{
	struct queues_options options = {
		.ruleset = policy_ruleset(w->policy), .resolver = w->resolver, .loop = &w->loop, .log = &w->log, .seed = 5,
		.ops = { play_start, play_send, play_quit, play_idle, play_give_up, play_queue_failed, w },
	};

	w->queues = queues_new(&options, w->loop.now);
}

static inline struct world *
world_new(const char *policy)
{
	struct world *w = mem_alloc(sizeof *w);

	w->source = (struct resolver_source){ canned_ask, canned_cancel };
	timers_init(&w->loop.timers);
	w->loop.now = (struct now){ HOUR(1000), { INT64_C(1790000000000) } };
	w->log = (struct log){ .wall = world_wall, .wall_ctx = w, .sink = world_log, .sink_ctx = w };
	w->play = (struct play){ .connect_us = MS(50), .reply_us = MS(20), .close_us = MS(10), .idle_us = SEC(5), .dns_us = MS(1) };
	list_init(&w->questions);
	list_init(&w->sessions);
	prng_seed(&w->prng, 1);
	for (int i = 0; i < SCOPES_N; i++)
		table_init(&w->meters[i], 1);
	w->policy = fixture_good(policy);
	w->resolver = resolver_new(&w->loop, &w->source, 7);
	world_open_queues(w);
	return w;
}

/* Sessions end where they are; what they had in hand waits. */
static inline void
world_close_queues(struct world *w)
{
	w->queues->stopping = true;
	while (!list_empty(&w->sessions)) {
		struct played *s = list_first(&w->sessions, struct played, node);

		for (unsigned i = 0; i < s->n; i++)
			queue_rcpt_postpone(s->rcpts[i], w->loop.now);
		played_close(s);
	}
	queues_free(w->queues);
	w->queues = NULL;
}

static inline void
world_free(struct world *w)
{
	world_close_queues(w);
	resolver_free(w->resolver);
	policy_free(w->policy);
	assert_true(list_empty(&w->questions));
	assert_int_equal(timers_next(&w->loop.timers), MONO_NEVER);
	timers_fini(&w->loop.timers);
	for (int i = 0; i < SCOPES_N; i++) {
		struct meter *meter;
		uint32_t pos = 0;

		while ((meter = table_next(&w->meters[i], &pos)) != NULL) {
			free(meter->connects.p);
			free(meter->messages.p);
			free(meter);
		}
		table_fini(&w->meters[i]);
	}
	free(w->sent);
	free(w);
}

/* The node ends and starts again `away_us` later, its wall clock off by `jump_ms`. Waiting mail is gone: there is no spool. */
static inline void
world_restart(struct world *w, const char *policy, bool clean, int64_t away_us, int64_t jump_ms)
{
	struct buf saved;

	buf_init(&saved, 0);
	queues_save(w->queues, w->loop.now, &saved);
	w->added -= (unsigned)w->queues->rcpts_n;
	world_close_queues(w);
	resolver_forget(w->resolver);
	if (policy != NULL) {
		policy_free(w->policy);
		w->policy = fixture_good(policy);
	}
	world_at(w, world_now(w) + away_us);
	w->loop.now.wall.ms += jump_ms;
	world_open_queues(w);
	queues_load(w->queues, buf_span(&saved), clean, w->loop.now);
	buf_fini(&saved);
}

static inline void
world_bound(struct world *w, enum scope_level level, uint32_t cap, const char *connects, const char *messages)
{
	struct err err = { 0 };

	w->bounds[level].cap = cap;
	assert_true(rate_parse(span_text(connects), &w->bounds[level].connects, &err));
	assert_true(rate_parse(span_text(messages), &w->bounds[level].messages, &err));
}

/* ---- mail ---- */

struct mail {
	const char *to;                 /* domains, by comma; recipients take them in turn */
	unsigned    n;                  /* recipients; 0: one a domain */
	unsigned    messages;           /* that many of it; 0: 1 */
	const char *vmta;               /* NULL: "v1" */
	const char *job;
	uint8_t     priority;
	int64_t     age_us;             /* it was accepted that long ago */
	const struct spool_rcpt_state *states;
};

static inline uint64_t
put_one(struct world *w, const struct mail *mail)
{
	struct envelope_rcpt rcpts[1000] = { 0 };
	struct envelope envelope = { .rcpts = rcpts };
	struct span domains[64], rest = span_text(mail->to);
	struct message *message;
	unsigned domains_n = 0;

	while (span_split(&rest, ',', &domains[domains_n]))
		domains_n++;
	envelope.id = ++w->next_id;
	envelope.received.ms = w->loop.now.wall.ms - mail->age_us / US_PER_MS;
	envelope.vmta = span_text(mail->vmta ? mail->vmta : "v1");
	envelope.job = span_text(mail->job ? mail->job : "");
	envelope.priority = mail->priority;
	envelope.rcpts_n = mail->n ? mail->n : domains_n;
	for (unsigned i = 0; i < envelope.rcpts_n; i++)
		rcpts[i].domain = domains[i % domains_n];
	message = message_new(envelope.rcpts_n);
	message->spool.id = envelope.id;
	message->spool.rcpts_n = (uint16_t)envelope.rcpts_n;
	w->added += envelope.rcpts_n;
	queues_add(w->queues, message, &envelope, mail->states, w->loop.now);
	return envelope.id;
}

/* The last message's id. */
#define put(w, domains, ...) put_mail(w, &(struct mail){ .to = domains, ##__VA_ARGS__ })
static inline uint64_t
put_mail(struct world *w, const struct mail *mail)
{
	uint64_t id = 0;

	for (unsigned i = 0; i < (mail->messages ? mail->messages : 1); i++)
		id = put_one(w, mail);
	return id;
}

/* ---- looking ---- */

static inline struct queue *
queue_called(struct world *w, const char *name)
{
	struct queue *q = queues_find(w->queues, span_text(name));

	if (q == NULL)
		fail_msg("no queue %s", name);
	return q;
}

static inline bool
is_held(const struct queue *q)
{
	return q->settings->paused || q->paused_by_hand || q->queues->stopping;
}

static inline uint32_t
runs_of(const struct stream *stream)
{
	const struct message *last = NULL;
	uint32_t runs = 0;

	list_each(node, &stream->ready) {
		const struct rcpt *rcpt = list_entry(node, struct rcpt, node);

		runs += rcpt->message != last;
		last = rcpt->message;
	}
	return runs;
}

/* Nothing waits without somebody who will look again, and the counts are right. */
static inline void
world_check(struct world *w)
{
	struct queue *q;
	uint32_t pos = 0;
	uint64_t all = 0;

	while ((q = table_next(&w->queues->queues, &pos)) != NULL) {
		uint32_t ready = 0, held = 0, sessions = 0, connecting = 0, waiting = 0;

		list_each(lane_node, &q->lanes) {
			const struct lane *lane = list_entry(lane_node, struct lane, in_queue);
			uint32_t in_lane = 0, runs = 0;

			list_each(node, &lane->streams) {
				const struct stream *stream = list_entry(node, struct stream, in_lane);

				assert_true(stream->ready_n > 0);
				in_lane += stream->ready_n;
				runs += runs_of(stream);
			}
			list_each(node, &lane->held)
				held += list_entry(node, struct stream, in_lane)->ready_n;
			assert_int_equal(in_lane, lane->ready_n);
			assert_int_equal(runs, lane->runs_n);
			ready += in_lane;
			sessions += lane->sessions;
			connecting += lane->connecting;
		}
		list_each(node, &q->routes) {
			const struct route *route = list_entry(node, struct route, in_queue);

			list_each(rcpt, &route->waiting)
				waiting++;
			if (!list_empty(&route->waiting))
				assert_true(route->query != NULL || timer_started(&route->timer));
		}
		assert_int_equal(ready, q->ready_n);
		assert_int_equal(held, q->held_n);
		assert_int_equal(sessions, q->slots_n);
		assert_int_equal(connecting, q->connecting);
		assert_int_equal(waiting, q->routing_n);
		assert_int_equal(q->deferred.n, q->deferred_n);
		assert_int_equal(gauge_in_use(&q->scope.sessions), q->slots_n);
		if (q->deferred_n > 0)
			assert_true(timer_started(&q->timer) || w->queues->stopping);
		if (q->ready_n > 0 && !is_held(q) && q->slots_n == 0 && !timer_started(&q->timer) && q->waiter.scope == NULL)
			fail_msg("%s: %u wait for nothing", q->name, q->ready_n);
		assert_true(queue_n(q) > 0 || q->slots_n > 0 || list_linked(&q->reap));
		all += queue_n(q);
	}
	assert_int_equal(all, w->queues->rcpts_n);
	assert_int_equal(w->queues->rcpts_n + w->delivered + w->bounced + w->ended, w->added);
}
