/*
 * session - from a slot to a connection to replies.
 *
 *   SEEKING     the next address: a name is looked up, or a connect rate waits
 *   CONNECTING  dial
 *   TALKING     greeting, EHLO, STARTTLS; failures go back to SEEKING with the next address
 *   OPEN        idle, or a transaction
 *   QUITTING    QUIT is sent; the slot is given back when the peer has closed, so that the
 *               peer never counts one connection more than the cap
 *   OVER        ended; freed at the end of the event it is in
 *
 * States never go back but from CONNECTING and TALKING to SEEKING. Every state
 * has the timer running, but OPEN idle without a limit does not exist: the idle
 * time is the timer then.
 *
 * Events of the connection, the resolver and the timer may end the session;
 * session_enter()/session_leave() bracket each of them so that the memory goes
 * only when nobody up the stack uses it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/session.h"

#include "delivery/outcome.h"
#include "delivery/target.h"

#define PENDING_MAX      (256 * 1024)   /* body bytes that wait for the peer's socket */
#define READ_PIECE       (64 * 1024)
#define RATE_IDLE_US     (240 * US_PER_S)       /* POLICY.md: up to 4 minutes for a message rate */
#define QUIT_TIMEOUT_US  (5 * US_PER_S)
#define CLOSE_TIMEOUT_US (1 * US_PER_S)

enum session_state { SEEKING, CONNECTING, TALKING, OPEN, QUITTING, OVER };

struct session {
	struct queue_slot   slot;
	struct list         node;               /* delivery->sessions */
	struct delivery    *delivery;
	const struct ruleset_vmta *vmta;
	const struct queue_settings *settings;
	enum session_state  state;
	unsigned            depth;              /* events on the stack */
	struct conn        *conn;
	struct smtp_client  client;
	bool                client_live;
	bool                in_tls_handshake;
	bool                pumping;
	bool                clear_tried;
	bool                no_tls;             /* an opportunistic handshake failed: this address again, in clear */
	bool                connect_paid;       /* the queue paid for the first connection */
	struct target       target;
	struct endpoint     at;
	char                host[DOMAIN_MAX];
	char                address[IP_TEXT_MAX], local[IP_TEXT_MAX];
	char                esmtp[128];
	struct smtp_reply   last;               /* why the last address failed */
	bool                any_failed;
	struct timer        timer;
	unsigned            errors;             /* replies 4xx and 5xx to recipients */
	/* the transaction under way */
	struct arena        arena;              /* reset after each */
	struct envelope     envelope;
	struct spool_reader reader;
	struct smtp_client_message message;
	struct rcpt       **rcpts;
	bool                in_transaction, body_wanted;
};

static void pump(struct session *s);
static void seek(struct session *s);

struct session *
session_of(struct list *node)
{
	return container_of(node, struct session, node);
}

static struct now
now_of(const struct session *s)
{
	return loop_now(s->delivery->shard->loop);
}

static void
arm(struct session *s, int64_t us)
{
	timer_start(&s->delivery->shard->loop->timers, &s->timer, now_of(s).mono + us);
}

/* ---- the end ---- */

static void
session_enter(struct session *s)
{
	s->depth++;
}

static void
session_leave(struct session *s)
{
	if (--s->depth > 0 || s->state != OVER)
		return;
	check(s->conn == NULL);
	check(!s->in_transaction);
	arena_fini(&s->arena);
	free(s);
}

static void
drop_connection(struct session *s)
{
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
	struct now now = now_of(s);

	if (s->state == OVER)
		return;
	s->state = OVER;
	timer_stop(&s->delivery->shard->loop->timers, &s->timer);
	drop_connection(s);
	target_fini(&s->target);
	list_remove(&s->node);
	s->delivery->sessions_n--;
	queue_slot_closed(&s->slot, now);
}

/* ---- transactions ---- */

static void
fill_attempt(const struct session *s, struct attempt *attempt)
{
	*attempt = (struct attempt){
		.remote_host = s->host, .remote_address = s->address, .local_address = s->local,
		.esmtp = s->esmtp, .size_bytes = s->reader.size_bytes,
	};
}

