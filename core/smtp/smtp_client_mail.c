/*
 * MAIL to the final reply. With pipelining the whole envelope is away before the
 * first reply; without, each reply sends the next command.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_client_impl.h"

#include "smtp/smtp_transaction.h"

/* For those without a final answer. After a refused MAIL theirs is in place, though
 * not all of them look answered: see smtp_client_on_mail(). */
void
smtp_client_settle(struct smtp_client *client, enum smtp_stage stage)
{
	struct smtp_client_message *message = client->message;

	if (client->refused)
		for (unsigned i = 0; i < message->rcpts_n; i++)
			message->rcpts[i].answered = true;
	smtp_transaction_settle(message, &client->reply, stage);
}

static void
say_rcpt(struct smtp_client *client)
{
	smtp_transaction_rcpt(&client->message->rcpts[client->next_rcpt], client->extensions, &client->out);
}

bool
smtp_client_find_rcpt(struct smtp_client *client)
{
	const struct smtp_client_message *message = client->message;

	while (client->next_rcpt < message->rcpts_n && message->rcpts[client->next_rcpt].answered)
		client->next_rcpt++;
	return client->next_rcpt < message->rcpts_n;
}

void
smtp_client_say_mail(struct smtp_client *client)
{
	smtp_transaction_mail(client->message, client->extensions, &client->out);
	client->state = CLIENT_MAIL;
}

void
smtp_client_say_envelope(struct smtp_client *client)
{
	const struct smtp_client_message *message = client->message;

	smtp_client_say_mail(client);
	for (unsigned i = 0; i < message->rcpts_n; i++)
		if (!message->rcpts[i].answered)
			smtp_transaction_rcpt(&message->rcpts[i], client->extensions, &client->out);
	buf_add_text(&client->out, "DATA\r\n");
	client->data_sent = true;
}

static enum smtp_client_event
end_transaction(struct smtp_client *client)
{
	client->state = CLIENT_DONE_DUE;
	return AGAIN;
}

enum smtp_client_event
smtp_client_on_mail(struct smtp_client *client)
{
	struct smtp_client_message *message = client->message;
	bool ok = client->reply.code < 300;

	client->half_open = ok;
	client->state = CLIENT_RCPT;
	if (!ok && !client->data_sent) {
		smtp_client_settle(client, SMTP_STAGE_MAIL);
		return end_transaction(client);
	}
	if (!client->data_sent)
		say_rcpt(client);
	if (ok)
		return AGAIN;
	/* Not `answered` yet: that marks whose reply to RCPT has been read. */
	client->refused = true;
	for (unsigned i = client->next_rcpt; i < message->rcpts_n; i++) {
		if (message->rcpts[i].answered)
			continue;
		smtp_reply_copy(&message->rcpts[i].reply, &client->reply);
		message->rcpts[i].stage = SMTP_STAGE_MAIL;
	}
	return AGAIN;
}

enum smtp_client_event
smtp_client_on_rcpt(struct smtp_client *client)
{
	struct smtp_client_rcpt *rcpt = &client->message->rcpts[client->next_rcpt];

	rcpt->answered = true;
	if (!client->refused) {
		rcpt->accepted = client->reply.code < 300;
		rcpt->stage = SMTP_STAGE_RCPT;
		smtp_reply_copy(&rcpt->reply, &client->reply);
		client->accepted_n += rcpt->accepted;
	}
	if (smtp_client_find_rcpt(client)) {
		if (!client->data_sent)
			say_rcpt(client);
		return AGAIN;
	}
	if (!client->data_sent) {
		if (client->accepted_n == 0)
			return end_transaction(client);
		buf_add_text(&client->out, "DATA\r\n");
	}
	client->state = CLIENT_DATA;
	return AGAIN;
}

enum smtp_client_event
smtp_client_on_data(struct smtp_client *client)
{
	if (client->reply.code >= 400) {
		smtp_client_settle(client, SMTP_STAGE_DATA);
		return end_transaction(client);
	}
	client->half_open = false;
	if (client->accepted_n > 0) {
		client->state = CLIENT_BODY;
		return SMTP_CLIENT_BODY;
	}
	buf_add_text(&client->out, ".\r\n");
	client->state = CLIENT_FINAL;
	return AGAIN;
}

enum smtp_client_event
smtp_client_on_final(struct smtp_client *client)
{
	smtp_client_settle(client, SMTP_STAGE_FINAL);
	return end_transaction(client);
}

enum smtp_client_event
smtp_client_on_rset(struct smtp_client *client)
{
	client->half_open = false;
	if (client->data_sent)
		client->state = CLIENT_MAIL;
	else
		smtp_client_say_mail(client);
	return AGAIN;
}
