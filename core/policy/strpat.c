/*
 * A backtracking matcher after the manual's grammar:
 *
 *   pattern = [ "^" ] { item } [ "$" ]
 *   item    = single [ "*" | "+" | "-" | "?" ] | "(" | ")" | "%b" x y | "%f" set | "%" digit
 *   single  = "." | "%" class | set | character
 *
 * It recurses where it must backtrack (an item with a repeat, a capture) and
 * loops else. Steps are bounded by what is left of the budget and recursion by
 * DEPTH_MAX, so "(.-)*" on a long line ends in an error, not in a hung node.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/strpat.h"

#include <ctype.h>
#include <lauxlib.h>

#include "util/span.h"

#define CAPTURES_MAX 32
#define DEPTH_MAX    200
#define CAPTURE_OPEN     (-1)
#define CAPTURE_POSITION (-2)
#define STEPS_PER_INSTRUCTION 4

struct capture {
	const char *at;
	ptrdiff_t   len;
};

struct match {
	lua_State  *L;
	const struct strpat_meter *meter;
	const char *text, *text_end;
	const char *pattern_end;
	uint64_t    steps, steps_max;
	int         depth;
	int         captures_n;
	struct capture captures[CAPTURES_MAX];
};

static const char *run(struct match *m, const char *s, const char *p);

static void
settle(struct match *m)
{
	uint64_t instructions = m->steps / STEPS_PER_INSTRUCTION;
	m->steps = 0;
	m->meter->charge(m->L, instructions);
}

static void
step(struct match *m)
{
	if (++m->steps > m->steps_max)
		settle(m);
}

/* Raises when the budget is gone; the limit is met a step after it, so that settle() sees it passed. */
static void
begin(struct match *m, lua_State *L, const struct strpat_meter *meter, struct span text, struct span pattern)
{
	uint64_t left = meter->left(L);
	m->L = L;
	m->meter = meter;
	m->text = text.p;
	m->text_end = text.p + text.n;
	m->pattern_end = pattern.p + pattern.n;
	m->steps = 0;
	m->steps_max = left > UINT64_MAX / 8 ? UINT64_MAX : (left + 1) * STEPS_PER_INSTRUCTION;
	m->depth = 0;
	m->captures_n = 0;
}

static bool
class_holds(int c, int class)
{
	bool in;
	switch (tolower(class)) {
	case 'a': in = isalpha(c); break;
	case 'c': in = iscntrl(c); break;
	case 'd': in = isdigit(c); break;
	case 'g': in = isgraph(c); break;
	case 'l': in = islower(c); break;
	case 'p': in = ispunct(c); break;
	case 's': in = isspace(c); break;
	case 'u': in = isupper(c); break;
	case 'w': in = isalnum(c); break;
	case 'x': in = isxdigit(c); break;
	case 'z': in = c == 0; break;
	default: return class == c;
	}
	return isupper(class) ? !in : in;
}

/* p is behind the "[". Behind the "]". */
static const char *
set_end(struct match *m, const char *p)
{
	bool first = true;
	if (p < m->pattern_end && *p == '^')
		p++;
	for (;; first = false) {
		if (p >= m->pattern_end)
			luaL_error(m->L, "malformed pattern (missing ']')");
		char c = *p++;
		if (c == ']' && !first)
			return p;
		if (c == '%' && p < m->pattern_end)
			p++;
	}
}

/* p is at a single; behind it. */
static const char *
single_end(struct match *m, const char *p)
{
	char c = *p++;
	if (c == '%') {
		if (p >= m->pattern_end)
			luaL_error(m->L, "malformed pattern (ends with '%%')");
		return p + 1;
	}
	return c == '[' ? set_end(m, p) : p;
}

/* From behind "[" to the "]" at end. */
static bool
set_holds(int c, const char *p, const char *end)
{
	bool in = true;
	if (p < end && *p == '^') {
		in = false;
		p++;
	}
	while (p < end) {
		/* A range that ended in "%" leaves one before the "]": Lua takes the pair for an escaped "]", and so do we. */
		if (*p == '%') {
			if (class_holds(c, (unsigned char)p[1]))
				return in;
			p += 2;
		} else if (p + 2 < end && p[1] == '-') {
			if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
				return in;
			p += 3;
		} else {
			if ((unsigned char)*p == c)
				return in;
			p++;
		}
	}
	return !in;
}

static bool
single_holds(struct match *m, const char *s, const char *p, const char *end)
{
	step(m);
	if (s >= m->text_end)
		return false;
	int c = (unsigned char)*s;
	switch (*p) {
	case '.': return true;
	case '%': return class_holds(c, (unsigned char)p[1]);
	case '[':
		m->steps += (uint64_t)(end - p) / 8;
		return set_holds(c, p + 1, end - 1);
	default:  return (unsigned char)*p == c;
	}
}

static const char *
match_balance(struct match *m, const char *s, const char *p)
{
	if (m->pattern_end - p < 2)
		luaL_error(m->L, "unbalanced pattern");
	if (s >= m->text_end || *s != p[0])
		return NULL;
	size_t open = 1;
	while (++s < m->text_end) {
		step(m);
		if (*s == p[1] && --open == 0)
			return s + 1;
		if (*s == p[0] && p[0] != p[1])
			open++;
	}
	return NULL;
}

static const char *
most_first(struct match *m, const char *s, const char *p, const char *end)
{
	ptrdiff_t n = 0;
	while (single_holds(m, s + n, p, end))
		n++;
	for (; n >= 0; n--) {
		const char *found = run(m, s + n, end + 1);
		if (found)
			return found;
	}
	return NULL;
}

