/*
 * conn_os_fixture - for tests: a client and a server on one loop, over loopback, that
 * note what happens to them; and a peer on a bare socket that does what it likes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "net/conn_os.h"
#include "util/crc.h"

#define DEADLINE_US (20 * US_PER_S)

enum moment { NEVER, AT_OPEN, AT_TLS, AT_DATA, AT_DRAINED, AT_CLOSE, AT_ACCEPT, MOMENTS };

/* One end, and what happened to it. */
struct end {
	struct fixture *f;
	struct conn    *conn;
	enum moment     close_at;
	bool            echo;
	bool            opened, secure, closed, closed_in_order;
	unsigned        drained;
	unsigned        events_after_close;
	struct buf      got;
	size_t          got_bytes;
	uint32_t        got_crc;
	bool            keep;           /* what came, in `got` */
	size_t          to_send;        /* bytes still to be written, chunk by chunk */
	size_t          sent_bytes;
	uint32_t        sent_crc;
	size_t          most_pending;
	unsigned        pause_every;    /* of this many events of data */
	unsigned        data_events;
	struct timer    unpause;
	char            tls_error[300], error[300];
};

struct fixture {
	struct loop         *loop;
	struct net          *net;
	struct listener     *listener;
	struct timer         deadline;
	struct loop_turn_end turn_end;
	bool               (*until)(struct fixture *f);
	bool                 spin;      /* `until` looks at what is no event */
	unsigned             turns, turns_left;
	struct end           client, server;
	unsigned             accepted;
	int                  raw;
	struct buf           raw_got;
	bool                 raw_ended;
	int                  raw_errno;
	/* For connections that turn to TLS after two lines in clear; NULL: none does. */
	struct tls_server   *tls_server;
	struct tls_client   *tls_client;
	struct tls_peer      peer;
	struct span          early;             /* the client writes it before there are keys */
	bool                 client_in_clear;   /* the client sends what it likes instead of a handshake */
};

static inline void
close_if(struct end *end, enum moment moment)
{
	if (end->close_at != moment || !end->conn)
		return;
	conn_close(end->conn);
	end->conn = NULL;
}

static inline void
expect_alive(struct end *end)
{
	if (!end->conn || end->closed)
		end->events_after_close++;
}

static inline void
on_open(void *ctx)
{
	struct end *end = ctx;

	expect_alive(end);
	end->opened = true;
	if (end->f->tls_client)
		conn_write(end->conn, SPAN("STARTTLS\r\n"));
	close_if(end, AT_OPEN);
}

/* What is said in clear before TLS; true when it was. */
static inline bool
in_clear(struct end *end, struct span data)
{
	struct fixture *f = end->f;

	if (!f->tls_server || end->secure)
		return false;
	if (end == &f->server) {
		assert_true(span_eq(data, SPAN("STARTTLS\r\n")));
		conn_write(end->conn, SPAN("220 go on\r\n"));
		conn_start_tls_server(end->conn, f->tls_server);
	} else if (!f->client_in_clear) {
		assert_true(span_eq(data, SPAN("220 go on\r\n")));
		conn_start_tls_client(end->conn, f->tls_client, &f->peer);
		if (f->early.n)
			conn_write(end->conn, f->early);
	}
	return true;
}

static inline void
on_unpause(void *ctx, struct now now)
{
	struct end *end = ctx;

	if (end->conn)
		conn_pause(end->conn, false);
}

static inline void
on_data(void *ctx, struct span data)
{
	struct end *end = ctx;

	expect_alive(end);
	assert_true(data.n > 0);
	if (in_clear(end, data))
		return;
	end->got_bytes += data.n;
	end->got_crc = crc32c(end->got_crc, data);
	if (end->keep)
		buf_add(&end->got, data);
	if (end->echo)
		conn_write(end->conn, data);
	close_if(end, AT_DATA);
	if (end->conn && end->pause_every && ++end->data_events % end->pause_every == 0) {
		conn_pause(end->conn, true);
		timer_start(&end->f->loop->timers, &end->unpause, loop_now(end->f->loop).mono + 500);
	}
}

