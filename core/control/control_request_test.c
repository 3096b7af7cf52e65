/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "util/buf.h"

static bool
parse(const char *line, struct control_request *out, struct err *err)
{
	return control_request_parse(span_text(line), out, err);
}

static void
takes_a_command_alone(void **state)
{
	struct control_request r;

	assert_true(parse("{\"command\":\"status\"}", &r, NULL));
	assert_string_equal(r.command, "status");
	assert_int_equal(r.arguments_n, 0);
	assert_null(control_request_option(&r, "job"));
	control_request_fini(&r);
}

static void
takes_arguments_and_options(void **state)
{
	struct control_request r;

	assert_true(parse("{\"command\":\"retry\",\"arguments\":[\"google/mta-1\"],"
			  "\"options\":{\"job\":\"n17\",\"recipients\":true,\"off\":false}}\r", &r, NULL));
	assert_int_equal(r.arguments_n, 1);
	assert_string_equal(r.arguments[0], "google/mta-1");
	assert_string_equal(control_request_option(&r, "job"), "n17");
	assert_string_equal(control_request_option(&r, "recipients"), "");
	assert_null(control_request_option(&r, "off"));
	control_request_fini(&r);
}

static void
refuses_what_is_no_request_and_says_why(void **state)
{
	static const struct { const char *line, *says; } cases[] = {
		{ "", "one line of JSON" },
		{ "status", "one line of JSON" },
		{ "GET / HTTP/1.1", "one line of JSON" },
		{ "[1]", "one line of JSON" },
		{ "{\"command\":\"status\"", "one line of JSON" },
		{ "{\"command\":\"status\"}{}", "one line of JSON" },
		{ "{\"command\":\"a\",\"command\":\"b\"}", "one line of JSON" },
		{ "{\"command\":\"\\u0000\"}", "one line of JSON" },
		{ "{\"command\":\"\xff\"}", "one line of JSON" },
		{ "{}", "name its command" },
		{ "{\"command\":\"\"}", "name its command" },
		{ "{\"command\":7}", "name its command" },
		{ "{\"command\":\"drop\",\"argument\":[\"x\"]}", "\"argument\"" },
		{ "{\"command\":\"drop\",\"arguments\":\"x\"}", "list of texts" },
		{ "{\"command\":\"drop\",\"arguments\":[1]}", "list of texts" },
		{ "{\"command\":\"drop\",\"arguments\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]}", "too many arguments" },
		{ "{\"command\":\"drop\",\"options\":[]}", "an object" },
		{ "{\"command\":\"drop\",\"options\":{\"job\":1}}", "option job" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct control_request r;
		struct err err = { 0 };
		assert_false(parse(cases[i].line, &r, &err));
		assert_non_null(strstr(err.text, cases[i].says));
		assert_null(r.json);
	}
}

static void
refuses_depth_and_length(void **state)
{
	struct control_request r;
	struct buf line;

	buf_init(&line, 0);
	buf_add_text(&line, "{\"command\":");
	for (int i = 0; i < 30000; i++)
		buf_add_char(&line, '[');
	assert_false(control_request_parse(buf_span(&line), &r, NULL));
	buf_clear(&line);
	buf_add_text(&line, "{\"command\":\"x\"");
	while (buf_len(&line) < CONTROL_REQUEST_MAX - 1)
		buf_add_char(&line, ' ');
	buf_add_char(&line, '}');
	assert_true(control_request_parse(buf_span(&line), &r, NULL));
	control_request_fini(&r);
	buf_add_char(&line, ' ');
	assert_false(control_request_parse(buf_span(&line), &r, NULL));
	buf_fini(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_command_alone),
		cmocka_unit_test(takes_arguments_and_options),
		cmocka_unit_test(refuses_what_is_no_request_and_says_why),
		cmocka_unit_test(refuses_depth_and_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
