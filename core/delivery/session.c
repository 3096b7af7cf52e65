/*
 * session - from a slot to a connection to replies.
 *
 *   SEEKING     the next address: a name is looked up, or a connect rate waits
 *   CONNECTING  dial
 *   TALKING     greeting, EHLO, STARTTLS; failures go back to SEEKING with the next address
 *   OPEN        idle, or a transaction
 *   PARTING     this host has refused us; the next one is sought when it has closed
 *   QUITTING    nothing more is sent; the slot is given back when the peer has closed
 *   OVER        ended; freed at the end of the event it is in
 *
 * PARTING and QUITTING wait (not for long) because caps are promised as the peer
 * counts: it must not see the next connection before it has ended this one.
 * States never go back but to SEEKING: from CONNECTING and TALKING, and by way of
 * PARTING. Every state has the timer running, but OPEN idle without a limit does
 * not exist: the idle time is the timer then. Bytes alone never start it anew: a
 * peer that dribbles would hold its place without end. Whole replies do.
 *
 * This file is its life: the connection's events, the timer, what the queue asks,
 * the end. session_seek.c has SEEKING and what follows a failed address;
 * session_talk.c moves the SMTP client on, from TALKING to QUITTING; session_mail.c
 * has the transactions.
 *
 * Events of the connection, the resolver and the timer may end the session;
 * session_enter()/session_left() bracket each of them so that the memory goes
 * only when nobody up the stack uses it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/session_own.h"

#include "policy/setting.h"

#define RATE_IDLE_US    (240 * US_PER_S)        /* POLICY.md: up to 4 minutes for a message rate */
#define QUIT_TIMEOUT_US (5 * US_PER_S)
#define SPARES_MAX      256

struct session *
session_of(struct list *node)
{
	return container_of(node, struct session, node);
}

void
session_arm(struct session *s, int64_t us)
{
	s->timeout = SETTINGS_N;
	timer_start(&s->delivery->shard->loop->timers, &s->timer, session_now(s).mono + us);
}

void
session_arm_by(struct session *s, enum setting_id timeout)
{
	session_arm(s, setting_duration(session_settings(s), timeout));
	s->timeout = timeout;
}

/* ---- the end ---- */

void
session_enter(struct session *s)
{
	s->depth++;
}

void
session_free_spare(struct session *s)
{
	smtp_client_fini(&s->client);
	free(s);
}

/*
 * In a storm every attempt is a session, and 7 KB are too much for malloc()'s caches: the last one's memory, still
 * in the processor's cache, serves the next.
 */
static void
keep_spare(struct session *s)
{
	struct delivery *delivery = s->delivery;

	smtp_client_rest(&s->client);
	if (delivery->spares_n == SPARES_MAX) {
		session_free_spare(s);
		return;
	}
	list_add_head(&delivery->spares, &s->node);
	delivery->spares_n++;
}

void
session_left(struct session *s)
{
	if (--s->depth > 0 || s->state != OVER)
		return;
	check(s->conn == NULL);
	check(!s->in_transaction);
	keep_spare(s);
}

static const char *
domain_of(const struct session *s)
{
	if (s->in_transaction)
		return s->rcpts[0]->route->name;
	return s->carried_n > 0 ? s->carried[0]->route->name : NULL;
}

void
session_tell(struct session *s, enum trace_who who, struct span bytes)
{
	struct trace *trace = &s->delivery->shard->trace;
	char peer[DOMAIN_MAX + IP_TEXT_MAX + 3];

	if (!trace_on(trace))
		return;
	snprintf(peer, sizeof peer, "%s (%s)", s->host, s->address);
	trace_tell(trace, &(struct trace_session){ .number = s->number, .queue = s->slot.lane->queue->name, .domain = domain_of(s), .peer = peer },
		   who, bytes);
}

void
session_say_quit(struct session *s)
{
	session_tell(s, TRACE_WE, SPAN("QUIT"));
	conn_write(s->conn, SPAN("QUIT\r\n"));
}

void
session_drop_connection(struct session *s)
{
	if (s->conn != NULL && s->state != OVER)
		session_tell(s, TRACE_EVENT, SPAN("the connection ends"));
	conn_close(s->conn);
	s->conn = NULL;
	s->client_live = false;
	s->in_tls_handshake = false;
}

