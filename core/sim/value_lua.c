/*
 * value_lua - durations, rates, sizes and near words for sluice/sim.lua: the
 * policies' own parsers, and milliseconds.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/setting.h"
#include "sim/world_lua_own.h"
#include "util/units.h"

/* duration(value): seconds; as in a policy, and milliseconds */
static int
l_duration(lua_State *L)
{
	struct span text;
	struct err err = { 0 };
	uint64_t ms;
	int64_t us = 0;

	if (lua_type(L, 1) == LUA_TNUMBER) {
		double seconds = lua_tonumber(L, 1);

		if (!(seconds >= 0 && seconds < 1e9)) {
			err_set(&err, ERR_PERM, "not a number of seconds: %g", seconds);
			return l_refused(L, &err, false);
		}
		lua_pushvalue(L, 1);
		return 1;
	}
	text.p = luaL_checklstring(L, 1, &text.n);
	if (text.n > 2 && span_ends_nocase(text, SPAN("ms"))) {
		if (span_u64(span_first(text, text.n - 2), UINT64_C(1) << 40, &ms))
			us = (int64_t)ms * US_PER_MS;
		else
			err_set(&err, ERR_PERM, "no duration: \"%.40s\" (as in \"80ms\")", text.p);
	} else {
		duration_parse(text, true, &us, &err);
	}
	if (err.kind != ERR_NONE)
		return l_refused(L, &err, false);
	lua_pushnumber(L, (double)us / (double)US_PER_S);
	return 1;
}

/* rate(text): the count (0: unlimited), and seconds */
static int
l_rate(lua_State *L)
{
	struct span text;
	struct rate_spec rate;
	struct err err = { 0 };

	text.p = luaL_checklstring(L, 1, &text.n);
	if (!rate_parse(text, &rate, &err))
		return l_refused(L, &err, false);
	lua_pushnumber(L, rate.count);
	lua_pushnumber(L, (double)rate.window_us / (double)US_PER_S);
	return 2;
}

static int
l_size(lua_State *L)
{
	struct span text;
	struct err err = { 0 };
	uint64_t bytes;

	if (lua_type(L, 1) == LUA_TNUMBER && lua_tonumber(L, 1) >= 0 && lua_tonumber(L, 1) <= 1e9) {
		lua_pushvalue(L, 1);
		return 1;
	}
	text.p = luaL_checklstring(L, 1, &text.n);
	if (!size_parse(text, &bytes, &err) || (bytes > 1000000000 && !err_set(&err, ERR_PERM, "at most 1000000000 bytes")))
		return l_refused(L, &err, false);
	lua_pushnumber(L, (double)bytes);
	return 1;
}

/* nearest(word, words) */
static int
l_nearest(lua_State *L)
{
	const char *words[128];
	unsigned n = 0;
	struct span word;

	word.p = luaL_checklstring(L, 1, &word.n);
	for (; n < countof(words); n++) {
		lua_rawgeti(L, 2, (int)n + 1);
		words[n] = lua_tostring(L, -1);
		lua_pop(L, 1);
		if (words[n] == NULL)
			break;
	}
	lua_pushstring(L, setting_nearest(word, words, n));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "duration", l_duration }, { "rate", l_rate }, { "size", l_size }, { "nearest", l_nearest },
	{ NULL, NULL },
};

void
l_add_values(lua_State *L)
{
	luaL_register(L, NULL, functions);
}
