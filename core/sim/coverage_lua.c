/*
 * coverage_lua - what of the policies a run of specs has exercised, for Lua: one
 * coverage for the state, shared by all its worlds.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/coverage.h"
#include "sim/world_lua_own.h"

#define COVERAGE_META "sluice.coverage"

struct coverage *
l_coverage(lua_State *L)
{
	struct coverage **held;

	lua_getfield(L, LUA_REGISTRYINDEX, COVERAGE_META ".held");
	held = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return held != NULL ? *held : NULL;
}

static int
l_coverage_free(lua_State *L)
{
	struct coverage **held = lua_touserdata(L, 1);

	coverage_free(*held);
	*held = NULL;
	return 0;
}

/* cover(): from now on. Worlds are collected before it, having been made later. */
static int
l_cover(lua_State *L)
{
	struct coverage **held;

	if (l_coverage(L) != NULL)
		return 0;
	held = lua_newuserdata(L, sizeof *held);
	*held = coverage_new();
	luaL_getmetatable(L, COVERAGE_META);
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, COVERAGE_META ".held");
	return 0;
}

static void
add_row(void *ctx, const struct coverage_row *row)
{
	lua_State *L = ctx;

	lua_createtable(L, 0, 6);
	lua_pushstring(L, coverage_kind_name(row->kind));
	lua_setfield(L, -2, "kind");
	lua_pushstring(L, row->name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, row->file);
	lua_setfield(L, -2, "file");
	lua_pushinteger(L, row->line);
	lua_setfield(L, -2, "line");
	lua_pushstring(L, coverage_state_name(row->state));
	lua_setfield(L, -2, "state");
	lua_pushstring(L, row->why);
	lua_setfield(L, -2, "why");
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* coverage(): its rows */
static int
l_rows(lua_State *L)
{
	const struct coverage *coverage = l_coverage(L);

	lua_newtable(L);
	if (coverage != NULL)
		coverage_each(coverage, add_row, L);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "cover", l_cover }, { "coverage", l_rows },
	{ NULL, NULL },
};

void
l_add_coverage(lua_State *L)
{
	luaL_newmetatable(L, COVERAGE_META);
	lua_pushcfunction(L, l_coverage_free);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	luaL_register(L, NULL, functions);
}
