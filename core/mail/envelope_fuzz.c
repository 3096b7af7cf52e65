/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken is what encode writes: byte for byte the input. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_make(data, size);
	struct envelope envelope;
	struct arena arena;
	struct buf buf;
	struct err err;

	arena_init(&arena);
	if (envelope_decode(in, &arena, &envelope, &err)) {
		buf_init(&buf, 0);
		envelope_encode(&envelope, &buf);
		check(span_eq(buf_span(&buf), in));
		buf_fini(&buf);
	}
	arena_fini(&arena);
	return 0;
}
