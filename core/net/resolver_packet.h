/*
 * resolver_packet - DNS messages (RFC 1035, 4.1; EDNS: RFC 6891): a question
 * made, an answer read.
 *
 * Limits     Of an answer RESOLVER_RECORDS_MAX records are kept. A host that
 *            no SMTP client should be asked to connect to (other bytes than
 *            letters, digits, '-', '_' and dots) is left out.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/resolver.h"

#define RESOLVER_QUESTION_MAX   288
#define RESOLVER_UDP_BYTES      1232    /* what EDNS offers: no fragments on any path (DNS flag day 2020) */

enum resolver_qtype { RESOLVER_QTYPE_A = 1, RESOLVER_QTYPE_MX = 15, RESOLVER_QTYPE_AAAA = 28 };

struct resolver_question {
	uint16_t            id;
	enum resolver_qtype qtype;
	size_t              len, edns_at;       /* bytes[edns_at …] is the EDNS record */
	unsigned char       bytes[RESOLVER_QUESTION_MAX];
};

struct resolver_records {
	unsigned           n;
	uint32_t           ttl_s;
	struct resolver_mx mx[RESOLVER_RECORDS_MAX];
	struct ip          ip[RESOLVER_RECORDS_MAX];
};

enum resolver_reply {
	RESOLVER_REPLY_STRAY,           /* answers another question: wait on */
	RESOLVER_REPLY_OK,
	RESOLVER_REPLY_NODATA,
	RESOLVER_REPLY_NXDOMAIN,
	RESOLVER_REPLY_TRUNCATED,       /* ask again by TCP */
	RESOLVER_REPLY_NO_EDNS,         /* FORMERR or NOTIMP: ask again without EDNS */
	RESOLVER_REPLY_SERVFAIL,        /* or another rcode that does not help */
	RESOLVER_REPLY_REFUSED,
	RESOLVER_REPLY_BAD,             /* malformed */
	RESOLVER_REPLY_UNUSABLE,        /* MX records, but not one with a sane host */
};

/* False: no domain name. */
bool resolver_packet_make(struct resolver_question *out, const char *name, enum resolver_qtype qtype,
			  uint16_t id, bool edns);
/* OK: out holds the records, those of MX sorted. Negative: out->ttl_s is the SOA's (60 where
 * there is none). */
enum resolver_reply resolver_packet_parse(const struct resolver_question *question, struct span packet,
					  struct resolver_records *out);
