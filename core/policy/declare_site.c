/*
 * vmta, pool, provider, domain: who sends, and to whom how. Names of other
 * declarations are only noted here; policy/assemble.c looks them up when all is
 * declared, so the order in the file is free.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/declare.h"

#include "policy/declare_warmup.h"
#include "policy/grow.h"
#include "policy/value.h"

#define LATER_DKIM "DKIM signing is not there yet"

static const struct declare_field settings_later[] = {
	{ "dkim_sign", NULL, 0, 0, LATER_DKIM },
};

static const struct declare_shape settings_shape = { settings_later, countof(settings_later), true, NULL };

static bool
set_domain(struct loader *loader, struct ruleset_block *block, const char *text, const struct where *at)
{
	struct domain_pattern pattern;
	struct err err = { 0 };
	if (!domain_pattern_parse(span_text(text), &pattern, &err)) {
		loader_error(loader, at, "%s", err.text);
		return false;
	}
	block->kind = pattern.kind;
	block->domain = arena_strdup(&loader->ruleset->arena, pattern.name);
	block->where = *at;
	return true;
}

struct block_list {
	struct ruleset_block **blocks;
	unsigned n;
};

/* provider = { google = { … } } and domain = { ["example.org"] = { … } } within a virtual MTA or pool. */
static bool
take_blocks(struct loader *loader, struct ruleset_block ***blocks, unsigned *n, bool providers, int index,
	    const struct where *declared, struct err *err)
{
	lua_State *L = loader->L;
	struct arena *arena = &loader->ruleset->arena;
	const char *word = providers ? "provider" : "domain";
	if (!lua_istable(L, index))
		return err_set(err, ERR_PERM, "write %s = { [\"name\"] = { … } }", word);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING) {
			loader_error(loader, declared, "%s: write %s = { [\"name\"] = { … } }", word, word);
			continue;
		}
		const char *name = arena_strdup(arena, lua_tostring(L, -2));
		struct where at = loader_place(loader, index, name, 0, declared);
		at.scope = arena_printf(arena, "%s %s \"%s\"", declared->scope, word, name);
		struct ruleset_block *block = arena_alloc(arena, sizeof(*block));
		block->provider = providers ? name : NULL;
		block->where = at;
		if (!providers && !set_domain(loader, block, name, &at))
			continue;
		declare_read(loader, lua_gettop(L), &settings_shape, NULL, block, &at);
		*blocks = grow(arena, *blocks, *n, sizeof(**blocks));
		(*blocks)[(*n)++] = block;
	}
	return true;
}

static bool
take_vmta_providers(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	struct loader_vmta *vmta = to;
	return take_blocks(loader, &vmta->blocks, &vmta->blocks_n, true, index, at, err);
}

static bool
take_vmta_domains(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	struct loader_vmta *vmta = to;
	return take_blocks(loader, &vmta->blocks, &vmta->blocks_n, false, index, at, err);
}

static bool
take_pool_providers(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	struct loader_pool *pool = to;
	return take_blocks(loader, &pool->blocks, &pool->blocks_n, true, index, at, err);
}

static bool
take_pool_domains(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	struct loader_pool *pool = to;
	return take_blocks(loader, &pool->blocks, &pool->blocks_n, false, index, at, err);
}

static bool
add_source(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct ruleset_vmta *vmta = to;
	struct ip ip;
	if (!ip_parse(text, &ip))
		return err_set(err, ERR_PERM, "\"%.*s\" is no address: write \"203.0.113.10\", \"2001:db8::1\", a list, or \"any\"",
			       (int)min_i64((int64_t)text.n, 60), text.p);
	if (ip_is_unspecified(&ip))
		return err_set(err, ERR_PERM, "\"%.*s\" is no address of this machine: write \"any\" for the system's choice", SPAN_ARG(text));
	for (unsigned i = 0; i < vmta->sources_n; i++)
		if (ip_eq(&vmta->sources[i], &ip))
			return err_set(err, ERR_PERM, "\"%.*s\" is there twice", SPAN_ARG(text));
	struct ip *sources = (struct ip *)vmta->sources;
	*GROW(&loader->ruleset->arena, sources, vmta->sources_n) = ip;
	vmta->sources = sources;
	return true;
}

