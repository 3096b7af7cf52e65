/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question is one lookup (MX) or two side by side (AAAA and A). A lookup is a
 * sequence of tries, one server each, until one of them answers:
 *
 *     UDP with EDNS -- truncated, or too many strays --> TCP, the same server
 *          |        -- FORMERR, NOTIMP -----------------> UDP without EDNS, the same server
 *          |        -- SERVFAIL, REFUSED, malformed ----> the next server; this one is out
 *          '-------- timeout, unreachable --------------> the next server
 *
 * and round again, `tries` times. Most answers come at once, so the first round's time is
 * short; a question that it did not answer is slow, and counts apart: a thousand domains whose
 * own servers are silent do not keep all others from being asked. Each try has a socket of its own, connected: the
 * kernel picks its port at random and drops what comes from elsewhere, and the id
 * is fresh from the system's generator, so a forger must hit 32 bits blind. The
 * reader throws away what does not repeat our question; after STRAYS_MAX of these
 * somebody is guessing, and TCP ends the game.
 *
 * Nothing is sent from within ask(): the first try is a timer that is due at once, so
 * that the answer, even of a socket that could not be had, comes after ask() returned.
 *
 * Limits: QUESTIONS_MAX at a time (more at once might overflow the server's socket), and
 * SLOW_MAX; the rest wait in line, at most WAIT_MAX_US.
 */
#include "net/conn_os.h"
#include "net/resolver_conf.h"
#include "net/resolver_packet.h"
#include "util/list.h"
#include "util/prng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#define QUESTIONS_MAX   256
#define SLOW_MAX        768
#define WAIT_MAX_US     (30 * US_PER_S)
#define TIMEOUT_S       4
#define TRIES           3
#define STRAYS_MAX      16
#define PARTIAL_TTL_S   60      /* only one of the two families answered */
#define CONF_PATH       "/etc/resolv.conf"
#define CONF_BYTES_MAX  65536
#define PACKET_BYTES    65535

struct resolver_os;
struct question;

struct lookup {
	struct question         *question;
	enum resolver_qtype      qtype;
	struct resolver_question packet;
	struct ev_io             io;
	struct timer             timer;
	int                      fd;                    /* -1: none */
	unsigned                 server, round;
	unsigned                 out_of_it;             /* bit mask of servers that answered in vain */
	unsigned                 strays;
	bool                     edns, tcp, done;
	enum resolver_status     status;                /* the worst that was seen; when done: the result */
	char                     detail[200];
	struct resolver_records *records;               /* done, OK */
	uint32_t                 ttl_s;
	unsigned char           *in;                    /* TCP: length and packet */
	size_t                   in_n, out_n;
};

struct question {
	struct resolver_os *os;
	struct list         link;                       /* on asked or on waiting */
	bool                running, slow;
	resolver_fn        *on_answer;
	void               *ctx;
	struct timer        begin;                      /* first due at once; while waiting: the limit */
	enum resolver_type  type;
	char                name[RESOLVER_NAME_MAX];
	unsigned            lookups_n;
	struct lookup       lookups[2];
};

struct resolver_os {
	struct resolver_source source;
	struct loop           *loop;
	struct ev_loop        *ev;
	struct endpoint        servers[RESOLVER_SERVERS_MAX];
	unsigned               servers_n, tries;
	int64_t                timeout_us;
	struct list            asked, waiting;
	unsigned               asked_n, slow_n;        /* of those that run: the others, the slow ones */
	unsigned char          packet[PACKET_BYTES];
};

static void lookup_try(struct lookup *lookup);
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

/* The end of a question. */

static void
lookup_stop(struct lookup *lookup)
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

static void
begin_waiting(struct resolver_os *os)
{
	while (os->asked_n < QUESTIONS_MAX && !list_empty(&os->waiting)) {
		struct question *next = list_first(&os->waiting, struct question, link);
		list_remove(&next->link);
		list_add_tail(&os->asked, &next->link);
		next->running = true;
		os->asked_n++;
		timer_start(&os->loop->timers, &next->begin, now_of(os));
	}
}

static void
question_is_slow(struct question *question)
{
	struct resolver_os *os = question->os;
	if (question->slow || os->slow_n == SLOW_MAX)
		return;
	question->slow = true;
	os->slow_n++;
	os->asked_n--;
	begin_waiting(os);
}

static void
question_detach(struct question *question)
{
	struct resolver_os *os = question->os;
	for (unsigned i = 0; i < question->lookups_n; i++)
		lookup_stop(&question->lookups[i]);
	timer_stop(&os->loop->timers, &question->begin);
	list_remove(&question->link);
	if (question->slow)
		os->slow_n--;
	else if (question->running)
		os->asked_n--;
	begin_waiting(os);
}

static void
question_free(struct question *question)
{
	for (unsigned i = 0; i < question->lookups_n; i++)
		free(question->lookups[i].records);
	free(question);
}

static void
question_tell(struct question *question, const struct resolver_answer *answer)
{
	question_detach(question);
	question->on_answer(question->ctx, answer);
	question_free(question);
}

static void
tell_addresses(struct question *question)
{
	struct ip ip[RESOLVER_RECORDS_MAX];
	struct resolver_answer answer = { .status = RESOLVER_OK, .ttl_s = UINT32_MAX, .ip = ip };
	const struct lookup *worst = &question->lookups[0];
	uint32_t negative_s = UINT32_MAX;
	bool failed = false;

	for (unsigned i = 0; i < question->lookups_n; i++) {
		const struct lookup *lookup = &question->lookups[i];
		if (lookup->status > worst->status)
			worst = lookup;
		if (lookup->status != RESOLVER_OK) {
			failed = failed || lookup->status > RESOLVER_NXDOMAIN;
			negative_s = (uint32_t)min_i64(negative_s, lookup->ttl_s);
			continue;
		}
		answer.ttl_s = (uint32_t)min_i64(answer.ttl_s, lookup->ttl_s);
		for (unsigned k = 0; k < lookup->records->n && answer.n < RESOLVER_RECORDS_MAX; k++)
			ip[answer.n++] = lookup->records->ip[k];
	}
	if (answer.n == 0) {
		answer = (struct resolver_answer){ .status = worst->status, .ttl_s = negative_s,
						   .detail = worst->detail };
	} else if (failed) {
		answer.ttl_s = (uint32_t)min_i64(answer.ttl_s, PARTIAL_TTL_S);
	}
	question_tell(question, &answer);
}

static void
question_check_done(struct question *question)
{
	for (unsigned i = 0; i < question->lookups_n; i++)
		if (!question->lookups[i].done)
			return;
	if (question->type == RESOLVE_ADDRESS) {
		tell_addresses(question);
		return;
	}
	const struct lookup *lookup = &question->lookups[0];
	struct resolver_answer answer = { .status = lookup->status, .ttl_s = lookup->ttl_s };
	if (lookup->status == RESOLVER_OK) {
		answer.n = lookup->records->n;
		answer.mx = lookup->records->mx;
	} else {
		answer.detail = lookup->detail;
	}
	question_tell(question, &answer);
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
	lookup_stop(lookup);
	lookup->done = true;
	question_check_done(lookup->question);
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
		lookup_try(lookup);
	} else if (reply == RESOLVER_REPLY_NO_EDNS && lookup->edns) {
		lookup->edns = false;
		lookup_try(lookup);
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

/* Asks lookup->server, in the way that edns and tcp say. */
static void
lookup_try(struct lookup *lookup)
{
	struct question *question = lookup->question;
	lookup_stop(lookup);
	check(resolver_packet_make(&lookup->packet, question->name, lookup->qtype,
				   (uint16_t)prng_entropy(), lookup->edns));
	lookup->strays = 0;
	lookup->in_n = lookup->out_n = 0;
	if (lookup->tcp)
		lookup->in = mem_alloc(2 + PACKET_BYTES);
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
	lookup_try(lookup);
}

static void
on_lookup_timer(void *ctx, struct now now)
{
	struct lookup *lookup = ctx;
	lookup_note(lookup, RESOLVER_TIMEOUT, "no answer");
	question_is_slow(lookup->question);
	lookup_next(lookup);
}

/* The door. */

static void
on_begin(void *ctx, struct now now)
{
	struct question *question = ctx;
	struct resolver_question packet;
	struct resolver_answer answer = { .status = RESOLVER_TIMEOUT, .detail = "too many questions under way" };

	if (!question->running) {
		question_tell(question, &answer);
		return;
	}
	if (!resolver_packet_make(&packet, question->name, RESOLVER_QTYPE_A, 0, true)) {
		answer = (struct resolver_answer){ .status = RESOLVER_NXDOMAIN, .ttl_s = UINT32_MAX,
						   .detail = "not a domain name" };
		question_tell(question, &answer);
		return;
	}
	/* A try never ends within lookup_try(), so the question is still there for the second. */
	for (unsigned i = 0; i < question->lookups_n; i++)
		lookup_try(&question->lookups[i]);
}

static void
lookup_init(struct lookup *lookup, struct question *question, enum resolver_qtype qtype)
{
	lookup->question = question;
	lookup->qtype = qtype;
	lookup->fd = -1;
	lookup->edns = true;
	timer_init(&lookup->timer, on_lookup_timer, lookup);
}

static void *
resolver_os_ask(struct resolver_source *source, const char *name, enum resolver_type type,
		resolver_fn *on_answer, void *ctx)
{
	struct resolver_os *os = container_of(source, struct resolver_os, source);
	struct question *question = mem_alloc(sizeof(*question));
	question->os = os;
	question->type = type;
	question->on_answer = on_answer;
	question->ctx = ctx;
	/* What does not fit is no name; cut to nothing it is found to be none. */
	if (strlen(name) < sizeof(question->name))
		memcpy(question->name, name, strlen(name) + 1);
	if (type == RESOLVE_MX) {
		question->lookups_n = 1;
		lookup_init(&question->lookups[0], question, RESOLVER_QTYPE_MX);
	} else {
		question->lookups_n = 2;
		lookup_init(&question->lookups[0], question, RESOLVER_QTYPE_AAAA);
		lookup_init(&question->lookups[1], question, RESOLVER_QTYPE_A);
	}
	timer_init(&question->begin, on_begin, question);
	question->running = os->asked_n < QUESTIONS_MAX;
	if (question->running)
		os->asked_n++;
	list_add_tail(question->running ? &os->asked : &os->waiting, &question->link);
	timer_start(&os->loop->timers, &question->begin, now_of(os) + (question->running ? 0 : WAIT_MAX_US));
	return question;
}

static void
resolver_os_cancel(struct resolver_source *source, void *ctx)
{
	struct question *question = ctx;
	question_detach(question);
	question_free(question);
}

static bool
servers_from_conf(struct resolver_os *os, struct err *err)
{
	int fd = open(CONF_PATH, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "no name server is given, and %s cannot be read", CONF_PATH);
	char *text = mem_alloc(CONF_BYTES_MAX);
	unsigned servers_n = 0;
	ssize_t n = read(fd, text, CONF_BYTES_MAX);
	close(fd);
	if (n > 0)
		servers_n = resolver_conf_servers(span_make(text, (size_t)n), os->servers);
	free(text);
	if (servers_n > 0)
		os->servers_n = servers_n;
	else
		return err_set(err, ERR_PERM, "no name server is given, and %s names none", CONF_PATH);
	return true;
}

bool
resolver_os_set_servers(struct resolver_source *source, const struct endpoint *servers, unsigned n, struct err *err)
{
	struct resolver_os *os = container_of(source, struct resolver_os, source);
	if (n == 0)
		return servers_from_conf(os, err);
	os->servers_n = n < RESOLVER_SERVERS_MAX ? n : RESOLVER_SERVERS_MAX;
	memcpy(os->servers, servers, os->servers_n * sizeof(*servers));
	return true;
}

struct resolver_source *
resolver_os_new(struct loop *loop, const struct resolver_os_options *options, struct err *err)
{
	struct resolver_os *os = mem_alloc(sizeof(*os));
	os->source.ask = resolver_os_ask;
	os->source.cancel = resolver_os_cancel;
	os->loop = loop;
	os->ev = loop_os_ev(loop);
	os->timeout_us = (options->timeout_s ? options->timeout_s : TIMEOUT_S) * US_PER_S;
	os->tries = options->tries ? options->tries : TRIES;
	list_init(&os->asked);
	list_init(&os->waiting);
	if (!resolver_os_set_servers(&os->source, options->servers, options->servers_n, err)) {
		free(os);
		return NULL;
	}
	return &os->source;
}

void
resolver_os_free(struct resolver_source *source)
{
	if (!source)
		return;
	struct resolver_os *os = container_of(source, struct resolver_os, source);
	while (!list_empty(&os->waiting))
		resolver_os_cancel(source, list_first(&os->waiting, struct question, link));
	while (!list_empty(&os->asked))
		resolver_os_cancel(source, list_first(&os->asked, struct question, link));
	free(os);
}
