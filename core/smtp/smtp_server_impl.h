/*
 * smtp_server_impl - what smtp_server.c (the session), smtp_server_command.c and
 * smtp_server_body.c (DATA and BDAT) share; for nobody else.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_server.h"

/* Of a step: no event, go on from the state as it is now. */
#define AGAIN ((enum smtp_server_event)-1)

enum smtp_server_state {
	SERVER_GREETING,
	SERVER_COMMAND,
	SERVER_DATA,
	SERVER_BDAT,
	SERVER_TLS,             /* 220 was answered to STARTTLS */
	SERVER_CLOSING,
	SERVER_CLOSED,
};

/* Puts a reply into `out`. The text may echo what the peer or a policy said. */
void smtp_server_answer(struct smtp_server *server, unsigned code, const char *text);
/* The same, as an error of the client's. */
enum smtp_server_event smtp_server_refuse(struct smtp_server *server, unsigned code, const char *text);
/* Too many of them end the session. */
void smtp_server_count_error(struct smtp_server *server);
enum smtp_server_event smtp_server_end_session(struct smtp_server *server, unsigned code, const char *text,
					       const char *why);
/* An event that the owner has to answer. */
enum smtp_server_event smtp_server_ask(struct smtp_server *server, enum smtp_server_event event);
/* As before MAIL. */
void smtp_server_forget_transaction(struct smtp_server *server);

/* A line without its end; sets `pending` to zero where it has to be read again. */
enum smtp_server_event smtp_server_on_command(struct smtp_server *server, struct span line, bool printable);
enum smtp_server_event smtp_server_next_data(struct smtp_server *server);
enum smtp_server_event smtp_server_next_bdat(struct smtp_server *server);
