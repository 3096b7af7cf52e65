/* SPDX-License-Identifier: Apache-2.0 */
#include "control/arithmetic.h"

#include "policy/policy_fixture.h"

#define NODE "vmta \"default\" { source = \"any\" }\n"

static void
warnings_of(const char *text, char *out, size_t size)
{
	struct policy *policy = fixture_good(text);
	struct policy_report report;
	policy_report_init(&report);
	arithmetic_warn(policy_ruleset(policy), &report);
	fixture_notes(report.warnings, report.warnings_n, out, size);
	policy_report_fini(&report);
	policy_free(policy);
}

static void
assert_warns(const char *text, const char *expected)
{
	char warnings[4000];
	warnings_of(text, warnings, sizeof(warnings));
	assert_string_equal(warnings, expected);
}

static void
the_configurations_of_the_field_promise_more_than_they_send(void **state)
{
	static const struct { const char *text, *warnings; double msgs_per_hour; const char *bound_by; } cases[] = {
		{ "domain \"hotmail.com\" { max_smtp_out = 4, max_connect_rate = \"20/h\", max_msg_per_connection = 10,\n"
		  "max_msg_rate = \"400/h\", retry_after = \"1h\", retry_recipients_after = \"30m\" }",
		  "3: domain \"hotmail.com\": max_msg_rate: 400/h can never be reached: max_connect_rate × max_msg_per_connection "
		  "(20/h × 10, policy.lua:2) allows 200 messages an hour (hotmail.com/default)\n",
		  200, "max_connect_rate × max_msg_per_connection" },
		{ "domain \"*\" { max_smtp_out = 10, max_msg_per_connection = 10, max_msg_rate = \"1000/h\", max_connect_rate = \"50/h\" }",
		  "2: domain \"*\": max_msg_rate: 1000/h can never be reached: max_connect_rate × max_msg_per_connection "
		  "(50/h × 10, policy.lua:2) allows 500 messages an hour (*/default)\n",
		  500, "max_connect_rate × max_msg_per_connection" },
		{ "domain \"hotmail.com\" { max_smtp_out = 2, max_connect_rate = \"12/h\", max_msg_per_connection = 5, max_msg_rate = \"120/h\" }",
		  "2: domain \"hotmail.com\": max_msg_rate: 120/h can never be reached: max_connect_rate × max_msg_per_connection "
		  "(12/h × 5, policy.lua:2) allows 60 messages an hour (hotmail.com/default)\n",
		  60, "max_connect_rate × max_msg_per_connection" },
		{ "domain \"*\" { max_smtp_out = 8, max_connect_rate = \"1/s\", max_msg_rate = \"300/h\", max_msg_per_connection = 100 }", "",
		  300, "max_msg_rate" },
		{ "domain \"*\" { max_smtp_out = 1000, max_connect_rate = \"100/m\", max_msg_rate = \"2000/h\" }", "", 2000, "max_msg_rate" },
		{ "domain \"hotmail.com\" { max_smtp_out = 30, max_connect_rate = \"5/m\" }", "", 0, NULL },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		char text[1000];
		struct queue_settings settings;
		struct arithmetic_limits limits;
		snprintf(text, sizeof(text), "%s%s", NODE, cases[i].text);
		assert_warns(text, cases[i].warnings);
		struct policy *policy = fixture_good(text);
		const struct ruleset *ruleset = policy_ruleset(policy);
		ruleset_resolve(ruleset, NULL, SPAN("hotmail.com"), ruleset->vmtas[0], &settings);
		arithmetic_limits_of(ruleset, &settings, ruleset->vmtas[0], &limits);
		struct ceiling ceiling = ceiling_of(&settings, limits.by_level);
		assert_int_equal(ceiling.bounded, cases[i].bound_by != NULL);
		if (ceiling.bounded) {
			assert_float_equal(ceiling.msgs_per_hour, cases[i].msgs_per_hour, 1e-9);
			assert_string_equal(ceiling.bound_by, cases[i].bound_by);
		}
		policy_free(policy);
	}
}

