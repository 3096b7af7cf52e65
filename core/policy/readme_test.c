/* policies/README.md and lua/types/sluice.lua name every setting, hook and field; the shipped policies load. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "policy/declare.h"
#include "policy/handle.h"
#include "policy/setting.h"
#include "policy/tightening.h"

static char *
whole(const char *path)
{
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	char *text = mem_alloc(200000);
	assert_true(fread(text, 1, 199999, file) > 0);
	fclose(file);
	return text;
}

static void
must_name(const char *path, const char *before, const char *name, const char *after)
{
	char *text = whole(path), what[200];
	snprintf(what, sizeof(what), "%s%s%s", before, name, after);
	if (!strstr(text, what))
		fail_msg("%s lacks %s", path, what);
	free(text);
}

static const struct declare_shape *const shapes[] = {
	&declare_shape_node, &declare_shape_listener, &declare_shape_vmta, &declare_shape_pool, &declare_shape_provider,
};

static void
every_setting_is_in_the_reference_and_the_annotations(void **state)
{
	for (unsigned i = 0; i < SETTINGS_N; i++) {
		must_name("policies/README.md", "| `", setting_table[i].name, "` |");
		must_name("lua/types/sluice.lua", "---@field ", setting_table[i].name, "? ");
	}
	for (size_t i = 0; i < countof(shapes); i++) {
		for (unsigned f = 0; f < shapes[i]->fields_n; f++) {
			const struct declare_field *field = &shapes[i]->fields[f];
			if (!field->take)
				continue;
			must_name("policies/README.md", "`", field->name, "`");
			must_name("lua/types/sluice.lua", "---@field ", field->name, "");
		}
	}
}

static void
every_hook_is_in_the_reference_and_the_annotations(void **state)
{
	for (unsigned i = 0; i < HOOKS_N; i++) {
		must_name("policies/README.md", "| `", hooks_names[i], "` |");
		must_name("lua/types/sluice.lua", "function ", hooks_names[i], "(");
	}
	const char *names[64];
	unsigned n = handle_names(names, countof(names));
	assert_true(n > 20 && n < countof(names));
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(names[i], "sign") == 0)      /* not there yet */
			continue;
		must_name("policies/README.md", "`", names[i], "");
		must_name("lua/types/sluice.lua", "", names[i], "");
	}
}

static void
every_field_of_reactions_is_in_the_reference_and_the_annotations(void **state)
{
	static const char *const names[] = { "name", "at", "after", "lasts", "floor", "recover", "suspend", "defer", "bounce", "reroute",
					     "disable_source", "skip_mx", "close", "scope", "notify", "stop" };
	static const char *const replies[] = { "code", "enhanced", "text", "line", "stage", "sender", "recipient", "job", "envid", "size", "queue",
					       "site", "vmta", "remote_host", "remote_address", "local_address", "attempts", "reply" };
	static const char *const methods[] = { "limit", "suspend", "defer", "recent", "lift" };
	const char *settings[SETTINGS_N];
	unsigned settings_n = tightening_names(settings);
	for (size_t i = 0; i < countof(names); i++) {
		must_name("policies/README.md", "| `", names[i], "` |");
		must_name("lua/types/sluice.lua", "---@field ", names[i], "? ");
	}
	for (size_t i = 0; i < countof(replies); i++) {
		must_name("policies/README.md", "`", replies[i], "`");
		must_name("lua/types/sluice.lua", "---@field ", replies[i], "");
	}
	for (size_t i = 0; i < countof(methods); i++) {
		must_name("policies/README.md", "| `", methods[i], "");
		must_name("lua/types/sluice.lua", "function queue:", methods[i], "(");
	}
	for (unsigned i = 0; i < settings_n; i++)
		must_name("lua/types/sluice.lua", "---@field ", settings[i], "? ");
	must_name("policies/README.md", "| `", "on.every", "` |");
	must_name("lua/types/sluice.lua", "function ", "on.every", "(");
}

static void
the_shipped_policies_load_without_a_word(void **state)
{
	glob_t found;
	assert_int_equal(glob("policies/*.lua", 0, NULL, &found), 0);
	assert_int_equal(glob("policies/examples/*.lua", GLOB_APPEND, NULL, &found), 0);
	assert_int_equal(glob("policies/examples/*/*.lua", GLOB_APPEND, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct policy_report report;
		policy_report_init(&report);
		struct policy *policy = policy_load(found.gl_pathv[i], &(struct policy_env){ 0 }, &report);
		if (report.errors_n + report.warnings_n)
			fail_msg("%s: %s", found.gl_pathv[i], report.errors_n ? report.errors[0].text : report.warnings[0].text);
		policy_free(policy);
		policy_report_fini(&report);
	}
	globfree(&found);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_setting_is_in_the_reference_and_the_annotations),
		cmocka_unit_test(every_hook_is_in_the_reference_and_the_annotations),
		cmocka_unit_test(every_field_of_reactions_is_in_the_reference_and_the_annotations),
		cmocka_unit_test(the_shipped_policies_load_without_a_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
