/*
 * conn_os - connections on sockets.
 *
 *   CONNECTING --connected--> OPEN --end of input, error--> ENDED --+
 *        |                     |                                    +--conn_close()--> CLOSED
 *        +------refused--------|----------------------------------->+
 *
 * Output is copied to `out` and sent at the end of the loop's turn; only what
 * the socket does not take waits for EV_WRITE, so a message costs no
 * epoll_ctl(). A read that fills less than the room is the last one of its
 * event: the socket is empty, and asking it again costs a syscall to hear so.
 *
 * A peer may answer "421 too busy" and reset: a failed send therefore does not
 * end the conn, what had arrived is read first, and the end of the input then
 * tells the error.
 *
 * A conn is freed only at the end of the turn, since conn_close() may be called
 * from any event, with frames above that still look at it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os.h"

#include <errno.h>
#include <sys/ioctl.h>

#define READS_PER_EVENT 4
#define ENCRYPT_AHEAD   (64 * 1024)     /* of output, so that pending is not kept twice */

/* A conn with nothing to send holds no memory for it; what it held serves the next that writes. */
static void
release_output(struct conn_os *c)
{
	struct net_os *net = c->net;

	if (c->out.p && c->out.cap <= SPARE_BYTES_MAX && net->spares_n < SPARES_MAX) {
		buf_clear(&c->out);
		net->spares[net->spares_n++] = c->out;
	} else {
		buf_fini(&c->out);
	}
	buf_init(&c->out, 0);
}

static void
take_spare(struct conn_os *c)
{
	if (!c->out.p && c->net->spares_n > 0)
		c->out = c->net->spares[--c->net->spares_n];
}

static void
fail_sys(struct conn_os *c, int sys)
{
	struct err err;
	char text[96];

	/* Who writes to a connection that was reset hears EPIPE. */
	if (sys == EPIPE)
		sys = ECONNRESET;
	c->sys = sys;
	c->blocked = c->owed = false;
	release_output(c);
	err_set(&err, ERR_TEMP, "%s", sys_text(sys, text));
	err.sys = sys;
	conn_os_end(c, &err);
}

static bool
handshaking(const struct conn_os *c)
{
	return c->tls && c->tls->handshaking;
}

/* A handshake is read even while the owner is paused: it is no data. */
static bool
wants_read(const struct conn_os *c)
{
	return c->state == CONN_OPEN && (c->tls == NULL ? !c->paused : !conn_tls_in_line(c) && (!c->paused || handshaking(c)));
}

void
conn_os_update_interest(struct conn_os *c)
{
	uint8_t interest = 0;

	if (c->state == CONN_CONNECTING || c->blocked)
		interest |= EV_WRITE;
	if (wants_read(c))
		interest |= EV_READ;
	if (interest == c->interest)
		return;
	c->interest = interest;
	/* libev compares at the end of the turn: there and back costs nothing. */
	ev_io_stop(c->net->ev, &c->io);
	ev_io_modify(&c->io, interest);
	if (interest)
		ev_io_start(c->net->ev, &c->io);
}

void
conn_os_mark_dirty(struct conn_os *c)
{
	if (c->state != CONN_CONNECTING && !c->blocked && !list_linked(&c->dirty))
		list_add_tail(&c->net->dirty, &c->dirty);
}

void
conn_os_defer(struct conn_os *c)
{
	if (!list_linked(&c->deferred))
		list_add_tail(&c->net->deferred, &c->deferred);
}

void
conn_os_end(struct conn_os *c, const struct err *err)
{
	if (c->state >= CONN_ENDED)
		return;
	if (c->tls)
		conn_tls_end(c, err);
	if (c->state >= CONN_ENDED)
		return;
	c->state = CONN_ENDED;
	conn_os_update_interest(c);
	c->conn.events->on_close(c->conn.ctx, err);
}

static void
send_failed(struct conn_os *c, int sys)
{
	c->sys = sys;
	c->blocked = c->owed = false;
	release_output(c);
	conn_os_update_interest(c);
	if ((sys != EPIPE && sys != ECONNRESET) || !wants_read(c))
		fail_sys(c, sys);
}

/* False when the socket failed, or the conn with it. */
static bool
send_some(struct conn_os *c)
{
	struct span out = buf_span(&c->out);
	ssize_t n = send(c->fd, out.p, out.n, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		send_failed(c, errno);
		return false;
	}
	if (n > 0)
		buf_consume(&c->out, (size_t)n);
	c->blocked = buf_len(&c->out) > 0;
	return true;
}

static size_t
pending(const struct conn_os *c)
{
	return buf_len(&c->out) + (c->tls ? buf_len(&c->tls->plain) : 0);
}

