/* Lines that nobody can forge, and the calendar. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/log.h"

#define STAMP "2026-01-02T03:04:05.678Z "

struct captured {
	char   text[8192];
	size_t n;
	int    calls;
};

static wall_ms_t
fixed_wall(void *ctx)
{
	return (wall_ms_t){ INT64_C(1767323045678) };
}

static void
capture(void *ctx, const char *line, size_t n)
{
	struct captured *captured = ctx;
	assert_true(captured->n + n < sizeof(captured->text));
	memcpy(captured->text + captured->n, line, n);
	captured->n += n;
	captured->calls++;
}

static struct log
make_log(struct captured *captured)
{
	*captured = (struct captured){ 0 };
	return (struct log){ .level = LOG_INFO, .wall = fixed_wall, .sink = capture, .sink_ctx = captured };
}

static void
a_line_has_its_time_level_and_text(void **state)
{
	struct captured got;
	struct log log = make_log(&got);
	log_debug(&log, "not this");
	log_info(&log, "hello %d", 7);
	log_warning(&log, "b");
	log_error(&log, "c");
	log_error(NULL, "nowhere");
	assert_string_equal(got.text, STAMP "info hello 7\n" STAMP "warning b\n" STAMP "error c\n");
	assert_int_equal(got.calls, 3);
}

static void
a_line_for_a_journal_begins_with_its_rank(void **state)
{
	struct captured got;
	struct log log = make_log(&got);
	log.level = LOG_DEBUG;
	log.ranked = true;
	log_debug(&log, "a");
	log_info(&log, "b");
	log_warning(&log, "c");
	log_error(&log, "<0>d");
	assert_string_equal(got.text, "<7>" STAMP "debug a\n<6>" STAMP "info b\n<4>" STAMP "warning c\n<3>" STAMP "error <0>d\n");
}

static void
a_bare_line_has_neither_time_nor_level_and_is_as_safe(void **state)
{
	struct captured got;
	struct log log = make_log(&got);
	log_bare(&log, LOG_DEBUG, "not this");
	log_bare(&log, LOG_ERROR, "policy.lua:%d: a\n<0>b\033[31m", 5);
	log.ranked = true;
	log_bare(&log, LOG_ERROR, "c");
	assert_string_equal(got.text, "policy.lua:5: a\\x0a<0>b\\x1b[31m\n<3>c\n");
	assert_int_equal(got.calls, 2);
}

static void
what_a_peer_says_cannot_forge_a_line(void **state)
{
	static const struct { const char *said; const char *written; } rows[] = {
		{ "a\r\nb", "a\\x0d\\x0ab" }, { "\033[31m", "\\x1b[31m" }, { "\x7f", "\\x7f" }, { "tab\t", "tab\\x09" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" }, { "\xe2\x82\xac", "\xe2\x82\xac" }, { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xff", "\\xff" }, { "\xc3", "\\xc3" }, { "\xc3(", "\\xc3(" }, { "\xc0\xaf", "\\xc0\\xaf" },
		{ "\xe0\x80\x8a", "\\xe0\\x80\\x8a" }, { "\xed\xa0\x80", "\\xed\\xa0\\x80" }, { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
		{ "\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a" }, { "\xc2\x85", "\\xc2\\x85" }, { "\xe2\x80\xa8", "\\xe2\\x80\\xa8" },
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae" }, { "\xe2\x81\xa9", "\\xe2\\x81\\xa9" },
		{ "\xf0\x9f\x98", "\\xf0\\x9f\\x98" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct captured got;
		struct log log = make_log(&got);
		log_info(&log, "%s", rows[i].said);
		char expected[200];
		snprintf(expected, sizeof(expected), STAMP "info %s\n", rows[i].written);
		assert_string_equal(got.text, expected);
	}
}

static void
a_long_line_is_cut_between_characters(void **state)
{
	static const char *const pieces[] = { "x", "\n", "\xe2\x82\xac" };
	for (size_t i = 0; i < countof(pieces); i++) {
		char text[9000] = "";
		size_t len = strlen(pieces[i]);
		for (size_t n = 0; n + len < sizeof(text); n += len)
			memcpy(text + n, pieces[i], len + 1);
		struct captured got;
		struct log log = make_log(&got);
		log_info(&log, "%s", text);
		assert_in_range(got.n, 1990, 2040);
		assert_int_equal(got.calls, 1);
		assert_string_equal(got.text + got.n - 4, "...\n");
		size_t body = got.n - 4 - strlen(STAMP "info ");
		size_t shown = pieces[i][0] == '\n' ? 4 : len;
		assert_int_equal(body % shown, 0);
	}
}

static void
the_calendar_is_right(void **state)
{
	static const struct { int64_t ms; const char *stamp; const char *mail; } rows[] = {
		{ 0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ INT64_C(951782400000), "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 +0000" },
		{ INT64_C(1767225599999), "2025-12-31T23:59:59.999Z", "Wed, 31 Dec 2025 23:59:59 +0000" },
		{ INT64_C(4107542400000), "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 +0000" },
		{ INT64_MAX, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 +0000" },
		{ INT64_MIN, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 +0000" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		char stamp[32], mail[40];
		wall_format((wall_ms_t){ rows[i].ms }, stamp);
		wall_format_mail((wall_ms_t){ rows[i].ms }, mail);
		assert_string_equal(stamp, rows[i].stamp);
		assert_string_equal(mail, rows[i].mail);
	}
	for (int64_t day = 0; day < 100000; day++) {
		time_t seconds = day * 86400 + 43200;
		struct tm tm;
		char ours[32], theirs[32];
		assert_non_null(gmtime_r(&seconds, &tm));
		strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		wall_format((wall_ms_t){ seconds * 1000 }, ours);
		assert_string_equal(ours, theirs);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_its_time_level_and_text),
		cmocka_unit_test(a_line_for_a_journal_begins_with_its_rank),
		cmocka_unit_test(a_bare_line_has_neither_time_nor_level_and_is_as_safe),
		cmocka_unit_test(what_a_peer_says_cannot_forge_a_line),
		cmocka_unit_test(a_long_line_is_cut_between_characters),
		cmocka_unit_test(the_calendar_is_right),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
