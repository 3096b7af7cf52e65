/*
 * A parameter goes out only to a peer that offered its extension. DSN's are wishes:
 * without DSN they are dropped. SMTPUTF8, 8BITMIME and SIZE are needs: without
 * them the message cannot go, and is answered here as the peer would.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_transaction.h"

#include "smtp/smtp_command.h"

static void
answer(struct smtp_client_rcpt *rcpt, const struct smtp_reply *reply, enum smtp_stage stage)
{
	rcpt->answered = true;
	rcpt->stage = stage;
	smtp_reply_copy(&rcpt->reply, reply);
}

void
smtp_transaction_settle(struct smtp_client_message *message, const struct smtp_reply *reply, enum smtp_stage stage)
{
	for (unsigned i = 0; i < message->rcpts_n; i++) {
		struct smtp_client_rcpt *rcpt = &message->rcpts[i];

		if (rcpt->accepted || !rcpt->answered)
			answer(rcpt, reply, stage);
	}
}

static bool
all_refused(struct smtp_client_message *message, unsigned code, const char *enhanced, const char *text)
{
	struct smtp_reply reply;

	smtp_reply_make(&reply, code, enhanced, text);
	smtp_transaction_settle(message, &reply, SMTP_STAGE_MAIL);
	return false;
}

static bool
one_refused(struct smtp_client_rcpt *rcpt, unsigned code, const char *enhanced, const char *text)
{
	struct smtp_reply reply;

	smtp_reply_make(&reply, code, enhanced, text);
	answer(rcpt, &reply, SMTP_STAGE_RCPT);
	return false;
}

static bool
check_rcpt(struct smtp_client_rcpt *rcpt, uint32_t extensions)
{
	struct smtp_path path;

	rcpt->answered = rcpt->accepted = false;
	if (smtp_path_parse_bare(rcpt->address, &path))
		return one_refused(rcpt, 501, "5.1.3", "bad recipient address syntax");
	if (path.utf8 && !(extensions & SMTP_EXT_SMTPUTF8))
		return one_refused(rcpt, 550, "5.6.7", "the receiver does not offer SMTPUTF8");
	if (rcpt->orcpt.n > 0 && !smtp_orcpt_ok(rcpt->orcpt, extensions & SMTP_EXT_SMTPUTF8))
		return one_refused(rcpt, 501, "5.5.4", "bad ORCPT");
	return true;
}

static bool
is_utf8(struct span address)
{
	struct smtp_path path;

	return !span_is_ascii(address) && !smtp_path_parse_bare(address, &path) && path.utf8;
}

bool
smtp_transaction_check(struct smtp_client_message *message, uint32_t extensions, uint64_t size_max)
{
	struct smtp_path path;
	bool any = false;

	for (unsigned i = 0; i < message->rcpts_n; i++)
		any |= check_rcpt(&message->rcpts[i], extensions);
	if (message->sender.n > 0 && smtp_path_parse_bare(message->sender, &path))
		return all_refused(message, 501, "5.1.7", "bad sender address syntax");
	if (message->envid.n > 0 && !smtp_envid_ok(message->envid))
		return all_refused(message, 501, "5.5.4", "bad ENVID");
	if (message->ret.n > 0 && !span_eq_nocase(message->ret, SPAN("FULL")) &&
	    !span_eq_nocase(message->ret, SPAN("HDRS")))
		return all_refused(message, 501, "5.5.4", "bad RET");
	if ((message->smtputf8 || is_utf8(message->sender)) && !(extensions & SMTP_EXT_SMTPUTF8))
		return all_refused(message, 550, "5.6.7", "the receiver does not offer SMTPUTF8");
	if (message->eightbit && !(extensions & SMTP_EXT_8BITMIME))
		return all_refused(message, 550, "5.6.3", "the receiver does not offer 8BITMIME");
	if ((extensions & SMTP_EXT_SIZE) && size_max > 0 && message->size_bytes > size_max)
		return all_refused(message, 552, "5.3.4", "the message is bigger than the receiver allows");
	return any;
}

static bool
needs_utf8(const struct smtp_client_message *message)
{
	if (message->smtputf8 || is_utf8(message->sender))
		return true;
	for (unsigned i = 0; i < message->rcpts_n; i++)
		if (!message->rcpts[i].answered && is_utf8(message->rcpts[i].address))
			return true;
	return false;
}

void
smtp_transaction_mail(const struct smtp_client_message *message, uint32_t extensions, struct buf *out)
{
	buf_add_text(out, "MAIL FROM:<");
	buf_add(out, message->sender);
	buf_add_char(out, '>');
	if ((extensions & SMTP_EXT_SIZE) && message->size_bytes > 0) {
		buf_add_text(out, " SIZE=");
		buf_add_u64(out, message->size_bytes);
	}
	if (message->eightbit)
		buf_add_text(out, " BODY=8BITMIME");
	if (needs_utf8(message))
		buf_add_text(out, " SMTPUTF8");
	if ((extensions & SMTP_EXT_DSN) && message->ret.n > 0)
		buf_printf(out, " RET=%.*s", SPAN_ARG(message->ret));
	if ((extensions & SMTP_EXT_DSN) && message->envid.n > 0)
		buf_printf(out, " ENVID=%.*s", SPAN_ARG(message->envid));
	buf_add_text(out, "\r\n");
}

void
smtp_transaction_rcpt(const struct smtp_client_rcpt *rcpt, uint32_t extensions, struct buf *out)
{
	char notify[SMTP_NOTIFY_TEXT_MAX];

	buf_add_text(out, "RCPT TO:<");
	buf_add(out, rcpt->address);
	buf_add_char(out, '>');
	if ((extensions & SMTP_EXT_DSN) && rcpt->notify) {
		smtp_notify_format(rcpt->notify, notify);
		buf_printf(out, " NOTIFY=%s", notify);
	}
	if ((extensions & SMTP_EXT_DSN) && rcpt->orcpt.n > 0)
		buf_printf(out, " ORCPT=%.*s", SPAN_ARG(rcpt->orcpt));
	buf_add_text(out, "\r\n");
}
