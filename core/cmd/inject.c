/*
 * A session of `inject`: the node's own client machine over a socket.
 *
 * Sessions take the next message from one counter, so a slow one holds up
 * nobody. A session that ends after it got something through is opened again
 * (receivers close after so many messages); one that ends before is not, or a
 * receiver that refuses connections would be hammered for ever.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "cmd/inject.h"

#define WRITE_AHEAD (256 * 1024)        /* of a body, per session */

struct inject_session {
	struct list                link;
	struct inject             *inject;
	struct conn               *conn;
	struct smtp_client         client;
	struct smtp_client_message message;
	struct smtp_client_rcpt    rcpt;
	bool                       sending, writing;    /* a transaction; its body */
	size_t                     written;             /* of the body */
	mono_us_t                  body_sent;           /* when the final dot was; 0: not yet */
	uint64_t                   accepted;
};

void
inject_trouble(struct inject *inject, const char *text)
{
	if (!inject->first_trouble[0])
		snprintf(inject->first_trouble, sizeof(inject->first_trouble), "%s", text);
}

static void
end_transaction(struct inject_session *session)
{
	struct inject *inject = session->inject;

	session->sending = session->writing = false;
	if (session->body_sent > 0)
		latency_add(&inject->latency, clock_mono(&inject->loop->clock) - session->body_sent);
	session->body_sent = 0;
	/* It takes so many messages a session: this one is for the next. */
	if (session->rcpt.reply.code == 421 && session->accepted > 0) {
		inject->begun--;
		return;
	}
	if (session->rcpt.reply.code >= 200 && session->rcpt.reply.code < 300) {
		inject->accepted++;
		session->accepted++;
		return;
	}
	inject->refused++;
	inject_trouble(inject, session->rcpt.reply.line);
}

static void
close_session(struct inject_session *session)
{
	struct inject *inject = session->inject;
	bool again = session->accepted > 0 && inject->begun < inject->count;

	list_remove(&session->link);
	conn_close(session->conn);
	smtp_client_fini(&session->client);
	free(session);
	if (again)
		inject_session_open(inject);
	if (list_empty(&inject->sessions))
		loop_stop(inject->loop);
}

static void
send_next(struct inject_session *session)
{
	struct inject *inject = session->inject;

	if (inject->begun == inject->count || inject->stopped) {
		smtp_client_quit(&session->client);
		return;
	}
	inject->begun++;
	session->rcpt = (struct smtp_client_rcpt){ .address = span_text(inject->recipient) };
	session->message = (struct smtp_client_message){
		.sender = span_text(inject->sender),
		.size_bytes = buf_len(&inject->head) + buf_len(&inject->body),
		.rcpts = &session->rcpt, .rcpts_n = 1,
	};
	session->sending = true;
	smtp_client_send(&session->client, &session->message);
}

static void
flush(struct inject_session *session)
{
	conn_write(session->conn, buf_span(&session->client.out));
	buf_clear(&session->client.out);
}

static void
begin_body(struct inject_session *session)
{
	struct inject *inject = session->inject;
	char id[128];
	int n = snprintf(id, sizeof(id), "Message-ID: <%016" PRIx64 ".%" PRIu64 "@%s>\r\n",
			 inject->run_id, ++inject->ids, "inject.invalid");

	flush(session);
	conn_write(session->conn, span_make(id, (size_t)n));
	conn_write(session->conn, buf_span(&inject->head));
	session->written = 0;
	session->writing = true;
}

static void
write_body(struct inject_session *session)
{
	struct span body = span_from(buf_span(&session->inject->body), session->written);

	if (!session->writing)
		return;
	while (body.n > 0 && conn_pending(session->conn) < WRITE_AHEAD) {
		struct span piece = span_first(body, body.n < WRITE_AHEAD ? body.n : WRITE_AHEAD);

		conn_write(session->conn, piece);
		session->written += piece.n;
		body = span_from(body, piece.n);
	}
	if (body.n > 0)
		return;
	session->writing = false;
	smtp_client_body_sent(&session->client);
	flush(session);
	session->body_sent = clock_mono(&session->inject->loop->clock);
}

static void
drive(struct inject_session *session)
{
	for (;;) {
		switch (smtp_client_next(&session->client)) {
		case SMTP_CLIENT_WAIT:
			flush(session);
			return;
		case SMTP_CLIENT_READY:
			send_next(session);
			break;
		case SMTP_CLIENT_BODY:
			begin_body(session);
			write_body(session);
			break;
		case SMTP_CLIENT_DONE:
			end_transaction(session);
			break;
		case SMTP_CLIENT_FAILED:
			inject_trouble(session->inject, session->client.reply.line);
			close_session(session);
			return;
		case SMTP_CLIENT_START_TLS:
			flush(session);
			conn_start_tls_client(session->conn, session->inject->tls, &(struct tls_peer){ .host = "" });
			break;
		case SMTP_CLIENT_CLOSED:
			flush(session);
			close_session(session);
			return;
		}
	}
}

static void
on_open(void *ctx)
{
}

static void
on_data(void *ctx, struct span data)
{
	struct inject_session *session = ctx;

	session->inject->last_heard = loop_now(session->inject->loop).mono;
	smtp_client_feed(&session->client, data);
	drive(session);
}

/* A handshake that failed is followed by on_close. */
static void
on_tls(void *ctx, const struct err *err)
{
	struct inject_session *session = ctx;

	if (err)
		return;
	smtp_client_tls_started(&session->client);
	drive(session);
}

static void
on_drained(void *ctx)
{
	write_body(ctx);
}

static void
on_close(void *ctx, const struct err *err)
{
	struct inject_session *session = ctx;
	struct inject *inject = session->inject;
	struct smtp_reply reply;
	char to[ENDPOINT_TEXT_MAX], text[sizeof(err->text) + ENDPOINT_TEXT_MAX + 2];

	endpoint_format(&inject->to, to);
	snprintf(text, sizeof(text), "%s: %s", to, err ? err->text : "the peer closed the connection");
	if (session->sending) {
		smtp_reply_make(&reply, 400, "4.4.2", text);
		smtp_client_broken(&session->client, &reply);
		end_transaction(session);
	} else if (session->accepted == 0) {
		inject_trouble(inject, text);
	}
	close_session(session);
}

static const struct conn_events events = {
	.on_open = on_open, .on_data = on_data, .on_drained = on_drained, .on_tls = on_tls, .on_close = on_close,
};

bool
inject_session_open(struct inject *inject)
{
	struct inject_session *session = mem_alloc(sizeof(*session));
	struct err err = { 0 };

	session->inject = inject;
	session->conn = net_dial(inject->net, NULL, &inject->to, &events, session, &err);
	if (!session->conn) {
		inject_trouble(inject, err.text);
		free(session);
		return false;
	}
	smtp_client_init(&session->client, &inject->config);
	list_init(&session->link);
	list_add_tail(&inject->sessions, &session->link);
	return true;
}

void
inject_sessions_cut(struct inject *inject)
{
	list_each_safe(pos, &inject->sessions) {
		struct inject_session *session = list_entry(pos, struct inject_session, link);

		conn_close(session->conn);
		smtp_client_fini(&session->client);
		list_remove(pos);
		free(session);
	}
}
