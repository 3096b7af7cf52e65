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
#include "policy/strpat_match.h"

#include <ctype.h>

#define DEPTH_MAX 200
#define STEPS_PER_INSTRUCTION 4

void
strpat_match_settle(struct strpat_match *m)
{
	uint64_t instructions = m->steps / STEPS_PER_INSTRUCTION;
	m->steps = 0;
	m->meter->charge(m->L, instructions);
}

static void
step(struct strpat_match *m)
{
	if (++m->steps > m->steps_max)
		strpat_match_settle(m);
}

void
strpat_match_begin(struct strpat_match *m, lua_State *L, const struct strpat_meter *meter, struct span text, struct span pattern)
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
set_end(struct strpat_match *m, const char *p)
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
single_end(struct strpat_match *m, const char *p)
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
single_holds(struct strpat_match *m, const char *s, const char *p, const char *end)
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
match_balance(struct strpat_match *m, const char *s, const char *p)
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
most_first(struct strpat_match *m, const char *s, const char *p, const char *end)
{
	ptrdiff_t n = 0;
	while (single_holds(m, s + n, p, end))
		n++;
	for (; n >= 0; n--) {
		const char *found = strpat_match_run(m, s + n, end + 1);
		if (found)
			return found;
	}
	return NULL;
}

static const char *
least_first(struct strpat_match *m, const char *s, const char *p, const char *end)
{
	for (;;) {
		const char *found = strpat_match_run(m, s, end + 1);
		if (found)
			return found;
		if (!single_holds(m, s, p, end))
			return NULL;
		s++;
	}
}

static const char *
open_capture(struct strpat_match *m, const char *s, const char *p)
{
	bool position = p < m->pattern_end && *p == ')';
	if (m->captures_n == CAPTURES_MAX)
		luaL_error(m->L, "too many captures");
	m->captures[m->captures_n++] = (struct strpat_capture){ s, position ? CAPTURE_POSITION : CAPTURE_OPEN };
	const char *found = strpat_match_run(m, s, position ? p + 1 : p);
	if (!found)
		m->captures_n--;
	return found;
}

static const char *
close_capture(struct strpat_match *m, const char *s, const char *p)
{
	int i = m->captures_n - 1;
	while (i >= 0 && m->captures[i].len != CAPTURE_OPEN)
		i--;
	if (i < 0)
		luaL_error(m->L, "invalid pattern capture");
	m->captures[i].len = s - m->captures[i].at;
	const char *found = strpat_match_run(m, s, p);
	if (!found)
		m->captures[i].len = CAPTURE_OPEN;
	return found;
}

static const char *
match_back(struct strpat_match *m, const char *s, char digit)
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
match_frontier(struct strpat_match *m, const char *s, const char *p)
{
	if (p >= m->pattern_end || *p != '[')
		luaL_error(m->L, "missing '[' after '%%f' in pattern");
	const char *end = single_end(m, p);
	int before = s == m->text ? 0 : (unsigned char)s[-1];
	int after = s == m->text_end ? 0 : (unsigned char)*s;
	return !set_holds(before, p + 1, end - 1) && set_holds(after, p + 1, end - 1) ? end : NULL;
}

static const char *
run_items(struct strpat_match *m, const char *s, const char *p)
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
			const char *found = holds ? strpat_match_run(m, s + 1, end + 1) : NULL;
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

const char *
strpat_match_run(struct strpat_match *m, const char *s, const char *p)
{
	if (++m->depth > DEPTH_MAX)
		luaL_error(m->L, "pattern too complex");
	const char *found = run_items(m, s, p);
	m->depth--;
	return found;
}
