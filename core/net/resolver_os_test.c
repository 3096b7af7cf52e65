/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Against a name server of a few lines that runs in a thread, on UDP and TCP of one
 * loopback port. What it does with a question is the first label of the name.
 */
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

static void
put16(struct reply *r, unsigned v)
{
	r->p[r->n++] = (unsigned char)(v >> 8);
	r->p[r->n++] = (unsigned char)v;
}

static void
put32(struct reply *r, uint32_t v)
{
	put16(r, v >> 16);
	put16(r, v & 0xffff);
}

/* Text as labels; "" is the root. */
static void
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
static size_t
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

static void
end_rr(struct reply *r, size_t at, unsigned count_at)
{
	size_t n = r->n - at;
	r->p[at - 2] = (unsigned char)(n >> 8);
	r->p[at - 1] = (unsigned char)n;
	if (++r->p[count_at + 1] == 0)
		r->p[count_at]++;
}

static void
put_mx(struct reply *r, const char *owner, unsigned preference, const char *host, uint32_t ttl)
{
	size_t at = begin_rr(r, owner, T_MX, ttl);
	put16(r, preference);
	put_name(r, host);
	end_rr(r, at, 6);
}

static void
put_cname(struct reply *r, const char *owner, const char *to, uint32_t ttl)
{
	size_t at = begin_rr(r, owner, T_CNAME, ttl);
	put_name(r, to);
	end_rr(r, at, 6);
}

static void
put_address(struct reply *r, unsigned type, const unsigned char *bytes, uint32_t ttl)
{
	size_t at = begin_rr(r, NULL, type, ttl), n = type == T_A ? 4 : 16;
	memcpy(r->p + r->n, bytes, n);
	r->n += n;
	end_rr(r, at, 6);
}

static void
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

static void
put_many_mx(struct reply *r, unsigned n)
{
	char host[64];
	for (unsigned i = 0; i < n; i++) {
		snprintf(host, sizeof(host), "mx%02u.a-rather-long-name-for-a-host.example", i);
		put_mx(r, NULL, i, host, 300);
	}
}

static void
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

static void
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

static void
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
static void
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

static void
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

static bool
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
static void
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

static void *
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

static void
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

static void
server_stop(struct server *s)
{
	assert_int_equal(write(s->wake[1], "x", 1), 1);
	pthread_join(s->thread, NULL);
	close(s->wake[0]);
	close(s->wake[1]);
	close(s->udp);
	close(s->tcp);
}

struct fixture {
	struct server           server;
	struct loop            *loop;
	struct resolver_source *source;
	struct timer            deadline;
	unsigned                answers, wanted;
	struct resolver_answer  last;
	struct resolver_mx      mx[RESOLVER_RECORDS_MAX];
	struct ip               ip[RESOLVER_RECORDS_MAX];
	char                    detail[200];
};

static void
on_deadline(void *ctx, struct now now)
{
	struct fixture *f = ctx;
	loop_stop(f->loop);
}

static void
on_answer(void *ctx, const struct resolver_answer *a)
{
	struct fixture *f = ctx;
	f->last = *a;
	for (unsigned i = 0; i < a->n; i++) {
		if (a->mx)
			f->mx[i] = a->mx[i];
		if (a->ip)
			f->ip[i] = a->ip[i];
	}
	snprintf(f->detail, sizeof(f->detail), "%s", a->detail ? a->detail : "");
	if (++f->answers == f->wanted)
		loop_stop(f->loop);
}

static void
open_resolver(struct fixture *f, const struct endpoint *servers, unsigned n, unsigned tries)
{
	struct resolver_os_options options = { .servers = servers, .servers_n = n, .timeout_s = 1, .tries = tries };
	struct err err;
	f->source = resolver_os_new(f->loop, &options, &err);
	assert_non_null(f->source);
}

static struct endpoint
loopback(uint16_t port)
{
	return (struct endpoint){ .ip = { IP_V4, { 127, 0, 0, 1 } }, .port = port };
}

static int
setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	struct err err;
	server_start(&f->server);
	f->loop = loop_os_new(&err);
	assert_non_null(f->loop);
	timer_init(&f->deadline, on_deadline, f);
	struct endpoint at = loopback(f->server.port);
	open_resolver(f, &at, 1, 1);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	resolver_os_free(f->source);
	timer_stop(&f->loop->timers, &f->deadline);
	loop_os_free(f->loop);
	server_stop(&f->server);
	free(f);
	return 0;
}

