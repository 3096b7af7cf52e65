/* Borrowed bytes. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/span.h"

static void
finds_bytes_and_texts(void **state)
{
	assert_int_equal(span_find(SPAN("abcb"), 'b'), 1);
	assert_true(span_find(SPAN("abc"), 'x') == SIZE_MAX);
	assert_true(span_find(span_make(NULL, 0), 'x') == SIZE_MAX);
	assert_int_equal(span_find(span_make("a\0b", 3), 'b'), 2);
	assert_int_equal(span_find_text(SPAN("foobar"), SPAN("bar")), 3);
	assert_true(span_find_text(SPAN("ba"), SPAN("bar")) == SIZE_MAX);
	assert_int_equal(span_find_text(SPAN("x"), SPAN("")), 0);
}

static void
compares_with_and_without_case(void **state)
{
	assert_true(span_eq(SPAN("abc"), SPAN("abc")));
	assert_false(span_eq(SPAN("abc"), SPAN("abC")));
	assert_false(span_eq(SPAN("abc"), SPAN("ab")));
	assert_true(span_eq(span_make(NULL, 0), SPAN("")));
	assert_true(span_eq_nocase(SPAN("MAIL@[`{"), SPAN("mail@[`{")));
	assert_false(span_eq_nocase(SPAN("@"), SPAN("`")));
	assert_false(span_eq_nocase(SPAN("["), SPAN("{")));
	assert_false(span_eq_nocase(SPAN("\xc4"), SPAN("\xe4")));
	assert_true(span_starts(SPAN("mail from"), SPAN("mail")));
	assert_false(span_starts(SPAN("Mail from"), SPAN("mail")));
	assert_false(span_starts(SPAN("ma"), SPAN("mail")));
	assert_true(span_starts_nocase(SPAN("MAIL FROM"), SPAN("mail")));
	assert_true(span_ends_nocase(SPAN("mx.GOOGLE.com"), SPAN(".google.COM")));
	assert_false(span_ends_nocase(SPAN("com"), SPAN(".com")));
	assert_true(span_ends_nocase(SPAN("x"), SPAN("")));
}

static void
trims_blanks_and_tabs(void **state)
{
	assert_true(span_eq(span_trim(SPAN(" \t a b\t ")), SPAN("a b")));
	assert_int_equal(span_trim(SPAN(" \t ")).n, 0);
	assert_true(span_eq(span_trim(SPAN("\r a \n")), SPAN("\r a \n")));
}

static void
a_clone_is_its_own_and_ends(void **state)
{
	char text[] = "abc";
	struct span copy = span_clone(span_text(text));
	text[0] = 'x';
	assert_string_equal(copy.p, "abc");
	assert_int_equal(copy.n, 3);
	free((char *)copy.p);
	copy = span_clone(span_make(NULL, 0));
	assert_string_equal(copy.p, "");
	free((char *)copy.p);
}

static void
splits_at_a_byte(void **state)
{
	struct span rest = SPAN("a,b,,c"), part;
	static const char *const parts[] = { "a", "b", "", "c" };
	for (size_t i = 0; i < countof(parts); i++) {
		assert_true(span_split(&rest, ',', &part));
		assert_true(span_eq(part, span_text(parts[i])));
	}
	assert_false(span_split(&rest, ',', &part));
	rest = SPAN("");
	assert_false(span_split(&rest, ',', &part));
}

static void
reads_decimal_numbers_up_to_a_bound(void **state)
{
	static const struct { const char *text; uint64_t max; bool ok; uint64_t value; } rows[] = {
		{ "0", 0, true, 0 }, { "1", 0, false, 0 }, { "255", 255, true, 255 }, { "256", 255, false, 0 },
		{ "18446744073709551615", UINT64_MAX, true, UINT64_MAX }, { "18446744073709551616", UINT64_MAX, false, 0 },
		{ "99999999999999999999999", UINT64_MAX, false, 0 }, { "", 9, false, 0 }, { "-1", 9, false, 0 }, { "+1", 9, false, 0 },
		{ " 1", 9, false, 0 }, { "1x", 9, false, 0 }, { "000000000000000000000000007", 9, true, 7 }, { "9", 5, false, 0 },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		uint64_t value = 77;
		assert_int_equal(span_u64(span_text(rows[i].text), rows[i].max, &value), rows[i].ok);
		assert_true(value == (rows[i].ok ? rows[i].value : 77));
	}
}

static void
the_distance_of_names_counts_slips(void **state)
{
	static const struct { const char *a; const char *b; unsigned distance; } rows[] = {
		{ "", "", 0 }, { "abc", "", 3 }, { "", "abc", 3 }, { "abc", "abc", 0 }, { "ABC", "abc", 0 }, { "kitten", "sitting", 3 },
		{ "max_smtp_uot", "max_smtp_out", 2 }, { "abc", "abd", 1 }, { "abc", "bc", 1 },
	};
	for (size_t i = 0; i < countof(rows); i++)
		assert_int_equal(span_distance(span_text(rows[i].a), span_text(rows[i].b)), rows[i].distance);
	char long_name[5000];
	memset(long_name, 'a', sizeof(long_name));
	assert_true(span_distance(span_make(long_name, sizeof(long_name)), SPAN("a")) > 60);
	assert_true(span_distance(SPAN("a"), span_make(long_name, sizeof(long_name))) > 60);
}

/* Of two letters, so that beginnings and overlaps abound; needles on both sides of what is hopped for. */
static void
finds_the_first_of_any_text_in_any(void **state)
{
	char hay[16];
	for (unsigned bits = 0; bits < 1u << sizeof(hay); bits++) {
		for (size_t i = 0; i < sizeof(hay); i++)
			hay[i] = bits >> i & 1 ? 'b' : 'a';
		for (size_t n = 1; n <= 10; n += 3) {
			size_t first = SIZE_MAX;
			for (size_t at = 0; at + n <= 12 && first == SIZE_MAX; at++)
				if (memcmp(hay + at, hay + sizeof(hay) - n, n) == 0)
					first = at;
			assert_int_equal(span_find_text(span_make(hay, 12), span_make(hay + sizeof(hay) - n, n)), first);
		}
	}
}

