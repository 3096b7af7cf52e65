/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec is udns': names packed and unpacked, records walked, CNAME chains followed
 * (dns_nextrr() goes from alias to target as they come in the answer section, and
 * lowers the TTL to the least it met). Its resolver is not used: it has one socket and
 * query ids from a generator that is seeded with twenty bits of the clock, so that a
 * forged answer is a matter of packets, and it takes a truncated answer for a failure.
 *
 * An answer is ours only if it repeats id, name (case ignored), type and class of the
 * question. RFC 2308, 5: a negative answer lives for the lesser of the SOA record's
 * TTL and its MINIMUM field.
 */
#include "net/resolver_packet.h"

#include <netinet/in.h>
#include <udns.h>

#define EDNS_BYTES     11
#define NEGATIVE_TTL_S 60
#define TTL_LIMIT      0x7fffffffu      /* RFC 2181, 8: more is zero */

/* What dns_ptodn() takes further than names: "\." and "\255". */
static bool
name_plain(const char *name)
{
	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c == '\\' || *c == 127 || (unsigned char)*c > 127)
			return false;
	return name[0] != '\0' && strlen(name) < RESOLVER_NAME_MAX;
}

bool
resolver_packet_make(struct resolver_question *out, const char *name, enum resolver_qtype qtype,
		     uint16_t id, bool edns)
{
	dnsc_t dn[DNS_MAXDN + DNS_DNPAD];
	int len = name_plain(name) ? dns_ptodn(name, 0, dn, sizeof(dn), NULL) : -1;
	if (len <= 1 || len > DNS_MAXDN)
		return false;

	memset(out, 0, sizeof(*out));
	out->id = id;
	out->qtype = qtype;
	dns_put16(out->bytes + DNS_H_QID, id);
	out->bytes[DNS_H_F1] = DNS_HF1_RD;
	out->bytes[DNS_H_QDCNT2] = 1;
	dnsc_t *p = dns_payload(out->bytes);
	memcpy(p, dn, (size_t)len);
	p = dns_put16(p + len, qtype);
	p = dns_put16(p, DNS_C_IN);
	out->edns_at = (size_t)(p - out->bytes);
	if (edns) {
		out->bytes[DNS_H_ARCNT2] = 1;
		*p++ = 0;
		p = dns_put16(p, DNS_T_OPT);
		p = dns_put16(p, RESOLVER_UDP_BYTES);
		p += EDNS_BYTES - 5;
	}
	out->len = (size_t)(p - out->bytes);
	return true;
}

/* Where the question of the packet ends; NULL: it is not the one that we asked. */
static dnscc_t *
past_question(const struct resolver_question *question, dnscc_t *pkt, dnscc_t *end)
{
	dnscc_t *asked = dns_payload(question->bytes);
	dnscc_t *cur = dns_payload(pkt);
	dnsc_t dn[DNS_MAXDN];

	if (dns_numqd(pkt) != 1 || dns_getdn(pkt, &cur, end, dn, sizeof(dn)) <= 0)
		return NULL;
	if (end - cur < 4 || !dns_dnequal(dn, asked))
		return NULL;
	return memcmp(cur, asked + dns_dnlen(asked), 4) == 0 ? cur : NULL;
}

