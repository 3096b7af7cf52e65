/* policies/README.md and lua/types/sluice.lua name every setting, hook and field; the shipped policies load. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "policy/hooks.h"
#include "policy/setting.h"

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

static const char *const fields[] = {
	"hostname", "spool", "control", "workers", "resolver", "accounting", "max_smtp_in", "memory_limit", "min_free_space", "user", "seed",
	"relay_from", "relay_to", "max_message_size", "max_messages_per_connection", "max_sessions", "max_sessions_per_client", "max_errors",
	"tls", "require_tls", "source", "provider", "domain", "domains", "mx",
};

static void
every_setting_is_in_the_reference_and_the_annotations(void **state)
{
	for (unsigned i = 0; i < SETTINGS_N; i++) {
		must_name("policies/README.md", "| `", setting_table[i].name, "` |");
		must_name("lua/types/sluice.lua", "---@field ", setting_table[i].name, "? ");
	}
	for (size_t i = 0; i < countof(fields); i++) {
		must_name("policies/README.md", "`", fields[i], "`");
		must_name("lua/types/sluice.lua", "---@field ", fields[i], "");
	}
}

static void
every_hook_is_in_the_reference_and_the_annotations(void **state)
{
	for (unsigned i = 0; i < HOOKS_N; i++) {
		must_name("policies/README.md", "| `", hooks_names[i], "` |");
		must_name("lua/types/sluice.lua", "function ", hooks_names[i], "(");
	}
	static const char *const names[] = { "sender", "recipients", "size", "auth", "source", "tls", "helo", "from_domain", "id", "pool", "vmta",
					     "job", "priority", "envid", "session", "address", "local_address", "listener" };
	for (size_t i = 0; i < countof(names); i++) {
		must_name("policies/README.md", "`", names[i], "`");
		must_name("lua/types/sluice.lua", "---@field ", names[i], "");
	}
}

static void
the_shipped_policies_load_without_a_word(void **state)
{
	glob_t found;
	assert_int_equal(glob("policies/*.lua", 0, NULL, &found), 0);
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
		cmocka_unit_test(the_shipped_policies_load_without_a_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
