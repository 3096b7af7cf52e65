/*
 * A declaration is a call of a call: provider "google" gives a function, which
 * takes the table. In between it is pending; one that stays so is an error, since
 * it declares nothing and looks as if it did.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/declare.h"

#include "policy/declare_backoff.h"
#include "policy/grow.h"
#include "policy/lua_api.h"
#include "policy/module.h"
#include "policy/value.h"

#define NAME_MAX_BYTES 100
#define LIST_NAMES_MAX 100000

bool
declare_take_count(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return value_count(loader->L, index, false, to, err);
}

bool
declare_take_limit(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	if (lua_type(loader->L, index) == LUA_TNUMBER && lua_tonumber(loader->L, index) == 0)
		return err_set(err, ERR_PERM, "0 could mean none or no limit: write \"unlimited\", or at least 1");
	return value_count(loader->L, index, true, to, err);
}

bool
declare_take_rate(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return value_rate(loader->L, index, to, err);
}

bool
declare_take_duration(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return value_duration(loader->L, index, to, err);
}

bool
declare_take_bool(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return value_bool(loader->L, index, to, err);
}

bool
declare_take_size(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	return value_size(loader->L, index, false, to, err);
}

bool
declare_take_text(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	const char *text;
	if (!value_text(loader->L, index, "a text", &text, err))
		return false;
	*(const char **)to = arena_strdup(&loader->ruleset->arena, text);
	return true;
}

bool
declare_take_path(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	const char *text;
	if (!value_text(loader->L, index, "a path", &text, err))
		return false;
	*(const char **)to = loader_path(loader, text);
	return true;
}

bool
declare_take_hostname(struct loader *loader, void *to, int index, const struct where *at, struct err *err)
{
	const char *text;
	char name[DOMAIN_MAX];
	if (!value_text(loader->L, index, "a host name such as \"mta.example.com\"", &text, err) ||
	    !domain_normalize(span_text(text), name, err))
		return false;
	*(const char **)to = arena_strdup(&loader->ruleset->arena, name);
	return true;
}

static void
unknown_name(struct loader *loader, const char *name, const struct declare_shape *shape, const struct where *at)
{
	const char *words[SETTINGS_N + 64];
	unsigned n = 0;
	for (unsigned i = 0; i < shape->fields_n; i++)
		words[n++] = shape->fields[i].name;
	for (unsigned i = 0; shape->settings && i < SETTINGS_N; i++)
		words[n++] = setting_table[i].name;
	bool elsewhere = !shape->settings && setting_find(span_text(name)) != SETTINGS_N;
	const char *near = setting_nearest(span_text(name), words, n);
	if (elsewhere)
		loader_error(loader, at, "%s: no such setting here: it belongs into provider or domain", name);
	else if (near)
		loader_error(loader, at, "%.100s: no such setting (%s?)", name, near);
	else
		loader_error(loader, at, "%.100s: no such setting", name);
}

static const struct declare_field *
find_field(const struct declare_shape *shape, const char *name)
{
	for (unsigned i = 0; i < shape->fields_n; i++)
		if (strcmp(shape->fields[i].name, name) == 0)
			return &shape->fields[i];
	return NULL;
}

static void
read_setting(struct loader *loader, enum setting_id id, int index, struct ruleset_block *block, const struct where *at)
{
	struct err err = { 0 };
	struct block_value value = { .id = id, .file = at->file, .line = at->line };
	if (setting_table[id].kind == SETTING_REACTIONS) {
		value.value.REACTIONS = declare_backoff(loader, index, at);
		if (!value.value.REACTIONS)
			return;
	} else if (!value_of_setting(loader, index, id, &value.value, &err)) {
		loader_error(loader, at, "%s: %s", setting_name(id), err.text);
		return;
	}
	struct block_value *values = (struct block_value *)block->values;
	*GROW(&loader->ruleset->arena, values, block->values_n) = value;
	block->values = values;
}

static void
read_named(struct loader *loader, const char *name, int index, const struct declare_shape *shape, void *object,
	   struct ruleset_block *block, const struct where *at)
{
	const struct declare_field *field = find_field(shape, name);
	enum setting_id id = shape->settings ? setting_find(span_text(name)) : SETTINGS_N;
	struct err err = { 0 };
	if (field && !field->take)
		loader_error(loader, at, "%s: %s", name, field->later);
	else if (field && !field->take(loader, (char *)object + field->offset, index, at, &err))
		loader_error(loader, at, "%s: %s", name, err.text);
	else if (field && field->where_offset)
		*(struct where *)((char *)object + field->where_offset) = *at;
	else if (!field && id != SETTINGS_N)
		read_setting(loader, id, index, block, at);
	else if (!field)
		unknown_name(loader, name, shape, at);
}

static void
read_members(struct loader *loader, int index, const struct declare_shape *shape, void *object, const struct where *declared)
{
	lua_State *L = loader->L;
	uint32_t n = (uint32_t)lua_objlen(L, index);
	for (uint32_t i = 1; i <= n; i++) {
		struct where at = loader_place(loader, index, NULL, i, declared);
		struct err err = { 0 };
		lua_rawgeti(L, index, (int)i);
		if (!shape->member) {
			char shown[48];
			loader_error(loader, &at, "%s stands alone: write name = value", value_shown(L, lua_gettop(L), shown));
		} else if (!shape->member(loader, object, lua_gettop(L), &at, &err)) {
			loader_error(loader, &at, "%s", err.text);
		}
		lua_pop(L, 1);
	}
}

void
declare_read(struct loader *loader, int index, const struct declare_shape *shape, void *object,
	     struct ruleset_block *block, const struct where *declared)
{
	lua_State *L = loader->L;
	if (!lua_istable(L, index)) {
		char shown[48];
		loader_error(loader, declared, "%s will not do: write a table { … }", value_shown(L, index, shown));
		return;
	}
	luaL_checkstack(L, 10, "tables too deep");
	loader_warn_twice(loader, index, declared);
	read_members(loader, index, shape, object, declared);
	uint32_t members_n = (uint32_t)lua_objlen(L, index);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		if (lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) >= 1 && lua_tonumber(L, -2) <= members_n)
			continue;
		char shown[48];
		if (lua_type(L, -2) != LUA_TSTRING) {
			loader_error(loader, declared, "[%s]: no such setting", value_shown(L, lua_gettop(L) - 1, shown));
			continue;
		}
		const char *name = lua_tostring(L, -2);
		struct where at = loader_place(loader, index, name, 0, declared);
		read_named(loader, name, lua_gettop(L), shape, object, block, &at);
	}
}

bool
declare_list(struct loader *loader, int index, const struct where *at, void *to, const char *instead,
	     bool (*fn)(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err), struct err *err)
{
	lua_State *L = loader->L;
	char shown[48];
	if (lua_type(L, index) == LUA_TSTRING) {
		struct span rest = span_text(lua_tostring(L, index)), part;
		while (span_split(&rest, ',', &part))
			if (!fn(loader, to, span_trim(part), at, err))
				return false;
		return true;
	}
	if (!lua_istable(L, index))
		return err_set(err, ERR_PERM, "%s will not do: write %s", value_shown(L, index, shown), instead);
	uint32_t n = (uint32_t)lua_objlen(L, index), keys = 0;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
		keys++;
	if (keys != n || n > LIST_NAMES_MAX)
		return err_set(err, ERR_PERM, "write a list: %s", instead);
	for (uint32_t i = 1; i <= n; i++) {
		struct err own = { 0 };
		struct where place = loader_place(loader, index, NULL, i, at);
		lua_rawgeti(L, index, (int)i);
		bool ok = lua_type(L, -1) == LUA_TSTRING && fn(loader, to, span_text(lua_tostring(L, -1)), &place, &own);
		if (!ok && own.text[0])
			loader_error(loader, &place, "%s", own.text);
		else if (!ok)
			loader_error(loader, &place, "%s will not do: write %s", value_shown(L, lua_gettop(L), shown), instead);
		lua_pop(L, 1);
	}
	return true;
}

enum word { WORD_NODE, WORD_LISTENER, WORD_VMTA, WORD_POOL, WORD_PROVIDER, WORD_DOMAIN, WORDS_N };

static const struct {
	const char *word;
	void (*declare)(struct loader *loader, const char *name, int table, const struct where *at);
} words[WORDS_N] = {
	[WORD_NODE] = { "node", declare_node },
	[WORD_LISTENER] = { "listener", declare_listener },
	[WORD_VMTA] = { "vmta", declare_vmta },
	[WORD_POOL] = { "pool", declare_pool },
	[WORD_PROVIDER] = { "provider", declare_provider },
	[WORD_DOMAIN] = { "domain", NULL },
};

static struct loader *
open_loader(lua_State *L, const char *word)
{
	struct loader *loader = loader_of(L);
	if (!loader)
		luaL_error(L, "%s: a policy declares when it is loaded, not later", word);
	return loader;
}

struct names { const char **names; unsigned n; };

static bool
add_name(struct loader *loader, void *to, struct span text, const struct where *at, struct err *err)
{
	struct names *names = to;
	*GROW(&loader->ruleset->arena, names->names, names->n) = arena_strndup(&loader->ruleset->arena, text.p, text.n);
	return true;
}

/* The second call. Upvalues: the loader, the word, the pending entry, for domains their names. */
static int
l_take_table(lua_State *L)
{
	enum word word = (enum word)lua_tointeger(L, lua_upvalueindex(2));
	struct loader *loader = open_loader(L, words[word].word);
	struct loader_pending *pending = lua_touserdata(L, lua_upvalueindex(3));
	const struct names *names = lua_touserdata(L, lua_upvalueindex(4));
	lua_settop(L, 1);
	pending->done = true;
	if (word == WORD_DOMAIN)
		declare_domain(loader, names->names, names->n, 1, &pending->where);
	else if (pending->name)
		words[word].declare(loader, pending->name, 1, &pending->where);
	return 0;
}

