/*
 * What matching one reply costs with 5, 50 and 500 rules: one that a rule matches, one that none
 * does, and each rule tried alone for comparison; and what a pattern that is cut off costs.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/reaction_book.h"
#include "util/bench.h"

#define ROUNDS 200000

static bool
count(void *ctx, const struct reaction *reaction)
{
	++*(unsigned *)ctx;
	return true;
}

/* As operators write them: codes, enhanced codes, providers' tags, a choice of words. */
static const char *
pattern_of(struct arena *arena, unsigned i)
{
	switch (i % 5) {
	case 0: return arena_printf(arena, "421 RP-%03u", i / 5 + 1);
	case 1: return arena_printf(arena, "4\\.7\\.\\d+ .*rate limit class %u", i);
	case 2: return arena_printf(arena, "^5\\d\\d .*blocked by list%u", i);
	case 3: return arena_printf(arena, "TSS%02u[45]", i);
	default: return arena_printf(arena, "(?:too many messages|throttled) on plan %u", i);
	}
}

static double
each_alone(const struct reaction_part *part, struct pattern_scratch *scratch, struct span line, unsigned rounds)
{
	unsigned matched = 0;
	double start = bench_cpu_s();
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; i < part->n; i++)
			matched += pattern_match(part->patterns[i], scratch, line) == PATTERN_YES;
	check(matched < rounds * part->n);
	return (bench_cpu_s() - start) * 1e9 / rounds;
}

static double
as_a_set(const struct reaction_part *part, struct reaction_scratch *scratch, struct span line, unsigned matches)
{
	unsigned matched = 0;
	double start = bench_cpu_s();
	for (unsigned r = 0; r < ROUNDS; r++)
		reaction_match(&part->alone, scratch, SMTP_STAGE_MAIL, line, count, &matched);
	check(matched == matches * ROUNDS);
	return (bench_cpu_s() - start) * 1e9 / ROUNDS;
}

static void
measure(unsigned n)
{
	struct arena arena;
	arena_init(&arena);
	struct reaction_book *book = reaction_book_new(&arena);
	struct reaction_part part = { .n = n };
	part.reactions = arena_alloc(&arena, n * sizeof(*part.reactions));
	part.patterns = arena_alloc(&arena, n * sizeof(*part.patterns));
	double start = bench_cpu_s();
	for (unsigned i = 0; i < n; i++) {
		part.reactions[i].pattern = part.reactions[i].name = pattern_of(&arena, i);
		part.patterns[i] = reaction_book_pattern(book, span_text(part.reactions[i].pattern), NULL);
		check(part.patterns[i]);
	}
	const struct reaction_part *added = reaction_book_add(book, &part);
	double load = (bench_cpu_s() - start) * 1e3;
	struct reaction_scratch *scratch = reaction_scratch_new();
	struct pattern_scratch *alone = pattern_scratch_new();
	const struct span hit = SPAN("421 RP-001 (SNT004-MC3F21) Unfortunately, some messages from 203.0.113.10 weren't sent. Please try again.");
	const struct span miss = SPAN("450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional delivery");
	bench_tell(as_a_set(added, scratch, hit, 1), "ns", "reaction.%u_rules_one_matches", n);
	bench_tell(as_a_set(added, scratch, miss, 0), "ns", "reaction.%u_rules_none_matches", n);
	bench_tell(each_alone(added, alone, hit, ROUNDS / n), "ns", "reaction.%u_rules_each_alone", n);
	bench_tell(load, "ms", "reaction.%u_rules_compiled", n);
	pattern_scratch_free(alone);
	reaction_scratch_free(scratch);
	reaction_book_free(book);
	arena_fini(&arena);
}

static void
measure_cut_off(void)
{
	struct pattern_scratch *scratch = pattern_scratch_new();
	struct pattern *pattern = pattern_compile(SPAN("(a+)+$"), NULL);
	char line[1000];
	memset(line, 'a', sizeof(line));
	line[999] = '!';
	double start = bench_cpu_s();
	for (int i = 0; i < 100; i++)
		check(pattern_match(pattern, scratch, span_make(line, sizeof(line))) == PATTERN_CUT_OFF);
	bench_tell((bench_cpu_s() - start) * 1e6 / 100, "us", "reaction.cut_off");
	pattern_free(pattern);
	pattern_scratch_free(scratch);
}

int
main(void)
{
	measure(5);
	measure(50);
	measure(500);
	measure_cut_off();
	return 0;
}
