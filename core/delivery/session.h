/*
 * session - one outbound SMTP connection and the cycle that opens it: hosts in
 * turn until one takes us, then transactions as the queue hands them out.
 *
 * Ownership  Made by delivery for a lane; when its connection is gone and the queue has
 *            its slot back it becomes a spare, or frees itself where there are enough.
 * Threads    The shard's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "delivery/delivery.h"
#include "shard.h"

#define DELIVERY_ARENAS_MAX 64

struct session;

struct delivery {
	struct shard *shard;
	struct list   sessions;         /* struct session */
	unsigned      sessions_n;
	struct list   spares;           /* struct session: memory for those to come */
	unsigned      spares_n;
	struct arena  spare_arenas[DELIVERY_ARENAS_MAX];        /* of the transactions that were, for those to come */
	unsigned      spare_arenas_n;
	unsigned     *next_source;      /* by virtual MTA's index: sources are used in turn */
	struct table  tls;              /* tls_ca -> struct delivery_tls */
	struct react *react;
	bool          stopping;
	mono_us_t     room_made, room_told;     /* descriptors are short: idle sessions were ended, the log heard; 0: never */
	struct list   unseen;           /* failed look-ups that the policy has not seen */
	struct timer  unseen_timer;
};

struct delivery_tls {
	char              *ca;          /* "" the system's */
	struct tls_client *client;      /* NULL: to be read anew */
};

struct queue_slot *session_start(struct delivery *delivery, struct lane *lane, const struct rcpt *first);
void session_send(struct queue_slot *slot, struct rcpt **rcpts, unsigned n);
void session_quit(struct queue_slot *slot);
void session_idle(struct queue_slot *slot);
/* It is the queue's, and idle, by that local address: it ends. */
void session_source_off(struct session *session, const struct queue *queue, const struct ip *source);
/* The node stops: ends it unless it is in a transaction. */
void session_leave_if_idle(struct session *s);
void session_stop(struct session *session);
/* Its body is sent and the peer may have it already: to end now could deliver it twice. */
bool session_waits_for_final(const struct session *session);
/* Now: what was under way waits again as before, for it was no attempt of the peer's making. */
void session_abort(struct session *session);
struct session *session_of(struct list *node);
void session_free_spare(struct session *session);

/* An overlay has turned the address off for the queue: its idle sessions by it end. */
void delivery_source_off(struct delivery *delivery, const struct queue *queue, const struct ip *source);
/* NULL: the file of certificates cannot be read; err says so. */
struct tls_client *delivery_tls_client(struct delivery *delivery, const char *ca, struct err *err);