static bool
name_ok(const char *name, enum word word)
{
	if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES)
		return false;
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f || (word != WORD_LISTENER && (*c == '/' || *c == '*' || *c == '"')))
			return false;
	return true;
}

/* NULL: noted. */
static const char *
take_name(struct loader *loader, enum word word, struct where *at)
{
	lua_State *L = loader->L;
	char shown[48];
	const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
	if (name && name_ok(name, word)) {
		at->scope = arena_printf(&loader->ruleset->arena, "%s \"%s\"", words[word].word, name);
		return arena_strdup(&loader->ruleset->arena, name);
	}
	loader_error(loader, at, "%s: %s is no name: write %s \"name\" { … }, without blanks, '/' and '*'", words[word].word,
		     value_shown(L, 1, shown), words[word].word);
	return NULL;
}

static struct names *
take_domain_names(struct loader *loader, struct where *at)
{
	struct err err = { 0 };
	struct names *names = arena_alloc(&loader->ruleset->arena, sizeof(*names));
	if (!declare_list(loader, 1, at, names, "domain \"example.com\" { … } or domain { \"a.com\", \"b.com\" } { … }", add_name, &err))
		loader_error(loader, at, "domain: %s", err.text);
	else if (names->n == 0)
		loader_error(loader, at, "domain: names none: write domain \"example.com\" { … }");
	else
		at->scope = arena_printf(&loader->ruleset->arena, "domain \"%s\"", names->names[0]);
	return names;
}

