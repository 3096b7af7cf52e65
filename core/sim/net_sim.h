/*
 * net_sim - the simulated side of the net door: connections over a wire in
 * virtual time, and what can go wrong with them.
 *
 * A wire joins nets: the node's, and the outside world's. A connection has two
 * ends, each the conn of the net that dialed or accepted. What an end writes in
 * a turn of the loop arrives as one on_data after the link's latency, in order;
 * what a paused reader leaves unread fills a window (256 KiB), and then stays
 * in the writer's conn_pending(). A dial opens after one round trip and is
 * accepted half a one later. Everything is told in an order that replays.
 *
 * TLS is an exchange without keys: one round trip, then on_tls on both ends.
 * An end that starts alone waits. The settings it is given are not looked at.
 *
 * Ownership  A net lives until its conns' owners are done with them, or were cut;
 *            the wire outlives its nets, the loop (a loop_sim) the wire.
 * Limits     No unix sockets.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/conn.h"

struct wire;

struct wire *wire_new(struct loop *loop);
void wire_free(struct wire *wire);
/* Of links whose host names none, and to listeners; 1 us unless told. At 0 all of an exchange falls into one instant:
 * for who knows that it ends. */
void wire_latency(struct wire *wire, mono_us_t latency_us);
/* Says which of the listeners that share an address gets a connection. */
void wire_seed(struct wire *wire, uint64_t seed);

/* All that is sent, in order. */
void wire_tap(struct wire *wire, void (*on_bytes)(void *tap, struct span bytes), void *tap);

struct net *net_sim_new(struct wire *wire);
void net_sim_free(struct net *net);     /* conns and listeners still there are closed */

enum net_sim_behaviour {
	NET_SIM_UP,
	NET_SIM_REFUSES,        /* "connection refused" after a round trip */
	NET_SIM_SILENT,         /* nothing answers; the dialer's patience ends it */
};

/* What a dial to an address meets, whatever the port. */
struct net_sim_host {
	mono_us_t latency_us;           /* one way; 0: the wire's */
	enum net_sim_behaviour behaviour;
	bool tls_untrusted;             /* a client that verifies refuses the certificate */
	bool tls_fails;                 /* no handshake succeeds */
	void (*on_accept)(void *ctx, struct conn *conn);        /* as of net_listen() */
	void *ctx;
};

/* The host is copied; NULL takes it away. Known conns stay as they are. A dial
 * meets: a listener at that very address and port, a host, a listener at the
 * unspecified address of a net that owns the address (or owns none), the
 * default host; else it is refused. Of listeners that share an address any. */
void net_sim_host(struct net *net, struct ip ip, const struct net_sim_host *host);
void net_sim_default_host(struct net *net, const struct net_sim_host *host);
/* From then on a source that the net does not own is refused; before, any is fine. */
void net_sim_own(struct net *net, struct ip ip);

/* Both ends hear "connection reset by peer"; what was on its way is lost. */
void net_sim_reset(struct conn *conn);
/* Nothing is delivered any more, either way. */
void net_sim_hang(struct conn *conn);
/* The net's machine loses power: its conns and listeners fall silent (and may
 * still be closed), the other ends are reset. Nothing else works on it. */
void net_sim_cut_all(struct net *net);
