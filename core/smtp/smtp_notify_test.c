/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_notify.h"

static void
reads_and_writes_the_same(void **state)
{
	static const struct { const char *in; unsigned bits; const char *out; } rows[] = {
		{ "NEVER", 1, "NEVER" }, { "never", 1, "NEVER" }, { "SUCCESS", 2, "SUCCESS" },
		{ "delay,Success,FAILURE", 14, "SUCCESS,FAILURE,DELAY" },
		{ "", 0, "" }, { ",", 0, "" }, { "DELAY,", 0, "" }, { ",DELAY", 0, "" }, { "DELAY,,FAILURE", 0, "" },
		{ "DELAY,DELAY", 0, "" }, { "NEVER,DELAY", 0, "" }, { "DELAY,NEVER", 0, "" }, { "ALWAYS", 0, "" },
	};
	char out[SMTP_NOTIFY_TEXT_MAX];

	for (size_t i = 0; i < countof(rows); i++) {
		uint8_t bits = smtp_notify_parse(span_text(rows[i].in));

		assert_int_equal(bits, rows[i].bits);
		smtp_notify_format(bits, out);
		assert_string_equal(out, rows[i].out);
	}
}

static void
never_wins_over_the_rest(void **state)
{
	char out[SMTP_NOTIFY_TEXT_MAX];

	smtp_notify_format(0xFF, out);
	assert_string_equal(out, "NEVER");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_the_same),
		cmocka_unit_test(never_wins_over_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
