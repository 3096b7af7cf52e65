/*
 * bounces - the reports first, then the ends.
 *
 * Order for a bounce: the report is committed to the spool like any other
 * message; when that is durable the accounting line is written and the
 * recipient settled. If it cannot be stored (a full disk), the bounce waits in
 * `unsent` and the report alone is tried again: nobody is asked a second time,
 * and what an operator ordered holds.
 *
 * A million recipients can be given up at one instant (by hand, by expiry), and
 * their reports are larger than they are. So they wait in `doomed`, one entry for
 * a message, and a share of them is done at each turn of the loop, while the
 * reports that are on their way to the disk stay within a bound. Those of one
 * message share a report.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/bounces.h"

#include "mail/dsn.h"
#include "queue/accept.h"
#include "smtp/smtp_path.h"

#define REPORT_WHOLE_MAX (64 * 1024)
#define REPORT_HEAD_MAX  (8 * 1024)             /* RFC 3462, 3: the headers may be a part */
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

static void schedule(struct bounces *bounces, struct now now);

/* ---- one bounce ---- */

static void
bounce_free(struct bounce *bounce)
{
	arena_fini(&bounce->arena);
	free(bounce);
}

static void
bounce_settle(struct bounce *b, struct now now)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct outcome outcome = { .rcpt = b->rcpts[i], .reply = &b->replies[i] };

		outcome_settle_bounced(b->shard, &b->envelope, &outcome, b->categories[i], &b->attempt, now);
	}
	bounce_free(b);
}

static void
bounce_postpone(struct bounce *b, struct now now)
{
	for (unsigned i = 0; i < b->n; i++)
		queue_rcpt_postpone(b->rcpts[i], now);
	bounce_free(b);
}

static void
trouble(struct bounces *bounces, const char *why, struct now now)
{
	bounces->failures++;
	if (!bounces->trouble)
		log_error(bounces->shard->log, "a report of non-delivery cannot be stored (%s); it is tried again until it can", why);
	bounces->trouble = true;
	schedule(bounces, now);
}

static void
bounce_wait(struct bounce *b, const char *why, struct now now)
{
	struct bounces *bounces = b->shard->bounces;

	if (bounces == NULL) {
		bounce_postpone(b, now);
		return;
	}
	list_add_tail(&bounces->unsent, &b->node);
	trouble(bounces, why, now);
}

static void
on_report(void *ctx, const struct err *err, const struct envelope *envelope)
{
	struct bounce *b = ctx;
	struct bounces *bounces = b->shard->bounces;
	struct now now = loop_now(b->shard->loop);

	(void)envelope;
	if (bounces != NULL)
		bounces->storing_bytes -= b->bytes;
	if (err != NULL) {
		bounce_wait(b, err->text, now);
		return;
	}
	bounce_settle(b, now);
	if (bounces == NULL)
		return;
	if (bounces->trouble)
		log_info(bounces->shard->log, "reports of non-delivery can be stored again");
	bounces->trouble = false;
	schedule(bounces, now);
}

static const char *
or_null(struct arena *arena, const char *text)
{
	return text != NULL ? arena_strdup(arena, text) : NULL;
}

/* Its last allowed attempt was deferred: given up, with the receiver's own words, which say more than that. */
static void
bounce_expire(struct bounce *b, unsigned i)
{
	struct smtp_reply *reply = &b->replies[i];
	const char *category = account_bounce_category(span_text(reply->enhanced), span_text(reply->line));

	if (strcmp(category, "other") != 0)
		b->categories[i] = category;
	snprintf(reply->enhanced, sizeof reply->enhanced, "4.4.7");
}

static struct bounce *
bounce_new(struct shard *shard, const struct envelope *envelope, const struct outcome *outcomes, unsigned n,
	   const struct attempt *attempt)
{
	struct bounce *b = mem_alloc(sizeof *b);
	struct buf meta;
	struct smtp_reply copy;

	b->shard = shard;
	b->n = n;
	list_init(&b->node);
	arena_init(&b->arena);
	/* The envelope's spans end with the reader; a round through its record gives a copy. */
	buf_init(&meta, 0);
	envelope_encode(envelope, &meta);
	check(envelope_decode(arena_span(&b->arena, buf_span(&meta)), &b->arena, &b->envelope, NULL));
	buf_fini(&meta);
	b->rcpts = arena_alloc(&b->arena, n * sizeof *b->rcpts);
	b->replies = arena_alloc(&b->arena, n * sizeof *b->replies);
	b->categories = arena_alloc(&b->arena, n * sizeof *b->categories);
	for (unsigned i = 0; i < n; i++) {
		b->rcpts[i] = outcomes[i].rcpt;
		b->replies[i] = *outcome_with_status(outcomes[i].reply, &copy);
		if (smtp_reply_temp(&b->replies[i]) && attempt != NULL)
			bounce_expire(b, i);
	}
	if (attempt != NULL) {
		b->attempt.remote_host = or_null(&b->arena, attempt->remote_host);
		b->attempt.remote_address = or_null(&b->arena, attempt->remote_address);
		b->attempt.local_address = or_null(&b->arena, attempt->local_address);
		b->attempt.esmtp = or_null(&b->arena, attempt->esmtp);
		b->attempt.size_bytes = attempt->size_bytes;
	}
	return b;
}

