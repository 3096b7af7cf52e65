/*
 * resolver_os - what resolver_os.c (questions, the door) and
 * resolver_lookup_os.c (the tries of one lookup) share.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/conn_os.h"
#include "net/resolver_conf.h"
#include "net/resolver_packet.h"
#include "util/list.h"

#define RESOLVER_PACKET_BYTES 65535

struct resolver_os;
struct question;

struct lookup {
	struct question         *question;
	enum resolver_qtype      qtype;
	struct resolver_question packet;
	struct ev_io             io;
	struct timer             timer;
	int                      fd;                    /* -1: none */
	unsigned                 server, round;
	unsigned                 out_of_it;             /* bit mask of servers that answered in vain */
	unsigned                 strays;
	bool                     edns, tcp, done;
	enum resolver_status     status;                /* the worst that was seen; when done: the result */
	char                     detail[200];
	struct resolver_records *records;               /* done, OK */
	uint32_t                 ttl_s;
	unsigned char           *in;                    /* TCP: length and packet */
	size_t                   in_n, out_n;
};

struct question {
	struct resolver_os *os;
	struct list         link;                       /* on asked or on waiting */
	bool                running, slow;
	resolver_fn        *on_answer;
	void               *ctx;
	struct timer        begin;                      /* first due at once; while waiting: the limit */
	enum resolver_type  type;
	char                name[RESOLVER_NAME_MAX];
	unsigned            lookups_n;
	struct lookup       lookups[2];
};

struct resolver_os {
	struct resolver_source source;
	struct loop           *loop;
	struct ev_loop        *ev;
	struct endpoint        servers[RESOLVER_SERVERS_MAX];
	unsigned               servers_n, tries;
	int64_t                timeout_us;
	struct list            asked, waiting;
	unsigned               asked_n, slow_n;        /* of those that run: the others, the slow ones */
	unsigned char          packet[RESOLVER_PACKET_BYTES];
};

void resolver_lookup_init(struct lookup *lookup, struct question *question, enum resolver_qtype qtype);
/* Asks lookup->server, in the way that edns and tcp say. Nothing ends within it. */
void resolver_lookup_try(struct lookup *lookup);
void resolver_lookup_stop(struct lookup *lookup);

/* Its first round has passed without an answer: another question may begin meanwhile. */
void resolver_question_is_slow(struct question *question);
/* A lookup is done: when all are, the asker is told and the question is gone. */
void resolver_question_look(struct question *question);
