/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_command.h"

static void
knows_the_verbs(void **state)
{
	static const struct { const char *line; enum smtp_verb verb; const char *args; } rows[] = {
		{ "QUIT", SMTP_VERB_QUIT, "" }, { "quit  ", SMTP_VERB_QUIT, "" }, { "Mail FROM:<>", SMTP_VERB_MAIL, "FROM:<>" },
		{ "STARTTLS", SMTP_VERB_STARTTLS, "" }, { "BDAT  5 LAST ", SMTP_VERB_BDAT, "5 LAST" },
		{ "", SMTP_VERB_UNKNOWN, "" }, { " QUIT", SMTP_VERB_UNKNOWN, "QUIT" }, { "QUITX", SMTP_VERB_UNKNOWN, "" },
		{ "QUI", SMTP_VERB_UNKNOWN, "" },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct span args;

		assert_int_equal(smtp_verb_parse(span_text(rows[i].line), &args), rows[i].verb);
		assert_true(span_eq(args, span_text(rows[i].args)));
	}
}

static void
reads_the_size_of_a_chunk(void **state)
{
	static const struct { const char *args; bool ok, last; uint64_t size; } rows[] = {
		{ "0", true, false, 0 }, { "5", true, false, 5 }, { "5 LAST", true, true, 5 }, { "5  last", true, true, 5 },
		{ "18446744073709551615", true, false, UINT64_MAX }, { "18446744073709551616", false, false, 0 },
		{ "", false, false, 0 }, { "LAST", false, false, 0 }, { "-1", false, false, 0 }, { "+1", false, false, 0 },
		{ "0x5", false, false, 0 }, { "5 LAST LAST", false, false, 0 }, { "5LAST", false, false, 0 },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		uint64_t size = 0;
		bool last;

		assert_int_equal(smtp_bdat_parse(span_text(rows[i].args), &size, &last), rows[i].ok);
		if (rows[i].ok) {
			assert_int_equal(size, rows[i].size);
			assert_int_equal(last, rows[i].last);
		}
	}
}

static void
checks_names_in_helo(void **state)
{
	char name[257];

	assert_true(smtp_helo_ok(SPAN("mail.example.com")));
	assert_true(smtp_helo_ok(SPAN("MY_PC")));
	assert_true(smtp_helo_ok(SPAN("[IPv6:::1]")));
	assert_false(smtp_helo_ok(SPAN("")));
	assert_false(smtp_helo_ok(SPAN("a b")));
	assert_false(smtp_helo_ok(SPAN("a<b>")));
	assert_false(smtp_helo_ok(SPAN("a\0b")));
	assert_false(smtp_helo_ok(SPAN("\xc3\xa4")));
	memset(name, 'a', sizeof name);
	assert_true(smtp_helo_ok(span_make(name, 255)));
	assert_false(smtp_helo_ok(span_make(name, 256)));
}

static void
checks_the_strings_of_dsn(void **state)
{
	char text[600];

	memset(text, 'a', sizeof text);
	assert_true(smtp_envid_ok(span_make(text, 100)));
	assert_false(smtp_envid_ok(span_make(text, 101)));
	assert_false(smtp_envid_ok(SPAN("")));
	assert_false(smtp_envid_ok(SPAN("a b")));
	memcpy(text, "rfc822;", 7);
	assert_true(smtp_orcpt_ok(span_make(text, 500), false));
	assert_false(smtp_orcpt_ok(span_make(text, 501), false));
	assert_false(smtp_orcpt_ok(SPAN("rfc822;"), false));
	assert_false(smtp_orcpt_ok(SPAN(";a"), false));
	assert_false(smtp_orcpt_ok(SPAN("rfc822;a\r\nb"), true));
	assert_true(smtp_orcpt_ok(SPAN("utf-8;\xc3\xa4@b"), true));
	assert_false(smtp_orcpt_ok(SPAN("utf-8;\xc3\xa4@b"), false));
	assert_false(smtp_orcpt_ok(SPAN("utf-8;\xc3\xa4 b"), true));
	assert_false(smtp_orcpt_ok(SPAN("utf-8;a\xc2\x85" "b"), true));
	assert_false(smtp_orcpt_ok(SPAN("utf-8;\xe2\x80\xae" "b"), true));
	assert_false(smtp_orcpt_ok(SPAN("rfc822;\xc3\xa4@b"), true));
}

static void
gives_what_mail_and_rcpt_say(void **state)
{
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;

	assert_int_equal(smtp_mail_parse(SPAN("FROM:<a@b> SIZE=18446744073709551615 RET=full"), &mail).code, 0);
	assert_true(mail.size_bytes == UINT64_MAX);
	assert_true(span_eq(mail.ret, SPAN("full")));
	assert_true(span_eq(mail.path.domain, SPAN("b")));
	assert_int_equal(smtp_mail_parse(SPAN("FROM:<a@b>"), &mail).code, 0);
	assert_true(mail.size_bytes == 0 && mail.ret.n == 0 && !mail.eightbit);
	assert_int_equal(smtp_rcpt_parse(SPAN("TO:<a@b> NOTIFY=NEVER"), false, &rcpt).code, 0);
	assert_int_equal(rcpt.notify, 1);
	assert_int_equal(smtp_rcpt_parse(SPAN("TO:<\xc3\xa4@b>"), false, &rcpt).code, 553);
	assert_int_equal(smtp_rcpt_parse(SPAN("TO:<\xc3\xa4@b> ORCPT=utf-8;\xc3\xa4@b"), true, &rcpt).code, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_the_verbs),
		cmocka_unit_test(reads_the_size_of_a_chunk),
		cmocka_unit_test(checks_names_in_helo),
		cmocka_unit_test(checks_the_strings_of_dsn),
		cmocka_unit_test(gives_what_mail_and_rcpt_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
