/*
 * smtp_transaction - the client's envelope: whether the peer can take it, and
 * how it is written.
 *
 * Nothing reaches the wire that would not be read there as one address or one
 * parameter: each is parsed again, whoever handed it in.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_client.h"

/* Answers what cannot be sent to a peer with these extensions: single recipients
 * (stage RCPT), or all of them (stage MAIL). False: there is none left. */
bool smtp_transaction_check(struct smtp_client_message *message, uint32_t extensions, uint64_t size_max);

void smtp_transaction_mail(const struct smtp_client_message *message, uint32_t extensions, struct buf *out);
void smtp_transaction_rcpt(const struct smtp_client_rcpt *rcpt, uint32_t extensions, struct buf *out);

/* Gives `reply` to every recipient that has no final answer. */
void smtp_transaction_settle(struct smtp_client_message *message, const struct smtp_reply *reply,
			     enum smtp_stage stage);
