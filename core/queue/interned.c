/*
 * interned - found by what they come from first: the provider, the virtual MTA and the
 * few blocks that match the domain. To lay and hash settings of more than a kilobyte
 * for each of 10,000 queues would be most of a swap.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/interned.h"

#include "policy/setting.h"

#define SOURCES_MAX 16          /* with more they are laid each time */

struct source {
	const struct queue_settings *settings;
	const void *of[];
};

void
interned_init(struct interned *interned, uint64_t seed)
{
	table_init(&interned->by_source, seed);
	table_init(&interned->by_value, seed);
}

void
interned_fini(struct interned *interned)
{
	struct table *const tables[] = { &interned->by_source, &interned->by_value };

	for (unsigned i = 0; i < countof(tables); i++) {
		uint32_t pos = 0;
		void *entry;

		while ((entry = table_next(tables[i], &pos)) != NULL)
			free(entry);
		table_fini(tables[i]);
	}
}

/* A field at a time: bytes between fields are anybody's, and would tell equal settings apart. */
static void
copy_field(const struct setting *setting, void *to, const void *from)
{
	if (setting->kind == SETTING_DURATIONS) {
		struct duration_list *list = to;
		const struct duration_list *given = from;

		list->n = given->n;
		memcpy(list->us, given->us, given->n * sizeof list->us[0]);
	} else if (setting->kind == SETTING_RATE) {
		struct rate_spec *rate = to;
		const struct rate_spec *given = from;

		rate->count = given->count;
		rate->burst = given->burst;
		rate->window_us = given->window_us;
	} else {
		memcpy(to, from, setting->size);
	}
}

void
interned_lay(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
	     const struct ruleset_vmta *vmta, struct queue_settings *out)
{
	struct queue_settings laid;

	ruleset_resolve(ruleset, provider, domain, vmta, &laid);
	memset(out, 0, sizeof *out);
	for (unsigned i = 0; i < SETTINGS_N; i++) {
		const struct setting *setting = &setting_table[i];

		copy_field(setting, (char *)out + setting->offset, (const char *)&laid + setting->offset);
		out->where[i].file = laid.where[i].file;
		out->where[i].line = laid.where[i].line;
		out->where[i].scope = laid.where[i].scope;
	}
}

static const struct queue_settings *
by_value(struct interned *interned, const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
	 const struct ruleset_vmta *vmta)
{
	struct queue_settings *settings = mem_alloc(sizeof *settings), *known;
	struct span bytes = span_make(settings, sizeof *settings);

	interned_lay(ruleset, provider, domain, vmta, settings);
	known = table_get(&interned->by_value, bytes);
	if (known != NULL) {
		free(settings);
		return known;
	}
	table_put(&interned->by_value, bytes, settings);
	return settings;
}

const struct queue_settings *
interned_get(struct interned *interned, const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
	     const struct ruleset_vmta *vmta)
{
	const void *of[SOURCES_MAX];
	unsigned n = ruleset_sources(ruleset, provider, domain, vmta, of, SOURCES_MAX);
	struct span key = span_make(of, n * sizeof of[0]);
	struct source *source = n > 0 ? table_get(&interned->by_source, key) : NULL;
	const struct queue_settings *settings;

	if (source != NULL)
		return source->settings;
	settings = by_value(interned, ruleset, provider, domain, vmta);
	if (n > 0) {
		source = mem_alloc(sizeof *source + key.n);
		source->settings = settings;
		memcpy(source->of, of, key.n);
		table_put(&interned->by_source, span_make(source->of, key.n), source);
	}
	return settings;
}
