/* What `swap` is asked and answers. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "control/control_swap.h"

static bool
parse(const char *line, struct control_swap *out, struct control_request *request, struct err *err)
{
	assert_true(control_request_parse(span_text(line), request, err));
	return control_swap_parse(request, out, err);
}

static void
a_request_says_which_policy_and_how(void **state)
{
	struct control_request request;
	struct control_swap asked;
	struct err err = { 0 };

	assert_true(parse("{\"command\":\"swap\",\"arguments\":[\"p.lua\"],\"options\":{\"base\":\"/etc\",\"dry-run\":true}}", &asked, &request, &err));
	assert_string_equal(asked.policy, "p.lua");
	assert_string_equal(asked.base, "/etc");
	assert_true(asked.dry_run);
	assert_false(asked.back);
	control_request_fini(&request);
	assert_true(parse("{\"command\":\"swap\",\"options\":{\"back\":true}}", &asked, &request, &err));
	assert_null(asked.policy);
	assert_true(asked.back);
	control_request_fini(&request);
}

static void
what_it_does_not_know_is_refused(void **state)
{
	static const struct { const char *line, *says; } rows[] = {
		{ "{\"command\":\"swap\",\"options\":{\"dry\":true}}", "swap: no such option: dry" },
		{ "{\"command\":\"swap\",\"arguments\":[\"a\",\"b\"]}", "swap takes one policy" },
		{ "{\"command\":\"swap\",\"arguments\":[\"a\"],\"options\":{\"back\":true}}", "swap: back names no policy: it goes to the one before" },
		{ "{\"command\":\"swap\",\"arguments\":[\"\"]}", "swap: the policy has no name" },
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		struct control_request request;
		struct control_swap asked;
		struct err err = { 0 };

		assert_false(parse(rows[i].line, &asked, &request, &err));
		assert_string_equal(err.text, rows[i].says);
		control_request_fini(&request);
	}
}

static void
assert_text(struct buf *out, const char *expected)
{
	assert_string_equal(buf_text(out), expected);
	buf_clear(out);
}

static void
values_are_as_scripts_want_them(void **state)
{
	static const double list[] = { 600, 3600 };
	struct difference rows[] = {
		{ true, "q/v", "max_smtp_out", { .kind = DIFFERENCE_NUMBER, .text = "20", .number = 20 }, { .kind = DIFFERENCE_TEXT, .text = "unlimited" } },
		{ false, "node", "x", { .kind = DIFFERENCE_NONE }, { .kind = DIFFERENCE_BOOL, .text = "true", .number = 1 } },
		{ false, "node", "y", { .kind = DIFFERENCE_SECONDS, .text = "1.5s", .number = 1.5 },
		  { .kind = DIFFERENCE_LIST, .text = "10m,1h", .list = list, .list_n = 2 } },
	};
	struct differences d = { .all = rows, .n = 3, .left_out = 2 };

	struct buf changed_rows, out;

	buf_init(&changed_rows, 0);
	buf_init(&out, 0);
	control_answer_changed(&d, &changed_rows);
	control_answer_swapped(3, buf_span(&changed_rows), d.left_out, 4250, &out);
	assert_text(&out,
		    "{\"generation\":3,\"changed\":["
		    "{\"queue\":\"q/v\",\"setting\":\"max_smtp_out\",\"from\":20,\"to\":\"unlimited\",\"words\":[\"20\",\"unlimited\"]},"
		    "{\"scope\":\"node\",\"setting\":\"x\",\"from\":null,\"to\":true,\"words\":[null,\"true\"]},"
		    "{\"scope\":\"node\",\"setting\":\"y\",\"from\":1.5,\"to\":[600,3600],\"words\":[\"1.5s\",\"10m,1h\"]}],"
		    "\"left_out\":2,\"seconds\":0.004}");
	buf_fini(&changed_rows);
	buf_fini(&out);
}

static void
a_refusal_names_every_place(void **state)
{
	struct policy_note notes[] = { { "p.lua", 3, "no such setting" }, { "q.lua", 0, "cannot be read" } };
	struct policy_report report = { .errors = notes, .errors_n = 2 };

	struct buf out;

	buf_init(&out, 0);
	control_answer_refused(&report, &out);
	assert_text(&out, "{\"refused\":[\"p.lua:3: no such setting\",\"q.lua: cannot be read\"]}");
	control_answer_refused_for("p.lua: no", &out);
	assert_text(&out, "{\"refused\":[\"p.lua: no\"]}");
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_says_which_policy_and_how),
		cmocka_unit_test(what_it_does_not_know_is_refused),
		cmocka_unit_test(values_are_as_scripts_want_them),
		cmocka_unit_test(a_refusal_names_every_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
