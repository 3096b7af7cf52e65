/*
 * conn_sim - a simulated connection's life.
 *
 *   CONNECTING --opened, accepted--> OPEN --end, failure--> ENDED --conn_close()--> CLOSED
 *
 * An end keeps what is on its way to it: the bytes in `in`, and a ring of marks
 * that say when how many of them, or which news (an end, a reset, a step of a
 * handshake), arrive. Its lane tells it when; an event of its own only where a
 * mark had to wait for something else than time.
 *
 * Bytes move only at the end of a turn, also those of a conn that was closed:
 * no buffer changes while a span of it is lent to on_data. Where nothing is on
 * its way the two ends change buffers, and nothing is copied. Ends that are
 * over keep their buffers and are used again, so a steady state allocates
 * nothing.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/conn_sim.h"

#include <errno.h>
#include <stdlib.h>

#define WINDOW_BYTES (256u * 1024)
#define KEEP_BYTES   (32u * 1024)       /* of a buffer, when its conn is over */

/* A handshake is read even while the owner is paused: it is no data. */
static bool
holds_back(const struct conn_sim *c, const struct mark *mark)
{
	return c->paused && !c->handshaking && (mark->what == MARK_DATA || mark->what == MARK_FIN);
}

void
conn_sim_arm(struct conn_sim *c)
{
	if (c->marks.n && !c->hung && c->state < SIM_ENDED && !holds_back(c, marks_at(&c->marks, 0)))
		loop_sim_at(c->wire->loop, &c->arrive, marks_at(&c->marks, 0)->at);
}

void
conn_sim_mark(struct conn_sim *c, enum mark_what what, uint32_t n, mono_us_t at)
{
	marks_push(&c->marks, (struct mark){ .at = at, .n = n, .what = (uint8_t)what });
	if (c->lane && at == c->wire->loop->now.mono + c->latency_us)
		lane_sim_add(c->lane, c);
	else if (c->marks.n == 1)
		conn_sim_arm(c);
}

void
conn_sim_dirty(struct conn_sim *c)
{
	if (c->state == SIM_CONNECTING || c->state >= SIM_CUT || c->blocked || list_linked(&c->dirty))
		return;
	list_add_tail(&c->wire->dirty, &c->dirty);
	loop_sim_wake(c->wire->loop);
}

void
conn_sim_end(struct conn_sim *c, const struct err *err)
{
	if (c->state >= SIM_ENDED)
		return;
	if (c->handshaking) {
		c->handshaking = false;
		c->conn.events->on_tls(c->conn.ctx, err);
		if (c->state >= SIM_ENDED)
			return;
	}
	c->state = SIM_ENDED;
	loop_sim_cancel(c->wire->loop, &c->arrive);
	c->conn.events->on_close(c->conn.ctx, err);
}

void
conn_sim_fail(struct conn_sim *c, int sys, const char *text)
{
	struct err err;

	err_set(&err, ERR_TEMP, "%s", text);
	err.sys = sys;
	c->mute = true;
	c->owed = false;
	buf_clear(&c->out);
	conn_sim_end(c, &err);
}

/* The other end is gone: it takes what is written, and gives it to nobody. */
static void
detach(struct conn_sim *c)
{
	struct conn_sim *peer = c->peer;

	c->peer = NULL;
	if (!peer)
		return;
	peer->peer = NULL;
	peer->blocked = false;
	loop_sim_cancel(c->wire->loop, &peer->ack);
	if (buf_len(&peer->out) > 0)
		conn_sim_dirty(peer);
}

/* The first n bytes of the output go on their way. */
static void
send_off(struct conn_sim *c, size_t n)
{
	struct conn_sim *peer = c->peer;
	struct mark *last = peer && peer->marks.n ? marks_at(&peer->marks, peer->marks.n - 1) : NULL;
	mono_us_t at = c->wire->loop->now.mono + c->latency_us;

	if (n == 0)
		return;
	if (c->wire->on_bytes)
		c->wire->on_bytes(c->wire->tap, span_first(buf_span(&c->out), n));
	if (!peer) {
		buf_consume(&c->out, n);
		return;
	}
	if (n == buf_len(&c->out) && buf_len(&peer->in) == 0) {
		struct buf empty = peer->in;

		peer->in = c->out;
		c->out = empty;
	} else {
		buf_add(&peer->in, span_first(buf_span(&c->out), n));
		buf_consume(&c->out, n);
	}
	if (last && last->what == MARK_DATA && last->at == at)
		last->n += (uint32_t)n;
	else
		conn_sim_mark(peer, MARK_DATA, (uint32_t)n, at);
}

static size_t
window_left(const struct conn_sim *c)
{
	size_t used = c->peer ? buf_len(&c->peer->in) : 0;

	return used < WINDOW_BYTES ? WINDOW_BYTES - used : 0;
}

