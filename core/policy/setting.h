/*
 * setting - the table of a queue's settings: name, kind, level, built-in value.
 * Made from QUEUE_SETTINGS; what reads, resolves or shows settings walks it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/ruleset.h"

enum setting_kind {
	SETTING_COUNT, SETTING_RATE, SETTING_DURATION, SETTING_DURATIONS, SETTING_PERCENT, SETTING_BOOL, SETTING_PORT,
	SETTING_HOSTS, SETTING_PATH, SETTING_REACTIONS,
};

enum setting_level { SETTING_LEVEL_Q, SETTING_LEVEL_T, SETTING_LEVEL_S, SETTING_LEVEL_R };

struct setting {
	const char        *name;
	enum setting_kind  kind;
	enum setting_level level;
	size_t             offset, size;        /* in struct queue_settings */
};

extern const struct setting setting_table[SETTINGS_N];
extern const struct queue_settings setting_built_in;

/* A value as declared somewhere. */
union setting_value {
	uint32_t                    COUNT;
	struct rate_spec            RATE;
	int64_t                     DURATION;
	const struct duration_list *DURATIONS;
	double                      PERCENT;
	bool                        BOOL;
	uint16_t                    PORT;
	const struct smtp_hosts    *HOSTS;
	const char                 *PATH;
	const struct reaction_list *REACTIONS;
};

/* Of a DURATION setting. */
static inline int64_t
setting_duration(const struct queue_settings *settings, enum setting_id id)
{
	int64_t us;
	memcpy(&us, (const char *)settings + setting_table[id].offset, sizeof(us));
	return us;
}

void setting_put(struct queue_settings *out, enum setting_id id, const union setting_value *value);
/* SETTINGS_N: no such setting. */
enum setting_id setting_find(struct span name);

/* The word of a list that was probably meant: max-smtp-out, max_smtp_uot. NULL: nothing is near. */
const char *setting_nearest(struct span word, const char *const *words, unsigned n);
