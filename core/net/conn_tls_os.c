/*
 * conn_tls_os - TLS on a connection that began in clear.
 *
 * The order of bytes needs no care: what the owner wrote in clear stands in
 * `out` already, the handshake's bytes are added behind it, and what the owner
 * writes from then on waits in `plain` until there are keys.
 *
 * Input goes through mbedTLS as it was read. Where the owner pauses in the
 * middle, what mbedTLS has not taken yet is kept in `held` (one read at most,
 * since a paused conn does not read) and goes on at the end of a turn.
 *
 * A whole handshake takes milliseconds of each end's processor, in two steps. One
 * step goes on among the events of a turn and one at its end; who else has a step
 * to make stands in line (`held`, unread meanwhile), so that a hundred clients who
 * come at once do not hold up the others for half a second.
 *
 * A session keeps the memory of its last records while they follow one another; one
 * that was silent between two looks of a timer is put to rest. So a message costs no
 * system call for it, and ten thousand idle ones no 300 MB.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os.h"

#define REST_US (2 * US_PER_S)

/* Records are about to be read or written. */
static void
warm(struct conn_os *c)
{
	struct net_os *net = c->net;

	c->tls->used = true;
	if (list_linked(&c->tls->warm))
		return;
	list_add_tail(&net->warm, &c->tls->warm);
	if (!timer_started(&net->rest_timer))
		timer_start(&net->net.loop->timers, &net->rest_timer, loop_now(net->net.loop).mono + REST_US);
}

void
conn_tls_rest(void *ctx, struct now now)
{
	struct net_os *net = ctx;

	list_each_safe(node, &net->warm) {
		struct conn_tls *tls = list_entry(node, struct conn_tls, warm);

		if (!tls->used && tls->open && tls_session_rest(tls->session))
			list_remove(&tls->warm);
		tls->used = false;
	}
	if (!list_empty(&net->warm))
		timer_start(&net->net.loop->timers, &net->rest_timer, now.mono + REST_US);
}

static struct conn_tls *
begin(struct conn_os *c)
{
	check(!c->tls);
	check(c->state != CONN_CLOSED);
	c->tls = mem_alloc(sizeof(*c->tls));
	c->tls->handshaking = true;
	buf_init(&c->tls->plain, 0);
	buf_init(&c->tls->held, 0);
	list_init(&c->tls->warm);
	return c->tls;
}

void
conn_tls_free(struct conn_os *c)
{
	list_remove(&c->tls->warm);
	tls_session_free(c->tls->session);
	buf_fini(&c->tls->plain);
	buf_fini(&c->tls->held);
	free(c->tls);
}

/* The first step: a client's hello; a server only gets ready. */
static void
first_step(struct conn_os *c)
{
	struct conn_tls *tls = c->tls;

	if (!tls->session || tls_session_handshake(tls->session, &tls->err) == TLS_FAILED)
		conn_os_defer(c);
	else
		tls->err.kind = ERR_NONE;
	conn_os_mark_dirty(c);
	conn_os_update_interest(c);
}

void
conn_tls_start_server(struct conn *conn, const struct tls_server *server)
{
	struct conn_os *c = container_of(conn, struct conn_os, conn);
	struct conn_tls *tls = begin(c);

	tls->session = tls_session_new_server(server, &c->out, &tls->err);
	first_step(c);
}

void
conn_tls_start_client(struct conn *conn, struct tls_client *client, const struct tls_peer *peer)
{
	struct conn_os *c = container_of(conn, struct conn_os, conn);
	struct conn_tls *tls = begin(c);

	tls->session = tls_session_new_client(client, peer, loop_now(c->net->net.loop).mono, &c->out, &tls->err);
	first_step(c);
}

void
conn_tls_end(struct conn_os *c, const struct err *err)
{
	struct conn_tls *tls = c->tls;

	/* After an end in order, what was written is still sent. */
	if (err)
		tls->open = false;
	if (!tls->handshaking)
		return;
	tls->handshaking = false;
	c->conn.events->on_tls(c->conn.ctx, err);
}