void
session_over(struct session *s)
{
	struct now now = session_now(s);

	if (s->state == OVER)
		return;
	session_drop_connection(s);
	s->state = OVER;
	session_drop_carried(s);
	timer_stop(&s->delivery->shard->loop->timers, &s->timer);
	target_fini(&s->target);
	list_remove(&s->node);
	s->delivery->sessions_n--;
	queue_slot_closed(&s->slot, now);
}

/* ---- events of the connection ---- */

static void
on_open(void *ctx)
{
	struct session *s = ctx;
	char text[IP_TEXT_MAX + 32];

	ip_format(&s->conn->local.ip, s->local);
	if (trace_on(&s->delivery->shard->trace)) {
		snprintf(text, sizeof text, "connected from %s", s->local);
		session_tell(s, TRACE_EVENT, span_text(text));
	}
	if (target_leads_back(&s->target, policy_ruleset(s->delivery->shard->policy), &s->at, &s->conn->local.ip)) {
		s->target.refused++;
		session_enter(s);
		session_parted(s);
		session_left(s);
		return;
	}
	s->state = TALKING;
	session_arm_by(s, SETTING_greeting_timeout);
}

static void
on_data(void *ctx, struct span data)
{
	struct session *s = ctx;

	session_enter(s);
	if (s->state == TALKING || s->state == OPEN || s->state == QUITTING) {
		session_tell(s, TRACE_THEY, data);
		smtp_client_feed(&s->client, data);
		session_pump(s);
	}
	session_left(s);
}

static void
on_drained(void *ctx)
{
	struct session *s = ctx;

	session_enter(s);
	if (s->body_wanted)
		session_pump(s);
	session_left(s);
}

static void
on_tls(void *ctx, const struct err *err)
{
	struct session *s = ctx;
	struct smtp_reply reply;

	session_enter(s);
	s->in_tls_handshake = false;
	session_tell(s, TRACE_EVENT, span_text(err == NULL ? s->conn->tls_version : err->text));
	if (err == NULL && s->conn->tls_resumed)
		session_tell(s, TRACE_EVENT, SPAN("the TLS session is one of before"));
	if (err == NULL) {
		smtp_client_tls_started(&s->client);
		session_arm_by(s, SETTING_command_timeout);
		session_pump(s);
	} else if (session_settings(s)->require_starttls || session_settings(s)->verify_tls) {
		session_fail_reply(&reply, "4.7.5", "TLS failed: %s", err->text);
		session_address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
	} else {
		/* Opportunistic: the same address once more, in clear. */
		log_debug(s->delivery->shard->log, "%s: TLS with %s failed (%s); in clear", s->slot.lane->queue->name,
			  s->host, err->text);
		session_fail_reply(&s->last, "4.7.5", "TLS failed: %s", err->text);
		s->no_tls = true;
		session_drop_connection(s);
		s->state = SEEKING;
		session_seek(s);
	}
	session_left(s);
}

/* The connection is gone, by the peer or by time; what it means depends on where we were. */
static void
connection_lost(struct session *s, const char *why)
{
	struct smtp_reply reply;

	switch (s->state) {
	case CONNECTING:
	case TALKING:
		session_fail_reply(&reply, s->state == CONNECTING ? "4.4.1" : "4.4.2", "%s", why);
		session_address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
		return;
	case OPEN:
		session_fail_reply(&reply, "4.4.2", "%s", why);
		session_break(s, &reply, true);
		if (s->carried_n > 0)
			session_next_host(s, true);
		else
			session_over(s);
		return;
	case PARTING:
		session_parted(s);
		return;
	case SEEKING:
	case QUITTING:
	case OVER:
		session_over(s);
	}
}

static void
on_close(void *ctx, const struct err *err)
{
	struct session *s = ctx;

	session_enter(s);
	connection_lost(s, err != NULL ? err->text : "connection closed by the peer");
	session_left(s);
}

const struct conn_events session_events = { on_open, on_data, on_drained, on_tls, on_close };

