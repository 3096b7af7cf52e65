/*
 * dial_os - the beginning of a connection of ours.
 *
 * What fails at once, but is no fault of the call (nobody listens on loopback), is
 * told as any other refusal: after dial has returned.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os.h"

#include <errno.h>
#include <netinet/tcp.h>

static bool
cannot(struct err *err, int sys, const char *what)
{
	bool is_short = sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
	char text[96];

	return err_set(err, is_short ? ERR_TEMP : ERR_PERM, "%s: %s", what, sys_text(sys, text));
}

/* -1: told. */
static int
open_socket(const struct net_os *net, int family, struct err *err)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int sys = errno;

	if (fd >= 0 && fd < net->outbound_end)
		return fd;
	if (fd >= 0) {
		close(fd);
		sys = EMFILE;
	}
	cannot(err, sys, "cannot open a socket");
	return -1;
}

static bool
bind_source(int fd, const struct ip *source, const struct endpoint *to, struct err *err)
{
	struct endpoint from = { .ip = *source };
	struct sockaddr_storage addr;
	char ip[IP_TEXT_MAX], what[IP_TEXT_MAX + 32];
	int on = 1;

	ip_format(source, ip);
	if (source->family != to->ip.family)
		return err_set(err, ERR_PERM, "cannot send from %s to an address of the other family", ip);
	/* The port is chosen at connect(): one source has 28,000 ports for each
	 * destination, not for all of them. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, sockaddr_from_endpoint(&from, &addr)) == 0)
		return true;
	if (errno == EADDRNOTAVAIL)
		return err_set(err, ERR_PERM, "cannot send from %s: this machine has no such address", ip);
	snprintf(what, sizeof what, "cannot send from %s", ip);
	return cannot(err, errno, what);
}

struct conn *
dial_os_tcp(struct net *base, const struct ip *source, const struct endpoint *to,
	const struct conn_events *events, void *ctx, struct err *err)
{
	struct net_os *net = container_of(base, struct net_os, net);
	struct sockaddr_storage addr;
	socklen_t n = sockaddr_from_endpoint(to, &addr);
	struct conn_os *c;
	int on = 1, fd;

	check(to->ip.family != IP_NONE);
	fd = open_socket(net, addr.ss_family, err);
	if (fd < 0)
		return NULL;
	if (source && !bind_source(fd, source, to, err)) {
		close(fd);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = conn_os_new(net, fd, CONN_CONNECTING);
	c->conn.events = events;
	c->conn.ctx = ctx;
	c->conn.peer = *to;
	if (connect(fd, (struct sockaddr *)&addr, n) != 0 && errno != EINPROGRESS) {
		c->sys = errno;
		conn_os_defer(c);
	}
	return &c->conn;
}
