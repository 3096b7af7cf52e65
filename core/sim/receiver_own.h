/*
 * receiver_own - what receiver.c (limits), receiver_session.c (a client's
 * session) and receiver_place.c (its address in a world) share.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "sim/receiver.h"
#include "smtp/smtp_server.h"
#include "util/table.h"

struct receiver {
	struct receiver_options   options;
	char                     *host;
	struct smtp_server_config config;
	struct answers            answers;
	struct list               sessions;
	struct list               spares;               /* ended ones; their buffers are the next one's */
	uint32_t                  admitted;             /* sessions that the cap let in */
	bool                      draining;
	/* limits */
	uint32_t                  max_connections;
	struct rate_spec          rate;
	size_t                    rate_first;           /* the oldest recipient in the rate's window */
	uint64_t                  promised;             /* recipients of messages that are not over */
	int64_t                   greylist_us;
	struct table              tries;                /* recipient to struct try */
	/* its place */
	int64_t                   round_trip_us;
	bool                      tls_invalid, down;
	enum receiver_down        how;
	/* what it saw */
	struct receiver_totals    totals;
	struct sightings          seen;
};

struct receiver_session {
	struct list        link;
	struct receiver   *receiver;
	struct conn       *conn;
	struct smtp_server server;
	uint64_t           number;      /* of all its connections, from 1 */
	uint32_t           promised;
	bool               admitted;
	bool               asking;      /* a rule's function runs, and may do anything to the receiver */
	enum answer_act    act;         /* how it is to end; ANSWER_REPLY: it goes on */
};

/* What a limit has against a command; text NULL: nothing. */
struct refusal {
	unsigned    code;
	const char *text;
};

struct refusal receiver_connect_refusal(const struct receiver *receiver);
struct refusal receiver_rcpt_refusal(struct receiver *receiver, struct span recipient);
int64_t receiver_now(const struct receiver *receiver);

void receiver_session_free(struct receiver_session *session);
void receiver_spares_free(struct receiver *receiver);

void receiver_place(struct receiver *receiver);
void receiver_leave_place(struct receiver *receiver);
