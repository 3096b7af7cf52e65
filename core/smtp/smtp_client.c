/*
 * Replies come in the order of commands, so one state is enough: it names the
 * command whose reply is read next. Pipelining only changes when commands are
 * written: `data_sent` says that MAIL, RCPT and DATA have all left, and that
 * each of their replies must be read, wanted or not.
 *
 * The dull hazards, and what is done:
 *   every RCPT refused, and yet 354     an empty body, its reply ignored (RFC 2920, 3.1)
 *   a reply of a class that cannot be   the session ends; guessing which command it
 *                                       answers could take a 250 for another's
 *   a reply before the body's end       4xx or 5xx counts, the session ends
 *   a reply to a command that has not   the session ends: if it is no lie, the peer is a reply ahead, and from
 *   left yet                            here on each would be taken for the next command's
 *   bytes behind STARTTLS's 220         FAILED: they came in clear, from anybody
 *   bytes behind any other last reply   the session ends before it is READY: a message that never left is not
 *                                       deferred for them
 *
 * RSET is sent only where the peer may have a transaction open, and leaves with the
 * next MAIL: most sessions end there anyway.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_client.h"

#include "smtp/smtp_client_impl.h"
#include "smtp/smtp_transaction.h"

#define INPUT_MAX (128 * 1024)
#define KEPT_MAX  1024

const char *
smtp_stage_name(enum smtp_stage stage)
{
	static const char *const names[] = {
		[SMTP_STAGE_CONNECT] = "connect", [SMTP_STAGE_GREETING] = "greeting", [SMTP_STAGE_EHLO] = "ehlo",
		[SMTP_STAGE_STARTTLS] = "starttls", [SMTP_STAGE_AUTH] = "auth", [SMTP_STAGE_MAIL] = "mail",
		[SMTP_STAGE_RCPT] = "rcpt", [SMTP_STAGE_DATA] = "data", [SMTP_STAGE_FINAL] = "final",
	};

	return (size_t)stage < countof(names) ? names[stage] : "?";
}

enum smtp_stage
smtp_client_awaits(const struct smtp_client *client)
{
	switch ((enum smtp_client_state)client->state) {
	case CLIENT_GREETING: return SMTP_STAGE_GREETING;
	case CLIENT_EHLO:
	case CLIENT_HELO:     return SMTP_STAGE_EHLO;
	case CLIENT_STARTTLS:
	case CLIENT_TLS:      return SMTP_STAGE_STARTTLS;
	case CLIENT_RCPT:     return SMTP_STAGE_RCPT;
	case CLIENT_DATA:
	case CLIENT_BODY:     return SMTP_STAGE_DATA;
	case CLIENT_FINAL:    return SMTP_STAGE_FINAL;
	case CLIENT_FAILED_DUE:
	case CLIENT_DONE_DUE:
	case CLIENT_CLOSED_DUE:
	case CLIENT_CLOSED:   return client->stage;
	case CLIENT_READY_DUE:
	case CLIENT_READY:
	case CLIENT_RSET:
	case CLIENT_MAIL:
	case CLIENT_QUIT:     break;
	}
	return SMTP_STAGE_MAIL;
}

/* The session is over because of client->reply, whoever made it. What has not left stays, least of all goes the final dot:
 * the peer would take a message that is told as not delivered. */
static enum smtp_client_event
end_session(struct smtp_client *client)
{
	client->ended = true;
	buf_clear(&client->out);
	if (client->message) {
		smtp_client_settle(client, client->stage);
		client->state = CLIENT_DONE_DUE;
	} else {
		client->state = client->state < CLIENT_READY_DUE ? CLIENT_FAILED_DUE : CLIENT_CLOSED_DUE;
	}
	return AGAIN;
}

/* The same, for a reason of ours. */
static enum smtp_client_event
break_off(struct smtp_client *client, const char *enhanced, const char *text)
{
	client->stage = smtp_client_awaits(client);
	smtp_reply_make(&client->reply, 400, enhanced, text);
	return end_session(client);
}

