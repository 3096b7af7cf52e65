/* Matching a list: the same as trying each pattern alone, in order, by stage, until a rule stops it. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "policy/reaction_book.h"
#include "util/prng.h"

struct world {
	struct arena arena;
	struct reaction_book *book;
	struct reaction_scratch *scratch;
	struct pattern_scratch *alone;
};

static void
set_up(struct world *w)
{
	arena_init(&w->arena);
	w->book = reaction_book_new(&w->arena);
	w->scratch = reaction_scratch_new();
	w->alone = pattern_scratch_new();
}

static void
tear_down(struct world *w)
{
	reaction_book_free(w->book);
	reaction_scratch_free(w->scratch);
	pattern_scratch_free(w->alone);
	arena_fini(&w->arena);
}

static const struct reaction_part *
add_part(struct world *w, const struct reaction *rules, unsigned n, bool inherit)
{
	struct reaction_part part = { .n = n, .inherit = inherit };
	part.reactions = arena_alloc(&w->arena, (n + 1) * sizeof(*part.reactions));
	part.patterns = arena_alloc(&w->arena, (n + 1) * sizeof(*part.patterns));
	for (unsigned i = 0; i < n; i++) {
		struct err err = { 0 };
		part.reactions[i] = rules[i];
		part.reactions[i].name = rules[i].name ? rules[i].name : rules[i].pattern;
		part.patterns[i] = reaction_book_pattern(w->book, span_text(rules[i].pattern), &err);
		if (!part.patterns[i])
			fail_msg("%s: %s", rules[i].pattern, err.text);
	}
	return reaction_book_add(w->book, &part);
}

struct seen { char text[500]; const char *without; };

static bool
note(void *ctx, const struct reaction *reaction)
{
	struct seen *seen = ctx;
	size_t used = strlen(seen->text);
	snprintf(seen->text + used, sizeof(seen->text) - used, "%s ", reaction->name);
	return !seen->without || strcmp(reaction->name, seen->without) != 0;
}

static void
expect(struct world *w, const struct reaction_list *list, enum smtp_stage stage, const char *line, const char *names)
{
	struct seen seen = { .text = "" };
	reaction_match(list, w->scratch, stage, span_text(line), note, &seen);
	if (strcmp(seen.text, names) != 0)
		fail_msg("%s: %s, not %s", line, seen.text, names);
}

static void
all_that_match_are_told_in_order(void **state)
{
	static const struct reaction rules[] = {
		{ .name = "a", .pattern = "421" }, { .name = "b", .pattern = "RP-001" }, { .name = "c", .pattern = "x|q" },
		{ .name = "d", .pattern = "too many" }, { .name = "e", .pattern = "^421 rp-00[1-9]" },
	};
	struct world w;
	set_up(&w);
	const struct reaction_list *list = &add_part(&w, rules, countof(rules), false)->alone;
	expect(&w, list, SMTP_STAGE_MAIL, "421 RP-001 too many", "a b d e ");
	expect(&w, list, SMTP_STAGE_MAIL, "550 TOO MANY x", "c d ");
	expect(&w, list, SMTP_STAGE_MAIL, "", "");
	expect(&w, NULL, SMTP_STAGE_MAIL, "421", "");
	assert_int_equal(reaction_list_n(list), 5);
	assert_int_equal(reaction_list_n(NULL), 0);
	assert_string_equal(reaction_list_at(list, 4)->name, "e");
	tear_down(&w);
}

static void
a_rule_with_stop_ends_it(void **state)
{
	static const struct reaction rules[] = {
		{ .name = "a", .pattern = "421" }, { .name = "b", .pattern = "RP", .stop = true }, { .name = "c", .pattern = "421" },
	};
	struct world w;
	set_up(&w);
	const struct reaction_list *list = &add_part(&w, rules, countof(rules), false)->alone;
	expect(&w, list, SMTP_STAGE_RCPT, "421 RP-001", "a b ");
	expect(&w, list, SMTP_STAGE_RCPT, "421 XX-001", "a c ");
	tear_down(&w);
}

static void
a_rule_with_stop_that_does_not_apply_ends_nothing(void **state)
{
	static const struct reaction rules[] = {
		{ .name = "a", .pattern = "421", .stop = true }, { .name = "b", .pattern = "RP", .stop = true }, { .name = "c", .pattern = "421" },
	};
	struct seen seen = { .without = "a" };
	struct world w;
	set_up(&w);
	const struct reaction_list *list = &add_part(&w, rules, countof(rules), false)->alone;
	reaction_match(list, w.scratch, SMTP_STAGE_RCPT, SPAN("421 RP-001"), note, &seen);
	assert_string_equal(seen.text, "a b ");
	tear_down(&w);
}

static void
rules_look_at_their_stages_only(void **state)
{
	static const struct reaction rules[] = {
		{ .name = "any", .pattern = "timed" },
		{ .name = "connect", .pattern = "timed", .stages = 1 << SMTP_STAGE_CONNECT | 1 << SMTP_STAGE_GREETING },
		{ .name = "greeting", .pattern = "timed", .stages = 1 << SMTP_STAGE_GREETING },
		{ .name = "final", .pattern = "timed", .stages = 1 << SMTP_STAGE_FINAL },
	};
	struct world w;
	set_up(&w);
	const struct reaction_list *list = &add_part(&w, rules, countof(rules), false)->alone;
	expect(&w, list, SMTP_STAGE_CONNECT, "400 connect timed out", "connect ");
	expect(&w, list, SMTP_STAGE_GREETING, "421 timed out", "any connect greeting ");
	expect(&w, list, SMTP_STAGE_RCPT, "421 timed out", "any ");
	expect(&w, list, SMTP_STAGE_FINAL, "421 timed out", "any final ");
	tear_down(&w);
}

static void
parts_follow_one_another_and_lists_are_the_same_each_time(void **state)
{
	static const struct reaction first[] = { { .name = "a", .pattern = "421" } }, second[] = { { .name = "b", .pattern = "421", .stop = true } },
		third[] = { { .name = "c", .pattern = "421" } };
	struct world w;
	set_up(&w);
	const struct reaction_part *parts[] = { add_part(&w, first, 1, true), add_part(&w, second, 1, true), add_part(&w, third, 1, false) };
	const struct reaction_part *others[] = { parts[0], parts[2] };
	const struct reaction_list *list = reaction_book_list(w.book, parts, 3);
	expect(&w, list, SMTP_STAGE_MAIL, "421 x", "a b ");
	expect(&w, reaction_book_list(w.book, others, 2), SMTP_STAGE_MAIL, "421 x", "a c ");
	assert_ptr_equal(list, reaction_book_list(w.book, parts, 3));
	assert_ptr_not_equal(list, reaction_book_list(w.book, parts, 2));
	assert_ptr_equal(reaction_book_list(w.book, parts, 1), &parts[0]->alone);
	assert_null(reaction_book_list(w.book, parts, 0));
	assert_int_equal(reaction_list_n(list), 3);
	assert_string_equal(reaction_list_at(list, 2)->name, "c");
	tear_down(&w);
}

static void
a_pattern_cut_off_does_not_match_and_is_counted(void **state)
{
	static const struct reaction rules[] = { { .name = "slow", .pattern = "(a+)+$" }, { .name = "b", .pattern = "550" } };
	struct world w;
	set_up(&w);
	char line[200] = "550 ";
	memset(line + 4, 'a', 150);
	line[154] = '!';
	const struct reaction_list *list = &add_part(&w, rules, countof(rules), false)->alone;
	expect(&w, list, SMTP_STAGE_MAIL, line, "b ");
	assert_int_equal(reaction_cut_off(w.scratch), 1);
	tear_down(&w);
}

/* ---- the set against each pattern alone ---- */

