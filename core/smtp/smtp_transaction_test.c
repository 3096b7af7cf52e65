/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_transaction.h"

static void
settles_only_what_has_no_final_answer(void **state)
{
	struct smtp_client_rcpt rcpts[3] = { { .answered = true }, { .answered = true, .accepted = true }, { .answered = false } };
	struct smtp_client_message message = { .rcpts = rcpts, .rcpts_n = 3 };
	struct smtp_reply reply;

	smtp_reply_make(&reply, 250, "2.0.0", "ok");
	smtp_transaction_settle(&message, &reply, SMTP_STAGE_FINAL);
	assert_int_equal(rcpts[0].reply.code, 0);
	assert_int_equal(rcpts[1].reply.code, 250);
	assert_int_equal(rcpts[2].reply.code, 250);
	assert_true(rcpts[2].answered);
}

static void
asks_for_smtputf8_only_for_those_that_are_sent(void **state)
{
	struct smtp_client_rcpt rcpts[2] = { { .address = { "a@b", 3 } }, { .address = { "\xc3\xa4@b", 4 } } };
	struct smtp_client_message message = { .rcpts = rcpts, .rcpts_n = 2 };
	struct buf out;

	buf_init(&out, 0);
	assert_true(smtp_transaction_check(&message, 0, 0));
	smtp_transaction_mail(&message, 0, &out);
	assert_string_equal(buf_text(&out), "MAIL FROM:<>\r\n");
	assert_true(rcpts[1].answered);
	buf_clear(&out);
	assert_true(smtp_transaction_check(&message, SMTP_EXT_SMTPUTF8, 0));
	smtp_transaction_mail(&message, SMTP_EXT_SMTPUTF8, &out);
	assert_string_equal(buf_text(&out), "MAIL FROM:<> SMTPUTF8\r\n");
	buf_fini(&out);
}

static void
has_nobody_left_when_all_are_bad(void **state)
{
	struct smtp_client_rcpt rcpts[1] = { { .address = { "a b@c", 5 } } };
	struct smtp_client_message message = { .rcpts = rcpts, .rcpts_n = 1 };
	struct smtp_client_message empty = { .rcpts_n = 0 };

	assert_false(smtp_transaction_check(&message, 0, 0));
	assert_int_equal(rcpts[0].reply.code, 501);
	assert_false(smtp_transaction_check(&empty, 0, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settles_only_what_has_no_final_answer),
		cmocka_unit_test(asks_for_smtputf8_only_for_those_that_are_sent),
		cmocka_unit_test(has_nobody_left_when_all_are_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
