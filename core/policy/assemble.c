/*
 * Each step takes its names from the one before: virtual MTAs, pools, providers,
 * then blocks. A duplicate is noted with both places and the first one kept, so
 * that what refers to it is not wrong as well.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/assemble.h"

#include "policy/grow.h"
#include "policy/machine.h"
#include "policy/reaction_doubt.h"
#include "policy/circle.h"
#include "policy/declare_warmup.h"
#include "policy/module.h"

#define HASH_SEED UINT64_C(0x736c75696365)

void
assemble_begin(struct ruleset *ruleset)
{
	char hostname[DOMAIN_MAX];
	machine_hostname(hostname);
	ruleset->node = (struct ruleset_node){
		.hostname = arena_strdup(&ruleset->arena, hostname),
		.spool = "/var/spool/sluice",
		.accounting_records = 0x1f,     /* d b t tq r */
		.max_smtp_out = 5000,
		.max_smtp_out_where = { NULL, 0, "built-in" },
		.max_msg_rate_where = { NULL, 0, "built-in" },
		.max_smtp_in = 1000,
		.memory_limit = machine_memory() / 4 * 3,
		.min_free_space = UINT64_C(1) << 30,
	};
	table_init(&ruleset->names, HASH_SEED);
	table_init(&ruleset->domains, HASH_SEED);
	table_init(&ruleset->provider_names, HASH_SEED);
	ruleset->index_of_blocks = arena_alloc(&ruleset->arena, sizeof(*ruleset->index_of_blocks));
	block_index_init(ruleset->index_of_blocks);
	ruleset->reactions = reaction_book_new(&ruleset->arena);
}

static void
default_where(struct where *where)
{
	if (!where->scope)
		*where = (struct where){ NULL, 0, "built-in" };
}

static const char *
nearest_name(const struct loader *loader, const char *name, bool vmtas, bool pools, bool providers)
{
	const char *words[500];
	unsigned n = 0;
	for (unsigned i = 0; vmtas && i < loader->vmtas_n && n < countof(words); i++)
		words[n++] = loader->vmtas[i]->vmta.name;
	for (unsigned i = 0; pools && i < loader->pools_n && n < countof(words); i++)
		words[n++] = loader->pools[i]->pool.name;
	for (unsigned i = 0; providers && i < loader->providers_n && n < countof(words); i++)
		words[n++] = loader->providers[i]->provider.name;
	return setting_nearest(span_text(name), words, n);
}

static void
unknown(struct loader *loader, const struct where *at, const char *what, const char *near)
{
	if (near)
		loader_error(loader, at, "%s (%s?)", what, near);
	else
		loader_error(loader, at, "%s", what);
}

/* False: the name is taken. */
static bool
take_name(struct loader *loader, const char *name, const struct where *at, struct ruleset_name entry)
{
	struct ruleset *ruleset = loader->ruleset;
	const struct ruleset_name *there = table_get(&ruleset->names, span_text(name));
	if (there) {
		const struct where *first = there->vmta ? &there->vmta->where : &there->pool->where;
		loader_error(loader, at, "the name is taken: %s at %s:%d", first->scope, first->file, first->line);
		return false;
	}
	struct ruleset_name *kept = arena_alloc(&ruleset->arena, sizeof(*kept));
	*kept = entry;
	table_put(&ruleset->names, span_text(name), kept);
	return true;
}

static int
compare_blocks(const void *a, const void *b)
{
	const struct ruleset_block *x = *(const struct ruleset_block *const *)a, *y = *(const struct ruleset_block *const *)b;
	return x->where.line != y->where.line ? (x->where.line > y->where.line) - (x->where.line < y->where.line)
					      : strcmp(x->where.scope, y->where.scope);
}

/* Of a virtual MTA or pool. Lua's tables have no order, and a duplicate is the second one. */
static struct block_index *
index_blocks(struct loader *loader, struct ruleset_block **blocks, unsigned n)
{
	struct block_index *index = arena_alloc(&loader->ruleset->arena, sizeof(*index));
	block_index_init(index);
	if (n)
		qsort(blocks, n, sizeof(struct ruleset_block *), compare_blocks);
	for (unsigned i = 0; i < n; i++) {
		const struct ruleset_block *there = block_index_add(index, blocks[i]);
		if (there)
			loader_error(loader, &blocks[i]->where, "declared twice; first at %s:%d", there->where.file, there->where.line);
	}
	return index;
}

