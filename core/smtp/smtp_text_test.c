/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_text.h"

static void
measures_utf8_sequences(void **state)
{
	static const struct { const char *text; size_t n; } rows[] = {
		{ "a", 1 }, { "\xc3\xa4", 2 }, { "\xe2\x82\xac", 3 }, { "\xf0\x9f\x98\x80", 4 },
		{ "", 0 }, { "\x80", 0 }, { "\xc0\xaf", 0 }, { "\xc1\xbf", 0 }, { "\xe0\x80\xaf", 0 }, { "\xed\xa0\x80", 0 },
		{ "\xf0\x80\x80\x80", 0 }, { "\xf4\x90\x80\x80", 0 }, { "\xf5\x80\x80\x80", 0 }, { "\xff", 0 },
		{ "\xe2\x82", 0 }, { "\xc3", 0 }, { "\xc3z", 0 }, { "\xe2\x82z", 0 },
	};

	for (size_t i = 0; i < countof(rows); i++)
		assert_int_equal(smtp_text_utf8(span_text(rows[i].text)), rows[i].n);
}

static void
makes_text_harmless(void **state)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "plain text", "plain text" }, { "a\r\nb", "a??b" }, { "\x1b[31m", "?[31m" }, { "\x7f", "?" },
		{ "\xc2\x9b" "1m", "?1m" }, { "\xc2\xa0", "\xc2\xa0" }, { "\xff\xc3\xa4", "?\xc3\xa4" }, { "\xe2\x82", "??" },
		{ "\xe2\x80\xa8" "a\xe2\x80\xaegnp", "?a?gnp" }, { "\xe2\x81\xa6.\xe2\x81\xa9", "?.?" },
		{ "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5", "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5" },
	};
	char out[40];

	for (size_t i = 0; i < countof(rows); i++) {
		size_t n = smtp_text_clean(span_text(rows[i].in), out, sizeof out);

		assert_int_equal(n, strlen(rows[i].out));
		assert_memory_equal(out, rows[i].out, n);
	}
}

static void
cuts_between_characters(void **state)
{
	char out[4] = "zzz";

	assert_int_equal(smtp_text_clean(SPAN("a\xe2\x82\xac"), out, 3), 1);
	assert_string_equal(out, "azz");
	assert_int_equal(smtp_text_clean(SPAN("abcdef"), out, 3), 3);
}

static void
knows_printable_text(void **state)
{
	assert_true(smtp_text_printable(SPAN("NOOP ~!")));
	assert_true(smtp_text_printable(SPAN("")));
	assert_false(smtp_text_printable(SPAN("a\tb")));
	assert_false(smtp_text_printable(SPAN("a\x7f")));
	assert_false(smtp_text_printable(SPAN("\xc3\xa4")));
	assert_false(smtp_text_printable(SPAN("a\0b")));
}

/* Eight bytes are looked at together: each byte at each place of a text of each length must be found. */
static void
every_byte_is_judged_wherever_it_stands(void **state)
{
	char text[24], out[24];

	for (size_t n = 1; n <= sizeof text; n++) {
		for (size_t at = 0; at < n; at++) {
			for (unsigned c = 0; c < 256; c++) {
				bool plain = c >= ' ' && c <= '~';

				memset(text, c % 2 ? ' ' : '~', n);
				text[at] = (char)c;
				assert_int_equal(smtp_text_printable(span_make(text, n)), plain);
				assert_int_equal(smtp_text_clean(span_make(text, n), out, n), n);
				assert_int_equal(out[at] == (char)c && (c != '?'), plain && c != '?');
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(measures_utf8_sequences),
		cmocka_unit_test(makes_text_harmless),
		cmocka_unit_test(cuts_between_characters),
		cmocka_unit_test(knows_printable_text),
		cmocka_unit_test(every_byte_is_judged_wherever_it_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
