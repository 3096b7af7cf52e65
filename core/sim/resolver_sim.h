/*
 * resolver_sim - the simulated side of the resolver's door: a table of names,
 * and for those that are not in it answers that always are the same.
 *
 * A domain not in the table is its own only MX (preference 10); a host without
 * addresses of its own gets one of 198.18.0.0/15 (then 10.0.0.0/8), counted up
 * in order of first use.
 *
 * Ownership  What is set is copied. Questions under way end by their answers or
 *            by being cancelled, before the source is freed.
 * Time       An answer comes after the latency (0 unless told), never before
 *            ask() returned; a RESOLVER_TIMEOUT after 12 s.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/resolver.h"

struct resolver_sim_zone {
	enum resolver_status status;            /* not OK: what every question gets */
	unsigned mx_n;                          /* 0: RESOLVER_NODATA */
	const struct resolver_mx *mx;
	unsigned ip_n;                          /* 0: the address counted out for it, unless it has none */
	const struct ip *ip;
	bool     no_ip;
	uint32_t ttl_s;                         /* 0: the source's */
};

struct resolver_source *resolver_sim_new(struct loop *loop);
void resolver_sim_free(struct resolver_source *source);

/* NULL: the name is not in the table any more. */
void resolver_sim_set(struct resolver_source *source, const char *name, const struct resolver_sim_zone *zone);
/* The host's first address, as a question would get it. */
struct ip resolver_sim_address_of(struct resolver_source *source, const char *host);
void resolver_sim_latency(struct resolver_source *source, mono_us_t latency_us);
void resolver_sim_ttl(struct resolver_source *source, uint32_t ttl_s);  /* 300 unless told */
/* A fault: every answer from now on is this one; RESOLVER_OK: no more. */
void resolver_sim_fail(struct resolver_source *source, enum resolver_status status);