static void
take_vmtas(struct loader *loader)
{
	struct ruleset *ruleset = loader->ruleset;
	const struct ruleset_vmta **vmtas = arena_alloc(&ruleset->arena, (loader->vmtas_n + 1) * sizeof(*vmtas));
	ruleset->vmtas = vmtas;
	for (unsigned i = 0; i < loader->vmtas_n; i++) {
		struct ruleset_vmta *vmta = &loader->vmtas[i]->vmta;
		default_where(&vmta->max_smtp_out_where);
		default_where(&vmta->max_connect_rate_where);
		default_where(&vmta->max_msg_rate_where);
		if (!take_name(loader, vmta->name, &vmta->where, (struct ruleset_name){ .vmta = vmta }))
			continue;
		vmta->blocks = (const struct ruleset_block *const *)loader->vmtas[i]->blocks;
		vmta->blocks_n = loader->vmtas[i]->blocks_n;
		vmta->index_of_blocks = index_blocks(loader, loader->vmtas[i]->blocks, vmta->blocks_n);
		vmta->index = ruleset->vmtas_n;
		vmtas[ruleset->vmtas_n++] = vmta;
	}
}

static bool
pool_limits(const struct ruleset_pool *pool)
{
	return pool->max_smtp_out != UNLIMITED || !rate_unlimited(&pool->max_connect_rate) || !rate_unlimited(&pool->max_msg_rate) ||
	       pool->blocks_n > 0;
}

static bool
is_member(const struct ruleset_member *members, unsigned n, const struct ruleset_vmta *vmta)
{
	for (unsigned i = 0; i < n; i++)
		if (members[i].vmta == vmta)
			return true;
	return false;
}

static void
take_members(struct loader *loader, struct loader_pool *declared)
{
	struct ruleset_pool *pool = &declared->pool;
	struct ruleset_member *members = arena_alloc(&loader->ruleset->arena, (declared->members_n + 1) * sizeof(*members));
	pool->members = members;
	for (unsigned i = 0; i < declared->members_n; i++) {
		const struct loader_member *member = &declared->members[i];
		struct ruleset_vmta *vmta = (struct ruleset_vmta *)ruleset_vmta(loader->ruleset, span_text(member->name));
		char what[300];
		if (!vmta) {
			bool is_pool = ruleset_pool(loader->ruleset, span_text(member->name)) != NULL;
			snprintf(what, sizeof(what), is_pool ? "%.100s is a pool: members are virtual MTAs" : "%.100s: no such virtual MTA",
				 member->name);
			unknown(loader, &member->where, what, is_pool ? NULL : nearest_name(loader, member->name, true, false, false));
			continue;
		}
		if (is_member(members, pool->members_n, vmta)) {
			loader_error(loader, &member->where, "%s is there twice: write { \"%s\", weight = 2 }", member->name, member->name);
			continue;
		}
		members[pool->members_n++] = (struct ruleset_member){ vmta, member->weight };
		pool->weight_sum += member->weight;
		if (!pool_limits(pool))
			continue;
		if (vmta->limit_pool)
			loader_error(loader, &member->where, "%s is in %s (%s:%d) too: only one of its pools may have caps or settings",
				     vmta->name, vmta->limit_pool->where.scope, vmta->limit_pool->where.file, vmta->limit_pool->where.line);
		else
			vmta->limit_pool = pool;
	}
}

static void
take_pools(struct loader *loader)
{
	struct ruleset *ruleset = loader->ruleset;
	const struct ruleset_pool **pools = arena_alloc(&ruleset->arena, (loader->pools_n + 1) * sizeof(*pools));
	ruleset->pools = pools;
	bool *kept = arena_alloc(&ruleset->arena, loader->pools_n + 1);
	for (unsigned i = 0; i < loader->pools_n; i++) {
		struct ruleset_pool *pool = &loader->pools[i]->pool;
		default_where(&pool->max_smtp_out_where);
		default_where(&pool->max_connect_rate_where);
		default_where(&pool->max_msg_rate_where);
		kept[i] = take_name(loader, pool->name, &pool->where, (struct ruleset_name){ .pool = pool });
	}
	for (unsigned i = 0; i < loader->pools_n; i++) {
		struct ruleset_pool *pool = &loader->pools[i]->pool;
		if (!kept[i])
			continue;
		pool->blocks = (const struct ruleset_block *const *)loader->pools[i]->blocks;
		pool->blocks_n = loader->pools[i]->blocks_n;
		pool->index_of_blocks = index_blocks(loader, loader->pools[i]->blocks, pool->blocks_n);
		pool->index = ruleset->pools_n;
		pools[ruleset->pools_n++] = pool;
		take_members(loader, loader->pools[i]);
	}
}

