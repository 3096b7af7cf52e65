/*
 * A lookup is a sequence of tries, one server each, until one of them answers:
 *
 *     UDP with EDNS -- truncated, or too many strays --> TCP, the same server
 *          |        -- FORMERR, NOTIMP -----------------> UDP without EDNS, the same server
 *          |        -- SERVFAIL, REFUSED, malformed ----> the next server; this one is out
 *          '-------- timeout, unreachable --------------> the next server
 *
 * and round again, `tries` times. Most answers come at once, so the first round's time is
 * short. Each try has a socket of its own, connected: the
 * kernel picks its port at random and drops what comes from elsewhere, and the id
 * is fresh from the system's generator, so a forger must hit 32 bits blind. The
 * reader throws away what does not repeat our question; after STRAYS_MAX of these
 * somebody is guessing, and TCP ends the game.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver_os.h"
#include "util/prng.h"

#include <errno.h>
#include <stdarg.h>

#define STRAYS_MAX 16

static void lookup_next(struct lookup *lookup);

static struct timers *
timers_of(const struct lookup *lookup)
{
	return &lookup->question->os->loop->timers;
}

static mono_us_t
now_of(const struct resolver_os *os)
{
	return loop_now(os->loop).mono;
}

void
resolver_lookup_stop(struct lookup *lookup)
{
	if (lookup->fd >= 0) {
		ev_io_stop(lookup->question->os->ev, &lookup->io);
		close(lookup->fd);
		lookup->fd = -1;
	}
	timer_stop(timers_of(lookup), &lookup->timer);
	free(lookup->in);
	lookup->in = NULL;
}

/* What came of a try. */

static const char *
qtype_name(enum resolver_qtype qtype)
{
	return qtype == RESOLVER_QTYPE_MX ? "MX" : qtype == RESOLVER_QTYPE_A ? "A" : "AAAA";
}

static void PRINTF_LIKE(3, 4)
lookup_note(struct lookup *lookup, enum resolver_status status, const char *format, ...)
{
	char server[ENDPOINT_TEXT_MAX], what[96];
	va_list ap;
	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	endpoint_format(&lookup->question->os->servers[lookup->server], server);
	/* A server that answered says more than one that did not. */
	if (lookup->status == RESOLVER_OK || status != RESOLVER_TIMEOUT) {
		lookup->status = status;
		snprintf(lookup->detail, sizeof(lookup->detail), "%s %s: %s", server,
			 qtype_name(lookup->qtype), what);
	}
}

static void
lookup_finish(struct lookup *lookup)
{
	resolver_lookup_stop(lookup);
	lookup->done = true;
	resolver_question_look(lookup->question);
}

static void
lookup_settle(struct lookup *lookup, enum resolver_status status, struct resolver_records *records)
{
	lookup->status = status;
	lookup->ttl_s = records->ttl_s;
	if (status == RESOLVER_OK)
		lookup->records = records;
	else
		free(records);
	snprintf(lookup->detail, sizeof(lookup->detail), "%s", status == RESOLVER_NXDOMAIN ? "no such domain" :
		 lookup->qtype == RESOLVER_QTYPE_MX ? "no MX record" : "no address record");
	lookup_finish(lookup);
}

static void
lookup_failed(struct lookup *lookup, enum resolver_reply reply)
{
	switch (reply) {
	case RESOLVER_REPLY_REFUSED:
		lookup_note(lookup, RESOLVER_REFUSED, "the server refused");
		break;
	case RESOLVER_REPLY_BAD:
		lookup_note(lookup, RESOLVER_SERVFAIL, "malformed answer");
		break;
	case RESOLVER_REPLY_UNUSABLE:
		lookup_note(lookup, RESOLVER_SERVFAIL, "no usable record in the answer");
		break;
	case RESOLVER_REPLY_TRUNCATED:
		lookup_note(lookup, RESOLVER_SERVFAIL, "truncated answer over TCP");
		break;
	default:
		lookup_note(lookup, RESOLVER_SERVFAIL, "the server failed");
	}
	lookup->out_of_it |= 1u << lookup->server;
	lookup_next(lookup);
}

/* Takes a packet; true: the try is over and the lookup may be gone. */
static bool
lookup_take(struct lookup *lookup, struct span packet)
{
	struct resolver_records *records = mem_alloc(sizeof(*records));
	enum resolver_reply reply = resolver_packet_parse(&lookup->packet, packet, records);

	if (reply == RESOLVER_REPLY_OK || reply == RESOLVER_REPLY_NODATA || reply == RESOLVER_REPLY_NXDOMAIN) {
		lookup_settle(lookup, reply == RESOLVER_REPLY_OK ? RESOLVER_OK :
			      reply == RESOLVER_REPLY_NODATA ? RESOLVER_NODATA : RESOLVER_NXDOMAIN, records);
		return true;
	}
	free(records);
	if (reply == RESOLVER_REPLY_STRAY && ++lookup->strays <= STRAYS_MAX)
		return false;
	if (!lookup->tcp && (reply == RESOLVER_REPLY_TRUNCATED || reply == RESOLVER_REPLY_STRAY)) {
		lookup->tcp = true;
		resolver_lookup_try(lookup);
	} else if (reply == RESOLVER_REPLY_NO_EDNS && lookup->edns) {
		lookup->edns = false;
		resolver_lookup_try(lookup);
	} else {
		lookup_failed(lookup, reply);
	}
	return true;
}

static void
lookup_unreachable(struct lookup *lookup, int sys)
{
	char text[96];
	lookup_note(lookup, RESOLVER_TIMEOUT, "%s", sys ? sys_text(sys, text) : "closed the connection");
	lookup_next(lookup);
}