static const char *const words[] = { "421", "4.7.0", "rate", "limit", "RP-001", "too many", "spam", "x", "y", " ", "-", "TSS04", "abc", "ab", "bc" };

static void
add_word(struct prng *prng, char *out, size_t size)
{
	const char *word = words[prng_below(prng, countof(words))];
	size_t used = strlen(out);
	for (; *word && used + 3 < size; word++) {
		if (*word == '.')
			out[used++] = '\\';
		out[used++] = *word;
	}
	out[used] = '\0';
}

static void
add_text(char *out, size_t size, const char *text)
{
	size_t used = strlen(out);
	snprintf(out + used, size - used, "%s", text);
}

static void
add_sequence(struct prng *prng, unsigned depth, char *out, size_t size)
{
	static const char *const atoms[] = { ".", ".*", "\\d", "\\s+", "[a-c]", "[^x]", "[.]", "\\b", "^", "$", "(?=4)", "(?!x)" };
	static const char *const quantifiers[] = { "", "", "", "", "?", "*", "+", "{0,2}", "{2}", "+?", "*+" };
	for (uint64_t left = 1 + prng_below(prng, 4); left; left--) {
		uint64_t choice = prng_below(prng, 10);
		if (strlen(out) + 100 > size)
			return;
		if (choice < 5) {
			add_word(prng, out, size);
		} else if (choice < 8 || depth == 0) {
			add_text(out, size, atoms[prng_below(prng, countof(atoms))]);
			continue;
		} else {
			add_text(out, size, prng_below(prng, 2) ? "(" : "(?:");
			add_sequence(prng, depth - 1, out, size);
			while (prng_below(prng, 2)) {
				add_text(out, size, "|");
				add_sequence(prng, depth - 1, out, size);
			}
			add_text(out, size, ")");
		}
		add_text(out, size, quantifiers[prng_below(prng, countof(quantifiers))]);
	}
}

