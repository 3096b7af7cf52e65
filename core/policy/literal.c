/*
 * Recursive descent over  alternation := sequence { "|" sequence },
 * sequence := { atom quantifier* }.
 *
 * A sequence needs all of its atoms, so any one run of plain characters will do:
 * the longest is kept. An alternation needs one of its sequences, so it has texts
 * only if each of them has. Whatever may be absent (a minimum of 0) says nothing;
 * what may repeat ends the run. Everything unknown (options, verbs, references,
 * \x, \Q, a `{` that is no quantifier) makes the whole pattern one that is always
 * tried: wrong in that direction costs time, wrong in the other a rule.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/literal.h"

#define DEPTH_MAX 50

struct parser {
	struct span text;
	size_t      at;
	bool        unknown;
};

static bool
parse_alternation(struct parser *parser, unsigned depth, struct literals *out);

static int
peek(const struct parser *parser, size_t ahead)
{
	return parser->at + ahead < parser->text.n ? (unsigned char)parser->text.p[parser->at + ahead] : -1;
}

static bool
is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
give_up(struct parser *parser)
{
	parser->unknown = true;
	return false;
}

static size_t
least(const struct literals *set)
{
	size_t n = LITERAL_MAX;
	for (unsigned i = 0; i < set->n; i++)
		if (set->literals[i].n < n)
			n = set->literals[i].n;
	return set->n ? n : 0;
}

static void
keep_better(struct literals *best, const struct literals *other)
{
	size_t a = least(best), b = least(other);
	if (b > a || (b == a && other->n < best->n))
		*best = *other;
}

static void
end_run(struct literal *run, struct literals *best)
{
	if (run->n >= LITERAL_MIN) {
		struct literals set = { .n = 1, .literals = { *run } };
		keep_better(best, &set);
	}
	run->n = 0;
}

/* "{3}", "{3,}", "{3,5}" */
static bool
parse_braces(struct parser *parser, bool *optional)
{
	size_t n = 1;
	bool zero = true;
	for (; is_digit(peek(parser, n)); n++)
		zero = zero && peek(parser, n) == '0';
	if (n == 1)
		return give_up(parser);
	if (peek(parser, n) == ',')
		for (n++; is_digit(peek(parser, n));)
			n++;
	if (peek(parser, n) != '}')
		return give_up(parser);
	parser->at += n + 1;
	*optional = *optional || zero;
	return true;
}

/* All that stand here. False: given up. */
static bool
parse_quantifiers(struct parser *parser, bool *any, bool *optional)
{
	*any = *optional = false;
	for (;;) {
		int c = peek(parser, 0);
		if (c == '{') {
			if (!parse_braces(parser, optional))
				return false;
		} else if (c == '*' || c == '+' || c == '?') {
			parser->at++;
			*optional = *optional || c != '+';
		} else {
			return true;
		}
		*any = true;
		if (peek(parser, 0) == '+' || peek(parser, 0) == '?')
			parser->at++;
	}
}

/* Behind a `[`. A class of one plain character is that character (*literal_out); else -1. */
static bool
parse_class(struct parser *parser, int *literal_out)
{
	int c = peek(parser, 0);
	*literal_out = -1;
	if (peek(parser, 1) == ']' && c != '^' && c != '\\' && c != '[' && c != ']' && c >= 0) {
		*literal_out = c;
		parser->at += 2;
		return true;
	}
	parser->at += c == '^';
	parser->at += peek(parser, 0) == ']';
	for (;;) {
		c = peek(parser, 0);
		if (c < 0)
			return give_up(parser);
		parser->at++;
		if (c == ']')
			return true;
		if (c == '\\') {
			int escaped = peek(parser, 0);
			if (escaped < 0 || escaped == 'Q' || escaped == 'E' || escaped == 'c')
				return give_up(parser);
			parser->at++;
		} else if (c == '[' && peek(parser, 0) == ':') {
			size_t n = 1 + (peek(parser, 1) == '^');
			while (is_letter(peek(parser, n)))
				n++;
			if (peek(parser, n) != ':' || peek(parser, n + 1) != ']')
				return give_up(parser);
			parser->at += n + 2;
		} else if (c == '[' && (peek(parser, 0) == '.' || peek(parser, 0) == '=')) {
			return give_up(parser);
		}
	}
}

