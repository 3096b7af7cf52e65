/*
 * interned - found by what they come from first: the provider, the virtual MTA and the
 * few blocks that match the domain. To lay and hash settings of more than a kilobyte
 * for each of 10,000 queues would be most of a swap.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/interned.h"

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

static const struct queue_settings *
by_value(struct interned *interned, const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
	 const struct ruleset_vmta *vmta)
{
	struct queue_settings *settings = mem_alloc(sizeof *settings), *known;
	struct span bytes = span_make(settings, sizeof *settings);

	ruleset_resolve(ruleset, provider, domain, vmta, settings);
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
