/* What a pattern needs, and that nothing is claimed where the grammar is not known. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "policy/literal.h"

/* Texts joined with '/'; "" where nothing can be said. */
static const struct { const char *pattern, *literals; } cases[] = {
	{ "421 RP-001", "421 rp-001" },
	{ "421 4\\.3\\.2", "421 4.3.2" },
	{ "TSS0[45]", "tss0" },
	{ "4\\.7\\.\\d+ .*rate limit", "rate limit" },
	{ "^5\\d\\d .*spamhaus", "spamhaus" },
	{ "4[.]7[.]1", "4.7.1" },
	{ "too many (connections|sessions)", "too many " },
	{ "(too many|rate limited|throttled)", "too many/rate limited/throttled" },
	{ "(?:abcd|efgh) (?<n>ijklmn|opqrst)", "ijklmn/opqrst" },
	{ "abc|de", "" },
	{ "abc|", "" },
	{ "abcd?", "abc" },
	{ "abcd*ef", "abc" },
	{ "abcd+ef", "abcd" },
	{ "abcd{0}efgh", "efgh" },
	{ "abcd{00,5}", "abc" },
	{ "abc{2}defg", "defg" },
	{ "abc{40,100}defg", "defg" },
	{ "abc{2,}?de", "abc" },
	{ "(abc)?", "" },
	{ "(abc)+", "abc" },
	{ "(abc)*+", "" },
	{ "(abc){2}{0}", "" },
	{ "(?=abc)", "" },
	{ "(?!abc)defg", "defg" },
	{ "(?<!abc)defg", "defg" },
	{ "[^abc]", "" },
	{ "[]abc]def", "def" },
	{ "[[:alpha:]abc]xyz", "xyz" },
	{ "[a\\]]bcd", "bcd" },
	{ "ab", "" },
	{ "a\\bbc", "" },
	{ "foo\\", "" },
	{ "a\\x41bcd", "" },
	{ "\\Qabc\\E", "" },
	{ "(?i)abc", "" },
	{ "(?x)a b c d", "" },
	{ "(*ACCEPT)abc", "" },
	{ "abc(?(?=x)y|z)", "" },
	{ "(abc)\\1", "" },
	{ "abc{,3}", "" },
	{ "abc{x", "" },
	{ "[[.a.]]bcd", "" },
	{ "[\\c]]bcd", "" },
	{ "abc)", "" },
	{ "(abc", "" },
	{ "[abc", "" },
	{ "", "" },
	{ "aaa|bbb|ccc|ddd|eee|fff|ggg|hhh|iii|jjj|kkk|lll|mmm", "" },
	{ "0123456789012345678901234567890123456789", "01234567890123456789012345678901" },
};

static void
each_pattern_needs_what_is_said(void **state)
{
	bool failed = false;
	for (size_t i = 0; i < countof(cases); i++) {
		struct literals literals;
		char got[500] = "";
		size_t used = 0;
		literal_extract(span_text(cases[i].pattern), &literals);
		for (unsigned j = 0; j < literals.n; j++)
			used += (size_t)snprintf(got + used, sizeof(got) - used, "%s%.*s", j ? "/" : "", literals.literals[j].n,
						 literals.literals[j].text);
		if (strcmp(got, cases[i].literals) != 0) {
			failed = true;
			print_error("%s: %s, not %s\n", cases[i].pattern, got, cases[i].literals);
		}
	}
	assert_false(failed);
}

static void
groups_too_deep_say_nothing(void **state)
{
	char pattern[500];
	struct literals literals;
	memset(pattern, '(', 200);
	memset(pattern + 200, 'x', 100);
	memset(pattern + 300, ')', 200);
	literal_extract(span_make(pattern, sizeof(pattern)), &literals);
	assert_int_equal(literals.n, 0);
	literal_extract(span_make(pattern + 190, 120), &literals);
	assert_int_equal(literals.n, 1);
}

static void
a_plain_pattern_has_no_character_with_a_meaning(void **state)
{
	assert_true(literal_is_plain(SPAN("421 RP-001, too many")));
	assert_false(literal_is_plain(SPAN("421 4.3.2")));
	assert_false(literal_is_plain(SPAN("")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_pattern_needs_what_is_said),
		cmocka_unit_test(groups_too_deep_say_nothing),
		cmocka_unit_test(a_plain_pattern_has_no_character_with_a_meaning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