static void
run_for(struct fixture *f, unsigned answers)
{
	f->answers = 0;
	f->wanted = answers;
	timer_start(&f->loop->timers, &f->deadline, clock_mono(&f->loop->clock) + 20 * US_PER_S);
	loop_run(f->loop);
	assert_int_equal(f->answers, answers);
}

static void
ask(struct fixture *f, const char *name, enum resolver_type type)
{
	f->source->ask(f->source, name, type, on_answer, f);
	assert_int_equal(f->answers, 0);
	run_for(f, 1);
	f->answers = 0;
}

static void
mail_exchangers_come_lowered_and_sorted(void **state)
{
	struct fixture *f = *state;
	ask(f, "plain.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_OK);
	assert_int_equal(f->last.n, 3);
	assert_int_equal(f->last.ttl_s, 200);
	assert_string_equal(f->mx[0].host, "mx0.example");
	assert_string_equal(f->mx[1].host, "mx1.example");
	assert_string_equal(f->mx[2].host, "mx2.example");
	assert_int_equal(f->mx[2].preference, 20);
}

static void
a_chain_of_aliases_is_followed_and_the_least_ttl_counts(void **state)
{
	struct fixture *f = *state;
	ask(f, "alias.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "mx.c.example");
	assert_int_equal(f->last.ttl_s, 30);
}

static void
a_null_mx_is_an_empty_host_unless_others_stand_beside_it(void **state)
{
	struct fixture *f = *state;
	ask(f, "null.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_OK);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "");
	ask(f, "nullandmore.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "mx.example");
}

static void
hosts_with_odd_bytes_are_left_out(void **state)
{
	struct fixture *f = *state;
	ask(f, "odd.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 1);
	assert_string_equal(f->mx[0].host, "good_one.example");
	ask(f, "allodd.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_SERVFAIL);
}

static void
failures_have_their_status_ttl_and_a_line_for_a_person(void **state)
{
	static const struct { const char *name; enum resolver_status status; uint32_t ttl_s; const char *detail; } rows[] = {
		{ "nx.example", RESOLVER_NXDOMAIN, 77, "no such domain" },
		{ "nodata.example", RESOLVER_NODATA, 33, "no MX record" },
		{ "empty.example", RESOLVER_NODATA, 60, "no MX record" },
		{ "other.example", RESOLVER_NODATA, 60, "no MX record" },
		{ "servfail.example", RESOLVER_SERVFAIL, 0, "the server failed" },
		{ "refused.example", RESOLVER_REFUSED, 0, "the server refused" },
		{ "cut.example", RESOLVER_SERVFAIL, 0, "malformed answer" },
		{ "tcpcloses.example", RESOLVER_TIMEOUT, 0, "closed the connection" },
		{ "a..b", RESOLVER_NXDOMAIN, UINT32_MAX, "not a domain name" },
		{ "a\\.b", RESOLVER_NXDOMAIN, UINT32_MAX, "not a domain name" },
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		ask(f, rows[i].name, RESOLVE_MX);
		if (f->last.status != rows[i].status || !strstr(f->detail, rows[i].detail))
			fail_msg("%s: %d, %s", rows[i].name, f->last.status, f->detail);
		assert_int_equal(f->last.ttl_s, rows[i].ttl_s);
	}
}

static void
an_answer_truncated_by_udp_is_asked_again_over_tcp(void **state)
{
	struct fixture *f = *state;
	ask(f, "big.example", RESOLVE_MX);
	assert_int_equal(f->last.status, RESOLVER_OK);
	assert_int_equal(f->last.n, 60);
	assert_string_equal(f->mx[59].host, "mx59.a-rather-long-name-for-a-host.example");
	assert_int_equal(f->server.udp_n, 1);
	assert_int_equal(f->server.tcp_n, 1);
}

static void
a_server_without_edns_is_asked_without(void **state)
{
	struct fixture *f = *state;
	ask(f, "noedns.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "old.example");
	assert_int_equal(f->server.udp_n, 2);
	assert_int_equal(f->server.edns_n, 1);
}

static void
a_server_that_is_silent_ends_in_a_timeout(void **state)
{
	static const char *const names[] = { "silent.example", "tcphangs.example" };
	struct fixture *f = *state;
	for (unsigned i = 0; i < countof(names); i++) {
		mono_us_t before = clock_mono(&f->loop->clock);
		ask(f, names[i], RESOLVE_MX);
		assert_int_equal(f->last.status, RESOLVER_TIMEOUT);
		assert_non_null(strstr(f->detail, "no answer"));
		assert_true(clock_mono(&f->loop->clock) - before >= US_PER_S / 4);
	}
}

static void
a_lost_packet_is_sent_again(void **state)
{
	struct fixture *f = *state;
	struct endpoint at = loopback(f->server.port);
	resolver_os_free(f->source);
	open_resolver(f, &at, 1, 2);
	ask(f, "second.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "late.example");
	assert_int_equal(f->server.udp_n, 2);
	assert_int_not_equal(f->server.ids[0], f->server.ids[1]);
}

static void
the_next_server_is_asked_when_one_cannot_be_reached(void **state)
{
	struct fixture *f = *state;
	/* 127.0.0.2 has nobody on that port: the refusal comes at once. */
	struct endpoint servers[] = { loopback(f->server.port), loopback(f->server.port) };
	servers[0].ip.bytes[3] = 2;
	resolver_os_free(f->source);
	open_resolver(f, servers, 2, 1);
	mono_us_t before = clock_mono(&f->loop->clock);
	ask(f, "plain.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 3);
	assert_true(clock_mono(&f->loop->clock) - before < US_PER_S / 2);
}

static void
forged_answers_are_passed_over_and_many_of_them_lead_to_tcp(void **state)
{
	struct fixture *f = *state;
	ask(f, "forged.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "true.example");
	assert_int_equal(f->server.tcp_n, 0);
	ask(f, "forgedmany.example", RESOLVE_MX);
	assert_string_equal(f->mx[0].host, "true.example");
	assert_int_equal(f->server.tcp_n, 1);
}

static void
addresses_of_both_families_come_together(void **state)
{
	static const struct { const char *name; unsigned n; uint32_t ttl_s; enum resolver_status status; } rows[] = {
		{ "both.example", 2, 40, RESOLVER_OK },
		{ "v4.example", 1, 50, RESOLVER_OK },
		{ "half.example", 1, 60, RESOLVER_OK },         /* AAAA failed: soon again */
		{ "nx.example", 0, 77, RESOLVER_NXDOMAIN },
		{ "empty.example", 0, 60, RESOLVER_NODATA },
		{ "servfail.example", 0, 0, RESOLVER_SERVFAIL },
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		ask(f, rows[i].name, RESOLVE_ADDRESS);
		assert_int_equal(f->last.status, rows[i].status);
		assert_int_equal(f->last.n, rows[i].n);
		assert_int_equal(f->last.ttl_s, rows[i].ttl_s);
	}
	ask(f, "both.example", RESOLVE_ADDRESS);
	assert_int_equal(f->ip[0].family, IP_V6);
	assert_int_equal(f->ip[0].bytes[15], 9);
	assert_int_equal(f->ip[1].family, IP_V4);
	assert_int_equal(f->ip[1].bytes[3], 7);
}

static void
more_questions_than_may_be_under_way_wait_and_are_answered(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 600; i++)
		f->source->ask(f->source, "plain.example", RESOLVE_MX, on_answer, f);
	run_for(f, 600);
	assert_int_equal(f->last.status, RESOLVER_OK);
}

static void
a_cancelled_question_is_never_answered(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 300; i++)
		f->source->cancel(f->source, f->source->ask(f->source, "plain.example", RESOLVE_MX, on_answer, f));
	void *under_way = f->source->ask(f->source, "silent.example", RESOLVE_ADDRESS, on_answer, f);
	ask(f, "v4.example", RESOLVE_ADDRESS);
	f->source->cancel(f->source, under_way);
	ask(f, "plain.example", RESOLVE_MX);
	assert_int_equal(f->last.n, 3);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(mail_exchangers_come_lowered_and_sorted),
		TEST(a_chain_of_aliases_is_followed_and_the_least_ttl_counts),
		TEST(a_null_mx_is_an_empty_host_unless_others_stand_beside_it),
		TEST(hosts_with_odd_bytes_are_left_out),
		TEST(failures_have_their_status_ttl_and_a_line_for_a_person),
		TEST(an_answer_truncated_by_udp_is_asked_again_over_tcp),
		TEST(a_server_without_edns_is_asked_without),
		TEST(a_server_that_is_silent_ends_in_a_timeout),
		TEST(a_lost_packet_is_sent_again),
		TEST(the_next_server_is_asked_when_one_cannot_be_reached),
		TEST(forged_answers_are_passed_over_and_many_of_them_lead_to_tcp),
		TEST(addresses_of_both_families_come_together),
		TEST(more_questions_than_may_be_under_way_wait_and_are_answered),
		TEST(a_cancelled_question_is_never_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
