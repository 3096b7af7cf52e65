/* SPDX-License-Identifier: Apache-2.0 */
#include "control/explain.h"

#include "policy/policy_fixture.h"

static const char policy_text[] =
	"vmta \"mta-1\" { source = \"any\", max_msg_rate = \"300/h\",\n"
	"  provider = { google = { max_smtp_out = 4 } } }\n"
	"pool \"default\" { \"mta-1\" }\n"
	"provider \"google\" { domains = { \"gmail.com\" }, max_smtp_out = 9,\n"
	"  max_msg_rate = \"400/h\", backoff = { inherit = true, { \"slow down\", lasts = \"1h\", max_smtp_out = 1 } } }\n"
	"domain \"*\" { retry_after = \"1h\", max_smtp_out = 12, backoff = { { \"421\", name = \"busy\", defer = true } } }\n";

static json_t *
explained(const char *domain, struct policy **policy_out)
{
	struct policy *policy = fixture_good(policy_text);
	const struct ruleset *ruleset = policy_ruleset(policy);
	struct policy_report report;
	struct explain question = {
		.ruleset = ruleset, .domain = domain, .site = domain, .vmta = explain_default_vmta(ruleset), .loaded = &report,
		.provider = ruleset_provider_of_domain(ruleset, span_text(domain)),
	};
	policy_report_init(&report);
	if (question.provider)
		question.site = question.provider->name;
	json_t *answer = explain(&question);
	policy_report_fini(&report);
	*policy_out = policy;
	return answer;
}

static void
assert_part(const char *domain, const char *part, const char *expected)
{
	struct policy *policy;
	json_t *answer = explained(domain, &policy);
	char *text = json_dumps(json_object_get(answer, part), JSON_COMPACT | JSON_ENCODE_ANY);
	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
	json_decref(answer);
	policy_free(policy);
}

static void
says_who_and_what_bounds_it(void **state)
{
	assert_part("gmail.com", "queue", "\"google/mta-1\"");
	assert_part("gmail.com", "ceiling", "{\"msgs_per_hour\":300,\"bound_by\":\"vmta.max_msg_rate\"}");
	assert_part("gmail.com", "wider",
		    "[{\"name\":\"vmta.max_msg_rate\",\"value\":\"300/h\",\"declared_at\":\"policy.lua:1\",\"scope\":\"vmta \\\"mta-1\\\"\"},"
		    "{\"name\":\"node.max_smtp_out\",\"value\":5000,\"declared_at\":null,\"scope\":\"built-in\"}]");
	assert_part("gmail.com", "warnings",
		    "[{\"file\":\"policy.lua\",\"line\":5,\"text\":\"provider \\\"google\\\": max_msg_rate: 400/h can never be reached: "
		    "vmta.max_msg_rate (300/h, policy.lua:1) allows 300 messages an hour (google/mta-1)\"}]");
	assert_part("x.example", "queue", "\"x.example/mta-1\"");
	assert_part("x.example", "warnings", "[]");
}

static void
says_what_each_line_beat_and_leaves_out_what_is_inherited(void **state)
{
	assert_part("gmail.com", "overridden",
		    "[{\"setting\":\"max_smtp_out\",\"value\":9,\"declared_at\":\"policy.lua:4\",\"scope\":\"provider \\\"google\\\"\","
		    "\"by\":\"policy.lua:2\"},"
		    "{\"setting\":\"max_smtp_out\",\"value\":12,\"declared_at\":\"policy.lua:6\",\"scope\":\"domain \\\"*\\\"\",\"by\":\"policy.lua:2\"}]");
	assert_part("x.example", "overridden", "[]");
}

static void
lists_the_rules_of_all_levels(void **state)
{
	struct policy *policy;
	json_t *answer = explained("gmail.com", &policy);
	json_t *rules = json_object_get(json_object_get(json_object_get(answer, "settings"), "backoff"), "value");
	assert_int_equal(json_array_size(rules), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(rules, 0), "name")), "slow down");
	assert_string_equal(json_string_value(json_object_get(json_array_get(rules, 1), "declared_at")), "policy.lua:6");
	json_decref(answer);
	policy_free(policy);
}

static void
takes_the_virtual_mta_that_mail_without_a_choice_takes(void **state)
{
	static const struct { const char *text, *vmta; } cases[] = {
		{ "vmta \"a\" { source = \"any\" } vmta \"default\" { source = \"any\" }", "default" },
		{ "vmta \"a\" { source = \"any\" } vmta \"b\" { source = \"any\" } pool \"default\" { \"b\", \"a\" }", "b" },
		{ "vmta \"a\" { source = \"any\" } vmta \"b\" { source = \"any\" } pool \"p\" { \"b\" }", "a" },
		{ "domain \"*\" { max_smtp_out = 1 }", NULL },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct policy *policy = fixture_good(cases[i].text);
		const struct ruleset_vmta *vmta = explain_default_vmta(policy_ruleset(policy));
		assert_int_equal(vmta != NULL, cases[i].vmta != NULL);
		if (vmta)
			assert_string_equal(vmta->name, cases[i].vmta);
		policy_free(policy);
	}
}

static void
says_which_day_of_a_warm_up_it_is(void **state)
{
	struct policy *policy = fixture_good(
		"vmta \"v1\" { source = \"any\", warmup = { start = \"1970-01-01\", per_day = { 50, 100 }, provider = \"g\", overflow = \"v2\" } }\n"
		"vmta \"v2\" { source = \"any\" }\n"
		"provider \"g\" { domains = \"gmail.com\" }");
	const struct ruleset *ruleset = policy_ruleset(policy);
	struct explain question = { .ruleset = ruleset, .vmta = ruleset_vmta(ruleset, SPAN("v1")), .provider = ruleset->providers[0] };
	json_t *answer = explain_warmup(&question, (wall_ms_t){ INT64_C(86400) * MS_PER_S });
	char *text = json_dumps(answer, JSON_COMPACT);
	assert_string_equal(text, "{\"day\":2,\"per_day\":100,\"overflow\":\"v2\",\"declared_at\":\"policy.lua:1\"}");
	free(text);
	json_decref(answer);
	question.provider = NULL;
	assert_true(json_is_null(explain_warmup(&question, (wall_ms_t){ 0 })));
	policy_free(policy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_who_and_what_bounds_it),
		cmocka_unit_test(says_what_each_line_beat_and_leaves_out_what_is_inherited),
		cmocka_unit_test(lists_the_rules_of_all_levels),
		cmocka_unit_test(takes_the_virtual_mta_that_mail_without_a_choice_takes),
		cmocka_unit_test(says_which_day_of_a_warm_up_it_is),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