static bool
encrypt_more(struct conn_os *c)
{
	struct err err;

	if (!c->tls || conn_tls_encrypt(c, ENCRYPT_AHEAD, &err))
		return true;
	conn_os_end(c, &err);
	return false;
}

static void
flush(struct conn_os *c)
{
	c->blocked = false;
	while (!c->blocked) {
		if (c->sys != 0 || !encrypt_more(c))
			return;
		if (buf_len(&c->out) == 0)
			break;
		if (!send_some(c))
			return;
	}
	conn_os_update_interest(c);
	if (buf_len(&c->out) == 0)
		release_output(c);
	if (pending(c) > 0 || !c->owed)
		return;
	c->owed = false;
	if (c->state == CONN_OPEN && c->conn.events->on_drained)
		c->conn.events->on_drained(c->conn.ctx);
}

static void
end_of_input(struct conn_os *c)
{
	struct err err;

	if (c->sys != 0) {
		fail_sys(c, c->sys);
	} else if (handshaking(c)) {
		err_set(&err, ERR_TEMP, "TLS: the peer closed the connection during the handshake");
		conn_os_end(c, &err);
	} else {
		conn_os_end(c, NULL);
	}
}

static void
read_some(struct conn_os *c)
{
	for (unsigned i = 0; i < READS_PER_EVENT && wants_read(c); i++) {
		ssize_t n = recv(c->fd, c->net->read_room, CONN_READ_MAX, 0);

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				fail_sys(c, errno);
			return;
		}
		if (n == 0) {
			end_of_input(c);
			return;
		}
		if (c->tls)
			conn_tls_input(c, span_make(c->net->read_room, (size_t)n));
		else
			c->conn.events->on_data(c->conn.ctx, span_make(c->net->read_room, (size_t)n));
		if (n < CONN_READ_MAX)
			return;
	}
}

static void
fill_local(struct conn_os *c)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t n = sizeof(addr);

	if (getsockname(c->fd, (struct sockaddr *)&addr, &n) == 0)
		sockaddr_to_endpoint(&addr, &c->conn.local);
}

static void
finish_connect(struct conn_os *c)
{
	int sys = 0;
	socklen_t n = sizeof(sys);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &sys, &n) != 0)
		sys = errno;
	if (sys != 0) {
		fail_sys(c, sys);
		return;
	}
	c->state = CONN_OPEN;
	fill_local(c);
	conn_os_update_interest(c);
	if (pending(c) > 0)
		conn_os_mark_dirty(c);
	c->conn.events->on_open(c->conn.ctx);
}

static void
on_ready(EV_P_ ev_io *w, int revents)
{
	struct conn_os *c = w->data;

	if (c->state == CONN_CONNECTING) {
		finish_connect(c);
		return;
	}
	if ((revents & EV_WRITE) && c->blocked)
		flush(c);
	if (revents & EV_READ)
		read_some(c);
}

static void
os_write(struct conn *conn, struct span bytes)
{
	struct conn_os *c = container_of(conn, struct conn_os, conn);

	check(c->state != CONN_CLOSED);
	if (bytes.n == 0 || c->sys != 0 || (c->tls && !c->tls->handshaking && !c->tls->open))
		return;
	if (c->tls) {
		buf_add(&c->tls->plain, bytes);
	} else {
		take_spare(c);
		buf_add(&c->out, bytes);
	}
	c->owed = true;
	conn_os_mark_dirty(c);
}

static size_t
os_pending(const struct conn *conn)
{
	return pending(container_of(conn, struct conn_os, conn));
}

static void
os_pause(struct conn *conn, bool paused)
{
	struct conn_os *c = container_of(conn, struct conn_os, conn);

	if (c->paused == paused)
		return;
	c->paused = paused;
	conn_os_update_interest(c);
	if (!paused && c->tls && buf_len(&c->tls->held) > 0)
		conn_os_defer(c);
}

/* What the peer sent and nobody read turns our close into a reset, which may
 * overtake the last reply. */
static bool
has_unread(const struct conn_os *c)
{
	int n = 0;

	if (c->state != CONN_OPEN)
		return false;
	return (c->tls && buf_len(&c->tls->held) > 0) || (ioctl(c->fd, FIONREAD, &n) == 0 && n > 0);
}

static void
hand_over_socket(struct conn_os *c)
{
	bool drain = c->state == CONN_OPEN && (c->owed || has_unread(c));

	if (c->tls && c->tls->open && conn_tls_encrypt(c, SIZE_MAX, NULL))
		tls_session_say_goodbye(c->tls->session);
	if (c->sys != 0 || c->state == CONN_CONNECTING || (buf_len(&c->out) == 0 && !drain))
		close(c->fd);
	else
		linger_start(c->net, c->fd, &c->out, drain);
	c->fd = -1;
	release_output(c);
}

