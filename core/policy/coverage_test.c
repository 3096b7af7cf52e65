/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/coverage.h"

#include "policy/policy_fixture.h"

#define TEXT_MAX_N 4000

static void
add_row(void *ctx, const struct coverage_row *row)
{
	char *out = ctx;
	size_t used = strlen(out);
	snprintf(out + used, TEXT_MAX_N - used, "%d %s %s %s%s%s\n", row->line, coverage_kind_name(row->kind), row->name,
		 coverage_state_name(row->state), row->why ? ": " : "", row->why ? row->why : "");
}

static void
assert_rows(const struct coverage *coverage, const char *expected)
{
	char rows[TEXT_MAX_N] = "";
	coverage_each(coverage, add_row, rows);
	assert_string_equal(rows, expected);
}

static void
assert_declares(const char *text, const char *expected)
{
	struct policy *policy = fixture_good(text);
	struct coverage *coverage = coverage_new();
	coverage_declare(coverage, policy);
	policy_free(policy);
	assert_rows(coverage, expected);
	coverage_free(coverage);
}

static void
every_declared_line_is_a_row(void **state)
{
	assert_declares(
		"node { max_msg_rate = \"10/s\" }\n"
		"vmta \"default\" { source = \"any\", max_smtp_out = 9,\n"
		"  provider = { g = { max_smtp_out = 2 } } }\n"
		"pool \"p\" { \"default\", max_connect_rate = \"5/s\" }\n"
		"provider \"g\" { domains = { \"g.example\" },\n"
		"  retry_after = \"1h\", paused = false }\n"
		"domain \"*\" { backoff = {\n"
		"  { \"busy\", name = \"slow\", lasts = \"1h\", max_smtp_out = 1 },\n"
		"} }\n"
		"on.message(function(msg) end)\n"
		"on.every(\"5m\", function() end)\n",
		"1 setting max_msg_rate never\n"
		"2 setting max_smtp_out never\n"
		"3 setting max_smtp_out never\n"
		"4 setting max_connect_rate never\n"
		"6 setting paused never\n"
		"6 setting retry_after never\n"
		"8 rule slow never\n"
		"10 hook on.message never\n"
		"11 hook on.every never\n");
}

static void
what_counts_nowhere_is_told_with_its_reason(void **state)
{
	assert_declares(
		"vmta \"default\" { source = \"any\", domain = { [\"*\"] = { max_msg_per_connection = 5 } } }\n"
		"provider \"g\" { domains = { \"g.example\" } }\n"
		"provider \"nobody\" {\n"
		"  max_smtp_out = 3 }\n"
		"domain \"g.example\" {\n"
		"  max_smtp_out = 4,\n"
		"  bounce_after = \"2d\" }\n"
		"domain \"*\" {\n"
		"  max_msg_per_connection = 9, rollup = false }\n",
		"1 setting max_msg_per_connection never\n"
		"4 setting max_smtp_out cannot: provider \"nobody\" has neither domains nor mx: no mail goes there\n"
		"6 setting max_smtp_out cannot: the domain belongs to provider \"g\" (policy.lua:2)\n"
		"7 setting bounce_after never\n"
		"9 setting max_msg_per_connection cannot: every queue that it could hold for has another from a block that comes first\n"
		"9 setting rollup never\n");
}

static void
a_value_that_one_virtual_mta_still_sees_can_be_exercised(void **state)
{
	assert_declares(
		"vmta \"default\" { source = \"any\" }\n"
		"vmta \"b\" { source = \"any\", provider = { g = { max_smtp_out = 2 } } }\n"
		"provider \"g\" { domains = { \"g.example\" },\n"
		"  max_smtp_out = 9 }\n",
		"2 setting max_smtp_out never\n"
		"4 setting max_smtp_out never\n");
}

static void
rules_that_never_match_or_are_never_asked_cannot_fire(void **state)
{
	assert_declares(
		"vmta \"default\" { source = \"any\" }\n"
		"provider \"g\" { domains = { \"g.example\" }, backoff = {\n"
		"  { \"busy\", stop = true, lasts = \"1h\", max_smtp_out = 1 },\n"
		"  { \"very busy\", name = \"very\", lasts = \"2h\", suspend = true },\n"
		"} }\n"
		"domain \"g.example\" { backoff = {\n"
		"  { \"never asked\", lasts = \"1h\", max_smtp_out = 1 },\n"
		"} }\n",
		"3 rule busy never\n"
		"4 rule very cannot: \"busy\" (policy.lua:3) matches all that it does, and stops\n"
		"7 rule never asked cannot: the domain belongs to provider \"g\" (policy.lua:2)\n");
}

static void
a_line_for_several_domains_is_impossible_only_if_it_is_for_each(void **state)
{
	assert_declares(
		"vmta \"default\" { source = \"any\" }\n"
		"provider \"g\" { domains = { \"g.example\" } }\n"
		"domain { \"g.example\", \"h.example\" } { max_smtp_out = 4 }\n",
		"3 setting max_smtp_out never\n");
}

static void
marks_last_and_a_second_load_adds_no_rows(void **state)
{
	const char *text =
		"vmta \"default\" { source = \"any\" }\n"
		"domain \"*\" { max_smtp_out = 4, backoff = { { \"busy\", lasts = \"1h\", max_smtp_out = 1 } } }\n"
		"on.connect(function(session) end)\n";
	struct policy *policy = fixture_good(text);
	struct coverage *coverage = coverage_new();
	struct queue_settings settings;
	struct policy_decision decision;
	const struct ruleset *ruleset = policy_ruleset(policy);
	const struct policy_session session = { .address = "192.0.2.1" };
	coverage_declare(coverage, policy);
	policy_cover(policy, coverage);
	ruleset_resolve(ruleset, NULL, SPAN("a.example"), ruleset->vmtas[0], &settings);
	coverage_setting(coverage, &settings.where[SETTING_max_smtp_out], "max_smtp_out");
	coverage_setting(coverage, &settings.where[SETTING_retry_after], "retry_after");
	coverage_rule(coverage, reaction_list_at(ruleset_reactions(ruleset, NULL, SPAN("a.example"), ruleset->vmtas[0]), 0));
	policy_on_connect(policy, &session, &decision);
	policy_free(policy);
	policy = fixture_good(text);
	coverage_declare(coverage, policy);
	policy_free(policy);
	assert_rows(coverage,
		"2 setting max_smtp_out exercised\n"
		"2 rule busy exercised\n"
		"3 hook on.connect exercised\n");
	coverage_free(coverage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_declared_line_is_a_row),
		cmocka_unit_test(what_counts_nowhere_is_told_with_its_reason),
		cmocka_unit_test(a_value_that_one_virtual_mta_still_sees_can_be_exercised),
		cmocka_unit_test(rules_that_never_match_or_are_never_asked_cannot_fire),
		cmocka_unit_test(a_line_for_several_domains_is_impossible_only_if_it_is_for_each),
		cmocka_unit_test(marks_last_and_a_second_load_adds_no_rows),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
