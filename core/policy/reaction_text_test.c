/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/reaction_text.h"

#include "policy/policy_fixture.h"

#define BEGINS "vmta \"v\" { source = \"any\" }\nvmta \"w\" { source = \"any\" }\ndomain \"*\" { backoff = {\n"

static const struct reaction_list *
list_of(const struct policy *policy)
{
	return ruleset_reactions(policy_ruleset(policy), NULL, SPAN("a.example"), ruleset_vmta(policy_ruleset(policy), SPAN("v")));
}

static void
a_rule_is_told_by_what_it_does(void **state)
{
	static const struct { const char *rule, *text; } rows[] = {
		{ "{ '421 RP-001', lasts = '1h', max_smtp_out = 5, max_msg_rate = '1000/h' }",
		  "421 RP-001 (policy.lua:4): max_smtp_out 5, max_msg_rate 1000/h, lasts 1h" },
		{ "{ 'slow', name = 'gentle', after = '2/1h', lasts = 'forever', max_smtp_out = '50%', floor = 3, recover = '+1/10m' }",
		  "gentle (policy.lua:4): max_smtp_out 50% (floor 3), after 2/1h, lasts forever, recover +1/10m" },
		{ "{ 'x', retry_after = { '10m', '1h' }, retry_after_dns_error = '2m', lasts = '1d', scope = 'site', at = 'rcpt' }",
		  "x (policy.lua:4): retry_after 10m,1h, retry_after_dns_error 2m, lasts 1d, at rcpt, scope site" },
		{ "{ 'x', suspend = true, lasts = '2h', notify = true, stop = true }", "x (policy.lua:4): suspend, notify, stop, lasts 2h" },
		{ "{ 'x', bounce = 'queue', close = true }", "x (policy.lua:4): bounce queue, close" },
		{ "{ 'x', reroute = 'w', lasts = '1h' }", "x (policy.lua:4): reroute w, lasts 1h" },
		{ "{ 'x', function(reply, queue) end }", "x (policy.lua:4): a function" },
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		char text[500];
		struct policy *policy;
		struct arena arena;

		snprintf(text, sizeof text, BEGINS "%s } }\n", rows[i].rule);
		policy = fixture_good(text);
		arena_init(&arena);
		assert_string_equal(reaction_text(&arena, reaction_list_at(list_of(policy), 0)), rows[i].text);
		arena_fini(&arena);
		policy_free(policy);
	}
}

static void
of_two_lists_only_what_differs_is_told(void **state)
{
	struct policy *a = fixture_good(BEGINS "{ 'a', close = true }, { 'b', close = true }, { 'c', close = true } } }\n");
	struct policy *b = fixture_good(BEGINS "{ 'a', close = true }, { 'b', defer = true }, { 'c', close = true }, { 'd', close = true } } }\n");
	struct policy *none = fixture_good("vmta \"v\" { source = \"any\" }\n");
	struct arena arena;

	arena_init(&arena);
	assert_string_equal(reaction_list_text(&arena, list_of(a), list_of(b)), "b (policy.lua:4): close");
	assert_string_equal(reaction_list_text(&arena, list_of(b), list_of(a)), "b (policy.lua:4): defer; d (policy.lua:4): close");
	assert_string_equal(reaction_list_text(&arena, list_of(a), list_of(a)), "3 rules");
	assert_null(reaction_list_text(&arena, list_of(none), list_of(a)));
	arena_fini(&arena);
	policy_free(a);
	policy_free(b);
	policy_free(none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_is_told_by_what_it_does),
		cmocka_unit_test(of_two_lists_only_what_differs_is_told),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
