/*
 * Resolution lays blocks strongest first; a setting that is set is left alone.
 * The order, from POLICY.md's "Precedence":
 *
 *   1. of the virtual MTA, then of its pool, then of no one: within each the
 *      provider or exact domain, then wildcards, longest first
 *   2. "*" of the virtual MTA, of its pool, of no one
 *   3. the built-in
 *
 * so a named site in an outer level beats "*" in an inner one. Where the site is
 * a provider, a domain has a say only in the settings of level R, and there its
 * exact block beats the provider's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/ruleset.h"

#include "policy/block.h"
#include "policy/reaction_book.h"

_Static_assert(SETTINGS_N <= 64, "struct laying has a bit a setting");

void
ruleset_free(struct ruleset *ruleset)
{
	if (!ruleset)
		return;
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		block_index_fini(ruleset->vmtas[i]->index_of_blocks);
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		block_index_fini(ruleset->pools[i]->index_of_blocks);
	block_index_fini(ruleset->index_of_blocks);
	table_fini(&ruleset->names);
	table_fini(&ruleset->domains);
	table_fini(&ruleset->provider_names);
	reaction_book_free(ruleset->reactions);
	arena_fini(&ruleset->arena);
	free(ruleset);
}

const struct ruleset_vmta *
ruleset_vmta(const struct ruleset *ruleset, struct span name)
{
	const struct ruleset_name *found = table_get(&ruleset->names, name);
	return found ? found->vmta : NULL;
}

const struct ruleset_pool *
ruleset_pool(const struct ruleset *ruleset, struct span name)
{
	const struct ruleset_name *found = table_get(&ruleset->names, name);
	return found ? found->pool : NULL;
}

const struct ruleset_provider *
ruleset_provider(const struct ruleset *ruleset, struct span name)
{
	return table_get(&ruleset->provider_names, name);
}

const struct ruleset_vmta *
ruleset_choose(const struct ruleset *ruleset, struct span name, struct prng *prng, const struct ruleset_pool **pool_out)
{
	const struct ruleset_name *found = table_get(&ruleset->names, name);
	*pool_out = found ? found->pool : NULL;
	if (!found || found->vmta)
		return found ? found->vmta : NULL;
	uint64_t at = prng_below(prng, found->pool->weight_sum);
	for (unsigned i = 0; i < found->pool->members_n; i++) {
		const struct ruleset_member *member = &found->pool->members[i];
		if (at < member->weight)
			return member->vmta;
		at -= member->weight;
	}
	check(!"the weights of a pool sum up");
	return NULL;
}

const struct ruleset_provider *
ruleset_provider_of_domain(const struct ruleset *ruleset, struct span domain)
{
	return table_get(&ruleset->domains, domain);
}

static bool
provider_matches(const struct ruleset_provider *provider, struct span host)
{
	for (unsigned i = 0; i < provider->mx_n; i++)
		if (domain_pattern_matches(&provider->mx[i], host))
			return true;
	return false;
}

const struct ruleset_provider *
ruleset_provider_of_mx(const struct ruleset *ruleset, const char *const *hosts, unsigned n)
{
	for (unsigned p = 0; n && p < ruleset->providers_n; p++) {
		unsigned i = 0;
		while (i < n && provider_matches(ruleset->providers[p], span_text(hosts[i])))
			i++;
		if (i == n)
			return ruleset->providers[p];
	}
	return NULL;
}

struct laying {
	struct queue_settings *out;
	uint64_t set;
	bool     recipients_only;       /* settings of level R */
	ruleset_beaten_fn *on_beaten;   /* may be NULL */
	void    *ctx;
};

static void
lay(struct laying *laying, const struct ruleset_block *block)
{
	for (unsigned i = 0; block && i < block->values_n; i++) {
		const struct block_value *value = &block->values[i];
		uint64_t bit = UINT64_C(1) << value->id;
		struct where where = { value->file, value->line, block->where.scope };
		if (laying->recipients_only && setting_table[value->id].level != SETTING_LEVEL_R)
			continue;
		if (laying->set & bit) {
			if (laying->on_beaten)
				laying->on_beaten(laying->ctx, value->id, &value->value, &where);
			continue;
		}
		laying->set |= bit;
		setting_put(laying->out, value->id, &value->value);
		laying->out->where[value->id] = where;
	}
}