static void
a_wider_scope_that_is_tighter_is_named_with_its_place(void **state)
{
	assert_warns("node { max_smtp_out = 50 }\n"
		     "vmta \"default\" { source = \"any\",\n"
		     "  max_msg_rate = \"500/h\", max_smtp_out = 60 }\n"
		     "pool \"p\" { \"default\", max_connect_rate = \"10/m\" }\n"
		     "provider \"g\" { domains = { \"g.example\" },\n"
		     "  max_msg_rate = \"1000/h\",\n"
		     "  max_connect_rate = \"20/m\", max_smtp_out = 40 }\n",
		     "3: vmta \"default\": max_smtp_out: 60 can never be reached: node.max_smtp_out (50, policy.lua:1) allows 50 sessions "
		     "(*/default)\n"
		     "6: provider \"g\": max_msg_rate: 1000/h can never be reached: vmta.max_msg_rate (500/h, policy.lua:3) allows 500 "
		     "messages an hour (g/default)\n"
		     "7: provider \"g\": max_connect_rate: 20/m can never be reached: pool.max_connect_rate (10/m, policy.lua:4) allows 600 "
		     "connects an hour (g/default)\n");
}

static void
a_limit_that_one_queue_can_reach_is_none_of_ours(void **state)
{
	assert_warns("vmta \"default\" { source = \"any\", max_msg_rate = \"50/h\" }\n"
		     "vmta \"b\" { source = \"any\" }\n"
		     "provider \"g\" { domains = { \"g.example\" }, max_msg_rate = \"400/h\" }\n", "");
	/* The domain's own settings let it reach what "*" says. */
	assert_warns(NODE "domain \"*\" { max_msg_rate = \"400/h\", max_connect_rate = \"10/h\", max_msg_per_connection = 1 }\n"
		     "domain \"b.example\" { max_connect_rate = \"1/s\" }\n", "");
}

static void
a_rate_that_paces_each_connection_is_reached(void **state)
{
	assert_warns(NODE "domain \"*\" { max_msg_rate = \"50/m\", max_connect_rate = \"12/h\", max_msg_per_connection = 100 }", "");
	assert_warns(NODE "domain \"*\" { max_msg_rate = \"50/m\", max_connect_rate = \"12/h\", max_msg_per_connection = 10 }",
		     "2: domain \"*\": max_msg_rate: 50/m can never be reached: max_connect_rate × max_msg_per_connection (12/h × 10, policy.lua:2) "
		     "allows 120 messages an hour (*/default)\n");
	assert_warns(NODE "provider \"g\" { domains = { \"g.example\" }, total_max_msg_rate = \"50/m\",\n"
			  "  max_connect_rate = \"12/h\", max_msg_per_connection = 100 }", "");
}

static void
a_rate_that_paces_the_burst_of_a_wider_one_is_reached(void **state)
{
	static const char *const policy = "vmta \"default\" { source = \"any\", max_connect_rate = { \"500/h\", burst = %u } }\n"
					  "domain \"*\" { max_connect_rate = \"10/m\" }\n";
	char text[300];
	snprintf(text, sizeof(text), policy, 100u);
	assert_warns(text, "");
	snprintf(text, sizeof(text), policy, 1u);
	assert_warns(text, "2: domain \"*\": max_connect_rate: 10/m can never be reached: vmta.max_connect_rate (500/h, policy.lua:1) allows 500 "
			   "connects an hour (*/default)\n");
}

static void
one_line_is_told_once_for_all_its_virtual_mtas(void **state)
{
	assert_warns("for i = 1, 3 do vmta(\"v\" .. i) { source = \"any\", max_msg_rate = \"50/h\" } end\n"
		     "domain { \"a.example\", \"b.example\" } { max_msg_rate = \"400/h\" }\n",
		     "2: domain \"a.example\": max_msg_rate: 400/h can never be reached: vmta.max_msg_rate (50/h, policy.lua:1) allows 50 "
		     "messages an hour (a.example/v1)\n");
}

