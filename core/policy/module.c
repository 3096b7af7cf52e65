/*
 * Three places, in this order: sluice.… is the standard library, and nothing beside
 * a policy can stand in for it; then the policy's folder; then the modules that
 * ship (policies/providers), which the binary holds, so that a policy anywhere
 * finds those that belong to its node. Their values have lines like any file's; the
 * path shown is the one in the source tree, and the end of the one they are installed under.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/module.h"

#include <errno.h>

#include "policy/embedded.h"
#include "policy/lua_api.h"
#include "policy/setting.h"

#define SHIPPED_DIR "policies/"

static char modules_key, waiting_key;   /* their addresses are keys in the registry */

void
module_init(lua_State *L)
{
	lua_pushlightuserdata(L, &modules_key);
	lua_newtable(L);
	lua_rawset(L, LUA_REGISTRYINDEX);
	lua_pushlightuserdata(L, &waiting_key);
	lua_newtable(L);
	lua_rawset(L, LUA_REGISTRYINDEX);
}

static bool
module_name_ok(const char *name)
{
	if (name[0] == '\0' || name[0] == '.' || strlen(name) > 200)
		return false;
	for (const char *c = name; *c; c++) {
		bool word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-';
		if (!word && (*c != '.' || c[1] == '.' || c[1] == '\0'))
			return false;
	}
	return true;
}

static const char *
module_path(struct loader *loader, const char *dir, const char *name)
{
	char *path = arena_printf(&loader->ruleset->arena, "%s%s.lua", dir, name);
	for (char *c = path + strlen(dir); c < path + strlen(path) - 4; c++)
		if (*c == '.')
			*c = '/';
	return path;
}

/* (word, list): the word of the list that was probably meant, or nil. For the standard library. */
static int
l_nearest(lua_State *L)
{
	const char *words[100];
	unsigned n = 0;
	size_t length;
	const char *word = luaL_checklstring(L, 1, &length);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	luaL_checkstack(L, countof(words), "too many words");
	for (int i = 1; n < countof(words); i++) {
		lua_rawgeti(L, 2, i);
		if (lua_type(L, -1) != LUA_TSTRING)
			break;
		words[n++] = lua_tostring(L, -1);
	}
	const char *near = setting_nearest(span_make(word, length), words, n);
	if (near)
		lua_pushstring(L, near);
	else
		lua_pushnil(L);
	return 1;
}

static void
push_library(lua_State *L, const char *name)
{
	struct span text = embedded_lua(span_text(name));
	if (!text.p)
		luaL_error(L, "require: there is no %s in the standard library", name);
	if (luaL_loadbuffer(L, text.p, text.n, lua_pushfstring(L, "=%s", name)) != 0)
		lua_error(L);
	lua_remove(L, -2);
}

static bool
is_shipped(const char *name)
{
	return span_starts(span_text(name), SPAN("providers.")) && embedded_lua(span_text(name)).p;
}

/* The chunk onto the stack, and its arguments; raises. Says how many they are. */
static int
push_module(struct loader *loader, const char *name)
{
	lua_State *L = loader->L;
	if (span_starts(span_text(name), SPAN("sluice."))) {
		push_library(L, name);
		lua_pushstring(L, name);
		lua_pushcfunction(L, l_nearest);
		return 2;
	}
	const char *path = module_path(loader, loader->dir, name);
	struct err err = { 0 };
	struct span text;
	bool beside = bundle_read(loader->bundle, path, &text, &err);
	struct span shipped = is_shipped(name) ? embedded_lua(span_text(name)) : span_make(NULL, 0);
	if (!beside && (err.sys != ENOENT || !shipped.p))
		luaL_error(L, "require \"%s\": %s %s", name, path, err.text);
	if (!beside)
		path = module_path(loader, SHIPPED_DIR, name);
	if (!loader_compile_text(loader, path, beside ? text : shipped))
		luaL_error(L, "require \"%s\": %s does not compile", name, path);
	lua_pushstring(L, name);
	return 1;
}

/* A function that calls what it is given as if that stood at the place of the `require`. */
static void
push_call_at(lua_State *L, const struct where *where)
{
	struct buf chunk;
	int failed;

	buf_init(&chunk, 0);
	for (int i = 1; i < where->line; i++)
		buf_add_char(&chunk, '\n');
	buf_add_text(&chunk, "local run = ... run()");
	lua_pushfstring(L, "@%s", where->file);
	failed = luaL_loadbuffer(L, chunk.p + chunk.start, buf_len(&chunk), lua_tostring(L, -1));
	buf_fini(&chunk);
	if (failed)
		lua_error(L);
	lua_remove(L, -2);
}

/*
 * A module that ships declares when it is called. The function on the stack becomes one that notes the call, and
 * waits for it until all else is loaded: by a tail call, so that who called is still found one level up.
 */
static void
await_call(struct loader *loader)
{
	static const char chunk[] = "local run, call, waiting = ... local at = #waiting + 1 "
				    "waiting[at] = function() return call(run) end "
				    "return function(...) waiting[at] = false return run(...) end";
	lua_State *L = loader->L;
	struct where where = loader_here(loader, NULL);

	if (luaL_loadbuffer(L, chunk, sizeof(chunk) - 1, "=require") != 0)
		lua_error(L);
	lua_insert(L, -2);
	push_call_at(L, &where);
	lua_pushlightuserdata(L, &waiting_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_call(L, 3, 1);
}

/* In the order in which they were required; one may require others. */
static int
l_call_waiting(lua_State *L)
{
	lua_pushlightuserdata(L, &waiting_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
		lua_rawgeti(L, 1, i);
		lua_pushboolean(L, false);
		lua_rawseti(L, 1, i);
		if (lua_isfunction(L, -1))
			lua_call(L, 0, 0);
		else
			lua_pop(L, 1);
	}
	return 0;
}

void
module_push_waiting(lua_State *L)
{
	lua_pushcfunction(L, l_call_waiting);
}

int
module_l_require(lua_State *L)
{
	struct loader *loader = loader_of(L);
	const char *name = luaL_checkstring(L, 1);
	if (!loader)
		return luaL_error(L, "require \"%s\": a policy loads its modules when it is loaded, not later", name);
	if (!module_name_ok(name))
		return luaL_error(L, "require \"%s\": write the name of a module beside the policy, such as \"lib.limits\" for lib/limits.lua",
				  name);
	lua_settop(L, 1);
	lua_pushlightuserdata(L, &modules_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_getfield(L, 2, name);
	if (lua_islightuserdata(L, -1))
		return luaL_error(L, "require \"%s\": it is being loaded: two modules require each other", name);
	if (!lua_isnil(L, -1))
		return 1;
	lua_pushlightuserdata(L, loader);
	lua_setfield(L, 2, name);
	int args_n = push_module(loader, name);
	lua_call(L, args_n, 1);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
	} else if (lua_isfunction(L, -1) && is_shipped(name)) {
		await_call(loader);
	}
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}