static inline void
send_chunk(struct end *end)
{
	char chunk[100000];
	size_t n = end->to_send < sizeof(chunk) ? end->to_send : sizeof(chunk);

	for (size_t i = 0; i < n; i++)
		chunk[i] = (char)((end->sent_bytes + i) * 2654435761u >> 13);
	end->to_send -= n;
	end->sent_bytes += n;
	end->sent_crc = crc32c(end->sent_crc, span_make(chunk, n));
	conn_write(end->conn, span_make(chunk, n));
	if (conn_pending(end->conn) > end->most_pending)
		end->most_pending = conn_pending(end->conn);
}

static inline void
on_drained(void *ctx)
{
	struct end *end = ctx;

	expect_alive(end);
	assert_int_equal(conn_pending(end->conn), 0);
	end->drained++;
	close_if(end, AT_DRAINED);
	if (end->conn && end->to_send > 0 && (end->secure || !end->f->tls_server))
		send_chunk(end);
}

static inline void
on_tls(void *ctx, const struct err *err)
{
	struct end *end = ctx;

	expect_alive(end);
	assert_non_null(end->f->tls_server);
	assert_false(end->secure);
	assert_false(end->tls_error[0]);
	if (err)
		snprintf(end->tls_error, sizeof(end->tls_error), "%s", err->text);
	else
		end->secure = true;
	close_if(end, AT_TLS);
	if (end->conn && end->secure && end->to_send > 0)
		send_chunk(end);
}

static inline void
on_close(void *ctx, const struct err *err)
{
	struct end *end = ctx;

	expect_alive(end);
	end->closed = true;
	end->closed_in_order = !err;
	if (err) {
		assert_int_equal(err->kind, ERR_TEMP);
		snprintf(end->error, sizeof(end->error), "%s", err->text);
	}
	close_if(end, AT_CLOSE);
}

static const struct conn_events events = {
	.on_open = on_open, .on_data = on_data, .on_drained = on_drained, .on_tls = on_tls, .on_close = on_close,
};

static inline void
on_accept(void *ctx, struct conn *conn)
{
	struct fixture *f = ctx;

	f->accepted++;
	if (f->server.conn) {
		conn_close(conn);
		return;
	}
	f->server.conn = conn;
	conn->events = &events;
	conn->ctx = &f->server;
	close_if(&f->server, AT_ACCEPT);
}

static inline void
too_late(void *ctx, struct now now)
{
	fail_msg("the deadline passed");
}

static inline void
raw_read(struct fixture *f)
{
	char room[4096];
	ssize_t n;

	while (f->raw >= 0 && !f->raw_ended && (n = recv(f->raw, room, sizeof(room), MSG_DONTWAIT)) != -2) {
		if (n > 0) {
			buf_add(&f->raw_got, span_make(room, (size_t)n));
			continue;
		}
		if (n < 0 && errno == EAGAIN)
			return;
		f->raw_ended = true;
		f->raw_errno = n < 0 ? errno : 0;
	}
}

static inline bool
at_turn_end(void *ctx)
{
	struct fixture *f = ctx;

	f->turns++;
	raw_read(f);
	if (f->until(f))
		loop_stop(f->loop);
	return f->spin;
}

static inline void
run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
	f->until = until;
	loop_run(f->loop);
}

static inline void
end_init(struct fixture *f, struct end *end)
{
	end->f = f;
	end->keep = true;
	buf_init(&end->got, 0);
	timer_init(&end->unpause, on_unpause, end);
}

static inline struct endpoint
endpoint_of(const char *text)
{
	struct endpoint endpoint;

	assert_true(endpoint_parse(span_text(text), 0, &endpoint, NULL));
	return endpoint;
}

