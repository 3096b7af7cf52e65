/*
 * conn_sim - what the parts of the simulated net share.
 *
 *   net_sim.c    who is where, and what a dial meets
 *   conn_sim.c   a connection's life
 *   tls_sim.c    its handshake
 *   lane_sim.c   what is under way on links of one latency
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "sim/loop_sim.h"
#include "sim/marks.h"
#include "sim/net_sim.h"
#include "util/buf.h"
#include "util/prng.h"
#include "util/table.h"

struct wire {
	struct loop *loop;
	struct loop_sim_turn_end turn_end;
	mono_us_t    latency_us;
	struct prng  prng;              /* who of those that share an address is next */
	void       (*on_bytes)(void *tap, struct span bytes);   /* NULL: nobody listens */
	void        *tap;
	struct list  nets;
	struct list  dirty;             /* conns with output to send */
	struct list  dead;              /* closed ones, done at the end of the turn */
	struct list  spare;             /* conns to be used again, with their memory */
	struct list  embryos;           /* opened by a client, not accepted yet */
	struct list  lanes;             /* what is under way, by latency */
	struct table hosts;             /* by address */
	struct net_sim *default_net;    /* whose the default host is; NULL: none */
	struct net_sim_host default_host;
};

struct net_sim {
	struct net   net;
	struct wire *wire;
	struct list  link;              /* of wire's nets */
	struct list  conns;
	struct list  listeners;
	struct list  hosts;
	struct ip   *own;
	unsigned     own_n;
	uint16_t     next_port;
	bool         cut;
};

enum conn_sim_state {
	SIM_CONNECTING,
	SIM_OPEN,
	SIM_ENDED,              /* on_close was called */
	SIM_CUT,                /* its machine is without power */
	SIM_CLOSED,             /* by the owner */
};

struct conn_sim {
	struct conn      conn;
	struct wire     *wire;
	struct net_sim  *net;           /* NULL before it is accepted */
	struct conn_sim *peer;          /* NULL: gone, what is written goes nowhere */
	struct list      link;          /* of net's conns, or of the wire's embryos, dead, spare */
	struct list      dirty;
	struct lane_sim *lane;          /* of the latency; NULL: too many latencies for lanes */
	struct sim_event arrive;        /* the first of marks, where the lane does not tell */
	struct sim_event ack;           /* room in the peer's window again */
	struct buf       out;
	struct buf       in;            /* on its way here, or here and unread */
	struct marks     marks;
	size_t           clear_bytes;   /* of out: what goes before the handshake */
	mono_us_t        latency_us;
	uint8_t          state;         /* enum conn_sim_state */
	bool             paused;
	bool             blocked;       /* the peer's window is full */
	bool             owed;          /* the owner wrote: on_drained is due */
	bool             hung;
	bool             mute;          /* failed: sends nothing more */
	bool             handshaking;
	bool             tls_server;
	bool             tls_sent;      /* our part of the handshake */
	bool             tls_greeted;   /* the client's hello is here */
	bool             tls_verify;
	bool             tls_untrusted, tls_fails;      /* as the host is */
};

/* conn_sim.c */
struct conn_sim *conn_sim_new(struct wire *wire);
void conn_sim_arm(struct conn_sim *c);
void conn_sim_mark(struct conn_sim *c, enum mark_what what, uint32_t n, mono_us_t at);
void conn_sim_cut(struct conn_sim *c);
void conn_sim_drop(struct conn_sim *c);         /* without a word to its owner; to the wire's spares */
bool conn_sim_turn_end(void *ctx);              /* ctx: the wire */
void conn_sim_free(struct conn_sim *c);         /* the memory of a spare one */

void conn_sim_link(struct conn_sim *c, mono_us_t latency_us);
void conn_sim_arrive(void *conn_sim);           /* handles what is due */

/* lane_sim.c */
struct lane_sim *lane_sim_find(struct wire *wire, mono_us_t latency_us);
void lane_sim_add(struct lane_sim *lane, struct conn_sim *c);   /* it is told a latency from now */
void lane_sim_free_all(struct wire *wire);

/* tls_sim.c */
void tls_sim_start_server(struct conn *conn, const struct tls_server *tls);
void tls_sim_start_client(struct conn *conn, struct tls_client *tls, const struct tls_peer *peer);
void tls_sim_step(struct conn_sim *c);          /* sends our part, when it is time */
void tls_sim_arrived(struct conn_sim *c, const struct mark *mark);
void conn_sim_dirty(struct conn_sim *c);
void conn_sim_end(struct conn_sim *c, const struct err *err);   /* err NULL: in order */
void conn_sim_fail(struct conn_sim *c, int sys, const char *text);      /* ends it; nothing more is sent */

/* net_sim.c */
void net_sim_syn(struct conn_sim *c);           /* a dial reached its destination */
void net_sim_accept(struct conn_sim *c);        /* hands the server's end over */