/* What may leave now: until the keys are there, only what was written before. */
static size_t
sendable(const struct conn_sim *c)
{
	return c->handshaking ? c->clear_bytes : buf_len(&c->out);
}

static void
flush(struct conn_sim *c)
{
	size_t want = sendable(c);
	size_t n = (size_t)min_i64((int64_t)want, (int64_t)window_left(c));

	send_off(c, n);
	if (c->handshaking)
		c->clear_bytes -= n;
	if (n < want) {
		c->blocked = true;
		return;
	}
	if (c->handshaking)
		tls_sim_step(c);
	if (buf_len(&c->out) > 0 || !c->owed || c->state >= SIM_CUT)
		return;
	c->owed = false;
	if (c->state == SIM_OPEN && c->conn.events->on_drained)
		c->conn.events->on_drained(c->conn.ctx);
}

static void
on_ack(void *ctx)
{
	struct conn_sim *c = ctx;

	c->blocked = false;
	conn_sim_dirty(c);
}

static void
give_room(struct conn_sim *c)
{
	struct conn_sim *peer = c->peer;

	if (peer && peer->blocked && !peer->hung && !sim_event_scheduled(&peer->ack))
		loop_sim_at(c->wire->loop, &peer->ack, c->wire->loop->now.mono + c->latency_us);
}

/* All bytes that have arrived, in one piece, but for what a read does not take. */
static void
data_arrived(struct conn_sim *c, size_t n)
{
	mono_us_t now = c->wire->loop->now.mono;
	size_t piece;

	while (c->marks.n && marks_at(&c->marks, 0)->what == MARK_DATA && marks_at(&c->marks, 0)->at <= now) {
		n += marks_at(&c->marks, 0)->n;
		marks_pop(&c->marks);
	}
	if (c->handshaking) {
		conn_sim_fail(c, 0, "TLS: An invalid SSL record was received");
		return;
	}
	piece = (size_t)min_i64((int64_t)n, CONN_READ_MAX);
	c->conn.events->on_data(c->conn.ctx, span_first(buf_span(&c->in), piece));
	buf_consume(&c->in, piece);
	if (piece < n)
		marks_unpop(&c->marks, (struct mark){ .at = now, .n = (uint32_t)(n - piece), .what = MARK_DATA });
	give_room(c);
}

static void
arrived(struct conn_sim *c, const struct mark *mark)
{
	switch ((enum mark_what)mark->what) {
	case MARK_SYN:
		net_sim_syn(c);
		break;
	case MARK_REFUSED:
		conn_sim_fail(c, ECONNREFUSED, "connection refused");
		break;
	case MARK_OPEN:
		c->state = SIM_OPEN;
		conn_sim_dirty(c);
		c->conn.events->on_open(c->conn.ctx);
		break;
	case MARK_ACCEPT:
		net_sim_accept(c);
		break;
	case MARK_DATA:
		data_arrived(c, mark->n);
		break;
	case MARK_FIN:
		if (c->handshaking)
			conn_sim_fail(c, 0, "TLS: the peer closed the connection during the handshake");
		else
			conn_sim_end(c, NULL);
		break;
	case MARK_RESET:
		if (c->net)
			conn_sim_fail(c, ECONNRESET, "connection reset by peer");
		else
			conn_sim_drop(c);
		break;
	default:
		tls_sim_arrived(c, mark);
	}
}

void
conn_sim_arrive(void *conn_sim)
{
	struct conn_sim *c = conn_sim;
	mono_us_t now = c->wire->loop->now.mono;

	while (c->marks.n && c->state < SIM_ENDED && !c->hung) {
		struct mark mark = *marks_at(&c->marks, 0);

		if (mark.at > now || holds_back(c, &mark))
			break;
		marks_pop(&c->marks);
		arrived(c, &mark);
	}
	if (!c->lane)
		conn_sim_arm(c);
}

static void
sim_write(struct conn *conn, struct span bytes)
{
	struct conn_sim *c = container_of(conn, struct conn_sim, conn);

	check(c->state != SIM_CLOSED);
	if (bytes.n == 0 || c->mute || c->state == SIM_CUT)
		return;
	buf_add(&c->out, bytes);
	c->owed = true;
	conn_sim_dirty(c);
}

static size_t
sim_pending(const struct conn *conn)
{
	return buf_len(&container_of(conn, const struct conn_sim, conn)->out);
}

static void
sim_pause(struct conn *conn, bool paused)
{
	struct conn_sim *c = container_of(conn, struct conn_sim, conn);

	if (c->paused == paused)
		return;
	c->paused = paused;
	if (!paused)
		conn_sim_arm(c);
}

