/*
 * ruleset_digest - a sum of hashes, one for each fact, for a policy may declare in the
 * order that a table has by chance.
 *
 * The facts are what decides which limiter counts a mail: the names of virtual MTAs, their
 * addresses and pools; providers, their domains and hosts; blocks that part a domain from
 * its fellows; and where a rate is declared at all. How much it lets go is none: a limiter
 * takes over what another amount left.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/block.h"
#include "policy/ruleset.h"
#include "util/buf.h"

/* They are in what is saved: each keeps its number. */
enum fact {
	FACT_NODE, FACT_VMTA, FACT_SOURCE, FACT_POOL_OF, FACT_POOL, FACT_PROVIDER, FACT_DOMAIN, FACT_MX, FACT_RATE, FACT_PARTING,
	FACT_RATE_OF_BLOCK,
};

struct digest {
	uint64_t   sum;
	struct buf fact;
};

static void
begin(struct digest *digest, enum fact fact, const char *name)
{
	buf_clear(&digest->fact);
	buf_put_u8(&digest->fact, (uint8_t)fact);
	buf_put_bytes(&digest->fact, span_text(name));
}

static void
end(struct digest *digest)
{
	digest->sum += hash_bytes(buf_span(&digest->fact), 0);
}

static void
add_rate(struct digest *digest, enum fact of, const char *name, const char *which, const struct rate_spec *rate)
{
	if (rate_unlimited(rate))
		return;
	begin(digest, FACT_RATE, name);
	buf_put_u8(&digest->fact, (uint8_t)of);
	buf_put_bytes(&digest->fact, span_text(which));
	end(digest);
}

static void
begin_block(struct digest *digest, enum fact fact, enum fact of, const char *owner, const struct ruleset_block *block)
{
	begin(digest, fact, owner);
	buf_put_u8(&digest->fact, (uint8_t)of);
	buf_put_u8(&digest->fact, block->provider != NULL);
	buf_put_u8(&digest->fact, (uint8_t)block->kind);
	buf_put_bytes(&digest->fact, span_text(block->provider != NULL ? block->provider : block->domain));
}

/* Whether it makes a site of each domain that it matches: see ruleset_domain_is_alone(). */
static void
add_parting(struct digest *digest, enum fact of, const char *owner, const struct ruleset_block *block)
{
	const struct block_value *rollup = block_value(block, SETTING_rollup);
	bool parts = block->kind == DOMAIN_ALL ? block_value(block, SETTING_smtp_hosts) != NULL : block_is_sites(block);

	if (block->provider != NULL || (!parts && rollup == NULL))
		return;
	begin_block(digest, FACT_PARTING, of, owner, block);
	buf_put_u8(&digest->fact, parts);
	buf_put_u8(&digest->fact, rollup != NULL);
	buf_put_u8(&digest->fact, rollup != NULL && rollup->value.BOOL);
	end(digest);
}

static void
add_block(struct digest *digest, enum fact of, const char *owner, const struct ruleset_block *block)
{
	add_parting(digest, of, owner, block);
	for (unsigned i = 0; i < block->values_n; i++) {
		const struct block_value *value = &block->values[i];

		if (setting_table[value->id].kind != SETTING_RATE)
			continue;
		begin_block(digest, FACT_RATE_OF_BLOCK, of, owner, block);
		buf_put_bytes(&digest->fact, span_text(setting_name(value->id)));
		buf_put_u8(&digest->fact, rate_unlimited(&value->value.RATE));
		end(digest);
	}
}

static void
add_blocks(struct digest *digest, enum fact of, const char *owner, const struct ruleset_block *const *blocks, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add_block(digest, of, owner, blocks[i]);
}

static void
add_vmta(struct digest *digest, const struct ruleset_vmta *vmta)
{
	begin(digest, FACT_VMTA, vmta->name);
	end(digest);
	for (unsigned i = 0; i < vmta->sources_n; i++) {
		begin(digest, FACT_SOURCE, vmta->name);
		buf_put_u8(&digest->fact, vmta->sources[i].family);
		buf_put_bytes(&digest->fact, span_make(vmta->sources[i].bytes, sizeof vmta->sources[i].bytes));
		end(digest);
	}
	if (vmta->limit_pool != NULL) {
		begin(digest, FACT_POOL_OF, vmta->name);
		buf_put_bytes(&digest->fact, span_text(vmta->limit_pool->name));
		end(digest);
	}
	add_rate(digest, FACT_VMTA, vmta->name, "max_connect_rate", &vmta->max_connect_rate);
	add_rate(digest, FACT_VMTA, vmta->name, "max_msg_rate", &vmta->max_msg_rate);
	add_blocks(digest, FACT_VMTA, vmta->name, vmta->blocks, vmta->blocks_n);
}

static void
add_pool(struct digest *digest, const struct ruleset_pool *pool)
{
	add_rate(digest, FACT_POOL, pool->name, "max_connect_rate", &pool->max_connect_rate);
	add_rate(digest, FACT_POOL, pool->name, "max_msg_rate", &pool->max_msg_rate);
	add_blocks(digest, FACT_POOL, pool->name, pool->blocks, pool->blocks_n);
}

static void
add_provider(struct digest *digest, const struct ruleset_provider *provider)
{
	begin(digest, FACT_PROVIDER, provider->name);
	end(digest);
	for (unsigned i = 0; i < provider->domains_n; i++) {
		begin(digest, FACT_DOMAIN, provider->name);
		buf_put_bytes(&digest->fact, span_text(provider->domains[i]));
		end(digest);
	}
	for (unsigned i = 0; i < provider->mx_n; i++) {
		begin(digest, FACT_MX, provider->name);
		buf_put_u8(&digest->fact, (uint8_t)provider->mx[i].kind);
		buf_put_bytes(&digest->fact, span_text(provider->mx[i].name));
		end(digest);
	}
}

uint64_t
ruleset_digest(const struct ruleset *ruleset)
{
	struct digest digest = { 0 };

	buf_init(&digest.fact, 0);
	add_rate(&digest, FACT_NODE, "", "max_msg_rate", &ruleset->node.max_msg_rate);
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		add_vmta(&digest, ruleset->vmtas[i]);
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		add_pool(&digest, ruleset->pools[i]);
	for (unsigned i = 0; i < ruleset->providers_n; i++)
		add_provider(&digest, ruleset->providers[i]);
	add_blocks(&digest, FACT_NODE, "", ruleset->blocks, ruleset->blocks_n);
	buf_fini(&digest.fact);
	return digest.sum;
}
