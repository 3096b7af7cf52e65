/*
 * bounces_report - the reports first, then the ends.
 *
 * Order for a bounce: the report is committed to the spool like any other
 * message; when that is durable the accounting line is written and the
 * recipient settled. If it cannot be stored (a full disk), the bounce waits in
 * `unsent` and the report alone is tried again: nobody is asked a second time,
 * and what an operator ordered holds. Only a message that the disk cannot read goes back to its queue meanwhile.
 *
 * Once the shard has no bounces any more it is ending, and whoever comes back from
 * the disk then without a report goes back to its queue.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/bounces_own.h"

#include "mail/dsn.h"
#include "queue/accept.h"
#include "smtp/smtp_path.h"

#define REPORT_WHOLE_MAX (64 * 1024)
#define REPORT_HEAD_MAX  (8 * 1024)             /* RFC 3462, 3: the headers may be a part */

/* ---- one bounce ---- */

static void
bounce_free(struct bounce *bounce)
{
	arena_fini(&bounce->arena);
	free(bounce);
}

void
bounce_settle(struct bounce *b, struct now now)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct outcome outcome = { .rcpt = b->rcpts[i], .reply = &b->replies[i] };

		outcome_settle_bounced(b->shard, &b->envelope, &outcome, b->categories[i], &b->attempt, now);
	}
	bounce_free(b);
}

void
bounce_postpone(struct bounce *b, struct now now)
{
	for (unsigned i = 0; i < b->n; i++)
		queue_rcpt_postpone(b->rcpts[i], now);
	bounce_free(b);
}

void
bounce_wait(struct bounce *b, const char *why, struct now now)
{
	struct bounces *bounces = b->shard->bounces;

	if (bounces == NULL) {
		bounce_postpone(b, now);
		return;
	}
	list_add_tail(&bounces->unsent, &b->node);
	bounces_trouble(bounces, why, now);
}

static void
on_report(void *ctx, const struct err *err, const struct envelope *envelope, struct arena *arena)
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
	bounces_schedule(bounces, now);
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

struct bounce *
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
		if (outcomes[i].expired && smtp_reply_temp(&b->replies[i]))
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

void
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