static void
random_line(struct prng *prng, char *out, size_t size)
{
	out[0] = '\0';
	for (uint64_t left = prng_below(prng, 8); left; left--)
		add_text(out, size, words[prng_below(prng, countof(words))]);
	for (char *c = out; *c; c++)
		if (*c >= 'a' && *c <= 'z' && prng_below(prng, 4) == 0)
			*c -= 0x20;
}

#define RULES 130

struct marks { const struct reaction *base; bool seen[RULES]; unsigned last; };

static bool
mark(void *ctx, const struct reaction *reaction)
{
	struct marks *marks = ctx;
	unsigned i = (unsigned)(reaction - marks->base);
	assert_true(i < RULES && !marks->seen[i] && i >= marks->last);
	marks->seen[i] = true;
	marks->last = i;
	return true;
}

static void
the_set_matches_what_each_pattern_alone_matches(void **state)
{
	struct prng prng;
	unsigned matched = 0, filtered = 0;
	prng_seed(&prng, 7);
	for (int list = 0; list < 25; list++) {
		struct world w;
		struct reaction rules[RULES] = { { 0 } };
		set_up(&w);
		for (unsigned i = 0; i < RULES; i++) {
			struct literals literals;
			char pattern[600];
			do {
				pattern[0] = '\0';
				add_sequence(&prng, 2, pattern, sizeof(pattern));
			} while (!reaction_book_pattern(w.book, span_text(arena_strdup(&w.arena, pattern)), NULL));
			rules[i].pattern = arena_strdup(&w.arena, pattern);
			literal_extract(span_text(pattern), &literals);
			filtered += literals.n > 0;
		}
		const struct reaction_part *part = add_part(&w, rules, RULES, false);
		for (int lines = 0; lines < 200; lines++) {
			struct marks marks = { .base = part->reactions };
			char line[300];
			random_line(&prng, line, sizeof(line));
			reaction_match(&part->alone, w.scratch, SMTP_STAGE_MAIL, span_text(line), mark, &marks);
			for (unsigned i = 0; i < RULES; i++) {
				bool alone = pattern_match(part->patterns[i], w.alone, span_text(line)) == PATTERN_YES;
				matched += alone;
				if (alone != marks.seen[i])
					fail_msg("%s on %s: %d alone", rules[i].pattern, line, alone);
			}
		}
		tear_down(&w);
	}
	/* The test means something only if rules do match and are filtered. */
	assert_true(matched > 10000);
	assert_true(filtered > 25 * RULES / 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_match_are_told_in_order),
		cmocka_unit_test(a_rule_with_stop_ends_it),
		cmocka_unit_test(a_rule_with_stop_that_does_not_apply_ends_nothing),
		cmocka_unit_test(rules_look_at_their_stages_only),
		cmocka_unit_test(parts_follow_one_another_and_lists_are_the_same_each_time),
		cmocka_unit_test(a_pattern_cut_off_does_not_match_and_is_counted),
		cmocka_unit_test(the_set_matches_what_each_pattern_alone_matches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
