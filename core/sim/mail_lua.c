/*
 * mail_lua - injections, for Lua. The texts stay where the table of options
 * holds them until the world has copied them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "sim/world_lua_own.h"

#define HEADERS_MAX  100u
#define US(seconds)  ((int64_t)((seconds) * 1e6 + ((seconds) < 0 ? -0.5 : 0.5)))

struct rcpt_source {
	struct lua_world *lw;
	int  fn;                        /* a reference */
	char address[400];              /* the last it gave */
};

static const char *
to_of(void *ctx, uint64_t i)
{
	struct rcpt_source *source = ctx;
	lua_State *L = source->lw->L;
	struct err err = { 0 };
	const char *address;

	lua_rawgeti(L, LUA_REGISTRYINDEX, source->fn);
	lua_pushnumber(L, (double)i);
	if (!l_call_back(source->lw, 1, 1, &err)) {
		world_fail(source->lw->world, err.text);
		return NULL;
	}
	address = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
	if (address == NULL || strlen(address) >= sizeof source->address || strpbrk(address, " \t\r\n<>") != NULL) {
		err_set(&err, ERR_PERM, "inject: to: its function gave no address but %s", address ? address : luaL_typename(L, -1));
		world_fail(source->lw->world, err.text);
		lua_pop(L, 1);
		return NULL;
	}
	memcpy(source->address, address, strlen(address) + 1);
	lua_pop(L, 1);
	return source->address;
}

static void
source_free(void *ctx)
{
	struct rcpt_source *source = ctx;

	luaL_unref(source->lw->L, LUA_REGISTRYINDEX, source->fn);
	free(source);
}

/* Strings stay where the table of options, at index 2, holds them. */
static const char *
field_text(lua_State *L, const char *name)
{
	const char *text;

	lua_getfield(L, 2, name);
	text = lua_tostring(L, -1);
	lua_pop(L, 1);
	return text;
}

static double
field_number(lua_State *L, const char *name, double otherwise)
{
	double value;

	lua_getfield(L, 2, name);
	value = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
	lua_pop(L, 1);
	return value;
}

static void
take_recipients(lua_State *L, struct lua_world *lw, struct world_injection *o)
{
	lua_getfield(L, 2, "to");
	if (lua_isfunction(L, -1)) {
		struct rcpt_source *source = mem_alloc(sizeof *source);

		source->lw = lw;
		source->fn = l_take_function(L, -1);
		o->to_of = to_of;
		o->free_ctx = source_free;
		o->ctx = source;
		return;
	}
	const char **to = lua_newuserdata(L, (lua_objlen(L, -1) + 1) * sizeof *to);

	o->to_n = (unsigned)lua_objlen(L, -2);
	for (unsigned i = 0; i < o->to_n; i++) {
		lua_rawgeti(L, -2, (int)i + 1);
		to[i] = lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	o->to = to;
}

static void
take_headers(lua_State *L, struct world_injection *o)
{
	struct world_header *headers = lua_newuserdata(L, HEADERS_MAX * sizeof *headers);

	lua_getfield(L, 2, "headers");
	for (int i = 1; lua_istable(L, -1) && o->headers_n < HEADERS_MAX; i++) {
		lua_rawgeti(L, -1, i);
		if (!lua_istable(L, -1)) {
			lua_pop(L, 1);
			break;
		}
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		headers[o->headers_n++] = (struct world_header){ lua_tostring(L, -2), lua_tostring(L, -1) };
		lua_pop(L, 3);
	}
	lua_pop(L, 1);
	o->headers = headers;
}

/* inject(world, options): how many were accepted, and the first refusal */
static int
l_inject(lua_State *L)
{
	struct lua_world *lw = l_enter(L);
	struct world_injection o = {
		.count = (uint64_t)field_number(L, "count", 1), .from = field_text(L, "from"), .vmta = field_text(L, "vmta"),
		.pool = field_text(L, "pool"), .job = field_text(L, "job"),
		.priority = (uint8_t)field_number(L, "priority", 50), .size_bytes = (uint64_t)field_number(L, "size", 0),
		.over_us = US(field_number(L, "over", 0)),
	};
	struct world_injected injected;
	struct err err = { 0 };
	bool ok;

	take_headers(L, &o);
	take_recipients(L, lw, &o);
	ok = world_inject(lw->world, &o, &injected, &err);
	if (!ok)
		return l_leave(lw, false, &err);
	lw->L = NULL;
	lua_pushnumber(L, (double)injected.accepted);
	if (injected.refusal[0] == '\0')
		return 1;
	lua_pushstring(L, injected.refusal);
	return 2;
}

static const luaL_Reg functions[] = {
	{ "inject", l_inject },
	{ NULL, NULL },
};

void
l_add_mail(lua_State *L)
{
	luaL_register(L, NULL, functions);
}
