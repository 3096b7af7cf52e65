/*
 * resolver_sim - one table for what was set and what was counted out, by name
 * in lower case. A question looks its answer up when it is due, so that a fault
 * which begins meanwhile is felt.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/resolver_sim.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/loop_sim.h"
#include "util/table.h"

#define TIMEOUT_US (12 * US_PER_S)
#define TTL_S      300u
#define HASH_SEED  1u           /* nobody attacks a simulation, and it replays */
#define MX_DEFAULT 10u

struct name {
	char              *text;
	bool               in_table;
	struct resolver_sim_zone zone;          /* its lists are ours */
	struct ip          own;                 /* counted out; IP_NONE: not yet */
};

struct question {
	struct list        link;
	struct resolver_sim *sim;
	struct sim_event   answer;
	char               name[RESOLVER_NAME_MAX];
	enum resolver_type type;
	resolver_fn       *on_answer;
	void              *ctx;
};

struct resolver_sim {
	struct resolver_source source;
	struct loop  *loop;
	struct table  names;
	struct list   questions;
	uint32_t      counted;          /* addresses */
	uint32_t      ttl_s;
	mono_us_t     latency_us;
	enum resolver_status fault;
};

static struct resolver_sim *
sim_of(struct resolver_source *source)
{
	return container_of(source, struct resolver_sim, source);
}

static struct name *
find(struct resolver_sim *sim, const char *text, bool make)
{
	char lower[RESOLVER_NAME_MAX];
	struct name *name;
	size_t n;

	for (n = 0; text[n] && n < sizeof(lower) - 1; n++)
		lower[n] = (char)tolower((unsigned char)text[n]);
	name = table_get(&sim->names, span_make(lower, n));
	if (name || !make)
		return name;
	name = mem_alloc(sizeof(*name));
	name->text = mem_strndup(lower, n);
	table_put(&sim->names, span_text(name->text), name);
	return name;
}

static struct ip
count_out(struct resolver_sim *sim)
{
	uint32_t n = ++sim->counted;
	uint32_t host = n < 1u << 17 ? (198u << 24 | 18u << 16) + n : (10u << 24) + (n - (1u << 17));

	check(n < 1u << 24);
	return (struct ip){ IP_V4, { (uint8_t)(host >> 24), (uint8_t)(host >> 16), (uint8_t)(host >> 8), (uint8_t)host } };
}

static const struct ip *
own_address(struct resolver_sim *sim, const char *text)
{
	struct name *name = find(sim, text, true);

	if (name->own.family == IP_NONE)
		name->own = count_out(sim);
	return &name->own;
}

static const char *
detail_of(enum resolver_status status)
{
	switch (status) {
	case RESOLVER_OK:       return NULL;
	case RESOLVER_NODATA:   return "no such record";
	case RESOLVER_NXDOMAIN: return "no such domain";
	case RESOLVER_SERVFAIL: return "the name server failed";
	case RESOLVER_TIMEOUT:  return "no answer";
	case RESOLVER_REFUSED:  return "the name server refused";
	}
	return NULL;
}

static enum resolver_status
status_of(struct resolver_sim *sim, const char *text)
{
	const struct name *name = find(sim, text, false);

	if (sim->fault != RESOLVER_OK)
		return sim->fault;
	return name && name->in_table ? name->zone.status : RESOLVER_OK;
}

static void
fill_mx(const struct name *name, const char *text, struct resolver_mx *self, struct resolver_answer *answer)
{
	if (name && name->in_table) {
		answer->mx = name->zone.mx;
		answer->n = name->zone.mx_n;
		return;
	}
	self->preference = MX_DEFAULT;
	snprintf(self->host, sizeof(self->host), "%s", text);
	answer->mx = self;
	answer->n = 1;
}

static void
fill_address(struct resolver_sim *sim, const struct name *name, const char *text, struct resolver_answer *answer)
{
	if (name && name->in_table && (name->zone.ip_n || name->zone.no_ip)) {
		answer->ip = name->zone.ip;
		answer->n = name->zone.ip_n;
		return;
	}
	answer->ip = own_address(sim, text);
	answer->n = 1;
}

