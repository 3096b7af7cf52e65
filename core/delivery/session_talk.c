/*
 * session_talk - a session's SMTP client is moved on: its events, the bytes it
 * wants sent, the body.
 *
 * session_pump() is called when something has come or the socket has room, and
 * takes events until there are none. An event may hand out the next transaction,
 * which pumps again; the inner call returns at once and the outer loop goes on, so
 * the stack does not grow with the number of messages.
 *
 * A reply that is owed has its time from the last whole reply, not from the last
 * bytes. The body goes out as the peer takes it: PENDING_MAX is all that waits in
 * memory. Whatever way it got into the spool, nothing of it goes out that a peer could take for
 * the end of the message.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/session_own.h"

#define PENDING_MAX (256 * 1024)   /* body bytes that wait for the peer's socket */
#define READ_PIECE  (64 * 1024)

/* ---- the body ---- */

static void
tell_body(struct session *s)
{
	char text[64];

	if (!trace_on(&s->delivery->shard->trace))
		return;
	snprintf(text, sizeof text, "%llu bytes of message", (unsigned long long)s->reader.size_bytes);
	session_tell(s, TRACE_EVENT, span_text(text));
}

static bool
send_piece(struct session *s, struct buf *room, bool *done_out, struct err *err)
{
	struct span bytes;

	if (!spool_read_next(&s->reader, READ_PIECE, room, &bytes, done_out, err))
		return false;
	if (!smtp_body_may_go(&s->guard, bytes) || (*done_out && !smtp_body_may_end(&s->guard)))
		return err_set(err, ERR_PERM, "%s: a message in the spool has a bare CR, LF or dot in it and is not sent",
			       s->slot.lane->queue->name);
	conn_write(s->conn, bytes);
	return true;
}

/* As much of the body as the peer's socket may be behind. */
static void
send_body(struct session *s)
{
	struct buf room;
	struct err err = { 0 };
	struct smtp_reply reply;
	bool done = false, ok = true, may_take = conn_pending(s->conn) < PENDING_MAX;

	buf_init(&room, 0);
	while (!done && ok && conn_pending(s->conn) < PENDING_MAX)
		ok = send_piece(s, &room, &done, &err);
	buf_fini(&room);
	if (!ok) {
		/* Half a message is on its way and cannot be taken back: without the final dot it is none. */
		if (err.kind == ERR_PERM)
			log_error(s->delivery->shard->log, "%s", err.text);
		else
			outcome_unread(s->delivery->shard, s->rcpts[0]->message, "is not sent to its end", &err, session_now(s));
		smtp_reply_make(&reply, 451, "4.3.0", "the message cannot be read from the spool");
		session_break(s, &reply, false);
		session_over(s);
		return;
	}
	if (done) {
		tell_body(s);
		s->body_wanted = false;
		smtp_client_body_sent(&s->client);
		session_arm_by(s, SETTING_final_timeout);
	} else if (may_take) {
		session_arm_by(s, SETTING_data_timeout);
	}
}

/* ---- the machine's events ---- */

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
	for (unsigned i = 0; i < countof(names); i++) {
		if (!(s->client.extensions & names[i].bit))
			continue;
		n += span_put(span_text(n > 0 ? "," : ""), s->esmtp + n, sizeof s->esmtp - n);
		n += span_put(span_text(names[i].name), s->esmtp + n, sizeof s->esmtp - n);
	}
}

static void
start_tls(struct session *s)
{
	const struct tls_peer peer = {
		.host = s->host, .verify = session_settings(s)->verify_tls, .whose = s->slot.lane->queue->vmta->name,
	};
	struct tls_client *tls;
	struct smtp_reply reply;
	struct err err = { 0 };

	queue_used(s->slot.lane->queue, SETTING_tls_ca);
	tls = delivery_tls_client(s->delivery, session_settings(s)->tls_ca, &err);
	if (tls == NULL) {
		session_fail_reply(&reply, "4.7.5", "TLS failed: %s", err.text);
		session_address_failed(s, SMTP_STAGE_CONNECT, &reply, false);
		return;
	}
	s->in_tls_handshake = true;
	session_arm_by(s, SETTING_command_timeout);
	conn_start_tls_client(s->conn, tls, &peer);
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

void
session_flush(struct session *s)
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
	session_arm_by(s, timeout);
}

/* One event of the machine; false: wait for more. */
static bool
step(struct session *s)
{
	enum smtp_client_event event = smtp_client_next(&s->client);

	session_flush(s);
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
		s->guard = (struct smtp_body_guard){ .cr = false };
		s->body_wanted = true;
		return true;
	case SMTP_CLIENT_DONE:
		session_finish(s, NULL);
		if (s->carried_n > 0 && s->leaves) {
			session_next_host(s, false);
			return false;
		}
		return true;
	case SMTP_CLIENT_FAILED:
		session_address_failed(s, s->client.stage, &s->client.reply, true);
		return false;
	case SMTP_CLIENT_CLOSED:
		if (s->state == QUITTING)
			session_arm(s, SESSION_CLOSE_TIMEOUT_US);       /* the peer closes now */
		else if (s->state == TALKING)
			session_address_failed(s, s->client.stage, &s->client.reply, true);
		else
			session_part(s, QUITTING);
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
		session_flush(s);
}
