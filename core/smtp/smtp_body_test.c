/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_body.h"

struct row {
	const char         *in;
	size_t              in_n;
	unsigned            line;
	enum smtp_body_stop stop;
	size_t              good;
	unsigned            line_after;
};

#define ROW(in, line, stop, good, after) { in, sizeof(in) - 1, line, SMTP_BODY_##stop, good, after }

static void
stops_where_something_must_be_decided(void **state)
{
	static const struct row rows[] = {
		ROW("", 0, MORE, 0, 0),
		ROW("abc", 0, MORE, 3, 3),
		ROW("abc", 7, MORE, 3, 10),
		ROW("abc\r\n", 0, MORE, 5, 0),
		ROW("abc\r\nde", 0, MORE, 7, 2),
		ROW("abc\r", 0, MORE, 3, 3),
		ROW("\r", 0, MORE, 0, 0),
		ROW("\r\n\r", 0, MORE, 2, 0),
		ROW("\r\n\r\n", 3, MORE, 4, 0),
		ROW(".", 0, DOT, 0, 0),
		ROW(".", 1, MORE, 1, 2),
		ROW("a\r\n.b", 0, DOT, 3, 0),
	};

	for (size_t i = 0; i < countof(rows); i++) {
		unsigned line = rows[i].line;
		size_t good;

		assert_int_equal(smtp_body_scan(span_make(rows[i].in, rows[i].in_n), &line, &good), rows[i].stop);
		assert_int_equal(good, rows[i].good);
		assert_int_equal(line, rows[i].line_after);
	}
}

static void
finds_what_comes_first(void **state)
{
	static const struct row rows[] = {
		ROW("a\nb", 0, BARE_LF, 1, 0),
		ROW("\n", 0, BARE_LF, 0, 0),
		ROW("a\rb", 0, BARE_CR, 1, 0),
		ROW("a\r\r\n", 0, BARE_CR, 1, 0),
		ROW("a\0b\n", 0, NUL, 1, 0),
		ROW("a\nb\0", 0, BARE_LF, 1, 0),
		ROW("a\r\nb\0\r\n", 0, NUL, 4, 0),
		ROW("a\0\r\n.", 0, NUL, 1, 0),
	};

	for (size_t i = 0; i < countof(rows); i++) {
		unsigned line = rows[i].line;
		size_t good;

		assert_int_equal(smtp_body_scan(span_make(rows[i].in, rows[i].in_n), &line, &good), rows[i].stop);
		assert_int_equal(good, rows[i].good);
	}
}

static void
has_a_limit_for_a_line(void **state)
{
	static char text[SMTP_BODY_LINE_MAX + 2];
	unsigned line = 0;
	size_t good;

	memset(text, 'x', sizeof text);
	assert_int_equal(smtp_body_scan(span_make(text, SMTP_BODY_LINE_MAX), &line, &good), SMTP_BODY_MORE);
	assert_int_equal(line, SMTP_BODY_LINE_MAX);
	assert_int_equal(smtp_body_scan(SPAN("\r\n"), &line, &good), SMTP_BODY_MORE);
	assert_int_equal(line, 0);
	assert_int_equal(smtp_body_scan(span_make(text, SMTP_BODY_LINE_MAX + 1), &line, &good), SMTP_BODY_LONG);
	assert_int_equal(good, SMTP_BODY_LINE_MAX);
	line = SMTP_BODY_LINE_MAX;
	assert_int_equal(smtp_body_scan(SPAN("x"), &line, &good), SMTP_BODY_LONG);
}

static bool
may_go(struct span body, size_t cut)
{
	struct smtp_body_guard guard = { 0 };

	for (size_t at = 0; at < body.n; at += cut)
		if (!smtp_body_may_go(&guard, span_make(body.p + at, body.n - at < cut ? body.n - at : cut)))
			return false;
	return smtp_body_may_end(&guard);
}

static void
nothing_ambiguous_goes_out_however_it_is_cut(void **state)
{
	static const struct { struct span body; bool goes; } cases[] = {
		{ SPAN(""), true }, { SPAN("\r\n"), true }, { SPAN("a\r\n"), true }, { SPAN("a\r\n\r\nb\r\n"), true },
		{ SPAN("..\r\n"), true }, { SPAN("a\r\n..\r\n"), true }, { SPAN("..a\r\n.b\r\n"), true }, { SPAN("a.\r\n"), true },
		{ SPAN("a"), false }, { SPAN("a\r"), false }, { SPAN("."), false }, { SPAN("a\r\n.."), false },
		{ SPAN("\n"), false }, { SPAN("\r\r\n"), false }, { SPAN("a\n"), false }, { SPAN("a\n.\n"), false },
		{ SPAN("a\n.\r\n"), false }, { SPAN("a\r.\r"), false }, { SPAN("a\r.\r\n"), false }, { SPAN("a\r\n.\n"), false },
		{ SPAN("a\r\n.\r\n"), false }, { SPAN(".\r\n"), false }, { SPAN("a\r\n.\r\nb\r\n"), false }, { SPAN("a\r\n.\r"), false },
		{ SPAN("a\0\r\n"), false }, { SPAN("a\r\n\0.\r\n"), false }, { SPAN("a\r\n.\0\r\n"), false }, { SPAN("a\rb\r\n"), false },
	};

	for (size_t i = 0; i < countof(cases); i++)
		for (size_t cut = 1; cut <= 8; cut++)
			if (may_go(cases[i].body, cut) != cases[i].goes)
				fail_msg("case %zu, cut to %zu", i, cut);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stops_where_something_must_be_decided),
		cmocka_unit_test(finds_what_comes_first),
		cmocka_unit_test(has_a_limit_for_a_line),
		cmocka_unit_test(nothing_ambiguous_goes_out_however_it_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
