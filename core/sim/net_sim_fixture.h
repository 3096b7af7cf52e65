/*
 * net_sim_fixture - for tests: a client of the node's net, a server of the world's,
 * and what each of them heard, with the instants.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "sim/net_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "sim/loop_sim.h"
#include "util/buf.h"
#include "util/prng.h"
#include "util/table.h"

#define LATENCY 20000
#define MAYBE   __attribute__((unused)) static

/* One end, which writes down what it hears: "open@40000 data(hello)@60000 …". */
struct end {
	struct fixture *f;
	struct conn    *conn;
	struct buf      story;
	size_t          data_bytes;
	struct span     reply;          /* written when data comes */
	bool            quiet;          /* counts data, tells nothing of it */
	bool            close_on_data;
	bool            pause_on_data;
};

struct fixture {
	struct loop *loop;
	struct wire *wire;
	struct net  *node, *world;
	struct end   client, server;
	struct net_sim_host host;
	unsigned     accepted;
};

MAYBE const struct ip host_ip = { IP_V4, { 198, 51, 100, 7 } };
MAYBE const struct endpoint host_at = { { IP_V4, { 198, 51, 100, 7 } }, 25 };

MAYBE void
note(struct end *end, const char *what, struct span text)
{
	buf_printf(&end->story, "%s%s", buf_len(&end->story) ? " " : "", what);
	if (text.n)
		buf_printf(&end->story, "(%.*s)", SPAN_ARG(text));
	buf_printf(&end->story, "@%lld", (long long)loop_now(end->f->loop).mono);
}

MAYBE void on_open(void *ctx) { note(ctx, "open", SPAN("")); }
MAYBE void on_drained(void *ctx) { note(ctx, "drained", SPAN("")); }

MAYBE void
on_data(void *ctx, struct span data)
{
	struct end *end = ctx;

	end->data_bytes += data.n;
	if (!end->quiet)
		note(end, "data", data);
	if (end->reply.n)
		conn_write(end->conn, end->reply);
	if (end->pause_on_data)
		conn_pause(end->conn, true);
	if (end->close_on_data) {
		conn_close(end->conn);
		end->conn = NULL;
	}
}

MAYBE void on_tls(void *ctx, const struct err *err) { note(ctx, "tls", span_text(err ? err->text : "")); }
MAYBE void on_close(void *ctx, const struct err *err) { note(ctx, "close", span_text(err ? err->text : "")); }

MAYBE const struct conn_events events = { on_open, on_data, NULL, on_tls, on_close };
MAYBE const struct conn_events drained_events = { on_open, on_data, on_drained, on_tls, on_close };

MAYBE void
on_accept(void *ctx, struct conn *conn)
{
	struct fixture *f = ctx;

	f->server.conn = conn;
	f->accepted++;
	conn->events = &events;
	conn->ctx = &f->server;
	note(&f->server, "accept", SPAN(""));
}

MAYBE void
set_up(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->loop = loop_sim_new(0, (wall_ms_t){ 0 });
	f->wire = wire_new(f->loop);
	f->node = net_sim_new(f->wire);
	f->world = net_sim_new(f->wire);
	f->client.f = f->server.f = f;
	f->host = (struct net_sim_host){ .latency_us = LATENCY, .on_accept = on_accept, .ctx = f };
	net_sim_host(f->world, host_ip, &f->host);
}

MAYBE void
tear_down(struct fixture *f)
{
	conn_close(f->client.conn);
	conn_close(f->server.conn);
	loop_run(f->loop);
	net_sim_free(f->node);
	net_sim_free(f->world);
	wire_free(f->wire);
	loop_sim_free(f->loop);
	buf_fini(&f->client.story);
	buf_fini(&f->server.story);
}

MAYBE void
dial(struct fixture *f)
{
	f->client.conn = net_dial(f->node, NULL, &host_at, &events, &f->client, NULL);
	assert_non_null(f->client.conn);
	assert_int_equal(buf_len(&f->client.story), 0);
}

/* Both ends are open and their stories empty again. */
MAYBE void
open_pair(struct fixture *f)
{
	dial(f);
	loop_run(f->loop);
	assert_non_null(f->server.conn);
	buf_clear(&f->client.story);
	buf_clear(&f->server.story);
}

MAYBE void
run_for(struct fixture *f, mono_us_t us)
{
	mono_us_t until = loop_now(f->loop).mono + us;

	while (loop_sim_turn(f->loop, until))
		;
}

#define assert_story(end, text) assert_string_equal(buf_text(&(end).story), text)
