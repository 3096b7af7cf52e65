/* Any bytes as saved overlays: what is taken is there, is written, and is taken again as the same. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/overlay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KIND 7

static const struct now now = { .mono = 1000 * US_PER_S, .wall = { INT64_C(1700000000000) } };

static void
load_all(struct overlays *overlays, struct span in)
{
	uint8_t kind;

	while (span_get_u8(&in, &kind) && kind == KIND && overlays_load(overlays, &in, now))
		;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct overlays overlays, again;
	struct buf saved, twice;

	overlays_init(&overlays, 1);
	overlays_init(&again, 1);
	buf_init(&saved, 0);
	buf_init(&twice, 0);
	load_all(&overlays, span_make(data, size));
	overlays_save(&overlays, KIND, false, now, &saved);
	load_all(&again, buf_span(&saved));
	overlays_save(&again, KIND, false, now, &twice);
	check(buf_len(&saved) == buf_len(&twice));
	buf_fini(&saved);
	buf_fini(&twice);
	overlays_fini(&overlays);
	overlays_fini(&again);
	return 0;
}
