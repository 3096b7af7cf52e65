/*
 * The built-in values are POLICY.md's, typed by the compiler. A list of
 * durations is kept by pointer in a declared value, for it is forty times the
 * size of the others and there may be a hundred thousand blocks.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/setting.h"

#define SECONDS(n) ((n) * US_PER_S)
#define MINUTES(n) SECONDS((n) * INT64_C(60))
#define HOURS(n)   MINUTES((n) * INT64_C(60))

#define SIZE_OF(name) sizeof(((struct queue_settings *)0)->name)

const struct setting setting_table[SETTINGS_N] = {
#define X(name, kind, level) \
	[SETTING_##name] = { #name, SETTING_##kind, SETTING_LEVEL_##level, offsetof(struct queue_settings, name), SIZE_OF(name) },
	QUEUE_SETTINGS(X)
#undef X
};

const struct queue_settings setting_built_in = {
	.max_smtp_out = 20,
	.total_max_smtp_out = UNLIMITED,
	.max_msg_per_connection = UNLIMITED,
	.max_rcpt_per_message = 100,
	.max_errors_per_connection = UNLIMITED,
	.retry_after = { .n = 1, .us = { MINUTES(10) } },
	.retry_recipients_after = { .n = 1, .us = { MINUTES(10) } },
	.retry_after_dns_error = MINUTES(1),
	.retry_jitter = 5.0,
	.bounce_after = HOURS(4 * 24 + 12),
	.max_attempts = UNLIMITED,
	.smtp_port = 25,
	.mx_connection_attempts = 10,
	.use_starttls = true,
	.connect_timeout = SECONDS(60),
	.greeting_timeout = MINUTES(5),
	.command_timeout = MINUTES(5),
	.data_timeout = MINUTES(3),
	.final_timeout = MINUTES(10),
	.idle_timeout = SECONDS(5),
	.rollup = true,
	.where = {
#define X(name, kind, level) [SETTING_##name] = { NULL, 0, "built-in" },
		QUEUE_SETTINGS(X)
#undef X
	},
};

const char *
setting_name(enum setting_id id)
{
	check(id < SETTINGS_N);
	return setting_table[id].name;
}

void
setting_put(struct queue_settings *out, enum setting_id id, const union setting_value *value)
{
	const struct setting *setting = &setting_table[id];
	const void *from = setting->kind == SETTING_DURATIONS ? (const void *)value->DURATIONS : (const void *)value;
	memcpy((char *)out + setting->offset, from, setting->size);
}

enum setting_id
setting_find(struct span name)
{
	for (unsigned i = 0; i < SETTINGS_N; i++)
		if (span_eq(name, span_text(setting_table[i].name)))
			return (enum setting_id)i;
	return SETTINGS_N;
}

static bool
same_but_for_dashes(struct span word, struct span candidate)
{
	if (word.n != candidate.n)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		char c = word.p[i] == '-' ? '_' : word.p[i];
		if (!span_eq_nocase(span_make(&c, 1), span_make(candidate.p + i, 1)))
			return false;
	}
	return true;
}

/* Two slips, or one in three letters of a long word; a short word allows fewer, or all would be near. */
const char *
setting_nearest(struct span word, const char *const *words, unsigned n)
{
	const char *best = NULL;
	unsigned least = word.n < 4 ? 2 : word.n < 9 ? 3 : (unsigned)(word.n / 3) + 1;
	if (word.n > 64)
		return NULL;
	for (unsigned i = 0; i < n; i++) {
		struct span candidate = span_text(words[i]);
		if (same_but_for_dashes(word, candidate))
			return words[i];
		unsigned distance = span_distance(word, candidate);
		if (distance < least) {
			least = distance;
			best = words[i];
		}
	}
	return best;
}
