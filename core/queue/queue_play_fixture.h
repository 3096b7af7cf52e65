/*
 * queue_play_fixture - for tests: the receivers and the names of the played world.
 *
 * Connect, reply and close take as long as `play` says; its functions, or chance,
 * decide what comes of them. The queue is told what delivery/session.c would tell it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue_world_fixture.h"

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