/* The alert that tells the peer why is in `out` by now. */
static void
fail(struct conn_os *c, const struct err *err)
{
	conn_os_mark_dirty(c);
	conn_os_end(c, err);
}

/* True when the keys are there and the conn may go on. */
static bool
handshake(struct conn_os *c)
{
	struct conn_tls *tls = c->tls;
	struct err err;

	c->net->shook_hands = true;
	switch (tls_session_handshake(tls->session, &err)) {
	case TLS_DONE:
		break;
	case TLS_FAILED:
		fail(c, &err);
		return false;
	default:
		conn_os_mark_dirty(c);
		return false;
	}
	tls->handshaking = false;
	tls->open = true;
	c->conn.tls_version = tls_session_version(tls->session);
	c->conn.tls_cipher = tls_session_cipher(tls->session);
	c->conn.tls_resumed = tls_session_resumed(tls->session);
	tls_session_remember(tls->session, loop_now(c->net->net.loop).mono);
	conn_os_mark_dirty(c);
	conn_os_update_interest(c);
	c->conn.events->on_tls(c->conn.ctx, NULL);
	return true;
}

static void
pump(struct conn_os *c)
{
	struct conn_tls *tls = c->tls;
	struct span data;
	struct err err;

	if (tls->handshaking && !handshake(c))
		return;
	while (c->state == CONN_OPEN && !c->paused) {
		switch (tls_session_read(tls->session, c->net->plain_room, &data, &err)) {
		case TLS_DONE:
			c->conn.events->on_data(c->conn.ctx, data);
			break;
		case TLS_WANTS_INPUT:
			/* It may have answered by itself, with an alert. */
			if (buf_len(&c->out) > 0)
				conn_os_mark_dirty(c);
			return;
		case TLS_ENDED:
			conn_os_end(c, NULL);
			return;
		case TLS_FAILED:
			fail(c, &err);
			return;
		}
	}
}

void
conn_tls_input(struct conn_os *c, struct span bytes)
{
	struct buf *held = &c->tls->held;
	struct buf rest;

	if (c->tls->err.kind != ERR_NONE)       /* about to be told */
		return;
	if (c->tls->handshaking && c->net->shook_hands) {
		buf_add(held, bytes);
		conn_os_defer(c);
		conn_os_update_interest(c);
		return;
	}
	buf_init(&rest, 0);
	if (buf_len(held) > 0) {
		buf_add(held, bytes);
		bytes = buf_span(held);
	}
	warm(c);
	tls_session_feed(c->tls->session, bytes);
	pump(c);
	bytes = tls_session_unfed(c->tls->session);
	if (c->state == CONN_OPEN && bytes.n > 0)
		buf_add(&rest, bytes);
	buf_fini(held);
	*held = rest;
}

void
conn_tls_resume(struct conn_os *c)
{
	struct conn_tls *tls = c->tls;

	if (tls->err.kind != ERR_NONE) {
		struct err err = tls->err;

		fail(c, &err);
	} else if ((!c->paused || tls->handshaking) && buf_len(&tls->held) > 0) {
		conn_tls_input(c, span_make(NULL, 0));
		if (c->state == CONN_OPEN)
			conn_os_update_interest(c);
	}
}

bool
conn_tls_in_line(const struct conn_os *c)
{
	return c->tls->handshaking && buf_len(&c->tls->held) > 0;
}

bool
conn_tls_encrypt(struct conn_os *c, size_t out_max, struct err *err)
{
	struct buf *plain = &c->tls->plain;

	while (c->tls->open && buf_len(plain) > 0 && buf_len(&c->out) < out_max) {
		struct span part = buf_span(plain);

		if (part.n > TLS_RECORD_MAX)
			part.n = TLS_RECORD_MAX;
		warm(c);
		if (!tls_session_write(c->tls->session, part, err)) {
			c->tls->open = false;
			return false;
		}
		buf_consume(plain, part.n);
	}
	if (buf_len(plain) == 0 && plain->p) {
		buf_fini(plain);
		buf_init(plain, 0);
	}
	return true;
}
