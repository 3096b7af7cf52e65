/*
 * bounces - who is to be bounced waits here for a turn.
 *
 * A million recipients can be given up at one instant (by hand, by expiry), and
 * their reports are larger than they are. So they wait in `doomed`, one entry for
 * a message, and a share of them is done at each turn of the loop, while the
 * reports that are on their way to the disk stay within a bound. Those of one
 * message share a report.
 *
 * What becomes of one whose turn it is stands in bounces_report.c. Reports that it
 * could not store come back into `unsent`, and have their turns before the rest.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/bounces_own.h"
#include "spool/spool_record.h"

#define REPORT_RCPTS_MAX 1000
#define SLICE            200                    /* recipients in a turn of the loop */
#define STORING_MAX      (16u * 1024 * 1024)    /* bytes of reports under way */
#define PROBE_US         (2 * US_PER_S)         /* while they cannot be stored */

struct verdict {                        /* shared by those that it was spoken for */
	unsigned          refs;
	bool              expired;
	struct smtp_reply reply;
};

struct doomed_rcpt {
	struct rcpt    *rcpt;
	struct verdict *verdict;
};

struct doomed {                         /* recipients of one message */
	struct list        node;
	struct message    *message;
	struct doomed_rcpt *rcpts;
	unsigned           n, cap;
};

/* ---- when the next turn is ---- */

static bool
has_work(const struct bounces *bounces)
{
	return !list_empty(&bounces->doomed) || !list_empty(&bounces->unsent);
}

/* When the bound is reached, a report that is stored calls again. */
void
bounces_schedule(struct bounces *bounces, struct now now)
{
	mono_us_t at = bounces->trouble ? now.mono + PROBE_US : now.mono;

	if (!has_work(bounces) || bounces->storing_bytes >= STORING_MAX)
		return;
	if (!timer_started(&bounces->timer) || bounces->timer.node.key > at)
		timer_start(&bounces->shard->loop->timers, &bounces->timer, at);
}

void
bounces_trouble(struct bounces *bounces, const char *why, struct now now)
{
	bounces->failures++;
	if (!bounces->trouble)
		log_error(bounces->shard->log, "a report of non-delivery cannot be stored (%s); it is tried again until it can", why);
	bounces->trouble = true;
	bounces_schedule(bounces, now);
}

/* ---- the doomed ---- */

static void
verdict_unref(struct verdict *verdict)
{
	if (verdict != NULL && --verdict->refs == 0)
		free(verdict);
}

/* Most often the same as the last one: there may be a million of them. */
static struct verdict *
verdict_get(struct bounces *bounces, const struct smtp_reply *reply, bool expired)
{
	struct verdict *v = bounces->last;

	if (v == NULL || v->expired != expired || v->reply.code != reply->code ||
	    strcmp(v->reply.enhanced, reply->enhanced) != 0 || strcmp(v->reply.line, reply->line) != 0) {
		verdict_unref(v);
		v = mem_alloc(sizeof *v);
		*v = (struct verdict){ .refs = 1, .expired = expired, .reply = *reply };
		bounces->last = v;
	}
	v->refs++;
	return v;
}

static struct span
doomed_key(struct message *const *message)
{
	return span_make(message, sizeof *message);
}

static void
doomed_free(struct doomed *doomed)
{
	for (unsigned i = 0; i < doomed->n; i++)
		verdict_unref(doomed->rcpts[i].verdict);
	free(doomed->rcpts);
	free(doomed);
}

static void
doomed_take(struct bounces *bounces, struct doomed *doomed)
{
	list_remove(&doomed->node);
	if (table_get(&bounces->open, doomed_key(&doomed->message)) == doomed)
		table_remove(&bounces->open, doomed_key(&doomed->message));
}