static void
on_due(void *ctx)
{
	struct question *q = ctx;
	struct resolver_sim *sim = q->sim;
	const struct name *name = find(sim, q->name, false);
	struct resolver_answer answer = { .status = status_of(sim, q->name), .ttl_s = sim->ttl_s };
	struct resolver_mx self;

	if (name && name->in_table && name->zone.ttl_s)
		answer.ttl_s = name->zone.ttl_s;
	if (answer.status == RESOLVER_OK && q->type == RESOLVE_MX)
		fill_mx(name, q->name, &self, &answer);
	else if (answer.status == RESOLVER_OK)
		fill_address(sim, name, q->name, &answer);
	if (answer.status == RESOLVER_OK && answer.n == 0)
		answer.status = RESOLVER_NODATA;
	answer.detail = detail_of(answer.status);
	list_remove(&q->link);
	q->on_answer(q->ctx, &answer);
	free(q);
}

static void *
sim_ask(struct resolver_source *source, const char *name, enum resolver_type type, resolver_fn *on_answer, void *ctx)
{
	struct resolver_sim *sim = sim_of(source);
	struct question *q = mem_alloc(sizeof(*q));
	mono_us_t wait = status_of(sim, name) == RESOLVER_TIMEOUT ? TIMEOUT_US : sim->latency_us;

	q->sim = sim;
	q->answer = (struct sim_event){ .fn = on_due, .ctx = q };
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->type = type;
	q->on_answer = on_answer;
	q->ctx = ctx;
	list_add_tail(&sim->questions, &q->link);
	loop_sim_at(sim->loop, &q->answer, loop_now(sim->loop).mono + wait);
	return q;
}

static void
sim_cancel(struct resolver_source *source, void *question)
{
	struct question *q = question;

	loop_sim_cancel(q->sim->loop, &q->answer);
	list_remove(&q->link);
	free(q);
}

struct resolver_source *
resolver_sim_new(struct loop *loop)
{
	struct resolver_sim *sim = mem_alloc(sizeof(*sim));

	sim->source = (struct resolver_source){ .ask = sim_ask, .cancel = sim_cancel };
	sim->loop = loop;
	sim->ttl_s = TTL_S;
	table_init(&sim->names, HASH_SEED);
	list_init(&sim->questions);
	return &sim->source;
}

static void
zone_free(struct resolver_sim_zone *zone)
{
	free((void *)zone->mx);
	free((void *)zone->ip);
	*zone = (struct resolver_sim_zone){ 0 };
}

void
resolver_sim_free(struct resolver_source *source)
{
	struct resolver_sim *sim = source ? sim_of(source) : NULL;
	uint32_t pos = 0;
	struct name *name;

	if (!sim)
		return;
	check(list_empty(&sim->questions));
	while ((name = table_next(&sim->names, &pos))) {
		zone_free(&name->zone);
		free(name->text);
		free(name);
	}
	table_fini(&sim->names);
	free(sim);
}

static int
mx_order(const void *a, const void *b)
{
	const struct resolver_mx *x = a, *y = b;

	return x->preference != y->preference ? (int)x->preference - (int)y->preference : strcmp(x->host, y->host);
}

static void *
copied(const void *p, size_t n)
{
	return n ? memcpy(mem_grow(NULL, n), p, n) : NULL;
}

void
resolver_sim_set(struct resolver_source *source, const char *text, const struct resolver_sim_zone *zone)
{
	struct name *name = find(sim_of(source), text, true);
	struct resolver_mx *mx;

	zone_free(&name->zone);
	name->in_table = zone != NULL;
	if (!zone)
		return;
	name->zone = *zone;
	name->zone.mx_n = zone->mx_n < RESOLVER_RECORDS_MAX ? zone->mx_n : RESOLVER_RECORDS_MAX;
	name->zone.ip_n = zone->ip_n < RESOLVER_RECORDS_MAX ? zone->ip_n : RESOLVER_RECORDS_MAX;
	name->zone.mx = mx = copied(zone->mx, name->zone.mx_n * sizeof(*zone->mx));
	name->zone.ip = copied(zone->ip, name->zone.ip_n * sizeof(*zone->ip));
	if (mx)
		qsort(mx, name->zone.mx_n, sizeof(*mx), mx_order);
}

struct ip
resolver_sim_address_of(struct resolver_source *source, const char *host)
{
	const struct name *name = find(sim_of(source), host, false);

	if (name && name->in_table && name->zone.ip_n)
		return name->zone.ip[0];
	return *own_address(sim_of(source), host);
}

void resolver_sim_latency(struct resolver_source *source, mono_us_t latency_us) { sim_of(source)->latency_us = latency_us; }
void resolver_sim_ttl(struct resolver_source *source, uint32_t ttl_s) { sim_of(source)->ttl_s = ttl_s; }
void resolver_sim_fail(struct resolver_source *source, enum resolver_status status) { sim_of(source)->fault = status; }
