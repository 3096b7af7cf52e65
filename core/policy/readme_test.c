/* policies/README.md and lua/types/sluice.lua name every setting, hook and field; the page's rows, defaults and kinds are
 * the tables'; the shipped policies load. */
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

#define PAGE "policies/README.md"

struct row {
	char first[400], value[200], kind[200];         /* cells as written */
};

/* The rows below a heading, up to the next one. False: that was the last. */
static bool
next_row(const char **at, struct row *row)
{
	while (**at) {
		const char *line = *at;
		const char *end = strchr(line, '\n');
		*at = end ? end + 1 : line + strlen(line);
		if (line[0] == '#')
			return false;
		if (strncmp(line, "| `", 3) == 0)
			return sscanf(line, "| %399[^|]| %199[^|]| %199[^|]|", row->first, row->value, row->kind) == 3;
	}
	return false;
}

static const char *
below(const char *text, const char *heading)
{
	const char *at = strstr(text, heading);
	if (!at)
		fail_msg(PAGE " lacks %s", heading);
	return strchr(at, '\n') + 1;
}

/* The next `name` of a cell. */
static bool
next_name(const char **at, char name[100])
{
	const char *open = strchr(*at, '`');
	if (!open || sscanf(open, "`%99[^`]`", name) != 1)
		return false;
	*at = open + strlen(name) + 2;
	return true;
}

static void
trim(char *cell)
{
	size_t n = strlen(cell);
	while (n && cell[n - 1] == ' ')
		cell[--n] = '\0';
}

static void
quoted(char out[100], const char *text)
{
	snprintf(out, 100, "`\"%.90s\"`", text);
}

static void
default_text(enum setting_id id, char out[100])
{
	static const char *const kinds[] = { [SETTING_HOSTS] = "by MX", [SETTING_PATH] = "the system's", [SETTING_REACTIONS] = "none" };
	const void *value = (const char *)&setting_built_in + setting_table[id].offset;
	char text[48];
	switch (setting_table[id].kind) {
	case SETTING_COUNT:
		if (*(const uint32_t *)value == UNLIMITED)
			snprintf(out, 100, "unlimited");
		else
			snprintf(out, 100, "%u", *(const uint32_t *)value);
		break;
	case SETTING_RATE: rate_format(value, text); snprintf(out, 100, "%s", text); break;
	case SETTING_DURATION: duration_format(*(const int64_t *)value, text); quoted(out, text); break;
	case SETTING_DURATIONS:
		assert_int_equal(((const struct duration_list *)value)->n, 1);
		duration_format(((const struct duration_list *)value)->us[0], text);
		quoted(out, text);
		break;
	case SETTING_PERCENT: snprintf(text, sizeof(text), "%g%%", *(const double *)value); quoted(out, text); break;
	case SETTING_BOOL: snprintf(out, 100, "%s", *(const bool *)value ? "true" : "false"); break;
	case SETTING_PORT: snprintf(out, 100, "%u", *(const uint16_t *)value); break;
	default: snprintf(out, 100, "%s", kinds[setting_table[id].kind]); break;
	}
}

/* 60s is written so in the page, and formatted as 1m. */
static bool
same_value(const char *cell, const char *expected)
{
	char a[32], b[32];
	int64_t x, y;
	if (strcmp(cell, expected) == 0)
		return true;
	return sscanf(cell, "`\"%31[^\"]\"`", a) == 1 && sscanf(expected, "`\"%31[^\"]\"`", b) == 1 &&
	       duration_parse(span_text(a), false, &x, NULL) && duration_parse(span_text(b), false, &y, NULL) && x == y;
}

