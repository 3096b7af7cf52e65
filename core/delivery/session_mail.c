/*
 * session_mail - a session's transactions, and what is made of their replies.
 *
 * Each reply is shown to the policy once, whatever number of recipients it stands
 * for: the one to MAIL, DATA or the final dot is everybody's, one to RCPT is that
 * recipient's. Only then it is decided:
 *
 *   2xx                                  delivered
 *   a rule says bounce, or 5xx           bounced
 *   a rule says skip_mx, a host is left  carried: it goes with this session to the next host
 *   else                                 deferred; 5xx too, where a rule says skip_mx or reroute
 *
 * Carried recipients stay with the session, because any other one might take them
 * to the host that has just refused them. They pay their message rate again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/session_own.h"

#define RATE_PATIENCE_US (240 * US_PER_S)       /* for carried ones; then they are deferred */

static void
fill_attempt(const struct session *s, struct attempt *attempt)
{
	*attempt = (struct attempt){
		.remote_host = s->host, .remote_address = s->address, .local_address = s->local,
		.esmtp = s->esmtp, .size_bytes = s->reader.size_bytes,
	};
}

/* ---- the policy's look ---- */

void
session_look_at(struct session *s, enum smtp_stage stage, const struct smtp_reply *reply, struct react_verdict *out)
{
	bool connected = s->conn != NULL && s->local[0] != '\0';
	struct ip source = connected ? s->conn->local.ip : s->source;
	struct react_event event = {
		.queue = s->slot.lane->queue, .reply = reply, .opened = s->slot.started,
		/* A time-out, a broken connection, no SMTP. */
		.stage = reply->local ? SMTP_STAGE_CONNECT : stage,
		.source = source.family != IP_NONE ? &source : NULL,
	};

	react(s->delivery->react, &event, session_now(s), out);
	s->leaves = s->leaves || out->close || out->skip_mx || out->defer || out->source_off;
	if (out->source_off)
		delivery_source_off(s->delivery, event.queue, &source);
}

/* The reply of recipient i is the one that the policy has seen with recipient k. */
static bool
is_same_reply(const struct session *s, unsigned i, unsigned k)
{
	const struct smtp_client_rcpt *a = &s->message.rcpts[i], *b = &s->message.rcpts[k];

	if (a->stage != b->stage || strcmp(a->reply.line, b->reply.line) != 0)
		return false;
	return a->stage != SMTP_STAGE_RCPT || a->reply.code == 421 || a->reply.local;
}

static struct react_verdict *
judge(struct session *s, const struct smtp_reply *ours)
{
	unsigned n = s->message.rcpts_n, last = UINT32_MAX;
	struct react_verdict *verdicts = arena_alloc(&s->arena, n * sizeof *verdicts);

	for (unsigned i = 0; i < n; i++) {
		const struct smtp_client_rcpt *answer = &s->message.rcpts[i];

		if (smtp_reply_ok(&answer->reply) || s->refused_here[i] ||
		    (ours != NULL && strcmp(answer->reply.line, ours->line) == 0))
			continue;
		if (last != UINT32_MAX && is_same_reply(s, i, last)) {
			verdicts[i] = verdicts[last];
			continue;
		}
		session_look_at(s, answer->stage, &answer->reply, &verdicts[i]);
		if (answer->stage != SMTP_STAGE_RCPT || answer->reply.code == 421 || answer->reply.local)
			last = i;
	}
	return verdicts;
}

/* ---- ends ---- */

static void
carry(struct session *s, struct rcpt *rcpt, const struct smtp_reply *reply, const struct duration_list *floor)
{
	s->carried = mem_grow(s->carried, (s->carried_n + 1) * sizeof *s->carried);
	s->carried_floors = mem_grow(s->carried_floors, (s->carried_n + 1) * sizeof *s->carried_floors);
	s->carried_floors[s->carried_n] = *floor;
	s->carried[s->carried_n++] = rcpt;
	s->carried_reply = *reply;
}

