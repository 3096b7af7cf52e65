/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
durations_have_two_units_at_most(void **state)
{
	static const struct { double seconds; const char *text; } cases[] = {
		{ 0, "0.0s" }, { 0.42, "0.4s" }, { 0.97, "1s" }, { 12, "12s" }, { 59.6, "1m" }, { 552, "9m12s" },
		{ 5400, "1h30m" }, { 5401, "1h30m" }, { 3600, "1h" }, { 3605, "1h" }, { 273600, "3d4h" }, { 864000, "10d" }, { -3, "0.0s" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		char text[32];
		cmd_duration(cases[i].seconds, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void
what_a_peer_said_cannot_drive_the_terminal(void **state)
{
	static const struct { const char *in; size_t max; const char *out; } cases[] = {
		{ "421 slow\033[2J\a", 0, "421 slow\\x1b[2J\\x07" },
		{ "a\xc2\x9b" "31m", 0, "a\\x9b31m" },
		{ "\xe2\x80\xaegpj.exe\xe2\x81\xa9\xe2\x80\xa8", 0, "\\u202egpj.exe\\u2069\\u2028" },
		{ "\xff\xc2", 0, "\\xff\\xc2" },
		{ "grüße", 0, "grüße" },
		{ "grüße", 5, "grüße" },
		{ "grüße", 4, "grü…" },
		{ "", 4, "" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct buf out;
		buf_init(&out, 0);
		cmd_add_clean(&out, cases[i].in, cases[i].max);
		assert_string_equal(buf_text(&out), cases[i].out);
		buf_fini(&out);
	}
}

static void
columns_are_aligned_and_an_empty_one_takes_no_room(void **state)
{
	struct cmd_table table;
	struct buf out;

	cmd_table_init(&table, "lrll");
	cmd_table_row(&table);
	cmd_table_cell(&table, 0, CMD_PLAIN, "queue");
	cmd_table_cell(&table, 1, CMD_PLAIN, "n");
	cmd_table_cell(&table, 3, CMD_PLAIN, "end");
	cmd_table_row(&table);
	cmd_table_cell(&table, 0, CMD_BOLD, "gü/a");
	cmd_table_cell(&table, 1, CMD_PLAIN, "%d", 1204);
	cmd_table_row(&table);
	cmd_table_cell(&table, 3, CMD_PLAIN, "z");
	buf_init(&out, 0);
	cmd_table_write(&table, false, &out);
	assert_string_equal(buf_text(&out), "queue     n  end\n"
					    "gü/a   1204\n"
					    "             z\n");
	buf_clear(&out);
	cmd_table_write(&table, true, &out);
	assert_non_null(strstr(buf_text(&out), "\033[1mgü/a\033[0m   1204\n"));
	buf_fini(&out);
	cmd_table_fini(&table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_have_two_units_at_most),
		cmocka_unit_test(what_a_peer_said_cannot_drive_the_terminal),
		cmocka_unit_test(columns_are_aligned_and_an_empty_one_takes_no_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
