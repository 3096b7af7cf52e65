/*
 * resolver_server_fixture - for tests: a name server of a few lines that runs in a
 * thread, on UDP and TCP of one loopback port. What it does with a question is the
 * first label of the name.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "net/resolver_packet.h"
#include "util/buf.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum { T_A = 1, T_CNAME = 5, T_SOA = 6, T_MX = 15, T_AAAA = 28 };
enum { R_SERVFAIL = 2, R_NXDOMAIN = 3, R_FORMERR = 1, R_REFUSED = 5 };

struct server {
	int          udp, tcp;
	uint16_t     port;
	pthread_t    thread;
	int          wake[2];
	_Atomic unsigned udp_n, tcp_n, edns_n;
	_Atomic unsigned ids[64];
};

struct reply {
	unsigned char p[60000];
	size_t        n;
	bool          silent, close;
};

static inline void
put16(struct reply *r, unsigned v)
{
	r->p[r->n++] = (unsigned char)(v >> 8);
	r->p[r->n++] = (unsigned char)v;
}

static inline void
put32(struct reply *r, uint32_t v)
{
	put16(r, v >> 16);
	put16(r, v & 0xffff);
}

/* Text as labels; "" is the root. */
static inline void
put_name(struct reply *r, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");
		r->p[r->n++] = (unsigned char)n;
		memcpy(r->p + r->n, name, n);
		r->n += n;
		name += n + (name[n] == '.');
	}
	r->p[r->n++] = 0;
}

/* A record up to its data; owner NULL is the question's name. */
static inline size_t
begin_rr(struct reply *r, const char *owner, unsigned type, uint32_t ttl)
{
	if (owner)
		put_name(r, owner);
	else
		put16(r, 0xc00c);
	put16(r, type);
	put16(r, 1);
	put32(r, ttl);
	put16(r, 0);
	return r->n;
}

static inline void
end_rr(struct reply *r, size_t at, unsigned count_at)
{
	size_t n = r->n - at;
	r->p[at - 2] = (unsigned char)(n >> 8);
	r->p[at - 1] = (unsigned char)n;
	if (++r->p[count_at + 1] == 0)
		r->p[count_at]++;
}

static inline void
put_mx(struct reply *r, const char *owner, unsigned preference, const char *host, uint32_t ttl)
{
	size_t at = begin_rr(r, owner, T_MX, ttl);
	put16(r, preference);
	put_name(r, host);
	end_rr(r, at, 6);
}

static inline void
put_cname(struct reply *r, const char *owner, const char *to, uint32_t ttl)
{
	size_t at = begin_rr(r, owner, T_CNAME, ttl);
	put_name(r, to);
	end_rr(r, at, 6);
}

static inline void
put_address(struct reply *r, unsigned type, const unsigned char *bytes, uint32_t ttl)
{
	size_t at = begin_rr(r, NULL, type, ttl), n = type == T_A ? 4 : 16;
	memcpy(r->p + r->n, bytes, n);
	r->n += n;
	end_rr(r, at, 6);
}

static inline void
put_soa(struct reply *r, uint32_t ttl, uint32_t minimum)
{
	size_t at = begin_rr(r, "example", T_SOA, ttl);
	put_name(r, "ns.example");
	put_name(r, "root.example");
	for (unsigned i = 0; i < 4; i++)
		put32(r, 1000);
	put32(r, minimum);
	end_rr(r, at, 8);
}

static inline void
put_many_mx(struct reply *r, unsigned n)
{
	char host[64];
	for (unsigned i = 0; i < n; i++) {
		snprintf(host, sizeof(host), "mx%02u.a-rather-long-name-for-a-host.example", i);
		put_mx(r, NULL, i, host, 300);
	}
}

