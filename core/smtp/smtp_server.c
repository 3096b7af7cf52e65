/*
 * One state says who the next byte belongs to:
 *
 *   GREETING -> COMMAND <-> DATA | BDAT
 *                  |-> TLS -> COMMAND (nothing remembered)
 *   any -> CLOSING -> CLOSED
 *
 * and `asked` says which event the owner owes an answer to; the machine does not
 * move meanwhile. Bytes that an event points to are consumed at the next call
 * of next() (`pending`).
 *
 * A step does one thing and returns its event, or AGAIN: go on from the state as
 * it is now.
 *
 * Where the end of a command or of a body cannot be told beyond doubt (bare CR or
 * LF, NUL, a BDAT without a size) the session ends: guessing is how messages
 * are smuggled.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_server.h"

#include "smtp/smtp_server_impl.h"
#include "smtp/smtp_text.h"

#define OUT_MAX        (1024 * 1024)
#define TEXT_MAX       900
#define IDLE_INPUT_MAX 16384

static void
begin_closing(struct smtp_server *server, const char *why)
{
	if (server->state == SERVER_CLOSING || server->state == SERVER_CLOSED)
		return;
	server->closing = why;
	server->state = SERVER_CLOSING;
}

void
smtp_server_answer(struct smtp_server *server, unsigned code, const char *text)
{
	struct span said = span_text(text);
	size_t room = 4 + (said.n < TEXT_MAX ? said.n : TEXT_MAX) + 2, n;
	char *line = buf_grow(&server->out, room);

	if (line == NULL) {
		begin_closing(server, "replies are not read");
		return;
	}
	n = 4 + smtp_text_clean(said, line + 4, room - 6);
	line[0] = (char)('0' + code / 100 % 10);
	line[1] = (char)('0' + code / 10 % 10);
	line[2] = (char)('0' + code % 10);
	line[3] = ' ';
	memcpy(line + n, "\r\n", 2);
	buf_grow_commit(&server->out, n + 2);
}

void
smtp_server_count_error(struct smtp_server *server)
{
	server->errors++;
	if (server->config.errors_max == 0 || server->errors < server->config.errors_max ||
	    server->state == SERVER_CLOSING)
		return;
	smtp_server_answer(server, 421, "4.7.0 Too many errors");
	begin_closing(server, "too many errors");
}

enum smtp_server_event
smtp_server_refuse(struct smtp_server *server, unsigned code, const char *text)
{
	smtp_server_answer(server, code, text);
	smtp_server_count_error(server);
	return AGAIN;
}

enum smtp_server_event
smtp_server_end_session(struct smtp_server *server, unsigned code, const char *text, const char *why)
{
	if (server->state == SERVER_CLOSING || server->state == SERVER_CLOSED)
		return AGAIN;
	smtp_server_answer(server, code, text);
	begin_closing(server, why);
	return AGAIN;
}

enum smtp_server_event
smtp_server_ask(struct smtp_server *server, enum smtp_server_event event)
{
	server->awaiting = true;
	server->asked = event;
	return event;
}

void
smtp_server_forget_transaction(struct smtp_server *server)
{
	server->in_transaction = server->too_big = false;
	server->bdat = server->bdat_failed = false;
	server->cr_held = server->dot_doubled = false;
	server->rcpts = server->body_line = 0;
	server->body_bytes = 0;
}

/* A session that idles between messages keeps no body-sized buffer. */
static void
release_input(struct smtp_server *server)
{
	if (server->in.cap <= IDLE_INPUT_MAX)
		return;
	buf_fini(&server->in);
	buf_init(&server->in, SMTP_SERVER_INPUT_MAX);
}

/* Takes a line off the input, or says why there can be none. */
static enum smtp_server_event
next_command(struct smtp_server *server)
{
	struct span in = buf_span(&server->in), line;
	enum smtp_server_event event;
	bool printable;
	size_t lf = span_find(span_first(in, in.n < SMTP_SERVER_LINE_MAX ? in.n : SMTP_SERVER_LINE_MAX), '\n');

	if (in.n == 0) {
		release_input(server);
		return SMTP_SERVER_WAIT;
	}
	if (lf == SIZE_MAX) {
		if (in.n < SMTP_SERVER_LINE_MAX)
			return SMTP_SERVER_WAIT;
		return smtp_server_end_session(server, 500, "5.5.2 Line too long", "command line too long");
	}
	if (lf == 0 || in.p[lf - 1] != '\r')
		return smtp_server_end_session(server, 500, "5.5.2 Lines end in CRLF", "bare LF in a command");
	line = span_first(in, lf - 1);
	printable = smtp_text_printable(line);
	if (!printable && span_find(line, '\r') != SIZE_MAX)
		return smtp_server_end_session(server, 500, "5.5.2 Lines end in CRLF", "bare CR in a command");
	if (!printable && span_find(line, '\0') != SIZE_MAX)
		return smtp_server_end_session(server, 500, "5.5.2 NUL in a command", "NUL in a command");
	server->pending = lf + 1;
	event = smtp_server_on_command(server, line, printable);
	/* A line that is read once more is told then. */
	if ((server->pending > 0 || event == SMTP_SERVER_START_TLS) && server->config.on_command != NULL)
		server->config.on_command(server->config.ctx, line);
	return event;
}

static enum smtp_server_event
next_closing(struct smtp_server *server)
{
	if (server->in_transaction) {
		smtp_server_forget_transaction(server);
		return SMTP_SERVER_RESET;
	}
	buf_clear(&server->in);
	server->state = SERVER_CLOSED;
	return SMTP_SERVER_CLOSE;
}

