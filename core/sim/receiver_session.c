/*
 * A client's session: smtp_server tells what was said, the rules are asked, then
 * the limits, and in the end it is accepted.
 *
 * An act (reset, hang, close) owes the machine its answer for ever: it does not move
 * any more, and drive() ends the session by `act` when the event is over. What
 * was answered before is sent first, unless it is a reset.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/receiver_own.h"

void
receiver_spares_free(struct receiver *receiver)
{
	while (!list_empty(&receiver->spares)) {
		struct receiver_session *session = list_first(&receiver->spares, struct receiver_session, link);

		list_remove(&session->link);
		smtp_server_fini(&session->server);
		free(session);
	}
}

/* A connection for each message must not measure malloc. */
static struct receiver_session *
session_new(struct receiver *receiver)
{
	struct receiver_session *session;
	struct buf in, out;

	if (list_empty(&receiver->spares)) {
		session = mem_alloc(sizeof(*session));
		smtp_server_init(&session->server, &receiver->config);
		return session;
	}
	session = list_first(&receiver->spares, struct receiver_session, link);
	list_remove(&session->link);
	in = session->server.in;
	out = session->server.out;
	buf_clear(&in);
	buf_clear(&out);
	*session = (struct receiver_session){ 0 };
	smtp_server_init(&session->server, &receiver->config);
	session->server.in = in;
	session->server.out = out;
	return session;
}

void
receiver_session_free(struct receiver_session *session)
{
	struct receiver *receiver = session->receiver;
	const struct receiver_watch *watch = &receiver->options.watch;

	list_remove(&session->link);
	conn_close(session->conn);
	receiver->promised -= session->promised;
	receiver->admitted -= session->admitted;
	receiver->totals.open--;
	list_add_head(&receiver->spares, &session->link);
	if (!receiver->options.forgets)
		sightings_closed(&receiver->seen, receiver_now(receiver));
	if (watch->on_closed)
		watch->on_closed(watch->ctx);
}

static bool
ask_rules(struct receiver_session *session, enum answer_stage stage, struct answer *out)
{
	struct receiver *receiver = session->receiver;
	const struct receiver_watch *watch = &receiver->options.watch;
	char source[IP_TEXT_MAX];
	struct answer_event event = { .stage = stage, .source = source, .line = SPAN(""),
				      .connection = session->number };
	struct err err = { 0 };

	if (stage == ANSWER_END)
		event.line = SPAN(".");
	else if (stage != ANSWER_CONNECT)
		event.line = smtp_server_line(&session->server);
	event.at_s = (double)receiver_now(receiver) / (double)US_PER_S;
	ip_format(&session->conn->peer.ip, source);
	session->asking = true;
	bool answered = answers_ask(&receiver->answers, &event, out, &err);
	session->asking = false;
	if (err.kind != ERR_NONE && watch->on_failure)
		watch->on_failure(watch->ctx, &err);
	if (session->act != ANSWER_REPLY)       /* the function took the receiver down */
		out->act = session->act;
	else if (answered)
		session->act = out->act;
	return answered || session->act != ANSWER_REPLY;
}

/* What a rule has to say; false: none has, and for a stage without rules nothing is made. */
static bool
rules_answer(struct receiver_session *session, enum answer_stage stage, struct answer *out)
{
	return answers_has(&session->receiver->answers, stage) && ask_rules(session, stage, out);
}

/* What stands behind the code: "4.2.1 busy". */
static const char *
reply_text(const struct smtp_reply *reply)
{
	return reply->line[3] ? reply->line + 4 : "";
}

/* The reply to an event that asks for one; whether it accepts. */
static bool
respond(struct receiver_session *session, enum answer_stage stage, unsigned code, const char *text)
{
	struct receiver *receiver = session->receiver;
	struct refusal refusal = { 0 };
	struct answer answer;

	if (rules_answer(session, stage, &answer)) {
		if (answer.act != ANSWER_REPLY)
			return false;
		code = answer.reply.code;
		text = reply_text(&answer.reply);
	} else if (stage == ANSWER_RCPT) {
		refusal = receiver_rcpt_refusal(receiver, session->server.recipient);
		if (refusal.text)
			code = refusal.code, text = refusal.text;
	}
	smtp_server_reply(&session->server, code, text);
	receiver->totals.refusals += code >= 400;
	return code < 400;
}

static void
on_helo(struct receiver_session *session)
{
	struct answer answer;

	if (!rules_answer(session, ANSWER_EHLO, &answer)) {
		smtp_server_reply_helo(&session->server);
	} else if (answer.act == ANSWER_REPLY && answer.reply.code >= 400) {
		smtp_server_reply(&session->server, answer.reply.code, reply_text(&answer.reply));
		session->receiver->totals.refusals++;
	} else if (answer.act == ANSWER_REPLY) {
		smtp_server_reply_helo(&session->server);
	}
}

static void
on_mail(struct receiver_session *session)
{
	if (session->receiver->draining)
		smtp_server_reply(&session->server, 421, "4.3.2 Enough");
	else
		respond(session, ANSWER_MAIL, 250, "2.1.0 OK");
}

static void
on_rcpt(struct receiver_session *session)
{
	struct receiver *receiver = session->receiver;
	const struct receiver_watch *watch = &receiver->options.watch;

	if (!respond(session, ANSWER_RCPT, 250, "2.1.5 OK"))
		return;
	session->promised++;
	receiver->promised++;
	receiver->totals.recipients++;
	if (watch->on_rcpt)
		watch->on_rcpt(watch->ctx);
}

