/*
 * What may go out holds no second end of a message, by a judge that looks at all bytes at once; and how it was cut
 * into blocks changes nothing. The first byte is the length of the blocks.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Line by line, each to its CRLF. */
static bool
is_safe(struct span body)
{
	size_t at = 0;

	while (at < body.n) {
		size_t end = at;

		while (end < body.n && body.p[end] != '\r' && body.p[end] != '\n' && body.p[end] != '\0')
			end++;
		if (end + 1 >= body.n || body.p[end] != '\r' || body.p[end + 1] != '\n' || (end == at + 1 && body.p[at] == '.'))
			return false;
		at = end + 2;
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_body_guard guard = { 0 };
	bool goes = true;

	if (size == 0)
		return 0;
	size_t cut = (size_t)data[0] + 1;
	struct span body = span_make(data + 1, size - 1);
	for (size_t at = 0; goes && at < body.n; at += cut) {
		/* A block of its own shows a look beyond its end. */
		size_t n = body.n - at < cut ? body.n - at : cut;
		char *block = mem_grow(NULL, n);

		memcpy(block, body.p + at, n);
		goes = smtp_body_may_go(&guard, span_make(block, n));
		free(block);
	}
	check((goes && smtp_body_may_end(&guard)) == is_safe(body));
	return 0;
}