/* True: it was bounced and waits in `bounced`. */
static bool
decide(struct session *s, unsigned i, const struct react_verdict *verdict, const struct attempt *attempt, bool may_carry)
{
	struct shard *shard = s->delivery->shard;
	const struct smtp_reply *reply = &s->message.rcpts[i].reply;
	struct outcome outcome = {
		.rcpt = s->rcpts[i], .reply = reply, .floor = &verdict->floor, .reroute = verdict->reroute,
	};

	if (smtp_reply_ok(reply)) {
		outcome_delivered(shard, &s->envelope, &outcome, attempt, session_now(s));
		return false;
	}
	s->errors++;
	if (verdict->bounce != REACTION_BOUNCE_NONE)
		return true;
	if (smtp_reply_perm(reply) && !verdict->skip_mx && !verdict->reroute)
		return true;
	if (may_carry && verdict->skip_mx && !verdict->reroute && !verdict->defer) {
		carry(s, s->rcpts[i], reply, &verdict->floor);
		return false;
	}
	if (queue_rcpt_last_attempt(s->rcpts[i]))
		return true;
	outcome_deferred(shard, &s->envelope, &outcome, attempt, session_now(s));
	return false;
}

/* A transaction's memory is a few KB that the next one may have, whosever it is: sessions that idle hold none. */
static void
borrow_arena(struct session *s)
{
	struct delivery *delivery = s->delivery;

	if (delivery->spare_arenas_n > 0)
		s->arena = delivery->spare_arenas[--delivery->spare_arenas_n];
}

static void
return_arena(struct session *s)
{
	struct delivery *delivery = s->delivery;

	if (delivery->spare_arenas_n == DELIVERY_ARENAS_MAX) {
		arena_fini(&s->arena);
		return;
	}
	arena_reset(&s->arena);
	delivery->spare_arenas[delivery->spare_arenas_n++] = s->arena;
	arena_init(&s->arena);
}

static void
end_transaction(struct session *s)
{
	s->half_sent = s->body_wanted;
	s->in_transaction = s->body_wanted = false;
	spool_read_close(&s->reader);
	return_arena(s);
}

void
session_put_back(struct session *s)
{
	for (unsigned i = 0; i < s->message.rcpts_n; i++)
		queue_rcpt_postpone(s->rcpts[i], session_now(s));
	end_transaction(s);
}

void
session_finish(struct session *s, const struct smtp_reply *ours)
{
	struct outcome *bounced = arena_alloc(&s->arena, s->message.rcpts_n * sizeof *bounced);
	struct react_verdict *verdicts = judge(s, ours);
	bool may_carry = ours == NULL && target_has_another_host(&s->target, session_settings(s));
	const struct smtp_reply *for_queue = NULL;
	struct smtp_reply reply;
	struct attempt attempt;
	unsigned bounced_n = 0;

	check(s->in_transaction);
	fill_attempt(s, &attempt);
	for (unsigned i = 0; i < s->message.rcpts_n; i++) {
		if (verdicts[i].bounce == REACTION_BOUNCE_QUEUE)
			for_queue = &s->message.rcpts[i].reply;
		if (decide(s, i, &verdicts[i], &attempt, may_carry))
			bounced[bounced_n++] = (struct outcome){
				.rcpt = s->rcpts[i], .reply = &s->message.rcpts[i].reply,
				.expired = verdicts[i].bounce == REACTION_BOUNCE_NONE,
			};
	}
	if (for_queue != NULL)
		reply = *for_queue;
	if (bounced_n > 0)
		outcome_bounced(s->delivery->shard, &s->envelope, &s->reader, bounced, bounced_n, &attempt, session_now(s));
	end_transaction(s);
	if (for_queue != NULL)
		outcome_bounce_queue(s->delivery->shard, s->slot.lane->queue, &reply, session_now(s));
}

void
session_break(struct session *s, const struct smtp_reply *reply, bool by_peer)
{
	if (!s->in_transaction)
		return;
	smtp_client_broken(&s->client, reply);
	session_finish(s, by_peer ? NULL : reply);
}

/* ---- beginnings ---- */