static void
the_page_has_just_the_settings_of_a_queue_with_their_defaults_and_kinds(void **state)
{
	static const char *const kinds[] = {
		[SETTING_COUNT] = "count", [SETTING_RATE] = "rate", [SETTING_DURATION] = "duration", [SETTING_DURATIONS] = "durations",
		[SETTING_PERCENT] = "percent", [SETTING_BOOL] = "boolean", [SETTING_PORT] = "port", [SETTING_HOSTS] = "hosts",
		[SETTING_PATH] = "path", [SETTING_REACTIONS] = "list of reactions",
	};
	char *text = whole(PAGE), name[100], expected[100];
	const char *at = below(text, "## Settings of a queue");
	struct row row;
	unsigned n = 0;
	while (next_row(&at, &row)) {
		const char *cell = row.first;
		assert_true(next_name(&cell, name));
		enum setting_id id = setting_find(span_text(name));
		if (id == SETTINGS_N)
			fail_msg(PAGE ": %s is no setting", name);
		trim(row.value);
		trim(row.kind);
		default_text(id, expected);
		if (!same_value(row.value, expected))
			fail_msg(PAGE ": %s: the default is %s, not %s", name, expected, row.value);
		snprintf(expected, sizeof(expected), "%s%s", kinds[setting_table[id].kind],
			 setting_table[id].level == SETTING_LEVEL_R ? ", R" : "");
		assert_string_equal(row.kind, expected);
		n++;
	}
	assert_int_equal(n, SETTINGS_N);
	free(text);
}

/* What a field without a word holds, as the page writes it; false: it is of no plain kind. */
static bool
field_default(const struct declare_field *field, const void *object, char out[100])
{
	const void *value = (const char *)object + field->offset;
	char text[48];
	if (field->take == declare_take_limit || field->take == declare_take_count) {
		uint32_t count = *(const uint32_t *)value;
		snprintf(out, 100, count == UNLIMITED ? "unlimited" : "%u", count);
	} else if (field->take == declare_take_duration) {
		duration_format(*(const int64_t *)value, text);
		quoted(out, text);
	} else if (field->take == declare_take_size) {
		size_format(*(const uint64_t *)value, text);
		quoted(out, text);
	} else if (field->take == declare_take_rate) {
		rate_format(value, text);
		snprintf(out, 100, "%s", text);
	} else if (field->take == declare_take_bool) {
		snprintf(out, 100, "%s", *(const bool *)value ? "true" : "false");
	} else {
		return false;
	}
	return true;
}

static const struct declare_field *
field_of(const struct declare_shape *shape, const char *name)
{
	for (unsigned i = 0; i < shape->fields_n; i++)
		if (strcmp(shape->fields[i].name, name) == 0 && shape->fields[i].take)
			return &shape->fields[i];
	return NULL;
}

static void
check_section(const char *text, const char *heading, const struct declare_shape *shape, const void *object)
{
	const char *at = below(text, heading);
	struct row row;
	char name[100], expected[100];
	unsigned n = 0, there = 0;
	while (next_row(&at, &row)) {
		trim(row.value);
		for (const char *cell = row.first; next_name(&cell, name); n++) {
			const struct declare_field *field = field_of(shape, name);
			if (!field)
				fail_msg(PAGE ": %s: %s is no setting there", heading, name);
			bool plain = strncmp(row.value, "the node's", 10) != 0 && field_default(field, object, expected);
			if (plain && !same_value(row.value, expected))
				fail_msg(PAGE ": %s: %s: the default is %s, not %s", heading, name, expected, row.value);
		}
	}
	for (unsigned i = 0; i < shape->fields_n; i++)
		there += shape->fields[i].take != NULL;
	assert_int_equal(n, there);
}

static void
the_page_has_just_the_settings_of_nodes_listeners_and_virtual_mtas_with_their_defaults(void **state)
{
	struct policy_report report;
	policy_report_init(&report);
	struct policy *policy = policy_load("policies/example.lua", &(struct policy_env){ 0 }, &report);
	const struct ruleset *ruleset = policy_ruleset(policy);
	char *text = whole(PAGE);
	check_section(text, "### `node {", &declare_shape_node, &ruleset->node);
	check_section(text, "### `listener ", &declare_shape_listener, &ruleset->listeners[0]);
	check_section(text, "### `vmta ", &declare_shape_vmta, ruleset->vmtas[0]);
	free(text);
	policy_free(policy);
	policy_report_fini(&report);
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
		cmocka_unit_test(the_page_has_just_the_settings_of_a_queue_with_their_defaults_and_kinds),
		cmocka_unit_test(the_page_has_just_the_settings_of_nodes_listeners_and_virtual_mtas_with_their_defaults),
		cmocka_unit_test(every_hook_is_in_the_reference_and_the_annotations),
		cmocka_unit_test(every_field_of_reactions_is_in_the_reference_and_the_annotations),
		cmocka_unit_test(the_shipped_policies_load_without_a_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