/* ---- the report ---- */

/* Who asked not to be told is not told (RFC 3461, 4.1). */
static bool
wants_report(const struct envelope_rcpt *rcpt)
{
	return rcpt->notify == 0 || (rcpt->notify & SMTP_NOTIFY_FAILURE);
}

static bool
report_is_wanted(const struct bounce *b)
{
	struct smtp_path path;
	char domain[DOMAIN_MAX];

	/* The virtual MTA may be gone from the policy; then the report has no address to leave from. */
	if (ruleset_vmta(policy_ruleset(b->shard->policy), b->envelope.vmta) == NULL)
		return false;
	/* A sender that was accepted but cannot be mailed (a bare <postmaster>) has nobody behind it. */
	if (b->envelope.sender.n == 0 || smtp_path_parse_bare(b->envelope.sender, &path) != NULL || path.domain.n == 0)
		return false;
	if (!domain_normalize(path.domain, domain, NULL)) {
		log_warning(b->shard->log, "no report of non-delivery: the sender <%.*s> has no domain that can be mailed",
			    SPAN_ARG(b->envelope.sender));
		return false;
	}
	for (unsigned i = 0; i < b->n; i++)
		if (wants_report(&b->envelope.rcpts[b->rcpts[i]->index]))
			return true;
	return false;
}

/* Whole fields, as many as fit. */
static struct span
head_cut(struct span head)
{
	size_t n = REPORT_HEAD_MAX;

	if (head.n <= n)
		return head;
	while (n > 0 && !(head.p[n - 1] == '\n' && head.p[n] != ' ' && head.p[n] != '\t'))
		n--;
	return span_first(head, n);
}

static bool
read_whole(struct spool_reader *reader, struct buf *out)
{
	bool done = false;

	spool_read_rewind(reader);
	while (!done && spool_read(reader, REPORT_WHOLE_MAX, out, &done, NULL))
		;
	return done;
}

static void
report_format(const struct bounce *b, struct spool_reader *reader, uint64_t id, struct now now, struct buf *out)
{
	const struct ruleset_vmta *vmta = b->rcpts[0]->queue->vmta;
	struct dsn_rcpt *rcpts = mem_alloc(b->n * sizeof *rcpts);
	struct dsn dsn = { 0 };
	struct buf original;

	for (unsigned i = 0; i < b->n; i++) {
		const struct envelope_rcpt *rcpt = &b->envelope.rcpts[b->rcpts[i]->index];

		if (!wants_report(rcpt))
			continue;
		rcpts[dsn.rcpts_n++] = (struct dsn_rcpt){
			.address = rcpt->address, .orcpt = rcpt->orcpt, .status = b->replies[i].enhanced,
			.diagnostic = b->replies[i].line, .remote_mta = b->attempt.remote_host,
		};
	}
	buf_init(&original, 0);
	dsn.original_whole = span_eq_nocase(b->envelope.ret, SPAN("FULL")) && reader->size_bytes <= REPORT_WHOLE_MAX &&
			     read_whole(reader, &original);
	dsn.original = dsn.original_whole ? buf_span(&original) : head_cut(reader->head);
	dsn.reporting_mta = vmta->hostname ? vmta->hostname : policy_ruleset(b->shard->policy)->node.hostname;
	dsn.envelope = &b->envelope;
	dsn.now = now.wall;
	dsn.rcpts = rcpts;
	dsn.id = id;
	dsn_format(&dsn, out);
	buf_fini(&original);
	free(rcpts);
}