static const char *
least_first(struct match *m, const char *s, const char *p, const char *end)
{
	for (;;) {
		const char *found = run(m, s, end + 1);
		if (found)
			return found;
		if (!single_holds(m, s, p, end))
			return NULL;
		s++;
	}
}

static const char *
open_capture(struct match *m, const char *s, const char *p)
{
	bool position = p < m->pattern_end && *p == ')';
	if (m->captures_n == CAPTURES_MAX)
		luaL_error(m->L, "too many captures");
	m->captures[m->captures_n++] = (struct capture){ s, position ? CAPTURE_POSITION : CAPTURE_OPEN };
	const char *found = run(m, s, position ? p + 1 : p);
	if (!found)
		m->captures_n--;
	return found;
}

static const char *
close_capture(struct match *m, const char *s, const char *p)
{
	int i = m->captures_n - 1;
	while (i >= 0 && m->captures[i].len != CAPTURE_OPEN)
		i--;
	if (i < 0)
		luaL_error(m->L, "invalid pattern capture");
	m->captures[i].len = s - m->captures[i].at;
	const char *found = run(m, s, p);
	if (!found)
		m->captures[i].len = CAPTURE_OPEN;
	return found;
}

static const char *
match_back(struct match *m, const char *s, char digit)
{
	int i = digit - '1';
	if (i < 0 || i >= m->captures_n || m->captures[i].len < 0)
		luaL_error(m->L, "invalid capture index");
	size_t n = (size_t)m->captures[i].len;
	m->steps += n / 8;
	if ((size_t)(m->text_end - s) < n || memcmp(m->captures[i].at, s, n) != 0)
		return NULL;
	return s + n;
}

/* "%f[set]": between what is not in the set and what is. Behind the set, or NULL. */
static const char *
match_frontier(struct match *m, const char *s, const char *p)
{
	if (p >= m->pattern_end || *p != '[')
		luaL_error(m->L, "missing '[' after '%%f' in pattern");
	const char *end = single_end(m, p);
	int before = s == m->text ? 0 : (unsigned char)s[-1];
	int after = s == m->text_end ? 0 : (unsigned char)*s;
	return !set_holds(before, p + 1, end - 1) && set_holds(after, p + 1, end - 1) ? end : NULL;
}

static const char *
run_items(struct match *m, const char *s, const char *p)
{
	while (p < m->pattern_end) {
		step(m);
		if (*p == '(')
			return open_capture(m, s, p + 1);
		if (*p == ')')
			return close_capture(m, s, p + 1);
		if (*p == '$' && p + 1 == m->pattern_end)
			return s == m->text_end ? s : NULL;
		if (*p == '%' && p + 1 < m->pattern_end && p[1] == 'b') {
			s = match_balance(m, s, p + 2);
			if (!s)
				return NULL;
			p += 4;
			continue;
		}
		if (*p == '%' && p + 1 < m->pattern_end && p[1] == 'f') {
			p = match_frontier(m, s, p + 2);
			if (!p)
				return NULL;
			continue;
		}
		if (*p == '%' && p + 1 < m->pattern_end && isdigit((unsigned char)p[1])) {
			s = match_back(m, s, p[1]);
			if (!s)
				return NULL;
			p += 2;
			continue;
		}
		const char *end = single_end(m, p);
		char repeat = end < m->pattern_end ? *end : '\0';
		if (repeat == '*')
			return most_first(m, s, p, end);
		if (repeat == '-')
			return least_first(m, s, p, end);
		bool holds = single_holds(m, s, p, end);
		if (repeat == '+')
			return holds ? most_first(m, s + 1, p, end) : NULL;
		if (repeat == '?') {
			const char *found = holds ? run(m, s + 1, end + 1) : NULL;
			if (found)
				return found;
			p = end + 1;
			continue;
		}
		if (!holds)
			return NULL;
		s++;
		p = end;
	}
	return s;
}

static const char *
run(struct match *m, const char *s, const char *p)
{
	if (++m->depth > DEPTH_MAX)
		luaL_error(m->L, "pattern too complex");
	const char *found = run_items(m, s, p);
	m->depth--;
	return found;
}

static void
push_capture(struct match *m, int i, const char *s, const char *e)
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
push_captures(struct match *m, const char *s, const char *e)
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
search(struct match *m, const char **s, struct span pattern)
{
	bool anchored = pattern.n && pattern.p[0] == '^';
	for (;; (*s)++) {
		m->captures_n = 0;
		const char *end = run(m, *s, pattern.p + anchored);
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
	struct match m;
	begin(&m, L, meter_of(L), text, pattern);
	const char *s = text.p + from;
	const char *end = search(&m, &s, pattern);
	settle(&m);
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
	struct match m;
	begin(&m, L, meter_of(L), span_make(text, text_n), span_make(pattern, pattern_n));
	for (const char *s = text + from; from <= text_n && s <= m.text_end; s++) {
		m.captures_n = 0;
		const char *end = run(&m, s, pattern);
		if (!end)
			continue;
		settle(&m);
		lua_pushinteger(L, end - text + (end == s));
		lua_replace(L, lua_upvalueindex(4));
		return push_captures(&m, s, end);
	}
	settle(&m);
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
add_template(struct match *m, luaL_Buffer *out, const char *s, const char *e)
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
add_replacement(struct match *m, luaL_Buffer *out, const char *s, const char *e)
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
	struct match m;
	const char *s = text.p;
	lua_Integer n = 0;
	begin(&m, L, meter_of(L), text, pattern);
	while (n < most) {
		m.captures_n = 0;
		m.depth = 0;
		const char *end = run(&m, s, pattern.p + anchored);
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
	settle(&m);
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