static enum smtp_server_event
next_in_tls(struct smtp_server *server)
{
	if (buf_len(&server->in) == 0)
		return SMTP_SERVER_WAIT;
	return smtp_server_end_session(server, 554, "5.5.1 Nothing may follow STARTTLS", "input behind STARTTLS");
}

static enum smtp_server_event
step(struct smtp_server *server)
{
	switch ((enum smtp_server_state)server->state) {
	case SERVER_GREETING: return SMTP_SERVER_WAIT;
	case SERVER_COMMAND:  return next_command(server);
	case SERVER_DATA:     return smtp_server_next_data(server);
	case SERVER_BDAT:     return smtp_server_next_bdat(server);
	case SERVER_TLS:      return next_in_tls(server);
	case SERVER_CLOSING:  return next_closing(server);
	case SERVER_CLOSED:   break;
	}
	return SMTP_SERVER_WAIT;
}

/* The last event's spans are void: better empty than dangling. */
static void
forget_event(struct smtp_server *server)
{
	server->sender = server->sender_domain = server->envid = server->ret = SPAN("");
	server->recipient = server->recipient_domain = server->orcpt = server->body = SPAN("");
	server->notify = 0;
}

void
smtp_server_init(struct smtp_server *server, const struct smtp_server_config *config)
{
	memset(server, 0, sizeof *server);
	server->config = *config;
	server->state = SERVER_GREETING;
	buf_init(&server->in, SMTP_SERVER_INPUT_MAX);
	buf_init(&server->out, OUT_MAX);
	forget_event(server);
}

void
smtp_server_fini(struct smtp_server *server)
{
	buf_fini(&server->in);
	buf_fini(&server->out);
}

void
smtp_server_greet(struct smtp_server *server, unsigned code, const char *text)
{
	if (server->state != SERVER_GREETING)
		return;
	server->state = SERVER_COMMAND;
	smtp_server_answer(server, code, text);
	if (code >= 400)
		begin_closing(server, "refused");
}

void
smtp_server_feed(struct smtp_server *server, struct span bytes)
{
	if (server->state != SERVER_CLOSING && server->state != SERVER_CLOSED)
		buf_add(&server->in, bytes);
}

size_t
smtp_server_room(const struct smtp_server *server)
{
	return SMTP_SERVER_INPUT_MAX - buf_len(&server->in);
}

enum smtp_server_event
smtp_server_next(struct smtp_server *server)
{
	enum smtp_server_event event;

	if (server->awaiting)
		return SMTP_SERVER_WAIT;
	forget_event(server);
	if (server->in.overflowed)
		smtp_server_end_session(server, 554, "5.5.0 Wait for replies", "more input than may be buffered");
	do {
		buf_consume(&server->in, server->pending);
		server->pending = 0;
		event = step(server);
	} while (event == AGAIN);
	return event;
}

/* What the owner's answer means to the machine; true: it is also said to the client. */
static bool
take_answer(struct smtp_server *server, unsigned code)
{
	bool ok = code < 400;

	switch (server->asked) {
	case SMTP_SERVER_HELO:
		if (!ok)
			server->helo[0] = '\0';
		break;
	case SMTP_SERVER_MAIL:
		server->in_transaction = ok;
		break;
	case SMTP_SERVER_RCPT:
		server->rcpts += ok;
		break;
	case SMTP_SERVER_DATA:
		if (server->bdat) {
			server->swallow = server->bdat_failed = !ok;
			server->swallow_text = NULL;
			return !ok;
		}
		if (ok)
			server->state = SERVER_DATA;
		server->data_refused = !ok;
		break;
	case SMTP_SERVER_END:
		if (ok)
			server->junk = 0;
		smtp_server_forget_transaction(server);
		break;
	default:
		break;
	}
	return true;
}

static void
reply(struct smtp_server *server, unsigned code, const char *text, bool counted)
{
	if (!server->awaiting)          /* the session was ended while the owner thought */
		return;
	server->awaiting = false;
	if (take_answer(server, code))
		smtp_server_answer(server, code, text);
	if (code >= 400 && counted)
		smtp_server_count_error(server);
	if (code == 421)
		begin_closing(server, "refused");
}

void
smtp_server_reply(struct smtp_server *server, unsigned code, const char *text)
{
	reply(server, code, text, true);
}

void
smtp_server_reply_uncounted(struct smtp_server *server, unsigned code, const char *text)
{
	reply(server, code, text, false);
}

void
smtp_server_reply_helo(struct smtp_server *server)
{
	if (!server->awaiting || server->asked != SMTP_SERVER_HELO)
		return;
	if (!server->esmtp) {
		reply(server, 250, server->config.hostname, true);
		return;
	}
	server->awaiting = false;
	if (!buf_printf(&server->out,
			"250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
			"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n%s250 CHUNKING\r\n",
			server->config.hostname, (unsigned long long)server->config.size_max,
			server->config.starttls && !server->tls ? "250-STARTTLS\r\n" : ""))
		begin_closing(server, "replies are not read");
}

void
smtp_server_tls_started(struct smtp_server *server)
{
	if (server->state != SERVER_TLS)
		return;
	if (buf_len(&server->in) > 0) {
		smtp_server_end_session(server, 554, "5.5.1 Nothing may follow STARTTLS", "input behind STARTTLS");
		return;
	}
	server->tls = true;
	server->esmtp = false;
	server->helo[0] = '\0';
	server->state = SERVER_COMMAND;
}

void
smtp_server_end(struct smtp_server *server, unsigned code, const char *text)
{
	server->awaiting = false;
	smtp_server_forget_transaction(server);
	smtp_server_end_session(server, code, text, "ended by the owner");
}