static const char *
timed_out_text(const struct session *s)
{
	if (s->state == CONNECTING)
		return "connect timed out";
	if (s->in_tls_handshake)
		return "TLS handshake timed out";
	switch (smtp_client_awaits(&s->client)) {
	case SMTP_STAGE_GREETING: return "greeting timed out";
	case SMTP_STAGE_EHLO:     return "EHLO timed out";
	case SMTP_STAGE_STARTTLS: return "STARTTLS timed out";
	case SMTP_STAGE_MAIL:     return "MAIL timed out";
	case SMTP_STAGE_RCPT:     return "RCPT timed out";
	case SMTP_STAGE_DATA:     return "DATA timed out";
	case SMTP_STAGE_FINAL:    return "the reply to the message timed out";
	default:                  return "timed out";
	}
}

static void
on_timer(void *ctx, struct now now)
{
	struct session *s = ctx;

	session_enter(s);
	if (s->state != SEEKING && s->timeout != SETTINGS_N)
		queue_used(s->slot.lane->queue, s->timeout);
	if (s->state == SEEKING)
		session_seek(s);
	else if (s->state == OPEN && !s->in_transaction && s->carried_n > 0)
		session_send_carried(s);
	else if (s->state == OPEN && !s->in_transaction)
		session_quit(&s->slot);
	else
		connection_lost(s, timed_out_text(s));
	session_left(s);
}

/* ---- what the queue asks ---- */

static void
on_target_ready(void *ctx)
{
	struct session *s = ctx;

	session_enter(s);
	session_seek(s);
	session_left(s);
}

static void
on_start(void *ctx, struct now now)
{
	struct session *s = ctx;

	timer_init(&s->timer, on_timer, s);
	session_enter(s);
	session_seek(s);
	session_left(s);
}

static struct session *
session_new(struct delivery *delivery)
{
	struct session *s;

	if (delivery->spares_n == 0)
		return mem_alloc(sizeof *s);
	s = session_of(delivery->spares.next);
	list_remove(&s->node);
	delivery->spares_n--;
	memset(s, 0, offsetof(struct session, client));
	return s;
}

struct queue_slot *
session_start(struct delivery *delivery, struct lane *lane, const struct rcpt *first)
{
	struct session *s = session_new(delivery);

	s->delivery = delivery;
	s->number = trace_number(&delivery->shard->trace);
	s->state = SEEKING;
	s->connect_paid = true;
	s->connect_paid_at = loop_now(delivery->shard->loop).mono;
	target_init(&s->target, delivery->shard->resolver, lane->hosts, lane->queue->vmta, &delivery->shard->prng, on_target_ready, s);
	list_add_tail(&delivery->sessions, &s->node);
	delivery->sessions_n++;
	/* At the next turn: the queue has not counted us yet. */
	timer_init(&s->timer, on_start, s);
	timer_start(&delivery->shard->loop->timers, &s->timer, loop_now(delivery->shard->loop).mono);
	return &s->slot;
}

void
session_quit(struct queue_slot *slot)
{
	struct session *s = container_of(slot, struct session, slot);

	if (s->state != OPEN)
		return;
	if (slot->state != SLOT_CLOSING)
		queue_slot_closing(slot);
	s->state = QUITTING;
	smtp_client_quit(&s->client);
	session_flush(s);
	session_arm(s, QUIT_TIMEOUT_US);
}

void
session_idle(struct queue_slot *slot)
{
	struct session *s = container_of(slot, struct session, slot);

	if (slot->waits_for_rate)
		session_arm(s, RATE_IDLE_US);
	else
		session_arm_by(s, SETTING_idle_timeout);
}

void
session_source_off(struct session *s, const struct queue *queue, const struct ip *source)
{
	if (s->state == OPEN && !s->in_transaction && s->slot.lane->queue == queue && ip_eq(&s->conn->local.ip, source))
		session_quit(&s->slot);
}

void
session_leave_if_idle(struct session *s)
{
	if (s->state == OPEN && !s->in_transaction && s->carried_n == 0)
		session_quit(&s->slot);
}

void
session_stop(struct session *s)
{
	session_enter(s);
	if (s->state == OPEN && !s->in_transaction)
		session_quit(&s->slot);
	else if (s->state == SEEKING || s->state == CONNECTING || s->state == TALKING || s->state == PARTING)
		session_over(s);
	session_left(s);
}

void
session_abort(struct session *s)
{
	session_enter(s);
	if (s->in_transaction)
		session_put_back(s);
	session_over(s);
	session_left(s);
}

bool
session_waits_for_final(const struct session *s)
{
	return s->in_transaction && !s->body_wanted && smtp_client_awaits(&s->client) == SMTP_STAGE_FINAL;
}