static bool
take_source(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	lua_State *L = loader->L;
	if (lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), "any") == 0)
		return true;
	if (lua_istable(L, index) && lua_objlen(L, index) == 0)
		return err_set(err, ERR_PERM, "the list is empty: write an address, or \"any\"");
	return declare_list(loader, index, at, to, "an address, a list of them, or \"any\"", add_source, err);
}

#define LIMITS(type) \
	{ "max_smtp_out", declare_take_limit, offsetof(type, max_smtp_out), offsetof(type, max_smtp_out_where), NULL }, \
	{ "max_connect_rate", declare_take_rate, offsetof(type, max_connect_rate), offsetof(type, max_connect_rate_where), NULL }, \
	{ "max_msg_rate", declare_take_rate, offsetof(type, max_msg_rate), offsetof(type, max_msg_rate_where), NULL }

static const struct declare_field vmta_fields[] = {
	{ "source", take_source, 0, 0, NULL },
	{ "hostname", declare_take_hostname, offsetof(struct ruleset_vmta, hostname), 0, NULL },
	LIMITS(struct ruleset_vmta),
	{ "provider", take_vmta_providers, 0, 0, NULL },
	{ "domain", take_vmta_domains, 0, 0, NULL },
	{ "warmup", declare_warmup, 0, 0, NULL },
	{ "dkim_sign", NULL, 0, 0, LATER_DKIM },
};

static bool
has_field(struct loader *loader, int table, const char *name)
{
	if (!lua_istable(loader->L, table))
		return true;
	lua_pushstring(loader->L, name);
	lua_rawget(loader->L, table);
	bool there = !lua_isnil(loader->L, -1);
	lua_pop(loader->L, 1);
	return there;
}

const struct declare_shape declare_shape_vmta = { vmta_fields, countof(vmta_fields), false, NULL };

void
declare_vmta(struct loader *loader, const char *name, int table, const struct where *at)
{
	struct loader_vmta *declared = arena_alloc(&loader->ruleset->arena, sizeof(*declared));
	struct ruleset_vmta *vmta = &declared->vmta;
	vmta->name = name;
	vmta->where = *at;
	vmta->max_smtp_out = UNLIMITED;
	declare_read(loader, table, &declare_shape_vmta, declared, NULL, at);
	if (!has_field(loader, table, "source"))
		loader_error(loader, at, "source is missing: write source = \"203.0.113.10\", or source = \"any\" for the system's choice");
	*GROW(&loader->ruleset->arena, loader->vmtas, loader->vmtas_n) = declared;
}

static bool
take_weight(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	uint32_t *weight = to;
	if (!value_count(loader->L, index, false, weight, err))
		return false;
	return *weight <= 1000000 || err_set(err, ERR_PERM, "%u is too much: write at most 1000000", *weight);
}

static bool
take_member_name(struct loader *loader, void *object, int index, const struct where *at, struct err *err)
{
	struct loader_member *member = object;
	if (member->name || lua_type(loader->L, index) != LUA_TSTRING)
		return err_set(err, ERR_PERM, "a member is \"name\", or { \"name\", weight = 2 }");
	member->name = arena_strdup(&loader->ruleset->arena, lua_tostring(loader->L, index));
	return true;
}

static bool
take_member(struct loader *loader, void *object, int index, const struct where *at, struct err *err)
{
	static const struct declare_field fields[] = {
		{ "weight", take_weight, offsetof(struct loader_member, weight), 0, NULL },
	};
	static const struct declare_shape shape = { fields, countof(fields), false, take_member_name };
	struct loader_pool *pool = object;
	struct loader_member member = { .weight = 1, .where = *at };
	if (lua_istable(loader->L, index))
		declare_read(loader, index, &shape, &member, NULL, at);
	else if (!take_member_name(loader, &member, index, at, err))
		return false;
	if (!member.name)
		return lua_objlen(loader->L, index) || err_set(err, ERR_PERM, "a member is \"name\", or { \"name\", weight = 2 }");
	*GROW(&loader->ruleset->arena, pool->members, pool->members_n) = member;
	return true;
}