static struct doomed *
doomed_of(struct bounces *bounces, struct message *message)
{
	struct doomed *doomed = table_get(&bounces->open, doomed_key(&message));

	if (doomed != NULL && doomed->n < REPORT_RCPTS_MAX)
		return doomed;
	if (doomed != NULL)
		table_remove(&bounces->open, doomed_key(&message));
	doomed = mem_alloc(sizeof *doomed);
	doomed->message = message;
	list_add_tail(&bounces->doomed, &doomed->node);
	table_put(&bounces->open, doomed_key(&doomed->message), doomed);
	return doomed;
}

void
bounces_add(struct shard *shard, struct rcpt *rcpt, const struct smtp_reply *reply, bool expired, struct now now)
{
	struct bounces *bounces = shard->bounces;
	struct doomed *doomed;

	if (bounces == NULL) {
		queue_rcpt_postpone(rcpt, now);
		return;
	}
	doomed = doomed_of(bounces, rcpt->message);
	if (doomed->n == doomed->cap) {
		doomed->cap = doomed->cap ? doomed->cap * 2 : 1;
		doomed->rcpts = mem_grow(doomed->rcpts, doomed->cap * sizeof *doomed->rcpts);
	}
	doomed->rcpts[doomed->n++] = (struct doomed_rcpt){ rcpt, verdict_get(bounces, reply, expired) };
	bounces_schedule(bounces, now);
}

/* Its record is damaged: what is known without it. No sender, so nobody is told. */
static void
envelope_guess(const struct bounces *bounces, struct doomed *doomed, struct arena *arena, struct envelope *out)
{
	const struct message *message = doomed->message;
	unsigned me = bounces->shard->queues->o.me;

	*out = (struct envelope){
		.id = message->spool.id, .received = message->received, .priority = message->priority,
		.job = span_text(message->job->name), .vmta = span_text(doomed->rcpts[0].rcpt->queue->vmta->name),
		.rcpts_n = message->spool.rcpts_n,
	};
	out->rcpts = arena_alloc(arena, out->rcpts_n * sizeof *out->rcpts);
	for (unsigned i = 0; i < out->rcpts_n; i++) {
		const struct rcpt *rcpt = &message->rcpts[i];
		const struct route *route = rcpt_is_of(rcpt, me) ? rcpt->route : NULL;
		const char *domain = route != NULL ? route->name : "unknown.invalid";

		out->rcpts[i].domain = span_text(domain);
		out->rcpts[i].address = span_text(arena_printf(arena, "@%s", domain));
	}
}

static void
doomed_end(struct bounces *bounces, struct doomed *doomed, const struct envelope *envelope, struct spool_reader *reader,
	   struct arena *arena, struct now now)
{
	struct outcome *outcomes = arena_alloc(arena, doomed->n * sizeof *outcomes);
	struct bounce *b;

	for (unsigned i = 0; i < doomed->n; i++)
		outcomes[i] = (struct outcome){
			.rcpt = doomed->rcpts[i].rcpt, .reply = &doomed->rcpts[i].verdict->reply,
			.expired = doomed->rcpts[i].verdict->expired,
		};
	b = bounce_new(bounces->shard, envelope, outcomes, doomed->n, NULL);
	if (reader != NULL)
		bounce_go(b, reader, now);
	else
		bounce_settle(b, now);
}

static void
doomed_postpone(struct doomed *doomed, struct now now)
{
	for (unsigned i = 0; i < doomed->n; i++)
		queue_rcpt_postpone(doomed->rcpts[i].rcpt, now);
	doomed_free(doomed);
}

