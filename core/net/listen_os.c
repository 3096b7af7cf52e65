/*
 * listen_os - listeners.
 *
 * One event accepts a bounded number of connections, so that a flood of new
 * ones does not starve the old. When descriptors run out, the one that waits
 * can't be accepted and its event would come back at once, for ever: accepting
 * then rests for a moment.
 *
 * A unix socket gets its mode from fchmod() before bind(), which Linux applies
 * to the file it makes: no instant in which others could connect, and no
 * umask(), which is the whole process's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG          4096           /* the system cuts it to net.core.somaxconn */
#define ACCEPTS_PER_TURN 64
#define REST_US          (100 * US_PER_MS)

struct listener_os {
	struct listener listener;
	struct net_os  *net;
	struct list     link;
	ev_io           io;
	struct timer    rest;
	int             fd;
	void          (*on_accept)(void *ctx, struct conn *conn);
	void           *ctx;
	char           *path;           /* unix sockets only */
	dev_t           dev;            /* which file at `path` is ours */
	ino_t           ino;
	bool            closed;
};

static void
on_rested(void *ctx, struct now now)
{
	struct listener_os *l = ctx;

	ev_io_start(l->net->ev, &l->io);
}

static void
rest(struct listener_os *l)
{
	struct loop *loop = l->net->net.loop;

	ev_io_stop(l->net->ev, &l->io);
	timer_start(&loop->timers, &l->rest, loop_now(loop).mono + REST_US);
}

static void
fill_unix(struct conn_os *c, int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0)
		c->conn.peer_uid = peer.uid;
}

static void
fill_tcp(struct conn_os *c, int fd, const struct listener_os *l, const struct sockaddr_storage *peer)
{
	struct sockaddr_storage local = { 0 };
	socklen_t n = sizeof(local);

	sockaddr_to_endpoint(peer, &c->conn.peer);
	if (!ip_is_unspecified(&l->listener.at.ip))
		c->conn.local = l->listener.at;
	else if (getsockname(fd, (struct sockaddr *)&local, &n) == 0)
		sockaddr_to_endpoint(&local, &c->conn.local);
}

static void
hand_over(struct listener_os *l, int fd, const struct sockaddr_storage *peer)
{
	struct conn_os *c = conn_os_new(l->net, fd, CONN_OPEN);

	if (l->path)
		fill_unix(c, fd);
	else
		fill_tcp(c, fd, l, peer);
	c->conn.scarce = !l->path && fd >= l->net->inbound_end;
	l->on_accept(l->ctx, &c->conn);
	check(c->state == CONN_CLOSED || c->conn.events);
}