static const struct declare_field pool_fields[] = {
	LIMITS(struct ruleset_pool),
	{ "provider", take_pool_providers, 0, 0, NULL },
	{ "domain", take_pool_domains, 0, 0, NULL },
	{ "dkim_sign", NULL, 0, 0, LATER_DKIM },
};

const struct declare_shape declare_shape_pool = { pool_fields, countof(pool_fields), false, take_member };

void
declare_pool(struct loader *loader, const char *name, int table, const struct where *at)
{
	struct loader_pool *declared = arena_alloc(&loader->ruleset->arena, sizeof(*declared));
	declared->pool.name = name;
	declared->pool.where = *at;
	declared->pool.max_smtp_out = UNLIMITED;
	declare_read(loader, table, &declare_shape_pool, declared, NULL, at);
	if (lua_istable(loader->L, table) && lua_objlen(loader->L, table) == 0)
		loader_error(loader, at, "has no members: write the names of virtual MTAs: pool \"%s\" { \"mta-1\" }", name);
	*GROW(&loader->ruleset->arena, loader->pools, loader->pools_n) = declared;
}

static bool
add_domain(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct loader_provider *provider = to;
	char name[DOMAIN_MAX];
	if (span_find(text, '*') != SIZE_MAX)
		return err_set(err, ERR_PERM, "\"%.*s\": domains of a provider are names; patterns go into mx",
			       (int)min_i64((int64_t)text.n, 200), text.p);
	if (!domain_normalize(text, name, err))
		return false;
	*GROW(&loader->ruleset->arena, provider->domains, provider->domains_n) = arena_strdup(&loader->ruleset->arena, name);
	*GROW(&loader->ruleset->arena, provider->domain_wheres, provider->domain_wheres_n) = *at;
	return true;
}

static bool
take_domains(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return declare_list(loader, index, at, to, "a list of domains", add_domain, err);
}

static bool
add_mx(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct loader_provider *provider = to;
	struct domain_pattern pattern;
	if (!domain_pattern_parse(text, &pattern, err))
		return false;
	*GROW(&loader->ruleset->arena, provider->mx, provider->mx_n) = pattern;
	return true;
}

static bool
take_mx(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return declare_list(loader, index, at, to, "a list of patterns of MX hosts, such as { \"*.google.com\" }", add_mx, err);
}

static const struct declare_field provider_fields[] = {
	{ "domains", take_domains, 0, 0, NULL },
	{ "mx", take_mx, 0, 0, NULL },
	{ "dkim_sign", NULL, 0, 0, LATER_DKIM },
};

static void
add_block(struct loader *loader, struct ruleset_block *block)
{
	*GROW(&loader->ruleset->arena, loader->blocks, loader->blocks_n) = block;
}

const struct declare_shape declare_shape_provider = { provider_fields, countof(provider_fields), true, NULL };

void
declare_provider(struct loader *loader, const char *name, int table, const struct where *at)
{
	struct loader_provider *declared = arena_alloc(&loader->ruleset->arena, sizeof(*declared));
	struct ruleset_block *block = arena_alloc(&loader->ruleset->arena, sizeof(*block));
	declared->provider.name = block->provider = name;
	declared->provider.where = block->where = *at;
	declare_read(loader, table, &declare_shape_provider, declared, block, at);
	*GROW(&loader->ruleset->arena, loader->providers, loader->providers_n) = declared;
	add_block(loader, block);
}

void
declare_domain(struct loader *loader, const char *const *names, unsigned names_n, int table, const struct where *at)
{
	struct arena *arena = &loader->ruleset->arena;
	struct ruleset_block shared = { .where = *at };
	if (names_n == 0)
		return;
	declare_read(loader, table, &settings_shape, NULL, &shared, at);
	for (unsigned i = 0; i < names_n; i++) {
		struct ruleset_block *block = arena_alloc(arena, sizeof(*block));
		struct where own = { at->file, at->line, i ? arena_printf(arena, "domain \"%s\"", names[i]) : at->scope };
		*block = shared;
		if (set_domain(loader, block, names[i], &own))
			add_block(loader, block);
	}
}
