/*
 * LuaJIT's own library over strpat_match.c: what a call finds, captures and puts in
 * its place.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/strpat_match.h"

#include <ctype.h>

#include "policy/lua_api.h"

static void
push_capture(struct strpat_match *m, int i, const char *s, const char *e)
{
	if (i >= m->captures_n) {
		if (i != 0)
			luaL_error(m->L, "invalid capture index");
		lua_pushlstring(m->L, s, (size_t)(e - s));
	} else if (m->captures[i].len == CAPTURE_POSITION) {
		lua_pushinteger(m->L, m->captures[i].at - m->text + 1);
	} else if (m->captures[i].len == CAPTURE_OPEN) {
		luaL_error(m->L, "unfinished capture");
	} else {
		lua_pushlstring(m->L, m->captures[i].at, (size_t)m->captures[i].len);
	}
}

/* s NULL: only what was captured. */
static int
push_captures(struct strpat_match *m, const char *s, const char *e)
{
	int n = m->captures_n == 0 && s ? 1 : m->captures_n;
	luaL_checkstack(m->L, n, "too many captures");
	for (int i = 0; i < n; i++)
		push_capture(m, i, s, e);
	return n;
}

static const struct strpat_meter *
meter_of(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

static struct span
check_span(lua_State *L, int arg)
{
	size_t n;
	const char *p = luaL_checklstring(L, arg, &n);
	return span_make(p, n);
}

static int
find_plain(lua_State *L, struct span text, size_t from, struct span what)
{
	meter_of(L)->charge(L, (text.n - from) / 32);
	const char *at = what.n ? memmem(text.p + from, text.n - from, what.p, what.n) : text.p + from;
	if (!at) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushinteger(L, at - text.p + 1);
	lua_pushinteger(L, at - text.p + (ptrdiff_t)what.n);
	return 2;
}

static bool
has_specials(struct span pattern)
{
	for (size_t i = 0; i < pattern.n; i++)
		if (pattern.p[i] && strchr("^$*+?.([%-", pattern.p[i]))
			return true;
	return false;
}

/* The first match at or behind s; m->captures holds what it captured. */
static const char *
search(struct strpat_match *m, const char **s, struct span pattern)
{
	bool anchored = pattern.n && pattern.p[0] == '^';
	for (;; (*s)++) {
		m->captures_n = 0;
		const char *end = strpat_match_run(m, *s, pattern.p + anchored);
		if (end || anchored || *s >= m->text_end)
			return end;
	}
}

static int
find_or_match(lua_State *L, bool find)
{
	struct span text = check_span(L, 1), pattern = check_span(L, 2);
	ptrdiff_t init = luaL_optinteger(L, 3, 1);
	if (init < 0)
		init += (ptrdiff_t)text.n + 1;
	size_t from = init > 1 ? (size_t)init - 1 : 0;
	if (from > text.n)
		from = text.n;
	if (find && (lua_toboolean(L, 4) || !has_specials(pattern)))
		return find_plain(L, text, from, pattern);
	struct strpat_match m;
	strpat_match_begin(&m, L, meter_of(L), text, pattern);
	const char *s = text.p + from;
	const char *end = search(&m, &s, pattern);
	strpat_match_settle(&m);
	if (!end) {
		lua_pushnil(L);
		return 1;
	}
	if (!find)
		return push_captures(&m, s, end);
	lua_pushinteger(L, s - text.p + 1);
	lua_pushinteger(L, end - text.p);
	return 2 + push_captures(&m, NULL, NULL);
}

static int
l_find(lua_State *L)
{
	return find_or_match(L, true);
}

static int
l_match(lua_State *L)
{
	return find_or_match(L, false);
}

/* Upvalues: the meter, text, pattern, where to go on. */
static int
l_gmatch_next(lua_State *L)
{
	size_t text_n, pattern_n;
	const char *text = lua_tolstring(L, lua_upvalueindex(2), &text_n);
	const char *pattern = lua_tolstring(L, lua_upvalueindex(3), &pattern_n);
	size_t from = (size_t)lua_tointeger(L, lua_upvalueindex(4));
	struct strpat_match m;
	strpat_match_begin(&m, L, meter_of(L), span_make(text, text_n), span_make(pattern, pattern_n));
	for (const char *s = text + from; from <= text_n && s <= m.text_end; s++) {
		m.captures_n = 0;
		const char *end = strpat_match_run(&m, s, pattern);
		if (!end)
			continue;
		strpat_match_settle(&m);
		lua_pushinteger(L, end - text + (end == s));
		lua_replace(L, lua_upvalueindex(4));
		return push_captures(&m, s, end);
	}
	strpat_match_settle(&m);
	return 0;
}

static int
l_gmatch(lua_State *L)
{
	check_span(L, 1);
	check_span(L, 2);
	lua_settop(L, 2);
	lua_pushlightuserdata(L, (void *)meter_of(L));
	lua_insert(L, 1);
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, l_gmatch_next, 4);
	return 1;
}

