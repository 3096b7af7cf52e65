/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the answer to a question. The first byte picks the type; id and question
 * are put over the packet's own, so that most inputs get past the first checks.
 */
#include "net/resolver_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look_at(enum resolver_reply reply, enum resolver_qtype qtype, const struct resolver_records *records)
{
	if (reply != RESOLVER_REPLY_OK)
		return;
	check(records->n > 0);
	check(records->n <= RESOLVER_RECORDS_MAX);
	for (unsigned i = 0; qtype == RESOLVER_QTYPE_MX && i < records->n; i++) {
		const char *host = records->mx[i].host;
		check(strlen(host) < RESOLVER_NAME_MAX);
		for (; *host; host++)
			check(*host > ' ' && *host < 127 && !(*host >= 'A' && *host <= 'Z'));
	}
}

static void
parse(const struct resolver_question *question, const uint8_t *data, size_t size, struct resolver_records *records)
{
	look_at(resolver_packet_parse(question, span_make(data, size), records), question->qtype, records);
}

/* flags, counts and what follows the question are the input's; a heap block of just the size that
 * is needed shows a read past its end. */
static void
parse_as_ours(const struct resolver_question *question, const uint8_t *data, size_t size,
	      struct resolver_records *records)
{
	if (size < 8)
		return;
	size_t total = question->edns_at + size - 8;
	unsigned char *packet = mem_alloc(total);
	memcpy(packet, question->bytes, question->edns_at);
	memcpy(packet + 2, data, 2);
	packet[2] = (unsigned char)((packet[2] | 0x80) & ~0x78);
	memcpy(packet + 6, data + 2, 6);
	memcpy(packet + question->edns_at, data + 8, size - 8);
	parse(question, packet, total, records);
	free(packet);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum resolver_qtype qtypes[] = { RESOLVER_QTYPE_MX, RESOLVER_QTYPE_A, RESOLVER_QTYPE_AAAA };
	struct resolver_question question;
	if (size < 1 || size > 65535)
		return 0;
	char *name = mem_strndup((const char *)data + 1, size - 1);
	resolver_packet_make(&question, name, RESOLVER_QTYPE_MX, 1, true);
	free(name);

	struct resolver_records *records = mem_alloc(sizeof(*records));
	check(resolver_packet_make(&question, "a.example", qtypes[data[0] % countof(qtypes)], 0x1234, false));
	parse(&question, data + 1, size - 1, records);
	parse_as_ours(&question, data + 1, size - 1, records);
	free(records);
	return 0;
}
