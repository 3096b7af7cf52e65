/*
 * linger_os - the last seconds of a socket whose owner is gone.
 *
 * First what was written is sent. Then, where the peer may still be sending,
 * our side is shut and theirs read to its end: a close() with unread input
 * resets the connection, and the reset may destroy our last reply before the
 * peer read it (RFC 1122, 4.2.2.13). All of it within seconds and bytes, so
 * that a peer who never ends holds a descriptor for no longer than that.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os.h"

#include <errno.h>

#define FLUSH_TIMEOUT_US (5 * US_PER_S)
#define DRAIN_TIMEOUT_US (2 * US_PER_S)
#define DRAIN_BYTES_MAX  (256 * 1024)

struct linger_os {
	struct list    link;
	struct net_os *net;
	struct timer   timer;
	ev_io          io;
	struct buf     out;
	size_t         drained_bytes;
	int            fd;
	bool           drain;
};

static void
linger_free(struct linger_os *linger)
{
	ev_io_stop(linger->net->ev, &linger->io);
	timer_stop(&linger->net->net.loop->timers, &linger->timer);
	list_remove(&linger->link);
	close(linger->fd);
	buf_fini(&linger->out);
	free(linger);
}

static void
on_timeout(void *ctx, struct now now)
{
	linger_free(ctx);
}

static void
wait_for(struct linger_os *linger, int events)
{
	ev_io_stop(linger->net->ev, &linger->io);
	ev_io_modify(&linger->io, events);
	ev_io_start(linger->net->ev, &linger->io);
}

static void
begin_drain(struct linger_os *linger)
{
	struct loop *loop = linger->net->net.loop;

	/* Of the last descriptors none is for somebody who is gone. */
	if (!linger->drain || linger->fd >= linger->net->inbound_end || shutdown(linger->fd, SHUT_WR) != 0) {
		linger_free(linger);
		return;
	}
	timer_start(&loop->timers, &linger->timer, loop_now(loop).mono + DRAIN_TIMEOUT_US);
	wait_for(linger, EV_READ);
}

static void
flush(struct linger_os *linger)
{
	while (buf_len(&linger->out) > 0) {
		struct span out = buf_span(&linger->out);
		ssize_t n = send(linger->fd, out.p, out.n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			linger_free(linger);
			return;
		}
		if (n > 0)
			buf_consume(&linger->out, (size_t)n);
		if (n < (ssize_t)out.n) {
			wait_for(linger, EV_WRITE);
			return;
		}
	}
	begin_drain(linger);
}

static void
drain(struct linger_os *linger)
{
	ssize_t n = recv(linger->fd, linger->net->read_room, CONN_READ_MAX, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		linger->drained_bytes += (size_t)n;
	if (n <= 0 || linger->drained_bytes > DRAIN_BYTES_MAX)
		linger_free(linger);
}

static void
on_ready(EV_P_ ev_io *w, int revents)
{
	struct linger_os *linger = w->data;

	if (buf_len(&linger->out) > 0)
		flush(linger);
	else
		drain(linger);
}

void
linger_start(struct net_os *net, int fd, struct buf *out, bool drain)
{
	struct linger_os *linger = mem_alloc(sizeof(*linger));
	struct loop *loop = net->net.loop;

	linger->net = net;
	linger->fd = fd;
	linger->drain = drain;
	linger->out = *out;
	buf_init(out, 0);
	list_add_tail(&net->lingers, &linger->link);
	ev_io_init(&linger->io, on_ready, fd, 0);
	linger->io.data = linger;
	timer_init(&linger->timer, on_timeout, linger);
	timer_start(&loop->timers, &linger->timer, loop_now(loop).mono + FLUSH_TIMEOUT_US);
	flush(linger);
}

void
linger_free_all(struct net_os *net)
{
	while (!list_empty(&net->lingers))
		linger_free(list_first(&net->lingers, struct linger_os, link));
}

void
net_os_reset(struct conn *conn)
{
	struct conn_os *c = container_of(conn, struct conn_os, conn);
	struct linger now = { .l_onoff = 1 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	c->sys = ECONNRESET;
}