/* Behind a `\`. */
static bool
parse_escape(struct parser *parser, int *literal_out)
{
	static const char kinds[] = "dDwWsShHvVRXbBAZzGKtnrfea";
	int c = peek(parser, 0);
	*literal_out = -1;
	if (c < 0 || c >= 0x80 || is_digit(c) || (is_letter(c) && !strchr(kinds, c)))
		return give_up(parser);
	parser->at++;
	if (!is_letter(c))
		*literal_out = c;
	return true;
}

/* Behind a `(`: what kind of group. Assertions are read and say nothing. */
static bool
parse_group_kind(struct parser *parser, bool *assertion)
{
	*assertion = false;
	if (peek(parser, 0) == '*')
		return give_up(parser);
	if (peek(parser, 0) != '?')
		return true;
	parser->at += 1 + (peek(parser, 1) == 'P' && peek(parser, 2) == '<');
	int c = peek(parser, 0), next = peek(parser, 1);
	bool behind = c == '<' && (next == '=' || next == '!');
	if (c == ':' || c == '>' || c == '=' || c == '!' || behind) {
		*assertion = behind || c == '=' || c == '!';
		parser->at += 1 + behind;
		return true;
	}
	if ((c != '<' && c != '\'') || !(is_letter(next) || next == '_'))
		return give_up(parser);
	for (parser->at++; is_letter(peek(parser, 0)) || is_digit(peek(parser, 0)) || peek(parser, 0) == '_';)
		parser->at++;
	if (peek(parser, 0) != (c == '<' ? '>' : '\''))
		return give_up(parser);
	parser->at++;
	return true;
}

/* Behind a `(`. */
static bool
parse_group(struct parser *parser, unsigned depth, struct literals *out)
{
	bool assertion;
	if (depth >= DEPTH_MAX || !parse_group_kind(parser, &assertion) || !parse_alternation(parser, depth + 1, out))
		return give_up(parser);
	if (peek(parser, 0) != ')')
		return give_up(parser);
	parser->at++;
	if (assertion)
		out->n = 0;
	return true;
}

/* An atom: a plain character (*literal_out), a group with texts (*set_out), or neither. */
static bool
parse_atom(struct parser *parser, unsigned depth, int *literal_out, struct literals *set_out)
{
	int c = peek(parser, 0);
	*literal_out = -1;
	set_out->n = 0;
	if (c == '*' || c == '+' || c == '?' || c == '{')
		return give_up(parser);
	parser->at++;
	switch (c) {
	case '.': case '^': case '$': return true;
	case '[':  return parse_class(parser, literal_out);
	case '\\': return parse_escape(parser, literal_out);
	case '(':  return parse_group(parser, depth, set_out);
	default:   *literal_out = c; return true;
	}
}

static bool
parse_sequence(struct parser *parser, unsigned depth, struct literals *best)
{
	struct literal run = { 0 };
	struct literals set;
	best->n = 0;
	while (peek(parser, 0) >= 0 && peek(parser, 0) != '|' && peek(parser, 0) != ')') {
		int literal;
		bool quantified, optional;
		if (!parse_atom(parser, depth, &literal, &set) || !parse_quantifiers(parser, &quantified, &optional))
			return false;
		if (literal < 0 || optional || run.n == LITERAL_MAX)
			end_run(&run, best);
		if (literal >= 0 && !optional)
			run.text[run.n++] = (char)literal_fold((unsigned char)literal);
		if (literal >= 0 && quantified)
			end_run(&run, best);
		if (set.n && !optional)
			keep_better(best, &set);
	}
	end_run(&run, best);
	return true;
}

static void
join(struct literals *out, const struct literals *other, bool *none)
{
	*none = *none || other->n == 0 || out->n + other->n > LITERALS_MAX;
	for (unsigned i = 0; i < other->n && !*none; i++)
		out->literals[out->n++] = other->literals[i];
}

static bool
parse_alternation(struct parser *parser, unsigned depth, struct literals *out)
{
	struct literals branch;
	bool none = false;
	out->n = 0;
	for (;;) {
		if (!parse_sequence(parser, depth, &branch))
			return false;
		join(out, &branch, &none);
		if (peek(parser, 0) != '|')
			break;
		parser->at++;
	}
	if (none)
		out->n = 0;
	return true;
}

void
literal_extract(struct span pattern, struct literals *out)
{
	struct parser parser = { .text = pattern };
	if (!parse_alternation(&parser, 0, out) || parser.unknown || parser.at < pattern.n)
		out->n = 0;
}

bool
literal_is_plain(struct span pattern)
{
	for (size_t i = 0; i < pattern.n; i++)
		if (!pattern.p[i] || strchr("\\^$.[|()?*+{", pattern.p[i]))
			return false;
	return pattern.n > 0;
}
