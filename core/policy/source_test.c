/* The rewritten text, and what is known of each table. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/source.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct { const char *text, *rewritten; } texts[] = {
	{ "", "" },
	{ "local t = {}", "local t = H(7,{})" },
	{ "f{}", "f(H(7,{}))" },
	{ "f {1}", "f( H(7,{1}))" },
	{ "provider 'g'\n{\n}", "provider 'g'(\nH(7,{\n}))" },
	{ "f -- {\n{ }", "f( -- {\nH(7,{ }))" },
	{ "f({})", "f(H(7,{}))" },
	{ "o:m{}", "o:m(H(7,{}))" },
	{ "a[1]{}", "a[1](H(7,{}))" },
	{ "f(){}", "f()(H(7,{}))" },
	{ "f{}{}", "f(H(7,{}))(H(8,{}))" },
	{ "f[[x]]{}", "f[[x]](H(7,{}))" },
	{ "f\"}\"{}", "f\"}\"(H(7,{}))" },
	{ "return {}", "return H(7,{})" },
	{ "x = a and {} or {}", "x = a and H(7,{}) or H(8,{})" },
	{ "t = {{}, {{}}}", "t = H(7,{H(8,{}), H(9,{H(10,{})})})" },
	{ "--[[ { ]] --[==[ ]] { ]==] x = {}", "--[[ { ]] --[==[ ]] { ]==] x = H(7,{})" },
	{ "x = '\\'{' y = {}", "x = '\\'{' y = H(7,{})" },
	{ "x = '\\z\n  {' y = {}", "x = '\\z\n  {' y = H(7,{})" },
	{ "on.message(function() local t = {} end) x = {}", "on.message(function() local t = {} end) x = H(7,{})" },
	{ "on.message(function() if x then y = {} end for i = 1, 2 do y = {} end repeat until {} end) x = {}",
	  "on.message(function() if x then y = {} end for i = 1, 2 do y = {} end repeat until {} end) x = H(7,{})" },
	{ "x = 0x1p-3 .. 1e+5 y = {}", "x = 0x1p-3 .. 1e+5 y = H(7,{})" },
	{ "#!x {\nx = {}", "#!x {\nx = H(7,{})" },
	{ "\xef\xbb\xbf" "x = {}", "\xef\xbb\xbf" "x = H(7,{})" },
	{ "x = { f = function() return {} end }", "x = H(7,{ f = function() return H(8,{}) end })" },
	/* no Lua: something comes out */
	{ "}}}", "}}}" }, { "{{", "H(7,{H(8,{" }, { "'", "'" }, { "[[", "[[" }, { "--[[", "--[[" }, { "\\", "\\" },
};

static void
each_constructor_is_wrapped_and_no_line_moves(void **state)
{
	for (size_t i = 0; i < countof(texts); i++) {
		struct source_map map;
		struct buf out;
		source_map_init(&map);
		buf_init(&out, 0);
		assert_true(source_rewrite(span_text(texts[i].text), 7, "H", &map, &out));
		assert_string_equal(buf_text(&out), texts[i].rewritten);
		buf_fini(&out);
		source_map_fini(&map);
	}
}

static void
fields_are_known_by_name_and_position(void **state)
{
	struct source_map map;
	struct buf out;
	source_map_init(&map);
	buf_init(&out, 0);
	const char *text = "local t = {\n a = 1,\n ['b c'] = x,\n 'first';\n [9] = 2, [f(1, 2)] = 3,\n function(p, q) return 1, 2 end,\n a = y == z, { },\n}\n"
			   "f{\n a = x }\nf({ b = {\n c = x } })\nmsg:sign {}";
	assert_true(source_rewrite(span_text(text), 0, "H", &map, &out));
	const struct source_table *t = &map.tables[0];
	assert_int_equal(map.tables_n, 6);
	assert_int_equal(t->line, 1);
	assert_false(t->argument);
	assert_int_equal(source_field_named(t, SPAN("a"))->line, 7);
	assert_false(source_field_named(t, SPAN("a"))->literal);
	assert_int_equal(source_field_named(t, SPAN("b c"))->line, 3);
	assert_false(source_field_named(t, SPAN("b c"))->literal);
	assert_int_equal(source_field_at(t, 1)->line, 4);
	assert_true(source_field_at(t, 1)->literal);
	assert_int_equal(source_field_at(t, 9)->line, 5);
	assert_true(source_field_at(t, 9)->after_semicolon);
	assert_int_equal(source_field_at(t, 2)->line, 6);
	assert_false(source_field_at(t, 2)->after_semicolon);
	assert_int_equal(source_field_at(t, 3)->line, 7);
	assert_null(source_field_at(t, 4));
	assert_null(source_field_named(t, SPAN("p")));
	assert_true(map.tables[2].argument);
	assert_true(source_field_named(&map.tables[2], SPAN("a"))->literal);
	assert_true(map.tables[3].argument && map.tables[4].argument);
	assert_int_equal(source_field_named(&map.tables[4], SPAN("c"))->line, 12);
	assert_int_equal(map.sign_line, 13);
	buf_fini(&out);
	source_map_fini(&map);
}

static void
what_is_too_deep_is_given_up(void **state)
{
	struct source_map map;
	struct buf out;
	char text[1000];
	memset(text, '{', sizeof(text));
	source_map_init(&map);
	buf_init(&out, 0);
	assert_false(source_rewrite(span_make(text, sizeof(text)), 0, "H", &map, &out));
	buf_fini(&out);
	source_map_fini(&map);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_constructor_is_wrapped_and_no_line_moves),
		cmocka_unit_test(fields_are_known_by_name_and_position),
		cmocka_unit_test(what_is_too_deep_is_given_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
