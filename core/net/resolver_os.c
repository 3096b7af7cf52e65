/*
 * A question is one lookup (MX) or two side by side (AAAA and A); how a lookup
 * gets its answer stands in resolver_lookup_os.c.
 *
 * Nothing is sent from within ask(): the first try is a timer that is due at once, so
 * that the answer, even of a socket that could not be had, comes after ask() returned.
 *
 * A question that its first round did not answer is slow, and counts apart: a thousand domains
 * whose own servers are silent do not keep all others from being asked.
 *
 * Limits: QUESTIONS_MAX at a time (more at once might overflow the server's socket), and
 * SLOW_MAX; the rest wait in line, at most WAIT_MAX_US.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver_os.h"

#include <errno.h>
#include <fcntl.h>

#define QUESTIONS_MAX   256
#define SLOW_MAX        768
#define WAIT_MAX_US     (30 * US_PER_S)
#define TIMEOUT_S       4
#define TRIES           3
#define PARTIAL_TTL_S   60      /* only one of the two families answered */
#define CONF_PATH       "/etc/resolv.conf"
#define CONF_BYTES_MAX  65536

static mono_us_t
now_of(const struct resolver_os *os)
{
	return loop_now(os->loop).mono;
}

/* The end of a question. */

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

void
resolver_question_is_slow(struct question *question)
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
		resolver_lookup_stop(&question->lookups[i]);
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

void
resolver_question_look(struct question *question)
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
		resolver_lookup_try(&question->lookups[i]);
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
		resolver_lookup_init(&question->lookups[0], question, RESOLVER_QTYPE_MX);
	} else {
		question->lookups_n = 2;
		resolver_lookup_init(&question->lookups[0], question, RESOLVER_QTYPE_AAAA);
		resolver_lookup_init(&question->lookups[1], question, RESOLVER_QTYPE_A);
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
