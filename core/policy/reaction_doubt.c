/*
 * Four ways not to match, all seen in shipped rules of others: nothing begins so;
 * a backslash too many, so that the reply itself would need one; the shape of a raw
 * reply of several lines, of which the code stands once here; and a rule before it
 * that matches as much and always stops (one with a threshold does not).
 *
 * A fifth one matches, but not what was meant: escapes as Lua's patterns have them,
 * "RP%-001". A percent sign at the end of a number stands for itself.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/reaction_doubt.h"

static bool
each_literal(const struct literals *literals, bool (*fn)(struct span literal, struct span what), struct span what)
{
	for (unsigned i = 0; i < literals->n; i++)
		if (!fn(span_make(literals->literals[i].text, literals->literals[i].n), what))
			return false;
	return literals->n > 0;
}

static bool
contains(struct span literal, struct span what)
{
	return span_find_text(literal, what) != SIZE_MAX;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "550-5.7.1" */
static bool
is_raw(struct span literal, struct span unused)
{
	for (size_t i = 0; i + 6 <= literal.n; i++) {
		const char *p = literal.p + i;
		if (p[0] >= '2' && p[0] <= '5' && is_digit(p[1]) && is_digit(p[2]) && p[3] == '-' && (p[4] == '2' || p[4] == '4' || p[4] == '5') &&
		    p[5] == '.')
			return true;
	}
	return false;
}

/* Whether all that j matches is matched by i as well, as far as can be seen. */
static bool
covers(const struct reaction *i, const struct reaction *j, const struct literals *literals_of_j)
{
	static const char *const anything[] = { ".", ".*", ".+", "^", "^.", "^.*", "^.*$", "^.+$" };
	struct span pattern = span_text(i->pattern);
	char folded[LITERAL_MAX];
	if (reaction_stages(j) & ~reaction_stages(i))
		return false;
	if (strcmp(i->pattern, j->pattern) == 0)
		return true;
	for (size_t k = 0; k < countof(anything); k++)
		if (strcmp(i->pattern, anything[k]) == 0)
			return true;
	if (!literal_is_plain(pattern) || pattern.n > LITERAL_MAX)
		return false;
	for (size_t k = 0; k < pattern.n; k++)
		folded[k] = (char)literal_fold((unsigned char)pattern.p[k]);
	return each_literal(literals_of_j, contains, span_make(folded, pattern.n));
}

static const char *
shadow(struct loader *loader, const struct reaction_part *part, unsigned j, const struct literals *literals)
{
	for (unsigned i = 0; i < j; i++) {
		const struct reaction *before = &part->reactions[i];
		if (before->stop && before->after_n == 0 && covers(before, &part->reactions[j], literals))
			return arena_printf(&loader->ruleset->arena, "\"%s\" (%s:%d) matches all that it does, and stops", before->pattern,
					    before->where.file, before->where.line);
	}
	return NULL;
}

static const char *
find_doubt(struct loader *loader, const struct reaction_part *part, unsigned i, struct pattern_scratch *scratch)
{
	struct literals literals;
	literal_extract(span_text(part->reactions[i].pattern), &literals);
	const char *cannot = pattern_cannot(part->patterns[i], scratch);
	if (cannot)
		return cannot;
	if (each_literal(&literals, contains, SPAN("\\")))
		return "it asks for a backslash in the reply: write one backslash less";
	if (each_literal(&literals, is_raw, SPAN("")))
		return "a reply is one line here, with a blank behind the code: write \"550 5.7.1\", not \"550-5.7.1\"";
	return shadow(loader, part, i, &literals);
}

/* The same pattern again is an escalation if it has another threshold, and a slip if not. */
static void
warn_twice(struct loader *loader, const struct reaction_part *part, unsigned j)
{
	const struct reaction *b = &part->reactions[j];
	for (unsigned i = 0; i < j; i++) {
		const struct reaction *a = &part->reactions[i];
		if (strcmp(a->pattern, b->pattern) != 0 || reaction_stages(a) != reaction_stages(b) || a->after_n != b->after_n ||
		    a->after_window_us != b->after_window_us)
			continue;
		loader_warning(loader, &b->where, "backoff: \"%.200s\" stands at %s:%d too: both will apply", b->pattern, a->where.file,
			       a->where.line);
		return;
	}
}

/* "over 80%." and "\d+%)", but not "4%.7" */
static bool
is_percentage(struct span pattern, size_t at)
{
	if (at + 2 < pattern.n && pattern.p[at + 2] != ' ')
		return false;
	char before = at ? pattern.p[at - 1] : ' ';
	return is_digit(before) || (before && strchr("+*)]}", before)) || (before == 'd' && at > 1 && pattern.p[at - 2] == '\\');
}

/* The pattern as it was meant, with backslashes as a Lua string writes them. False: there is no such escape in it. */
static bool
mend_lua_escapes(struct span pattern, char *out, size_t size)
{
	bool found = false;
	size_t n = 0;
	for (size_t i = 0; i < pattern.n && n + 4 < size; i++) {
		char next = i + 1 < pattern.n ? pattern.p[i + 1] : ' ';
		bool escape = pattern.p[i] == '%' && next && strchr("-.+*?()[]^$%dsw", next) && !is_percentage(pattern, i);
		if (!escape) {
			if (pattern.p[i] == '\\')
				out[n++] = '\\';
			out[n++] = pattern.p[i];
			continue;
		}
		found = true;
		i++;
		if (next != '-' && next != '%') {
			out[n++] = '\\';
			out[n++] = '\\';
		}
		out[n++] = next;
	}
	out[n] = '\0';
	return found;
}

