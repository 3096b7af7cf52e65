/*
 * receiver - a mail receiver that is not a mail system: it takes everything, or
 * answers as rules and limits tell, drops what it took, and remembers what it saw.
 * In a world it stands for a provider; over real sockets it is `sluice sink`.
 *
 * What decides a command, in this order: the rules (answers.h), greylisting
 * and the rate (at RCPT), the cap on connections (at the banner); in the end
 * it is accepted. Limits may change at any time and hold for what comes after.
 *
 * It counts a connection from its accept until it closed it or saw it closed, so
 * a node that hands a place on before is seen to exceed its cap; and a recipient
 * when its message's final reply is a 2xx. A rule's function may do anything to its
 * receiver, but free it.
 *
 * Ownership  new/free; free closes what is open. The loop and the net outlive it.
 * Threads    The loop's.
 * Time       The loop's; observations count from options.epoch.
 * Limits     Nothing is allocated for a message, but for the memory of what
 *            was seen, 8 bytes a recipient, and of each recipient that is greylisted.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/conn.h"
#include "sim/answers.h"
#include "sim/sightings.h"
#include "util/units.h"

struct receiver_watch {                 /* each may be NULL */
	void (*on_rcpt)(void *ctx);                             /* a recipient was taken, at RCPT */
	void (*on_message)(void *ctx);                          /* a message was taken */
	void (*on_closed)(void *ctx);                           /* a connection is over */
	void (*on_failure)(void *ctx, const struct err *err);   /* of a rule's function */
	void  *ctx;
};

struct receiver_options {
	struct loop *loop;
	const char  *host;              /* as it calls itself; copied */
	mono_us_t    epoch;             /* since when events and observations count */
	bool         forgets;           /* keeps no sightings, and so knows no rate: for who runs for days */
	/* What makes the conn_close() that follows it a reset. NULL: it is a close; in a world net_sim_reset(). */
	void       (*reset)(struct conn *conn);
	struct receiver_watch watch;
	/* Its place in a world: a net_sim, and an address on it, on whatever port. NULL:
	 * the owner listens, by net_listen(net, at, receiver_accept, receiver). */
	struct net  *net;
	struct ip    ip;
};

struct receiver_totals {
	uint64_t  connections, messages, recipients, bytes;
	uint64_t  refusals;             /* replies 4xx and 5xx to who broke no rule of SMTP */
	uint32_t  open, peak_open;
	mono_us_t first_at, last_at;    /* the first connection, the last message; by the loop's clock */
};

struct receiver;

struct receiver *receiver_new(const struct receiver_options *options);
void receiver_free(struct receiver *receiver);
/* ctx: the receiver. */
void receiver_accept(void *ctx, struct conn *conn);
/* Who is in a transaction may end it; every other MAIL is answered 421. */
void receiver_drain(struct receiver *receiver);

struct answers *receiver_answers(struct receiver *receiver);
/* From this one on: 421 4.7.0 at the banner. 0: no cap. */
void receiver_set_max_connections(struct receiver *receiver, uint32_t max_connections);
/* A recipient that would be one too many in a sliding window: 451 4.7.1. Those of
 * messages that are not over yet count. */
void receiver_set_rate(struct receiver *receiver, const struct rate_spec *rate);
/* Each recipient gets 451 4.7.1 until so long after its first try; 0: off. */
void receiver_greylist(struct receiver *receiver, int64_t delay_us);
/* Offered from the next connection on. */
void receiver_set_starttls(struct receiver *receiver, bool offered);

/* Connections open now, from that address; NULL: from any. */
uint32_t receiver_open_from(const struct receiver *receiver, const char *source);
const struct receiver_totals *receiver_totals(const struct receiver *receiver);
const struct sightings *receiver_sightings(const struct receiver *receiver);

/* Only in a world: */
enum receiver_down { RECEIVER_REFUSES, RECEIVER_SILENT };
/* Refuses: open connections are reset, new ones refused. Silent: nothing answers
 * any more, on open ones either. */
void receiver_down(struct receiver *receiver, enum receiver_down how);
void receiver_up(struct receiver *receiver);
/* What a reply takes: half of it each way. 0: the wire's. */
void receiver_set_latency(struct receiver *receiver, int64_t round_trip_us);
/* False: a client that verifies certificates refuses this one. */
void receiver_set_tls_valid(struct receiver *receiver, bool valid);