static void
take_provider_domains(struct loader *loader, struct loader_provider *declared)
{
	struct ruleset_provider *provider = &declared->provider;
	const char **kept = declared->domains;
	for (unsigned i = 0; i < declared->domains_n; i++) {
		struct span domain = span_text(declared->domains[i]);
		const struct ruleset_provider *there = table_get(&loader->ruleset->domains, domain);
		if (there == provider) {
			loader_error(loader, &declared->domain_wheres[i], "%s is there twice", declared->domains[i]);
		} else if (there) {
			loader_error(loader, &declared->domain_wheres[i], "%s belongs to %s at %s:%d already", declared->domains[i],
				     there->where.scope, there->where.file, there->where.line);
		} else {
			table_put(&loader->ruleset->domains, domain, provider);
			kept[provider->domains_n++] = declared->domains[i];
		}
	}
	provider->domains = kept;
	provider->mx = declared->mx;
	provider->mx_n = declared->mx_n;
}

static void
take_providers(struct loader *loader)
{
	struct ruleset *ruleset = loader->ruleset;
	const struct ruleset_provider **providers = arena_alloc(&ruleset->arena, (loader->providers_n + 1) * sizeof(*providers));
	ruleset->providers = providers;
	for (unsigned i = 0; i < loader->providers_n; i++) {
		struct ruleset_provider *provider = &loader->providers[i]->provider;
		/* A second one of the name is noted with the blocks. */
		if (table_get(&ruleset->provider_names, span_text(provider->name)))
			continue;
		table_put(&ruleset->provider_names, span_text(provider->name), provider);
		provider->index = ruleset->providers_n;
		providers[ruleset->providers_n++] = provider;
		take_provider_domains(loader, loader->providers[i]);
	}
}

static void
check_block_names(struct loader *loader, const struct ruleset_block *const *blocks, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct ruleset_block *block = blocks[i];
		if (block->provider && !ruleset_provider(loader->ruleset, span_text(block->provider)))
			unknown(loader, &block->where, "no such provider", nearest_name(loader, block->provider, false, false, true));
	}
}

static void
take_blocks(struct loader *loader)
{
	struct ruleset *ruleset = loader->ruleset;
	ruleset->blocks = (const struct ruleset_block *const *)loader->blocks;
	ruleset->blocks_n = loader->blocks_n;
	for (unsigned i = 0; i < loader->blocks_n; i++) {
		const struct ruleset_block *block = loader->blocks[i];
		const struct ruleset_block *there = block_index_add(ruleset->index_of_blocks, block);
		if (there)
			loader_error(loader, &block->where, "declared twice; first at %s:%d", there->where.file, there->where.line);
	}
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		check_block_names(loader, ruleset->vmtas[i]->blocks, ruleset->vmtas[i]->blocks_n);
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		check_block_names(loader, ruleset->pools[i]->blocks, ruleset->pools[i]->blocks_n);
}

/* The same port on the same address, or on every address of the family. */
static bool
clash(const struct endpoint *a, const struct endpoint *b)
{
	if (a->port != b->port || a->ip.family != b->ip.family || a->ip.family == IP_NONE)
		return false;
	return ip_eq(&a->ip, &b->ip) || ip_is_unspecified(&a->ip) || ip_is_unspecified(&b->ip);
}

static void
take_listeners(struct loader *loader)
{
	struct ruleset *ruleset = loader->ruleset;
	struct ruleset_listener *listeners = arena_alloc(&ruleset->arena, (loader->listeners_n + 1) * sizeof(*listeners));
	ruleset->listeners = listeners;
	ruleset->listeners_n = loader->listeners_n;
	for (unsigned i = 0; i < loader->listeners_n; i++) {
		struct ruleset_listener *listener = loader->listeners[i];
		if (listener->max_sessions == 0)
			listener->max_sessions = ruleset->node.max_smtp_in;
		listeners[i] = *listener;
		for (unsigned j = 0; j < i; j++)
			if (clash(&listeners[i].at, &listeners[j].at)) {
				loader_error(loader, &listeners[i].where, "listens where %s at %s:%d does", listeners[j].where.scope,
					     listeners[j].where.file, listeners[j].where.line);
				break;
			}
	}
}

