/*
 * world_inject_own - what the injector and its sessions share and nobody else
 * includes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "sim/world_own.h"

struct injection {
	struct list     link;
	struct injector *injector;
	struct world_injection o;
	struct arena    arena;          /* its texts */
	struct shard_choices choices;
	struct buf      head, body;     /* wire form, without Message-ID and the final dot */
	struct smtp_client_rcpt *rcpts; /* as they are asked for, to be copied */
	mono_us_t       began;
	uint64_t        due, begun, ended;
	uint64_t        accepted, refused;
	char            refusal[sizeof ((struct world_injected *)0)->refusal];
	struct sim_event next;          /* when the next one is due */
	struct world_injected *told;    /* who waits for the answers of now; NULL: nobody */
};

struct client {
	struct list      link;          /* injector's idle, or busy */
	struct injector *injector;
	struct conn     *conn;
	struct smtp_client client;
	struct smtp_client_message message;
	struct smtp_client_rcpt *rcpts;
	unsigned         rcpts_cap;
	struct buf       address;       /* a recipient that was made for this message */
	struct injection *injection;    /* whose message is on its way; NULL: none */
	uint64_t         messages;      /* that it got an answer to */
};

struct injector {
	struct world *world;
	struct list   injections;       /* in order */
	struct injection *current;
	struct list   idle, busy;       /* clients */
	unsigned      clients_n, clients_max;
	unsigned      together;         /* messages begun since somebody looked */
	uint64_t      made;             /* messages */
	struct smtp_client_config config;
	bool          kicking;
};

/* world_client.c */
bool client_open(struct injector *injector);
void client_free(struct client *client);
/* An idle one sends the injection's next message. False: the function that names recipients failed; the injection is over. */
bool client_send(struct client *client, struct injection *injection);

/* world_inject.c */
void injector_kick(struct injector *injector);          /* a session is idle, or something is due */
