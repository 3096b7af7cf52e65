/*
 * What each verb comes to. A command that first has to drop a transaction returns
 * RESET with `pending` zero, so that the same line is read again with none open.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_command.h"
#include "smtp/smtp_server_impl.h"

/* For commands that move no mail: without a limit a client could be served for ever. */
static void
count_junk(struct smtp_server *server)
{
	if (++server->junk > SMTP_SERVER_JUNK_MAX)
		smtp_server_count_error(server);
}

static enum smtp_server_event
chat(struct smtp_server *server, unsigned code, const char *text)
{
	smtp_server_answer(server, code, text);
	count_junk(server);
	return AGAIN;
}

/* The transaction goes first; the same line is read again after it. */
static enum smtp_server_event
reset_first(struct smtp_server *server)
{
	smtp_server_forget_transaction(server);
	server->pending = 0;
	return SMTP_SERVER_RESET;
}

static enum smtp_server_event
on_helo(struct smtp_server *server, struct span args, bool esmtp)
{
	if (!smtp_helo_ok(args))
		return smtp_server_refuse(server, 501, "5.5.4 Give a domain or an address literal");
	if (server->in_transaction)
		return reset_first(server);
	count_junk(server);
	if (server->state == SERVER_CLOSING)
		return AGAIN;
	memcpy(server->helo, args.p, args.n);
	server->helo[args.n] = '\0';
	server->esmtp = esmtp;
	return smtp_server_ask(server, SMTP_SERVER_HELO);
}

static enum smtp_server_event
on_mail(struct smtp_server *server, struct span args)
{
	struct smtp_mail mail;
	struct smtp_refusal refusal;

	if (server->config.require_tls && !server->tls)
		return smtp_server_refuse(server, 530, "5.7.0 Issue STARTTLS first");
	if (!server->helo[0])
		return smtp_server_refuse(server, 503, "5.5.1 Say HELO or EHLO first");
	if (server->in_transaction)
		return smtp_server_refuse(server, 503, "5.5.1 A transaction is open");
	refusal = smtp_mail_parse(args, &mail);
	if (refusal.code)
		return smtp_server_refuse(server, refusal.code, refusal.text);
	if (server->config.size_max && mail.size_bytes > server->config.size_max)
		return smtp_server_refuse(server, 552, "5.3.4 Message too big");
	smtp_server_forget_transaction(server);
	server->sender = mail.path.whole;
	server->sender_domain = mail.path.domain;
	server->declared_size = mail.size_bytes;
	server->eightbit = mail.eightbit;
	server->smtputf8 = mail.smtputf8;
	server->envid = mail.envid;
	server->ret = mail.ret;
	return smtp_server_ask(server, SMTP_SERVER_MAIL);
}

static enum smtp_server_event
on_rcpt(struct smtp_server *server, struct span args)
{
	struct smtp_rcpt rcpt;
	struct smtp_refusal refusal;

	if (!server->in_transaction)
		return smtp_server_refuse(server, 503, "5.5.1 Say MAIL first");
	if (server->bdat)
		return smtp_server_refuse(server, 503, "5.5.1 The message has begun");
	refusal = smtp_rcpt_parse(args, server->smtputf8, &rcpt);
	if (refusal.code)
		return smtp_server_refuse(server, refusal.code, refusal.text);
	server->recipient = rcpt.path.whole;
	server->recipient_domain = rcpt.path.domain;
	server->orcpt = rcpt.orcpt;
	server->notify = rcpt.notify;
	return smtp_server_ask(server, SMTP_SERVER_RCPT);
}

static enum smtp_server_event
on_data(struct smtp_server *server)
{
	server->data_refused = true;
	if (!server->in_transaction)
		return smtp_server_refuse(server, 503, "5.5.1 Say MAIL first");
	if (server->bdat)
		return smtp_server_refuse(server, 503, "5.5.1 The message has begun with BDAT");
	if (server->rcpts == 0)
		return smtp_server_refuse(server, 554, "5.5.1 No valid recipients");
	return smtp_server_ask(server, SMTP_SERVER_DATA);
}

/* Whatever the answer, the chunk's octets follow and are no commands. */
static enum smtp_server_event
on_bdat(struct smtp_server *server, struct span args)
{
	if (!smtp_bdat_parse(args, &server->bdat_size, &server->bdat_last))
		return smtp_server_end_session(server, 501, "5.5.4 Bad chunk size", "bad chunk size");
	if (server->bdat_size == 0 && !server->bdat_last)
		count_junk(server);
	if (server->state == SERVER_CLOSING)
		return AGAIN;
	server->bdat_left = server->bdat_size;
	server->state = SERVER_BDAT;
	server->swallow = true;
	server->swallow_code = 503;
	if (!server->in_transaction || server->bdat_failed) {
		server->swallow_text = server->bdat_failed ? "5.5.1 A chunk was refused" : "5.5.1 Say MAIL first";
		return AGAIN;
	}
	if (server->rcpts == 0) {
		server->swallow_text = "5.5.1 No valid recipients";
		return AGAIN;
	}
	if (server->config.size_max && server->bdat_size > server->config.size_max - server->body_bytes) {
		server->swallow_code = 552;
		server->swallow_text = "5.3.4 Message too big";
		smtp_server_forget_transaction(server);
		return SMTP_SERVER_RESET;
	}
	server->swallow = false;
	if (server->bdat)
		return AGAIN;
	server->bdat = true;
	return smtp_server_ask(server, SMTP_SERVER_DATA);
}