static inline void
answer_addresses(struct reply *r, const char *what, unsigned type)
{
	static const unsigned char v4[] = { 192, 0, 2, 7 }, v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 9 };
	if (strcmp(what, "both") == 0 || (strcmp(what, "v4") == 0 && type == T_A))
		put_address(r, type, type == T_A ? v4 : v6, type == T_A ? 50 : 40);
	else if (strcmp(what, "half") == 0 && type == T_A)
		put_address(r, type, v4, 5000);
	else if (strcmp(what, "half") == 0)
		r->p[3] |= R_SERVFAIL;
}

static inline void
answer_mx(struct reply *r, const char *what, bool tcp, bool edns)
{
	if (strcmp(what, "plain") == 0) {
		put_mx(r, NULL, 20, "MX2.Example", 300);
		put_mx(r, NULL, 10, "mx1.example", 200);
		put_mx(r, NULL, 10, "mx0.example", 400);
	} else if (strcmp(what, "alias") == 0) {
		put_cname(r, NULL, "b.example", 100);
		put_cname(r, "b.example", "c.example", 30);
		put_mx(r, "c.example", 10, "mx.c.example", 200);
	} else if (strcmp(what, "null") == 0) {
		put_mx(r, NULL, 0, "", 300);
	} else if (strcmp(what, "nullandmore") == 0) {
		put_mx(r, NULL, 0, "", 300);
		put_mx(r, NULL, 10, "mx.example", 300);
	} else if (strcmp(what, "odd") == 0) {
		put_mx(r, NULL, 1, "evil\r\n250 ok.example", 300);
		put_mx(r, NULL, 2, "a b.example", 300);
		put_mx(r, NULL, 3, "good_one.example", 300);
		put_mx(r, NULL, 4, "\x80.example", 300);
	} else if (strcmp(what, "allodd") == 0) {
		put_mx(r, NULL, 1, "a b.example", 300);
	} else if (strcmp(what, "big") == 0 || strcmp(what, "tcphangs") == 0 || strcmp(what, "tcpcloses") == 0) {
		if (tcp && strcmp(what, "big") == 0)
			put_many_mx(r, 60);
		else if (tcp)
			*(what[3] == 'h' ? &r->silent : &r->close) = true;
		else
			r->p[2] |= 2;
	} else if (strcmp(what, "noedns") == 0) {
		if (edns)
			r->p[3] |= R_FORMERR;
		else
			put_mx(r, NULL, 10, "old.example", 300);
	} else if (strcmp(what, "cut") == 0) {
		put_mx(r, NULL, 10, "mx.example", 300);
		r->n -= 5;
	} else if (strcmp(what, "other") == 0) {
		put_mx(r, "elsewhere.example", 10, "mx.example", 300);
	}
}

static inline void
answer_status(struct server *s, struct reply *r, const char *what)
{
	if (strcmp(what, "nx") == 0) {
		r->p[3] |= R_NXDOMAIN;
		put_soa(r, 500, 77);
	} else if (strcmp(what, "nodata") == 0) {
		put_soa(r, 33, 700);
	} else if (strcmp(what, "servfail") == 0) {
		r->p[3] |= R_SERVFAIL;
	} else if (strcmp(what, "refused") == 0) {
		r->p[3] |= R_REFUSED;
	} else if (strcmp(what, "silent") == 0) {
		r->silent = true;
	} else if (strcmp(what, "second") == 0) {
		r->silent = s->udp_n == 1;
		put_mx(r, NULL, 10, "late.example", 300);
	}
}

/* p is the question; its answer goes to *r. */
static inline void
answer(struct server *s, const unsigned char *p, size_t n, bool tcp, struct reply *r)
{
	size_t end = 12;
	char what[64] = { 0 };
	while (end < n && p[end])
		end += p[end] + 1u;
	end += 5;
	check(end <= n);
	memcpy(what, p + 13, p[12]);
	unsigned type = p[end - 3];
	bool edns = p[11] == 1;
	s->ids[(s->udp_n + s->tcp_n) % countof(s->ids)] = (unsigned)(p[0] << 8 | p[1]);
	*(tcp ? &s->tcp_n : &s->udp_n) += 1;
	s->edns_n += edns;

	memset(r, 0, offsetof(struct reply, p) + 12);
	r->silent = r->close = false;
	memcpy(r->p, p, end);
	r->n = end;
	r->p[2] = 0x81;
	r->p[3] = 0x80;
	r->p[7] = r->p[8] = r->p[9] = r->p[10] = r->p[11] = 0;
	answer_status(s, r, what);
	if (type == T_MX)
		answer_mx(r, what, tcp, edns);
	else
		answer_addresses(r, what, type);
}

