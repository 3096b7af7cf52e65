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
 * Events of the connection, the resolver and the timer may end the session;
 * session_enter()/session_left() bracket each of them so that the memory goes
 * only when nobody up the stack uses it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/session_own.h"
#include "policy/setting.h"

#define PENDING_MAX      (256 * 1024)   /* body bytes that wait for the peer's socket */
#define READ_PIECE       (64 * 1024)
#define RATE_IDLE_US     (240 * US_PER_S)       /* POLICY.md: up to 4 minutes for a message rate */
#define QUIT_TIMEOUT_US  (5 * US_PER_S)
#define CLOSE_TIMEOUT_US (1 * US_PER_S)

static void seek(struct session *s);

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

static void
arm_by(struct session *s, enum setting_id timeout)
{
	session_arm(s, setting_duration(session_settings(s), timeout));
	s->timeout = timeout;
}

/* ---- the end ---- */

static void
session_enter(struct session *s)
{
	s->depth++;
}

void
session_left(struct session *s)
{
	if (--s->depth > 0 || s->state != OVER)
		return;
	check(s->conn == NULL);
	check(!s->in_transaction);
	arena_fini(&s->arena);
	free(s);
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

static void
say_quit(struct session *s)
{
	session_tell(s, TRACE_WE, SPAN("QUIT"));
	conn_write(s->conn, SPAN("QUIT\r\n"));
}

static void
drop_connection(struct session *s)
{
	if (s->conn != NULL && s->state != OVER)
		session_tell(s, TRACE_EVENT, SPAN("the connection ends"));
	conn_close(s->conn);
	s->conn = NULL;
	if (s->client_live)
		smtp_client_fini(&s->client);
	s->client_live = false;
	s->in_tls_handshake = false;
}

static void
session_over(struct session *s)
{
	struct now now = session_now(s);

	if (s->state == OVER)
		return;
	drop_connection(s);
	s->state = OVER;
	session_drop_carried(s);
	timer_stop(&s->delivery->shard->loop->timers, &s->timer);
	target_fini(&s->target);
	list_remove(&s->node);
	s->delivery->sessions_n--;
	queue_slot_closed(&s->slot, now);
}

static void
tell_body(struct session *s)
{
	char text[64];

	if (!trace_on(&s->delivery->shard->trace))
		return;
	snprintf(text, sizeof text, "%llu bytes of message", (unsigned long long)s->reader.size_bytes);
	session_tell(s, TRACE_EVENT, span_text(text));
}

/* As much of the body as the peer's socket may be behind. */
static void
send_body(struct session *s)
{
	struct buf room;
	struct span bytes;
	struct err err = { 0 };
	struct smtp_reply reply;
	bool done = false, ok = true, may_take = conn_pending(s->conn) < PENDING_MAX;

	buf_init(&room, 0);
	while (!done && ok && conn_pending(s->conn) < PENDING_MAX) {
		ok = spool_read_next(&s->reader, READ_PIECE, &room, &bytes, &done, &err);
		if (ok)
			conn_write(s->conn, bytes);
	}
	buf_fini(&room);
	if (!ok) {
		/* Half a message is on its way and cannot be taken back: without the final dot it is none. */
		log_error(s->delivery->shard->log, "%s", err.text);
		smtp_reply_make(&reply, 451, "4.3.0", "the message cannot be read from the spool");
		session_break(s, &reply, false);
		session_over(s);
		return;
	}
	if (done) {
		tell_body(s);
		s->body_wanted = false;
		smtp_client_body_sent(&s->client);
		arm_by(s, SETTING_final_timeout);
	} else if (may_take) {
		arm_by(s, SETTING_data_timeout);
	}
}

/* ---- opening ---- */

static void
fail_reply(struct smtp_reply *reply, const char *enhanced, const char *format, const char *what)
{
	char text[400];

	snprintf(text, sizeof text, format, what);
	smtp_reply_make(reply, 400, "", text);
	snprintf(reply->enhanced, sizeof reply->enhanced, "%s", enhanced);
}

/* Nothing further to try: what the queue is told depends on why. */
static void
seek_failed(struct session *s)
{
	struct lane *lane = s->slot.lane;
	struct now now = session_now(s);
	struct react_verdict verdict;
	struct smtp_reply reply;

	if (s->carried_n > 0) {
		/* The hosts have answered; these recipients wait their time, the queue need not. */
	} else if (s->any_failed) {
		queue_slot_failed(&s->slot, &s->last, false, now);
	} else if (s->sources_off) {
		fail_reply(&reply, "4.4.1", "%s", "no source address may be used for it now");
		queue_slot_failed(&s->slot, &reply, false, now);
	} else if (s->target.dns_failed > 0) {
		fail_reply(&reply, "4.4.3", "dns: %s", s->target.dns_detail);
		session_look_at(s, SMTP_STAGE_CONNECT, &reply, &verdict);
		queue_slot_failed(&s->slot, &reply, true, now);
		if (verdict.bounce == REACTION_BOUNCE_QUEUE)
			outcome_bounce_queue(s->delivery->shard, lane->queue, &reply, now);
	} else if (s->target.refused > 0) {
		queue_lane_dead(lane, "5.4.4", "every mail exchanger resolves to an address that is not one (loopback)", now);
	} else {
		queue_lane_dead(lane, "5.4.4", "no mail exchanger has an address that can be reached", now);
	}
	session_over(s);
}

static void
on_target_ready(void *ctx)
{
	struct session *s = ctx;

	session_enter(s);
	seek(s);
	session_left(s);
}

/* It has closed, or had its time to. */
static void
parted(struct session *s)
{
	drop_connection(s);
	s->leaves = false;
	s->state = SEEKING;
	seek(s);
}

/* The peer is there and knows that it is over; what is to follow waits for its end of the connection. */
static void
part(struct session *s, enum session_state how)
{
	s->state = how;
	/* One that says 421 closes by itself; should it listen all the same, it need not wait for a time-out. */
	if (s->client.reply.code == 421 && !s->half_sent)
		say_quit(s);
	if (how == QUITTING && s->slot.state != SLOT_CLOSING)
		queue_slot_closing(&s->slot);
	session_arm(s, CLOSE_TIMEOUT_US);
}

/* This address is no good: the next one, unless the policy or the queue thinks otherwise by now. The peer is gone, or
 * `refused` us and is about to go. */
static void
address_failed(struct session *s, enum smtp_stage stage, const struct smtp_reply *why, bool refused)
{
	struct queue *queue = s->slot.lane->queue;
	struct react_verdict verdict;

	s->last = *why;                 /* it may be the client's, which ends */
	s->any_failed = true;
	if (why->local)
		session_tell(s, TRACE_EVENT, span_text(s->last.line));
	log_debug(s->delivery->shard->log, "%s: %s (%s): %s", queue->name, s->host, s->address, s->last.line);
	session_look_at(s, stage, &s->last, &verdict);
	if (verdict.bounce == REACTION_BOUNCE_QUEUE)
		outcome_bounce_queue(s->delivery->shard, queue, &s->last, session_now(s));
	if (verdict.skip_mx)
		target_skip_host(&s->target);
	if (refused)
		part(s, verdict.defer ? QUITTING : PARTING);
	else if (verdict.defer)
		session_over(s);
	else
		parted(s);
}

/* The carried go to another host; the connection has done its part. */
static void
next_host(struct session *s, bool peer_gone)
{
	s->last = s->carried_reply;
	s->any_failed = true;
	s->no_tls = s->connect_paid = false;
	queue_slot_seeks_again(&s->slot);
	target_skip_host(&s->target);
	if (peer_gone) {
		parted(s);
		return;
	}
	if (!s->client.ended)
		say_quit(s);
	part(s, PARTING);
}

/* The next one in turn that may be used. False: none of that family. */
static bool
choose_source(struct session *s, enum ip_family family)
{
	const struct ruleset_vmta *vmta = s->slot.lane->queue->vmta;
	unsigned *next = &s->delivery->next_source[vmta->index];

	s->source = (struct ip){ 0 };
	for (unsigned i = 0; i < vmta->sources_n; i++) {
		const struct ip *source = &vmta->sources[(*next)++ % vmta->sources_n];

		if (source->family != family || queue_source_is_off(s->slot.lane->queue, source, session_now(s).mono))
			continue;
		s->source = *source;
		return true;
	}
	return vmta->sources_n == 0;
}

/* ---- events of the connection ---- */

static void
list_extensions(struct session *s)
{
	static const struct { uint32_t bit; const char *name; } names[] = {
		{ SMTP_EXT_PIPELINING, "PIPELINING" }, { SMTP_EXT_SIZE, "SIZE" }, { SMTP_EXT_8BITMIME, "8BITMIME" },
		{ SMTP_EXT_SMTPUTF8, "SMTPUTF8" }, { SMTP_EXT_DSN, "DSN" }, { SMTP_EXT_ENHANCED, "ENHANCEDSTATUSCODES" },
		{ SMTP_EXT_CHUNKING, "CHUNKING" }, { SMTP_EXT_STARTTLS, "STARTTLS" },
	};
	size_t n = 0;

	s->esmtp[0] = '\0';
	for (unsigned i = 0; i < countof(names); i++)
		if (s->client.extensions & names[i].bit)
			n += (size_t)snprintf(s->esmtp + n, sizeof s->esmtp - n, "%s%s", n ? "," : "", names[i].name);
}

static void
on_open(void *ctx)
{
	struct session *s = ctx;

	char text[IP_TEXT_MAX + 32];

	ip_format(&s->conn->local.ip, s->local);
	snprintf(text, sizeof text, "connected from %s", s->local);
	session_tell(s, TRACE_EVENT, span_text(text));
	s->state = TALKING;
	arm_by(s, SETTING_greeting_timeout);
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
	if (err == NULL) {
		smtp_client_tls_started(&s->client);
		arm_by(s, SETTING_command_timeout);
		session_pump(s);
	} else if (session_settings(s)->require_starttls || session_settings(s)->verify_tls) {
		fail_reply(&reply, "4.7.5", "TLS failed: %s", err->text);
		address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
	} else {
		/* Opportunistic: the same address once more, in clear. */
		log_debug(s->delivery->shard->log, "%s: TLS with %s failed (%s); in clear", s->slot.lane->queue->name,
			  s->host, err->text);
		fail_reply(&s->last, "4.7.5", "TLS failed: %s", err->text);
		s->no_tls = true;
		drop_connection(s);
		s->state = SEEKING;
		seek(s);
	}
	session_left(s);
}

/* The connection is gone, by the peer or by time; what it means depends on where we were. */
static void
connection_lost(struct session *s, const char *why)
{
	struct smtp_reply reply;

	fail_reply(&reply, "4.4.2", "%s", why);
	switch (s->state) {
	case CONNECTING:
		snprintf(reply.enhanced, sizeof reply.enhanced, "4.4.1");
		/* fall through */
	case TALKING:
		address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
		return;
	case OPEN:
		session_break(s, &reply, true);
		if (s->carried_n > 0)
			next_host(s, true);
		else
			session_over(s);
		return;
	case PARTING:
		parted(s);
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
	char why[400];

	session_enter(s);
	if (err != NULL)
		snprintf(why, sizeof why, "%s", err->text);
	else
		snprintf(why, sizeof why, "connection closed by the peer");
	connection_lost(s, why);
	session_left(s);
}

static const struct conn_events events = { on_open, on_data, on_drained, on_tls, on_close };

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
		seek(s);
	else if (s->state == OPEN && !s->in_transaction && s->carried_n > 0)
		session_send_carried(s);
	else if (s->state == OPEN && !s->in_transaction)
		session_quit(&s->slot);
	else
		connection_lost(s, timed_out_text(s));
	session_left(s);
}

/* ---- seeking ---- */

/* Names that take their time to resolve may outlast what was paid before. */
static bool
pay_connect(struct session *s)
{
	mono_us_t now = session_now(s).mono, at;

	if (s->connect_paid && !queue_slot_payment_lapsed(&s->slot, s->connect_paid_at, now))
		return true;
	s->connect_paid = false;
	if (!queue_slot_connect(&s->slot, now, &at)) {
		timer_start(&s->delivery->shard->loop->timers, &s->timer, at);
		return false;
	}
	s->connect_paid = true;
	s->connect_paid_at = now;
	return true;
}

static void
dial(struct session *s)
{
	static const enum setting_id asked[] = { SETTING_use_starttls, SETTING_require_starttls, SETTING_verify_tls };
	struct shard *shard = s->delivery->shard;
	const struct ruleset *ruleset = policy_ruleset(shard->policy);
	const struct ruleset_vmta *vmta = s->slot.lane->queue->vmta;
	struct smtp_client_config config = {
		.helo = s->helo,
		.use_starttls = session_settings(s)->use_starttls && !s->no_tls,
		.require_starttls = session_settings(s)->require_starttls || session_settings(s)->verify_tls,
	};
	struct smtp_reply reply;
	struct err err = { 0 };

	for (unsigned i = 0; i < countof(asked); i++)
		queue_used(s->slot.lane->queue, asked[i]);
	snprintf(s->helo, sizeof s->helo, "%s", vmta->hostname ? vmta->hostname : ruleset->node.hostname);
	target_host_name(&s->target, &s->at, s->host);
	ip_format(&s->at.ip, s->address);
	s->local[0] = '\0';
	s->connect_paid = false;
	s->conn = net_dial(shard->net, s->source.family != IP_NONE ? &s->source : NULL, &s->at, &events, s, &err);
	if (s->conn == NULL) {
		fail_reply(&reply, "4.4.1", "%s", err.text);
		address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
		return;
	}
	smtp_client_init(&s->client, &config);
	s->client_live = true;
	s->replies = 0;
	s->half_sent = false;
	s->state = CONNECTING;
	arm_by(s, SETTING_connect_timeout);
}

/* False: the resolver is asked, or there is none left. */
static bool
find_address(struct session *s)
{
	switch (target_next(&s->target, session_settings(s), &s->at)) {
	case TARGET_WAIT:
		timer_stop(&s->delivery->shard->loop->timers, &s->timer);       /* the resolver has its own */
		return false;
	case TARGET_ADDRESS:
		s->no_tls = s->clear_tried = false;
		s->has_address = true;
		return true;
	case TARGET_NONE:
		if (s->target.next_host < s->target.hosts->n)
			queue_used(s->slot.lane->queue, SETTING_mx_connection_attempts);
		seek_failed(s);
	}
	return false;
}

/* The address first: who has none left fails now, not when the connect rate would have let him try. */
static void
seek(struct session *s)
{
	check(s->state == SEEKING);
	if (queue_slot_unwanted(&s->slot, session_now(s).mono)) {
		session_over(s);
		return;
	}
	if (s->no_tls && !s->clear_tried)
		s->clear_tried = s->has_address = true;
	for (;;) {
		if (!s->has_address && !find_address(s))
			return;
		if (!pay_connect(s))
			return;
		s->has_address = false;
		if (s->clear_tried || choose_source(s, s->at.ip.family))
			break;
		s->sources_off = true;
	}
	if (s->target.host->port == 0)
		queue_used(s->slot.lane->queue, SETTING_smtp_port);
	dial(s);
}

/* ---- the machine's events ---- */

static void
start_tls(struct session *s)
{
	const struct tls_client *tls;
	struct smtp_reply reply;
	struct err err = { 0 };

	queue_used(s->slot.lane->queue, SETTING_tls_ca);
	tls = delivery_tls_client(s->delivery, session_settings(s)->tls_ca, &err);
	if (tls == NULL) {
		fail_reply(&reply, "4.7.5", "TLS failed: %s", err.text);
		address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
		return;
	}
	s->in_tls_handshake = true;
	arm_by(s, SETTING_command_timeout);
	conn_start_tls_client(s->conn, tls, s->host, session_settings(s)->verify_tls);
}

/* A swap may have taken the address from the virtual MTA: what is open by it takes no further message. */
static bool
source_is_gone(const struct session *s)
{
	const struct ruleset_vmta *vmta = s->slot.lane->queue->vmta;

	for (unsigned i = 0; i < vmta->sources_n; i++)
		if (ip_eq(&vmta->sources[i], &s->source))
			return false;
	return vmta->sources_n > 0;
}

static void
ready(struct session *s)
{
	if (s->state == TALKING) {
		s->state = OPEN;
		list_extensions(s);
	}
	if (s->errors >= session_settings(s)->max_errors_per_connection)
		queue_used(s->slot.lane->queue, SETTING_max_errors_per_connection);
	if (s->leaves || s->errors >= session_settings(s)->max_errors_per_connection || source_is_gone(s) ||
	    queue_source_is_off(s->slot.lane->queue, &s->conn->local.ip, session_now(s).mono)) {
		session_quit(&s->slot);
		return;
	}
	if (s->carried_n > 0) {
		session_send_carried(s);
		return;
	}
	queue_slot_ready(&s->slot, session_now(s));
}

static void
flush(struct session *s)
{
	if (s->client_live && buf_len(&s->client.out) > 0) {
		session_tell(s, TRACE_WE, buf_span(&s->client.out));
		conn_write(s->conn, buf_span(&s->client.out));
		buf_clear(&s->client.out);
	}
}

static void
arm_for_reply(struct session *s)
{
	enum setting_id timeout = SETTING_command_timeout;

	if (!s->owes_anew)
		return;
	s->owes_anew = false;
	if (s->state == TALKING && smtp_client_awaits(&s->client) == SMTP_STAGE_GREETING)
		timeout = SETTING_greeting_timeout;
	else if (s->in_transaction && smtp_client_awaits(&s->client) == SMTP_STAGE_DATA)
		timeout = SETTING_data_timeout;
	else if (s->in_transaction && smtp_client_awaits(&s->client) == SMTP_STAGE_FINAL)
		timeout = SETTING_final_timeout;
	arm_by(s, timeout);
}

/* One event of the machine; false: wait for more. */
static bool
step(struct session *s)
{
	enum smtp_client_event event = smtp_client_next(&s->client);

	flush(s);
	s->owes_anew = s->owes_anew || s->client.replies != s->replies;
	s->replies = s->client.replies;
	switch (event) {
	case SMTP_CLIENT_WAIT:
		if (s->body_wanted)
			return false;
		if (s->state == TALKING || s->in_transaction)
			arm_for_reply(s);
		return false;
	case SMTP_CLIENT_START_TLS:
		start_tls(s);
		return false;
	case SMTP_CLIENT_READY:
		ready(s);
		return s->state == OPEN && s->in_transaction;
	case SMTP_CLIENT_BODY:
		s->body_wanted = true;
		return true;
	case SMTP_CLIENT_DONE:
		session_finish(s, NULL);
		if (s->carried_n > 0 && s->leaves) {
			next_host(s, false);
			return false;
		}
		return true;
	case SMTP_CLIENT_FAILED:
		address_failed(s, s->client.stage, &s->client.reply, true);
		return false;
	case SMTP_CLIENT_CLOSED:
		if (s->state == QUITTING)
			session_arm(s, CLOSE_TIMEOUT_US);       /* the peer closes now */
		else if (s->state == TALKING)
			address_failed(s, s->client.stage, &s->client.reply, true);
		else
			part(s, QUITTING);
		return false;
	}
	return false;
}

void
session_pump(struct session *s)
{
	if (s->pumping)
		return;
	s->pumping = true;
	do {
		if (s->body_wanted)
			send_body(s);
	} while (s->client_live && !s->in_tls_handshake && step(s));
	s->pumping = false;
	if (s->client_live)
		flush(s);
}

/* ---- what the queue asks ---- */

static void
on_start(void *ctx, struct now now)
{
	struct session *s = ctx;

	timer_init(&s->timer, on_timer, s);
	session_enter(s);
	seek(s);
	session_left(s);
}

struct queue_slot *
session_start(struct delivery *delivery, struct lane *lane, const struct rcpt *first)
{
	struct session *s = mem_alloc(sizeof *s);

	s->delivery = delivery;
	s->number = ++delivery->shard->trace.sessions;
	s->state = SEEKING;
	s->connect_paid = true;
	s->connect_paid_at = loop_now(delivery->shard->loop).mono;
	arena_init(&s->arena);
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
	flush(s);
	session_arm(s, QUIT_TIMEOUT_US);
}

void
session_idle(struct queue_slot *slot)
{
	struct session *s = container_of(slot, struct session, slot);

	if (slot->waits_for_rate)
		session_arm(s, RATE_IDLE_US);
	else
		arm_by(s, SETTING_idle_timeout);
}

void
session_source_off(struct session *s, const struct queue *queue, const struct ip *source)
{
	if (s->state == OPEN && !s->in_transaction && s->slot.lane->queue == queue && ip_eq(&s->conn->local.ip, source))
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