/* Every recipient has its answer: write them down, the deliveries first. */
static void
finish_transaction(struct session *s)
{
	struct shard *shard = s->delivery->shard;
	struct now now = now_of(s);
	struct outcome *bounced = arena_alloc(&s->arena, s->message.rcpts_n * sizeof *bounced);
	struct attempt attempt;
	unsigned bounced_n = 0;

	check(s->in_transaction);
	fill_attempt(s, &attempt);
	for (unsigned i = 0; i < s->message.rcpts_n; i++) {
		const struct smtp_client_rcpt *answer = &s->message.rcpts[i];
		struct outcome outcome = { s->rcpts[i], &answer->reply };

		if (smtp_reply_ok(&answer->reply)) {
			outcome_delivered(shard, &s->envelope, &outcome, &attempt, now);
			continue;
		}
		s->errors++;
		if (smtp_reply_perm(&answer->reply) || queue_rcpt_last_attempt(s->rcpts[i]))
			bounced[bounced_n++] = outcome;
		else
			outcome_deferred(shard, &s->envelope, &outcome, &attempt, now);
	}
	if (bounced_n > 0)
		outcome_bounced(shard, &s->envelope, &s->reader, bounced, bounced_n, &attempt, now);
	s->in_transaction = s->body_wanted = false;
	spool_read_close(&s->reader);
	arena_reset(&s->arena);
}

static void
break_transaction(struct session *s, const struct smtp_reply *reply)
{
	if (!s->in_transaction)
		return;
	smtp_client_broken(&s->client, reply);
	finish_transaction(s);
}

static bool
open_message(struct session *s, struct rcpt **rcpts, unsigned n)
{
	struct shard *shard = s->delivery->shard;
	struct err err = { 0 };

	memset(&s->reader, 0, sizeof s->reader);
	if (!spool_read_open(shard->spool, &rcpts[0]->message->spool, &s->reader, &err))
		goto fail;
	if (!envelope_decode(s->reader.meta, &s->arena, &s->envelope, &err)) {
		spool_read_close(&s->reader);
		goto fail;
	}
	return true;

fail:
	log_error(shard->log, "%s", err.text);
	for (unsigned i = 0; i < n; i++)
		queue_rcpt_postpone(rcpts[i], now_of(s));
	arena_reset(&s->arena);
	return false;
}

void
session_send(struct queue_slot *slot, struct rcpt **rcpts, unsigned n)
{
	struct session *s = container_of(slot, struct session, slot);

	check(s->state == OPEN);
	check(!s->in_transaction);
	session_enter(s);
	if (!open_message(s, rcpts, n)) {
		queue_slot_ready(slot, now_of(s));
		session_leave(s);
		return;
	}
	s->in_transaction = true;
	s->rcpts = arena_alloc(&s->arena, n * sizeof *rcpts);
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
	pump(s);
	session_leave(s);
}