/* Whom the other end has not accepted yet, it need never hear of. */
static void
drop_embryo(struct conn_sim *c)
{
	if (c->state == SIM_CONNECTING && c->peer)
		conn_sim_drop(c->peer);
}

static void
sim_close(struct conn *conn)
{
	struct conn_sim *c = container_of(conn, struct conn_sim, conn);

	check(c->state != SIM_CLOSED);
	drop_embryo(c);
	if (c->state == SIM_CUT)
		c->mute = true;
	c->state = SIM_CLOSED;
	loop_sim_cancel(c->wire->loop, &c->arrive);
	loop_sim_cancel(c->wire->loop, &c->ack);
	list_remove(&c->dirty);
	list_remove(&c->link);
	list_add_tail(&c->wire->dead, &c->link);
	loop_sim_wake(c->wire->loop);
}

static const struct conn_ops conn_sim_ops = {
	.write = sim_write,
	.pending = sim_pending,
	.pause = sim_pause,
	.start_tls_server = tls_sim_start_server,
	.start_tls_client = tls_sim_start_client,
	.close = sim_close,
};

static struct buf
emptied(struct buf buf)
{
	if (buf.cap > KEEP_BYTES)
		buf_fini(&buf);
	buf_clear(&buf);
	return buf;
}

struct conn_sim *
conn_sim_new(struct wire *wire)
{
	struct conn_sim *c;

	if (list_empty(&wire->spare)) {
		c = mem_alloc(sizeof(*c));
		list_init(&c->link);
	} else {
		c = list_first(&wire->spare, struct conn_sim, link);
		list_remove(&c->link);
	}
	*c = (struct conn_sim){
		.conn = { .ops = &conn_sim_ops, .peer_uid = UINT32_MAX },
		.wire = wire,
		.out = emptied(c->out),
		.in = emptied(c->in),
		.marks = { .ring = c->marks.ring, .cap = c->marks.cap },
		.arrive = { .fn = conn_sim_arrive, .ctx = c },
		.ack = { .fn = on_ack, .ctx = c },
	};
	list_init(&c->link);
	list_init(&c->dirty);
	return c;
}

void
conn_sim_link(struct conn_sim *c, mono_us_t latency_us)
{
	c->latency_us = latency_us;
	c->lane = lane_sim_find(c->wire, latency_us);
}

void
conn_sim_free(struct conn_sim *c)
{
	list_remove(&c->link);
	buf_fini(&c->out);
	buf_fini(&c->in);
	free(c->marks.ring);
	free(c);
}

void
conn_sim_drop(struct conn_sim *c)
{
	detach(c);
	c->state = SIM_CLOSED;
	c->marks.n = 0;
	loop_sim_cancel(c->wire->loop, &c->arrive);
	loop_sim_cancel(c->wire->loop, &c->ack);
	list_remove(&c->dirty);
	list_remove(&c->link);
	list_add_head(&c->wire->spare, &c->link);
}

void
conn_sim_cut(struct conn_sim *c)
{
	if (c->net)
		drop_embryo(c);
	if (c->peer)
		conn_sim_mark(c->peer, MARK_RESET, 0, c->wire->loop->now.mono + c->latency_us);
	detach(c);
	c->state = SIM_CUT;
	loop_sim_cancel(c->wire->loop, &c->arrive);
	list_remove(&c->dirty);
}

/* The last bytes and the end, whatever the window: nobody is left to hold them. */
static void
finish(struct conn_sim *c)
{
	if (c->peer) {
		if (!c->mute)
			send_off(c, sendable(c));
		conn_sim_mark(c->peer, MARK_FIN, 0, c->wire->loop->now.mono + c->latency_us);
	}
	conn_sim_drop(c);
}

bool
conn_sim_turn_end(void *ctx)
{
	struct wire *wire = ctx;
	struct list now;

	list_init(&now);
	list_splice_tail(&now, &wire->dirty);
	while (!list_empty(&now)) {
		struct conn_sim *c = list_first(&now, struct conn_sim, dirty);

		list_remove(&c->dirty);
		flush(c);
	}
	while (!list_empty(&wire->dead))
		finish(list_first(&wire->dead, struct conn_sim, link));
	return !list_empty(&wire->dirty);
}

static void
reset_end(struct conn_sim *c)
{
	detach(c);
	c->mute = true;
	c->marks.n = 0;
	buf_clear(&c->out);
	conn_sim_mark(c, MARK_RESET, 0, c->wire->loop->now.mono);
}

void
net_sim_reset(struct conn *conn)
{
	struct conn_sim *c = container_of(conn, struct conn_sim, conn);
	struct conn_sim *peer = c->peer;

	if (c->state >= SIM_ENDED || c->hung)
		return;
	reset_end(c);
	if (peer && peer->state < SIM_ENDED)
		reset_end(peer);
}
