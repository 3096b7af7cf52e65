/*
 * outcome - one file that writes down the ends and the deferrals.
 *
 * A delivery and a deferral are written down at once. What is to be bounced goes
 * to bounces, which first see to the report, and comes back here to be settled.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/bounces.h"
#include "delivery/drops.h"
#include "queue/queue_hand.h"

#define UNREAD_LINES    3u                      /* in the log, of the messages that could not be read */
#define UNREAD_US       (60 * US_PER_S)         /* in such a time */

/* ---- accounting ---- */

static void
write_record(struct shard *shard, enum account_type type, const struct rcpt *rcpt, const struct envelope *envelope,
	     const struct smtp_reply *reply, const char *category, const struct attempt *attempt, struct now now)
{
	struct attempt none = { 0 };
	struct account_record record;
	char mta[DOMAIN_MAX + IP_TEXT_MAX + 3];
	size_t mta_n = 0;

	if (shard->account == NULL)
		return;
	if (attempt == NULL)
		attempt = &none;
	if (attempt->remote_host != NULL) {
		mta_n = span_put(span_text(attempt->remote_host), mta, sizeof mta);
		mta_n += span_put(SPAN(" ("), mta + mta_n, sizeof mta - mta_n);
		mta_n += span_put(span_text(attempt->remote_address), mta + mta_n, sizeof mta - mta_n);
		mta_n += span_put(SPAN(")"), mta + mta_n, sizeof mta - mta_n);
	}
	record = (struct account_record){
		.type = type, .logged = now.wall, .queued = envelope->received,
		.orig = envelope->sender,
		.rcpt = envelope->rcpts[rcpt->index].address,
		.orcpt = envelope->rcpts[rcpt->index].orcpt,
		.status = span_text(reply->enhanced), .diag = span_text(reply->line), .mta = span_make(mta, mta_n),
		.category = span_text(category),
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
const struct smtp_reply *
outcome_with_status(const struct smtp_reply *reply, struct smtp_reply *copy)
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

	write_record(shard, ACCOUNT_DELIVERED, o->rcpt, envelope, outcome_with_status(o->reply, &copy), NULL, attempt, now);
	shard->delivered++;
	tell_policy(shard, HOOK_DELIVERED, o->rcpt, envelope, o->reply, attempt);
	queue_rcpt_delivered(o->rcpt, now);
}

void
outcome_deferred(struct shard *shard, const struct envelope *envelope, const struct outcome *o,
		 const struct attempt *attempt, struct now now)
{
	struct smtp_reply copy;

	write_record(shard, ACCOUNT_DEFERRED, o->rcpt, envelope, outcome_with_status(o->reply, &copy), NULL, attempt, now);
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

/* ---- what bounces ask ---- */

void
outcome_settle_bounced(struct shard *shard, const struct envelope *envelope, const struct outcome *o,
		       const char *category, const struct attempt *attempt, struct now now)
{
	write_record(shard, ACCOUNT_BOUNCED, o->rcpt, envelope, o->reply, category, attempt, now);
	shard->bounced++;
	tell_policy(shard, HOOK_BOUNCED, o->rcpt, envelope, o->reply, attempt);
	queue_error(o->rcpt->queue, o->reply->line);
	queue_rcpt_over(o->rcpt, SPOOL_BOUNCED, now);
}

/* ---- what drops ask ---- */

static void
write_dropped(struct shard *shard, const struct rcpt *rcpt, struct now now)
{
	struct spool_reader reader = { 0 };
	struct envelope envelope;
	struct smtp_reply reply;
	struct arena arena;
	struct err err = { 0 };

	arena_init(&arena);
	if (outcome_envelope(shard, rcpt->message, &reader, &arena, &envelope, &err)) {
		smtp_reply_make(&reply, 550, "5.7.1", "dropped by the operator");
		write_record(shard, ACCOUNT_BOUNCED, rcpt, &envelope, &reply, NULL, NULL, now);
		spool_read_close(&reader);
	} else {
		outcome_unread(shard, rcpt->message, "is dropped without a line in the accounting", &err, now);
	}
	arena_fini(&arena);
}

void
outcome_settle_dropped(struct shard *shard, struct rcpt *rcpt, bool with_line, struct now now)
{
	if (with_line && shard->account != NULL)
		write_dropped(shard, rcpt, now);
	queue_rcpt_over(rcpt, SPOOL_DROPPED, now);
}

bool
outcome_envelope(struct shard *shard, const struct message *message, struct spool_reader *reader, struct arena *arena,
		 struct envelope *envelope, struct err *err)
{
	if (!spool_read_open(shard->spool, &message->spool, reader, err))
		return false;
	if (envelope_decode(reader->meta, arena, envelope, err))
		return true;
	spool_read_close(reader);
	return false;
}

/* ---- what cannot be read ---- */

void
outcome_unread_review(struct shard *shard, mono_us_t now)
{
	if (now < shard->unread.until)
		return;
	if (shard->unread.left_out > 0)
		log_error(shard->log, "%llu times more within a minute a message could not be read from the spool",
			  (unsigned long long)shard->unread.left_out);
	memset(&shard->unread, 0, sizeof shard->unread);
}

void
outcome_unread(struct shard *shard, const struct message *message, const char *what, const struct err *why, struct now now)
{
	char id[17];

	outcome_unread_review(shard, now.mono);
	if (shard->unread.until == 0)
		shard->unread.until = now.mono + UNREAD_US;
	if (shard->unread.told == UNREAD_LINES) {
		shard->unread.left_out++;
		return;
	}
	shard->unread.told++;
	envelope_id_format(message->spool.id, id);
	log_error(shard->log, "message %s %s: %s", id, what, why->text);
}

/* ---- without a session ---- */

/* The code a receiver would have said it with; 556 is RFC 7505's for a null MX. */
static unsigned
code_for(const char *status)
{
	if (strcmp(status, "5.1.10") == 0)
		return 556;
	return status[0] == '4' ? 450 : 550;
}

void
outcome_give_up(struct shard *shard, struct rcpt *rcpt, const char *status, const char *text, struct now now)
{
	struct smtp_reply reply;

	smtp_reply_make(&reply, code_for(status), status, text);
	bounces_add(shard, rcpt, &reply, false, now);
}

void
outcome_put_off(struct shard *shard, struct rcpt *rcpt, const struct smtp_reply *reply, const struct duration_list *floor, struct now now)
{
	struct spool_reader reader = { 0 };
	struct envelope envelope;
	struct arena arena;
	struct err err = { 0 };
	struct outcome outcome = { .rcpt = rcpt, .reply = reply, .floor = floor };

	if (queue_rcpt_last_attempt(rcpt)) {
		bounces_add(shard, rcpt, reply, true, now);
		return;
	}
	arena_init(&arena);
	if (outcome_envelope(shard, rcpt->message, &reader, &arena, &envelope, &err)) {
		outcome_deferred(shard, &envelope, &outcome, NULL, now);
		spool_read_close(&reader);
	} else {
		outcome_unread(shard, rcpt->message, "stays in its queue", &err, now);
		queue_rcpt_postpone(rcpt, now);
	}
	arena_fini(&arena);
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

	bounces_add(all->shard, rcpt, all->reply, false, all->now);
}

void
outcome_bounce_queue(struct shard *shard, struct queue *queue, const struct smtp_reply *reply, struct now now)
{
	struct for_all all = { shard, reply, now };

	queue_take(queue, NULL, bounce_with_reply, &all, now);
}

uint64_t
outcome_bounce_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now)
{
	struct smtp_reply reply;
	struct for_all all = { shard, &reply, now };
	uint64_t n;

	smtp_reply_make(&reply, 550, "5.7.1", "bounced by the operator");
	n = queues_take(shard->queues, pattern, job, queues_out, bounce_with_reply, &all, now);
	bounces_run(shard->bounces, now);
	return n;
}

static void
add_to_drops(void *ctx, struct rcpt *rcpt)
{
	drops_add(ctx, rcpt);
}

uint64_t
outcome_drop_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now)
{
	return queues_take(shard->queues, pattern, job, queues_out, add_to_drops, shard->drops, now);
}

bool
outcome_drop_on(struct shard *shard, struct now now)
{
	return drops_run(shard->drops, now);
}