static bool
open_message(struct session *s, struct rcpt **rcpts, unsigned n)
{
	struct shard *shard = s->delivery->shard;
	struct err err = { 0 };

	borrow_arena(s);
	memset(&s->reader, 0, sizeof s->reader);
	if (!spool_read_open(shard->spool, &rcpts[0]->message->spool, &s->reader, &err))
		goto fail;
	if (!envelope_decode(s->reader.meta, &s->arena, &s->envelope, &err)) {
		spool_read_close(&s->reader);
		goto fail;
	}
	return true;

fail:
	outcome_unread(shard, rcpts[0]->message, "stays in its queue", &err, session_now(s));
	for (unsigned i = 0; i < n; i++)
		queue_rcpt_postpone(rcpts[i], session_now(s));
	return_arena(s);
	return false;
}

static void
begin(struct session *s, struct rcpt **rcpts, unsigned n)
{
	s->in_transaction = true;
	s->rcpts = arena_alloc(&s->arena, n * sizeof *rcpts);
	s->refused_here = arena_alloc(&s->arena, n * sizeof *s->refused_here);
	memcpy(s->rcpts, rcpts, n * sizeof *rcpts);
	s->message = (struct smtp_client_message){
		.sender = s->envelope.sender, .envid = s->envelope.envid, .ret = s->envelope.ret,
		.size_bytes = s->reader.size_bytes, .eightbit = s->envelope.eightbit, .smtputf8 = s->envelope.smtputf8,
		.rcpts = arena_alloc(&s->arena, n * sizeof *s->message.rcpts), .rcpts_n = n,
	};
	for (unsigned i = 0; i < n; i++) {
		const struct envelope_rcpt *rcpt = &s->envelope.rcpts[rcpts[i]->index];

		s->message.rcpts[i].address = rcpt->address;
		s->message.rcpts[i].orcpt = rcpt->orcpt;
		s->message.rcpts[i].notify = rcpt->notify;
	}
	smtp_client_send(&s->client, &s->message);
	s->owes_anew = true;
	/* Answered before the peer has heard of it. */
	for (unsigned i = 0; i < n; i++)
		s->refused_here[i] = s->message.rcpts[i].answered;
	session_pump(s);
}

void
session_send(struct queue_slot *slot, struct rcpt **rcpts, unsigned n)
{
	struct session *s = container_of(slot, struct session, slot);

	check(s->state == OPEN);
	check(!s->in_transaction);
	session_enter(s);
	if (open_message(s, rcpts, n))
		begin(s, rcpts, n);
	else
		queue_slot_ready(slot, session_now(s));
	session_left(s);
}

/* ---- the carried ---- */

void
session_drop_carried(struct session *s)
{
	struct shard *shard = s->delivery->shard;

	while (s->carried_n > 0) {
		s->carried_n--;
		outcome_put_off(shard, s->carried[s->carried_n], &s->carried_reply, &s->carried_floors[s->carried_n], session_now(s));
	}
	free(s->carried);
	free(s->carried_floors);
	s->carried = NULL;
	s->carried_floors = NULL;
}

/* Recipients of one message at the end of the row, as many as `max`. */
static unsigned
last_of_a_message(const struct session *s, unsigned max)
{
	unsigned n = 1;

	while (n < s->carried_n && n < max && s->carried[s->carried_n - 1 - n]->message == s->carried[s->carried_n - 1]->message)
		n++;
	return n;
}

void
session_send_carried(struct session *s)
{
	unsigned n = last_of_a_message(s, session_settings(s)->max_rcpt_per_message);
	struct now now = session_now(s);
	mono_us_t at;

	if (!queue_slot_unwanted(&s->slot, now.mono)) {
		n = queue_slot_pay(&s->slot, n, now.mono, &at);
		if (n > 0) {
			s->carried_n -= n;
			if (open_message(s, s->carried + s->carried_n, n))
				begin(s, s->carried + s->carried_n, n);
			else
				session_quit(&s->slot);
			return;
		}
		if (at - now.mono <= RATE_PATIENCE_US) {
			session_arm(s, max_i64(at - now.mono, US_PER_MS));
			return;
		}
	}
	session_quit(&s->slot);
}
