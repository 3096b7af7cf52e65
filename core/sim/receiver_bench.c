/* What a transaction costs the receiver itself, and with a simulated wire before it: one
 * recipient and 2 KB of body each, 20 to a connection, pipelined as the node does. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/loop_sim.h"
#include "sim/net_sim.h"
#include "sim/receiver.h"
#include "util/bench.h"

#define MESSAGES       300000
#define PER_CONNECTION 20
#define ENVELOPE       "MAIL FROM:<sender@customer.example> SIZE=2048\r\nRCPT TO:<recipient@hotmail.example>\r\nDATA\r\n"

static const struct ip mx_ip = { IP_V4, { 192, 0, 2, 25 } };

static struct span
body(void)
{
	static char text[2048];

	memset(text, 'x', sizeof(text));
	for (size_t i = 76; i + 2 < sizeof(text); i += 78)
		memcpy(text + i, "\r\n", 2);
	memcpy(text + sizeof(text) - 5, "\r\n.\r\n", 5);
	return span_make(text, sizeof(text));
}

static void ignore_write(struct conn *conn, struct span bytes) { }
static void ignore_close(struct conn *conn) { }
static const struct conn_ops ignore = { .write = ignore_write, .close = ignore_close };

static void
report(const char *what, double began, const struct receiver *receiver)
{
	check(receiver_totals(receiver)->messages == MESSAGES);
	bench_tell((bench_cpu_s() - began) / MESSAGES * 1e6, "us", "sim.%s", what);
}

static void
alone(struct span text)
{
	struct loop *loop = loop_sim_new(0, (wall_ms_t){ 0 });
	struct receiver_options options = { .loop = loop, .host = "mx.example" };
	struct receiver *receiver = receiver_new(&options);
	double began = bench_cpu_s();

	for (unsigned i = 0; i < MESSAGES / PER_CONNECTION; i++) {
		struct conn conn = { .ops = &ignore, .peer = { .ip = mx_ip } };

		receiver_accept(receiver, &conn);
		conn.events->on_data(conn.ctx, SPAN("EHLO node.example\r\n"));
		for (unsigned k = 0; k < PER_CONNECTION; k++) {
			conn.events->on_data(conn.ctx, SPAN(ENVELOPE));
			conn.events->on_data(conn.ctx, text);
		}
		conn.events->on_data(conn.ctx, SPAN("QUIT\r\n"));
	}
	report("receiver_transaction", began, receiver);
	receiver_free(receiver);
	loop_sim_free(loop);
}

struct client {
	struct conn *conn;
	struct span  text;
	unsigned     steps;
};

static void
on_open(void *ctx)
{
}

/* Every batch is answered by one piece of data. */
static void
on_data(void *ctx, struct span data)
{
	struct client *client = ctx;
	unsigned step = client->steps++;

	if (step == 0)
		conn_write(client->conn, SPAN("EHLO node.example\r\n"));
	else if (step > 2 * PER_CONNECTION)
		conn_write(client->conn, SPAN("QUIT\r\n"));
	else
		conn_write(client->conn, step % 2 ? SPAN(ENVELOPE) : client->text);
}

static void
on_close(void *ctx, const struct err *err)
{
	struct client *client = ctx;

	conn_close(client->conn);
	client->conn = NULL;
}

static const struct conn_events events = { .on_open = on_open, .on_data = on_data, .on_close = on_close };

static void
over_a_wire(struct span text)
{
	struct loop *loop = loop_sim_new(0, (wall_ms_t){ 0 });
	struct wire *wire = wire_new(loop);
	struct net *node = net_sim_new(wire);
	struct receiver_options options = { .loop = loop, .host = "mx.example", .net = net_sim_new(wire), .ip = mx_ip };
	struct receiver *receiver = receiver_new(&options);
	struct endpoint to = { mx_ip, 25 };
	struct client clients[20];
	double began = bench_cpu_s();

	receiver_set_latency(receiver, 80 * US_PER_MS);
	for (unsigned done = 0; done < MESSAGES; done += countof(clients) * PER_CONNECTION) {
		for (unsigned i = 0; i < countof(clients); i++) {
			clients[i] = (struct client){ .text = text };
			clients[i].conn = net_dial(node, NULL, &to, &events, &clients[i], NULL);
		}
		while (loop_sim_turn(loop, MONO_NEVER))
			;
	}
	report("receiver_and_wire_transaction", began, receiver);
	receiver_free(receiver);
	net_sim_free(node);
	net_sim_free(options.net);
	wire_free(wire);
	loop_sim_free(loop);
}

int
main(void)
{
	struct span text = body();

	alone(text);
	over_a_wire(text);
	return 0;
}
