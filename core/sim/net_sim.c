/*
 * net_sim - who is where on a wire, and what a dial meets there.
 *
 *   dialer                          destination
 *     0    SYN  -->
 *                              L    decided: up, refuses, silent
 *     2L   open, or refused  <--
 *          ACK, data  -->
 *                              3L   accepted
 *
 * The destination is looked up twice, when the SYN and when the ACK arrive: it
 * may have gone meanwhile, and nobody has to keep track of half-open dials.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/conn_sim.h"

#include <stdlib.h>

#define PORT_FIRST 1024u
#define HASH_SEED  1u           /* nobody attacks a simulation, and it replays */

struct host {
	struct list  link;      /* of net's hosts */
	struct net_sim *net;
	struct ip    ip;
	struct net_sim_host host;
};

struct listener_sim {
	struct listener listener;
	struct net_sim *net;
	struct list     link;
	void          (*on_accept)(void *ctx, struct conn *conn);
	void           *ctx;
};

/* What is at an address. */
struct place {
	struct net_sim     *net;        /* NULL: nothing */
	struct listener_sim *listener;  /* NULL: a host is */
	struct net_sim_host host;
};

static struct net_sim *
sim_of(struct net *net)
{
	return container_of(net, struct net_sim, net);
}

/* Only the bytes that count, so that equal addresses are equal keys. */
static struct ip
canonical(const struct ip *ip)
{
	struct ip out = { .family = ip->family };

	memcpy(out.bytes, ip->bytes, ip->family == IP_V4 ? 4 : 16);
	return out;
}

static struct host *
find_host(const struct wire *wire, const struct ip *ip)
{
	struct ip key = canonical(ip);

	return table_get(&wire->hosts, span_make(&key, sizeof(key)));
}

static bool
owns(const struct net_sim *net, const struct ip *ip)
{
	for (unsigned i = 0; i < net->own_n; i++)
		if (ip_eq(&net->own[i], ip))
			return true;
	return net->own_n == 0;
}

static bool
is_at(const struct listener_sim *l, const struct endpoint *to, bool exact)
{
	const struct endpoint *at = &l->listener.at;

	if (at->port != to->port || l->net->cut)
		return false;
	if (exact)
		return ip_eq(&at->ip, &to->ip);
	return at->ip.family == to->ip.family && ip_is_unspecified(&at->ip) && owns(l->net, &to->ip);
}

/* The (skip+1)-th. */
static struct listener_sim *
nth_listener(const struct wire *wire, const struct endpoint *to, bool exact, uint64_t skip)
{
	list_each (n, &wire->nets) {
		struct net_sim *net = list_entry(n, struct net_sim, link);

		list_each (pos, &net->listeners) {
			struct listener_sim *l = list_entry(pos, struct listener_sim, link);

			if (is_at(l, to, exact) && skip-- == 0)
				return l;
		}
	}
	return NULL;
}

static struct listener_sim *
find_listener(const struct wire *wire, const struct endpoint *to, bool exact)
{
	return nth_listener(wire, to, exact, 0);
}

/* Of those that share an address any may get the connection. */
static struct listener_sim *
draw_listener(struct wire *wire, struct listener_sim *first, const struct endpoint *to)
{
	bool exact = ip_eq(&first->listener.at.ip, &to->ip);
	uint64_t n = 1;

	while (nth_listener(wire, to, exact, n))
		n++;
	return n == 1 ? first : nth_listener(wire, to, exact, prng_below(&wire->prng, n));
}

static struct place
listener_place(struct listener_sim *l)
{
	return (struct place){ .net = l->net, .listener = l, .host = { .on_accept = l->on_accept, .ctx = l->ctx } };
}

static struct place
find_place(const struct wire *wire, const struct endpoint *to)
{
	struct listener_sim *l = find_listener(wire, to, true);
	struct host *host = l ? NULL : find_host(wire, &to->ip);

	if (l)
		return listener_place(l);
	if (host && !host->net->cut)
		return (struct place){ .net = host->net, .host = host->host };
	l = find_listener(wire, to, false);
	if (l)
		return listener_place(l);
	return (struct place){ .net = wire->default_net, .host = wire->default_host };
}

void
net_sim_syn(struct conn_sim *c)
{
	struct place place = find_place(c->wire, &c->conn.peer);
	mono_us_t back = c->wire->loop->now.mono + c->latency_us;
	struct conn_sim *server;

	if (place.net && place.host.behaviour == NET_SIM_SILENT)
		return;
	if (!place.net || place.host.behaviour == NET_SIM_REFUSES) {
		conn_sim_mark(c, MARK_REFUSED, 0, back);
		return;
	}
	server = conn_sim_new(c->wire);
	list_add_tail(&c->wire->embryos, &server->link);
	server->conn.local = c->conn.peer;
	server->conn.peer = c->conn.local;
	server->latency_us = c->latency_us;
	server->lane = c->lane;
	c->tls_untrusted = place.host.tls_untrusted;
	server->tls_fails = place.host.tls_fails;
	server->peer = c;
	c->peer = server;
	conn_sim_mark(c, MARK_OPEN, 0, back);
	conn_sim_mark(server, MARK_ACCEPT, 0, back + c->latency_us);
}

