/*
 * A match: the rules that look at the stage, cut with those that the filter's pass
 * over the line lets through, then tried in order. What the pass costs depends on
 * the line's length, what follows on how many rules have something to do with it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/reaction_book.h"

struct reaction_scratch {
	struct pattern_scratch *pattern;
	uint64_t *marks;
	unsigned  words;
	uint64_t  cut_off;
};

struct reaction_scratch *
reaction_scratch_new(void)
{
	struct reaction_scratch *scratch = mem_alloc(sizeof(*scratch));
	scratch->pattern = pattern_scratch_new();
	return scratch;
}

void
reaction_scratch_free(struct reaction_scratch *scratch)
{
	if (!scratch)
		return;
	pattern_scratch_free(scratch->pattern);
	free(scratch->marks);
	free(scratch);
}

uint64_t
reaction_cut_off(const struct reaction_scratch *scratch)
{
	return scratch->cut_off;
}

static bool
matches(const struct reaction_part *part, unsigned i, struct reaction_scratch *scratch, struct span line)
{
	enum pattern_answer answer = pattern_match(part->patterns[i], scratch->pattern, line);
	scratch->cut_off += answer == PATTERN_CUT_OFF;
	return answer == PATTERN_YES;
}

/* False: no rule behind this part is to be asked. */
static bool
match_part(const struct reaction_part *part, struct reaction_scratch *scratch, enum smtp_stage stage, struct span line,
	   bool (*fn)(void *ctx, const struct reaction *reaction), void *ctx)
{
	unsigned words = REACTION_WORDS(part->n);
	if (words > scratch->words) {
		scratch->marks = mem_grow(scratch->marks, words * sizeof(*scratch->marks));
		scratch->words = words;
	}
	if (words)
		reaction_filter_mark(part->filter, line, scratch->marks);
	for (unsigned word = 0; word < words; word++) {
		for (uint64_t left = scratch->marks[word] & part->at_stage[stage][word]; left; left &= left - 1) {
			unsigned i = word * 64 + (unsigned)__builtin_ctzll(left);
			if (matches(part, i, scratch, line) && fn(ctx, &part->reactions[i]) && part->reactions[i].stop)
				return false;
		}
	}
	return true;
}

void
reaction_match(const struct reaction_list *list, struct reaction_scratch *scratch, enum smtp_stage stage, struct span line,
	       bool (*fn)(void *ctx, const struct reaction *reaction), void *ctx)
{
	check(stage < REACTION_STAGES);
	for (unsigned i = 0; list && i < list->parts_n; i++)
		if (!match_part(list->parts[i], scratch, stage, line, fn, ctx))
			return;
}

unsigned
reaction_list_n(const struct reaction_list *list)
{
	unsigned n = 0;
	for (unsigned i = 0; list && i < list->parts_n; i++)
		n += list->parts[i]->n;
	return n;
}

const struct reaction *
reaction_list_at(const struct reaction_list *list, unsigned at)
{
	unsigned part = 0;
	for (; part < list->parts_n && at >= list->parts[part]->n; part++)
		at -= list->parts[part]->n;
	check(part < list->parts_n);
	return &list->parts[part]->reactions[at];
}