static inline void
set_up_at(struct fixture *f, const char *at)
{
	struct endpoint endpoint = endpoint_of(at);
	struct err err = { 0 };

	memset(f, 0, sizeof(*f));
	f->raw = -1;
	f->loop = loop_os_new(&err);
	f->net = net_os_new(f->loop, &err);
	f->listener = net_listen(f->net, &endpoint, LISTEN_ALONE, on_accept, f, &err);
	if (!f->listener)
		fail_msg("%s", err.text);
	timer_init(&f->deadline, too_late, f);
	timer_start(&f->loop->timers, &f->deadline, loop_now(f->loop).mono + DEADLINE_US);
	f->turn_end = (struct loop_turn_end){ .fn = at_turn_end, .ctx = f };
	loop_os_add_turn_end(f->loop, &f->turn_end);
	end_init(f, &f->client);
	end_init(f, &f->server);
	buf_init(&f->raw_got, 0);
}

static inline void
set_up(struct fixture *f)
{
	set_up_at(f, "127.0.0.1:0");
}

static inline void
tear_down(struct fixture *f)
{
	assert_int_equal(f->client.events_after_close, 0);
	assert_int_equal(f->server.events_after_close, 0);
	conn_close(f->client.conn);
	conn_close(f->server.conn);
	listener_close(f->net, f->listener);
	if (f->raw >= 0)
		close(f->raw);
	timer_stop(&f->loop->timers, &f->client.unpause);
	timer_stop(&f->loop->timers, &f->server.unpause);
	timer_stop(&f->loop->timers, &f->deadline);
	loop_os_remove_turn_end(&f->turn_end);
	net_os_free(f->net);
	loop_os_free(f->loop);
	tls_server_free(f->tls_server);
	tls_client_free(f->tls_client);
	buf_fini(&f->client.got);
	buf_fini(&f->server.got);
	buf_fini(&f->raw_got);
}

static inline void
dial(struct fixture *f)
{
	struct err err;

	f->client.conn = net_dial(f->net, NULL, &f->listener->at, &events, &f->client, &err);
	assert_non_null(f->client.conn);
}

static inline bool
connected(struct fixture *f)
{
	return f->client.opened && f->server.conn;
}

static inline void
set_up_connected(struct fixture *f)
{
	set_up(f);
	dial(f);
	run_until(f, connected);
}

static inline bool
turns_are_over(struct fixture *f)
{
	return f->turns_left-- == 0;
}

static inline void
run_turns(struct fixture *f, unsigned n)
{
	bool spin = f->spin;

	f->turns_left = n;
	f->spin = true;
	run_until(f, turns_are_over);
	f->spin = spin;
}

/* A peer that does what it likes. */
static inline void
raw_connect(struct fixture *f)
{
	struct sockaddr_storage addr;
	socklen_t n = sockaddr_from_endpoint(&f->listener->at, &addr);

	f->raw = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->raw, (struct sockaddr *)&addr, n), 0);
	f->spin = true;
}

static inline void
raw_send(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->raw, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What was to be sent, both ways. */
static inline bool
all_received(struct fixture *f)
{
	return f->server.got_bytes == f->client.sent_bytes && f->client.to_send == 0 &&
	       f->client.got_bytes == f->server.sent_bytes && f->server.to_send == 0;
}

static inline bool server_is_there(struct fixture *f) { return f->server.conn; }
static inline bool server_closed(struct fixture *f) { return f->server.closed; }
static inline bool client_closed(struct fixture *f) { return f->client.closed; }
static inline bool client_drained(struct fixture *f) { return f->client.drained > 0; }
static inline bool client_got_12(struct fixture *f) { return f->client.got_bytes >= 12; }
static inline bool server_got_6(struct fixture *f) { return f->server.got_bytes >= 6; }
static inline bool raw_ended(struct fixture *f) { return f->raw_ended; }