void
net_sim_accept(struct conn_sim *c)
{
	struct place place = find_place(c->wire, &c->conn.local);

	if (!place.net || place.host.behaviour != NET_SIM_UP) {
		conn_sim_cut(c);
		conn_sim_drop(c);
		return;
	}
	if (place.listener)
		place = listener_place(draw_listener(c->wire, place.listener, &c->conn.local));
	c->net = place.net;
	c->state = SIM_OPEN;
	list_remove(&c->link);
	list_add_tail(&place.net->conns, &c->link);
	place.host.on_accept(place.host.ctx, &c->conn);
	check(c->state == SIM_CLOSED || c->conn.events);
}

/* The system's choice of a source, where the net was not told its addresses. */
static struct ip
pick_source(const struct net_sim *net, uint8_t family)
{
	static const struct ip v4 = { IP_V4, { 192, 0, 2, 1 } };
	static const struct ip v6 = { IP_V6, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };

	for (unsigned i = 0; i < net->own_n; i++)
		if (net->own[i].family == family)
			return net->own[i];
	return family == IP_V4 ? v4 : v6;
}

static bool
may_send_from(const struct net_sim *net, const struct ip *source, const struct endpoint *to, struct err *err)
{
	char ip[IP_TEXT_MAX];

	ip_format(source, ip);
	if (source->family != to->ip.family)
		return err_set(err, ERR_PERM, "cannot send from %s to an address of the other family", ip);
	return owns(net, source) ||
	       err_set(err, ERR_PERM, "cannot send from %s: this machine has no such address", ip);
}

static uint16_t
take_port(struct net_sim *net)
{
	if (net->next_port < PORT_FIRST)
		net->next_port = PORT_FIRST;
	return net->next_port++;
}

static mono_us_t
latency_to(const struct wire *wire, const struct endpoint *to)
{
	struct place place = find_place(wire, to);

	return place.host.latency_us ? place.host.latency_us : wire->latency_us;
}

static struct conn *
sim_dial(struct net *base, const struct ip *source, const struct endpoint *to,
	 const struct conn_events *events, void *ctx, struct err *err)
{
	struct net_sim *net = sim_of(base);
	struct conn_sim *c;

	check(to->ip.family != IP_NONE);
	if (source && !may_send_from(net, source, to, err))
		return NULL;
	c = conn_sim_new(net->wire);
	c->net = net;
	list_add_tail(&net->conns, &c->link);
	c->conn.events = events;
	c->conn.ctx = ctx;
	c->conn.peer = *to;
	c->conn.local.ip = source ? *source : pick_source(net, to->ip.family);
	c->conn.local.port = take_port(net);
	conn_sim_link(c, latency_to(net->wire, to));
	if (!net->cut)
		conn_sim_mark(c, MARK_SYN, 0, net->wire->loop->now.mono + c->latency_us);
	return &c->conn;
}

static struct listener *
sim_listen(struct net *base, const struct endpoint *at, enum listen_share share,
	   void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err)
{
	struct net_sim *net = sim_of(base);
	struct listener_sim *l;
	char where[ENDPOINT_TEXT_MAX];

	if (share != LISTEN_JOINS && at->port && find_listener(net->wire, at, true)) {
		endpoint_format(at, where);
		err_set(err, ERR_PERM, "cannot listen on %s: address already in use", where);
		return NULL;
	}
	l = mem_alloc(sizeof(*l));
	l->net = net;
	l->on_accept = on_accept;
	l->ctx = ctx;
	l->listener.at = *at;
	while (l->listener.at.port == 0 || (!at->port && find_listener(net->wire, &l->listener.at, true)))
		l->listener.at.port = take_port(net);
	list_add_tail(&net->listeners, &l->link);
	return &l->listener;
}

static struct listener *
sim_listen_unix(struct net *net, const char *path,
		void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err)
{
	err_set(err, ERR_PERM, "cannot listen on %s: a world has no control socket", path);
	return NULL;
}

static void
sim_listener_close(struct listener *listener)
{
	struct listener_sim *l = container_of(listener, struct listener_sim, listener);

	list_remove(&l->link);
	free(l);
}

static const struct net_ops net_sim_ops = {
	.dial = sim_dial,
	.listen = sim_listen,
	.listen_unix = sim_listen_unix,
	.listener_close = sim_listener_close,
};

