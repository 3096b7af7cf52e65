/* The importer from its C side; what becomes of each directive is spec/wire/test_import.py's. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "policy/import.h"

struct files { const char *main, *other; };

static bool
read_one(void *ctx, const char *path, struct buf *out, struct err *err)
{
	const struct files *files = ctx;
	const char *text = strcmp(path, "config") == 0 ? files->main : files->other;
	return text ? buf_add_text(out, text) : err_set(err, ERR_PERM, "cannot be read: nobody has it");
}

static void
find_one(void *ctx, const char *pattern, const char *from, void (*found)(void *to, const char *path), void *to)
{
	found(to, pattern);
}

static void
import(const char *text, const char *other, const char *as, struct import_result *result)
{
	struct files texts = { text, other };
	import_pmta("config", &(struct import_options){ as, false, "2026-01-01" }, &(struct import_files){ read_one, find_one, &texts }, result);
}

static bool
says(const struct import_result *result, const char *part)
{
	return !result->refusal && span_find_text(result->policy, span_text(part)) != SIZE_MAX;
}

static void
each_line_has_a_verdict_and_what_it_becomes(void **state)
{
	struct import_result result;
	import("<domain a.example>\n  max-conn-rate 5/m\n  max-msg-per-hour 100\n  dkim-sign yes\n  max-retries 5\n  retry-after soon\n</domain>\n", NULL,
	       NULL, &result);
	static const struct { const char *directive, *verdict, *becomes; } expected[] = {
		{ "domain", "known", "domain \"a.example\" { … }" }, { "max-conn-rate", "alias", "max_connect_rate = \"5/m\"" },
		{ "max-msg-per-hour", "deprecated", "max_msg_rate = \"100/h\"" }, { "dkim-sign", "unsupported", NULL },
		{ "max-retries", "not-powermta", "max_attempts = 5" }, { "retry-after", "error", NULL },
	};
	assert_null(result.refusal);
	assert_int_equal(result.lines_n, countof(expected));
	for (unsigned i = 0; i < result.lines_n; i++) {
		assert_string_equal(result.lines[i].directive, expected[i].directive);
		assert_string_equal(result.lines[i].verdict, expected[i].verdict);
		assert_int_equal(result.lines[i].line, i + 1);
		assert_string_equal(result.lines[i].file, "config");
		if (expected[i].becomes)
			assert_string_equal(result.lines[i].becomes, expected[i].becomes);
		else
			assert_null(result.lines[i].becomes);
	}
	assert_true(says(&result, "max_attempts = 5"));
	assert_true(says(&result, "-- dkim-sign yes"));
	import_fini(&result);
}

static void
an_included_file_is_read_in_its_place(void **state)
{
	struct import_result result;
	import("include more\n", "<domain b.example>\nmax-smtp-out 3\n</domain>\n", NULL, &result);
	assert_int_equal(result.lines_n, 3);
	assert_string_equal(result.lines[2].file, "more");
	assert_int_equal(result.lines[2].line, 2);
	assert_true(says(&result, "domain \"b.example\" { max_smtp_out = 3 }"));
	import_fini(&result);
}

static void
a_file_that_includes_itself_ends(void **state)
{
	struct import_result result;
	import("max-smtp-out 3\ninclude config\n", NULL, NULL, &result);
	assert_int_equal(result.lines_n, 2);
	assert_string_equal(result.lines[1].verdict, "error");
	import_fini(&result);
}

static void
bare_lines_are_for_the_domain_that_was_asked_for(void **state)
{
	struct import_result result;
	import("max-smtp-out 3\n", NULL, "a.example", &result);
	assert_true(says(&result, "domain \"a.example\" { max_smtp_out = 3 }"));
	import_fini(&result);
	assert_true(import_is_domain("*.a.example"));
	assert_false(import_is_domain("a b"));
}

static void
what_is_no_configuration_is_refused_with_a_reason(void **state)
{
	static const char *const texts[] = { "", "#!/bin/sh\nmax-smtp-out 3\n", "ls -l | grep x\n", NULL };
	for (size_t i = 0; i < countof(texts); i++) {
		struct import_result result;
		import(texts[i], NULL, NULL, &result);
		assert_non_null(result.refusal);
		assert_null(strchr(result.refusal, '\n'));
		import_fini(&result);
	}
}

static void
more_than_the_limit_is_refused(void **state)
{
	struct import_result result;
	char *text = mem_alloc(IMPORT_BYTES_MAX + 2);
	memset(text, '\n', IMPORT_BYTES_MAX + 1);
	text[IMPORT_BYTES_MAX + 1] = '\0';
	import(text, NULL, NULL, &result);
	assert_non_null(result.refusal);
	assert_non_null(strstr(result.refusal, "8 MiB"));
	import_fini(&result);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_line_has_a_verdict_and_what_it_becomes),
		cmocka_unit_test(an_included_file_is_read_in_its_place),
		cmocka_unit_test(a_file_that_includes_itself_ends),
		cmocka_unit_test(bare_lines_are_for_the_domain_that_was_asked_for),
		cmocka_unit_test(what_is_no_configuration_is_refused_with_a_reason),
		cmocka_unit_test(more_than_the_limit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
