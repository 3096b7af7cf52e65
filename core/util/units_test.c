/* Values as a policy writes them, and what is said of those it may not. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/prng.h"
#include "util/units.h"

#define S(n) (INT64_C(n) * US_PER_S)

static void
assert_error_says(const char *text, const struct err *err, const char *says)
{
	if (err->kind != ERR_PERM || !strstr(err->text, says))
		fail_msg("for %s: \"%s\" does not say \"%s\"", text, err->text, says);
}

static void
reads_durations(void **state)
{
	static const struct { const char *text; int64_t us; } rows[] = {
		{ "30m", S(1800) }, { "1h30m", S(5400) }, { "4d12h", S(388800) }, { "90", S(90) }, { "1s", S(1) },
		{ "2w", S(1209600) }, { "1w1d1h1m1s", S(694861) }, { "90m", S(5400) }, { "0h5m", S(300) }, { "520w", S(314496000) },
		{ "007s", S(7) },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		int64_t us = -1;
		struct err err = { 0 };
		if (!duration_parse(span_text(rows[i].text), false, &us, &err) || us != rows[i].us)
			fail_msg("%s: %ld, %s", rows[i].text, (long)us, err.text);
	}
}

static void
refuses_what_is_no_duration_and_says_what_to_write(void **state)
{
	static const struct { const char *text; const char *says; } rows[] = {
		{ "", "such as \"30m\"" }, { "0", "\"0\" is not a duration here" }, { "0s", "is not a duration here" },
		{ "30 m", "blank" }, { "10x", "one of s, m, h, d, w" }, { "-5m", "negative" }, { "m", "is not a duration" },
		{ "1m1h", "largest first" }, { "1m1m", "each once" }, { "1h30", "without a unit" }, { "1.5h", "1h30m" },
		{ "30min", "\"m\"" }, { "2hours", "\"h\"" }, { "30M", "\"m\"" }, { "100ms", "whole seconds" },
		{ "never", "not a duration here" }, { "530w", "10 years" }, { "99999999999999999999", "10 years" },
		{ "18446744073709551617s", "10 years" }, { "abc", "such as" }, { "1h\n", "?" }, { " 1h", "such as" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		int64_t us = 77;
		struct err err = { 0 };
		if (duration_parse(span_text(rows[i].text), false, &us, &err))
			fail_msg("%s passed", rows[i].text);
		assert_int_equal(us, 77);
		assert_error_says(rows[i].text, &err, rows[i].says);
	}
}

static void
zero_is_a_duration_only_where_asked(void **state)
{
	int64_t us = 77;
	assert_true(duration_parse(SPAN("0"), true, &us, NULL));
	assert_int_equal(us, 0);
	assert_true(duration_parse(SPAN("0s"), true, &us, NULL));
	assert_false(duration_parse(SPAN("0"), false, &us, NULL));
}

static void
writes_durations(void **state)
{
	static const struct { int64_t us; const char *text; } rows[] = {
		{ S(5400), "1h30m" }, { DURATION_NEVER, "never" }, { 1500000, "1.5s" }, { 0, "0s" }, { 1, "0.000001s" },
		{ S(604800), "1w" }, { S(388800), "4d12h" }, { S(60) + 250000, "1m0.25s" }, { -S(60), "-1m" },
		{ INT64_MIN, "-15250284w3d4h54.775808s" }, { 100000, "0.1s" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		char out[32];
		duration_format(rows[i].us, out);
		assert_string_equal(out, rows[i].text);
	}
}

static void
a_duration_comes_back_as_it_was(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	for (int i = 0; i < 20000; i++) {
		int64_t us = S(1) * (int64_t)(1 + prng_below(&prng, prng_below(&prng, 2) ? 300000000 : 5000)), back;
		char out[32];
		duration_format(us, out);
		assert_true(duration_parse(span_text(out), false, &back, NULL));
		assert_true(us == back);
	}
}

static void
reads_lists_of_durations_whose_last_repeats(void **state)
{
	struct duration_list list;
	assert_true(duration_list_parse(SPAN("10m, 20m ,1h"), &list, NULL));
	assert_int_equal(list.n, 3);
	assert_true(duration_list_at(&list, 0) == S(600));
	assert_true(duration_list_at(&list, 1) == S(1200));
	assert_true(duration_list_at(&list, 2) == S(3600));
	assert_true(duration_list_at(&list, UINT32_MAX) == S(3600));
	assert_true(duration_list_parse(SPAN("90"), &list, NULL));
	assert_int_equal(list.n, 1);
}

static void
refuses_wrong_lists(void **state)
{
	static const struct { const char *text; const char *says; } rows[] = {
		{ "", "empty place" }, { "10m,", "empty place" }, { ",10m", "empty place" }, { "10m,,20m", "empty place" },
		{ "10m,x", "\"x\"" }, { "10m,0", "\"0\"" },
		{ "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "30" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct duration_list list;
		struct err err = { 0 };
		assert_false(duration_list_parse(span_text(rows[i].text), &list, &err));
		assert_error_says(rows[i].text, &err, rows[i].says);
	}
}

static void
reads_rates_and_writes_them_shortest(void **state)
{
	static const struct { const char *text; uint32_t count; int64_t window_us; const char *written; } rows[] = {
		{ "400/h", 400, S(3600), "400/h" }, { "5/m", 5, S(60), "5/m" }, { "1/s", 1, S(1), "1/s" },
		{ "100/15m", 100, S(900), "100/15m" }, { "50000/day", 50000, S(86400), "50000/d" }, { "1/sec", 1, S(1), "1/s" },
		{ "7/min", 7, S(60), "7/m" }, { "7/hr", 7, S(3600), "7/h" }, { "7/hour", 7, S(3600), "7/h" }, { "7/w", 7, S(604800), "7/w" },
		{ "60/60m", 60, S(3600), "60/h" }, { "3/90s", 3, S(90), "3/90s" }, { "4294967295/d", UINT32_MAX, S(86400), "4294967295/d" },
		{ "1/520w", 1, S(314496000), "1/520w" }, { "unlimited", 0, 0, "unlimited" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct rate_spec spec;
		struct err err = { 0 };
		char out[48];
		if (!rate_parse(span_text(rows[i].text), &spec, &err))
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_int_equal(spec.count, rows[i].count);
		assert_int_equal(spec.burst, 0);
		assert_true(spec.window_us == rows[i].window_us);
		assert_int_equal(rate_unlimited(&spec), rows[i].count == 0);
		rate_format(&spec, out);
		assert_string_equal(out, rows[i].written);
	}
	struct rate_spec fine = { 100, 0, 1500000 };
	char out[48];
	rate_format(&fine, out);
	assert_string_equal(out, "100/1.5s");
}

static void
refuses_wrong_rates_and_says_what_to_write(void **state)
{
	static const struct { const char *text; const char *says; } rows[] = {
		{ "", "400/h" }, { "0/h", "\"unlimited\"" }, { "0", "\"unlimited\"" }, { "400", "\"400/h\"" }, { "400/", "400/h" },
		{ "400/hours", "\"400/hour\"" }, { "400/Hour", "\"400/hour\"" }, { "400/week", "\"400/w\"" }, { "5/15mins", "\"5/15min\"" },
		{ "400/x", "units: s, m, h, d, w" }, { "-4/h", "400/h" }, { "4294967296/h", "4294967295" }, { "1/1000w", "10 years" },
		{ "1/0h", "window of nothing" }, { "400 / h", "blank" }, { "400h", "400/h" }, { "400/h/h", "no unit" }, { "Unlimited", "unlimited" },
		{ "1/99999999999999999999999s", "10 years" }, { "1.5/h", "400/h" }, { "400/15", "no unit" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct rate_spec spec;
		struct err err = { 0 };
		if (rate_parse(span_text(rows[i].text), &spec, &err))
			fail_msg("%s passed", rows[i].text);
		assert_error_says(rows[i].text, &err, rows[i].says);
	}
}

static void
reads_and_writes_sizes(void **state)
{
	static const struct { const char *text; uint64_t bytes; const char *written; } rows[] = {
		{ "25M", 25ull << 20, "25M" }, { "10G", 10ull << 30, "10G" }, { "512K", 512 << 10, "512K" }, { "0", 0, "0" },
		{ "1023", 1023, "1023" }, { "1536", 1536, "1.5K" }, { "1024K", 1 << 20, "1M" }, { "3T", 3ull << 40, "3T" },
		{ "9223372036854775807", INT64_MAX, "8388607.9T" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		uint64_t bytes;
		char out[32];
		assert_true(size_parse(span_text(rows[i].text), &bytes, NULL));
		assert_true(bytes == rows[i].bytes);
		size_format(bytes, out);
		assert_string_equal(out, rows[i].written);
	}
}

static void
refuses_wrong_sizes(void **state)
{
	static const struct { const char *text; const char *says; } rows[] = {
		{ "", "25M" }, { "M", "25M" }, { "25MB", "\"25M\"" }, { "25m", "\"25M\"" }, { "25 M", "K, M, G or T" }, { "25X", "K, M, G or T" },
		{ "-1", "25M" }, { "1.5G", "K, M, G or T" }, { "8388608T", "too large" }, { "9223372036854775808", "too large" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		uint64_t bytes;
		struct err err = { 0 };
		if (size_parse(span_text(rows[i].text), &bytes, &err))
			fail_msg("%s passed", rows[i].text);
		assert_error_says(rows[i].text, &err, rows[i].says);
	}
	uint64_t bytes;
	assert_false(size_parse(span_make("1\0", 2), &bytes, NULL));
}

static void
reads_percentages(void **state)
{
	static const struct { const char *text; double percent; } rows[] = {
		{ "50%", 50 }, { "0%", 0 }, { "100%", 100 }, { "12.5%", 12.5 }, { "0.000001%", 0.000001 }, { "100.0%", 100 },
	};
	static const char *const wrong[] = { "", "%", "50", "101%", "100.1%", "-1%", "50 %", "5.%", ".5%", "1.0000001%", "50%%", "1e1%" };
	for (size_t i = 0; i < countof(rows); i++) {
		double percent;
		assert_true(percent_parse(span_text(rows[i].text), &percent, NULL));
		assert_true(percent > rows[i].percent - 1e-12 && percent < rows[i].percent + 1e-12);
	}
	for (size_t i = 0; i < countof(wrong); i++) {
		double percent;
		struct err err = { 0 };
		if (percent_parse(span_text(wrong[i]), &percent, &err))
			fail_msg("%s passed", wrong[i]);
		assert_error_says(wrong[i], &err, "%");
	}
}

static void
an_error_quotes_little_and_only_what_can_be_printed(void **state)
{
	char long_text[500];
	memset(long_text, 'x', sizeof(long_text));
	memcpy(long_text, "\033[31m\n\xff", 7);
	struct rate_spec spec;
	struct err err = { 0 };
	assert_false(rate_parse(span_make(long_text, sizeof(long_text)), &spec, &err));
	assert_true(strlen(err.text) < 200);
	for (const char *p = err.text; *p; p++)
		assert_in_range(*p, ' ', '~');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_durations),
		cmocka_unit_test(refuses_what_is_no_duration_and_says_what_to_write),
		cmocka_unit_test(zero_is_a_duration_only_where_asked),
		cmocka_unit_test(writes_durations),
		cmocka_unit_test(a_duration_comes_back_as_it_was),
		cmocka_unit_test(reads_lists_of_durations_whose_last_repeats),
		cmocka_unit_test(refuses_wrong_lists),
		cmocka_unit_test(reads_rates_and_writes_them_shortest),
		cmocka_unit_test(refuses_wrong_rates_and_says_what_to_write),
		cmocka_unit_test(reads_and_writes_sizes),
		cmocka_unit_test(refuses_wrong_sizes),
		cmocka_unit_test(reads_percentages),
		cmocka_unit_test(an_error_quotes_little_and_only_what_can_be_printed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
