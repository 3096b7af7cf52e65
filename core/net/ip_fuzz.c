/*
 * ip_fuzz - what is read as an address must be read so by inet_pton() too, and
 * must be the same after it was written and read again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>

#include "net/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
compare(struct span text)
{
	uint8_t theirs[16];
	char zero_ended[64], out[IP_TEXT_MAX];
	struct ip ours, again;
	bool read = ip_parse(text, &ours);

	if (text.n >= sizeof(zero_ended) || memchr(text.p, '\0', text.n))
		return;
	memcpy(zero_ended, text.p, text.n);
	zero_ended[text.n] = '\0';
	check(read == (inet_pton(AF_INET, zero_ended, theirs) == 1 || inet_pton(AF_INET6, zero_ended, theirs) == 1));
	if (!read)
		return;
	check(memcmp(ours.bytes, theirs, ours.family == IP_V6 ? 16 : 4) == 0);
	ip_format(&ours, out);
	check(ip_parse(span_text(out), &again));
	check(ip_eq(&ours, &again));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span text = span_make(data, n);
	struct endpoint endpoint;
	struct cidr cidr;
	struct err err;
	char out[ENDPOINT_TEXT_MAX];

	if (n == 0)
		return 0;
	compare(text);
	if (endpoint_parse(text, 0, &endpoint, &err))
		endpoint_format(&endpoint, out);
	if (cidr_parse(text, &cidr, &err))
		check(cidr_holds(&cidr, &cidr.net));
	return 0;
}
