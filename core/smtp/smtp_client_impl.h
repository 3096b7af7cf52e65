/*
 * smtp_client_impl - what smtp_client.c (the session) and smtp_client_mail.c (a
 * transaction) share; for nobody else.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_client.h"

/* Of a step: no event, go on from the state as it is now. */
#define AGAIN ((enum smtp_client_event)-1)

enum smtp_client_state {      /* up to READY: before any transaction */
	CLIENT_GREETING,
	CLIENT_EHLO,
	CLIENT_HELO,
	CLIENT_STARTTLS,
	CLIENT_TLS,
	CLIENT_FAILED_DUE,     /* …_DUE: an event to tell */
	CLIENT_READY_DUE,
	CLIENT_READY,
	CLIENT_RSET,
	CLIENT_MAIL,
	CLIENT_RCPT,
	CLIENT_DATA,
	CLIENT_BODY,
	CLIENT_FINAL,
	CLIENT_DONE_DUE,
	CLIENT_QUIT,
	CLIENT_CLOSED_DUE,
	CLIENT_CLOSED,
};

/* For those without a final answer. */
void smtp_client_settle(struct smtp_client *client, enum smtp_stage stage);
/* Moves next_rcpt to one that waits for its reply; false: there is none. */
bool smtp_client_find_rcpt(struct smtp_client *client);
void smtp_client_say_mail(struct smtp_client *client);
/* The whole envelope at once. */
void smtp_client_say_envelope(struct smtp_client *client);
/* The reply to each is in client->reply. */
enum smtp_client_event smtp_client_on_mail(struct smtp_client *client);
enum smtp_client_event smtp_client_on_rcpt(struct smtp_client *client);
enum smtp_client_event smtp_client_on_data(struct smtp_client *client);
enum smtp_client_event smtp_client_on_final(struct smtp_client *client);
enum smtp_client_event smtp_client_on_rset(struct smtp_client *client);