/* The first call: provider "google". Upvalues: the loader, the word. */
static int
l_declare(lua_State *L)
{
	enum word word = (enum word)lua_tointeger(L, lua_upvalueindex(2));
	struct loader *loader = open_loader(L, words[word].word);
	lua_settop(L, 1);
	struct where at = loader_here(loader, NULL);
	if (word == WORD_NODE) {
		at.scope = "node";
		declare_node(loader, NULL, 1, &at);
		return 0;
	}
	struct loader_pending *pending = arena_alloc(&loader->ruleset->arena, sizeof(*pending));
	struct names *names = NULL;
	if (word == WORD_DOMAIN)
		names = take_domain_names(loader, &at);
	else
		pending->name = take_name(loader, word, &at);
	pending->word = words[word].word;
	pending->where = at;
	*GROW(&loader->ruleset->arena, loader->pending, loader->pending_n) = pending;
	lua_pushinteger(L, word);
	lua_pushlightuserdata(L, pending);
	lua_pushlightuserdata(L, names);
	loader_push_function(loader, l_take_table, 3);
	return 1;
}

void
declare_export(struct loader *loader)
{
	for (unsigned i = 0; i < WORDS_N; i++) {
		lua_pushinteger(loader->L, i);
		loader_push_function(loader, l_declare, 1);
		sandbox_export(loader->L, words[i].word);
	}
	loader_push_function(loader, module_l_require, 0);
	sandbox_export(loader->L, "require");
	loader_push_function(loader, loader_l_at, 0);
	sandbox_export(loader->L, LOADER_HIDDEN);
	static const struct { const char *name; double n; } sizes[] = { { "KB", 1024 }, { "MB", 1048576 }, { "GB", 1073741824 } };
	for (size_t i = 0; i < countof(sizes); i++) {
		lua_pushnumber(loader->L, sizes[i].n);
		sandbox_export(loader->L, sizes[i].name);
	}
}

void
declare_finish(struct loader *loader)
{
	for (unsigned i = 0; i < loader->pending_n; i++) {
		const struct loader_pending *pending = loader->pending[i];
		if (!pending->done && pending->where.scope)
			loader_error(loader, &pending->where, "its table is missing: write %s { … }", pending->where.scope);
	}
}