/* For refusals after which the peer still listens. */
static enum smtp_client_event
leave(struct smtp_client *client)
{
	end_session(client);
	buf_add_text(&client->out, "QUIT\r\n");
	return AGAIN;
}

static const struct {
	const char         *keyword;
	enum smtp_extension bit;
} extensions[] = {
	{ "PIPELINING", SMTP_EXT_PIPELINING }, { "SIZE", SMTP_EXT_SIZE },
	{ "8BITMIME", SMTP_EXT_8BITMIME },     { "SMTPUTF8", SMTP_EXT_SMTPUTF8 },
	{ "DSN", SMTP_EXT_DSN },               { "STARTTLS", SMTP_EXT_STARTTLS },
	{ "CHUNKING", SMTP_EXT_CHUNKING },     { "ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCED },
};

static void
on_ehlo_line(void *ctx, struct span text)
{
	struct smtp_client *client = ctx;
	struct span keyword;

	if (client->parser.lines <= 1)          /* the peer's name, whatever it is */
		return;
	if (!span_split(&text, ' ', &keyword))
		return;
	for (size_t i = 0; i < countof(extensions); i++)
		if (span_eq_nocase(keyword, span_text(extensions[i].keyword)))
			client->extensions |= extensions[i].bit;
	if (span_eq_nocase(keyword, SPAN("SIZE")) && !span_u64(span_trim(text), UINT64_MAX, &client->size_max))
		client->size_max = 0;
}

static void
forget_extensions(struct smtp_client *client)
{
	client->extensions = 0;
	client->size_max = 0;
	client->parser.on_line = NULL;
}

static void
say_hello(struct smtp_client *client, const char *verb)
{
	buf_add_text(&client->out, verb);
	buf_add_text(&client->out, client->config.helo);
	buf_add_text(&client->out, "\r\n");
}

static void
say_ehlo(struct smtp_client *client)
{
	forget_extensions(client);
	client->parser.on_line = on_ehlo_line;
	say_hello(client, "EHLO ");
	client->state = CLIENT_EHLO;
}

static enum smtp_client_event
on_hello(struct smtp_client *client)
{
	const struct smtp_client_config *config = &client->config;

	if (client->tls || (!config->use_starttls && !config->require_starttls)) {
		client->state = CLIENT_READY_DUE;
	} else if (client->extensions & SMTP_EXT_STARTTLS) {
		buf_add_text(&client->out, "STARTTLS\r\n");
		client->state = CLIENT_STARTTLS;
	} else if (!config->require_starttls) {
		client->state = CLIENT_READY_DUE;
	} else {
		client->stage = SMTP_STAGE_STARTTLS;
		smtp_reply_make(&client->reply, 400, "4.7.10", "STARTTLS required but not offered");
		return leave(client);
	}
	return AGAIN;
}

static enum smtp_client_event
on_ehlo(struct smtp_client *client)
{
	client->parser.on_line = NULL;
	/* Whose lines these are nobody can say: it may be greeted, but nothing is believed that it offers. */
	if (client->parser.codes_differ || client->reply.code >= 300)
		forget_extensions(client);
	if (client->reply.code < 300)
		return on_hello(client);
	if (client->state == CLIENT_HELO || !smtp_reply_perm(&client->reply))
		return leave(client);
	say_hello(client, "HELO ");
	client->state = CLIENT_HELO;
	return AGAIN;
}

static enum smtp_client_event
on_starttls(struct smtp_client *client)
{
	if (client->reply.code < 300) {
		if (buf_len(&client->in) > 0)
			return break_off(client, "4.7.0", "bytes behind the reply to STARTTLS");
		client->state = CLIENT_TLS;
		return SMTP_CLIENT_START_TLS;
	}
	if (client->config.require_starttls)
		return leave(client);
	client->state = CLIENT_READY_DUE;
	return AGAIN;
}

/* Can this reply be one to the command that we think it answers? */
static bool
class_ok(const struct smtp_client *client)
{
	unsigned class = client->reply.code / 100;

	switch ((enum smtp_client_state)client->state) {
	case CLIENT_DATA: return class != 2;
	case CLIENT_BODY: return class >= 4;
	case CLIENT_QUIT: return true;
	default:   return class != 3;
	}
}

/* What is said now was not said to what waits in `out`. */
static enum smtp_client_event
on_early_reply(struct smtp_client *client)
{
	if (client->state == CLIENT_FINAL && client->reply.code >= 400)
		return end_session(client);     /* of a body that it did not want to the end */
	return break_off(client, "4.5.0", "a reply that nothing asked for");
}

static enum smtp_client_event
on_reply(struct smtp_client *client)
{
	client->replies++;
	smtp_reply_copy(&client->reply, &client->parser.reply);
	client->stage = smtp_client_awaits(client);
	if (client->reply.code == 421 && client->state != CLIENT_QUIT)
		return end_session(client);
	if (!class_ok(client))
		return break_off(client, "4.5.0", "unexpected reply");
	if (buf_len(&client->out) > 0 && client->state != CLIENT_QUIT)
		return on_early_reply(client);

	switch ((enum smtp_client_state)client->state) {
	case CLIENT_GREETING:
		if (client->reply.code >= 300)
			return leave(client);
		say_ehlo(client);
		return AGAIN;
	case CLIENT_EHLO:
	case CLIENT_HELO:     return on_ehlo(client);
	case CLIENT_STARTTLS: return on_starttls(client);
	case CLIENT_RSET:     return smtp_client_on_rset(client);
	case CLIENT_MAIL:     return smtp_client_on_mail(client);
	case CLIENT_RCPT:     return smtp_client_on_rcpt(client);
	case CLIENT_DATA:     return smtp_client_on_data(client);
	case CLIENT_BODY:     return end_session(client);
	case CLIENT_FINAL:    return smtp_client_on_final(client);
	case CLIENT_QUIT:
		client->state = CLIENT_CLOSED_DUE;
		return AGAIN;
	default:       return break_off(client, "4.5.0", "a reply that nothing asked for");
	}
}

static enum smtp_client_event
read_reply(struct smtp_client *client)
{
	struct span in = buf_span(&client->in);
	enum smtp_reply_parse result;

	if (client->in.overflowed)
		return break_off(client, "4.5.0", "more input than may be buffered");
	if (client->state == CLIENT_TLS && in.n > 0)
		return break_off(client, "4.7.0", "bytes behind the reply to STARTTLS");
	result = smtp_reply_parse(&client->parser, &in);
	buf_consume(&client->in, buf_len(&client->in) - in.n);
	if (result == SMTP_REPLY_MORE)
		return SMTP_CLIENT_WAIT;
	if (result == SMTP_REPLY_BAD)
		return break_off(client, "4.5.0", "the peer does not speak SMTP");
	return on_reply(client);
}

/* Input while nothing is owed to us: the peer has hung up, or lost step. */
static bool
has_strayed(const struct smtp_client *client)
{
	return buf_len(&client->in) > 0 || client->parser.lines > 0;
}

static enum smtp_client_event
read_stray(struct smtp_client *client)
{
	enum smtp_client_event event = read_reply(client);

	return event == SMTP_CLIENT_WAIT ? break_off(client, "4.5.0", "input that nothing asked for") : event;
}

static enum smtp_client_event
step(struct smtp_client *client)
{
	switch ((enum smtp_client_state)client->state) {
	case CLIENT_FAILED_DUE:
		client->state = CLIENT_CLOSED;
		return SMTP_CLIENT_FAILED;
	case CLIENT_READY_DUE:
		client->state = CLIENT_READY;
		return has_strayed(client) ? read_stray(client) : SMTP_CLIENT_READY;
	case CLIENT_DONE_DUE:
		client->message = NULL;
		client->state = client->ended ? CLIENT_CLOSED_DUE : CLIENT_READY_DUE;
		return SMTP_CLIENT_DONE;
	case CLIENT_CLOSED_DUE:
		client->state = CLIENT_CLOSED;
		return SMTP_CLIENT_CLOSED;
	case CLIENT_CLOSED:
		return SMTP_CLIENT_WAIT;
	default:
		return read_reply(client);
	}
}

void
smtp_client_init(struct smtp_client *client, const struct smtp_client_config *config)
{
	buf_init(&client->out, 0);
	buf_init(&client->in, INPUT_MAX);
	smtp_client_restart(client, config);
}

/* Not the text of replies: what stands there is never looked at. */
void
smtp_client_restart(struct smtp_client *client, const struct smtp_client_config *config)
{
	struct buf out = client->out, in = client->in;

	memset(client, 0, offsetof(struct smtp_client, reply.line) + 1);
	memset(&client->replies, 0, offsetof(struct smtp_client, parser) - offsetof(struct smtp_client, replies));
	client->config = *config;
	client->state = CLIENT_GREETING;
	client->out = out;
	client->in = in;
	client->in.max = INPUT_MAX;
	buf_clear(&client->out);
	buf_clear(&client->in);
	smtp_reply_parser_init(&client->parser);
	client->parser.ctx = client;
}

void
smtp_client_rest(struct smtp_client *client)
{
	if (client->in.cap > KEPT_MAX || client->out.cap > KEPT_MAX)
		smtp_client_fini(client);
}

void
smtp_client_fini(struct smtp_client *client)
{
	buf_fini(&client->out);
	buf_fini(&client->in);
}

void
smtp_client_feed(struct smtp_client *client, struct span bytes)
{
	if (client->state != CLIENT_CLOSED)
		buf_add(&client->in, bytes);
}

enum smtp_client_event
smtp_client_next(struct smtp_client *client)
{
	enum smtp_client_event event;

	do
		event = step(client);
	while (event == AGAIN);
	return event;
}

void
smtp_client_tls_started(struct smtp_client *client)
{
	if (client->state != CLIENT_TLS)
		return;
	if (buf_len(&client->in) > 0) {
		break_off(client, "4.7.0", "bytes behind the reply to STARTTLS");
		return;
	}
	client->tls = true;
	say_ehlo(client);
}

void
smtp_client_send(struct smtp_client *client, struct smtp_client_message *message)
{
	check(client->state == CLIENT_READY);
	client->message = message;
	client->next_rcpt = client->accepted_n = 0;
	client->data_sent = client->refused = false;
	if (!smtp_transaction_check(message, client->extensions, client->size_max)) {
		client->state = CLIENT_DONE_DUE;
		return;
	}
	if (has_strayed(client)) {
		read_stray(client);
		return;
	}

	smtp_client_find_rcpt(client);
	if (client->half_open)
		buf_add_text(&client->out, "RSET\r\n");
	if (client->extensions & SMTP_EXT_PIPELINING)
		smtp_client_say_envelope(client);
	else if (!client->half_open)
		smtp_client_say_mail(client);
	if (client->half_open)
		client->state = CLIENT_RSET;
}

void
smtp_client_body_sent(struct smtp_client *client)
{
	if (client->state != CLIENT_BODY)
		return;
	buf_add_text(&client->out, ".\r\n");
	client->state = CLIENT_FINAL;
}

void
smtp_client_quit(struct smtp_client *client)
{
	if (client->state != CLIENT_READY)
		return;
	buf_add_text(&client->out, "QUIT\r\n");
	client->state = CLIENT_QUIT;
}

void
smtp_client_broken(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (client->state == CLIENT_CLOSED)
		return;
	if (client->state != CLIENT_DONE_DUE) {
		client->stage = smtp_client_awaits(client);
		client->reply = *reply;
		if (client->message)
			smtp_client_settle(client, client->stage);
	}
	client->message = NULL;
	client->ended = true;
	client->state = CLIENT_CLOSED_DUE;
}
