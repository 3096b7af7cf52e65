/* require: what ships is found from anywhere, and its values know their lines. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "policy/policy_fixture.h"

#define BEGINS "listener '127.0.0.1:2525' { relay_from = '127.0.0.1' } vmta 'default' { source = 'any' } "

static char pages[300];                 /* the folder of the shipped modules: fixture_folder() leaves it */

static int
set_up(void **state)
{
	char here[200];
	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(pages, sizeof(pages), "%s/policies/providers", here);
	return fixture_folder(state);
}

static void
refuses(const char *text, const char *expected)
{
	char errors[4000], warnings[4000];
	struct policy *policy = fixture_load(text, &(struct policy_env){ 0 }, errors, warnings, sizeof(errors));
	assert_null(policy);
	assert_string_equal(errors, expected);
}

/* The line of a shipped module that holds the text. */
static int
line_of(const char *module, const char *text)
{
	char path[400], line[1000];
	int found = 0;
	snprintf(path, sizeof(path), "%s/%s.lua", pages, module);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	for (int n = 1; !found && fgets(line, sizeof(line), file); n++)
		if (strstr(line, text))
			found = n;
	fclose(file);
	assert_true(found > 0);
	return found;
}

static void
a_shipped_module_is_found_from_anywhere_and_its_values_have_their_own_lines(void **state)
{
	static const char file[] = "policies/providers/google.lua";
	struct policy *policy = fixture_good(BEGINS "\nrequire 'providers.google' { tier = 'high' }");
	const struct ruleset *ruleset = policy_ruleset(policy);
	struct queue_settings settings;
	ruleset_resolve(ruleset, ruleset_provider(ruleset, SPAN("google")), SPAN("gmail.com"), NULL, &settings);
	assert_int_equal(settings.max_smtp_out, 8);
	assert_string_equal(settings.where[SETTING_max_smtp_out].file, file);
	assert_int_equal(settings.where[SETTING_max_smtp_out].line, line_of("google", "high    = {"));
	assert_int_equal(settings.max_msg_per_connection, 50);
	assert_string_equal(settings.where[SETTING_max_msg_per_connection].file, file);
	assert_int_equal(settings.where[SETTING_max_msg_per_connection].line, line_of("google", "max_msg_per_connection"));
	assert_int_equal(ruleset_provider(ruleset, SPAN("google"))->where.line, 2);
	const struct reaction_list *rules =
		ruleset_reactions(ruleset, ruleset_provider(ruleset, SPAN("google")), SPAN("gmail.com"), ruleset->vmtas[0]);
	assert_non_null(rules);
	policy_free(policy);
}

static void
each_tier_has_its_own_limits_and_what_all_share(void **state)
{
	static const struct { const char *options; unsigned sessions; uint32_t per_hour; } tiers[] = {
		{ "{ tier = 'high' }", 8, 0 }, { "{ tier = 'medium' }", 4, 0 }, { "{ tier = 'warming' }", 2, 50 }, { "()", 4, 0 }, { "{ }", 4, 0 },
	};
	for (size_t i = 0; i < countof(tiers); i++) {
		char text[300];
		snprintf(text, sizeof(text), BEGINS "require 'providers.google' %s", tiers[i].options);
		struct policy *policy = fixture_good(text);
		const struct ruleset *ruleset = policy_ruleset(policy);
		struct queue_settings settings;
		ruleset_resolve(ruleset, ruleset->providers[0], SPAN("gmail.com"), NULL, &settings);
		assert_int_equal(settings.max_smtp_out, tiers[i].sessions);
		assert_int_equal(rate_unlimited(&settings.max_msg_rate) ? 0 : settings.max_msg_rate.count, tiers[i].per_hour);
		assert_int_equal(settings.max_msg_per_connection, 50);
		policy_free(policy);
	}
}

static void
all_come_together_and_one_may_have_a_tier_of_its_own(void **state)
{
	struct policy *policy = fixture_good(BEGINS "require 'providers.all' { tier = 'warming', google = 'high' }");
	const struct ruleset *ruleset = policy_ruleset(policy);
	struct queue_settings settings;
	assert_int_equal(ruleset->providers_n, 28);
	ruleset_resolve(ruleset, ruleset_provider(ruleset, SPAN("google")), SPAN("gmail.com"), NULL, &settings);
	assert_int_equal(settings.max_smtp_out, 8);
	ruleset_resolve(ruleset, ruleset_provider(ruleset, SPAN("yahoo")), SPAN("yahoo.com"), NULL, &settings);
	assert_int_equal(settings.max_smtp_out, 2);
	policy_free(policy);
}