static void
puts_what_fits_with_a_nul_behind_it(void **state)
{
	char out[5] = "xxxx";
	assert_int_equal(span_put(SPAN("abcd"), out, sizeof(out)), 4);
	assert_string_equal(out, "abcd");
	assert_int_equal(span_put(SPAN("abcde"), out, sizeof(out)), 4);
	assert_string_equal(out, "abcd");
	assert_int_equal(span_put(SPAN("z"), out, 1), 0);
	assert_string_equal(out, "");
	assert_int_equal(span_put(span_text(NULL), out, sizeof(out)), 0);
	assert_string_equal(out, "");
}

static void
a_high_byte_is_found_wherever_it_stands(void **state)
{
	char text[24];
	assert_true(span_is_ascii(SPAN("")));
	for (size_t n = 1; n <= sizeof(text); n++) {
		memset(text, 127, sizeof(text));
		assert_true(span_is_ascii(span_make(text, n)));
		for (size_t at = 0; at < n; at++) {
			text[at] = (char)128;
			assert_false(span_is_ascii(span_make(text, n)));
			text[at] = 0;
		}
		assert_true(span_is_ascii(span_make(text, n)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_bytes_and_texts),
		cmocka_unit_test(compares_with_and_without_case),
		cmocka_unit_test(trims_blanks_and_tabs),
		cmocka_unit_test(a_clone_is_its_own_and_ends),
		cmocka_unit_test(finds_the_first_of_any_text_in_any),
		cmocka_unit_test(splits_at_a_byte),
		cmocka_unit_test(puts_what_fits_with_a_nul_behind_it),
		cmocka_unit_test(a_high_byte_is_found_wherever_it_stands),
		cmocka_unit_test(reads_decimal_numbers_up_to_a_bound),
		cmocka_unit_test(the_distance_of_names_counts_slips),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
