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
bind_source(int fd, const struct ip *source, const struct endpoint *to, struct err *err)
{
	struct endpoint from = { .ip = *source };
	struct sockaddr_storage addr;
	char ip[IP_TEXT_MAX], text[96];
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
		err_set(err, ERR_PERM, "cannot send from %s: this machine has no such address", ip);
	else
		err_set(err, ERR_TEMP, "cannot send from %s: %s", ip, sys_text(errno, text));
	return false;
}

struct conn *
dial_os_tcp(struct net *base, const struct ip *source, const struct endpoint *to,
	const struct conn_events *events, void *ctx, struct err *err)
{
	struct net_os *net = container_of(base, struct net_os, net);
	struct sockaddr_storage addr;
	socklen_t n = sockaddr_from_endpoint(to, &addr);
	struct conn_os *c;
	char text[96];
	int on = 1, fd;

	check(to->ip.family != IP_NONE);
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err_set(err, ERR_TEMP, "cannot open a socket: %s", sys_text(errno, text));
		return NULL;
	}
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