struct level {
	struct laying *laying;
	const struct block_index *index;
	const struct ruleset_provider *provider;
	bool provider_laid;
};

static void
lay_provider(struct level *level)
{
	if (level->provider_laid)
		return;
	level->provider_laid = true;
	level->laying->recipients_only = false;
	lay(level->laying, table_get(&level->index->providers, span_text(level->provider->name)));
	level->laying->recipients_only = true;
}

static bool
lay_match(void *ctx, const struct ruleset_block *block)
{
	struct level *level = ctx;
	if (level->provider && block->kind != DOMAIN_EXACT)
		lay_provider(level);
	lay(level->laying, block);
	return true;
}

static void
lay_level(struct laying *laying, const struct block_index *index, const struct ruleset_provider *provider, struct span domain)
{
	struct level level = { .laying = laying, .index = index, .provider = provider };
	laying->recipients_only = provider != NULL;
	block_index_match(index, domain, lay_match, &level);
	if (provider)
		lay_provider(&level);
	laying->recipients_only = false;
}

void
ruleset_resolve_told(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
		     const struct ruleset_vmta *vmta, struct queue_settings *out, ruleset_beaten_fn *fn, void *ctx)
{
	const struct ruleset_pool *pool = vmta ? vmta->limit_pool : NULL;
	const struct block_index *levels[] = {
		vmta ? vmta->index_of_blocks : NULL, pool ? pool->index_of_blocks : NULL, ruleset->index_of_blocks,
	};
	struct laying laying = { .out = out, .on_beaten = fn, .ctx = ctx };
	*out = setting_built_in;
	for (unsigned i = 0; i < countof(levels); i++)
		if (levels[i])
			lay_level(&laying, levels[i], provider, domain);
	for (unsigned i = 0; i < countof(levels); i++)
		if (levels[i])
			lay(&laying, levels[i]->star);
}

void
ruleset_resolve(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
		const struct ruleset_vmta *vmta, struct queue_settings *out)
{
	ruleset_resolve_told(ruleset, provider, domain, vmta, out, NULL, NULL);
}

struct sources {
	const void **out;
	unsigned n, max;
};

static bool
add_source(void *ctx, const struct ruleset_block *block)
{
	struct sources *sources = ctx;
	if (sources->n < sources->max)
		sources->out[sources->n] = block;
	sources->n++;
	return true;
}

unsigned
ruleset_sources(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
		const struct ruleset_vmta *vmta, const void **out, unsigned max)
{
	const struct ruleset_pool *pool = vmta ? vmta->limit_pool : NULL;
	const struct block_index *levels[] = {
		vmta ? vmta->index_of_blocks : NULL, pool ? pool->index_of_blocks : NULL, ruleset->index_of_blocks,
	};
	struct sources sources = { out, 2, max };
	check(max >= 2);
	out[0] = provider;
	out[1] = vmta;
	for (unsigned i = 0; i < countof(levels); i++)
		if (levels[i])
			block_index_match(levels[i], domain, add_source, &sources);
	return sources.n <= max ? sources.n : 0;
}

#define PARTS_MAX 1000                  /* three levels of an exact name and 127 labels with two patterns each: no more than these */

struct chain {
	const struct reaction_part *parts[PARTS_MAX];
	unsigned n;
	bool     ended;
};

static void
add_part(struct chain *chain, const struct ruleset_block *block)
{
	const struct block_value *value = block && !chain->ended ? block_value(block, SETTING_backoff) : NULL;
	if (!value)
		return;
	const struct reaction_part *part = value->value.REACTIONS->parts[0];
	chain->parts[chain->n++] = part;
	chain->ended = !part->inherit || chain->n == PARTS_MAX;
}

static bool
add_match(void *ctx, const struct ruleset_block *block)
{
	struct chain *chain = ctx;
	add_part(chain, block);
	return !chain->ended;
}

