/*
 * outcome - one file that writes down the ends and the deferrals.
 *
 * Order for a bounce: the report is committed to the spool like any other
 * message; when that is durable the accounting line is written and the
 * recipient settled. If the report cannot be stored (a full disk), the
 * recipient stays queued and is tried again after retry_recipients_after:
 * nothing is lost, at worst the receiver is asked twice.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/outcome.h"

#include "mail/dsn.h"
#include "queue/accept.h"
#include "smtp/smtp_path.h"

#define REPORT_WHOLE_MAX (64 * 1024)

/* ---- accounting ---- */

static void
write_record(struct shard *shard, enum account_type type, const struct rcpt *rcpt, const struct envelope *envelope,
	     const struct smtp_reply *reply, const struct attempt *attempt, struct now now)
{
	struct attempt none = { 0 };
	struct account_record record;
	char mta[360] = "";

	if (shard->account == NULL)
		return;
	if (attempt == NULL)
		attempt = &none;
	if (attempt->remote_host != NULL)
		snprintf(mta, sizeof mta, "%s (%s)", attempt->remote_host, attempt->remote_address);
	record = (struct account_record){
		.type = type, .logged = now.wall, .queued = envelope->received,
		.orig = envelope->sender,
		.rcpt = envelope->rcpts[rcpt->index].address,
		.orcpt = envelope->rcpts[rcpt->index].orcpt,
		.status = span_text(reply->enhanced), .diag = span_text(reply->line), .mta = span_text(mta),
		.src_type = envelope->source_type, .src_mta = envelope->source_mta,
		.source_ip = span_text(attempt->local_address),
		.destination_ip = span_text(attempt->remote_address),
		.esmtp = span_text(attempt->esmtp), .size_bytes = attempt->size_bytes,
		/* Who sends, not who was chosen: a reaction may have rerouted it. */
		.vmta = span_text(rcpt->queue->vmta->name), .job = envelope->job, .env_id = envelope->envid,
		.queue = span_text(rcpt->queue->name), .pool = envelope->pool,
	};
	account_write(shard->account, &record);
}

/* on.delivered, on.bounced */
static void
tell_policy(struct shard *shard, enum policy_hook hook, const struct rcpt *rcpt, const struct envelope *envelope,
	    const struct smtp_reply *reply, const struct attempt *attempt)
{
	const struct queue *queue = rcpt->queue;
	struct attempt none = { 0 };
	struct policy_attempt told;
	char pool[128];

	if (!policy_has_hook(shard->policy, hook))
		return;
	if (attempt == NULL)
		attempt = &none;
	snprintf(pool, sizeof pool, "%.*s", SPAN_ARG(envelope->pool));
	told = (struct policy_attempt){
		.sender = envelope->sender, .recipient = envelope->rcpts[rcpt->index].address,
		.job = envelope->job, .envid = envelope->envid, .id = envelope->id, .size_bytes = attempt->size_bytes,
		.queue = queue->name, .site = queue->site->name, .vmta = queue->vmta->name, .pool = pool,
		.remote_host = attempt->remote_host, .remote_address = attempt->remote_address,
		.local_address = attempt->local_address, .attempts = rcpt->attempts + 1u, .reply = reply,
	};
	if (hook == HOOK_DELIVERED)
		policy_on_delivered(shard->policy, &told);
	else
		policy_on_bounced(shard->policy, &told);
}

/* A reply without an enhanced code gets the general one of its class. */
static const struct smtp_reply *
with_status(const struct smtp_reply *reply, struct smtp_reply *copy)
{
	if (reply->enhanced[0] != '\0')
		return reply;
	*copy = *reply;
	snprintf(copy->enhanced, sizeof copy->enhanced, "%u.0.0", (unsigned)reply->code / 100 % 10);
	return copy;
}

void
outcome_delivered(struct shard *shard, const struct envelope *envelope, const struct outcome *o,
		  const struct attempt *attempt, struct now now)
{
	struct smtp_reply copy;

	write_record(shard, ACCOUNT_DELIVERED, o->rcpt, envelope, with_status(o->reply, &copy), attempt, now);
	shard->delivered++;
	tell_policy(shard, HOOK_DELIVERED, o->rcpt, envelope, o->reply, attempt);
	queue_rcpt_delivered(o->rcpt, now);
}

void
outcome_deferred(struct shard *shard, const struct envelope *envelope, const struct outcome *o,
		 const struct attempt *attempt, struct now now)
{
	struct smtp_reply copy;

	write_record(shard, ACCOUNT_DEFERRED, o->rcpt, envelope, with_status(o->reply, &copy), attempt, now);
	queue_error(o->rcpt->queue, o->reply->line);
	queue_rcpt_defer_for(o->rcpt, o->floor, o->reroute, now);
}