static void
a_wrong_option_is_told_at_the_line_that_gave_it(void **state)
{
	refuses(BEGINS "\nrequire 'providers.google' { tier = 'hihg' }",
		"2: google: tier: \"hihg\" is no tier (high?): write \"high\", \"medium\" or \"warming\"\n");
	refuses(BEGINS "\n\nrequire 'providers.microsoft' { teir = 'high' }", "3: microsoft: teir: no such option (tier?)\n");
	refuses(BEGINS "\nrequire 'providers.everybody' { tier = 3 }",
		"2: everybody: tier: 3 is no tier: write \"high\", \"medium\" or \"warming\"\n");
	refuses(BEGINS "\nrequire 'providers.all' { gogle = 'high' }", "2: providers.all: gogle: no such option (google?)\n");
	refuses(BEGINS "\nrequire 'providers.all' 'high'", "2: providers.all: string will not do: write { tier = \"medium\" }\n");
}

static void
a_module_that_is_never_called_is_told_where_it_is_required(void **state)
{
	refuses(BEGINS "\nrequire 'providers.google'", "2: require \"providers.google\" alone declares nothing: write require \"providers.google\" {}\n");
	refuses(BEGINS "\n\nlocal all = require 'providers.all'",
		"3: require \"providers.all\" alone declares nothing: write require \"providers.all\" {}\n");
	policy_free(fixture_good(BEGINS "\nlocal google = require 'providers.google'\ngoogle { tier = 'high' }"));
}

static void
a_file_beside_the_policy_wins(void **state)
{
	assert_int_equal(mkdir("providers", 0700), 0);
	fixture_write("providers/google.lua", "return function() provider 'google' { domains = 'gmail.com', max_smtp_out = 77 } end");
	struct policy *policy = fixture_good(BEGINS "require 'providers.all' { tier = 'high' }");
	const struct ruleset *ruleset = policy_ruleset(policy);
	struct queue_settings settings;
	ruleset_resolve(ruleset, ruleset_provider(ruleset, SPAN("google")), SPAN("gmail.com"), NULL, &settings);
	assert_int_equal(settings.max_smtp_out, 77);
	assert_string_equal(settings.where[SETTING_max_smtp_out].file, "providers/google.lua");
	policy_free(policy);
	assert_int_equal(remove("providers/google.lua"), 0);
}

static void
the_nodes_own_lua_is_no_module_of_a_policys(void **state)
{
	refuses("require 'prelude'", "1: require \"prelude\": prelude.lua cannot be read: No such file or directory\n");
	refuses("require 'providers.none'", "1: require \"providers.none\": providers/none.lua cannot be read: No such file or directory\n");
	refuses("require 'sluice.none'", "1: require: there is no sluice.none in the standard library\n");
}

static void
a_table_put_together_has_the_lines_of_its_parts(void **state)
{
	struct policy *policy = fixture_good(BEGINS
		"\nlocal a = { max_smtp_out = 3,\n max_attempts = 5 }"
		"\nlocal b = { max_smtp_out = 4 }"
		"\nprovider 'x' (setmetatable({ mx = '*.x.example', max_smtp_out = a.max_smtp_out + 1, max_attempts = 5,"
		"\n smtp_port = 26 }, { __from = { a, b, 7 } }))");
	struct queue_settings settings;
	ruleset_resolve(policy_ruleset(policy), policy_ruleset(policy)->providers[0], SPAN(""), NULL, &settings);
	assert_int_equal(settings.where[SETTING_smtp_port].line, 6);
	/* Written here as well as in a part: here. */
	assert_int_equal(settings.where[SETTING_max_attempts].line, 5);
	policy_free(policy);
	policy = fixture_good(BEGINS
		"\nlocal a = { max_smtp_out = 3,\n max_attempts = 5 }"
		"\nlocal all = setmetatable({}, { __from = { a } })"
		"\nall.mx = '*.x.example' all.max_smtp_out = 4 all.max_attempts = a.max_attempts"
		"\nprovider 'x' (all)");
	ruleset_resolve(policy_ruleset(policy), policy_ruleset(policy)->providers[0], SPAN(""), NULL, &settings);
	assert_int_equal(settings.where[SETTING_max_attempts].line, 3);
	assert_int_equal(settings.where[SETTING_max_smtp_out].line, 6);
	policy_free(policy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_shipped_module_is_found_from_anywhere_and_its_values_have_their_own_lines),
		cmocka_unit_test(each_tier_has_its_own_limits_and_what_all_share),
		cmocka_unit_test(all_come_together_and_one_may_have_a_tier_of_its_own),
		cmocka_unit_test(a_wrong_option_is_told_at_the_line_that_gave_it),
		cmocka_unit_test(a_module_that_is_never_called_is_told_where_it_is_required),
		cmocka_unit_test(a_file_beside_the_policy_wins),
		cmocka_unit_test(the_nodes_own_lua_is_no_module_of_a_policys),
		cmocka_unit_test(a_table_put_together_has_the_lines_of_its_parts),
	};
	return cmocka_run_group_tests(tests, set_up, fixture_folder_gone);
}