static enum smtp_server_event
on_rset(struct smtp_server *server)
{
	if (server->in_transaction)
		return reset_first(server);
	return chat(server, 250, "2.0.0 OK");
}

/* RFC 3207, 6, and CVE-2011-0411: what came in clear behind STARTTLS was written by
 * nobody knows whom, and must not be read as if it had come under TLS. */
static enum smtp_server_event
on_starttls(struct smtp_server *server)
{
	if (server->tls)
		return smtp_server_refuse(server, 503, "5.5.1 TLS is on already");
	if (!server->config.starttls)
		return smtp_server_refuse(server, 502, "5.5.1 STARTTLS is not offered");
	if (!server->helo[0])
		return smtp_server_refuse(server, 503, "5.5.1 Say EHLO first");
	if (buf_len(&server->in) > server->pending)
		return smtp_server_end_session(server, 554, "5.5.1 Nothing may follow STARTTLS", "input behind STARTTLS");
	if (server->in_transaction)
		return reset_first(server);
	smtp_server_answer(server, 220, "2.0.0 Ready to start TLS");
	buf_clear(&server->in);
	server->pending = 0;
	server->state = SERVER_TLS;
	return SMTP_SERVER_START_TLS;
}

/* A line that is no command, behind a refused DATA: its client did not wait for the answer, so this is the message, and
 * whoever wrote that would write the next commands. */
static bool
is_body(struct smtp_server *server, enum smtp_verb verb)
{
	bool refused = server->data_refused;

	server->data_refused = false;
	return refused && (verb == SMTP_VERB_UNKNOWN || verb == SMTP_VERB_HTTP);
}

static bool
takes_no_arguments(enum smtp_verb verb)
{
	return verb == SMTP_VERB_DATA || verb == SMTP_VERB_RSET || verb == SMTP_VERB_QUIT || verb == SMTP_VERB_STARTTLS;
}

enum smtp_server_event
smtp_server_on_command(struct smtp_server *server, struct span line, bool printable)
{
	struct span args;
	enum smtp_verb verb = smtp_verb_parse(line, &args);

	if (is_body(server, verb))
		return smtp_server_end_session(server, 500, "5.5.2 The message was not asked for", "a body behind a refused DATA");
	if (verb == SMTP_VERB_HTTP)
		return smtp_server_end_session(server, 500, "5.5.2 This is no web server", "HTTP");
	if (verb != SMTP_VERB_MAIL && verb != SMTP_VERB_RCPT && !printable)
		return smtp_server_refuse(server, 500, "5.5.2 Only ASCII stands in a command");
	if (takes_no_arguments(verb) && args.n > 0)
		return smtp_server_refuse(server, 501, "5.5.4 No arguments, please");

	switch (verb) {
	case SMTP_VERB_HELO:     return on_helo(server, args, false);
	case SMTP_VERB_EHLO:     return on_helo(server, args, true);
	case SMTP_VERB_MAIL:     return on_mail(server, args);
	case SMTP_VERB_RCPT:     return on_rcpt(server, args);
	case SMTP_VERB_DATA:     return on_data(server);
	case SMTP_VERB_BDAT:     return on_bdat(server, args);
	case SMTP_VERB_RSET:     return on_rset(server);
	case SMTP_VERB_NOOP:     return chat(server, 250, "2.0.0 OK");
	case SMTP_VERB_QUIT:     return smtp_server_end_session(server, 221, "2.0.0 Bye", "quit");
	case SMTP_VERB_VRFY:
		if (args.n == 0)
			return smtp_server_refuse(server, 501, "5.5.4 Verify whom?");
		return chat(server, 252, "2.5.2 Send mail and see");
	case SMTP_VERB_EXPN:     return smtp_server_refuse(server, 502, "5.5.1 Not here");
	case SMTP_VERB_HELP:     return chat(server, 214, "2.0.0 See RFC 5321");
	case SMTP_VERB_STARTTLS: return on_starttls(server);
	case SMTP_VERB_AUTH:     return smtp_server_refuse(server, 502, "5.5.1 AUTH is not offered");
	case SMTP_VERB_HTTP:
	case SMTP_VERB_UNKNOWN:  break;
	}
	return smtp_server_refuse(server, 500, "5.5.2 Command not known");
}