/* The transaction is over: what was promised is taken, or never will be. */
static uint32_t
settle(struct receiver_session *session)
{
	uint32_t n = session->promised;

	session->receiver->promised -= n;
	session->promised = 0;
	return n;
}

static void
on_end(struct receiver_session *session)
{
	struct receiver *receiver = session->receiver;
	const struct receiver_watch *watch = &receiver->options.watch;
	uint64_t bytes = session->server.body_bytes;
	bool taken = respond(session, ANSWER_END, 250, "2.0.0 OK");
	uint32_t recipients = settle(session);

	if (!taken)
		return;
	receiver->totals.messages++;
	receiver->totals.bytes += bytes;
	receiver->totals.last_at = loop_now(receiver->options.loop).mono;
	if (!receiver->options.forgets)
		sightings_accepted(&receiver->seen, receiver_now(receiver), recipients);
	if (watch->on_message)
		watch->on_message(watch->ctx);
}

static void
flush(struct receiver_session *session)
{
	if (buf_len(&session->server.out) == 0)
		return;
	conn_write(session->conn, buf_span(&session->server.out));
	buf_clear(&session->server.out);
}

/* As `act` says. */
static void
end(struct receiver_session *session)
{
	if (session->act == ANSWER_RESET && session->receiver->options.reset)
		session->receiver->options.reset(session->conn);
	else
		flush(session);
	if (session->act != ANSWER_HANG)
		receiver_session_free(session);
}

static void
on_event(struct receiver_session *session, enum smtp_server_event event)
{
	switch (event) {
	case SMTP_SERVER_HELO:
		on_helo(session);
		break;
	case SMTP_SERVER_MAIL:
		on_mail(session);
		break;
	case SMTP_SERVER_RCPT:
		on_rcpt(session);
		break;
	case SMTP_SERVER_DATA:
		respond(session, ANSWER_DATA, 354, "Go");
		break;
	case SMTP_SERVER_END:
		on_end(session);
		break;
	case SMTP_SERVER_RESET:
		settle(session);
		break;
	case SMTP_SERVER_START_TLS:
		flush(session);
		conn_start_tls_server(session->conn, session->receiver->options.tls);
		break;
	case SMTP_SERVER_CLOSE:
		session->act = ANSWER_CLOSE;
		break;
	case SMTP_SERVER_WAIT:
	case SMTP_SERVER_BODY:
		break;
	}
}

/* Does what the machine asks; false: the session is over, and may be freed. */
static bool
drive(struct receiver_session *session)
{
	enum smtp_server_event event;

	do {
		event = smtp_server_next(&session->server);
		on_event(session, event);
		if (session->act != ANSWER_REPLY) {
			end(session);
			return false;
		}
	} while (event != SMTP_SERVER_WAIT);
	flush(session);
	return true;
}

static void
on_data(void *ctx, struct span data)
{
	struct receiver_session *session = ctx;

	if (session->act != ANSWER_REPLY)
		return;
	while (data.n > 0) {
		size_t room = smtp_server_room(&session->server);
		struct span piece = span_first(data, data.n < room ? data.n : room);

		smtp_server_feed(&session->server, piece);
		data = span_from(data, piece.n);
		if (!drive(session))
			return;
	}
}

/* A handshake that failed is followed by on_close. */
static void
on_tls(void *ctx, const struct err *err)
{
	struct receiver_session *session = ctx;

	if (err)
		return;
	smtp_server_tls_started(&session->server);
	drive(session);
}

static void
on_close(void *ctx, const struct err *err)
{
	receiver_session_free(ctx);
}

static const struct conn_events events = { .on_data = on_data, .on_tls = on_tls, .on_close = on_close };

static void
count_opened(struct receiver *receiver)
{
	struct receiver_totals *totals = &receiver->totals;

	if (totals->connections++ == 0)
		totals->first_at = totals->last_at = loop_now(receiver->options.loop).mono;
	if (++totals->open > totals->peak_open)
		totals->peak_open = totals->open;
	if (!receiver->options.forgets)
		sightings_opened(&receiver->seen, receiver_now(receiver));
}

/* Puts the banner into the output, or a refusal. */
static void
greet(struct receiver_session *session)
{
	struct receiver *receiver = session->receiver;
	struct refusal refusal = { 0 };
	struct answer answer;
	char banner[300];

	session->admitted = true;
	if (rules_answer(session, ANSWER_CONNECT, &answer)) {
		if (answer.act != ANSWER_REPLY)
			return;
		smtp_server_greet(&session->server, answer.reply.code, reply_text(&answer.reply));
		receiver->totals.refusals += answer.reply.code >= 400;
		return;
	}
	refusal = receiver_connect_refusal(receiver);
	if (refusal.text) {
		smtp_server_greet(&session->server, refusal.code, refusal.text);
		receiver->totals.refusals++;
		session->admitted = false;
		return;
	}
	snprintf(banner, sizeof(banner), "%s ESMTP", receiver->host);
	smtp_server_greet(&session->server, 220, banner);
}

void
receiver_accept(void *ctx, struct conn *conn)
{
	struct receiver *receiver = ctx;
	struct receiver_session *session = session_new(receiver);

	session->receiver = receiver;
	session->conn = conn;
	conn->events = &events;
	conn->ctx = session;
	list_init(&session->link);
	list_add_tail(&receiver->sessions, &session->link);
	count_opened(receiver);
	session->number = receiver->totals.connections;
	greet(session);
	receiver->admitted += session->admitted;
	drive(session);
}
