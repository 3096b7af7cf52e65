/*
 * reception_own - what the files of this folder share and nobody else includes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "mail/header.h"
#include "reception/crowd.h"
#include "reception/reception.h"
#include "smtp/smtp_server.h"

struct port;

struct door {                           /* an address, whatever the policy says of it */
	struct list       node;         /* reception->doors */
	struct reception *reception;
	struct endpoint   declared;
	struct listener  *listener;     /* NULL: stopped */
	struct port      *port;         /* for who comes in; NULL: no policy has it any more */
	unsigned          ports_n;      /* that one, and those that still have sessions */
	struct crowd_door *crowd;       /* its sessions, with those of the other shards */
};

struct port {                           /* a door as one policy declares it */
	struct list       node;         /* reception->dead */
	struct reception *reception;
	struct door      *door;
	struct policy    *policy;       /* pinned: the rules are its */
	const struct ruleset_listener *rules;
	struct tls_server *tls;         /* NULL: no STARTTLS */
	const char       *hostname;
	uint32_t          sessions;
};

struct reception {
	struct shard *shard;
	struct crowd *crowd;            /* the node's */
	struct list   doors;            /* struct door */
	struct list   dead;             /* struct port, to be freed */
	struct timer  bury;
	struct list   sessions;         /* struct inbound */
	unsigned      sessions_n;
	bool          stopping;
	mono_us_t     scarce_told;      /* when the log last heard that descriptors are short; 0: never */
	struct buf    received;         /* a Received field, while it is put together */
};

struct inbound {
	struct list       node;
	struct port      *port;
	struct crowd_client *client;    /* NULL: it was not let in */
	struct conn      *conn;         /* NULL: gone; a commit is still on its way */
	struct smtp_server server;
	struct timer      timer;
	bool              allowed;      /* relay_from holds its address */
	bool              paused;       /* the client is not read */
	bool              waits;        /* its body does, for the disk */
	bool              pumping, closing, in_data, committing, in_handshake;
	uint32_t          messages;
	char              address[IP_TEXT_MAX], local[IP_TEXT_MAX];
	struct policy_session session;
	uint64_t          number;       /* in a trace */
	/* the transaction */
	struct policy    *policy;       /* pinned: that has seen its MAIL; NULL: there is none */
	struct arena      arena;        /* of the envelope; handed over with the message */
	struct envelope   envelope;     /* sender, rcpts so far */
	unsigned          rcpts_cap;
	struct buf        head;         /* the header block, until it ends; afterwards all of it */
	bool              head_whole;
	struct spool_writer *writer;
	struct err        trouble;      /* of the spool, while the body came */
	struct commit    *commit;       /* under way; NULL: none */
};

/* reception.c */
void port_maybe_bury(struct port *port);        /* nobody is left, and nobody comes */

/* inbound.c */
void inbound_accept(struct port *port, struct conn *conn);
void inbound_stop(struct inbound *in);          /* 421 unless it is in a transaction */
void inbound_abort(struct inbound *in);
void inbound_pump(struct inbound *in);

/* submit.c: MAIL … the end of the body. They answer the machine. */
void submit_mail(struct inbound *in);
void submit_rcpt(struct inbound *in);
void submit_data(struct inbound *in);
void submit_body(struct inbound *in);
void submit_end(struct inbound *in);
void submit_reset(struct inbound *in);
void submit_forget(struct inbound *in);         /* a commit under way does not come back */
