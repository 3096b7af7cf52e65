/*
 * ip - read and written by hand, so that addresses mean the same in every file
 * without a socket header, and so that the strange spellings that inet_aton()
 * takes (octal, "127.1", 2130706433) are no addresses at all.
 *
 * IPv4   four decimal numbers without leading zeros (RFC 3986, 3.2.2).
 * IPv6   RFC 4291, 2.2: groups of one to four hex digits, one "::" that stands
 *        for at least one group, the last four bytes perhaps as IPv4. No zone.
 *        Written as RFC 5952 asks: lower case, the longest run of zero groups
 *        (two at least, the first of equals) as "::".
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ip.h"

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

/* One number of an IPv4 address off the front of *s. */
static bool
take_octet(struct span *s, uint8_t *out)
{
	unsigned value = 0;
	size_t n = 0;

	while (n < s->n && n < 3 && s->p[n] >= '0' && s->p[n] <= '9')
		value = value * 10 + (unsigned)(s->p[n++] - '0');
	if (n == 0 || value > 255 || (n > 1 && s->p[0] == '0'))
		return false;
	*out = (uint8_t)value;
	*s = span_from(*s, n);
	return true;
}

/* Up to four numbers with dots between; how many, or 0 where it is no address. */
static unsigned
parse_octets(struct span s, uint8_t out[4])
{
	for (unsigned i = 0; i < 4; i++) {
		if (!take_octet(&s, &out[i]))
			return 0;
		if (s.n == 0)
			return i + 1;
		if (s.p[0] != '.')
			return 0;
		s = span_from(s, 1);
	}
	return 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static unsigned
take_group(struct span *s, uint16_t *out)
{
	unsigned value = 0, n = 0;

	while (n < s->n && n < 4 && hex_digit(s->p[n]) >= 0)
		value = value << 4 | (unsigned)hex_digit(s->p[n++]);
	*out = (uint16_t)value;
	*s = span_from(*s, n);
	return n;
}

/* `gap` is where "::" stood, in bytes from the front: what follows it moves to
 * the end. */
static bool
spread(uint8_t bytes[16], size_t n, size_t gap)
{
	if (gap == SIZE_MAX)
		return n == 16;
	if (n > 14)
		return false;
	memmove(bytes + 16 - (n - gap), bytes + gap, n - gap);
	memset(bytes + gap, 0, 16 - n);
	return true;
}

static bool
parse_v6(struct span s, uint8_t bytes[16])
{
	size_t n = 0, gap = SIZE_MAX;

	if (s.n >= 2 && s.p[0] == ':' && s.p[1] == ':') {
		gap = 0;
		s = span_from(s, 2);
	}
	while (s.n > 0) {
		struct span group = s;
		uint16_t value;

		if (n == 16 || take_group(&s, &value) == 0)
			return false;
		if (s.n > 0 && s.p[0] == '.') {
			if (n > 12 || parse_octets(group, bytes + n) != 4)
				return false;
			n += 4;
			break;
		}
		bytes[n++] = (uint8_t)(value >> 8);
		bytes[n++] = (uint8_t)value;
		if (s.n == 0)
			break;
		if (s.p[0] != ':' || s.n == 1)
			return false;
		s = span_from(s, 1);
		if (s.p[0] == ':') {
			if (gap != SIZE_MAX)
				return false;
			gap = n;
			s = span_from(s, 1);
		}
	}
	return spread(bytes, n, gap);
}

bool
ip_parse(struct span text, struct ip *out)
{
	struct ip ip = { 0 };

	if (span_find(text, ':') != SIZE_MAX) {
		ip.family = IP_V6;
		if (!parse_v6(text, ip.bytes))
			return false;
	} else {
		ip.family = IP_V4;
		if (parse_octets(text, ip.bytes) != 4)
			return false;
	}
	*out = ip;
	return true;
}

static bool
is_v4_mapped(const struct ip *ip)
{
	return ip->family == IP_V6 && memcmp(ip->bytes, v4_mapped, sizeof(v4_mapped)) == 0;
}

/* The four bytes that count for an IPv4 address however it is dressed; else NULL. */
static const uint8_t *
v4_bytes(const struct ip *ip)
{
	if (ip->family == IP_V4)
		return ip->bytes;
	return is_v4_mapped(ip) ? ip->bytes + sizeof(v4_mapped) : NULL;
}

static unsigned
group_at(const struct ip *ip, unsigned i)
{
	return (unsigned)ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1];
}

/* The run of zero groups that "::" replaces; *n_out 0 where none is long enough. */
static unsigned
longest_zeros(const struct ip *ip, unsigned *n_out)
{
	unsigned best = 8, best_n = 1;

	for (unsigned i = 0; i < 8; i++) {
		unsigned n = 0;

		while (i + n < 8 && group_at(ip, i + n) == 0)
			n++;
		if (n > best_n) {
			best = i;
			best_n = n;
		}
	}
	*n_out = best < 8 ? best_n : 0;
	return best;
}