static void
os_close(struct conn *conn)
{
	struct conn_os *c = container_of(conn, struct conn_os, conn);

	check(c->state != CONN_CLOSED);
	ev_io_stop(c->net->ev, &c->io);
	hand_over_socket(c);
	c->state = CONN_CLOSED;
	list_remove(&c->dirty);
	list_remove(&c->deferred);
	list_remove(&c->link);
	list_add_tail(&c->net->dead, &c->link);
}

static const struct conn_ops conn_os_ops = {
	.write = os_write,
	.pending = os_pending,
	.pause = os_pause,
	.start_tls_server = conn_tls_start_server,
	.start_tls_client = conn_tls_start_client,
	.close = os_close,
};

struct conn_os *
conn_os_new(struct net_os *net, int fd, enum conn_state state)
{
	struct conn_os *c = mem_alloc(sizeof(*c));

	c->conn.ops = &conn_os_ops;
	c->conn.peer_uid = UINT32_MAX;
	c->net = net;
	c->fd = fd;
	c->state = (uint8_t)state;
	buf_init(&c->out, 0);
	list_init(&c->dirty);
	list_init(&c->deferred);
	list_add_tail(&net->conns, &c->link);
	ev_io_init(&c->io, on_ready, fd, 0);
	c->io.data = c;
	conn_os_update_interest(c);
	return c;
}

static void
conn_os_free(struct conn_os *c)
{
	list_remove(&c->link);
	if (c->tls)
		conn_tls_free(c);
	free(c);
}

static void
tell_deferred(struct conn_os *c)
{
	if (c->state == CONN_CONNECTING)
		fail_sys(c, c->sys);
	else if (c->state == CONN_OPEN && c->tls)
		conn_tls_resume(c);
}

/* Conns that become dirty meanwhile wait for the next turn, so that one which
 * always has more to send does not stop the others. */
static bool
at_turn_end(void *ctx)
{
	struct net_os *net = ctx;
	struct list now;

	net->shook_hands = false;
	list_init(&now);
	list_splice_tail(&now, &net->deferred);
	while (!list_empty(&now)) {
		struct conn_os *c = list_first(&now, struct conn_os, deferred);

		list_remove(&c->deferred);
		tell_deferred(c);
	}
	net->shook_hands = false;
	list_splice_tail(&now, &net->dirty);
	while (!list_empty(&now)) {
		struct conn_os *c = list_first(&now, struct conn_os, dirty);

		list_remove(&c->dirty);
		flush(c);
	}
	while (!list_empty(&net->dead))
		conn_os_free(list_first(&net->dead, struct conn_os, link));
	listen_os_free_dead(net);
	return !list_empty(&net->dirty) || !list_empty(&net->deferred);
}

static const struct net_ops net_os_ops = {
	.dial = dial_os_tcp,
	.listen = listen_os_tcp,
	.listen_unix = listen_os_unix,
	.listener_close = listen_os_close,
};

struct net *
net_os_new(struct loop *loop, struct err *err)
{
	struct net_os *net = mem_alloc(sizeof(*net));

	net->net.ops = &net_os_ops;
	net->net.loop = loop;
	net->ev = loop_os_ev(loop);
	list_init(&net->conns);
	list_init(&net->dirty);
	list_init(&net->deferred);
	list_init(&net->dead);
	list_init(&net->lingers);
	list_init(&net->warm);
	timer_init(&net->rest_timer, conn_tls_rest, net);
	list_init(&net->listeners);
	list_init(&net->dead_listeners);
	net->read_room = mem_alloc(CONN_READ_MAX);
	net->plain_room = mem_alloc(TLS_RECORD_MAX);
	descriptors_share(net);
	net->turn_end = (struct loop_turn_end){ .fn = at_turn_end, .ctx = net };
	loop_os_add_turn_end(loop, &net->turn_end);
	return &net->net;
}

/* Conns and listeners whose owners have gone are closed for them. */
void
net_os_free(struct net *base)
{
	struct net_os *net = base ? container_of(base, struct net_os, net) : NULL;

	if (!net)
		return;
	while (!list_empty(&net->conns))
		os_close(&list_first(&net->conns, struct conn_os, link)->conn);
	while (!list_empty(&net->dead))
		conn_os_free(list_first(&net->dead, struct conn_os, link));
	listen_os_free_all(net);
	linger_free_all(net);
	timer_stop(&net->net.loop->timers, &net->rest_timer);
	loop_os_remove_turn_end(&net->turn_end);
	while (net->spares_n > 0)
		buf_fini(&net->spares[--net->spares_n]);
	free(net->read_room);
	free(net->plain_room);
	free(net);
}