void
outcome_received(struct shard *shard, const struct envelope *envelope, uint64_t size_bytes, struct now now)
{
	struct account_record record;

	shard->received++;
	if (shard->account == NULL)
		return;
	for (unsigned i = 0; i < envelope->rcpts_n; i++) {
		record = (struct account_record){
			.type = ACCOUNT_RECEIVED, .logged = now.wall, .queued = envelope->received,
			.orig = envelope->sender, .rcpt = envelope->rcpts[i].address, .orcpt = envelope->rcpts[i].orcpt,
			.src_type = envelope->source_type, .src_mta = envelope->source_mta, .size_bytes = size_bytes,
			.vmta = envelope->vmta, .job = envelope->job, .env_id = envelope->envid, .pool = envelope->pool,
		};
		account_write(shard->account, &record);
	}
}

void
outcome_queue_failed(struct shard *shard, struct queue *queue, const struct smtp_reply *reply, struct now now)
{
	struct account_record record = {
		.type = ACCOUNT_QUEUE, .logged = now.wall, .diag = span_text(reply->line),
		.status = span_text(reply->enhanced),
		.vmta = span_text(queue->vmta->name), .queue = span_text(queue->name),
	};
	char wait[32] = "";

	if (queue->retry_until > now.mono) {
		duration_format((queue->retry_until - now.mono) / US_PER_S * US_PER_S, wait);
		log_info(shard->log, "%s: %s; again in %s", queue->name, reply->line, wait);
	} else {
		log_info(shard->log, "%s: %s", queue->name, reply->line);
	}
	if (shard->account != NULL)
		account_write(shard->account, &record);
}

/* ---- bounces ---- */

struct bounce {
	struct shard   *shard;
	struct arena    arena;          /* everything below */
	struct envelope envelope;       /* of the message that failed */
	struct attempt  attempt;
	struct rcpt   **rcpts;
	struct smtp_reply *replies;
	unsigned        n;
};

static void
bounce_settle(struct bounce *bounce, struct now now)
{
	for (unsigned i = 0; i < bounce->n; i++) {
		write_record(bounce->shard, ACCOUNT_BOUNCED, bounce->rcpts[i], &bounce->envelope,
			     &bounce->replies[i], &bounce->attempt, now);
		bounce->shard->bounced++;
		tell_policy(bounce->shard, HOOK_BOUNCED, bounce->rcpts[i], &bounce->envelope, &bounce->replies[i], &bounce->attempt);
		queue_error(bounce->rcpts[i]->queue, bounce->replies[i].line);
		queue_rcpt_over(bounce->rcpts[i], SPOOL_BOUNCED, now);
	}
}

static void
bounce_free(struct bounce *bounce)
{
	arena_fini(&bounce->arena);
	free(bounce);
}

static void
bounce_postpone(struct bounce *bounce, const char *why, struct now now)
{
	log_error(bounce->shard->log, "a report of non-delivery cannot be stored (%s); its recipients stay queued", why);
	for (unsigned i = 0; i < bounce->n; i++)
		queue_rcpt_postpone(bounce->rcpts[i], now);
}

static void
on_report(void *ctx, const struct err *err, const struct envelope *envelope)
{
	struct bounce *bounce = ctx;
	struct now now = loop_now(bounce->shard->loop);

	(void)envelope;
	if (err == NULL)
		bounce_settle(bounce, now);
	else
		bounce_postpone(bounce, err->text, now);
	bounce_free(bounce);
}