static void
warn_lua_escapes(struct loader *loader, const struct reaction *reaction)
{
	char meant[400];
	if (mend_lua_escapes(span_text(reaction->pattern), meant, sizeof(meant)))
		loader_warning(loader, &reaction->where, "backoff: \"%.200s\" asks for a percent sign in the reply, for it is no Lua pattern: "
			       "write \"%s\"", reaction->pattern, meant);
}

void
reaction_doubt(struct loader *loader, struct reaction_part *part)
{
	struct pattern_scratch *scratch = pattern_scratch_new();
	for (unsigned i = 0; i < part->n; i++) {
		struct reaction *reaction = &part->reactions[i];
		reaction->cannot = find_doubt(loader, part, i, scratch);
		if (reaction->cannot)
			loader_warning(loader, &reaction->where, "backoff: \"%.200s\" can never match: %s", reaction->pattern, reaction->cannot);
		else
			warn_twice(loader, part, i);
		warn_lua_escapes(loader, reaction);
	}
	pattern_scratch_free(scratch);
}

static bool
limits(const struct ruleset_block *const *blocks, unsigned n, enum setting_id id)
{
	for (unsigned i = 0; i < n; i++) {
		const struct block_value *value = block_value(blocks[i], id);
		if (value && (setting_table[id].kind == SETTING_COUNT ? value->value.COUNT != UNLIMITED : !rate_unlimited(&value->value.RATE)))
			return true;
	}
	return false;
}

/* Some queue somewhere has a limit of that kind. */
static bool
is_limited(const struct ruleset *ruleset, enum setting_id id)
{
	const char *built_in = (const char *)&setting_built_in + setting_table[id].offset;
	if (setting_table[id].kind == SETTING_COUNT && *(const uint32_t *)(const void *)built_in != UNLIMITED)
		return true;
	bool found = limits(ruleset->blocks, ruleset->blocks_n, id);
	for (unsigned i = 0; i < ruleset->vmtas_n && !found; i++)
		found = limits(ruleset->vmtas[i]->blocks, ruleset->vmtas[i]->blocks_n, id);
	for (unsigned i = 0; i < ruleset->pools_n && !found; i++)
		found = limits(ruleset->pools[i]->blocks, ruleset->pools[i]->blocks_n, id);
	return found;
}

static bool
is_limited_of_vmtas(const struct ruleset *ruleset, enum setting_id id)
{
	for (unsigned i = 0; i < ruleset->vmtas_n; i++) {
		const struct ruleset_vmta *vmta = ruleset->vmtas[i];
		if (id == SETTING_max_smtp_out ? vmta->max_smtp_out != UNLIMITED :
		    !rate_unlimited(id == SETTING_max_connect_rate ? &vmta->max_connect_rate : &vmta->max_msg_rate))
			return true;
	}
	return false;
}

/* Of a whole site its totals are cut, of a whole virtual MTA its own caps; a total is the site's in any case. */
static enum setting_id
cut_by(enum reaction_scope scope, enum setting_id id)
{
	static const struct { enum setting_id own, total; } shared[] = {
		{ SETTING_max_smtp_out, SETTING_total_max_smtp_out },
		{ SETTING_max_connect_rate, SETTING_total_max_connect_rate },
		{ SETTING_max_msg_rate, SETTING_total_max_msg_rate },
	};
	for (size_t i = 0; i < countof(shared); i++) {
		if (scope == REACTION_SITE && id == shared[i].own)
			return shared[i].total;
		if (scope == REACTION_VMTA && id == shared[i].total)
			return shared[i].own;
	}
	return id;
}

static bool
is_cap_of_vmta(enum setting_id id)
{
	return id == SETTING_max_smtp_out || id == SETTING_max_connect_rate || id == SETTING_max_msg_rate;
}

struct percents { struct loader *loader; bool asked[2][SETTINGS_N], limited[2][SETTINGS_N]; };

static void
doubt_percent(struct percents *percents, const struct reaction *reaction, const struct tightening *t)
{
	struct loader *loader = percents->loader;
	enum setting_id id = cut_by(reaction->scope, t->setting);
	bool of_vmta = reaction->scope == REACTION_VMTA && is_cap_of_vmta(id);
	if (!percents->asked[of_vmta][id])
		percents->limited[of_vmta][id] = of_vmta ? is_limited_of_vmtas(loader->ruleset, id) : is_limited(loader->ruleset, id);
	percents->asked[of_vmta][id] = true;
	if (!percents->limited[of_vmta][id])
		loader_warning(loader, &reaction->where, "backoff: %s: a percent of \"unlimited\" is unlimited: %s declares %s",
			       setting_name(t->setting), of_vmta ? "no vmta" : "nothing", setting_name(id));
}

void
reaction_doubt_percents(struct loader *loader)
{
	const struct reaction_book *book = loader->ruleset->reactions;
	struct percents percents = { .loader = loader };
	for (unsigned p = 0; p < reaction_book_parts_n(book); p++) {
		const struct reaction_part *part = reaction_book_part(book, p);
		for (unsigned i = 0; i < part->n; i++)
			for (unsigned t = 0; t < part->reactions[i].tightenings_n; t++)
				if (part->reactions[i].tightenings[t].is_percent)
					doubt_percent(&percents, &part->reactions[i], &part->reactions[i].tightenings[t]);
	}
}