static void
format_v6(const struct ip *ip, char out[IP_TEXT_MAX])
{
	unsigned run, at = longest_zeros(ip, &run);
	size_t n = 0;

	for (unsigned i = 0; i < 8; ) {
		if (i == at && run > 0) {
			n += (size_t)snprintf(out + n, IP_TEXT_MAX - n, i == 0 ? "::" : ":");
			i += run;
		} else {
			n += (size_t)snprintf(out + n, IP_TEXT_MAX - n, i == 7 ? "%x" : "%x:", group_at(ip, i));
			i++;
		}
	}
}

/* Not by printf: every connection has its two addresses written out. */
static void
format_v4(const uint8_t bytes[4], char *out)
{
	for (unsigned i = 0; i < 4; i++) {
		if (bytes[i] >= 100)
			*out++ = (char)('0' + bytes[i] / 100);
		if (bytes[i] >= 10)
			*out++ = (char)('0' + bytes[i] / 10 % 10);
		*out++ = (char)('0' + bytes[i] % 10);
		*out++ = i < 3 ? '.' : '\0';
	}
}

void
ip_format(const struct ip *ip, char out[IP_TEXT_MAX])
{
	const uint8_t *v4 = v4_bytes(ip);

	if (v4)
		format_v4(v4, out + span_put(span_text(ip->family == IP_V6 ? "::ffff:" : ""), out, IP_TEXT_MAX));
	else if (ip->family == IP_V6)
		format_v6(ip, out);
	else
		snprintf(out, IP_TEXT_MAX, "none");
}

bool
ip_eq(const struct ip *a, const struct ip *b)
{
	size_t n = a->family == IP_V6 ? 16 : a->family == IP_V4 ? 4 : 0;

	return a->family == b->family && memcmp(a->bytes, b->bytes, n) == 0;
}

bool
ip_is_loopback(const struct ip *ip)
{
	static const uint8_t one[16] = { [15] = 1 };
	const uint8_t *v4 = v4_bytes(ip);

	if (v4)
		return v4[0] == 127;
	return ip->family == IP_V6 && memcmp(ip->bytes, one, 16) == 0;
}

bool
ip_is_unspecified(const struct ip *ip)
{
	static const uint8_t zeros[16];
	const uint8_t *v4 = v4_bytes(ip);

	if (v4)
		return v4[0] == 0;
	return ip->family == IP_V6 && memcmp(ip->bytes, zeros, 16) == 0;
}

/* NAT64 (RFC 6052), 6to4 (RFC 3056): a gateway takes it to the IPv4 address inside. */
static bool
gateway_target(const struct ip *ip, struct ip *out)
{
	static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };
	size_t at;

	if (ip->family == IP_V6 && memcmp(ip->bytes, nat64, sizeof(nat64)) == 0)
		at = sizeof(nat64);
	else if (ip->family == IP_V6 && ip->bytes[0] == 0x20 && ip->bytes[1] == 0x02)
		at = 2;
	else
		return false;
	*out = (struct ip){ .family = IP_V4 };
	memcpy(out->bytes, ip->bytes + at, 4);
	return true;
}

/* ::ffff:192.0.2.1 and ::192.0.2.1 (RFC 4291, 2.5.5) are one machine's way to write an IPv4 address; on no wire. */
static bool
is_v4_written_long(const struct ip *ip)
{
	static const uint8_t zeros[12];

	return is_v4_mapped(ip) || (ip->family == IP_V6 && memcmp(ip->bytes, zeros, sizeof(zeros)) == 0);
}

bool
ip_is_no_host(const struct ip *ip)
{
	const uint8_t *v4 = v4_bytes(ip);
	struct ip target;

	if (ip_is_loopback(ip) || ip_is_unspecified(ip) || is_v4_written_long(ip))
		return true;
	if (gateway_target(ip, &target))
		return ip_is_no_host(&target);
	if (v4)
		return v4[0] >= 224 || (v4[0] == 169 && v4[1] == 254);
	return ip->family == IP_V6 && (ip->bytes[0] == 0xff || (ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80));
}

static bool
parse_port(struct span text, uint16_t *out)
{
	uint64_t port;

	if (!span_u64(text, UINT16_MAX, &port))
		return false;
	*out = (uint16_t)port;
	return true;
}

/* Splits into the address and, where one stands there, the port's text. */
static bool
endpoint_split(struct span text, struct span *host, struct span *port)
{
	size_t at;

	*port = span_make(NULL, 0);
	if (text.n > 0 && text.p[0] == '[') {
		at = span_find(text, ']');
		if (at == SIZE_MAX)
			return false;
		*host = span_first(span_from(text, 1), at - 1);
		text = span_from(text, at + 1);
		if (text.n == 0)
			return span_find(*host, ':') != SIZE_MAX;
		*port = span_from(text, 1);
		return text.p[0] == ':' && span_find(*host, ':') != SIZE_MAX;
	}
	*host = text;
	at = span_find(text, ':');
	if (at == SIZE_MAX || span_find(span_from(text, at + 1), ':') != SIZE_MAX)
		return true;
	*host = span_first(text, at);
	*port = span_from(text, at + 1);
	return true;
}