const struct reaction_list *
ruleset_reactions(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
		  const struct ruleset_vmta *vmta)
{
	const struct ruleset_pool *pool = vmta ? vmta->limit_pool : NULL;
	const struct block_index *levels[] = {
		vmta ? vmta->index_of_blocks : NULL, pool ? pool->index_of_blocks : NULL, ruleset->index_of_blocks,
	};
	struct chain chain;
	chain.n = 0;
	chain.ended = false;
	for (unsigned i = 0; i < countof(levels) && !chain.ended; i++) {
		if (levels[i] && provider)
			add_part(&chain, table_get(&levels[i]->providers, span_text(provider->name)));
		else if (levels[i])
			block_index_match(levels[i], domain, add_match, &chain);
	}
	for (unsigned i = 0; i < countof(levels); i++)
		if (levels[i])
			add_part(&chain, levels[i]->star);
	return reaction_book_list(ruleset->reactions, chain.parts, chain.n);
}

struct loneliness {
	bool alone;
	bool rollup_known, rollup;      /* what the nearest block of no one says */
};

static bool
judge_block(void *ctx, const struct ruleset_block *block)
{
	struct loneliness *lonely = ctx;
	const struct block_value *rollup = block_value(block, SETTING_rollup);
	if (rollup && !lonely->rollup_known) {
		lonely->rollup_known = true;
		lonely->rollup = rollup->value.BOOL;
	}
	lonely->alone = lonely->alone || block_is_sites(block);
	return !lonely->alone;
}

/* "*" singles nobody out, but what it says of smtp_hosts and rollup holds for each domain by itself. */
static bool
star_parts(const struct ruleset_block *star, bool rollup_known)
{
	const struct block_value *rollup = star ? block_value(star, SETTING_rollup) : NULL;
	const struct block_value *hosts = star ? block_value(star, SETTING_smtp_hosts) : NULL;
	return hosts || (rollup && !rollup_known && !rollup->value.BOOL);
}

static bool
parts(const struct block_index *index, struct span domain)
{
	struct loneliness lonely = { 0 };
	block_index_match(index, domain, judge_block, &lonely);
	return lonely.alone || (lonely.rollup_known && !lonely.rollup) || star_parts(index->star, lonely.rollup_known);
}

bool
ruleset_domain_is_alone(const struct ruleset *ruleset, struct span domain)
{
	if (parts(ruleset->index_of_blocks, domain))
		return true;
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		if (parts(ruleset->vmtas[i]->index_of_blocks, domain))
			return true;
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		if (parts(ruleset->pools[i]->index_of_blocks, domain))
			return true;
	return false;
}

struct span
ruleset_site(const struct ruleset *ruleset, struct span domain, const char *const *hosts, unsigned n,
	     const struct ruleset_provider **provider_out)
{
	const struct ruleset_provider *provider = ruleset_provider_of_domain(ruleset, domain);
	const char *first = n ? hosts[0] : "";
	if (!provider)
		provider = ruleset_provider_of_mx(ruleset, hosts, n);
	*provider_out = provider;
	if (provider)
		return span_text(provider->name);
	for (unsigned i = 1; i < n; i++)
		if (strcmp(hosts[i], first) < 0)
			first = hosts[i];
	/* Whoever writes a zone does not get into a provider's queue by a host that is called like it. */
	if (!*first || ruleset_domain_is_alone(ruleset, domain) || ruleset_provider(ruleset, span_text(first)))
		return domain;
	return span_text(first);
}

#define MS_PER_DAY (INT64_C(86400) * MS_PER_S)

int64_t
warmup_day(const struct ruleset_warmup *warmup, wall_ms_t now)
{
	int64_t since = now.ms - warmup->start.ms;
	return since < 0 ? 0 : since / MS_PER_DAY + 1;
}

uint32_t
warmup_per_day(const struct ruleset_warmup *warmup, int64_t day)
{
	if (day <= 0)
		return 0;
	return warmup->per_day[day <= warmup->days_n ? day - 1 : warmup->days_n - 1];
}

wall_ms_t
warmup_day_ends(const struct ruleset_warmup *warmup, int64_t day)
{
	return (wall_ms_t){ warmup->start.ms + day * MS_PER_DAY };
}

bool
warmup_is_for(const struct ruleset_warmup *warmup, const struct ruleset_provider *provider)
{
	for (unsigned i = 0; i < warmup->providers_n; i++)
		if (provider && strcmp(warmup->providers[i], provider->name) == 0)
			return true;
	return warmup->providers_n == 0;
}
