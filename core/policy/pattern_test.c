/* Patterns: how they match, what stops them, and which can never match a reply. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "policy/pattern.h"

static const struct { const char *pattern, *line; enum pattern_answer answer; } cases[] = {
	{ "421 RP-001", "421 RP-001 too many", PATTERN_YES },
	{ "rp-001", "421 4.7.0 RP-001 too many", PATTERN_YES },
	{ "421 4\\.3\\.2", "421 4.3.20", PATTERN_YES },
	{ "421 4\\.3\\.2", "421 403.2", PATTERN_NO },
	{ "^421", "4.421", PATTERN_NO },
	{ "TSS0[45]", "421 4.7.0 [tss05] deferred", PATTERN_YES },
	{ "\\xe9", "550 \xe9", PATTERN_YES },
	{ ".$", "", PATTERN_NO },
	{ "(a+)+$", "550 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", PATTERN_CUT_OFF },
	{ "(x+x+)+y", "550 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", PATTERN_NO },      /* PCRE2 sees that no y is there */
};

static void
patterns_match_caselessly_anywhere_in_the_line(void **state)
{
	struct pattern_scratch *scratch = pattern_scratch_new();
	for (size_t i = 0; i < countof(cases); i++) {
		struct err err = { 0 };
		struct pattern *pattern = pattern_compile(span_text(cases[i].pattern), &err);
		assert_non_null(pattern);
		if (pattern_match(pattern, scratch, span_text(cases[i].line)) != cases[i].answer)
			fail_msg("%s on %s", cases[i].pattern, cases[i].line);
		pattern_free(pattern);
	}
	pattern_scratch_free(scratch);
}

static void
a_deep_recursion_is_cut_off(void **state)
{
	struct pattern_scratch *scratch = pattern_scratch_new();
	struct pattern *pattern = pattern_compile(SPAN("^(?:(.)(?1)*)*$(?<!x)"), NULL);
	char line[1000];
	memset(line, 'x', sizeof(line));
	assert_non_null(pattern);
	assert_int_equal(pattern_match(pattern, scratch, span_make(line, sizeof(line))), PATTERN_CUT_OFF);
	assert_int_equal(pattern_match(pattern, scratch, SPAN("a")), PATTERN_YES);
	pattern_free(pattern);
	pattern_scratch_free(scratch);
}

static double
cpu_seconds(void)
{
	struct timespec t;
	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Compiled or refused, matched or cut off: a reply is over in a moment, whatever the pattern. */
static void
a_giant_pattern_takes_no_time(void **state)
{
	static const struct { const char *begin, *again, *end; unsigned n; } giants[] = {
		{ "", "(", "", 5000 }, { "", "(a", "", 1000 }, { "", "[", "", 100000 }, { "", "a|", "b", 50000 }, { "", "(?:a?){0,100}", "", 1000 },
		{ "((a{1,1000}){1,1000}){1,1000}", "", "", 0 }, { "(?:x{65535}){65535}", "", "", 0 }, { "(*LIMIT_MATCH=4294967290)(*LIMIT_DEPTH=4294967290)(a+)+$", "", "", 0 },
		{ "(*LIMIT_HEAP=4294967290)(?:(.)(?1)*)*$(?<!x)", "", "", 0 }, { "(?R)?", "", "", 0 }, { "(?=(a+))", "\\1?", "$", 500 }, { "(?:", ".*", "y)", 300 },
		{ "(?<=", "a", ")b", 60000 }, { "^(?>(a|aa)+)+", "(?!a)", "$", 100 }, { "(.)(.)(.)(.)\\4", "\\1*", "z", 300 },
	};
	struct pattern_scratch *scratch = pattern_scratch_new();
	char line[1000];
	memset(line, 'a', sizeof(line));
	for (size_t i = 0; i < countof(giants); i++) {
		struct err err = { 0 };
		size_t each = strlen(giants[i].again), used = 0, size = strlen(giants[i].begin) + each * giants[i].n + strlen(giants[i].end) + 1;
		char *text = mem_alloc(size);
		used = (size_t)snprintf(text, size, "%s", giants[i].begin);
		for (unsigned n = 0; n < giants[i].n; n++, used += each)
			memcpy(text + used, giants[i].again, each);
		snprintf(text + used, size - used, "%s", giants[i].end);
		double began = cpu_seconds();
		struct pattern *pattern = pattern_compile(span_text(text), &err);
		if (pattern)
			pattern_match(pattern, scratch, span_make(line, sizeof(line)));
		else
			assert_true(err.text[0] != '\0');
		if (cpu_seconds() - began > 2)
			fail_msg("case %zu: %.1f s", i, cpu_seconds() - began);
		pattern_free(pattern);
		free(text);
	}
	pattern_scratch_free(scratch);
}

static void
what_is_no_pattern_says_where(void **state)
{
	static const struct { const char *pattern, *text; } wrong[] = {
		{ "421 (x", "at offset 6: missing closing parenthesis" },
		{ "[a", "at offset 2: missing terminating ] for character class" },
		{ "*", "at offset 0: quantifier does not follow a repeatable item" },
		{ "(*UTF)x", "at offset 6: using UTF is disabled by the application" },
	};
	for (size_t i = 0; i < countof(wrong); i++) {
		struct err err = { 0 };
		assert_null(pattern_compile(span_text(wrong[i].pattern), &err));
		assert_string_equal(err.text, wrong[i].text);
	}
}

static void
what_begins_as_no_reply_does_cannot_match(void **state)
{
	static const struct { const char *pattern; bool cannot; } anchored[] = {
		{ "^421", false }, { "^4", false }, { "^5\\d\\d .*x", false }, { "^[45]", false }, { "^421$", false }, { "^", false },
		{ "^\\d+ x", false }, { "^(?:550|421) x", false }, { "^.*x", false }, { "421", false }, { "x^", false }, { "^\\d{3}$", false },
		{ "^2\\d\\d", true }, { "^6", true }, { "^[a-z]", true }, { "^RP-001", true }, { "^ 421", true }, { "^421-", true },
		{ "^421\\.", true }, { "^\\d\\d ", true }, { "^\\d{4}", true }, { "^354", true }, { "^(?:250|[a-f])", true },
	};
	struct pattern_scratch *scratch = pattern_scratch_new();
	for (size_t i = 0; i < countof(anchored); i++) {
		struct pattern *pattern = pattern_compile(span_text(anchored[i].pattern), NULL);
		assert_non_null(pattern);
		if ((pattern_cannot(pattern, scratch) != NULL) != anchored[i].cannot)
			fail_msg("%s", anchored[i].pattern);
		pattern_free(pattern);
	}
	pattern_scratch_free(scratch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_match_caselessly_anywhere_in_the_line),
		cmocka_unit_test(a_deep_recursion_is_cut_off),
		cmocka_unit_test(a_giant_pattern_takes_no_time), cmocka_unit_test(what_is_no_pattern_says_where),
		cmocka_unit_test(what_begins_as_no_reply_does_cannot_match),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
