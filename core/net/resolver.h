/*
 * resolver - names to mail exchangers and addresses: a cache that keeps each
 * answer for its TTL, over a door that asks (resolver_os.c: udns).
 *
 * Ownership  An answer is borrowed for the callback; copy what is to stay.
 * Threads    The loop's.
 * Limits     16,384 names are cached, least recently used first to go; TTLs are
 *            cut to 1 s … 1 day; a failure (SERVFAIL, timeout, refusal) is
 *            never cached, a negative answer for its SOA's time, at most 5 m.
 *            The same question asked while it is under way is asked once.
 * Errors     They are answers: see enum resolver_status.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/ip.h"
#include "net/loop.h"

enum resolver_status {
	RESOLVER_OK,
	RESOLVER_NODATA,        /* the name is there, no such record */
	RESOLVER_NXDOMAIN,
	RESOLVER_SERVFAIL,      /* or a malformed answer */
	RESOLVER_TIMEOUT,
	RESOLVER_REFUSED,
};

#define RESOLVER_NAME_MAX 256
#define RESOLVER_RECORDS_MAX 64         /* of one answer; the rest is left out */

struct resolver_mx {
	uint16_t preference;
	char     host[RESOLVER_NAME_MAX];       /* lower case, no final dot; "" is the null MX */
};

struct resolver_answer {
	enum resolver_status status;
	uint32_t ttl_s;                         /* what is left of it */
	unsigned n;
	const struct resolver_mx *mx;           /* RESOLVE_MX: sorted by preference, then name */
	const struct ip *ip;                    /* RESOLVE_ADDRESS: IPv6 and IPv4, as answered */
	const char *detail;                     /* for a failure: one line for a person */
};

enum resolver_type { RESOLVE_MX, RESOLVE_ADDRESS /* A and AAAA together */ };

struct resolver;
struct resolver_query;
typedef void resolver_fn(void *ctx, const struct resolver_answer *answer);

/* The door: asks, never caches; on_answer never before ask() returned.
 * For RESOLVE_ADDRESS: OK if either family gave an address; else the worse of both. */
struct resolver_source {
	void *(*ask)(struct resolver_source *source, const char *name, enum resolver_type type,
		     resolver_fn *on_answer, void *ctx);
	void  (*cancel)(struct resolver_source *source, void *question);
};

struct resolver *resolver_new(struct loop *loop, struct resolver_source *source, uint64_t seed);
void resolver_free(struct resolver *resolver);

/* From the cache: on_answer is called before this returns, and it returns NULL.
 * Else the query, which ends by its answer or by resolver_cancel(). */
struct resolver_query *resolver_ask(struct resolver *resolver, const char *name, enum resolver_type type,
				    resolver_fn *on_answer, void *ctx);
void resolver_cancel(struct resolver_query *query);
void resolver_forget(struct resolver *resolver);        /* empties the cache */

struct resolver_os_options {
	const struct endpoint *servers;         /* asked in turn */
	unsigned               servers_n;       /* 0: from /etc/resolv.conf; none there: an error */
	unsigned               timeout_s;       /* of one try; 0: 4; in the first round a quarter of it */
	unsigned               tries;           /* 0: 3 */
};
struct resolver_source *resolver_os_new(struct loop *loop, const struct resolver_os_options *options, struct err *err);
/* Other servers from now on; what is under way goes on with them. False: none are there, and those of before stay. */
bool resolver_os_set_servers(struct resolver_source *source, const struct endpoint *servers, unsigned n, struct err *err);
void resolver_os_free(struct resolver_source *source);