bool
endpoint_parse(struct span text, uint16_t port, struct endpoint *out, struct err *err)
{
	struct endpoint endpoint = { .port = port };
	struct span host, port_text;

	if (!endpoint_split(text, &host, &port_text) || !ip_parse(host, &endpoint.ip))
		return err_set(err, ERR_PERM, "\"%.*s\" is no address with a port; write 192.0.2.1:25 or [2001:db8::1]:25",
			       SPAN_ARG(span_first(text, text.n < 100 ? text.n : 100)));
	if (port_text.p) {
		if (!parse_port(port_text, &endpoint.port))
			return err_set(err, ERR_PERM, "\"%.*s\" is no port; write a number from 1 to 65535",
				       SPAN_ARG(span_first(port_text, port_text.n < 100 ? port_text.n : 100)));
	} else if (port == 0) {
		char ip[IP_TEXT_MAX];

		ip_format(&endpoint.ip, ip);
		return err_set(err, ERR_PERM, endpoint.ip.family == IP_V6 ? "no port in \"%.*s\"; write [%s]:25"
									   : "no port in \"%.*s\"; write %s:25",
			       SPAN_ARG(text), ip);
	}
	*out = endpoint;
	return true;
}

void
endpoint_format(const struct endpoint *endpoint, char out[ENDPOINT_TEXT_MAX])
{
	char ip[IP_TEXT_MAX];

	ip_format(&endpoint->ip, ip);
	snprintf(out, ENDPOINT_TEXT_MAX, endpoint->ip.family == IP_V6 ? "[%s]:%u" : "%s:%u", ip, endpoint->port);
}

static uint8_t
bits_of(const struct ip *ip)
{
	return ip->family == IP_V6 ? 128 : 32;
}

/* Zeroes what is beyond the first `bits`; false if something was there. */
static bool
mask(struct ip *ip, unsigned bits)
{
	bool clean = true;

	for (unsigned i = 0; i < bits_of(ip) / 8u; i++) {
		unsigned keep = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? bits - i * 8 : 0;
		uint8_t kept = (uint8_t)(ip->bytes[i] & (0xff00u >> keep));

		clean = clean && kept == ip->bytes[i];
		ip->bytes[i] = kept;
	}
	return clean;
}

/* In a network the zeros behind may be left out: "10/8". */
static bool
parse_net(struct span text, struct ip *out)
{
	struct ip ip = { .family = IP_V4 };

	if (ip_parse(text, out))
		return true;
	if (parse_octets(text, ip.bytes) == 0)
		return false;
	*out = ip;
	return true;
}

bool
cidr_parse(struct span text, struct cidr *out, struct err *err)
{
	size_t slash = span_find(text, '/');
	struct cidr cidr = { 0 };
	uint64_t bits;

	if (slash == SIZE_MAX ? !ip_parse(text, &cidr.net) : !parse_net(span_first(text, slash), &cidr.net))
		return err_set(err, ERR_PERM, "\"%.*s\" is no network; write 192.0.2.0/24, 2001:db8::/32 or one address",
			       SPAN_ARG(span_first(text, text.n < 100 ? text.n : 100)));
	bits = bits_of(&cidr.net);
	if (slash != SIZE_MAX && !span_u64(span_from(text, slash + 1), bits, &bits))
		return err_set(err, ERR_PERM, "\"%.*s\": behind the slash goes a number of bits from 0 to %u",
			       SPAN_ARG(span_first(text, text.n < 100 ? text.n : 100)), bits_of(&cidr.net));
	cidr.bits = (uint8_t)bits;
	if (!mask(&cidr.net, cidr.bits)) {
		char net[IP_TEXT_MAX];

		ip_format(&cidr.net, net);
		return err_set(err, ERR_PERM, "\"%.*s\" has bits set behind the first %u; write %s/%u",
			       SPAN_ARG(text), cidr.bits, net, cidr.bits);
	}
	*out = cidr;
	return true;
}

bool
cidr_holds(const struct cidr *cidr, const struct ip *ip)
{
	struct ip masked = *ip;

	if (cidr->net.family == IP_V4 && is_v4_mapped(ip)) {
		masked = (struct ip){ .family = IP_V4 };
		memcpy(masked.bytes, ip->bytes + sizeof(v4_mapped), 4);
	}
	if (masked.family != cidr->net.family || masked.family == IP_NONE)
		return false;
	mask(&masked, cidr->bits);
	return ip_eq(&masked, &cidr->net);
}
