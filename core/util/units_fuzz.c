/* Every parser of units on any bytes; what one reads, it writes and reads again the same. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make(data, size);
	struct err err;
	char out[48];
	int64_t us, again_us;
	if (duration_parse(text, true, &us, &err)) {
		duration_format(us, out);
		check(duration_parse(span_text(out), true, &again_us, NULL));
		check(again_us == us);
	}
	struct rate_spec spec, again;
	if (rate_parse(text, &spec, &err)) {
		rate_format(&spec, out);
		check(rate_parse(span_text(out), &again, NULL));
		check(again.count == spec.count);
		check(again.window_us == spec.window_us);
	}
	struct duration_list list;
	if (duration_list_parse(text, &list, &err))
		check(list.n > 0);
	uint64_t bytes;
	if (size_parse(text, &bytes, &err))
		size_format(bytes, out);
	double percent;
	if (percent_parse(text, &percent, &err))
		check(percent >= 0 && percent <= 100);
	return 0;
}
