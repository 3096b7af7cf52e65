/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Fields lie in the block, in order; what is removed is gone, what is replaced is there once, and
 * the block stays one block. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span message = span_make(data, size);
	struct header_field field, first;
	char domain[256];
	struct buf block;
	size_t end = header_block_end(message), at = 0, last = 0;

	if (end == SIZE_MAX)
		return 0;
	check(end <= size);
	buf_init(&block, 0);
	buf_add(&block, span_first(message, end));
	header_from_domain(buf_span(&block), domain);
	while (header_next(buf_span(&block), &at, &field)) {
		check(field.at >= last && field.at + field.len == at && at <= end);
		check(field.name.n > 0 && field.value.n < field.len);
		last = at;
	}
	at = 0;
	if (header_next(buf_span(&block), &at, &first)) {
		struct span name = span_clone(first.name);
		check(header_find(buf_span(&block), name, &field) && field.at == first.at);
		if (header_replace(&block, name, SPAN("new"), NULL)) {
			check(header_find(buf_span(&block), name, &field));
			check(span_eq(field.value, SPAN("new")));
			check(header_remove(&block, name) == 1);
		}
		check(!header_find(buf_span(&block), name, &field) || name.n + 5 > 998);
		free((char *)name.p);
	}
	buf_fini(&block);
	return 0;
}
