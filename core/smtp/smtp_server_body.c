/*
 * The body, by DATA or by BDAT, is given straight from the input buffer, in pieces
 * as long as what has come: scanned first, and cut where the next byte must be
 * seen before this one can be judged (a CR at the end, a dot at a line's start).
 *
 * An error anywhere drops the message and ends the session: behind a bare CR or
 * LF nobody can say whether a dot was the end, and what follows it a command.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_server_impl.h"

static enum smtp_server_event
give(struct smtp_server *server, struct span body, size_t consume)
{
	server->body = body;
	server->pending = consume;
	return SMTP_SERVER_BODY;
}

static enum smtp_server_event
bad_body(struct smtp_server *server, enum smtp_body_stop stop)
{
	switch (stop) {
	case SMTP_BODY_NUL:
		return smtp_server_end_session(server, 554, "5.6.0 NUL in the message", "NUL in the body");
	case SMTP_BODY_LONG:
		return smtp_server_end_session(server, 554, "5.6.0 A line of the message is too long", "body line too long");
	case SMTP_BODY_BARE_CR:
		return smtp_server_end_session(server, 554, "5.6.0 Bare CR in the message", "bare CR in the body");
	default:
		return smtp_server_end_session(server, 554, "5.6.0 Bare LF in the message", "bare LF in the body");
	}
}

/* The longest piece of body at the front of the input. */
struct piece {
	size_t   len;           /* without a dot at the end that may be the final one */
	size_t   dots;          /* stuffed ones */
	unsigned line;          /* of the body's last line, bytes */
	bool     final;         /* the final dot comes next */
	enum smtp_body_stop stop;
};

static struct piece
scan_data(struct span in, unsigned line)
{
	struct piece piece = { .line = line };

	for (;;) {
		struct span rest = span_from(in, piece.len);
		size_t good;

		piece.stop = smtp_body_scan(rest, &piece.line, &good);
		piece.len += good;
		if (piece.stop != SMTP_BODY_DOT)
			return piece;
		rest = span_from(rest, good);
		piece.final = span_starts(rest, SPAN(".\r\n"));
		if (piece.final || (rest.n < 3 && span_starts(SPAN(".\r\n"), rest))) {
			piece.stop = SMTP_BODY_MORE;
			return piece;
		}
		piece.len++;
		piece.dots++;
		piece.line = 1;
	}
}

static enum smtp_server_event
end_data(struct smtp_server *server)
{
	server->pending = SPAN(".\r\n").n;
	server->state = SERVER_COMMAND;
	if (!server->too_big)
		return smtp_server_ask(server, SMTP_SERVER_END);
	smtp_server_forget_transaction(server);
	return smtp_server_refuse(server, 552, "5.3.4 Message too big");
}

static bool
outgrows(const struct smtp_server *server, size_t n)
{
	return server->config.size_max > 0 && !server->too_big && n > server->config.size_max - server->body_bytes;
}

/* Size comes before form: so the owner lets go of the message at the same byte, however
 * much has come. */
enum smtp_server_event
smtp_server_next_data(struct smtp_server *server)
{
	struct span in = buf_span(&server->in);
	struct piece piece = scan_data(in, server->body_line);

	if (outgrows(server, piece.len - piece.dots)) {
		server->too_big = true;
		server->in_transaction = false;
		return SMTP_SERVER_RESET;
	}
	if (piece.stop != SMTP_BODY_MORE)
		return bad_body(server, piece.stop);
	if (piece.len == 0)
		return piece.final ? end_data(server) : SMTP_SERVER_WAIT;

	server->body_line = piece.line;
	server->body_bytes += piece.len - piece.dots;
	if (!server->too_big)
		return give(server, span_first(in, piece.len), piece.len);
	server->pending = piece.len;
	return AGAIN;
}

static enum smtp_server_event
swallow_chunk(struct smtp_server *server, size_t n)
{
	buf_consume(&server->in, n);
	server->bdat_left -= n;
	if (server->bdat_left > 0)
		return SMTP_SERVER_WAIT;
	server->state = SERVER_COMMAND;
	if (server->swallow_text)
		smtp_server_refuse(server, server->swallow_code, server->swallow_text);
	if (!server->bdat_last || !server->bdat_failed)
		return AGAIN;
	/* The client thinks it over, RFC 3030 or not: its next word is MAIL. */
	smtp_server_forget_transaction(server);
	return SMTP_SERVER_RESET;
}

/* Every octet of the chunk was given. */
static enum smtp_server_event
end_chunk(struct smtp_server *server)
{
	char text[64];

	if (server->bdat_last && server->cr_held)
		return bad_body(server, SMTP_BODY_BARE_CR);
	if (server->bdat_last && server->body_line > 0) {
		server->body_line = 0;
		return give(server, SPAN("\r\n"), 0);
	}
	server->state = SERVER_COMMAND;
	if (server->bdat_last)
		return smtp_server_ask(server, SMTP_SERVER_END);
	snprintf(text, sizeof text, "2.0.0 %llu octets received", (unsigned long long)server->bdat_size);
	smtp_server_answer(server, 250, text);
	return AGAIN;
}

static enum smtp_server_event
give_chunk(struct smtp_server *server, struct span body, size_t consume)
{
	server->bdat_left -= consume;
	server->body_bytes += consume;
	if (body.n > 0)
		return give(server, body, consume);
	server->pending = consume;
	return AGAIN;
}

/*
 * Stuffs without copying: a piece ends behind the dot that begins a line, and the
 * next begins with the same dot.
 */
enum smtp_server_event
smtp_server_next_bdat(struct smtp_server *server)
{
	size_t good, doubled = server->dot_doubled;
	struct span all = buf_span(&server->in), in = span_first(all, all.n < server->bdat_left ? all.n : (size_t)server->bdat_left);
	unsigned line = doubled ? 1 : server->body_line;
	enum smtp_body_stop stop;

	if (server->swallow)
		return swallow_chunk(server, in.n);
	if (server->bdat_left == 0)
		return end_chunk(server);
	if (in.n == 0)
		return SMTP_SERVER_WAIT;
	if (server->cr_held) {
		if (in.p[0] != '\n')
			return bad_body(server, SMTP_BODY_BARE_CR);
		server->cr_held = false;
		server->body_line = 0;
		return give_chunk(server, SPAN("\r\n"), 1);
	}

	stop = smtp_body_scan(span_from(in, doubled), &line, &good);
	good += doubled;
	if (stop != SMTP_BODY_MORE && stop != SMTP_BODY_DOT)
		return bad_body(server, stop);
	if (good == 0 && stop == SMTP_BODY_MORE && server->bdat_left > 1)
		return SMTP_SERVER_WAIT;        /* a CR whose LF is to come */
	server->body_line = line;
	server->dot_doubled = stop == SMTP_BODY_DOT;
	if (stop == SMTP_BODY_DOT)
		return give_chunk(server, span_first(in, good + 1), good);
	server->cr_held = good < in.n && in.n == server->bdat_left;
	return give_chunk(server, span_first(in, good), good + server->cr_held);
}
