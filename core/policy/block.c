/*
 * One hash table a kind of pattern. A domain is looked up whole, then by each of
 * its ends, so a lookup costs as many probes as the name has labels, however
 * many blocks there are.
 *
 * "*.example.com" goes before "[*.]example.com": of two patterns of one length
 * the narrower was meant for the case.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/block.h"

#define HASH_SEED UINT64_C(0x736c75696365)      /* the keys are the policy's own: nobody else adds any */

void
block_index_init(struct block_index *index)
{
	table_init(&index->providers, HASH_SEED);
	table_init(&index->exact, HASH_SEED);
	table_init(&index->below, HASH_SEED);
	table_init(&index->both, HASH_SEED);
	index->star = NULL;
}

void
block_index_fini(struct block_index *index)
{
	table_fini(&index->providers);
	table_fini(&index->exact);
	table_fini(&index->below);
	table_fini(&index->both);
}

static struct table *
table_of(struct block_index *index, const struct ruleset_block *block)
{
	if (block->provider)
		return &index->providers;
	switch (block->kind) {
	case DOMAIN_EXACT:      return &index->exact;
	case DOMAIN_SUBDOMAINS: return &index->below;
	case DOMAIN_BOTH:
	case DOMAIN_ALL:        break;          /* the latter has no name to look for */
	}
	return &index->both;
}

const struct ruleset_block *
block_index_add(struct block_index *index, const struct ruleset_block *block)
{
	if (!block->provider && block->kind == DOMAIN_ALL) {
		if (index->star)
			return index->star;
		index->star = block;
		return NULL;
	}
	struct table *table = table_of(index, block);
	struct span key = span_text(block->provider ? block->provider : block->domain);
	const struct ruleset_block *there = table_get(table, key);
	if (!there)
		table_put(table, key, (void *)block);
	return there;
}

const struct block_value *
block_value(const struct ruleset_block *block, enum setting_id id)
{
	for (unsigned i = 0; i < block->values_n; i++)
		if (block->values[i].id == id)
			return &block->values[i];
	return NULL;
}

bool
block_is_sites(const struct ruleset_block *block)
{
	for (unsigned i = 0; i < block->values_n; i++) {
		const struct block_value *value = &block->values[i];
		if (setting_table[value->id].level == SETTING_LEVEL_R)
			continue;
		if (value->id != SETTING_rollup || !value->value.BOOL)
			return true;
	}
	return false;
}

void
block_index_match(const struct block_index *index, struct span domain,
		  bool (*fn)(void *ctx, const struct ruleset_block *block), void *ctx)
{
	if (domain.n == 0)
		return;
	const struct ruleset_block *exact = table_get(&index->exact, domain);
	if (exact && !fn(ctx, exact))
		return;
	for (struct span end = domain;;) {
		const struct ruleset_block *below = end.n < domain.n ? table_get(&index->below, end) : NULL;
		const struct ruleset_block *both = table_get(&index->both, end);
		if ((below && !fn(ctx, below)) || (both && !fn(ctx, both)))
			return;
		size_t dot = span_find(end, '.');
		if (dot == SIZE_MAX)
			return;
		end = span_from(end, dot + 1);
	}
}