static bool
host_sane(const char *host)
{
	size_t n = strlen(host);
	if (n == 0 || n >= RESOLVER_NAME_MAX || host[0] == '-' || host[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = host[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
			return false;
	}
	return true;
}

static void
mx_take(dnscc_t *pkt, dnscc_t *end, const struct dns_rr *rr, struct resolver_records *out, bool *null_mx)
{
	dnscc_t *cur = rr->dnsrr_dptr + 2;
	dnsc_t dn[DNS_MAXDN];
	char host[DNS_MAXNAME];

	if (rr->dnsrr_dsz < 3 || dns_getdn(pkt, &cur, end, dn, sizeof(dn)) <= 0 || cur != rr->dnsrr_dend)
		return;
	if (dn[0] == 0) {
		*null_mx = true;
		return;
	}
	if (dns_dntop(dn, host, sizeof(host)) <= 0)
		return;
	for (char *c = host; *c; c++)
		*c = (char)DNS_DNLC(*c);
	if (!host_sane(host) || out->n == RESOLVER_RECORDS_MAX)
		return;
	struct resolver_mx *mx = &out->mx[out->n++];
	mx->preference = (uint16_t)dns_get16(rr->dnsrr_dptr);
	memcpy(mx->host, host, strlen(host) + 1);
}

static void
ip_take(const struct dns_rr *rr, enum resolver_qtype qtype, struct resolver_records *out)
{
	size_t size = qtype == RESOLVER_QTYPE_A ? 4 : 16;
	if (rr->dnsrr_dsz != size || out->n == RESOLVER_RECORDS_MAX)
		return;
	struct ip *ip = &out->ip[out->n++];
	memset(ip, 0, sizeof(*ip));
	ip->family = qtype == RESOLVER_QTYPE_A ? IP_V4 : IP_V6;
	memcpy(ip->bytes, rr->dnsrr_dptr, size);
}

static int
mx_compare(const void *a, const void *b)
{
	const struct resolver_mx *x = a, *y = b;
	if (x->preference != y->preference)
		return x->preference < y->preference ? -1 : 1;
	return strcmp(x->host, y->host);
}

static void
mx_sort_unique(struct resolver_records *out)
{
	qsort(out->mx, out->n, sizeof(out->mx[0]), mx_compare);
	unsigned kept = 0;
	for (unsigned i = 0; i < out->n; i++)
		if (kept == 0 || mx_compare(&out->mx[kept - 1], &out->mx[i]) != 0)
			out->mx[kept++] = out->mx[i];
	out->n = kept;
}

static uint32_t
negative_ttl(struct dns_parse *p)
{
	struct dns_rr rr;
	p->dnsp_rrl = (int)dns_numns(p->dnsp_pkt);
	p->dnsp_qdn = NULL;
	p->dnsp_qtyp = DNS_T_SOA;
	p->dnsp_qcls = DNS_C_IN;
	if (dns_nextrr(p, &rr) <= 0 || rr.dnsrr_dsz < 22)
		return NEGATIVE_TTL_S;
	uint32_t minimum = dns_get32(rr.dnsrr_dend - 4);
	uint32_t ttl = rr.dnsrr_ttl < minimum ? rr.dnsrr_ttl : minimum;
	return ttl > TTL_LIMIT ? 0 : ttl;
}

/* The answer section; afterwards p stands at the authority section. */
static enum resolver_reply
read_answers(struct dns_parse *p, enum resolver_qtype qtype, struct resolver_records *out)
{
	struct dns_rr rr;
	bool null_mx = false, any = false;
	int r;

	while ((r = dns_nextrr(p, &rr)) > 0) {
		any = true;
		if (qtype == RESOLVER_QTYPE_MX)
			mx_take(p->dnsp_pkt, p->dnsp_end, &rr, out, &null_mx);
		else
			ip_take(&rr, qtype, out);
	}
	if (r < 0)
		return RESOLVER_REPLY_BAD;
	out->ttl_s = p->dnsp_ttl > TTL_LIMIT ? 0 : p->dnsp_ttl;
	if (out->n)
		mx_sort_unique(out);
	else if (null_mx)
		out->mx[out->n++] = (struct resolver_mx){ .preference = 0 };
	if (out->n)
		return RESOLVER_REPLY_OK;
	return any ? RESOLVER_REPLY_UNUSABLE : RESOLVER_REPLY_NODATA;
}

enum resolver_reply
resolver_packet_parse(const struct resolver_question *question, struct span packet,
		      struct resolver_records *out)
{
	dnscc_t *pkt = (dnscc_t *)packet.p, *end = pkt + packet.n;
	out->n = 0;
	out->ttl_s = 0;
	if (packet.n < DNS_HSIZE || !dns_qr(pkt) || dns_opcode(pkt) != 0 || dns_qid(pkt) != question->id)
		return RESOLVER_REPLY_STRAY;

	unsigned rcode = dns_rcode(pkt);
	bool formerr = rcode == DNS_R_FORMERR || rcode == DNS_R_NOTIMPL;
	if (formerr && dns_numqd(pkt) == 0)
		return RESOLVER_REPLY_NO_EDNS;
	dnscc_t *cur = past_question(question, pkt, end);
	if (!cur)
		return RESOLVER_REPLY_STRAY;
	if (formerr)
		return RESOLVER_REPLY_NO_EDNS;
	if (rcode == DNS_R_REFUSED)
		return RESOLVER_REPLY_REFUSED;
	if (rcode != DNS_R_NOERROR && rcode != DNS_R_NXDOMAIN)
		return RESOLVER_REPLY_SERVFAIL;
	if (dns_tc(pkt))
		return RESOLVER_REPLY_TRUNCATED;

	struct dns_parse p;
	dns_initparse(&p, dns_payload(question->bytes), pkt, cur, end);
	enum resolver_reply reply = read_answers(&p, question->qtype, out);
	if (rcode == DNS_R_NXDOMAIN && reply != RESOLVER_REPLY_BAD)
		reply = RESOLVER_REPLY_NXDOMAIN;
	if (reply == RESOLVER_REPLY_NODATA || reply == RESOLVER_REPLY_NXDOMAIN)
		out->ttl_s = negative_ttl(&p);
	return reply;
}