static unsigned
do_doomed(struct bounces *bounces, struct now now)
{
	struct doomed *doomed = list_first(&bounces->doomed, struct doomed, node);
	struct spool_reader reader = { 0 };
	struct envelope envelope;
	struct err err = { 0 };
	struct arena arena;
	unsigned n = doomed->n;
	char id[17];

	arena_init(&arena);
	doomed_take(bounces, doomed);
	if (outcome_envelope(bounces->shard, doomed->message, &reader, &arena, &envelope, &err)) {
		doomed_end(bounces, doomed, &envelope, &reader, &arena, now);
		spool_read_close(&reader);
	} else if (err.kind == ERR_PERM) {
		envelope_id_format(doomed->message->spool.id, id);
		log_error(bounces->shard->log, "message %s cannot be read and is given up, without a report: %s", id, err.text);
		envelope_guess(bounces, doomed, &arena, &envelope);
		doomed_end(bounces, doomed, &envelope, NULL, &arena, now);
	} else if (spool_is_unreadable(&err)) {
		/* It may be the cable, so nothing is given up for it; but nobody else's report waits for a bad sector. */
		outcome_unread(bounces->shard, doomed->message,
			       "cannot be given up while its sender cannot be told, and stays in its queue", &err, now);
		doomed_postpone(doomed, now);
		doomed = NULL;
	} else {
		list_add_tail(&bounces->doomed, &doomed->node);
		bounces_trouble(bounces, err.text, now);
		doomed = NULL;
	}
	if (doomed != NULL)
		doomed_free(doomed);
	arena_fini(&arena);
	return n;
}

static unsigned
do_unsent(struct bounces *bounces, struct now now)
{
	struct bounce *b = list_first(&bounces->unsent, struct bounce, node);
	struct spool_reader reader = { 0 };
	struct err err = { 0 };
	unsigned n = b->n;

	list_remove(&b->node);
	if (spool_read_open(bounces->shard->spool, &b->rcpts[0]->message->spool, &reader, &err)) {
		bounce_go(b, &reader, now);
		spool_read_close(&reader);
	} else if (err.kind == ERR_PERM) {
		log_error(bounces->shard->log, "no report of non-delivery: %s", err.text);
		bounce_settle(b, now);
	} else if (spool_is_unreadable(&err)) {
		outcome_unread(bounces->shard, b->rcpts[0]->message, "has to be read for its report of non-delivery, which waits", &err, now);
		bounce_postpone(b, now);
	} else {
		bounce_wait(b, err.text, now);
	}
	return n;
}

/* ---- by turns ---- */

void
bounces_run(struct bounces *bounces, struct now now)
{
	uint64_t failures = bounces->failures;
	unsigned done = 0;

	/* In trouble, one at a time: the spool logs and undoes what fails. */
	while (has_work(bounces) && done < SLICE && bounces->storing_bytes < STORING_MAX && bounces->failures == failures &&
	       !(bounces->trouble && bounces->storing_bytes > 0))
		done += !list_empty(&bounces->unsent) ? do_unsent(bounces, now) : do_doomed(bounces, now);
	if (done > 0)
		spool_hurry(bounces->shard->spool);
	bounces_schedule(bounces, now);
}

static void
on_turn(void *ctx, struct now now)
{
	bounces_run(ctx, now);
}

struct bounces *
bounces_new(struct shard *shard)
{
	struct bounces *bounces = mem_alloc(sizeof *bounces);

	bounces->shard = shard;
	table_init(&bounces->open, prng_u64(&shard->prng));
	list_init(&bounces->doomed);
	list_init(&bounces->unsent);
	timer_init(&bounces->timer, on_turn, bounces);
	return bounces;
}

void
bounces_free(struct shard *shard)
{
	struct bounces *bounces = shard->bounces;
	struct now now;

	if (bounces == NULL)
		return;
	now = loop_now(shard->loop);
	/* From here on what comes is postponed: the spool's end tells of reports that are under way. */
	shard->bounces = NULL;
	timer_stop(&shard->loop->timers, &bounces->timer);
	while (!list_empty(&bounces->doomed)) {
		struct doomed *doomed = list_first(&bounces->doomed, struct doomed, node);

		doomed_take(bounces, doomed);
		doomed_postpone(doomed, now);
	}
	while (!list_empty(&bounces->unsent)) {
		struct bounce *b = list_first(&bounces->unsent, struct bounce, node);

		list_remove(&b->node);
		bounce_postpone(b, now);
	}
	verdict_unref(bounces->last);
	table_fini(&bounces->open);
	free(bounces);
}