/* The sockets. */

static void
on_udp(struct ev_loop *ev, struct ev_io *io, int events)
{
	struct lookup *lookup = io->data;
	struct resolver_os *os = lookup->question->os;
	for (unsigned i = 0; i <= STRAYS_MAX; i++) {
		ssize_t n = recv(lookup->fd, os->packet, sizeof(os->packet), 0);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				lookup_unreachable(lookup, errno);
			return;
		}
		if (lookup_take(lookup, span_make(os->packet, (size_t)n)))
			return;
	}
}

/* True: all is sent, or there is nothing to be done about it here. */
static bool
tcp_send(struct lookup *lookup)
{
	unsigned char out[2 + RESOLVER_QUESTION_MAX];
	size_t len = lookup->packet.len + 2;
	out[0] = (unsigned char)(lookup->packet.len >> 8);
	out[1] = (unsigned char)lookup->packet.len;
	memcpy(out + 2, lookup->packet.bytes, lookup->packet.len);
	ssize_t n = send(lookup->fd, out + lookup->out_n, len - lookup->out_n, MSG_NOSIGNAL);
	if (n < 0)
		return errno != EAGAIN && errno != EINTR && errno != ENOTCONN;
	lookup->out_n += (size_t)n;
	return lookup->out_n == len;
}

static void
tcp_receive(struct lookup *lookup)
{
	for (;;) {
		size_t want = lookup->in_n < 2 ? 2 : 2 + ((size_t)lookup->in[0] << 8 | lookup->in[1]);
		if (lookup->in_n == want) {
			lookup->in_n = 0;
			if (lookup_take(lookup, span_make(lookup->in + 2, want - 2)))
				return;
			continue;
		}
		ssize_t n = recv(lookup->fd, lookup->in + lookup->in_n, want - lookup->in_n, 0);
		if (n <= 0) {
			if (n == 0 || (errno != EAGAIN && errno != EINTR))
				lookup_unreachable(lookup, n == 0 ? 0 : errno);
			return;
		}
		lookup->in_n += (size_t)n;
	}
}

static void
on_tcp(struct ev_loop *ev, struct ev_io *io, int events)
{
	struct lookup *lookup = io->data;
	if (events & EV_WRITE) {
		if (!tcp_send(lookup))
			return;
		ev_io_stop(ev, io);
		ev_io_set(io, lookup->fd, EV_READ);
		ev_io_start(ev, io);
		return;
	}
	tcp_receive(lookup);
}

static bool
lookup_open(struct lookup *lookup)
{
	struct resolver_os *os = lookup->question->os;
	struct sockaddr_storage to;
	socklen_t to_len = sockaddr_from_endpoint(&os->servers[lookup->server], &to);
	int type = (lookup->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;

	lookup->fd = socket(to.ss_family, type, 0);
	if (lookup->fd < 0)
		return false;
	ev_io_init(&lookup->io, lookup->tcp ? on_tcp : on_udp, lookup->fd, lookup->tcp ? EV_WRITE : EV_READ);
	lookup->io.data = lookup;
	if (connect(lookup->fd, (struct sockaddr *)&to, to_len) != 0 && errno != EINPROGRESS)
		return false;
	if (!lookup->tcp && send(lookup->fd, lookup->packet.bytes, lookup->packet.len, MSG_NOSIGNAL) < 0)
		return false;
	ev_io_start(os->ev, &lookup->io);
	return true;
}

void
resolver_lookup_try(struct lookup *lookup)
{
	struct question *question = lookup->question;
	resolver_lookup_stop(lookup);
	check(resolver_packet_make(&lookup->packet, question->name, lookup->qtype,
				   (uint16_t)prng_entropy(), lookup->edns));
	lookup->strays = 0;
	lookup->in_n = lookup->out_n = 0;
	if (lookup->tcp)
		lookup->in = mem_alloc(2 + RESOLVER_PACKET_BYTES);
	if (!lookup_open(lookup)) {
		char text[96];
		lookup_note(lookup, RESOLVER_TIMEOUT, "%s", sys_text(errno, text));
		if (lookup->fd >= 0)
			close(lookup->fd);
		lookup->fd = -1;
		timer_start(timers_of(lookup), &lookup->timer, now_of(question->os));
		return;
	}
	timer_start(timers_of(lookup), &lookup->timer, now_of(question->os) + question->os->timeout_us / (lookup->round == 0 ? 4 : 1));
}

/* The next server that may still help, in this round or the next. */
static void
lookup_next(struct lookup *lookup)
{
	const struct resolver_os *os = lookup->question->os;
	for (;;) {
		if (++lookup->server >= os->servers_n) {
			lookup->server = 0;
			lookup->round++;
		}
		if (lookup->round >= os->tries || lookup->out_of_it == (1u << os->servers_n) - 1) {
			lookup_finish(lookup);
			return;
		}
		if (!(lookup->out_of_it & (1u << lookup->server)))
			break;
	}
	lookup->edns = true;
	lookup->tcp = false;
	resolver_lookup_try(lookup);
}

static void
on_lookup_timer(void *ctx, struct now now)
{
	struct lookup *lookup = ctx;
	lookup_note(lookup, RESOLVER_TIMEOUT, "no answer");
	resolver_question_is_slow(lookup->question);
	lookup_next(lookup);
}

void
resolver_lookup_init(struct lookup *lookup, struct question *question, enum resolver_qtype qtype)
{
	lookup->question = question;
	lookup->qtype = qtype;
	lookup->fd = -1;
	lookup->edns = true;
	timer_init(&lookup->timer, on_lookup_timer, lookup);
}