/* As much of the body as the peer's socket may be behind. */
static void
send_body(struct session *s)
{
	struct buf piece;
	struct err err = { 0 };
	struct smtp_reply reply;
	bool done = false, ok = true;

	buf_init(&piece, 0);
	while (!done && ok && conn_pending(s->conn) < PENDING_MAX) {
		buf_clear(&piece);
		ok = spool_read(&s->reader, READ_PIECE, &piece, &done, &err);
		if (ok)
			conn_write(s->conn, buf_span(&piece));
	}
	buf_fini(&piece);
	if (!ok) {
		/* Half a message is on its way and cannot be taken back: without the final dot it is none. */
		log_error(s->delivery->shard->log, "%s", err.text);
		smtp_reply_make(&reply, 451, "4.3.0", "the message cannot be read from the spool");
		break_transaction(s, &reply);
		session_over(s);
		return;
	}
	if (done) {
		s->body_wanted = false;
		smtp_client_body_sent(&s->client);
		arm(s, s->settings->final_timeout);
	} else {
		arm(s, s->settings->data_timeout);
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
	struct now now = now_of(s);
	struct smtp_reply reply;

	if (s->any_failed) {
		queue_slot_failed(&s->slot, &s->last, false, now);
	} else if (s->target.dns_failed > 0) {
		fail_reply(&reply, "4.4.3", "dns: %s", s->target.dns_detail);
		queue_slot_failed(&s->slot, &reply, true, now);
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
	session_leave(s);
}

/* This address is no good: the next one. */
static void
address_failed(struct session *s, const struct smtp_reply *reply)
{
	log_debug(s->delivery->shard->log, "%s: %s (%s): %s", s->slot.lane->queue->name, s->host, s->address, reply->line);
	s->last = *reply;
	s->any_failed = true;
	drop_connection(s);
	s->state = SEEKING;
	seek(s);
}

static const struct ip *
choose_source(struct session *s, enum ip_family family)
{
	const struct ruleset_vmta *vmta = s->vmta;
	unsigned *next = &s->delivery->next_source[vmta->index];

	for (unsigned i = 0; i < vmta->sources_n; i++) {
		const struct ip *source = &vmta->sources[(*next)++ % vmta->sources_n];

		if (source->family == family)
			return source;
	}
	check(vmta->sources_n == 0);    /* target offers only families that have one */
	return NULL;
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

	ip_format(&s->conn->local.ip, s->local);
	s->state = TALKING;
	arm(s, s->settings->greeting_timeout);
}

static void
on_data(void *ctx, struct span data)
{
	struct session *s = ctx;

	session_enter(s);
	if (s->state == TALKING || s->state == OPEN || s->state == QUITTING) {
		smtp_client_feed(&s->client, data);
		pump(s);
	}
	session_leave(s);
}

static void
on_drained(void *ctx)
{
	struct session *s = ctx;

	session_enter(s);
	if (s->body_wanted)
		pump(s);
	session_leave(s);
}

static void
on_tls(void *ctx, const struct err *err)
{
	struct session *s = ctx;
	struct smtp_reply reply;

	session_enter(s);
	s->in_tls_handshake = false;
	if (err == NULL) {
		smtp_client_tls_started(&s->client);
		arm(s, s->settings->command_timeout);
		pump(s);
	} else if (s->settings->require_starttls || s->settings->verify_tls) {
		fail_reply(&reply, "4.7.5", "TLS failed: %s", err->text);
		address_failed(s, &reply);
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
	session_leave(s);
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
		address_failed(s, &reply);
		return;
	case OPEN:
		break_transaction(s, &reply);
		session_over(s);
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
	session_leave(s);
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
	if (s->state == SEEKING)
		seek(s);
	else if (s->state == OPEN && !s->in_transaction)
		session_quit(&s->slot);
	else
		connection_lost(s, timed_out_text(s));
	session_leave(s);
}

/* ---- seeking ---- */

static bool
pay_connect(struct session *s)
{
	mono_us_t at;

	if (s->connect_paid)
		return true;
	if (!queue_slot_connect(&s->slot, now_of(s).mono, &at)) {
		timer_start(&s->delivery->shard->loop->timers, &s->timer, at);
		return false;
	}
	s->connect_paid = true;
	return true;
}

static void
dial(struct session *s)
{
	struct shard *shard = s->delivery->shard;
	const struct ruleset *ruleset = policy_ruleset(shard->policy);
	struct smtp_client_config config = {
		.helo = s->vmta->hostname ? s->vmta->hostname : ruleset->node.hostname,
		.use_starttls = s->settings->use_starttls && !s->no_tls,
		.require_starttls = s->settings->require_starttls || s->settings->verify_tls,
	};
	struct smtp_reply reply;
	struct err err = { 0 };

	target_host_name(&s->target, &s->at, s->host);
	ip_format(&s->at.ip, s->address);
	s->local[0] = '\0';
	s->connect_paid = false;
	s->conn = net_dial(shard->net, choose_source(s, s->at.ip.family), &s->at, &events, s, &err);
	if (s->conn == NULL) {
		fail_reply(&reply, "4.4.1", "%s", err.text);
		address_failed(s, &reply);
		return;
	}
	smtp_client_init(&s->client, &config);
	s->client_live = true;
	s->state = CONNECTING;
	arm(s, s->settings->connect_timeout);
}

static void
seek(struct session *s)
{
	check(s->state == SEEKING);
	if (!pay_connect(s))
		return;
	if (s->no_tls && !s->clear_tried) {
		s->clear_tried = true;
		dial(s);
		return;
	}
	switch (target_next(&s->target, &s->at)) {
	case TARGET_WAIT:
		timer_stop(&s->delivery->shard->loop->timers, &s->timer);       /* the resolver has its own */
		return;
	case TARGET_ADDRESS:
		s->no_tls = s->clear_tried = false;
		dial(s);
		return;
	case TARGET_NONE:
		seek_failed(s);
	}
}

/* ---- the machine's events ---- */

static void
start_tls(struct session *s)
{
	const struct tls_client *tls;
	struct smtp_reply reply;
	struct err err = { 0 };

	tls = delivery_tls_client(s->delivery, s->settings->tls_ca, &err);
	if (tls == NULL) {
		fail_reply(&reply, "4.7.5", "TLS failed: %s", err.text);
		address_failed(s, &reply);
		return;
	}
	s->in_tls_handshake = true;
	arm(s, s->settings->command_timeout);
	conn_start_tls_client(s->conn, tls, s->host, s->settings->verify_tls);
}

static void
ready(struct session *s)
{
	if (s->state == TALKING) {
		s->state = OPEN;
		list_extensions(s);
	}
	if (s->errors >= s->settings->max_errors_per_connection) {
		queue_slot_closing(&s->slot);
		session_quit(&s->slot);
		return;
	}
	queue_slot_ready(&s->slot, now_of(s));
}

static void
flush(struct session *s)
{
	if (s->client_live && buf_len(&s->client.out) > 0) {
		conn_write(s->conn, buf_span(&s->client.out));
		buf_clear(&s->client.out);
	}
}

static void
arm_for_reply(struct session *s)
{
	int64_t us = s->settings->command_timeout;

	if (s->state == QUITTING)
		us = QUIT_TIMEOUT_US;
	else if (s->state == TALKING && smtp_client_awaits(&s->client) == SMTP_STAGE_GREETING)
		us = s->settings->greeting_timeout;
	else if (s->in_transaction && smtp_client_awaits(&s->client) == SMTP_STAGE_DATA)
		us = s->settings->data_timeout;
	else if (s->in_transaction && smtp_client_awaits(&s->client) == SMTP_STAGE_FINAL)
		us = s->settings->final_timeout;
	arm(s, us);
}

/* One event of the machine; false: wait for more. */
static bool
step(struct session *s)
{
	enum smtp_client_event event = smtp_client_next(&s->client);

	flush(s);
	switch (event) {
	case SMTP_CLIENT_WAIT:
		if (s->body_wanted)
			return false;
		if (s->state == TALKING || s->state == QUITTING || s->in_transaction)
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
		finish_transaction(s);
		return true;
	case SMTP_CLIENT_FAILED:
		address_failed(s, &s->client.reply);
		return false;
	case SMTP_CLIENT_CLOSED:
		if (s->state == QUITTING)
			arm(s, CLOSE_TIMEOUT_US);       /* the peer closes now */
		else if (s->state == TALKING)
			address_failed(s, &s->client.reply);
		else
			session_over(s);
		return false;
	}
	return false;
}

static void
pump(struct session *s)
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
	session_leave(s);
}

struct queue_slot *
session_start(struct delivery *delivery, struct lane *lane, const struct rcpt *first)
{
	struct session *s = mem_alloc(sizeof *s);

	s->delivery = delivery;
	s->vmta = lane->queue->vmta;
	s->settings = lane->queue->settings;
	s->state = SEEKING;
	s->connect_paid = true;
	arena_init(&s->arena);
	target_init(&s->target, delivery->shard->resolver, lane->hosts, s->settings, s->vmta, &delivery->shard->prng,
		    on_target_ready, s);
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
	arm(s, QUIT_TIMEOUT_US);
}

void
session_idle(struct queue_slot *slot)
{
	struct session *s = container_of(slot, struct session, slot);

	arm(s, slot->waits_for_rate ? RATE_IDLE_US : s->settings->idle_timeout);
}

void
session_stop(struct session *s)
{
	session_enter(s);
	if (s->state == OPEN && !s->in_transaction)
		session_quit(&s->slot);
	else if (s->state == SEEKING || s->state == CONNECTING || s->state == TALKING)
		session_over(s);
	session_leave(s);
}

void
session_abort(struct session *s)
{
	struct smtp_reply reply;

	session_enter(s);
	smtp_reply_make(&reply, 451, "4.3.2", "the node stops");
	break_transaction(s, &reply);
	session_over(s);
	session_leave(s);
}