static void
add_template(struct strpat_match *m, luaL_Buffer *out, const char *s, const char *e)
{
	size_t n;
	const char *with = lua_tolstring(m->L, 3, &n);
	m->steps += n;
	for (size_t i = 0; i < n; i++) {
		if (with[i] != '%') {
			luaL_addchar(out, with[i]);
			continue;
		}
		i++;
		if (i >= n || !isdigit((unsigned char)with[i])) {
			luaL_addchar(out, i < n ? with[i] : '\0');
		} else if (with[i] == '0') {
			luaL_addlstring(out, s, (size_t)(e - s));
		} else {
			push_capture(m, with[i] - '1', s, e);
			luaL_addvalue(out);
		}
	}
}

static void
add_replacement(struct strpat_match *m, luaL_Buffer *out, const char *s, const char *e)
{
	lua_State *L = m->L;
	int type = lua_type(L, 3);
	if (type == LUA_TNUMBER || type == LUA_TSTRING) {
		add_template(m, out, s, e);
		return;
	}
	if (type == LUA_TFUNCTION) {
		lua_pushvalue(L, 3);
		lua_call(L, push_captures(m, s, e), 1);
	} else {
		push_capture(m, 0, s, e);
		lua_gettable(L, 3);
	}
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		lua_pushlstring(L, s, (size_t)(e - s));
	} else if (!lua_isstring(L, -1)) {
		luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
	}
	luaL_addvalue(out);
}

static int
l_gsub(lua_State *L)
{
	struct span text = check_span(L, 1), pattern = check_span(L, 2);
	int type = lua_type(L, 3);
	luaL_argcheck(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
		      "string/function/table expected");
	lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)text.n + 1);
	bool anchored = pattern.n && pattern.p[0] == '^';
	lua_settop(L, 4);
	luaL_Buffer out;
	luaL_buffinit(L, &out);
	struct strpat_match m;
	const char *s = text.p;
	lua_Integer n = 0;
	strpat_match_begin(&m, L, meter_of(L), text, pattern);
	while (n < most) {
		m.captures_n = 0;
		m.depth = 0;
		const char *end = strpat_match_run(&m, s, pattern.p + anchored);
		if (end) {
			n++;
			add_replacement(&m, &out, s, end);
		}
		if (end && end > s)
			s = end;
		else if (s < m.text_end)
			luaL_addchar(&out, *s++);
		else
			break;
		if (anchored)
			break;
	}
	luaL_addlstring(&out, s, (size_t)(m.text_end - s));
	luaL_pushresult(&out);
	lua_pushinteger(L, n);
	m.steps += text.n / 8;
	strpat_match_settle(&m);
	return 2;
}

void
strpat_fill(lua_State *L, const struct strpat_meter *meter)
{
	static const luaL_Reg functions[] = {
		{ "find", l_find }, { "match", l_match }, { "gmatch", l_gmatch }, { "gsub", l_gsub },
	};
	for (size_t i = 0; i < countof(functions); i++) {
		lua_pushlightuserdata(L, (void *)meter);
		lua_pushcclosure(L, functions[i].func, 1);
		lua_setfield(L, -2, functions[i].name);
	}
}
