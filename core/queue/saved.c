/*
 * saved - an entry's bytes, and its place in a table.
 *
 *   key, connects, messages, retry_left_us u64, retry_step u32, last_error
 *   a rate: last u64, count u32, burst u32, window_us u64
 *
 * A limiter's instant and what is left of a wait are counted from the same one, so they
 * age together; a limiter that was never used and a wait that is over do not age.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/saved.h"

#include <stdlib.h>

#define WINDOW_MAX_US (INT64_C(1) << 50)

static void
put_rate(struct buf *out, const struct saved_rate *rate)
{
	buf_put_u64(out, (uint64_t)rate->last);
	buf_put_u32(out, rate->spec.count);
	buf_put_u32(out, rate->spec.burst);
	buf_put_u64(out, (uint64_t)rate->spec.window_us);
}

static bool
get_rate(struct span *in, struct saved_rate *rate)
{
	uint64_t last, window;

	if (!span_get_u64(in, &last) || !span_get_u32(in, &rate->spec.count) || !span_get_u32(in, &rate->spec.burst) ||
	    !span_get_u64(in, &window))
		return false;
	rate->last = (int64_t)last;
	rate->spec.window_us = (int64_t)window;
	return rate_unlimited(&rate->spec) || (rate->spec.window_us > 0 && rate->spec.window_us < WINDOW_MAX_US);
}

void
saved_put(struct buf *out, const struct saved *saved)
{
	buf_put_bytes(out, saved->key);
	put_rate(out, &saved->connects);
	put_rate(out, &saved->messages);
	buf_put_u64(out, (uint64_t)saved->retry_left_us);
	buf_put_u32(out, saved->retry_step);
	buf_put_bytes(out, saved->last_error);
}

bool
saved_get(struct span *in, struct saved *out)
{
	uint64_t left;

	*out = (struct saved){ 0 };
	if (!span_get_bytes(in, &out->key) || !get_rate(in, &out->connects) || !get_rate(in, &out->messages) ||
	    !span_get_u64(in, &left) || !span_get_u32(in, &out->retry_step) || !span_get_bytes(in, &out->last_error))
		return false;
	out->retry_left_us = (int64_t)left;
	return true;
}

static int64_t
older_by(int64_t last, int64_t since)
{
	return last == INT64_MIN ? last : last - since;
}

struct saved
saved_aged(const struct saved *saved, int64_t since)
{
	struct saved aged = *saved;

	aged.connects.last = older_by(saved->connects.last, since);
	aged.messages.last = older_by(saved->messages.last, since);
	if (saved->retry_left_us > 0)
		aged.retry_left_us = max_i64(0, saved->retry_left_us - since);
	return aged;
}

static struct span
copy_text(char *to, struct span text)
{
	return span_make(to, span_put(text, to, text.n + 1));
}

void
saved_keep(struct table *table, const struct saved *saved)
{
	struct saved *kept = mem_alloc(sizeof *kept + saved->key.n + 1 + saved->last_error.n + 1);
	char *texts = (char *)(kept + 1);

	*kept = *saved;
	kept->key = copy_text(texts, saved->key);
	kept->last_error = copy_text(texts + saved->key.n + 1, saved->last_error);
	free(table_remove(table, kept->key));
	table_put(table, kept->key, kept);
}
