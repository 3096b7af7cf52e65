/* Any bytes: what is taken for a bundle comes back the same. The checksum is mended, or nothing would get past it. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/bundle.h"

#include "util/crc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span text;
	struct buf bytes, again;
	buf_init(&bytes, 0);
	buf_init(&again, 0);
	buf_add(&bytes, span_make(data, n));
	buf_put_u32(&bytes, crc32c(0, buf_span(&bytes)));
	struct bundle *bundle = bundle_decode(buf_span(&bytes));
	if (bundle) {
		for (unsigned i = 0; i < bundle->n; i++)
			check(bundle_read(bundle, bundle->files[i].path, &text, NULL));
		bundle_encode(bundle, &again);
		check(span_eq(buf_span(&again), buf_span(&bytes)));
		bundle_free(bundle);
	}
	check(bundle_decode(span_make(data, n)) == NULL || n > 4);
	buf_fini(&bytes);
	buf_fini(&again);
	return 0;
}