static inline void
serve_udp(struct server *s, struct reply *r)
{
	unsigned char p[1500];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(s->udp, p, sizeof(p), 0, (struct sockaddr *)&from, &from_len);
	answer(s, p, (size_t)n, false, r);
	if (r->silent)
		return;
	if (memcmp(p + 13, "forged", 6) == 0) {
		/* Guesses before the answer: wrong ids, then a right id and another name. */
		bool many = p[12] > 6;
		put_mx(r, NULL, 10, "evil.example", 300);
		for (unsigned i = 0; i < (many ? 40u : 5u); i++) {
			r->p[0] ^= (unsigned char)(i + 1);
			sendto(s->udp, r->p, r->n, 0, (struct sockaddr *)&from, from_len);
			r->p[0] = p[0];
		}
		r->p[14] ^= 1;
		sendto(s->udp, r->p, r->n, 0, (struct sockaddr *)&from, from_len);
		answer(s, p, (size_t)n, false, r);
		put_mx(r, NULL, 10, "true.example", 300);
	}
	sendto(s->udp, r->p, r->n, 0, (struct sockaddr *)&from, from_len);
}

static inline bool
read_all(int fd, unsigned char *p, size_t n)
{
	while (n) {
		ssize_t got = read(fd, p, n);
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

/* Holds the last silent connection open until the next; its end is the test's end. */
static inline void
serve_tcp(struct server *s, struct reply *r, int *held)
{
	unsigned char p[1500];
	int fd = accept(s->tcp, NULL, NULL);
	if (read_all(fd, p, 2) && read_all(fd, p + 2, (size_t)(p[0] << 8 | p[1]))) {
		answer(s, p + 2, (size_t)(p[0] << 8 | p[1]), true, r);
		if (memcmp(p + 15, "forgedmany", 10) == 0)
			put_mx(r, NULL, 10, "true.example", 300);
		unsigned char len[2] = { (unsigned char)(r->n >> 8), (unsigned char)r->n };
		if (r->silent) {
			*held = fd;
			return;
		}
		if (!r->close) {
			/* In three pieces: a reader that takes one read for a message fails. */
			check(write(fd, len, 1) == 1);
			check(write(fd, len + 1, 1) == 1);
			check(write(fd, r->p, r->n / 2) == (ssize_t)(r->n / 2));
			check(write(fd, r->p + r->n / 2, r->n - r->n / 2) == (ssize_t)(r->n - r->n / 2));
		}
	}
	close(fd);
}

static inline void *
serve(void *arg)
{
	struct server *s = arg;
	struct reply *r = mem_alloc(sizeof(*r));
	int held = -1;
	for (;;) {
		struct pollfd fds[] = { { s->udp, POLLIN, 0 }, { s->tcp, POLLIN, 0 }, { s->wake[0], POLLIN, 0 } };
		poll(fds, 3, -1);
		if (fds[2].revents)
			break;
		if (fds[0].revents)
			serve_udp(s, r);
		if (fds[1].revents)
			serve_tcp(s, r, &held);
	}
	if (held >= 0)
		close(held);
	free(r);
	return NULL;
}

static inline void
server_start(struct server *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	s->tcp = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(s->tcp, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s->tcp, 8), 0);
	assert_int_equal(getsockname(s->tcp, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	s->udp = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(s->udp, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(pipe(s->wake), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void
server_stop(struct server *s)
{
	assert_int_equal(write(s->wake[1], "x", 1), 1);
	pthread_join(s->thread, NULL);
	close(s->wake[0]);
	close(s->wake[1]);
	close(s->udp);
	close(s->tcp);
}