static void
on_acceptable(EV_P_ ev_io *w, int revents)
{
	struct listener_os *l = w->data;

	for (unsigned i = 0; i < ACCEPTS_PER_TURN && !l->closed; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t n = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			hand_over(l, fd, &peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			rest(l);
		/* The others are news of one connection that is gone already. */
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static struct listener *
listener_start(struct net_os *net, int fd, const struct endpoint *at, const char *path,
	       void (*on_accept)(void *ctx, struct conn *conn), void *ctx)
{
	struct listener_os *l = mem_alloc(sizeof(*l));
	struct stat st;

	l->net = net;
	l->fd = fd;
	l->on_accept = on_accept;
	l->ctx = ctx;
	if (at)
		l->listener.at = *at;
	if (path) {
		l->path = mem_strdup(path);
		if (lstat(path, &st) == 0) {
			l->dev = st.st_dev;
			l->ino = st.st_ino;
		}
	}
	timer_init(&l->rest, on_rested, l);
	list_add_tail(&net->listeners, &l->link);
	ev_io_init(&l->io, on_acceptable, fd, EV_READ);
	l->io.data = l;
	ev_io_start(net->ev, &l->io);
	return &l->listener;
}

/* Closes fd, if there is one; errno is the reason. Always NULL. */
static struct listener *
cannot_listen(int fd, const char *where, struct err *err)
{
	int sys = errno;
	char text[96];

	if (fd >= 0)
		close(fd);
	err_set(err, sys == EMFILE || sys == ENFILE || sys == ENOMEM ? ERR_TEMP : ERR_PERM,
		"cannot listen on %s: %s", where, sys_text(sys, text));
	if (err)
		err->sys = sys;
	return NULL;
}

/* TCP_NODELAY is inherited by what is accepted. */
static bool
set_options(int fd, const struct endpoint *at, bool shared)
{
	int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	       setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
	       (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
	       (at->ip.family != IP_V6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0);
}

/* A socket bound there; errno is the reason if it is -1. */
static int
bound_socket(const struct endpoint *at, bool shared)
{
	struct sockaddr_storage addr;
	socklen_t n = sockaddr_from_endpoint(at, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int sys;

	if (fd < 0 || (set_options(fd, at, shared) && bind(fd, (struct sockaddr *)&addr, n) == 0))
		return fd;
	sys = errno;
	close(fd);
	errno = sys;
	return -1;
}

static bool
read_address(int fd, struct endpoint *out)
{
	struct sockaddr_storage addr;
	socklen_t n = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &n) != 0)
		return false;
	sockaddr_to_endpoint(&addr, out);
	return true;
}

/* Who shares a port shares it with any process of its user that does; so first one that does not share says whether it is
 * free, and picks it where it is 0. */
static bool
find_free(struct endpoint *at)
{
	int fd = bound_socket(at, false);
	bool free = fd >= 0 && read_address(fd, at);
	int sys = errno;

	if (fd >= 0)
		close(fd);
	errno = sys;
	return free;
}

struct listener *
listen_os_tcp(struct net *base, const struct endpoint *declared, enum listen_share share,
	      void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err)
{
	struct endpoint at = *declared;
	char where[ENDPOINT_TEXT_MAX];
	int fd;

	endpoint_format(declared, where);
	if (share == LISTEN_FIRST && !find_free(&at))
		return cannot_listen(-1, where, err);
	fd = bound_socket(&at, share != LISTEN_ALONE);
	if (fd < 0 || listen(fd, BACKLOG) != 0 || !read_address(fd, &at))
		return cannot_listen(fd, where, err);
	return listener_start(container_of(base, struct net_os, net), fd, &at, NULL, on_accept, ctx);
}

/* A socket file whose listener is gone refuses; all else is somebody's. */
static bool
is_stale(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0 &&
		     errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return stale;
}

static bool
clear_path(const struct sockaddr_un *addr, struct err *err)
{
	struct stat st;

	if (lstat(addr->sun_path, &st) != 0)
		return true;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, ERR_PERM, "cannot listen on %s: a file that is no socket is there", addr->sun_path);
	if (!is_stale(addr))
		return err_set(err, ERR_PERM, "cannot listen on %s: another process does", addr->sun_path);
	unlink(addr->sun_path);
	return true;
}

/* What lies in the process's own folder has a shorter name, too. */
static const char *
from_here(const char *path)
{
	char *here = getcwd(NULL, 0);
	size_t n = here != NULL ? strlen(here) : 0;
	bool inside = n > 0 && strncmp(path, here, n) == 0 && path[n] == '/';

	free(here);
	return inside ? path + n + 1 : path;
}

struct listener *
listen_os_unix(struct net *base, const char *path,
	       void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		path = from_here(path);
	if (strlen(path) >= sizeof(addr.sun_path)) {
		err_set(err, ERR_PERM, "cannot listen on %.120s…: the path is too long: %zu bytes, a socket's can have %zu",
			path, strlen(path), sizeof(addr.sun_path) - 1);
		return NULL;
	}
	memcpy(addr.sun_path, path, strlen(path));
	if (!clear_path(&addr, err))
		return NULL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(fd, BACKLOG) != 0)
		return cannot_listen(fd, path, err);
	return listener_start(container_of(base, struct net_os, net), fd, NULL, path, on_accept, ctx);
}

/* Who started after us may have put its own socket there. */
static void
remove_path(const struct listener_os *l)
{
	struct stat st;

	if (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
}

void
listen_os_close(struct listener *listener)
{
	struct listener_os *l = container_of(listener, struct listener_os, listener);

	check(!l->closed);
	l->closed = true;
	ev_io_stop(l->net->ev, &l->io);
	timer_stop(&l->net->net.loop->timers, &l->rest);
	if (l->path)
		remove_path(l);
	close(l->fd);
	list_remove(&l->link);
	list_add_tail(&l->net->dead_listeners, &l->link);
}

void
listen_os_free_dead(struct net_os *net)
{
	while (!list_empty(&net->dead_listeners)) {
		struct listener_os *l = list_first(&net->dead_listeners, struct listener_os, link);

		list_remove(&l->link);
		free(l->path);
		free(l);
	}
}

void
listen_os_free_all(struct net_os *net)
{
	while (!list_empty(&net->listeners))
		listen_os_close(&list_first(&net->listeners, struct listener_os, link)->listener);
	listen_os_free_dead(net);
}