static const char *
or_null(struct arena *arena, const char *text)
{
	return text != NULL ? arena_strdup(arena, text) : NULL;
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
	arena_init(&b->arena);
	/* The envelope's spans end with the reader; a round through its record gives a copy. */
	buf_init(&meta, 0);
	envelope_encode(envelope, &meta);
	check(envelope_decode(arena_span(&b->arena, buf_span(&meta)), &b->arena, &b->envelope, NULL));
	buf_fini(&meta);
	b->rcpts = arena_alloc(&b->arena, n * sizeof *b->rcpts);
	b->replies = arena_alloc(&b->arena, n * sizeof *b->replies);
	for (unsigned i = 0; i < n; i++) {
		b->rcpts[i] = outcomes[i].rcpt;
		b->replies[i] = *with_status(outcomes[i].reply, &copy);
		/* Its last allowed attempt was deferred: given up, with the receiver's own words. */
		if (smtp_reply_temp(&b->replies[i]) && attempt != NULL)
			snprintf(b->replies[i].enhanced, sizeof b->replies[i].enhanced, "4.4.7");
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

/* Who asked not to be told is not told (RFC 3461, 4.1). */
static bool
wants_report(const struct envelope_rcpt *rcpt)
{
	return rcpt->notify == 0 || (rcpt->notify & SMTP_NOTIFY_FAILURE);
}

static void
report_format(struct bounce *b, struct spool_reader *reader, uint64_t id, struct now now, struct buf *out)
{
	const struct ruleset_vmta *vmta = b->rcpts[0]->queue->vmta;
	struct dsn_rcpt *rcpts = arena_alloc(&b->arena, b->n * sizeof *rcpts);
	struct dsn dsn = { 0 };
	struct buf original;
	bool done = false;

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
	dsn.original_whole = span_eq_nocase(b->envelope.ret, SPAN("FULL")) && reader->size_bytes <= REPORT_WHOLE_MAX;
	if (dsn.original_whole) {
		spool_read_rewind(reader);
		while (!done && spool_read(reader, REPORT_WHOLE_MAX, &original, &done, NULL))
			;
		dsn.original_whole = done;
	}
	dsn.original = dsn.original_whole ? buf_span(&original) : reader->head;
	dsn.reporting_mta = vmta->hostname ? vmta->hostname : policy_ruleset(b->shard->policy)->node.hostname;
	dsn.envelope = &b->envelope;
	dsn.now = now.wall;
	dsn.rcpts = rcpts;
	dsn.id = id;
	dsn_format(&dsn, out);
	buf_fini(&original);
}

/* False: there is nobody to tell, or telling failed (then the recipients were postponed). */
static bool
report_send(struct bounce *b, struct spool_reader *reader, struct now now)
{
	struct queues *queues = b->shard->queues;
	struct err err = { 0 };
	struct spool_writer *writer = spool_begin(b->shard->spool, &err);
	struct envelope report = { 0 };
	struct arena arena;
	struct smtp_path path;
	struct buf text;
	char domain[DOMAIN_MAX];
	bool ok;

	if (writer == NULL) {
		bounce_postpone(b, err.text, now);
		bounce_free(b);
		return true;
	}
	check(smtp_path_parse_bare(b->envelope.sender, &path) == NULL);
	check(domain_normalize(path.domain, domain, NULL));
	arena_init(&arena);
	report.id = spool_next_id(b->shard->spool);
	report.received = now.wall;
	report.priority = 50;
	report.smtputf8 = path.utf8;
	report.eightbit = b->envelope.eightbit || b->envelope.smtputf8;
	report.vmta = arena_span(&arena, b->envelope.vmta);
	report.pool = arena_span(&arena, b->envelope.pool);
	report.source_type = SPAN("dsn");
	report.rcpts_n = 1;
	report.rcpts = arena_alloc(&arena, sizeof *report.rcpts);
	report.rcpts[0].address = arena_span(&arena, b->envelope.sender);
	report.rcpts[0].domain = arena_span(&arena, span_text(domain));
	report.rcpts[0].notify = SMTP_NOTIFY_NEVER;
	buf_init(&text, 0);
	report_format(b, reader, report.id, now, &text);
	ok = spool_write(writer, buf_span(&text), &err);
	buf_fini(&text);
	if (ok) {
		accept_message(queues, writer, &arena, &report, SPAN(""), on_report, b);
	} else {
		spool_abort(writer);
		arena_fini(&arena);
		bounce_postpone(b, err.text, now);
		bounce_free(b);
	}
	return true;
}

static bool
report_is_wanted(const struct bounce *b)
{
	struct smtp_path path;

	/* A sender that was accepted but cannot be mailed (a bare <postmaster>) has nobody behind it. */
	if (b->envelope.sender.n == 0 || smtp_path_parse_bare(b->envelope.sender, &path) != NULL || path.domain.n == 0)
		return false;
	for (unsigned i = 0; i < b->n; i++)
		if (wants_report(&b->envelope.rcpts[b->rcpts[i]->index]))
			return true;
	return false;
}

void
outcome_bounced(struct shard *shard, const struct envelope *envelope, struct spool_reader *reader,
		const struct outcome *outcomes, unsigned n, const struct attempt *attempt, struct now now)
{
	struct bounce *b = bounce_new(shard, envelope, outcomes, n, attempt);

	/* The virtual MTA may be gone from the policy; then the report has no address to leave from. */
	if (report_is_wanted(b) && ruleset_vmta(policy_ruleset(shard->policy), b->envelope.vmta) != NULL &&
	    report_send(b, reader, now))
		return;
	bounce_settle(b, now);
	bounce_free(b);
}

/* ---- without a session ---- */

static bool
read_envelope(struct shard *shard, const struct rcpt *rcpt, struct spool_reader *reader, struct arena *arena,
	      struct envelope *envelope)
{
	struct err err = { 0 };

	if (!spool_read_open(shard->spool, &rcpt->message->spool, reader, &err)) {
		log_error(shard->log, "%s", err.text);
		return false;
	}
	if (envelope_decode(reader->meta, arena, envelope, &err))
		return true;
	log_error(shard->log, "%s", err.text);
	spool_read_close(reader);
	return false;
}

/* The code a receiver would have said it with; 556 is RFC 7505's for a null MX. */
static unsigned
code_for(const char *status)
{
	if (strcmp(status, "5.1.10") == 0)
		return 556;
	return status[0] == '4' ? 450 : 550;
}

static void
end_by_itself(struct shard *shard, struct rcpt *rcpt, const struct smtp_reply *reply, const struct duration_list *floor, bool bounce,
	      struct now now)
{
	struct spool_reader reader = { 0 };
	struct envelope envelope;
	struct arena arena;
	struct outcome outcome = { .rcpt = rcpt, .reply = reply, .floor = floor };

	arena_init(&arena);
	if (!read_envelope(shard, rcpt, &reader, &arena, &envelope)) {
		queue_rcpt_postpone(rcpt, now);
	} else {
		if (bounce)
			outcome_bounced(shard, &envelope, &reader, &outcome, 1, NULL, now);
		else
			outcome_deferred(shard, &envelope, &outcome, NULL, now);
		spool_read_close(&reader);
	}
	arena_fini(&arena);
}

void
outcome_give_up(struct shard *shard, struct rcpt *rcpt, const char *status, const char *text, struct now now)
{
	struct smtp_reply reply;

	smtp_reply_make(&reply, code_for(status), status, text);
	end_by_itself(shard, rcpt, &reply, NULL, true, now);
}

void
outcome_put_off(struct shard *shard, struct rcpt *rcpt, const struct smtp_reply *reply, const struct duration_list *floor, struct now now)
{
	end_by_itself(shard, rcpt, reply, floor, false, now);
}

struct for_all {
	struct shard *shard;
	const struct smtp_reply *reply;
	struct now now;
};

static void
bounce_with_reply(void *ctx, struct rcpt *rcpt)
{
	const struct for_all *all = ctx;

	end_by_itself(all->shard, rcpt, all->reply, NULL, true, all->now);
}

void
outcome_bounce_queue(struct shard *shard, struct queue *queue, const struct smtp_reply *reply, struct now now)
{
	struct for_all all = { shard, reply, now };

	queue_take(queue, NULL, bounce_with_reply, &all, now);
}

struct by_hand {
	struct shard *shard;
	struct now    now;
};

static void
bounce_one(void *ctx, struct rcpt *rcpt)
{
	struct by_hand *hand = ctx;

	outcome_give_up(hand->shard, rcpt, "5.7.1", "bounced by the operator", hand->now);
}

static void
drop_one(void *ctx, struct rcpt *rcpt)
{
	struct by_hand *hand = ctx;
	struct spool_reader reader = { 0 };
	struct envelope envelope;
	struct smtp_reply reply;
	struct arena arena;

	arena_init(&arena);
	if (read_envelope(hand->shard, rcpt, &reader, &arena, &envelope)) {
		smtp_reply_make(&reply, 550, "5.7.1", "dropped by the operator");
		write_record(hand->shard, ACCOUNT_BOUNCED, rcpt, &envelope, &reply, NULL, hand->now);
		spool_read_close(&reader);
	}
	queue_rcpt_over(rcpt, SPOOL_DROPPED, hand->now);
	arena_fini(&arena);
}

uint64_t
outcome_bounce_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now)
{
	struct by_hand hand = { shard, now };
	uint64_t n = queues_take(shard->queues, pattern, job, queues_out, bounce_one, &hand, now);

	spool_hurry(shard->spool);
	return n;
}

uint64_t
outcome_drop_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now)
{
	struct by_hand hand = { shard, now };
	uint64_t n = queues_take(shard->queues, pattern, job, queues_out, drop_one, &hand, now);

	spool_hurry(shard->spool);
	return n;
}
