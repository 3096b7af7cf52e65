/*
 * What virtual time costs: an event of the loop with 10,000 others waiting, and
 * 50 bytes there and back over a connection, with 1 and with 1,000 of them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "sim/loop_sim.h"
#include "sim/net_sim.h"
#include "util/bench.h"
#include "util/prng.h"

#define WAITING 10000u
#define EVENTS  5000000u
#define TRIPS   2000000u

struct ticker {
	struct loop     *loop;
	struct sim_event event;
	struct prng     *prng;
	uint64_t        *left;
};

static void
on_tick(void *ctx)
{
	struct ticker *t = ctx;

	if (*t->left == 0)
		return;
	--*t->left;
	loop_sim_at(t->loop, &t->event, loop_now(t->loop).mono + 1 + (mono_us_t)prng_below(t->prng, US_PER_S));
}

static double
ns_each(double since, uint64_t n)
{
	return (bench_cpu_s() - since) * 1e9 / (double)n;
}

static void
bench_events(void)
{
	struct loop *loop = loop_sim_new(0, (wall_ms_t){ 0 });
	struct ticker *tickers = mem_alloc(WAITING * sizeof(*tickers));
	uint64_t left = EVENTS;
	struct prng prng;
	double since;

	prng_seed(&prng, 1);
	for (unsigned i = 0; i < WAITING; i++) {
		tickers[i] = (struct ticker){ loop, { .fn = on_tick, .ctx = &tickers[i] }, &prng, &left };
		on_tick(&tickers[i]);
	}
	since = bench_cpu_s();
	loop_run(loop);
	bench_tell(ns_each(since, EVENTS), "ns", "sim.event");
	free(tickers);
	loop_sim_free(loop);
}

struct pair {
	struct conn *client, *server;
	uint64_t    *left;
};

static const char fifty[51] = "250 2.1.5 ok, and what else a reply is made of. \r\n";

static void on_open(void *ctx) { conn_write(((struct pair *)ctx)->client, span_make(fifty, 50)); }
static void on_close(void *ctx, const struct err *err) { }
static void on_server_data(void *ctx, struct span data) { conn_write(((struct pair *)ctx)->server, data); }

static void
on_client_data(void *ctx, struct span data)
{
	struct pair *pair = ctx;

	check(data.n == 50);
	if (*pair->left == 0)
		return;
	--*pair->left;
	conn_write(pair->client, data);
}

static const struct conn_events client_events = { on_open, on_client_data, NULL, NULL, on_close };
static const struct conn_events server_events = { on_open, on_server_data, NULL, NULL, on_close };

struct acceptor {
	struct pair *pairs;
	unsigned     n;
};

static void
on_accept(void *ctx, struct conn *conn)
{
	struct acceptor *acceptor = ctx;

	conn->events = &server_events;
	conn->ctx = &acceptor->pairs[acceptor->n];
	acceptor->pairs[acceptor->n++].server = conn;
}

static void
bench_pairs(unsigned n)
{
	struct loop *loop = loop_sim_new(0, (wall_ms_t){ 0 });
	struct wire *wire = wire_new(loop);
	struct net *net = net_sim_new(wire);
	struct acceptor acceptor = { .pairs = mem_alloc(n * sizeof(*acceptor.pairs)) };
	struct net_sim_host host = { .latency_us = 20000, .on_accept = on_accept, .ctx = &acceptor };
	struct endpoint to = { { IP_V4, { 198, 18, 0, 1 } }, 25 };
	uint64_t left = TRIPS;
	double since;

	net_sim_host(net, to.ip, &host);
	for (unsigned i = 0; i < n; i++) {
		acceptor.pairs[i].left = &left;
		acceptor.pairs[i].client = net_dial(net, NULL, &to, &client_events, &acceptor.pairs[i], NULL);
		loop_sim_turn(loop, loop_now(loop).mono + 7);
	}
	since = bench_cpu_s();
	loop_run(loop);
	bench_tell(ns_each(since, TRIPS), "ns", "sim.round_trip_%u_connections", n);
	net_sim_free(net);
	wire_free(wire);
	loop_sim_free(loop);
	free(acceptor.pairs);
}

int
main(void)
{
	bench_events();
	bench_pairs(1);
	bench_pairs(1000);
	return 0;
}