void
assemble_finish(struct loader *loader)
{
	take_vmtas(loader);
	take_pools(loader);
	take_providers(loader);
	take_blocks(loader);
	take_listeners(loader);
	circle_check(loader);
	warmup_check(loader);
	module_check(loader);
}

/* ---- warnings ---- */

static void
warn_ineffective(struct loader *loader, const struct ruleset_block *block)
{
	if (block->provider || block->kind != DOMAIN_EXACT)
		return;
	const struct ruleset_provider *provider = ruleset_provider_of_domain(loader->ruleset, span_text(block->domain));
	for (unsigned i = 0; provider && i < block->values_n; i++) {
		const struct block_value *value = &block->values[i];
		struct where at = { value->file, value->line, block->where.scope };
		if (setting_table[value->id].level != SETTING_LEVEL_R)
			loader_warning(loader, &at, "%s: has no effect: the domain belongs to %s (%s:%d)", setting_name(value->id),
				       provider->where.scope, provider->where.file, provider->where.line);
	}
}

struct beaten { const struct block_value *by; const struct ruleset_block *block; unsigned n; };

static void
count_beaters(enum setting_id id, const struct ruleset_block *const *blocks, unsigned n, struct beaten *beaten)
{
	for (unsigned i = 0; i < n; i++) {
		bool star = !blocks[i]->provider && blocks[i]->kind == DOMAIN_ALL;
		const struct block_value *value = star ? NULL : block_value(blocks[i], id);
		if (!value)
			continue;
		if (!beaten->by) {
			beaten->by = value;
			beaten->block = blocks[i];
		}
		beaten->n++;
	}
}

static void
warn_beaten(struct loader *loader, const struct ruleset_block *star, const struct ruleset_pool *pool)
{
	for (unsigned i = 0; star && i < star->values_n; i++) {
		const struct block_value *value = &star->values[i];
		struct beaten beaten = { 0 };
		if (pool)
			count_beaters(value->id, pool->blocks, pool->blocks_n, &beaten);
		count_beaters(value->id, loader->ruleset->blocks, loader->ruleset->blocks_n, &beaten);
		if (!beaten.n)
			continue;
		struct where at = { value->file, value->line, star->where.scope };
		char others[32] = "";
		if (beaten.n > 1)
			snprintf(others, sizeof(others), " and %u more", beaten.n - 1);
		loader_warning(loader, &at, "%s: a named site beats \"*\": %s (%s:%d)%s keeps its own", setting_name(value->id),
			       beaten.block->where.scope, beaten.by->file, beaten.by->line, others);
	}
}

static void
warn_blocks(struct loader *loader, const struct ruleset_block *const *blocks, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		warn_ineffective(loader, blocks[i]);
}

void
assemble_warn(struct loader *loader, bool chooses)
{
	const struct ruleset *ruleset = loader->ruleset;
	struct where file = { ruleset->file, 0, NULL };
	warn_blocks(loader, ruleset->blocks, ruleset->blocks_n);
	for (unsigned i = 0; i < ruleset->vmtas_n; i++) {
		const struct ruleset_vmta *vmta = ruleset->vmtas[i];
		warn_blocks(loader, vmta->blocks, vmta->blocks_n);
		warn_beaten(loader, vmta->index_of_blocks->star, vmta->limit_pool);
	}
	for (unsigned i = 0; i < ruleset->pools_n; i++) {
		warn_blocks(loader, ruleset->pools[i]->blocks, ruleset->pools[i]->blocks_n);
		warn_beaten(loader, ruleset->pools[i]->index_of_blocks->star, NULL);
	}
	for (unsigned i = 0; i < ruleset->providers_n; i++)
		if (!ruleset->providers[i]->domains_n && !ruleset->providers[i]->mx_n)
			loader_warning(loader, &ruleset->providers[i]->where, "has neither domains nor mx: no mail goes there");
	for (unsigned i = 0; i < ruleset->listeners_n; i++)
		if (!ruleset->listeners[i].relay_from_n && !ruleset->listeners[i].relay_to_n)
			loader_warning(loader, &ruleset->listeners[i].where, "has neither relay_from nor relay_to: it takes no mail");
	reaction_doubt_percents(loader);
	if (!ruleset->listeners_n)
		loader_warning(loader, &file, "no listener is declared: the node takes no mail");
	if (!chooses && !table_get(&ruleset->names, SPAN("default")))
		loader_warning(loader, &file, "no virtual MTA or pool is called \"default\" and no on.message chooses one: all mail is refused");
}
