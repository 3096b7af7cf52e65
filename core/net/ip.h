/*
 * ip - addresses of both families, and unix socket paths, without a socket header.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/span.h"

enum ip_family { IP_NONE, IP_V4, IP_V6 };

struct ip {
	uint8_t family;         /* enum ip_family */
	uint8_t bytes[16];      /* network order; IPv4 in the first four */
};

struct endpoint {
	struct ip ip;
	uint16_t  port;
};

#define IP_TEXT_MAX       48
#define ENDPOINT_TEXT_MAX 64            /* "[v6]:port" */

bool ip_parse(struct span text, struct ip *out);        /* "192.0.2.1", "2001:db8::1"; no brackets */
void ip_format(const struct ip *ip, char out[IP_TEXT_MAX]);
bool ip_eq(const struct ip *a, const struct ip *b);
bool ip_is_loopback(const struct ip *ip);               /* 127/8, ::1, and v4-mapped ones */
bool ip_is_unspecified(const struct ip *ip);            /* 0/8, :: , and v4-mapped ones */

/* No other host's: loopback, unspecified, link-local, multicast, reserved (240/4); an IPv4 address written as an
 * IPv6 one (::ffff:192.0.2.1, ::192.0.2.1); NAT64 and 6to4 forms of those above. */
bool ip_is_no_host(const struct ip *ip);

/* "127.0.0.1:2525", "[::1]:25"; without a port `port` is used, 0 = one must stand there. */
bool endpoint_parse(struct span text, uint16_t port, struct endpoint *out, struct err *err);
void endpoint_format(const struct endpoint *endpoint, char out[ENDPOINT_TEXT_MAX]);

/* "127.0.0.0/8", "10/8", "::1" (all bits), "0/0". Bits set beyond the length are
 * an error that says the network. A v4-mapped address is in the IPv4 network. */
struct cidr { struct ip net; uint8_t bits; };
bool cidr_parse(struct span text, struct cidr *out, struct err *err);
bool cidr_holds(const struct cidr *cidr, const struct ip *ip);