static void
a_total_is_held_against_all_its_queues_together(void **state)
{
	static const char *const vmtas = "vmta \"a\" { source = \"any\" } vmta \"b\" { source = \"any\" } vmta \"c\" { source = \"any\", max_smtp_out = 9 }\n";
	char text[1000];
	snprintf(text, sizeof(text), "%sprovider \"g\" { domains = { \"g.example\" }, max_msg_rate = \"100/h\", total_max_msg_rate = \"300/h\" }", vmtas);
	assert_warns(text, "");
	snprintf(text, sizeof(text), "%sprovider \"g\" { domains = { \"g.example\" }, max_msg_rate = \"100/h\", total_max_msg_rate = \"301/h\" }", vmtas);
	assert_warns(text, "2: provider \"g\": total_max_msg_rate: 301/h can never be reached: what its virtual MTAs may send together "
			   "allows 300 messages an hour (g/c)\n");
	assert_warns(NODE "provider \"g\" { domains = { \"g.example\" }, max_msg_per_connection = 2,\n"
			  "  total_max_connect_rate = \"10/h\",\n"
			  "  total_max_msg_rate = \"50/h\" }",
		     "4: provider \"g\": total_max_msg_rate: 50/h can never be reached: total_max_connect_rate × max_msg_per_connection "
		     "(10/h × 2, policy.lua:3) allows 20 messages an hour (g/default)\n");
	assert_warns(NODE "provider \"g\" { domains = { \"g.example\" }, total_max_msg_rate = \"300/h\",\n"
			  "  max_msg_rate = \"400/h\" }",
		     "3: provider \"g\": max_msg_rate: 400/h can never be reached: total_max_msg_rate (300/h, policy.lua:2) allows 300 messages "
		     "an hour (g/default)\n");
}

static void
a_burst_may_send_several_recipients_in_one_transaction(void **state)
{
	assert_warns(NODE "domain \"*\" { max_connect_rate = \"20/h\", max_msg_per_connection = 10, max_msg_rate = { \"400/h\", burst = 10 } }", "");
	assert_warns(NODE "domain \"*\" { max_connect_rate = \"20/h\", max_msg_per_connection = 10, max_msg_rate = { \"400/h\", burst = 10 },\n"
			  "  max_rcpt_per_message = 1 }",
		     "2: domain \"*\": max_msg_rate: 400/h can never be reached: max_connect_rate × max_msg_per_connection (20/h × 10, policy.lua:2) "
		     "allows 200 messages an hour (*/default)\n");
}

static void
too_many_queues_are_said_to_be_too_many(void **state)
{
	assert_warns("for i = 1, 600 do vmta(\"v\" .. i) { source = \"any\", max_msg_rate = \"1/h\" } end\n"
		     "for i = 1, 600 do domain(\"d\" .. i .. \".example\") { max_msg_rate = \"9/h\" } end\n",
		     "0: over 300000 queues: whether their rates can be reached was not looked at\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_configurations_of_the_field_promise_more_than_they_send),
		cmocka_unit_test(a_wider_scope_that_is_tighter_is_named_with_its_place),
		cmocka_unit_test(a_limit_that_one_queue_can_reach_is_none_of_ours),
		cmocka_unit_test(a_rate_that_paces_each_connection_is_reached),
		cmocka_unit_test(a_rate_that_paces_the_burst_of_a_wider_one_is_reached),
		cmocka_unit_test(one_line_is_told_once_for_all_its_virtual_mtas),
		cmocka_unit_test(a_total_is_held_against_all_its_queues_together),
		cmocka_unit_test(a_burst_may_send_several_recipients_in_one_transaction),
		cmocka_unit_test(too_many_queues_are_said_to_be_too_many),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
