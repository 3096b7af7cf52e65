/* warmup = { … }: what is read, and what is refused where. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"

#define BEGINS "listener '127.0.0.1:2525' { relay_from = '127.0.0.1' } vmta 'default' { source = 'any' }\n"
#define WARMS(fields) BEGINS "vmta 'new' { source = 'any', warmup = { " fields " } }"
#define DAY INT64_C(86400000)

static void
each_wrong_one_is_refused(void **state)
{
	static const struct { const char *text, *errors; } cases[] = {
		{ WARMS("start = '2026-01-01', per_day = { 50 }"),
		  "2: vmta \"new\": warmup: overflow is missing: write warmup = { start = \"2026-01-01\", per_day = { 50, 100, 200 }, overflow = \"pool\" }\n" },
		{ WARMS("per_day = { 50 }, overflow = 'default'"),
		  "2: vmta \"new\": warmup: start is missing: write warmup = { start = \"2026-01-01\", per_day = { 50, 100, 200 }, overflow = \"pool\" }\n" },
		{ WARMS("start = '2026-02-31', per_day = { 50 }, overflow = 'default'"),
		  "2: vmta \"new\": warmup: start: \"2026-02-31\" is no day: write the year, the month and the day, such as \"2026-01-01\"\n" },
		{ WARMS("start = 'today', per_day = { 50 }, overflow = 'default'"),
		  "2: vmta \"new\": warmup: start: \"today\" is no day: write the year, the month and the day, such as \"2026-01-01\"\n" },
		{ WARMS("start = '2026-01-01', per_day = { }, overflow = 'default'"),
		  "2: vmta \"new\": warmup: per_day: a table will not do: write how many on each day: { 50, 100, 200 }\n" },
		{ WARMS("start = '2026-01-01', per_day = { 50 }, overflow = 'defualt'"),
		  "2: vmta \"new\": warmup: overflow: \"defualt\": no such virtual MTA or pool\n" },
		{ WARMS("start = '2026-01-01', per_day = { 50 }, overflow = 'new'"),
		  "2: vmta \"new\": warmup: overflow: \"new\" is what warms up itself: name another\n" },
		{ WARMS("start = '2026-01-01', per_day = { 50 }, overflow = 'default', provider = 'gogle'"),
		  "2: vmta \"new\": warmup: provider: \"gogle\": no such provider\n" },
		{ WARMS("start = '2026-01-01', per_day = { 50 }, overflow = 'default', perday = 3"),
		  "2: vmta \"new\": warmup: perday: no such setting (per_day?)\n" },
		{ WARMS("start = '2026-01-01', per_day = { 50 }, overflow = 'two'")
		  "\nvmta 'two' { source = 'any', warmup = { start = '2026-01-01', per_day = { 5 }, overflow = 'default' } }",
		  "2: vmta \"new\": warmup: overflow: vmta \"two\" (policy.lua:3) warms up too: name one that does not\n" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		char errors[4000], warnings[4000];
		struct policy *policy = fixture_load(cases[i].text, &(struct policy_env){ 0 }, errors, warnings, sizeof(errors));
		assert_null(policy);
		assert_string_equal(errors, cases[i].errors);
	}
	char errors[4000], warnings[4000];
	assert_null(fixture_load(WARMS("start = '2026-01-01', per_day = { 50, 0 }, overflow = 'default'"), &(struct policy_env){ 0 }, errors,
				 warnings, sizeof(errors)));
	assert_non_null(strstr(errors, "2: vmta \"new\": warmup: per_day: day 2: "));
}

static void
days_are_counted_from_the_start_and_the_last_number_stays(void **state)
{
	struct policy *policy = fixture_good(WARMS("start = '2026-01-01', per_day = { 50, 100 }, overflow = 'p'") "\npool 'p' { 'new', 'default' }");
	const struct ruleset_warmup *warmup = ruleset_vmta(policy_ruleset(policy), SPAN("new"))->warmup;
	const int64_t start = INT64_C(1767225600000);   /* 2026-01-01T00:00:00Z */
	assert_non_null(warmup);
	assert_int_equal(warmup->start.ms, start);
	assert_int_equal(warmup->where.line, 2);
	static const struct { int64_t after, day; uint32_t n; } days[] = {
		{ -1, 0, 0 }, { 0, 1, 50 }, { DAY - 1, 1, 50 }, { DAY, 2, 100 }, { 100 * DAY, 101, 100 },
	};
	for (size_t i = 0; i < countof(days); i++) {
		int64_t day = warmup_day(warmup, (wall_ms_t){ start + days[i].after });
		assert_int_equal(day, days[i].day);
		assert_int_equal(warmup_per_day(warmup, day), days[i].n);
	}
	assert_int_equal(warmup_day_ends(warmup, 0).ms, start);
	assert_int_equal(warmup_day_ends(warmup, 2).ms, start + 2 * DAY);
	assert_true(warmup_is_for(warmup, NULL));
	policy_free(policy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_wrong_one_is_refused),
		cmocka_unit_test(days_are_counted_from_the_start_and_the_last_number_stays),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