static void
report_envelope(const struct bounce *b, struct arena *arena, struct now now, struct envelope *report)
{
	struct smtp_path path;
	char domain[DOMAIN_MAX];

	check(smtp_path_parse_bare(b->envelope.sender, &path) == NULL);
	check(domain_normalize(path.domain, domain, NULL));
	report->id = spool_next_id(b->shard->spool);
	report->received = now.wall;
	report->priority = 50;
	report->smtputf8 = path.utf8;
	report->eightbit = b->envelope.eightbit || b->envelope.smtputf8;
	report->vmta = arena_span(arena, b->envelope.vmta);
	report->pool = arena_span(arena, b->envelope.pool);
	report->source_type = SPAN("dsn");
	report->rcpts_n = 1;
	report->rcpts = arena_alloc(arena, sizeof *report->rcpts);
	report->rcpts[0].address = arena_span(arena, b->envelope.sender);
	report->rcpts[0].domain = arena_span(arena, span_text(domain));
	report->rcpts[0].notify = SMTP_NOTIFY_NEVER;
}

static bool
report_send(struct bounce *b, struct spool_reader *reader, struct err *err, struct now now)
{
	struct spool_writer *writer = spool_begin(b->shard->spool, err);
	struct envelope report = { 0 };
	struct arena arena;
	struct buf text;
	bool ok;

	if (writer == NULL)
		return false;
	arena_init(&arena);
	report_envelope(b, &arena, now, &report);
	buf_init(&text, 0);
	report_format(b, reader, report.id, now, &text);
	b->bytes = buf_len(&text);
	ok = spool_write(writer, buf_span(&text), err);
	buf_fini(&text);
	if (ok) {
		if (b->shard->bounces != NULL)
			b->shard->bounces->storing_bytes += b->bytes;
		accept_message(b->shard->queues, writer, &arena, &report, SPAN(""), on_report, b);
	} else {
		spool_abort(writer);
		arena_fini(&arena);
	}
	return ok;
}

static void
bounce_go(struct bounce *b, struct spool_reader *reader, struct now now)
{
	struct err err = { 0 };

	if (!report_is_wanted(b))
		bounce_settle(b, now);
	else if (!report_send(b, reader, &err, now))
		bounce_wait(b, err.text, now);
}

void
outcome_bounced(struct shard *shard, const struct envelope *envelope, struct spool_reader *reader,
		const struct outcome *outcomes, unsigned n, const struct attempt *attempt, struct now now)
{
	bounce_go(bounce_new(shard, envelope, outcomes, n, attempt), reader, now);
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
	schedule(bounces, now);
}

/* Its record is damaged: what is known without it. No sender, so nobody is told. */
static void
envelope_guess(struct doomed *doomed, struct arena *arena, struct envelope *out)
{
	const struct message *message = doomed->message;

	*out = (struct envelope){
		.id = message->spool.id, .received = message->received, .priority = message->priority,
		.job = span_text(message->job->name), .vmta = span_text(doomed->rcpts[0].rcpt->queue->vmta->name),
		.rcpts_n = message->spool.rcpts_n,
	};
	out->rcpts = arena_alloc(arena, out->rcpts_n * sizeof *out->rcpts);
	for (unsigned i = 0; i < out->rcpts_n; i++) {
		const struct route *route = message->rcpts[i].route;
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
		outcomes[i] = (struct outcome){ .rcpt = doomed->rcpts[i].rcpt, .reply = &doomed->rcpts[i].verdict->reply };
	b = bounce_new(bounces->shard, envelope, outcomes, doomed->n, NULL);
	for (unsigned i = 0; i < doomed->n; i++)
		if (doomed->rcpts[i].verdict->expired && smtp_reply_temp(&b->replies[i]))
			bounce_expire(b, i);
	if (reader != NULL)
		bounce_go(b, reader, now);
	else
		bounce_settle(b, now);
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
		envelope_guess(doomed, &arena, &envelope);
		doomed_end(bounces, doomed, &envelope, NULL, &arena, now);
	} else {
		list_add_tail(&bounces->doomed, &doomed->node);
		trouble(bounces, err.text, now);
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
	} else {
		bounce_wait(b, err.text, now);
	}
	return n;
}

/* ---- by turns ---- */

static bool
has_work(const struct bounces *bounces)
{
	return !list_empty(&bounces->doomed) || !list_empty(&bounces->unsent);
}

/* When the bound is reached, a report that is stored calls again. */
static void
schedule(struct bounces *bounces, struct now now)
{
	mono_us_t at = bounces->trouble ? now.mono + PROBE_US : now.mono;

	if (!has_work(bounces) || bounces->storing_bytes >= STORING_MAX)
		return;
	if (!timer_started(&bounces->timer) || bounces->timer.node.key > at)
		timer_start(&bounces->shard->loop->timers, &bounces->timer, at);
}

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
	schedule(bounces, now);
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
		for (unsigned i = 0; i < doomed->n; i++)
			queue_rcpt_postpone(doomed->rcpts[i].rcpt, now);
		doomed_free(doomed);
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