struct wire *
wire_new(struct loop *loop)
{
	struct wire *wire = mem_alloc(sizeof(*wire));

	wire->loop = loop;
	wire->latency_us = 1;
	prng_seed(&wire->prng, 1);
	list_init(&wire->nets);
	list_init(&wire->dirty);
	list_init(&wire->dead);
	list_init(&wire->spare);
	list_init(&wire->embryos);
	list_init(&wire->lanes);
	table_init(&wire->hosts, HASH_SEED);
	wire->turn_end = (struct loop_sim_turn_end){ .fn = conn_sim_turn_end, .ctx = wire };
	loop_sim_add_turn_end(loop, &wire->turn_end);
	return wire;
}

void
wire_free(struct wire *wire)
{
	if (!wire)
		return;
	check(list_empty(&wire->nets));
	while (!list_empty(&wire->embryos))
		conn_sim_drop(list_first(&wire->embryos, struct conn_sim, link));
	while (!list_empty(&wire->dead))
		conn_sim_drop(list_first(&wire->dead, struct conn_sim, link));
	while (!list_empty(&wire->spare))
		conn_sim_free(list_first(&wire->spare, struct conn_sim, link));
	lane_sim_free_all(wire);
	loop_sim_remove_turn_end(&wire->turn_end);
	table_fini(&wire->hosts);
	free(wire);
}

void
wire_latency(struct wire *wire, mono_us_t latency_us)
{
	wire->latency_us = latency_us;
}

void
wire_seed(struct wire *wire, uint64_t seed)
{
	prng_seed(&wire->prng, seed);
}

void
wire_tap(struct wire *wire, void (*on_bytes)(void *tap, struct span bytes), void *tap)
{
	wire->on_bytes = on_bytes;
	wire->tap = tap;
}

struct net *
net_sim_new(struct wire *wire)
{
	struct net_sim *net = mem_alloc(sizeof(*net));

	net->net.ops = &net_sim_ops;
	net->net.loop = wire->loop;
	net->wire = wire;
	list_init(&net->conns);
	list_init(&net->listeners);
	list_init(&net->hosts);
	list_add_tail(&wire->nets, &net->link);
	return &net->net;
}

static void
host_free(struct host *host)
{
	table_remove(&host->net->wire->hosts, span_make(&host->ip, sizeof(host->ip)));
	list_remove(&host->link);
	free(host);
}

void
net_sim_free(struct net *base)
{
	struct net_sim *net = base ? sim_of(base) : NULL;

	if (!net)
		return;
	while (!list_empty(&net->conns))
		conn_close(&list_first(&net->conns, struct conn_sim, link)->conn);
	while (!list_empty(&net->listeners))
		sim_listener_close(&list_first(&net->listeners, struct listener_sim, link)->listener);
	while (!list_empty(&net->hosts))
		host_free(list_first(&net->hosts, struct host, link));
	net_sim_default_host(base, NULL);
	list_remove(&net->link);
	free(net->own);
	free(net);
}

void
net_sim_host(struct net *base, struct ip ip, const struct net_sim_host *settings)
{
	struct net_sim *net = sim_of(base);
	struct host *host = find_host(net->wire, &ip);

	if (host)
		host_free(host);
	if (!settings)
		return;
	host = mem_alloc(sizeof(*host));
	host->net = net;
	host->ip = canonical(&ip);
	host->host = *settings;
	list_add_tail(&net->hosts, &host->link);
	table_put(&net->wire->hosts, span_make(&host->ip, sizeof(host->ip)), host);
}

void
net_sim_default_host(struct net *base, const struct net_sim_host *host)
{
	struct net_sim *net = sim_of(base);

	if (host) {
		net->wire->default_net = net;
		net->wire->default_host = *host;
	} else if (net->wire->default_net == net) {
		net->wire->default_net = NULL;
		net->wire->default_host = (struct net_sim_host){ 0 };
	}
}

void
net_sim_own(struct net *base, struct ip ip)
{
	struct net_sim *net = sim_of(base);

	if (net->own_n && owns(net, &ip))
		return;
	net->own = mem_grow(net->own, (net->own_n + 1) * sizeof(*net->own));
	net->own[net->own_n++] = canonical(&ip);
}

void
net_sim_hang(struct conn *conn)
{
	struct conn_sim *c = container_of(conn, struct conn_sim, conn);

	for (struct conn_sim *end = c; end; end = end == c ? c->peer : NULL) {
		end->hung = true;
		loop_sim_cancel(c->wire->loop, &end->arrive);
		loop_sim_cancel(c->wire->loop, &end->ack);
	}
}

void
net_sim_cut_all(struct net *base)
{
	struct net_sim *net = sim_of(base);

	net->cut = true;
	list_each (pos, &net->conns)
		conn_sim_cut(list_entry(pos, struct conn_sim, link));
}
