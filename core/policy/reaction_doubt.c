/*
 * Four ways not to match, all seen in shipped rules of others: nothing begins so;
 * a backslash too many, so that the reply itself would need one; the shape of a raw
 * reply of several lines, of which the code stands once here; and a rule before it
 * that matches as much and always stops (one with a threshold does not).
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

void
reaction_doubt_percents(struct loader *loader)
{
	const struct reaction_book *book = loader->ruleset->reactions;
	bool asked[SETTINGS_N] = { false }, limited[SETTINGS_N] = { false };
	for (unsigned p = 0; p < reaction_book_parts_n(book); p++) {
		const struct reaction_part *part = reaction_book_part(book, p);
		for (unsigned i = 0; i < part->n; i++) {
			const struct reaction *reaction = &part->reactions[i];
			/* Of a whole virtual MTA, its own caps are cut. */
			for (unsigned t = 0; t < reaction->tightenings_n && reaction->scope != REACTION_VMTA; t++) {
				enum setting_id id = reaction->tightenings[t].setting;
				if (!reaction->tightenings[t].is_percent)
					continue;
				if (!asked[id])
					limited[id] = is_limited(loader->ruleset, id);
				asked[id] = true;
				if (!limited[id])
					loader_warning(loader, &reaction->where,
						       "backoff: %s: a percent of \"unlimited\" is unlimited: nothing declares %s", setting_name(id),
						       setting_name(id));
			}
		}
	}
}
